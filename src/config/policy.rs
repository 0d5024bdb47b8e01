//! The flat, immutable policy of one role on one tier: what every other module asks instead of the configuration file.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::PeakHours;

use super::rules::{Mode, RuleSettings};

/// The three kinds of environment a database can have, from the most permissive to the most careful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Integration (green): nearly everything is allowed.
    Int,
    /// Staging (yellow): unbounded writes are refused, destructive statements ask for confirmation.
    Stg,
    /// Production (red): people read only; nothing destructive.
    Prod,
}

impl Tier {
    /// All tiers, in order of care.
    pub const ALL: [Tier; 3] = [Tier::Int, Tier::Stg, Tier::Prod];

    /// The name used in configuration, `app:prod` and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Int => "int",
            Tier::Stg => "stg",
            Tier::Prod => "prod",
        }
    }

    /// The colour word people know the tier by.
    pub fn colour(self) -> &'static str {
        match self {
            Tier::Int => "green",
            Tier::Stg => "yellow",
            Tier::Prod => "red",
        }
    }

    /// A guarded tier refuses what it cannot read and writes an intent before each write (DESIGN §3, §7).
    pub fn is_guarded(self) -> bool {
        match self {
            Tier::Int => false,
            Tier::Stg | Tier::Prod => true,
        }
    }
}

/// Built-in roles of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Administers the proxy; a person.
    Admin,
    /// A program that writes its own SQL: read-only on every tier but int.
    Agent,
    /// Reads the audit trail and the admin endpoints; read-only.
    Auditor,
    /// A person.
    Engineer,
    /// A person or program that changes the schema.
    Migrator,
    /// An application: read-write, bounded writes only.
    Service,
}

impl Role {
    /// All roles, by name.
    pub const ALL: [Role; 6] = [Role::Admin, Role::Agent, Role::Auditor, Role::Engineer, Role::Migrator, Role::Service];

    /// The name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Agent => "agent",
            Role::Auditor => "auditor",
            Role::Engineer => "engineer",
            Role::Migrator => "migrator",
            Role::Service => "service",
        }
    }

    /// Whether a person sits behind it: people get the banner, the session limit and must give a reason.
    pub fn is_human(self) -> bool {
        match self {
            Role::Admin | Role::Auditor | Role::Engineer => true,
            Role::Agent | Role::Migrator | Role::Service => false,
        }
    }
}

macro_rules! named {
    ($type:ty, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("unknown {} \"{text}\"; use one of: {}", $what, names.join(", "))
                })
            }
        }
    };
}

named!(Tier, "tier");
named!(Role, "role");
named!(Action, "action");
named!(Access, "access");

/// What a rule does when it applies; ordered from the mildest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Runs.
    Allow,
    /// Runs, with a NOTICE.
    Warn,
    /// Runs once the user confirms with a one-time token.
    Confirm,
    /// Refused.
    Deny,
}

impl Action {
    /// All actions, mildest first.
    pub const ALL: [Action; 4] = [Action::Allow, Action::Warn, Action::Confirm, Action::Deny];

    /// The name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Warn => "warn",
            Action::Confirm => "confirm",
            Action::Deny => "deny",
        }
    }
}

/// Whether a session may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Every transaction is READ ONLY on the server as well.
    ReadOnly,
    /// Writes are judged one by one.
    ReadWrite,
}

impl Access {
    /// Both kinds.
    pub const ALL: [Access; 2] = [Access::ReadOnly, Access::ReadWrite];

    /// The name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        }
    }
}

/// Whether a session must say why before it runs anything (`SET pgbelay.reason = '…'`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonRule {
    /// Nothing need be said.
    Optional,
    /// Reads and writes are refused until a reason is given.
    Required,
}

/// What happens to a statement whose audit record cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// It runs; the failure is counted and logged.
    Allow,
    /// It is refused (SQLSTATE 58030).
    Deny,
}

/// Which statements are recorded when they run. Denials, errors of the guard and sessions always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// Every statement.
    All,
    /// Everything but pgaudit's classes READ, MISC and MISC_SET: what an application reads need not be recorded.
    Changes,
}

