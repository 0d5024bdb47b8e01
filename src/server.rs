//! The process: one configuration at work, its pools and judges, all sessions, and what runs in the background.

mod catalog;
mod operate;
mod pass_through;
mod readiness;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use lru::LruCache;
use tokio::sync::{Notify, watch};

use crate::audit::{AuditError, AuditLog, Event, Record};
use crate::auth::{Decoy, LoginDelays, ScramError};
use crate::config::{self, Config, ConfigErrors, Origin, PoolLimits, Role, Target, Tier, User};
use crate::guard::Judge;
use crate::policy::sqlstate;
use crate::session::{Order, Sessions};
use crate::startup::Places;
use crate::telemetry::{PoolGauges, ProcessMetrics, TierMetrics};
use crate::tls::{self, TlsSetupError};
use crate::upstream::{
    CheckoutError, ConnectError, Endpoint, Lease, Parameters, Pause, Pool, Reach, ReplicaSet, ServerRole, Settings,
    SettingsError, SharedCatalog, Statements, UserLookup, empty_catalog,
};
use crate::wire::Report;
use catalog::CatalogLoads;
pub use operate::ServerOperator;
use pass_through::OwnPools;
pub use readiness::ServerReadiness;

/// Statements whose upstream names are remembered.
const INTERNED_STATEMENTS: NonZeroUsize = NonZeroUsize::new(5_000).unwrap();

/// Sets of start-up settings whose parameters are remembered for each target.
const GREETINGS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

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

/// One configuration at work.
pub struct Runtime {
    /// The configuration.
    pub config: Config,
    /// Counts the configurations of this process.
    pub generation: u64,
    /// TLS towards clients.
    pub tls: Option<tls::Acceptor>,
    targets: BTreeMap<(String, Tier), Arc<TargetRuntime>>,
    judges: Mutex<HashMap<(String, Role, PolicyHours), Arc<Judge>>>,
}

/// Which of a role's two policies a judge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PolicyHours {
    Ordinary,
    Peak,
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
    /// Finds users that the configuration does not know.
    pub lookup: Option<UserLookup>,
    own_pools: OwnPools,
    /// Whether an operator has paused its pools. Those of users that log in as their own role share it.
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
    catalog_loads: Arc<CatalogLoads>,
    /// Where it is loaded from.
    catalog_source: Arc<Endpoint>,
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

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runtime(generation {})", self.generation)
    }
}

