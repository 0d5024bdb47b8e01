//! The extended query protocol: prepared statements, portals, pipelines up to Sync.

use std::sync::Arc;

use super::core::{Core, Progress, Step, behind_opaque, body_report};
use super::count::COUNT;
use super::intent::IntentGate;
use super::place::Placed;
use super::portals::{Portal, PortalUndo, no_portal};
use super::prepared::Prepared;
use super::replies::{Aside, Expect, Own, Stage};
use super::run::Run;
use super::simple::failed_transaction;
use crate::guard::{Judged, LocalAction, Route};
use crate::policy::sqlstate;
use crate::sql::Effect;
use crate::upstream::{Link, Statement};
use crate::wire::{
    BindView, ParseView, Report, Target, TransactionState, put_bind_complete, put_bind_head, put_close_complete,
    put_command_complete, put_empty_query, put_execute, put_no_data, put_no_parameters, put_parse, put_target,
    read_execute,
};

impl Core {
    pub(super) fn parse(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        let parse = match ParseView::read(body) {
            Ok(parse) => parse,
            Err(error) => return self.refuse_extended(&body_report(error), link),
        };
        if !parse.name.is_empty() && self.prepared.has(parse.name) {
            if self.is_server_busy() {
                // Its own Parse may have been skipped.
                return self.await_replies(link);
            }
            let report = match self.state.transaction {
                TransactionState::Failed => failed_transaction(),
                TransactionState::Idle | TransactionState::InBlock => Report::error(
                    sqlstate::DUPLICATE_STATEMENT,
                    format!("prepared statement \"{}\" already exists", parse.name),
                ),
            };
            return self.refuse_extended(&report, link);
        }
        if let Some(report) = self.prepared.refuse(parse.name, parse.sql) {
            return self.refuse_extended(&report, link);
        }
        let judged = self.judge_at_hand(parse.sql);
        self.note_sequence_reader(&judged);
        if let Some(refused) = self.refuse_to_prepare(&judged) {
            return self.refuse_extended(&refused, link);
        }
        let statement = match self.state.reading() {
            Some(reading) => self.statements.intern(parse.sql, parse.types, reading),
            None => Statement::private(parse.sql, parse.types),
        };
        let prepared = Prepared::new(parse.name, &judged, &statement);
        if self.state.transaction == TransactionState::Failed && !ends_block(&judged) {
            if self.is_server_busy() {
                // The end of the block may be on its way.
                return self.await_replies(link);
            }
            // As the server says before it looks at the text, which it may not be asked about, but after it has dropped the
            // unnamed statement.
            if parse.name.is_empty() {
                self.prepared.remove("");
            }
            return self.refuse_extended(&failed_transaction(), link);
        }
        let is_known = !parse.name.is_empty() && statement.is_valid();
        if judged.local().is_some()
            || judged.script.statements.is_empty()
            || self.state.is_orphaned
            || (is_known && link.is_none())
        {
            let undo = self.prepared.parse(parse.name, prepared);
            self.answer_known_parse(undo);
        } else {
            let link = match self.place_extended(&judged, link) {
                Ok(link) => link,
                Err(progress) => return progress,
            };
            let is_unnamed = parse.name.is_empty();
            if !is_unnamed && self.is_in_doubt(&statement, link) {
                return self.await_replies(Some(link));
            }
            if !is_unnamed && link.prepared.has(&statement) {
                if self.state.transaction == TransactionState::InBlock && self.syncs.0 != self.syncs.1 {
                    // A batch before may fail the block, in which the server parses nothing.
                    return self.await_replies(Some(link));
                }
                let undo = self.prepared.parse(parse.name, prepared);
                self.answer_known_parse(undo);
            } else {
                self.send_parse(is_unnamed, &statement, link);
                let undo = self.prepared.parse(parse.name, prepared);
                self.expect_extended(Expect::Parse { statement: (!is_unnamed).then_some(statement), undo }, link);
            }
        }
        Progress::Consumed
    }

