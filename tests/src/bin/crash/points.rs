//! Every point of an event's life × every class of operation × every fault, one by one: one charge, one fault, one death,
//! one restart, one verdict. What cannot be is listed with its reason; everything else must come out right.

use std::{collections::BTreeMap, time::Duration};

use portolan::stage::System;
use portolan_proof::Point;
use serde_json::{Value, json};

use crate::{
    deeds::deeds,
    judge::Judge,
    load::Load,
    random::{now, rest},
    receiver::Slip,
    report::{Count, Findings},
    world::{Make, Pace, Places, World},
};

/// How long a case waits for the host to die.
const DEATH_WITHIN: Duration = Duration::from_millis(1_500);

/// Whose call goes wrong, and so how a doubt about it may be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Asked by its reference: SAP's function modules.
    SapEcc,
    /// Asked by its reference: Epicor's REST.
    Epicor,
    /// The same key again: Sage Pro's gateway and its journal.
    SagePro,
    /// The same key again, for a day: Stripe.
    Stripe,
    /// Never again: a blind post.
    Blind,
}

impl Target {
    pub(crate) const ALL: &'static [Self] =
        &[Self::SapEcc, Self::Epicor, Self::SagePro, Self::Stripe, Self::Blind];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SapEcc => "sap-ecc",
            Self::Epicor => "epicor",
            Self::SagePro => "sage-pro",
            Self::Stripe => "stripe",
            Self::Blind => "http",
        }
    }

    /// Whose tenant has the charge.
    const fn erp(self) -> System {
        match self {
            Self::SapEcc => System::SapEcc,
            Self::Epicor => System::Epicor,
            Self::SagePro | Self::Stripe | Self::Blind => System::SagePro,
        }
    }

    /// The call that goes wrong, and the one that asks about it, as the stand-in counts them.
    const fn operations(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::SapEcc => Some(("Z_STRIPE_ORDER_CREATE", "RFC_READ_TABLE")),
            Self::Epicor => {
                Some(("POST Erp.BO.SalesOrderSvc/SalesOrders", "GET Erp.BO.SalesOrderSvc/SalesOrders"))
            }
            Self::SagePro => Some(("POST /Invoice", "GET /Invoice")),
            Self::Stripe => Some(("POST /v1/charges/{id}", "GET /v1/charges/{id}")),
            Self::Blind => None,
        }
    }

    /// Which pass of a delivery's point is this call's: Stripe and the blind one follow the invoice, in either order.
    const fn pass(self) -> u64 {
        match self {
            Self::SapEcc | Self::Epicor | Self::SagePro => 1,
            Self::Stripe => 2,
            Self::Blind => 3,
        }
    }

    const fn recognises_repeats(self) -> bool {
        matches!(self, Self::SagePro | Self::Stripe)
    }
}

/// A fault of `reliability` section 3.4, by its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `F6`
    pub(crate) number: &'static str,
    /// As the stand-ins name it; of the call itself.
    kind: &'static str,
    /// How long it lasts, in milliseconds.
    ms: u64,
    /// A fault of the question besides.
    of_question: Option<&'static str>,
    slip: Option<Slip>,
    /// Whether it belongs to those that every release has to pass.
    pub(crate) is_due: bool,
}

const fn fault(number: &'static str, kind: &'static str, slip: Option<Slip>, is_due: bool) -> Fault {
    Fault { number, kind, ms: 600, of_question: None, slip, is_due }
}

