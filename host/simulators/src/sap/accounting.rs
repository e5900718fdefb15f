//! `BAPI_ACC_DOCUMENT_POST`, `_CHECK` and `_REV_POST`.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::json;

use crate::money;
use crate::sap::documents::{ACCOUNTING_DOCUMENT, AccountingDocument, AccountingLine};
use crate::sap::messages::Message;
use crate::sap::parameters::Kind::{C, D, N, P};
use crate::sap::parameters::Shape::{Structure, Table};
use crate::sap::parameters::{Fieldset, Interface, Parameters, alpha, alpha_out};
use crate::sap::xml::Answer;
use crate::sap::{Ended, Finished, SapEcc, Work};
use crate::stand_in::Draft;

/// Lines of one document.
const LINES_MAX: usize = 999;

pub(crate) const POST: Interface = &[
    (
        "DOCUMENTHEADER",
        Structure(&[
            ("OBJ_TYPE", C(5)),
            ("OBJ_KEY", C(20)),
            ("OBJ_SYS", C(10)),
            ("BUS_ACT", C(4)),
            ("USERNAME", C(12)),
            ("HEADER_TXT", C(25)),
            ("COMP_CODE", C(4)),
            ("DOC_DATE", D),
            ("PSTNG_DATE", D),
            ("TRANS_DATE", D),
            ("FISC_YEAR", N(4)),
            ("FIS_PERIOD", N(2)),
            ("DOC_TYPE", C(2)),
            ("REF_DOC_NO", C(16)),
            ("AC_DOC_NO", C(10)),
            ("OBJ_KEY_R", C(20)),
            ("REASON_REV", C(2)),
            ("COMPO_ACC", C(4)),
            ("REF_DOC_NO_LONG", C(35)),
            ("ACC_PRINCIPLE", C(4)),
            ("NEG_POSTNG", C(1)),
            ("DOC_STATUS", C(1)),
        ]),
    ),
    ("CUSTOMERCPD", Structure(&[])),
    ("CONTRACTHEADER", Structure(&[])),
    (
        "ACCOUNTGL",
        Table(&[
            ("ITEMNO_ACC", N(10)),
            ("GL_ACCOUNT", C(10)),
            ("ITEM_TEXT", C(50)),
            ("REF_KEY_1", C(12)),
            ("REF_KEY_2", C(12)),
            ("REF_KEY_3", C(20)),
            ("ACCT_KEY", C(3)),
            ("DOC_TYPE", C(2)),
            ("COMP_CODE", C(4)),
            ("BUS_AREA", C(4)),
            ("PLANT", C(4)),
            ("VALUE_DATE", D),
            ("ALLOC_NMBR", C(18)),
            ("TAX_CODE", C(2)),
            ("TAXJURCODE", C(15)),
            ("COSTCENTER", C(10)),
            ("PROFIT_CTR", C(10)),
            ("ORDERID", C(12)),
            ("WBS_ELEMENT", C(24)),
        ]),
    ),
    (
        "ACCOUNTRECEIVABLE",
        Table(&[
            ("ITEMNO_ACC", N(10)),
            ("CUSTOMER", C(10)),
            ("GL_ACCOUNT", C(10)),
            ("REF_KEY_1", C(12)),
            ("REF_KEY_2", C(12)),
            ("REF_KEY_3", C(20)),
            ("PMNTTRMS", C(4)),
            ("BLINE_DATE", D),
            ("PYMT_METH", C(1)),
            ("PAYMT_REF", C(30)),
            ("PMNT_BLOCK", C(1)),
            ("ALLOC_NMBR", C(18)),
            ("ITEM_TEXT", C(50)),
            ("SP_GL_IND", C(1)),
            ("TAX_CODE", C(2)),
        ]),
    ),
    ("ACCOUNTPAYABLE", Table(&[("ITEMNO_ACC", N(10)), ("VENDOR_NO", C(10))])),
    ("ACCOUNTTAX", Table(&[("ITEMNO_ACC", N(10)), ("GL_ACCOUNT", C(10)), ("TAX_CODE", C(2))])),
    (
        "CURRENCYAMOUNT",
        Table(&[
            ("ITEMNO_ACC", N(10)),
            ("CURR_TYPE", C(2)),
            ("CURRENCY", C(5)),
            ("CURRENCY_ISO", C(3)),
            ("AMT_DOCCUR", P(23, 4)),
            ("EXCH_RATE", P(9, 5)),
            ("AMT_BASE", P(23, 4)),
            ("DISC_BASE", P(23, 4)),
            ("DISC_AMT", P(23, 4)),
            ("TAX_AMT", P(23, 4)),
        ]),
    ),
    ("CRITERIA", Table(&[("ITEMNO_ACC", N(10)), ("FIELDNAME", C(30)), ("CHARACTER", C(18))])),
    ("VALUEFIELD", Table(&[])),
    ("EXTENSION1", Table(&[])),
    ("EXTENSION2", Table(&[("STRUCTURE", C(30)), ("VALUEPART1", C(240))])),
    ("PAYMENTCARD", Table(&[])),
    ("ACCOUNTWT", Table(&[])),
    ("RETURN", Table(&[])),
];

