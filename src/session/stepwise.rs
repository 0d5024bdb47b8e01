//! A text run one statement at a time: those that the proxy answers itself, and writes whose row count is checked before
//! they are committed (DESIGN §5). To the client it is one simple query, with Postgres's implicit transaction.

use std::sync::Arc;

use bytes::BytesMut;

use super::confirm::{Bound, Refusal};
use super::core::{Core, Step};
use super::count::COUNT;
use super::implicit::InImplicit;
use super::intent::IntentGate;
use super::place::Placed;
use super::plan::Planning;
use super::replies::{Expect, Own, Stage};
use super::run::Run;
use super::simple::{failed_transaction, failing_statement};
use crate::guard::Route;
use crate::policy::{Denial, PlanVerdict};
use crate::upstream::Link;
use crate::wire::{Report, TransactionState, put_bare, put_bind_head, put_execute, put_parse, put_query, put_target};

/// How far a text has got.
#[derive(Debug)]
pub(super) struct Stepwise {
    /// Its run, except while a statement of it is in flight.
    pub(super) run: Option<Box<Run>>,
    /// The next statement.
    next: usize,
    /// What the proxy has opened around it.
    around: Around,
    /// The statement in flight makes the client's own block of the proxy's transaction.
    pub(super) opens_block: bool,
    /// A statement failed or was stopped: what follows is not run.
    pub(super) has_failed: bool,
    /// The client's own transaction block has to fail on the server as well.
    pub(super) must_fail: bool,
    /// What the client was told when the proxy stopped it.
    stopped_by: Option<Report>,
    /// The last CommandComplete: told when COMMIT has succeeded, since deferred constraints fail there.
    pub(super) held: BytesMut,
    intent_recorded: bool,
    /// The rows changed before the next statement are known.
    is_counted: bool,
    /// The rows that the last statement has changed have to be counted.
    pub(super) must_count: bool,
}

/// What the proxy has opened around the statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    Transaction,
    Savepoint,
}

impl Stepwise {
    pub(super) fn new(run: Run) -> Self {
        Self {
            run: Some(Box::new(run)),
            next: 0,
            around: Around::Nothing,
            opens_block: false,
            has_failed: false,
            must_fail: false,
            stopped_by: None,
            held: BytesMut::new(),
            intent_recorded: false,
            is_counted: false,
            must_count: false,
        }
    }

    /// Whether the answer to the statement in flight waits for the proxy's COMMIT.
    pub(super) fn holds_completion(&self, statement: usize, statements: usize) -> bool {
        self.around == Around::Transaction && statement + 1 == statements
    }

    /// A statement failed for the client, but not for the server: what follows is not run, and the client's own block has to
    /// fail on the server as well.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
        self.must_fail = self.is_in_clients_block();
    }

    /// Whether the transaction block is the client's own.
    pub(super) fn is_in_clients_block(&self) -> bool {
        self.around != Around::Transaction
    }
}

impl Core {
    /// Takes the next step of the text at hand; the answers to the one before are all in. `None` once it is done.
    pub(super) fn next_step(&mut self, link: Option<&mut Link>) -> Option<Step> {
        let mut stepwise = self.stepwise.take()?;
        let mut run = stepwise.run.take()?;
        let step = self.take_step(&mut stepwise, &mut run, link);
        match step {
            Taken::Finished => {
                self.out.extend_from_slice(&stepwise.held);
                self.finish(&mut run);
                self.planning = Planning::NotAsked;
                self.answer_ready();
                None
            }
            Taken::Answered => {
                stepwise.run = Some(run);
                self.stepwise = Some(stepwise);
                None
            }
            Taken::Waits(step) => {
                stepwise.run = Some(run);
                self.stepwise = Some(stepwise);
                Some(step)
            }
            Taken::Sent => {
                let is_single = matches!(run.judged.route, Route::SingleStatement(_));
                self.replies.push_back(if is_single { Expect::SingleStep(run) } else { Expect::Step(run) });
                self.stepwise = Some(stepwise);
                Some(Step::AwaitReplies)
            }
        }
    }

