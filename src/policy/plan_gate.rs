//! What is decided of a statement once the server has told its plan: cost, rows, and joins without a condition.

use crate::config::{Action, Policy};
use crate::sql::functions::Category;
use crate::sql::{Facts, Kind, Verb};

use super::rules::{Phrase, is_known_catalog};
use super::{Confirmation, Denial, Notice, RuleId, sqlstate};

/// A rule that needs a plan. docs/policy.md has a section for each.
#[derive(Clone, Copy, Debug)]
pub struct PlanRule {
    /// Stable id.
    pub id: RuleId,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// SQLSTATE of its refusals: program_limit_exceeded, as for the limits on rows.
    pub sqlstate: &'static str,
    /// What it does under a policy; [`Action::Allow`] where its key is not set.
    action: fn(&Policy) -> Action,
    check: fn(&PlanEstimate, &Policy) -> Option<PlanFinding>,
}

/// The rules on plans, in the order in which they are asked. They come behind all of [`super::RULES`].
pub const PLAN_RULES: &[PlanRule] = &[
    PlanRule {
        id: "estimated-cost",
        summary: "a plan that costs more than max_estimated_cost",
        sqlstate: sqlstate::ROW_LIMIT,
        action: |policy| deny_if(policy.max_estimated_cost.is_some()),
        check: estimated_cost,
    },
    PlanRule {
        id: "estimated-rows",
        summary: "a plan of more rows than max_estimated_rows",
        sqlstate: sqlstate::ROW_LIMIT,
        action: |policy| deny_if(policy.max_estimated_rows.is_some()),
        check: estimated_rows,
    },
    PlanRule {
        id: "join-without-condition",
        summary: "a plan that joins tables without a condition",
        sqlstate: sqlstate::ROW_LIMIT,
        action: |policy| policy.join_without_condition,
        check: join_without_condition,
    },
];

/// Combinations of rows from which on a join without a condition is one: below, it is a calendar with a table, say.
pub const FEWEST_PAIRS: f64 = 10_000_000.0;

/// What the server's planner expects of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanEstimate {
    /// Rows it returns or changes, whichever are more.
    pub rows: u64,
    /// Its cost in the planner's units.
    pub cost: f64,
    /// The step that costs the most by itself.
    pub costliest: Option<PlanStep>,
    /// The join without a condition that combines the most rows.
    pub unjoined: Option<Unjoined>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStep {
    /// What it is, and of which table: `Seq Scan on public.events`.
    pub what: String,
    /// Rows it gives.
    pub rows: u64,
}

/// Two sides of a plan of which each row is combined with each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unjoined {
    /// One side's scan, with the rows of the side.
    pub outer: PlanStep,
    /// The other's.
    pub inner: PlanStep,
    /// The combinations.
    pub pairs: u64,
}

/// What a plan's limits say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanVerdict {
    /// The statement may run, with these warnings.
    Pass(Vec<Notice>),
    /// It may run once it is confirmed.
    Confirm(Denial),
    /// It may not.
    Deny(Denial),
}

/// Whether a statement's plan, where it has one, is to be asked for before it runs.
pub fn wants_plan(facts: &Facts, policy: &Policy) -> bool {
    let limits_plans = PLAN_RULES.iter().any(|rule| (rule.action)(policy) != Action::Allow);
    // What a TRUNCATE removes is no matter of its plan: rules of their own speak of it.
    limits_plans && facts.kind != Kind::Truncate && !looks_at_the_catalog_only(facts) && !reads_nothing(facts)
}

/// Decides on a plan, or on why there is none that can be read: a rule that cannot be evaluated applies (DESIGN §2).
/// `statement` is its number in the text. Pure.
pub fn judge_plan(
    plan: Result<&PlanEstimate, &str>,
    policy: &Policy,
    statement: usize,
    confirmation: Confirmation,
) -> PlanVerdict {
    let mut notices = vec![];
    let mut confirm = None;
    for rule in PLAN_RULES {
        let action = (rule.action)(policy);
        let found = match plan {
            Ok(estimate) => (rule.check)(estimate, policy),
            Err(why) => Some(unreadable(policy, why)),
        };
        let Some(PlanFinding { message, detail, hint }) = found else { continue };
        let detail = format!("rule {}: {detail}", rule.id);
        let denial = |hint| Denial { rule: rule.id, statement, sqlstate: rule.sqlstate, message, detail, hint };
        match (action, confirmation) {
            (Action::Allow, _) | (Action::Confirm, Confirmation::Given) => {}
            (Action::Warn, _) => {
                let Denial { rule, message, detail, hint, .. } = denial(hint);
                notices.push(Notice { rule, message, detail, hint });
            }
            (Action::Confirm, Confirmation::NotGiven) => {
                confirm.get_or_insert_with(|| denial(super::decide::confirmable(&hint)));
            }
            (Action::Deny, _) => return PlanVerdict::Deny(denial(hint)),
        }
    }
    confirm.map_or(PlanVerdict::Pass(notices), PlanVerdict::Confirm)
}