pub(crate) const REVERSE: Interface = &[
    (
        "REVERSAL",
        Structure(&[
            ("OBJ_TYPE", C(5)),
            ("OBJ_KEY", C(20)),
            ("OBJ_SYS", C(10)),
            ("OBJ_KEY_R", C(20)),
            ("PSTNG_DATE", D),
            ("FIS_PERIOD", N(2)),
            ("COMP_CODE", C(4)),
            ("REASON_REV", C(2)),
            ("AC_DOC_NO", C(10)),
            ("ACC_PRINCIPLE", C(4)),
        ]),
    ),
    ("BUS_ACT", crate::sap::parameters::Shape::Scalar(C(4))),
    ("RETURN", Table(&[])),
];

fn decimal(text: &str) -> Decimal {
    money::parse(text).unwrap_or_default()
}

impl SapEcc {
    pub(crate) fn accounting_post(
        &mut self,
        work: &Work<'_>,
        parameters: &Parameters,
        check_only: bool,
    ) -> Ended {
        let header = parameters.structure("DOCUMENTHEADER");
        // What dialog would stop at with a message becomes a fault of the call, not a row.
        for (field, message) in [
            ("COMP_CODE", "Enter a company code"),
            ("DOC_DATE", "Enter a document date"),
            ("PSTNG_DATE", "Enter a posting date"),
            ("DOC_TYPE", "Enter a document type"),
        ] {
            if header.get(field).is_empty() {
                return Ended::Fault("ERROR_MESSAGE_STATE", message.to_owned());
            }
        }
        let mut causes = self.accounting_header_check(&header);
        causes.extend(self.accounting_lines_check(&header, parameters));
        causes.extend(balance_check(parameters));
        if !causes.is_empty() {
            return Ended::Answered(self.accounting_failure(causes));
        }
        if check_only {
            let system = self.logical_system();
            let message =
                Message::new("S", "RW", "614", format!("Document check - no errors: BKPFF $ {system}"))
                    .variables(["BKPFF", "$", &system]);
            return Ended::Answered(accounting_answer("$", &[message], &system));
        }
        let document = self.accounting_document(work, parameters, &header);
        Ended::Answered(self.accounting_posted(work, &document))
    }

    fn accounting_posted(&self, work: &Work<'_>, document: &AccountingDocument) -> Finished {
        let (system, key) = (self.logical_system(), document.key());
        let message =
            Message::new("S", "RW", "605", format!("Document posted successfully: BKPFF {key} {system}"))
                .variables(["BKPFF", &key, &system]);
        let mut finished = accounting_answer(&key, &[message], &system);
        finished.drafts.push(draft(work, document));
        finished
    }

    /// E RW 609 first, then the causes.
    pub(crate) fn accounting_failure(&self, causes: Vec<Message>) -> Finished {
        let system = self.logical_system();
        let mut messages = vec![
            Message::error("RW", "609", format!("Error in document: BKPFF $ {system}"))
                .variables(["BKPFF", "$", &system]),
        ];
        messages.extend(causes);
        accounting_answer("$", &messages, &system)
    }

