//! Epicor ERP 10 and Kinetic, REST v2. Operations and settings: `docs/connectors.md`.
//!
//! | module | holds |
//! |---|---|
//! | `rest` | addresses, OData, methods, errors |
//! | `numbers` | which fields are JSON numbers |
//! | `orders` | sales orders, resumable line by line |
//! | `cash` | cash groups and receipts |

mod cash;
mod numbers;
mod orders;
mod rest;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};
use portolan_domain::verdict::{CallFailure, CallProblem, InDoubt};
use serde_json::{Value, json};

use self::{
    numbers::with_numbers,
    orders::SalesOrderEntry,
    rest::{Question, Rest, literal, pick},
};
use crate::{
    ConfigError, Connection, ConnectionConfig, Connector, Effect, Found, Operation,
    call::{Call, Doing, basic_header, plain_header, secret_header},
    connection::{Guarded, Scrub, System},
    outbound::Outbound,
    parameters::{invalid, object, object_of, text, whole_number},
    settings::{Settings, refuse, refuse_secret},
};

const CUSTOMER: &str = "Erp.BO.CustomerSvc";
const CUSTOMER_FIELDS: &[&str] =
    &["CustNum", "CustID", "Name", "EMailAddress", "CurrencyCode", "Inactive", "CreditHold", "SysRevID"];

const ASK: Effect = Effect::Write(InDoubt::Ask);
const AGAIN: Effect = Effect::Write(InDoubt::SameKeyAgain);
const OPERATIONS: &[Operation] = &[
    Operation { name: "customer.find", effect: Effect::Read },
    Operation { name: "sales-order.find", effect: Effect::Read },
    Operation { name: "cash-group.find", effect: Effect::Read },
    Operation { name: "cash-receipt.find", effect: Effect::Read },
    Operation { name: "part.get", effect: Effect::Read },
    Operation { name: "customer.create", effect: ASK },
    Operation { name: "customer.update", effect: AGAIN },
    Operation { name: "sales-order.create", effect: ASK },
    Operation { name: "cash-group.ensure", effect: AGAIN },
    Operation { name: "cash-receipt.create", effect: ASK },
    Operation { name: "cash-group.post", effect: ASK },
];

/// The connector `epicor`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epicor;

impl Connector for Epicor {
    fn name(&self) -> &'static str {
        "epicor"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn connect(
        &self,
        config: &ConnectionConfig,
        outbound: &Outbound,
    ) -> Result<Arc<dyn Connection>, ConfigError> {
        let settings = Settings::of(config)?;
        let base_url = settings.text_required("base_url")?;
        let company = settings.text_required("company")?;
        let entries = [("entity-set", SalesOrderEntry::EntitySet), ("methods", SalesOrderEntry::Methods)];
        let entry = settings.choice("sales_order_entry", &entries, SalesOrderEntry::EntitySet)?;
        let limits = settings.limits()?;
        let mut headers = context_headers(&settings, company)?;
        let (login, scrub) = login(&settings)?;
        headers.extend(login);
        settings.finish()?;

        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if company.len() > 8 || !company.bytes().all(fits) {
            return Err(refuse("company", "must be a company id like EPIC06: at most 8 letters and digits"));
        }
        let pool = outbound.pool(base_url, limits.timeout)?;
        let rest = Rest { company: company.to_owned(), headers };
        let (connector, system) = (self.name(), Kinetic { rest, entry });
        Ok(Guarded { connector, operations: OPERATIONS, system, pool, limits, scrub }.shared())
    }
}

/// Plant and licence, which Epicor takes as JSON in headers.
fn context_headers(settings: &Settings<'_>, company: &str) -> Result<HeaderMap, ConfigError> {
    let accept = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(http::header::ACCEPT, accept)]);
    if let Some(plant) = settings.text("plant")? {
        let value = plain_header(&json!({"Company": company, "Plant": plant}).to_string());
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

/// API key and login: v2 wants both.
fn login(settings: &Settings<'_>) -> Result<(HeaderMap, Scrub), ConfigError> {
    let api_key = settings.secret_required("api_key")?;
    let (user, password) = (settings.secret("user")?, settings.secret("password")?);
    let token = settings.secret("token")?;
    let not_ascii = |name| refuse_secret(name, "must be visible ASCII");
    let (authorization, scrub) = match (user, password, token) {
        (Some(user), Some(password), None) => {
            if user.expose().contains(':') {
                return Err(refuse_secret("user", "must not hold a colon: Basic cannot carry it"));
            }
            let value = basic_header(&user, &password).ok_or_else(|| not_ascii("password"))?;
            (value, Scrub::new([&api_key, &user, &password]).with_basic(&user, &password))
        }
        (None, None, Some(token)) => {
            let value = secret_header(&format!("Bearer {}", token.expose()));
            (value.ok_or_else(|| not_ascii("token"))?, Scrub::new([&api_key, &token]))
        }
        (None, Some(_), None) => return Err(refuse_secret("user", "is required with a password")),
        (Some(_), None, None) => return Err(refuse_secret("password", "is required with a user")),
        (None, None, None) => {
            return Err(refuse_secret("token", "is required, or user and password"));
        }
        (_, _, Some(_)) => {
            return Err(refuse_secret("token", "is either this or user and password, not both"));
        }
    };
    let key = secret_header(api_key.expose()).ok_or_else(|| not_ascii("api_key"))?;
    let headers = [(HeaderName::from_static("x-api-key"), key), (http::header::AUTHORIZATION, authorization)];
    Ok((HeaderMap::from_iter(headers), scrub))
}

#[derive(Debug)]
struct Kinetic {
    rest: Rest,
    entry: SalesOrderEntry,
}

#[async_trait]
impl System for Kinetic {
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure> {
        let found = match operation {
            "customer.find" => self.find_customer(&customer_filter(parameters)?, call).await?,
            "sales-order.find" => self.find_order(parameters, call).await?,
            "cash-group.find" => self.find_group(parameters, call).await?,
            "cash-receipt.find" => self.find_receipt(parameters, call).await?,
            _ => self.get_part(parameters, call).await?,
        };
        Ok(found.map_or(Found::No, Found::Yes))
    }

    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        match operation {
            "customer.create" => self.create_customer(body, call).await,
            "customer.update" => self.update_customer(body, call).await,
            "sales-order.create" => self.create_order(body, call).await,
            "cash-group.ensure" => self.ensure_group(body, call).await,
            "cash-receipt.create" => self.create_receipt(body, call).await,
            _ => self.post_group(body, call).await,
        }
    }

    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure> {
        self.find_customer("CustNum eq 0", call).await.map(|_| ())
    }
}

