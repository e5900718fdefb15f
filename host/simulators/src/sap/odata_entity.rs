//! Entities of `ZSTRIPE_SRV`: documents as objects, objects as parameters of functions, keys, filters, etags.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::sap::documents::{AccountingDocument, Customer, SalesOrder};
use crate::sap::odata::{Carried, Change, ROOT, Refused, SERVICE};
use crate::sap::parameters::{Parameters, alpha};
use crate::sap::xml::Element;
use crate::sap::{Ended, SapEcc, Work, interface};
use crate::stand_in::Call;

/// The service's model.
pub(crate) const METADATA: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><edmx:Edmx Version=\"1.0\" ",
    "xmlns:edmx=\"http://schemas.microsoft.com/ado/2007/06/edmx\"><edmx:DataServices m:DataServiceVersion=\"2.0\" ",
    "xmlns:m=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\"><Schema Namespace=\"ZSTRIPE_SRV\" ",
    "xmlns=\"http://schemas.microsoft.com/ado/2008/09/edm\">",
    "<EntityType Name=\"SalesOrder\"><Key><PropertyRef Name=\"OrderNo\"/></Key>",
    "<Property Name=\"OrderNo\" Type=\"Edm.String\" MaxLength=\"10\"/><Property Name=\"PurchaseNo\" Type=\"Edm.String\" MaxLength=\"35\"/>",
    "<Property Name=\"SoldTo\" Type=\"Edm.String\" MaxLength=\"10\"/><Property Name=\"OrderDate\" Type=\"Edm.DateTime\"/>",
    "<Property Name=\"Currency\" Type=\"Edm.String\" MaxLength=\"5\"/><Property Name=\"NetValue\" Type=\"Edm.Decimal\"/>",
    "<Property Name=\"DeliveryBlock\" Type=\"Edm.String\"/><Property Name=\"BillingBlock\" Type=\"Edm.String\"/>",
    "<NavigationProperty Name=\"Items\" Relationship=\"ZSTRIPE_SRV.Items\" FromRole=\"Order\" ToRole=\"Item\"/></EntityType>",
    "<EntityType Name=\"SalesOrderItem\"><Key><PropertyRef Name=\"ItemNo\"/></Key><Property Name=\"ItemNo\" Type=\"Edm.String\"/>",
    "<Property Name=\"Material\" Type=\"Edm.String\"/><Property Name=\"Quantity\" Type=\"Edm.Decimal\"/>",
    "<Property Name=\"Price\" Type=\"Edm.Decimal\"/></EntityType>",
    "<EntityType Name=\"Payment\"><Key><PropertyRef Name=\"ObjKey\"/></Key><Property Name=\"ObjKey\" Type=\"Edm.String\"/>",
    "<Property Name=\"Reference\" Type=\"Edm.String\" MaxLength=\"16\"/><Property Name=\"PostingDate\" Type=\"Edm.DateTime\"/>",
    "<Property Name=\"Amount\" Type=\"Edm.Decimal\"/></EntityType>",
    "<EntityType Name=\"Customer\"><Key><PropertyRef Name=\"CustomerNo\"/></Key><Property Name=\"CustomerNo\" Type=\"Edm.String\"/>",
    "<Property Name=\"City\" Type=\"Edm.String\"/></EntityType>",
    "<EntityContainer Name=\"ZSTRIPE_SRV_Entities\" m:IsDefaultEntityContainer=\"true\">",
    "<EntitySet Name=\"SalesOrderSet\" EntityType=\"ZSTRIPE_SRV.SalesOrder\"/>",
    "<EntitySet Name=\"PaymentSet\" EntityType=\"ZSTRIPE_SRV.Payment\"/>",
    "<EntitySet Name=\"CustomerSet\" EntityType=\"ZSTRIPE_SRV.Customer\"/>",
    "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
);

/// The set and the key of `SalesOrderSet('16023')`. Keys are one text.
pub(crate) fn address(path: &str) -> Option<(String, Option<String>)> {
    let (set, key) = match path.split_once('(') {
        None => (path, None),
        Some((set, rest)) => {
            let key = rest.strip_suffix(')')?;
            let key = key.rsplit_once("='").map_or(key, |(_, value)| value);
            let key = key.strip_prefix('\'').unwrap_or(key).strip_suffix('\'')?;
            (set, Some(key.replace("''", "'")))
        }
    };
    ["SalesOrderSet", "PaymentSet", "CustomerSet"].contains(&set).then(|| (set.to_owned(), key))
}

