//! Where an upstream is: its hosts, the order in which they are tried, and what is known of them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;

use super::cancel::CancelTarget;
use super::cohort::Cohorts;
use super::open::{Address, resolve};
use super::{ConnectError, Connection, Holders, Link, ServerRole, login};
use crate::auth::ScramKeys;
use crate::config::{Host, LoadBalance, SessionAttrs, Target};
use crate::tls::{self, TlsSetupError};

/// A host that could not be used is tried after the others for this long.
const SET_BACK: Duration = Duration::from_secs(30);

/// Where an upstream is and how to get in: a target with its TLS made ready.
#[derive(Debug)]
pub struct Endpoint {
    /// The target.
    pub target: Arc<Target>,
    /// Read from files that may be replaced while the process runs.
    tls: Arc<ArcSwapOption<ClientConfig>>,
    /// As whom to log in, where it is not the target's own role.
    pass_through: Option<Arc<PassThrough>>,
    /// As many as the target has hosts.
    known: Vec<Known>,
}

/// A user that reaches the server as its own role, by the keys it has logged in with at the proxy.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PassThrough {
    /// The role's name.
    pub user: String,
    /// Its keys.
    pub keys: ScramKeys,
}

/// What is known of one host.
#[derive(Debug, Default)]
struct Known {
    /// By address, since a name may have several, and others later.
    cohorts: Cohorts,
    /// A replica too far behind to be read from.
    is_lagging: AtomicBool,
    /// Connections open.
    open: AtomicU32,
    /// Shared with those who log in there as their own role.
    holders: Arc<Holders>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    role: Option<ServerRole>,
    failed: Option<Instant>,
    checked: Option<Instant>,
    doubted: Option<Instant>,
    compared: Option<Instant>,
}

/// What an operator is shown of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Name and port.
    pub host: String,
    /// What it was when it was last connected to; `None` before that, and of a server before 14 that nobody asked.
    pub role: Option<ServerRole>,
    /// Connections open, in use or not.
    pub open: u32,
    /// Whether the latest attempt to use it failed, and it is tried after the others.
    pub is_set_back: bool,
    /// Whether it is a replica too far behind.
    pub is_lagging: bool,
}

impl fmt::Display for HostView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match self.role {
            _ if self.is_set_back => f.write_str(" (not used)"),
            _ if self.is_lagging => f.write_str(" (standby, lagging)"),
            Some(role) => write!(f, " ({})", role.as_str()),
            None => Ok(()),
        }
    }
}

impl Endpoint {
    /// Makes the TLS of a target ready.
    pub fn new(target: Arc<Target>) -> Result<Self, TlsSetupError> {
        let tls = Arc::new(ArcSwapOption::new(tls::client_config(&target)?));
        let known = target.hosts.iter().map(|_| Known::default()).collect();
        Ok(Self { target, tls, pass_through: None, known })
    }

    /// The same place for a user that logs in as its own role.
    pub fn of_user(shared: &Self, user: Arc<PassThrough>) -> Self {
        Self {
            target: Arc::clone(&shared.target),
            tls: Arc::clone(&shared.tls),
            pass_through: Some(user),
            known: shared.known.iter().map(|k| Known { holders: Arc::clone(&k.holders), ..Known::default() }).collect(),
        }
    }

    /// The user whose own role logs in here; `None` for the target's.
    pub fn pass_through(&self) -> Option<&Arc<PassThrough>> {
        self.pass_through.as_ref()
    }

    /// Reads the files of certificates and keys again: new connections use what they hold now.
    pub fn renew_tls(&self) -> Result<(), TlsSetupError> {
        self.tls.store(tls::client_config(&self.target)?);
        Ok(())
    }

