//! The way back: a customer that an ERP tells of becomes, or changes, a customer in Stripe. Said once for all ERPs;
//! a module reads its ERP's event into an [`ErpCustomer`] and calls [`customer`].
//!
//! * **Found** by the remembered reference, by the id in the ERP's own field, by Stripe's metadata, and then by the
//!   e-mail address: one is taken, several wait for a person. Who is another number's customer already is not taken.
//! * **Nothing differs, nothing is sent.** So what Stripe told the ERP does not come back for ever.
//! * **Both changed**: [`Conflict`] says who is right.
//! * **Never deleted**: what the ERP deletes or blocks is marked in Stripe's metadata, and people are told.
//! * **Older news** than what was already carried out is skipped: IDocs overtake each other.
//!
//! References, by kind, id, system: `<erp>.customer` number → `stripe` is the customer's id there, → `<erp>.changed`
//! the time (Unix seconds) of the change carried out last; `stripe.customer` id → `<erp>` is the number, →
//! `stripe.changed` the time when Stripe's own side changed it last, which the flows to the ERP remember.

mod compare;
mod find;
mod settings;
mod time;

use serde_json::{Map, Value, json};

use crate::{
    Cx, Stop,
    ask::Counterparts,
    contract::{Delivery, Description, Plan, Severity},
    plan::Check,
    stripe::Address,
};

use compare::Difference;
use find::{Match, StripeCustomer};
pub use settings::{Back, Conflict, MetadataKeys, Part, settings_schema};
pub use time::{sap_seconds, seconds, timestamp};

/// The name of the connection to Stripe.
pub const STRIPE: &str = "stripe";
/// The name of the connection to the ERP.
pub const ERP: &str = "erp";
/// Key of the customer's delivery in the plan.
const CUSTOMER: &str = "customer";
/// Key of the delivery that writes Stripe's id into the ERP.
const OWN_FIELD: &str = "own-field";
/// All that is done through the connection to Stripe.
const OPERATIONS: &[&str] =
    &["customer.get", "customers.by-email", "customers.by-metadata", "customer.create", "customer.update"];

/// A customer as an ERP tells of it, in no ERP's words. Texts are trimmed, and empty ones are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErpCustomer {
    /// The ERP, as in references: `sap-ecc`.
    pub system: &'static str,
    /// The customer's number, as references and metadata have it: without padding.
    pub number: String,
    /// What happened.
    pub change: Change,
    /// Whether the ERP does not serve the customer at the moment.
    pub blocked: bool,
    /// Name of the person or company.
    pub name: Option<String>,
    /// Which of the two.
    pub party: Party,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Postal address; the country by its two letters.
    pub address: Address,
    /// Language: `en`, `pt-BR`.
    pub language: Option<String>,
    /// Currency, upper-case.
    pub currency: Option<String>,
    /// When it changed, Unix seconds. Left out: when the event occurred.
    pub changed_at: Option<i64>,
    /// Who changed it, where the ERP says so.
    pub changed_by: Option<String>,
    /// The ERP's own field for Stripe's id, where it has one.
    pub own: Option<OwnField>,
}

/// What happened to a customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Created,
    /// It was changed, or created: the ERP does not say.
    #[default]
    Changed,
    /// It was deleted, or marked for deletion.
    Deleted,
}

/// Whether a customer is a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Party {
    /// The ERP does not say.
    #[default]
    Unknown,
    /// A person.
    Person,
    /// A company.
    Company,
}

/// The ERP's own field for Stripe's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnField {
    /// What it holds.
    pub value: Option<String>,
    /// The operation that writes it.
    pub operation: &'static str,
    /// Its body; the id is put at `pointer`, whose parent must exist.
    pub body: Value,
    /// JSON Pointer into the body.
    pub pointer: &'static str,
}

/// A module's description with what the way back needs of Stripe, and the settings `back` in the settings schema. The
/// connection `erp`, where the module has one, is its own to say.
#[must_use]
pub fn describe(description: Description) -> Description {
    let schema = settings_schema(&description.settings_schema);
    description.connection(STRIPE, "stripe", OPERATIONS).settings_schema(&schema)
}

