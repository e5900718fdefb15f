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

use axum::{Router, extract::Request, response::Response};
use hyper::body::Incoming;
use tower::ServiceExt;

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
}

impl Watched {
    pub(super) const fn new(router: Router, activity: Arc<Activity>) -> Self {
        Self { router, activity }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Watched {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(self.activity.clone());
        let answer = self.router.clone().oneshot(request.map(axum::body::Body::new) as Request);
        Box::pin(async move {
            let answer = answer.await;
            drop(under_way);
            answer
        })
    }
}
