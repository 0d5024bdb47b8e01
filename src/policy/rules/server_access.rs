//! Statements that reach files, programs and other servers.

use super::context::{Context, Finding};
use crate::sql::{Hazard, Kind};

/// `server-file`
pub(super) fn file(cx: &Context<'_>) -> Option<Finding> {
    let reaches = cx.facts().kind == Kind::Load || cx.facts().hazards.contains(&Hazard::ServerFile);
    if !reaches {
        return None;
    }
    let (what, hint) = if is_copy(cx) {
        ("with a file of the server", COPY_HINT)
    } else {
        ("that loads a file of the server", "Have it installed by whoever administers the server")
    };
    reaching(cx, what, "it reads, writes or loads a file with the rights of the server's own account", hint)
}

/// `server-program`
pub(super) fn program(cx: &Context<'_>) -> Option<Finding> {
    if !cx.facts().hazards.contains(&Hazard::ServerProgram) {
        return None;
    }
    let (what, hint) = if is_copy(cx) {
        ("with a program on the server", COPY_HINT)
    } else {
        ("that can run programs on the server", "Use a trusted language, such as plpgsql")
    };
    reaching(cx, what, "it runs code with the rights of the server's own account", hint)
}

const COPY_HINT: &str = "Use COPY … FROM STDIN or TO STDOUT; in psql, \\copy";

fn is_copy(cx: &Context<'_>) -> bool {
    matches!(cx.facts().kind, Kind::CopyFrom | Kind::CopyTo)
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
