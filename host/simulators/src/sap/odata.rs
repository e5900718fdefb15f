//! SAP Gateway: the service `ZSTRIPE_SRV`, OData version 2. Tokens against forgery, entities with etags, deep inserts,
//! changesets that are committed together or not at all.
//!
//! | set | key | is |
//! |---|---|---|
//! | `SalesOrderSet`, with `Items` inside | `OrderNo` | VBAK, by `BAPI_SALESORDER_CREATEFROMDAT2`; its blocks can be changed |
//! | `PaymentSet` | `ObjKey` | BKPF, by `BAPI_ACC_DOCUMENT_POST`: one line on an account, one on a customer |
//! | `CustomerSet` | `CustomerNo` | KNA1, by the functions for customers |

use serde_json::{Map, Value, json};

use crate::sap::odata_batch;
use crate::sap::odata_entity::{self, METADATA};
use crate::sap::{SapEcc, Work};
use crate::stand_in::{Call, Draft, Moment, Outcome, Reply};

/// Where services are.
pub(crate) const ROOT: &str = "/sap/opu/odata/sap/";
/// The one service.
pub(crate) const SERVICE: &str = "ZSTRIPE_SRV";
/// Writes with one token at the same time known.
const TOKENS_MAX: usize = 1_000;

/// A request, alone or in a changeset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) method: String,
    /// `SalesOrderSet('16023')`, decoded.
    pub(crate) path: String,
    pub(crate) etag: Option<String>,
    pub(crate) body: String,
}

/// What came of a request: status, entity (or nothing), what is to be committed.
pub(crate) struct Carried {
    pub(crate) status: u16,
    pub(crate) entity: Value,
    pub(crate) drafts: Vec<Draft>,
}

/// Why it came to nothing: status, code, sentence, details as `(code, text)`.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) details: Vec<(String, String)>,
}

impl Refused {
    pub(crate) fn new(status: u16, code: &str, text: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), text: text.into(), details: Vec::new() }
    }

    pub(crate) fn json(&self) -> Value {
        let details = self.details.iter().map(|(code, text)| {
            json!({"code": code, "message": text, "severity": "error", "propertyref": "", "target": ""})
        });
        json!({"error": {
            "code": self.code,
            "message": {"lang": "en", "value": self.text},
            "innererror": {
                "application": {"component_id": "", "service_namespace": "/SAP/", "service_id": SERVICE, "service_version": "0001"},
                "transactionid": "5B2E0000000000000000000000000001",
                "errordetails": details.collect::<Vec<_>>(),
            },
        }})
    }
}

