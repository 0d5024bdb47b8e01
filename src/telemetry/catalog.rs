//! Every metric's name, labels and HELP text.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets of seconds.
    Histogram,
}

/// One metric's description.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, with the unit as Prometheus's naming guide asks.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its label names.
    pub labels: &'static [&'static str],
    /// Its HELP text.
    pub help: &'static str,
}

const TIER: &[&str] = &["database", "tier"];

pub(super) const SESSIONS: &str = "pgbelay_sessions";
pub(super) const SESSIONS_PINNED: &str = "pgbelay_sessions_pinned";
pub(super) const STATEMENTS: &str = "pgbelay_statements_total";
pub(super) const STATEMENT_SECONDS: &str = "pgbelay_statement_duration_seconds";
pub(super) const DENIALS: &str = "pgbelay_denials_total";
pub(super) const WOULD_DENY: &str = "pgbelay_would_deny_total";
pub(super) const LIMITS: &str = "pgbelay_limits_hit_total";
pub(super) const CHECKOUT_SECONDS: &str = "pgbelay_pool_checkout_wait_seconds";
pub(super) const POOL_MAX: &str = "pgbelay_pool_connections_max";
pub(super) const POOL_OPEN: &str = "pgbelay_pool_connections_open";
pub(super) const POOL_IDLE: &str = "pgbelay_pool_connections_idle";
pub(super) const POOL_IN_USE: &str = "pgbelay_pool_connections_in_use";
pub(super) const POOL_WAITING: &str = "pgbelay_pool_clients_waiting";
pub(super) const POOL_PAUSED: &str = "pgbelay_pool_paused";
pub(super) const UPSTREAM_CONNECTIONS: &str = "pgbelay_upstream_connections";
pub(super) const REPLICA_LAG: &str = "pgbelay_replica_lag_seconds";
pub(super) const UPSTREAM_ERRORS: &str = "pgbelay_upstream_errors_total";
pub(super) const ACCEPTED: &str = "pgbelay_connections_accepted_total";
pub(super) const REFUSED: &str = "pgbelay_connections_refused_total";
pub(super) const AUTH_FAILURES: &str = "pgbelay_auth_failures_total";
pub(super) const PROTOCOL_ERRORS: &str = "pgbelay_protocol_errors_total";
pub(super) const AUDIT_LAG: &str = "pgbelay_audit_lag_seconds";
pub(super) const AUDIT_FAILURES: &str = "pgbelay_audit_failures_total";
pub(super) const RELOADS: &str = "pgbelay_config_reloads_total";
pub(super) const BUILD: &str = "pgbelay_build_info";
pub(super) const STARTED: &str = "pgbelay_start_time_seconds";

/// Every metric there is.
pub const METRICS: &[Metric] = &[
    Metric { name: SESSIONS, kind: Kind::Gauge, labels: TIER, help: "Authenticated client sessions." },
    Metric {
        name: SESSIONS_PINNED,
        kind: Kind::Gauge,
        labels: &["database", "tier", "reason"],
        help: "Sessions that hold an upstream connection of their own, by the state that keeps it.",
    },
    Metric {
        name: STATEMENTS,
        kind: Kind::Counter,
        labels: &["database", "tier", "class", "verdict"],
        help: "Statements judged, by pgaudit class and verdict.",
    },
    Metric {
        name: STATEMENT_SECONDS,
        kind: Kind::Histogram,
        labels: TIER,
        help: "Time from a statement's arrival to the end of its answer, waiting for a connection included.",
    },
    Metric {
        name: DENIALS,
        kind: Kind::Counter,
        labels: &["database", "tier", "rule"],
        help: "Statements refused, by rule.",
    },
    Metric {
        name: WOULD_DENY,
        kind: Kind::Counter,
        labels: &["database", "tier", "rule"],
        help: "Statements that ran and that a rule in report mode would have refused, by rule.",
    },
    Metric {
        name: LIMITS,
        kind: Kind::Counter,
        labels: &["database", "tier", "kind"],
        help: "Statements and sessions ended by a limit.",
    },
    Metric {
        name: CHECKOUT_SECONDS,
        kind: Kind::Histogram,
        labels: TIER,
        help: "Time a session waited for an upstream connection.",
    },
    Metric { name: POOL_MAX, kind: Kind::Gauge, labels: TIER, help: "Most upstream connections the pool may open." },
    Metric { name: POOL_OPEN, kind: Kind::Gauge, labels: TIER, help: "Upstream connections open, idle or in use." },
    Metric { name: POOL_IDLE, kind: Kind::Gauge, labels: TIER, help: "Upstream connections that wait for a session." },
    Metric { name: POOL_IN_USE, kind: Kind::Gauge, labels: TIER, help: "Upstream connections that a session holds." },
    Metric {
        name: POOL_WAITING,
        kind: Kind::Gauge,
        labels: TIER,
        help: "Sessions that wait for an upstream connection.",
    },
    Metric { name: POOL_PAUSED, kind: Kind::Gauge, labels: TIER, help: "1 while an operator has paused it, else 0." },
    Metric {
        name: UPSTREAM_CONNECTIONS,
        kind: Kind::Gauge,
        labels: &["database", "tier", "host", "role"],
        help: "Upstream connections open, by host and what that is: primary, standby or unknown.",
    },
    Metric {
        name: REPLICA_LAG,
        kind: Kind::Gauge,
        labels: &["database", "tier", "host"],
        help: "How far a replica is behind its primary; infinite when that is not known.",
    },
    Metric {
        name: UPSTREAM_ERRORS,
        kind: Kind::Counter,
        labels: &["database", "tier", "kind"],
        help: "Upstream connections that could not be made or were lost.",
    },
    Metric { name: ACCEPTED, kind: Kind::Counter, labels: &[], help: "Client connections accepted." },
    Metric {
        name: REFUSED,
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Client connections refused before authentication.",
    },
    Metric { name: AUTH_FAILURES, kind: Kind::Counter, labels: &["reason"], help: "Logins refused." },
    Metric {
        name: PROTOCOL_ERRORS,
        kind: Kind::Counter,
        labels: &[],
        help: "Client connections ended because a message was malformed or out of place.",
    },
    Metric {
        name: AUDIT_LAG,
        kind: Kind::Gauge,
        labels: &[],
        help: "Age of the oldest audit record that is not on disk yet.",
    },
    Metric { name: AUDIT_FAILURES, kind: Kind::Counter, labels: &[], help: "Audit records that could not be written." },
    Metric {
        name: RELOADS,
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Configuration reloads; a failed one leaves the old configuration in force.",
    },
    Metric {
        name: BUILD,
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label is the running version.",
    },
    Metric {
        name: STARTED,
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process started, in seconds since the Unix epoch.",
    },
];

pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}
