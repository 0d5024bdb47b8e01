//! The bounded queue between the sessions and the writer thread. Submitting costs a lock, a push and, when the writer sleeps,
//! one wake-up; while records stream in the writer rests a few milliseconds between batches and costs no wake-ups at all.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::AuditError;
use super::record::Record;
use super::time;

/// Most records that may wait.
const MAX_RECORDS: usize = 1 << 16;
/// Most bytes of parameters and messages that may wait; what records share through `Arc` is not counted.
const MAX_BYTES: usize = 64 << 20;
/// At this many records a resting writer is woken early.
const BUSY: usize = 1 << 12;
/// How long records without a waiter may gather before they are written.
const LINGER: Duration = Duration::from_millis(5);

pub(super) type Waiter = oneshot::Sender<Result<(), AuditError>>;

/// Something for the writer.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None` only waits for what stands before it.
    pub(super) record: Option<Record>,
    /// When it was submitted, in microseconds since 1970.
    pub(super) time_us: i64,
    /// Told once the record is on disk, or cannot be.
    pub(super) waiter: Option<Waiter>,
}

/// How the writer waits for entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The last batch was not empty: more is likely to come, let it gather.
    Linger,
    /// Wake at the first entry.
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterState {
    Working,
    Lingering,
    Asleep,
}

#[derive(Debug)]
struct State {
    entries: Vec<Entry>,
    bytes: usize,
    /// Whether somebody waits for one of the entries.
    urgent: bool,
    writer: WriterState,
    /// Why the last write failed; `None` while all is well.
    failed: Option<Arc<str>>,
    closing: bool,
    on_closed: Option<Waiter>,
    /// The writer is gone.
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    healthy: AtomicBool,
    failures: AtomicU64,
    /// Time of the oldest record the writer holds that is not on disk; `i64::MAX` for none.
    oldest_us: AtomicI64,
}

