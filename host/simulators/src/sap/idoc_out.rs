//! IDocs out: DEBMAS07 of customers that changed, ALEAUD01 of IDocs that were posted, to a configured address with
//! Basic authentication, several in one post. Anything but 200 is repeated later, as transaction SM58 does.

use base64::Engine as _;
use serde_json::Value;

use crate::background::own_call;
use crate::clock::dats;
use crate::sap::documents::Customer;
use crate::sap::idoc::{IDOC, IDOC_UPDATE, Idoc, wished};
use crate::sap::parameters::{alpha, alpha_out};
use crate::sap::{Moment, SapEcc, Work, customer};
use crate::stand_in::{Draft, Outgoing};

fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// A segment; empty fields are left out.
fn segment(name: &str, fields: &[(&str, &str)], inside: &str) -> String {
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: String = fields.map(|(name, value)| format!("<{name}>{}</{name}>", escape(value))).collect();
    format!("<{name} SEGMENT=\"1\">{fields}{inside}</{name}>")
}

impl SapEcc {
    /// IDocs that somebody asks for: `{"customers": ["100042"], "url": "…"}`; without customers, of all of them.
    pub(crate) fn idocs_wished(&mut self, wish: &Value, now_ms: u64) -> Result<Vec<Draft>, String> {
        let configured = self.options.idocs_out.as_ref().map(|out| out.url.clone());
        let url = wished(wish, "url").map(str::to_owned).or(configured);
        let url = url.ok_or("no address: set sap.idocs_out.url, or say \"url\"")?;
        let numbers: Vec<String> = match wish.get("customers") {
            None | Some(Value::Null) => {
                self.documents.customers().map(|known| known.number.clone()).collect()
            }
            Some(Value::Array(wished)) => {
                wished.iter().filter_map(Value::as_str).map(|n| alpha(n, 10)).collect()
            }
            Some(_) => return Err("customers is an array of numbers".to_owned()),
        };
        let mut drafts = Vec::new();
        for number in numbers {
            let Some(customer) = self.customer(&number).cloned() else {
                return Err(format!("customer {} does not exist", alpha_out(&number)));
            };
            drafts.push(self.debmas(&customer, &url, now_ms).draft(IDOC, &own_call()));
        }
        Ok(drafts)
    }

    /// A customer as somebody in SAP maintains it: fields by name over those that are there.
    pub(crate) fn customers_seeded(
        &mut self,
        objects: Vec<Value>,
        now_ms: u64,
    ) -> Result<Vec<Draft>, String> {
        let call = own_call();
        let work = Work { call: &call, moment: Moment { now_ms, seen_ms: now_ms }, user: "MILLER" };
        let mut drafts = Vec::new();
        for object in objects {
            let number = wished(&object, "number").map(|number| alpha(number, 10)).unwrap_or_default();
            let known = self.customer(&number).cloned();
            let kind = if known.is_some() {
                crate::sap::documents::CUSTOMER_UPDATE
            } else {
                crate::sap::documents::CUSTOMER
            };
            let fresh = || Customer {
                number: number.clone(),
                address: format!("8{}", number.get(1..).unwrap_or_default()),
                company_codes: vec!["1000".to_owned()],
                sales_areas: vec!["1000/10/00".to_owned()],
                ..Customer::default()
            };
            let mut value = serde_json::to_value(known.unwrap_or_else(fresh)).unwrap_or_default();
            let (Some(fields), Some(new)) = (value.as_object_mut(), object.as_object()) else {
                return Err("a customer is an object with number and fields".to_owned());
            };
            if number.is_empty() {
                return Err("a customer has a number".to_owned());
            }
            for (name, new) in new.iter().filter(|(name, _)| *name != "number") {
                if !fields.contains_key(name) {
                    return Err(format!("{name} is not a field of a customer"));
                }
                fields.insert(name.clone(), new.clone());
            }
            let customer: Customer = serde_json::from_value(value).map_err(|error| error.to_string())?;
            drafts.push(customer::draft(kind, &work, &customer));
        }
        Ok(drafts)
    }

