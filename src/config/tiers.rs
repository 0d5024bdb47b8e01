//! `[tiers.TIER]` and `[roles.ROLE.TIER]`: overrides of the defaults, and the flat policies they make.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::defaults::{default_policy, default_pool};
use super::peak_hours::{self, PeakHours};
use super::policy::{Access, Action, AuditScope, OnAuditFailure, Peak, Policy, PoolLimits, ReasonRule, Role, Tier};
use super::reader::{At, Place, Section};
use super::rules::RuleSettings;
use super::show::policy_values;
use super::values::{boolean, bytes, choice, cost, duration, limit, number, rows};

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
        let overrides = Overrides::read(&section);
        let peak = PeakTable::read(section.table("peak_hours"));
        peak.require_windows();
        // What a tier's table says is meant for people before all.
        peak.refuse_looser(&overrides.applied_to(Role::Engineer, tier));
        by_tier.insert(tier, (overrides, peak));
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
            let peak_of_role = PeakTable::read(section.table("peak_hours"));
            section.refuse("pool", "is shared by all roles; set it in [tiers.TIER]");

            let Some((of_tier, peak_of_tier)) = by_tier.get(&tier) else { continue };
            let mut policy = of_tier.applied_to(role, tier);
            of_role_and_tier.apply(&mut policy);
            if waits_for_locks_without_end(&policy) {
                policy.lock_timeout = default_policy(role, tier).lock_timeout;
                let of_tier = of_tier.lock_timeout.as_ref();
                match (of_role_and_tier.lock_timeout, of_tier) {
                    (Some(of_role), _) => root.reader.error(&of_role.place, ENDLESS_WAIT),
                    (None, Some(of_tier)) => {
                        kept.entry(tier).or_insert((&of_tier.place, Vec::new())).1.push(role.as_str());
                    }
                    (None, None) => {}
                }
            }
            peak_of_role.refuse_looser(&policy);
            policy.peak = PeakTable::both(peak_of_tier, &peak_of_role, &policy).map(Arc::new);
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
    max_estimated_cost: Option<Option<u64>>,
    max_estimated_rows: Option<Option<u64>>,
    join_without_condition: Option<Action>,
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
        Self {
            session_limit: section.get("session_limit", limit(duration)).map(|at| at.value),
            audit: section.get("audit", choice::<AuditScope>).map(|at| at.value),
            audit_parameters: section.get("audit_parameters", boolean).map(|at| at.value),
            on_audit_failure: section.get("on_audit_failure", choice::<OnAuditFailure>).map(|at| at.value),
            rules: RuleSettings::read(&section.table("rules")),
            ..Self::read_what_may_tighten(section)
        }
    }

    /// The keys that peak hours have, too.
    fn read_what_may_tighten(section: &Section<'_>) -> Self {
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
            max_estimated_cost: section.get("max_estimated_cost", limit(cost)).map(|at| at.value),
            max_estimated_rows: count("max_estimated_rows"),
            join_without_condition: action("join_without_condition"),
            reason: flag("reason").map(required),
            statement_timeout: time("statement_timeout"),
            lock_timeout: section.get("lock_timeout", limit(duration)),
            idle_in_transaction_timeout: time("idle_in_transaction_timeout"),
            ..Self::default()
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
            meant.max_estimated_cost = None;
            meant.max_estimated_rows = None;
            meant.join_without_condition = None;
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

    /// The policy of a role on a tier with this tier's overrides.
    fn applied_to(&self, role: Role, tier: Tier) -> Policy {
        let mut policy = default_policy(role, tier);
        self.meant_for(role, tier).apply(&mut policy);
        policy
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
        set(&mut policy.max_estimated_cost, self.max_estimated_cost);
        set(&mut policy.max_estimated_rows, self.max_estimated_rows);
        set(&mut policy.join_without_condition, self.join_without_condition);
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

    /// Applies what is tighter than the policy; returns the keys that are set and looser.
    fn tighten(&self, policy: &mut Policy) -> Vec<&'static str> {
        let mut looser = vec![];
        let mut set_limit = |key, field: &mut Option<u64>, value| take(key, field, value, is_higher, &mut looser);
        set_limit("max_rows_written", &mut policy.max_rows_written, self.max_rows_written);
        set_limit("max_rows_returned", &mut policy.max_rows_returned, self.max_rows_returned);
        set_limit("max_bytes_returned", &mut policy.max_bytes_returned, self.max_bytes_returned);
        set_limit("max_estimated_cost", &mut policy.max_estimated_cost, self.max_estimated_cost);
        set_limit("max_estimated_rows", &mut policy.max_estimated_rows, self.max_estimated_rows);
        let mut set_time = |key, field: &mut Option<Duration>, value| take(key, field, value, is_higher, &mut looser);
        set_time("statement_timeout", &mut policy.statement_timeout, self.statement_timeout);
        set_time("lock_timeout", &mut policy.lock_timeout, self.lock_timeout.as_ref().map(|at| at.value));
        set_time(
            "idle_in_transaction_timeout",
            &mut policy.idle_in_transaction_timeout,
            self.idle_in_transaction_timeout,
        );
        let mut set_action =
            |key, field: &mut Action, value| take(key, field, value, |old, new| new < old, &mut looser);
        set_action("unbounded_write", &mut policy.unbounded_write, self.unbounded_write);
        set_action("truncate_drop", &mut policy.truncate_drop, self.truncate_drop);
        set_action("ddl", &mut policy.ddl, self.ddl);
        set_action("unsafe_ddl", &mut policy.unsafe_ddl, self.unsafe_ddl);
        set_action("dangerous", &mut policy.dangerous, self.dangerous);
        set_action("opaque_write", &mut policy.opaque_write, self.opaque_write);
        set_action("code_block", &mut policy.code_block, self.code_block);
        set_action("join_without_condition", &mut policy.join_without_condition, self.join_without_condition);
        let frees = |old: &Access, new: &Access| (*old, *new) == (Access::ReadOnly, Access::ReadWrite);
        take("access", &mut policy.access, self.access, frees, &mut looser);
        let waives = |old: &ReasonRule, new: &ReasonRule| (*old, *new) == (ReasonRule::Required, ReasonRule::Optional);
        take("reason", &mut policy.reason, self.reason, waives, &mut looser);
        looser
    }
}

