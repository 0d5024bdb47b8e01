//! Gives the state machine its bytes, connections and clock.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::control::{Order, Registered};
use super::core::{Core, HIGH_WATER, Step};
use super::limits::{Activity, Due, Limits};
use super::lost::lost_report;
use super::server_side::Broken;
use crate::audit::{Event, Record, SessionContext};
use crate::config::{OnAuditFailure, format_duration};
use crate::policy::sqlstate;
use crate::server::{Server, TargetRuntime};
use crate::stream::Stream;
use crate::telemetry::Limit;
use crate::upstream::{CheckoutError, Lease, Parameters, Settings};
use crate::wire::{Report, TransactionState};

/// Most bytes read ahead from a client whose message cannot be handled yet.
const READ_AHEAD: usize = 128 * 1024;

/// Bytes asked of a socket at once.
const READ_SIZE: usize = 16 * 1024;

/// Everything a session begins with; made by the start-up alone.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub server: Arc<Server>,
    /// The client, authenticated.
    pub client: Stream,
    /// The session's entry among all sessions.
    pub registered: Registered,
    /// Where its statements go.
    pub target: Arc<TargetRuntime>,
    /// Who it is.
    pub context: Arc<SessionContext>,
    /// The judge of its statements.
    pub judge: Arc<crate::guard::Judge>,
    /// Generation of the configuration that the judge belongs to.
    pub generation: u64,
    /// Settings it begins with.
    pub initial: Settings,
    /// Parameters the client was told.
    pub told: Parameters,
    /// The reason given in the start-up message.
    pub reason: Option<Arc<str>>,
}

/// Runs a session to its end.
pub async fn run(session: Session) {
    let Session { server, client, registered, target, context, judge, generation, initial, told, reason } = session;
    target.metrics.session_opened();
    let statements = Arc::clone(&target.statements);
    let mut driver = Driver {
        core: Core::new(judge, context, statements, initial, told, reason),
        limits: Limits::new(Instant::now()),
        input: BytesMut::new(),
        lease: None,
        is_client_gone: false,
        pinned: vec![],
        started: Instant::now(),
        server,
        client,
        registered,
        target,
        generation,
    };
    let why = driver.serve().await;
    driver.end(why).await;
}

struct Driver {
    server: Arc<Server>,
    client: Stream,
    registered: Registered,
    target: Arc<TargetRuntime>,
    core: Core,
    limits: Limits,
    input: BytesMut,
    lease: Option<Lease>,
    /// The client closed its side: what it sent is still done, as Postgres does, but nobody reads the answers.
    is_client_gone: bool,
    /// Pins as the metrics know them.
    pinned: Vec<&'static str>,
    started: Instant,
    generation: u64,
}

/// What woke a session.
#[derive(Debug)]
enum Wake {
    /// Bytes from the client.
    Client,
    /// Bytes from the server.
    Upstream,
    /// The output is sent.
    Flushed,
    /// An order, a deadline or a new configuration.
    Control,
    /// The client is gone.
    ClientGone,
    /// The server is gone.
    UpstreamGone(String),
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitFor {
    /// Anything.
    Traffic,
    /// The output to be sent.
    Flush,
}

impl Driver {
    /// Serves the client until the session is over; returns why, for the record.
    async fn serve(&mut self) -> &'static str {
        loop {
            let link = self.lease.as_mut().map(|lease| &mut lease.connection().link);
            let step = self.core.client(&mut self.input, link);
            self.report();
            let waited = match step {
                Step::End => return "client",
                Step::NeedLease => match self.acquire().await {
                    Ok(()) => continue,
                    Err(why) => return why,
                },
                Step::NeedIntent(record) => {
                    self.record_intent(*record).await;
                    continue;
                }
                // Without a Sync nothing is to be finished.
                Step::NeedInput
                    if self.is_client_gone
                        && (self.core.is_idle() || self.core.is_copying_in || self.core.is_unsynced) =>
                {
                    return "connection lost";
                }
                Step::NeedInput | Step::AwaitReplies => {
                    self.release_if_done();
                    if self.registered.control.ordered() == Order::Drain
                        && let Some(why) = self.control()
                    {
                        return why;
                    }
                    self.wait(WaitFor::Traffic).await
                }
                Step::Drain => self.wait(WaitFor::Flush).await,
            };
            if let Some(why) = self.woken(waited).await {
                return why;
            }
        }
    }

