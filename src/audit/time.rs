//! Wall-clock time as the trail writes it: microseconds since 1970, shown as RFC 3339 UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// Now, in microseconds since 1970-01-01 00:00 UTC.
pub(super) fn now_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    }
}

/// `2026-01-31T23:59:59.000001Z`. A time beyond what the calendar can show is written as its beginning.
pub(super) fn rfc3339(us: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The inverse of [`rfc3339`]; `None` for anything that it does not write.
pub(super) fn parse(text: &str) -> Option<i64> {
    if !text.ends_with('Z') {
        return None;
    }
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_micros())
}

/// [`rfc3339`] without the characters that are awkward in file names: `20260131T235959.000001Z`.
pub(super) fn file_name(us: i64) -> String {
    rfc3339(us).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_six_decimals_and_read_back() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_767_225_599_000_001), "2025-12-31T23:59:59.000001Z");
        assert_eq!(parse(&rfc3339(1_767_225_599_000_001)), Some(1_767_225_599_000_001));
        assert_eq!(parse("2025-12-31T23:59:59.000001+01:00"), None);
        assert_eq!(file_name(0), "19700101T000000.000000Z");
        assert!(now_us() > 1_700_000_000_000_000);
    }
}