    pub(super) fn bind(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        let bind = match BindView::read(body) {
            Ok(bind) => bind,
            Err(error) => return self.refuse_extended(&body_report(error), link),
        };
        let mut prepared = match self.current(bind.statement) {
            Ok(prepared) => prepared,
            Err(report) => return self.refuse_extended(&report, link),
        };
        if let Some(report) = self.refuse_portal(bind.portal, &prepared) {
            return self.refuse_extended(&report, link);
        }
        let parameters = match self.judge.policy.audit_parameters.then(|| bind.text_parameters()).transpose() {
            Ok(parameters) => parameters,
            Err(error) => return self.refuse_extended(&body_report(error), link),
        };
        let batch = self.syncs.0;
        let judged = &prepared.judged;
        if judged.local().is_some() || judged.script.statements.is_empty() || self.state.is_orphaned {
            if self.is_server_busy() && !self.state.is_orphaned {
                // Whether the block has failed by then must be known.
                return self.await_replies(link);
            }
            if self.state.transaction == TransactionState::Failed && !self.state.is_orphaned {
                return self.refuse_extended(&failed_transaction(), link);
            }
            self.answer(put_bind_complete);
            self.add_portal(bind.portal, Portal { prepared, parameters, planned: None, returned: 0, batch });
            return Progress::Consumed;
        }
        let link = match self.place_extended(judged, link) {
            Ok(link) => link,
            Err(progress) => return progress,
        };
        let planned = match self.pass_gate(&mut prepared, &bind, link) {
            Ok(planned) => planned,
            Err(progress) => return progress,
        };
        let is_unnamed = bind.statement.is_empty();
        if self.is_in_doubt(&prepared.statement, link) {
            return self.await_replies(Some(link));
        }
        if self.has_opaque_in_flight() && !has_statement(is_unnamed, &prepared.statement, link) {
            return self.refuse_extended(&behind_opaque(), Some(link));
        }
        if let Some(progress) = self.check_description(&prepared, link) {
            return progress;
        }
        self.hide_foreign_statements(&prepared.judged, link);
        let name = self.ensure_prepared(is_unnamed, &prepared.statement, link);
        put_bind_head(bind.portal, name, bind.rest.len(), &mut link.outbox);
        link.outbox.extend_from_slice(bind.rest);
        let statement = Arc::clone(&prepared.name);
        let undo = self.add_portal(bind.portal, Portal { prepared, parameters, planned, returned: 0, batch });
        self.expect_extended(Expect::Bind { statement, undo }, link);
        Progress::Consumed
    }

    pub(super) fn describe(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        let target = match Target::read(body) {
            Ok(target) => target,
            Err(error) => return self.refuse_extended(&body_report(error), link),
        };
        let (prepared, portal) = match target {
            Target::Statement(name) => match self.current(name) {
                Ok(prepared) => (prepared, None),
                Err(report) => return self.refuse_extended(&report, link),
            },
            Target::Portal(name) => match self.portals.get(name) {
                Some(portal) => (portal.prepared.clone(), Some(name)),
                None => return self.describe_cursor(name, link),
            },
        };
        let local = prepared.judged.local();
        if local.is_some() || prepared.judged.script.statements.is_empty() || self.state.is_orphaned {
            if portal.is_none() {
                self.answer(put_no_parameters);
            }
            match local {
                Some(LocalAction::Show(name)) => self.answer_columns(name),
                Some(LocalAction::Set { .. } | LocalAction::Limit { .. }) | None => self.answer(put_no_data),
            }
            return Progress::Consumed;
        }
        let link = match self.place_extended(&prepared.judged, link) {
            Ok(link) => link,
            Err(progress) => return progress,
        };
        match portal {
            Some(name) => put_target(b'D', b'P', name, &mut link.outbox),
            None if self.is_in_doubt(&prepared.statement, link) => return self.await_replies(Some(link)),
            None => {
                let is_unnamed = matches!(target, Target::Statement(""));
                if self.has_opaque_in_flight() && !has_statement(is_unnamed, &prepared.statement, link) {
                    return self.refuse_extended(&behind_opaque(), Some(link));
                }
                let name = self.ensure_prepared(is_unnamed, &prepared.statement, link);
                put_target(b'D', b'S', name, &mut link.outbox);
            }
        }
        self.expect_extended(Expect::Describe(prepared.described()), link);
        Progress::Consumed
    }

