//! Epicor ERP 10 and Kinetic behind REST v2 (and v1 with `CallSettings`).
//!
//! The cast: [`schema`] knows the tables and their columns, [`rows`] keeps them, [`query`] and [`filter`] are OData,
//! [`checks`] turns JSON into rows, [`datasets`] is the ceremony of methods; `customers`, `orders`, `cash`, `posting`,
//! `reversals`, `invoices`, `journals` and `baq` are the services, [`access`] gives tokens and sessions, [`desk`] is
//! where other users work, [`bpm`] tells the world what they did. This file is the front door: paths and keys.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::ledger::Entry;
use crate::settings::EpicorOptions;
use crate::stand_in::{Call, Moment, Outcome, Refusal, Reply, StandIn};

mod access;
mod baq;
mod bpm;
mod cash;
mod checks;
mod customers;
mod datasets;
mod desk;
mod errors;
mod filter;
mod invoices;
mod journals;
mod orders;
mod posting;
mod query;
mod reversals;
mod rows;
mod schema;

use access::Access;
use bpm::Bpm;
use errors::Error;
use rows::Tables;

/// A row of a table.
pub(crate) type Row = Map<String, Value>;

/// A call after the front door.
pub(crate) struct Request<'a> {
    call: &'a Call,
    moment: Moment,
    user: String,
    company: String,
    service: String,
    /// The entity set or method.
    name: String,
    /// Key values of `Set('EPIC06',12)`.
    key: Option<Vec<String>>,
    /// What follows the key: a child set.
    child: Option<String>,
    /// The method's parameters or the row.
    body: Value,
}

impl Request<'_> {
    /// A method's parameter, from the body or, for reads, the query.
    fn parameter(&self, name: &str) -> Value {
        match self.body.get(name) {
            Some(value) => value.clone(),
            None => self.call.query(name).map_or(Value::Null, |text| json!(text)),
        }
    }

    /// A parameter as text, whatever its JSON type.
    fn text(&self, name: &str) -> String {
        let value = self.parameter(name);
        if value.is_null() {
            String::new()
        } else {
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        }
    }
}

/// The system.
pub(crate) struct Epicor {
    options: EpicorOptions,
    tables: Tables,
    locked: BTreeSet<String>,
    access: Access,
    bpm: Bpm,
    next_order: u64,
    next_customer: u64,
    next_receipt: u64,
    next_invoice: u64,
    next_journal: u64,
    drawn: u64,
}

impl Epicor {
    pub(crate) fn new(options: EpicorOptions) -> Self {
        Self {
            tables: Tables::new(&options),
            locked: options.locked.clone(),
            access: Access::default(),
            bpm: Bpm::new(options.bpm.clone()),
            next_order: options.order_first,
            next_customer: options.customer_first,
            next_receipt: options.receipt_first,
            next_invoice: options.invoice_first,
            next_journal: options.journal_first,
            drawn: 0,
            options,
        }
    }

    fn guid(&mut self, what: &str, now_ms: u64) -> String {
        self.drawn += 1;
        rows::guid(&format!("{what}/{}/{now_ms}", self.drawn))
    }

