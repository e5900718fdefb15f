//! The judge. Its witnesses are the stand-ins' own ledgers and journals of calls, and the model that [`deeds`](crate::deeds)
//! computes from the raw events. The host is asked for two things only: what it says of an event that has no document
//! (a person may have to decide), and which numbers it recorded. It does not know which bug is planted, if any.

use std::collections::{BTreeMap, BTreeSet};

use portolan::stage::System;
use serde_json::Value;

use crate::{
    deeds::{Deed, Expected, short},
    records::{Arrival, Records},
    report::{Count, Findings},
    world::World,
};

/// What of a deed the host has acknowledged: the deed, and the host's id of the event.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// Whose, by place.
    pub(crate) tenant: usize,
    pub(crate) deed: Deed,
    /// `evt_…` of the host, from its answer.
    pub(crate) event: String,
}

/// Faults after which the caller cannot know what became of a call.
const AMBIGUOUS: &[&str] = &[
    "cut-before-commit",
    "commit-then-cut",
    "hang",
    "hang-after-commit",
    "error-500-before-commit",
    "error-500-after-commit",
    "gateway-502-after-commit",
    "gateway-503-after-commit",
    "gateway-504-after-commit",
    "garbage-after-commit",
    "endless-after-commit",
    "late-commit",
    "refuse",
];

/// Calls that make a document, of systems that recognise no repeat: after a doubt they may only be made again when the
/// system was asked, and answered.
const ASKED: &[&str] = &[
    "Z_STRIPE_ORDER_CREATE",
    "Z_STRIPE_ACC_DOCUMENT_POST",
    "POST Erp.BO.SalesOrderSvc/SalesOrders",
    "POST Erp.BO.CashRecSvc/CashRecs",
    "POST Erp.PROC.CashRecPostSvc/RunDirect",
    "POST Erp.BO.ReverseCashReceiptSvc/_ReverseCashReceipt",
];

/// Those of them whose bytes follow from what was just read, and not from the plan alone.
const COMPOSED: &[&str] =
    &["POST Erp.PROC.CashRecPostSvc/RunDirect", "POST Erp.BO.ReverseCashReceiptSvc/_ReverseCashReceipt"];

/// Kinds whose number the host records.
const NUMBERED: &[&str] = &["sales-order", "accounting-document", "cash-receipt", "invoice", "credit-memo"];

/// Kinds that move money or goods: whatever of them nobody ordered is a phantom.
const MONEY: &[&str] = &[
    "sales-order",
    "accounting-document",
    "cash-receipt",
    "cash-receipt-posting",
    "cash-receipt-reversal",
    "invoice",
    "credit-memo",
    "gl-journal",
];

/// Words at an object, which say the same however often they are written. A plan that was lost with the database is made
/// anew from what is true by then, and so they may be other words.
const WORDS: &str = "-update";

/// The documents that a deed leads to, in the ERP.
pub(crate) fn expected(system: System, deed: &Deed) -> Vec<Expected> {
    let one = |kind, key: &str| Expected { kind, key: key.to_owned() };
    let (id, own) = (deed.object.as_str(), short(&deed.object));
    match (system, &deed.refund_of) {
        (System::SapEcc, None) => vec![one("sales-order", id), one("accounting-document", &own)],
        (System::SapEcc, Some(_)) => vec![one("accounting-document", &own)],
        (System::Epicor, None) => {
            vec![one("sales-order", id), one("cash-receipt", &own), one("cash-receipt-posting", &own)]
        }
        (System::Epicor, Some(charge)) => vec![one("cash-receipt-reversal", &short(charge))],
        (System::SagePro, None) => vec![one("invoice", id)],
        (System::SagePro, Some(_)) => vec![one("credit-memo", id)],
        (System::Stripe, None) => vec![one("charge-update", id)],
        (System::Stripe, Some(_)) => vec![one("refund-update", id)],
    }
}

/// The judge of one world: what has been acknowledged, and what was found so far.
pub(crate) struct Judge {
    stripe: Records,
    erps: Vec<Records>,
    /// All that ever happened, acknowledged or not.
    deeds: Vec<(usize, Deed)>,
    /// How many calls were looked at already.
    counted: BTreeMap<&'static str, usize>,
    /// Plans may be lost.
    restores: bool,
}

