//! Read replicas of a tier: a pool of their own, and a watch over how far each is behind its primary.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{CheckoutError, ConnectError, Connection, Endpoint, Lease, Pause, Pool};
use crate::config::{PoolLimits, Replicas};
use crate::tls::TlsSetupError;

/// Which servers will do for a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the tier's `url` only.
    Primary,
    /// A replica as well.
    Replica,
}

/// The replicas of one database tier.
#[derive(Debug)]
pub struct ReplicaSet {
    /// Their pool.
    pub pool: Arc<Pool>,
    max_lag: Option<Duration>,
    /// As last looked at, by host; `None` when it is not known.
    lags: Mutex<Vec<Option<Duration>>>,
}

/// How often the lag is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A replica that does not answer within this time counts as behind.
const ANSWER: Duration = Duration::from_secs(2);

/// How far a standby is behind, in seconds; NULL when it cannot tell (Postgres documentation, "Recovery Information Functions").
///
/// The time since the last replayed transaction says nothing while the primary is idle, so it does not count when all that was
/// received is replayed. That holds only while the standby is connected: one that is cut off has received all it will get.
const LAG: &str = "
SELECT CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN 0
    WHEN pg_catalog.pg_last_wal_replay_lsn() OPERATOR(pg_catalog.>=) pg_catalog.pg_last_wal_receive_lsn()
         AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0
    ELSE pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
                                       pg_catalog.pg_last_xact_replay_timestamp())
END";

impl ReplicaSet {
    /// Makes the pool and begins to watch; needs a running Tokio runtime.
    pub fn new(replicas: &Replicas, limits: PoolLimits, pause: Arc<Pause>) -> Result<Arc<Self>, TlsSetupError> {
        let endpoint = Arc::new(Endpoint::new(Arc::clone(&replicas.target))?);
        let hosts = endpoint.target.hosts.len();
        let set = Arc::new(Self {
            pool: Pool::new(endpoint, limits, pause),
            max_lag: replicas.max_lag,
            lags: Mutex::new(vec![None; hosts]),
        });
        for host in 0..hosts {
            // Until it is known to be near enough it is not used.
            set.pool.endpoint.set_lagging(host, replicas.max_lag.is_some());
            tokio::spawn(watch(Arc::downgrade(&set), host));
        }
        Ok(set)
    }

    /// A connection to a replica; `None` when there is none that may be read from now. Only for one that is there, but busy, is
    /// waited.
    pub(crate) async fn checkout(&self, patience: Duration) -> Result<Option<Lease>, CheckoutError> {
        for patience in [Duration::ZERO, patience] {
            if !self.pool.endpoint.is_usable() {
                return Ok(None);
            }
            match self.pool.checkout(patience).await {
                Ok(mut lease) => {
                    lease.connection().link.is_replica = true;
                    return Ok(Some(lease));
                }
                Err(CheckoutError::Full { .. } | CheckoutError::Paused { .. }) if patience.is_zero() => {}
                Err(busy @ (CheckoutError::Full { .. } | CheckoutError::Paused { .. })) => return Err(busy),
                Err(CheckoutError::Connect(error)) => {
                    tracing::debug!(%error, "no replica can be used");
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// How far each host is behind; `None` when that is not known.
    pub fn lags(&self) -> Vec<(String, Option<Duration>)> {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        self.pool.endpoint.target.hosts.iter().map(ToString::to_string).zip(lags.iter().copied()).collect()
    }

    /// See [`Pool::maintain`]. That no replica can be reached is shown by its lag, and no error of the database.
    pub async fn maintain(&self) {
        if self.pool.endpoint.is_usable() {
            let _shown = self.pool.maintain().await;
        }
        self.pool.check_health().await;
    }

    /// Takes in what a look at a host has shown.
    fn note(&self, host: usize, lag: Result<Option<Duration>, ConnectError>) {
        let (known, why) = match lag {
            Ok(lag) => (lag, None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(noted) = self.lags.lock().unwrap_or_else(PoisonError::into_inner).get_mut(host) {
            *noted = known;
        }
        let is_lagging = self.max_lag.is_some_and(|max| known.is_none_or(|lag| lag > max));
        if !self.pool.endpoint.set_lagging(host, is_lagging) {
            return;
        }
        let name = self.pool.endpoint.host(host).to_string();
        if is_lagging {
            self.pool.retire_host(host);
            tracing::warn!(host = name, lag = ?known, why, "replica is not read from");
        } else {
            tracing::info!(host = name, lag = ?known, "replica is read from");
        }
    }
}

/// Looks at one host, again and again, on a connection of its own, until its set is gone.
async fn watch(set: Weak<ReplicaSet>, host: usize) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut connection = None;
    loop {
        tick.tick().await;
        let Some(set) = set.upgrade() else { return };
        if set.pool.is_paused() {
            // A pause is for a server that is to be left alone.
            connection.take().into_iter().for_each(Connection::close);
            continue;
        }
        let look = look(&set.pool.endpoint, host, &mut connection);
        let lag = match tokio::time::timeout(ANSWER, look).await {
            Ok(lag) => lag,
            Err(_) => Err(set.pool.endpoint.io(host, std::io::ErrorKind::TimedOut.into())),
        };
        if lag.is_err() {
            connection = None;
        }
        set.note(host, lag);
    }
}

async fn look(
    endpoint: &Arc<Endpoint>,
    host: usize,
    connection: &mut Option<Connection>,
) -> Result<Option<Duration>, ConnectError> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let mut opened = endpoint.connect_to(host).await?;
            opened.query("SET application_name = 'pgbelay lag'; SET statement_timeout = 2000").await?;
            connection.insert(opened)
        }
    };
    let rows = connection.query(LAG).await?;
    if connection.link.is_suspect {
        // Promoted: whether it will still do is found out by connecting again.
        return Err(ConnectError::Lagging);
    }
    let seconds = rows.first().and_then(|row| row.first()?.as_deref()?.parse::<f64>().ok());
    // A clock that is behind the primary's gives a time below zero.
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()))
}