    pub(super) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.load_full()
    }

    /// Connects and logs in at the first host that will do; each address has `connect_timeout`.
    ///
    /// Cancel safety: dropping it closes the half-made connection.
    pub async fn connect(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let mut failed = vec![];
        let mut second_best = None;
        for host in self.order() {
            match self.connect_to(host).await {
                Ok(connection) if self.is_second_best(&connection) => {
                    second_best.get_or_insert(connection);
                }
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failed.push(error),
            }
        }
        match (second_best, failed.pop()) {
            (Some(connection), _) => Ok(connection),
            (None, None) => Err(ConnectError::Lagging),
            (None, Some(only)) if failed.is_empty() => Err(only),
            (None, Some(last)) => {
                failed.push(last);
                Err(ConnectError::NoHost(failed))
            }
        }
    }

    /// Connects and logs in at one host, at the first of its addresses that will do. Names are resolved anew each time.
    ///
    /// Cancel safety: dropping it closes the half-made connection.
    pub async fn connect_to(self: &Arc<Self>, host: usize) -> Result<Connection, ConnectError> {
        let connected = self.connect_to_address_of(host).await;
        if let Some(known) = self.known.get(host) {
            let mut notes = known.notes();
            notes.failed = connected.is_err().then(Instant::now);
            match &connected {
                Ok(connection) => notes.role = connection.role,
                Err(ConnectError::Unsuitable { found, .. }) => notes.role = Some(*found),
                Err(_) => notes.role = None,
            }
        }
        connected
    }

    async fn connect_to_address_of(self: &Arc<Self>, host: usize) -> Result<Connection, ConnectError> {
        let mut addresses = self.in_time(host, resolve(self.host(host))).await?;
        if self.target.load_balance == LoadBalance::Random {
            shuffle(&mut addresses);
        }
        let mut failed = None;
        for address in addresses {
            match self.in_time(host, self.log_in(host, address)).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| self.io(host, std::io::ErrorKind::AddrNotAvailable.into())))
    }

    async fn log_in(self: &Arc<Self>, host: usize, address: Address) -> Result<Connection, ConnectError> {
        // Before the login: what happens to the host from now on concerns this connection.
        let cohort = self.known.get(host).map(|known| known.cohorts.at(&address)).unwrap_or_default();
        let mut stream = self.open(host, &address).await?;
        let logged_in = login::login(&mut stream, self, host).await?;
        let cancel = CancelTarget::new(Arc::clone(self), host, address, logged_in.pid, logged_in.key);
        let now = Instant::now();
        let holders = self.known.get(host).map(|known| Arc::clone(&known.holders)).unwrap_or_default();
        let link = Link::of_process(logged_in.pid, logged_in.parameters, holders);
        let counted = Counted::new(self, host);
        let cancel = Arc::new(cancel);
        let role = ServerRole::told(&link.parameters);
        let mut connection =
            Connection { stream, link, cancel, host, role, cohort, opened: now, idle_since: now, _counted: counted };
        let wanted = self.target.session_attrs;
        if wanted != SessionAttrs::Any {
            let found = connection.ask_role().await?;
            if !found.suits(wanted) {
                connection.close();
                let Host { name, port } = self.host(host).clone();
                return Err(ConnectError::Unsuitable { host: name, port, found, wanted: wanted.as_str() });
            }
        }
        Ok(connection)
    }

    /// Whether it is to a primary, where a standby is preferred.
    pub(super) fn is_second_best(&self, connection: &Connection) -> bool {
        let is_primary = connection.role.is_some_and(|role| !role.is_standby);
        self.target.session_attrs == SessionAttrs::PreferStandby && is_primary
    }

    /// Primaries in use where a standby is preferred, of which it is time to see whether there is something better; if so, the
    /// next time is after `interval`.
    pub(super) fn second_best_in_use(&self, interval: Duration) -> Vec<usize> {
        if self.target.session_attrs != SessionAttrs::PreferStandby {
            return vec![];
        }
        let is_meant = |known: &Known| {
            let mut notes = known.notes();
            notes.role.is_some_and(|role| !role.is_standby)
                && known.is_in_use()
                && is_due(&mut notes.compared, interval)
        };
        (0..self.known.len()).filter(|&host| self.known.get(host).is_some_and(is_meant)).collect()
    }

    /// The hosts to try, in this order: as the target says, with those that could not be used lately at the end. Where it takes a
    /// primary, the one in use goes first: another that comes up beside it was the primary once, and nobody has told it that it
    /// is no more.
    fn order(&self) -> Vec<usize> {
        let mut hosts: Vec<usize> = (0..self.known.len())
            .filter(|&host| self.known.get(host).is_some_and(|k| !k.is_lagging.load(Ordering::Relaxed)))
            .collect();
        if self.target.load_balance == LoadBalance::Random {
            shuffle(&mut hosts);
        }
        let keeps = matches!(self.target.session_attrs, SessionAttrs::ReadWrite | SessionAttrs::Primary);
        hosts.sort_by_key(|&host| {
            let is_set_back = self.notes_of(host).is_some_and(|notes| notes.is_set_back());
            (is_set_back, keeps && !self.known.get(host).is_some_and(Known::is_in_use))
        });
        hosts
    }

    /// Whether there is a host that may be used: not all of them lag.
    pub fn is_usable(&self) -> bool {
        self.known.iter().any(|known| !known.is_lagging.load(Ordering::Relaxed))
    }

    /// What is known of each host, in the order of the target.
    pub fn hosts(&self) -> Vec<HostView> {
        let view = |(host, known): (&Host, &Known)| {
            let notes = known.notes();
            HostView {
                host: host.to_string(),
                role: notes.role,
                open: known.open.load(Ordering::Relaxed),
                is_set_back: notes.is_set_back(),
                is_lagging: known.is_lagging.load(Ordering::Relaxed),
            }
        };
        self.target.hosts.iter().zip(&self.known).map(view).collect()
    }

    /// Retires every connection that a host has now.
    pub(super) fn retire(&self, host: usize) {
        if let Some(known) = self.known.get(host) {
            known.cohorts.retire();
        }
    }

    /// Retires the connections to addresses that a host's name does not have any more; returns whether there were any.
    pub(super) async fn follow_name(&self, host: usize) -> Result<bool, ConnectError> {
        let Host { name, .. } = self.host(host);
        if self.host(host).is_socket() || name.parse::<IpAddr>().is_ok() {
            return Ok(false);
        }
        let addresses = self.in_time(host, resolve(self.host(host))).await?;
        // A name without any is a mistake that will be mended, and no reason to close what works.
        Ok(!addresses.is_empty() && self.known.get(host).is_some_and(|known| known.cohorts.retire_all_but(&addresses)))
    }

    /// Notes how far behind a replica is; returns whether that is a change.
    pub(super) fn set_lagging(&self, host: usize, is_lagging: bool) -> bool {
        self.known.get(host).is_some_and(|known| known.is_lagging.swap(is_lagging, Ordering::AcqRel) != is_lagging)
    }

    /// Whether it is time for a look at a host's health; if so, the next is due after `interval`.
    pub(super) fn is_check_due(&self, host: usize, interval: Duration) -> bool {
        self.notes_of(host).is_some_and(|mut notes| is_due(&mut notes.checked, interval))
    }

    /// Whether a host in doubt is looked at now, rather than having been just before.
    pub(super) fn is_doubt_due(&self, host: usize, interval: Duration) -> bool {
        self.notes_of(host).is_some_and(|mut notes| is_due(&mut notes.doubted, interval))
    }

    /// The host of this number; the first for one that does not exist, which no connection has.
    pub(super) fn host(&self, host: usize) -> &Host {
        &self.target.hosts[host.min(self.target.hosts.len() - 1)]
    }

    pub(super) async fn in_time<T>(
        &self,
        host: usize,
        connecting: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        match tokio::time::timeout(self.target.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                let Host { name, port } = self.host(host).clone();
                Err(ConnectError::Timeout { host: name, port, seconds: self.target.connect_timeout.as_secs() })
            }
        }
    }

    pub(super) fn io(&self, host: usize, source: std::io::Error) -> ConnectError {
        let Host { name, port } = self.host(host).clone();
        ConnectError::Io { host: name, port, source }
    }

    fn notes_of(&self, host: usize) -> Option<std::sync::MutexGuard<'_, Notes>> {
        self.known.get(host).map(Known::notes)
    }
}

