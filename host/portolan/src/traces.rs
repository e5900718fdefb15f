//! Sends traces to the operator's collector (OTLP over HTTP), if there is one. Spans wait in a bounded queue and are sent by
//! a thread of their own; when the collector is slow or gone they are dropped, and nothing else notices.

use anyhow::Context;
use http::Request;
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use portolan_connectors::collector::Collector;
use portolan_pipeline::traces::Traces;

use crate::settings::{Settings, otlp_url_of_environment, traces_of};

/// What sends traces, or nothing.
pub(crate) struct Tracing(Option<SdkTracerProvider>);

/// Starts it. Within a runtime: the requests are made there.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<Tracing> {
    let set = Some(&settings.traces.otlp_url).filter(|url| !url.is_empty()).map(|url| traces_of(url));
    let Some(url) = set.or_else(otlp_url_of_environment) else { return Ok(Tracing(None)) };
    let read =
        |path: &std::path::PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let roots = settings.outbound.root_certificates.iter().map(read).collect::<anyhow::Result<_>>()?;
    let collector = Collector::new(&url, roots).with_context(|| format!("traces.otlp_url: {url}"))?;
    let posts = Posts { collector, runtime: tokio::runtime::Handle::current() };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(posts)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .context("traces")?;
    let resource = Resource::builder().with_service_name("portolan").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Ok(Tracing(Some(provider)))
}

impl Tracing {
    /// Where spans are begun.
    pub(crate) fn traces(&self) -> Traces {
        match &self.0 {
            None => Traces::default(),
            Some(provider) => {
                let tracer = provider.tracer("portolan");
                Traces::to(global::BoxedTracer::new(Box::new(tracer)))
            }
        }
    }

    /// Sends what waits, and ends.
    pub(crate) async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last traces could not be sent");
        }
    }
}

/// Makes the exporter's requests. Its thread is none of the runtime's, where alone sockets live.
#[derive(Debug)]
struct Posts {
    collector: Collector,
    runtime: tokio::runtime::Handle,
}

#[async_trait::async_trait]
impl HttpClient for Posts {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (collector, (head, body)) = (self.collector.clone(), request.into_parts());
        let sent = self.runtime.spawn(async move { collector.post(head.headers, body).await });
        Ok(sent.await??)
    }
}
