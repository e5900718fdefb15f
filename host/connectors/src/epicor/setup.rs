//! A tenant's settings and secrets become a connection. Opens no socket.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use portolan_domain::Secret;
use serde_json::{Map, Value, json};

use super::{
    Choices, Door, Kinetic,
    access::{Access, Login},
    rest::{Address, Api, Rest},
};
use crate::{
    ConfigError, Connection, ConnectionConfig, Operation,
    call::{Doing, basic_header, plain_header, secret_header},
    connection::{Guarded, Scrub},
    outbound::Outbound,
    settings::{Settings, refuse, refuse_secret},
};

/// Operations that have two doors.
const TWO_DOORS: &[&str] = &[
    "cash-receipt.create",
    "credit-memo.create",
    "customer.create",
    "gl-journal.post",
    "sales-order.create",
];
/// Entries of a setting that is a list or an object.
const ENTRIES_MAX: usize = 200;

/// How the connector logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    Basic,
    Bearer,
    TokenResource,
    TokenService,
}

/// As [`crate::Connector::connect`].
pub(super) fn connect(
    connector: &'static str,
    operations: &'static [Operation],
    config: &ConnectionConfig,
    outbound: &Outbound,
) -> Result<Arc<dyn Connection>, ConfigError> {
    let settings = Settings::of(config)?;
    let base_url = settings.text_required("base_url")?;
    let company = settings.text_required("company")?;
    let api = settings.choice("api", &[("v2", Api::V2), ("v1", Api::V1)], Api::V2)?;
    let limits = settings.limits()?;
    let choices = choices(&settings)?;
    let mut headers = context_headers(&settings, company, api)?;
    let (login, mut scrub) = login(&settings)?;
    match settings.secret("api_key")? {
        Some(key) => {
            let value = secret_header(key.expose());
            let value = value.ok_or_else(|| refuse_secret("api_key", "must be visible ASCII"))?;
            headers.insert(HeaderName::from_static("x-api-key"), value);
            scrub.add(key);
        }
        None if api == Api::V2 => return Err(refuse_secret("api_key", "is required: v2 wants one")),
        None => {}
    }
    let sessions = settings.choice("session", &[("none", false), ("shared", true)], false)?;
    settings.finish()?;

    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if company.len() > 8 || !company.bytes().all(fits) {
        return Err(refuse("company", "must be a company id like EPIC06: at most 8 letters and digits"));
    }
    let pool = outbound.pool(base_url, limits.timeout)?;
    let address = Address { company: company.to_owned(), api };
    let rest = Rest { address, access: Access::new(login, headers, sessions) };
    let system = Kinetic { rest, choices };
    Ok(Guarded { connector, operations, system, pool, limits, scrub }.shared())
}

fn choices(settings: &Settings<'_>) -> Result<Choices, ConfigError> {
    let own_column = column(settings, "changed_by_column", "")?;
    let user = settings.text("integration_user")?.unwrap_or_default().to_owned();
    if own_column.is_empty() != user.is_empty() {
        let message = "is told together with integration_user: whose changes are passed over";
        return Err(refuse("changed_by_column", message));
    }
    let reversed = column(settings, "receipt_reversed_column", "")?;
    Ok(Choices {
        doors: doors(settings)?,
        invoice_reference: column(settings, "invoice_reference_column", "ExternalID")?,
        reason_column: column(settings, "reason_column", "ReasonCode")?,
        journal_reference: column(settings, "journal_reference_column", "CommentText")?,
        reversed_column: Some(reversed).filter(|column| !column.is_empty()),
        customer_columns: columns(settings, "customer_columns")?,
        own_changes: Some((own_column, user)).filter(|(column, _)| !column.is_empty()),
        poll_from_now: settings.choice("poll_from", &[("beginning", false), ("now", true)], false)?,
        functions: functions(settings)?,
    })
}

/// The name of a column goes into filters: letters, digits and `_` only.
fn is_column(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn column(settings: &Settings<'_>, name: &'static str, default: &str) -> Result<String, ConfigError> {
    let column = settings.text(name)?.unwrap_or(default);
    if is_column(column) {
        Ok(column.to_owned())
    } else {
        Err(refuse(name, "must be the name of a column: letters, digits and _"))
    }
}

fn columns(settings: &Settings<'_>, name: &'static str) -> Result<Vec<String>, ConfigError> {
    let wrong = || refuse(name, "must be an array of names of columns");
    let Some(value) = settings.value(name) else { return Ok(Vec::new()) };
    let items = value.as_array().filter(|items| items.len() <= ENTRIES_MAX).ok_or_else(wrong)?;
    let text = |item: &Value| item.as_str().filter(|c| !c.is_empty() && is_column(c)).map(str::to_owned);
    items.iter().map(|item| text(item).ok_or_else(wrong)).collect()
}

fn entries<'a>(
    settings: &Settings<'a>,
    name: &'static str,
) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
    match settings.value(name) {
        None => Ok(None),
        Some(Value::Object(fields)) if fields.len() <= ENTRIES_MAX => Ok(Some(fields)),
        Some(_) => Err(refuse(name, "must be an object of at most 200 entries")),
    }
}

