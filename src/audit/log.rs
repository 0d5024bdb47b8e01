//! The handle that sessions hold: hands records to the writer thread.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::checkpoint::Signer;
use super::error::AuditError;
use super::file::Sink;
use super::queue::Queue;
use super::record::Record;
use super::recover;
use super::writer::{Position, Settings, Writer};
use crate::config;

/// An open audit trail; clones share it. When the last clone goes, what is queued is still written, and the trail closed.
#[derive(Clone, Debug)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the trail, mends its end after a crash, writes its `audit.started` record to disk and starts the writer thread.
    /// Blocks on the disk.
    pub fn open(config: &config::Audit) -> Result<Self, AuditError> {
        let signer = config.signing_key.as_deref().map(|key| Signer::load(key, &config.path)).transpose()?;
        let opened = recover::open(&config.path, signer.as_ref())?;
        let position = Position { chain: opened.chain, offset: opened.len, records: opened.len.min(2) };
        let mut messages = opened.findings;
        messages.push(format!("audit.started: pgbelay {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id()));
        Self::start(opened.sink, position, Settings { rotate_bytes: config.rotate_bytes, signer }, messages)
    }

    fn start(
        sink: impl Sink + 'static,
        position: Position,
        settings: Settings,
        messages: Vec<String>,
    ) -> Result<Self, AuditError> {
        let queue = Arc::new(Queue::new());
        let mut writer = Writer::new(sink, Arc::clone(&queue), position, settings);
        writer.begin(messages)?;
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run())
            .map_err(|e: io::Error| AuditError::Failed { reason: format!("no thread for it: {e}").into() })?;
        Ok(Self { inner: Arc::new(Inner { queue, thread: Some(thread) }) })
    }

    /// Queues a record without waiting for the disk. It gets its time now, its place in the chain when it is written: within
    /// milliseconds, and synced within 200 ms.
    ///
    /// An error means that the record will not be in the trail: the sink has failed, the queue is full or the trail closed.
    /// Each is counted in [`AuditLog::failures`].
    pub fn record(&self, record: Record) -> Result<(), AuditError> {
        self.inner.queue.submit(Some(record), None)
    }

    /// Queues a record and resolves once it is on disk. Records of many callers share one sync.
    ///
    /// An error means that it is not in the trail. After a failure each call tries the disk again.
    ///
    /// Cancel safety: nothing happens before the first poll; from then on the record is written even if the future is dropped.
    pub async fn commit(&self, record: Record) -> Result<(), AuditError> {
        self.submit_and_wait(Some(record)).await
    }

    /// Resolves once every record queued before is on disk. Cancel safe.
    pub async fn flush(&self) -> Result<(), AuditError> {
        self.submit_and_wait(None).await
    }

    /// Writes what is queued and an `audit.stopped` record, syncs, signs the last checkpoint and ends the writer; later records
    /// are refused. Resolves when the file is closed and unlocked. A second call does nothing.
    ///
    /// Cancel safety: once polled, the trail is closed even if the future is dropped.
    pub async fn close(&self) -> Result<(), AuditError> {
        let (waiter, outcome) = oneshot::channel();
        self.inner.queue.close(Some(waiter));
        // The sender is dropped unused when somebody else has closed it.
        outcome.await.unwrap_or(Ok(()))
    }

    /// Age of the oldest record that is not on disk yet; zero when there is none.
    pub fn lag(&self) -> Duration {
        self.inner.queue.lag()
    }

    /// Number of records that wait in the queue.
    pub fn queued(&self) -> usize {
        self.inner.queue.queued()
    }

    /// Number of records that were not kept since the trail was opened.
    pub fn failures(&self) -> u64 {
        self.inner.queue.failures()
    }

    /// Whether records are being kept: `false` after a write error until a write succeeds, and once the trail is closed.
    pub fn is_healthy(&self) -> bool {
        self.inner.queue.is_healthy()
    }

    async fn submit_and_wait(&self, record: Option<Record>) -> Result<(), AuditError> {
        let (waiter, outcome) = oneshot::channel();
        self.inner.queue.submit(record, Some(waiter))?;
        outcome.await.unwrap_or(Err(AuditError::Closed))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close(None);
        if let Some(thread) = self.thread.take() {
            // It ended by itself or by a panic that it has reported.
            let _ = thread.join();
        }
    }
}
