//! Settings: defaults compiled in, then `portolan.toml`, then `PORTOLAN_*`. Unknown keys are refused. This is
//! the only place that reads the environment.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use portolan_domain::{quota::Quotas, retention::Retention};
use serde::{Deserialize, Serialize};

/// Where settings come from.
#[derive(Args, Clone)]
pub(crate) struct SettingsArgs {
    /// The settings file. Default: portolan.toml in the current folder, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Everything that can be set. `portolan config print` shows it with the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the database, the compiled modules and the master key are kept.
    pub(crate) data_dir: PathBuf,
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    pub(crate) server: Server,
    pub(crate) outbound: Outbound,
    pub(crate) pipeline: Pipeline,
    pub(crate) sandbox: Sandbox,
    pub(crate) storage: Storage,
    /// What a tenant may use for which an operator has set nothing else: see `docs/limits.md`.
    pub(crate) quotas: Quotas,
    /// How long what is finished is kept, in days, where nothing else was set: see `docs/retention.md`.
    pub(crate) retention: Retention,
    pub(crate) vault: Vault,
    pub(crate) audit: Audit,
    pub(crate) process: Process,
    pub(crate) log: Log,
    pub(crate) alerts: Alerts,
    pub(crate) mail: Mail,
    pub(crate) traces: Traces,
}

/// Bounds of incoming requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// Connections open at once.
    pub(crate) connections_max: usize,
    /// Connections of one address (IPv6: of one /64) open at once. 0: no such bound, for a host behind a proxy.
    pub(crate) connections_per_address_max: usize,
    /// Largest head of a request (request line and headers), in bytes; at least 8192.
    pub(crate) head_bytes_max: usize,
    /// How long a request's headers may take to arrive, in milliseconds; also how long a connection may be idle
    /// between two requests.
    pub(crate) header_ms_max: u64,
    /// How long a client may read nothing of its answer, in milliseconds.
    pub(crate) write_ms_max: u64,
    /// After how long without a request a connection is closed, whatever else it does, in milliseconds.
    pub(crate) idle_ms_max: u64,
    /// What all bodies of hooks and JSON may hold in memory together, in bytes; beyond it, 503.
    pub(crate) bodies_bytes_max: usize,
    /// How long a body may take to arrive, in milliseconds.
    pub(crate) body_ms_max: u64,
    /// Largest body of a hook, in bytes.
    pub(crate) hook_bytes_max: usize,
    /// Requests of the admin API that one key may make in a second, over time; beyond it, 429.
    pub(crate) api_requests_per_second: u32,
    /// Requests of the admin API that one key may make at once after a quiet time.
    pub(crate) api_requests_burst: u32,
    /// How long what is under way may take to end at shutdown, in milliseconds.
    pub(crate) shutdown_ms_max: u64,
    /// In which header the proxy before this host puts the SHA-256 fingerprint (hex) of a client certificate that it has
    /// checked, for sources that ask for one. It must remove that header from what clients send. Empty: there is none.
    pub(crate) client_certificate_header: String,
}

/// Where the host may connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Outbound {
    /// Loopback addresses: for stand-ins on this machine.
    pub(crate) allow_loopback: bool,
    /// Private addresses (RFC 1918, unique local): for ERPs in one's own network.
    pub(crate) allow_private: bool,
    /// Plain http to public addresses.
    pub(crate) allow_plain_http: bool,
    /// Networks, addresses and hosts that are allowed besides: `10.1.2.0/24`, `erp.example.com`, `*.example.com`.
    pub(crate) allow: Vec<String>,
    /// Files with certificates (PEM) that are trusted besides the operating system's.
    pub(crate) root_certificates: Vec<PathBuf>,
}