    /// A cursor that DECLARE made is a portal, too.
    fn describe_cursor(&mut self, name: &str, link: Option<&mut Link>) -> Progress {
        match link {
            Some(link) if self.state.transaction == TransactionState::InBlock || !self.state.pins.is_empty() => {
                put_target(b'D', b'P', name, &mut link.outbox);
                self.expect_extended(Expect::Describe(None), link);
                Progress::Consumed
            }
            link => self.refuse_extended(&no_portal(name), link),
        }
    }

    pub(super) fn execute(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        let name = match read_execute(body) {
            Ok(name) => name,
            Err(error) => return self.refuse_extended(&body_report(error), link),
        };
        let Some(portal) = self.portals.get(name) else { return self.refuse_extended(&no_portal(name), link) };
        if (self.syncs.1..self.syncs.0).contains(&portal.batch) {
            // An earlier batch has bound it, whose end is not known: an error may have left another portal there.
            return self.await_replies(link);
        }
        let judged = Arc::clone(&portal.prepared.judged);
        if !self.still_holds(&judged) || judged.denial().is_some() {
            // Policy, catalog, time window or reason have changed since: judged again, and if the way has changed, refused.
            // What was confirmed at Bind stays confirmed when only the catalog was loaded meanwhile.
            let again = match judged.is_confirmed {
                true => self.judge.judge_confirmed(&judged.text, self.reason.as_deref(), &self.state.tables),
                false => self.judge_again(&judged.text),
            };
            if let Some(refused) = self.refuse_to_execute(&again, portal.planned.clone()) {
                return self.refuse_extended(&refused, link);
            }
            if let Some(portal) = self.portals.get_mut(name) {
                portal.prepared.judged = again;
            }
            return self.execute(body, link);
        }
        if judged.script.statements.is_empty() {
            self.answer(put_empty_query);
            return Progress::Consumed;
        }
        if self.state.is_orphaned {
            return self.execute_in_lost_block(&judged);
        }
        if let Some(local) = judged.local() {
            if self.state.transaction == TransactionState::Failed {
                return self.refuse_extended(&failed_transaction(), link);
            }
            self.answer_local(local);
            return Progress::Consumed;
        }
        let (parameters, returned, planned) = (portal.parameters.clone(), portal.returned, portal.planned.clone());
        if self.is_server_busy() && self.deallocates_own(&judged).is_some() {
            // As with Close.
            return self.await_replies(link);
        }
        if self.deallocate(&judged) {
            return Progress::Consumed;
        }
        let Some(link) = link else {
            // A portal lives no longer than its transaction, which holds the connection.
            return self.refuse_extended(&no_portal(name), None);
        };
        let step = judged.steps.first();
        let may_end_transaction = step.is_some_and(|s| s.is_transaction_control);
        let is_write = judged.permit().is_some_and(|p| p.guards.intent);
        // What would be committed must have been counted; and nothing is written behind a read that ran over its limit.
        let is_uncounted = step.is_some_and(|s| s.is_uncounted);
        if ((may_end_transaction || is_uncounted) && self.has_limited_write()) || (is_write && self.has_limited_read())
        {
            return self.await_replies(Some(link));
        }
        let mut run = Run::new(Arc::clone(&judged), self.next_number(), self.reason.clone());
        run.parameters = parameters;
        run.returned = returned;
        run.portal = name.into();
        run.expect(planned.as_ref().and_then(|planned| planned.estimate.as_ref()));
        match self.require_intent(&run) {
            Ok(()) => {}
            Err(IntentGate::Ask(record)) => return Progress::Stop(Step::NeedIntent(record)),
            Err(IntentGate::Refuse(report)) => return self.refuse_extended(&report, Some(link)),
        }
        if matches!(judged.route, Route::SingleStatement(_)) && !self.judge.policy.is_read_only() {
            // The server itself refuses a second statement in the extended protocol; that it writes nothing is asked here.
            if self.state.transaction != TransactionState::Idle {
                return self.refuse_extended(&cannot_be_read(), Some(link));
            }
            self.make_read_only(link);
        }
        self.count_statement();
        self.note_sequence_mover(&judged, link);
        self.note_made(&judged);
        if let Some(permit) = judged.permit() {
            self.tell_notices(&permit.notices);
            self.tell_notices(planned.as_ref().map_or(&[], |planned| &planned.notices));
        }
        if is_uncounted {
            self.send_aside(COUNT, Aside::Count(Stage::Before), link);
        }
        if step.is_some_and(|s| s.max_rows_written.is_some()) {
            // All of its rows at once: only its end tells how many it has changed.
            put_execute(name, &mut link.outbox);
        } else {
            put_execute_as_sent(body, &mut link.outbox);
        }
        self.is_batch_opaque |= step.is_some_and(|s| s.leaves_state);
        self.has_reset =
            run.effects().iter().any(|e| matches!(e, Effect::ResetAll | Effect::DiscardAll | Effect::Deallocate(None)));
        self.expect_extended(Expect::Execute(Box::new(run)), link);
        if is_uncounted {
            self.send_aside(COUNT, Aside::Count(Stage::After), link);
        }
        Progress::Consumed
    }

