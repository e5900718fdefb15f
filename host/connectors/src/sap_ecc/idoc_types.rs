//! The bodies of operations as IDoc segments: ORDERS05, ACC_DOCUMENT03, DEBMAS06. A field that an IDoc has no place
//! for is refused by name: what is left out silently is found missing by an accountant.

use portolan_domain::verdict::CallFailure;
use quick_xml::escape::escape;
use serde_json::{Map, Value};

use super::{
    documents::reference,
    find::{alpha, field},
    xml::element_name,
};
use crate::parameters::{invalid, text};

/// A segment: fields in their order, segments within.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    name: String,
    fields: Vec<(String, String)>,
    children: Vec<Segment>,
}

impl Segment {
    /// A segment without fields.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// One more field; an empty one is left out.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn inside(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// As XML.
    pub(super) fn write(&self, xml: &mut String) {
        xml.push_str(&format!("<{} SEGMENT=\"1\">", self.name));
        for (name, value) in &self.fields {
            xml.push_str(&format!("<{name}>{}</{name}>", escape(value)));
        }
        self.children.iter().for_each(|child| child.write(xml));
        xml.push_str(&format!("</{}>", self.name));
    }
}

type Row = Map<String, Value>;

/// The rows of a table of the body, or the one structure.
fn rows<'a>(parameters: &'a Row, name: &str) -> Result<Vec<&'a Row>, CallFailure> {
    let row = |value: &'a Value| {
        let row = value.as_object();
        row.ok_or_else(|| invalid(&format!("/{name}"), "must hold objects of fields"))
    };
    match parameters.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(rows)) => rows.iter().map(row).collect(),
        Some(value) => row(value).map(|row| vec![row]),
    }
}

/// Whatever is filled and not among these has no place in the IDoc. Texts have no control characters.
fn only(row: &Row, known: &[&str], pointer: &str) -> Result<(), CallFailure> {
    let has_control = |value: &Value| value.as_str().is_some_and(|text| text.chars().any(char::is_control));
    let is_empty = |value: &Value| {
        value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(|rows| rows.is_empty())
    };
    for (name, value) in row {
        let pointer = format!("{pointer}/{name}");
        if has_control(value) {
            return Err(invalid(&pointer, "has a control character, which SAP's fields cannot hold"));
        }
        if !is_empty(value) && !known.contains(&name.as_str()) {
            let message = "has no place in the IDoc; choose the door soap-rfc or srt for this operation";
            return Err(invalid(&pointer, message));
        }
    }
    Ok(())
}

/// A structure of a BAPI as the segment that has the same fields.
fn same_fields(segment: &str, row: &Row, pointer: &str) -> Result<Segment, CallFailure> {
    let mut written = Segment::new(segment);
    for (name, value) in row {
        let pointer = format!("{pointer}/{name}");
        let value = match value {
            Value::String(text) if !text.chars().any(char::is_control) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(invalid(&pointer, "must be a text without control characters, or a number"));
            }
        };
        written = written.with(&element_name(name, &pointer)?, &value);
    }
    Ok(written)
}

/// ACC_DOCUMENT03: the structures of the BAPI, segment by segment, joined by ITEMNO_ACC as they are.
pub(super) fn accounting(parameters: &Row) -> Result<Vec<Segment>, CallFailure> {
    const SEGMENTS: [(&str, &str); 8] = [
        ("DOCUMENTHEADER", "E1BPACHE09"),
        ("CUSTOMERCPD", "E1BPACPA09"),
        ("ACCOUNTGL", "E1BPACGL09"),
        ("ACCOUNTRECEIVABLE", "E1BPACAR09"),
        ("ACCOUNTPAYABLE", "E1BPACAP09"),
        ("ACCOUNTTAX", "E1BPACTX09"),
        ("CURRENCYAMOUNT", "E1BPACCR09"),
        ("EXTENSION2", "E1BPPAREX"),
    ];
    only(parameters, &SEGMENTS.map(|(name, _)| name), "")?;
    let mut segments = Vec::new();
    for (name, segment) in SEGMENTS {
        for row in rows(parameters, name)? {
            segments.push(same_fields(segment, row, &format!("/{name}"))?);
        }
    }
    Ok(segments)
}

