//! Judges all of tests/corpus without any database: what the guard alone can tell of each case.
//!
//! Sessions are static here: each step is judged on its own, a reason is given, and the functions of tests/corpus/schema.sql
//! are opaque.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pgbelay::config::{Policy, default_policy};
use pgbelay::policy::{Clamp, SessionTables, SessionView, StaticCatalog, Verdict, clamp, decide};
use pgbelay::sql::{Effect, SettingValue, classify};

const ATTACKS: &str = include_str!("corpus/attacks.jsonl");
const HARMLESS: &str = include_str!("corpus/harmless.jsonl");

#[derive(serde::Deserialize)]
struct Case {
    id: String,
    category: String,
    role: String,
    tier: String,
    steps: Vec<String>,
    expect: String,
}

#[test]
fn attacks_are_stopped() {
    check(ATTACKS);
}

#[test]
fn harmless_statements_are_not() {
    check(HARMLESS);
}

fn check(corpus: &str) {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in corpus.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let policy = default_policy(case.role.parse().unwrap(), case.tier.parse().unwrap());
        let verdicts: Vec<_> = case.steps.iter().map(|step| judge(step, &policy)).collect();
        let denied = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Deny(_)));
        let holds = match case.expect.as_str() {
            "deny" => denied,
            "no-change" => denied || verdicts.iter().all(is_read_only),
            "allow" => verdicts.iter().all(|verdict| matches!(verdict, Verdict::Allow(_))),
            "limited" => {
                verdicts.iter().all(|verdict| matches!(verdict, Verdict::Allow(_))) && is_clamped(&case, &policy)
            }
            other => panic!("{}: expects {other}", case.id),
        };
        let count = counts.entry(case.category.clone()).or_default();
        count.1 += 1;
        if holds {
            count.0 += 1;
        } else {
            wrong.push(format!("{} expects {}: {:?}\n    {verdicts:?}", case.id, case.expect, case.steps));
        }
    }
    for (category, (held, all)) in &counts {
        println!("{category}: {held} of {all} as expected");
    }
    assert!(wrong.is_empty(), "{} not as expected:\n{}", wrong.len(), wrong.join("\n"));
}

fn judge(step: &str, policy: &Policy) -> Verdict {
    let view = SessionView {
        database: "app",
        reason: Some("INC-42"),
        catalog: &StaticCatalog,
        tables: SessionTables::NONE,
        made: &BTreeSet::new(),
        confirmation: pgbelay::policy::Confirmation::NotGiven,
    };
    decide(&Arc::new(classify(step)), policy, &view)
}

fn is_read_only(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Allow(permit) => permit.guards.read_only,
        Verdict::Confirm(_) | Verdict::Deny(_) => true,
    }
}

/// Whether each setting of a time limit ends within the policy's.
fn is_clamped(case: &Case, policy: &Policy) -> bool {
    let mut limits = 0;
    for step in &case.steps {
        for effect in classify(step).statements.iter().flat_map(|facts| &facts.effects) {
            let clamped = match effect {
                Effect::Set { name, value, .. } => clamp(name, value, policy),
                Effect::Reset(name) => clamp(name, &SettingValue::Default, policy),
                _ => continue,
            };
            match clamped {
                Clamp::Clamped { .. } => limits += 1,
                Clamp::WithinLimit => return false,
                Clamp::NotALimit => {}
            }
        }
    }
    limits > 0
}
