//! What an operator sees from the inside: the log (tracing, to standard error) and the metrics (Prometheus).
//!
//! Every metric's name, labels and HELP text stand in [`METRICS`]; docs/metrics.md is the reference for people. Handles are
//! made once and kept, so that the hot path adds to an atomic and looks nothing up.

mod catalog;
mod log;

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;

use crate::config::Tier;
use crate::sql::Class;
use catalog::*;

pub use catalog::{Kind, METRICS, Metric};
pub use log::{LogFormat, init};

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

    /// A login was refused: `password`, `certificate`, `expired`, `unknown_database`, `timeout`, …
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
    pool_paused: Gauge,
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
            pool_paused: gauge!(POOL_PAUSED, &labels),
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

    /// A rule in report mode would have refused a statement.
    pub fn would_deny(&self, rule: &'static str) {
        counter!(WOULD_DENY, "database" => self.database.clone(), "tier" => self.tier, "rule" => rule).increment(1);
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

    /// Whether an operator has paused it.
    pub fn paused(&self, is_paused: bool) {
        self.pool_paused.set(if is_paused { 1.0 } else { 0.0 });
    }

    /// The connections open to one host; its role is `primary` or `standby`, if known.
    pub fn host(&self, host: &str, role: Option<&'static str>, open: u32) {
        let role = role.unwrap_or("unknown");
        // What it was before counts nothing any more.
        for known in ["primary", "standby", "unknown"] {
            let now = if known == role { open } else { 0 };
            gauge!(UPSTREAM_CONNECTIONS, "database" => self.database.clone(), "tier" => self.tier,
                "host" => host.to_owned(), "role" => known)
            .set(f64::from(now));
        }
    }

    /// How far a replica is behind; `None` when that is not known.
    pub fn replica_lag(&self, host: &str, lag: Option<Duration>) {
        gauge!(REPLICA_LAG, "database" => self.database.clone(), "tier" => self.tier, "host" => host.to_owned())
            .set(lag.map_or(f64::INFINITY, |lag| lag.as_secs_f64()));
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