/// Sets a field to a value that is not looser; notes the key of one that is.
fn take<T: Copy>(
    key: &'static str,
    field: &mut T,
    value: Option<T>,
    is_looser: impl Fn(&T, &T) -> bool,
    looser: &mut Vec<&'static str>,
) {
    match value {
        Some(value) if is_looser(field, &value) => looser.push(key),
        Some(value) => *field = value,
        None => {}
    }
}

/// Whether a limit lets more pass than the one before; none lets everything pass.
fn is_higher<T: PartialOrd>(old: &Option<T>, new: &Option<T>) -> bool {
    match (old, new) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => new > old,
    }
}

/// `peak_hours = { … }` of a tier, or of a role on a tier.
struct PeakTable<'a> {
    section: Section<'a>,
    /// `None` where a role's table names none: the tier's hold.
    hours: Option<PeakHours>,
    overrides: Overrides,
}

impl<'a> PeakTable<'a> {
    fn read(section: Section<'a>) -> Self {
        let windows = section.get("windows", peak_hours::windows);
        let zone = section.get("time_zone", peak_hours::time_zone).map_or(TimeZone::UTC, |at| at.value);
        let overrides = Overrides::read_what_may_tighten(&section);
        Self { hours: windows.map(|windows| PeakHours::new(windows.value, zone)), overrides, section }
    }

    /// Names the keys that would loosen a policy.
    fn refuse_looser(&self, outside: &Policy) {
        for key in self.overrides.tighten(&mut outside.clone()) {
            let value = policy_values(outside).into_iter().find(|(name, _)| *name == key).map(|(_, value)| value);
            let value = value.unwrap_or_default();
            let message = format!("is looser than outside peak hours ({value}); peak hours may only tighten");
            self.section.reader.error(&self.section.place_of_value(key), message);
        }
    }

    fn require_windows(&self) {
        if self.section.is_present() && !self.section.has("windows") {
            let message =
                "has no windows; write windows = [\"Mon-Fri 08:00-18:00\"], and time_zone where it is not UTC";
            self.section.reader.error(&self.section.place, message);
        }
    }

    /// The peak hours of a role on a tier: the role's windows, or else the tier's; of what both tables set the tighter. What
    /// the tier's sets and is looser than the role's own policy changes nothing.
    fn both(of_tier: &Self, of_role: &Self, policy: &Policy) -> Option<Peak> {
        let hours = of_role.hours.as_ref().or(of_tier.hours.as_ref()).cloned();
        if hours.is_none() {
            of_role.require_windows();
        }
        let hours = hours?;
        let mut tighter = policy.clone();
        of_tier.overrides.meant_for(policy.role, policy.tier).tighten(&mut tighter);
        of_role.overrides.tighten(&mut tighter);
        if tighter == *policy {
            return None;
        }
        tighter.peak = Some(Arc::new(Peak { hours: hours.clone(), policy: None }));
        Some(Peak { hours, policy: Some(Arc::new(tighter)) })
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
