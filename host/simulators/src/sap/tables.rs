//! The database tables that can be read, and their rows: amounts as stored, keys with leading zeros.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::money;
use crate::sap::SapEcc;
use crate::sap::documents::{AccountingDocument, SalesOrder};
use crate::sap::parameters::{alpha, alpha_out};
use crate::sap::where_clause::Clause;

/// A field: name, length in `RFC_READ_TABLE`, ABAP type, text.
pub(crate) type Field = (&'static str, usize, char, &'static str);
/// A row by field name.
pub(crate) type Record = BTreeMap<&'static str, String>;

const MANDT: Field = ("MANDT", 3, 'C', "Client");

/// The fields of a table, in the order of the dictionary.
pub(crate) fn fields(table: &str) -> Option<&'static [Field]> {
    Some(match table {
        "VBAK" => VBAK,
        "VBKD" => VBKD,
        "VBAP" => VBAP,
        "BKPF" => BKPF,
        "BSEG" => BSEG,
        "ADR6" => ADR6,
        "EDIDC" => EDIDC,
        "EDIDS" => EDIDS,
        "KNA1" => KNA1,
        "KNB1" => KNB1,
        "KNVV" => KNVV,
        "MARA" => MARA,
        "SKB1" => SKB1,
        "T001" => T001,
        "TCURX" => TCURX,
        _ => return None,
    })
}

const VBAK: &[Field] = &[
    MANDT,
    ("VBELN", 10, 'C', "Sales Document"),
    ("ERDAT", 8, 'D', "Created on"),
    ("ERNAM", 12, 'C', "Created by"),
    ("AUART", 4, 'C', "Sales Doc. Type"),
    ("NETWR", 15, 'P', "Net value"),
    ("WAERK", 5, 'C', "Doc. Currency"),
    ("VKORG", 4, 'C', "Sales Org."),
    ("VTWEG", 2, 'C', "Distr. Channel"),
    ("SPART", 2, 'C', "Division"),
    ("BSTNK", 20, 'C', "Purchase order no."),
    ("KUNNR", 10, 'C', "Sold-to party"),
    ("BUKRS_VF", 4, 'C', "Company Code"),
    ("LIFSK", 2, 'C', "Delivery block"),
    ("FAKSK", 2, 'C', "Billing block"),
    ("AUGRU", 3, 'C', "Order reason"),
];

const VBKD: &[Field] = &[
    MANDT,
    ("VBELN", 10, 'C', "Sales Document"),
    ("POSNR", 6, 'N', "Item"),
    ("BSTKD", 35, 'C', "PO number"),
];

const VBAP: &[Field] = &[
    MANDT,
    ("VBELN", 10, 'C', "Sales Document"),
    ("POSNR", 6, 'N', "Item"),
    ("MATNR", 18, 'C', "Material"),
    ("ARKTX", 40, 'C', "Description"),
    ("NETWR", 15, 'P', "Net value"),
    ("WAERK", 5, 'C', "Doc. Currency"),
    ("KWMENG", 15, 'P', "Order Quantity"),
];

const BKPF: &[Field] = &[
    MANDT,
    ("BUKRS", 4, 'C', "Company Code"),
    ("BELNR", 10, 'C', "Document Number"),
    ("GJAHR", 4, 'N', "Fiscal Year"),
    ("BLART", 2, 'C', "Document Type"),
    ("BLDAT", 8, 'D', "Document Date"),
    ("BUDAT", 8, 'D', "Posting Date"),
    ("MONAT", 2, 'N', "Period"),
    ("USNAM", 12, 'C', "User name"),
    ("XBLNR", 16, 'C', "Reference"),
    ("STBLG", 10, 'C', "Reversed with"),
    ("STJAH", 4, 'N', "Year"),
    ("BKTXT", 25, 'C', "Document Header Text"),
    ("WAERS", 5, 'C', "Currency"),
    ("AWTYP", 5, 'C', "Reference Procedure"),
    ("AWKEY", 20, 'C', "Object key"),
];

const BSEG: &[Field] = &[
    MANDT,
    ("BUKRS", 4, 'C', "Company Code"),
    ("BELNR", 10, 'C', "Document Number"),
    ("GJAHR", 4, 'N', "Fiscal Year"),
    ("BUZEI", 3, 'N', "Line Item"),
    ("BSCHL", 2, 'C', "Posting Key"),
    ("KOART", 1, 'C', "Account Type"),
    ("UMSKZ", 1, 'C', "Special G/L ind."),
    ("SHKZG", 1, 'C', "Debit/Credit"),
    ("WRBTR", 13, 'P', "Amount"),
    ("ZUONR", 18, 'C', "Assignment"),
    ("SGTXT", 50, 'C', "Text"),
    ("KOSTL", 10, 'C', "Cost Center"),
    ("HKONT", 10, 'C', "G/L Account"),
    ("KUNNR", 10, 'C', "Customer"),
];

