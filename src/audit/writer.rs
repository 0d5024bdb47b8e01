//! The writer thread: turns records into chained lines, many with one write and one fdatasync, and survives a disk that fails.
//!
//! The chain's state that counts is `durable`: what has been synced. Whatever stands behind it - written or not - is kept as
//! records until the next sync succeeds, so that after any error the file is cut back to `durable` and written again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain::Chain;
use super::checkpoint::Signer;
use super::error::AuditError;
use super::file::Sink;
use super::queue::{Entry, Pace, Queue, Taken};
use super::record::{Event, Record};
use super::time;

/// Most bytes that are written without a sync, give or take a line: what a power loss can harm.
pub(super) const MAX_UNSYNCED: usize = 1 << 20;
/// Longest time that a written record stays unsynced.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// Shortest time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How often a failed sink is tried when nobody asks.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Capacity that the buffers keep after a burst: records and bytes.
const KEEP_RECORDS: usize = 1 << 10;
const KEEP_BYTES: usize = 64 << 10;

/// How far the trail has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) chain: Chain,
    /// Length of the current file.
    pub(super) offset: u64,
    /// Records in the current file.
    pub(super) records: u64,
}

#[derive(Debug)]
struct Failure {
    reason: Arc<str>,
    since: Instant,
    since_us: i64,
}

/// What a writer is told at its start.
#[derive(Debug)]
pub(super) struct Settings {
    /// The file is rotated once it has this many bytes.
    pub(super) rotate_bytes: u64,
    /// Signs checkpoints, where they are wanted.
    pub(super) signer: Option<Signer>,
}

#[derive(Debug)]
pub(super) struct Writer<S> {
    sink: S,
    queue: Arc<Queue>,
    settings: Settings,
    /// Length at which the current file is rotated; raised when a rotation fails.
    rotate_at: u64,
    durable: Position,
    written: Position,
    unsynced: Vec<Entry>,
    unsynced_since: Option<Instant>,
    backlog: VecDeque<Entry>,
    buffer: Vec<u8>,
    failure: Option<Failure>,
    /// How many refused records the trail tells of.
    accounted: u64,
    /// The file may hold more than `durable` says.
    ragged: bool,
    checkpointed: u64,
    checkpoint_due: Instant,
}

impl<S: Sink> Writer<S> {
    /// A writer that goes on at `position`.
    pub(super) fn new(sink: S, queue: Arc<Queue>, position: Position, settings: Settings) -> Self {
        Self {
            sink,
            queue,
            rotate_at: settings.rotate_bytes,
            settings,
            durable: position,
            written: position,
            unsynced: Vec::new(),
            unsynced_since: None,
            backlog: VecDeque::new(),
            buffer: Vec::new(),
            failure: None,
            accounted: 0,
            ragged: false,
            checkpointed: position.chain.seq,
            checkpoint_due: Instant::now(),
        }
    }

    /// Writes and syncs records of the trail's own before the thread starts.
    pub(super) fn begin(&mut self, messages: Vec<String>) -> Result<(), AuditError> {
        for message in messages {
            self.backlog.push_back(own_entry(message));
        }
        self.cycle(&mut Vec::new(), Sync::Now);
        self.state()
    }

    /// The thread's life: until the queue is closed.
    pub(super) fn run(mut self) {
        // Also when this thread panics nobody must wait for it for ever.
        let exit = Exit(Arc::clone(&self.queue));
        let mut batch = Vec::new();
        let mut pace = Pace::Idle;
        loop {
            let taken = self.queue.take(&mut batch, pace, self.deadline());
            pace = if batch.is_empty() { Pace::Idle } else { Pace::Linger };
            self.cycle(&mut batch, Sync::WhenDue);
            if taken == Taken::Closing {
                break;
            }
            self.checkpoint(CHECKPOINT_EVERY);
        }
        self.backlog.push_back(own_entry("audit.stopped".into()));
        self.cycle(&mut batch, Sync::Now);
        self.checkpoint(Duration::ZERO);
        let outcome = self.state();
        for entry in std::mem::take(&mut self.backlog) {
            self.queue.refuse(entry, &AuditError::Closed);
        }
        // The lock must be free before anybody is told that the trail is closed.
        drop(self);
        exit.0.closed(outcome);
    }

