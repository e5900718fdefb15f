//! Where hostile modules meet the host: a real process, a tenant for each module, a wire that keeps what deliveries
//! say, and one that nothing may reach.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use portolan::stage::{Host, Refused, Tenant, TenantSetup};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use super::{Case, Expected, Look, binary::damage};
use crate::dice::Dice;

/// How long a case may take to stand still.
const PATIENCE: Duration = Duration::from_secs(180);
/// Events sent before the first of them is looked at: more than there are guest threads, and than the pool has places.
const BURST: usize = 24;

/// The host and what it is surrounded by.
#[derive(Debug)]
pub struct Arena {
    /// The host.
    pub host: Host,
    /// What arrived where deliveries go.
    pub wire: Wire,
    /// What arrived where nothing may go.
    pub canary: Wire,
    /// How often the host has ended.
    pub exits: u32,
    /// Uploads it.
    tenant: Tenant,
    dice: Dice,
    events: u64,
    _folder: tempfile::TempDir,
}

/// What was seen of a case.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What the host made of it: codes.
    pub verdict: String,
    /// Runs and uploads.
    pub runs: usize,
    /// The longest upload or run, in milliseconds.
    pub worst_ms: u64,
    /// Resident memory of the host before and after, in KiB.
    pub memory_kib: (u64, u64),
    /// What was not as it must be.
    pub problems: Vec<String>,
}

/// A case whose module was admitted: what later rounds need.
#[derive(Debug)]
pub struct Admitted {
    tenants: Vec<Tenant>,
}

impl Arena {
    /// Starts the host, which is this program.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(program: &Path, seed: u64, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let wire = Wire::listen("127.0.0.1:0", None).await?;
        let canary = Wire::listen("127.0.0.2:0", None).await?;
        let wire = Wire { leads_to: Some(format!("http://{}/", canary.address)), ..wire };
        wire.serve();
        canary.serve();
        // The canary is on loopback too, but not on this address.
        let mut all = vec![
            ("PORTOLAN_OUTBOUND__ALLOW_LOOPBACK", "false"),
            ("PORTOLAN_OUTBOUND__ALLOW", r#"["127.0.0.1/32"]"#),
            ("PORTOLAN_LOG__FILTER", "warn"),
        ];
        all.extend_from_slice(settings);
        let host = Host::start(program, &folder.path().join("host"), "127.0.0.1:0", &all).await?;
        let setup = setup("the uploader", super::guests::Guest::default().component(), &wire);
        let tenant = Tenant::set_up(&host.operator, &setup).await?;
        Ok(Self { host, wire, canary, exits: 0, tenant, dice: Dice::new(seed), events: 0, _folder: folder })
    }

    /// A tenant with this module as its mapping.
    ///
    /// # Errors
    /// Whatever the host refuses.
    pub async fn tenant(&self, name: &str, module: Vec<u8>) -> anyhow::Result<Tenant> {
        Tenant::set_up(&self.host.operator, &setup(name, module, &self.wire)).await
    }

    /// Resident memory of the host, in KiB.
    #[must_use]
    pub fn memory_kib(&self) -> u64 {
        let status = self.host.id().map(|id| format!("/proc/{id}/status"));
        let text = status.and_then(|path| std::fs::read_to_string(Path::new(&path)).ok()).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
    }

    /// Uploads a case's module, and runs it so many times if it is admitted.
    ///
    /// # Errors
    /// When the host does not answer at all.
    pub async fn prove(&mut self, case: &Case, runs: usize) -> anyhow::Result<(Seen, Option<Admitted>)> {
        let mut seen = Seen { memory_kib: (self.memory_kib(), 0), ..Seen::default() };
        let mut admitted = None;
        match &case.expected {
            Expected::Refused(codes) => self.refused(case, codes, &mut seen).await?,
            Expected::Answered => self.answered(case, runs, &mut seen).await?,
            Expected::Ends(..) | Expected::Alternates(_) => match self.admit(case).await {
                Ok(tenants) => {
                    let known = Admitted { tenants };
                    self.runs(case, &known, runs, &mut seen).await?;
                    admitted = Some(known);
                }
                Err(error) => seen.problems.push(format!("was not admitted: {error:#}")),
            },
        }
        self.after(&mut seen).await?;
        Ok((seen, admitted))
    }

