//! One statement on its way: what is counted and recorded of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::{Event, Record, SessionContext};
use crate::guard::{Judged, Step};
use crate::policy::{PlanEstimate, RuleId, WouldDeny};
use crate::sql::Effect;

/// Rows and cost that the planner expects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    rows: u64,
    cost: f64,
}

/// A text, or one statement of it, that was sent upstream.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) judged: Arc<Judged>,
    /// Number within the session.
    pub(super) number: u64,
    pub(super) started: Instant,
    /// Which statement of the text runs now.
    pub(super) statement: usize,
    /// Rows returned by the current statement.
    pub(super) returned: u64,
    /// Rows told by the command tags, over all statements.
    pub(super) rows: u64,
    /// Bytes of rows.
    pub(super) bytes: u64,
    /// SQLSTATE of its error.
    pub(super) sqlstate: Option<String>,
    /// It ran over a limit: its error was sent, and whatever the server still says of it is dropped.
    pub(super) is_cut_off: bool,
    /// Bound parameters, where the policy records them.
    pub(super) parameters: Option<Vec<Option<String>>>,
    /// The portal it fetches from.
    pub(super) portal: Box<str>,
    /// What the planner expects of its costliest statement, where it was asked.
    pub(super) estimate: Option<Expected>,
    /// It was refused and nothing of it has run: its record is that of the refusal.
    pub(super) is_refused: bool,
    /// The reason given when it was sent.
    pub(super) reason: Option<Arc<str>>,
    /// What rules in report mode would have refused: known before it runs, or while it does.
    pub(super) would_deny: Arc<[WouldDeny]>,
}

impl Run {
    pub(super) fn new(judged: Arc<Judged>, number: u64, reason: Option<Arc<str>>) -> Self {
        let would_deny = judged.permit().map(|permit| Arc::clone(&permit.would_deny)).unwrap_or_default();
        Self {
            judged,
            would_deny,
            number,
            started: Instant::now(),
            statement: 0,
            returned: 0,
            rows: 0,
            bytes: 0,
            sqlstate: None,
            is_cut_off: false,
            parameters: None,
            portal: Box::default(),
            estimate: None,
            is_refused: false,
            reason,
        }
    }

    /// Notes what the planner expects of the current statement.
    pub(super) fn expect(&mut self, estimate: Option<&PlanEstimate>) {
        let Some(estimate) = estimate else { return };
        if self.estimate.is_none_or(|known| known.cost < estimate.cost) {
            self.estimate = Some(Expected { rows: estimate.rows, cost: estimate.cost });
        }
    }

    pub(super) fn step(&self) -> Option<&Step> {
        self.judged.steps.get(self.statement)
    }

    pub(super) fn effects(&self) -> &[Effect] {
        self.judged.script.statements.get(self.statement).map_or(&[], |facts| &facts.effects)
    }

    /// Most rows the current statement may return.
    pub(super) fn max_rows_returned(&self) -> Option<u64> {
        self.judged.permit().and_then(|p| p.guards.max_rows_returned)
    }

    /// A limit in report mode was passed: message, detail and hint of the refusal that it would have been. Once is enough.
    pub(super) fn report(&mut self, rule: RuleId, refusal: impl FnOnce() -> (String, String, String)) {
        if self.would_deny.iter().any(|known| known.rule == rule) {
            return;
        }
        let (message, detail, hint) = refusal();
        let passed = WouldDeny { rule, verdict: "deny", message, detail, hint };
        self.would_deny = self.would_deny.iter().cloned().chain([passed]).collect();
    }

    /// A record of this statement.
    pub(super) fn record(&self, event: Event, session: &Arc<SessionContext>) -> Record {
        let permit = self.judged.permit();
        Record {
            statement: Some(Arc::clone(self.judged.record())),
            statement_no: Some(self.number),
            reason: self.reason.clone(),
            rule: permit.map(|p| p.rule),
            verdict: permit.map(|p| p.guards.verdict_name()),
            would_deny: Arc::clone(&self.would_deny),
            parameters: self.parameters.clone(),
            estimated_rows: self.estimate.map(|e| e.rows),
            estimated_cost: self.estimate.map(|e| e.cost),
            ..Record::of(event, session)
        }
    }

    /// The record of its end.
    pub(super) fn result(&mut self, duration: Duration, session: &Arc<SessionContext>) -> Record {
        Record {
            rows: Some(self.rows),
            bytes: Some(self.bytes),
            duration: Some(duration),
            sqlstate: self.sqlstate.take(),
            ..self.record(Event::Result, session)
        }
    }
}