    fn accounting_header_check(&self, header: &Fieldset) -> Vec<Message> {
        let mut causes = Vec::new();
        let mut refuse = |message: Message, field| causes.push(message.at("DOCUMENTHEADER", 0, field));
        let company = header.get("COMP_CODE");
        if !self.options.company_codes.contains_key(company) {
            let text = format!("Entry {company} does not exist in T001 (check entry)");
            refuse(Message::error("00", "058", text), "COMP_CODE");
        }
        if header.get("BUS_ACT").is_empty() || header.get("USERNAME").is_empty() {
            let text = "Required field BUS_ACT or USERNAME was not transferred in parameter DOCUMENTHEADER";
            refuse(Message::error("RW", "011", text), "BUS_ACT");
        }
        if !["DZ", "DR", "DG", "SA", "AB", "DA", "ZP"].contains(&header.get("DOC_TYPE")) {
            let text = format!("Entry {} does not exist in T003 (check entry)", header.get("DOC_TYPE"));
            refuse(Message::error("00", "058", text), "DOC_TYPE");
        }
        if !["", "2", "3", "4"].contains(&header.get("DOC_STATUS")) {
            let text = format!("Document status {} is not allowed", header.get("DOC_STATUS"));
            refuse(Message::error("RW", "637", text), "DOC_STATUS");
        }
        let month = header.get("PSTNG_DATE").get(..6).unwrap_or_default();
        let (first, last) = &self.options.periods_open;
        if month < first.as_str() || month > last.as_str() {
            let (year, month) = month.split_at_checked(4).unwrap_or_default();
            let text = format!("Posting period 0{month} {year} is not open");
            refuse(Message::error("F5", "201", text).variables([month, year]), "PSTNG_DATE");
        }
        causes
    }

    fn accounting_lines_check(&self, header: &Fieldset, parameters: &Parameters) -> Vec<Message> {
        let mut causes = Vec::new();
        let company = header.get("COMP_CODE");
        for (index, line) in parameters.table("ACCOUNTRECEIVABLE").iter().enumerate() {
            let customer = alpha(line.get("CUSTOMER"), 10);
            let shown = alpha_out(&customer);
            let known = self
                .customer(&customer)
                .is_some_and(|master| master.company_codes.iter().any(|c| c == company));
            if !known {
                let text = format!("Customer {shown} is not defined in company code {company}");
                let cause = Message::error("F5", "102", text).variables([shown, company]);
                causes.push(cause.at("ACCOUNTRECEIVABLE", index + 1, "CUSTOMER"));
            } else if self.is_locked(&customer) {
                let text = format!("Object requested is currently locked by user MILLER (customer {shown})");
                causes.push(Message::error("MC", "601", text).variables(["MILLER"]).at(
                    "ACCOUNTRECEIVABLE",
                    index + 1,
                    "CUSTOMER",
                ));
            }
        }
        for (index, line) in parameters.table("ACCOUNTGL").iter().enumerate() {
            causes.extend(
                self.gl_line_check(company, line).map(|cause| cause.at("ACCOUNTGL", index + 1, "GL_ACCOUNT")),
            );
        }
        for (index, line) in parameters.table("ACCOUNTPAYABLE").iter().enumerate() {
            let vendor = alpha(line.get("VENDOR_NO"), 10);
            let text = format!("Vendor {} is not defined in company code {company}", alpha_out(&vendor));
            causes.push(Message::error("F5", "104", text).at("ACCOUNTPAYABLE", index + 1, "VENDOR_NO"));
        }
        for (index, row) in parameters.table("CURRENCYAMOUNT").iter().enumerate() {
            causes.extend(
                self.amount_check(row).map(|cause| cause.at("CURRENCYAMOUNT", index + 1, "AMT_DOCCUR")),
            );
        }
        causes
    }

    fn gl_line_check(&self, company: &str, line: &Fieldset) -> Option<Message> {
        let account = alpha(line.get("GL_ACCOUNT"), 10);
        let shown = alpha_out(&account);
        let Some(master) = self.options.gl_accounts.get(shown) else {
            let text = format!("G/L account {shown} is not defined in company code {company}");
            return Some(Message::error("F5", "506", text).variables([shown, company]));
        };
        let cost_centre = alpha(line.get("COSTCENTER"), 10);
        let assigned = [line.get("COSTCENTER"), line.get("ORDERID"), line.get("WBS_ELEMENT")];
        if master.co_object && assigned.iter().all(|assignment| assignment.is_empty()) {
            let text = format!("Account {shown} requires an assignment to a CO object");
            return Some(Message::error("KI", "235", text).variables([shown]));
        }
        if !cost_centre.is_empty() && !self.options.cost_centres.contains(alpha_out(&cost_centre)) {
            let text = format!("Cost center 1000/{} does not exist", alpha_out(&cost_centre));
            return Some(Message::error("KI", "265", text));
        }
        self.is_locked(&account).then(|| {
            let text = format!("Object requested is currently locked by user MILLER (account {shown})");
            Message::error("MC", "601", text).variables(["MILLER"])
        })
    }

