//! Any predicate: what is said of it follows the rules of logic, however it is written.

use pgbelay::sql::{Boundedness, Kind, classify};

/// Longer ones run out of the fuel that keeps reading linear, and count as bounded then.
const MOST: usize = 400;

pub(crate) fn check(data: &[u8]) {
    let Ok(predicate) = std::str::from_utf8(data) else { return };
    if predicate.len() > MOST || !is_closed(predicate) {
        return;
    }
    let p = format!("({predicate}\n)");
    let Some(bound) = of(&p) else { return };

    // Another condition on the target's rows bounds whatever it is.
    is(&format!("{p} AND id = 5"), "bounded");
    is(&format!("id = 5 AND {p}"), "bounded");
    is(&format!("{p} OR true"), "tautology");
    match bound {
        Boundedness::Tautology(_) => {
            // Not beside itself: only so many cases are looked at, and those of the same predicate twice are more.
            for same in [
                "({p})",
                "NOT (NOT {p})",
                "true AND {p}",
                "{p} OR id = 5",
                "{p} IS TRUE OR id = 7",
                "CASE WHEN {p} THEN true ELSE false END",
            ] {
                is(&same.replace("{p}", &p), "tautology");
            }
            // False for each row, or, where constants were not looked into, not a restriction of rows.
            assert!(!matches!(of(&format!("NOT {p}")), Some(Boundedness::Tautology(_))), "NOT {p}");
        }
        Boundedness::NotOnTarget(_) => {
            for same in ["({p})", "true AND {p}", "{p} OR false"] {
                is(&same.replace("{p}", &p), "not on target");
            }
            for twice in ["{p} AND {p}", "{p} OR {p}"] {
                // More of it may be seen to be always true.
                assert!(of(&twice.replace("{p}", &p)) != Some(Boundedness::Bounded), "{twice} with {p}");
            }
        }
        Boundedness::Bounded => {
            for same in ["({p})", "{p} AND {p}", "true AND {p}", "{p} OR false"] {
                is(&same.replace("{p}", &p), "bounded");
            }
        }
        Boundedness::Missing | Boundedness::NotApplicable => panic!("there is a WHERE: {p}"),
    }
    // What it is does not depend on the verb.
    let update = classify(&format!("UPDATE t SET a = 1 WHERE {p}"));
    assert_eq!(update.statements[0].writes[0].bound, bound, "UPDATE with {p}");
}

/// What is said of a predicate; `None` where it is none, or is not understood.
fn of(predicate: &str) -> Option<Boundedness> {
    let script = classify(&format!("DELETE FROM t WHERE {predicate}"));
    let [statement] = script.statements.as_slice() else { return None };
    let [write] = statement.writes.as_slice() else { return None };
    (statement.kind == Kind::Delete && write.table.name == "t").then(|| write.bound.clone())
}

fn is(predicate: &str, expected: &str) {
    // Deeper than the parser goes, it is not understood, and refused for that.
    let Some(found) = of(predicate) else { return };
    let found = match found {
        Boundedness::Tautology(_) => "tautology",
        Boundedness::NotOnTarget(_) => "not on target",
        Boundedness::Bounded => "bounded",
        Boundedness::Missing => "missing",
        Boundedness::NotApplicable => "not applicable",
    };
    assert_eq!(found, expected, "{predicate}");
}

/// Whether every parenthesis that is opened is closed, and none before that, so that it stays whole in parentheses.
fn is_closed(predicate: &str) -> bool {
    let mut depth = 0i32;
    let never_below = predicate.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    });
    never_below && depth == 0
}