const ADR6: &[Field] = &[
    ("CLIENT", 3, 'C', "Client"),
    ("ADDRNUMBER", 10, 'C', "Address Number"),
    ("PERSNUMBER", 10, 'C', "Person Number"),
    ("SMTP_ADDR", 241, 'C', "E-Mail Address"),
];

const EDIDC: &[Field] = &[
    MANDT,
    ("DOCNUM", 16, 'N', "IDoc number"),
    ("STATUS", 2, 'C', "Status of IDoc"),
    ("DIRECT", 1, 'C', "Direction"),
    ("IDOCTP", 30, 'C', "Basic type"),
    ("MESTYP", 30, 'C', "Message Type"),
    ("SNDPRN", 10, 'C', "Partner Number of Sender"),
    ("RCVPRN", 10, 'C', "Partner Number of Receiver"),
    ("REFMES", 14, 'C', "Reference to message"),
    ("ARCKEY", 70, 'C', "EDI archive key"),
    ("CREDAT", 8, 'D', "IDoc Created On"),
];

const EDIDS: &[Field] = &[
    MANDT,
    ("DOCNUM", 16, 'N', "IDoc number"),
    ("COUNTR", 16, 'N', "Counter"),
    ("STATUS", 2, 'C', "Status of IDoc"),
    ("STATXT", 70, 'C', "Status text"),
    ("STAPA1", 50, 'C', "Parameter 1"),
    ("STAPA2", 50, 'C', "Parameter 2"),
    ("STAPA3", 50, 'C', "Parameter 3"),
    ("STAPA4", 50, 'C', "Parameter 4"),
    ("STAMID", 20, 'C', "Message class"),
    ("STAMNO", 3, 'N', "Message number"),
];

const KNA1: &[Field] = &[
    MANDT,
    ("KUNNR", 10, 'C', "Customer"),
    ("LAND1", 3, 'C', "Country"),
    ("NAME1", 35, 'C', "Name 1"),
    ("ORT01", 35, 'C', "City"),
    ("PSTLZ", 10, 'C', "Postal Code"),
    ("REGIO", 3, 'C', "Region"),
    ("STRAS", 35, 'C', "Street"),
    ("TELF1", 16, 'C', "Telephone 1"),
    ("ADRNR", 10, 'C', "Address"),
    ("LOEVM", 1, 'C', "Deletion flag"),
];

const KNB1: &[Field] = &[
    MANDT,
    ("KUNNR", 10, 'C', "Customer"),
    ("BUKRS", 4, 'C', "Company Code"),
    ("AKONT", 10, 'C', "Recon. account"),
];

const KNVV: &[Field] = &[
    MANDT,
    ("KUNNR", 10, 'C', "Customer"),
    ("VKORG", 4, 'C', "Sales Org."),
    ("VTWEG", 2, 'C', "Distr. Channel"),
    ("SPART", 2, 'C', "Division"),
];

const MARA: &[Field] = &[MANDT, ("MATNR", 18, 'C', "Material"), ("MEINS", 3, 'C', "Base Unit")];

const SKB1: &[Field] = &[MANDT, ("BUKRS", 4, 'C', "Company Code"), ("SAKNR", 10, 'C', "G/L Account")];

const T001: &[Field] = &[
    MANDT,
    ("BUKRS", 4, 'C', "Company Code"),
    ("BUTXT", 25, 'C', "Company Name"),
    ("LAND1", 3, 'C', "Country"),
    ("WAERS", 5, 'C', "Currency"),
];

const TCURX: &[Field] = &[("CURRKEY", 5, 'C', "Currency"), ("CURRDEC", 1, 'N', "Decimals")];

fn stored(amount: &str, currency: &str) -> Decimal {
    money::stored(money::parse(amount).unwrap_or_default(), currency)
}

/// A packed field as text: the sign behind, or a blank.
fn packed(amount: Decimal) -> String {
    format!("{}{}", amount.abs(), if amount.is_sign_negative() && !amount.is_zero() { "-" } else { " " })
}

