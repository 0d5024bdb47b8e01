//! The gate before a statement of the extended protocol is bound: its plan and its confirmation, both with its parameters.

use std::sync::Arc;

use super::confirm::{Bound, Refusal};
use super::core::{Core, Progress, behind_opaque, body_report};
use super::plan::{Names, Planned, Planning, confirmation};
use super::prepared::Prepared;
use super::run::Run;
use crate::guard::{Judged, PlanQuery, Route};
use crate::policy::{Denial, Pending, PlanVerdict, judge_plan, sqlstate};
use crate::upstream::Link;
use crate::wire::{BindView, Report};

impl Core {
    /// Lets a statement be bound to these parameters. `Err` while its plan is asked for, or when it is refused. A statement
    /// that was confirmed is from here on what it was judged to be when confirmed.
    pub(super) fn pass_gate(
        &mut self,
        prepared: &mut Prepared,
        bind: &BindView<'_>,
        link: &mut Link,
    ) -> Result<Option<Arc<Planned>>, Progress> {
        let asks = |judged: &Judged| matches!(judged.route, Route::Confirm(_)) || plan_of(judged).is_some();
        if !asks(&prepared.judged) {
            return Ok(None);
        }
        let parameters = match bind.parameters() {
            Ok(parameters) => parameters,
            Err(error) => return Err(self.refuse_extended(&body_report(error), Some(link))),
        };
        let types = Arc::clone(&prepared.statement);
        let bound = || Bound::new(&types.types, parameters);
        if let Some(judged) = self.judge_confirmed(&types.sql, bound) {
            prepared.judged = judged;
        }
        let judged = Arc::clone(&prepared.judged);
        if let Some(report) = judged.denial().filter(|_| matches!(judged.route, Route::Refuse(_))) {
            let report = self.denied(&judged, report);
            return Err(self.refuse_extended(&report, Some(link)));
        }
        if let Some(plan) = plan_of(&judged) {
            match &self.planning {
                Planning::NotAsked if self.has_opaque_in_flight() => {
                    return Err(self.refuse_extended(&behind_opaque(), Some(link)));
                }
                Planning::NotAsked => {
                    let names = Names { statement: bind.statement.to_owned(), portal: bind.portal.to_owned() };
                    return Err(self.ask_plan_in_batch(plan, &prepared.statement, parameters, names, link));
                }
                Planning::Asked { .. } => return Err(self.await_replies(Some(link))),
                Planning::Answered(_) => {}
            }
        }
        let (denial, refusal) = match (&judged.route, self.plan_verdict(&judged, 0)) {
            (Route::Confirm(Pending { denial, .. }), _) => (self.with_expected_rows(denial), Refusal::Asks),
            (_, Some(PlanVerdict::Confirm(denial))) => (denial, Refusal::Asks),
            (_, Some(PlanVerdict::Deny(denial))) => (denial, Refusal::Final),
            (_, Some(PlanVerdict::Pass(notices))) => {
                return Ok(Some(Arc::new(Planned { estimate: self.planning.estimate().cloned(), notices })));
            }
            (_, None) => return Ok(None),
        };
        let mut run = Run::new(judged, self.next_number(), self.reason.clone());
        self.count_statement();
        run.expect(self.planning.estimate());
        let report = self.refused(&run, &denial, refusal, bound());
        Err(self.refuse_extended(&report, Some(link)))
    }

    /// What the Execute of a portal is answered with that was bound when policy, time window or reason were others, if it may
    /// not run any more. Its parameters are gone, so that what has to be asked for must be bound again.
    pub(super) fn refuse_to_execute(&mut self, judged: &Arc<Judged>, planned: Option<Arc<Planned>>) -> Option<Report> {
        let estimate = planned.as_ref().and_then(|planned| planned.estimate.as_ref());
        let denial = match &judged.route {
            Route::Refuse(denial) => denial.clone(),
            Route::Confirm(Pending { denial, .. }) => bound_before(denial),
            Route::Whole(_) | Route::Stepwise(_) | Route::SingleStatement(_) => {
                plan_of(judged)?;
                let Some(estimate) = estimate else { return Some(bound_before_the_gate()) };
                match judge_plan(Ok(estimate), &self.judge.policy, 0, confirmation(judged)) {
                    PlanVerdict::Pass(_) => return None,
                    PlanVerdict::Confirm(denial) => bound_before(&denial),
                    PlanVerdict::Deny(denial) => denial,
                }
            }
        };
        let mut run = Run::new(Arc::clone(judged), self.next_number(), self.reason.clone());
        self.count_statement();
        run.expect(estimate);
        Some(self.refused(&run, &denial, Refusal::Final, Bound::default()))
    }
}

/// The plan to ask for before a text of one statement is bound.
fn plan_of(judged: &Judged) -> Option<&PlanQuery> {
    match judged.steps.as_slice() {
        [step] => step.plan.as_ref(),
        _ => judged.plan_to_confirm.as_ref(),
    }
}

/// The refusal of a portal whose statement needs a confirmation by now.
fn bound_before(denial: &Denial) -> Denial {
    let hint = "The policy has changed since the statement was bound: send it again to be asked for a confirmation.";
    Denial { hint: hint.to_owned(), ..denial.clone() }
}

fn bound_before_the_gate() -> Report {
    Report::error(sqlstate::ROW_LIMIT, "the plan of the statement has to be judged before it goes on")
        .detail("The limits on plans have changed since it was bound.")
        .hint("Send the statement again.")
}