impl Judge {
    pub(crate) fn of(world: &World) -> Self {
        Self {
            stripe: Records::new(world, System::Stripe),
            erps: world.erps.iter().map(|erp| Records::new(world, erp.system)).collect(),
            deeds: Vec::new(),
            counted: BTreeMap::new(),
            restores: false,
        }
    }

    /// Of a world whose database is put back from backups.
    pub(crate) fn of_restores(world: &World) -> Self {
        Self { restores: true, ..Self::of(world) }
    }

    /// Something happens at Stripe.
    pub(crate) fn happens(&mut self, tenant: usize, deed: &Deed) {
        self.deeds.push((tenant, deed.clone()));
    }

    /// Judges the world as it stands at rest. `done` are the deeds acknowledged since the last time.
    pub(crate) async fn judge(
        &mut self,
        world: &World,
        done: &[Done],
        count: &mut Count,
    ) -> anyhow::Result<Findings> {
        let mut findings = Findings::default();
        for records in self.erps.iter_mut().chain([&mut self.stripe]) {
            records.read()?;
        }
        self.repeated(world, &mut findings);
        self.phantoms(&mut findings);
        for one in done {
            self.one(world, one, &mut findings, count).await?;
        }
        for records in self.erps.iter().chain([&self.stripe]) {
            let known = self.objects(records.system);
            let by_key = !(self.restores && records.system == System::Stripe);
            unsafe_resends(records, (&known, by_key), &mut findings);
            let from = self.counted.insert(records.system.name(), records.arrivals.len()).unwrap_or(0);
            for arrival in &records.arrivals[from..] {
                if let Some(fault) = &arrival.fault {
                    count.add(&format!("fault {fault}"));
                }
            }
        }
        Ok(findings)
    }

    /// Words that name an object of this system: its id, its short reference, the group of its receipt.
    fn objects(&self, system: System) -> BTreeMap<String, String> {
        let place = self.erps.iter().position(|records| records.system == system);
        let mut known = BTreeMap::new();
        for (tenant, deed) in &self.deeds {
            if place.is_none_or(|place| place == *tenant) {
                let own = short(&deed.object);
                known.insert(format!("S{}", &own[..8]), deed.object.clone());
                known.insert(own, deed.object.clone());
                known.insert(deed.object.clone(), deed.object.clone());
            }
        }
        known
    }

    /// More than one commit of a kind for one business key; and more than one call where nobody can be asked.
    fn repeated(&self, world: &World, findings: &mut Findings) {
        for (place, records) in self.erps.iter().chain([&self.stripe]).enumerate() {
            let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for document in &records.documents {
                *counts.entry((&document.kind, &document.key)).or_default() += 1;
            }
            for (tenant, deed) in &self.deeds {
                if place < self.erps.len() && *tenant != place {
                    continue;
                }
                for wanted in expected(records.system, deed) {
                    if self.restores && wanted.kind.ends_with(WORDS) {
                        continue;
                    }
                    let commits = counts.get(&(wanted.kind, wanted.key.as_str())).copied().unwrap_or(0);
                    if commits > 1 {
                        findings.duplicate(format!(
                            "{} has {commits} × {} {} ({})",
                            records.system.name(),
                            wanted.kind,
                            wanted.key,
                            deed.object
                        ));
                    }
                }
            }
        }
        for ((tenant, what), calls) in world.receiver.calls() {
            if calls > 1 {
                findings.unsafe_resend(format!("{tenant} told of {what} {calls} times, blindly"));
            }
        }
    }

    fn phantoms(&self, findings: &mut Findings) {
        for (place, records) in self.erps.iter().enumerate() {
            let mine = self.deeds.iter().filter(|(tenant, _)| *tenant == place);
            let wanted: BTreeSet<(&str, String)> = mine
                .flat_map(|(_, deed)| expected(records.system, deed))
                .map(|expected| (expected.kind, expected.key))
                .collect();
            for document in &records.documents {
                let is_money = MONEY.contains(&document.kind.as_str());
                if is_money && !wanted.contains(&(document.kind.as_str(), document.key.clone())) {
                    findings.phantom(format!(
                        "{}: {} {}",
                        records.system.name(),
                        document.kind,
                        document.key
                    ));
                }
            }
        }
    }

