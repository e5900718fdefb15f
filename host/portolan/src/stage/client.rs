//! A client of the admin API and of the stand-ins' own routes.

use std::{io::Write, time::Duration};

use anyhow::Context;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// Speaks JSON with one address, with one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    tenant: Option<String>,
}

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long an answer may take that is read as a whole.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {status} {body}")]
pub struct Refused {
    /// Of which host.
    pub base: String,
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
    pub fn told(&self) -> String {
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
        format!("{detail}{errors}\n({}, {code}: {}/errors/{code})", self.status, self.base)
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
        let http = reqwest::Client::builder().connect_timeout(CONNECT_MAX).no_proxy().build()?;
        let (base, key) = (base.trim_end_matches('/').to_owned(), key.map(str::to_owned));
        Ok(Self { http, base, key, tenant: None })
    }

    /// The same client with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same client, which acts for a tenant with an operator's key.
    #[must_use]
    pub fn for_tenant(&self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), ..self.clone() }
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
            return Err(self.refused(method, path, status, answer).into());
        }
        Ok(answer)
    }

    /// What was asked here and refused.
    #[must_use]
    pub fn refused(&self, method: Method, path: &str, status: StatusCode, body: Value) -> Refused {
        Refused { base: self.base.clone(), method, path: path.to_owned(), status, body }
    }

    /// A request of this client; whoever sends it says how long it may take.
    fn request(&self, method: Method, path: &str, headers: &[(&str, String)]) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("portolan-tenant", tenant);
        }
        headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    async fn sent(&self, request: RequestBuilder, path: &str) -> anyhow::Result<Response> {
        request.send().await.with_context(|| format!("{}{path}", self.base))
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
        let mut request = self.request(method, path, headers).timeout(ANSWER_MAX);
        if let Some((media_type, bytes)) = body {
            request = request.header("content-type", media_type).body(bytes);
        }
        let response = self.sent(request, path).await?;
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
        let response = self.open(Method::POST, path, &[]).await?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(to);
        let mut file = file.with_context(|| to.display().to_string())?;
        let written = match pour(response, &mut file).await {
            Ok(bytes) => file.sync_all().map(|()| bytes).map_err(Into::into),
            Err(error) => Err(error),
        };
        if written.is_err() {
            std::fs::remove_file(to)?;
        }
        // Its name, too.
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or_else(|| std::path::Path::new(".")))?.sync_all()?;
        written
    }

    /// Hands an answer on as it comes, byte for byte, whatever it is and however long it takes. Answers its length.
    ///
    /// # Errors
    /// [`Refused`] when the answer is not a success; then nothing was handed on.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        to: &mut (dyn Write + Send),
    ) -> anyhow::Result<u64> {
        let response = self.open(method, path, headers).await?;
        let bytes = pour(response, to).await?;
        to.flush()?;
        Ok(bytes)
    }

    /// The beginning of an answer that may take as long as it takes.
    async fn open(&self, method: Method, path: &str, headers: &[(&str, String)]) -> anyhow::Result<Response> {
        let response = self.sent(self.request(method.clone(), path, headers), path).await?;
        self.accepted(method, path, response).await
    }

    /// An answer, if it is a success.
    async fn accepted(&self, method: Method, path: &str, response: Response) -> anyhow::Result<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, body) = (response.status(), response.json().await.unwrap_or_default());
        Err(self.refused(method, path, status, body).into())
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
        let response = self.sent(self.request(Method::GET, path, &[]).timeout(ANSWER_MAX), path).await?;
        let bytes = self.accepted(Method::GET, path, response).await?.bytes().await?;
        String::from_utf8(bytes.to_vec()).with_context(|| format!("{}{path} is no text", self.base))
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

/// Writes a response's body as it comes.
async fn pour(mut response: Response, to: &mut (dyn Write + Send)) -> anyhow::Result<u64> {
    let (whole, mut bytes) = (response.content_length(), 0);
    while let Some(chunk) = response.chunk().await? {
        to.write_all(&chunk)?;
        bytes += u64::try_from(chunk.len())?;
    }
    anyhow::ensure!(
        whole.is_none_or(|whole| whole == bytes),
        "the answer was cut: {bytes} of {whole:?} bytes"
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
    };

    use super::*;

    /// The address of somebody who answers one request with this, and the request's head.
    fn answering(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer).unwrap();
            head.join("\n")
        });
        (address, served)
    }

    #[tokio::test]
    async fn what_is_no_text_is_handed_on_byte_for_byte() {
        let (address, served) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\xff\0\r\n");
        let client = Client::new(&address, Some("ptk_1")).unwrap().for_tenant("ten_1");
        let mut got = Vec::new();
        let bytes =
            client.stream(Method::GET, "/file", &[("x-more", "1".to_owned())], &mut got).await.unwrap();
        assert_eq!((bytes, got.as_slice()), (4, &b"\xff\0\r\n"[..]));
        let head = served.join().unwrap().to_lowercase();
        for line in
            ["get /file http/1.1", "authorization: bearer ptk_1", "portolan-tenant: ten_1", "x-more: 1"]
        {
            assert!(head.lines().any(|one| one == line), "{line} in {head}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_its_own_words_and_nothing_is_handed_on() {
        let (address, _) = answering(
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 40\r\n\r\n{\"code\":\"forbidden\",\"detail\":\"Not you.\"}",
        );
        let client = Client::new(&address, None).unwrap();
        let mut got = Vec::new();
        let error = client.stream(Method::GET, "/file", &[], &mut got).await.unwrap_err();
        assert!(got.is_empty());
        let told = error.downcast_ref::<Refused>().unwrap().told();
        assert_eq!(told, format!("Not you.\n(403 Forbidden, forbidden: {address}/errors/forbidden)"));
    }
}
