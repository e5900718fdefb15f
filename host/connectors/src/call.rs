//! One call in progress: its deadline, its sockets, and what a missing or unwelcome answer means for it.
//! Every connector makes its requests through [`Call`]; none decides for itself what a cut connection means.
//!
//! The rule: from the moment bytes of a write may have left until a complete answer was understood, the
//! outcome is unknown. A read has no outcome, so its failures are merely worth repeating or not.

use std::{
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use portolan_domain::{
    Secret,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    CallContext,
    outbound::{Answer, Pool, Request, Unanswered},
};

/// No advice to wait is taken for longer than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How much of an answer that is not in the expected form is quoted in a problem, in bytes.
const QUOTED_BYTES_MAX: usize = 2048;

/// Whether a request changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It does not.
    Asking,
    /// It does.
    Changing,
}

impl Doing {
    /// The failure of a request that was (or may have been) sent and whose answer is missing or makes no sense.
    pub(crate) fn unclear(self, problem: CallProblem) -> CallFailure {
        match self {
            Self::Asking => CallFailure::Retryable { problem, after_ms: None },
            Self::Changing => CallFailure::Ambiguous { problem },
        }
    }

    /// An answer that is complete but not what the system documents.
    pub(crate) fn unreadable(self, answer: &Answer, why: &str) -> CallFailure {
        let problem = CallProblem::new("unreadable-answer", why).with_detail(quote(answer));
        self.unclear(problem)
    }
}

/// One call in progress.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pool: &'a Pool,
    context: &'a CallContext,
    deadline: Instant,
    status: AtomicU16,
}

impl<'a> Call<'a> {
    /// Begins now and ends by the context's timeout.
    pub(crate) fn begin(pool: &'a Pool, context: &'a CallContext) -> Self {
        let deadline = Instant::now() + context.timeout;
        Self { pool, context, deadline, status: AtomicU16::new(0) }
    }

    /// What identifies the call.
    pub(crate) fn context(&self) -> &CallContext {
        self.context
    }

    /// Where requests go.
    pub(crate) fn pool(&self) -> &Pool {
        self.pool
    }

    /// The status of the last answer; 0 when there was none.
    pub(crate) fn last_status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }

    /// Makes a request and gives whatever answer there is.
    pub(crate) async fn send(&self, doing: Doing, request: Request) -> Result<Answer, CallFailure> {
        let mut request = request.changing(doing == Doing::Changing);
        // No scheme of signatures that a connector speaks covers headers.
        if let Some(value) = self.context.traceparent.as_deref().and_then(plain_header) {
            request = request.header(HeaderName::from_static("traceparent"), value);
        }
        match self.pool.exchange(request, self.deadline).await {
            Ok(answer) => {
                self.status.store(answer.status.as_u16(), Ordering::Relaxed);
                Ok(answer)
            }
            Err(unanswered) => Err(failure(doing, unanswered)),
        }
    }

    /// As [`Self::send`], but not for longer than `limit`.
    pub(crate) async fn send_within(
        &self,
        limit: Duration,
        doing: Doing,
        request: Request,
    ) -> Result<Answer, CallFailure> {
        let sending = self.send(doing, request);
        tokio::time::timeout(limit, sending).await.unwrap_or(Err(failure(doing, Unanswered::TimedOut)))
    }

    /// How long the call may still take.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits, if there is time left for it.
    pub(crate) async fn pause(&self, duration: Duration) -> bool {
        if Instant::now() + duration >= self.deadline {
            return false;
        }
        tokio::time::sleep(duration).await;
        true
    }

    /// The failure that a status stands for when a system says nothing more precise.
    pub(crate) fn refusal(&self, doing: Doing, answer: &Answer, problem: CallProblem) -> CallFailure {
        let after_ms = retry_after_ms(answer, self.context.now_seconds);
        match answer.status.as_u16() {
            401 | 403 | 407 => CallFailure::Unauthorized { problem },
            423 | 425 | 429 => CallFailure::Retryable { problem, after_ms },
            // A server that says when to come back has not begun. One that does not may be a gateway that
            // lost a server which is still working.
            503 if after_ms.is_some() => CallFailure::Retryable { problem, after_ms },
            408 | 500.. => doing.unclear(problem),
            // Post-redirect-get: the request may have been carried out before the redirect.
            ..=303 => match doing {
                Doing::Asking => CallFailure::Permanent { problem },
                Doing::Changing => CallFailure::Ambiguous { problem },
            },
            304..=499 => CallFailure::Permanent { problem },
        }
    }
}

