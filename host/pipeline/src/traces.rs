//! One trace per event, from the request that brought it through each run and attempt to the calls of other systems
//! (W3C Trace Context). The event keeps its `traceparent`: whatever is done for it an hour later, or after a restart, is a
//! child of the same.
//!
//! A span says who, what and how it ended, in ids and names of ours: no payload, no secret, no text of other people's but
//! the kind of an event, cut short. Whoever calls this need not ask whether anybody listens: without a tracer a span
//! is nothing, and a `traceparent` that a sender gave is passed on.

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId, Value,
    global::{BoxedSpan, BoxedTracer},
    trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer},
};

/// The longest text that a span carries, in characters.
const TEXT_CHARS_MAX: usize = 64;

/// Begins spans, when somebody listens.
#[derive(Debug, Default)]
pub struct Traces(Option<BoxedTracer>);

/// Something that takes time. Ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    span: Option<BoxedSpan>,
    traceparent: Option<String>,
}

impl Traces {
    /// To this tracer.
    #[must_use]
    pub const fn to(tracer: BoxedTracer) -> Self {
        Self(Some(tracer))
    }

    /// Begins a span below `parent` (a `traceparent`), or one that begins a trace. `kind`: see OpenTelemetry.
    #[must_use]
    pub fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<&str>) -> Span {
        let parent = parent.and_then(parse);
        let Some(tracer) = &self.0 else {
            return Span { span: None, traceparent: parent.as_ref().map(write) };
        };
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let span = tracer.span_builder(name).with_kind(kind).start_with_context(tracer, &context);
        let traceparent = Some(span.span_context()).filter(|context| context.is_valid()).map(write);
        Span { span: Some(span), traceparent }
    }
}

impl Span {
    /// Says something about it: an id or a name of ours.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// The same of somebody else's text, of which it keeps the beginning.
    pub fn set_text(&mut self, key: &'static str, text: &str) {
        if self.span.is_some() {
            self.set(key, text.chars().take(TEXT_CHARS_MAX).collect::<String>());
        }
    }

    /// It failed: with this code, which is none of other people's texts.
    pub fn fail(&mut self, code: &str) {
        self.set_text("error.type", code);
        if let Some(span) = &mut self.span {
            span.set_status(Status::error(code.chars().take(TEXT_CHARS_MAX).collect::<String>()));
        }
    }

    /// What is done for it belongs below this. None when nobody listens and nobody asked to be told.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.traceparent.clone()
    }
}

/// The trace's id in a `traceparent`: 32 hex digits.
#[must_use]
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent?.get(3..35)
}

/// The `traceparent` of a request, if it has one that is as it should be.
#[must_use]
pub fn of_request(headers: &http::HeaderMap) -> Option<&str> {
    headers.get("traceparent")?.to_str().ok().filter(|text| parse(text).is_some())
}

/// As <https://www.w3.org/TR/trace-context/#traceparent-header> says; of later versions what this one knows.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().splitn(5, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let well = lower_hex(version, 2) && lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2);
    if !well || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & TraceFlags::SAMPLED.to_u8());
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

fn write(context: &SpanContext) -> String {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    format!("00-{trace:032x}-{span:016x}-{flags:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_that_is_not_as_it_should_be_is_none() {
        assert_eq!(parse(GIVEN).as_ref().map(write).as_deref(), Some(GIVEN));
        let later = GIVEN.replacen("00", "cc", 1) + "-what-will-be";
        assert_eq!(parse(&later).as_ref().map(write).as_deref(), Some(GIVEN), "a later version");
        for bad in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn without_a_listener_what_was_given_is_passed_on() {
        let traces = Traces::default();
        let span = traces.begin("intake", SpanKind::Server, Some(GIVEN));
        assert_eq!(span.traceparent().as_deref(), Some(GIVEN));
        assert_eq!(trace_id(span.traceparent().as_deref()), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(traces.begin("intake", SpanKind::Server, None).traceparent(), None);
    }
}
