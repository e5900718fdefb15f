//! Answers that take their time, and answers that do not end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::server::respond;
use crate::stand_in::Reply;

/// Drops of one answer.
const DROPS: usize = 20;
/// What an endless answer goes on with.
const MORE: Bytes = Bytes::from_static(&[b' '; 64 * 1024]);

/// A body that is written while it is read.
struct Written(mpsc::Receiver<Bytes>);

impl HttpBody for Written {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// The answer in drops, over so many milliseconds.
pub(crate) fn drip(reply: Reply, ms: u64) -> Response {
    let (pieces, body) = mpsc::channel(1);
    let (whole, size) = (reply.body.clone(), reply.body.len().div_ceil(DROPS).max(1));
    let pause = Duration::from_millis(ms.div_ceil(DROPS as u64));
    tokio::spawn(async move {
        let mut rest = whole;
        while !rest.is_empty() {
            tokio::time::sleep(pause).await;
            if pieces.send(rest.split_to(size.min(rest.len()))).await.is_err() {
                return;
            }
        }
    });
    streamed(reply, body)
}

/// The answer, and then more until the caller has had enough.
pub(crate) fn endless(reply: Reply) -> Response {
    let (pieces, body) = mpsc::channel(1);
    let whole = reply.body.clone();
    tokio::spawn(async move {
        let mut next = whole;
        while pieces.send(next).await.is_ok() {
            next = MORE;
        }
    });
    streamed(reply, body)
}

fn streamed(reply: Reply, body: mpsc::Receiver<Bytes>) -> Response {
    let (mut head, _) = respond(reply).into_parts();
    head.headers.remove("content-length");
    Response::from_parts(head, Body::new(Written(body).boxed()))
}