    async fn woken(&mut self, wake: Wake) -> Option<&'static str> {
        match wake {
            Wake::Client | Wake::Flushed => None,
            Wake::Upstream => {
                let lease = self.lease.as_mut()?;
                let taken = self.core.upstream(&mut lease.connection().link);
                if self.core.wants_cancel {
                    self.core.wants_cancel = false;
                    self.cancel();
                }
                match taken {
                    Err(broken) => self.broken(&broken),
                    Ok(()) => {
                        if self.core.drop_lease {
                            return self.refuse_settings();
                        }
                        self.release_if_done();
                        None
                    }
                }
            }
            Wake::UpstreamGone(why) => {
                self.target.metrics.upstream_error("lost");
                tracing::warn!(target = %self.target.name, %why, "upstream connection lost");
                self.lost("The server closed the connection.")
            }
            Wake::ClientGone => {
                if self.core.is_reading() {
                    // Nobody waits for the rows any more.
                    self.cancel();
                    return Some("connection lost");
                }
                self.is_client_gone = true;
                self.core.out.clear();
                None
            }
            Wake::Control => self.control(),
        }
    }

    /// A connection from the pool, while the client is watched. `Err` ends the session.
    async fn acquire(&mut self) -> Result<(), &'static str> {
        let started = Instant::now();
        let pool = Arc::clone(&self.target.pool);
        let mut checkout = pin!(pool.checkout());
        let checked_out = loop {
            if !self.core.out.is_empty()
                && !self.is_client_gone
                && self.client.write_all_buf(&mut self.core.out).await.is_err()
            {
                return Err("connection lost");
            }
            let may_read = self.input.len() < READ_AHEAD && !self.is_client_gone;
            tokio::select! {
                biased;
                checked_out = &mut checkout => break checked_out,
                () = self.registered.control.wake.notified() => {
                    if let Some(why) = self.control() {
                        return Err(why);
                    }
                }
                read = self.client.read_buf(&mut self.input), if may_read => {
                    if !matches!(read, Ok(n) if n > 0) {
                        // Nothing of the statement was sent, so nothing is lost.
                        return Err("connection lost");
                    }
                }
            }
        };
        self.target.metrics.checkout_wait(started.elapsed());
        match checked_out {
            Ok(mut lease) => {
                let connection = lease.connection();
                self.registered.control.cancel.attach(&connection.cancel);
                self.core.state.mark_boundary(&connection.link);
                self.lease = Some(lease);
                Ok(())
            }
            Err(error) => {
                // The message at hand is refused with this.
                self.core.refusal = Some(self.checkout_report(&error));
                Ok(())
            }
        }
    }

    fn checkout_report(&self, error: &CheckoutError) -> Report {
        match error {
            CheckoutError::Full { max, waited } => {
                self.target.metrics.upstream_error("pool_full");
                Report::error(
                    sqlstate::TOO_MANY_CONNECTIONS,
                    format!("no connection to {} became free within {}", self.target.name, format_duration(*waited)),
                )
                .detail(format!("All {max} connections of the pool are in use."))
                .hint("Try again; end transactions sooner, or have pool.max raised for this tier.")
            }
            CheckoutError::Connect(error) => {
                self.target.metrics.upstream_error(error.kind());
                tracing::error!(target = %self.target.name, %error, "cannot connect upstream");
                Report::error(sqlstate::CANNOT_CONNECT, format!("cannot connect to {}", self.target.name))
                    .detail(error.client_text())
                    .hint("Try again; whoever runs pgbelay finds the cause in its log.")
            }
        }
    }

    /// Puts the intent of a guarded write on disk before the upstream sees it (invariant 6).
    ///
    /// Not cancel safe: it is awaited to its end.
    async fn record_intent(&mut self, record: Record) {
        // A BEGIN that goes before the statement travels meanwhile.
        if let Some(lease) = &mut self.lease {
            let connection = lease.connection();
            let mut context = Context::from_waker(std::task::Waker::noop());
            let _progress = poll_send(&mut connection.stream, &mut connection.link.outbox, &mut context);
        }
        let committed = match self.server.audit.commit(record).await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "audit trail cannot be written");
                match self.core.judge.policy.on_audit_failure {
                    OnAuditFailure::Allow => Ok(()),
                    OnAuditFailure::Deny => Err(error.to_string()),
                }
            }
        };
        self.core.intent_recorded(committed);
    }

    /// Returns the connection to the pool once nothing holds it.
    fn release_if_done(&mut self) {
        if self.lease.is_some() && self.core.may_release() {
            self.release();
        }
        self.watch_pins();
    }

    fn release(&mut self) {
        let is_retired = std::mem::take(&mut self.core.retire_lease);
        let may_reuse = self.registered.control.cancel.detach() && !is_retired;
        if let Some(lease) = self.lease.take()
            && may_reuse
        {
            lease.give_back();
        }
    }

    fn watch_pins(&mut self) {
        if self.core.state.pins.is_empty() && self.pinned.is_empty() {
            return;
        }
        let now = self.core.state.pins.reasons();
        for gone in self.pinned.iter().filter(|pin| !now.contains(pin)) {
            self.target.metrics.unpinned(gone);
        }
        for new in now.iter().filter(|pin| !self.pinned.contains(pin)) {
            self.target.metrics.pinned(new);
        }
        self.pinned = now;
    }

    /// The connection's protocol state is in doubt, or the server ended it.
    fn broken(&mut self, broken: &Broken) -> Option<&'static str> {
        let kind = if matches!(broken, Broken::Fatal { .. }) { "ended" } else { "protocol" };
        self.target.metrics.upstream_error(kind);
        tracing::warn!(target = %self.target.name, %broken, "upstream connection given up");
        match broken {
            Broken::Fatal { sqlstate: code, .. } if code == sqlstate::IDLE_IN_TRANSACTION => self.idle_too_long(),
            Broken::Fatal { message, .. } => {
                let detail = format!("The server said: {message}");
                self.lost(&detail)
            }
            Broken::Frame(_) | Broken::Unexpected { .. } => self.lost("The server's answer was not understood."),
        }
    }

    /// Gives up the connection and tells the client.
    fn lost(&mut self, detail: &str) -> Option<&'static str> {
        self.registered.control.cancel.detach();
        self.lease = None;
        let ended = self.core.upstream_lost(&lost_report(detail));
        self.report();
        ended.map(|_| "upstream lost")
    }

    /// The session's settings were not accepted: the message at hand is refused, the connection closed.
    fn refuse_settings(&mut self) -> Option<&'static str> {
        self.registered.control.cancel.detach();
        self.lease = None;
        let report = self.core.refusal.take()?;
        let is_answered = self.core.stepwise.is_some();
        let ended = self.core.upstream_lost(&report);
        if !is_answered {
            self.core.refusal = Some(report);
        }
        ended.map(|_| "upstream lost")
    }

    fn idle_too_long(&mut self) -> Option<&'static str> {
        self.target.metrics.limit(Limit::IdleInTransaction);
        self.record_limit(sqlstate::IDLE_IN_TRANSACTION, "the transaction was idle for too long");
        self.core.fatal(
            Report::fatal(sqlstate::IDLE_IN_TRANSACTION, "terminating connection due to idle-in-transaction timeout")
                .hint("SHOW pgbelay.limits tells the limits of the tier."),
        );
        Some("idle in transaction")
    }

    /// Cancels what runs upstream, in a task of its own.
    fn cancel(&self) {
        let control = Arc::clone(&self.registered.control);
        let target = Arc::clone(&self.target);
        tokio::spawn(async move {
            if let Err(error) = control.cancel.cancel().await {
                target.metrics.upstream_error("cancel");
                tracing::warn!(target = %target.name, %error, "cancel could not be sent");
            }
        });
    }

    /// Something from outside: an order, a deadline, a new configuration.
    fn control(&mut self) -> Option<&'static str> {
        match self.registered.control.ordered() {
            Order::Kill => return self.shut_down(),
            Order::Drain if self.lease.is_none() && self.core.is_idle() => return self.shut_down(),
            Order::Drain | Order::Continue => {}
        }
        if let Some(why) = self.follow_configuration() {
            return Some(why);
        }
        let policy = Arc::clone(&self.core.judge.policy);
        let activity = self.activity();
        match self.limits.due(&policy, activity, Instant::now())? {
            Due::Warning(left) => {
                let minutes = left.as_secs().div_ceil(60);
                let unit = if minutes == 1 { "minute" } else { "minutes" };
                let notice = Report::notice(format!("this session ends in {minutes} {unit}"))
                    .detail(format!("Sessions of people on {} have a limit.", policy.tier))
                    .hint("Finish or commit your work, and connect again.");
                self.core.answer(|out| notice.write(out));
                None
            }
            Due::SessionEnd => {
                self.target.metrics.limit(Limit::SessionTime);
                self.record_limit(sqlstate::SESSION_LIMIT, "the session reached its limit");
                if !self.core.is_idle() {
                    self.cancel();
                }
                self.core.fatal(
                    Report::fatal(sqlstate::SESSION_LIMIT, "terminating connection: the session reached its limit")
                        .detail(format!("Sessions of people on {} have a limit.", policy.tier))
                        .hint("Connect again."),
                );
                Some("session limit")
            }
            Due::CancelStatement => {
                self.target.metrics.limit(Limit::StatementTime);
                self.record_limit(sqlstate::QUERY_CANCELED, "the statement ran too long");
                self.cancel();
                None
            }
            Due::GiveUpStatement => self.lost("The statement ran too long and could not be cancelled."),
            Due::IdleInTransaction => self.idle_too_long(),
        }
    }

    fn shut_down(&mut self) -> Option<&'static str> {
        self.core.fatal(
            Report::fatal(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
                .hint("pgbelay is stopping or the session was ended; connect again."),
        );
        Some("shutdown")
    }

    /// Takes up a new configuration: its policy holds from the next statement on.
    fn follow_configuration(&mut self) -> Option<&'static str> {
        let runtime = self.server.runtime();
        if runtime.generation == self.generation {
            return None;
        }
        let found = runtime.resume(&self.core.context.user, &self.target);
        match found {
            Some((judge, target)) => {
                let old = std::mem::replace(&mut self.core.judge, judge);
                self.core.state.replace_forced(&old.forced, &self.core.judge.forced);
                self.target = target;
                self.generation = runtime.generation;
                None
            }
            None => {
                self.core.fatal(
                    Report::fatal(
                        sqlstate::ADMIN_SHUTDOWN,
                        "terminating connection: its user, role or database is gone",
                    )
                    .detail("The configuration was loaded again without it."),
                );
                Some("configuration")
            }
        }
    }

    fn activity(&mut self) -> Activity {
        if let Some(run) = self.core.replies.iter_mut().find_map(super::replies::Expect::run) {
            return Activity::Running(run.started);
        }
        match self.core.state.transaction {
            TransactionState::Idle if !self.core.is_unsynced => Activity::Idle,
            // Messages without a Sync hold a transaction open, too.
            TransactionState::Idle | TransactionState::InBlock | TransactionState::Failed => {
                Activity::IdleInTransaction
            }
        }
    }

    fn record_limit(&mut self, code: &str, message: &str) {
        let record = Record {
            sqlstate: Some(code.to_owned()),
            message: Some(message.to_owned()),
            reason: self.core.reason.clone(),
            ..Record::of(Event::Limit, &self.core.context)
        };
        self.core.records.push(record);
        self.report();
    }

    /// Hands on what the machine has to tell the audit trail and the metrics.
    fn report(&mut self) {
        for record in self.core.records.drain(..) {
            if let Err(error) = self.server.audit.record(record) {
                tracing::error!(%error, "audit record lost");
            }
        }
        if std::mem::take(&mut self.core.has_violated) {
            self.server.metrics.protocol_error();
        }
        for (judged, duration) in self.core.finished.drain(..) {
            if let Some(permit) = judged.permit() {
                self.target.metrics.statement(judged.class, permit.guards.verdict_name());
            }
            self.target.metrics.statement_seconds(duration);
        }
        for (class, rule, verdict) in self.core.denied.drain(..) {
            self.target.metrics.statement(class, verdict);
            self.target.metrics.denied(rule);
        }
    }

    /// Waits for traffic while both sides' output is sent as fast as they take it.
    ///
    /// Neither side can block the other: as long as one is slow, the other is read only up to a limit.
    async fn wait(&mut self, until: WaitFor) -> Wake {
        let now = Instant::now();
        let policy = Arc::clone(&self.core.judge.policy);
        let activity = self.activity();
        let deadline = self.limits.next(&policy, activity, now);
        self.registered.control.set_deadline(deadline);
        let control = Arc::clone(&self.registered.control);
        let mut notified = pin!(control.wake.notified());
        poll_fn(|cx| {
            if notified.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Control);
            }
            if self.is_client_gone {
                self.core.out.clear();
            } else if poll_send(&mut self.client, &mut self.core.out, cx).is_err() {
                return Poll::Ready(Wake::ClientGone);
            }
            if let Some(lease) = &mut self.lease {
                let connection = lease.connection();
                if let Err(error) = poll_send(&mut connection.stream, &mut connection.link.outbox, cx) {
                    return Poll::Ready(Wake::UpstreamGone(error.to_string()));
                }
                if self.core.out.len() < HIGH_WATER {
                    match poll_receive(&mut connection.stream, &mut connection.link.inbox, cx) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Wake::UpstreamGone("end of stream".to_owned())),
                        Poll::Ready(Ok(_)) => return Poll::Ready(Wake::Upstream),
                        Poll::Ready(Err(error)) => return Poll::Ready(Wake::UpstreamGone(error.to_string())),
                        Poll::Pending => {}
                    }
                }
            }
            let outbox = self.lease.as_mut().map_or(0, |lease| lease.connection().link.outbox.len());
            if until == WaitFor::Flush && self.core.out.len() <= HIGH_WATER / 2 && outbox <= HIGH_WATER / 2 {
                return Poll::Ready(Wake::Flushed);
            }
            if !self.is_client_gone
                && until == WaitFor::Traffic
                && outbox < HIGH_WATER
                && self.input.len() < read_ahead(&self.input)
            {
                match poll_receive(&mut self.client, &mut self.input, cx) {
                    Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Wake::Client),
                    Poll::Ready(_) => return Poll::Ready(Wake::ClientGone),
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The session is over: what is left is sent, the connection given back or closed, and the end recorded.
    async fn end(mut self, why: &'static str) {
        self.release_if_done();
        self.registered.control.cancel.detach();
        self.lease = None;
        for pin in self.pinned.drain(..) {
            self.target.metrics.unpinned(pin);
        }
        // A client that takes nothing any more must not keep the session.
        let goodbye = async {
            if self.client.write_all_buf(&mut self.core.out).await.is_ok() {
                let _closed = self.client.shutdown().await;
            }
        };
        let _sent = tokio::time::timeout(std::time::Duration::from_secs(5), goodbye).await;
        // What was not seen to end has a record of its end all the same.
        self.core.fail_runs(sqlstate::ADMIN_SHUTDOWN);
        self.core.records.push(Record {
            duration: Some(self.started.elapsed()),
            message: Some(why.to_owned()),
            ..Record::of(Event::SessionEnd, &self.core.context)
        });
        self.report();
        self.target.metrics.session_closed();
    }
}

/// How much may be read ahead: a message that must be whole is taken in as a whole, whose size the machine has checked.
fn read_ahead(input: &BytesMut) -> usize {
    match crate::wire::frontend_header(input) {
        Ok(Some(header)) => READ_AHEAD.max(header.size.min(crate::wire::MAX_BUFFERED)),
        Ok(None) | Err(_) => READ_AHEAD,
    }
}

/// Sends as much as the socket takes.
fn poll_send(stream: &mut Stream, out: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    while !out.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, out) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => out.advance(n),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}

/// Reads what is there, at most [`READ_SIZE`] bytes.
fn poll_receive(stream: &mut Stream, into: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut chunk = [std::mem::MaybeUninit::<u8>::uninit(); READ_SIZE];
    let mut buffer = ReadBuf::uninit(&mut chunk);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) => {
            into.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}
