//! Customers: `BAPI_CUSTOMER_CREATEFROMDATA1`, `_CHANGEFROMDATA1`, `_GETDETAIL1`.
//!
//! They answer RETURN as a structure (BAPIRETURN1); an empty TYPE is success.

use crate::sap::documents::{CUSTOMER, CUSTOMER_UPDATE, Customer};
use crate::sap::messages::Message;
use crate::sap::parameters::Kind::C;
use crate::sap::parameters::Shape::{Scalar, Structure};
use crate::sap::parameters::{Fields, Fieldset, Interface, Parameters, alpha, alpha_out};
use crate::sap::xml::{Answer, Row};
use crate::sap::{Ended, Finished, SapEcc, Work};
use crate::settings::SapCustomer;
use crate::stand_in::Draft;

/// BAPIKNA101_1.
const PERSON: Fields = &[
    ("TITLE_P", C(30)),
    ("FIRSTNAME", C(40)),
    ("LASTNAME", C(40)),
    ("CITY", C(40)),
    ("POSTL_COD1", C(10)),
    ("STREET", C(60)),
    ("HOUSE_NO", C(10)),
    ("COUNTRY", C(3)),
    ("COUNTRYISO", C(2)),
    ("REGION", C(3)),
    ("TEL1_NUMBR", C(30)),
    ("E_MAIL", C(241)),
    ("LANGU_P", C(1)),
    ("LANGUP_ISO", C(2)),
    ("CURRENCY", C(5)),
];
/// BAPIKNA106.
const COMPANY: Fields = &[
    ("TITLE", C(30)),
    ("NAME", C(40)),
    ("NAME_2", C(40)),
    ("CITY", C(40)),
    ("POSTL_COD1", C(10)),
    ("STREET", C(60)),
    ("HOUSE_NO", C(10)),
    ("COUNTRY", C(3)),
    ("COUNTRYISO", C(2)),
    ("REGION", C(3)),
    ("TEL1_NUMBR", C(30)),
    ("E_MAIL", C(241)),
    ("LANGU", C(1)),
    ("LANGU_ISO", C(2)),
    ("CURRENCY", C(5)),
];

pub(crate) const GETDETAIL: Interface = &[
    ("CUSTOMERNO", Scalar(C(10))),
    ("PI_SALESORG", Scalar(C(4))),
    ("PI_DISTR_CHAN", Scalar(C(2))),
    ("PI_DIVISION", Scalar(C(2))),
];

pub(crate) const CREATE: Interface = &[
    ("PI_PERSONALDATA", Structure(PERSON)),
    ("PI_COMPANYDATA", Structure(COMPANY)),
    ("PI_OPT_PERSONALDATA", Structure(&[])),
    ("PI_OPT_COMPANYDATA", Structure(&[])),
    ("PI_CONSUMEREN", Scalar(C(1))),
    (
        "PI_COPYREFERENCE",
        Structure(&[("SALESORG", C(4)), ("DISTR_CHAN", C(2)), ("DIVISION", C(2)), ("REF_CUSTMR", C(10))]),
    ),
    ("PI_CREDIT_CONTROL_FLAG", Scalar(C(1))),
];

pub(crate) const CHANGE: Interface = &[
    ("CUSTOMERNO", Scalar(C(10))),
    ("PI_SALESORG", Scalar(C(4))),
    ("PI_DISTR_CHAN", Scalar(C(2))),
    ("PI_DIVISION", Scalar(C(2))),
    ("PI_PERSONALDATA", Structure(PERSON)),
    ("PI_PERSONALDATAX", Structure(&[])),
    ("PI_COMPANYDATA", Structure(COMPANY)),
    ("PI_COMPANYDATAX", Structure(&[])),
    ("PI_OPT_PERSONALDATA", Structure(&[])),
    ("PI_OPT_PERSONALDATAX", Structure(&[])),
    ("PI_OPT_COMPANYDATA", Structure(&[])),
    ("PI_OPT_COMPANYDATAX", Structure(&[])),
];