impl SapEcc {
    /// All rows of a table that a clause could mean: documents go by their reference or number where it gives one.
    pub(crate) fn records(&self, table: &str, clause: &Clause, seen_ms: u64) -> Vec<Record> {
        let mut records: Vec<Record> = match table {
            "VBAK" | "VBKD" | "VBAP" => self.order_records(table, clause, seen_ms),
            "BKPF" | "BSEG" => self.accounting_records(table, clause, seen_ms),
            "ADR6" | "KNA1" | "KNB1" | "KNVV" => self.customer_records(table, seen_ms),
            "EDIDC" | "EDIDS" => self.idocs.records(table),
            "MARA" => {
                let known = self.options.materials.keys().chain(&self.options.materials_unmaintained);
                known
                    .map(|number| Record::from([("MATNR", alpha(number, 18)), ("MEINS", "EA".to_owned())]))
                    .collect()
            }
            "SKB1" => {
                let accounts = |company: &String| {
                    let company = company.clone();
                    self.options.gl_accounts.keys().map(move |account| {
                        Record::from([("BUKRS", company.clone()), ("SAKNR", alpha(account, 10))])
                    })
                };
                self.options.company_codes.keys().flat_map(accounts).collect()
            }
            "T001" => {
                let companies = self.options.company_codes.iter();
                let record = |(code, company): (&String, &crate::settings::CompanyCode)| {
                    Record::from([
                        ("BUKRS", code.clone()),
                        ("BUTXT", company.name.clone()),
                        ("LAND1", company.country.clone()),
                        ("WAERS", company.currency.clone()),
                    ])
                };
                companies.map(record).collect()
            }
            _ => money::tcurx()
                .map(|(code, decimals)| {
                    Record::from([("CURRKEY", code.to_owned()), ("CURRDEC", decimals.to_string())])
                })
                .collect(),
        };
        for record in &mut records {
            record.insert("MANDT", self.options.client.clone());
        }
        records
    }

    fn order_records(&self, table: &str, clause: &Clause, seen_ms: u64) -> Vec<Record> {
        let orders: Vec<&SalesOrder> = match clause.must_equal("VBELN") {
            Some(number) => self.documents.order(number, seen_ms).into_iter().collect(),
            None => self.documents.orders(clause.must_equal("BSTKD"), seen_ms),
        };
        let mut records = Vec::new();
        for order in orders {
            match table {
                "VBAK" => records.push(Record::from([
                    ("VBELN", order.number.clone()),
                    ("ERDAT", order.date.clone()),
                    ("ERNAM", order.user.clone()),
                    ("AUART", order.doc_type.clone()),
                    ("NETWR", packed(stored(&order.net, &order.currency))),
                    ("WAERK", order.currency.clone()),
                    ("VKORG", order.sales_org.clone()),
                    ("VTWEG", order.channel.clone()),
                    ("SPART", order.division.clone()),
                    ("BSTNK", order.reference.chars().take(20).collect()),
                    ("KUNNR", order.customer.clone()),
                    ("BUKRS_VF", order.company.clone()),
                    ("LIFSK", order.delivery_block.clone()),
                    ("FAKSK", order.billing_block.clone()),
                    ("AUGRU", order.reason.clone()),
                ])),
                "VBKD" => records.push(Record::from([
                    ("VBELN", order.number.clone()),
                    ("POSNR", "000000".to_owned()),
                    ("BSTKD", order.reference.clone()),
                ])),
                _ => records.extend(order.items.iter().map(|item| {
                    let mut quantity = money::parse(&item.quantity).unwrap_or_default();
                    quantity.rescale(3);
                    Record::from([
                        ("VBELN", order.number.clone()),
                        ("POSNR", item.number.clone()),
                        ("MATNR", item.material.clone()),
                        ("ARKTX", item.text.clone()),
                        ("NETWR", packed(stored(&item.net, &order.currency))),
                        ("WAERK", order.currency.clone()),
                        ("KWMENG", packed(quantity)),
                    ])
                })),
            }
        }
        records
    }

