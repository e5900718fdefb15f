//! The settings of a connection, read one group at a time. Each refusal names the setting and the remedy.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Map, Value};

use super::{
    ReadBack,
    documents::Document,
    soap::{Rfc, Way},
    xml::{DateFormat, element_name},
};
use crate::{
    ConfigError,
    call::{basic_header, plain_header},
    connection::Scrub,
    settings::{Settings, refuse, refuse_secret},
};

/// The segments of a path; `None` for one that could lead elsewhere than it says.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    let segments: Vec<String> = path.trim_matches('/').split('/').map(str::to_owned).collect();
    let leads_elsewhere = segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | ".."))
        || path.contains(['?', '#', '%', '\\']);
    (!leads_elsewhere).then_some(segments)
}

/// Client and language of every request.
fn client(settings: &Settings<'_>) -> Result<(String, String), ConfigError> {
    let client = settings.text_or("client", "100")?;
    let language = settings.text_or("language", "EN")?;
    if client.len() != 3 || !client.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("client", "must be three digits, like 100"));
    }
    if !(1..=2).contains(&language.len()) || !language.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(refuse("language", "must be a language's letters, like EN"));
    }
    Ok((client.to_owned(), language.to_owned()))
}

/// SOAP-RFC: all functions behind one path.
pub(super) fn rfc(settings: &Settings<'_>, authorization: HeaderValue) -> Result<Rfc, ConfigError> {
    let (client, language) = client(settings)?;
    let path = settings.text_or("soap_path", "/sap/bc/soap/rfc")?;
    let action = settings.text_or("soap_action", "")?;
    let formats = [("dats", DateFormat::Dats), ("iso", DateFormat::Iso)];
    let dates = settings.choice("date_format", &formats, DateFormat::Dats)?;
    let path = segments(path);
    let path = path.ok_or_else(|| refuse("soap_path", "must be a path like /sap/bc/soap/rfc"))?;
    let action = plain_header(&format!("\"{action}\"")).filter(|_| !action.contains('"'));
    let action = action.ok_or_else(|| refuse("soap_action", "must be visible ASCII without quotes"))?;
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, authorization),
        (header::ACCEPT, HeaderValue::from_static("text/xml")),
        (HeaderName::from_static("soapaction"), action),
    ]);
    Ok(Rfc { way: Way::One(path), client, language, headers, dates })
}

/// Web services: a path for each function.
pub(super) fn services(settings: &Settings<'_>, authorization: HeaderValue) -> Result<Rfc, ConfigError> {
    const TEMPLATE: &str = "/sap/bc/srt/rfc/sap/{function}/{client}/{function}/{function}";
    let (client, language) = client(settings)?;
    let refuse_path = |pointer: &str| refuse(pointer, format!("must be a path like {TEMPLATE}"));
    let template = segments(settings.text_or("service_path", TEMPLATE)?);
    let template = template.ok_or_else(|| refuse_path("service_path"))?;
    let mut named = BTreeMap::new();
    let fields = match settings.value("service_paths") {
        None => Map::new(),
        Some(Value::Object(fields)) => fields.clone(),
        Some(_) => return Err(refuse("service_paths", "must be an object of function names and paths")),
    };
    for (function, path) in fields {
        let pointer = format!("service_paths/{function}");
        let path = path.as_str().and_then(segments).ok_or_else(|| refuse_path(&pointer))?;
        named.insert(function, path);
    }
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, authorization),
        (header::ACCEPT, HeaderValue::from_static("text/xml")),
    ]);
    Ok(Rfc { way: Way::Each { template, named }, client, language, headers, dates: DateFormat::Iso })
}

pub(super) fn login(settings: &Settings<'_>) -> Result<(HeaderValue, Scrub), ConfigError> {
    let (user, password) = (settings.secret_required("user")?, settings.secret_required("password")?);
    if user.expose().contains(':') {
        return Err(refuse_secret("user", "must not hold a colon: Basic cannot carry it"));
    }
    let value = basic_header(&user, &password).ok_or_else(|| refuse_secret("password", "is too long"))?;
    Ok((value, Scrub::new([&user, &password]).with_basic(&user, &password)))
}

pub(super) fn wrappers(settings: &Settings<'_>) -> Result<BTreeMap<Document, String>, ConfigError> {
    let mut wrappers = BTreeMap::new();
    let fields = match settings.value("wrappers") {
        None => return Ok(wrappers),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(refuse("wrappers", "must be an object of operations and function names")),
    };
    for (operation, name) in fields {
        let pointer = format!("wrappers/{operation}");
        let name = name.as_str().filter(|name| element_name(name, "").is_ok());
        let name = name.ok_or_else(|| refuse(&pointer, "must be a function's name in upper case"))?;
        let document = Document::of(operation).ok_or_else(|| {
            let known = Document::ALL.map(Document::operation).join(", ");
            refuse(&pointer, format!("is no write of documents; they are: {known}"))
        })?;
        wrappers.insert(document, name.to_owned());
    }
    Ok(wrappers)
}

pub(super) fn read_back(settings: &Settings<'_>) -> Result<ReadBack, ConfigError> {
    let mut read_back = ReadBack { attempts: 5, delay: Duration::from_millis(400) };
    let fields = match settings.value("read_back") {
        None => return Ok(read_back),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            return Err(refuse("read_back", "must be an object: {\"attempts\": 5, \"delay_ms\": 400}"));
        }
    };
    for (name, value) in fields {
        let pointer = format!("read_back/{name}");
        let number = |max: u64| value.as_u64().filter(|number| *number <= max);
        match name.as_str() {
            "attempts" => {
                let attempts = number(50).filter(|attempts| *attempts > 0);
                read_back.attempts = attempts.ok_or_else(|| refuse(&pointer, "must be from 1 to 50"))?;
            }
            "delay_ms" => {
                let delay_ms = number(60_000).ok_or_else(|| refuse(&pointer, "must be from 0 to 60000"))?;
                read_back.delay = Duration::from_millis(delay_ms);
            }
            _ => return Err(refuse(&pointer, "is not a setting; they are: attempts, delay_ms")),
        }
    }
    Ok(read_back)
}
