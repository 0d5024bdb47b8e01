//! The defaults of every role on every tier (DESIGN §4's table); docs/configuration.md repeats them for people.

use std::time::Duration;

use super::policy::{Access, Action, AuditScope, OnAuditFailure, Policy, PoolLimits, ReasonRule, Role, Tier};
use super::rules::RuleSettings;

const fn seconds(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

const fn minutes(n: u64) -> Option<Duration> {
    seconds(n * 60)
}

/// The pool of a tier.
pub fn default_pool(tier: Tier) -> PoolLimits {
    let (min, max, wait, idle) = match tier {
        Tier::Int => (2, 10, 10, 180),
        Tier::Stg => (5, 20, 30, 300),
        Tier::Prod => (10, 50, 60, 600),
    };
    let (wait, idle) = (Duration::from_secs(wait), Duration::from_secs(idle));
    PoolLimits { min, max, wait, idle, lifetime: Duration::from_secs(3600) }
}

/// The policy of a role on a tier when the file says nothing.
pub fn default_policy(role: Role, tier: Tier) -> Policy {
    let mut policy = column(role, tier);
    if !role.is_human() {
        policy.session_limit = None;
        policy.reason = ReasonRule::Optional;
    }
    if !role.has_limited_reads() {
        policy.max_rows_returned = None;
        // Their statements are planned once, by the server alone, unless the configuration wants it otherwise.
        policy.join_without_condition = Action::Allow;
    }
    policy.access = match (role, tier) {
        (Role::Auditor, _) | (Role::Agent, Tier::Stg | Tier::Prod) => Access::ReadOnly,
        (Role::Migrator | Role::Service, _) => Access::ReadWrite,
        (Role::Admin | Role::Engineer, _) | (Role::Agent, Tier::Int) => policy.access,
    };
    match role {
        Role::Migrator => policy.ddl = Action::Allow,
        Role::Service => {
            policy.opaque_write = Action::Allow;
            policy.audit = AuditScope::Changes;
        }
        Role::Admin | Role::Agent | Role::Auditor | Role::Engineer => {}
    }
    policy
}

impl Role {
    /// Whether the rows a read may return are limited: for people and agents, who can ask for less.
    pub(super) fn has_limited_reads(self) -> bool {
        self.is_human() || self == Role::Agent
    }
}

/// A tier's column of the table, before the exceptions of roles.
fn column(role: Role, tier: Tier) -> Policy {
    use Action::{Allow, Confirm, Deny, Warn};
    match tier {
        Tier::Int => Policy {
            tier,
            role,
            access: Access::ReadWrite,
            unbounded_write: Warn,
            truncate_drop: Allow,
            ddl: Allow,
            unsafe_ddl: Allow,
            dangerous: Allow,
            opaque_write: Allow,
            code_block: Allow,
            max_rows_written: None,
            max_rows_returned: None,
            max_bytes_returned: None,
            max_estimated_cost: None,
            max_estimated_rows: None,
            join_without_condition: Allow,
            reason: ReasonRule::Optional,
            statement_timeout: seconds(30),
            lock_timeout: seconds(10),
            idle_in_transaction_timeout: minutes(10),
            session_limit: None,
            audit: AuditScope::All,
            audit_parameters: false,
            on_audit_failure: OnAuditFailure::Allow,
            rules: RuleSettings::default(),
            peak: None,
        },
        Tier::Stg => Policy {
            tier,
            role,
            access: Access::ReadWrite,
            unbounded_write: Deny,
            truncate_drop: Confirm,
            ddl: Allow,
            unsafe_ddl: Warn,
            dangerous: Deny,
            opaque_write: Confirm,
            code_block: Confirm,
            max_rows_written: Some(10_000),
            max_rows_returned: Some(100_000),
            max_bytes_returned: None,
            max_estimated_cost: None,
            max_estimated_rows: None,
            join_without_condition: Warn,
            reason: ReasonRule::Optional,
            statement_timeout: seconds(60),
            // A waiting ACCESS EXCLUSIVE lock holds up everyone behind it; stg and prod agree, so that a migration
            // that gives up on prod has given up on stg before.
            lock_timeout: seconds(5),
            idle_in_transaction_timeout: minutes(5),
            session_limit: minutes(8 * 60),
            audit: AuditScope::All,
            audit_parameters: false,
            on_audit_failure: OnAuditFailure::Deny,
            rules: RuleSettings::default(),
            peak: None,
        },
        Tier::Prod => Policy {
            tier,
            role,
            access: Access::ReadOnly,
            unbounded_write: Deny,
            truncate_drop: Deny,
            ddl: Deny,
            unsafe_ddl: Deny,
            dangerous: Deny,
            opaque_write: Deny,
            code_block: Deny,
            max_rows_written: Some(1_000),
            max_rows_returned: Some(10_000),
            max_bytes_returned: None,
            max_estimated_cost: None,
            max_estimated_rows: None,
            join_without_condition: Deny,
            reason: ReasonRule::Required,
            statement_timeout: seconds(120),
            lock_timeout: seconds(5),
            idle_in_transaction_timeout: seconds(60),
            session_limit: minutes(30),
            audit: AuditScope::All,
            audit_parameters: false,
            on_audit_failure: OnAuditFailure::Deny,
            rules: RuleSettings::default(),
            peak: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy_values;

    /// DESIGN §4's table, row by row, as the configuration file would write it.
    const TABLE: &[(&str, &[Role], [&str; 3])] = {
        use Role::{Admin, Agent, Auditor, Engineer, Migrator, Service};
        let all = &Role::ALL;
        &[
            ("statement_timeout", all, ["30s", "1m", "2m"]),
            ("lock_timeout", all, ["10s", "5s", "5s"]),
            ("idle_in_transaction_timeout", all, ["10m", "5m", "1m"]),
            ("session_limit", &[Admin, Auditor, Engineer], ["none", "8h", "30m"]),
            ("session_limit", &[Agent, Migrator, Service], ["none", "none", "none"]),
            ("unbounded_write", all, ["warn", "deny", "deny"]),
            ("truncate_drop", all, ["allow", "confirm", "deny"]),
            ("ddl", &[Admin, Agent, Auditor, Engineer, Service], ["allow", "allow", "deny"]),
            ("ddl", &[Migrator], ["allow", "allow", "allow"]),
            ("unsafe_ddl", all, ["allow", "warn", "deny"]),
            ("dangerous", all, ["allow", "deny", "deny"]),
            ("opaque_write", &[Service], ["allow", "allow", "allow"]),
            ("opaque_write", &[Admin, Agent, Auditor, Engineer, Migrator], ["allow", "confirm", "deny"]),
            ("code_block", all, ["allow", "confirm", "deny"]),
            ("max_rows_written", all, ["none", "10000", "1000"]),
            ("max_rows_returned", &[Admin, Agent, Auditor, Engineer], ["none", "100000", "10000"]),
            ("max_rows_returned", &[Migrator, Service], ["none", "none", "none"]),
            ("max_bytes_returned", all, ["none", "none", "none"]),
            ("max_estimated_cost", all, ["none", "none", "none"]),
            ("max_estimated_rows", all, ["none", "none", "none"]),
            ("join_without_condition", &[Admin, Agent, Auditor, Engineer], ["allow", "warn", "deny"]),
            ("join_without_condition", &[Migrator, Service], ["allow", "allow", "allow"]),
            ("reason", &[Admin, Auditor, Engineer], ["false", "false", "true"]),
            ("reason", &[Agent, Migrator, Service], ["false", "false", "false"]),
            ("access", &[Admin, Engineer], ["read-write", "read-write", "read-only"]),
            ("access", &[Agent], ["read-write", "read-only", "read-only"]),
            ("access", &[Auditor], ["read-only", "read-only", "read-only"]),
            ("access", &[Migrator, Service], ["read-write", "read-write", "read-write"]),
            ("audit", &[Admin, Agent, Auditor, Engineer, Migrator], ["all", "all", "all"]),
            ("audit", &[Service], ["changes", "changes", "changes"]),
            ("audit_parameters", all, ["false", "false", "false"]),
            ("on_audit_failure", all, ["allow", "deny", "deny"]),
        ]
    };

    #[test]
    fn every_cell_of_the_table() {
        for role in Role::ALL {
            for (i, tier) in Tier::ALL.into_iter().enumerate() {
                let policy = default_policy(role, tier);
                assert_eq!((policy.role, policy.tier), (role, tier));
                for (key, value) in policy_values(&policy) {
                    let rows: Vec<_> = TABLE.iter().filter(|row| row.0 == key && row.1.contains(&role)).collect();
                    assert_eq!(rows.len(), 1, "{key} of {role}");
                    assert_eq!(value, rows[0].2[i], "{key} of {role} on {tier}");
                }
            }
        }
    }

    #[test]
    fn pools_of_the_table() {
        let limits = Tier::ALL.map(|tier| {
            let pool = default_pool(tier);
            (pool.min, pool.max, pool.wait.as_secs(), pool.idle.as_secs(), pool.lifetime.as_secs())
        });
        assert_eq!(limits, [(2, 10, 10, 180, 3600), (5, 20, 30, 300, 3600), (10, 50, 60, 600, 3600)]);
    }
}
