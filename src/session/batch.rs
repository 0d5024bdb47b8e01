//! A batch of extended messages up to its Sync: one transaction for the server, which a refusal makes fail as a whole.

use super::core::{Core, Progress, body_report};
use super::replies::{Aside, Expect, Own, Stage};
use super::simple::failing_statement;
use crate::sql::Effect;
use crate::upstream::Link;
use crate::wire::{Report, TransactionState, put_bare, put_bind_head, put_execute, put_parse, put_target};

impl Core {
    pub(super) fn sync(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        if !body.is_empty() {
            self.refuse_extended(&body_report(crate::wire::BodyError::Leftover), None);
        }
        // What Sync would commit must have been counted (DESIGN §5); and a COPY from the client makes the server ignore a
        // Sync, so whether it will is known first.
        if self.has_limited_write() || self.has_copy_in() {
            return self.await_replies(link);
        }
        match link {
            Some(link) if self.is_unsynced => {
                put_bare(b'S', &mut link.outbox);
                self.syncs.0 += 1;
                self.replies.push_back(Expect::Sync);
                self.is_unsynced = false;
                self.is_unflushed = false;
            }
            // The status that it tells is known once everything before it is answered.
            link if self.is_server_busy() => {
                return self.await_replies(link);
            }
            _ => {
                self.is_unsynced = false;
                self.answer_ready();
            }
        }
        self.is_skipping = false;
        self.has_reset = false;
        self.is_batch_opaque = false;
        Progress::Consumed
    }

    pub(super) fn flush(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        if !body.is_empty() {
            return self.refuse_extended(&body_report(crate::wire::BodyError::Leftover), link);
        }
        if let Some(link) = link.filter(|_| self.is_unsynced) {
            put_bare(b'H', &mut link.outbox);
            self.is_unflushed = false;
        }
        Progress::Consumed
    }

    pub(super) fn expect_extended(&mut self, expected: Expect, link: &mut Link) {
        self.replies.push_back(expected);
        self.is_unsynced = true;
        self.is_unflushed = true;
        link.in_sync = false;
    }

    /// Answers a message of the extended protocol with an error of the proxy's. What was sent before it since the last Sync is
    /// one transaction for the server, so that is made to fail as well (DESIGN §5).
    pub(super) fn refuse_extended(&mut self, report: &Report, link: Option<&mut Link>) -> Progress {
        match link {
            Some(link) if self.is_unsynced || self.state.transaction == TransactionState::InBlock => {
                self.fail_batch(Some(report.clone()), link);
            }
            _ => self.answer(|out| report.write(out)),
        }
        self.is_skipping = true;
        Progress::Consumed
    }

    /// Makes the server's transaction fail, and tells the client `report` when it has.
    pub(super) fn fail_batch(&mut self, report: Option<Report>, link: &mut Link) {
        put_parse("", failing_statement(report.as_ref()).as_bytes(), &[0, 0], &mut link.outbox);
        link.prepared.unnamed = None;
        self.expect_extended(Expect::Own(Own::FailParse(report)), link);
    }

    /// Makes the transaction of this batch READ ONLY.
    pub(super) fn make_read_only(&mut self, link: &mut Link) {
        let sql = "SELECT pg_catalog.set_config('transaction_read_only', 'on', true)";
        self.send_aside(sql, Aside::ReadOnly, link);
    }

    /// Runs a statement of the proxy's own inside the client's batch. Names of its own keep the client's unnamed statement and
    /// portal.
    pub(super) fn send_aside(&mut self, sql: &str, what: Aside, link: &mut Link) {
        const NAME: &str = "pgbelay_aside";
        put_parse(NAME, sql.as_bytes(), &[0, 0], &mut link.outbox);
        put_bind_head(NAME, NAME, 6, &mut link.outbox);
        link.outbox.extend_from_slice(&[0; 6]);
        put_execute(NAME, &mut link.outbox);
        put_target(b'C', b'P', NAME, &mut link.outbox);
        put_target(b'C', b'S', NAME, &mut link.outbox);
        self.expect_extended(Expect::Own(Own::Aside { what, closes: 2 }), link);
    }

    /// Whether something is in flight that changes transaction, settings or prepared statements.
    pub(super) fn has_effects_in_flight(&self) -> bool {
        self.replies.iter().any(|expected| match expected {
            Expect::Query(_) => true,
            Expect::Execute(run) => {
                run.step().is_some_and(|s| s.leaves_state)
                    || run.effects().iter().any(|effect| !matches!(effect, Effect::Show(_)))
            }
            expected => expected.is_own() && expected.is_simple(),
        })
    }

    /// Whether a write is in flight whose row count has not been seen.
    pub(super) fn has_limited_write(&self) -> bool {
        self.replies.iter().any(|expected| match expected {
            Expect::Execute(run) => run.step().is_some_and(|s| s.max_rows_written.is_some()),
            Expect::Own(Own::Aside { what: Aside::Count(Stage::After), .. }) => true,
            _ => false,
        })
    }

    /// Whether a function has been called in this batch that may have changed how the server reads texts. The server reports a
    /// change only before ReadyForQuery.
    pub(super) fn has_opaque_in_flight(&self) -> bool {
        self.is_unsynced && self.judge.policy.is_guarded() && self.is_batch_opaque
    }

    /// Whether a read is in flight that may run over its limit.
    pub(super) fn has_limited_read(&self) -> bool {
        self.replies.iter().any(|expected| match expected {
            Expect::Execute(run) => run.max_rows_returned().is_some() || self.judge.policy.max_bytes_returned.is_some(),
            _ => false,
        })
    }

    /// Whether a COPY from the client is in flight.
    pub(super) fn has_copy_in(&self) -> bool {
        self.replies.iter().any(|expected| match expected {
            Expect::Query(run) | Expect::Step(run) | Expect::SingleStep(run) | Expect::Execute(run) => {
                run.judged.is_copy_in()
            }
            _ => false,
        })
    }
}