impl Runtime {
    fn new(config: Config, generation: u64, old: Option<&Runtime>) -> Result<Self, TlsSetupError> {
        let tls = config.listen.tls.as_ref().map(tls::acceptor).transpose()?;
        let mut targets = BTreeMap::new();
        for (name, database) in &config.databases {
            for (tier, target) in &database.targets {
                let key = (name.clone(), *tier);
                let limits = config.pools.get(tier).copied().unwrap_or_else(|| config::default_pool(*tier));
                let before = old.and_then(|old| old.targets.get(&key));
                let at_work = match before.filter(|t| t.target == *target && t.limits == limits) {
                    Some(kept) => {
                        kept.renew_tls()?;
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

    /// The judge of a role on a target as the policy is at this moment; sessions share it and what it remembers.
    pub fn judge(&self, role: Role, target: &TargetRuntime, now: SystemTime) -> Option<Arc<Judge>> {
        let policy = self.config.policy(role, target.target.tier)?.at(now);
        let hours = if policy.is_of_peak_hours() { PolicyHours::Peak } else { PolicyHours::Ordinary };
        let mut judges = self.judges.lock().unwrap_or_else(PoisonError::into_inner);
        let judge = judges.entry((target.name.clone(), role, hours)).or_insert_with(|| {
            Arc::new(Judge::new(policy, target.target.database.clone(), Arc::clone(&target.catalog)))
        });
        Some(Arc::clone(judge))
    }

    /// What a running session goes on with under this configuration; `None` when its user or database is gone, or the user's
    /// role is another.
    pub fn resume(
        &self,
        user: &User,
        target: &TargetRuntime,
        now: SystemTime,
    ) -> Option<(Arc<Judge>, Arc<TargetRuntime>)> {
        let at_work = self.target(&target.target)?;
        let role = match user.origin {
            Origin::Configured => self.config.users.get(&user.name)?.role,
            Origin::Database => {
                // What the database would say now is not known.
                let roles = |of: &Target| of.auth_query.as_ref().map(|query| (query.role, query.groups.clone()));
                (roles(&at_work.target)? == roles(&target.target)?).then_some(user.role)?
            }
        };
        let at_work = at_work.follow(user, target)?;
        Some((self.judge(role, &at_work, now)?, at_work))
    }

    /// Which policies are in their peak hours, of those that have any.
    fn peaks(&self, now: SystemTime) -> Vec<bool> {
        let peaks = self.config.policies.values().filter_map(|policy| policy.peak.as_ref());
        peaks.map(|peak| peak.hours.contains(now)).collect()
    }

    fn forget_judgements(&self, target: &str) {
        let judges = self.judges.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, judge) in judges.iter().filter(|((name, ..), _)| name == target) {
            judge.forget();
        }
    }
}

impl TargetRuntime {
    /// `before`: what it was under another configuration.
    fn new(target: Arc<Target>, limits: PoolLimits, before: Option<&Self>) -> Result<Self, TlsSetupError> {
        let endpoint = Arc::new(Endpoint::new(Arc::clone(&target))?);
        let made = Self::with_endpoint(Arc::clone(&endpoint), limits, before);
        let replicas = |replicas| ReplicaSet::new(replicas, limits, Arc::clone(&made.pause));
        let replicas = target.replicas.as_ref().map(replicas).transpose()?;
        let lookup = target.auth_query.clone().map(|query| UserLookup::new(query, endpoint, Arc::clone(&made.pause)));
        Ok(Self { replicas, lookup, ..made })
    }

    /// `like`: whose pause and disabling it shares.
    fn with_endpoint(endpoint: Arc<Endpoint>, limits: PoolLimits, like: Option<&Self>) -> Self {
        let target = Arc::clone(&endpoint.target);
        let pause = like.map(|like| Arc::clone(&like.pause)).unwrap_or_default();
        Self {
            replicas: None,
            lookup: None,
            own_pools: OwnPools::default(),
            is_disabled: like.map(|like| Arc::clone(&like.is_disabled)).unwrap_or_default(),
            name: target.name(),
            metrics: TierMetrics::new(&target.database, target.tier),
            catalog_source: Arc::clone(&endpoint),
            pool: Pool::new(endpoint, limits, Arc::clone(&pause)),
            pause,
            statements: Arc::new(Statements::new(INTERNED_STATEMENTS)),
            target,
            limits,
            kept: Arc::default(),
            catalog: empty_catalog(),
            catalog_loads: Arc::default(),
            greetings: Mutex::new(LruCache::new(GREETINGS)),
            logged: Mutex::new(Some(String::new())),
        }
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

    /// A connection to such a server that is there at once; where it may be one to a replica, none.
    pub fn checkout_idle(&self, reach: Reach) -> Option<Lease> {
        if reach == Reach::Replica && self.replicas.is_some() {
            return None;
        }
        self.pool.checkout_idle()
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
        self.own_pools.maintain().await;
        let is_wanted = !self.pause.is_on() && (self.is_catalog_due() || self.catalog_loads.is_wanted());
        if outcome.is_ok() && self.pool.trouble().is_none() && is_wanted {
            outcome = self.refresh_catalog(server, self.catalog_loads.asked()).await.map_err(Arc::new);
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
        self.lookup.iter().for_each(UserLookup::reconnect);
    }

    /// Its pool, that of its replicas, and those of users that log in as their own role.
    fn pools(&self) -> Vec<Arc<Pool>> {
        let replicas = self.replicas.as_deref().map(|replicas| Arc::clone(&replicas.pool));
        let own = self.own_pools.all().into_iter().map(|own| Arc::clone(&own.pool));
        std::iter::once(Arc::clone(&self.pool)).chain(replicas).chain(own).collect()
    }

    /// Reads the files of certificates and keys again. The pools of users share the TLS of the target's own.
    fn renew_tls(&self) -> Result<(), TlsSetupError> {
        self.pool.endpoint.renew_tls()?;
        self.replicas.as_deref().map_or(Ok(()), |replicas| replicas.pool.endpoint.renew_tls())
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

    fn show_pool(&self) {
        let mut all = PoolGauges::default();
        // Several pools may go to one host.
        let mut hosts: BTreeMap<String, (Option<ServerRole>, u32)> = BTreeMap::new();
        for pool in self.pools() {
            let now = pool.usage();
            all.max += now.max;
            all.open += now.open;
            all.idle += now.idle;
            all.in_use += now.open.saturating_sub(now.idle);
            all.waiting += now.waiting;
            for host in pool.endpoint.hosts() {
                let (role, open) = hosts.entry(host.host).or_default();
                if role.is_none() || host.open > 0 {
                    *role = host.role.or(*role);
                }
                *open += host.open;
            }
        }
        for (host, (role, open)) in hosts {
            self.metrics.host(&host, role.map(ServerRole::as_str), open);
        }
        self.metrics.pool(all);
        self.metrics.paused(self.pause.is_on());
        for (host, lag) in self.replicas.iter().flat_map(|replicas| replicas.lags()) {
            self.metrics.replica_lag(&host, lag);
        }
    }
}
