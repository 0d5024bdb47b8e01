//! What reaches a session from outside its traffic: orders, deadlines, a new configuration.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::control::{Missed, Order};
use super::super::limits::{Activity, Due};
use super::super::made::Behind;
use super::super::replies::Expect;
use super::io::{client_gone, read_available};
use super::{Driver, cancelled};
use crate::audit::{Event, Record};
use crate::policy::sqlstate;
use crate::server::FIRST_STATEMENT;
use crate::telemetry::Limit;
use crate::upstream::{CancelTarget, ConnectError};
use crate::wire::{Report, TransactionState};

impl Driver {
    /// Something from outside: an order, a deadline, a new configuration.
    pub(super) fn control(&mut self) -> Option<&'static str> {
        match self.registered.control.ordered() {
            Order::Kill => return self.shut_down(),
            Order::Drain if self.lease.is_none() && self.core.is_idle() && !self.has_just_begun() => {
                return self.shut_down();
            }
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

    /// Whether the client had no chance yet to do something with its session.
    fn has_just_begun(&self) -> bool {
        self.core.statement_no == 0 && self.started.elapsed() < FIRST_STATEMENT
    }

    fn shut_down(&mut self) -> Option<&'static str> {
        if !self.core.is_idle() {
            // The server would run it to its end for nobody.
            self.cancel();
        }
        self.core.fatal(
            Report::fatal(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
                .hint("pgbelay is stopping or the session was ended; connect again."),
        );
        Some("shutdown")
    }

    /// Takes up a new configuration, or the policy of other hours: it holds from the next statement on.
    fn follow_configuration(&mut self) -> Option<&'static str> {
        let runtime = self.server.runtime();
        match runtime.resume(&self.user, &self.target, SystemTime::now()) {
            Some((judge, _)) if runtime.generation == self.generation && self.core.judge.is_made_of(&judge) => None,
            Some((judge, target)) => {
                let old = Arc::clone(&self.core.judge);
                self.core.follow(judge);
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

    /// The session has made code: the catalog is loaded before its next statement is judged. Returns why the session is over,
    /// if it is meanwhile.
    pub(super) async fn load_catalog(&mut self) -> Option<&'static str> {
        let ticket = match self.core.catalog_behind() {
            Behind::Awaited(ticket) | Behind::Asked(ticket) => ticket,
            Behind::Nothing | Behind::Changed => self.target.ask_for_catalog(),
        };
        let (target, server) = (Arc::clone(&self.target), Arc::clone(&self.server));
        let mut loading = pin!(target.load_catalog(&server, ticket));
        let is_loaded = loop {
            tokio::select! {
                is_loaded = &mut loading => break is_loaded,
                () = self.registered.control.wake.notified() => {
                    if let Some(why) = self.control() {
                        return Some(why);
                    }
                }
                // What it has sent is still done.
                () = client_gone(&mut self.client, &mut self.core.out, &mut self.input), if !self.is_client_gone => {
                    self.is_client_gone = true;
                    self.core.out.clear();
                }
            }
        };
        if is_loaded {
            self.core.catalog_loaded();
        } else {
            // What it has made stays under suspicion until a later attempt has gone well.
            self.core.catalog_failed(ticket);
        }
        None
    }

    /// Has the catalog loaded in the background for all other sessions, and notes when it has been.
    pub(super) fn follow_catalog(&mut self) {
        match self.core.catalog_behind() {
            Behind::Changed => {
                let ticket = self.target.ask_for_catalog();
                self.core.catalog_asked(ticket);
            }
            Behind::Awaited(ticket) | Behind::Asked(ticket) if self.target.has_catalog(ticket) => {
                self.core.catalog_loaded();
            }
            Behind::Nothing | Behind::Awaited(_) | Behind::Asked(_) => {}
        }
    }

    pub(super) fn idle_too_long(&mut self) -> Option<&'static str> {
        self.target.metrics.limit(Limit::IdleInTransaction);
        self.record_limit(sqlstate::IDLE_IN_TRANSACTION, "the transaction was idle for too long");
        self.core.fatal(
            Report::fatal(sqlstate::IDLE_IN_TRANSACTION, "terminating connection due to idle-in-transaction timeout")
                .hint("SHOW pgbelay.limits tells the limits of the tier."),
        );
        Some("idle in transaction")
    }

    /// Cancels what runs upstream, in a task of its own.
    pub(super) fn cancel(&self) {
        self.send_cancel(self.registered.control.cancel.cancel());
    }

    fn send_cancel(&self, cancelling: impl Future<Output = Result<(), ConnectError>> + Send + 'static) {
        let target = Arc::clone(&self.target);
        tokio::spawn(async move {
            if let Err(error) = cancelling.await {
                target.metrics.upstream_error("cancel");
                tracing::warn!(target = %target.name, %error, "cancel could not be sent");
            }
        });
    }

    /// Lets cancels know whether there is something for them at the server.
    pub(super) fn tell_progress(&mut self) {
        let statements = self.core.statement_no;
        if self.core.is_idle() {
            self.ended = statements;
        }
        self.registered.control.set_progress(statements, self.is_running());
    }

    /// Whether a statement of the client's runs.
    pub(super) fn is_running(&self) -> bool {
        self.core.statement_no != self.ended
    }

    /// A cancel came when nothing ran. What the client has sent before it may be read only now: it is not sent to the server.
    pub(super) async fn take_missed_cancel(&mut self) {
        // Bytes that have arrived are known behind this.
        tokio::task::yield_now().await;
        read_available(&mut self.client, &mut self.input);
        match self.registered.control.take_missed() {
            Some(Missed::SentSince) => self.send_cancel(self.registered.control.cancel_running()),
            Some(Missed::NotSent) => {
                let is_statement = matches!(self.input.first(), Some(b'Q' | b'P' | b'B' | b'D' | b'E' | b'F'));
                if is_statement {
                    self.core.refusal =
                        Some(cancelled("It had not been sent to the server yet; nothing of it was run."));
                }
            }
            None => {}
        }
    }

    /// While a cancel is on its way to the connection, nothing new is sent there: it is meant for what came before. Once the
    /// server has closed the cancel's own connection, the signal is sent, and nothing runs that it could hit.
    pub(super) fn cancel_under_way(&mut self) -> Option<Arc<CancelTarget>> {
        if self.input.is_empty() || !self.core.is_idle() {
            return None;
        }
        let cancel = &self.lease.as_mut()?.connection().cancel;
        cancel.is_sending().then(|| Arc::clone(cancel))
    }

    /// Waits until a cancel has been sent. `Some` ends the session.
    pub(super) async fn let_pass(&mut self, cancel: Arc<CancelTarget>) -> Option<&'static str> {
        loop {
            tokio::select! {
                () = cancel.sent() => return None,
                // What it has sent is still done.
                () = client_gone(&mut self.client, &mut self.core.out, &mut self.input), if !self.is_client_gone => {
                    self.is_client_gone = true;
                    self.core.out.clear();
                }
                () = self.registered.control.wake.notified() => {
                    if let Some(why) = self.control() {
                        return Some(why);
                    }
                }
            }
        }
    }

    pub(super) fn activity(&mut self) -> Activity {
        if let Some(run) = self.core.replies.iter_mut().find_map(Expect::run) {
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
}
