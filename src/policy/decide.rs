//! From facts to a verdict: asks every rule about every statement and keeps the worst answer.

use std::sync::Arc;

use crate::config::{Action, Mode, Policy};
use crate::sql::Script;

use super::guards;
use super::rules::{Context, Finding, RULES, Rule};
use super::verdict::Sealed;
use super::{Confirmation, Denial, Guards, Notice, Pending, Permit, RuleId, SessionView, Verdict, WouldDeny};

/// The rule named where none had to decide.
pub const DEFAULT_RULE: RuleId = "default";

/// Decides whether a text may run, and how. Pure: the same arguments give the same verdict.
///
/// Every statement of the text is judged; a text is as bad as its worst statement, since a simple query runs them all. The
/// first of several equally bad ones is the one that is named.
pub fn decide(script: &Arc<Script>, policy: &Policy, view: &SessionView<'_>) -> Verdict {
    let mut confirm = None;
    let mut rule = DEFAULT_RULE;
    let mut guards = guards::of_session(policy);
    let mut notices = Vec::new();
    let mut would_deny = Vec::new();
    for judgement in judge(script, policy, view) {
        match judgement {
            Judgement::Deny(denial) => return Verdict::Deny(denial),
            Judgement::Confirm(denial) => confirm = confirm.or(Some(denial)),
            Judgement::Allow { rule: decided_by, guards: more, notices: said, would_deny: reported } => {
                if rule == DEFAULT_RULE {
                    rule = decided_by;
                }
                guards = guards::both(guards, more);
                notices.extend(said);
                would_deny.extend(reported);
            }
        }
    }
    match confirm {
        Some(denial) => {
            let statement = |index| Context { script, index, policy, view, tables: view.tables };
            let is_plannable = !(0..script.statements.len()).any(|index| guards::may_run_code(&statement(index)));
            Verdict::Confirm(Pending { denial, is_plannable, _sealed: Sealed })
        }
        None => Verdict::Allow(Permit {
            script: Arc::clone(script),
            rule,
            guards,
            notices,
            would_deny: would_deny.into(),
            _sealed: Sealed,
        }),
    }
}

/// What is thought of one statement of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It may run.
    Allow {
        /// The rule that decided, [`DEFAULT_RULE`] where none had to.
        rule: RuleId,
        /// How it must be run.
        guards: Guards,
        /// Warnings.
        notices: Vec<Notice>,
        /// What rules in report mode would have refused.
        would_deny: Vec<WouldDeny>,
    },
    /// It may run once it is confirmed.
    Confirm(Denial),
    /// It may not.
    Deny(Denial),
}

/// Judges each statement of a text, in order. Only [`decide`] gives the right to run anything; this tells people why.
pub fn judge(script: &Script, policy: &Policy, view: &SessionView<'_>) -> Vec<Judgement> {
    let mut tables = view.tables.clone();
    let judge_next = |(index, facts)| {
        let judgement = judge_one(&Context { script, index, policy, view, tables: &tables });
        tables.learn_in_text(facts);
        judgement
    };
    script.statements.iter().enumerate().map(judge_next).collect()
}

fn judge_one(cx: &Context<'_>) -> Judgement {
    let mut rule = DEFAULT_RULE;
    let mut notices = Vec::new();
    let mut would_deny = Vec::new();
    let mut confirm = None;
    for candidate in RULES {
        let Some(finding) = (candidate.check)(cx) else { continue };
        match finding.action {
            Action::Deny | Action::Confirm if candidate.mode(cx.policy) == Mode::Report => {
                would_deny.push(report(candidate, finding));
            }
            // The client is not bothered by what is only looked at.
            Action::Warn if candidate.mode(cx.policy) == Mode::Report => rule = first(rule, candidate.id),
            Action::Deny => return Judgement::Deny(denial(candidate, finding, cx.index)),
            Action::Confirm if cx.view.confirmation == Confirmation::Given => rule = first(rule, candidate.id),
            Action::Confirm => {
                confirm.get_or_insert_with(|| denial(candidate, asking_for_confirmation(finding), cx.index));
            }
            Action::Warn => {
                notices.push(notice(candidate, finding));
                rule = first(rule, candidate.id);
            }
            Action::Allow => rule = first(rule, candidate.id),
        }
    }
    match confirm {
        Some(denial) => Judgement::Confirm(denial),
        None => {
            let mut guards = guards::of_statement(cx);
            // What a rule would have refused is on record before it runs.
            guards.intent |= cx.policy.is_guarded() && !would_deny.is_empty();
            Judgement::Allow { rule, guards, notices, would_deny }
        }
    }
}

fn first(rule: RuleId, candidate: RuleId) -> RuleId {
    if rule == DEFAULT_RULE { candidate } else { rule }
}

fn denial(rule: &Rule, finding: Finding, statement: usize) -> Denial {
    let detail = format!("rule {}: {}", rule.id, finding.detail);
    Denial { rule: rule.id, statement, sqlstate: rule.sqlstate, message: finding.message, detail, hint: finding.hint }
}

fn notice(rule: &Rule, finding: Finding) -> Notice {
    let detail = format!("rule {}: {}", rule.id, finding.detail);
    Notice { rule: rule.id, message: finding.message, detail, hint: finding.hint }
}

fn report(rule: &Rule, finding: Finding) -> WouldDeny {
    let Finding { action, message, detail, hint } = finding;
    WouldDeny { rule: rule.id, verdict: action.as_str(), message, detail, hint }
}

/// `{token}` stands for the one-time token, which the session knows.
fn asking_for_confirmation(finding: Finding) -> Finding {
    Finding { hint: confirmable(&finding.hint), ..finding }
}

/// A HINT that tells how to confirm first.
pub(super) fn confirmable(hint: &str) -> String {
    format!("If that is meant, run SET pgbelay.confirm = '{{token}}' and send the same statement again. {hint}")
}
