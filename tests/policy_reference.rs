//! docs/policy.md is true: it has a section for every rule, in the order in which they are asked, and its examples are judged as
//! it says.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use pgbelay::config::{self, Policy, Role, Tier};
use pgbelay::guard::read_plan;
use pgbelay::policy::{
    Confirmation, PLAN_RULES, PlanVerdict, RULES, RUN_TIME_RULES, SessionTables, SessionView, StaticCatalog, Tuning,
    Verdict, decide, judge_plan,
};
use pgbelay::sql::{classify, planned};

const REFERENCE: &str = include_str!("../docs/policy.md");

/// One fenced example: ```` ```sql refused|confirm|passes ROLE TIER [no-reason] [key=value …] [plan=NAME] ````.
struct Example<'a> {
    rule: &'a str,
    refused: bool,
    confirm: bool,
    policy: Arc<Policy>,
    reason: Option<&'static str>,
    plan: Option<&'a str>,
    sql: String,
}

fn sections() -> Vec<(&'static str, &'static str)> {
    let body = REFERENCE.split("\n## ").skip(1);
    body.map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

fn rules() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.id).chain(PLAN_RULES.iter().map(|rule| rule.id)).collect()
}

/// The policy of a role on a tier where the configuration sets these keys for them.
fn policy(role: Role, tier: Tier, keys: &[&str]) -> Arc<Policy> {
    if keys.is_empty() {
        return Arc::new(config::default_policy(role, tier));
    }
    let text = format!(
        "[audit]\npath = \"a\"\n[databases.app.int]\nurl = \"postgres://app@h/app\"\n[users.alice]\nrole = \"engineer\"\n\
         password_env = \"ALICE\"\n[roles.{role}.{tier}]\n{}\n",
        keys.join("\n")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let config = config::load_without_secrets(file.path()).unwrap_or_else(|errors| panic!("{errors}"));
    config.policy(role, tier).unwrap()
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
            let (role, tier) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
            let words: Vec<_> = words.collect();
            let keys: Vec<_> =
                words.iter().copied().filter(|word| word.contains('=') && !word.starts_with("plan=")).collect();
            all.push(Example {
                rule,
                refused,
                confirm,
                policy: policy(role, tier, &keys),
                reason: if words.contains(&"no-reason") { None } else { Some("INC-42") },
                plan: words.iter().find_map(|word| word.strip_prefix("plan=")),
                // ␀ is how the page shows a NUL.
                sql: sql.replace('␀', "\0"),
            });
        }
    }
    all
}

#[test]
fn every_rule_has_its_section_in_order() {
    let titles: Vec<_> = sections().into_iter().map(|(title, _)| title).collect();
    let run_time = RUN_TIME_RULES.iter().map(|rule| rule.id);
    assert_eq!(titles, rules().into_iter().chain(run_time).collect::<Vec<_>>());
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
    for rule in rules() {
        let of_rule: Vec<_> = examples().into_iter().filter(|example| example.rule == rule).collect();
        assert!(of_rule.iter().any(|example| example.refused), "{rule}: none refused");
        assert!(of_rule.iter().any(|example| !example.refused), "{rule}: none passes");
    }
}

/// The rule that refuses an example by its plan.
fn refused_by_plan(example: &Example<'_>) -> Option<(&'static str, bool)> {
    let path = format!("{}/tests/cases/plan/{}.json", env!("CARGO_MANIFEST_DIR"), example.plan?);
    let estimate = read_plan(&fs::read(path).unwrap()).unwrap();
    match judge_plan(Ok(&estimate), &example.policy, 0, Confirmation::NotGiven) {
        PlanVerdict::Pass(_) => None,
        PlanVerdict::Confirm(denial) => Some((denial.rule, true)),
        PlanVerdict::Deny(denial) => Some((denial.rule, false)),
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
            made: &BTreeSet::new(),
            tables: SessionTables::NONE,
            confirmation: Confirmation::NotGiven,
        };
        let script = Arc::new(classify(&example.sql));
        let verdict = decide(&script, &example.policy, &view);
        let refused_by = match &verdict {
            Verdict::Deny(denial) => Some((denial.rule, false)),
            Verdict::Confirm(pending) => Some((pending.denial.rule, true)),
            Verdict::Allow(permit) => {
                let asks = permit.guards.plan && planned(&example.sql, &script.statements[0]).is_some();
                assert!(asks || example.plan.is_none(), "{:?} asks for no plan", example.sql);
                refused_by_plan(&example)
            }
        };
        if refused_by != example.refused.then_some((example.rule, example.confirm)) {
            wrong.push(format!("{}: {:?} gave {verdict:?}", example.rule, example.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