fn failure(doing: Doing, unanswered: Unanswered) -> CallFailure {
    match unanswered {
        Unanswered::Refused { message } => CallFailure::permanent("address-refused", message),
        Unanswered::Unwelcome { message } => {
            CallFailure::Unauthorized { problem: CallProblem::new("credentials-refused", message) }
        }
        Unanswered::NotConnected { message } => {
            CallFailure::retryable("not-connected", format!("no connection could be made: {message}"))
        }
        Unanswered::TimedOut => doing.unclear(CallProblem::new("timeout", "no answer in time")),
        Unanswered::Lost { message } => {
            doing.unclear(CallProblem::new("connection-lost", format!("the connection broke: {message}")))
        }
        Unanswered::TooLarge { bytes_max } => {
            let message = format!("the answer is larger than {bytes_max} bytes");
            lasting(doing, CallProblem::new("answer-too-large", message))
        }
        Unanswered::Encoded => {
            let problem = CallProblem::new("unreadable-answer", "the answer is compressed, unasked");
            lasting(doing, problem)
        }
    }
}

/// An answer that would be as bad again.
fn lasting(doing: Doing, problem: CallProblem) -> CallFailure {
    match doing {
        Doing::Asking => CallFailure::Permanent { problem },
        Doing::Changing => CallFailure::Ambiguous { problem },
    }
}

/// A failure after a write whose own outcome is thereby not known: whatever it was, it is ambiguous.
pub(crate) fn in_doubt(failure: CallFailure) -> CallFailure {
    match failure {
        CallFailure::Retryable { problem, .. }
        | CallFailure::Permanent { problem }
        | CallFailure::Unauthorized { problem }
        | CallFailure::Ambiguous { problem } => CallFailure::Ambiguous { problem },
    }
}

/// The problem code that a status stands for.
pub(crate) fn status_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "credentials-refused",
        403 => "forbidden",
        404 => "not-found",
        429 => "rate-limited",
        503 => "unavailable",
        300..=399 => "redirected",
        400..=499 => "refused",
        500..=599 => "server-error",
        _ => "unexpected-status",
    }
}

/// Status and the beginning of the body, for the detail of a problem.
pub(crate) fn quote(answer: &Answer) -> Value {
    let beginning = answer.body.get(..QUOTED_BYTES_MAX).unwrap_or(&answer.body);
    json!({"status": answer.status.as_u16(), "body": String::from_utf8_lossy(beginning)})
}

/// How long the answer asks to wait: seconds, or a date compared with `now_seconds`.
pub(crate) fn retry_after_ms(answer: &Answer, now_seconds: u64) -> Option<u64> {
    let text = answer.header("retry-after")?.trim();
    let seconds = if let Ok(seconds) = text.parse::<u64>() {
        seconds
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        u64::try_from(date.as_second()).ok()?.saturating_sub(now_seconds)
    };
    Some(seconds.min(RETRY_AFTER_MAX.as_secs()).saturating_mul(1000))
}

/// A header value of visible ASCII. Other bytes would be legal in HTTP, and mean something else everywhere.
pub(crate) fn plain_header(text: &str) -> Option<HeaderValue> {
    let visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    HeaderValue::from_str(text).ok().filter(|_| visible)
}

/// As [`plain_header`], marked so that the HTTP client does not print it.
pub(crate) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = plain_header(text)?;
    value.set_sensitive(true);
    Some(value)
}

/// User and password as Basic authorization.
pub(crate) fn basic_header(user: &Secret, password: &Secret) -> Option<HeaderValue> {
    let pair = Secret::new(format!("{}:{}", user.expose(), password.expose()));
    secret_header(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))).expose())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn answer(retry_after: &'static str) -> Answer {
        let headers =
            HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static(retry_after))]);
        Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new() }
    }

    #[test]
    fn advice_to_wait_is_seconds_or_a_date() {
        assert_eq!(retry_after_ms(&answer("7"), 0), Some(7_000));
        assert_eq!(retry_after_ms(&answer("Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_747), Some(30_000));
        assert_eq!(retry_after_ms(&answer("Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_999), Some(0));
        assert_eq!(retry_after_ms(&answer("soon"), 0), None);
        assert_eq!(retry_after_ms(&answer("-1"), 0), None);
        assert_eq!(retry_after_ms(&answer("99999999999"), 0), Some(86_400_000));
    }
}