/// What [`Queue::take`] ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    More,
    Closing,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                entries: Vec::new(),
                bytes: 0,
                urgent: false,
                writer: WriterState::Working,
                failed: None,
                closing: false,
                on_closed: None,
                closed: false,
            }),
            wake: Condvar::new(),
            healthy: AtomicBool::new(true),
            failures: AtomicU64::new(0),
            oldest_us: AtomicI64::new(i64::MAX),
        }
    }

    /// Queues an entry. After a failure only entries with a waiter are taken: each is an attempt to write again, and its
    /// waiter learns how it went.
    pub(super) fn submit(&self, record: Option<Record>, waiter: Option<Waiter>) -> Result<(), AuditError> {
        let size = record.as_ref().map_or(0, own_bytes);
        let mut state = self.lock();
        let refused = if state.closing || state.closed {
            Some(AuditError::Closed)
        } else if state.entries.len() >= MAX_RECORDS || state.bytes + size > MAX_BYTES {
            Some(AuditError::QueueFull { records: state.entries.len() })
        } else if waiter.is_none() {
            state.failed.clone().map(|reason| AuditError::Failed { reason })
        } else {
            None
        };
        if let Some(error) = refused {
            drop(state);
            if record.is_some() {
                self.count_failure();
            }
            return Err(error);
        }
        state.urgent |= waiter.is_some();
        state.bytes += size;
        // The clock is read under the lock so that the trail's times stand in the order of its records.
        state.entries.push(Entry { record, time_us: time::now_us(), waiter });
        let wake = match state.writer {
            WriterState::Working => false,
            WriterState::Lingering => state.urgent || state.entries.len() >= BUSY,
            WriterState::Asleep => true,
        };
        if wake {
            // Nobody after this one need wake it again.
            state.writer = WriterState::Working;
        }
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Moves what waits into `batch` (empty before), at the latest at `deadline` - then perhaps nothing.
    pub(super) fn take(&self, batch: &mut Vec<Entry>, pace: Pace, deadline: Option<Instant>) -> Taken {
        let linger = (pace == Pace::Linger).then(|| Instant::now() + LINGER);
        let until = match (linger, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut state = self.lock();
        loop {
            let due = match pace {
                Pace::Linger => state.urgent || state.entries.len() >= BUSY,
                Pace::Idle => !state.entries.is_empty(),
            };
            let now = Instant::now();
            if due || state.closing || until.is_some_and(|t| t <= now) {
                break;
            }
            state.writer = if linger.is_some() { WriterState::Lingering } else { WriterState::Asleep };
            state = match until {
                Some(t) => self.wake.wait_timeout(state, t - now).map(|r| r.0).unwrap_or_else(|e| e.into_inner().0),
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.writer = WriterState::Working;
        }
        state.writer = WriterState::Working;
        std::mem::swap(&mut state.entries, batch);
        state.bytes = 0;
        state.urgent = false;
        if let Some(first) = batch.first() {
            self.oldest_us.fetch_min(first.time_us, Ordering::Relaxed);
        }
        if state.closing { Taken::Closing } else { Taken::More }
    }

    /// Takes no more entries and makes the writer finish; `on_closed` is told when it has.
    pub(super) fn close(&self, on_closed: Option<Waiter>) {
        let mut state = self.lock();
        if state.closing || state.closed {
            // Somebody else closed it: the waiter's sender is dropped, which tells its owner so.
            return;
        }
        state.closing = true;
        state.on_closed = on_closed;
        drop(state);
        self.wake.notify_one();
    }

    /// The writer is gone, or about to be: nothing that still waits will be written.
    pub(super) fn closed(&self, outcome: Result<(), AuditError>) {
        let mut state = self.lock();
        state.closed = true;
        let (entries, on_closed) = (std::mem::take(&mut state.entries), state.on_closed.take());
        drop(state);
        for entry in entries {
            self.refuse(entry, &AuditError::Closed);
        }
        self.healthy.store(false, Ordering::Relaxed);
        if let Some(waiter) = on_closed {
            let _ = waiter.send(outcome);
        }
    }

    /// Tells the entry's waiter, and counts the record as not kept.
    pub(super) fn refuse(&self, entry: Entry, error: &AuditError) {
        if entry.record.is_some() {
            self.count_failure();
        }
        if let Some(waiter) = entry.waiter {
            let _ = waiter.send(Err(error.clone()));
        }
    }

    /// Sets or clears the reason for which entries without a waiter are refused.
    pub(super) fn set_failed(&self, reason: Option<Arc<str>>) {
        self.healthy.store(reason.is_none(), Ordering::Relaxed);
        self.lock().failed = reason;
    }

    pub(super) fn set_oldest(&self, time_us: Option<i64>) {
        self.oldest_us.store(time_us.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(super) fn queued(&self) -> usize {
        self.lock().entries.len()
    }

    /// Age of the oldest record that is not on disk.
    pub(super) fn lag(&self) -> Duration {
        let waiting = self.lock().entries.first().map_or(i64::MAX, |e| e.time_us);
        let oldest = waiting.min(self.oldest_us.load(Ordering::Relaxed));
        // No record: `oldest` lies in the future.
        Duration::from_micros(u64::try_from(time::now_us().saturating_sub(oldest)).unwrap_or(0))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the record keeps in memory that no other record shares, in bytes.
fn own_bytes(record: &Record) -> usize {
    let parameters = record.parameters.iter().flatten().flatten().map(String::capacity).sum::<usize>();
    parameters + record.message.as_ref().map_or(0, String::capacity)
}

#[cfg(test)]
mod tests {
    use super::super::record::Event;
    use super::*;

    fn record() -> Option<Record> {
        Some(Record::new(Event::Admin))
    }

    #[test]
    fn entries_come_out_in_order_with_their_times() {
        let queue = Queue::new();
        for _ in 0..3 {
            queue.submit(record(), None).unwrap();
        }
        assert_eq!(queue.queued(), 3);
        let mut batch = Vec::new();
        assert_eq!(queue.take(&mut batch, Pace::Idle, None), Taken::More);
        assert!(batch.len() == 3 && batch.is_sorted_by_key(|e| e.time_us));
        assert_eq!(queue.queued(), 0);
    }

    #[test]
    fn a_full_queue_refuses_and_counts() {
        let queue = Queue::new();
        for _ in 0..MAX_RECORDS {
            queue.submit(record(), None).unwrap();
        }
        assert!(matches!(queue.submit(record(), None), Err(AuditError::QueueFull { records: MAX_RECORDS })));
        assert_eq!(queue.failures(), 1);

        let queue = Queue::new();
        let big = || {
            let parameters = Some(vec![Some("x".repeat(MAX_BYTES / 2)), None]);
            Some(Record { parameters, ..Record::new(Event::Result) })
        };
        queue.submit(big(), None).unwrap();
        queue.submit(big(), None).unwrap();
        assert!(matches!(queue.submit(big(), None), Err(AuditError::QueueFull { records: 2 })));
    }

    #[test]
    fn take_returns_at_its_deadline_and_when_closing() {
        let queue = Queue::new();
        let mut batch = Vec::new();
        assert_eq!(queue.take(&mut batch, Pace::Idle, Some(Instant::now())), Taken::More);
        assert_eq!(queue.take(&mut batch, Pace::Linger, None), Taken::More);
        assert!(batch.is_empty());
        queue.close(None);
        assert_eq!(queue.take(&mut batch, Pace::Idle, None), Taken::Closing);
        assert!(matches!(queue.submit(record(), None), Err(AuditError::Closed)));
    }

    #[test]
    fn after_a_failure_only_waited_entries_are_taken() {
        let queue = Queue::new();
        queue.set_failed(Some("disk full".into()));
        assert!(matches!(queue.submit(record(), None), Err(AuditError::Failed { .. })));
        queue.submit(record(), Some(oneshot::channel().0)).unwrap();
        assert!(!queue.is_healthy());
        queue.set_failed(None);
        queue.submit(record(), None).unwrap();
        assert_eq!((queue.queued(), queue.failures()), (2, 1));
    }

    #[test]
    fn a_writer_that_is_gone_leaves_nobody_waiting() {
        let queue = Queue::new();
        let (waiter, mut answer) = oneshot::channel();
        queue.submit(record(), Some(waiter)).unwrap();
        queue.closed(Ok(()));
        assert!(matches!(answer.try_recv(), Ok(Err(AuditError::Closed))));
        assert!(queue.submit(record(), None).is_err());
        assert_eq!(queue.failures(), 2);
    }
}
