//! Backups, and what follows a restore.

use std::{
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use aide::{
    OperationOutput,
    axum::{
        ApiRouter,
        routing::{get_with, post_with},
    },
    generate::GenContext,
    openapi::{Operation, Response as Documented},
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use portolan_domain::{Environment, SourceId, TenantId};
use portolan_store::{StoreError, reconciliation::Reconciliation};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    Api,
    answer::{self, Time},
    auth::{Admin, AsOperator, InScope, Viewer},
    body::Json,
    openapi::op,
    problem::Problem,
    runs::Why,
};

/// Bytes that are read from the copy at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a backup is.
const MEDIA_TYPE: &str = "application/vnd.sqlite3";

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route("/backup", post_with(take_backup, op("take_backup", "A consistent copy of the database")))
        .api_route(
            "/reconciliations",
            get_with(
                list_reconciliations,
                op("list_reconciliations", "Every environment that reconciles after a restore"),
            ),
        )
        .with_path_items(|path| path.tag("host"))
}

/// What concerns one environment.
pub(crate) fn routes_of_environment() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/reconciliation",
            get_with(
                get_reconciliation,
                op("get_reconciliation", "What the environment waits for after a restore"),
            ),
        )
        .api_route(
            "/reconciliation/end",
            post_with(end_reconciliation, op("end_reconciliation", "A person says that nothing is missing")),
        )
        .with_path_items(|path| path.tag("environment"))
}

/// A copy of the database, while it is sent.
pub(crate) struct BackupFile(Response);

impl IntoResponse for BackupFile {
    fn into_response(self) -> Response {
        self.0
    }
}

impl OperationOutput for BackupFile {
    type Inner = Self;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        vec![(Some(200), answer::bytes("The copy; `x-portolan-taken-at` says of when.", MEDIA_TYPE))]
    }
}

pub(crate) async fn take_backup(State(api): State<Api>, _: AsOperator) -> Result<BackupFile, Problem> {
    // The copy would take what is left.
    if api.shared.storage.shortage().is_some() {
        return Err(Problem::storage_low());
    }
    let path = api.settings.backup_dir.join(format!("backup-{}.tmp", ulid::Ulid::new()));
    let made = api.shared.store.backup(&path, api.shared.clock.now()).await;
    let (backup, body) = file_body(&path, made).await?;
    let mut response = body(backup.bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(backup.bytes));
    if let Ok(value) = HeaderValue::from_str(&backup.taken_at.to_string()) {
        headers.insert("x-portolan-taken-at", value);
    }
    Ok(BackupFile(response))
}

/// Opens what was just written, to be sent: as a body of so many bytes. Whatever became of it, its name goes at once;
/// what is open can be read to its end.
pub(crate) async fn file_body<T>(
    path: &Path,
    made: Result<T, StoreError>,
) -> Result<(T, impl FnOnce(u64) -> Body), Problem> {
    let opened = match &made {
        Ok(_) => Some(tokio::fs::File::open(path).await),
        Err(_) => None,
    };
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a file that was to be sent cannot be removed");
    }
    let made = made?;
    let file = opened.transpose().map_err(|error| Problem::unavailable(&error))?;
    let file = file.ok_or_else(Problem::not_found)?;
    Ok((made, move |left| Body::new(Copy { file, left, buffer: vec![0; CHUNK_BYTES] })))
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

/// Which incarnation this is, and every environment that reconciles.
pub(crate) async fn list_reconciliations(
    State(api): State<Api>,
    _: AsOperator,
) -> Result<axum::Json<Reconciliations>, Problem> {
    let incarnation = api.shared.store.incarnation().await?;
    let all = api.shared.store.reconciliation_list().await?;
    Ok(axum::Json(Reconciliations {
        incarnation: incarnation.number,
        restored_at: incarnation.restored_at.map(Time::from),
        items: all.iter().map(Answer::from).collect(),
        next: None,
    }))
}

/// Of this environment; 404 when it was never restored.
pub(crate) async fn get_reconciliation(
    State(api): State<Api>,
    caller: InScope<Viewer>,
) -> Result<axum::Json<Answer>, Problem> {
    let found = api.shared.store.reconciliation_get(&caller.scope).await?;
    Ok(axum::Json(Answer::from(&found.ok_or_else(Problem::not_found)?)))
}

/// A person says that nothing is missing.
pub(crate) async fn end_reconciliation(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(why): Json<Why>,
) -> Result<axum::Json<Answer>, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.reconciliation_end(&caller.scope, decision).await?;
    portolan_pipeline::reconcile::end(&api.shared, &caller.scope).await?;
    let found = api.shared.store.reconciliation_get(&caller.scope).await?;
    Ok(axum::Json(Answer::from(&found.ok_or_else(Problem::not_found)?)))
}

/// Which incarnation this is, and what reconciles.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Reconciliations {
    /// One more with every restore.
    incarnation: u64,
    restored_at: Option<Time>,
    items: Vec<Answer>,
    next: Option<String>,
}

/// An environment after a restore.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reconciliation")]
pub(crate) struct Answer {
    tenant: TenantId,
    environment: Environment,
    /// `reconciling` or `over`.
    state: &'static str,
    /// What was sent since is forgotten.
    lost_from: Time,
    restored_at: Time,
    ended_at: Option<Time>,
    ended_by: Option<String>,
    why: Option<String>,
    waiting_for: WaitingFor,
}

/// What a reconciliation waits for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WaitingFor {
    runs: u64,
    deliveries: u64,
    /// Deliveries that wait for a person.
    persons: u64,
    sources: Vec<UnaskedSource>,
}

/// A source that was not asked to the end.
#[derive(Serialize, JsonSchema)]
pub(crate) struct UnaskedSource {
    source: SourceId,
    name: String,
    /// False: have the sender send again what it sent since `lost_from`.
    can_be_asked: bool,
}

impl From<&Reconciliation> for Answer {
    fn from(one: &Reconciliation) -> Self {
        let sources = one.waiting.sources.iter().map(|unasked| UnaskedSource {
            source: unasked.source.clone(),
            name: unasked.name.clone(),
            can_be_asked: unasked.can_be_asked,
        });
        let ended = one.ended.as_ref();
        Self {
            tenant: one.scope.tenant.clone(),
            environment: one.scope.environment,
            state: if ended.is_none() { "reconciling" } else { "over" },
            lost_from: one.lost_from.into(),
            restored_at: one.restored_at.into(),
            ended_at: ended.map(|ended| ended.at.into()),
            ended_by: ended.map(|ended| ended.by.clone()),
            why: ended.map(|ended| ended.why.clone()),
            waiting_for: WaitingFor {
                runs: one.waiting.runs,
                deliveries: one.waiting.deliveries,
                persons: one.waiting.persons,
                sources: sources.collect(),
            },
        }
    }
}
