//! Sessions that reach the server as their own role: each such user has a pool of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::TargetRuntime;
use crate::auth::ScramKeys;
use crate::config::{Origin, PoolLimits, UpstreamRole, User};
use crate::upstream::{Endpoint, PassThrough};

/// The users of one target that have connections. One whose password was changed stands here twice, until the sessions and
/// connections from before are gone.
#[derive(Debug, Default)]
pub(super) struct OwnPools(Mutex<HashMap<Arc<PassThrough>, Arc<TargetRuntime>>>);

impl TargetRuntime {
    /// Where a user's session goes, once it has proved by these keys who it is: to the shared pool, or to the user's own.
    pub fn of_user(self: &Arc<Self>, user: &User, keys: Option<ScramKeys>) -> Option<Arc<Self>> {
        match (user.origin, self.target.auth_query.as_ref().map(|query| query.upstream_role)) {
            (Origin::Configured, _) | (Origin::Database, Some(UpstreamRole::Shared)) => Some(Arc::clone(self)),
            (Origin::Database, Some(UpstreamRole::Own)) => {
                self.own_pool(&Arc::new(PassThrough { user: user.name.clone(), keys: keys? }))
            }
            (Origin::Database, None) => None,
        }
    }

    /// Where a session goes on that was at work on `old`; `None` when it would become another role on the server.
    pub(super) fn follow(self: &Arc<Self>, user: &User, old: &TargetRuntime) -> Option<Arc<Self>> {
        let own = old.pool.endpoint.pass_through();
        let new = self.of_user(user, own.map(|own| own.keys.clone()))?;
        (new.pool.endpoint.pass_through() == own).then_some(new)
    }

    fn own_pool(self: &Arc<Self>, own: &Arc<PassThrough>) -> Option<Arc<Self>> {
        let most = self.target.auth_query.as_ref()?.max_user_connections;
        let mut pools = self.own_pools.lock();
        if let Some(pool) = pools.get(own) {
            return Some(Arc::clone(pool));
        }
        let endpoint = Arc::new(Endpoint::of_user(&self.pool.endpoint, Arc::clone(own)));
        let limits = PoolLimits { min: 0, max: most, ..self.limits };
        let made = Arc::new(Self {
            catalog: Arc::clone(&self.catalog),
            catalog_loads: Arc::clone(&self.catalog_loads),
            catalog_source: Arc::clone(&self.catalog_source),
            statements: Arc::clone(&self.statements),
            ..Self::with_endpoint(endpoint, limits, Some(self))
        });
        pools.insert(Arc::clone(own), Arc::clone(&made));
        Some(made)
    }
}

impl OwnPools {
    /// Those there are.
    pub(super) fn all(&self) -> Vec<Arc<TargetRuntime>> {
        self.lock().values().cloned().collect()
    }

    /// Forgets those that have neither a session nor a connection, and maintains the others.
    pub(super) async fn maintain(&self) {
        self.lock().retain(|_, target| Arc::strong_count(target) > 1 || target.pool.usage().open > 0);
        for target in self.all() {
            if let Err(error) = target.pool.maintain().await {
                tracing::debug!(target = %target.name, %error, "a user's own pool cannot be maintained");
            }
            target.pool.check_health().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<PassThrough>, Arc<TargetRuntime>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