/// `A eq 'x' and B eq 'y'`, all of which must hold.
pub(crate) fn filter(text: &str) -> Option<Vec<(String, String)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let condition = |condition: &str| {
        let (property, value) = condition.trim().split_once(" eq ")?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        Some((property.to_owned(), value.replace("''", "'")))
    };
    text.split(" and ").map(condition).collect()
}

/// The properties that `$select` names; the key data stay.
pub(crate) fn selected(mut entity: Value, call: &Call) -> Value {
    if let (Some(select), Some(fields)) = (call.query("$select"), entity.as_object_mut()) {
        let names: Vec<&str> = select.split(',').collect();
        fields.retain(|name, _| name == "__metadata" || names.contains(&name.as_str()));
    }
    entity
}

/// `20261120` as `/Date(1795132800000)/`.
fn date(dats: &str) -> Value {
    let number = |range: std::ops::Range<usize>| dats.get(range).and_then(|text| text.parse::<i64>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(4..6), number(6..8)) else {
        return Value::Null;
    };
    // Days before a date of the Gregorian calendar (Hinnant's algorithm).
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let days =
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468;
    json!(format!("/Date({})/", days * 86_400_000))
}

/// `/Date(1795132800000)/` as `20261120`; anything else is not a date.
fn dats(value: Option<&Value>) -> Result<String, Refused> {
    let Some(text) = value.and_then(Value::as_str) else { return Ok(String::new()) };
    let inner = text.strip_prefix("/Date(").and_then(|text| text.strip_suffix(")/"));
    let milliseconds = inner.and_then(|text| text.split('+').next()).and_then(|text| text.parse().ok());
    let refused =
        || Refused::new(400, "CX_SXML_PARSE_ERROR", format!("'{text}' is not an Edm.DateTime in JSON"));
    Ok(crate::clock::dats(milliseconds.ok_or_else(refused)?))
}

fn with_metadata(set: &str, key: &str, mut entity: Value) -> Value {
    let etag =
        format!("W/\"'{}'\"", hex::encode(Sha256::digest(entity.to_string())).get(..12).unwrap_or_default());
    if let Some(fields) = entity.as_object_mut() {
        let uri = format!("{ROOT}{SERVICE}/{set}('{key}')");
        fields.insert(
            "__metadata".to_owned(),
            json!({"uri": uri, "type": format!("{SERVICE}.{set}"), "etag": etag}),
        );
    }
    entity
}

fn order_entity(order: &SalesOrder) -> Value {
    // Edm.Decimal with the scale of the model: three places for quantities.
    let quantity = |text: &str| {
        let mut quantity = crate::money::parse(text).unwrap_or_default();
        quantity.rescale(3);
        quantity.to_string()
    };
    let items = order.items.iter().map(|item| {
        json!({"ItemNo": item.number, "Material": item.material, "Text": item.text, "Quantity": quantity(&item.quantity),
            "Price": item.price})
    });
    let entity = json!({
        "OrderNo": order.number, "OrderType": order.doc_type, "SalesOrg": order.sales_org, "Channel": order.channel,
        "Division": order.division, "PurchaseNo": order.reference, "SoldTo": order.customer,
        "Currency": order.currency, "NetValue": order.net, "OrderDate": date(&order.date),
        "DeliveryBlock": order.delivery_block, "BillingBlock": order.billing_block,
        "Items": {"results": items.collect::<Vec<_>>()},
    });
    with_metadata("SalesOrderSet", &order.number, entity)
}

fn payment_entity(document: &AccountingDocument) -> Value {
    let line = document.lines.iter().find(|line| line.customer.is_empty());
    let customer = document.lines.iter().find(|line| !line.customer.is_empty());
    let entity = json!({
        "ObjKey": document.key(), "CompanyCode": document.company, "DocType": document.doc_type,
        "PostingDate": date(&document.posting_date), "Reference": document.reference,
        "Account": line.map(|line| &line.account), "Customer": customer.map(|line| &line.customer),
        "Amount": line.map(|line| &line.amount), "Currency": document.currency,
    });
    with_metadata("PaymentSet", &document.key(), entity)
}