    /// IDocs of customers that changed since the last one, where they go out by themselves.
    pub(crate) fn debmas_due(&mut self, now_ms: u64) -> Vec<Draft> {
        let Some(out) = self.options.idocs_out.as_ref().filter(|out| out.automatic).cloned() else {
            return Vec::new();
        };
        let changed: Vec<Customer> =
            self.changed.iter().filter_map(|number| self.documents.customer(number).cloned()).collect();
        changed
            .iter()
            .map(|customer| self.debmas(customer, &out.url, now_ms).draft(IDOC, &own_call()))
            .collect()
    }

    fn outbound(&mut self, types: (&str, &str), object: &str, url: &str, now_ms: u64) -> Idoc {
        Idoc {
            number: self.idocs.number(),
            direction: "1".to_owned(),
            idoc_type: types.0.to_owned(),
            message: types.1.to_owned(),
            sender: self.logical_system(),
            receiver: self.options.idocs_out.as_ref().map(|out| out.partner.clone()).unwrap_or_default(),
            created_ms: now_ms,
            due_ms: now_ms,
            object: object.to_owned(),
            url: url.to_owned(),
            ..Idoc::default()
        }
        .with("01", "E0", "001", "IDoc generated")
        .with("30", "E0", "030", "IDoc ready for dispatch (ALE service)")
    }

