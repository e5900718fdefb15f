//! The accept loop. `axum::serve` has no time limit on headers and no bound on connections, and whoever holds
//! a thousand sockets open with half a request line must not keep a webhook waiting; so the loop is our own.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

/// Bounds of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Connections open at once; more wait in the system's queue.
    pub connections_max: usize,
    /// How long a request's headers may take to arrive, in milliseconds; also how long a connection may be
    /// idle between requests.
    pub header_ms_max: u64,
    /// How long open requests may take to end at shutdown, in milliseconds.
    pub shutdown_ms_max: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { connections_max: 4_096, header_ms_max: 15_000, shutdown_ms_max: 10_000 }
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
    let server = builder(&settings);
    let graceful = GracefulShutdown::new();
    while !*stopped.borrow() {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let stream: TcpStream = match stream {
            Ok((stream, _)) => stream,
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
        // Acknowledgements are small and must not wait for more bytes; without this they are only later.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "a connection ended early");
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
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_ms_max))
        .max_buf_size(64 << 10);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_pending_accept_reset_streams(16)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    server
}