    fn amount_check(&self, row: &Fieldset) -> Option<Message> {
        let (currency, amount) = (row.get("CURRENCY"), row.get("AMT_DOCCUR"));
        if money::decimals(currency).is_none() {
            Some(
                Message::error("S&", "044", format!("Currency {currency} does not exist"))
                    .variables([currency]),
            )
        } else if !money::fits(decimal(amount), currency) {
            let text = format!("Amount {amount} has too many decimal places for currency {currency}");
            Some(Message::error("S&", "042", text).variables([amount, currency]))
        } else if self.options.currencies_without_rate.contains(currency) {
            let text = format!("Enter rate {currency} / USD rate type M");
            Some(Message::error("SG", "105", text).variables([currency]))
        } else {
            None
        }
    }

    fn accounting_number(&mut self, company: &str, year: &str) -> String {
        let first = self.options.accounting_document_first;
        let next = self.next_accounting.entry((company.to_owned(), year.to_owned())).or_insert(first);
        *next += 1;
        format!("{:0>10}", *next - 1)
    }

    fn accounting_document(
        &mut self,
        work: &Work<'_>,
        parameters: &Parameters,
        header: &Fieldset,
    ) -> AccountingDocument {
        let date = header.get("PSTNG_DATE");
        let (year, month) = (date.get(..4).unwrap_or_default(), date.get(4..6).unwrap_or_default());
        let company = header.get("COMP_CODE");
        let amounts: BTreeMap<&str, (&str, &str)> = parameters
            .table("CURRENCYAMOUNT")
            .iter()
            .filter(|row| matches!(row.get("CURR_TYPE"), "" | "00"))
            .map(|row| (row.get("ITEMNO_ACC"), (row.get("AMT_DOCCUR"), row.get("CURRENCY"))))
            .collect();
        let receivable = "0000140000".to_owned();
        let mut lines: Vec<(&str, AccountingLine)> = Vec::new();
        for (table, is_customer) in [("ACCOUNTGL", false), ("ACCOUNTRECEIVABLE", true)] {
            for row in parameters.table(table) {
                let (amount, currency) = amounts.get(row.get("ITEMNO_ACC")).copied().unwrap_or(("0", ""));
                let line = AccountingLine {
                    account: if is_customer { receivable.clone() } else { alpha(row.get("GL_ACCOUNT"), 10) },
                    customer: if is_customer { alpha(row.get("CUSTOMER"), 10) } else { String::new() },
                    amount: money::text(decimal(amount), currency),
                    currency: currency.to_owned(),
                    text: row.get("ITEM_TEXT").to_owned(),
                    assignment: row.get("ALLOC_NMBR").to_owned(),
                    cost_centre: alpha(row.get("COSTCENTER"), 10),
                    special: row.get("SP_GL_IND").to_owned(),
                };
                lines.push((row.get("ITEMNO_ACC"), line));
            }
        }
        lines.sort_by_key(|(item, _)| *item);
        let lines: Vec<AccountingLine> = lines.into_iter().map(|(_, line)| line).collect();
        AccountingDocument {
            number: self.accounting_number(company, year),
            company: company.to_owned(),
            year: year.to_owned(),
            period: month.to_owned(),
            doc_type: header.get("DOC_TYPE").to_owned(),
            doc_date: header.get("DOC_DATE").to_owned(),
            posting_date: date.to_owned(),
            reference: header.get("REF_DOC_NO").to_owned(),
            header_text: header.get("HEADER_TXT").to_owned(),
            user: work.user.to_owned(),
            currency: lines.first().map(|line| line.currency.clone()).unwrap_or_default(),
            lines,
            reverses: String::new(),
            reversed_by: String::new(),
            visible_at_ms: work.moment.now_ms,
        }
    }

