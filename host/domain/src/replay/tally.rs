//! What all events of a replay came to together.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Class, Comparison, Ending, Sum};
use crate::{contract::Side, diff::covers};

/// Distinct places that are counted; what differs beyond is counted as one more place, and is never accepted.
pub const FIELDS_MAX: usize = 2_000;
/// Accounts that are summed; of more, those of events that differ are counted, and are never accepted.
const ACCOUNTS_MAX: usize = 5_000;

/// Counts, places, money and fuel of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events by what came of them.
    pub classes: BTreeMap<Class, u64>,
    /// How many events differ at each place. Numbers in a place are `*`. Events that newly work do not count here: they
    /// differ wherever a plan can.
    pub fields: BTreeMap<String, u64>,
    /// Differences at places beyond [`FIELDS_MAX`].
    pub fields_beyond: u64,
    /// Currency → account → sums of the ledger lines of all compared events.
    pub ledger: BTreeMap<String, BTreeMap<String, Account>>,
    /// Lines of accounts beyond those that are summed, of events that differ.
    pub lines_beyond: u64,
    /// Fuel of the compared events then.
    pub fuel_before: u64,
    /// And now.
    pub fuel_after: u64,
}

/// What an account had and would have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Debits then.
    pub debit_before: Sum,
    /// Credits then.
    pub credit_before: Sum,
    /// Debits now.
    pub debit_after: Sum,
    /// Credits now.
    pub credit_after: Sum,
}

impl Account {
    /// Debits less credits, now less then: by how much the account's balance would differ.
    #[must_use]
    pub fn difference(&self) -> Sum {
        let (before, after) =
            (self.debit_before.less(self.credit_before), self.debit_after.less(self.credit_after));
        after.less(before)
    }

    /// Whether both sides are as they were.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.debit_after.less(self.debit_before).is_zero()
            && self.credit_after.less(self.credit_before).is_zero()
    }
}

/// What a replay may show and still be clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// Nothing.
    None,
    /// Differences at these places: JSON Pointers in which `*` stands for any one part. `newly-works` stands for events
    /// that failed before and work now. What newly fails or asks for something new is never allowed.
    Listed(&'a [String]),
}

/// Why a replay is not clean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unclean {
    /// Events by what came of them, where that is not allowed.
    pub classes: BTreeMap<Class, u64>,
    /// Places that are not listed.
    pub fields: Vec<String>,
}

impl Tally {
    /// Counts one event. Money and fuel count only of what is compared.
    pub fn add(&mut self, comparison: &Comparison, before: Option<(&Ending, u64)>, after: (&Ending, u64)) {
        *self.classes.entry(comparison.class).or_default() += 1;
        if matches!(comparison.class, Class::NewNeed | Class::Uncompared) {
            return;
        }
        let counts = comparison.class != Class::NewlyWorks;
        let differences = comparison.differences.iter().filter(|_| counts);
        let places: BTreeSet<String> = differences.map(|one| folded(&one.pointer)).collect();
        for place in places {
            if self.fields.len() >= FIELDS_MAX && !self.fields.contains_key(&place) {
                self.fields_beyond += 1;
            } else {
                *self.fields.entry(place).or_default() += 1;
            }
        }
        if let Some((before, fuel)) = before {
            self.fuel_before = self.fuel_before.saturating_add(fuel);
            self.lines((before, comparison.class), |account, side, amount| match side {
                Side::Debit => account.debit_before.add(amount),
                Side::Credit => account.credit_before.add(amount),
            });
        }
        self.fuel_after = self.fuel_after.saturating_add(after.1);
        self.lines((after.0, comparison.class), |account, side, amount| match side {
            Side::Debit => account.debit_after.add(amount),
            Side::Credit => account.credit_after.add(amount),
        });
    }

    fn lines(
        &mut self,
        (of, class): (&Ending, Class),
        add: impl Fn(&mut Account, Side, crate::money::Amount),
    ) {
        for line in of.ledger() {
            let known = self.ledger.get(&line.currency).is_some_and(|of| of.contains_key(&line.account));
            if !known && self.ledger.values().map(BTreeMap::len).sum::<usize>() >= ACCOUNTS_MAX {
                self.lines_beyond += u64::from(class != Class::Unchanged);
                continue;
            }
            let of_currency = self.ledger.entry(line.currency.clone()).or_default();
            add(of_currency.entry(line.account.clone()).or_default(), line.side, line.amount);
        }
    }

