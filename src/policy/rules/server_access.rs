//! Statements that reach files, programs and other servers.

use super::context::{Context, Finding};
use crate::sql::{Hazard, Kind};

/// `server-file`
pub(super) fn file(cx: &Context<'_>) -> Option<Finding> {
    let reaches = cx.facts().kind == Kind::Load || cx.facts().hazards.contains(&Hazard::ServerFile);
    if !reaches {
        return None;
    }
    reaching(
        cx,
        "with a file of the server",
        "it reads, writes or loads a file with the rights of the server's own account",
        "Use COPY … FROM STDIN or TO STDOUT; in psql, \\copy",
    )
}

/// `server-program`
pub(super) fn program(cx: &Context<'_>) -> Option<Finding> {
    if !cx.facts().hazards.contains(&Hazard::ServerProgram) {
        return None;
    }
    reaching(
        cx,
        "with a program on the server",
        "it runs code with the rights of the server's own account",
        "Run the program where you are, and pipe it through COPY … FROM STDIN or TO STDOUT; in psql, \\copy",
    )
}

/// `other-connection`
pub(super) fn other_connection(cx: &Context<'_>) -> Option<Finding> {
    if !cx.facts().hazards.contains(&Hazard::OtherConnection) {
        return None;
    }
    reaching(
        cx,
        "to another server",
        "the server would open connections of its own, which nothing here sees",
        "Connect to the other database through its own entry in pgbelay's configuration",
    )
}

fn reaching(cx: &Context<'_>, what: &str, why: &str, hint: &str) -> Option<Finding> {
    let action = cx.dangerous();
    Finding::of(action, format!("{} {what} {}", cx.tag(), cx.phrase(action)), why, cx.hint_or_elsewhere(hint))
}