    async fn one(
        &self,
        world: &World,
        done: &Done,
        findings: &mut Findings,
        count: &mut Count,
    ) -> anyhow::Result<()> {
        count.add("events judged");
        let erp = &self.erps[done.tenant];
        let story = story_of(world, done).await;
        note(&story, count);
        let mut sequences = Vec::new();
        for records in [erp, &self.stripe] {
            for wanted in expected(records.system, &done.deed) {
                let found = records
                    .documents
                    .iter()
                    .find(|found| found.kind == wanted.kind && found.key == wanted.key);
                let Some(found) = found else {
                    lost(world, done, &wanted, &story, (findings, count)).await?;
                    continue;
                };
                if records.system != System::Stripe {
                    sequences.push(found.seq);
                    self.compare(done, found, &story, findings);
                }
            }
        }
        if let Some(charge) = &done.deed.refund_of {
            let sale =
                self.deeds.iter().find(|(tenant, deed)| *tenant == done.tenant && &deed.object == charge);
            let before = sale.map(|(_, sale)| expected(erp.system, sale)).unwrap_or_default();
            let last = erp
                .documents
                .iter()
                .filter(|found| before.iter().any(|sale| sale.kind == found.kind && sale.key == found.key));
            if let (Some(last), Some(first)) = (last.map(|found| found.seq).max(), sequences.iter().min())
                && *first < last
            {
                findings.misorder(format!("{} was given back before {charge} was whole", done.deed.object));
            }
        }
        Ok(())
    }

    /// A document says what the event says, and the host has its number.
    fn compare(&self, done: &Done, found: &crate::records::Document, story: &Value, findings: &mut Findings) {
        let deed = &done.deed;
        if let Some(amount) = found.amounts.values().next() {
            let (amount, sums) = (amount.trim_start_matches('-'), &found.amounts);
            if amount != deed.amount || !sums.contains_key(deed.currency) || sums.len() != 1 {
                findings.mismatch(format!(
                    "{} {}: {sums:?} for {} {}",
                    found.kind, found.key, deed.amount, deed.currency
                ));
            }
        }
        if let Some(customer) =
            deed.customer.filter(|_| ["sales-order", "invoice"].contains(&found.kind.as_str()))
            && !found.text.contains(customer)
            && found.kind != "sales-order"
        {
            findings.mismatch(format!("{} {} is not of customer {customer}", found.kind, found.key));
        }
        let number = found.number.rsplit('/').next().unwrap_or_default();
        let runs = story["runs"].as_array().into_iter().flatten();
        let deliveries = runs.flat_map(|run| run["deliveries"].as_array().into_iter().flatten());
        let mut delivered = deliveries.filter(|delivery| delivery["state"] == "delivered").peekable();
        if NUMBERED.contains(&found.kind.as_str())
            && delivered.peek().is_some()
            && story["standing"] == "delivered"
            && !delivered.any(|delivery| delivery["response"].to_string().contains(number))
        {
            findings.mismatch(format!(
                "{} {} has number {number}, the host recorded another",
                found.kind, found.key
            ));
        }
    }
}

/// The host's story of an event. After a restore it may have another id than the one that was acknowledged.
async fn story_of(world: &World, done: &Done) -> Value {
    let tenant = &world.tenants[done.tenant];
    if let Ok(story) = tenant.get(&format!("/events/{}", done.event)).await {
        return story;
    }
    let same = tenant.get(&format!("/events?idempotency_key={}", done.deed.event_id)).await;
    match same.as_ref().ok().and_then(|same| same["items"][0]["id"].as_str()) {
        Some(id) => tenant.get(&format!("/events/{id}")).await.unwrap_or_default(),
        None => Value::Null,
    }
}

