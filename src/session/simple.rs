//! The simple query protocol: one text, answered up to one ReadyForQuery.

use std::borrow::Cow;
use std::sync::Arc;

use super::core::{Core, Progress, Step, body_report};
use super::intent::IntentGate;
use super::place::Placed;
use super::replies::{Aside, Expect, Own};
use super::run::Run;
use super::sequences::FORGET_SEQUENCES;
use super::stepwise::Stepwise;
use crate::guard::{Judged, Route, notice_report};
use crate::policy::{Notice, Pending, Permit, reads_texts_otherwise, sqlstate};
use crate::sql::{Effect, Facts, classify};
use crate::upstream::{Link, SequencesOf};
use crate::wire::{
    BodyError, Report, TransactionState, put_command_complete, put_empty_query, put_query, put_ready, read_query_bytes,
};

impl Core {
    pub(super) fn query(&mut self, body: &[u8], mut link: Option<&mut Link>) -> Progress {
        if !self.replies.is_empty() {
            return self.await_replies(link);
        }
        let (bytes, text) = match read_query_bytes(body).and_then(|bytes| Ok((bytes, self.as_text(bytes)?))) {
            Ok(read) => read,
            Err(error) => return self.refuse_query(&body_report(error), link),
        };
        let text = &*text;
        if !self.state.is_orphaned
            && let Some(report) = self.refusal.take()
        {
            let judged = self.judge_text(text);
            return match judged.permit().is_some() && self.resets_what_was_refused(&judged) {
                true => Progress::Consumed,
                false => self.refuse_query(&report, link),
            };
        }
        let judged = self.judge_text(text);
        if self.is_unsynced
            && let Some(link) = link.as_deref_mut()
            && self.is_answered_here(&judged)
        {
            self.send_own("", Own::EndBatch, link);
            return Progress::Stop(Step::AwaitReplies);
        }
        // A simple query ends the unnamed statement and portal (Postgres documentation, "Extended Query").
        self.prepared.remove("");
        self.portals.remove("");
        match &judged.route {
            Route::Confirm(_)
                if judged.plan_to_confirm.is_some()
                    && self.state.transaction != TransactionState::Failed
                    && !self.state.is_orphaned
                    // The exchange would commit what was sent before it without a Sync.
                    && !self.is_unsynced =>
            {
                self.run_stepwise(&judged)
            }
            Route::Refuse(denial) | Route::Confirm(Pending { denial, .. }) => {
                let report = self.denied(&judged, denial);
                self.refuse_query(&report, link)
            }
            _ if self.state.is_orphaned => self.query_in_lost_block(&judged),
            _ if judged.script.statements.is_empty() => {
                self.answer(put_empty_query);
                self.answer_ready();
                Progress::Consumed
            }
            _ if judged.local().is_some() => {
                if let Some(local) = judged.local() {
                    self.answer_local_query(local);
                }
                self.answer_ready();
                Progress::Consumed
            }
            _ if self.deallocate(&judged) => {
                self.answer_ready();
                Progress::Consumed
            }
            Route::Whole(permit) => self.send_whole(&judged, permit, link, |core, link| core.send_query(bytes, link)),
            // Its statements would be sent as they were read.
            Route::Stepwise(_) | Route::SingleStatement(_) if text.as_bytes() != bytes => {
                self.refuse_query(&body_report(BodyError::Encoding), link)
            }
            Route::Stepwise(_) | Route::SingleStatement(_) => self.run_stepwise(&judged),
        }
    }

    /// Whether the server is not asked.
    fn is_answered_here(&self, judged: &Judged) -> bool {
        judged.script.statements.is_empty() || judged.local().is_some() || self.deallocates_own(judged).is_some()
    }

    fn run_stepwise(&mut self, judged: &Arc<Judged>) -> Progress {
        let run = Run::new(Arc::clone(judged), self.next_number(), self.reason.clone());
        self.count_statement();
        self.note_made(judged);
        self.stepwise = Some(Box::new(Stepwise::new(run)));
        Progress::Consumed
    }

    /// Sends a message whose statements run as they are, once the connection has the session's settings and the audit trail the
    /// intent.
    pub(super) fn send_whole(
        &mut self,
        judged: &Arc<Judged>,
        permit: &Permit,
        link: Option<&mut Link>,
        send: impl FnOnce(&mut Self, &mut Link),
    ) -> Progress {
        let link = match self.place(judged, link) {
            Placed::On(link) => link,
            Placed::Wait(step) => return Progress::Stop(step),
            Placed::Refuse(report, link) => return self.refuse_query(&report, Some(link)),
        };
        if let Some(wait) = self.apply_settings(link) {
            return wait;
        }
        let run = Run::new(Arc::clone(judged), self.next_number(), self.reason.clone());
        match self.require_intent(&run) {
            Ok(()) => {}
            Err(IntentGate::Ask(record)) => return Progress::Stop(Step::NeedIntent(record)),
            Err(IntentGate::Refuse(report)) => return self.refuse_query(&report, Some(link)),
        }
        self.count_statement();
        self.tell_notices(&permit.notices);
        self.hide_foreign_statements(judged, link);
        self.note_sequence_mover(judged, link);
        self.note_made(judged);
        send(self, link);
        self.replies.push_back(Expect::Query(Box::new(run)));
        Progress::Consumed
    }