/// Bounds of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pipeline {
    /// Events of one tenant that are stored at once; its others wait. More lets one tenant store faster, and makes its
    /// neighbours wait longer for theirs.
    pub(crate) events_per_tenant_max: usize,
    /// Requests of one tenant that may wait for that; others are answered 429.
    pub(crate) hooks_per_tenant_max: usize,
    /// Runs under way at once.
    pub(crate) runs_max: usize,
    /// Runs of one tenant under way at once.
    pub(crate) runs_per_tenant_max: usize,
    /// Deliveries under way at once.
    pub(crate) deliveries_max: usize,
    /// Deliveries of one tenant under way at once.
    pub(crate) deliveries_per_tenant_max: usize,
    /// How long a claim of a run or delivery may be kept, in milliseconds: longer than any call may take.
    pub(crate) lease_ms: u64,
    /// Attempts of a delivery until a person is asked.
    pub(crate) delivery_attempts_max: u32,
    /// The longest pause before the second attempt, in milliseconds; doubled with every attempt.
    pub(crate) delivery_retry_base_ms: u64,
    /// The longest pause before any attempt, in milliseconds.
    pub(crate) delivery_retry_cap_ms: u64,
    /// The longest pause before a run is executed again that was deferred or lacked facts, in milliseconds.
    pub(crate) run_retry_cap_ms: u64,
    /// How long a sender's clock may differ from ours, in seconds.
    pub(crate) signature_tolerance_s: u64,
}

/// Bounds of guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sandbox {
    /// Threads that execute modules; 0: as many as there are processors, at least 2.
    pub(crate) guest_threads: usize,
    /// Memory of one run, in bytes.
    pub(crate) memory_bytes_max: usize,
}

/// The disk of the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Storage {
    /// Below how much room nothing new is taken in, in MiB: hooks, uploads and backups are answered 503 until there is room
    /// again; what is under way goes on. 0: nobody looks at it.
    pub(crate) free_mib_min: u64,
    /// The pause between two sweeps that remove what was kept long enough, in seconds.
    pub(crate) sweep_every_s: u64,
}

/// Where the master key is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Vault {
    /// The file that holds it; made at the first start. Empty: `master.key` in the data folder. Not used when
    /// `PORTOLAN_MASTER_KEY` is set: the key itself, 64 hex digits, and after a comma the one before it.
    pub(crate) master_key_file: PathBuf,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// A file outside the database to which the ends of the audit log are appended: another disk, or one that can only
    /// be appended to. Empty: none, and then nobody can see that the whole database is an older copy.
    pub(crate) checkpoint_file: PathBuf,
    /// How often, in seconds.
    pub(crate) checkpoint_s: u64,
}

/// The process itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Process {
    /// Allows core dumps and debuggers. They see every secret that is open.
    pub(crate) core_dumps: bool,
}

/// How to log, to stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// A filter: `info`, `warn,portolan_pipeline=debug`.
    pub(crate) filter: String,
}

/// When people are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Alerts {
    /// From which age of the oldest event that waits to be carried out there is an alert `backlog-old`, in seconds; 0: never.
    pub(crate) backlog_warning_s: u64,
    /// From which age on it is critical, in seconds; 0: never.
    pub(crate) backlog_critical_s: u64,
    /// Attempts to send a notice of a notification rule until it is given up.
    pub(crate) notice_attempts_max: u32,
    /// The longest pause before the second attempt, in milliseconds; doubled with every attempt.
    pub(crate) notice_retry_base_ms: u64,
}

/// The server that e-mail leaves by. The password is not among the settings: it is in `password_file`, or in the variable
/// `PORTOLAN_MAIL_PASSWORD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mail {
    /// Its name. Empty: there is none, and notification rules cannot write e-mail.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// `starttls` (port 587), `implicit` (port 465), or `none`, for a server on this machine.
    pub(crate) tls: MailTls,
    /// The user to log in as. Empty: nobody logs in.
    pub(crate) user: String,
    /// The file that holds the user's password.
    pub(crate) password_file: PathBuf,
    /// Who writes: `Portolan <portolan@example.com>`.
    pub(crate) sender: String,
}

/// See [`Mail::tls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MailTls {
    Starttls,
    Implicit,
    None,
}

/// Traces of what is done for events (OpenTelemetry, OTLP over HTTP). The `OTEL_*` variables for samplers
/// (`OTEL_TRACES_SAMPLER`), headers, batches and resource attributes hold as everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Traces {
    /// Where they are sent: `http://127.0.0.1:4318` (to which `/v1/traces` is added). Empty: `OTEL_EXPORTER_OTLP_ENDPOINT`,
    /// and when that is not set, nowhere.
    pub(crate) otlp_url: String,
}