    pub(super) fn close(&mut self, body: &[u8], link: Option<&mut Link>) -> Progress {
        let target = match Target::read(body) {
            Ok(target) => target,
            Err(error) => return self.refuse_extended(&body_report(error), link),
        };
        match target {
            // An error before it makes the server skip it.
            Target::Statement(name) if self.is_server_busy() && self.prepared.has(name) => {
                return self.await_replies(link);
            }
            Target::Statement(name) => {
                // The connection keeps it for whoever prepares the same text next.
                self.prepared.remove(name);
                self.answer(put_close_complete);
            }
            Target::Portal(name) => {
                let portal = self.portals.remove(name);
                let portal = portal.filter(|portal| portal.prepared.judged.local().is_none());
                match (link, portal) {
                    (Some(link), Some(portal)) => {
                        put_target(b'C', b'P', name, &mut link.outbox);
                        let undo =
                            PortalUndo { name: name.into(), portal: Some(Box::new(portal)), batch: self.syncs.0 };
                        self.expect_extended(Expect::Close(undo), link);
                    }
                    _ => self.answer(put_close_complete),
                }
            }
        }
        Progress::Consumed
    }

    /// The prepared statement of this name, judged again if anything has changed since it was.
    fn current(&mut self, name: &str) -> Result<Prepared, Report> {
        let Some(prepared) = self.prepared.get(name) else { return Err(no_statement(name)) };
        if self.still_holds(&prepared.judged) {
            return Ok(prepared.clone());
        }
        let judged = self.judge_again(&prepared.judged.text);
        let prepared = Prepared { judged: Arc::clone(&judged), ..prepared.clone() };
        match self.refuse_to_prepare(&judged) {
            Some(report) => Err(report),
            None => {
                self.prepared.insert(name, prepared.clone());
                Ok(prepared)
            }
        }
    }

    /// What a text is answered with that may not even be prepared. One that needs confirmation may: it is asked for when its
    /// parameters are known.
    fn refuse_to_prepare(&mut self, judged: &Arc<Judged>) -> Option<Report> {
        match &judged.route {
            Route::Refuse(denial) => Some(self.denied(judged, denial)),
            // Several statements in one text: the server refuses them, as it does without the proxy.
            Route::Confirm(_) | Route::Whole(_) | Route::Stepwise(_) | Route::SingleStatement(_) => None,
        }
    }

