//! The process: one configuration at work, its pools and judges, all sessions, and what runs in the background.

mod operate;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use lru::LruCache;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use crate::admin::{Check, Readiness};
use crate::audit::{AuditError, AuditLog, Event, Record};
use crate::auth::{AuthError, Decoy};
use crate::config::{self, Config, ConfigErrors, PoolLimits, Role, Target, Tier, User};
use crate::guard::Judge;
use crate::policy::sqlstate;
use crate::session::{Order, Sessions};
use crate::telemetry::{PoolGauges, ProcessMetrics, TierMetrics};
use crate::tls::{self, TlsSetupError};
use crate::upstream::{
    CheckoutError, ConnectError, Endpoint, Lease, Parameters, Pause, Pool, Reach, ReplicaSet, ServerCatalog,
    ServerRole, Settings, SettingsError, SharedCatalog, Statements, empty_catalog,
};
use crate::wire::Report;
pub use operate::ServerOperator;

/// Statements whose upstream names are remembered.
const INTERNED_STATEMENTS: NonZeroUsize = NonZeroUsize::new(5_000).unwrap();

/// Sets of start-up settings whose parameters are remembered for each target.
const GREETINGS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// While the process stops, a session that has just begun has this long for its first statement: its client got a connection, and
/// should not find it closed before it could use it.
pub const FIRST_STATEMENT: Duration = Duration::from_secs(2);

/// How often pools are maintained.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// How often the server's catalog is loaded again.
const CATALOG_REFRESH: Duration = Duration::from_secs(60);

/// The process.
#[derive(Debug)]
pub struct Server {
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// The audit trail.
    pub audit: AuditLog,
    /// Answers for users that do not exist.
    pub decoy: Decoy,
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

/// One configuration at work.
pub struct Runtime {
    /// The configuration.
    pub config: Config,
    /// Counts the configurations of this process.
    pub generation: u64,
    /// TLS towards clients.
    pub tls: Option<TlsAcceptor>,
    targets: BTreeMap<(String, Tier), Arc<TargetRuntime>>,
    judges: Mutex<HashMap<(String, Role), Arc<Judge>>>,
}

/// One tier of one database at work. It outlives a reload that leaves it as it was.
#[derive(Debug)]
pub struct TargetRuntime {
    /// `app:prod`
    pub name: String,
    /// Its configuration.
    pub target: Arc<Target>,
    /// Its pool.
    pub pool: Arc<Pool>,
    /// Where its read-only sessions go.
    pub replicas: Option<Arc<ReplicaSet>>,
    /// Whether an operator has paused its pools.
    pub pause: Arc<Pause>,
    /// Whether an operator lets no new clients in; outlives a reload, as `pause` does.
    is_disabled: Arc<AtomicBool>,
    /// Prepared statements by text.
    pub statements: Arc<Statements>,
    /// Its metrics.
    pub metrics: TierMetrics,
    limits: PoolLimits,
    /// Connections that sessions keep for the sake of currval and lastval.
    kept: Arc<AtomicU32>,
    catalog: Arc<SharedCatalog>,
    greetings: Mutex<LruCache<Settings, Parameters>>,
    /// What the log was last told of its reachability.
    logged: Mutex<Option<String>>,
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

/// See [`TargetRuntime::keep`].
#[derive(Debug)]
pub struct Kept(Arc<AtomicU32>);

impl Drop for Kept {
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
    Auth(#[from] AuthError),
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

    /// Wakes sessions whose deadline has come, until the process stops.
    pub async fn keep_time(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Sessions::TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => self.sessions.wake_due(),
                () = self.stopped() => return,
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

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runtime(generation {})", self.generation)
    }
}

impl Runtime {
    fn new(config: Config, generation: u64, old: Option<&Runtime>) -> Result<Self, TlsSetupError> {
        let tls = config.listen.tls.as_ref().map(tls::server_config).transpose()?.map(TlsAcceptor::from);
        let mut targets = BTreeMap::new();
        for (name, database) in &config.databases {
            for (tier, target) in &database.targets {
                let key = (name.clone(), *tier);
                let limits = config.pools.get(tier).copied().unwrap_or_else(|| config::default_pool(*tier));
                let before = old.and_then(|old| old.targets.get(&key));
                let at_work = match before.filter(|t| t.target == *target && t.limits == limits) {
                    Some(kept) => {
                        for pool in kept.pools() {
                            pool.endpoint.renew_tls()?;
                        }
                        Arc::clone(kept)
                    }
                    None => Arc::new(TargetRuntime::new(Arc::clone(target), limits, before.map(|before| &**before))?),
                };
                targets.insert(key, at_work);
            }
        }
        Ok(Self { config, generation, tls, targets, judges: Mutex::new(HashMap::new()) })
    }

    /// The database tier at work.
    pub fn target(&self, target: &Target) -> Option<Arc<TargetRuntime>> {
        self.targets.get(&(target.database.clone(), target.tier)).cloned()
    }

