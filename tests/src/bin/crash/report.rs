//! What was found, what was counted, and how it is told.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

/// How many sentences of one sort are kept.
const KEPT_MAX: usize = 10;

/// What is not as it should be.
#[derive(Debug, Default, Clone)]
pub(crate) struct Findings {
    sorts: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

macro_rules! sorts {
    ($($name:ident = $text:literal,)*) => {
        impl Findings {
            $(pub(crate) fn $name(&mut self, text: String) {
                *self.sorts.entry($text).or_default().entry(text).or_default() += 1;
            })*
        }

        /// Every sort of finding.
        pub(crate) const SORTS: &[&str] = &[$($text,)*];
    };
}

sorts! {
    lost = "lost",
    duplicate = "duplicate",
    phantom = "phantom",
    mismatch = "mismatch",
    misorder = "misorder",
    unsafe_resend = "unsafe resend",
    restless = "not at rest",
    untrue = "untrue answer",
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.sorts.is_empty()
    }

    pub(crate) fn of(&self, sort: &str) -> usize {
        self.sorts.get(sort).map_or(0, BTreeMap::len)
    }

    /// Takes out what is missing although the host was told that it is there; how much that was.
    pub(crate) fn take_lost_after_delivery(&mut self) -> usize {
        let Some(texts) = self.sorts.get_mut("lost") else { return 0 };
        let before = texts.len();
        texts.retain(|text, _| !text.ends_with("the host says delivered"));
        let taken = before - texts.len();
        self.sorts.retain(|_, texts| !texts.is_empty());
        taken
    }

    /// The first of them, in one line.
    pub(crate) fn first(&self) -> Option<String> {
        let (sort, texts) = self.sorts.first_key_value()?;
        Some(format!("{sort}: {}", texts.keys().next()?))
    }

    pub(crate) fn join(&mut self, others: Self) {
        for (sort, texts) in others.sorts {
            for (text, times) in texts {
                *self.sorts.entry(sort).or_default().entry(text).or_default() += times;
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!(SORTS.iter().map(|sort| (*sort, self.of(sort))).collect::<BTreeMap<_, _>>())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sort, texts) in &self.sorts {
            for text in texts.keys().take(KEPT_MAX) {
                writeln!(f, "  ✗ {sort}: {text}")?;
            }
            if texts.len() > KEPT_MAX {
                writeln!(f, "  ✗ {sort}: and {} more", texts.len() - KEPT_MAX)?;
            }
        }
        Ok(())
    }
}

/// How often something was met.
#[derive(Debug, Default, Clone)]
pub(crate) struct Count(BTreeMap<String, u64>);

impl Count {
    pub(crate) fn add(&mut self, what: &str) {
        self.many(what, 1);
    }

    pub(crate) fn many(&mut self, what: &str, times: u64) {
        *self.0.entry(what.to_owned()).or_default() += times;
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.many(what, *times);
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!(self.0)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, times)| writeln!(f, "  {times:>8}  {what}"))
    }
}

/// What of N trials without a failure is known: at most 3/N fail (95 %).
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn bound(trials: u64) -> String {
    format!("0 of {trials}: fewer than {:.3} % of crashes (95 %)", 300.0 / trials.max(1) as f64)
}

/// Trials in a minute.
pub(crate) fn rate(trials: u64, took: Duration) -> u64 {
    trials.saturating_mul(60_000) / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1)
}