/// The rows a plan expects, as the refusal of a statement that needs confirmation tells them.
pub fn expected_rows(estimate: &PlanEstimate) -> String {
    format!("the plan expects about {}", counted(estimate.rows, "row"))
}

struct PlanFinding {
    message: String,
    detail: String,
    hint: String,
}

fn deny_if(is_set: bool) -> Action {
    if is_set { Action::Deny } else { Action::Allow }
}

fn unreadable(policy: &Policy, why: &str) -> PlanFinding {
    PlanFinding {
        message: format!("the plan of the statement cannot be judged on {}", policy.tier),
        detail: why.to_owned(),
        hint: "Write it as simpler statements, or have the limit lifted for this role.".to_owned(),
    }
}

fn estimated_cost(estimate: &PlanEstimate, policy: &Policy) -> Option<PlanFinding> {
    let limit = policy.max_estimated_cost.filter(|&limit| estimate.cost > limit as f64)?;
    let (cost, limit) = (grouped(estimate.cost as u64), grouped(limit));
    Some(PlanFinding {
        message: format!("the estimated cost {cost} exceeds the limit of {limit} on {}", policy.tier),
        detail: format!(
            "the planner expects a cost of {cost} in its own units, the limit is {limit}{}",
            in_peak_hours(policy)
        ),
        hint: format!("{}Narrow it by an indexed column, or read less of it.", costliest(estimate)),
    })
}

fn estimated_rows(estimate: &PlanEstimate, policy: &Policy) -> Option<PlanFinding> {
    let limit = policy.max_estimated_rows.filter(|&limit| estimate.rows > limit)?;
    let (rows, limit) = (counted(estimate.rows, "row"), grouped(limit));
    Some(PlanFinding {
        message: format!("the estimated {rows} exceed the limit of {limit} on {}", policy.tier),
        detail: format!("the planner expects about {rows}, the limit is {limit}{}", in_peak_hours(policy)),
        hint: format!("{}Add a LIMIT or a narrower WHERE, or aggregate on the server.", costliest(estimate)),
    })
}

fn join_without_condition(estimate: &PlanEstimate, policy: &Policy) -> Option<PlanFinding> {
    let Unjoined { outer, inner, pairs } = estimate.unjoined.as_ref()?;
    let side = |step: &PlanStep| format!("{} ({})", step.what, counted(step.rows, "row"));
    Some(PlanFinding {
        message: format!("a join without a condition {}", Phrase(policy.join_without_condition, policy.tier)),
        detail: format!(
            "each row of one side is combined with each row of the other, about {}: {} with {}",
            counted(*pairs, "combination"),
            side(outer),
            side(inner),
        ),
        hint: format!(
            "{}Join the two by a column, ON a.id = b.a_id, or filter one side to few rows.",
            costliest(estimate)
        ),
    })
}

fn in_peak_hours(policy: &Policy) -> &'static str {
    if policy.is_of_peak_hours() { " in peak hours" } else { "" }
}

fn costliest(estimate: &PlanEstimate) -> String {
    match &estimate.costliest {
        Some(step) => format!("The costliest step is {}, {}. ", step.what, counted(step.rows, "row")),
        None => String::new(),
    }
}

fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A number with its thousands apart.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What psql's `\d`, tab completion and drivers ask of the catalog is joined in its own ways, and holds none of the
/// application's data.
fn looks_at_the_catalog_only(facts: &Facts) -> bool {
    facts.kind == Kind::Select
        && !facts.reads.is_empty()
        && facts.reads.iter().all(is_known_catalog)
        && facts.writes.is_empty()
        && facts.functions.iter().all(|call| !matches!(super::rules::category(call), Some(Category::RunsSql)))
}