    /// The judge of a role on a target; sessions share it and what it remembers.
    pub fn judge(&self, role: Role, target: &TargetRuntime) -> Option<Arc<Judge>> {
        let policy = self.config.policy(role, target.target.tier)?;
        let mut judges = self.judges.lock().unwrap_or_else(PoisonError::into_inner);
        let judge = judges.entry((target.name.clone(), role)).or_insert_with(|| {
            Arc::new(Judge::new(policy, target.target.database.clone(), Arc::clone(&target.catalog)))
        });
        Some(Arc::clone(judge))
    }

    /// What a running session goes on with under this configuration; `None` when its user or database is gone, or the user's
    /// role is another.
    pub fn resume(&self, user: &str, target: &TargetRuntime) -> Option<(Arc<Judge>, Arc<TargetRuntime>)> {
        let user: &User = self.config.users.get(user)?;
        let target = self.target(&target.target)?;
        Some((self.judge(user.role, &target)?, target))
    }

    fn forget_judgements(&self, target: &str) {
        let judges = self.judges.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, judge) in judges.iter().filter(|((name, _), _)| name == target) {
            judge.forget();
        }
    }
}

impl TargetRuntime {
    /// `before`: what it was under another configuration.
    fn new(target: Arc<Target>, limits: PoolLimits, before: Option<&Self>) -> Result<Self, TlsSetupError> {
        let endpoint = Arc::new(Endpoint::new(Arc::clone(&target))?);
        let pause = before.map(|before| Arc::clone(&before.pause)).unwrap_or_default();
        let replicas = |replicas| ReplicaSet::new(replicas, limits, Arc::clone(&pause));
        Ok(Self {
            replicas: target.replicas.as_ref().map(replicas).transpose()?,
            is_disabled: before.map(|before| Arc::clone(&before.is_disabled)).unwrap_or_default(),
            name: target.name(),
            metrics: TierMetrics::new(&target.database, target.tier),
            pool: Pool::new(endpoint, limits, Arc::clone(&pause)),
            pause,
            statements: Arc::new(Statements::new(INTERNED_STATEMENTS)),
            target,
            limits,
            kept: Arc::default(),
            catalog: empty_catalog(),
            greetings: Mutex::new(LruCache::new(GREETINGS)),
            logged: Mutex::new(Some(String::new())),
        })
    }

    /// The parameters a client with these settings is told at start-up, and the settings as all such sessions share them: then
    /// comparing them at each checkout is comparing a pointer.
    pub async fn greeting(
        &self,
        settings: &Settings,
        reach: Reach,
        patience: Duration,
    ) -> Result<Result<(Settings, Parameters), SettingsError>, CheckoutError> {
        let known = self
            .greetings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_key_value(settings)
            .map(|(settings, parameters)| (settings.clone(), parameters.clone()));
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        let mut lease = self.checkout(reach, patience).await?;
        let applied = lease.connection().apply(settings).await;
        if let Ok(parameters) = &applied {
            self.greetings.lock().unwrap_or_else(PoisonError::into_inner).put(settings.clone(), parameters.clone());
            lease.give_back();
        }
        Ok(applied.map(|parameters| (settings.clone(), parameters)))
    }

    /// The right to keep a connection for the sake of currval and lastval: two thirds of the pool at most, so that the rest goes
    /// round. `None` when there is no more.
    pub fn keep(&self) -> Option<Kept> {
        let most = self.limits.max * 2 / 3;
        let taken =
            self.kept.fetch_update(Ordering::AcqRel, Ordering::Acquire, |kept| (kept < most).then_some(kept + 1));
        taken.ok().map(|_| Kept(Arc::clone(&self.kept)))
    }

    /// A connection to such a server, waiting at most `patience` and the pool's `wait`. When no replica can be used, the
    /// primary does their work.
    ///
    /// Cancel safety: dropping it leaves the queue and loses nothing.
    pub async fn checkout(&self, reach: Reach, patience: Duration) -> Result<Lease, CheckoutError> {
        if reach == Reach::Replica
            && let Some(replicas) = &self.replicas
            && let Some(lease) = replicas.checkout(patience).await?
        {
            return Ok(lease);
        }
        self.pool.checkout(patience).await
    }

    /// What a client is told when no connection became free (SQLSTATE 53300).
    pub fn full(&self, max: u32, waited: Duration) -> Report {
        Report::error(
            sqlstate::TOO_MANY_CONNECTIONS,
            format!("no connection to {} became free within {}", self.name, config::format_duration(waited)),
        )
        .detail(format!("All {max} connections of the pool are in use."))
        .hint("Try again; end transactions sooner, or have pool.max raised for this tier.")
    }

    /// What a client is told that has waited for the end of a pause in vain (SQLSTATE 57P03).
    pub fn paused(&self, waited: Duration) -> Report {
        Report::error(sqlstate::CANNOT_CONNECT_NOW, format!("{} is paused", self.name))
            .detail(format!(
                "An operator has paused it, and it was not resumed within {}.",
                config::format_duration(waited)
            ))
            .hint("Nothing was sent to the server. Try again in a while.")
    }

