//! The kinds of values a configuration file has: each reads one TOML value or says what to write instead.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use toml::de::DeValue;

use super::reader::article;

/// The longest time Postgres can be told: an `int` of milliseconds, nearly 25 days.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A text without control characters.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or_else(|| format!("must be a string, not {}", article(value.type_str())))?;
    match text {
        "" => Err("must not be empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("must not hold control characters".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("must be true or false, not {}", article(value.type_str())))
}

/// One of the names of a choice.
pub(super) fn choice<T: FromStr<Err = String>>(value: &DeValue<'_>) -> Result<T, String> {
    text(value)?.parse()
}

/// A whole number within limits.
pub(super) fn number(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let wrong = || format!("must be a whole number from {least} to {most}");
    let DeValue::Integer(number) = value else {
        return Err(format!("{}, not {}", wrong(), article(value.type_str())));
    };
    let number = u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| wrong())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(wrong()) }
}

/// A duration: `"120s"`, `"30m"`, `"1h"`, `"500ms"`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    match value {
        DeValue::String(text) => parse_duration(text),
        DeValue::Integer(number) => Err(format!("has no unit; write \"{number}s\" for seconds (or ms, m, h, d)")),
        other => Err(format!("must be a duration such as \"120s\", not {}", article(other.type_str()))),
    }
}

/// Rows: a whole number.
pub(super) fn rows(value: &DeValue<'_>) -> Result<u64, String> {
    number(value, 1, i64::MAX as u64).map_err(|_| "must be a whole number of rows above 0".to_owned())
}

/// Connections at once.
pub(super) fn connections(value: &DeValue<'_>) -> Result<u32, String> {
    number(value, 1, 1_000_000).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// A moment: a TOML date and time with its offset, or a date, whose first moment in UTC is meant.
pub(super) fn instant(value: &DeValue<'_>) -> Result<DateTime<Utc>, String> {
    let example = "write a date and time with its offset, such as 2027-01-31T18:00:00Z, or a date such as 2027-01-31";
    let DeValue::Datetime(value) = value else {
        return Err(format!("must be a date and time without quotes, not {}; {example}", article(value.type_str())));
    };
    let text = match (value.date, value.time, value.offset) {
        (Some(date), None, None) => format!("{date}T00:00:00Z"),
        (Some(_), Some(_), Some(_)) => value.to_string(),
        _ => return Err(format!("is not a whole date and time; {example}")),
    };
    text.parse().map_err(|_| format!("is not a date and time; {example}"))
}

/// The planner's cost units: a whole number.
pub(super) fn cost(value: &DeValue<'_>) -> Result<u64, String> {
    number(value, 1, i64::MAX as u64)
        .map_err(|_| "must be a whole number of the planner's cost units above 0".to_owned())
}

/// Bytes: `"256MiB"`, or a whole number of bytes.
pub(super) fn bytes(value: &DeValue<'_>) -> Result<u64, String> {
    let bytes = match value {
        DeValue::String(text) => parse_bytes(text)?,
        other => number(other, 0, i64::MAX as u64).map_err(|_| "must be a size such as \"256MiB\"".to_owned())?,
    };
    if bytes == 0 { Err("must be more than 0".to_owned()) } else { Ok(bytes) }
}

/// A limit that `"none"` lifts.
pub(super) fn limit<T>(
    read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
) -> impl FnOnce(&DeValue<'_>) -> Result<Option<T>, String> {
    |value| {
        if value.as_str() == Some("none") {
            return Ok(None);
        }
        read(value).map(Some).map_err(|message| format!("{message}; \"none\" means no limit"))
    }
}

/// Reads `120s` and the like: a whole number and one unit.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let example = "write a whole number and a unit: \"500ms\", \"120s\", \"30m\", \"1h\" or \"2d\"";
    let (number, unit) = split_unit(text);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if !number.is_empty() => {
            return Err(format!("has no unit; write \"{number}s\" for seconds (or ms, m, h, d)"));
        }
        _ => return Err(format!("is not a duration; {example}")),
    };
    let number: u64 = number.parse().map_err(|_| format!("is not a duration; {example}"))?;
    match number.checked_mul(milliseconds).map(Duration::from_millis) {
        Some(Duration::ZERO) => Err("must be more than 0".to_owned()),
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("is too long; Postgres takes at most 24d".to_owned()),
    }
}

/// Reads `256MiB` and the like.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let example = "write a whole number and a unit: \"64KiB\", \"256MiB\" or \"1GiB\"";
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("is not a size; {example}")),
    };
    let number: u64 = number.parse().map_err(|_| format!("is not a size; {example}"))?;
    let bytes = number.checked_mul(factor).filter(|bytes| i64::try_from(*bytes).is_ok());
    bytes.ok_or_else(|| "is too large".to_owned())
}

fn split_unit(text: &str) -> (&str, &str) {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (number, unit.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        let good = [("500ms", 500), ("120s", 120_000), ("30m", 1_800_000), ("30min", 1_800_000), ("1h", 3_600_000)];
        for (text, milliseconds) in good.into_iter().chain([("24d", 2_073_600_000), ("5 s", 5_000), ("1ms", 1)]) {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "10", "-1s", "1.5h", "1h30m", "10S", "10 sec", "٣s", "0s", "25d", "99999999999999999999h"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("120").unwrap_err().contains("\"120s\""));
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65_536), ("256MiB", 268_435_456), ("1 GiB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "256", "256MB", "256mib", "-1B", "9223372036854775807KiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
