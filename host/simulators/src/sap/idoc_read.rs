//! Segments as parameters of the functions that post them: ACC_DOCUMENT, ORDERS; and DEBMAS as a customer master.

use crate::sap::documents::{CUSTOMER, CUSTOMER_UPDATE, Customer};
use crate::sap::parameters::{alpha, alpha_out};
use crate::sap::xml::Element;
use crate::sap::{SapEcc, Work, customer};
use crate::stand_in::Draft;

/// How an IDoc is posted.
pub(crate) enum Posting {
    /// By a function with these arguments.
    Function(&'static str, Element),
    /// As a customer master: the segment E1KNA1M.
    Customer(Element),
}

fn element(name: &str, children: Vec<Element>) -> Element {
    Element { name: name.to_owned(), children, ..Element::default() }
}

fn leaf(name: &str, text: &str) -> Element {
    Element { name: name.to_owned(), text: text.to_owned(), ..Element::default() }
}

fn text<'a>(segment: &'a Element, name: &str) -> &'a str {
    segment.child(name).map_or("", |field| field.text.trim())
}

fn copied(element: &Element) -> Element {
    Element {
        name: element.name.clone(),
        namespace: String::new(),
        text: element.text.clone(),
        children: element.children.iter().map(copied).collect(),
    }
}

/// Reads the segments of a message.
///
/// # Errors
/// A sentence about what cannot be posted.
pub(crate) fn read(idoc: &Element, message: &str) -> Result<Posting, String> {
    match message {
        "ACC_DOCUMENT" => Ok(Posting::Function("BAPI_ACC_DOCUMENT_POST", accounting(idoc))),
        "ORDERS" => Ok(Posting::Function("BAPI_SALESORDER_CREATEFROMDAT2", orders(idoc))),
        "DEBMAS" => {
            let master = idoc.child("E1KNA1M").ok_or("segment E1KNA1M is missing")?;
            Ok(Posting::Customer(copied(master)))
        }
        other => Err(format!("no inbound function for message type {other}")),
    }
}

/// The segments of the BAPI's structures, joined by ITEMNO_ACC as they are.
fn accounting(idoc: &Element) -> Element {
    const TABLES: [(&str, &str); 6] = [
        ("E1BPACGL09", "ACCOUNTGL"),
        ("E1BPACAR09", "ACCOUNTRECEIVABLE"),
        ("E1BPACAP09", "ACCOUNTPAYABLE"),
        ("E1BPACTX09", "ACCOUNTTAX"),
        ("E1BPACCR09", "CURRENCYAMOUNT"),
        ("E1BPPAREX", "EXTENSION2"),
    ];
    let mut parameters = Vec::new();
    for (segment, structure) in [("E1BPACHE09", "DOCUMENTHEADER"), ("E1BPACPA09", "CUSTOMERCPD")] {
        let found = idoc.child(segment);
        parameters.extend(found.map(|found| element(structure, found.children.iter().map(copied).collect())));
    }
    for (segment, table) in TABLES {
        let rows = idoc.children.iter().filter(|child| child.name == segment);
        let rows = rows.map(|row| element("item", row.children.iter().map(copied).collect()));
        parameters.push(element(table, rows.collect()));
    }
    element("BAPI_ACC_DOCUMENT_POST", parameters)
}

