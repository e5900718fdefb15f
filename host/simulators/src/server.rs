//! The accept loop, and the two things a web framework does not offer: a connection that is closed without an
//! answer, and a listening socket that goes away for a while.
//!
//! Called by [`crate::run`](crate::run()) and by tests. It binds to loopback only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::admin;
use crate::exchange::{Ending, Simulator};
use crate::faults::Faults;
use crate::journal::Journal;
use crate::ledger::{Ledger, LedgerError};
use crate::settings::{SimulatorSettings, System};
use crate::stand_in::{Call, Reply, StandIn};
use crate::{epicor, sage, sap, streams, stripe};

/// A request body larger than this is refused with 413.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Connections served at the same time; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 2_048;
/// What a request may take to send its headers.
const HEADERS_MS_MAX: u64 = 10_000;
/// What calls under way get at shutdown.
const SHUTDOWN_MS_MAX: u64 = 1_000;
/// How long a socket that refuses stays closed when nothing else is said.
pub(crate) const REFUSE_MS_DEFAULT: u64 = 1_000;

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Simulators have well-known credentials and an open administration: they listen on loopback only.
    #[error("{0} is not a loopback address; simulators listen on loopback only")]
    NotLoopback(SocketAddr),
    /// The address cannot be bound.
    #[error("{address} cannot be bound")]
    Bind {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The ledger cannot be used.
    #[error("the simulator's ledger cannot be opened")]
    Ledger(#[from] LedgerError),
}

/// A running simulator. Dropping it ends it without grace.
pub struct Running {
    address: SocketAddr,
    simulator: Arc<Simulator>,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:…`, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The judge's book.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.simulator.ledger
    }

    /// Stops accepting, gives calls under way a second, and ends.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the accept loop ended badly");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Starts a simulator; it answers when this returns.
///
/// # Errors
/// The address is not loopback or taken, or the ledger is unusable.
pub async fn serve(system: System, settings: SimulatorSettings) -> Result<Running, StartError> {
    if !settings.listen.ip().is_loopback() {
        return Err(StartError::NotLoopback(settings.listen));
    }
    let ledger = Ledger::open(settings.ledger_path.as_deref())?;
    let journal = Journal::open(settings.calls_path.as_deref()).map_err(LedgerError::from)?;
    let (faults, latency_ms) = (Faults::new(settings.random_faults.clone()), settings.latency_ms);
    let stand_in: Box<dyn StandIn> = match system {
        System::Stripe => Box::new(stripe::Stripe::new(settings.stripe)),
        System::SapEcc => Box::new(sap::SapEcc::new(settings.sap)),
        System::Epicor => Box::new(epicor::Epicor::new(settings.epicor)),
        System::SagePro => Box::new(sage::SagePro::new(settings.sage)),
    };
    let simulator = Arc::new(Simulator::new(system, stand_in, (ledger, journal), faults, latency_ms));
    stripe::sending::send_live(&simulator);
    tokio::spawn(crate::background::run(Arc::downgrade(&simulator)));
    let bind = |source| StartError::Bind { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (refuse, refusals) = mpsc::channel(16);
    let router = admin::routes(refuse).fallback(forward).with_state(Arc::clone(&simulator));
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn(accept(listener, address, Accepting { router, refusals, stopped }));
    Ok(Running { address, simulator, stop, accepting })
}

struct Accepting {
    router: Router,
    refusals: mpsc::Receiver<u64>,
    stopped: watch::Receiver<bool>,
}

async fn accept(mut listener: TcpListener, address: SocketAddr, mut accepting: Accepting) {
    let mut connections = JoinSet::new();
    // Tells connections to finish what they are at and close.
    let (drain, _) = watch::channel(());
    loop {
        tokio::select! {
            _ = accepting.stopped.changed() => break,
            Some(ms) = accepting.refusals.recv() => {
                drop(listener);
                drain.send_replace(());
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                    _ = accepting.stopped.changed() => return,
                }
                listener = match TcpListener::bind(address).await {
                    Ok(listener) => listener,
                    Err(error) => {
                        tracing::error!(%error, "the socket that refused cannot be bound again");
                        return;
                    }
                };
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, accepting.router.clone(), drain.subscribe()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
    }
    drop(listener);
    drain.send_replace(());
    let grace = tokio::time::sleep(Duration::from_millis(SHUTDOWN_MS_MAX));
    tokio::pin!(grace);
    while !connections.is_empty() {
        tokio::select! {
            _ = connections.join_next() => {}
            () = &mut grace => break,
        }
    }
}

/// The caller is to hear nothing: hyper closes the connection when its service fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct CutOnPurpose;

/// Marks a response that is not to be sent.
#[derive(Clone)]
struct Unsent;

async fn connection(stream: TcpStream, router: Router, mut drained: watch::Receiver<()>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let response: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
            match response {
                Ok(response) if response.extensions().get::<Unsent>().is_none() => Ok(response),
                Ok(_) => Err(CutOnPurpose),
                Err(never) => match never {},
            }
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(HEADERS_MS_MAX));
    let served = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        _ = drained.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

pub(crate) async fn forward(State(simulator): State<Arc<Simulator>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return respond(Reply::empty(413));
    };
    let query = parts.uri.query().unwrap_or_default();
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body,
        in_flight: 0,
    };
    match simulator.exchange(call).await {
        Ending::Answer(reply) => respond(reply),
        Ending::Drip(reply, ms) => streams::drip(reply, ms),
        Ending::Endless(reply) => streams::endless(reply),
        Ending::Cut => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Unsent);
            response
        }
    }
}

/// A reply as a response of the web framework.
pub(crate) fn respond(reply: Reply) -> Response {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap_or_else(|error| {
        tracing::error!(%error, "a reply could not be built");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
