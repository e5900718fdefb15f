//! Documents: making one in one unit of work, and finding it again.
//!
//! A number in a BAPI's answer proves nothing: it comes from a number range outside of the unit of work. So
//! every write ends with reading the document back, and one that is not found is an unknown outcome,
//! whatever the answer said.

use std::time::Duration;

use http::Method;
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Ecc, UnitOfWork, messages,
    soap::{Function, Jar, Reply},
    table::{Condition, TableQuestion},
};
use crate::{
    call::{Call, Doing, in_doubt},
    outbound::Request,
    parameters::{invalid, object, object_of, text},
};

/// Ending a session takes no longer than this: the outcome is known already.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Documents of one reference that are looked at.
const DOCUMENTS_MAX: u64 = 100;

/// The documents that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    /// VBAK and its items.
    SalesOrder,
    /// BKPF and its items.
    Accounting,
}

impl Document {
    pub(super) const fn bapi(self) -> &'static str {
        match self {
            Self::SalesOrder => "BAPI_SALESORDER_CREATEFROMDAT2",
            Self::Accounting => "BAPI_ACC_DOCUMENT_POST",
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
        let values = match self.unit_of_work {
            UnitOfWork::Wrapper => {
                let name = self.wrapper(document);
                let function = Function { name, parameters, tables_out: &["RETURN"] };
                self.rfc.call(Doing::Changing, &function, call).await?.done()?
            }
            UnitOfWork::Session => {
                let mut jar = Jar::default();
                let result = self.commit_in_session(&mut jar, document, (parameters, call)).await;
                self.say_farewell(&jar, call).await;
                result?
            }
        };
        let rows = messages::rows(values.get("RETURN"));
        if let Some(failure) = messages::failure(&rows) {
            return Err(failure);
        }
        let mut answer = self.read_back(document, parameters, (&values, call)).await?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("RETURN".to_owned(), Value::Array(rows));
        }
        Ok(answer)
    }

    /// BAPI and commit, or rollback, in the session of one jar. Rows of RETURN that fail are rolled back and
    /// handed on.
    async fn commit_in_session(
        &self,
        jar: &mut Jar,
        document: Document,
        (parameters, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Map<String, Value>, CallFailure> {
        let function = Function { name: document.bapi(), parameters, tables_out: &["RETURN"] };
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
    async fn read_back(
        &self,
        document: Document,
        parameters: &Map<String, Value>,
        (values, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Value, CallFailure> {
        let message = "the document that was written cannot be found";
        let mut problem = CallProblem::new("not-found-after-write", message);
        for attempt in 1..=self.read_back.attempts {
            let found = match document {
                Document::SalesOrder => self.written_order(parameters, values, call).await,
                Document::Accounting => self.written_posting(parameters, values, call).await,
            };
            match found {
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
        let conditions = vec![
            Condition::equal("BUKRS", header("COMP_CODE")?)?,
            Condition::equal("GJAHR", header("FISC_YEAR")?)?,
            Condition::equal("BLART", header("DOC_TYPE")?)?,
            Condition::equal("XBLNR", header("REF_DOC_NO")?)?,
        ];
        self.find_posting(conditions, call).await
    }

    /// The sales order with this customer order number.
    pub(super) async fn find_order(
        &self,
        reference: &str,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        // POSNR 000000 is the header's row.
        let conditions = vec![Condition::equal("BSTKD", reference)?, Condition::equal("POSNR", "000000")?];
        let (table, fields, rows_max) = ("VBKD", &["VBELN"], DOCUMENTS_MAX);
        let rows = self.rows(&TableQuestion { table, fields, conditions, rows_max }, call).await?;
        let mut numbers: Vec<&str> = rows.iter().filter_map(|row| row.get("VBELN")?.as_str()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        match numbers.as_slice() {
            [] => Ok(None),
            [number] => Ok(Some(json!({"SALESDOCUMENT": number}))),
            _ => Err(several(&format!("several sales orders have the number {reference}"), &json!(numbers))),
        }
    }

    /// `accounting-document.find`
    pub(super) async fn find_accounting(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["COMP_CODE", "FISC_YEAR", "DOC_TYPE", "REF_DOC_NO"])?;
        let conditions = vec![
            Condition::equal("BUKRS", text(fields, "COMP_CODE")?)?,
            Condition::equal("GJAHR", text(fields, "FISC_YEAR")?)?,
            Condition::equal("BLART", text(fields, "DOC_TYPE")?)?,
            Condition::equal("XBLNR", text(fields, "REF_DOC_NO")?)?,
        ];
        self.find_posting(conditions, call).await
    }

    async fn find_posting(
        &self,
        conditions: Vec<Condition>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = &["BELNR", "BUKRS", "GJAHR", "STBLG"];
        let question = TableQuestion { table: "BKPF", fields, conditions, rows_max: DOCUMENTS_MAX };
        let rows = self.rows(&question, call).await?;
        let field = |row: &Map<String, Value>, name: &str| {
            row.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
        };
        // A reversed document, and the one that reverses it, name each other here.
        let mut standing = rows.iter().filter(|row| field(row, "STBLG").is_empty());
        let Some(row) = standing.next() else { return Ok(None) };
        if standing.next().is_some() {
            return Err(several("several accounting documents have this reference", &json!(rows)));
        }
        let (number, company, year) = (field(row, "BELNR"), field(row, "BUKRS"), field(row, "GJAHR"));
        Ok(Some(json!({
            "OBJ_TYPE": "BKPFF",
            "OBJ_KEY": format!("{number}{company:<4}{year}"),
            "AC_DOC_NO": number,
            "COMP_CODE": company,
            "FISC_YEAR": year,
        })))
    }
}

fn several(message: &str, detail: &Value) -> CallFailure {
    let problem = CallProblem::new("several-documents", message).with_detail(detail.clone());
    CallFailure::Permanent { problem }
}

/// Ten digits with leading zeros, as SAP stores numbers that are all digits.
fn alpha(number: &str) -> String {
    if number.bytes().all(|b| b.is_ascii_digit()) { format!("{number:0>10}") } else { number.to_owned() }
}

/// Without its reference a document could not be found again.
fn check_reference(document: Document, parameters: &Map<String, Value>) -> Result<(), CallFailure> {
    let (structure, name) = match document {
        Document::SalesOrder => ("ORDER_HEADER_IN", "PURCH_NO_C"),
        Document::Accounting => ("DOCUMENTHEADER", "REF_DOC_NO"),
    };
    if document == Document::Accounting {
        reference(parameters, structure, "COMP_CODE")?;
    }
    Condition::equal(name, reference(parameters, structure, name)?).map(|_| ()).map_err(|_| {
        let message = "must hold letters, digits, _, . and - only: the document is found again by it";
        invalid(&format!("/{structure}/{name}"), message)
    })
}

fn reference<'a>(
    parameters: &'a Map<String, Value>,
    structure: &str,
    name: &str,
) -> Result<&'a str, CallFailure> {
    let found = parameters.get(structure).and_then(|structure| structure.get(name)).and_then(Value::as_str);
    let pointer = format!("/{structure}/{name}");
    found.filter(|text| !text.is_empty()).ok_or_else(|| invalid(&pointer, "is required as a text"))
}
