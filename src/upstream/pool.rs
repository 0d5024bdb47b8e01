//! The pool of one database tier: few connections, many sessions, oldest waiter first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::gate::{Entry, Gate};
use super::{ConnectError, Connection, Endpoint, Pause};
use crate::config::PoolLimits;

/// Why no connection could be had.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// All connections were in use for the whole wait (SQLSTATE 53300).
    #[error("all {max} connections were in use for {waited:?}")]
    Full {
        /// The pool's size.
        max: u32,
        /// How long the session waited.
        waited: Duration,
    },
    /// An operator has paused it for the whole wait (SQLSTATE 57P03).
    #[error("paused for {waited:?}")]
    Paused {
        /// How long the session waited.
        waited: Duration,
    },
    /// A new connection could not be made (SQLSTATE 08001, or 57P03 while the server starts).
    #[error(transparent)]
    Connect(Arc<ConnectError>),
}

/// A pool.
#[derive(Debug)]
pub struct Pool {
    /// Where its connections go.
    pub endpoint: Arc<Endpoint>,
    limits: PoolLimits,
    /// One permit a connection that may be in use. Tokio's semaphore is fair: the oldest waiter goes first, and only it wakes.
    slots: Arc<Semaphore>,
    idle: Mutex<VecDeque<Box<Connection>>>,
    pub(super) gate: Gate,
    pause: Arc<Pause>,
    open: AtomicU32,
    waiting: AtomicU32,
}

/// A connection on loan. Dropping it closes the connection; only [`Lease::give_back`] returns it.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    connection: Option<Box<Connection>>,
    _slot: OwnedSemaphorePermit,
}

/// A connection that nobody uses, as operators are shown it.
#[derive(Clone, Debug)]
pub struct IdleConnection {
    /// Name and port of its server.
    pub host: String,
    /// The server's process.
    pub pid: u32,
    /// How long it is open.
    pub age: Duration,
    /// How long nobody has used it.
    pub idle: Duration,
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Most connections it may open.
    pub max: u32,
    /// Connections open, idle or in use.
    pub open: u32,
    /// Connections idle.
    pub idle: u32,
    /// Sessions waiting.
    pub waiting: u32,
}

