//! The book: how to think of a mapping, one chapter for each thing that costs money when it is misunderstood. Every
//! example is tested. What is done with it, ERP by ERP, is in `docs/cookbook.md`.
//!
//! 1. [The contract](contract)
//! 2. [Needs](needs)
//! 3. [Money](money)
//! 4. [Dates](dates)
//! 5. [Plans](plans)
//! 6. [Ledger lines](ledger_lines)
//! 7. [Idempotency](idempotency)

pub mod contract {
    //! A mapping is a pure function: event, settings and facts in, one outcome out. It has no clock, no file, no socket
    //! and no memory of an earlier call. So the host may call it as often as it likes, replay it in a year, and compare
    //! two versions on the same past events to the cent.
    //!
    //! | outcome | how a mapping says it | what follows |
    //! |---|---|---|
    //! | `deliver` | `Ok(plan)` | the plan is stored in one transaction, then carried out |
    //! | `need` | `?` on a question | the host finds out and calls again, from the beginning |
    //! | `skip` | [`Stop::skip`](crate::Stop::skip) | nothing, on purpose, with a reason that people read |
    //! | `defer` | [`Stop::defer`](crate::Stop::defer) | the host calls again later: something has not arrived yet |
    //! | `hold` | [`Stop::hold`](crate::Stop::hold) | a person approves the plan, or refuses it |
    //! | `reject` | [`Stop::reject`](crate::Stop::reject) | the event is dead, and says why and where |
    //!
    //! ```
    //! use portolan_sdk::{prelude::*, testing::Trial};
    //!
    //! struct Doors;
    //!
    //! impl Mapping for Doors {
    //!     fn describe() -> Description {
    //!         Description::new("doors", "1.0.0", "Shows the ways out.").serves("stripe", "charge.*")
    //!     }
    //!
    //!     fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
    //!         match cx.event().kind.as_str() {
    //!             "charge.succeeded" => Ok(Plan::new()),
    //!             "charge.expired" => Err(Stop::skip("nothing was paid")),
    //!             // Waits for three attempts, then gives up: a deferral is an attempt.
    //!             _ if cx.attempt() <= 3 => Err(Stop::defer("its charge has not arrived")),
    //!             other => Err(Stop::reject("/type", "unknown-kind", format!("{other} is not known here"))),
    //!         }
    //!     }
    //! }
    //!
    //! let of = |kind: &str| Trial::<Doors>::new("stripe", kind, &json!({}));
    //! assert!(of("charge.succeeded").run().plan().deliveries.is_empty());
    //! assert_eq!(of("charge.expired").run().skipped(), "nothing was paid");
    //! assert_eq!(of("charge.odd").attempt(4).run().violation().code, "unknown-kind");
    //! ```
}

pub mod needs {
    //! What a mapping does not know it asks for. The question is an expression; when its answer is not among the facts
    //! yet, `?` leaves the mapping with a need, and the host calls again with the answer. The code reads as if it did I/O.
    //!
    //! *Ask together what you need together*: a round costs a call and, for reads of other systems, a wait. Rounds are
    //! bounded (8). *Declare what you ask*: an undeclared table or operation fails the run.
    //!
    //! ```
    //! use portolan_sdk::{ask, prelude::*, testing::Trial};
    //!
    //! struct Both;
    //!
    //! impl Mapping for Both {
    //!     fn describe() -> Description {
    //!         Description::new("both", "1.0.0", "Asks two things at once.")
    //!             .serves("stripe", "charge.succeeded")
    //!             .connection("erp", "epicor", &["customer.find"])
    //!             .table("parts", "Stripe product to Epicor part")
    //!     }
    //!
    //!     fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
    //!         let (part, customer): (Option<String>, Option<serde_json::Value>) = cx.all((
    //!             ask::lookup("parts", "prod_1"),
    //!             ask::query("erp", "customer.find", json!({"CustID": "ROSE01"})),
    //!         ))?;
    //!         // Absence is an answer, too.
    //!         let customer = customer.ok_or_else(|| Stop::reject("", "unknown-customer", "ROSE01"))?;
    //!         Err(Stop::skip(format!("{} buys {}", customer["Name"], part.unwrap_or_default())))
    //!     }
    //! }
    //!
    //! let trial = Trial::<Both>::new("stripe", "charge.succeeded", &json!({}))
    //!     .lookup("parts", "prod_1", json!("WIDGET-1"))
    //!     .query("erp", "customer.find", json!({"CustID": "ROSE01"}), json!({"Name": "Rosen"}))
    //!     .run();
    //! assert_eq!((trial.rounds, trial.skipped()), (2, "\"Rosen\" buys WIDGET-1"));
    //! ```
}

