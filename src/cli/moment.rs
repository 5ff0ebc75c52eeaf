//! Instants and durations as people type them: `15m`, `7d`, `2026-11-23`, `2026-11-23T09:30:00Z`.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::time::Timestamp;

/// An instant that a person named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Ago(Duration),
    /// A whole day in UTC, by its first instant.
    Day(Timestamp),
}

impl Moment {
    /// Where a time that begins with this begins, seen from `now`.
    pub fn begin(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) | Self::Day(at) => at,
            Self::Ago(ago) => now - ago,
        }
    }

    /// Where a time that ends with this ends: a day is part of it.
    pub fn end(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day(first) => first + DAY,
            other => other.begin(now),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl FromStr for Moment {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ago) = duration(text) {
            return Ok(Self::Ago(ago));
        }
        if let Ok(first) = format!("{text}T00:00:00Z").parse() {
            return Ok(Self::Day(first));
        }
        let form = "write 15m, 2h or 7d for so long ago, a day such as 2026-11-23, or 2026-11-23T09:30:00Z";
        text.parse().map(Self::At).map_err(|_| form)
    }
}

/// A whole number with a unit: `s`, `m`, `h`, `d` or `w`.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "write a whole number and a unit, no shorter than a second: 90s, 15m, 2h, 7d or 1w";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let second = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(FORM),
    };
    // `u32::from_str` would take a leading `+`.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FORM);
    }
    let count: u32 = digits.parse().map_err(|_| FORM)?;
    Ok(Duration::from_secs(u64::from(count) * second))
}

/// A lifetime of at least a second: a duration, or a bare number of seconds as on the wire.
pub fn lifetime(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.bytes().all(|b| b.is_ascii_digit()).then(|| format!("{text}s"));
    match duration(seconds.as_deref().unwrap_or(text))? {
        Duration::ZERO => Err("a token lives at least one second"),
        lifetime => Ok(lifetime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_times_count_back_from_now() {
        let now = Timestamp::from_seconds(1_000_000);
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.begin(now), Timestamp::from_seconds(1_000_000 - seconds), "{text}");
        }
    }

    #[test]
    fn instants_are_rfc_3339_in_any_offset() {
        let now = Timestamp::from_seconds(0);
        for text in ["2026-11-23T09:30:00Z", "2026-11-23T10:30:00+01:00", "2026-11-23t09:30:00.000z"] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.begin(now).to_string(), "2026-11-23T09:30:00.000Z", "{text}");
        }
    }

    #[test]
    fn a_date_is_a_whole_day() {
        let now = Timestamp::from_seconds(0);
        let day: Moment = "2026-11-28".parse().unwrap();
        assert_eq!(day.begin(now).to_string(), "2026-11-28T00:00:00.000Z");
        assert_eq!(day.end(now).to_string(), "2026-11-29T00:00:00.000Z");
        for text in ["2026-13-01", "2026-02-30", "28.11.2026", "2026-11", "20261128x"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "m", "15", "-15m", "+15m", "1.5h", "15M", "15 m", "1h30m", "yesterday", "99999999999d"]
        {
            assert!(text.parse::<Moment>().is_err(), "{text:?}");
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert!("2026-11-23T09:30:00".parse::<Moment>().is_err(), "an instant without an offset");
    }

    #[test]
    fn a_far_past_is_the_beginning_not_an_overflow() {
        let moment: Moment = "4294967295w".parse().unwrap();
        assert!(moment.begin(Timestamp::from_seconds(0)) < Timestamp::from_seconds(0));
    }

    #[test]
    fn a_lifetime_may_be_bare_seconds_and_never_zero() {
        assert_eq!(lifetime("300"), Ok(Duration::from_secs(300)));
        assert_eq!(lifetime("5m"), Ok(Duration::from_secs(300)));
        for text in ["0", "0m", "", "-1", "1.0"] {
            assert!(lifetime(text).is_err(), "{text:?}");
        }
    }
}
