//! The tables that are served, their columns, and the entity sets that show them.

/// A column's type. Texts have a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Text(usize),
    Whole,
    Decimal,
    Flag,
    Date,
}

use Column::{Date, Decimal, Flag, Text, Whole};

/// An entity set.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) table: &'static str,
    /// Lists of it without `$select` are heavy.
    pub(crate) heavy: bool,
}

const SETS: &[Set] = &[
    Set { service: "Erp.BO.CustomerSvc", name: "Customers", table: "Customer", heavy: true },
    Set { service: "Erp.BO.SalesOrderSvc", name: "SalesOrders", table: "OrderHed", heavy: true },
    Set { service: "Erp.BO.SalesOrderSvc", name: "OrderDtls", table: "OrderDtl", heavy: false },
    Set { service: "Erp.BO.SalesOrderSvc", name: "OrderRels", table: "OrderRel", heavy: false },
    Set { service: "Erp.BO.CashGrpSvc", name: "CashGrps", table: "CashGrp", heavy: false },
    Set { service: "Erp.BO.CashRecSvc", name: "CashRecs", table: "CashHead", heavy: true },
    Set { service: "Erp.BO.CashRecSvc", name: "CashDtls", table: "CashDtl", heavy: false },
    Set { service: "Erp.BO.PartSvc", name: "Parts", table: "Part", heavy: true },
    Set { service: "Erp.BO.ARInvoiceSvc", name: "ARInvoices", table: "InvcHead", heavy: true },
    Set { service: "Erp.BO.ARInvoiceSvc", name: "InvcDtls", table: "InvcDtl", heavy: false },
    Set { service: "Erp.BO.InvcGrpSvc", name: "InvcGrps", table: "InvcGrp", heavy: false },
    Set { service: "Erp.BO.ReasonSvc", name: "Reasons", table: "Reason", heavy: false },
    Set { service: "Erp.BO.GLJrnGrpSvc", name: "GLJrnGrps", table: "GLJrnGrp", heavy: false },
    Set { service: "Erp.BO.GLJournalEntrySvc", name: "GLJournalEntries", table: "GLJrnHed", heavy: false },
    Set { service: "Erp.BO.GLJournalEntrySvc", name: "GLJrnDtlMnls", table: "GLJrnDtlMnl", heavy: false },
];

/// The set of a service, by its exact name.
pub(crate) fn set(service: &str, name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.service == service && set.name == name)
}

/// Whether the service exists at all.
pub(crate) fn is_service(service: &str) -> bool {
    SETS.iter().any(|set| set.service == service)
}

/// The table behind a child set of a table.
pub(crate) fn child(table: &str, name: &str) -> Option<&'static str> {
    match (table, name) {
        ("OrderHed", "OrderDtls") => Some("OrderDtl"),
        ("OrderHed" | "OrderDtl", "OrderRels") => Some("OrderRel"),
        ("CashHead", "CashDtls") => Some("CashDtl"),
        ("InvcHead", "InvcDtls") => Some("InvcDtl"),
        ("GLJrnHed", "GLJrnDtlMnls") => Some("GLJrnDtlMnl"),
        _ => None,
    }
}

/// Key columns after Company.
pub(crate) fn keys(table: &str) -> &'static [&'static str] {
    match table {
        "Customer" => &["CustNum"],
        "OrderHed" => &["OrderNum"],
        "OrderDtl" => &["OrderNum", "OrderLine"],
        "OrderRel" => &["OrderNum", "OrderLine", "OrderRelNum"],
        "CashGrp" => &["GroupID"],
        "CashHead" => &["GroupID", "HeadNum"],
        "CashDtl" => &["GroupID", "HeadNum", "InvoiceNum", "InvoiceRef"],
        "Part" => &["PartNum"],
        "InvcDtl" => &["InvoiceNum", "InvoiceLine"],
        "InvcGrp" | "GLJrnGrp" => &["GroupID"],
        "Reason" => &["ReasonType", "ReasonCode"],
        "GLJrnHed" => &["BookID", "FiscalYear", "JournalCode", "JournalNum"],
        "GLJrnDtlMnl" => &["BookID", "FiscalYear", "JournalCode", "JournalNum", "JournalLine"],
        _ => &["InvoiceNum"],
    }
}