    /// More runs of a module that was admitted.
    ///
    /// # Errors
    /// When the host does not answer at all.
    pub async fn again(&mut self, case: &Case, admitted: &Admitted, runs: usize) -> anyhow::Result<Seen> {
        let mut seen = Seen { memory_kib: (self.memory_kib(), 0), ..Seen::default() };
        self.runs(case, admitted, runs, &mut seen).await?;
        self.after(&mut seen).await?;
        Ok(seen)
    }

    async fn after(&mut self, seen: &mut Seen) -> anyhow::Result<()> {
        if self.host.has_ended()? {
            self.exits += 1;
            seen.problems.push("the host ended".to_owned());
            self.host.start_again().await?;
        }
        for hit in self.canary.take() {
            seen.problems.push(format!("reached the canary: {hit:?}"));
        }
        for request in self.wire.take() {
            seen.problems.extend(unlawful(&request, &self.wire.address));
        }
        seen.memory_kib.1 = self.memory_kib();
        Ok(())
    }

    async fn refused(&mut self, case: &Case, codes: &[&str], seen: &mut Seen) -> anyhow::Result<()> {
        let module = (case.module)();
        let started = Instant::now();
        let answer = Tenant::upload(&self.tenant.client, module).await;
        seen.worst_ms = millis(started);
        seen.runs = 1;
        let refused = match answer {
            Ok(_) => {
                seen.verdict = "admitted".to_owned();
                seen.problems.push(format!("was admitted, not refused with {codes:?}"));
                return Ok(());
            }
            Err(error) => error.downcast::<Refused>()?,
        };
        let code = refused.body["code"].as_str().unwrap_or_default();
        seen.verdict = format!("{} {code}", refused.status.as_u16());
        if !refused.status.is_client_error() || !codes.contains(&code) {
            seen.problems.push(format!("expected {codes:?}, got {} {}", refused.status, refused.body));
        }
        Ok(())
    }

    async fn answered(&mut self, case: &Case, runs: usize, seen: &mut Seen) -> anyhow::Result<()> {
        let module = (case.module)();
        let mut admitted = 0;
        for _ in 0..runs {
            let damaged = damage(&module, &mut self.dice);
            let started = Instant::now();
            let path = "/api/v1/modules";
            let body = Some(("application/wasm", damaged));
            let answer = self.tenant.client.exchange(reqwest::Method::POST, path, body, &[]).await;
            seen.worst_ms = seen.worst_ms.max(millis(started));
            seen.runs += 1;
            match answer {
                Ok((status, _)) if status.is_success() => admitted += 1,
                Ok((status, _)) if status.is_client_error() => {}
                Ok((status, answer)) => seen.problems.push(format!("{status} {answer}")),
                Err(error) => seen.problems.push(format!("{error:#}")),
            }
        }
        seen.verdict = format!("{admitted} of {runs} admitted");
        Ok(())
    }

    async fn admit(&self, case: &Case) -> anyhow::Result<Vec<Tenant>> {
        let name = format!("H{} {}", case.number, case.what.chars().take(80).collect::<String>());
        let mut modules = vec![(case.module)()];
        if let Expected::Alternates(other) = &case.expected {
            modules.push(other());
        }
        let mut tenants = Vec::new();
        for (index, module) in modules.into_iter().enumerate() {
            let name = format!("{name} {index}");
            tenants.push(Tenant::set_up(&self.host.operator, &setup(&name, module, &self.wire)).await?);
        }
        Ok(tenants)
    }

    async fn runs(
        &mut self,
        case: &Case,
        admitted: &Admitted,
        runs: usize,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let (codes, look): (&[&str], Look) = match &case.expected {
            Expected::Ends(codes, look) => (codes, *look),
            Expected::Alternates(_) => (&["skipped"], super::fine),
            Expected::Refused(_) | Expected::Answered => return Ok(()),
        };
        let mut left = runs;
        while left > 0 {
            let burst = left.min(BURST);
            left -= burst;
            let mut sent = Vec::new();
            for _ in 0..burst {
                for tenant in &admitted.tenants {
                    sent.push((tenant, accepted(tenant, self.events).await?));
                    self.events += 1;
                }
            }
            for (tenant, event) in sent {
                self.judge(tenant, &event, (codes, look), seen).await?;
            }
        }
        Ok(())
    }