    /// How many events had this come of them.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.classes.get(&class).copied().unwrap_or_default()
    }

    /// How many events were executed.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.classes.values().sum()
    }

    /// How many events were compared with what was recorded.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.events().saturating_sub(self.count(Class::Uncompared))
    }

    /// Whether so many events were compared as a promotion demands, or all that there were, when a replay of at most
    /// `events_max` found no more.
    #[must_use]
    pub fn is_enough(&self, demanded: u64, events_max: u64) -> bool {
        self.compared() >= demanded || self.events() < events_max
    }

    /// Whether it shows nothing but what is allowed.
    ///
    /// # Errors
    /// What else it shows.
    pub fn check(&self, allowed: &Allowed<'_>) -> Result<(), Unclean> {
        let listed: &[String] = match allowed {
            Allowed::None => &[],
            Allowed::Listed(listed) => listed,
        };
        let newly_works = listed.iter().any(|one| one == Class::NewlyWorks.as_str());
        let stops = |class: Class| match class {
            Class::NewlyFails | Class::NewNeed => true,
            Class::NewlyWorks => !newly_works,
            // By their fields.
            Class::Changed => matches!(allowed, Allowed::None),
            Class::Unchanged | Class::Uncompared => false,
        };
        let classes: BTreeMap<Class, u64> = self
            .classes
            .iter()
            .filter(|(class, count)| stops(**class) && **count > 0)
            .map(|(class, count)| (*class, *count))
            .collect();
        let is_listed = |place: &str| listed.iter().any(|pattern| covers(pattern, place));
        let strange = self.fields.keys().filter(|place| !is_listed(place));
        let mut fields: Vec<String> = strange.cloned().collect();
        if self.fields_beyond > 0 {
            fields.push(format!("{} more places than can be counted", self.fields_beyond));
        }
        if self.lines_beyond > 0 {
            fields.push(format!("{} ledger lines of more accounts than can be summed", self.lines_beyond));
        }
        if classes.is_empty() && fields.is_empty() { Ok(()) } else { Err(Unclean { classes, fields }) }
    }
}

