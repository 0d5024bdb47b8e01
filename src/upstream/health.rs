//! Whether the servers are still there and what they were: the probe behind a closed gate, the look at a host in doubt, and
//! the check of connections that nobody uses.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Backoff;
use super::{ConnectError, Pool};

/// How often one idle connection of each host is asked for a sign of life, and the host's name for its addresses.
const CHECK: Duration = Duration::from_secs(10);

/// How often a host in doubt is looked at, at most.
const DOUBT: Duration = Duration::from_secs(1);

impl Pool {
    /// Knocks until the server answers, with growing pauses; the pool's gate is closed meanwhile.
    pub(super) fn start_probe(self: &Arc<Self>, error: &ConnectError) {
        let pool = Arc::downgrade(self);
        let mut backoff = Backoff::new();
        let mut pause = backoff.next(error);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.gate.needs_probe() {
                    return;
                }
                if pool.is_paused() {
                    continue;
                }
                match pool.endpoint.connect().await {
                    Ok(connection) => {
                        pool.admit(connection);
                        pool.gate.open();
                    }
                    Err(error) => {
                        pause = backoff.next(&error);
                        pool.gate.close(Arc::new(error));
                    }
                }
            }
        });
    }

    /// Looks whether a host is still there and what it should be; if not, its connections are retired. A server process may hear of
    /// a demotion before new connections do, so that a host which seems well is looked at once more.
    pub(super) fn doubt(self: &Arc<Self>, host: usize) {
        if self.is_paused() || !self.endpoint.is_doubt_due(host, DOUBT) {
            return;
        }
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if pool.look_at(host).await {
                tokio::time::sleep(DOUBT).await;
                pool.look_at(host).await;
            }
        });
    }

    /// Whether a host in doubt is well.
    async fn look_at(&self, host: usize) -> bool {
        match self.endpoint.connect_to(host).await {
            Ok(connection) => {
                self.admit(connection);
                return true;
            }
            Err(error) if error.is_of_host() => self.retire(host, &error),
            Err(error) => tracing::debug!(%error, "a host in doubt could not be looked at"),
        }
        false
    }

    /// Asks one idle connection of each host for a sign of life, now and then. A host that gives none has its connections
    /// retired, so that they are not lent: its machine may be gone without a word. So have addresses that its name does not have
    /// any more: a change in the DNS is followed, as by PgBouncer.
    pub async fn check_health(self: &Arc<Self>) {
        for host in 0..self.endpoint.target.hosts.len() {
            if !self.endpoint.is_check_due(host, CHECK) {
                continue;
            }
            self.follow_name(host).await;
            let Some(mut lease) = self.take_idle_of(host) else { continue };
            match self.endpoint.in_time(host, lease.connection().sync()).await {
                Ok(()) if lease.connection().link.is_suspect => lease.give_back(),
                Ok(()) => lease.put_back(),
                Err(error) => {
                    drop(lease);
                    self.retire(host, &error);
                }
            }
        }
        self.seek_standby().await;
    }

    async fn follow_name(&self, host: usize) {
        match self.endpoint.follow_name(host).await {
            Ok(false) => {}
            Ok(true) => {
                let host = self.endpoint.host(host);
                tracing::info!(%host, "the host's name has other addresses: connections to those it had are retired");
                self.close_idle_if(|connection| connection.cohort.is_retired());
            }
            Err(error) => tracing::debug!(%error, "the name of a host cannot be looked up; its connections are kept"),
        }
    }

    /// Where a standby is preferred and there was none: looks now and then whether there is one by now, and leaves the primary.
    async fn seek_standby(self: &Arc<Self>) {
        if self.is_paused() {
            return;
        }
        let left = self.endpoint.second_best_in_use(CHECK);
        if left.is_empty() {
            return;
        }
        match self.endpoint.connect().await {
            Ok(connection) if self.endpoint.is_second_best(&connection) => connection.close(),
            Ok(connection) => {
                left.into_iter().for_each(|host| self.retire_host(host));
                self.admit(connection);
            }
            Err(error) => tracing::debug!(%error, "no standby can be looked for"),
        }
    }

    fn retire(&self, host: usize, error: &ConnectError) {
        tracing::warn!(%error, "connections to the host are retired");
        self.retire_host(host);
    }

    /// No connection that a host has now is lent again.
    pub(super) fn retire_host(&self, host: usize) {
        self.endpoint.retire(host);
        self.close_idle_if(|connection| connection.host == host);
    }
}
