//! Reads beside the documents: parts, reasons, business activity queries, any entity set; and function libraries,
//! as far as the tenant's settings allow them.

use portolan_domain::verdict::CallFailure;
use serde_json::{Map, Value, json};

use super::{
    Kinetic, problem,
    rest::{Api, Question, literal, pick},
};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object_of, text, whole_number},
};

/// Rows of one answer.
const ROWS_MAX: u64 = 10_000;
/// Rows of an answer when nothing is said.
const ROWS_DEFAULT: u64 = 1_000;
/// Parameters of a query.
const PARAMETERS_MAX: usize = 50;

impl Kinetic {
    pub(super) async fn get_part(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
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

    pub(super) async fn get_reason(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["ReasonType", "ReasonCode"])?;
        let kind = if fields.contains_key("ReasonType") { text(fields, "ReasonType")? } else { "A" };
        let code = text(fields, "ReasonCode")?;
        let filter = format!("ReasonType eq {} and ReasonCode eq {}", literal(kind), literal(code));
        let columns = ["ReasonType", "ReasonCode", "Description"];
        let select = columns.join(",");
        let question = Question {
            service: "Erp.BO.ReasonSvc",
            set: "Reasons",
            filter: &filter,
            select: &select,
            expand: None,
        };
        Ok(self.rest.row(&question, call).await?.map(|row| pick(&row, &columns)))
    }

    pub(super) async fn read_baq(&self, parameters: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(parameters, &["id", "parameters", "select", "filter", "orderby", "top"])?;
        let id = name(fields, "id")?;
        let own = baq_parameters(fields)?;
        let select = select(fields)?;
        let mut query: Vec<(&str, &str)> =
            own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        query.push(("$select", &select));
        query.extend(optional(fields, "filter", "$filter")?);
        query.extend(optional(fields, "orderby", "$orderby")?);
        let path = match self.rest.address.api {
            Api::V2 => vec!["BaqSvc", id, "Data"],
            Api::V1 => vec!["BaqSvc", id],
        };
        self.all_rows(&path, &query, (fields, call)).await
    }

    pub(super) async fn read_rows(&self, parameters: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields =
            object_of(parameters, &["service", "set", "select", "filter", "expand", "orderby", "top"])?;
        let (service, set, select) = (name(fields, "service")?, name(fields, "set")?, select(fields)?);
        let mut query = vec![("$select", select.as_str())];
        query.extend(optional(fields, "filter", "$filter")?);
        query.extend(optional(fields, "expand", "$expand")?);
        query.extend(optional(fields, "orderby", "$orderby")?);
        self.all_rows(&[service, set], &query, (fields, call)).await
    }

    async fn all_rows(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        (fields, call): (&Map<String, Value>, &Call<'_>),
    ) -> Result<Value, CallFailure> {
        let top = if fields.contains_key("top") { whole_number(fields, "top")? } else { ROWS_DEFAULT };
        if !(1..=ROWS_MAX).contains(&top) {
            return Err(invalid("/top", "must be a whole number from 1 to 10000"));
        }
        let rows_max = usize::try_from(top).unwrap_or(usize::MAX);
        let (rows, more) = self.rest.pages(path, query, rows_max, call).await?;
        Ok(json!({"rows": rows, "more": more}))
    }

    /// Calls a function of a library: only one that the settings name, and as what they say it is.
    pub(super) async fn call_function(
        &self,
        parameters: &Value,
        doing: Doing,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let fields = object_of(parameters, &["library", "function", "input"])?;
        let (library, function) = (name(fields, "library")?, name(fields, "function")?);
        if self.choices.functions.get(&format!("{library}/{function}")) != Some(&doing) {
            let kind = if doing == Doing::Asking { "read" } else { "write" };
            let text = format!("the connection's setting efx does not name {library}/{function} as a {kind}");
            return Err(problem("not-allowed", text));
        }
        let input = fields.get("input").cloned().unwrap_or_else(|| json!({}));
        // Function libraries are served by v2 only, beside OData.
        let path = ["api", "v2", "efx", &self.rest.address.company, library, function];
        let url = call.pool().url(&path, &[]).ok_or_else(|| invalid("", "holds an empty name"))?;
        self.rest.post((doing, call), url, &input).await
    }
}

/// A name that becomes a part of the address.
fn name<'a>(fields: &'a Map<String, Value>, field: &str) -> Result<&'a str, CallFailure> {
    let name = text(fields, field)?;
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        Ok(name)
    } else {
        Err(invalid(&format!("/{field}"), "must be a name: letters, digits, dots, dashes and _"))
    }
}

/// The columns: always named, because heavy services answer 500 without.
fn select(fields: &Map<String, Value>) -> Result<String, CallFailure> {
    let wrong = || invalid("/select", "must be an array of names of columns");
    let columns = fields.get("select").and_then(Value::as_array).filter(|columns| !columns.is_empty());
    let fits = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let columns = columns.ok_or_else(wrong)?.iter().map(|column| column.as_str().filter(fits));
    Ok(columns.collect::<Option<Vec<_>>>().ok_or_else(wrong)?.join(","))
}

fn optional<'a>(
    fields: &'a Map<String, Value>,
    field: &str,
    option: &'static str,
) -> Result<Option<(&'static str, &'a str)>, CallFailure> {
    fields.contains_key(field).then(|| text(fields, field).map(|text| (option, text))).transpose()
}

fn baq_parameters(fields: &Map<String, Value>) -> Result<Vec<(String, String)>, CallFailure> {
    let own = match fields.get("parameters") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(own)) if own.len() <= PARAMETERS_MAX => own,
        Some(_) => return Err(invalid("/parameters", "must be an object of at most 50 names and values")),
    };
    let pair = |(name, value): (&String, &Value)| {
        let refuse = |text: &str| Err(invalid(&format!("/parameters/{name}"), text));
        if name.starts_with('$') {
            return refuse("is not the name of a parameter");
        }
        match value {
            Value::String(text) => Ok((name.clone(), text.clone())),
            Value::Number(number) => Ok((name.clone(), number.to_string())),
            Value::Bool(flag) => Ok((name.clone(), flag.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                refuse("must be a text, a number or a truth value")
            }
        }
    };
    own.iter().map(pair).collect()
}