    /// The connection on which a message runs, with the session's settings; `Err` when it has to wait or is refused.
    fn place_extended<'l>(
        &mut self,
        judged: &Arc<Judged>,
        link: Option<&'l mut Link>,
    ) -> Result<&'l mut Link, Progress> {
        let link = match self.place(judged, link) {
            Placed::On(link) => link,
            Placed::Wait(step) => return Err(Progress::Stop(step)),
            Placed::Refuse(report, link) => return Err(self.refuse_extended(&report, Some(link))),
        };
        match self.apply_settings(link) {
            None => Ok(link),
            Some(wait) => Err(wait),
        }
    }

    /// Makes sure that the connection has the statement; returns its name there.
    pub(super) fn ensure_prepared<'s>(
        &mut self,
        is_unnamed: bool,
        statement: &'s Arc<Statement>,
        link: &mut Link,
    ) -> &'s str {
        if !has_statement(is_unnamed, statement, link) {
            self.send_parse(is_unnamed, statement, link);
            let named = (!is_unnamed).then(|| Arc::clone(statement));
            self.expect_extended(Expect::Own(Own::Parse(named)), link);
        }
        upstream_name(is_unnamed, statement)
    }

    fn send_parse(&mut self, is_unnamed: bool, statement: &Arc<Statement>, link: &mut Link) {
        if is_unnamed {
            link.prepared.unnamed = Some(statement.id);
        } else {
            self.make_room(statement, link);
        }
        let name = upstream_name(is_unnamed, statement);
        put_parse(name, statement.sql.as_bytes(), &statement.types, &mut link.outbox);
        link.prepared.parse_sent(statement, self.syncs.0);
    }

    /// Whether it rests on an answer to an earlier batch that the connection has the statement.
    fn is_in_doubt(&self, statement: &Statement, link: &Link) -> bool {
        self.syncs.0 != self.syncs.1 && link.prepared.is_in_doubt(statement, self.syncs.0)
    }

    /// Notes that the connection will have the statement, and closes another if it has too many.
    fn make_room(&mut self, statement: &Arc<Statement>, link: &mut Link) {
        if let Some(old) = link.prepared.add(statement) {
            put_target(b'C', b'S', &old.name, &mut link.outbox);
            self.expect_extended(Expect::Own(Own::Close), link);
        }
    }

    /// Answers a DEALLOCATE of the session's own protocol-level statements, which have other names upstream and are others' too.
    /// False when the text is none, or the server has to be asked.
    pub(super) fn deallocate(&mut self, judged: &Judged) -> bool {
        let tag = match self.deallocates_own(judged) {
            Some(Some(name)) => {
                self.prepared.remove(name);
                "DEALLOCATE"
            }
            Some(None) => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
            None => return false,
        };
        self.answer(|out| put_command_complete(tag, out));
        true
    }

    /// The name in such a DEALLOCATE; `Some(None)` for ALL.
    pub(super) fn deallocates_own<'j>(&self, judged: &'j Judged) -> Option<Option<&'j str>> {
        let [facts] = judged.script.statements.as_slice() else { return None };
        let [Effect::Deallocate(name)] = facts.effects.as_slice() else { return None };
        if self.state.transaction == TransactionState::Failed {
            return None;
        }
        match name {
            Some(name) => self.prepared.has(name).then_some(Some(name)),
            None => (!self.state.pins.has_prepared()).then_some(None),
        }
    }

    fn execute_in_lost_block(&mut self, judged: &Judged) -> Progress {
        match self.end_lost_block(judged) {
            Ok(()) => {
                self.answer(|out| put_command_complete("ROLLBACK", out));
                Progress::Consumed
            }
            Err(report) => self.refuse_extended(&report, None),
        }
    }
}

/// Whether a failed transaction block takes it (Postgres's `IsTransactionExitStmt`).
fn ends_block(judged: &Judged) -> bool {
    let ends = |effect: &Effect| {
        matches!(
            effect,
            Effect::Commit { .. } | Effect::Rollback { .. } | Effect::RollbackTo(_) | Effect::PrepareTransaction
        )
    };
    judged.first().is_none_or(|facts| facts.effects.iter().any(ends))
}

fn cannot_be_read() -> Report {
    Report::error(
        sqlstate::NOT_SUPPORTED,
        "a statement that pgbelay cannot read cannot be executed in a transaction block that may write",
    )
    .detail("A statement that is not understood must run READ ONLY.")
    .hint("Send it outside the block, as a simple query, or with simpler syntax.")
}

/// What the server knows a statement by.
fn upstream_name(is_unnamed: bool, statement: &Statement) -> &str {
    if is_unnamed { "" } else { &statement.name }
}

/// Whether the connection has the statement, so that its text need not be sent.
fn has_statement(is_unnamed: bool, statement: &Statement, link: &mut Link) -> bool {
    if is_unnamed { link.prepared.unnamed == Some(statement.id) } else { link.prepared.has(statement) }
}

fn put_execute_as_sent(body: &[u8], out: &mut bytes::BytesMut) {
    use bytes::BufMut;
    out.put_u8(b'E');
    out.put_i32(i32::try_from(body.len() + 4).unwrap_or(i32::MAX));
    out.put_slice(body);
}

fn no_statement(name: &str) -> Report {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{name}\" does not exist"),
    };
    Report::error(sqlstate::UNKNOWN_STATEMENT, message)
}
