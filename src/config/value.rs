//! How durations, sizes and texts are written in a configuration file.

use std::time::Duration;

/// What an example of a duration looks like, for the words of errors.
pub(super) const DURATION_EXAMPLES: &str = r#"such as "500ms", "10s", "2m" or "1h""#;
/// What an example of a size looks like, for the words of errors.
pub(super) const SIZE_EXAMPLES: &str = r#"such as 1024, "64 KiB" or "16 MiB""#;

/// Units in rising order, with the milliseconds of each.
const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
/// Units in rising order, with the bytes of each.
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration: a whole number and one of the units `ms`, `s`, `m`, `h`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse_with_unit(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// Reads a size: a whole number and one of the units `B`, `KiB`, `MiB`, `GiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse_with_unit(text, &SIZE_UNITS)
}

/// Writes a duration in the largest unit that holds it exactly.
pub(super) fn write_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = if millis == 0 { ("s", 1000) } else { largest_unit(millis, &DURATION_UNITS) };
    format!("{}{unit}", millis / factor)
}

/// Writes a size in the largest unit that holds it exactly.
pub(super) fn write_size(bytes: u64) -> String {
    let (unit, factor) = if bytes == 0 { ("B", 1) } else { largest_unit(bytes, &SIZE_UNITS) };
    format!("{} {unit}", bytes / factor)
}

/// Writes a text as a TOML string.
pub(super) fn write_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn largest_unit(amount: u64, units: &[(&'static str, u64)]) -> (&'static str, u64) {
    units.iter().rev().find(|(_, factor)| amount.is_multiple_of(*factor)).copied().unwrap_or(("", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("10 s", Some(10_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("10", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("-1s", None),
            ("10S", None),
            ("1d", None),
            ("5124095576030431h", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("64 KiB", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("1 GiB", Some(1 << 30)),
            ("7 B", Some(7)),
            ("7", None),
            ("64 KB", None),
            ("64k", None),
            ("99999999999999999999 B", None),
            ("18446744073709551615 KiB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0s", "500ms", "1500ms", "10s", "90s", "2m", "1h", "25h"] {
            assert_eq!(parse_duration(text).map(write_duration).as_deref(), Some(text));
        }
        for text in ["0 B", "1 B", "1023 B", "64 KiB", "16 MiB", "3 GiB"] {
            assert_eq!(parse_size(text).map(write_size).as_deref(), Some(text));
        }
    }
}
