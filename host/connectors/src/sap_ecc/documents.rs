//! Documents: making one in one unit of work, and reading it back.
//!
//! A number in a BAPI's answer proves nothing: it comes from a number range outside of the unit of work. So
//! every write ends with reading the document back, and one that is not found is an unknown outcome,
//! whatever the answer said.

use std::time::Duration;

use http::Method;
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Ecc, UnitOfWork,
    doors::Door,
    find::{alpha, object_key},
    messages,
    soap::{Function, Jar, Reply},
    table::{Condition, TableQuestion},
};
use crate::{
    call::{Call, Doing, in_doubt},
    outbound::Request,
    parameters::{invalid, object, text},
};

/// Ending a session takes no longer than this: the outcome is known already.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// The documents that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Document {
    /// VBAK and its items.
    SalesOrder,
    /// A change to a sales document.
    SalesOrderChange,
    /// BKPF and its items.
    Accounting,
    /// The document that takes back another of BKPF.
    Reversal,
    /// KNA1 and what hangs on it.
    Customer,
    /// A change to a customer.
    CustomerChange,
}

impl Document {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::SalesOrder,
        Self::SalesOrderChange,
        Self::Accounting,
        Self::Reversal,
        Self::Customer,
        Self::CustomerChange,
    ];

    /// The operation that writes it.
    pub(super) const fn operation(self) -> &'static str {
        match self {
            Self::SalesOrder => "sales-order.create",
            Self::SalesOrderChange => "sales-order.change",
            Self::Accounting => "accounting-document.post",
            Self::Reversal => "accounting-document.reverse",
            Self::Customer => "customer.create",
            Self::CustomerChange => "customer.change",
        }
    }

    /// The document that an operation writes.
    pub(super) fn of(operation: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|document| document.operation() == operation)
    }

    /// SAP's own function.
    pub(super) const fn bapi(self) -> &'static str {
        match self {
            Self::SalesOrder => "BAPI_SALESORDER_CREATEFROMDAT2",
            Self::SalesOrderChange => "BAPI_SALESORDER_CHANGE",
            Self::Accounting => "BAPI_ACC_DOCUMENT_POST",
            Self::Reversal => "BAPI_ACC_DOCUMENT_REV_POST",
            Self::Customer => "BAPI_CUSTOMER_CREATEFROMDATA1",
            Self::CustomerChange => "BAPI_CUSTOMER_CHANGEFROMDATA1",
        }
    }

    /// The customer function around it, unless the settings name another.
    pub(super) const fn wrapper(self) -> &'static str {
        match self {
            Self::SalesOrder => "Z_STRIPE_ORDER_CREATE",
            Self::SalesOrderChange => "Z_STRIPE_ORDER_CHANGE",
            Self::Accounting => "Z_STRIPE_ACC_DOCUMENT_POST",
            Self::Reversal => "Z_STRIPE_ACC_DOCUMENT_REV_POST",
            Self::Customer => "Z_STRIPE_CUSTOMER_CREATE",
            Self::CustomerChange => "Z_STRIPE_CUSTOMER_CHANGE",
        }
    }

    /// Tables that are answered only when they are named. Those about customers answer a structure.
    const fn tables_out(self) -> &'static [&'static str] {
        match self {
            Self::SalesOrder | Self::SalesOrderChange | Self::Accounting | Self::Reversal => &["RETURN"],
            Self::Customer | Self::CustomerChange => &[],
        }
    }
}