fn customer_entity(customer: &Customer) -> Value {
    let entity = json!({
        "CustomerNo": customer.number, "FirstName": customer.first_name, "Name": customer.name,
        "Street": customer.street, "HouseNo": customer.house_number, "PostalCode": customer.postal_code,
        "City": customer.city, "Country": customer.country, "Email": customer.email,
    });
    with_metadata("CustomerSet", &customer.number, entity)
}

/// An element with the fields that a body has, by their own names in SAP. Numbers are not taken for decimals.
fn arguments(name: &str, body: &Map<String, Value>, names: &[(&str, &str)]) -> Result<Element, Refused> {
    let mut children = Vec::new();
    for (property, field) in names {
        let text = match body.get(*property) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(_) => {
                let text =
                    format!("Property {property} has an invalid value: texts and decimals are in quotes");
                return Err(Refused::new(400, "CX_SXML_PARSE_ERROR", text));
            }
        };
        children.push(leaf(field, &text));
    }
    Ok(element(name, children))
}

fn element(name: &str, children: Vec<Element>) -> Element {
    Element { name: name.to_owned(), children, ..Element::default() }
}

fn leaf(name: &str, text: &str) -> Element {
    Element { name: name.to_owned(), text: text.to_owned(), ..Element::default() }
}

impl SapEcc {
    pub(crate) fn odata_entities(&self, set: &str, seen_ms: u64) -> Vec<Value> {
        match set {
            "SalesOrderSet" => self.documents.orders(None, seen_ms).into_iter().map(order_entity).collect(),
            "PaymentSet" => self.documents.documents(None, seen_ms).into_iter().map(payment_entity).collect(),
            _ => self.documents.customers().map(customer_entity).collect(),
        }
    }

    pub(crate) fn odata_entity(&self, set: &str, key: &str, seen_ms: u64) -> Option<Value> {
        match set {
            "SalesOrderSet" => self.documents.order(&alpha(key, 10), seen_ms).map(order_entity),
            "PaymentSet" => self.documents.document(key, seen_ms).map(payment_entity),
            _ => self.customer(key).map(customer_entity),
        }
    }

    /// One request that changes something; nothing is committed yet.
    pub(crate) fn odata_change(&mut self, work: &Work<'_>, change: &Change) -> Result<Carried, Refused> {
        let missing =
            || Refused::new(404, "005056A509B11EE1BB8AF4A65EC3CA20", "Resource not found for the segment");
        let (set, key) = address(&change.path).ok_or_else(missing)?;
        let body = serde_json::from_str::<Map<String, Value>>(&change.body)
            .map_err(|error| Refused::new(400, "CX_SXML_PARSE_ERROR", error.to_string()))?;
        let (function, arguments) = match (change.method.as_str(), set.as_str(), key) {
            ("POST", "SalesOrderSet", None) => order_arguments(&body)?,
            ("POST", "PaymentSet", None) => payment_arguments(&body)?,
            ("POST", "CustomerSet", None) => customer_arguments(&body)?,
            ("MERGE" | "PATCH" | "PUT", "SalesOrderSet" | "CustomerSet", Some(key)) => {
                self.odata_precondition(work, change, (&set, &key))?;
                if set == "SalesOrderSet" {
                    order_change(&key, &body)?
                } else {
                    self.customer_change_of(&key, &body)?
                }
            }
            _ => {
                let text = format!("Method {} is not allowed for {set}", change.method);
                return Err(Refused::new(405, "/IWBEP/CM_MGW_RT/020", text));
            }
        };
        let parameters = interface(function).map(|known| Parameters::read(known, &arguments));
        let parameters =
            parameters.ok_or_else(missing)?.map_err(|(code, text)| Refused::new(400, code, text))?;
        let finished = match self.execute(function, work, &parameters) {
            Ended::Answered(finished) => finished,
            Ended::Exception(name) => return Err(Refused::new(400, "/IWBEP/CX_MGW_BUSI_EXCEPTION", name)),
            Ended::Fault(kind, text) => return Err(Refused::new(400, kind, text)),
        };
        if finished.failed {
            return Err(refused(&finished.failures()));
        }
        let draft = finished.drafts.first().ok_or_else(missing)?;
        let entity = match function {
            "BAPI_SALESORDER_CREATEFROMDAT2" => {
                serde_json::from_value(draft.document.clone()).map(|order: SalesOrder| order_entity(&order))
            }
            "BAPI_ACC_DOCUMENT_POST" => serde_json::from_value(draft.document.clone())
                .map(|document: AccountingDocument| payment_entity(&document)),
            "BAPI_CUSTOMER_CREATEFROMDATA1" => serde_json::from_value(draft.document.clone())
                .map(|customer: Customer| customer_entity(&customer)),
            _ => Ok(Value::Null),
        };
        let entity = entity.unwrap_or_default();
        Ok(Carried { status: if entity.is_null() { 204 } else { 201 }, entity, drafts: finished.drafts })
    }

