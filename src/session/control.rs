//! What the rest of the process can do to a session: cancel it, wake it, end it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Notify;

use crate::audit::SessionContext;
use crate::upstream::{CancelSlot, ConnectError};

/// The handle of one session.
#[derive(Debug)]
pub struct Control {
    /// The process id told in BackendKeyData.
    pub pid: u32,
    /// The secret key told in BackendKeyData.
    pub key: Vec<u8>,
    /// Whose session it is.
    pub context: Arc<SessionContext>,
    /// What it runs now.
    pub cancel: CancelSlot,
    /// Why it keeps its connection, as the metrics name it.
    pins: Mutex<Vec<&'static str>>,
    pub(super) wake: Notify,
    order: AtomicU8,
    wait: AtomicU8,
    /// How far it has come: the number of statements sent to a server, and in the lowest bit whether the last of them still runs.
    progress: AtomicU64,
    /// Counts what was heard from a server.
    heard: AtomicU64,
    /// How far it had come when it was asked to cancel what it had not sent; see [`Missed`].
    missed: AtomicU64,
    missed_taken: Notify,
    /// When the session wants to be woken, in milliseconds of the registry's clock; 0 for never.
    deadline: AtomicU64,
    epoch: Instant,
}

/// What a session is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Nothing.
    Continue,
    /// End as soon as it holds no connection.
    Drain,
    /// End now.
    Kill,
}

/// What became of a cancel that found nothing at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// Its statement is still to be sent.
    NotSent,
    /// Its statement has been sent since.
    SentSince,
}

/// No session is ever that far.
const NOTHING_MISSED: u64 = u64::MAX;

/// Most that a cancel waits for a session that is busy with something else to read what its client has sent.
const UNREAD: Duration = Duration::from_secs(1);

/// How long after one another a cancel is sent again to a statement that goes on.
const REPEATED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

const NOT_WAITING: u8 = 0;
const WAITING: u8 = 1;
const CANCELLED: u8 = 2;

impl Control {
    /// Cancels the session's statement, whether it runs, waits for a connection, or was sent by its client and not yet read. What the
    /// client sends behind it is not meant.
    ///
    /// Cancel safety: as [`CancelSlot::cancel`].
    pub async fn cancel_statement(self: &Arc<Self>) -> Result<(), ConnectError> {
        if self.wait.compare_exchange(WAITING, CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.wake.notify_one();
            return Ok(());
        }
        let progress = self.progress.load(Ordering::Acquire);
        if progress & 1 == 1 {
            return self.cancel_running().await;
        }
        // The client has sent it before the cancel, so that it has arrived, if there is one.
        self.missed.store(progress, Ordering::Release);
        self.wake.notify_one();
        let (sent, ()) = tokio::join!(self.cancel.cancel(), self.until_taken());
        sent
    }

    /// Begins to cancel what runs now, and no statement behind it, again if need be; the future sends the request.
    ///
    /// Cancel safety: as [`CancelSlot::cancel`].
    pub(super) fn cancel_running(self: &Arc<Self>) -> impl Future<Output = Result<(), ConnectError>> + Send + 'static {
        let (control, before, cancelling) = (Arc::clone(self), self.state(), self.cancel.cancel());
        async move {
            let sent = cancelling.await;
            tokio::spawn(control.repeat(before));
            sent
        }
    }

    /// Cancels a statement again that still runs without a word: a server process that has not read it yet, on a busy machine, takes
    /// no notice of the first cancel.
    async fn repeat(self: Arc<Self>, before: (u64, u64)) {
        for pause in REPEATED {
            tokio::time::sleep(pause).await;
            if self.state() != before {
                return;
            }
            // Nothing else is sent from here on: the session looks for cancels under way behind its `has_heard`.
            let cancelling = self.cancel.cancel();
            fence(Ordering::SeqCst);
            if self.state() != before {
                return;
            }
            if let Err(error) = cancelling.await {
                tracing::warn!(%error, "cancel could not be sent again");
            }
        }
    }

    async fn until_taken(&self) {
        let taken = async {
            loop {
                let mut taken = pin!(self.missed_taken.notified());
                taken.as_mut().enable();
                if !self.has_missed() {
                    return;
                }
                taken.await;
            }
        };
        if tokio::time::timeout(UNREAD, taken).await.is_err() {
            self.missed.store(NOTHING_MISSED, Ordering::Release);
        }
    }

    fn state(&self) -> (u64, u64) {
        (self.progress.load(Ordering::Acquire), self.heard.load(Ordering::Acquire))
    }

    /// Something came from the server.
    pub(super) fn has_heard(&self) {
        self.heard.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Tells how far the session has come.
    pub(super) fn set_progress(&self, statements: u64, is_running: bool) {
        let progress = statements << 1 | u64::from(is_running);
        if self.progress.load(Ordering::Relaxed) != progress {
            self.progress.store(progress, Ordering::Release);
        }
    }

    /// Whether a cancel was missed that is still to be taken.
    pub(super) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Acquire) != NOTHING_MISSED
    }

    /// Takes a cancel that was missed; `None` when its statement has ended.
    pub(super) fn take_missed(&self) -> Option<Missed> {
        let missed = self.missed.swap(NOTHING_MISSED, Ordering::AcqRel);
        self.missed_taken.notify_waiters();
        if missed == NOTHING_MISSED {
            return None;
        }
        let progress = self.progress.load(Ordering::Relaxed);
        // Of several statements sent since, the first may have ended; the client has sent them all at once.
        let is_running_since = progress & 1 == 1 && progress > missed;
        match (missed == progress, is_running_since) {
            (true, _) => Some(Missed::NotSent),
            (false, true) => Some(Missed::SentSince),
            (false, false) => None,
        }
    }

    /// The session's statement waits for a connection from now on.
    pub(super) fn begin_wait(&self) {
        self.wait.store(WAITING, Ordering::Release);
    }

    pub(super) fn is_wait_cancelled(&self) -> bool {
        self.wait.load(Ordering::Acquire) == CANCELLED
    }

    /// It waits no more; returns whether it was cancelled meanwhile.
    pub(super) fn end_wait(&self) -> bool {
        self.wait.swap(NOT_WAITING, Ordering::AcqRel) == CANCELLED
    }

    /// Asks the session to end.
    pub fn order(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.wake.notify_one();
    }

    /// Wakes the session to look at the configuration again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Why it keeps its connection between transactions; empty when it does not.
    pub fn pins(&self) -> Vec<&'static str> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_pins(&self, pins: &[&'static str]) {
        pins.clone_into(&mut self.pins.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn ordered(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Continue,
            1 => Order::Drain,
            _ => Order::Kill,
        }
    }

    pub(super) fn set_deadline(&self, at: Option<Instant>) {
        let milliseconds = at.map_or(0, |at| self.since_epoch(at).max(1));
        self.deadline.store(milliseconds, Ordering::Release);
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn is_due(&self, now: Instant) -> bool {
        let deadline = self.deadline.load(Ordering::Acquire);
        deadline != 0 && deadline <= self.since_epoch(now)
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    epoch: Instant,
    next: AtomicU32,
    random: SystemRandom,
    live: Mutex<HashMap<u32, Arc<Control>>>,
}

/// A session's entry in the registry; dropping it takes it out.
#[derive(Debug)]
pub struct Registered {
    sessions: Arc<Sessions>,
    /// The session's handle.
    pub control: Arc<Control>,
}

/// No process of a server has such a number (Linux: `PID_MAX_LIMIT`, 2^22), so a client that hands the one it was told at login to
/// `pg_terminate_backend` hits nobody else.
const FIRST_PID: u32 = 1 << 23;

impl Default for Sessions {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            next: AtomicU32::new(1),
            random: SystemRandom::new(),
            live: Mutex::new(HashMap::new()),
        }
    }
}

