//! Gives the state machine its bytes, connections and clock.

mod io;
mod outside;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use io::{WaitFor, Wake, client_gone};
use tokio::io::AsyncWriteExt;

use super::control::{Order, Registered};
use super::core::{Core, Step};
use super::limits::Limits;
use super::lost::lost_report;
use super::server_side::Broken;
use super::state::Pin;
use crate::audit::{Event, Record, SessionContext};
use crate::config::{OnAuditFailure, User};
use crate::policy::sqlstate;
use crate::server::{Kept, Server, TargetRuntime};
use crate::startup::Place;
use crate::stream::Stream;
use crate::upstream::{CheckoutError, Lease, Parameters, Reach, Settings};
use crate::wire::{Report, TransactionState};

/// Everything a session begins with; made by the start-up alone.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub server: Arc<Server>,
    /// The client, authenticated.
    pub client: Stream,
    /// What the client is told first.
    pub greeting: BytesMut,
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
    /// The user, as it has logged in.
    pub user: Arc<User>,
    /// Its places among the sessions of its user and of its database.
    pub places: [Place; 2],
}

/// Runs a session to its end.
///
/// The future is what an idle client costs: what is seldom awaited is boxed, so that it is no larger for it.
pub fn run(session: Box<Session>) -> impl Future<Output = ()> + Send {
    let mut driver = Driver::new(*session);
    async move {
        let why = driver.serve().await;
        let target = driver.core.has_made_code().then(|| Arc::clone(&driver.target));
        driver.end(why).await;
        // Whatever ended it, what it has committed is there.
        if let Some(target) = target {
            target.ask_for_catalog();
        }
    }
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
    /// The right to keep the connection for the values of sequences.
    kept: Option<Kept>,
    /// Pins as the metrics know them.
    pinned: Vec<&'static str>,
    started: Instant,
    generation: u64,
    /// Statements sent when nothing was in flight.
    ended: u64,
    user: Arc<User>,
    /// Held as long as the session lives.
    _places: [Place; 2],
}

impl Driver {
    fn new(session: Session) -> Self {
        let Session {
            server,
            client,
            greeting,
            registered,
            target,
            context,
            judge,
            generation,
            initial,
            told,
            reason,
            user,
            places,
        } = session;
        target.metrics.session_opened();
        let statements = Arc::clone(&target.statements);
        let mut core = Core::new(judge, context, statements, initial, told, reason);
        core.out = greeting;
        if core.judge.policy.peak.is_some() {
            // They may have begun or ended since it was admitted.
            registered.control.wake();
        }
        Self {
            core,
            limits: Limits::new(Instant::now()),
            input: BytesMut::new(),
            lease: None,
            is_client_gone: false,
            kept: None,
            pinned: vec![],
            started: Instant::now(),
            server,
            client,
            registered,
            target,
            generation,
            ended: 0,
            user,
            _places: places,
        }
    }