    /// What a client is told when the server cannot be reached (SQLSTATE 08001, or 57P03 while it starts); the cause goes into
    /// log and metrics.
    pub fn unreachable(&self, error: &ConnectError) -> Report {
        self.metrics.upstream_error(error.kind());
        tracing::error!(target = %self.name, %error, "cannot connect upstream");
        Report::error(error.sqlstate(), format!("cannot connect to {}", self.name))
            .detail(error.client_text())
            .hint("Try again; whoever runs pgbelay finds the cause in its log.")
    }

    async fn maintain(&self, server: &Server) {
        // While it is paused, this closes what was given back, and opens nothing.
        let mut outcome = self.pool.maintain().await;
        self.pool.check_health().await;
        if let Some(replicas) = &self.replicas {
            replicas.maintain().await;
        }
        if outcome.is_ok() && self.pool.trouble().is_none() && !self.pause.is_on() && self.is_catalog_due() {
            match ServerCatalog::load(&self.pool.endpoint).await {
                Ok(catalog) => {
                    if !self.catalog.load().same_functions(&catalog) {
                        self.catalog.store(Arc::new(catalog));
                        server.runtime().forget_judgements(&self.name);
                    } else {
                        self.catalog.store(Arc::new(catalog));
                    }
                    // The server's own parameters may have changed with its configuration.
                    self.greetings.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
                Err(error) => outcome = Err(Arc::new(error)),
            }
        }
        if let Err(error) = &outcome {
            self.metrics.upstream_error(error.kind());
        }
        let trouble = outcome.err().map(|e| e.to_string()).or_else(|| self.pool.trouble());
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *logged != trouble {
            match &trouble {
                None => tracing::info!(target = %self.name, hosts = self.hosts(), "database reachable"),
                Some(error) => tracing::error!(target = %self.name, %error, "database not reachable"),
            }
            *logged = trouble;
        }
    }

    /// Closes every connection as soon as it is given back, idle ones at once.
    fn reconnect(&self) {
        for pool in self.pools() {
            pool.reconnect();
        }
    }

    /// Its pool, and that of its replicas.
    fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        std::iter::once(&self.pool).chain(self.replicas.as_deref().map(|replicas| &replicas.pool))
    }

    /// Whether an operator lets no new clients in.
    pub fn is_disabled(&self) -> bool {
        self.is_disabled.load(Ordering::Acquire)
    }

    /// The hosts in words: `db1:5432 (primary), db2:5432 (standby)`.
    fn hosts(&self) -> String {
        let words = |pool: &Pool| {
            let hosts: Vec<String> = pool.endpoint.hosts().iter().map(ToString::to_string).collect();
            hosts.join(", ")
        };
        match &self.replicas {
            None => words(&self.pool),
            Some(replicas) => format!("{}; replicas: {}", words(&self.pool), words(&replicas.pool)),
        }
    }

    fn is_catalog_due(&self) -> bool {
        self.catalog.load().age().is_none_or(|age| age >= CATALOG_REFRESH)
    }

    fn show_pool(&self) {
        let mut all = PoolGauges::default();
        for pool in self.pools() {
            let now = pool.usage();
            all.max += self.limits.max;
            all.open += now.open;
            all.idle += now.idle;
            all.in_use += now.open.saturating_sub(now.idle);
            all.waiting += now.waiting;
            for host in pool.endpoint.hosts() {
                self.metrics.host(&host.host, host.role.map(ServerRole::as_str), host.open);
            }
        }
        self.metrics.pool(all);
        self.metrics.paused(self.pause.is_on());
        for (host, lag) in self.replicas.iter().flat_map(|replicas| replicas.lags()) {
            self.metrics.replica_lag(&host, lag);
        }
    }
}

/// What `/readyz` asks.
#[derive(Debug)]
pub struct ServerReadiness(pub Arc<Server>);

impl Readiness for ServerReadiness {
    fn checks(&self) -> Vec<Check> {
        let server = &self.0;
        let check = |name: String, ok: bool, detail: String| Check { name, ok, detail };
        let mut checks = vec![
            check(
                "accepting".to_owned(),
                !server.is_draining(),
                if server.is_draining() { "stopping" } else { "accepting sessions" }.to_owned(),
            ),
            check(
                "audit".to_owned(),
                server.audit.is_healthy(),
                if server.audit.is_healthy() { "written" } else { "cannot be written" }.to_owned(),
            ),
        ];
        for target in server.runtime().targets.values() {
            // What an operator has paused is meant to be waited for: no reason to send clients elsewhere.
            let is_paused = target.pause.is_on();
            let is_reachable = is_paused || target.pool.trouble().is_none();
            let detail = match (is_paused, is_reachable) {
                (true, _) => "paused",
                (false, true) => "reachable",
                (false, false) => "not reachable",
            };
            checks.push(check(
                format!("database {}", target.name),
                is_reachable,
                format!("{detail}: {}", target.hosts()),
            ));
        }
        checks
    }
}
