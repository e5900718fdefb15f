//! Whether a connection is used: HTTP/2 lets a client keep one open for ever by answering pings, and ours are counted.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, Version, header::CONNECTION},
    response::Response,
};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::remainder::Remainder;

/// Requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// Ends when no request was under way for `patience`; at most twice as late.
    pub(super) async fn idle(&self, patience: Duration) {
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(patience).await;
            if begun == self.begun.load(Ordering::Relaxed) && begun == self.ended.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Counts a request as ended however it ends.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The routes, with their requests counted.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    router: Router,
    activity: Arc<Activity>,
    remainder: Remainder,
}

impl Watched {
    pub(super) const fn new(router: Router, activity: Arc<Activity>, remainder: Remainder) -> Self {
        Self { router, activity, remainder }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Watched {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(self.activity.clone());
        // A stream of HTTP/2 ends by itself, and leaves nothing in the socket.
        let remainder = (request.version() != Version::HTTP_2).then(|| self.remainder.clone());
        let request: Request = match &remainder {
            Some(remainder) => remainder.watch(request).map(Body::new),
            None => request.map(Body::new),
        };
        let answer = self.router.clone().oneshot(request);
        Box::pin(async move {
            let Ok(mut answer) = answer.await;
            if let Some(remainder) = remainder
                && !remainder.settle().await
            {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(under_way);
            Ok(answer)
        })
    }
}