/// ORDERS05. Prices become VPREI, which SAP takes over as the condition type of its EDI configuration.
pub(super) fn order(parameters: &Row) -> Result<Vec<Segment>, CallFailure> {
    const TABLES: &[&str] =
        &["ORDER_HEADER_IN", "ORDER_ITEMS_IN", "ORDER_PARTNERS", "ORDER_SCHEDULES_IN", "ORDER_CONDITIONS_IN"];
    const ORGANISATION: [(&str, &str); 4] =
        [("006", "DIVISION"), ("007", "DISTR_CHAN"), ("008", "SALES_ORG"), ("012", "DOC_TYPE")];
    const DATES: [(&str, &str); 2] = [("002", "REQ_DATE_H"), ("012", "PURCH_DATE")];
    only(parameters, TABLES, "")?;
    let headers = rows(parameters, "ORDER_HEADER_IN")?;
    let header = *headers.first().ok_or_else(|| invalid("/ORDER_HEADER_IN", "is required"))?;
    let known = ORGANISATION.iter().chain(&DATES).map(|(_, name)| *name).chain(["PURCH_NO_C", "CURRENCY"]);
    only(header, &known.collect::<Vec<_>>(), "/ORDER_HEADER_IN")?;
    let conditions = rows(parameters, "ORDER_CONDITIONS_IN")?;
    if conditions.iter().any(|row| matches!(field(row, "ITM_NUMBER"), "" | "000000")) {
        return Err(invalid("/ORDER_CONDITIONS_IN", "conditions of the header have no place in ORDERS05"));
    }
    let number = reference(parameters, "ORDER_HEADER_IN", "PURCH_NO_C")?;
    let mut segments =
        vec![Segment::new("E1EDK01").with("CURCY", field(header, "CURRENCY")).with("BELNR", number)];
    for (qualifier, name) in ORGANISATION {
        segments.push(Segment::new("E1EDK14").with("QUALF", qualifier).with("ORGID", field(header, name)));
    }
    for (qualifier, name) in DATES.into_iter().filter(|(_, name)| !field(header, name).is_empty()) {
        segments.push(Segment::new("E1EDK03").with("IDDAT", qualifier).with("DATUM", field(header, name)));
    }
    for partner in rows(parameters, "ORDER_PARTNERS")? {
        segments.push(partner_segment(partner)?);
    }
    segments.push(Segment::new("E1EDK02").with("QUALF", "001").with("BELNR", number));
    for item in rows(parameters, "ORDER_ITEMS_IN")? {
        segments.push(item_segment(parameters, item)?);
    }
    Ok(segments)
}

fn partner_segment(partner: &Row) -> Result<Segment, CallFailure> {
    const FIELDS: [(&str, &str); 8] = [
        ("PARTN_ROLE", "PARVW"),
        ("PARTN_NUMB", "PARTN"),
        ("NAME", "NAME1"),
        ("NAME_2", "NAME2"),
        ("STREET", "STRAS"),
        ("CITY", "ORT01"),
        ("POSTL_CODE", "PSTLZ"),
        ("COUNTRY", "LAND1"),
    ];
    only(partner, &FIELDS.map(|(name, _)| name), "/ORDER_PARTNERS")?;
    let segment = Segment::new("E1EDKA1");
    Ok(FIELDS.iter().fold(segment, |segment, (name, own)| segment.with(own, field(partner, name))))
}