    fn take_step(&mut self, stepwise: &mut Stepwise, run: &mut Run, link: Option<&mut Link>) -> Taken {
        if let Some(report) = self.refusal.take() {
            report.write(&mut self.out);
            run.sqlstate.get_or_insert_with(|| report.sqlstate.to_owned());
            stepwise.has_failed = true;
        }
        if stepwise.must_fail {
            stepwise.must_fail = false;
            if let Some(link) = link {
                self.send_own(&failing_statement(stepwise.stopped_by.as_ref()), Own::FailQuery, link);
                return Taken::Waits(Step::AwaitReplies);
            }
            return Taken::Answered;
        }
        if stepwise.has_failed {
            return self.end_failed(stepwise, link);
        }
        if std::mem::take(&mut stepwise.opens_block) {
            // As with Postgres the implicit transaction has become the client's own block: it, not the proxy, ends it.
            stepwise.around = Around::Nothing;
        }
        if std::mem::take(&mut stepwise.must_count)
            && let Some(link) = link
        {
            stepwise.is_counted = false;
            self.send_own(COUNT, Own::Count(Stage::After), link);
            return Taken::Waits(Step::AwaitReplies);
        }
        let judged = Arc::clone(&run.judged);
        if let Route::Confirm(pending) = &judged.route {
            return self.ask_confirmation(stepwise, run, &pending.denial, link);
        }
        let Some(step) = judged.steps.get(stepwise.next) else { return self.end_well(stepwise, link) };
        run.statement = stepwise.next;
        if let Some(local) = &step.local {
            if self.state.transaction == TransactionState::Failed {
                failed_transaction().write(&mut self.out);
                stepwise.has_failed = true;
            } else {
                self.answer_local_query(local);
                stepwise.next += 1;
            }
            return Taken::Answered;
        }
        let link = match self.place(&judged, link) {
            Placed::On(link) => link,
            Placed::Wait(step) => return Taken::Waits(step),
            Placed::Refuse(report, _) => return self.stop(stepwise, run, &report),
        };
        if self.apply_settings(link).is_some() {
            return Taken::Waits(Step::AwaitReplies);
        }
        if self.state.transaction != TransactionState::InBlock {
            stepwise.around = Around::Nothing;
        }
        if let Some(wait) = self.open_around(stepwise, run, link) {
            return wait;
        }
        let implicit = match stepwise.around {
            Around::Transaction => InImplicit::of(run.effects()),
            Around::Nothing | Around::Savepoint => InImplicit::Alike,
        };
        if let InImplicit::Refused(report) = implicit {
            return self.stop(stepwise, run, &report);
        }
        let mut notices = vec![];
        if let Some(plan) = &step.plan {
            run.expect(self.planning.estimate());
            match self.plan_verdict(&judged, stepwise.next) {
                None => return Taken::Waits(self.ask_plan(plan, &judged.text, link)),
                Some(PlanVerdict::Pass(said)) => notices = said,
                Some(PlanVerdict::Confirm(denial)) => return self.refuse_step(stepwise, run, &denial, Refusal::Asks),
                Some(PlanVerdict::Deny(denial)) => return self.refuse_step(stepwise, run, &denial, Refusal::Final),
            }
        }
        if !stepwise.intent_recorded {
            match self.require_intent(run) {
                Ok(()) => {
                    stepwise.intent_recorded = true;
                    self.forget_intent();
                }
                Err(IntentGate::Ask(record)) => return Taken::Waits(Step::NeedIntent(record)),
                Err(IntentGate::Refuse(report)) => return self.stop(stepwise, run, &report),
            }
            if let Some(permit) = judged.permit() {
                self.tell_notices(&permit.notices);
            }
        }
        // In a failed block the server refuses it, whatever it is, and would refuse to count as well.
        let is_failed = self.state.transaction == TransactionState::Failed;
        if step.is_uncounted && !is_failed && !std::mem::replace(&mut stepwise.is_counted, true) {
            self.send_own(COUNT, Own::Count(Stage::Before), link);
            return Taken::Waits(Step::AwaitReplies);
        }
        self.hide_foreign_statements(&judged, link);
        self.note_sequence_mover(&judged, link);
        self.tell_notices(&notices);
        match implicit {
            InImplicit::OpensBlock => stepwise.opens_block = true,
            InImplicit::Warned(report) if self.state.wanted.get("client_min_messages") != Some("error") => {
                self.answer(|out| report.write(out));
            }
            InImplicit::Warned(_) | InImplicit::Alike | InImplicit::Refused(_) => {}
        }
        self.send_step(stepwise, run, link);
        self.planning = Planning::NotAsked;
        stepwise.next += 1;
        Taken::Sent
    }

    /// Opens what has to stand around the statement: a transaction, so that it can still be undone, or one that is READ ONLY.
    fn open_around(&mut self, stepwise: &mut Stepwise, run: &Run, link: &mut Link) -> Option<Taken> {
        let is_single = matches!(run.judged.route, Route::SingleStatement(_));
        let is_control = run.step().is_some_and(|s| s.is_transaction_control);
        match (self.state.transaction, stepwise.around) {
            (TransactionState::Idle, _) if is_control => None,
            // Alone, and only to be planned first: there is nothing to undo.
            (TransactionState::Idle, _)
                if !self.is_unsynced
                    && !is_single
                    && run.judged.steps.len() == 1
                    && run.step().is_some_and(|s| s.max_rows_written.is_none()) =>
            {
                None
            }
            (TransactionState::Idle, _) => {
                let begin = if is_single { "BEGIN READ ONLY" } else { "BEGIN" };
                stepwise.around = Around::Transaction;
                self.send_own(begin, Own::Begin, link);
                Some(Taken::Waits(Step::AwaitReplies))
            }
            (TransactionState::InBlock, Around::Nothing) if is_single && !self.judge.policy.is_read_only() => {
                stepwise.around = Around::Savepoint;
                let sql = "SAVEPOINT pgbelay_single_statement; SET LOCAL transaction_read_only = on";
                self.send_own(sql, Own::Savepoint, link);
                Some(Taken::Waits(Step::AwaitReplies))
            }
            _ => None,
        }
    }