    fn control(&self, idoc: &Idoc) -> String {
        let port = format!("SAP{}", self.options.system_id);
        let seconds = idoc.created_ms / 1000 % 86_400;
        let time = format!("{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let serial = format!("{}{time}", dats(idoc.created_ms));
        let fields = [
            ("TABNAM", "EDI_DC40"),
            ("MANDT", self.options.client.as_str()),
            ("DOCNUM", idoc.number.as_str()),
            ("DOCREL", "731"),
            ("STATUS", "30"),
            ("DIRECT", "1"),
            ("OUTMOD", "2"),
            ("IDOCTYP", idoc.idoc_type.as_str()),
            ("MESTYP", idoc.message.as_str()),
            ("SNDPOR", port.as_str()),
            ("SNDPRT", "LS"),
            ("SNDPRN", idoc.sender.as_str()),
            ("RCVPOR", "PORTOLAN"),
            ("RCVPRT", "LS"),
            ("RCVPRN", idoc.receiver.as_str()),
            ("CREDAT", &dats(idoc.created_ms)),
            ("CRETIM", time.as_str()),
            ("SERIAL", serial.as_str()),
        ];
        segment("EDI_DC40", &fields, "")
    }

    fn debmas(&mut self, customer: &Customer, url: &str, now_ms: u64) -> Idoc {
        let mut idoc = self.outbound(("DEBMAS07", "DEBMAS"), &customer.number, url, now_ms);
        let mut inside = String::new();
        for company in &customer.company_codes {
            inside.push_str(&segment(
                "E1KNB1M",
                &[("MSGFN", "004"), ("BUKRS", company), ("AKONT", "0000140000")],
                "",
            ));
        }
        for area in &customer.sales_areas {
            let mut parts = area.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default();
            let fields = [("MSGFN", "004"), ("VKORG", part()), ("VTWEG", part()), ("SPART", part())];
            inside.push_str(&segment("E1KNVVM", &fields, ""));
        }
        let (name, street) = (customer.name1(), customer.street1());
        let fields = [
            ("MSGFN", "005"),
            ("KUNNR", customer.number.as_str()),
            ("ANRED", customer.title.as_str()),
            ("LAND1", customer.country.as_str()),
            ("NAME1", name.as_str()),
            ("ORT01", customer.city.as_str()),
            ("PSTLZ", customer.postal_code.as_str()),
            ("REGIO", customer.region.as_str()),
            ("SPRAS", customer.language.as_str()),
            ("STRAS", street.as_str()),
            ("TELF1", customer.phone.as_str()),
        ];
        let data = segment("E1KNA1M", &fields, &inside);
        idoc.xml = format!("<IDOC BEGIN=\"1\">{}{data}</IDOC>", self.control(&idoc));
        idoc
    }

    /// The confirmation of an IDoc that was worked on: its status, and the document that it created.
    pub(crate) fn aleaud(&mut self, of: &Idoc, created: &[Draft], now_ms: u64) -> Option<Draft> {
        let out = self.options.idocs_out.clone()?;
        let mut idoc = self.outbound(("ALEAUD01", "ALEAUD"), &of.number, &out.url, now_ms);
        let status = of.statuses.last().cloned().unwrap_or_default();
        let object = created.first().map(|draft| draft.number.clone()).unwrap_or_default();
        let object =
            if object.is_empty() { String::new() } else { segment("E1PRTOB", &[("OBJKEY", &object)], "") };
        let fields = [
            ("DOCNUM", of.reference.as_str()),
            ("STATUS", status.code.as_str()),
            ("STACOD", "SAP"),
            ("STATXT", status.text.as_str()),
        ];
        let state = segment("E1STATE", &fields, &object);
        let header = segment("E1ADHDR", &[("MESTYP", &of.message)], &state);
        idoc.xml = format!("<IDOC BEGIN=\"1\">{}{header}</IDOC>", self.control(&idoc));
        Some(idoc.draft(IDOC, &own_call()))
    }

    /// Posts of what is due: IDocs of one type and address together, at most so many in one.
    pub(crate) fn idocs_outgoing(&self, now_ms: u64) -> Vec<Outgoing> {
        let out = self.options.idocs_out.clone().unwrap_or_default();
        let mut posts: Vec<(Outgoing, String)> = Vec::new();
        for idoc in self.idocs.due("1", now_ms) {
            let fits = |post: &&mut (Outgoing, String)| {
                post.1 == idoc.idoc_type
                    && post.0.url == idoc.url
                    && post.0.numbers.len() < out.per_post.max(1)
            };
            if let Some((post, _)) = posts.iter_mut().rev().find(fits) {
                post.body.push_str(&idoc.xml);
                post.numbers.push(idoc.number.clone());
                continue;
            }
            let mut headers = vec![("content-type", out.content_type.clone())];
            if !out.user.is_empty() {
                let pair = format!("{}:{}", out.user, out.password);
                let basic = base64::engine::general_purpose::STANDARD.encode(pair);
                headers.push(("authorization", format!("Basic {basic}")));
            }
            let post = Outgoing { url: idoc.url, headers, body: idoc.xml, numbers: vec![idoc.number] };
            posts.push((post, idoc.idoc_type));
        }
        let whole = |(mut post, name): (Outgoing, String)| {
            post.body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><{name}>{}</{name}>", post.body);
            post
        };
        posts.into_iter().map(whole).collect()
    }

    /// The status of IDocs after their post. What was not answered with 200 is sent again.
    pub(crate) fn idocs_sent(&self, post: &Outgoing, status: Option<u16>, now_ms: u64) -> Vec<Draft> {
        let retry_ms = self.options.idocs_out.as_ref().map_or(1_000, |out| out.retry_ms);
        let told = |number: &String| {
            let idoc = self.idocs.get(number)?.clone();
            let idoc = if status == Some(200) {
                idoc.with("03", "E0", "003", "Data passed to port OK").with("12", "E0", "012", "Dispatch OK")
            } else {
                let text = status.map_or("no answer".to_owned(), |status| format!("HTTP {status}"));
                let mut idoc = idoc.with("02", "E0", "002", &format!("Error passing data to port: {text}"));
                idoc.due_ms = now_ms + retry_ms;
                // A list that grows with every attempt would outgrow its ledger.
                let kept = idoc.statuses.len().saturating_sub(10);
                idoc.statuses.drain(..kept);
                idoc
            };
            Some(idoc.draft(IDOC_UPDATE, &own_call()))
        };
        post.numbers.iter().filter_map(told).collect()
    }
}
