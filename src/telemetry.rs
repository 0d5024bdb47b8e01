//! What an operator sees from the inside: the log (tracing, to standard error) and the metrics (Prometheus).
//!
//! Every metric's name, labels and HELP text stand in [`METRICS`]; docs/metrics.md is the reference for people. Handles are
//! made once and kept, so that the hot path adds to an atomic and looks nothing up.

use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::config::Tier;
use crate::sql::Class;

/// Why the log or the metrics could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `RUST_LOG` or `PGBELAY_LOG` cannot be read.
    #[error("{variable} is not a log filter: {reason}; use a level (error, warn, info, debug, trace) or target=level")]
    Filter {
        /// The variable that was read.
        variable: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// `PGBELAY_LOG_FORMAT` names no format.
    #[error("PGBELAY_LOG_FORMAT is \"{0}\"; use text or json")]
    Format(String),
    /// A logger is installed already.
    #[error("the log is already set up: {0}")]
    Installed(String),
    /// The metrics recorder cannot be installed.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] BuildError),
    /// The thread that folds histograms cannot be started.
    #[error("the metrics thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// What `PGBELAY_LOG_FORMAT` asks for; text without it.
    pub fn from_env() -> Result<Self, TelemetryError> {
        match std::env::var("PGBELAY_LOG_FORMAT") {
            Ok(text) => Self::named(&text),
            Err(_) => Ok(LogFormat::Text),
        }
    }

    fn named(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "" | "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(TelemetryError::Format(other.to_owned())),
        }
    }
}

/// Sends log lines to standard error: `RUST_LOG`, else `PGBELAY_LOG`, else level info. Call it once.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = filter_from(|variable| std::env::var(variable).ok())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| TelemetryError::Installed(error.to_string()))
}

fn filter_from(env: impl Fn(&'static str) -> Option<String>) -> Result<EnvFilter, TelemetryError> {
    for variable in ["RUST_LOG", "PGBELAY_LOG"] {
        if let Some(text) = env(variable).filter(|text| !text.is_empty()) {
            return EnvFilter::try_new(text)
                .map_err(|error| TelemetryError::Filter { variable, reason: error.to_string() });
        }
    }
    Ok(EnvFilter::new("info"))
}

/// The process's metrics, for rendering.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    #[cfg(test)]
    pub(crate) fn of(recorder: &metrics_exporter_prometheus::PrometheusRecorder) -> Self {
        Self(recorder.handle())
    }

    /// Everything in Prometheus's text exposition format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// How often histogram samples are folded into their buckets. Until then each takes 24 bytes.
const FOLD_EVERY: Duration = Duration::from_secs(1);

/// Installs the process's metrics recorder. Call it once, before any [`TierMetrics`] or [`ProcessMetrics`] is made: a handle
/// made earlier counts nothing.
pub fn install_metrics() -> Result<Metrics, TelemetryError> {
    let handle = builder()?.install_recorder()?;
    describe();
    let folding = handle.clone();
    // Without this, samples would pile up for as long as nobody asks for /metrics.
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(FOLD_EVERY);
            folding.run_upkeep();
        }
    })?;
    Ok(Metrics(handle))
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), SECONDS)?;
        }
    }
    Ok(builder)
}

/// Upper bounds of the histograms' buckets, in seconds: from a cached point read to the longest statement of a tier.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0,
];

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

const SESSIONS: &str = "pgbelay_sessions";
const SESSIONS_PINNED: &str = "pgbelay_sessions_pinned";
const STATEMENTS: &str = "pgbelay_statements_total";
const STATEMENT_SECONDS: &str = "pgbelay_statement_duration_seconds";
const DENIALS: &str = "pgbelay_denials_total";
const LIMITS: &str = "pgbelay_limits_hit_total";
const CHECKOUT_SECONDS: &str = "pgbelay_pool_checkout_wait_seconds";
const POOL_MAX: &str = "pgbelay_pool_connections_max";
const POOL_OPEN: &str = "pgbelay_pool_connections_open";
const POOL_IDLE: &str = "pgbelay_pool_connections_idle";
const POOL_IN_USE: &str = "pgbelay_pool_connections_in_use";
const POOL_WAITING: &str = "pgbelay_pool_clients_waiting";
const UPSTREAM_ERRORS: &str = "pgbelay_upstream_errors_total";
const ACCEPTED: &str = "pgbelay_connections_accepted_total";
const REFUSED: &str = "pgbelay_connections_refused_total";
const AUTH_FAILURES: &str = "pgbelay_auth_failures_total";
const PROTOCOL_ERRORS: &str = "pgbelay_protocol_errors_total";
const AUDIT_LAG: &str = "pgbelay_audit_lag_seconds";
const AUDIT_FAILURES: &str = "pgbelay_audit_failures_total";
const RELOADS: &str = "pgbelay_config_reloads_total";
const BUILD: &str = "pgbelay_build_info";
const STARTED: &str = "pgbelay_start_time_seconds";

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

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Metrics of the process as a whole.
#[derive(Clone)]
pub struct ProcessMetrics {
    accepted: Counter,
    protocol_errors: Counter,
    audit_lag: Gauge,
    audit_failures: Counter,
    reloads_ok: Counter,
    reloads_failed: Counter,
}

