//! Backups, and what follows a restore.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use portolan_store::reconciliation::Reconciliation;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    Api,
    auth::{Admin, AsOperator, InScope, Viewer},
    body::Json,
    problem::Problem,
    runs::Why,
};

/// Bytes that are read from the copy at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// `POST /api/v1/backup`: the answer is the backup, `application/vnd.sqlite3`.
pub(crate) async fn take_backup(State(api): State<Api>, _: AsOperator) -> Result<Response, Problem> {
    // The copy would take what is left.
    if api.shared.storage.shortage().is_some() {
        return Err(Problem::storage_low());
    }
    let path = api.settings.backup_dir.join(format!("backup-{}.tmp", ulid::Ulid::new()));
    let made = api.shared.store.backup(&path, api.shared.clock.now()).await;
    let opened = match &made {
        Ok(_) => Some(tokio::fs::File::open(&path).await),
        Err(_) => None,
    };
    // Whatever became of it, its name goes at once; what is open can be read to its end.
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the copy that a backup was made of cannot be removed");
    }
    let backup = made?;
    let file = opened.transpose().map_err(|error| Problem::unavailable(&error))?;
    let file = file.ok_or_else(Problem::not_found)?;
    let body = Copy { file, left: backup.bytes, buffer: vec![0; CHUNK_BYTES] };
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.sqlite3"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(backup.bytes));
    if let Ok(value) = HeaderValue::from_str(&backup.taken_at.to_string()) {
        headers.insert("x-portolan-taken-at", value);
    }
    Ok(response)
}

/// A file as a body, read as fast as it is sent.
struct Copy {
    file: tokio::fs::File,
    left: u64,
    buffer: Vec<u8>,
}

impl hyper::body::Body for Copy {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut buffer = ReadBuf::new(&mut this.buffer);
        match Pin::new(&mut this.file).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
            }
            Poll::Ready(Ok(())) => {
                let read = Bytes::copy_from_slice(buffer.filled());
                this.left = this.left.saturating_sub(u64::try_from(read.len()).unwrap_or(u64::MAX));
                Poll::Ready(Some(Ok(Frame::data(read))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// `GET /api/v1/reconciliations`: which incarnation this is, and every environment that reconciles.
pub(crate) async fn list_reconciliations(
    State(api): State<Api>,
    _: AsOperator,
) -> Result<axum::Json<Value>, Problem> {
    let incarnation = api.shared.store.incarnation().await?;
    let all = api.shared.store.reconciliation_list().await?;
    Ok(axum::Json(json!({
        "incarnation": incarnation.number,
        "restored_at": incarnation.restored_at.map(|at| at.to_string()),
        "items": all.iter().map(render).collect::<Vec<_>>(),
        "next": null,
    })))
}

/// `GET …/reconciliation`: of this environment; 404 when it was never restored.
pub(crate) async fn get_reconciliation(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<Value>, Problem> {
    let found = api.shared.store.reconciliation_get(&caller.scope).await?;
    Ok(axum::Json(render(&found.ok_or_else(Problem::not_found)?)))
}

/// `POST …/reconciliation/end`: a person says that nothing is missing.
pub(crate) async fn end_reconciliation(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(why): Json<Why>,
) -> Result<axum::Json<Value>, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.reconciliation_end(&caller.scope, decision).await?;
    portolan_pipeline::reconcile::end(&api.shared, &caller.scope).await?;
    let found = api.shared.store.reconciliation_get(&caller.scope).await?;
    Ok(axum::Json(render(&found.ok_or_else(Problem::not_found)?)))
}

fn render(one: &Reconciliation) -> Value {
    let sources: Vec<Value> = one
        .waiting
        .sources
        .iter()
        .map(|s| json!({ "source": s.source, "name": s.name, "can_be_asked": s.can_be_asked }))
        .collect();
    json!({
        "tenant": one.scope.tenant,
        "environment": one.scope.environment,
        "state": if one.ended.is_none() { "reconciling" } else { "over" },
        "lost_from": one.lost_from.to_string(),
        "restored_at": one.restored_at.to_string(),
        "ended_at": one.ended.as_ref().map(|ended| ended.at.to_string()),
        "ended_by": one.ended.as_ref().map(|ended| &ended.by),
        "why": one.ended.as_ref().map(|ended| &ended.why),
        "waiting_for": {
            "runs": one.waiting.runs,
            "deliveries": one.waiting.deliveries,
            "persons": one.waiting.persons,
            "sources": sources,
        },
    })
}