/// A customer of the world as it is configured.
pub(crate) fn of_world(number: &str, address: usize, master: &SapCustomer) -> Customer {
    let (first, last) = match master.name.split_once(' ') {
        Some((first, last)) if master.person => (first, last),
        _ => ("", master.name.as_str()),
    };
    Customer {
        number: alpha(number, 10),
        address: format!("{address:0>10}"),
        person: master.person,
        first_name: first.to_owned(),
        name: last.to_owned(),
        street: master.street.clone(),
        house_number: master.house_number.clone(),
        postal_code: master.postal_code.clone(),
        city: master.city.clone(),
        region: master.region.clone(),
        country: master.country.clone(),
        phone: master.phone.clone(),
        email: master.email.clone(),
        language: "E".to_owned(),
        company_codes: master.company_codes.clone(),
        sales_areas: master.sales_areas.clone(),
        ..Customer::default()
    }
}

/// The fields of a master by the names of its structure.
fn slots(customer: &mut Customer) -> [(&'static str, &mut String); 13] {
    let (title, first, last, language) = if customer.person {
        ("TITLE_P", "FIRSTNAME", "LASTNAME", "LANGU_P")
    } else {
        ("TITLE", "NAME_2", "NAME", "LANGU")
    };
    [
        (title, &mut customer.title),
        (first, &mut customer.first_name),
        (last, &mut customer.name),
        ("STREET", &mut customer.street),
        ("HOUSE_NO", &mut customer.house_number),
        ("POSTL_COD1", &mut customer.postal_code),
        ("CITY", &mut customer.city),
        ("REGION", &mut customer.region),
        ("COUNTRY", &mut customer.country),
        ("TEL1_NUMBR", &mut customer.phone),
        ("E_MAIL", &mut customer.email),
        (language, &mut customer.language),
        ("CURRENCY", &mut customer.currency),
    ]
}

/// RETURN as a structure: a failure, or nothing.
fn returned(mut finished: Finished, message: Option<&Message>) -> Ended {
    let initial = Message::new("", "", "000", "");
    finished.failed = message.is_some_and(Message::is_error);
    finished.export("RETURN", Answer::Structure(message.unwrap_or(&initial).row_return1()));
    Ended::Answered(finished)
}

fn refused(text: impl Into<String>) -> Ended {
    returned(Finished::default(), Some(&Message::error("F2", "316", text)))
}

/// Which of the two structures a call fills; both or none is a mistake.
fn kind(parameters: &Parameters) -> Option<(bool, Fieldset)> {
    let (person, company) = (parameters.structure("PI_PERSONALDATA"), parameters.structure("PI_COMPANYDATA"));
    match (person.is_empty(), company.is_empty()) {
        (false, true) => Some((true, person)),
        (true, false) => Some((false, company)),
        _ => None,
    }
}

impl SapEcc {
    pub(crate) fn customer_create(&mut self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let Some((person, fields)) = kind(parameters) else {
            return refused("Enter either personal data or company data");
        };
        let reference = parameters.structure("PI_COPYREFERENCE");
        let area = ["SALESORG", "DISTR_CHAN", "DIVISION"].map(|name| reference.get(name)).join("/");
        let number = alpha(reference.get("REF_CUSTMR"), 10);
        let Some(model) = self.customer(&number).filter(|model| model.sales_areas.contains(&area)).cloned()
        else {
            let text =
                format!("Reference customer {} does not exist in sales area {area}", alpha_out(&number));
            return refused(text);
        };
        let mut customer = Customer {
            person,
            company_codes: model.company_codes,
            sales_areas: vec![area],
            visible_at_ms: work.moment.now_ms,
            ..Customer::default()
        };
        for (name, slot) in slots(&mut customer) {
            fields.get(name).clone_into(slot);
        }
        if let Err(refusal) = self.customer_check(&mut customer) {
            return refusal;
        }
        self.next_customer += 1;
        let number = self.next_customer - 1;
        customer.number = format!("{number:0>10}");
        customer.address = format!("{:0>10}", 30_000 + number);
        let mut finished = Finished::default();
        finished.export("CUSTOMERNO", Answer::Scalar(customer.number.clone()));
        finished.drafts.push(draft(CUSTOMER, work, &customer));
        returned(finished, None)
    }

    pub(crate) fn customer_check(&self, customer: &mut Customer) -> Result<(), Ended> {
        let (title, currency) = (customer.title.clone(), customer.currency.clone());
        for (name, value) in slots(customer) {
            let optional =
                matches!(name, "FIRSTNAME" | "NAME_2" | "HOUSE_NO" | "REGION" | "TEL1_NUMBR" | "E_MAIL");
            if value.is_empty() && !optional {
                return Err(refused(format!("Required field {name} was not filled")));
            }
        }
        if !self.options.titles.contains(&title) {
            return Err(refused(format!("Form of address {title} is not in table TSAD3T")));
        }
        if crate::money::decimals(&currency).is_none() {
            return Err(refused(format!("Entry {currency} does not exist in TCURC (check entry)")));
        }
        Ok(())
    }

    pub(crate) fn customer_change(&mut self, work: &Work<'_>, parameters: &Parameters) -> Ended {
        let number = alpha(parameters.scalar("CUSTOMERNO"), 10);
        let (area, known) = self.customer_in_area(parameters);
        let Some(mut customer) = known.cloned() else {
            let text = format!("Customer {} is not defined in sales area {area}", alpha_out(&number));
            return refused(text);
        };
        if self.is_locked(&number) {
            let text = format!("Customer {} is currently being processed by user MILLER", alpha_out(&number));
            let message = Message::error("F2", "042", text);
            return returned(Finished::default(), Some(&message));
        }
        let (data, flags) = if customer.person {
            ("PI_PERSONALDATA", "PI_PERSONALDATAX")
        } else {
            ("PI_COMPANYDATA", "PI_COMPANYDATAX")
        };
        let (data, flags) = (parameters.structure(data), parameters.structure(flags));
        for (name, slot) in slots(&mut customer) {
            // A field without its X is passed over.
            if flags.get(name) == "X" {
                data.get(name).clone_into(slot);
            }
        }
        if customer.name.is_empty() || customer.city.is_empty() || customer.country.is_empty() {
            return refused("Required field NAME, CITY or COUNTRY was not filled");
        }
        customer.visible_at_ms = work.moment.now_ms;
        let mut finished = Finished::default();
        finished.drafts.push(draft(CUSTOMER_UPDATE, work, &customer));
        returned(finished, None)
    }

    fn customer_in_area(&self, parameters: &Parameters) -> (String, Option<&Customer>) {
        let number = alpha(parameters.scalar("CUSTOMERNO"), 10);
        let area = ["PI_SALESORG", "PI_DISTR_CHAN", "PI_DIVISION"].map(|name| parameters.scalar(name));
        let key = area.join("/");
        (area.join(" "), self.customer(&number).filter(|customer| customer.sales_areas.contains(&key)))
    }

    pub(crate) fn customer_detail(&self, parameters: &Parameters) -> Ended {
        let number = alpha(parameters.scalar("CUSTOMERNO"), 10);
        let (area, known) = self.customer_in_area(parameters);
        let Some(customer) = known else {
            let text = format!("Customer {} is not defined in sales area {area}", alpha_out(&number));
            let (class, code) = if self.customer(&number).is_some() { ("VP", "204") } else { ("F2", "152") };
            let message = Message::error(class, code, text).variables([alpha_out(&number)]);
            return returned(Finished::default(), Some(&message));
        };
        let mut customer = customer.clone();
        let currency = self
            .options
            .sales_areas
            .get(&area.replace(' ', "/"))
            .and_then(|code| self.options.company_codes.get(code));
        if let Some(company) = currency.filter(|_| customer.currency.is_empty()) {
            customer.currency.clone_from(&company.currency);
        }
        let person = customer.person;
        let row: Row = slots(&mut customer).into_iter().map(|(name, value)| (name, value.clone())).collect();
        // The structure of the other kind is answered too, initial.
        let empty = |fields: Fields| fields.iter().map(|(name, _)| (*name, String::new())).collect::<Row>();
        let (people, company) = if person { (row, empty(COMPANY)) } else { (empty(PERSON), row) };
        let mut finished = Finished::default();
        finished.export("PE_PERSONALDATA", Answer::Structure(people));
        finished.export("PE_COMPANYDATA", Answer::Structure(company));
        finished.export("PE_OPT_PERSONALDATA", Answer::Structure(vec![("TRANSPZONE", String::new())]));
        finished.export("PE_OPT_COMPANYDATA", Answer::Structure(vec![("CUST_CLASS", String::new())]));
        returned(finished, None)
    }
}

/// The ledger line of a customer. Two customers of one e-mail address are one customer made twice.
pub(crate) fn draft(kind: &'static str, work: &Work<'_>, customer: &Customer) -> Draft {
    let key = if customer.email.is_empty() { customer.name1() } else { customer.email.to_lowercase() };
    Draft::new(kind, customer.number.clone(), key, work.call)
        .document(serde_json::to_value(customer).unwrap_or_default())
}