    fn odata_precondition(
        &self,
        work: &Work<'_>,
        change: &Change,
        (set, key): (&str, &str),
    ) -> Result<(), Refused> {
        let entity = self.odata_entity(set, key, work.moment.now_ms);
        let entity =
            entity.ok_or_else(|| Refused::new(404, "SY/530", format!("{set} '{key}' does not exist")))?;
        let own = entity.pointer("/__metadata/etag").and_then(Value::as_str).unwrap_or_default();
        match change.etag.as_deref() {
            None => Err(Refused::new(428, "/IWFND/CM_MGW/428", "Precondition required")),
            Some(etag) if etag == "*" || etag == own => Ok(()),
            Some(_) => Err(Refused::new(412, "/IWFND/CM_MGW/412", "Precondition failed")),
        }
    }

    fn customer_change_of(
        &self,
        key: &str,
        body: &Map<String, Value>,
    ) -> Result<(&'static str, Element), Refused> {
        const NAMES: &[(&str, &str)] =
            &[("City", "CITY"), ("Street", "STREET"), ("HouseNo", "HOUSE_NO"), ("Email", "E_MAIL")];
        let person = self.customer(key).is_some_and(|customer| customer.person);
        let name = if person { "PI_PERSONALDATA" } else { "PI_COMPANYDATA" };
        let data = arguments(name, body, NAMES)?;
        let flags = data.children.iter().map(|field| leaf(&field.name, "X")).collect();
        let flags = element(&format!("{name}X"), flags);
        let area =
            self.customer(key).and_then(|customer| customer.sales_areas.first().cloned()).unwrap_or_default();
        let mut parts = area.splitn(3, '/');
        let mut children = vec![leaf("CUSTOMERNO", key), data, flags];
        for field in ["PI_SALESORG", "PI_DISTR_CHAN", "PI_DIVISION"] {
            children.push(leaf(field, parts.next().unwrap_or_default()));
        }
        Ok(("BAPI_CUSTOMER_CHANGEFROMDATA1", element("change", children)))
    }
}

/// The first cause is the error, all of them are its details.
fn refused(causes: &[(String, String)]) -> Refused {
    let (code, text) = causes.first().cloned().unwrap_or_default();
    Refused { status: 400, code, text, details: causes.to_vec() }
}

fn order_arguments(body: &Map<String, Value>) -> Result<(&'static str, Element), Refused> {
    let mut header = arguments(
        "ORDER_HEADER_IN",
        body,
        &[
            ("OrderType", "DOC_TYPE"),
            ("SalesOrg", "SALES_ORG"),
            ("Channel", "DISTR_CHAN"),
            ("Division", "DIVISION"),
            ("PurchaseNo", "PURCH_NO_C"),
            ("Currency", "CURRENCY"),
        ],
    )?;
    header.children.push(leaf("REQ_DATE_H", &dats(body.get("OrderDate"))?));
    let sold_to = body.get("SoldTo").and_then(Value::as_str).unwrap_or_default();
    let partner = element("item", vec![leaf("PARTN_ROLE", "AG"), leaf("PARTN_NUMB", sold_to)]);
    let items = body.get("Items").map(|items| items.get("results").unwrap_or(items));
    let (mut rows, mut schedules, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for item in items.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        let number = ("ItemNo", "ITM_NUMBER");
        rows.push(arguments("item", item, &[number, ("Material", "MATERIAL"), ("Text", "SHORT_TEXT")])?);
        schedules.push(arguments("item", item, &[number, ("Quantity", "REQ_QTY")])?);
        let mut condition = arguments("item", item, &[number, ("Price", "COND_VALUE")])?;
        condition.children.push(leaf("COND_TYPE", "PR00"));
        conditions.push(condition);
    }
    let children = vec![
        header,
        element("ORDER_PARTNERS", vec![partner]),
        element("ORDER_ITEMS_IN", rows),
        element("ORDER_SCHEDULES_IN", schedules),
        element("ORDER_CONDITIONS_IN", conditions),
    ];
    Ok(("BAPI_SALESORDER_CREATEFROMDAT2", element("order", children)))
}

