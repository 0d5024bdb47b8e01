//! The process: one configuration at work, its pools and judges, all sessions, and what runs in the background.

mod catalog;
mod operate;
mod pass_through;
mod readiness;
mod runtime;
mod target;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::audit::{AuditError, AuditLog, Event, Record};
use crate::auth::{Decoy, LoginDelays, ScramError};
use crate::config::{self, Config, ConfigErrors, Tier};
use crate::session::{Order, Sessions};
use crate::startup::Places;
use crate::telemetry::ProcessMetrics;
use crate::tls::TlsSetupError;
pub use operate::ServerOperator;
pub use readiness::ServerReadiness;
pub use runtime::Runtime;
pub use target::{Kept, TargetRuntime};

/// While the process stops, a session that has just begun has this long for its first statement: its client got a connection, and
/// should not find it closed before it could use it.
pub const FIRST_STATEMENT: Duration = Duration::from_secs(2);

/// How often pools are maintained.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// The process.
#[derive(Debug)]
pub struct Server {
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// The audit trail.
    pub audit: AuditLog,
    /// Answers for users that do not exist.
    pub decoy: Decoy,
    /// Pauses after failed logins.
    pub login_delays: LoginDelays,
    /// Sessions by user and by database.
    pub places: Arc<Places>,
    /// Metrics of the process.
    pub metrics: ProcessMetrics,
    runtime: ArcSwap<Runtime>,
    /// Since when the process is stopping.
    draining: watch::Sender<Option<Instant>>,
    starting: Arc<AtomicUsize>,
    session_no: AtomicU64,
    started: i64,
    stop: watch::Sender<bool>,
    shutdown: Notify,
}

/// One of something that is counted, until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file has errors.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The audit trail cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The system lacks something.
    #[error(transparent)]
    Auth(#[from] ScramError),
}

impl Server {
    /// Puts a configuration to work; nothing listens yet.
    pub fn new(config: Config) -> Result<Arc<Self>, StartError> {
        let audit = AuditLog::open(&config.audit)?;
        let runtime = Runtime::new(config, 1, None)?;
        Ok(Arc::new(Self {
            sessions: Arc::new(Sessions::default()),
            audit,
            decoy: Decoy::new()?,
            login_delays: LoginDelays::default(),
            places: Arc::default(),
            metrics: ProcessMetrics::new(),
            runtime: ArcSwap::from_pointee(runtime),
            draining: watch::Sender::new(None),
            starting: Arc::default(),
            session_no: AtomicU64::new(1),
            started: chrono::Utc::now().timestamp(),
            stop: watch::Sender::new(false),
            shutdown: Notify::new(),
        }))
    }

    /// The configuration at work now.
    pub fn runtime(&self) -> Arc<Runtime> {
        self.runtime.load_full()
    }

    /// A new session's number, unique within the trail.
    pub fn next_session_id(&self) -> String {
        format!("{:x}-{:x}", self.started, self.session_no.fetch_add(1, Ordering::Relaxed))
    }

    /// Loads the configuration file again and takes it up: everything but the listen addresses. A bad file changes nothing.
    pub fn reload(&self) -> Result<(), StartError> {
        let old = self.runtime();
        let path: PathBuf = old.config.source.clone();
        let taken = config::load(&path)
            .map_err(StartError::from)
            .and_then(|config| Ok(Runtime::new(config, old.generation + 1, Some(&old))?));
        let mut record = Record::new(Event::ConfigReload);
        match taken {
            Ok(runtime) => {
                let admin = |config: &Config| config.admin.as_ref().map(|admin| admin.address);
                if runtime.config.listen.address != old.config.listen.address
                    || runtime.config.listen.reuse_port != old.config.listen.reuse_port
                    || admin(&runtime.config) != admin(&old.config)
                {
                    tracing::warn!("the addresses of [listen] and [admin], and reuse_port, change only with a restart");
                }
                if runtime.config.audit != old.config.audit {
                    tracing::warn!("[audit] changes only with a restart");
                }
                for gone in old
                    .targets
                    .iter()
                    .filter(|(key, t)| runtime.targets.get(key).is_none_or(|new| !Arc::ptr_eq(new, t)))
                {
                    gone.1.reconnect();
                }
                self.runtime.store(Arc::new(runtime));
                self.sessions.wake_all();
                self.metrics.config_reloaded();
                record.message = Some(format!("{} was loaded", path.display()));
                self.record(record);
                tracing::info!(file = %path.display(), "configuration loaded again");
                Ok(())
            }
            Err(error) => {
                self.metrics.config_reload_failed();
                record.message = Some(format!("{} was not loaded: {error}", path.display()));
                self.record(record);
                Err(error)
            }
        }
    }