    fn state(&self) -> Result<(), AuditError> {
        match &self.failure {
            Some(failure) => Err(AuditError::Failed { reason: Arc::clone(&failure.reason) }),
            None => Ok(()),
        }
    }

    /// When there is something to do even if no record comes.
    fn deadline(&self) -> Option<Instant> {
        let retry = self.failure.as_ref().map(|_| Instant::now() + RETRY_EVERY);
        let sync = self.unsynced_since.map(|t| t + SYNC_EVERY);
        let behind = self.settings.signer.is_some() && self.durable.chain.seq > self.checkpointed;
        let checkpoint = behind.then_some(self.checkpoint_due);
        [retry, sync, checkpoint].into_iter().flatten().min()
    }

    /// Writes the batch and whatever is left of earlier ones.
    fn cycle(&mut self, batch: &mut Vec<Entry>, sync: Sync) {
        self.backlog.extend(batch.drain(..));
        batch.shrink_to(KEEP_RECORDS);
        let refused = self.queue.failures();
        let resumed = self.tell_of_refused(refused);
        match self.write_and_sync(sync) {
            Ok(()) => {
                self.accounted = refused;
                if self.failure.take().is_some() {
                    tracing::info!("audit trail is written again");
                    self.queue.set_failed(None);
                }
            }
            Err(error) => {
                self.fail(&error);
                if resumed {
                    // It came last and nobody waits for it; the next attempt words it anew.
                    self.backlog.pop_back();
                }
            }
        }
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer.clear();
            self.buffer.shrink_to(KEEP_BYTES);
        }
        self.queue.set_oldest(self.unsynced.first().or(self.backlog.front()).map(|e| e.time_us));
    }

    fn write_and_sync(&mut self, sync: Sync) -> io::Result<()> {
        if self.ragged {
            self.sink.truncate(self.durable.offset)?;
            self.ragged = false;
        }
        while !self.backlog.is_empty() {
            // A file that holds nothing but the record that names the one before it is not rotated, however small the limit.
            if self.written.records > 1 && self.written.offset >= self.rotate_at {
                self.rotate()?;
            }
            self.write_chunk()?;
            if self.written.offset - self.durable.offset >= MAX_UNSYNCED as u64 {
                self.sync()?;
            }
        }
        let due = self.unsynced_since.is_some_and(|t| t.elapsed() >= SYNC_EVERY);
        let waited = self.unsynced.iter().any(|e| e.waiter.is_some());
        // After a failure only a sync shows that the disk is well again.
        if sync == Sync::Now || due || waited || self.failure.is_some() {
            self.sync()?;
        }
        Ok(())
    }

    /// Writes the beginning of the backlog: as much as the current file may still take and may stay unsynced.
    fn write_chunk(&mut self) -> io::Result<()> {
        self.buffer.clear();
        let mut chain = self.written.chain;
        let mut count = 0;
        for entry in &self.backlog {
            let end = self.written.offset + self.buffer.len() as u64;
            if count > 0 && (end >= self.rotate_at || end - self.durable.offset >= MAX_UNSYNCED as u64) {
                break;
            }
            if let Some(record) = &entry.record {
                chain.seal(record, entry.time_us, &mut self.buffer)?;
            }
            count += 1;
        }
        // Moved first: whatever happens now, `fail` finds them.
        self.unsynced.extend(self.backlog.drain(..count));
        self.unsynced_since.get_or_insert_with(Instant::now);
        if !self.buffer.is_empty() {
            self.sink.append(&self.buffer)?;
        }
        self.written = Position {
            chain,
            offset: self.written.offset + self.buffer.len() as u64,
            records: self.written.records + (chain.seq - self.written.chain.seq),
        };
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.written.chain != self.durable.chain {
            self.sink.sync()?;
        }
        self.durable = self.written;
        self.unsynced_since = None;
        // Whoever is woken finds a lag that no longer counts its record.
        self.queue.set_oldest(self.backlog.front().map(|e| e.time_us));
        for waiter in self.unsynced.drain(..).filter_map(|e| e.waiter) {
            // A waiter that has gone away wants no answer.
            let _ = waiter.send(Ok(()));
        }
        self.unsynced.shrink_to(KEEP_RECORDS);
        Ok(())
    }

    /// A file that cannot be rotated grows on: better a long trail than none.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        match self.sink.rotate(self.durable.chain.seq) {
            Ok(name) => {
                self.durable = Position { offset: 0, records: 0, ..self.durable };
                self.written = self.durable;
                self.rotate_at = self.settings.rotate_bytes;
                let mut head = own_entry(format!("audit.rotated: continues {name}"));
                // It stands before records that were submitted earlier: times run forward in the trail.
                head.time_us = self.backlog.front().map_or(head.time_us, |e| e.time_us);
                self.backlog.push_front(head);
            }
            Err(error) => {
                tracing::warn!(%error, "audit trail could not be rotated; it grows on");
                self.rotate_at = self.written.offset + (self.settings.rotate_bytes / 16).max(1);
            }
        }
        Ok(())
    }

    /// Goes back to what is known to be on disk. Who waits is told; what nobody waits for is kept and tried again.
    fn fail(&mut self, error: &io::Error) {
        self.written = self.durable;
        self.unsynced_since = None;
        self.ragged = self.sink.truncate(self.durable.offset).is_err();
        let reason: Arc<str> = error.to_string().into();
        if self.failure.is_none() {
            tracing::error!(%error, "audit trail cannot be written");
            self.failure =
                Some(Failure { reason: Arc::clone(&reason), since: Instant::now(), since_us: time::now_us() });
        }
        // From here on nothing is queued that nobody waits for.
        self.queue.set_failed(Some(Arc::clone(&reason)));
        let error = AuditError::Failed { reason };
        for entry in std::mem::take(&mut self.unsynced).into_iter().chain(std::mem::take(&mut self.backlog)) {
            if entry.waiter.is_some() {
                self.queue.refuse(entry, &error);
            } else {
                self.backlog.push_back(entry);
            }
        }
    }

    /// Puts behind the backlog a record of what the trail misses, if it misses something. After a failure it is also what
    /// the disk is tried with.
    fn tell_of_refused(&mut self, refused: u64) -> bool {
        let lost = refused - self.accounted;
        let message = match &self.failure {
            Some(failure) => format!(
                "audit.resumed: could not be written since {} ({:.1} s): {}; {lost} records were refused",
                time::rfc3339(failure.since_us),
                failure.since.elapsed().as_secs_f64(),
                failure.reason,
            ),
            None if lost > 0 => format!("audit.lost: {lost} records were refused because the queue was full"),
            None => return false,
        };
        self.backlog.push_back(own_entry(message));
        true
    }

    /// Signs how far the trail has come, unless that is known or the last one is younger than `every`.
    fn checkpoint(&mut self, every: Duration) {
        let Some(signer) = &self.settings.signer else { return };
        let now = Instant::now();
        if self.durable.chain.seq == self.checkpointed || (!every.is_zero() && now < self.checkpoint_due) {
            return;
        }
        self.checkpoint_due = now + every;
        match signer.write(self.durable.chain) {
            Ok(()) => self.checkpointed = self.durable.chain.seq,
            Err(error) => tracing::warn!(%error, "audit checkpoint could not be written"),
        }
    }
}

/// Whether a cycle ends with a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    Now,
    /// When somebody waits or [`SYNC_EVERY`] has passed.
    WhenDue,
}

/// Closes the queue however the thread ends.
struct Exit(Arc<Queue>);

impl Drop for Exit {
    fn drop(&mut self) {
        self.0.closed(Err(AuditError::Closed));
    }
}

/// A record of the trail's own.
fn own_entry(message: String) -> Entry {
    let record = Record { message: Some(message), ..Record::new(Event::Admin) };
    Entry { record: Some(record), time_us: time::now_us(), waiter: None }
}

#[cfg(test)]
mod tests;
