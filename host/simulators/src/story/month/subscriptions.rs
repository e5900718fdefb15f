//! Recurring business: trials, renewals, upgrades, pauses, cancellations.

use serde_json::{Value, json};

use super::invoices::Draft;
use super::world::World;
use super::{Act, DAY_S};

/// Ways in which a subscription goes; each is gone by some.
pub(super) const SCENARIOS: usize = 8;

/// A plan: id of its price, product, cents a month, name.
pub(super) type Plan = (&'static str, &'static str, i64, &'static str);

pub(super) const BASIC: Plan = ("price_basic_month", "prod_support", 2_900, "Support Basic");
pub(super) const PRO: Plan = ("price_pro_month", "prod_support", 7_900, "Support Pro");
const MONTH_S: u64 = 30 * DAY_S;

/// A recurring price.
pub(super) fn price((id, product, cents, name): Plan, created: u64) -> Value {
    json!({
        "id": id, "object": "price", "active": true, "billing_scheme": "per_unit", "created": created,
        "currency": "usd", "custom_unit_amount": null, "livemode": false, "lookup_key": null, "metadata": {},
        "nickname": name, "product": product,
        "recurring": {"interval": "month", "interval_count": 1, "meter": null, "trial_period_days": null, "usage_type": "licensed"},
        "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null, "type": "recurring",
        "unit_amount": cents, "unit_amount_decimal": cents.to_string(),
    })
}

impl World {
    pub(super) fn subscribe(&mut self, scenario: usize) {
        let customer = self.new_customer("US");
        if scenario == 6 {
            self.plan(self.now + DAY_S, Act::VoidInvoice { customer });
            return;
        }
        let id = self.id("sub_1", 23);
        let is_new = !matches!(scenario, 0 | 4);
        let is_trial = scenario == 2;
        let begun = if is_new { self.now } else { self.now - MONTH_S };
        let until = self.now + if is_trial { 7 * DAY_S } else { MONTH_S };
        self.put(subscription(&id, &customer, (begun, self.now, until), is_trial));
        let item = self.item(&id, BASIC, (self.now, until));
        let items = json!({"object": "list", "data": [item], "has_more": false, "url": format!("/v1/subscription_items?subscription={id}")});
        self.patch(&id, json!({"items": items}));
        let subscription = id.clone();
        if is_new {
            self.tell("customer.subscription.created", &id);
        }
        if is_trial {
            let draft = Draft::new(&id, "subscription_create").line(
                "Trial period for Support Basic",
                0,
                BASIC,
                false,
            );
            let invoice = self.invoice(&customer, draft);
            self.pay_nothing(&invoice);
            self.plan(self.now + 4 * DAY_S, Act::TrialWillEnd { subscription: id.clone() });
            self.plan(self.now + 7 * DAY_S, Act::TrialEnds { subscription: id });
            return;
        }
        self.bill(&id, false);
        match scenario {
            3 => self.plan(self.now + 9 * DAY_S, Act::Upgrade { subscription }),
            4 => self.plan(self.now + 10 * DAY_S, Act::Cancel { subscription }),
            5 => self.plan(self.now + 8 * DAY_S, Act::Pause { subscription }),
            7 => {
                let invoice = self.text(&id, "latest_invoice");
                let refunded = self.dice.chance(600);
                self.plan(self.now + 6 * DAY_S, Act::Credit { invoice, refunded });
            }
            _ => {}
        }
    }

    fn item(&mut self, subscription: &str, plan: Plan, (from, until): (u64, u64)) -> Value {
        json!({
            "id": self.id("si_", 14), "object": "subscription_item", "billing_thresholds": null, "created": from,
            "current_period_end": until, "current_period_start": from, "discounts": [], "metadata": {},
            "price": price(plan, self.start - 30 * DAY_S), "quantity": 1, "subscription": subscription, "tax_rates": [],
        })
    }

    /// Makes the invoice of a period and takes the money; now and then only at the second try.
    pub(super) fn bill(&mut self, subscription: &str, retried: bool) {
        if retried {
            let invoice = self.text(subscription, "latest_invoice");
            self.patch(subscription, json!({"status": "active"}));
            self.pay_invoice(&invoice);
            return;
        }
        let customer = self.text(subscription, "customer");
        let is_first = self.number(subscription, "created") == i64::try_from(self.now).unwrap_or(0);
        let reason = if is_first { "subscription_create" } else { "subscription_cycle" };
        let (.., cents, name) = BASIC;
        let draft = Draft::new(subscription, reason).line(
            &format!("1 × {name} (at $29.00 / month)"),
            cents,
            BASIC,
            false,
        );
        let invoice = self.invoice(&customer, draft);
        if !is_first && self.dice.chance(120) {
            self.fail_invoice(&invoice);
            let previous = self.patch(subscription, json!({"status": "past_due"}));
            self.tell_change("customer.subscription.updated", subscription, previous);
            let at = self.now + 3 * DAY_S;
            self.plan(at, Act::Bill { subscription: subscription.to_owned(), retried: true });
            return;
        }
        self.pay_invoice(&invoice);
    }

    pub(super) fn trial_ends(&mut self, subscription: &str) {
        let item = self.item(subscription, BASIC, (self.now, self.now + MONTH_S));
        let items = json!({"object": "list", "data": [item], "has_more": false, "url": format!("/v1/subscription_items?subscription={subscription}")});
        let hidden = json!({"current_period_start": self.now, "current_period_end": self.now + MONTH_S});
        let previous =
            self.patch(subscription, json!({"status": "active", "items": items, "_simulator": hidden}));
        self.tell_change("customer.subscription.updated", subscription, previous);
        self.bill(subscription, false);
    }

    /// From one plan to the next in the middle of a period: what is unused comes back, what is left is paid.
    pub(super) fn upgrade(&mut self, subscription: &str) {
        let hidden = self.field(subscription, "_simulator");
        let period = |name: &str| hidden.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (from, until) = (period("current_period_start"), period("current_period_end"));
        let left = i64::try_from(until.saturating_sub(self.now)).unwrap_or(0);
        let whole = i64::try_from(until.saturating_sub(from)).unwrap_or(1).max(1);
        let share = |cents: i64| cents * left / whole;
        let item = self.item(subscription, PRO, (from, until));
        let items = json!({"object": "list", "data": [item], "has_more": false, "url": format!("/v1/subscription_items?subscription={subscription}")});
        let previous = self.patch(subscription, json!({"items": items}));
        self.tell_change("customer.subscription.updated", subscription, previous);
        let customer = self.text(subscription, "customer");
        let draft = Draft::new(subscription, "subscription_update")
            .line("Unused time on Support Basic", -share(BASIC.2), BASIC, true)
            .line("Remaining time on Support Pro", share(PRO.2), PRO, true);
        let invoice = self.invoice(&customer, draft);
        self.pay_invoice(&invoice);
    }

    pub(super) fn pause(&mut self, subscription: &str) {
        let previous = self.patch(subscription, json!({"status": "paused"}));
        self.tell_change("customer.subscription.paused", subscription, previous);
        self.plan(self.now + 8 * DAY_S, Act::Resume { subscription: subscription.to_owned() });
    }

    pub(super) fn resume(&mut self, subscription: &str) {
        let previous = self.patch(subscription, json!({"status": "active"}));
        self.tell_change("customer.subscription.resumed", subscription, previous);
    }

    pub(super) fn cancel(&mut self, subscription: &str) {
        let changes = json!({
            "status": "canceled", "canceled_at": self.now, "ended_at": self.now,
            "cancellation_details": {"comment": null, "feedback": "too_expensive", "reason": "cancellation_requested"},
        });
        self.patch(subscription, changes);
        self.tell("customer.subscription.deleted", subscription);
    }
}

fn subscription(id: &str, customer: &str, (begun, from, until): (u64, u64, u64), is_trial: bool) -> Value {
    let trial = |at: u64| if is_trial { json!(at) } else { Value::Null };
    json!({
        "id": id, "object": "subscription", "application": null, "automatic_tax": {"enabled": false, "liability": null},
        "billing_cycle_anchor": from, "billing_mode": {"type": "flexible"}, "cancel_at": null,
        "cancel_at_period_end": false, "canceled_at": null,
        "cancellation_details": {"comment": null, "feedback": null, "reason": null},
        "collection_method": "charge_automatically", "created": begun, "currency": "usd", "customer": customer,
        "days_until_due": null, "default_payment_method": null, "description": null, "discounts": [], "ended_at": null,
        "items": null, "latest_invoice": null, "livemode": false, "metadata": {}, "pause_collection": null,
        "start_date": begun, "status": if is_trial { "trialing" } else { "active" }, "test_clock": null,
        "trial_end": trial(until), "trial_start": trial(from),
        "_simulator": {"current_period_start": from, "current_period_end": until},
    })
}