    fn request<'a>(&self, call: &'a Call, moment: Moment) -> Result<Request<'a>, Reply> {
        let not_found = || Error::not_found(&format!("{} was not found.", call.path)).reply();
        let prefix = format!("/{}/api/", self.options.instance);
        let rest = call
            .path
            .strip_prefix(&prefix)
            .ok_or_else(|| Reply::html(404, "404 - Not Found", "There is no such page."))?;
        let split = |rest: &str| rest.split_once('/').map(|(one, rest)| (one.to_owned(), rest.to_owned()));
        let (company, rest) = if let Some(rest) = rest.strip_prefix("v2/odata/") {
            split(rest).ok_or_else(not_found)?
        } else if let Some(rest) = rest.strip_prefix("v2/efx/") {
            let (company, rest) = split(rest).ok_or_else(not_found)?;
            (company, format!("{}/{rest}", baq::LIBRARIES))
        } else {
            let rest = rest.strip_prefix("v1/").ok_or_else(not_found)?;
            let settings =
                call.header("callsettings").and_then(|text| serde_json::from_str::<Value>(text).ok());
            let company = settings.as_ref().and_then(|settings| settings.get("Company")?.as_str());
            let company = company
                .ok_or_else(|| Error::business("CallSettings must name the company of the call.").reply())?;
            (company.to_owned(), rest.to_owned())
        };
        let (service, rest) = rest.split_once('/').unwrap_or((rest.as_str(), ""));
        // The token service gives what others log in with.
        let user = if service == access::TOKEN_SERVICE {
            self.key(call, service)?;
            String::new()
        } else {
            self.logon(call, service, moment)?
        };
        if !self.options.companies.contains(&company) {
            return Err(Error::business(&format!("Company {company} is not valid.")).reply());
        }
        let decoded = percent_decoded(rest);
        let whole_name = [baq::QUERIES, baq::LIBRARIES].contains(&service);
        let (name, key, child) =
            if whole_name { (decoded, None, None) } else { split_key(&decoded).ok_or_else(not_found)? };
        let body = if call.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&call.body).map_err(|error| Error::odata(&error.to_string()).reply())?
        };
        Ok(Request { call, moment, user, company, service: service.to_owned(), name, key, child, body })
    }

    fn serve(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        if request.service == "Ice.LIB.SessionModSvc" || request.service == "Ice.BO.SessionModSvc" {
            return self.session(request);
        }
        match request.service.as_str() {
            access::TOKEN_SERVICE => return self.token_method(request),
            baq::QUERIES => return self.baq(request),
            baq::LIBRARIES => return self.library(request),
            "Erp.PROC.CashRecPostSvc" => return self.cash_post_method(request),
            "Erp.PROC.ARInvoicePostSvc" => return self.invoice_post_method(request),
            "Erp.BO.ReverseCashReceiptSvc" => return self.reversal_method(request),
            _ => {}
        }
        let Some(set) = schema::set(&request.service, &request.name) else {
            return match request.service.as_str() {
                "Erp.BO.CustomerSvc" => self.customer_method(request),
                "Erp.BO.SalesOrderSvc" => self.order_method(request),
                "Erp.BO.CashGrpSvc" => self.group_method(request),
                "Erp.BO.CashRecSvc" => self.receipt_method(request),
                "Erp.BO.InvcGrpSvc" => self.invoice_group_method(request),
                "Erp.BO.ARInvoiceSvc" => self.invoice_method(request),
                "Erp.BO.GLJrnGrpSvc" => self.journal_group_method(request),
                "Erp.BO.GLJournalEntrySvc" => self.journal_method(request),
                service if schema::is_service(service) => {
                    Err(Error::not_found(&format!("{} was not found.", request.name)))
                }
                service => Err(Error::not_found(&format!("Service {service} was not found."))),
            };
        };
        match (request.call.method.as_str(), &request.key) {
            ("GET", None) => self.list(request, set).map(Outcome::from),
            ("GET", Some(key)) => self.one(request, set, key).map(Outcome::from),
            ("POST", None) => self.create(request, set),
            ("PATCH", Some(key)) => self.patch(request, set, key),
            ("DELETE", Some(key)) => self.delete(request, set, key),
            _ => Err(Error::method_not_allowed()),
        }
    }

    fn create(&mut self, request: &Request<'_>, set: &schema::Set) -> Result<Outcome, Error> {
        let Some(row) = request.body.as_object() else {
            return Err(Error::odata("The request must have a valid entity in its body."));
        };
        let (row, drafts) = match set.table {
            "Customer" => self.customer_create(request, row)?,
            "OrderHed" => self.order_create(request, row)?,
            "OrderDtl" => self.line_create(request, row)?,
            "CashGrp" => self.group_create(request, row)?,
            "CashHead" => self.receipt_create(request, row)?,
            "CashDtl" => self.allocation_create(request, row)?,
            "InvcGrp" | "GLJrnGrp" => self.plain_group_create(request, set.table, row)?,
            "InvcHead" => self.memo_create(request, row)?,
            "InvcDtl" => self.memo_line_create(request, row)?,
            "GLJrnHed" => self.journal_create(request, row)?,
            "GLJrnDtlMnl" => self.journal_line_create(request, row)?,
            _ => return Err(Error::method_not_allowed()),
        };
        let mut answer = rows::shown(&row, request.moment.seen_ms);
        answer.insert("@odata.context".to_owned(), json!(self.context(request, set.name)));
        Ok(Outcome { reply: Reply::json(201, &Value::Object(answer)), commits: drafts })
    }

    fn patch(&mut self, request: &Request<'_>, set: &schema::Set, key: &[String]) -> Result<Outcome, Error> {
        let Some(changes) = request.body.as_object() else {
            return Err(Error::odata("The request must have a valid entity in its body."));
        };
        let drafts = match set.table {
            "Customer" => self.customer_change(request, key, changes)?,
            "OrderHed" => self.order_change(request, key, changes)?,
            "OrderDtl" => self.line_change(request, key, changes)?,
            "CashGrp" => self.group_change(request, key, changes)?,
            "CashHead" => self.receipt_change(request, key, changes)?,
            _ => return Err(Error::method_not_allowed()),
        };
        Ok(Outcome { reply: Reply::empty(204), commits: drafts })
    }

    fn delete(&mut self, request: &Request<'_>, set: &schema::Set, key: &[String]) -> Result<Outcome, Error> {
        let drafts = match set.table {
            "Customer" => self.customer_delete(request, key)?,
            "CashHead" => self.receipt_delete(request, key)?,
            _ => return Err(Error::business("The record cannot be deleted.")),
        };
        Ok(Outcome { reply: Reply::empty(204), commits: drafts })
    }

    fn context(&self, request: &Request<'_>, set: &str) -> String {
        let host = request.call.header("host").unwrap_or("localhost");
        format!("http://{host}/{}/api/v2/odata/{}/$metadata#{set}", self.options.instance, request.company)
    }

    fn check_unlocked(&self, object: &str) -> Result<(), Error> {
        if self.locked.contains(object) {
            return Err(Error::business(&format!("{object} is currently in use by MILLER.")));
        }
        Ok(())
    }
}

