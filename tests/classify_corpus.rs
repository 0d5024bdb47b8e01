//! `classify` over the project's statement corpus, and over Postgres's regression suite where `PGBELAY_REGRESS` names a copy:
//! a JSON Lines file with `sql`, `kind` (Postgres's node type) and `sqlparser_ok`.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly; clippy.toml reaches only #[test] functions")]

use std::fs;

use pgbelay::sql::{Boundedness, Kind, Script, Verb, classify};
use serde_json::Value;

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/corpus/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn steps(case: &Value) -> Vec<(&str, Script)> {
    case["steps"].as_array().unwrap().iter().map(|sql| sql.as_str().unwrap()).map(|sql| (sql, classify(sql))).collect()
}

fn is_unparsed(kind: Kind) -> bool {
    matches!(kind, Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite)
}

fn is_unbounded(bound: &Boundedness) -> bool {
    match bound {
        Boundedness::Missing | Boundedness::Tautology(_) | Boundedness::NotOnTarget(_) => true,
        Boundedness::Bounded | Boundedness::NotApplicable => false,
    }
}

#[test]
fn unbounded_writes_are_seen_wherever_they_stand() {
    for case in cases("attacks.jsonl") {
        let category = case["category"].as_str().unwrap();
        if !matches!(category, "no-where" | "tautology" | "join-without-join" | "merge") {
            continue;
        }
        for (sql, script) in steps(&case) {
            let unbounded = script.statements.iter().flat_map(|s| &s.writes).any(|w| is_unbounded(&w.bound));
            assert!(unbounded, "{sql}\n{script:#?}");
        }
    }
}

#[test]
fn harmless_writes_are_bounded_and_everything_harmless_is_understood() {
    for case in cases("harmless.jsonl") {
        if case["category"] == "int-permissive" {
            continue;
        }
        for (sql, script) in steps(&case) {
            for statement in &script.statements {
                assert!(!is_unparsed(statement.kind), "{sql}\n{statement:#?}");
                assert!(!statement.writes.iter().any(|w| is_unbounded(&w.bound)), "{sql}\n{statement:#?}");
                assert!(statement.hazards.is_empty(), "{sql}\n{statement:#?}");
            }
        }
    }
}

#[test]
fn attacks_are_not_mistaken_for_reads() {
    for case in cases("attacks.jsonl") {
        let category = case["category"].as_str().unwrap();
        for (sql, script) in steps(&case) {
            for statement in &script.statements {
                assert!(!statement.tag.is_empty(), "{sql}");
                assert!(sql.get(statement.span.clone()).is_some(), "{sql}");
            }
            let found = script.statements.iter().any(|s| {
                !s.writes.is_empty()
                    || !s.effects.is_empty()
                    || !s.functions.is_empty()
                    || !s.hazards.is_empty()
                    || s.kind != Kind::Select
            });
            assert!(found || category == "text-trap", "{sql}\n{script:#?}");
        }
    }
}

/// What is not understood, counted by Postgres's node type, and that it never panics: run over the regression suite.
#[test]
fn regression_suite() {
    let Ok(path) = std::env::var("PGBELAY_REGRESS") else {
        eprintln!("skipped: PGBELAY_REGRESS is not set");
        return;
    };
    let mut unparsed = std::collections::BTreeMap::<String, (usize, usize)>::new();
    let mut wrong = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (sql, node) = (case["sql"].as_str().unwrap(), case["kind"].as_str().unwrap());
        let script = classify(sql);
        let counts = unparsed.entry(node.to_owned()).or_default();
        counts.0 += 1;
        if script.statements.iter().any(|s| is_unparsed(s.kind)) {
            counts.1 += 1;
            if std::env::var("PGBELAY_SHOW").is_ok_and(|show| show == node) {
                println!("-- {node}\n{sql};");
            }
        }
        let verb = match node {
            "InsertStmt" => Verb::Insert,
            "UpdateStmt" => Verb::Update,
            "DeleteStmt" => Verb::Delete,
            "MergeStmt" => Verb::Merge,
            "TruncateStmt" => Verb::Truncate,
            _ => continue,
        };
        let told = script.statements.iter().flat_map(|s| &s.writes).any(|w| w.verb == verb);
        if !told && (case["sqlparser_ok"] == true || !script.statements.iter().any(|s| is_unparsed(s.kind))) {
            wrong.push(sql.to_owned());
        }
    }
    for (node, (all, not_understood)) in &unparsed {
        println!("{node}: {not_understood} of {all} not understood");
    }
    assert!(wrong.is_empty(), "{}", wrong.join(";\n"));
}
