//! A socket that ends when its other side does nothing for too long, in the two places where hyper waits without end:
//! before it knows which version of HTTP is spoken, and while it writes. And that ends so that a refusal is seen.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::remainder::{Discard, Remainder};

/// How HTTP/2 begins. Whoever begins otherwise speaks HTTP/1, whose heads hyper bounds.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client's socket.
#[derive(Debug)]
pub(super) struct BoundedStream {
    stream: TcpStream,
    /// Until it is clear which version is spoken: when that must be, and how much of the preface has been read.
    beginning: Option<(Pin<Box<Sleep>>, usize)>,
    write_patience: Duration,
    /// While a write waits: when it has waited too long.
    stalled: Option<Pin<Box<Sleep>>>,
    remainder: Remainder,
    /// While it closes with a remainder.
    discard: Option<Discard>,
}

impl BoundedStream {
    pub(super) fn new(
        stream: TcpStream,
        (header_ms_max, write_ms_max): (u64, u64),
        remainder: Remainder,
    ) -> Self {
        let deadline = Box::pin(sleep(Duration::from_millis(header_ms_max)));
        let write_patience = Duration::from_millis(write_ms_max);
        let beginning = Some((deadline, 0));
        Self { stream, beginning, write_patience, stalled: None, remainder, discard: None }
    }

    fn look(&mut self, bytes: &[u8]) {
        let Some((_, matched)) = &mut self.beginning else { return };
        let rest = PREFACE.get(*matched..).unwrap_or_default();
        let common = rest.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        *matched += common;
        // Anything else than the preface, or all of it: what follows has limits of its own.
        if common < bytes.len() || *matched == PREFACE.len() {
            self.beginning = None;
        }
    }

    /// Lets a write wait, but not for ever.
    fn bounded<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.write_patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(too_slow("the client does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.look(buffer.filled().get(before..).unwrap_or_default());
        } else if let Some((deadline, _)) = &mut self.beginning
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(too_slow("no request in time")));
        }
        read
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, remainder, discard, .. } = &mut *self;
        if discard.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            if !remainder.is_left() {
                return Poll::Ready(Ok(()));
            }
        }
        discard.get_or_insert_with(Discard::new).poll(stream, context)
    }
}