impl Sessions {
    /// How often deadlines are looked at.
    pub const TICK: Duration = Duration::from_millis(100);

    /// Enters a new session, whose cancel key has `key_size` bytes. `None` when the system has no randomness.
    pub fn register(self: &Arc<Self>, key_size: usize, context: Arc<SessionContext>) -> Option<Registered> {
        let mut key = vec![0; key_size];
        self.random.fill(&mut key).ok()?;
        let mut live = self.lock();
        let pid = loop {
            let pid = FIRST_PID | self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if !live.contains_key(&pid) {
                break pid;
            }
        };
        let control = Arc::new(Control {
            pid,
            key,
            context,
            cancel: CancelSlot::default(),
            pins: Mutex::default(),
            wake: Notify::new(),
            order: AtomicU8::new(0),
            wait: AtomicU8::new(NOT_WAITING),
            progress: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            missed: AtomicU64::new(NOTHING_MISSED),
            missed_taken: Notify::new(),
            deadline: AtomicU64::new(0),
            epoch: self.epoch,
        });
        live.insert(pid, Arc::clone(&control));
        Some(Registered { sessions: Arc::clone(self), control })
    }

    /// The session that a CancelRequest means. A wrong key finds nobody, and takes as long as a right one.
    pub fn find(&self, pid: u32, key: &[u8]) -> Option<Arc<Control>> {
        let control = Arc::clone(self.lock().get(&pid)?);
        let differs = control.key.iter().zip(key).fold(0, |acc, (a, b)| acc | (a ^ b));
        (differs == 0 && control.key.len() == key.len()).then_some(control)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// All of them, in the order in which they began.
    pub fn all(&self) -> Vec<Arc<Control>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by_key(|control| control.pid);
        all
    }

    /// Asks all sessions to end.
    pub fn order_all(&self, order: Order) {
        for control in self.lock().values() {
            control.order(order);
        }
    }

    /// Wakes all sessions to look at the configuration again.
    pub fn wake_all(&self) {
        for control in self.lock().values() {
            control.wake();
        }
    }

    /// Wakes the sessions whose deadline has come. One clock for all of them: a timer a statement costs a lock a statement.
    pub fn wake_due(&self) {
        let now = Instant::now();
        for control in self.lock().values().filter(|c| c.is_due(now)) {
            control.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<Control>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.control.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_needs_the_right_key() {
        let sessions = Arc::new(Sessions::default());
        let context = Arc::new(SessionContext::default());
        let a = sessions.register(4, Arc::clone(&context)).unwrap();
        let b = sessions.register(32, context).unwrap();
        assert!(a.control.pid >= FIRST_PID && b.control.pid >= FIRST_PID && a.control.pid != b.control.pid);
        assert!(sessions.find(a.control.pid, &a.control.key).is_some());
        assert!(sessions.find(a.control.pid, &b.control.key[..4]).is_none());
        assert!(sessions.find(a.control.pid, &[]).is_none());
        assert!(sessions.find(b.control.pid, &b.control.key[..31]).is_none());
        let (pid, key) = (a.control.pid, a.control.key.clone());
        drop(a);
        assert!(sessions.find(pid, &key).is_none());
        assert_eq!(sessions.count(), 1);
    }
}