impl Ecc {
    /// Makes the document and reads it back.
    pub(super) async fn write_document(
        &self,
        document: Document,
        body: &Value,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let parameters = object(body)?;
        check_reference(document, parameters)?;
        let values = match (self.doors.of(document), self.unit_of_work) {
            (Door::SoapRfc, UnitOfWork::Wrapper) => {
                let function = self.wrapped(document, parameters);
                self.rfc.call(Doing::Changing, &function, call).await?.done()?
            }
            (Door::SoapRfc, UnitOfWork::Session) => {
                let mut jar = Jar::default();
                let result = self.commit_in_session(&mut jar, document, (parameters, call)).await;
                self.say_farewell(&jar, call).await;
                result?
            }
            (Door::Service, _) => {
                let function = self.wrapped(document, parameters);
                self.services.call(Doing::Changing, &function, call).await?.done()?
            }
            (door @ (Door::IdocXml | Door::IdocSoap), _) => {
                self.send_idoc(door, document, (parameters, call)).await?;
                Map::new()
            }
        };
        let rows = messages::rows(values.get("RETURN"));
        if let Some(failure) = messages::failure(&rows) {
            return Err(failure);
        }
        let rows = rows.into_iter().filter(messages::says_something).collect();
        let mut answer = self.read_back(document, parameters, (&values, call)).await?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("RETURN".to_owned(), Value::Array(rows));
        }
        Ok(answer)
    }

    fn wrapped<'a>(&'a self, document: Document, parameters: &'a Map<String, Value>) -> Function<'a> {
        let name = self.wrappers.get(&document).map_or(document.wrapper(), String::as_str);
        Function { name, parameters, tables_out: document.tables_out() }
    }

    /// BAPI and commit, or rollback, in the session of one jar. Rows of RETURN that fail are rolled back and
    /// handed on.
    async fn commit_in_session(
        &self,
        jar: &mut Jar,
        document: Document,
        (parameters, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Map<String, Value>, CallFailure> {
        let function = Function { name: document.bapi(), parameters, tables_out: document.tables_out() };
        let values = self.rfc.call_in(jar, Doing::Changing, &function, call).await?.done()?;
        if messages::failure(&messages::rows(values.get("RETURN"))).is_some() {
            self.roll_back(jar, call).await;
            return Ok(values);
        }
        let wait = Map::from_iter([("WAIT".to_owned(), json!("X"))]);
        let function = Function { name: "BAPI_TRANSACTION_COMMIT", parameters: &wait, tables_out: &[] };
        match self.rfc.call_in(jar, Doing::Changing, &function, call).await? {
            Reply::Done(commit) => match messages::failure(&messages::rows(commit.get("RETURN"))) {
                None => Ok(values),
                // The update may have been done in part.
                Some(failure) => Err(in_doubt(failure)),
            },
            Reply::Refused(fault) => Err(in_doubt(fault.failure())),
        }
    }

    /// Without a commit nothing is stored anyway; this only frees the session's locks sooner.
    async fn roll_back(&self, jar: &mut Jar, call: &Call<'_>) {
        let nothing = Map::new();
        let function = Function { name: "BAPI_TRANSACTION_ROLLBACK", parameters: &nothing, tables_out: &[] };
        let rollback = self.rfc.call_in(jar, Doing::Asking, &function, call);
        if let Ok(Err(failure)) = tokio::time::timeout(FAREWELL_TIMEOUT, rollback).await {
            tracing::debug!(problem.code = failure.problem().code, "the rollback went unanswered");
        }
    }

    /// Ends the session, as well as can be: SAP ends it by itself some minutes later.
    async fn say_farewell(&self, jar: &Jar, call: &Call<'_>) {
        let url = call.pool().url(&["sap", "public", "bc", "icf", "logoff"], &[]);
        let (Some(url), Some(cookies)) = (url, jar.header()) else { return };
        let request = Request::new(Method::GET, url).header(http::header::COOKIE, cookies);
        if let Err(failure) = call.send_within(FAREWELL_TIMEOUT, Doing::Asking, request).await {
            tracing::debug!(problem.code = failure.problem().code, "the logoff went unanswered");
        }
    }

    /// Looks for the document that was written until it is there or patience ends.
    pub(super) async fn read_back(
        &self,
        document: Document,
        parameters: &Map<String, Value>,
        (values, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Value, CallFailure> {
        let message = "the document that was written cannot be found";
        let mut problem = CallProblem::new("not-found-after-write", message);
        for attempt in 1..=self.read_back.attempts {
            match self.written(document, parameters, (values, call)).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(failure) => problem = failure.problem().clone(),
            }
            if attempt < self.read_back.attempts && !call.pause(self.read_back.delay).await {
                break;
            }
        }
        if problem.detail.is_null() {
            problem.detail = json!({"answer": values});
        }
        Err(CallFailure::Ambiguous { problem })
    }

    async fn written(
        &self,
        document: Document,
        parameters: &Map<String, Value>,
        (values, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Option<Value>, CallFailure> {
        match document {
            Document::SalesOrder => self.written_order(parameters, values, call).await,
            Document::SalesOrderChange => self.written_change(parameters, call).await,
            Document::Accounting => self.written_posting(parameters, values, call).await,
            Document::Reversal => self.find_reversal(&reversed_key(parameters)?, call).await,
            Document::Customer | Document::CustomerChange => {
                let number = values.get("CUSTOMERNO").or_else(|| parameters.get("CUSTOMERNO"));
                match number.and_then(Value::as_str).map(str::trim).filter(|number| !number.is_empty()) {
                    Some(number) => self.customer_row(number, call).await,
                    None => Ok(None),
                }
            }
        }
    }

    /// A change is there when the blocks that it set are. Other fields are not looked at.
    async fn written_change(
        &self,
        parameters: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let Some(order) = self.order_row(text(parameters, "SALESDOCUMENT")?, call).await? else {
            return Ok(None);
        };
        let said = |structure: &str, name: &str| {
            let value = parameters.get(structure).and_then(|structure| structure.get(name));
            value.and_then(Value::as_str).unwrap_or_default().trim().to_owned()
        };
        let is_there = ["DLV_BLOCK", "BILL_BLOCK"].iter().all(|name| {
            said("ORDER_HEADER_INX", name) != "X"
                || order.get(*name).and_then(Value::as_str) == Some(said("ORDER_HEADER_IN", name).as_str())
        });
        Ok(is_there.then_some(order))
    }

    async fn written_order(
        &self,
        parameters: &Map<String, Value>,
        values: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let number = values.get("SALESDOCUMENT").and_then(Value::as_str).map(str::trim).unwrap_or_default();
        if number.is_empty() {
            let reference = reference(parameters, "ORDER_HEADER_IN", "PURCH_NO_C")?;
            return self.find_order(reference, call).await;
        }
        let conditions = vec![Condition::equal("VBELN", &alpha(number))?];
        let question = TableQuestion { table: "VBAK", fields: &["VBELN"], conditions, rows_max: 1 };
        let rows = self.rows(&question, call).await?;
        Ok(rows.first().and_then(|row| row.get("VBELN")).map(|number| json!({"SALESDOCUMENT": number})))
    }

    async fn written_posting(
        &self,
        parameters: &Map<String, Value>,
        values: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let key = values.get("OBJ_KEY").and_then(Value::as_str).unwrap_or_default();
        // BELNR, BUKRS and GJAHR, each in its full width.
        let parts = (key.get(..10), key.get(10..14).map(str::trim), key.get(14..18));
        if let (Some(number), Some(company), Some(year)) = parts {
            let conditions = vec![
                Condition::equal("BUKRS", company)?,
                Condition::equal("BELNR", number)?,
                Condition::equal("GJAHR", year)?,
            ];
            return self.find_posting(conditions, call).await;
        }
        let header = |name| reference(parameters, "DOCUMENTHEADER", name);
        // The fiscal year is SAP's to find out; the posting date says as much.
        let year = header("FISC_YEAR").map(|year| ("GJAHR", year));
        let (period, value) = year.or_else(|_| header("PSTNG_DATE").map(|date| ("BUDAT", date)))?;
        let conditions = vec![
            Condition::equal("BUKRS", header("COMP_CODE")?)?,
            Condition::equal(period, value)?,
            Condition::equal("BLART", header("DOC_TYPE")?)?,
            Condition::equal("XBLNR", header("REF_DOC_NO")?)?,
        ];
        self.find_posting(conditions, call).await
    }
}

/// The key of the document that is reversed.
fn reversed_key(parameters: &Map<String, Value>) -> Result<String, CallFailure> {
    let key = reference(parameters, "REVERSAL", "OBJ_KEY_R")
        .or_else(|_| reference(parameters, "REVERSAL", "OBJ_KEY"))?;
    object_key(key, "/REVERSAL/OBJ_KEY")?;
    Ok(key.to_owned())
}

/// Without its reference a document could not be found again.
fn check_reference(document: Document, parameters: &Map<String, Value>) -> Result<(), CallFailure> {
    let (structure, name) = match document {
        Document::SalesOrder => ("ORDER_HEADER_IN", "PURCH_NO_C"),
        Document::Accounting => {
            reference(parameters, "DOCUMENTHEADER", "COMP_CODE")?;
            ("DOCUMENTHEADER", "REF_DOC_NO")
        }
        Document::SalesOrderChange => return text(parameters, "SALESDOCUMENT").map(|_| ()),
        Document::CustomerChange => return text(parameters, "CUSTOMERNO").map(|_| ()),
        Document::Reversal => return reversed_key(parameters).map(|_| ()),
        Document::Customer => return Ok(()),
    };
    Condition::equal(name, reference(parameters, structure, name)?).map(|_| ()).map_err(|_| {
        let message = "must hold letters, digits, _, . and - only: the document is found again by it";
        invalid(&format!("/{structure}/{name}"), message)
    })
}

pub(super) fn reference<'a>(
    parameters: &'a Map<String, Value>,
    structure: &str,
    name: &str,
) -> Result<&'a str, CallFailure> {
    let found = parameters.get(structure).and_then(|structure| structure.get(name)).and_then(Value::as_str);
    let pointer = format!("/{structure}/{name}");
    found.filter(|text| !text.is_empty()).ok_or_else(|| invalid(&pointer, "is required as a text"))
}
