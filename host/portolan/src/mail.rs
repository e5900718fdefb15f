//! The operator's mail server, from the settings and from where its password is kept.

use anyhow::{Context, bail};
use portolan_connectors::mail::{MailSettings, Mailer};
use portolan_domain::Secret;

use crate::settings::{Mail, MailTls, Settings, mail_password_text};

/// What sends mail; none when the settings name no server.
pub(crate) fn mailer(settings: &Settings) -> anyhow::Result<Option<Mailer>> {
    let mail = &settings.mail;
    if mail.host.is_empty() {
        return Ok(None);
    }
    if mail.sender.is_empty() {
        bail!("mail.sender: say who writes, like \"Portolan <portolan@example.com>\"");
    }
    let read =
        |path: &std::path::PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let settings = MailSettings {
        host: mail.host.clone(),
        port: mail.port,
        tls: match mail.tls {
            MailTls::Starttls => portolan_connectors::mail::MailTls::Starttls,
            MailTls::Implicit => portolan_connectors::mail::MailTls::Implicit,
            MailTls::None => portolan_connectors::mail::MailTls::None,
        },
        login: login(mail)?,
        sender: mail.sender.clone(),
        root_certificates_pem: settings
            .outbound
            .root_certificates
            .iter()
            .map(read)
            .collect::<Result<_, _>>()?,
    };
    Ok(Some(Mailer::new(&settings)?))
}

fn login(mail: &Mail) -> anyhow::Result<Option<(String, Secret)>> {
    if mail.user.is_empty() {
        return Ok(None);
    }
    let password = match mail_password_text() {
        Some(text) => text,
        None if !mail.password_file.as_os_str().is_empty() => {
            let text = std::fs::read_to_string(&mail.password_file);
            zeroize::Zeroizing::new(text.with_context(|| mail.password_file.display().to_string())?)
        }
        None => bail!("mail.user has no password: set mail.password_file or PORTOLAN_MAIL_PASSWORD"),
    };
    Ok(Some((mail.user.clone(), Secret::new(password.trim_end_matches(['\r', '\n'])))))
}