impl ProcessMetrics {
    /// Makes the handles; see [`install_metrics`] for when.
    pub fn new() -> Self {
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!(STARTED).set(started.as_secs_f64());
        Self {
            accepted: counter!(ACCEPTED),
            protocol_errors: counter!(PROTOCOL_ERRORS),
            audit_lag: gauge!(AUDIT_LAG),
            audit_failures: counter!(AUDIT_FAILURES),
            reloads_ok: counter!(RELOADS, "outcome" => "ok"),
            reloads_failed: counter!(RELOADS, "outcome" => "failed"),
        }
    }

    /// A client connection was accepted.
    pub fn connection_accepted(&self) {
        self.accepted.increment(1);
    }

    /// A client connection was refused before authentication: `too_many_clients`, `tls_required`, `draining`, …
    pub fn connection_refused(&self, reason: &'static str) {
        counter!(REFUSED, "reason" => reason).increment(1);
    }

    /// A login was refused: `password`, `unknown_user`, `unknown_database`, `timeout`, …
    pub fn auth_failure(&self, reason: &'static str) {
        counter!(AUTH_FAILURES, "reason" => reason).increment(1);
    }

    /// A client sent what is not the protocol.
    pub fn protocol_error(&self) {
        self.protocol_errors.increment(1);
    }

    /// Age of the oldest audit record not on disk yet; zero when there is none.
    pub fn audit_lag(&self, age: Duration) {
        self.audit_lag.set(age.as_secs_f64());
    }

    /// How many audit records could not be written since the process started.
    pub fn audit_failures(&self, total: u64) {
        self.audit_failures.absolute(total);
    }

    /// The configuration was loaded again.
    pub fn config_reloaded(&self) {
        self.reloads_ok.increment(1);
    }

    /// The configuration could not be loaded again; the old one stays.
    pub fn config_reload_failed(&self) {
        self.reloads_failed.increment(1);
    }
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ProcessMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessMetrics")
    }
}

/// Every class, in the order in which [`class_index`] numbers them.
const CLASSES: [Class; 7] =
    [Class::Read, Class::Write, Class::Function, Class::Role, Class::Ddl, Class::Misc, Class::MiscSet];

fn class_index(class: Class) -> usize {
    match class {
        Class::Read => 0,
        Class::Write => 1,
        Class::Function => 2,
        Class::Role => 3,
        Class::Ddl => 4,
        Class::Misc => 5,
        Class::MiscSet => 6,
    }
}

/// The verdicts' names: those of [`Guards::verdict_name`](crate::policy::Guards::verdict_name), `confirm` and `deny`.
const VERDICTS: [&str; 5] = ["allow", "guarded", "read_only", "confirm", "deny"];

/// Which limit ended a statement or a session (DESIGN §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// A write changed too many rows.
    RowsWritten,
    /// A read returned too many rows.
    RowsReturned,
    /// A read returned too many bytes.
    BytesReturned,
    /// A statement took too long.
    StatementTime,
    /// A transaction was idle for too long.
    IdleInTransaction,
    /// A session lasted too long.
    SessionTime,
}

impl Limit {
    /// Its `kind` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::RowsWritten => "rows_written",
            Limit::RowsReturned => "rows_returned",
            Limit::BytesReturned => "bytes_returned",
            Limit::StatementTime => "statement_time",
            Limit::IdleInTransaction => "idle_in_transaction",
            Limit::SessionTime => "session_time",
        }
    }
}

/// What a pool has at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolGauges {
    /// Most connections it may open.
    pub max: u32,
    /// Connections open.
    pub open: u32,
    /// Of these, idle ones.
    pub idle: u32,
    /// Of these, those a session holds.
    pub in_use: u32,
    /// Sessions that wait for one.
    pub waiting: u32,
}