    /// Answers a query with an error of the proxy's. Inside a transaction block, and behind a batch without a Sync, the server's
    /// transaction is made to fail as well, so that client and server agree (DESIGN §5).
    pub(super) fn refuse_query(&mut self, report: &Report, link: Option<&mut Link>) -> Progress {
        let failed = match self.state.transaction {
            TransactionState::InBlock => Some(TransactionState::Failed),
            before @ (TransactionState::Idle | TransactionState::Failed) => self.is_unsynced.then_some(before),
        };
        match (failed, link) {
            (Some(failed), Some(link)) => {
                self.send_own(&failing_statement(Some(report)), Own::FailQuery, link);
                self.answer(|out| {
                    report.write(out);
                    put_ready(failed, out);
                });
            }
            _ => {
                self.answer(|out| report.write(out));
                self.answer_ready();
            }
        }
        Progress::Consumed
    }

    /// Makes the connection's settings the session's; `Some` while that is under way.
    pub(super) fn apply_settings(&mut self, link: &mut Link) -> Option<Progress> {
        let has_foreign_sequences = self.has_foreign_sequences(link);
        if self.is_unsynced {
            // A query of the proxy's would commit the batch. The settings are those that the batch began with.
            if has_foreign_sequences {
                link.sequences_of = SequencesOf::Nobody;
                self.send_aside(FORGET_SEQUENCES, Aside::ForgetSequences, link);
            }
            return None;
        }
        let settings = self.state.settings_to_send(link);
        if !has_foreign_sequences && settings.is_none() {
            return None;
        }
        if self.is_server_busy() {
            // An error on its way may fail the block, in which nothing can be set any more.
            return Some(self.await_replies(Some(link)));
        }
        let mut sql = settings.unwrap_or_default();
        if has_foreign_sequences {
            link.sequences_of = SequencesOf::Nobody;
            sql.insert_str(0, FORGET_SEQUENCES);
        }
        self.send_query(sql.as_bytes(), link);
        self.replies.push_back(Expect::Own(Own::Settings));
        Some(Progress::Stop(Step::AwaitReplies))
    }

    pub(super) fn tell_notices(&mut self, notices: &[Notice]) {
        for notice in notices {
            let report = notice_report(notice);
            self.answer(|out| report.write(out));
        }
    }

    /// A text as it is judged. Where nothing is guarded it may be in another encoding than UTF-8, if the client has said so: all
    /// that matters to its reading is ASCII, and what is sent are its own bytes. Settings are kept as text, so that a statement
    /// about them must be readable.
    fn as_text<'b>(&self, bytes: &'b [u8]) -> Result<Cow<'b, str>, BodyError> {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Cow::Borrowed(text)),
            Err(_) => BodyError::Encoding,
        };
        let is_unguarded = !self.judge.policy.is_guarded() && !self.judge.policy.is_read_only();
        let encoding = self.told.get("client_encoding").unwrap_or("UTF8");
        if !is_unguarded || encoding == "UTF8" || reads_texts_otherwise("client_encoding", encoding) {
            return Err(error);
        }
        let text = String::from_utf8_lossy(bytes);
        let sets = |facts: &Facts| facts.effects.iter().any(|e| matches!(e, Effect::Set { .. } | Effect::SetUnknown));
        if classify(&text).statements.iter().any(sets) { Err(error) } else { Ok(text) }
    }

    /// Answers a RESET without the server, which takes none of the session's settings any more: a role that was dropped, say.
    fn resets_what_was_refused(&mut self, judged: &Arc<Judged>) -> bool {
        let [facts] = judged.script.statements.as_slice() else { return false };
        let [effect] = facts.effects.as_slice() else { return false };
        let is_reset = std::mem::take(&mut self.has_retried_settings) && self.state.reset_unsent(effect);
        if is_reset {
            let mut run = Run::new(Arc::clone(judged), self.next_number(), self.reason.clone());
            self.count_statement();
            self.finish(&mut run);
            self.answer(|out| put_command_complete(&facts.tag, out));
            self.answer_ready();
        }
        is_reset
    }

    /// A message is on its way that ends a batch without a Sync: what was sent before it is of its transaction.
    pub(super) fn end_batch(&mut self, link: &mut Link) {
        self.is_unsynced = false;
        self.is_unflushed = false;
        self.is_batch_opaque = false;
        link.in_sync = false;
    }

    /// Puts a Query message on its way.
    pub(super) fn send_query(&mut self, sql: &[u8], link: &mut Link) {
        put_query(sql, &mut link.outbox);
        // A simple query takes the unnamed statement's place.
        link.prepared.unnamed = None;
        self.end_batch(link);
    }

    /// The block's connection was lost: as after any error only its end is accepted.
    pub(super) fn query_in_lost_block(&mut self, judged: &Judged) -> Progress {
        match self.end_lost_block(judged) {
            Ok(()) => self.answer(|out| put_command_complete("ROLLBACK", out)),
            Err(report) => self.answer(|out| report.write(out)),
        }
        self.answer_ready();
        Progress::Consumed
    }
}

/// A statement that fails on every server, whatever exists there, and tells the reader of its log why.
pub(super) fn failing_statement(report: Option<&Report>) -> String {
    let rule = report
        .and_then(|r| r.detail.as_deref()?.strip_prefix("rule ")?.split_once(':'))
        .map_or("row-limit", |(rule, _)| rule);
    format!("pgbelay refused a statement in this transaction, rule {rule}")
}

/// Postgres's answer inside a failed block.
pub(super) fn failed_transaction() -> Report {
    Report::error(
        sqlstate::FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