/// Columns that are found by index when a filter says `eq`.
pub(crate) fn indexed(table: &str) -> &'static [&'static str] {
    match table {
        "Customer" => &["CustID", "EMailAddress", "CustNum"],
        "OrderHed" => &["PONum", "OrderNum", "CustNum"],
        "OrderDtl" | "OrderRel" => &["OrderNum"],
        "CashGrp" => &["GroupID"],
        "CashHead" => &["CheckRef", "GroupID", "HeadNum", "OrderNum", "ExternalID"],
        "CashDtl" => &["HeadNum", "GroupID"],
        "Part" => &["PartNum"],
        "InvcDtl" => &["InvoiceNum"],
        "InvcGrp" => &["GroupID"],
        "Reason" => &["ReasonCode"],
        "GLJrnGrp" => &["GroupID"],
        "GLJrnHed" => &["GroupID", "CommentText", "Description", "JournalNum"],
        "GLJrnDtlMnl" => &["JournalNum"],
        _ => &["InvoiceNum", "OrderNum", "ExternalID", "GroupID"],
    }
}

/// Columns that every table has.
pub(crate) const HOUSEKEEPING: &[(&str, Column)] = &[
    ("Company", Text(8)),
    ("SysRevID", Whole),
    ("SysRowID", Text(36)),
    ("BitFlag", Whole),
    ("RowMod", Text(1)),
];

/// The columns of a table.
pub(crate) fn columns(table: &str) -> &'static [(&'static str, Column)] {
    match table {
        "Customer" => CUSTOMER,
        "OrderHed" => ORDER_HED,
        "OrderDtl" => ORDER_DTL,
        "OrderRel" => ORDER_REL,
        "CashGrp" => CASH_GRP,
        "CashHead" => CASH_HEAD,
        "CashDtl" => CASH_DTL,
        "Part" => PART,
        "InvcDtl" => INVC_DTL,
        "InvcGrp" => INVC_GRP,
        "Reason" => REASON,
        "GLJrnGrp" => GL_JRN_GRP,
        "GLJrnHed" => GL_JRN_HED,
        "GLJrnDtlMnl" => GL_JRN_DTL_MNL,
        _ => INVC_HEAD,
    }
}

/// A column of a table; columns that end in `_c` belong to the customer and take anything.
pub(crate) fn column(table: &str, name: &str) -> Option<Column> {
    let known =
        columns(table).iter().chain(HOUSEKEEPING).find(|(column, _)| *column == name).map(|(_, kind)| *kind);
    known.or_else(|| name.ends_with("_c").then_some(Text(1_000)))
}

const CUSTOMER: &[(&str, Column)] = &[
    ("CustID", Text(10)),
    ("CustNum", Whole),
    ("Name", Text(50)),
    ("Address1", Text(50)),
    ("Address2", Text(50)),
    ("Address3", Text(50)),
    ("City", Text(50)),
    ("State", Text(50)),
    ("Zip", Text(10)),
    ("Country", Text(50)),
    ("CountryNum", Whole),
    ("PhoneNum", Text(20)),
    ("EMailAddress", Text(50)),
    ("CustomerType", Text(3)),
    ("TermsCode", Text(4)),
    ("TerritoryID", Text(8)),
    ("CurrencyCode", Text(4)),
    ("GroupCode", Text(4)),
    ("SalesRepCode", Text(8)),
    ("ShipViaCode", Text(4)),
    ("TaxRegionCode", Text(4)),
    ("CreditHold", Flag),
    ("CreditLimit", Decimal),
    ("Inactive", Flag),
    ("CheckDuplicatePO", Flag),
    ("ExternalCRMCustomerID", Text(50)),
    ("ChangedBy", Text(75)),
];