/// What follows for Stripe from an ERP's customer.
///
/// # Errors
/// A need; a skip, when there is nothing to do; a hold, when a person has to say which customer is meant; a refusal.
pub fn customer(cx: &Cx<'_>, settings: &Back, customer: &ErpCustomer) -> Result<Plan, Stop> {
    if let Some(user) = customer.changed_by.as_ref().filter(|user| settings.is_integration_user(user)) {
        return Err(Stop::skip(format!("changed by {user}, which is Portolan's own user")));
    }
    let back = Backward { cx, settings, customer, changed_at: changed_at(cx, customer) };
    let known = cx.reference(&back.kind(), &customer.number)?;
    if known.id(&back.stamp()).and_then(|last| last.parse::<i64>().ok()) > Some(back.changed_at) {
        return Err(Stop::skip("older than the change that was carried out last"));
    }
    match find::stripe_customer(cx, settings, customer, &known)? {
        Match::One(stripe) => back.update(&stripe, &known),
        Match::None if customer.change == Change::Deleted => {
            Err(Stop::skip("deleted in the ERP, and unknown to Stripe"))
        }
        Match::None if !settings.create => {
            Err(Stop::skip("unknown to Stripe, and the settings do not have it created"))
        }
        Match::None => back.create(),
        Match::Gone(id) => Ok(back.gone(&id)),
        Match::Several(ids) => {
            let reason = format!(
                "The Stripe customers {} may all be customer {}: approve to create another, or refuse and put the \
                 number into the metadata {} of the right one.",
                ids.join(", "),
                customer.number,
                settings.metadata.number
            );
            Err(Stop::hold(reason, back.create()?))
        }
    }
}

/// Unix seconds.
fn changed_at(cx: &Cx<'_>, customer: &ErpCustomer) -> i64 {
    customer.changed_at.unwrap_or_else(|| i64::try_from(cx.event().occurred_at / 1000).unwrap_or(i64::MAX))
}

/// One customer on its way.
struct Backward<'a> {
    cx: &'a Cx<'a>,
    settings: &'a Back,
    customer: &'a ErpCustomer,
    changed_at: i64,
}

