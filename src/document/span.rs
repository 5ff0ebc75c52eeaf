//! Durations as people write them: a whole number and a unit.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `500ms`, `10s`, `10m`, `2h` or `30d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(*millis)?))
}

/// Writes a duration in the largest unit that holds it exactly.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact = UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(u128::from(*unit)));
    match exact {
        Some((name, unit)) => format!("{}{name}", millis / u128::from(*unit)),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit_and_read_back() {
        for text in ["500ms", "10s", "10m", "2h", "30d", "0s"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for wrong in ["", "10", "m", "1.5h", "-1s", "10 m", "1h30m", "10M", "99999999999999999999d", "+5s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