    pub(crate) fn accounting_reverse(&mut self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let reversal = parameters.structure("REVERSAL");
        let key = if reversal.get("OBJ_KEY_R").is_empty() {
            reversal.get("OBJ_KEY")
        } else {
            reversal.get("OBJ_KEY_R")
        };
        let Some(original) = self.documents.document(key, work.moment.now_ms).cloned() else {
            let cause = Message::error("RW", "602", format!("Reference document BKPFF {key} does not exist"));
            return Ended::Answered(self.accounting_failure(vec![cause]));
        };
        if !original.reversed_by.is_empty() || !original.reverses.is_empty() {
            let text = format!("Document {} {} has already been reversed", original.number, original.company);
            return Ended::Answered(self.accounting_failure(vec![Message::error("F5", "361", text)]));
        }
        let date = reversal.get("PSTNG_DATE");
        let date = if date.is_empty() { original.posting_date.clone() } else { date.to_owned() };
        let year = date.get(..4).unwrap_or_default().to_owned();
        let mut document = AccountingDocument {
            number: self.accounting_number(&original.company, &year),
            period: date.get(4..6).unwrap_or_default().to_owned(),
            year,
            posting_date: date,
            reverses: original.key(),
            user: work.user.to_owned(),
            visible_at_ms: work.moment.now_ms,
            ..original
        };
        for line in &mut document.lines {
            line.amount = money::text(-decimal(&line.amount), &line.currency);
        }
        Ended::Answered(self.accounting_posted(work, &document))
    }
}

/// One amount per item, one item per amount, and nothing left over in any currency.
fn balance_check(parameters: &Parameters) -> Vec<Message> {
    let mut causes = Vec::new();
    let items: Vec<&str> = ["ACCOUNTGL", "ACCOUNTRECEIVABLE", "ACCOUNTPAYABLE", "ACCOUNTTAX"]
        .iter()
        .flat_map(|table| parameters.table(table))
        .map(|row| row.get("ITEMNO_ACC"))
        .collect();
    if items.len() > LINES_MAX {
        causes.push(Message::error("F5", "727", "Maximum number of items in FI reached"));
    }
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    let mut with_amount = Vec::new();
    for row in parameters.table("CURRENCYAMOUNT") {
        if !matches!(row.get("CURR_TYPE"), "" | "00") {
            continue;
        }
        *sums.entry(row.get("CURRENCY")).or_default() += decimal(row.get("AMT_DOCCUR"));
        with_amount.push(row.get("ITEMNO_ACC"));
    }
    let once = |list: &[&str], item: &str| list.iter().filter(|other| **other == item).count() == 1;
    let unmatched = items.iter().find(|item| !once(&with_amount, item) || !once(&items, item));
    let unmatched = unmatched.or_else(|| with_amount.iter().find(|item| !items.contains(*item)));
    if let Some(item) = unmatched {
        let text = format!("FI/CO interface: item {item} does not have exactly one line and one amount");
        causes.push(Message::error("RW", "013", text).variables([item]));
    } else if items.is_empty() {
        causes.push(Message::error("RW", "007", "FI/CO interface: the document has no items"));
    }
    if sums.values().any(|sum| !sum.is_zero()) {
        causes.push(Message::error("F5", "702", "Balance in transaction currency"));
    }
    causes
}

fn draft(work: &Work<'_>, document: &AccountingDocument) -> Draft {
    let mut totals: BTreeMap<&str, Decimal> = BTreeMap::new();
    let lines = document.lines.iter().map(|line| {
        json!({"account": alpha_out(&line.account), "customer": alpha_out(&line.customer),
               "amount": line.amount, "currency": line.currency, "text": line.text})
    });
    let lines = lines.collect();
    for line in &document.lines {
        *totals.entry(&line.currency).or_default() += decimal(&line.amount).max(Decimal::ZERO);
    }
    let mut draft = Draft::new(ACCOUNTING_DOCUMENT, document.key(), document.reference.clone(), work.call)
        .lines(lines)
        .document(serde_json::to_value(document).unwrap_or_default());
    for (currency, total) in totals {
        draft = draft.amount(currency, total);
    }
    if !document.reverses.is_empty() {
        draft.business_key = format!("reversal of {}", document.reverses);
    }
    draft
}

fn accounting_answer(key: &str, messages: &[Message], system: &str) -> Finished {
    let mut finished = Finished::default();
    finished.export("OBJ_KEY", Answer::Scalar(key.to_owned()));
    finished.export("OBJ_SYS", Answer::Scalar(system.to_owned()));
    finished.export("OBJ_TYPE", Answer::Scalar("BKPFF".to_owned()));
    finished.failed = messages.iter().any(Message::is_error);
    finished.table("RETURN", messages.iter().map(|message| message.row(system)).collect());
    finished
}