/// Metrics of one tier of one database.
pub struct TierMetrics {
    database: SharedString,
    tier: &'static str,
    sessions: Gauge,
    statements: [[Counter; VERDICTS.len()]; CLASSES.len()],
    statement_seconds: Histogram,
    checkout_seconds: Histogram,
    pool_max: Gauge,
    pool_open: Gauge,
    pool_idle: Gauge,
    pool_in_use: Gauge,
    pool_waiting: Gauge,
}

impl TierMetrics {
    /// Makes the handles of a database's tier; see [`install_metrics`] for when. All statement counters exist from then on,
    /// at zero: a first refusal must show as an increase.
    pub fn new(database: &str, tier: Tier) -> Self {
        let database = SharedString::from_owned(database.to_owned());
        let tier = tier.as_str();
        let labels = [("database", database.clone()), ("tier", SharedString::const_str(tier))];
        let statements = CLASSES.map(|class| {
            VERDICTS.map(|verdict| {
                counter!(STATEMENTS, "database" => database.clone(), "tier" => tier, "class" => class.as_str(),
                    "verdict" => verdict)
            })
        });
        Self {
            sessions: gauge!(SESSIONS, &labels),
            statements,
            statement_seconds: histogram!(STATEMENT_SECONDS, &labels),
            checkout_seconds: histogram!(CHECKOUT_SECONDS, &labels),
            pool_max: gauge!(POOL_MAX, &labels),
            pool_open: gauge!(POOL_OPEN, &labels),
            pool_idle: gauge!(POOL_IDLE, &labels),
            pool_in_use: gauge!(POOL_IN_USE, &labels),
            pool_waiting: gauge!(POOL_WAITING, &labels),
            database,
            tier,
        }
    }

    /// A session was authenticated.
    pub fn session_opened(&self) {
        self.sessions.increment(1.0);
    }

    /// A session ended.
    pub fn session_closed(&self) {
        self.sessions.decrement(1.0);
    }

    /// A statement was judged.
    pub fn statement(&self, class: Class, verdict: &'static str) {
        match VERDICTS.iter().position(|known| *known == verdict) {
            Some(index) => self.statements[class_index(class)][index].increment(1),
            None => counter!(STATEMENTS, "database" => self.database.clone(), "tier" => self.tier,
                "class" => class.as_str(), "verdict" => verdict)
            .increment(1),
        }
    }

    /// A statement's answer is complete, this long after it arrived.
    pub fn statement_seconds(&self, duration: Duration) {
        self.statement_seconds.record(duration.as_secs_f64());
    }

    /// A rule refused a statement.
    pub fn denied(&self, rule: &'static str) {
        counter!(DENIALS, "database" => self.database.clone(), "tier" => self.tier, "rule" => rule).increment(1);
    }

    /// A limit ended a statement or a session.
    pub fn limit(&self, limit: Limit) {
        counter!(LIMITS, "database" => self.database.clone(), "tier" => self.tier, "kind" => limit.as_str())
            .increment(1);
    }

    /// A session got its upstream connection after this long.
    pub fn checkout_wait(&self, duration: Duration) {
        self.checkout_seconds.record(duration.as_secs_f64());
    }

    /// The pool's state.
    pub fn pool(&self, now: PoolGauges) {
        self.pool_max.set(f64::from(now.max));
        self.pool_open.set(f64::from(now.open));
        self.pool_idle.set(f64::from(now.idle));
        self.pool_in_use.set(f64::from(now.in_use));
        self.pool_waiting.set(f64::from(now.waiting));
    }

    /// A session began to hold a connection because of `reason`: `temp_object`, `listen`, `advisory_lock`, …
    pub fn pinned(&self, reason: &'static str) {
        self.pin_gauge(reason).increment(1.0);
    }

    /// The state behind `reason` is gone.
    pub fn unpinned(&self, reason: &'static str) {
        self.pin_gauge(reason).decrement(1.0);
    }

    fn pin_gauge(&self, reason: &'static str) -> Gauge {
        gauge!(SESSIONS_PINNED, "database" => self.database.clone(), "tier" => self.tier, "reason" => reason)
    }

    /// An upstream connection could not be made or was lost: `connect`, `tls`, `auth`, `lost`, `protocol`, …
    pub fn upstream_error(&self, kind: &'static str) {
        counter!(UPSTREAM_ERRORS, "database" => self.database.clone(), "tier" => self.tier, "kind" => kind)
            .increment(1);
    }
}

impl std::fmt::Debug for TierMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TierMetrics({}:{})", self.database, self.tier)
    }
}

#[cfg(test)]
mod tests;
