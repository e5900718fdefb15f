//! E-mail to people, through the operator's own server (SMTP). Tenants choose who is written to, never where the host
//! connects to.

use std::time::Duration;

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message as Letter, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use portolan_domain::{
    Secret,
    verdict::{CallFailure, CallProblem},
};

/// How long one command of a conversation may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 160;

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// `STARTTLS`, and nothing without it (port 587).
    Starttls,
    /// None: for a server on this machine.
    None,
}

/// The operator's mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: MailTls,
    /// With which user and password, if it asks for them.
    pub login: Option<(String, Secret)>,
    /// Who writes: `Portolan <portolan@example.com>`.
    pub sender: String,
    /// Certificates (PEM) that are trusted besides those of the operating system.
    pub root_certificates_pem: Vec<String>,
}

/// A setting or an address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MailError(String);

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The same in every attempt: receivers recognise a repeat by it.
    pub id: String,
    /// To whom.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Sends mail.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailer({})", self.sender)
    }
}

/// Whether mail can be written to this address: `ops@example.com`.
///
/// # Errors
/// When it is none.
pub fn check_address(text: &str) -> Result<(), MailError> {
    let parsed: Result<Address, _> = text.parse();
    parsed.map(drop).map_err(|error| MailError(format!("{text:?} is not an e-mail address: {error}")))
}

impl Mailer {
    /// Opens no socket yet.
    ///
    /// # Errors
    /// The setting that cannot be used.
    pub fn new(settings: &MailSettings) -> Result<Self, MailError> {
        let sender = settings.sender.parse();
        let sender = sender.map_err(|error| MailError(format!("mail.sender: {error}")))?;
        let tls = match settings.tls {
            MailTls::None => Tls::None,
            MailTls::Implicit => Tls::Wrapper(tls(settings)?),
            MailTls::Starttls => Tls::Required(tls(settings)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.as_str())
            .port(settings.port)
            .tls(tls)
            .timeout(Some(TIMEOUT));
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: builder.build(), sender })
    }

    /// Hands a mail to the server. Nobody is written to unless all of them can be.
    ///
    /// # Errors
    /// How it failed. [`CallFailure::Permanent`] when the server would refuse it again; never ambiguous: a mail may be
    /// sent twice, and its id says so.
    pub async fn send(&self, mail: &Mail) -> Result<(), CallFailure> {
        let letter = self.letter(mail).map_err(|error| CallFailure::permanent("mail-unusable", error.0))?;
        self.transport.send(letter).await.map(drop).map_err(|error| failure(&error))
    }

    fn letter(&self, mail: &Mail) -> Result<Letter, MailError> {
        let domain = self.sender.email.domain();
        let mut builder = Letter::builder()
            .from(self.sender.clone())
            .message_id(Some(format!("<{}@{domain}>", mail.id)))
            .header(ContentType::TEXT_PLAIN)
            .subject(one_line(&mail.subject));
        for to in &mail.to {
            let address: Address = to.parse().map_err(|error| MailError(format!("{to:?}: {error}")))?;
            builder = builder.to(Mailbox::new(None, address));
        }
        builder.body(mail.text.clone()).map_err(|error| MailError(error.to_string()))
    }
}

/// Somebody else's text as a header: one line, not too long.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_CHARS_MAX).collect()
}

fn tls(settings: &MailSettings) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    for pem in &settings.root_certificates_pem {
        let certificate = Certificate::from_pem(pem.as_bytes());
        let certificate = certificate.map_err(|error| MailError(format!("root certificate: {error}")))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| MailError(format!("mail.tls: {error}")))
}

fn failure(error: &lettre::transport::smtp::Error) -> CallFailure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    let code = error.status().map(|code| code.to_string());
    // The operator's password is not this mail's fault: it is sent when that is put right.
    let about_login = matches!(code.as_deref(), Some("530" | "534" | "535" | "538"));
    let problem = |code: &str| CallProblem::new(code, text.clone());
    if error.is_permanent() && !about_login {
        return CallFailure::Permanent { problem: problem("mail-refused") };
    }
    let code = if about_login { "mail-login-refused" } else { "mail-not-sent" };
    CallFailure::Retryable { problem: problem(code), after_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        Mailer::new(&MailSettings {
            host: "localhost".to_owned(),
            port: 25,
            tls: MailTls::None,
            login: None,
            sender: "Portolan <portolan@example.com>".to_owned(),
            root_certificates_pem: vec![],
        })
        .unwrap()
    }

    #[test]
    fn nothing_that_others_write_becomes_a_header() {
        let mail = Mail {
            id: "ntc_1".to_owned(),
            to: vec!["ops@example.com".to_owned()],
            subject: "down\r\nBcc: thief@example.org".to_owned(),
            text: "x".to_owned(),
        };
        let written = String::from_utf8(mailer().letter(&mail).unwrap().formatted()).unwrap();
        assert!(!written.contains("\nBcc"), "{written}");
        assert!(written.contains("Message-ID: <ntc_1@example.com>"), "{written}");
        let to = vec!["ops@example.com>\r\nBcc: <thief@example.org".to_owned()];
        assert!(mailer().letter(&Mail { to, ..mail }).is_err());
    }

    #[test]
    fn an_address_is_an_address() {
        check_address("ops@example.com").unwrap();
        for bad in ["ops", "ops@", "a@b\nc", "Ops <ops@example.com>", ""] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }
}
