//! `[tiers.TIER]` and `[roles.ROLE.TIER]`: overrides of the defaults, and the flat policies they make.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::defaults::{default_policy, default_pool};
use super::policy::{Access, Action, AuditScope, OnAuditFailure, Policy, PoolLimits, ReasonRule, Role, Tier};
use super::reader::{At, Place, Section};
use super::rules::RuleSettings;
use super::values::{boolean, bytes, choice, duration, limit, number, rows};

/// Most connections one pool may have; Postgres itself allows no more (`max_connections`).
const MOST_CONNECTIONS: u64 = 262_143;

/// The policy of every role on every tier.
pub(super) type Policies = BTreeMap<(Role, Tier), Arc<Policy>>;

/// Reads both tables and flattens them: tier default, role default, `[tiers.TIER]`, `[roles.ROLE.TIER]`.
pub(super) fn read(root: &Section<'_>) -> (Policies, BTreeMap<Tier, PoolLimits>) {
    let tiers = root.table("tiers");
    let mut pools = BTreeMap::new();
    let mut by_tier = BTreeMap::new();
    for tier in Tier::ALL {
        let section = tiers.named(tier.as_str(), "TIER");
        by_tier.insert(tier, Overrides::read(&section));
        pools.insert(tier, read_pool(&section.table("pool"), tier));
    }

    let roles = root.table("roles");
    let mut policies = Policies::new();
    let mut kept: BTreeMap<Tier, (&Place, Vec<&str>)> = BTreeMap::new();
    for role in Role::ALL {
        let of_role = roles.named(role.as_str(), "ROLE");
        for tier in Tier::ALL {
            let section = of_role.named(tier.as_str(), "TIER");
            let of_role_and_tier = Overrides::read(&section);
            section.refuse("pool", "is shared by all roles; set it in [tiers.TIER]");

            let mut policy = default_policy(role, tier);
            if let Some(of_tier) = by_tier.get(&tier) {
                of_tier.meant_for(role, tier).apply(&mut policy);
            }
            of_role_and_tier.apply(&mut policy);
            if waits_for_locks_without_end(&policy) {
                policy.lock_timeout = default_policy(role, tier).lock_timeout;
                let of_tier = by_tier.get(&tier).and_then(|of_tier| of_tier.lock_timeout.as_ref());
                match (of_role_and_tier.lock_timeout, of_tier) {
                    (Some(of_role), _) => root.reader.error(&of_role.place, ENDLESS_WAIT),
                    (None, Some(of_tier)) => {
                        kept.entry(tier).or_insert((&of_tier.place, Vec::new())).1.push(role.as_str());
                    }
                    (None, None) => {}
                }
            }
            policies.insert((role, tier), Arc::new(policy));
        }
    }
    for (place, roles) in kept.into_values() {
        let message = format!("keeps its default for the roles that may change the schema: {}", roles.join(", "));
        root.reader.warn(place, message);
    }
    (policies, pools)
}

const ENDLESS_WAIT: &str = "cannot be \"none\" for a role that may change the schema: everybody queues behind a DDL statement \
                            that waits for its lock; give a time";

/// Whether DDL would wait for its lock for as long as it takes, on a tier where others then wait as well.
fn waits_for_locks_without_end(policy: &Policy) -> bool {
    policy.is_guarded() && !policy.is_read_only() && policy.ddl != Action::Deny && policy.lock_timeout.is_none()
}

/// What one table sets; `None` leaves the value as it is.
#[derive(Clone, Default)]
struct Overrides {
    access: Option<Access>,
    unbounded_write: Option<Action>,
    truncate_drop: Option<Action>,
    ddl: Option<Action>,
    unsafe_ddl: Option<Action>,
    dangerous: Option<Action>,
    opaque_write: Option<Action>,
    code_block: Option<Action>,
    max_rows_written: Option<Option<u64>>,
    max_rows_returned: Option<Option<u64>>,
    max_bytes_returned: Option<Option<u64>>,
    reason: Option<ReasonRule>,
    statement_timeout: Option<Option<Duration>>,
    lock_timeout: Option<At<Option<Duration>>>,
    idle_in_transaction_timeout: Option<Option<Duration>>,
    session_limit: Option<Option<Duration>>,
    audit: Option<AuditScope>,
    audit_parameters: Option<bool>,
    on_audit_failure: Option<OnAuditFailure>,
    rules: RuleSettings,
}

