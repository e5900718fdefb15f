//! What is left of a body when its request is answered: one that is too large, or whose sender may not come in. HTTP/1 has
//! no way to say that it is not wanted any more, so
//!
//! * a little is read and thrown away, and the connection goes on;
//! * of more the client is told that the connection ends, lest it sends its next request into a closed one. The system
//!   resets a connection that is closed while bytes lie unread in it, and the client, which is still sending, would never
//!   see why it was refused (RFC 9112, section 9.6): so what comes is thrown away for a moment before the end.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Request,
    body::{Body, Frame, Incoming, SizeHint},
    header::EXPECT,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

/// A little: what senders have on its way when they have written their head.
const LITTLE_BYTES_MAX: u64 = 64 << 10;
/// How long a little may take.
const LITTLE_PATIENCE: Duration = Duration::from_millis(100);
/// How long bytes are thrown away before the end, at most.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How many, at most: the largest module, or what a sender had on its way.
const END_BYTES_MAX: usize = 64 << 20;

/// What is left of the body of a connection's latest request.
#[derive(Debug, Clone, Default)]
pub(super) struct Remainder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// The request is being answered.
    #[default]
    Open,
    /// It is, and whoever answers it has dropped the body before its end.
    Dropped(Incoming),
    /// It was answered; nothing is left.
    Answered,
    /// It was answered, and the rest of the body still comes.
    Left,
}

impl Remainder {
    /// A request whose body tells when it is dropped before its end.
    pub(super) fn watch(&self, request: Request<Incoming>) -> Request<Watched> {
        *self.state() = State::Open;
        let waits = request.headers().contains_key(EXPECT);
        request.map(|body| Watched {
            body: (!body.is_end_stream()).then_some(body),
            waits,
            remainder: self.clone(),
        })
    }

    /// The request has its answer. Whether the connection can go on.
    pub(super) async fn settle(&self) -> bool {
        let state = std::mem::replace(&mut *self.state(), State::Answered);
        let can_go_on = match state {
            State::Dropped(body) => is_little(body).await,
            State::Open | State::Answered => true,
            State::Left => false,
        };
        if !can_go_on {
            *self.state() = State::Left;
        }
        can_go_on
    }

    pub(super) fn is_left(&self) -> bool {
        matches!(*self.state(), State::Left)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body to its end, if that is near.
async fn is_little(mut body: Incoming) -> bool {
    if body.size_hint().lower() > LITTLE_BYTES_MAX {
        return false;
    }
    let to_its_end = async {
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > LITTLE_BYTES_MAX {
                return false;
            }
        }
        true
    };
    timeout(LITTLE_PATIENCE, to_its_end).await.unwrap_or(false)
}

/// A body that is given back when it was not read to its end.
#[derive(Debug)]
pub(super) struct Watched {
    /// None at its end.
    body: Option<Incoming>,
    /// The client sends it only when it is asked for.
    waits: bool,
    remainder: Remainder,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        if frame.is_none() || body.is_end_stream() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let mut state = self.remainder.state();
        *state = match *state {
            State::Open if !self.waits => State::Dropped(body),
            State::Open | State::Dropped(_) | State::Answered | State::Left => State::Left,
        };
    }
}

/// Throws away what comes, until the client ends, or enough is enough.
#[derive(Debug)]
pub(super) struct Discard {
    deadline: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Discard {
    pub(super) fn new() -> Self {
        Self { deadline: Box::pin(sleep(END_PATIENCE)), bytes: 0 }
    }

    pub(super) fn poll(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0u8; 16 << 10];
        while self.bytes < END_BYTES_MAX && self.deadline.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
            let length = buffer.filled().len();
            if read.is_err() || length == 0 {
                break;
            }
            self.bytes += length;
        }
        Poll::Ready(Ok(()))
    }
}