/// One connection of a host, as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<Endpoint>, usize);

impl Counted {
    fn new(endpoint: &Arc<Endpoint>, host: usize) -> Self {
        if let Some(known) = endpoint.known.get(host) {
            known.open.fetch_add(1, Ordering::Relaxed);
        }
        Self(Arc::clone(endpoint), host)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(known) = self.0.known.get(self.1) {
            known.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Known {
    fn is_in_use(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn is_set_back(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < SET_BACK)
    }
}

fn is_due(last: &mut Option<Instant>, interval: Duration) -> bool {
    let is_due = last.is_none_or(|at| at.elapsed() >= interval);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

/// Puts them in random order (Fisher and Yates).
fn shuffle<T>(items: &mut [T]) {
    for end in (1..items.len()).rev() {
        let within = end as u64 + 1;
        items.swap(end, usize::try_from(random() % within).unwrap_or(0));
    }
}

/// A random number, good enough to spread load: the standard library seeds its hashers so.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Tier};

    const VERIFIER: &str = "SCRAM-SHA-256$4096:TuxPUSGMeJxZeM7d/JbVkA==$wZN/uzNK/LMlmob87gCfCp6QSsCmCCJCp/GyQUrwM+I=:gQZ6cy6lnChWpS02mmUowNrtA65iuQu/pqtI6aQkLg0=";

    fn endpoint(parameters: &str) -> Arc<Endpoint> {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:1\"\n[audit]\npath = \"a.jsonl\"\n[users.u]\nrole = \"service\"\n\
             password_env = \"P\"\n[databases.app]\nint = {{ url = \"postgres://u@a,b/app?{parameters}\" }}"
        );
        let config = config::parse(&text, Path::new("c.toml"), &|_| Some(VERIFIER.to_owned()))
            .unwrap_or_else(|e| panic!("{e}"))
            .config;
        Arc::new(Endpoint::new(Arc::clone(&config.databases["app"].targets[&Tier::Int])).unwrap())
    }

    /// A failover from `a` to `b`, and `a` comes back as the primary that it was.
    #[test]
    fn the_primary_in_use_goes_first() {
        for (attrs, expected) in [("read-write", [1, 0]), ("primary", [1, 0]), ("any", [0, 1]), ("standby", [0, 1])] {
            let endpoint = endpoint(&format!("target_session_attrs={attrs}"));
            assert_eq!(endpoint.order(), [0, 1], "{attrs}");
            let in_use = Counted::new(&endpoint, 1);
            assert_eq!(endpoint.order(), expected, "{attrs}");
            endpoint.notes_of(1).unwrap().failed = Some(Instant::now());
            assert_eq!(endpoint.order(), [0, 1], "{attrs}: it cannot be used any more");
            drop(in_use);
        }
    }
}
