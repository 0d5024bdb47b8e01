//! The only place where it is decided whether something may run.

mod catalog;
mod decide;
mod family;
mod guards;
mod limits;
mod plan_gate;
mod rules;
mod tables;
mod verdict;

#[cfg(test)]
mod tests;

pub use catalog::*;
pub use decide::*;
pub use limits::*;
pub use plan_gate::{
    FEWEST_PAIRS, PLAN_RULES, PlanEstimate, PlanRule, PlanStep, PlanVerdict, Unjoined, expected_rows, judge_plan,
    wants_plan,
};
pub(crate) use rules::qualified;
pub use rules::{
    READ_LIMIT, ROW_LIMIT, RULES, RUN_TIME_RULES, Rule, RunTimeRule, Tuning, known_or_opaque, reads_texts_otherwise,
    tunings,
};
pub use tables::SessionTables;
pub use verdict::*;