    async fn judge(
        &self,
        tenant: &Tenant,
        event: &str,
        (codes, look): (&[&str], Look),
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let run = end_of(tenant, event, codes).await?;
        seen.runs += 1;
        seen.worst_ms = seen.worst_ms.max(run["cost"]["wall_us"].as_u64().unwrap_or_default() / 1_000);
        let code = run["reason"]["code"].as_str().or(run["state"].as_str()).unwrap_or("?").to_owned();
        if !seen.verdict.split(' ').any(|known| known == code) {
            seen.verdict = format!("{} {code}", seen.verdict).trim().to_owned();
        }
        if !codes.contains(&code.as_str()) {
            seen.problems.push(format!("expected {codes:?}, got {} {}", run["state"], run["reason"]));
        } else if let Err(problem) = look(&run) {
            seen.problems.push(problem);
        }
        Ok(())
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn setup(name: &str, module: Vec<u8>, wire: &Wire) -> TenantSetup {
    // A connection that the module does not declare is not bound.
    let erp =
        json!({ "connector": "http", "settings": { "base_url": format!("http://{}/base", wire.address) } });
    let declares = module.windows(12).any(|bytes| bytes == b"request.post")
        || module.windows(24).any(|bytes| bytes == b"r\0e\0q\0u\0e\0s\0t\0.\0p\0o\0s\0t\0");
    TenantSetup {
        name: name.to_owned(),
        module,
        connections: if declares { vec![("erp".to_owned(), erp)] } else { Vec::new() },
        tables: Vec::new(),
        settings: json!({}),
    }
}

async fn accepted(tenant: &Tenant, number: u64) -> anyhow::Result<String> {
    let body = json!({
        "id": format!("evt_{number}"), "object": "event", "type": "charge.succeeded", "livemode": false,
        "data": { "object": { "id": format!("ch_{number}") } },
    });
    let (status, answer) = tenant.webhook(body.to_string().as_bytes()).await?;
    anyhow::ensure!(status == 200, "{status} {answer}");
    Ok(answer["event"].as_str().context("an event id")?.to_owned())
}

/// The run of an event, once it stands still, or for the expected reason does not.
async fn end_of(tenant: &Tenant, event: &str, codes: &[&str]) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        let story = tenant.get(&format!("/events/{event}")).await?;
        let run = story["runs"][0].clone();
        let waits =
            run["reason"]["code"].as_str().is_some_and(|code| code == "deferred" && codes.contains(&code));
        if story["standing"] != "under-way" || waits {
            return Ok(run);
        }
        if started.elapsed() > PATIENCE {
            bail!("{event} is under way for {PATIENCE:?}: {run:#}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a request must not have.
fn unlawful(request: &str, address: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let (line, headers) = request.split_once("\r\n").unwrap_or((request, ""));
    if !line.starts_with("POST /base/") && !line.starts_with("POST /base?") && line != "POST /base HTTP/1.1" {
        problems.push(format!("left its base: {line}"));
    }
    let header = |name: &str| {
        let is = |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        headers.split("\r\n").filter(is).map(str::to_owned).collect::<Vec<_>>()
    };
    if header("host") != [format!("host: {address}")] || !header("x-evil").is_empty() {
        problems.push(format!("its headers were forged: {headers}"));
    }
    if header("idempotency-key").iter().any(|key| key.contains("mine")) {
        problems.push("its key was forged".to_owned());
    }
    problems
}

/// A listener that keeps the heads of the requests that arrive and answers `{}`, or leads on.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Where it listens.
    pub address: String,
    leads_to: Option<String>,
    listener: Arc<TcpListener>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    async fn listen(address: &str, leads_to: Option<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { address, leads_to, listener: Arc::new(listener), heads: Arc::default() })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn serve(&self) {
        let wire = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = wire.listener.accept().await {
                let wire = wire.clone();
                // A connection that ends early is the host's business.
                tokio::spawn(async move { drop(wire.answer(stream).await) });
            }
        });
    }

    async fn answer(&self, mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
        let mut read = Vec::new();
        loop {
            let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
                continue;
            };
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            while read.len() < whole {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            read.drain(..whole);
            let elsewhere = self.leads_to.as_ref().filter(|_| head.contains("/redirect"));
            self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(head);
            let answer = match elsewhere {
                Some(to) => {
                    format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
                }
                None => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
                    .to_owned(),
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}