pub mod money {
    //! Stripe counts in minor units: `4998` is 49.98 USD, 4998 JPY, and 4.998 KWD. The way to a decimal is a table of
    //! currencies and integers, never a division by 100, and never a `f64`. What would lose a digit is refused.
    //!
    //! ```
    //! use portolan_sdk::money::{Currency, Decimal, Money, MoneyError};
    //!
    //! let of = |minor: i64, code: &str| Money::new(minor, Currency::parse(code).unwrap());
    //! let written = |money: Money| money.decimal().unwrap().to_string();
    //! assert_eq!([written(of(4998, "usd")), written(of(4998, "jpy")), written(of(4998, "kwd"))], ["49.98", "4998", "4.998"]);
    //! // Half a krona is no amount, though Stripe counts krona in hundredths.
    //! assert!(matches!(of(550, "isk").decimal(), Err(MoneyError::LostDigits { .. })));
    //!
    //! // Three pieces for 10.00: two prices, so that pieces times price is the total to the cent.
    //! let prices = of(1000, "usd").unit_prices(3, 2)?;
    //! assert_eq!(prices, [(2, Decimal::new(333, 2)), (1, Decimal::new(334, 2))]);
    //! // A discount over three lines: the parts are the whole.
    //! let parts: Vec<i64> = of(-100, "usd").split(&[5000, 3000, 2000])?.iter().map(|part| part.minor).collect();
    //! assert_eq!(parts, [-50, -30, -20]);
    //! # Ok::<(), MoneyError>(())
    //! ```
}

pub mod dates {
    //! Stripe says when in seconds; an ERP posts on a day. Which day it is depends on where, and that is a business
    //! decision: a setting. The zone data are in the SDK, so that the same event gives the same day on any host.
    //!
    //! ```
    //! use portolan_sdk::{date, epicor, sap};
    //!
    //! // 23:30 in Greenwich is the next day in Berlin.
    //! let day = date::in_zone(1_795_217_400, "Europe/Berlin")?;
    //! assert_eq!(day.to_string(), "2026-11-21");
    //! assert_eq!(sap::dats(day), "20261121");
    //! assert_eq!(epicor::date(day), "2026-11-21T00:00:00");
    //! // The fiscal year that begins in October is named after the year in which it ends.
    //! assert_eq!(sap::fiscal_year(day, 10), 2027);
    //! # Ok::<(), date::DateError>(())
    //! ```
}

pub mod plans {
    //! A plan is data: the calls to make, in which order, what to copy from one answer into the next call, what to
    //! remember. It is stored whole before the first call is made, so a crash loses nothing of it.
    //!
    //! ```
    //! use portolan_sdk::prelude::*;
    //!
    //! let order = Delivery::new("order", "erp", "sales-order.create", json!({"PONum": "ch_1"}))
    //!     .capture("stripe.charge", "ch_1", "epicor.order", "/OrderNum");
    //! // Not before the order is there; its number is copied from Epicor's answer.
    //! let hold = Delivery::new("hold", "erp", "sales-order.hold", json!({"Hold": "review", "Reason": "score 80"}))
    //!     .after("order")
    //!     .bind("order", "/OrderNum", "/OrderNum");
    //! // Plans about one customer are carried out in the order of their events.
    //! let plan = Plan::new().ordered_by("cus_1").deliver(order).deliver(hold);
    //! assert_eq!(plan.deliveries[1].bindings[0].source, "/OrderNum");
    //! ```
    //!
    //! A later event finds what was remembered: `cx.reference("stripe.charge", "ch_1")?.id("epicor.order")`.
}