fn percent_decoded(text: &str) -> String {
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(format!("x={}", text.replace('&', "%26").replace('=', "%3D")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// `Customers('EPIC06',12)/ShipToes` becomes its three parts.
fn split_key(text: &str) -> Option<(String, Option<Vec<String>>, Option<String>)> {
    let Some(open) = text.find('(') else {
        return (!text.contains('/')).then(|| (text.to_owned(), None, None));
    };
    let close = text.rfind(')')?;
    let child = text.get(close + 1..)?.strip_prefix('/').map(str::to_owned);
    let (mut keys, mut current, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.get(open + 1..close)?.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' if quoted && characters.next_if_eq(&'\'').is_some() => current.push('\''),
            '\'' => quoted = !quoted,
            ',' if !quoted => keys.push(std::mem::take(&mut current)),
            other => current.push(other),
        }
    }
    keys.push(current);
    (!quoted).then(|| (text.get(..open).unwrap_or_default().to_owned(), Some(keys), child))
}

impl StandIn for Epicor {
    fn operation(&self, call: &Call) -> String {
        let rest =
            call.path.split("/odata/").nth(1).and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
        let rest = rest.or_else(|| call.path.split("/api/v1/").nth(1));
        let rest = rest.or_else(|| call.path.split("/api/v2/").nth(1)).unwrap_or(&call.path);
        let name = rest.split('(').next().unwrap_or(rest);
        format!("{} {name}", call.method)
    }

    fn answer(&mut self, call: &Call, moment: Moment) -> Outcome {
        // What is committed from here on is news; before, it was the ledger being read again.
        self.bpm.open();
        if call.path == format!("/{}/TokenResource.svc", self.options.instance) {
            return self.token(call, moment).into();
        }
        if call.path.starts_with(desk::PATH) {
            return self.at_the_desk(call, moment);
        }
        let request = match self.request(call, moment) {
            Ok(request) => request,
            Err(reply) => return reply.into(),
        };
        if let Err(reply) = self.licence(call, moment) {
            return reply.into();
        }
        self.serve(&request).unwrap_or_else(|error| error.reply().into())
    }

    fn apply(&mut self, entry: &Entry) {
        let number = |part: Option<&str>| part.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
        match entry.kind.as_str() {
            "customer" => self.next_customer = self.next_customer.max(number(Some(&entry.number))),
            "sales-order" => self.next_order = self.next_order.max(number(Some(&entry.number))),
            "cash-receipt" | "cash-receipt-reversal" => {
                self.next_receipt = self.next_receipt.max(number(entry.number.rsplit('/').next()))
            }
            "ar-invoice" | "credit-memo" => {
                self.next_invoice = self.next_invoice.max(number(Some(&entry.number)))
            }
            "gl-journal" => self.next_journal = self.next_journal.max(number(Some(&entry.number))),
            _ => {}
        }
        self.tables.apply(entry);
        self.bpm.committed(entry);
    }

    fn refusal(&self, call: &Call, refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Unauthorized => Reply::html(401, "401 - Unauthorized", "Access is denied."),
            Refusal::Forbidden => Error::forbidden().reply(),
            Refusal::RateLimited { retry_after_s } => Reply::html(429, "429 Too Many Requests", "Slow down.")
                .with("retry-after", retry_after_s.to_string()),
            Refusal::Internal => Error::internal(&call.payload_sha256()).reply(),
            Refusal::Unavailable => Error::unavailable().reply(),
            Refusal::Locked => Error::business("The record is currently in use by MILLER.").reply(),
            Refusal::Business => Error::business("A valid Customer ID is required.").reply(),
        }
    }

    fn lock(&mut self, object: &str, locked: bool) {
        if locked {
            self.locked.insert(object.to_owned());
        } else {
            self.locked.remove(object);
        }
    }

    fn world(&self) -> Value {
        serde_json::to_value(&self.options).unwrap_or_default()
    }
}
