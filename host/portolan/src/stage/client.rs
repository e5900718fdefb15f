//! A client of the admin API and of the stand-ins' own routes.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// Speaks JSON with one address, with one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {status} {body}")]
pub struct Refused {
    /// What was asked.
    pub method: Method,
    /// Of what.
    pub path: String,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body: as a rule a problem (RFC 9457).
    pub body: Value,
}

impl Refused {
    /// As people read it: what is wrong, what to do, and where more is told.
    #[must_use]
    pub fn told(&self, base: &str) -> String {
        let text = |name: &str| self.body.get(name).and_then(Value::as_str);
        let (Some(detail), Some(code)) = (text("detail"), text("code")) else { return self.to_string() };
        let errors: String = self
            .body
            .get("errors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|error| {
                let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
                format!("\n  {}: {}", part("pointer"), part("message"))
            })
            .collect();
        format!("{detail}{errors}\n({}, {code}: {base}/errors/{code})", self.status)
    }
}

impl Client {
    /// Where the admin API begins.
    pub const API: &str = "/api/v1";

    /// A client of `base` (`http://127.0.0.1:8080`).
    ///
    /// # Errors
    /// When the HTTP library cannot be set up.
    pub fn new(base: &str, key: Option<&str>) -> anyhow::Result<Self> {
        // Only the first call in a process installs it; the others find it there.
        drop(rustls::crypto::ring::default_provider().install_default());
        #[expect(
            clippy::disallowed_methods,
            reason = "a client of the host, not the host: it opens the user's own addresses"
        )]
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).no_proxy().build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key: key.map(str::to_owned) })
    }

    /// The same client with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Where it sends to.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request with a JSON body, if any, and reads the JSON answer (null when there is none).
    ///
    /// # Errors
    /// [`Refused`] when the answer is not a success.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        let (status, answer) = self.exchange(method.clone(), path, body, &[]).await?;
        if !status.is_success() {
            return Err(Refused { method, path: path.to_owned(), status, body: answer }.into());
        }
        Ok(answer)
    }

    /// One exchange, whatever its status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
        headers: &[(&str, String)],
    ) -> anyhow::Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, &url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some((media_type, bytes)) = body {
            request = request.header("content-type", media_type).body(bytes);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.with_context(|| url.clone())?;
        let status = response.status();
        let bytes = response.bytes().await?;
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let answer = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| text())
        };
        Ok((status, answer))
    }

    /// Has the host send a file, which is written as it comes. Answers its length; it is durable then.
    ///
    /// # Errors
    /// [`Refused`] when the answer is not a success. Whatever goes wrong later, the file is removed.
    pub async fn download(&self, path: &str, to: &std::path::Path) -> anyhow::Result<u64> {
        use std::os::unix::fs::OpenOptionsExt;
        let url = format!("{}{path}", self.base);
        // However long it takes.
        let request = self.http.post(&url).timeout(Duration::from_secs(86_400));
        let request = self.key.iter().fold(request, |request, key| request.bearer_auth(key));
        let mut response = request.send().await.with_context(|| url.clone())?;
        if !response.status().is_success() {
            let (status, body) = (response.status(), response.json().await.unwrap_or_default());
            return Err(Refused { method: Method::POST, path: path.to_owned(), status, body }.into());
        }
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(to);
        let mut file = file.with_context(|| to.display().to_string())?;
        let written = write_all(&mut response, &mut file).await;
        if written.is_err() {
            std::fs::remove_file(to)?;
        }
        // Its name, too.
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or_else(|| std::path::Path::new(".")))?.sync_all()?;
        written
    }

    /// `GET`
    ///
    /// # Errors
    /// See [`Self::send`].
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// `GET`, of what is not to be read as JSON: the text as it is.
    ///
    /// # Errors
    /// [`Refused`] when the answer is not a success.
    pub async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("{}{path}", self.base);
        let request = self.http.get(&url);
        let request = self.key.iter().fold(request, |request, key| request.bearer_auth(key));
        let response = request.send().await.with_context(|| url.clone())?;
        let status = response.status();
        let bytes = response.bytes().await?;
        if !status.is_success() {
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            return Err(Refused { method: Method::GET, path: path.to_owned(), status, body }.into());
        }
        String::from_utf8(bytes.to_vec()).with_context(|| format!("{url} is no text"))
    }

    /// `POST`
    ///
    /// # Errors
    /// See [`Self::send`].
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT`
    ///
    /// # Errors
    /// See [`Self::send`].
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH`
    ///
    /// # Errors
    /// See [`Self::send`].
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE`
    ///
    /// # Errors
    /// See [`Self::send`].
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::DELETE, path, None).await
    }
}

/// Writes a response's body; it is durable when this returns.
async fn write_all(response: &mut reqwest::Response, file: &mut std::fs::File) -> anyhow::Result<u64> {
    use std::io::Write;
    let (whole, mut bytes) = (response.content_length(), 0);
    while let Some(chunk) = response.chunk().await? {
        file.write_all(&chunk)?;
        bytes += u64::try_from(chunk.len())?;
    }
    anyhow::ensure!(
        whole.is_none_or(|whole| whole == bytes),
        "the answer was cut: {bytes} of {whole:?} bytes"
    );
    file.sync_all()?;
    Ok(bytes)
}
