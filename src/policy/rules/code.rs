//! Code whose effect cannot be read off the statement, and transactions that outlive their session.

use super::context::{Context, Finding};
use crate::sql::Kind;

/// `code-block`
pub(super) fn block(cx: &Context<'_>) -> Option<Finding> {
    let action = cx.policy.code_block;
    let (why, hint) = match cx.facts().kind {
        Kind::Do if cx.tag() != "DO" => (
            "a temporary function is a DO block with a name: what it does cannot be read off its text",
            "Send the statements of the function one by one, or write it in LANGUAGE sql",
        ),
        Kind::Do => ("what the block does cannot be read off its text", "Send the statements of the block one by one"),
        Kind::TwoPhase => (
            "a prepared transaction outlives its session and holds its locks until somebody ends it",
            "End the transaction with COMMIT",
        ),
        _ => return None,
    };
    Finding::of(action, format!("{} {}", cx.tag(), cx.phrase(action)), why, cx.hint_or_elsewhere(hint))
}
