//! Policies in the words of the configuration file, for `pgbelay check`, `SHOW pgbelay.limits` and the like.

use std::time::Duration;

use super::policy::{AuditScope, OnAuditFailure, Policy, PoolLimits, ReasonRule};

/// Every key of a policy and its value, as `[tiers.TIER]` would write them (without quotes), in the reference's order.
pub fn policy_values(policy: &Policy) -> [(&'static str, String); 22] {
    let Policy {
        tier: _,
        role: _,
        access,
        unbounded_write,
        truncate_drop,
        ddl,
        unsafe_ddl,
        dangerous,
        opaque_write,
        code_block,
        max_rows_written,
        max_rows_returned,
        max_bytes_returned,
        max_estimated_cost,
        max_estimated_rows,
        join_without_condition,
        reason,
        statement_timeout,
        lock_timeout,
        idle_in_transaction_timeout,
        session_limit,
        audit,
        audit_parameters,
        on_audit_failure,
        // Shown by rule, where something is said of one.
        rules: _,
        // Not a key, but a table of keys.
        peak: _,
    } = policy;
    let reason = matches!(reason, ReasonRule::Required);
    let audit = match audit {
        AuditScope::All => "all",
        AuditScope::Changes => "changes",
    };
    let on_audit_failure = match on_audit_failure {
        OnAuditFailure::Allow => "allow",
        OnAuditFailure::Deny => "deny",
    };
    [
        ("access", access.to_string()),
        ("unbounded_write", unbounded_write.to_string()),
        ("truncate_drop", truncate_drop.to_string()),
        ("ddl", ddl.to_string()),
        ("unsafe_ddl", unsafe_ddl.to_string()),
        ("dangerous", dangerous.to_string()),
        ("opaque_write", opaque_write.to_string()),
        ("code_block", code_block.to_string()),
        ("max_rows_written", limit(max_rows_written, u64::to_string)),
        ("max_rows_returned", limit(max_rows_returned, u64::to_string)),
        ("max_bytes_returned", limit(max_bytes_returned, |bytes| format_bytes(*bytes))),
        ("max_estimated_cost", limit(max_estimated_cost, u64::to_string)),
        ("max_estimated_rows", limit(max_estimated_rows, u64::to_string)),
        ("join_without_condition", join_without_condition.to_string()),
        ("reason", reason.to_string()),
        ("statement_timeout", time_limit(statement_timeout)),
        ("lock_timeout", time_limit(lock_timeout)),
        ("idle_in_transaction_timeout", time_limit(idle_in_transaction_timeout)),
        ("session_limit", time_limit(session_limit)),
        ("audit", audit.to_owned()),
        ("audit_parameters", audit_parameters.to_string()),
        ("on_audit_failure", on_audit_failure.to_owned()),
    ]
}

/// Every key of a pool and its value, as `pool = { … }` would write them.
pub fn pool_values(pool: &PoolLimits) -> [(&'static str, String); 5] {
    [
        ("min", pool.min.to_string()),
        ("max", pool.max.to_string()),
        ("wait", format_duration(pool.wait)),
        ("idle", format_duration(pool.idle)),
        ("lifetime", format_duration(pool.lifetime)),
    ]
}

/// A duration in its largest whole unit: `90s`, `2m`, `8h`, `500ms`.
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fitting = units.into_iter().find(|(size, _)| milliseconds > 0 && milliseconds.is_multiple_of(*size));
    let (size, unit) = fitting.unwrap_or((1, "ms"));
    format!("{}{unit}", milliseconds / size)
}

/// A size in its largest whole unit: `256MiB`.
pub fn format_bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fitting = units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    let (size, unit) = fitting.unwrap_or((1, "B"));
    format!("{}{unit}", bytes / size)
}

fn limit<T>(value: &Option<T>, show: impl FnOnce(&T) -> String) -> String {
    value.as_ref().map_or_else(|| "none".to_owned(), show)
}

fn time_limit(value: &Option<Duration>) -> String {
    limit(value, |duration| format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::parse_duration;

    #[test]
    fn a_shown_duration_reads_back() {
        for milliseconds in [1, 500, 1_000, 1_500, 90_000, 120_000, 5_400_000, 28_800_000, 172_800_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn sizes_are_shown_in_whole_units() {
        assert_eq!([1 << 20, 1536, 1000, 0].map(format_bytes), ["1MiB", "1536B", "1000B", "0B"]);
    }
}
