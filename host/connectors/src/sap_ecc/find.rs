//! Documents that are there: found by reference or by number, and read with their lines. Amounts in tables are
//! stored with two decimals whatever the currency; what leaves here is the natural amount.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::{
    Ecc, messages,
    soap::Function,
    table::{Condition, TableQuestion},
};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object_of, text},
};

/// Documents of one reference that are looked at.
const DOCUMENTS_MAX: u64 = 100;
/// Lines of one accounting document.
const LINES_MAX: u64 = 999;
/// Decimals of a currency that TCURX does not name.
const DECIMALS_DEFAULT: usize = 2;

type Row = Map<String, Value>;

impl Ecc {
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

    /// `sales-order.by-number`: the header, or nothing.
    pub(super) async fn order_row(
        &self,
        number: &str,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let conditions = vec![Condition::equal("VBELN", &alpha(number))?];
        let fields = &["VBELN", "AUART", "KUNNR", "VKORG", "WAERK", "NETWR", "LIFSK", "FAKSK"];
        let question = TableQuestion { table: "VBAK", fields, conditions, rows_max: 1 };
        let rows = self.rows(&question, call).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let currency = field(row, "WAERK");
        Ok(Some(json!({
            "SALESDOCUMENT": field(row, "VBELN"),
            "DOC_TYPE": field(row, "AUART"),
            "CUSTOMER": field(row, "KUNNR"),
            "SALES_ORG": field(row, "VKORG"),
            "NET_VALUE": self.natural(field(row, "NETWR"), currency, call).await?,
            "CURRENCY": currency,
            "DLV_BLOCK": field(row, "LIFSK"),
            "BILL_BLOCK": field(row, "FAKSK"),
        })))
    }

    /// `sales-order.get`: the status of every item.
    pub(super) async fn order_status(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let number = alpha(text(object_of(parameters, &["SALESDOCUMENT"])?, "SALESDOCUMENT")?);
        let own = Map::from_iter([("SALESDOCUMENT".to_owned(), json!(number))]);
        let function =
            Function { name: "BAPI_SALESORDER_GETSTATUS", parameters: &own, tables_out: &["STATUSINFO"] };
        let values = self.ask(&function, call).await?.done()?;
        let found = messages::found(&values, "RETURN")?;
        Ok(found.then(
            || json!({"SALESDOCUMENT": number, "STATUSINFO": messages::rows(values.get("STATUSINFO"))}),
        ))
    }