fn answered(status: u16, body: &Value) -> Reply {
    Reply::json(status, body).with("dataserviceversion", "2.0")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?')),
                _ => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl SapEcc {
    /// Every call under the service's root.
    pub(crate) fn odata(&mut self, call: &Call, moment: Moment, user: &str) -> Outcome {
        let rest = call.path.strip_prefix(ROOT).unwrap_or_default();
        let (service, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if service.split(';').next() != Some(SERVICE) {
            return Reply::html(404, "404 Resource not found", "Service is not registered.").into();
        }
        let is_read = matches!(call.method.as_str(), "GET" | "HEAD");
        if is_read {
            let reply = self.odata_read(call, moment, &percent_decoded(rest));
            return self.odata_token(call, reply).into();
        }
        if !self.odata_token_is_good(call) {
            let page = Reply::new(403, "text/plain; charset=utf-8", "CSRF token validation failed");
            return page.with("x-csrf-token", "Required").into();
        }
        let work = Work { call, moment, user };
        if rest == "$batch" {
            return self.odata_batch(&work);
        }
        let change = Change {
            method: call.method.as_str().to_owned(),
            path: percent_decoded(rest),
            etag: call.header("if-match").map(str::to_owned),
            body: String::from_utf8_lossy(&call.body).into_owned(),
        };
        match self.odata_change(&work, &change) {
            Ok(carried) if carried.status == 204 => Outcome {
                reply: Reply::empty(204).with("dataserviceversion", "2.0"),
                commits: carried.drafts,
            },
            Ok(carried) => {
                let reply = answered(carried.status, &json!({"d": carried.entity}));
                Outcome { reply, commits: carried.drafts }
            }
            Err(refused) => answered(refused.status, &refused.json()).into(),
        }
    }

    /// One changeset: the drafts of all, or of none and one error.
    fn odata_batch(&mut self, work: &Work<'_>) -> Outcome {
        let content_type = work.call.header("content-type").unwrap_or_default();
        let text = String::from_utf8_lossy(&work.call.body).into_owned();
        let Some(changes) = odata_batch::changes(content_type, &text) else {
            let refused = Refused::new(400, "005056A509B11EE1B9A8FEA8DE87F78E", "Malformed batch");
            return answered(400, &refused.json()).into();
        };
        let mut carried = Vec::new();
        for change in &changes {
            let change = Change { path: percent_decoded(&change.path), ..change.clone() };
            match self.odata_change(work, &change) {
                Ok(one) => carried.push(one),
                Err(refused) => {
                    let body = odata_batch::failed(refused.status, &refused.json());
                    return odata_batch::reply(body).into();
                }
            }
        }
        let answers: Vec<(u16, Value)> =
            carried.iter().map(|one| (one.status, json!({"d": one.entity}))).collect();
        let commits = carried.into_iter().flat_map(|one| one.drafts).collect();
        Outcome { reply: odata_batch::reply(odata_batch::succeeded(&answers)), commits }
    }

    fn odata_read(&self, call: &Call, moment: Moment, path: &str) -> Reply {
        match path {
            "" => {
                answered(200, &json!({"d": {"EntitySets": ["SalesOrderSet", "PaymentSet", "CustomerSet"]}}))
            }
            "$metadata" => Reply::new(200, "application/xml; charset=utf-8", METADATA),
            _ => match self.odata_found(call, moment, path) {
                Ok(value) => answered(200, &json!({"d": value})),
                Err(refused) => answered(refused.status, &refused.json()),
            },
        }
    }

    fn odata_found(&self, call: &Call, moment: Moment, path: &str) -> Result<Value, Refused> {
        let (set, key) = odata_entity::address(path).ok_or_else(|| {
            Refused::new(404, "005056A509B11EE1BB8AF4A65EC3CA20", "Resource not found for the segment")
        })?;
        if let Some(key) = key {
            let found = self.odata_entity(&set, &key, moment.seen_ms);
            let missing = || Refused::new(404, "SY/530", format!("{set} '{key}' does not exist"));
            return found.map(|entity| odata_entity::selected(entity, call)).ok_or_else(missing);
        }
        let conditions =
            odata_entity::filter(call.query("$filter").unwrap_or_default()).ok_or_else(|| {
                Refused::new(400, "/IWBEP/CX_MGW_BUSI_EXCEPTION", "Invalid system query option $filter")
            })?;
        let matches = |entity: &Value| {
            conditions
                .iter()
                .all(|(property, value)| entity.get(property).and_then(Value::as_str) == Some(value))
        };
        let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
        let (skip, top) = (number("$skiptoken").unwrap_or(0), number("$top").unwrap_or(usize::MAX));
        let all: Vec<Value> = self.odata_entities(&set, moment.seen_ms).into_iter().filter(matches).collect();
        let page = self.options.odata_page.max(1).min(top);
        let results: Vec<Value> = all.iter().skip(skip).take(page).cloned().collect();
        let results: Vec<Value> =
            results.into_iter().map(|entity| odata_entity::selected(entity, call)).collect();
        let mut answer = Map::from_iter([("results".to_owned(), json!(results))]);
        if skip + page < all.len() && top == usize::MAX {
            let next = format!("http://{}{}?$skiptoken={}", "elsewhere.invalid", call.path, skip + page);
            answer.insert("__next".to_owned(), json!(next));
        }
        Ok(Value::Object(answer))
    }

    /// Gives a token to who asks for one, with the cookies that it counts with.
    fn odata_token(&mut self, call: &Call, reply: Reply) -> Reply {
        if !call.header("x-csrf-token").is_some_and(|said| said.eq_ignore_ascii_case("fetch")) {
            return reply;
        }
        self.next_token += 1;
        let session = format!("{:016X}", self.next_token.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.clear();
        }
        let token = format!("{session}==");
        self.tokens.insert(session.clone(), self.options.csrf_uses);
        let (system, client) = (&self.options.system_id, &self.options.client);
        reply
            .with("x-csrf-token", token)
            .with("set-cookie", format!("SAP_SESSIONID_{system}_{client}={session}; path=/; HttpOnly"))
            .with("set-cookie", format!("sap-XSRF_{system}_{client}={session}; path=/"))
    }

    /// Whether token and cookies belong together. A token that is used up is forgotten.
    fn odata_token_is_good(&mut self, call: &Call) -> bool {
        let token = call.header("x-csrf-token").unwrap_or_default().trim_end_matches("==").to_owned();
        let cookies = call.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
        let name = format!("SAP_SESSIONID_{}_{}={token}", self.options.system_id, self.options.client);
        let has_cookie = cookies.flat_map(|line| line.split(';')).any(|pair| pair.trim() == name);
        let Some(uses) = self.tokens.get_mut(&token).filter(|_| has_cookie) else { return false };
        match uses {
            0 => {}
            1 => {
                self.tokens.remove(&token);
            }
            more => *more -= 1,
        }
        true
    }
}
