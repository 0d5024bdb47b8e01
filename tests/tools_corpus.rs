//! What psql, pg_dump, SQLAlchemy, Django and Alembic send to look at a schema (tests/corpus/tools, written by `scripts/compat tools
//! --save`): a read-only person is refused none of it, and what looks at the catalog only needs no reason.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use pgbelay::config::{Role, Tier, default_policy};
use pgbelay::policy::{Confirmation, Pending, SessionTables, SessionView, StaticCatalog, Verdict, decide};
use pgbelay::sql::classify;

#[derive(serde::Deserialize)]
struct Case {
    sql: String,
    /// It reads more than the catalog, or may.
    #[serde(default)]
    needs_reason: bool,
}

/// The rule that refuses it; `None` when it may run.
fn refused_by(sql: &str, role: Role, reason: Option<&str>) -> Option<&'static str> {
    let view = SessionView {
        database: "app",
        reason,
        catalog: &StaticCatalog,
        made: &BTreeSet::new(),
        tables: SessionTables::NONE,
        confirmation: Confirmation::NotGiven,
    };
    match decide(&Arc::new(classify(sql)), &default_policy(role, Tier::Prod), &view) {
        Verdict::Allow(_) => None,
        Verdict::Confirm(Pending { denial, .. }) | Verdict::Deny(denial) => Some(denial.rule),
    }
}

#[test]
fn what_programs_send_to_look_at_a_schema_is_not_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tools");
    let mut wrong = vec![];
    for program in ["alembic", "django", "pg_dump", "psql", "sqlalchemy"] {
        let text = fs::read_to_string(folder.join(program).with_extension("jsonl")).unwrap();
        let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(cases.len() >= 10, "{program} has {} texts", cases.len());
        for Case { sql, needs_reason } in &cases {
            for role in [Role::Engineer, Role::Agent] {
                if let Some(rule) = refused_by(sql, role, Some("INC-42")) {
                    wrong.push(format!("{program}: {role} is refused by {rule}: {sql}"));
                }
            }
            let expected = needs_reason.then_some("reason-required");
            let found = refused_by(sql, Role::Engineer, None);
            if found != expected {
                wrong.push(format!("{program}: without a reason {found:?} instead of {expected:?}: {sql}"));
            }
        }
        println!("{program}: {} texts", cases.len());
    }
    assert!(wrong.is_empty(), "{} not as expected:\n{}", wrong.len(), wrong.join("\n"));
}