impl Overrides {
    fn read(section: &Section<'_>) -> Self {
        let action = |key| section.get(key, choice::<Action>).map(|at| at.value);
        let time = |key| section.get(key, limit(duration)).map(|at| at.value);
        let count = |key| section.get(key, limit(rows)).map(|at| at.value);
        let flag = |key| section.get(key, boolean).map(|at| at.value);
        let required = |yes| if yes { ReasonRule::Required } else { ReasonRule::Optional };
        Self {
            access: section.get("access", choice::<Access>).map(|at| at.value),
            unbounded_write: action("unbounded_write"),
            truncate_drop: action("truncate_drop"),
            ddl: action("ddl"),
            unsafe_ddl: action("unsafe_ddl"),
            dangerous: action("dangerous"),
            opaque_write: action("opaque_write"),
            code_block: action("code_block"),
            max_rows_written: count("max_rows_written"),
            max_rows_returned: count("max_rows_returned"),
            max_bytes_returned: section.get("max_bytes_returned", limit(bytes)).map(|at| at.value),
            reason: flag("reason").map(required),
            statement_timeout: time("statement_timeout"),
            lock_timeout: section.get("lock_timeout", limit(duration)),
            idle_in_transaction_timeout: time("idle_in_transaction_timeout"),
            session_limit: time("session_limit"),
            audit: section.get("audit", choice::<AuditScope>).map(|at| at.value),
            audit_parameters: flag("audit_parameters"),
            on_audit_failure: section.get("on_audit_failure", choice::<OnAuditFailure>).map(|at| at.value),
            rules: RuleSettings::read(&section.table("rules")),
        }
    }

    /// A tier's overrides without those its table does not mean for a role (DESIGN §4: "human roles", "except
    /// role `migrator`", …). So writing a default of that table into the file changes nothing, and `reason = true`
    /// does not stop an application. `[roles.ROLE.TIER]` reaches every role.
    fn meant_for(&self, role: Role, tier: Tier) -> Self {
        let mut meant = self.clone();
        if !role.is_human() {
            meant.reason = None;
            meant.session_limit = None;
        }
        if !role.has_limited_reads() {
            meant.max_rows_returned = None;
            meant.max_bytes_returned = None;
        }
        match role {
            Role::Admin | Role::Engineer => {}
            Role::Auditor => meant.access = None,
            // On int an agent may do what people may; on the guarded tiers it never writes by a tier's setting.
            Role::Agent if tier == Tier::Int => {}
            Role::Agent => meant.access = None,
            Role::Migrator => {
                meant.access = None;
                meant.ddl = None;
            }
            Role::Service => {
                meant.access = None;
                meant.opaque_write = None;
            }
        }
        meant
    }

    fn apply(&self, policy: &mut Policy) {
        fn set<T: Copy>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut policy.access, self.access);
        set(&mut policy.unbounded_write, self.unbounded_write);
        set(&mut policy.truncate_drop, self.truncate_drop);
        set(&mut policy.ddl, self.ddl);
        set(&mut policy.unsafe_ddl, self.unsafe_ddl);
        set(&mut policy.dangerous, self.dangerous);
        set(&mut policy.opaque_write, self.opaque_write);
        set(&mut policy.code_block, self.code_block);
        set(&mut policy.max_rows_written, self.max_rows_written);
        set(&mut policy.max_rows_returned, self.max_rows_returned);
        set(&mut policy.max_bytes_returned, self.max_bytes_returned);
        set(&mut policy.reason, self.reason);
        set(&mut policy.statement_timeout, self.statement_timeout);
        set(&mut policy.lock_timeout, self.lock_timeout.as_ref().map(|at| at.value));
        set(&mut policy.idle_in_transaction_timeout, self.idle_in_transaction_timeout);
        set(&mut policy.session_limit, self.session_limit);
        set(&mut policy.audit, self.audit);
        set(&mut policy.audit_parameters, self.audit_parameters);
        set(&mut policy.on_audit_failure, self.on_audit_failure);
        policy.rules.overlay(&self.rules);
    }
}

fn read_pool(section: &Section<'_>, tier: Tier) -> PoolLimits {
    let default = default_pool(tier);
    let count = |key, least| {
        let value = section.get(key, |value| number(value, least, MOST_CONNECTIONS));
        value.and_then(|at| u32::try_from(at.value).ok())
    };
    let time = |key, default| section.get(key, duration).map_or(default, |at| at.value);
    let (min, max) = (count("min", 0), count("max", 1));
    let pool = PoolLimits {
        // A maximum below the default minimum is meant to lower both.
        min: min.unwrap_or(default.min.min(max.unwrap_or(default.max))),
        max: max.unwrap_or(default.max),
        wait: time("wait", default.wait),
        idle: time("idle", default.idle),
        lifetime: time("lifetime", default.lifetime),
    };
    if pool.min > pool.max {
        let PoolLimits { min, max, .. } = pool;
        section.reader.error(&section.place, format!("min {min} is more than max {max}; lower min or raise max"));
    }
    if section.is_present() && pool.idle > pool.lifetime {
        section.reader.warn(&section.place, "idle is longer than lifetime and has no effect");
    }
    pool
}

impl FromStr for AuditScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(AuditScope::All),
            "changes" => Ok(AuditScope::Changes),
            _ => Err(format!("unknown scope \"{text}\"; use one of: all, changes")),
        }
    }
}

impl FromStr for OnAuditFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "allow" => Ok(OnAuditFailure::Allow),
            "deny" => Ok(OnAuditFailure::Deny),
            _ => Err(format!("unknown choice \"{text}\"; use one of: allow, deny")),
        }
    }
}