/// See [`Log::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("portolan-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            server: Server::default(),
            outbound: Outbound::default(),
            pipeline: Pipeline::default(),
            sandbox: Sandbox::default(),
            storage: Storage::default(),
            quotas: Quotas::default(),
            retention: Retention::default(),
            vault: Vault::default(),
            audit: Audit::default(),
            process: Process::default(),
            log: Log::default(),
            alerts: Alerts::default(),
            mail: Mail::default(),
            traces: Traces::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        let server = portolan_api::server::ServerSettings::default();
        let api = portolan_api::ApiSettings::default();
        Self {
            connections_max: server.connections_max,
            connections_per_address_max: server.connections_per_address_max,
            head_bytes_max: server.head_bytes_max,
            header_ms_max: server.header_ms_max,
            write_ms_max: server.write_ms_max,
            idle_ms_max: server.idle_ms_max,
            bodies_bytes_max: api.bodies_bytes_max,
            body_ms_max: api.body_ms_max,
            hook_bytes_max: api.hook_bytes_max,
            api_requests_per_second: api.requests_per_second,
            api_requests_burst: api.requests_burst,
            shutdown_ms_max: server.shutdown_ms_max,
            client_certificate_header: String::new(),
        }
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        let pipeline = portolan_pipeline::PipelineSettings::default();
        Self {
            runs_max: pipeline.runs_max,
            events_per_tenant_max: pipeline.events_per_tenant_max,
            hooks_per_tenant_max: pipeline.hooks_per_tenant_max,
            runs_per_tenant_max: pipeline.runs_per_tenant_max,
            deliveries_max: pipeline.deliveries_max,
            deliveries_per_tenant_max: pipeline.deliveries_per_tenant_max,
            lease_ms: pipeline.lease_ms,
            delivery_attempts_max: pipeline.delivery_retry.attempts_max,
            delivery_retry_base_ms: pipeline.delivery_retry.base_ms,
            delivery_retry_cap_ms: pipeline.delivery_retry.cap_ms,
            run_retry_cap_ms: pipeline.run_retry.cap_ms,
            signature_tolerance_s: pipeline.signature_tolerance_s,
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { guest_threads: 0, memory_bytes_max: portolan_sandbox::RunLimits::default().memory_bytes_max }
    }
}

impl Default for Storage {
    fn default() -> Self {
        let pipeline = portolan_pipeline::PipelineSettings::default();
        Self { free_mib_min: pipeline.storage_free_mib_min, sweep_every_s: pipeline.sweep_every_s }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { checkpoint_file: PathBuf::new(), checkpoint_s: 60 }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        let pipeline = portolan_pipeline::PipelineSettings::default();
        Self {
            backlog_warning_s: pipeline.backlog_warning_s,
            backlog_critical_s: pipeline.backlog_critical_s,
            notice_attempts_max: pipeline.notice_retry.attempts_max,
            notice_retry_base_ms: pipeline.notice_retry.base_ms,
        }
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            tls: MailTls::Starttls,
            user: String::new(),
            password_file: PathBuf::new(),
            sender: String::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

const PREFIX: &str = "PORTOLAN_";

/// What tells the crash proof's host when to die is no setting; in a release nobody reads it.
const PROOF_PREFIX: &str = "PORTOLAN_PROOF_";

/// No settings: the master key itself, and what commands use that speak with a host.
pub(crate) const APART: [&str; 7] = [
    "PORTOLAN_MASTER_KEY",
    "PORTOLAN_MAIL_PASSWORD",
    "PORTOLAN_URL",
    "PORTOLAN_KEY",
    "PORTOLAN_ENVIRONMENT",
    "PORTOLAN_TENANT",
    "PORTOLAN_OUTPUT",
];

/// The master key, where the environment holds it.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn master_key_text() -> Option<zeroize::Zeroizing<String>> {
    std::env::var(APART[0]).ok().map(zeroize::Zeroizing::new)
}

/// The mail user's password, where the environment holds it.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn mail_password_text() -> Option<zeroize::Zeroizing<String>> {
    std::env::var(APART[1]).ok().map(zeroize::Zeroizing::new)
}

