//! Time limits that a client may lower but not raise (DESIGN §5).

use crate::config::Policy;
use crate::sql::SettingValue;

use super::{Notice, RuleId};

/// The rule named in the NOTICE of a limit that was held.
pub const LIMIT_RULE: RuleId = "limit-setting";

/// What becomes of a SET of a time limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clamp {
    /// The setting is not a time limit.
    NotALimit,
    /// The value is within the tier's limit, or the tier has none: it is set as it was asked for.
    WithinLimit,
    /// The tier's own value is set instead.
    Clamped {
        /// The value to set, as SET and `set_config` take it and SHOW prints it: `2min`.
        value: String,
        /// What to tell the client; nothing where it asked for no value of its own (DEFAULT, RESET).
        notice: Option<Notice>,
    },
}

/// Holds a SET or RESET (`SettingValue::Default`) of a time limit to the policy's. `name` is in lower case.
///
/// A value that cannot be read counts as one that raises: the server reads more spellings than this does, and 0 is no limit.
pub fn clamp(name: &str, value: &SettingValue, policy: &Policy) -> Clamp {
    let limit = match name {
        "statement_timeout" => policy.statement_timeout,
        "lock_timeout" => policy.lock_timeout,
        "idle_in_transaction_session_timeout" => policy.idle_in_transaction_timeout,
        // The policy has no value for these: a client may set its own.
        "transaction_timeout" | "idle_session_timeout" => None,
        _ => return Clamp::NotALimit,
    };
    let Some(limit) = limit else { return Clamp::WithinLimit };
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).clamp(1, i64::from(i32::MAX));
    let asked = match value {
        SettingValue::Default => return Clamp::Clamped { value: in_postgres_units(limit_ms), notice: None },
        SettingValue::Text(text) => milliseconds(text),
        SettingValue::Unknown => None,
    };
    match asked {
        Some(ms) if ms > 0 && ms <= limit_ms => Clamp::WithinLimit,
        Some(_) | None => {
            let value = in_postgres_units(limit_ms);
            let notice = Some(Notice {
                rule: LIMIT_RULE,
                message: format!("{name} is held at {value} on {}", policy.tier),
                detail: format!("rule {LIMIT_RULE}: a client may lower this limit of the tier, not raise it"),
                hint: format!(
                    "Split the work into smaller statements, or have {} raised in [roles.{}.{}].",
                    policy_key(name),
                    policy.role,
                    policy.tier
                ),
            });
            Clamp::Clamped { value, notice }
        }
    }
}

fn policy_key(setting: &str) -> &str {
    match setting {
        "idle_in_transaction_session_timeout" => "idle_in_transaction_timeout",
        other => other,
    }
}

/// A duration as Postgres prints it: the largest unit that holds it in whole numbers.
fn in_postgres_units(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    match UNITS.iter().find(|(size, _)| ms % size == 0) {
        Some((size, unit)) => format!("{}{unit}", ms / size),
        None => format!("{ms}ms"),
    }
}

/// Reads a time setting as Postgres's parse_int does (src/backend/utils/misc/guc.c; documentation, "Setting Parameters"):
/// whole milliseconds, `None` where it cannot be read or is out of range.
fn milliseconds(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(is_c_space);
    let (number, unit) = split_number(text)?;
    let unit = unit.trim_matches(is_c_space);
    // Size in milliseconds, and that of the next smaller unit: fractions are rounded to whole multiples of it, so that
    // "0.001min" is 0 and thus no limit.
    let (size, next) = match unit {
        "" | "ms" => (1.0, 0.001),
        "us" => (0.001, 0.0),
        "s" => (1_000.0, 1.0),
        "min" => (60_000.0, 1_000.0),
        "h" => (3_600_000.0, 60_000.0),
        "d" => (86_400_000.0, 3_600_000.0),
        _ => return None,
    };
    let mut value = number * size;
    if next > 0.0 && !unit.is_empty() {
        value = (value / next).round_ties_even() * next;
    }
    let value = value.round_ties_even();
    if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value) {
        return None;
    }
    Some(value as i64)
}

/// C's isspace.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The number in front and what follows it. Octal and hexadecimal whole numbers are read as C's strtol does with base 0;
/// hexadecimal fractions are not read at all.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let (digits, rest) = hex.split_at(end);
        if rest.starts_with(['.', 'p', 'P']) {
            return None;
        }
        return Some((sign * i64::from_str_radix(digits, 16).ok()? as f64, rest));
    }
    let whole = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, rest) = unsigned.split_at(whole);
    if !rest.starts_with(['.', 'e', 'E']) {
        let is_octal = digits.len() > 1 && digits.starts_with('0');
        let value = if is_octal { i64::from_str_radix(digits, 8).ok()? as f64 } else { digits.parse().ok()? };
        return Some((sign * value, rest));
    }
    let end = end_of_float(unsigned);
    let (digits, rest) = unsigned.split_at(end);
    Some((sign * digits.parse::<f64>().ok()?, rest))
}

/// Where a decimal number with fraction or exponent ends.
fn end_of_float(text: &str) -> usize {
    let digits = |from: usize| text[from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| from + n);
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_postgres_reads_them() {
        // What Postgres 15 makes of them; where it reads one that is None here ("0x1.8p3"), the limit holds all the same.
        let cases = [
            ("0", Some(0)),
            ("5000", Some(5_000)),
            ("5s", Some(5_000)),
            (" 5 s ", Some(5_000)),
            ("2min", Some(120_000)),
            ("1.5s", Some(1_500)),
            ("1e3", Some(1_000)),
            ("1e3ms", Some(1_000)),
            ("10h", Some(36_000_000)),
            ("1d", Some(86_400_000)),
            ("1500us", Some(2)),
            ("400us", Some(0)),
            ("0.4", Some(0)),
            ("1.5", Some(2)),
            ("2.5", Some(2)),
            ("1.0005s", Some(1_000)),
            ("1.e2", Some(100)),
            ("0X1F", Some(31)),
            ("5\ts", Some(5_000)),
            ("1e", None),
            ("- 5", None),
            ("1 min 2", None),
            ("0x", None),
            ("0.001min", Some(0)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            (".5s", Some(500)),
            ("99999999999", None),
            ("5 S", None),
            ("5 sec", None),
            ("0x1.8p3", None),
            ("08", None),
            ("", None),
            ("e5", None),
            ("inf", None),
            ("off", None),
        ];
        for (text, expected) in cases {
            assert_eq!(milliseconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn limits_are_printed_as_postgres_prints_them() {
        for (ms, text) in [(120_000, "2min"), (1_500, "1500ms"), (30_000, "30s"), (3_600_000, "1h"), (86_400_000, "1d")]
        {
            assert_eq!(in_postgres_units(ms), text);
        }
    }
}
