//! The pool of one database tier: few connections, many sessions, oldest waiter first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ConnectError, Connection, Endpoint};
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
    /// A new connection could not be made (SQLSTATE 08001).
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A pool.
#[derive(Debug)]
pub struct Pool {
    /// Where its connections go.
    pub endpoint: Arc<Endpoint>,
    limits: PoolLimits,
    /// One permit a connection that may be in use. Tokio's semaphore is fair: the oldest waiter goes first, and only it wakes.
    slots: Arc<Semaphore>,
    idle: Mutex<VecDeque<Connection>>,
    open: AtomicU32,
    waiting: AtomicU32,
    /// Why the latest attempt to connect failed; `None` when it did not.
    trouble: Mutex<Option<String>>,
}

/// A connection on loan. Dropping it closes the connection; only [`Lease::give_back`] returns it.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    _slot: OwnedSemaphorePermit,
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections open, idle or in use.
    pub open: u32,
    /// Connections idle.
    pub idle: u32,
    /// Sessions waiting.
    pub waiting: u32,
}

impl Pool {
    /// An empty pool; [`Pool::maintain`] fills it to `min`.
    pub fn new(endpoint: Arc<Endpoint>, limits: PoolLimits) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            limits,
            slots: Arc::new(Semaphore::new(limits.max as usize)),
            idle: Mutex::new(VecDeque::new()),
            open: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            trouble: Mutex::new(Some("not connected yet".to_owned())),
        })
    }

    /// A connection, the most recently used first, waiting at most the pool's `wait`.
    ///
    /// Cancel safety: dropping it leaves the queue and loses nothing.
    pub async fn checkout(self: &Arc<Self>) -> Result<Lease, CheckoutError> {
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => self.wait_for_slot().await?,
        };
        while let Some(connection) = self.lock().pop_back() {
            if connection.opened.elapsed() < self.limits.lifetime && is_open(&connection) {
                return Ok(self.lend(connection, slot));
            }
            self.closed();
        }
        let connection = self.connect().await?;
        Ok(self.lend(connection, slot))
    }

    /// What keeps the server from being reached; `None` when the latest attempt succeeded.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How full it is.
    pub fn usage(&self) -> PoolUse {
        PoolUse {
            open: self.open.load(Ordering::Relaxed),
            idle: u32::try_from(self.lock().len()).unwrap_or(u32::MAX),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Closes what is idle too long or too old, and opens connections up to `min`. Called every second or so.
    pub async fn maintain(self: &Arc<Self>) -> Result<(), ConnectError> {
        let stale: Vec<Connection> = {
            let mut idle = self.lock();
            let mut kept = VecDeque::with_capacity(idle.len());
            let mut stale = vec![];
            let mut open = self.open.load(Ordering::Relaxed);
            for connection in idle.drain(..) {
                let too_old = connection.opened.elapsed() >= self.limits.lifetime;
                let too_idle = connection.idle_since.elapsed() >= self.limits.idle && open > self.limits.min;
                if too_old || too_idle || !is_open(&connection) {
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
            close(connection);
        }
        // A server that could not be reached is tried even where no connection is kept.
        let wanted = if self.trouble().is_some() { self.limits.min.max(1) } else { self.limits.min };
        while self.open.load(Ordering::Relaxed) < wanted {
            // A slot is held while connecting, so that `max` holds.
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
            let connection = self.connect().await?;
            self.lend(connection, slot).give_back();
        }
        Ok(())
    }

    /// Closes every idle connection; those in use are closed when they come back only if their pool is dropped.
    pub fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.lock());
        for connection in idle {
            self.closed();
            close(connection);
        }
    }

    async fn wait_for_slot(&self) -> Result<OwnedSemaphorePermit, CheckoutError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&self.waiting);
        match tokio::time::timeout(self.limits.wait, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(CheckoutError::Full { max: self.limits.max, waited: self.limits.wait }),
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let connected = self.endpoint.connect().await;
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
            connected.as_ref().err().map(ToString::to_string);
        let connection = connected?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(connection)
    }

    fn lend(self: &Arc<Self>, connection: Connection, slot: OwnedSemaphorePermit) -> Lease {
        Lease { pool: Arc::clone(self), connection: Some(connection), _slot: slot }
    }

    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Connection>> {
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
            if connection.link.is_clean() && connection.opened.elapsed() < self.pool.limits.lifetime {
                connection.idle_since = Instant::now();
                self.pool.lock().push_back(connection);
            } else {
                self.connection = Some(connection);
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.closed();
            close(connection);
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

/// Says goodbye without waiting, as far as the socket takes it at once.
fn close(connection: Connection) {
    use crate::stream::Stream;
    const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];
    let _sent = match &connection.stream {
        Stream::Plain(tcp) => tcp.try_write(&TERMINATE),
        Stream::Unix(unix) => unix.try_write(&TERMINATE),
        Stream::TlsClient(_) | Stream::TlsServer(_) => Ok(0),
    };
}