/// A document that is not there: a person is asked, or it is lost.
async fn lost(
    world: &World,
    done: &Done,
    wanted: &Expected,
    story: &Value,
    (findings, count): (&mut Findings, &mut Count),
) -> anyhow::Result<()> {
    let tenant = &world.tenants[done.tenant];
    let mut standing = story["standing"].as_str().unwrap_or("unknown").to_owned();
    if standing == "under-way" && crate::world::is_stuck(tenant, story).await? {
        standing = "behind".to_owned();
    }
    match standing.as_str() {
        "held" | "dead" | "in-doubt" | "refused" | "behind" => {
            count.add(&format!("waits for a person: {standing}"))
        }
        standing => findings.lost(format!(
            "{} {} of {} ({}) is not there, and the host says {standing}",
            wanted.kind, wanted.key, done.deed.object, done.deed.event_id
        )),
    }
    Ok(())
}

/// Counts what the host's own story shows of the ways that were taken.
fn note(story: &Value, count: &mut Count) {
    for run in story["runs"].as_array().into_iter().flatten() {
        for delivery in run["deliveries"].as_array().into_iter().flatten() {
            if delivery["state"] == "in-doubt" {
                let operation = delivery["operation"].as_str().unwrap_or_default();
                count.add(&format!("in doubt {operation}"));
            }
            for attempt in delivery["attempts"].as_array().into_iter().flatten() {
                count.add(&format!("attempt {}", attempt["verdict"].as_str().unwrap_or("without result")));
            }
        }
    }
}

/// Sends that were wrong even where nothing was doubled by them.
fn unsafe_resends(
    records: &Records,
    (known, by_key_too): (&BTreeMap<String, String>, bool),
    findings: &mut Findings,
) {
    let named = |arrival: &Arrival| -> BTreeSet<&String> {
        arrival.words.iter().filter_map(|word| known.get(word)).collect()
    };
    let committed: BTreeSet<&str> = records.documents.iter().map(|found| found.payload.as_str()).collect();
    let system = records.system.name();
    let mut by_key: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut by_bytes: BTreeMap<(&str, &str, &str), &str> = BTreeMap::new();
    let mut bytes_of: BTreeMap<(&str, &String), &str> = BTreeMap::new();
    // Operation and object → the last send, and whether the system was asked about the object, and answered, since.
    let mut last: BTreeMap<(&str, &String), (&Arrival, bool)> = BTreeMap::new();
    for arrival in &records.arrivals {
        let (operation, path) = (arrival.operation.as_str(), arrival.path.as_str());
        if let Some(key) = arrival.key.as_deref().filter(|_| by_key_too) {
            let bytes = by_key.entry((path, key)).or_insert(&arrival.payload);
            if *bytes != arrival.payload {
                findings.unsafe_resend(format!("{system}: {operation} with the key {key} and other bytes"));
            }
            let other = by_bytes.entry((operation, path, &arrival.payload)).or_insert(key);
            if *other != key {
                findings.unsafe_resend(format!(
                    "{system}: {operation} {path} again with another key: {other}, {key}"
                ));
            }
        }
        let objects = named(arrival);
        if !ASKED.contains(&operation) {
            let is_answer = arrival.went == Some(Some(200));
            let is_sound = !arrival.fault.as_deref().is_some_and(|fault| AMBIGUOUS.contains(&fault));
            for ((_, object), (_, asked)) in &mut last {
                *asked |= is_answer && is_sound && objects.contains(object);
            }
            continue;
        }
        // A refund's document names its charge as well.
        let Some(object) = objects.iter().find(|id| !id.starts_with("ch_")).or(objects.first()).copied()
        else {
            continue;
        };
        if !COMPOSED.contains(&operation) {
            let bytes = bytes_of.entry((operation, object)).or_insert(&arrival.payload);
            if *bytes != arrival.payload {
                findings.unsafe_resend(format!("{system}: {operation} for {object} with other bytes"));
            }
        }
        if let Some((before, asked)) = last.get(&(operation, object)) {
            let cut = !matches!(before.went, Some(Some(_)));
            let doubtful = before.fault.as_deref().is_some_and(|fault| AMBIGUOUS.contains(&fault));
            // Answered, but perhaps to a host that was dead by then.
            let done = matches!(before.went, Some(Some(200..=299)));
            if !asked && (cut || doubtful || done && committed.contains(before.payload.as_str())) {
                let fault = before.fault.as_deref().unwrap_or("no fault");
                findings.unsafe_resend(format!(
                    "{system}: {operation} for {object} again without a question ({fault})"
                ));
            }
        }
        last.insert((operation, object), (arrival, false));
    }
}