    /// Asks the process to stop, as SIGTERM does.
    pub fn shut_down(&self) {
        self.shutdown.notify_one();
    }

    /// Resolves once [`Server::shut_down`] was called. Cancel safe.
    pub async fn shutdown_asked(&self) {
        self.shutdown.notified().await;
    }

    /// No new connections; sessions that hold none upstream end. Called again and again until they have: some begin only now.
    pub fn drain(&self) {
        self.draining.send_if_modified(|since| since.is_none() && since.replace(Instant::now()).is_none());
        self.sessions.order_all(Order::Drain);
    }

    /// Whether the process is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.borrow().is_some()
    }

    /// Whether the process is stopping for so long that nobody may log in any more: those who had connected when it began have
    /// had their time.
    pub fn refuses_logins(&self) -> bool {
        self.draining.borrow().is_some_and(|since| since.elapsed() >= FIRST_STATEMENT)
    }

    /// Resolves once the process is stopping. Cancel safe.
    pub async fn drain_begun(&self) {
        let mut draining = self.draining.subscribe();
        // The sender lives as long as the server.
        let _begun = draining.wait_for(Option::is_some).await;
    }

    /// Counts one connection that is on its way to a session, as long as it is kept.
    pub fn starting(&self) -> Counted {
        Counted::new(&self.starting)
    }

    /// Whether a session is left, or somebody who may still get one.
    pub fn is_busy(&self) -> bool {
        self.sessions.count() > 0 || (self.starting.load(Ordering::Acquire) > 0 && !self.refuses_logins())
    }

    /// Ends the background work.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when [`Server::stop`] is called. Cancel safe.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as the server.
        let _stopped = stop.wait_for(|stopped| *stopped).await;
    }

    /// Queues a record of the process's own.
    pub fn record(&self, record: Record) {
        if let Err(error) = self.audit.record(record) {
            tracing::error!(%error, "audit record lost");
        }
    }

    /// Wakes sessions whose deadline has come, and all of them when peak hours begin or end, until the process stops.
    pub async fn keep_time(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Sessions::TICK);
        let mut peaks = self.runtime().peaks(SystemTime::now());
        loop {
            tokio::select! {
                _ = tick.tick() => self.sessions.wake_due(),
                () = self.stopped() => return,
            }
            let now = self.runtime().peaks(SystemTime::now());
            if now != peaks {
                peaks = now;
                self.sessions.wake_all();
            }
        }
    }

    /// Maintains pools, catalogs and gauges, until the process stops.
    pub async fn maintain(self: Arc<Self>) {
        let mut tick = tokio::time::interval(MAINTENANCE);
        let mut working: HashMap<(String, Tier), tokio::task::JoinHandle<()>> = HashMap::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stopped() => return,
            }
            self.metrics.audit_lag(self.audit.lag());
            self.metrics.audit_failures(self.audit.failures());
            for (key, target) in &self.runtime().targets {
                target.show_pool();
                // A server that does not answer holds up its own maintenance only.
                if working.get(key).is_none_or(tokio::task::JoinHandle::is_finished) {
                    let (server, target) = (Arc::clone(&self), Arc::clone(target));
                    working.insert(key.clone(), tokio::spawn(async move { target.maintain(&server).await }));
                }
            }
        }
    }
}