    /// Serves the client until the session is over; returns why, for the record.
    async fn serve(&mut self) -> &'static str {
        loop {
            self.tell_progress();
            // Not while the proxy's own settings are on their way, with the statement behind them.
            if self.registered.control.has_missed() && (self.core.is_idle() || self.is_running()) {
                Box::pin(self.take_missed_cancel()).await;
            }
            if let Some(cancel) = self.cancel_under_way()
                && let Some(why) = Box::pin(self.let_pass(cancel)).await
            {
                return why;
            }
            self.follow_catalog();
            let link = self.lease.as_mut().map(|lease| &mut lease.connection().link);
            self.core.is_audit_failing = !self.server.audit.is_healthy();
            let step = self.core.client(&mut self.input, link);
            // A cancel must not be at the server before what it is meant for.
            self.send_upstream();
            self.tell_progress();
            self.report();
            let waited = match step {
                Step::End => return "client",
                Step::NeedLease(reach) => match self.acquire(reach).await {
                    Ok(()) => continue,
                    Err(why) => return why,
                },
                Step::NeedCatalog => match Box::pin(self.load_catalog()).await {
                    None => continue,
                    Some(why) => return why,
                },
                Step::NeedIntent(record) => {
                    Box::pin(self.record_intent(*record)).await;
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
                self.registered.control.has_heard();
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
    async fn acquire(&mut self, reach: Reach) -> Result<(), &'static str> {
        if self.lease.is_some() {
            // It is to a server that will not do.
            self.release();
        }
        match self.target.checkout_idle(reach) {
            Some(lease) => {
                self.target.metrics.checkout_wait(Duration::ZERO);
                self.take(lease);
                Ok(())
            }
            None => Box::pin(self.wait_for_lease(reach)).await,
        }
    }

    async fn wait_for_lease(&mut self, reach: Reach) -> Result<(), &'static str> {
        let started = Instant::now();
        let target = Arc::clone(&self.target);
        let mut checkout = pin!(target.checkout(reach, Duration::MAX));
        self.registered.control.begin_wait();
        let checked_out = loop {
            tokio::select! {
                biased;
                checked_out = &mut checkout => break Some(checked_out),
                () = self.registered.control.wake.notified() => {
                    // Or just before the wait began.
                    if self.registered.control.is_wait_cancelled() || self.registered.control.take_missed().is_some() {
                        break None;
                    }
                    if let Some(why) = self.control() {
                        return Err(why);
                    }
                }
                // Nothing of the statement was sent, so nothing is lost.
                () = client_gone(&mut self.client, &mut self.core.out, &mut self.input), if !self.is_client_gone => {
                    return Err("connection lost");
                }
            }
        };
        self.target.metrics.checkout_wait(started.elapsed());
        let is_cancelled = self.registered.control.end_wait();
        match checked_out.filter(|_| !is_cancelled) {
            None => {
                self.core.refusal =
                    Some(cancelled("It was still waiting for a connection to the server; nothing of it was run."));
                Ok(())
            }
            Some(Ok(lease)) => {
                self.take(lease);
                Ok(())
            }
            Some(Err(error)) => {
                // The message at hand is refused with this.
                self.core.refusal = Some(self.checkout_report(&error));
                Ok(())
            }
        }
    }

    fn take(&mut self, mut lease: Lease) {
        let connection = lease.connection();
        self.registered.control.cancel.attach(&connection.cancel);
        connection.link.hold(self.registered.control.pid);
        self.core.state.mark_boundary(&connection.link);
        self.lease = Some(lease);
    }

    fn checkout_report(&self, error: &CheckoutError) -> Report {
        match error {
            CheckoutError::Full { max, waited } => {
                self.target.metrics.upstream_error("pool_full");
                self.target.full(*max, *waited)
            }
            CheckoutError::Paused { waited } => {
                self.target.metrics.upstream_error("paused");
                self.target.paused(*waited)
            }
            CheckoutError::Connect(error) => self.target.unreachable(error),
        }
    }

    /// Puts the intent of a guarded write on disk before the upstream sees it (invariant 6).
    ///
    /// Not cancel safe: it is awaited to its end.
    async fn record_intent(&mut self, record: Record) {
        // A BEGIN that goes before the statement travels meanwhile.
        self.send_upstream();
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
        self.keep_for_sequences();
        if self.lease.is_some() && self.core.may_release() {
            self.release();
        }
        self.watch_pins();
    }

    /// A connection that is kept for the values of sequences alone is kept only as far as the pool can spare it.
    fn keep_for_sequences(&mut self) {
        if self.target.pause.is_on() {
            // A pause would wait for ever.
            self.core.state.pins.remove(&Pin::Sequence);
        }
        if !self.core.state.pins.has(&Pin::Sequence) {
            self.kept = None;
        } else if self.kept.is_none() {
            self.kept = self.target.keep();
            if self.kept.is_none() {
                self.core.state.pins.remove(&Pin::Sequence);
            }
        }
    }

    fn release(&mut self) {
        let is_retired = std::mem::take(&mut self.core.retire_lease);
        let may_reuse = self.registered.control.cancel.detach() && !is_retired;
        if let Some(mut lease) = self.lease.take()
            && may_reuse
        {
            self.core.state.give_back(&mut lease.connection().link);
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
        if self.pinned != now {
            self.registered.control.set_pins(&now);
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
            Broken::Fatal { sqlstate: code, response, .. } if self.core.is_using_server() => {
                self.registered.control.cancel.detach();
                self.lease = None;
                self.core.ended_by_server(code, response);
                self.report();
                Some("ended by the server")
            }
            Broken::Fatal { message, .. } => {
                let detail = format!("The server said: {message}");
                self.lost(&detail)
            }
            Broken::ReadsOtherwise { name, .. } => {
                self.registered.control.cancel.detach();
                self.lease = None;
                self.core.state.pins.clear();
                self.core.fatal(
                    Report::fatal(
                        sqlstate::INSUFFICIENT_PRIVILEGE,
                        format!("terminating connection: {name} was changed"),
                    )
                    .detail("rule text-trap-setting: the server would read texts otherwise than pgbelay judges them.")
                    .hint("A function of the database did that; have it changed, or call it directly on the server."),
                );
                Some("text trap")
            }
            Broken::TooLong { tag, .. } => {
                self.lost(&format!("The server sent a message of type {:?} that is too long to be held.", *tag as char))
            }
            Broken::Frame(_) | Broken::Unexpected { .. } => self.lost("The server's answer was not understood."),
        }
    }

    /// Gives up the connection and tells the client.
    fn lost(&mut self, detail: &str) -> Option<&'static str> {
        self.registered.control.cancel.detach();
        if let Some(lease) = &mut self.lease {
            // Only this connection, or the whole server.
            lease.connection().link.is_suspect = true;
        }
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
        // It may be the connection's fault: another one is tried before the client is told. A cancel is its own doing.
        let tries_again = !is_answered
            && report.sqlstate != sqlstate::QUERY_CANCELED
            && self.core.state.transaction == TransactionState::Idle
            && !std::mem::replace(&mut self.core.has_retried_settings, true);
        let ended = self.core.upstream_lost(&report);
        if !is_answered && !tries_again {
            self.core.refusal = Some(report);
        }
        ended.map(|_| "upstream lost")
    }

    /// Hands on what the machine has to tell the audit trail and the metrics.
    fn report(&mut self) {
        // Their memory is given back: an idle client has none.
        for record in std::mem::take(&mut self.core.records) {
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
        for limit in self.core.limits_hit.drain(..) {
            self.target.metrics.limit(limit);
        }
        for rule in self.core.would_deny.drain(..) {
            self.target.metrics.would_deny(rule);
        }
        for (class, rule, verdict) in self.core.denied.drain(..) {
            self.target.metrics.statement(class, verdict);
            self.target.metrics.denied(rule);
        }
    }

    /// The session is over: what is left is sent, the connection given back or closed, and the end recorded.
    async fn end(&mut self, why: &'static str) {
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

fn cancelled(detail: &str) -> Report {
    Report::error(sqlstate::QUERY_CANCELED, "canceling statement due to user request").detail(detail)
}
