//! The trace that a statement belongs to, from a sqlcommenter comment: `/*traceparent='00-…-…-01'*/`
//! (<https://google.github.io/sqlcommenter/spec/>, <https://www.w3.org/TR/trace-context/>).

use percent_encoding::percent_decode_str;

/// The `traceparent` of a comment's text, if it holds a valid one.
pub(super) fn traceparent(comment: &str) -> Option<String> {
    if !comment.contains("traceparent") {
        return None;
    }
    comment.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        if percent_decode_str(key.trim()).decode_utf8().ok()? != "traceparent" {
            return None;
        }
        let value = percent_decode_str(value).decode_utf8().ok()?;
        is_valid(&value).then(|| value.into_owned())
    })
}

/// `version-trace_id-parent_id-flags` in lower-case hex, ids not all zero.
fn is_valid(value: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let parts: Vec<&str> = value.split('-').collect();
    match parts.as_slice() {
        [version, trace, parent, flags] => {
            hex(version, 2)
                && *version != "ff"
                && hex(trace, 32)
                && !zero(trace)
                && hex(parent, 16)
                && !zero(parent)
                && hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn found_among_other_keys_and_decoded() {
        assert_eq!(traceparent(&format!("traceparent='{VALID}'")).as_deref(), Some(VALID));
        assert_eq!(
            traceparent(&format!("action='%2Fa',framework='x',traceparent='{VALID}',tracestate='a%3D1'")).as_deref(),
            Some(VALID)
        );
        assert_eq!(traceparent(&format!(" traceparent = '{}' ", VALID.replace('-', "%2D"))).as_deref(), Some(VALID));
    }

    #[test]
    fn anything_else_is_not_taken() {
        for comment in [
            String::new(),
            "SELECT 1".to_owned(),
            format!("traceparent={VALID}"),
            format!("traceparent='{}'", VALID.to_uppercase()),
            format!("traceparent='{VALID}0'"),
            format!("xtraceparent='{VALID}'"),
            format!("traceparent='ff{}'", &VALID[2..]),
            "traceparent='00-00000000000000000000000000000000-00f067aa0ba902b7-01'".to_owned(),
            "traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01'".to_owned(),
            "traceparent='%ff%fe'".to_owned(),
        ] {
            assert_eq!(traceparent(&comment), None, "{comment}");
        }
    }
}
