//! `BAPI_CUSTOMER_GETDETAIL1`.

use crate::sap::messages::Message;
use crate::sap::parameters::Kind::C;
use crate::sap::parameters::Shape::Scalar;
use crate::sap::parameters::{Interface, Parameters, alpha, alpha_out};
use crate::sap::xml::Answer;
use crate::sap::{Ended, Finished, SapEcc};

pub(crate) const GETDETAIL: Interface = &[
    ("CUSTOMERNO", Scalar(C(10))),
    ("PI_SALESORG", Scalar(C(4))),
    ("PI_DISTR_CHAN", Scalar(C(2))),
    ("PI_DIVISION", Scalar(C(2))),
];

impl SapEcc {
    pub(crate) fn customer_detail(&self, parameters: &Parameters) -> Ended {
        let number = alpha(parameters.scalar("CUSTOMERNO"), 10);
        let area = ["PI_SALESORG", "PI_DISTR_CHAN", "PI_DIVISION"].map(|name| parameters.scalar(name));
        let area_key = area.join("/");
        let mut finished = Finished::default();
        let known = self.customer(&number).filter(|customer| customer.sales_areas.contains(&area_key));
        let Some(customer) = known else {
            let text =
                format!("Customer {} is not defined in sales area {}", alpha_out(&number), area.join(" "));
            let (class, code) = if self.customer(&number).is_some() { ("VP", "204") } else { ("F2", "152") };
            let message = Message::error(class, code, text).variables([alpha_out(&number)]);
            finished.export("RETURN", Answer::Structure(message.row_return1()));
            return Ended::Answered(finished);
        };
        let currency =
            self.options.sales_areas.get(&area_key).and_then(|code| self.options.company_codes.get(code));
        let currency = currency.map(|company| company.currency.clone()).unwrap_or_default();
        let (first, last) = customer.name.split_once(' ').unwrap_or(("", &customer.name));
        let address = |mut row: Vec<(&'static str, String)>| {
            row.extend([
                ("CITY", customer.city.clone()),
                ("COUNTRY", customer.country.clone()),
                ("COUNTRYISO", customer.country.clone()),
                ("LANGU_P", "E".to_owned()),
                ("CURRENCY", currency.clone()),
                ("E_MAIL", customer.email.clone()),
            ]);
            Answer::Structure(row)
        };
        let person = vec![("FIRSTNAME", first.to_owned()), ("LASTNAME", last.to_owned())];
        finished.export("PE_PERSONALDATA", address(person));
        finished.export("PE_COMPANYDATA", address(vec![("NAME", customer.name.clone())]));
        finished.export("PE_OPT_PERSONALDATA", Answer::Structure(vec![("TRANSPZONE", String::new())]));
        finished.export("PE_OPT_COMPANYDATA", Answer::Structure(vec![("CUST_CLASS", String::new())]));
        finished.export("RETURN", Answer::Structure(Message::new("", "", "000", "").row_return1()));
        Ended::Answered(finished)
    }
}
