//! The simple query protocol: one text, answered up to one ReadyForQuery.

use std::sync::Arc;

use super::core::{Core, Progress, Step, body_report};
use super::intent::IntentGate;
use super::place::Placed;
use super::replies::{Expect, Own};
use super::run::Run;
use super::stepwise::Stepwise;
use crate::guard::{Judged, Route, notice_report};
use crate::policy::{Notice, Permit, sqlstate};
use crate::sql::functions::of_function_call;
use crate::upstream::Link;
use crate::wire::{
    Report, TransactionState, put_command_complete, put_empty_query, put_function_call, put_query, put_ready,
    read_function_call, read_query,
};

impl Core {
    pub(super) fn query(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        if !self.replies.is_empty() {
            return self.await_replies(link);
        }
        let text = match read_query(body) {
            Ok(text) => text,
            Err(error) => return self.refuse_query(&body_report(error), link),
        };
        if !self.state.is_orphaned
            && let Some(report) = self.refusal.take()
        {
            return self.refuse_query(&report, link);
        }
        let judged = self.judge_text(text);
        // A simple query ends the unnamed statement and portal (Postgres documentation, "Extended Query").
        self.prepared.remove("");
        self.portals.remove("");
        match &judged.route {
            Route::Refuse(denial) | Route::Confirm(denial) => {
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
            Route::Whole(permit) => {
                self.send_whole(&judged, permit, link, |core, link| core.send_query(&judged.text, link))
            }
            Route::Stepwise(_) | Route::SingleStatement(_) => {
                let run = Run::new(Arc::clone(&judged), self.next_number(), self.reason.clone());
                self.count_statement();
                self.stepwise = Some(Stepwise::new(run));
                Progress::Consumed
            }
        }
    }

    /// FunctionCall calls a function by number. Those for large objects are judged as the SELECT that would call them; no others
    /// are let through, since what a number means is for the server to say.
    pub(super) fn function_call(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        if !self.replies.is_empty() {
            return self.await_replies(link);
        }
        let function = match read_function_call(body) {
            Ok(number) => of_function_call(number),
            Err(error) => return self.refuse_query(&body_report(error), link),
        };
        if let Some(report) = self.refusal.take() {
            return self.refuse_query(&report, link);
        }
        let Some(function) = function else { return self.refuse_query(&unknown_function(), link) };
        let judged = self.judge_text(&format!("SELECT pg_catalog.{function}()"));
        match &judged.route {
            Route::Refuse(denial) | Route::Confirm(denial) => {
                let report = self.denied(&judged, denial);
                self.refuse_query(&report, link)
            }
            _ if self.state.is_orphaned => self.query_in_lost_block(&judged),
            Route::Whole(permit) => self.send_whole(&judged, permit, link, |_, link| {
                put_function_call(body, &mut link.outbox);
                link.in_sync = false;
            }),
            Route::Stepwise(_) | Route::SingleStatement(_) => self.refuse_query(&unknown_function(), link),
        }
    }

    /// Sends a message whose statements run as they are, once the connection has the session's settings and the audit trail the
    /// intent.
    fn send_whole(
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
        send(self, link);
        self.replies.push_back(Expect::Query(Box::new(run)));
        Progress::Consumed
    }

    /// Answers a query with an error of the proxy's. Inside a transaction block the server's transaction is made to fail as
    /// well, so that client and server agree (DESIGN §5).
    pub(super) fn refuse_query(&mut self, report: &Report, link: Option<&mut Link>) -> Progress {
        match (self.state.transaction, link) {
            (TransactionState::InBlock, Some(link)) => {
                self.send_own(&failing_statement(Some(report)), Own::FailQuery, link);
                self.answer(|out| {
                    report.write(out);
                    put_ready(TransactionState::Failed, out);
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
        let forget = self.forget_foreign_sequences(link);
        let sql = match (forget, self.state.settings_to_send(link)) {
            (None, None) => return None,
            (forget, settings) => format!("{}{}", forget.unwrap_or_default(), settings.unwrap_or_default()),
        };
        self.send_query(&sql, link);
        self.replies.push_back(Expect::Own(Own::Settings));
        Some(Progress::Stop(Step::AwaitReplies))
    }

    pub(super) fn tell_notices(&mut self, notices: &[Notice]) {
        for notice in notices {
            let report = notice_report(notice);
            self.answer(|out| report.write(out));
        }
    }

    /// Puts a Query message on its way.
    pub(super) fn send_query(&mut self, sql: &str, link: &mut Link) {
        put_query(sql.as_bytes(), &mut link.outbox);
        // A simple query takes the unnamed statement's place.
        link.prepared.unnamed = None;
        link.in_sync = false;
    }

    /// The block's connection was lost: as after any error only its end is accepted.
    fn query_in_lost_block(&mut self, judged: &Judged) -> Progress {
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

fn unknown_function() -> Report {
    Report::error(sqlstate::NOT_SUPPORTED, "this function cannot be called with a FunctionCall message")
        .detail("pgbelay inspects statements; a FunctionCall names a function by number only, and only those for large objects are known.")
        .hint("Call the function with SELECT instead.")
}

/// Postgres's answer inside a failed block.
pub(super) fn failed_transaction() -> Report {
    Report::error(
        sqlstate::FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