/// Where traces go, where only the environment says so.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn otlp_url_of_environment() -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let own = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    own.or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| traces_of(&base)))
}

/// The path for traces below a collector's address.
pub(crate) fn traces_of(base: &str) -> String {
    format!("{}/v1/traces", base.trim_end_matches('/'))
}

impl SettingsArgs {
    /// Reads the settings that are in force.
    pub(crate) fn read(&self) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
            None => std::fs::read_to_string("portolan.toml").ok(),
        };
        let set = |name: &String| {
            name.starts_with(PREFIX) && !name.starts_with(PROOF_PREFIX) && !APART.contains(&name.as_str())
        };
        let environment = std::env::vars().filter(|(name, _)| set(name));
        combine(file.as_deref(), environment)
    }
}

/// The file's settings with those of the environment put over them: `PORTOLAN_LOG__FORMAT=json` is
/// `log.format`.
fn combine(
    file: Option<&str>,
    environment: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<Settings> {
    let mut table: toml::Table = file.unwrap_or_default().parse().context("portolan.toml")?;
    for (name, value) in environment {
        let path = name.strip_prefix(PREFIX).unwrap_or(&name).to_lowercase();
        put(&mut table, &path, &value).with_context(|| name.clone())?;
    }
    let settings: Settings = table.try_into()?;
    settings.quotas.check().context("quotas")?;
    settings.retention.check().context("retention")?;
    Ok(settings)
}

fn put(table: &mut toml::Table, path: &str, value: &str) -> anyhow::Result<()> {
    if let Some((section, rest)) = path.split_once("__") {
        let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
        return match section.as_table_mut() {
            Some(section) => put(section, rest, value),
            None => bail!("is not a section"),
        };
    }
    // A number, a boolean or a list is written as in TOML; everything else is a text.
    let read: Option<toml::Table> = format!("value = {value}").parse().ok();
    let read = read.and_then(|mut read| read.remove("value")).filter(|value| !value.is_datetime());
    table.insert(path.to_owned(), read.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

#[cfg(test)]
mod pages;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Settings> {
        combine(Some(file), environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_environment_overrides_the_file_overrides_the_defaults() {
        let file = "listen = \"127.0.0.1:9000\"\n[log]\nformat = \"json\"\nfilter = \"warn\"\n";
        let environment = [("PORTOLAN_LOG__FILTER", "debug"), ("PORTOLAN_OUTBOUND__ALLOW_LOOPBACK", "true")];
        let settings = read(file, &environment).unwrap();
        assert_eq!(settings.listen.port(), 9000);
        assert_eq!(settings.log, Log { format: LogFormat::Json, filter: "debug".to_owned() });
        assert!(settings.outbound.allow_loopback);
        assert_eq!(settings.data_dir, PathBuf::from("portolan-data"));
        let settings =
            read("", &[("PORTOLAN_LISTEN", "127.0.0.1:0"), ("PORTOLAN_DATA_DIR", "/tmp/x")]).unwrap();
        assert_eq!(settings.listen.port(), 0);
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        assert!(read("lissten = 1", &[]).unwrap_err().to_string().contains("lissten"));
        assert!(read("[log]\ncolour = true", &[]).is_err());
        assert!(read("", &[("PORTOLAN_LOG__COLOUR", "true")]).is_err());
    }

    #[test]
    fn a_quota_or_a_period_that_cannot_be_is_refused_by_name() {
        let told = |file| format!("{:#}", read(file, &[]).unwrap_err());
        assert!(told("[quotas]\nruns_max = 0").contains("runs_max"));
        assert!(told("[retention]\naudit_days = 10").contains("audit_days"));
        let settings = read("", &[("PORTOLAN_QUOTAS__EVENTS_PER_SECOND", "7")]).unwrap();
        assert_eq!(settings.quotas.events_per_second, 7);
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let printed = toml::to_string_pretty(&Settings::default()).unwrap();
        assert_eq!(read(&printed, &[]).unwrap(), Settings::default());
    }
}
