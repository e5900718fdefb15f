//! A Sage Pro gateway that does nothing but answer: the least that the connector `sage-pro` is content with. It
//! keeps no ledger and syncs nothing, so that what is measured is the host. Each document's arrival goes into the book.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{book::Book, charge};

/// A gateway that listens. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Erp {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The accept loop.
    _accepting: JoinSet<()>,
}

impl Erp {
    /// Listens on loopback.
    pub(crate) async fn start(book: Arc<Book>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, book));
        Ok(Self { address, _accepting: accepting })
    }
}

async fn accept(listener: TcpListener, book: Arc<Book>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Answers are small; without this they wait for more bytes.
        drop(stream.set_nodelay(true));
        let book = book.clone();
        let service = service_fn(move |request| answer(request, book.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move { drop(connection.await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, book: Arc<Book>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_invoice = request.method() == Method::POST && request.uri().path() == "/Invoice";
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if !is_invoice {
        let absent = json!({"error": {"code": "record_not_found", "message": "there is no such record"}});
        return Ok(response(StatusCode::NOT_FOUND, &absent));
    }
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reference = document.get("ExternalRef").and_then(Value::as_str).unwrap_or_default();
    let Some(number) = charge::number_of(reference) else {
        let unknown = json!({"error": {"code": "invalid_reference", "message": "not a charge of the bench"}});
        return Ok(response(StatusCode::UNPROCESSABLE_ENTITY, &unknown));
    };
    book.arrived(number);
    Ok(response(
        StatusCode::CREATED,
        &json!({"InvNo": format!("{number:09}"), "ReceiptNo": number.to_string(), "ExternalRef": reference}),
    ))
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
