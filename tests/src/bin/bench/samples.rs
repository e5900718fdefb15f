//! From samples to numbers: nothing is bucketed, every sample is kept and sorted.

use std::time::Duration;

use serde::Serialize;

/// Samples of one measurement, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    nanos: Vec<u64>,
}

/// What is shown of samples.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Spread {
    /// How many there are.
    pub(crate) count: usize,
    /// Half of them are at most this, in microseconds.
    pub(crate) p50_us: f64,
    /// 99 of a hundred are at most this, in microseconds.
    pub(crate) p99_us: f64,
    /// The highest, in microseconds.
    pub(crate) max_us: f64,
}

impl Samples {
    /// One more.
    pub(crate) fn add(&mut self, duration: Duration) {
        self.add_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// One more, in nanoseconds.
    pub(crate) fn add_ns(&mut self, nanos: u64) {
        self.nanos.push(nanos);
    }

    /// What is shown of them.
    pub(crate) fn spread(&self) -> Spread {
        let mut sorted = self.nanos.clone();
        sorted.sort_unstable();
        Spread {
            count: sorted.len(),
            p50_us: micros(rank(&sorted, 50)),
            p99_us: micros(rank(&sorted, 99)),
            max_us: micros(sorted.last().copied().unwrap_or_default()),
        }
    }
}

/// The smallest sample that so many percent do not exceed.
fn rank(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

/// The middle one of some numbers; of an even count, the lower one of the two.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_samples_that_occurred() {
        let mut samples = Samples::default();
        for micros in (1..=200).rev() {
            samples.add(Duration::from_micros(micros));
        }
        let spread = samples.spread();
        assert_eq!((spread.count, spread.p50_us, spread.p99_us, spread.max_us), (200, 100.0, 198.0, 200.0));
        assert_eq!(Samples::default().spread().p99_us, 0.0);
    }

    #[test]
    fn the_median_is_one_of_the_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
