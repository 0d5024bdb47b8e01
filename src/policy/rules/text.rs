//! Text that cannot be what the server will read.

use super::context::{Context, Finding};
use crate::sql::Hazard;

/// `text-trap`
pub(super) fn trap(cx: &Context<'_>) -> Option<Finding> {
    let why = cx.facts().hazards.iter().find_map(|hazard| match hazard {
        Hazard::TextTrap(why) => Some(*why),
        Hazard::ServerFile | Hazard::ServerProgram | Hazard::OtherConnection | Hazard::UnicodeIdentifier => None,
    })?;
    Finding::deny(
        "the statement's text cannot be judged safely",
        format!("{why}, so the server could read another statement than the one that was judged"),
        "Send the text as plain UTF-8, and odd values as bound parameters.",
    )
}
