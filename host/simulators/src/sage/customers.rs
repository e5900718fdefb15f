//! `/Customer`: create, change with `If-Match`, find by number, by reference, by time of change.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::sage::checks::Body;
use crate::sage::{Problem, SagePro, Written};
use crate::stand_in::{Call, Draft, Moment, Reply};

/// Fields and their widths in ARCUST.
pub(crate) const FIELDS: &[(&str, usize)] = &[
    ("Company", 35),
    ("Contact", 30),
    ("Address1", 35),
    ("Address2", 35),
    ("City", 20),
    ("State", 10),
    ("Zip", 10),
    ("Country", 15),
    ("Phone", 20),
    ("Email", 254),
    ("Terms", 20),
    ("Currency", 3),
];
const NAMES: &[&str] = &[
    "ExternalRef",
    "CustNo",
    "Company",
    "Contact",
    "Address1",
    "Address2",
    "City",
    "State",
    "Zip",
    "Country",
    "Phone",
    "Email",
    "Terms",
    "Currency",
];
/// Customers of one page of `modifiedSince`.
const PAGE_MAX: usize = 100;

impl SagePro {
    pub(crate) fn customer_create(
        &mut self,
        call: &Call,
        moment: Moment,
        body: &Value,
    ) -> Result<Written, Problem> {
        let fields = Body::new(body, NAMES)?;
        let reference = fields.required("ExternalRef", 64)?;
        if let Some(existing) = self.documents.by_reference("Customer", reference, moment.now_ms) {
            let answer =
                json!({"CustNo": existing.get("CustNo"), "ExternalRef": reference, "Existing": true});
            return Ok(Written { status: 200, answer, draft: None });
        }
        let company = fields.required("Company", 35)?;
        let number = match fields.text("CustNo", 6)? {
            Some(number) => number.to_uppercase(),
            None => self.customer_number(company, moment),
        };
        if let Some(existing) = self.documents.by_number("Customer", &number, moment.now_ms) {
            return Err(Problem { field: "CustNo".to_owned(), ..crate::sage::duplicate(existing) });
        }
        self.check_unlocked(&number)?;
        let mut record = Map::from_iter([
            ("CustNo".to_owned(), json!(number)),
            ("ExternalRef".to_owned(), json!(reference)),
        ]);
        self.customer_fields(&fields, &mut record)?;
        record.insert("OwnHold".to_owned(), json!(false));
        record.insert("ModifiedAtMs".to_owned(), json!(moment.now_ms));
        let draft = Draft::new("customer", number.clone(), reference, call).document(Value::Object(record));
        let answer = json!({"CustNo": number, "ExternalRef": reference});
        Ok(Written { status: 201, answer, draft: Some(draft) })
    }

    /// Four letters of the last word of the name, and two digits: `ROSE01`.
    fn customer_number(&self, company: &str, moment: Moment) -> String {
        let letters = |text: &str| text.chars().filter(char::is_ascii_alphabetic).take(4).collect::<String>();
        let words = company.split_whitespace().rev().map(letters);
        let stem = words.filter(|word| word.len() >= 2).map(|word| word.to_uppercase()).next();
        let stem = stem.unwrap_or_else(|| "CUST".to_owned());
        let free = |number: &String| self.documents.by_number("Customer", number, moment.now_ms).is_none();
        let short = (1..=99).map(|count| format!("{stem}{count:0>2}"));
        let long = (1..=99_999).map(|count| format!("{}{count:0>5}", stem.get(..1).unwrap_or("C")));
        short.chain(long).find(free).unwrap_or_default()
    }

    pub(crate) fn customer_fields(
        &self,
        fields: &Body<'_>,
        record: &mut Map<String, Value>,
    ) -> Result<(), Problem> {
        for (name, width) in FIELDS {
            if let Some(text) = fields.text(name, *width)? {
                record.insert((*name).to_owned(), json!(text));
            }
        }
        let known = |name: &str, list: &std::collections::BTreeSet<String>| match record
            .get(name)
            .and_then(Value::as_str)
        {
            Some(value) if !list.contains(value) => {
                Err(Problem::invalid(name, format!("{value} is not known.")))
            }
            _ => Ok(()),
        };
        known("Terms", &self.options.terms)?;
        known("Currency", &self.options.currencies)
    }