fn item_segment(parameters: &Row, item: &Row) -> Result<Segment, CallFailure> {
    const ITEM: &[&str] = &["ITM_NUMBER", "MATERIAL", "TARGET_QTY", "TARGET_QU", "SHORT_TEXT", "PLANT"];
    const CONDITION: &[&str] = &["ITM_NUMBER", "COND_TYPE", "COND_VALUE", "CURRENCY"];
    const SCHEDULE: &[&str] = &["ITM_NUMBER", "SCHED_LINE", "REQ_DATE", "REQ_QTY"];
    only(item, ITEM, "/ORDER_ITEMS_IN")?;
    let number = field(item, "ITM_NUMBER");
    let of_item = |name: &str| -> Result<Vec<&Row>, CallFailure> {
        let mut found = rows(parameters, name)?;
        found.retain(|row| field(row, "ITM_NUMBER") == number);
        Ok(found)
    };
    let prices = of_item("ORDER_CONDITIONS_IN")?;
    let [price] = prices.as_slice() else {
        let message = "must have one price for each item: ORDERS05 holds no more";
        return Err(invalid("/ORDER_CONDITIONS_IN", message));
    };
    only(price, CONDITION, "/ORDER_CONDITIONS_IN")?;
    let mut segment = Segment::new("E1EDP01")
        .with("POSEX", number)
        .with("MENGE", field(item, "TARGET_QTY"))
        .with("MENEE", field(item, "TARGET_QU"))
        .with("VPREI", field(price, "COND_VALUE"))
        .with("CURCY", field(price, "CURRENCY"))
        .with("WERKS", field(item, "PLANT"));
    for schedule in of_item("ORDER_SCHEDULES_IN")? {
        only(schedule, SCHEDULE, "/ORDER_SCHEDULES_IN")?;
        let (quantity, date) = (field(schedule, "REQ_QTY"), field(schedule, "REQ_DATE"));
        segment = segment.inside(Segment::new("E1EDP20").with("WMENG", quantity).with("EDATU", date));
    }
    let material = Segment::new("E1EDP19")
        .with("QUALF", "002")
        .with("IDTNR", field(item, "MATERIAL"))
        .with("KTEXT", field(item, "SHORT_TEXT"));
    Ok(segment.inside(material))
}

/// DEBMAS for a new customer. The number must be given: IDocs answer none. Company code and further data go as the
/// segments themselves.
pub(super) fn customer(parameters: &Row) -> Result<Vec<Segment>, CallFailure> {
    const KNOWN: &[&str] = &[
        "CUSTOMERNO",
        "PI_PERSONALDATA",
        "PI_COMPANYDATA",
        "PI_COPYREFERENCE",
        "E1KNA1M",
        "E1KNB1M",
        "E1KNVVM",
    ];
    only(parameters, KNOWN, "")?;
    let number = parameters.get("CUSTOMERNO").and_then(Value::as_str).unwrap_or_default();
    if number.is_empty() {
        let message = "is required by DEBMAS, which answers no number; or choose the door soap-rfc or srt";
        return Err(invalid("/CUSTOMERNO", message));
    }
    let mut whole = Row::new();
    for structure in ["PI_PERSONALDATA", "PI_COMPANYDATA"] {
        for row in rows(parameters, structure)? {
            if !field(row, "E_MAIL").is_empty() {
                return Err(not_carried(&format!("/{structure}/E_MAIL")));
            }
            whole.extend(row.clone());
        }
    }
    let mut written = master("009", number, &whole)?;
    for row in rows(parameters, "E1KNA1M")? {
        let more = same_fields("E1KNA1M", row, "/E1KNA1M")?;
        written = more.fields.iter().fold(written, |written, (name, value)| written.with(name, value));
    }
    let mut areas = Vec::new();
    for row in rows(parameters, "E1KNVVM")? {
        areas.push(same_fields("E1KNVVM", row, "/E1KNVVM")?);
    }
    if areas.is_empty() {
        for row in rows(parameters, "PI_COPYREFERENCE")? {
            let area = Segment::new("E1KNVVM").with("VKORG", field(row, "SALESORG"));
            areas.push(area.with("VTWEG", field(row, "DISTR_CHAN")).with("SPART", field(row, "DIVISION")));
        }
    }
    for row in rows(parameters, "E1KNB1M")? {
        written = written.inside(same_fields("E1KNB1M", row, "/E1KNB1M")?);
    }
    Ok(vec![areas.into_iter().fold(written, Segment::inside)])
}