impl Pool {
    /// An empty pool; [`Pool::maintain`] fills it to `min`.
    pub fn new(endpoint: Arc<Endpoint>, limits: PoolLimits, pause: Arc<Pause>) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(limits.max as usize));
        Arc::new(Self {
            endpoint,
            limits,
            gate: Gate::new(Arc::clone(&slots)),
            slots,
            pause,
            idle: Mutex::new(VecDeque::new()),
            open: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        })
    }

    /// The most recently used connection, if one is idle and nobody waits for it. Costs no future: nearly always it is there.
    pub fn checkout_idle(self: &Arc<Self>) -> Option<Lease> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        // No connection is fit to be lent during a pause.
        self.take_idle().map(|connection| self.lend(connection, slot))
    }

    /// A connection, the most recently used first, waiting at most `patience`, and at most the pool's `wait`: for one to become
    /// free, for the end of a pause, or for a server that cannot be reached now.
    ///
    /// Cancel safety: dropping it leaves the queue and loses nothing.
    pub async fn checkout(self: &Arc<Self>, patience: Duration) -> Result<Lease, CheckoutError> {
        let patience = patience.min(self.limits.wait);
        let mut deadline = None;
        loop {
            let slot = match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(slot) => slot,
                Err(_) => {
                    self.wait_for_slot(*deadline.get_or_insert_with(|| Instant::now() + patience), patience).await?
                }
            };
            if self.pause.is_on() {
                drop(slot);
                self.wait_for_resume(*deadline.get_or_insert_with(|| Instant::now() + patience), patience).await?;
                continue;
            }
            if let Some(connection) = self.take_idle() {
                return Ok(self.lend(connection, slot));
            }
            match self.gate.enter(slot) {
                Entry::Go(slot) => {
                    let until = *deadline.get_or_insert_with(|| Instant::now() + patience);
                    match Box::pin(self.connect()).await {
                        Ok(connection) => {
                            let lease = self.lend(connection, slot);
                            // Paused meanwhile: the connection is closed again.
                            if !self.pause.is_on() {
                                return Ok(lease);
                            }
                        }
                        // The gate is closed now: it is waited for.
                        Err(error) if error.is_passing() && Instant::now() < until => {}
                        Err(error) => return Err(CheckoutError::Connect(error)),
                    }
                }
                Entry::Wait => {}
                Entry::Fail(error) => return Err(CheckoutError::Connect(error)),
            }
        }
    }

    /// What keeps the server from being reached; `None` when nothing does.
    pub fn trouble(&self) -> Option<String> {
        match self.gate.trouble() {
            Some(error) => Some(error.to_string()),
            None if self.gate.has_connected() => None,
            None => Some("not connected yet".to_owned()),
        }
    }

    /// How full it is.
    pub fn usage(&self) -> PoolUse {
        PoolUse {
            max: self.limits.max,
            open: self.open.load(Ordering::Relaxed),
            idle: u32::try_from(self.lock().len()).unwrap_or(u32::MAX),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Closes what is idle too long or too old, and opens connections up to `min`. Called every second or so.
    pub async fn maintain(self: &Arc<Self>) -> Result<(), Arc<ConnectError>> {
        let mut has_lost = false;
        let stale: Vec<Box<Connection>> = {
            let mut idle = self.lock();
            let mut kept = VecDeque::with_capacity(idle.len());
            let mut stale = vec![];
            let mut open = self.open.load(Ordering::Relaxed);
            for connection in idle.drain(..) {
                let too_idle = connection.idle_since.elapsed() >= self.limits.idle && open > self.limits.min;
                let is_lost = !is_open(&connection);
                has_lost |= is_lost;
                if is_lost || too_idle || !self.is_fit(&connection, Instant::now()) {
                    open -= 1;
                    stale.push(connection);
                } else {
                    kept.push_back(connection);
                }
            }
            *idle = kept;
            stale
        };
        for connection in stale {
            self.closed();
            connection.close();
        }
        if self.pause.is_on() {
            return Ok(());
        }
        // A server that was never reached, or may be gone, is tried even where no connection is kept.
        let is_in_doubt = has_lost || !self.gate.has_connected();
        let wanted = if is_in_doubt { self.limits.min.max(1) } else { self.limits.min };
        // While the gate is closed its own probe knocks.
        while self.open.load(Ordering::Relaxed) < wanted && self.gate.trouble().is_none() {
            // A slot is held while connecting, so that `max` holds.
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            let connection = self.connect().await?;
            self.lend(connection, slot).give_back();
        }
        Ok(())
    }

    /// Closes every connection: the idle ones now, those in use when they are given back.
    pub fn reconnect(&self) {
        for host in 0..self.endpoint.target.hosts.len() {
            self.endpoint.retire(host);
        }
        self.close_idle_if(|_| true);
    }

    /// Whether an operator has paused it.
    pub fn is_paused(&self) -> bool {
        self.pause.is_on()
    }

    /// The idle connections, the longest unused first.
    pub fn idle_connections(&self) -> Vec<IdleConnection> {
        let view = |connection: &Connection| IdleConnection {
            host: self.endpoint.host(connection.host).to_string(),
            pid: connection.cancel.pid(),
            age: connection.opened.elapsed(),
            idle: connection.idle_since.elapsed(),
        };
        self.lock().iter().map(|connection| view(connection)).collect()
    }

    /// Closes the idle connections that these are.
    pub(super) fn close_idle_if(&self, is_meant: impl Fn(&Connection) -> bool) {
        let meant: Vec<Box<Connection>> = {
            let mut idle = self.lock();
            let (meant, kept): (VecDeque<_>, VecDeque<_>) = idle.drain(..).partition(|connection| is_meant(connection));
            *idle = kept;
            meant.into()
        };
        for connection in meant {
            self.closed();
            connection.close();
        }
    }

    /// The most recently used connection that can be lent.
    fn take_idle(&self) -> Option<Box<Connection>> {
        loop {
            let connection = self.lock().pop_back()?;
            if self.is_fit(&connection, Instant::now()) && is_open(&connection) {
                return Some(connection);
            }
            self.closed();
        }
    }

    /// Neither too old, nor retired, nor of a tier that is paused.
    fn is_fit(&self, connection: &Connection, now: Instant) -> bool {
        now.saturating_duration_since(connection.opened) < self.limits.lifetime
            && !connection.cohort.is_retired()
            && !self.pause.is_on()
    }

    /// Takes an idle connection to a host out of the pool, the longest unused, together with a slot.
    pub(super) fn take_idle_of(self: &Arc<Self>, host: usize) -> Option<Lease> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let connection = {
            let mut idle = self.lock();
            let at = idle.iter().position(|connection| connection.host == host)?;
            idle.remove(at)?
        };
        Some(self.lend(connection, slot))
    }

    async fn wait_for_slot(&self, deadline: Instant, waited: Duration) -> Result<OwnedSemaphorePermit, CheckoutError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&self.waiting);
        match tokio::time::timeout_at(deadline.into(), Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) if self.pause.is_on() => Err(CheckoutError::Paused { waited }),
            Ok(Err(_)) | Err(_) => Err(match self.gate.trouble() {
                Some(error) => CheckoutError::Connect(error),
                None => CheckoutError::Full { max: self.limits.max, waited },
            }),
        }
    }

    async fn wait_for_resume(&self, deadline: Instant, waited: Duration) -> Result<(), CheckoutError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&self.waiting);
        let resumed = tokio::time::timeout_at(deadline.into(), self.pause.over()).await;
        resumed.map_err(|_| CheckoutError::Paused { waited })
    }

    async fn connect(self: &Arc<Self>) -> Result<Box<Connection>, Arc<ConnectError>> {
        match self.endpoint.connect().await {
            Ok(connection) => {
                self.open.fetch_add(1, Ordering::Relaxed);
                self.gate.open();
                Ok(Box::new(connection))
            }
            Err(error) => {
                let error = Arc::new(error);
                if self.gate.close(Arc::clone(&error)) {
                    self.start_probe(&error);
                }
                Err(error)
            }
        }
    }

    /// Takes in a connection that was made without a slot, if there is room for it.
    pub(super) fn admit(&self, connection: Connection) {
        let is_room = self.open.fetch_add(1, Ordering::Relaxed) < self.limits.max;
        if is_room && self.is_fit(&connection, Instant::now()) {
            self.lock().push_back(Box::new(connection));
        } else {
            self.closed();
            connection.close();
        }
    }

    fn lend(self: &Arc<Self>, connection: Box<Connection>, slot: OwnedSemaphorePermit) -> Lease {
        Lease { pool: Arc::clone(self), connection: Some(connection), _slot: slot }
    }

    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Box<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            // The field is taken only by `give_back` and `drop`, which consume the lease.
            None => unreachable!("a lease has its connection until it ends"),
        }
    }

    /// Returns the connection for the next session, if it is clean; closes it otherwise.
    pub fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take() {
            let now = Instant::now();
            if connection.link.is_clean() && self.pool.is_fit(&connection, now) {
                if connection.link.is_suspect {
                    connection.link.is_suspect = false;
                    self.pool.doubt(connection.host);
                }
                connection.idle_since = now;
                self.pool.lock().push_back(connection);
            } else {
                self.connection = Some(connection);
            }
        }
    }

    /// Returns the connection as if it had not been lent: it was only looked at.
    pub(super) fn put_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.lock().push_front(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.closed();
            if connection.link.is_suspect {
                self.pool.doubt(connection.host);
            }
            connection.close();
        }
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the server still holds an idle connection open: nothing may be readable on it, neither an end nor a message.
fn is_open(connection: &Connection) -> bool {
    use crate::stream::Stream;
    let mut byte = [0_u8; 1];
    let read = match &connection.stream {
        Stream::Plain(tcp) => tcp.try_read(&mut byte),
        Stream::Unix(unix) => unix.try_read(&mut byte),
        // Under TLS a readable socket may be a session ticket, so only an end can be told, by peeking.
        Stream::TlsClient(tls) => return !ended(tls.get_ref().0),
        Stream::TlsServer(tls) => return !ended(tls.get_ref().0),
    };
    matches!(read, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

fn ended(tcp: &tokio::net::TcpStream) -> bool {
    use std::future::Future;
    let mut byte = [0_u8; 1];
    let mut buffer = tokio::io::ReadBuf::new(&mut byte);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut peek = std::pin::pin!(std::future::poll_fn(|cx| tcp.poll_peek(cx, &mut buffer)));
    matches!(peek.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(0) | Err(_)))
}