fn order_change(key: &str, body: &Map<String, Value>) -> Result<(&'static str, Element), Refused> {
    let names = [("DeliveryBlock", "DLV_BLOCK"), ("BillingBlock", "BILL_BLOCK")];
    let header = arguments("ORDER_HEADER_IN", body, &names)?;
    let mut flags: Vec<Element> = header.children.iter().map(|field| leaf(&field.name, "X")).collect();
    flags.push(leaf("UPDATEFLAG", "U"));
    let children = vec![leaf("SALESDOCUMENT", key), header, element("ORDER_HEADER_INX", flags)];
    Ok(("BAPI_SALESORDER_CHANGE", element("change", children)))
}

fn payment_arguments(body: &Map<String, Value>) -> Result<(&'static str, Element), Refused> {
    let mut header = arguments(
        "DOCUMENTHEADER",
        body,
        &[("CompanyCode", "COMP_CODE"), ("DocType", "DOC_TYPE"), ("Reference", "REF_DOC_NO")],
    )?;
    let day = dats(body.get("PostingDate"))?;
    for (field, value) in
        [("DOC_DATE", day.as_str()), ("PSTNG_DATE", &day), ("BUS_ACT", "RFBU"), ("USERNAME", "GATEWAY")]
    {
        header.children.push(leaf(field, value));
    }
    let line = |number: &str, names: &[(&str, &str)]| -> Result<Element, Refused> {
        let mut row = arguments("item", body, names)?;
        row.children.push(leaf("ITEMNO_ACC", number));
        Ok(row)
    };
    let mut credit = line("2", &[("Currency", "CURRENCY")])?;
    let amount = body.get("Amount").and_then(Value::as_str).unwrap_or_default();
    credit.children.push(leaf("AMT_DOCCUR", &format!("-{amount}")));
    let amounts = vec![line("1", &[("Currency", "CURRENCY"), ("Amount", "AMT_DOCCUR")])?, credit];
    let children = vec![
        header,
        element("ACCOUNTGL", vec![line("1", &[("Account", "GL_ACCOUNT"), ("Text", "ITEM_TEXT")])?]),
        element("ACCOUNTRECEIVABLE", vec![line("2", &[("Customer", "CUSTOMER"), ("Text", "ITEM_TEXT")])?]),
        element("CURRENCYAMOUNT", amounts),
    ];
    Ok(("BAPI_ACC_DOCUMENT_POST", element("payment", children)))
}

fn customer_arguments(body: &Map<String, Value>) -> Result<(&'static str, Element), Refused> {
    let mut data = arguments(
        "PI_PERSONALDATA",
        body,
        &[
            ("FirstName", "FIRSTNAME"),
            ("Name", "LASTNAME"),
            ("Street", "STREET"),
            ("HouseNo", "HOUSE_NO"),
            ("PostalCode", "POSTL_COD1"),
            ("City", "CITY"),
            ("Country", "COUNTRY"),
            ("Email", "E_MAIL"),
        ],
    )?;
    for (field, value) in [("TITLE_P", "Ms."), ("LANGU_P", "E"), ("CURRENCY", "USD")] {
        data.children.push(leaf(field, value));
    }
    let reference =
        [("SALESORG", "1000"), ("DISTR_CHAN", "10"), ("DIVISION", "00"), ("REF_CUSTMR", "100001")];
    let reference = reference.iter().map(|(name, value)| leaf(name, value)).collect();
    let children = vec![data, element("PI_COPYREFERENCE", reference)];
    Ok(("BAPI_CUSTOMER_CREATEFROMDATA1", element("customer", children)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_milliseconds_there_and_back() {
        assert_eq!(date("20251120"), json!("/Date(1763596800000)/"));
        for day in ["20261120", "20000229", "19700101"] {
            assert_eq!(dats(Some(&date(day))).unwrap(), day);
        }
        assert!(dats(Some(&json!("2026-11-20"))).is_err());
    }

    #[test]
    fn keys_and_filters_are_texts_in_quotes() {
        assert_eq!(
            address("CustomerSet(CustomerNo='O''N')"),
            Some(("CustomerSet".into(), Some("O'N".into())))
        );
        assert_eq!(address("NopeSet"), None);
        assert_eq!(filter("A eq 'x' and B eq 'y'").unwrap().len(), 2);
        assert_eq!(filter("A gt 1"), None);
    }
}
