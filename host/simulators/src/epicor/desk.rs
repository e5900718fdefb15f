//! What other users do at their desks, over the simulator's own routes: they change customers, invoice orders, set up
//! the BPM directive; and an administrator restarts the application pool.

use serde_json::{Value, json};

use crate::epicor::datasets::{changed_row, draft};
use crate::epicor::errors::Error;
use crate::epicor::rows::{decimal, number, shown, text, whole, written};
use crate::epicor::{Epicor, Request, rows};
use crate::settings::EpicorBpm;
use crate::stand_in::{Call, Moment, Outcome, Reply};

/// Where the desk is.
pub(crate) const PATH: &str = "/_simulator/";

impl Epicor {
    pub(crate) fn at_the_desk(&mut self, call: &Call, moment: Moment) -> Outcome {
        let body: Value = match serde_json::from_slice(&call.body) {
            Ok(body) => body,
            Err(error) => return Reply::json(400, &json!({"error": error.to_string()})).into(),
        };
        let word = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let user = word("user").unwrap_or_else(|| "MILLER".to_owned());
        let company = word("company").or_else(|| self.options.companies.first().cloned()).unwrap_or_default();
        let name = call.path.strip_prefix(PATH).unwrap_or_default().to_owned();
        let service = String::new();
        let request = Request { call, moment, user, company, service, name, key: None, child: None, body };
        let done = match request.name.as_str() {
            "customers" => self.customer_at_the_desk(&request),
            "invoice-order" => self.invoice_order(&request),
            "bpm" => self.set_bpm(&request),
            "end-sessions" => {
                self.end_access();
                Ok(Reply::json(200, &json!({})).into())
            }
            _ => Err(Error::not_found("The simulator has no such route.")),
        };
        done.unwrap_or_else(|error| error.reply().into())
    }

    /// `{"row": {…}, "user": "MILLER"}`: changes the customer with that CustNum or CustID, else creates it. With
    /// `"delete": true` it is deleted.
    fn customer_at_the_desk(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let sent = request.body.get("row").and_then(Value::as_object).cloned().unwrap_or_default();
        let by = ["CustNum", "CustID"].into_iter().find_map(|name| Some((name, sent.get(name)?.clone())));
        let found = by.as_ref().and_then(|(name, value)| {
            self.tables.one("Customer", &request.company, (name, value), request.moment.now_ms).cloned()
        });
        let (row, drafts) = match found {
            None => self.customer_create(request, &sent)?,
            Some(stored) => {
                let key = [request.company.clone(), whole(&stored, "CustNum").to_string()];
                let drafts = if request.body.get("delete") == Some(&Value::Bool(true)) {
                    self.customer_delete(request, &key)?
                } else {
                    self.customer_change(request, &key, &sent)?
                };
                (changed_row(&drafts, "Customer").unwrap_or(stored), drafts)
            }
        };
        let reply = Reply::json(200, &Value::Object(shown(&row, request.moment.now_ms)));
        Ok(Outcome { reply, commits: drafts })
    }

    /// `{"OrderNum": 5400}`: the order is shipped and invoiced, wholly or with `"amount": "10.00"`; the invoice is
    /// posted and open.
    fn invoice_order(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let order = request.parameter("OrderNum");
        let found =
            self.tables.one("OrderHed", &request.company, ("OrderNum", &order), request.moment.now_ms);
        let order = found.ok_or_else(Error::no_record)?.clone();
        if rows::flag(&order, "OrderHeld") {
            return Err(Error::business("The order is held: it cannot be shipped or invoiced."));
        }
        let amount = match request.parameter("amount").as_str() {
            Some(text) => crate::money::parse(text).ok_or_else(|| Error::odata("amount is no decimal."))?,
            None => decimal(&order, "DocOrderAmt"),
        };
        let mut row = rows::blank("InvcHead", &request.company);
        let date = json!(format!("{}T00:00:00", crate::clock::iso_date(request.moment.now_ms)));
        let invoice = self.next_invoice;
        self.next_invoice += 1;
        let own = [
            ("InvoiceNum", json!(invoice)),
            ("InvoiceType", json!("Shp")),
            ("Posted", json!(true)),
            ("OpenInvoice", json!(true)),
            ("InvoiceDate", date.clone()),
            ("DueDate", date),
        ];
        row.extend(own.map(|(name, value)| (name.to_owned(), value)));
        for column in ["CustNum", "OrderNum", "PONum", "TermsCode", "CurrencyCode"] {
            row.insert(column.to_owned(), order.get(column).cloned().unwrap_or_default());
        }
        for column in ["InvoiceAmt", "DocInvoiceAmt", "InvoiceBal", "DocInvoiceBal"] {
            row.insert(column.to_owned(), number(amount));
        }
        row.insert("SysRowID".to_owned(), json!(""));
        self.stamp("InvcHead", &mut row, request, 0);
        let key = text(&order, "PONum").to_owned();
        let draft = draft(request, "ar-invoice", invoice.to_string(), &key, vec![written("InvcHead", &row)])
            .amount(text(&row, "CurrencyCode"), amount);
        let reply = Reply::json(200, &Value::Object(shown(&row, request.moment.now_ms)));
        Ok(Outcome { reply, commits: vec![draft] })
    }

    /// `{"url", "secret" or "token", "integration_user", "lose"}`, or `{"url": null}` for none.
    fn set_bpm(&mut self, request: &Request<'_>) -> Result<Outcome, Error> {
        let options = match request.body.get("url") {
            None | Some(Value::Null) => None,
            Some(_) => {
                let options = serde_json::from_value::<EpicorBpm>(request.body.clone());
                Some(options.map_err(|error| Error::odata(&error.to_string()))?)
            }
        };
        self.bpm.replace(options);
        Ok(Reply::json(200, &json!({})).into())
    }
}