fn orders(idoc: &Element) -> Element {
    let of = |name: &str| idoc.children.iter().filter(move |child| child.name == name).collect::<Vec<_>>();
    let by = |name: &str, qualifier: (&str, &str), field: &str| {
        let found = of(name).into_iter().find(|segment| text(segment, qualifier.0) == qualifier.1);
        found.map(|segment| text(segment, field).to_owned()).unwrap_or_default()
    };
    let head = idoc.child("E1EDK01");
    let of_head = |name: &str| head.map_or("", |head| text(head, name)).to_owned();
    let header = [
        ("DOC_TYPE", by("E1EDK14", ("QUALF", "012"), "ORGID")),
        ("SALES_ORG", by("E1EDK14", ("QUALF", "008"), "ORGID")),
        ("DISTR_CHAN", by("E1EDK14", ("QUALF", "007"), "ORGID")),
        ("DIVISION", by("E1EDK14", ("QUALF", "006"), "ORGID")),
        ("REQ_DATE_H", by("E1EDK03", ("IDDAT", "002"), "DATUM")),
        ("PURCH_DATE", by("E1EDK03", ("IDDAT", "012"), "DATUM")),
        ("PURCH_NO_C", of_head("BELNR")),
        ("CURRENCY", of_head("CURCY")),
    ];
    let header = header.iter().map(|(name, value)| leaf(name, value)).collect();
    let partners = of("E1EDKA1").into_iter().map(|partner| {
        let fields = [("PARTN_ROLE", "PARVW"), ("PARTN_NUMB", "PARTN"), ("NAME", "NAME1"), ("CITY", "ORT01")];
        element("item", fields.iter().map(|(name, own)| leaf(name, text(partner, own))).collect())
    });
    let (mut items, mut schedules, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    for item in of("E1EDP01") {
        let number = leaf("ITM_NUMBER", text(item, "POSEX"));
        let product =
            item.children.iter().find(|child| child.name == "E1EDP19" && text(child, "QUALF") == "002");
        let of_product = |name: &str| product.map_or("", |product| text(product, name));
        items.push(element(
            "item",
            vec![
                copied(&number),
                leaf("MATERIAL", of_product("IDTNR")),
                leaf("SHORT_TEXT", of_product("KTEXT")),
                leaf("PLANT", text(item, "WERKS")),
            ],
        ));
        for schedule in item.children.iter().filter(|child| child.name == "E1EDP20") {
            let (date, quantity) = (text(schedule, "EDATU"), text(schedule, "WMENG"));
            let fields = vec![copied(&number), leaf("REQ_DATE", date), leaf("REQ_QTY", quantity)];
            schedules.push(element("item", fields));
        }
        let (price, currency) = (text(item, "VPREI"), text(item, "CURCY"));
        let fields =
            vec![number, leaf("COND_TYPE", "EDI1"), leaf("COND_VALUE", price), leaf("CURRENCY", currency)];
        conditions.push(element("item", fields));
    }
    element(
        "BAPI_SALESORDER_CREATEFROMDAT2",
        vec![
            element("ORDER_HEADER_IN", header),
            element("ORDER_PARTNERS", partners.collect()),
            element("ORDER_ITEMS_IN", items),
            element("ORDER_SCHEDULES_IN", schedules),
            element("ORDER_CONDITIONS_IN", conditions),
        ],
    )
}

impl SapEcc {
    /// A customer master: replaced field by field, as far as the segment has them.
    pub(crate) fn idoc_customer(
        &mut self,
        work: &Work<'_>,
        master: &Element,
    ) -> Result<(String, Vec<Draft>), String> {
        let number = alpha(text(master, "KUNNR"), 10);
        if number.is_empty() {
            return Err("Enter a customer number".to_owned());
        }
        let known = self.customer(&number).cloned();
        if self.is_locked(&number) {
            return Err(format!(
                "Customer {} is currently being processed by user MILLER",
                alpha_out(&number)
            ));
        }
        let kind = if known.is_some() { CUSTOMER_UPDATE } else { CUSTOMER };
        if known.is_none() && text(master, "MSGFN") == "004" {
            return Err(format!("Customer {} has not been created", alpha_out(&number)));
        }
        let mut customer = known.unwrap_or_else(|| Customer {
            number: number.clone(),
            address: format!("9{}", number.get(1..).unwrap_or_default()),
            ..Customer::default()
        });
        let name = text(master, "NAME1");
        match name.split_once(' ') {
            Some((first, last)) if customer.person => {
                (customer.first_name, customer.name) = (first.to_owned(), last.to_owned());
            }
            _ if !name.is_empty() => name.clone_into(&mut customer.name),
            _ => {}
        }
        if !text(master, "STRAS").is_empty() {
            text(master, "STRAS").clone_into(&mut customer.street);
            customer.house_number.clear();
        }
        for (field, slot) in [
            ("ORT01", &mut customer.city),
            ("PSTLZ", &mut customer.postal_code),
            ("LAND1", &mut customer.country),
            ("REGIO", &mut customer.region),
            ("TELF1", &mut customer.phone),
            ("SPRAS", &mut customer.language),
            ("ANRED", &mut customer.title),
        ] {
            if !text(master, field).is_empty() {
                text(master, field).clone_into(slot);
            }
        }
        for child in &master.children {
            if child.name == "E1KNB1M" {
                customer.company_codes.push(text(child, "BUKRS").to_owned());
            } else if child.name == "E1KNVVM" {
                let area = ["VKORG", "VTWEG", "SPART"].map(|name| text(child, name)).join("/");
                customer.sales_areas.push(area);
            }
        }
        customer.company_codes.dedup();
        customer.sales_areas.dedup();
        if customer.name.is_empty() || customer.country.is_empty() {
            return Err("Required field NAME1 or LAND1 has no entry".to_owned());
        }
        customer.visible_at_ms = work.moment.now_ms;
        let text = format!("Customer {} has been saved", alpha_out(&number));
        Ok((text, vec![customer::draft(kind, work, &customer)]))
    }
}