    fn send_step(&mut self, stepwise: &Stepwise, run: &Run, link: &mut Link) {
        let span = run.judged.script.statements.get(stepwise.next).map(|facts| facts.span.clone());
        let text = span.and_then(|span| run.judged.text.get(span)).unwrap_or(&run.judged.text);
        if matches!(run.judged.route, Route::SingleStatement(_)) {
            // Parse refuses a text of more than one statement: the server itself keeps to what was judged.
            put_parse("", run.judged.text.as_bytes(), &[0, 0], &mut link.outbox);
            put_bind_head("", "", 6, &mut link.outbox);
            link.outbox.extend_from_slice(&[0; 6]);
            put_target(b'D', b'P', "", &mut link.outbox);
            put_execute("", &mut link.outbox);
            put_bare(b'S', &mut link.outbox);
        } else {
            put_query(text.as_bytes(), &mut link.outbox);
        }
        link.prepared.unnamed = None;
        link.in_sync = false;
    }

    /// Every statement ended well: what was opened around them is closed.
    fn end_well(&mut self, stepwise: &mut Stepwise, link: Option<&mut Link>) -> Taken {
        let (Some(link), TransactionState::InBlock) = (link, self.state.transaction) else { return Taken::Finished };
        match std::mem::replace(&mut stepwise.around, Around::Nothing) {
            Around::Nothing => Taken::Finished,
            Around::Transaction => {
                self.send_own("COMMIT", Own::Commit, link);
                Taken::Waits(Step::AwaitReplies)
            }
            Around::Savepoint => {
                let sql = "ROLLBACK TO SAVEPOINT pgbelay_single_statement; RELEASE SAVEPOINT pgbelay_single_statement";
                self.send_own(sql, Own::Savepoint, link);
                Taken::Waits(Step::AwaitReplies)
            }
        }
    }

    /// A statement failed: the proxy's own transaction is undone, the client's stays failed.
    fn end_failed(&mut self, stepwise: &mut Stepwise, link: Option<&mut Link>) -> Taken {
        stepwise.held.clear();
        let is_open = self.state.transaction != TransactionState::Idle;
        match (link, std::mem::replace(&mut stepwise.around, Around::Nothing)) {
            (Some(link), Around::Transaction) if is_open => {
                self.send_own("ROLLBACK", Own::Rollback, link);
                Taken::Waits(Step::AwaitReplies)
            }
            _ => Taken::Finished,
        }
    }

    /// A text that needs confirmation: its plan is asked for, so that the refusal can tell how much is at stake.
    fn ask_confirmation(
        &mut self,
        stepwise: &mut Stepwise,
        run: &mut Run,
        denial: &Denial,
        link: Option<&mut Link>,
    ) -> Taken {
        let judged = Arc::clone(&run.judged);
        let link = match self.place(&judged, link) {
            Placed::On(link) => link,
            Placed::Wait(step) => return Taken::Waits(step),
            Placed::Refuse(report, _) => return self.stop(stepwise, run, &report),
        };
        if self.apply_settings(link).is_some() {
            return Taken::Waits(Step::AwaitReplies);
        }
        match (&judged.plan_to_confirm, &self.planning) {
            (Some(plan), Planning::NotAsked) => Taken::Waits(self.ask_plan(plan, &judged.text, link)),
            _ => {
                run.expect(self.planning.estimate());
                let denial = self.with_expected_rows(denial);
                self.refuse_step(stepwise, run, &denial, Refusal::Asks)
            }
        }
    }

    /// The plan, or what the text itself is, stops the text here.
    fn refuse_step(&mut self, stepwise: &mut Stepwise, run: &mut Run, denial: &Denial, refusal: Refusal) -> Taken {
        let report = self.refused(run, denial, refusal, Bound::default());
        // What has a record of its refusal needs none of its end, unless some of it has run.
        run.is_refused = stepwise.next == 0;
        self.stop(stepwise, run, &report)
    }

    fn stop(&mut self, stepwise: &mut Stepwise, run: &mut Run, report: &Report) -> Taken {
        report.write(&mut self.out);
        run.sqlstate.get_or_insert_with(|| report.sqlstate.to_owned());
        stepwise.has_failed = true;
        stepwise.stopped_by = Some(report.clone());
        stepwise.must_fail = stepwise.is_in_clients_block() && self.state.transaction == TransactionState::InBlock;
        Taken::Answered
    }

    pub(super) fn send_own(&mut self, sql: &str, own: Own, link: &mut Link) {
        self.send_query(sql.as_bytes(), link);
        self.replies.push_back(Expect::Own(own));
    }
}

/// What became of a step.
#[derive(Debug)]
enum Taken {
    /// The statement is on its way.
    Sent,
    /// The proxy answered it, or has more to do.
    Answered,
    /// Something has to happen first.
    Waits(Step),
    /// The text is done.
    Finished,
}
