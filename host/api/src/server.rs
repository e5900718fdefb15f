//! The accept loop. `axum::serve` has no time limit on headers and no bound on connections, and whoever holds
//! a thousand sockets open with half a request line must not keep a webhook waiting; so the loop is our own.
//!
//! What each way of holding a connection meets:
//!
//! | whoever | is ended by |
//! |---|---|
//! | sends nothing, or half a preface | `header_ms_max`, in `bounded` |
//! | sends its headers byte by byte | `header_ms_max`, by hyper: for the head as a whole |
//! | sends its body byte by byte | `body_ms_max`, in `body`: for the body as a whole |
//! | sends on after it was refused | two seconds or 64 MiB, in `remainder` |
//! | does not read its answer | `write_ms_max` without progress, in `bounded` |
//! | asks for nothing (HTTP/2 pings included) | `idle_ms_max` without a request, in `activity` |
//! | opens many | `connections_per_address_max`, in `seats` |
//! | resets streams or sends too much head | hyper's HTTP/2 bounds, set here |

mod activity;
mod bounded;
mod remainder;
mod seats;

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use activity::{Activity, Watched};
use bounded::BoundedStream;
use remainder::Remainder;
use seats::Seats;

/// Bounds of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Connections open at once; more wait in the system's queue.
    pub connections_max: usize,
    /// Connections of one address open at once (IPv6: of one /64); more are closed. 0: no such bound, for a host behind
    /// a proxy, where all come from one address.
    pub connections_per_address_max: usize,
    /// Largest head of a request (request line and headers), in bytes; at least 8192.
    pub head_bytes_max: usize,
    /// How long a request's headers may take to arrive, in milliseconds; also how long a connection may be
    /// idle between requests.
    pub header_ms_max: u64,
    /// How long a client may read nothing of its answer, in milliseconds.
    pub write_ms_max: u64,
    /// After how long a connection without a request under way is closed, in milliseconds, whatever else it does; at most
    /// twice as long.
    pub idle_ms_max: u64,
    /// How long open requests may take to end at shutdown, in milliseconds.
    pub shutdown_ms_max: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_address_max: 1_024,
            head_bytes_max: 32 << 10,
            header_ms_max: 10_000,
            write_ms_max: 10_000,
            idle_ms_max: 60_000,
            shutdown_ms_max: 10_000,
        }
    }
}

/// Serves until `stopped` turns true, then lets open requests end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let seats = Seats::new(settings.connections_per_address_max);
    let server = builder(&settings);
    let graceful = GracefulShutdown::new();
    let idle = Duration::from_millis(settings.idle_ms_max);
    while !*stopped.borrow() {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, as a rule: those of ended connections come back soon.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection could not be accepted"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(seat) = seats.take(address.ip()) else {
            metrics::counter!("portolan_connections_refused_total").increment(1);
            continue;
        };
        // Acknowledgements are small and must not wait for more bytes; without this they are only later.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
        }
        let (activity, remainder) = (Arc::new(Activity::default()), Remainder::default());
        let patience = (settings.header_ms_max, settings.write_ms_max);
        let stream = BoundedStream::new(stream, patience, remainder.clone());
        let service = Watched::new(router.clone(), activity.clone(), remainder);
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _held = (place, seat);
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error = &*error, "a connection ended early");
                },
                () = activity.idle(idle) => tracing::debug!("an idle connection was closed"),
            }
        });
    }
    drop(listener);
    let patience = Duration::from_millis(settings.shutdown_ms_max);
    if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open after {patience:?}");
    }
}

fn builder(settings: &ServerSettings) -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    let head_bytes_max = settings.head_bytes_max.max(8 << 10);
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_ms_max))
        .max_headers(100)
        .max_buf_size(head_bytes_max);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        // Rapid reset: whoever resets more than these before they were looked at is told to calm down, and closed.
        .max_pending_accept_reset_streams(16)
        .max_local_error_reset_streams(64)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(256 << 10)
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(256 << 10)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    server
}
