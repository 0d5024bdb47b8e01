//! The upstream connection is lost in the middle: what the client is told, and what is left of its session.

use super::core::{Core, Step};
use super::replies::{Expect, Own};
use super::server_side::Partial;
use super::simple::failed_transaction;
use crate::guard::Judged;
use crate::policy::sqlstate;
use crate::sql::Effect;
use crate::wire::{Report, TransactionState, put_parse_complete, put_ready};

impl Core {
    /// Whether something of the client's depends on the server process: a statement in flight, an open transaction, a pin.
    pub(super) fn is_using_server(&self) -> bool {
        !self.state.pins.is_empty()
            || self.state.transaction != TransactionState::Idle
            || self.replies.iter().any(|expected| !matches!(expected, Expect::Own(Own::Settings | Own::Doubt)))
    }

    /// The server has ended its process with this ErrorResponse, and with that ends the session, as it would on a connection of
    /// the client's own: somebody wanted rid of just this (`pg_terminate_backend`), or of all (a shutdown).
    pub(super) fn ended_by_server(&mut self, code: &str, response: &[u8]) {
        self.fail_runs(code);
        self.answer_in_turn();
        self.replies.clear();
        self.out.extend_from_slice(response);
    }

    /// Answers everything in flight with `report` and keeps the session, where Postgres semantics allow: not when the session
    /// had state on the connection, nor in the middle of a row. `Some` when the session is over.
    pub(super) fn upstream_lost(&mut self, report: &Report) -> Option<Step> {
        if matches!(self.partial, Partial::Forward(_)) {
            // Half a message was sent: nothing well-formed can follow it.
            return Some(Step::End);
        }
        if !self.state.pins.is_empty() {
            let reasons = self.state.pins.reasons().join(", ");
            self.fail_runs(report.sqlstate);
            let fatal = Report::fatal(report.sqlstate, report.message.clone())
                .detail(format!("The session's state on the lost connection ({reasons}) cannot be made again."))
                .hint("Connect again.");
            self.replies.clear();
            return Some(self.fatal(fatal));
        }
        self.partial = Partial::Nothing;
        self.is_copying_in = false;
        self.is_muted = false;
        self.drop_lease = false;
        self.retire_lease = false;
        self.has_reset = false;
        if std::mem::take(&mut self.has_created) {
            self.statements.forget();
        }
        self.portals.clear();
        self.fail_runs(report.sqlstate);
        let was_in_block = self.state.transaction != TransactionState::Idle
            && self.stepwise.as_ref().is_none_or(|s| s.is_in_clients_block())
            // A COMMIT whose answer is lost has failed, or not: the block is over as after any failed COMMIT.
            && !self.replies.iter_mut().filter_map(Expect::run).any(|run| Ending::of(&run.judged).is_some());
        self.state.forget_boundary();
        if was_in_block {
            self.state.transaction = TransactionState::Failed;
            self.state.is_orphaned = true;
        } else {
            self.state.transaction = TransactionState::Idle;
        }
        self.answer_in_flight(report);
        None
    }

    fn answer_in_flight(&mut self, report: &Report) {
        let transaction = self.state.transaction;
        self.queued = 0;
        self.syncs.1 = self.syncs.0;
        let replies = std::mem::take(&mut self.replies);
        if self.stepwise.take().is_some() {
            report.write(&mut self.out);
            put_ready(transaction, &mut self.out);
            self.is_unsynced = false;
            return;
        }
        let mut has_failed = false;
        let mut was_told = false;
        for expected in replies {
            match expected {
                Expect::Answer(bytes) if !has_failed => self.out.extend_from_slice(&bytes),
                Expect::Known(_) if !has_failed => put_parse_complete(&mut self.out),
                Expect::Answer(_) => {}
                Expect::Known(undo) => self.prepared.undo(undo),
                Expect::Query(_) => {
                    report.write(&mut self.out);
                    was_told = true;
                    put_ready(transaction, &mut self.out);
                    has_failed = false;
                }
                // Its answer to the client stands behind it.
                Expect::Own(Own::FailQuery) => {}
                // The message that waited for its settings is looked at again.
                Expect::Own(Own::Settings | Own::Doubt) => {}
                Expect::Sync => {
                    if !has_failed {
                        report.write(&mut self.out);
                        was_told = true;
                    }
                    put_ready(transaction, &mut self.out);
                    has_failed = false;
                }
                _ if has_failed => {}
                _ => {
                    report.write(&mut self.out);
                    was_told = true;
                    has_failed = true;
                }
            }
        }
        if has_failed {
            self.is_skipping = true;
        } else if self.state.is_orphaned && !was_told {
            // The client hears why its block has failed when it next says something.
            self.refusal.get_or_insert_with(|| report.clone());
        }
        self.is_unsynced = false;
        self.is_unflushed = false;
    }

    /// A statement in a block that was lost with its connection. `Ok` when it ends the block, which counts as rolled back; the
    /// error otherwise, and for a COMMIT that is the first to hear of the loss.
    pub(super) fn end_lost_block(&mut self, judged: &Judged) -> Result<(), Report> {
        let untold = self.refusal.take();
        let Some(ending) = Ending::of(judged) else { return Err(untold.unwrap_or_else(failed_transaction)) };
        self.state.is_orphaned = false;
        self.state.transaction = TransactionState::Idle;
        untold.filter(|_| ending == Ending::Commit).map_or(Ok(()), Err)
    }

    /// Ends every statement that has not ended, with this SQLSTATE.
    pub(super) fn fail_runs(&mut self, code: &str) {
        let mut stepwise = self.stepwise.as_mut().and_then(|s| s.run.take());
        let mut replies = std::mem::take(&mut self.replies);
        let mut held = self.counting.take_held();
        let in_flight = replies.iter_mut().filter_map(Expect::run);
        for run in in_flight.chain(stepwise.as_deref_mut()).chain(held.as_deref_mut()) {
            run.sqlstate.get_or_insert_with(|| code.to_owned());
            self.finish(run);
        }
        self.replies = replies;
    }
}

/// How a statement ends a transaction block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Commit,
    Rollback,
}

impl Ending {
    /// Of a text that is one statement.
    fn of(judged: &Judged) -> Option<Self> {
        let [only] = judged.script.statements.as_slice() else { return None };
        only.effects.iter().find_map(|effect| match effect {
            Effect::Commit { .. } | Effect::PrepareTransaction => Some(Ending::Commit),
            Effect::Rollback { .. } => Some(Ending::Rollback),
            _ => None,
        })
    }
}

/// What a client is told when the server goes away.
pub(super) fn lost_report(detail: &str) -> Report {
    Report::error(sqlstate::CONNECTION_FAILURE, "the connection to the database server was lost")
        .detail(detail.to_owned())
        .hint("A statement that was running may or may not have taken effect; an open transaction was rolled back. Try again.")
}