fn doors(settings: &Settings<'_>) -> Result<BTreeMap<String, Door>, ConfigError> {
    let mut doors = BTreeMap::new();
    for (operation, door) in entries(settings, "doors")?.into_iter().flatten() {
        let pointer = format!("doors/{operation}");
        if !TWO_DOORS.contains(&operation.as_str()) {
            let message = format!("has one door only; those with two are: {}", TWO_DOORS.join(", "));
            return Err(refuse(&pointer, message));
        }
        let door = match door.as_str() {
            Some("entity-set") => Door::EntitySet,
            Some("methods") => Door::Methods,
            _ => return Err(refuse(&pointer, "must be one of: entity-set, methods")),
        };
        doors.insert(operation.clone(), door);
    }
    Ok(doors)
}

fn functions(settings: &Settings<'_>) -> Result<BTreeMap<String, Doing>, ConfigError> {
    let mut functions = BTreeMap::new();
    for (name, effect) in entries(settings, "efx")?.into_iter().flatten() {
        let pointer = format!("efx/{name}");
        let named = name.split_once('/').is_some_and(|(library, function)| {
            !library.is_empty() && !function.is_empty() && !function.contains('/')
        });
        let doing = match effect.as_str() {
            Some("read") if named => Doing::Asking,
            Some("write") if named => Doing::Changing,
            _ => return Err(refuse(&pointer, "must be Library/Function, and read or write")),
        };
        functions.insert(name.clone(), doing);
    }
    Ok(functions)
}

/// Company, plant and licence, which Epicor takes as JSON in headers.
fn context_headers(settings: &Settings<'_>, company: &str, api: Api) -> Result<HeaderMap, ConfigError> {
    let accept = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(http::header::ACCEPT, accept)]);
    let plant = settings.text("plant")?;
    if plant.is_some() || api == Api::V1 {
        let mut context = Map::from_iter([("Company".to_owned(), json!(company))]);
        context.extend(plant.map(|plant| ("Plant".to_owned(), json!(plant))));
        let value = plain_header(&Value::Object(context).to_string());
        let value = value.ok_or_else(|| refuse("plant", "must be visible ASCII"))?;
        headers.insert(HeaderName::from_static("callsettings"), value);
    }
    if let Some(licence) = settings.text("licence")? {
        let value = plain_header(&json!({"ClaimedLicense": licence}).to_string());
        let value = value.ok_or_else(|| refuse("licence", "must be a licence id like 00000003-9439-…"))?;
        headers.insert(HeaderName::from_static("license"), value);
    }
    Ok(headers)
}

fn not_ascii(name: &str) -> ConfigError {
    refuse_secret(name, "must be visible ASCII")
}

/// How the connector logs in. Without the setting `auth`, the secrets say: a token is a token.
fn login(settings: &Settings<'_>) -> Result<(Login, Scrub), ConfigError> {
    let choices = [
        ("basic", Some(Auth::Basic)),
        ("bearer", Some(Auth::Bearer)),
        ("token-resource", Some(Auth::TokenResource)),
        ("token-service", Some(Auth::TokenService)),
    ];
    let auth = match settings.choice("auth", &choices, None)? {
        Some(auth) => auth,
        None => match (settings.secret("token")?, settings.secret("user")?, settings.secret("password")?) {
            (Some(_), None, None) => Auth::Bearer,
            (Some(_), _, _) => {
                return Err(refuse_secret("token", "is either this or user and password, not both"));
            }
            (None, None, None) => return Err(refuse_secret("token", "is required, or user and password")),
            (None, _, _) => Auth::Basic,
        },
    };
    match auth {
        Auth::Bearer => {
            let token = settings.secret_required("token")?;
            let value = secret_header(Secret::new(format!("Bearer {}", token.expose())).expose());
            Ok((Login::Fixed(value.ok_or_else(|| not_ascii("token"))?), Scrub::new([&token])))
        }
        Auth::Basic | Auth::TokenResource => by_password(settings, auth),
        Auth::TokenService => {
            let client_id = settings.secret_required("client_id")?;
            let client_secret = settings.secret_required("client_secret")?;
            let scope = settings.text_or("scope", "")?.to_owned();
            let scrub = Scrub::new([&client_id, &client_secret]);
            Ok((Login::TokenService { client_id, client_secret, scope }, scrub))
        }
    }
}

fn by_password(settings: &Settings<'_>, auth: Auth) -> Result<(Login, Scrub), ConfigError> {
    let (user, password) = match (settings.secret("user")?, settings.secret("password")?) {
        (Some(user), Some(password)) => (user, password),
        (None, _) => return Err(refuse_secret("user", "is required with a password")),
        (_, None) => return Err(refuse_secret("password", "is required with a user")),
    };
    let scrub = Scrub::new([&user, &password]).with_basic(&user, &password);
    if auth == Auth::TokenResource {
        let header = |name, secret: &Secret| secret_header(secret.expose()).ok_or_else(|| not_ascii(name));
        let (user, password) = (header("user", &user)?, header("password", &password)?);
        return Ok((Login::TokenResource { user, password }, scrub));
    }
    if user.expose().contains(':') {
        return Err(refuse_secret("user", "must not hold a colon: Basic cannot carry it"));
    }
    let value = basic_header(&user, &password).ok_or_else(|| not_ascii("password"))?;
    Ok((Login::Fixed(value), scrub))
}
