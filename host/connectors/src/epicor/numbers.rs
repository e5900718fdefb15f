//! Epicor's numeric fields. Modules write amounts as decimal strings so that no binary fraction touches
//! them; Epicor wants JSON numbers. They are written digit for digit: `"24.90"` becomes `24.90`.

use portolan_domain::{money::Amount, verdict::CallFailure};
use serde_json::{Number, Value};

use crate::parameters::invalid;

/// Objects within objects that are looked through.
const DEPTH_MAX: usize = 8;

/// Fields whose values are numbers, in all tables that the operations write, in alphabetical order.
const NUMERIC_FIELDS: &[&str] = &[
    "AppliedAmt",
    "BTCustNum",
    "CountryNum",
    "CreditAmount",
    "CreditLimit",
    "CreditMemoNum",
    "CustNum",
    "DebitAmount",
    "Discount",
    "DiscountPercent",
    "DocAppliedAmt",
    "DocDiscount",
    "DocExtPriceDtl",
    "DocInvoiceAmt",
    "DocInvoiceBal",
    "DocMiscAmt",
    "DocOrderAmt",
    "DocTotalCharges",
    "DocTranAmt",
    "DocUnAppliedAmt",
    "DocUnitPrice",
    "ExchangeRate",
    "ExtPriceDtl",
    "FiscalPeriod",
    "FiscalYear",
    "HeadNum",
    "InvoiceAmt",
    "InvoiceBal",
    "InvoiceLine",
    "InvoiceNum",
    "InvoiceRef",
    "JournalLine",
    "JournalNum",
    "MiscAmt",
    "OrderAmt",
    "OrderLine",
    "OrderNum",
    "OrderQty",
    "OrderRelNum",
    "OurReqQty",
    "POLine",
    "SellingQuantity",
    "SellingReqQty",
    "SellingShipQty",
    "ShipToCustNum",
    "SysRevID",
    "TotalCharges",
    "TranAmt",
    "TransAmt",
    "UnAppliedAmt",
    "UnitPrice",
];

/// The row with numbers where Epicor wants numbers, child rows included.
pub(super) fn with_numbers(row: &Value) -> Result<Value, CallFailure> {
    let mut row = row.clone();
    convert(&mut row, "", DEPTH_MAX)?;
    Ok(row)
}

fn convert(value: &mut Value, pointer: &str, depth: usize) -> Result<(), CallFailure> {
    if depth == 0 {
        return Err(invalid(pointer, "is nested too deeply"));
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let pointer = format!("{pointer}/{name}");
                if let (true, Value::String(text)) = (is_numeric(name), &*field) {
                    *field = Value::Number(number(text, &pointer)?);
                } else {
                    convert(field, &pointer, depth - 1)?;
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| convert(item, &format!("{pointer}/{index}"), depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn is_numeric(name: &str) -> bool {
    // User-defined tables call theirs Number01 to Number20.
    let free =
        name.strip_prefix("Number").is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()));
    free || NUMERIC_FIELDS.binary_search(&name).is_ok()
}

fn number(text: &str, pointer: &str) -> Result<Number, CallFailure> {
    let number = text.parse::<Amount>().ok().and_then(|_| text.parse::<Number>().ok());
    number.ok_or_else(|| invalid(pointer, "must be a number, or a decimal like \"24.90\" as a text"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_it_can_be_searched() {
        assert!(NUMERIC_FIELDS.is_sorted());
    }

    #[test]
    fn decimal_texts_become_numbers_digit_for_digit() {
        let row = json!({
            "CustNum": "812",
            "PONum": "12345",
            "Number01": "0.10",
            "OrderDtls": [{"DocUnitPrice": "24.90", "SellingQuantity": 2, "PartNum": "007"}],
        });
        let text = with_numbers(&row).unwrap().to_string();
        assert_eq!(
            text,
            r#"{"CustNum":812,"Number01":0.10,"OrderDtls":[{"DocUnitPrice":24.90,"PartNum":"007","SellingQuantity":2}],"PONum":"12345"}"#
        );
    }

    #[test]
    fn a_text_that_is_no_number_is_refused_by_name() {
        for bad in ["", "1e3", "1,5", "NaN", "007", "+1"] {
            let failure = with_numbers(&json!({"OrderDtls": [{"DocUnitPrice": bad}]})).unwrap_err();
            let message = &failure.problem().message;
            assert!(message.starts_with("/OrderDtls/0/DocUnitPrice:"), "{bad:?}: {message}");
        }
    }

    proptest! {
        #[test]
        fn no_digit_is_ever_lost(text in "-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,10})?") {
            let row = with_numbers(&json!({"DocTranAmt": text})).unwrap();
            prop_assert_eq!(row.to_string(), format!("{{\"DocTranAmt\":{text}}}"));
        }
    }
}