/// `SELECT 1`, and INSERT … VALUES, whose plan says nothing that its text does not.
fn reads_nothing(facts: &Facts) -> bool {
    let only_inserts = facts.writes.iter().all(|write| write.verb == Verb::Insert);
    matches!(facts.kind, Kind::Select | Kind::Insert)
        && facts.reads.is_empty()
        && facts.functions.is_empty()
        && only_inserts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Role, Tier, default_policy};

    fn estimate() -> PlanEstimate {
        let step = |what: &str, rows| PlanStep { what: what.to_owned(), rows };
        PlanEstimate {
            rows: 12_000_000,
            cost: 345_678.9,
            costliest: Some(step("Seq Scan on public.events", 12_000_000)),
            unjoined: Some(Unjoined {
                outer: step("Seq Scan on public.events", 12_000_000),
                inner: step("Seq Scan on public.users", 1),
                pairs: 12_000_000,
            }),
        }
    }

    fn policy() -> Policy {
        Policy { join_without_condition: Action::Allow, ..default_policy(Role::Agent, Tier::Prod) }
    }

    #[test]
    fn limits_are_told_with_estimate_limit_and_worst_step() {
        let policy = Policy { max_estimated_cost: Some(10_000), ..policy() };
        let PlanVerdict::Deny(denial) = judge_plan(Ok(&estimate()), &policy, 0, Confirmation::Given) else { panic!() };
        assert_eq!(
            [denial.rule, denial.sqlstate, &denial.message, &denial.detail, &denial.hint],
            [
                "estimated-cost",
                "54000",
                "the estimated cost 345,678 exceeds the limit of 10,000 on prod",
                "rule estimated-cost: the planner expects a cost of 345,678 in its own units, the limit is 10,000",
                "The costliest step is Seq Scan on public.events, 12,000,000 rows. Narrow it by an indexed column, or read \
                 less of it.",
            ]
        );
        let at_the_limit = Policy { max_estimated_rows: Some(12_000_000), ..super::tests::policy() };
        assert_eq!(judge_plan(Ok(&estimate()), &at_the_limit, 0, Confirmation::NotGiven), PlanVerdict::Pass(vec![]));
        let below = Policy { max_estimated_rows: Some(11_999_999), ..at_the_limit };
        let PlanVerdict::Deny(denial) = judge_plan(Ok(&estimate()), &below, 0, Confirmation::NotGiven) else {
            panic!()
        };
        assert_eq!(denial.rule, "estimated-rows");
    }

    #[test]
    fn a_join_without_a_condition_does_what_its_key_says() {
        let judged = |action, confirmation| {
            let policy = Policy { join_without_condition: action, ..policy() };
            judge_plan(Ok(&estimate()), &policy, 0, confirmation)
        };
        let given = Confirmation::Given;
        assert_eq!(judged(Action::Allow, Confirmation::NotGiven), PlanVerdict::Pass(vec![]));
        assert!(matches!(judged(Action::Warn, given), PlanVerdict::Pass(notices) if notices.len() == 1));
        let PlanVerdict::Confirm(denial) = judged(Action::Confirm, Confirmation::NotGiven) else { panic!() };
        assert!(denial.hint.contains("'{token}'"), "{}", denial.hint);
        assert_eq!(judged(Action::Confirm, given), PlanVerdict::Pass(vec![]));
        assert!(matches!(judged(Action::Deny, given), PlanVerdict::Deny(_)));
    }

    #[test]
    fn a_plan_that_cannot_be_read_counts_as_one_over_the_limit() {
        let judged = |policy| judge_plan(Err("it was not understood"), &policy, 0, Confirmation::NotGiven);
        assert_eq!(judged(policy()), PlanVerdict::Pass(vec![]), "no limit is set");
        let rows = Policy { max_estimated_rows: Some(1), ..policy() };
        assert!(matches!(judged(rows), PlanVerdict::Deny(denial) if denial.rule == "estimated-rows"));
        let warns = Policy { join_without_condition: Action::Warn, ..policy() };
        assert!(matches!(judged(warns), PlanVerdict::Pass(notices) if notices.len() == 1));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "row"), "1 row");
    }
}
