//! Cancelling what an upstream connection runs, bound to the session that runs it now.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::open::Address;
use super::{ConnectError, Endpoint};

/// What a CancelRequest for one upstream connection says, and where it goes.
#[derive(Debug)]
pub struct CancelTarget {
    endpoint: Arc<Endpoint>,
    host: usize,
    /// Where the connection itself went: the name may mean another server by now.
    address: Address,
    pid: u32,
    key: Vec<u8>,
    /// Requests that may still arrive.
    in_flight: AtomicU32,
    /// Requests that are being sent now.
    sending: watch::Sender<u32>,
}

/// One request that is being sent; gone when that is done or given up.
struct Sending(Arc<CancelTarget>);

impl Sending {
    fn new(target: &Arc<CancelTarget>) -> Self {
        target.in_flight.fetch_add(1, Ordering::AcqRel);
        target.sending.send_modify(|sending| *sending += 1);
        Self(Arc::clone(target))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.sending.send_modify(|sending| *sending -= 1);
    }
}

impl CancelTarget {
    pub(super) fn new(endpoint: Arc<Endpoint>, host: usize, address: Address, pid: u32, key: Vec<u8>) -> Self {
        Self { endpoint, host, address, pid, key, in_flight: AtomicU32::new(0), sending: watch::Sender::new(0) }
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What went wrong with the connection's socket.
    pub(super) fn io(&self, source: std::io::Error) -> ConnectError {
        self.endpoint.io(self.host, source)
    }

    /// Whether a request is being sent, which would hit whatever the server runs when it arrives.
    pub fn is_sending(&self) -> bool {
        *self.sending.borrow() > 0
    }

    /// Resolves once no request is being sent. Cancel safe.
    pub async fn sent(&self) {
        let mut changes = self.sending.subscribe();
        // The sender lives as long as `self`.
        let _sent = changes.wait_for(|sending| *sending == 0).await;
    }

    /// Sends the request on a connection of its own and waits until the server has closed that: then the signal is sent
    /// (Postgres documentation, "Canceling Requests in Progress").
    pub async fn send(&self) -> Result<(), ConnectError> {
        self.endpoint
            .in_time(self.host, async {
                let mut stream = self.endpoint.open(self.host, &self.address).await?;
                let mut packet = BytesMut::new();
                packet.put_i32(12 + i32::try_from(self.key.len()).unwrap_or(0));
                packet.put_i32(80_877_102);
                packet.put_u32(self.pid);
                packet.put_slice(&self.key);
                stream.write_all(&packet).await.map_err(|e| self.io(e))?;
                stream.flush().await.map_err(|e| self.io(e))?;
                // The server says nothing and closes; a reset is as good an end.
                let _closed = stream.read_u8().await;
                Ok(())
            })
            .await
    }
}

/// Which upstream connection a session uses now; cancels reach that one or none.
#[derive(Debug, Default)]
pub struct CancelSlot {
    target: Mutex<Option<Arc<CancelTarget>>>,
}

impl CancelSlot {
    /// The session got this connection.
    pub fn attach(&self, target: &Arc<CancelTarget>) {
        *self.lock() = Some(Arc::clone(target));
    }

    /// The session gives its connection back. Returns false when a cancel is under way that may still hit it: then the
    /// connection must be closed, so that the cancel cannot hit the next session's statement.
    pub fn detach(&self) -> bool {
        self.lock().take().is_none_or(|target| target.in_flight.load(Ordering::Acquire) == 0)
    }

    /// Begins to cancel what the session runs now, if it holds a connection: the future sends the request. From now on the
    /// connection counts as one that a cancel may hit.
    ///
    /// Cancel safety: if the future is dropped, the connection is never given to another session.
    pub fn cancel(&self) -> impl Future<Output = Result<(), ConnectError>> + Send + 'static {
        let target = {
            let target = self.lock();
            // Counted under the lock: `detach` sees it, or the target is gone.
            target.as_ref().map(Sending::new)
        };
        async move { Self::send(target).await }
    }

    /// The connection that the session uses now: name and port of the server, and its process there.
    pub fn backend(&self) -> Option<(String, u32)> {
        self.lock().as_ref().map(|target| (target.endpoint.host(target.host).to_string(), target.pid))
    }

    async fn send(sending: Option<Sending>) -> Result<(), ConnectError> {
        let Some(sending) = sending else { return Ok(()) };
        let sent = sending.0.send().await;
        if sent.is_ok() {
            sending.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
        // Otherwise the request may still arrive, whenever: the connection is never given to another session.
        sent
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<CancelTarget>>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
