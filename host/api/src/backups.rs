//! Backups, and what follows a restore.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
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
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use portolan_domain::{Environment, SourceId, TenantId};
use portolan_store::{StoreError, export::Wanted, reconciliation::Reconciliation};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

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

/// A backup waits so long for an export that is being written: no tenant's exports keep the host from being backed up.
const BACKUP_WAITS: Duration = Duration::from_secs(60);

/// When it is worth another try while something else is copied, in seconds.
const BUSY_RETRY_S: u16 = 30;

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
    let now = api.shared.clock.now();
    let (backup, body) = copied(&api, ("", BACKUP_WAITS), |path, wanted| {
        let store = Arc::clone(&api.shared.store);
        async move { store.backup(&path, now, wanted).await }
    })
    .await?;
    let mut response = body(backup.bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(backup.bytes));
    if let Ok(value) = HeaderValue::from_str(&backup.taken_at.to_string()) {
        headers.insert("x-portolan-taken-at", value);
    }
    Ok(BackupFile(response))
}

/// Exports and backups under way. Each takes a file's room and holds a state of the database for as long as it is written,
/// so one at a time is; and who has not fetched the last one yet is not given another.
#[derive(Clone)]
pub(crate) struct Copies {
    writing: Arc<Semaphore>,
    /// Whose copies are written or sent: a tenant's id; '' for backups.
    whose: Arc<Mutex<BTreeSet<String>>>,
}

impl Default for Copies {
    fn default() -> Self {
        Self { writing: Arc::new(Semaphore::new(1)), whose: Arc::default() }
    }
}

impl Copies {
    /// None while another of the same tenant is under way.
    fn enter(&self, whose: &str) -> Option<Sending> {
        let mut all = self.whose.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = all.insert(whose.to_owned());
        is_first.then(|| Sending { copies: self.clone(), whose: whose.to_owned() })
    }

    /// Begins one, when it can within this time.
    async fn begin(&self, whose: &str, waits: Duration) -> Result<(OwnedSemaphorePermit, Sending), Problem> {
        let busy = || {
            let text = "An export or a backup is being made or fetched. Try again when it is done.";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "exports-busy", text).after(BUSY_RETRY_S)
        };
        let sending = self.enter(whose).ok_or_else(busy)?;
        let turn = tokio::time::timeout(waits, Arc::clone(&self.writing).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        Ok((turn, sending))
    }
}

/// A copy from its beginning until it was sent.
struct Sending {
    copies: Copies,
    whose: String,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.copies.whose.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.whose);
    }
}

/// The name of a file that is written for somebody who waits: it goes when they have it open, or wait no longer. (Removed
/// at the next start, should this host die meanwhile.)
struct Waiting {
    path: PathBuf,
    over: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // In this order: who writes it looks at this last, and then removes it.
        self.over.store(true, Ordering::SeqCst);
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a file that was to be sent cannot be removed");
    }
}

/// Has a file made, to be sent as a body of so many bytes: for somebody who may wait so long. It is given up when the room
/// becomes short or the caller is gone.
pub(crate) async fn copied<T, M>(
    api: &Api,
    (whose, waits): (&str, Duration),
    make: impl FnOnce(PathBuf, Wanted) -> M,
) -> Result<(T, impl FnOnce(u64) -> Body), Problem>
where
    M: Future<Output = Result<T, StoreError>>,
{
    // The copy would take what is left.
    if api.shared.storage.shortage().is_some() {
        return Err(Problem::storage_low());
    }
    let (turn, sending) = api.copies.begin(whose, waits).await?;
    let path = api.settings.backup_dir.join(format!("backup-{}.tmp", ulid::Ulid::new()));
    let waiting = Waiting { path: path.clone(), over: Arc::default() };
    let (over, storage) = (Arc::clone(&waiting.over), Arc::clone(&api.shared.storage));
    let wanted: Wanted = Arc::new(move || !over.load(Ordering::SeqCst) && storage.shortage().is_none());
    let made = make(path.clone(), wanted).await.map_err(|error| match api.shared.storage.shortage() {
        Some(_) => Problem::storage_low(),
        None => error.into(),
    })?;
    drop(turn);
    let file = tokio::fs::File::open(&path).await.map_err(|error| Problem::unavailable(&error))?;
    // What is open can be read to its end.
    drop(waiting);
    Ok((made, move |left| {
        Body::new(Copy { file, left, buffer: vec![0; CHUNK_BYTES], sending: Some(sending) })
    }))
}

/// A file as a body, read as fast as it is sent.
struct Copy {
    /// Until all of it was read: who has it may ask for the next.
    sending: Option<Sending>,
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
                if this.left == 0 {
                    this.sending = None;
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_refused(copies: &Copies, whose: &str) -> bool {
        copies.begin(whose, Duration::ZERO).await.is_err()
    }

    #[tokio::test]
    async fn one_copy_is_written_at_a_time_and_one_of_each_is_sent() {
        let copies = Copies::default();
        let (turn, sending) = copies.begin("one", Duration::ZERO).await.unwrap();
        assert!(is_refused(&copies, "one").await && is_refused(&copies, "other").await);
        // A backup waits for its turn.
        let backup = tokio::spawn({
            let copies = copies.clone();
            async move { copies.begin("", BACKUP_WAITS).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(turn);
        assert!(backup.await.unwrap());
        // The first is still being sent.
        assert!(is_refused(&copies, "one").await && !is_refused(&copies, "other").await);
        drop(sending);
        assert!(!is_refused(&copies, "one").await);
    }
}