/// The faults.
pub(crate) const FAULTS: &[Fault] = &[
    Fault { number: "none", kind: "", ms: 0, of_question: None, slip: None, is_due: true },
    fault("F6", "commit-then-cut", Some(Slip::NoteThenCut), true),
    fault("F7", "hang-after-commit", Some(Slip::NoteThenHang), true),
    Fault { ms: 200, ..fault("F9", "late-commit", Some(Slip::NoteLate), true) },
    fault("F11", "error-500-after-commit", Some(Slip::NoteThen500), true),
    fault("F12", "gateway-504-after-commit", Some(Slip::NoteThen502), true),
    fault("F17", "twice", Some(Slip::Twice), true),
    Fault { of_question: Some("check-stale"), ..fault("F22", "commit-then-cut", None, true) },
    fault("F24", "", None, true),
    fault("F4", "cut-before-commit", None, false),
    fault("F8", "hang", None, false),
    fault("F10", "error-500-before-commit", None, false),
    fault("F13", "rate-limited-until", None, false),
    fault("F14", "garbage-after-commit", None, false),
    fault("F18", "drip", None, false),
    fault("F20", "unauthorized", None, false),
    fault("F21", "locked", None, false),
    Fault { of_question: Some("error-500-before-commit"), ..fault("F23", "commit-then-cut", None, false) },
    fault("F28", "endless-after-commit", None, false),
    fault("F35", "slow", None, false),
];

/// Why a case cannot be, or says nothing.
fn impossible(target: Target, fault: &Fault) -> Option<&'static str> {
    match (fault.number, target) {
        ("F17", Target::SapEcc | Target::Epicor | Target::Blind) => Some(
            "a proxy that repeats makes two documents where repeats are not recognised, whatever the host does",
        ),
        ("F22" | "F23", Target::SagePro | Target::Stripe) => Some("nobody asks: the same key is sent again"),
        ("F22" | "F23", Target::Blind) => Some("nobody can be asked"),
        ("F24", Target::Stripe | Target::Blind) => Some("it is not restored from backups"),
        (_, Target::Blind) if fault.slip.is_none() && fault.number != "none" => {
            Some("the receiver does not offer it")
        }
        _ => None,
    }
}

/// Which cases.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice {
    /// One point only.
    pub(crate) point: Option<Point>,
    /// One target only.
    pub(crate) target: Option<Target>,
    /// All faults, not only those that are due.
    pub(crate) all_faults: bool,
    /// Every so many of the cases.
    pub(crate) every: usize,
}

/// One case and its verdict.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) target: Target,
    /// Whether the host died at the point by itself.
    pub(crate) died: bool,
    pub(crate) findings: Findings,
}

/// What came of the cases.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) cases: Vec<Case>,
    pub(crate) impossible: BTreeMap<&'static str, usize>,
    pub(crate) count: Count,
}

/// Plays all cases of a choice, the three ERPs side by side.
pub(crate) async fn play(
    places: &Places,
    choice: &Choice,
    make: &Make<'_>,
    say: impl Fn(&str),
) -> anyhow::Result<Outcome> {
    let of = |erp| of_erp(places, choice, make, erp, &say);
    let (sap, epicor, sage) = tokio::join!(of(System::SapEcc), of(System::Epicor), of(System::SagePro));
    let mut whole = Outcome::default();
    for part in [sap?, epicor?, sage?] {
        whole.cases.extend(part.cases);
        for (why, cases) in part.impossible {
            *whole.impossible.entry(why).or_default() += cases;
        }
        whole.count.join(&part.count);
    }
    Ok(whole)
}

async fn of_erp(
    places: &Places,
    choice: &Choice,
    make: &Make<'_>,
    erp: System,
    say: &impl Fn(&str),
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut cases = Vec::new();
    for target in Target::ALL.iter().filter(|target| target.erp() == erp) {
        for fault in FAULTS.iter().filter(|fault| choice.all_faults || fault.is_due) {
            for point in Point::ALL.iter().filter(|point| choice.point.is_none_or(|wanted| wanted == **point))
            {
                if choice.target.is_some_and(|wanted| wanted != *target) {
                    continue;
                }
                match impossible(*target, fault) {
                    Some(why) => *outcome.impossible.entry(why).or_default() += 1,
                    None => cases.push((*target, *point, fault)),
                }
            }
        }
    }
    let cases: Vec<_> = cases.into_iter().step_by(choice.every.max(1)).collect();
    if cases.is_empty() {
        return Ok(outcome);
    }
    let make = Make { erps: vec![erp], pace: Pace::SCRIPTED, ..make.clone() };
    let mut world = World::set_up(places, &format!("points-{}", erp.name()), &make).await?;
    let mut judge = Judge::of(&world);
    for (place, (target, point, fault)) in cases.iter().enumerate() {
        let case = case(&mut world, &mut judge, (place, *target, *point, fault), &mut outcome.count).await?;
        if !case.findings.is_empty() {
            say(&format!("✗ {}\n{}", case.name, case.findings));
        }
        outcome.cases.push(case);
        if place % 50 == 49 {
            say(&format!("{}: {} of {} cases", erp.name(), place + 1, cases.len()));
        }
    }
    Ok(outcome)
}