impl Backward<'_> {
    /// Under which kind the ERP's customers are remembered.
    fn kind(&self) -> String {
        format!("{}.customer", self.customer.system)
    }

    /// Under which system the time of the last change is remembered.
    fn stamp(&self) -> String {
        format!("{}.changed", self.customer.system)
    }

    /// A plan that follows those of the same customer, and remembers how new its news were.
    fn plan(&self) -> Plan {
        let number = &self.customer.number;
        Plan::new().ordered_by(format!("{}/{number}", self.kind())).remember(
            self.kind(),
            number,
            self.stamp(),
            self.changed_at.to_string(),
        )
    }

    /// A customer that Stripe does not have.
    fn create(&self) -> Result<Plan, Stop> {
        let number = &self.customer.number;
        let Difference { fields, metadata } = Difference::of_new(self.settings, self.customer)?;
        let mut body = fields.clone();
        body.insert("metadata".to_owned(), Value::Object(metadata));
        let key = &self.settings.metadata.number;
        let asked = json!({"key": key, "value": number});
        // The search answers with a list, the call with the customer: the id is taken from whichever it was.
        let delivery = Delivery::new(CUSTOMER, STRIPE, "customer.create", Value::Object(body))
            .once(format!("{}/{number}", self.kind()))
            .unless(Check::in_doubt("customers.by-metadata", asked, "/data/0/id"))
            .capture(self.kind(), number, STRIPE, "/id")
            .capture(self.kind(), number, STRIPE, "/data/0/id");
        let mut plan = self.plan().deliver(delivery);
        // Two changes may both find nothing, and then share one creation, which may be the older one's.
        if self.customer.change != Change::Created && !fields.is_empty() {
            let update = Delivery::new("customer-update", STRIPE, "customer.update", Value::Object(fields));
            plan = plan.deliver(update.after(CUSTOMER).bind(CUSTOMER, "/id", "/id"));
        }
        if let Some(own) = self.own_field() {
            let write = Delivery::new(OWN_FIELD, ERP, own.operation, own.body.clone());
            plan = plan.deliver(write.after(CUSTOMER).bind(CUSTOMER, "/id", own.pointer));
        }
        Ok(plan)
    }

    /// A customer that Stripe has.
    fn update(&self, stripe: &StripeCustomer, known: &Counterparts) -> Result<Plan, Stop> {
        let (system, number) = (self.customer.system, &self.customer.number);
        let backward = self.cx.reference("stripe.customer", &stripe.id)?;
        let mut plan = self.plan();
        let Difference { mut fields, metadata } =
            Difference::of(self.settings, self.customer, stripe, self.wins(&backward))?;
        plan = self.alerts(plan, stripe, &metadata);
        if !metadata.is_empty() {
            fields.insert("metadata".to_owned(), Value::Object(metadata));
        }
        if !fields.is_empty() {
            fields.insert("id".to_owned(), json!(stripe.id));
            let update = Delivery::new(CUSTOMER, STRIPE, "customer.update", Value::Object(fields));
            plan = plan.deliver(update);
        }
        if let Some(own) = self.own_field() {
            let mut body = own.body.clone();
            if let Some((parent, name)) = own.pointer.rsplit_once('/')
                && let Some(Value::Object(parent)) = body.pointer_mut(parent)
            {
                parent.insert(name.to_owned(), json!(stripe.id));
            }
            plan = plan.deliver(Delivery::new(OWN_FIELD, ERP, own.operation, body));
        }
        let linked = known.id(STRIPE) == Some(&stripe.id) && backward.id(system).is_some();
        if plan.deliveries.is_empty() && plan.alerts.is_empty() && linked {
            return Err(Stop::skip(format!("{} says the same already", stripe.id)));
        }
        plan = plan.remember(self.kind(), number, STRIPE, &stripe.id);
        // A number that people or an earlier flow gave the customer stays.
        Ok(match backward.id(system) {
            Some(_) => plan,
            None => plan.remember("stripe.customer", &stripe.id, system, number),
        })
    }

    /// Whether the ERP is right where both say something.
    fn wins(&self, backward: &Counterparts) -> bool {
        match self.settings.conflict {
            Conflict::ErpWins => true,
            Conflict::StripeWins => false,
            Conflict::Newest => {
                let stripes = backward.id("stripe.changed").and_then(|at| at.parse::<i64>().ok());
                stripes.is_none_or(|stripes| self.changed_at > stripes)
            }
        }
    }

    /// The ERP's own field, when it is empty and the tenant wants it filled.
    fn own_field(&self) -> Option<&OwnField> {
        let deleted = self.customer.change == Change::Deleted;
        self.customer.own.as_ref().filter(|own| self.settings.write_back && own.value.is_none() && !deleted)
    }

    /// Tells people, once, that the ERP deleted or blocked a customer that Stripe would still charge.
    fn alerts(&self, plan: Plan, stripe: &StripeCustomer, metadata: &Map<String, Value>) -> Plan {
        let state = metadata.get(&self.settings.metadata.state).and_then(Value::as_str);
        let Some(state) = state else { return plan };
        let title = format!("A customer was {state} in the ERP: its Stripe customer was only marked");
        let detail = json!({
            "system": self.customer.system, "number": self.customer.number, "stripe": stripe.id, "state": state,
        });
        plan.alert(Severity::Warning, format!("erp-customer-{state}"), title, &detail)
    }

    /// The customer that the ERP's is remembered as was deleted in Stripe: for a person, not for a second one.
    fn gone(&self, id: &str) -> Plan {
        let detail = json!({"system": self.customer.system, "number": self.customer.number, "stripe": id});
        let title = "A customer of the ERP was deleted in Stripe: changes do not reach Stripe any more";
        self.plan().alert(Severity::Warning, "stripe-customer-gone", title, &detail)
    }
}
