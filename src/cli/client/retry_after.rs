//! `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;

use crate::outbound::header::{DATE, HeaderMap, RETRY_AFTER};

/// How long the answer asks to wait; zero where it does not say, or not in a way that can be read. A date is
/// taken against the answer's own `Date`, so that a clock that differs does not matter.
pub(super) fn wait(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let Some(after) = text(RETRY_AFTER) else { return Duration::ZERO };
    if !after.is_empty() && after.bytes().all(|b| b.is_ascii_digit()) {
        return Duration::from_secs(after.parse().unwrap_or(u64::MAX));
    }
    let instant = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    match (instant(after), text(DATE).and_then(instant)) {
        (Some(then), Some(now)) => then.duration_since(now).try_into().unwrap_or(Duration::ZERO),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_dates_and_nonsense() {
        let date = "Mon, 23 Nov 2026 09:30:00 GMT";
        for (after, date, seconds) in [
            ("7", None, 7),
            (" 0 ", None, 0),
            ("99999999999999999999", None, u64::MAX),
            ("Mon, 23 Nov 2026 09:31:05 GMT", Some(date), 65),
            ("Mon, 23 Nov 2026 09:29:00 GMT", Some(date), 0),
            ("Mon, 23 Nov 2026 09:31:05 GMT", None, 0),
            ("-3", Some(date), 0),
            ("1.5", Some(date), 0),
            ("", Some(date), 0),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(wait(&headers), Duration::from_secs(seconds), "{after}");
        }
        assert_eq!(wait(&HeaderMap::new()), Duration::ZERO);
    }
}