async fn case(
    world: &mut World,
    judge: &mut Judge,
    (place, target, point, fault): (usize, Target, Point, &Fault),
    count: &mut Count,
) -> anyhow::Result<Case> {
    let name = format!("{} × {} × {}", target.name(), point.number(), fault.number);
    let (story, objects) = deeds(target.erp(), &format!("{name} {place}"), 1, |_| false);
    let deed = story.into_iter().next().ok_or_else(|| anyhow::anyhow!("the story is empty"))?;
    world.stripe.seed(&objects).await?;
    arm(world, target, fault).await?;
    let backup = std::fs::metadata(world.ledger(target.erp())).map_or(0, |file| file.len());
    let pass = if point < Point::IntentCommitted { 1 } else { target.pass() };
    world.host_again(Some(&format!("{}:{pass}", point.number()))).await?;
    let mut load = Load::default();
    judge.happens(0, &deed);
    load.send(&world.tenants[0], 0, deed, 0);
    let deadline = now() + DEATH_WITHIN;
    while !world.host.has_ended()? && now() < deadline {
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    let died = world.host.has_ended()?;
    if fault.number == "F24" {
        restore(world, target.erp(), backup).await?;
    }
    world.host_again(None).await?;
    let mut findings = Findings::default();
    let done = load.all().await.unwrap_or_else(|text| {
        findings.restless(text);
        Vec::new()
    });
    rest(world, &mut findings, count).await?;
    world.behave().await?;
    let mut judged = judge.judge(world, &done, count).await?;
    if fault.number == "F24" {
        // What the ERP itself forgot after it had told its number is not the host's to know.
        count.many("documents that an ERP forgot", judged.take_lost_after_delivery() as u64);
    }
    findings.join(judged);
    Ok(Case { name, target, died, findings })
}

/// Has the other system misbehave, once.
async fn arm(world: &World, target: Target, fault: &Fault) -> anyhow::Result<()> {
    let Some((call, question)) = target.operations() else {
        if let Some(slip) = fault.slip {
            world.receiver.slip(slip);
        }
        return Ok(());
    };
    let stand_in = if target == Target::Stripe { &world.stripe } else { &world.erps[0] };
    let mut rules: Vec<Value> = Vec::new();
    if !fault.kind.is_empty() {
        rules.push(json!({ "operation": call, "fault": fault.kind, "ms": fault.ms }));
    }
    if let Some(kind) = fault.of_question {
        // The first question of all comes before the call: it has nothing to be wrong about.
        rules.push(json!({ "operation": question, "fault": kind, "ms": 300, "skip": 1, "times": 2 }));
    }
    if !rules.is_empty() {
        stand_in.fault(&Value::Array(rules)).await?;
    }
    debug_assert!(fault.number != "F17" || target.recognises_repeats(), "see `impossible`");
    Ok(())
}

/// The ERP is restored from a backup that was made before the case began.
async fn restore(world: &mut World, system: System, backup: u64) -> anyhow::Result<()> {
    let path = world.ledger(system);
    world.erps[0].kill().await?;
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(backup)?;
    world.erps[0].start_again().await
}