/// Fields that DEBMAS leaves to ADRMAS, or has no place for.
const NOT_CARRIED: &[&str] = &["E_MAIL", "CURRENCY", "TITLE_KEY"];

fn not_carried(pointer: &str) -> CallFailure {
    invalid(pointer, "has no place in DEBMAS; choose the door soap-rfc or srt for this operation")
}

/// DEBMAS for a customer that changes: what is flagged, and the rest as SAP says it now.
pub(super) fn customer_change(parameters: &Row, current: &Value) -> Result<Vec<Segment>, CallFailure> {
    const KNOWN: &[&str] = &[
        "CUSTOMERNO",
        "PI_SALESORG",
        "PI_DISTR_CHAN",
        "PI_DIVISION",
        "PI_PERSONALDATA",
        "PI_PERSONALDATAX",
        "PI_COMPANYDATA",
        "PI_COMPANYDATAX",
    ];
    only(parameters, KNOWN, "")?;
    let mut whole = Row::new();
    for (structure, answered) in
        [("PI_PERSONALDATA", "PE_PERSONALDATA"), ("PI_COMPANYDATA", "PE_COMPANYDATA")]
    {
        let flags = rows(parameters, &format!("{structure}X"))?;
        for row in rows(parameters, structure)? {
            whole.extend(current.get(answered).and_then(Value::as_object).cloned().unwrap_or_default());
            for (name, value) in row {
                if !flags.iter().any(|flags| field(flags, name) == "X") {
                    continue;
                }
                if NOT_CARRIED.contains(&name.as_str()) {
                    return Err(not_carried(&format!("/{structure}/{name}")));
                }
                whole.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(vec![master("004", text(parameters, "CUSTOMERNO")?, &whole)?])
}

/// E1KNA1M: names and streets in one field each, of 35 characters.
fn master(function: &str, number: &str, data: &Row) -> Result<Segment, CallFailure> {
    let joined = |names: [&str; 2]| names.map(|name| field(data, name)).join(" ").trim().to_owned();
    let company = field(data, "NAME");
    let name = if company.is_empty() { joined(["FIRSTNAME", "LASTNAME"]) } else { company.to_owned() };
    let title = [field(data, "TITLE_P"), field(data, "TITLE")].concat();
    let language = [field(data, "LANGU_P"), field(data, "LANGU")].concat();
    let street = joined(["STREET", "HOUSE_NO"]);
    let fields = [
        ("ANRED", title.as_str(), 15),
        ("LAND1", field(data, "COUNTRY"), 3),
        ("NAME1", name.as_str(), 35),
        ("ORT01", field(data, "CITY"), 35),
        ("PSTLZ", field(data, "POSTL_COD1"), 10),
        ("REGIO", field(data, "REGION"), 3),
        ("SPRAS", language.as_str(), 1),
        ("STRAS", street.as_str(), 35),
        ("TELF1", field(data, "TEL1_NUMBR"), 16),
    ];
    let mut segment = Segment::new("E1KNA1M").with("MSGFN", function).with("KUNNR", &alpha(number));
    for (name, value, chars_max) in fields {
        if value.chars().count() > chars_max || value.chars().any(char::is_control) {
            let message =
                format!("{name} of DEBMAS holds {chars_max} plain characters, {value:?} is not that");
            return Err(invalid("", &message));
        }
        segment = segment.with(name, value);
    }
    Ok(segment)
}
