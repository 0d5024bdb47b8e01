//! One tier of one database at work.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::Server;
use super::catalog::CatalogLoads;
use super::pass_through::OwnPools;
use crate::config::{self, PoolLimits, Target};
use crate::policy::sqlstate;
use crate::telemetry::{PoolGauges, TierMetrics};
use crate::tls::TlsSetupError;
use crate::upstream::{
    CheckoutError, ConnectError, Endpoint, Lease, Parameters, Pause, Pool, Reach, ReplicaSet, ServerRole, Settings,
    SettingsError, SharedCatalog, Statements, UserLookup, empty_catalog,
};
use crate::wire::Report;

/// Statements whose upstream names are remembered.
const INTERNED_STATEMENTS: NonZeroUsize = NonZeroUsize::new(5_000).unwrap();

/// Sets of start-up settings whose parameters are remembered for each target.
const GREETINGS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

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
    pub(super) own_pools: OwnPools,
    /// Whether an operator has paused its pools. Those of users that log in as their own role share it.
    pub pause: Arc<Pause>,
    /// Whether an operator lets no new clients in; outlives a reload, as `pause` does.
    pub(super) is_disabled: Arc<AtomicBool>,
    /// Prepared statements by text.
    pub statements: Arc<Statements>,
    /// Its metrics.
    pub metrics: TierMetrics,
    pub(super) limits: PoolLimits,
    /// Connections that sessions keep for the sake of currval and lastval.
    pub(super) kept: Arc<AtomicU32>,
    pub(super) catalog: Arc<SharedCatalog>,
    pub(super) catalog_loads: Arc<CatalogLoads>,
    /// Where it is loaded from.
    pub(super) catalog_source: Arc<Endpoint>,
    pub(super) greetings: Mutex<LruCache<Settings, Parameters>>,
    /// What the log was last told of its reachability.
    pub(super) logged: Mutex<Option<String>>,
}

/// See [`TargetRuntime::keep`].
#[derive(Debug)]
pub struct Kept(Arc<AtomicU32>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl TargetRuntime {
    /// `before`: what it was under another configuration.
    pub(super) fn new(target: Arc<Target>, limits: PoolLimits, before: Option<&Self>) -> Result<Self, TlsSetupError> {
        let endpoint = Arc::new(Endpoint::new(Arc::clone(&target))?);
        let made = Self::with_endpoint(Arc::clone(&endpoint), limits, before);
        let replicas = |replicas| ReplicaSet::new(replicas, limits, Arc::clone(&made.pause));
        let replicas = target.replicas.as_ref().map(replicas).transpose()?;
        let lookup = target.auth_query.clone().map(|query| UserLookup::new(query, endpoint, Arc::clone(&made.pause)));
        Ok(Self { replicas, lookup, ..made })
    }

    /// `like`: whose pause and disabling it shares.
    pub(super) fn with_endpoint(endpoint: Arc<Endpoint>, limits: PoolLimits, like: Option<&Self>) -> Self {
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

    pub(super) async fn maintain(&self, server: &Server) {
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
    pub(super) fn reconnect(&self) {
        for pool in self.pools() {
            pool.reconnect();
        }
        self.lookup.iter().for_each(UserLookup::reconnect);
    }

    /// Its pool, that of its replicas, and those of users that log in as their own role.
    pub(super) fn pools(&self) -> Vec<Arc<Pool>> {
        let replicas = self.replicas.as_deref().map(|replicas| Arc::clone(&replicas.pool));
        let own = self.own_pools.all().into_iter().map(|own| Arc::clone(&own.pool));
        std::iter::once(Arc::clone(&self.pool)).chain(replicas).chain(own).collect()
    }

    /// Reads the files of certificates and keys again. The pools of users share the TLS of the target's own.
    pub(super) fn renew_tls(&self) -> Result<(), TlsSetupError> {
        self.pool.endpoint.renew_tls()?;
        self.replicas.as_deref().map_or(Ok(()), |replicas| replicas.pool.endpoint.renew_tls())
    }

    /// Whether an operator lets no new clients in.
    pub fn is_disabled(&self) -> bool {
        self.is_disabled.load(Ordering::Acquire)
    }

    /// The hosts in words: `db1:5432 (primary), db2:5432 (standby)`.
    pub(super) fn hosts(&self) -> String {
        let words = |pool: &Pool| {
            let hosts: Vec<String> = pool.endpoint.hosts().iter().map(ToString::to_string).collect();
            hosts.join(", ")
        };
        match &self.replicas {
            None => words(&self.pool),
            Some(replicas) => format!("{}; replicas: {}", words(&self.pool), words(&replicas.pool)),
        }
    }

    pub(super) fn show_pool(&self) {
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
