//! Writes whose predicate does not restrict them.

use super::context::{Context, Finding, qualified};
use crate::sql::{Boundedness, Verb};

/// `unbounded-write`
pub(super) fn write(cx: &Context<'_>) -> Option<Finding> {
    let action = cx.policy.unbounded_write;
    let (write, why) = cx.facts().writes.iter().find_map(|write| {
        let table = qualified(&write.table);
        let why = match &write.bound {
            Boundedness::NotApplicable | Boundedness::Bounded => return None,
            Boundedness::Missing => match write.verb {
                Verb::Merge => format!("nothing restricts it, so every row of {table} could be changed"),
                Verb::Delete => format!("there is no WHERE, so every row of {table} would be deleted"),
                Verb::Update | Verb::Insert | Verb::Truncate | Verb::Copy => {
                    format!("there is no WHERE, so every row of {table} would be changed")
                }
            },
            Boundedness::Tautology(text) => {
                format!("the predicate \"{}\" is always true for {table}", shortened(text))
            }
            Boundedness::NotOnTarget(text) => {
                format!(
                    "no column of {table} decides the predicate \"{}\", so it does not choose among its rows",
                    shortened(text)
                )
            }
        };
        Some((write, why))
    })?;
    let clause = match write.verb {
        Verb::Merge => "ON",
        Verb::Insert | Verb::Update | Verb::Delete | Verb::Truncate | Verb::Copy => "WHERE",
    };
    Finding::of(
        action,
        format!("{} without an effective {clause} {}", write.verb.as_str(), cx.phrase(action)),
        why,
        cx.hint_or_elsewhere(&format!("Restrict the rows, for example {clause} id = ...")),
    )
}

/// A predicate is quoted so that people find it, not to repeat a page of it.
fn shortened(predicate: &str) -> String {
    const MOST: usize = 120;
    match predicate.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &predicate[..end]),
        None => predicate.to_owned(),
    }
}