/// Everything the guard needs to know of one role on one tier, flattened when the configuration is loaded:
/// tier defaults, then the role's, then the file's overrides (DESIGN §4).
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The tier.
    pub tier: Tier,
    /// The role.
    pub role: Role,
    /// Read-only sessions are READ ONLY on the server too.
    pub access: Access,
    /// UPDATE / DELETE / MERGE without an effective WHERE.
    pub unbounded_write: Action,
    /// TRUNCATE and DROP.
    pub truncate_drop: Action,
    /// All other DDL, and ROLE statements.
    pub ddl: Action,
    /// DDL that locks a table in use for long.
    pub unsafe_ddl: Action,
    /// Files, programs, other connections, process control, replication, server settings.
    pub dangerous: Action,
    /// CALL and the database's own volatile functions.
    pub opaque_write: Action,
    /// DO blocks and PREPARE TRANSACTION.
    pub code_block: Action,
    /// Rows one write may change; `None` is no limit.
    pub max_rows_written: Option<u64>,
    /// Rows one read may return; `None` is no limit.
    pub max_rows_returned: Option<u64>,
    /// Bytes one read may return; `None` is no limit.
    pub max_bytes_returned: Option<u64>,
    /// Highest cost that the planner may expect of one statement, in its own units; `None` asks for no plan.
    pub max_estimated_cost: Option<u64>,
    /// Most rows that the planner may expect one statement to return or change; `None` asks for no plan.
    pub max_estimated_rows: Option<u64>,
    /// A plan that combines every row of one table with every row of another.
    pub join_without_condition: Action,
    /// Whether a reason must be given.
    pub reason: ReasonRule,
    /// Longest time of one statement; also set on the server.
    pub statement_timeout: Option<Duration>,
    /// Longest wait for a lock; also set on the server.
    pub lock_timeout: Option<Duration>,
    /// Longest idle time inside a transaction; also set on the server.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// Longest session (people only, unless configured).
    pub session_limit: Option<Duration>,
    /// Which statements are recorded.
    pub audit: AuditScope,
    /// Whether bound parameters are recorded.
    pub audit_parameters: bool,
    /// What happens when the record cannot be written.
    pub on_audit_failure: OnAuditFailure,
    /// What is said of single rules.
    pub rules: RuleSettings,
    /// The hours in which it is tighter.
    pub peak: Option<Arc<Peak>>,
}

/// When a policy is tighter, and what it is then.
#[derive(Clone, Debug, PartialEq)]
pub struct Peak {
    /// When.
    pub hours: PeakHours,
    /// The policy in these hours; `None` in that policy itself.
    pub policy: Option<Arc<Policy>>,
}

impl Policy {
    /// See [`Tier::is_guarded`].
    pub fn is_guarded(&self) -> bool {
        self.tier.is_guarded()
    }

    /// Whether a rule is enforced, as the file says. What a rule makes of it is [`crate::policy::Rule::mode`].
    pub fn mode(&self, rule: &str) -> Mode {
        self.rules.get(rule).mode.unwrap_or_default()
    }

    /// The policy that holds at a moment: its own, or the one of its peak hours.
    pub fn at(self: &Arc<Self>, now: SystemTime) -> Arc<Self> {
        match self.peak.as_deref() {
            Some(Peak { hours, policy: Some(tighter) }) if hours.contains(now) => Arc::clone(tighter),
            Some(_) | None => Arc::clone(self),
        }
    }

    /// Whether this is a policy of peak hours.
    pub fn is_of_peak_hours(&self) -> bool {
        self.peak.as_ref().is_some_and(|peak| peak.policy.is_none())
    }

    /// Whether sessions under this policy are read-only.
    pub fn is_read_only(&self) -> bool {
        self.access == Access::ReadOnly
    }
}

/// Limits of the pool of one database tier (DESIGN §6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolLimits {
    /// Connections kept open even when idle.
    pub min: u32,
    /// Most connections open at once.
    pub max: u32,
    /// Longest wait of a client for a connection; then SQLSTATE 53300.
    pub wait: Duration,
    /// An idle connection beyond `min` is closed after this time.
    pub idle: Duration,
    /// A connection is closed after this time, once it is idle.
    pub lifetime: Duration,
}