const ORDER_HED: &[(&str, Column)] = &[
    ("OrderNum", Whole),
    ("CustNum", Whole),
    ("CustID", Text(10)),
    ("BTCustNum", Whole),
    ("ShipToNum", Text(14)),
    ("ShipToCustNum", Whole),
    ("PONum", Text(50)),
    ("OrderDate", Date),
    ("NeedByDate", Date),
    ("RequestDate", Date),
    ("TermsCode", Text(4)),
    ("CurrencyCode", Text(4)),
    ("ShipViaCode", Text(4)),
    ("EntryPerson", Text(75)),
    ("OrderComment", Text(1_000)),
    ("OrderHeld", Flag),
    ("OpenOrder", Flag),
    ("VoidOrder", Flag),
    ("WebOrder", Flag),
    ("ECCOrderNum", Text(50)),
    ("ReadyToCalc", Flag),
    ("ReadyToFulfill", Flag),
    ("CreditOverride", Flag),
    ("UseOTS", Flag),
    ("OTSName", Text(50)),
    ("OTSAddress1", Text(50)),
    ("OTSAddress2", Text(50)),
    ("OTSCity", Text(50)),
    ("OTSState", Text(50)),
    ("OTSZIP", Text(10)),
    ("OrderAmt", Decimal),
    ("DocOrderAmt", Decimal),
    ("TotalCharges", Decimal),
    ("DocTotalCharges", Decimal),
];

const ORDER_DTL: &[(&str, Column)] = &[
    ("OrderNum", Whole),
    ("OrderLine", Whole),
    ("PartNum", Text(50)),
    ("LineDesc", Text(1_000)),
    ("SellingQuantity", Decimal),
    ("OrderQty", Decimal),
    ("SalesUM", Text(6)),
    ("IUM", Text(6)),
    ("UnitPrice", Decimal),
    ("DocUnitPrice", Decimal),
    ("LockPrice", Flag),
    ("OverridePriceList", Flag),
    ("PricePerCode", Text(2)),
    ("ProdCode", Text(8)),
    ("TaxCatID", Text(10)),
    ("NeedByDate", Date),
    ("RequestDate", Date),
    ("POLine", Text(10)),
    ("OpenLine", Flag),
    ("VoidLine", Flag),
    ("ExtPriceDtl", Decimal),
    ("DocExtPriceDtl", Decimal),
];

const ORDER_REL: &[(&str, Column)] = &[
    ("OrderNum", Whole),
    ("OrderLine", Whole),
    ("OrderRelNum", Whole),
    ("ReqDate", Date),
    ("NeedByDate", Date),
    ("OurReqQty", Decimal),
    ("SellingReqQty", Decimal),
    ("Plant", Text(8)),
    ("WarehouseCode", Text(8)),
    ("FirmRelease", Flag),
    ("Make", Flag),
    ("OpenRelease", Flag),
];

const CASH_GRP: &[(&str, Column)] = &[
    ("GroupID", Text(9)),
    ("TranDate", Date),
    ("BankAcctID", Text(10)),
    ("FiscalYear", Whole),
    ("FiscalPeriod", Whole),
    ("ActiveUserID", Text(75)),
    ("CreatedBy", Text(75)),
];

const CASH_HEAD: &[(&str, Column)] = &[
    ("GroupID", Text(9)),
    ("HeadNum", Whole),
    ("TranType", Text(10)),
    ("CheckRef", Text(50)),
    ("CustID", Text(10)),
    ("CustNum", Whole),
    ("TranDate", Date),
    ("TranAmt", Decimal),
    ("DocTranAmt", Decimal),
    ("AppliedAmt", Decimal),
    ("DocAppliedAmt", Decimal),
    ("UnAppliedAmt", Decimal),
    ("DocUnAppliedAmt", Decimal),
    ("CurrencyCode", Text(4)),
    ("ReceiptCurrencyCode", Text(4)),
    ("Reference", Text(50)),
    ("ExternalID", Text(50)),
    ("OrderNum", Whole),
    ("InvoiceNum", Whole),
    ("BankAcctID", Text(10)),
    ("FiscalYear", Whole),
    ("FiscalPeriod", Whole),
    ("Posted", Flag),
    ("GLPosted", Flag),
    ("CreditMemoNum", Whole),
    ("Reversed", Flag),
    ("ReversedReason", Text(1_000)),
];