    fn accounting_records(&self, table: &str, clause: &Clause, seen_ms: u64) -> Vec<Record> {
        let key = [clause.must_equal("BELNR"), clause.must_equal("BUKRS"), clause.must_equal("GJAHR")];
        let documents: Vec<&AccountingDocument> = match key {
            [Some(number), Some(company), Some(year)] => {
                self.documents.document(&format!("{number}{company}{year}"), seen_ms).into_iter().collect()
            }
            _ => self.documents.documents(clause.must_equal("XBLNR"), seen_ms),
        };
        let mut records = Vec::new();
        for document in documents {
            if table == "BSEG" {
                records.extend(line_records(document));
                continue;
            }
            let reversed_in = if document.reversed_by.is_empty() { "0000" } else { &document.year };
            records.push(Record::from([
                ("BUKRS", document.company.clone()),
                ("BELNR", document.number.clone()),
                ("GJAHR", document.year.clone()),
                ("BLART", document.doc_type.clone()),
                ("BLDAT", document.doc_date.clone()),
                ("BUDAT", document.posting_date.clone()),
                ("MONAT", document.period.clone()),
                ("USNAM", document.user.clone()),
                ("XBLNR", document.reference.clone()),
                ("STBLG", stblg(document).to_owned()),
                ("STJAH", reversed_in.to_owned()),
                ("BKTXT", document.header_text.clone()),
                ("WAERS", document.currency.clone()),
                ("AWTYP", "BKPFF".to_owned()),
                ("AWKEY", document.key()),
            ]));
        }
        records
    }

    fn customer_records(&self, table: &str, seen_ms: u64) -> Vec<Record> {
        let mut records = Vec::new();
        for customer in self.documents.customers().filter(|customer| customer.visible_at_ms <= seen_ms) {
            let number = || customer.number.clone();
            match table {
                "ADR6" if customer.email.is_empty() => {}
                "ADR6" => records.push(Record::from([
                    ("CLIENT", self.options.client.clone()),
                    ("ADDRNUMBER", customer.address.clone()),
                    ("PERSNUMBER", String::new()),
                    ("SMTP_ADDR", customer.email.clone()),
                ])),
                "KNA1" => records.push(Record::from([
                    ("KUNNR", number()),
                    ("LAND1", customer.country.clone()),
                    ("NAME1", customer.name1()),
                    ("ORT01", customer.city.chars().take(35).collect()),
                    ("PSTLZ", customer.postal_code.clone()),
                    ("REGIO", customer.region.clone()),
                    ("STRAS", customer.street1()),
                    ("TELF1", customer.phone.chars().take(16).collect()),
                    ("ADRNR", customer.address.clone()),
                    ("LOEVM", String::new()),
                ])),
                "KNB1" => records.extend(customer.company_codes.iter().map(|company| {
                    Record::from([
                        ("KUNNR", number()),
                        ("BUKRS", company.clone()),
                        ("AKONT", "0000140000".to_owned()),
                    ])
                })),
                _ => records.extend(customer.sales_areas.iter().map(|area| {
                    let mut parts = area.splitn(3, '/').map(str::to_owned);
                    let mut part = || parts.next().unwrap_or_default();
                    Record::from([
                        ("KUNNR", number()),
                        ("VKORG", part()),
                        ("VTWEG", part()),
                        ("SPART", part()),
                    ])
                })),
            }
        }
        records
    }
}

/// BKPF-STBLG links both ways: the reversed document to its reversal, and the reversal to what it reversed.
fn stblg(document: &AccountingDocument) -> &str {
    if document.reverses.is_empty() {
        &document.reversed_by
    } else {
        document.reverses.get(..10).unwrap_or_default()
    }
}

fn line_records(document: &AccountingDocument) -> impl Iterator<Item = Record> + '_ {
    document.lines.iter().enumerate().map(|(index, line)| {
        let amount = stored(&line.amount, &line.currency);
        let credit = amount.is_sign_negative();
        let customer = !line.customer.is_empty();
        let posting_key = match (customer, credit) {
            (true, false) => "01",
            (true, true) => "11",
            (false, false) => "40",
            (false, true) => "50",
        };
        Record::from([
            ("BUKRS", document.company.clone()),
            ("BELNR", document.number.clone()),
            ("GJAHR", document.year.clone()),
            ("BUZEI", format!("{:0>3}", index + 1)),
            ("BSCHL", posting_key.to_owned()),
            ("KOART", if customer { "D" } else { "S" }.to_owned()),
            ("UMSKZ", line.special.clone()),
            ("SHKZG", if credit { "H" } else { "S" }.to_owned()),
            ("WRBTR", packed(amount.abs())),
            ("ZUONR", line.assignment.clone()),
            ("SGTXT", line.text.clone()),
            (
                "KOSTL",
                if alpha_out(&line.cost_centre).is_empty() {
                    String::new()
                } else {
                    line.cost_centre.clone()
                },
            ),
            ("HKONT", line.account.clone()),
            ("KUNNR", line.customer.clone()),
        ])
    })
}
