//! docs/policy.md is true: it has a section for every rule, in the order in which they are asked, and its examples are judged as
//! it says.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

use std::sync::Arc;

use pgbelay::config::{Role, Tier, default_policy};
use pgbelay::policy::{RULES, RUN_TIME_RULES, SessionTables, SessionView, StaticCatalog, Tuning, Verdict, decide};
use pgbelay::sql::classify;

const REFERENCE: &str = include_str!("../docs/policy.md");

/// One fenced example: ```` ```sql refused|confirm|passes ROLE TIER [no-reason] ````.
struct Example<'a> {
    rule: &'a str,
    refused: bool,
    confirm: bool,
    role: Role,
    tier: Tier,
    reason: Option<&'static str>,
    sql: String,
}

fn sections() -> Vec<(&'static str, &'static str)> {
    let body = REFERENCE.split("\n## ").skip(1);
    body.map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

fn examples() -> Vec<Example<'static>> {
    let mut all = Vec::new();
    for (rule, body) in sections() {
        for fence in body.split("\n```sql ").skip(1) {
            let (info, rest) = fence.split_once('\n').unwrap();
            let (sql, _) = rest.split_once("\n```").unwrap();
            let mut words = info.split_whitespace();
            let (refused, confirm) = match words.next() {
                Some("refused") => (true, false),
                Some("confirm") => (true, true),
                Some("passes") => (false, false),
                other => panic!("{rule}: {other:?}"),
            };
            let role = words.next().unwrap().parse().unwrap();
            let tier = words.next().unwrap().parse().unwrap();
            let reason = if words.any(|word| word == "no-reason") { None } else { Some("INC-42") };
            // ␀ is how the page shows a NUL.
            all.push(Example { rule, refused, confirm, role, tier, reason, sql: sql.replace('␀', "\0") });
        }
    }
    all
}

#[test]
fn every_rule_has_its_section_in_order() {
    let titles: Vec<_> = sections().into_iter().map(|(title, _)| title).collect();
    let ids: Vec<_> = RULES.iter().map(|rule| rule.id).chain(RUN_TIME_RULES.iter().map(|rule| rule.id)).collect();
    assert_eq!(titles, ids);
}

#[test]
fn the_page_lists_the_rules_that_are_always_enforced() {
    let (_, rest) = REFERENCE.split_once("Always enforced are").unwrap();
    let (listed, _) = rest.split_once("To see what").unwrap();
    let listed: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
    let fixed = RULES.iter().filter(|rule| matches!(rule.tuning, Tuning::Fixed(_))).map(|rule| rule.id);
    assert_eq!(listed, fixed.collect::<Vec<_>>());
    for rule in RULES.iter().filter(|rule| matches!(rule.tuning, Tuning::KeyUnlessReadOnly(_))) {
        assert!(rest.split("\n\n").next().unwrap().contains(&format!("`{}`", rule.id)), "{}", rule.id);
    }
}

#[test]
fn every_rule_has_an_example_refused_and_one_that_passes() {
    for rule in RULES {
        let of_rule: Vec<_> = examples().into_iter().filter(|example| example.rule == rule.id).collect();
        assert!(of_rule.iter().any(|example| example.refused), "{}: none refused", rule.id);
        assert!(of_rule.iter().any(|example| !example.refused), "{}: none passes", rule.id);
    }
}

#[test]
fn the_examples_are_judged_as_the_page_says() {
    let mut wrong = Vec::new();
    for example in examples() {
        let view = SessionView {
            database: "app",
            reason: example.reason,
            catalog: &StaticCatalog,
            tables: SessionTables::NONE,
            confirmation: pgbelay::policy::Confirmation::NotGiven,
        };
        let verdict = decide(&Arc::new(classify(&example.sql)), &default_policy(example.role, example.tier), &view);
        let refused_by = match &verdict {
            Verdict::Deny(denial) => Some((denial.rule, false)),
            Verdict::Confirm(denial) => Some((denial.rule, true)),
            Verdict::Allow(_) => None,
        };
        if refused_by != example.refused.then_some((example.rule, example.confirm)) {
            wrong.push(format!("{}: {:?} gave {verdict:?}", example.rule, example.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