impl Kinetic {
    async fn find_customer(&self, filter: &str, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let select = CUSTOMER_FIELDS.join(",");
        let (service, set) = (CUSTOMER, "Customers");
        let question = Question { service, set, filter, select: &select, expand: None };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| pick(&row, CUSTOMER_FIELDS)))
    }

    async fn create_customer(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let customer_id = text(object(body)?, "CustID")?;
        let mut row = with_numbers(body)?;
        if let Some(fields) = row.as_object_mut() {
            fields.insert("Company".to_owned(), json!(self.rest.company));
            fields.entry("CustNum").or_insert_with(|| json!(0));
        }
        match self.rest.create(CUSTOMER, "Customers", &row, call).await {
            Ok(stored) if is_positive(stored.get("CustNum")) => Ok(pick(&stored, CUSTOMER_FIELDS)),
            Ok(_) => Err(CallFailure::ambiguous("unreadable-answer", "the stored customer has no CustNum")),
            // The customer is there: whoever made it, it is the one that was meant.
            Err(CallFailure::Permanent { problem }) if problem.code == "duplicate-record" => {
                let filter = format!("CustID eq {}", literal(customer_id));
                self.find_customer(&filter, call).await?.ok_or(CallFailure::Permanent { problem })
            }
            Err(failure) => Err(failure),
        }
    }

    async fn update_customer(&self, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let number = whole_number(object(body)?, "CustNum")?;
        let mut changes = with_numbers(body)?;
        if let Some(fields) = changes.as_object_mut() {
            fields.remove("CustNum");
        }
        self.rest.change(CUSTOMER, "Customers", &number.to_string(), (&changes, call)).await?;
        let found = self.find_customer(&format!("CustNum eq {number}"), call).await?;
        found.ok_or_else(|| {
            let problem = CallProblem::new("unreadable-answer", "the changed customer was not found again");
            Doing::Changing.unclear(problem)
        })
    }

    async fn get_part(&self, parameters: &Value, call: &Call<'_>) -> Result<Option<Value>, CallFailure> {
        let number = text(object_of(parameters, &["PartNum"])?, "PartNum")?;
        let filter = format!("PartNum eq {}", literal(number));
        let question = Question {
            service: "Erp.BO.PartSvc",
            set: "Parts",
            filter: &filter,
            // Epicor spells this field otherwise than the customer's.
            select: "PartNum,PartDescription,IUM,InActive",
            expand: None,
        };
        let row = self.rest.row(&question, call).await?;
        Ok(row.map(|row| {
            let mut part = pick(&row, &["PartNum", "PartDescription", "IUM"]);
            let inactive = row.get("InActive").or_else(|| row.get("Inactive")).cloned();
            if let Some(fields) = part.as_object_mut() {
                fields.insert("Inactive".to_owned(), inactive.unwrap_or(Value::Bool(false)));
            }
            part
        }))
    }
}

fn customer_filter(parameters: &Value) -> Result<String, CallFailure> {
    let fields = object_of(parameters, &["CustID", "EMailAddress", "CustNum"])?;
    match fields.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["CustNum"] => Ok(format!("CustNum eq {}", whole_number(fields, "CustNum")?)),
        [name] => Ok(format!("{name} eq {}", literal(text(fields, name)?))),
        _ => Err(invalid("", "must hold one of CustID, EMailAddress and CustNum")),
    }
}

/// Whether a key that Epicor assigns is there.
fn is_positive(value: Option<&Value>) -> bool {
    value.and_then(Value::as_u64).is_some_and(|number| number > 0)
}