    pub(crate) fn customer_update(
        &self,
        call: &Call,
        moment: Moment,
        number: &str,
        body: &Value,
    ) -> Result<Written, Problem> {
        let missing = || Problem::missing("CustNo", format!("There is no customer {number}."));
        let existing = self.documents.by_number("Customer", number, moment.now_ms).ok_or_else(missing)?;
        let mut record = existing.as_object().cloned().unwrap_or_default();
        if call.header("if-match").is_some_and(|wanted| wanted != tag(&record)) {
            return Err(Problem::new(412, "precondition_failed", "The customer was changed; read it again."));
        }
        self.check_unlocked(number)?;
        let fields = Body::new(body, NAMES)?;
        if fields.text("CustNo", 6)?.is_some_and(|other| other != number) {
            return Err(Problem::invalid("CustNo", "The number of a customer does not change."));
        }
        self.customer_fields(&fields, &mut record)?;
        // An empty text clears, where there must not be one.
        for (name, _) in FIELDS {
            if body.get(name).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
                if *name == "Company" {
                    return Err(Problem::invalid("Company", "The field is required."));
                }
                record.remove(*name);
            }
        }
        if let Some(reference) = fields.text("ExternalRef", 64)? {
            let other = self.documents.by_reference("Customer", reference, moment.now_ms);
            if other.is_some_and(|other| other.get("CustNo") != Some(&json!(number))) {
                return Err(Problem::invalid("ExternalRef", "Another customer has this ExternalRef."));
            }
            record.insert("ExternalRef".to_owned(), json!(reference));
        }
        let reference = record.get("ExternalRef").and_then(Value::as_str).unwrap_or_default().to_owned();
        if Some(&record) == existing.as_object() {
            return Ok(Written { status: 200, answer: shown(&record), draft: None });
        }
        record.insert("ModifiedAtMs".to_owned(), json!(moment.now_ms));
        let answer = shown(&record);
        let document = json!({"record": record, "visible_at_ms": moment.now_ms});
        let draft = Draft::new("customer-update", number, reference, call).document(document);
        Ok(Written { status: 200, answer, draft: Some(draft) })
    }

    pub(crate) fn customer_reply(&self, number: &str, moment: Moment) -> Result<Reply, Problem> {
        let record = self.documents.by_number("Customer", number, moment.seen_ms);
        let record = record.as_ref().and_then(Value::as_object);
        let record =
            record.ok_or_else(|| Problem::missing("CustNo", format!("There is no customer {number}.")))?;
        Ok(Reply::json(200, &shown(record)).with("etag", tag(record)))
    }

    pub(crate) fn customers_reply(&self, call: &Call, moment: Moment) -> Result<Reply, Problem> {
        if let Some(reference) = call.query("externalRef") {
            let found = self.documents.by_reference("Customer", reference, moment.seen_ms);
            let record = found.as_ref().and_then(Value::as_object);
            let record =
                record.ok_or_else(|| Problem::missing("externalRef", "There is no such customer."))?;
            return Ok(Reply::json(200, &shown(record)).with("etag", tag(record)));
        }
        if let Some(email) = call.query("email") {
            let has = |record: &&Map<String, Value>| {
                let own = record.get("Email").and_then(Value::as_str).unwrap_or_default();
                own.trim().eq_ignore_ascii_case(email.trim()) && !own.trim().is_empty()
            };
            let found: Vec<Value> =
                self.documents.customers(moment.seen_ms).filter(has).take(PAGE_MAX).map(shown).collect();
            return Ok(Reply::json(200, &json!({"Customers": found})));
        }
        let since = call.query("modifiedSince").and_then(|text| text.parse::<u64>().ok());
        let since = since.ok_or_else(|| {
            Problem::invalid("modifiedSince", "externalRef, email or modifiedSince is required.")
        })?;
        let after = call.query("after").unwrap_or_default();
        let modified = |record: &&Map<String, Value>| {
            record.get("ModifiedAtMs").and_then(Value::as_u64).is_some_and(|at| at >= since)
                && record.get("CustNo").and_then(Value::as_str).is_some_and(|number| number > after)
        };
        let mut matching = self.documents.customers(moment.seen_ms).filter(modified);
        let page: Vec<Value> = matching.by_ref().take(PAGE_MAX).map(shown).collect();
        let next =
            page.last().and_then(|last| last.get("CustNo")).filter(|_| matching.next().is_some()).cloned();
        Ok(Reply::json(200, &json!({"Customers": page, "Next": next})))
    }
}

/// A customer as it is answered.
pub(crate) fn shown(record: &Map<String, Value>) -> Value {
    let mut shown = record.clone();
    shown.remove("ModifiedAtMs");
    let holds =
        shown.remove("Holds").is_some_and(|holds| holds.as_object().is_some_and(|holds| !holds.is_empty()));
    let own = shown.remove("OwnHold") == Some(Value::Bool(true));
    shown.insert("CreditHold".to_owned(), json!(holds || own));
    Value::Object(shown)
}

/// The strong entity tag: a hash of what is answered.
fn tag(record: &Map<String, Value>) -> String {
    format!("\"{}\"", hash(record))
}

/// The hash of what is answered.
pub(crate) fn hash(record: &Map<String, Value>) -> String {
    hex::encode(Sha256::digest(shown(record).to_string())).get(..16).unwrap_or_default().to_owned()
}
