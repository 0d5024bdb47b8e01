//! Text that the parser does not know (DESIGN: what cannot be parsed cannot write on a guarded tier).

use super::context::{Context, Finding};
use crate::sql::{Hazard, Kind};

const REWRITE: &str = "Write it in a simpler form, or report the statement as not understood";

/// `unparsed-write`
pub(super) fn write(cx: &Context<'_>) -> Option<Finding> {
    if cx.facts().kind != Kind::UnparsedMaybeWrite || !cx.is_careful() {
        return None;
    }
    Finding::deny(
        format!("a statement that pgbelay cannot read is not allowed on {}", cx.policy.tier),
        "it could not be parsed, so what it would change is not known",
        cx.hint_or_elsewhere(REWRITE),
    )
}

/// `unparsed-read`
pub(super) fn read(cx: &Context<'_>) -> Option<Finding> {
    if cx.facts().kind != Kind::UnparsedMaybeRead || !cx.is_careful() {
        return None;
    }
    let why = if cx.script.statements.len() > 1 {
        "it could not be parsed, and stands among other statements".to_owned()
    } else if cx.facts().hazards.contains(&Hazard::UnicodeIdentifier) {
        "it could not be parsed, and a U&\"…\" identifier in it may name any function".to_owned()
    } else if let Some((call, _)) = cx.categories().next() {
        format!("it could not be parsed, and names the function {}", call.name.name)
    } else {
        return Finding::allowed();
    };
    Finding::deny(
        format!("a query that pgbelay cannot read is not allowed on {} as it stands", cx.policy.tier),
        why,
        cx.hint_or_elsewhere(REWRITE),
    )
}