/// A place with `*` for every number in it: the same place of all elements of a list.
fn folded(pointer: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = pointer.split('/').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::compare, *};
    use crate::contract::{LedgerLine, Outcome, Plan, PlannedDelivery};

    fn posting(note: &str, lines: &[(&str, Side, &str)]) -> Ending {
        let ledger = lines.iter().map(|(account, side, amount)| LedgerLine {
            account: (*account).to_owned(),
            side: *side,
            amount: amount.parse().unwrap(),
            currency: "USD".to_owned(),
        });
        let delivery = PlannedDelivery {
            key: "journal".into(),
            connection: "erp".into(),
            operation: "journal.post".into(),
            body: json!({ "note": note }),
            after: vec![],
            bindings: vec![],
            unless: None,
            once: None,
            captures: vec![],
            ledger: ledger.collect(),
        };
        let deliveries = vec![delivery];
        Ending::Decided(Outcome::Deliver(Plan {
            ordering_key: None,
            deliveries,
            references: vec![],
            alerts: vec![],
        }))
    }

    fn tallied(pairs: &[(Ending, Ending)]) -> Tally {
        let mut tally = Tally::default();
        for (before, after) in pairs {
            tally.add(&compare(Some(before), after), Some((before, 10)), (after, 12));
        }
        tally
    }

    #[test]
    fn money_is_told_to_the_cent_per_currency_and_account() {
        let before = posting("a", &[("1000", Side::Debit, "10.00"), ("4000", Side::Credit, "10.00")]);
        let after = posting(
            "a",
            &[("1000", Side::Debit, "10.00"), ("4000", Side::Credit, "9.99"), ("4999", Side::Credit, "0.01")],
        );
        let tally = tallied(&[(before.clone(), after), (before.clone(), before)]);
        let of = &tally.ledger["USD"];
        assert!(of["1000"].is_unchanged());
        assert_eq!(of["4000"].difference().to_string(), "0.01");
        assert_eq!(of["4999"].difference().to_string(), "-0.01");
        assert_eq!(
            (of["4000"].credit_before.to_string(), of["4000"].credit_after.to_string()),
            ("20.00".into(), "19.99".into())
        );
        assert_eq!((tally.fuel_before, tally.fuel_after), (20, 24));
        assert_eq!(serde_json::from_value::<Tally>(json!(tally)).unwrap(), tally);
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let tally =
            tallied(&[(posting("a", &[]), posting("b", &[])), (posting("a", &[]), posting("a", &[]))]);
        assert_eq!((tally.count(Class::Changed), tally.events()), (1, 2));
        let listed = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|one| (*one).to_owned()).collect();
            tally.check(&Allowed::Listed(&list))
        };
        assert_eq!(listed(&["/plan/deliveries/*/body/note"]), Ok(()));
        assert_eq!(listed(&["/plan/deliveries/journal"]), Ok(()));
        let left = listed(&["/plan/deliveries/journal/ledger"]).unwrap_err();
        assert_eq!(left.fields, ["/plan/deliveries/journal/body/note"]);
        assert_eq!(tally.check(&Allowed::None).unwrap_err().classes, BTreeMap::from([(Class::Changed, 1)]));
    }

    #[test]
    fn what_newly_fails_is_never_allowed() {
        let fails = Ending::Failed { code: "guest-trapped".into(), message: String::new() };
        let all = [String::new(), "newly-works".to_owned()];
        let broken = tallied(&[(posting("a", &[]), fails.clone())]);
        assert!(broken.check(&Allowed::Listed(&all)).is_err());
        let mended = tallied(&[(fails, posting("a", &[]))]);
        assert!(mended.check(&Allowed::Listed(&all[1..])).is_ok());
        assert!(mended.check(&Allowed::Listed(&[])).is_err());
        assert!(mended.check(&Allowed::None).is_err());
    }

    #[test]
    fn what_newly_works_allows_nothing_of_what_worked_before() {
        let fails = Ending::Failed { code: "guest-trapped".into(), message: String::new() };
        let skips = Ending::Decided(Outcome::Skip("not ours".into()));
        let tally = tallied(&[(fails, posting("a", &[])), (posting("b", &[]), skips)]);
        let listed = ["newly-works".to_owned(), "/reason".to_owned()];
        let left = tally.check(&Allowed::Listed(&listed)).unwrap_err();
        assert_eq!(left.fields, ["/outcome", "/plan"], "a document that is posted no more is told");
    }

    #[test]
    fn what_was_not_compared_speaks_for_nothing() {
        let mut tally = tallied(&[(posting("a", &[]), posting("a", &[]))]);
        let fails = Ending::Failed { code: "guest-trapped".into(), message: String::new() };
        tally.add(&compare(None, &fails), None, (&fails, 1));
        assert_eq!((tally.events(), tally.compared()), (2, 1));
        assert!(tally.is_enough(1, 2) && !tally.is_enough(2, 2));
        assert!(tally.is_enough(2, 3), "there were no more than two");
    }

    #[test]
    fn lines_of_more_accounts_than_can_be_summed_are_never_accepted() {
        let accounts: Vec<String> = (0..=ACCOUNTS_MAX).map(|number| number.to_string()).collect();
        let lines: Vec<(&str, Side, &str)> =
            accounts.iter().map(|account| (account.as_str(), Side::Debit, "1.00")).collect();
        let listed = ["/plan/deliveries/*/ledger".to_owned()];
        let same = tallied(&[(posting("a", &lines), posting("a", &lines))]);
        assert_eq!(same.check(&Allowed::None), Ok(()));
        let changed = tallied(&[(posting("a", &[]), posting("a", &lines))]);
        let left = changed.check(&Allowed::Listed(&listed)).unwrap_err();
        assert_eq!(left.fields, ["1 ledger lines of more accounts than can be summed"]);
    }
}