pub mod ledger_lines {
    //! A delivery that books money says which accounting lines it stands for. The host adds them up: a plan whose debits
    //! are not its credits, in any currency, is refused whole, before anything is sent. So a mistake in a fee or a tax
    //! shows as a dead run with a sentence, and not in next month's closing.
    //!
    //! ```
    //! use portolan_sdk::{money::Decimal, prelude::*, testing::Trial};
    //!
    //! struct Fee;
    //!
    //! impl Mapping for Fee {
    //!     fn describe() -> Description {
    //!         Description::new("fee", "1.0.0", "A payout less its fee.")
    //!             .serves("stripe", "payout.paid")
    //!             .connection("erp", "sage-pro", &["gl-journal.post"])
    //!     }
    //!
    //!     fn map(_: &Cx<'_>) -> Result<Plan, Stop> {
    //!         let (gross, fee) = (Decimal::new(10_000, 2), Decimal::new(320, 2));
    //!         let journal = Delivery::new("journal", "erp", "gl-journal.post", json!({"ExternalRef": "po_1"}))
    //!             .debit("1010-000", gross - fee, "USD")
    //!             .debit("6810-000", fee, "USD")
    //!             // A negative amount would stand on the other side.
    //!             .credit("1190-000", gross, "USD");
    //!         Ok(Plan::new().deliver(journal))
    //!     }
    //! }
    //!
    //! // A trial refuses what the host would refuse.
    //! let trial = Trial::<Fee>::new("stripe", "payout.paid", &json!({})).run();
    //! assert_eq!(trial.plan().deliveries[0].ledger[0].amount, "96.80");
    //! ```
}

pub mod idempotency {
    //! Webhooks come twice, answers get lost, machines die between a send and its answer. The ERP must get one document.
    //! A mapping's part in that is four things:
    //!
    //! * **`key`**: a delivery's name within its plan is part of the call's identity. Name it after what it is (`order`),
    //!   never after chance (`delivery-3`), and never rename it in a new version.
    //! * **`once`**: the economic fact. A charge, its payment intent and its invoice tell the same payment; all that name
    //!   `payment/ch_1` make one call, and the others take its answer for their own.
    //! * **`unless`**: how to find the document that may be there already. [`Check::always`](crate::Check::always)
    //!   where the ERP takes a second document without a word; [`Check::in_doubt`](crate::Check::in_doubt) where it
    //!   recognises a repeat, or where one read for every send would be too many.
    //! * **a reference in the document** that finds it again: the charge's id where the field is long enough, a
    //!   [short reference](crate::short) of it where it is not.
    //!
    //! ```
    //! use portolan_sdk::{prelude::*, short};
    //!
    //! let reference = short::reference("ch_3QabcDEF0123456789abcdef");
    //! assert_eq!(reference, "R144WJGG6ZXJ677C");
    //! let payment = Delivery::new("payment", "erp", "accounting-document.post", json!({"DOCUMENTHEADER": {"REF_DOC_NO": reference}}))
    //!     .once("payment/ch_3QabcDEF0123456789abcdef")
    //!     .unless(Check::always("accounting-document.find", json!({"REF_DOC_NO": reference}), "/OBJ_KEY"));
    //! assert!(payment.unless.is_some() && payment.once.is_some());
    //! ```
}

/// The repository's cookbook, whose examples are tested with this crate's.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook.md")]
pub mod cookbook {}