const CASH_DTL: &[(&str, Column)] = &[
    ("GroupID", Text(9)),
    ("HeadNum", Whole),
    ("InvoiceNum", Whole),
    ("InvoiceRef", Whole),
    ("TranAmt", Decimal),
    ("DocTranAmt", Decimal),
    ("Discount", Decimal),
    ("DocDiscount", Decimal),
    ("Posted", Flag),
];

const PART: &[(&str, Column)] = &[
    ("PartNum", Text(50)),
    ("PartDescription", Text(1_000)),
    ("IUM", Text(6)),
    ("SalesUM", Text(6)),
    ("InActive", Flag),
];

const INVC_HEAD: &[(&str, Column)] = &[
    ("InvoiceNum", Whole),
    ("InvoiceType", Text(3)),
    ("InvoiceSuffix", Text(2)),
    ("CreditMemo", Flag),
    ("GroupID", Text(9)),
    ("CustNum", Whole),
    ("OrderNum", Whole),
    ("InvoiceRef", Whole),
    ("PONum", Text(50)),
    ("ExternalID", Text(50)),
    ("InvoiceDate", Date),
    ("DueDate", Date),
    ("ApplyDate", Date),
    ("TermsCode", Text(4)),
    ("CurrencyCode", Text(4)),
    ("Posted", Flag),
    ("OpenInvoice", Flag),
    ("InvoiceAmt", Decimal),
    ("DocInvoiceAmt", Decimal),
    ("InvoiceBal", Decimal),
    ("DocInvoiceBal", Decimal),
];

const INVC_DTL: &[(&str, Column)] = &[
    ("InvoiceNum", Whole),
    ("InvoiceLine", Whole),
    ("PartNum", Text(50)),
    ("LineDesc", Text(1_000)),
    ("ReasonCode", Text(8)),
    ("SellingShipQty", Decimal),
    ("UnitPrice", Decimal),
    ("DocUnitPrice", Decimal),
    ("ExtPrice", Decimal),
    ("DocExtPrice", Decimal),
];

const INVC_GRP: &[(&str, Column)] =
    &[("GroupID", Text(9)), ("ActiveUserID", Text(75)), ("CreatedBy", Text(75))];

const REASON: &[(&str, Column)] =
    &[("ReasonType", Text(1)), ("ReasonCode", Text(8)), ("Description", Text(30))];

const GL_JRN_GRP: &[(&str, Column)] =
    &[("GroupID", Text(9)), ("BookID", Text(12)), ("ActiveUserID", Text(75)), ("CreatedBy", Text(75))];

const GL_JRN_HED: &[(&str, Column)] = &[
    ("GroupID", Text(9)),
    ("BookID", Text(12)),
    ("FiscalYear", Whole),
    ("FiscalPeriod", Whole),
    ("JournalCode", Text(4)),
    ("JournalNum", Whole),
    ("JEDate", Date),
    ("CurrencyCode", Text(4)),
    ("Description", Text(50)),
    ("CommentText", Text(1_000)),
    ("Reverse", Flag),
    ("ReverseDate", Date),
    ("Posted", Flag),
];

const GL_JRN_DTL_MNL: &[(&str, Column)] = &[
    ("GroupID", Text(9)),
    ("BookID", Text(12)),
    ("FiscalYear", Whole),
    ("FiscalPeriod", Whole),
    ("JournalCode", Text(4)),
    ("JournalNum", Whole),
    ("JournalLine", Whole),
    ("GLAccount", Text(200)),
    ("Description", Text(50)),
    ("DebitAmount", Decimal),
    ("CreditAmount", Decimal),
    ("TransAmt", Decimal),
];