    /// `open-items.by-customer`
    pub(super) async fn open_items(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = object_of(parameters, &["COMP_CODE", "CUSTOMER", "KEYDATE"])?;
        let mut own = Map::from_iter([
            ("COMPANYCODE".to_owned(), json!(text(fields, "COMP_CODE")?)),
            ("CUSTOMER".to_owned(), json!(alpha(text(fields, "CUSTOMER")?))),
        ]);
        if fields.contains_key("KEYDATE") {
            own.insert("KEYDATE".to_owned(), json!(text(fields, "KEYDATE")?));
        }
        let function =
            Function { name: "BAPI_AR_ACC_GETOPENITEMS", parameters: &own, tables_out: &["LINEITEMS"] };
        let values = self.ask(&function, call).await?.done()?;
        let found = messages::found(&values, "RETURN")?;
        Ok(found.then(|| json!({"LINEITEMS": messages::rows(values.get("LINEITEMS"))})))
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

    /// The one document of these that stands.
    pub(super) async fn find_posting(
        &self,
        conditions: Vec<Condition>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let fields = &["BELNR", "BUKRS", "GJAHR", "STBLG"];
        let question = TableQuestion { table: "BKPF", fields, conditions, rows_max: DOCUMENTS_MAX };
        let rows = self.rows(&question, call).await?;
        // A reversed document, and the one that reverses it, name each other here.
        let mut standing = rows.iter().filter(|row| field(row, "STBLG").is_empty());
        let Some(row) = standing.next() else { return Ok(None) };
        if standing.next().is_some() {
            return Err(several("several accounting documents have this reference", &json!(rows)));
        }
        Ok(Some(identity(field(row, "BELNR"), field(row, "BUKRS"), field(row, "GJAHR"))))
    }

    /// `accounting-document.reversal`: the document that reverses the one of this key.
    pub(super) async fn find_reversal(
        &self,
        key: &str,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let (number, company, year) = object_key(key, "/OBJ_KEY")?;
        let fields = &["BELNR", "STBLG", "STJAH"];
        let conditions = by_key((number, company, year))?;
        let question = TableQuestion { table: "BKPF", fields, conditions, rows_max: 1 };
        let rows = self.rows(&question, call).await?;
        let Some(row) = rows.first().filter(|row| !field(row, "STBLG").is_empty()) else { return Ok(None) };
        let of_year = Some(field(row, "STJAH")).filter(|year| !matches!(*year, "" | "0000")).unwrap_or(year);
        Ok(Some(identity(field(row, "STBLG"), company, of_year)))
    }

    /// `accounting-document.get`: header and lines.
    pub(super) async fn accounting(
        &self,
        parameters: &Value,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let key = text(object_of(parameters, &["OBJ_KEY"])?, "OBJ_KEY")?;
        let parts = object_key(key, "/OBJ_KEY")?;
        let fields = &["BELNR", "BLART", "BUDAT", "XBLNR", "BKTXT", "WAERS", "STBLG"];
        let question = TableQuestion { table: "BKPF", fields, conditions: by_key(parts)?, rows_max: 1 };
        let headers = self.rows(&question, call).await?;
        let Some(header) = headers.first() else { return Ok(None) };
        let fields = &["BUZEI", "HKONT", "KUNNR", "SHKZG", "WRBTR", "ZUONR", "SGTXT", "KOSTL"];
        let question =
            TableQuestion { table: "BSEG", fields, conditions: by_key(parts)?, rows_max: LINES_MAX };
        let currency = field(header, "WAERS");
        let mut items = Vec::new();
        for row in self.rows(&question, call).await? {
            let amount = self.natural(field(&row, "WRBTR"), currency, call).await?;
            items.push(json!({
                "ITEMNO_ACC": field(&row, "BUZEI"),
                "GL_ACCOUNT": field(&row, "HKONT"),
                "CUSTOMER": field(&row, "KUNNR"),
                "AMT_DOCCUR": if field(&row, "SHKZG") == "H" { format!("-{amount}") } else { amount },
                "ALLOC_NMBR": field(&row, "ZUONR"),
                "ITEM_TEXT": field(&row, "SGTXT"),
                "COSTCENTER": field(&row, "KOSTL"),
            }));
        }
        let mut answer = identity(parts.0, parts.1, parts.2);
        if let Some(answer) = answer.as_object_mut() {
            for (name, column) in [
                ("DOC_TYPE", "BLART"),
                ("PSTNG_DATE", "BUDAT"),
                ("REF_DOC_NO", "XBLNR"),
                ("HEADER_TXT", "BKTXT"),
                ("CURRENCY", "WAERS"),
                ("REVERSED_BY", "STBLG"),
            ] {
                answer.insert(name.to_owned(), json!(field(header, column)));
            }
            answer.insert("ITEMS".to_owned(), Value::Array(items));
        }
        Ok(Some(answer))
    }

    /// The natural amount of what a table stores: `stored = actual / 10^(2 - decimals)`, so that the digits are the
    /// same and the point stands elsewhere.
    async fn natural(&self, stored: &str, currency: &str, call: &Call<'_>) -> Result<String, CallFailure> {
        let decimals = self.decimals(currency, call).await?;
        natural(stored, decimals).ok_or_else(|| {
            let message = format!("{stored:?} is not an amount as tables store it");
            Doing::Asking.unclear(CallProblem::new("unreadable-answer", message))
        })
    }

    /// Decimals of a currency by TCURX; asked once for a connection.
    async fn decimals(&self, currency: &str, call: &Call<'_>) -> Result<usize, CallFailure> {
        let known =
            self.decimals.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(currency).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let conditions = vec![Condition::equal("CURRKEY", currency)?];
        let question =
            TableQuestion { table: "TCURX", fields: &["CURRKEY", "CURRDEC"], conditions, rows_max: 1 };
        let rows = self.rows(&question, call).await?;
        let decimals =
            rows.first().and_then(|row| field(row, "CURRDEC").parse().ok()).unwrap_or(DECIMALS_DEFAULT);
        self.decimals
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(currency.to_owned(), decimals);
        Ok(decimals)
    }
}

/// `None` for what is not an amount with two decimals.
fn natural(stored: &str, decimals: usize) -> Option<String> {
    let (sign, stored) = stored.trim().strip_prefix('-').map_or(("", stored.trim()), |digits| ("-", digits));
    let (whole, fraction) = stored.split_once('.')?;
    let digits = format!("{whole}{fraction}");
    if fraction.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{:0>width$}", digits.trim_start_matches('0'), width = decimals + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - decimals)?;
    Some(if decimals == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A field of a row, without blanks around it.
pub(super) fn field<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default().trim()
}

/// An accounting document as operations answer it.
fn identity(number: &str, company: &str, year: &str) -> Value {
    json!({
        "OBJ_TYPE": "BKPFF",
        "OBJ_KEY": format!("{number}{company:<4}{year}"),
        "AC_DOC_NO": number,
        "COMP_CODE": company,
        "FISC_YEAR": year,
    })
}

/// Number, company code and year of a BKPFF key, each in its full width.
pub(super) fn object_key<'a>(
    key: &'a str,
    pointer: &str,
) -> Result<(&'a str, &'a str, &'a str), CallFailure> {
    match (key.get(..10), key.get(10..14).map(str::trim), key.get(14..18), key.len()) {
        (Some(number), Some(company), Some(year), 18) => Ok((number, company, year)),
        _ => Err(invalid(pointer, "must be number, company code and year in 10, 4 and 4 characters")),
    }
}

fn by_key((number, company, year): (&str, &str, &str)) -> Result<Vec<Condition>, CallFailure> {
    Ok(vec![
        Condition::equal("BUKRS", company)?,
        Condition::equal("BELNR", number)?,
        Condition::equal("GJAHR", year)?,
    ])
}

/// Several where one was expected: a person decides.
pub(super) fn several(message: &str, detail: &Value) -> CallFailure {
    let problem = CallProblem::new("several-documents", message).with_detail(detail.clone());
    CallFailure::Permanent { problem }
}

/// Ten digits with leading zeros, as SAP stores numbers that are all digits.
pub(super) fn alpha(number: &str) -> String {
    let number = number.trim();
    if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        format!("{number:0>10}")
    } else {
        number.to_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_amounts_become_natural_ones() {
        for (stored, decimals, expected) in [
            ("12.34", 2, "12.34"),
            ("1.00", 0, "100"),
            ("1000.00", 3, "100.000"),
            ("-1.00", 0, "-100"),
            ("0.00", 2, "0.00"),
            ("0.05", 3, "0.005"),
            ("0.00", 0, "0"),
        ] {
            assert_eq!(natural(stored, decimals).as_deref(), Some(expected), "{stored}");
        }
        for bad in ["", "1", "1.0", "1,00", "x.00"] {
            assert_eq!(natural(bad, 2), None, "{bad}");
        }
    }

    #[test]
    fn a_key_has_three_parts() {
        assert_eq!(object_key("010000000810002026", "").unwrap(), ("0100000008", "1000", "2026"));
        assert_eq!(object_key("0100000008US  2026", "").unwrap(), ("0100000008", "US", "2026"));
        assert!(object_key("0100000008", "").is_err());
    }
}
