//! Names that are the proxy's own on the connections that sessions share.

use super::context::{Context, Finding};
use crate::sql::Effect;

/// How the names of the proxy's prepared statements and savepoints begin.
const PREFIX: &str = "pgbelay_";

/// `reserved-name`
pub(super) fn name(cx: &Context<'_>) -> Option<Finding> {
    let (what, name) = cx.facts().effects.iter().filter_map(named).find(|(_, name)| is_reserved(name))?;
    Finding::deny(
        format!("{what} of a name that begins with {PREFIX} is not allowed"),
        format!("\"{name}\" could be the proxy's own, on a connection that other sessions use as well"),
        format!("Choose a name that does not begin with {PREFIX}."),
    )
}

/// Names that differ only in case are refused too: people could not tell them apart.
fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The statement, savepoint or cursor that an effect names.
fn named(effect: &Effect) -> Option<(&'static str, &str)> {
    match effect {
        Effect::Prepare(name) => Some(("PREPARE", name)),
        Effect::Execute(name) => Some(("EXECUTE", name)),
        Effect::Deallocate(Some(name)) => Some(("DEALLOCATE", name)),
        Effect::Savepoint(name) => Some(("SAVEPOINT", name)),
        Effect::RollbackTo(name) => Some(("ROLLBACK TO SAVEPOINT", name)),
        Effect::Release(name) => Some(("RELEASE SAVEPOINT", name)),
        Effect::HoldCursor(name) => Some(("DECLARE CURSOR", name)),
        Effect::CloseCursor(Some(name)) => Some(("CLOSE", name)),
        // ALL names nothing: the session keeps its own count of what is then gone.
        Effect::Deallocate(None)
        | Effect::CloseCursor(None)
        | Effect::Begin(_)
        | Effect::Commit { .. }
        | Effect::Rollback { .. }
        | Effect::PrepareTransaction
        | Effect::SetTransaction(_)
        | Effect::SetSessionCharacteristics(_)
        // `proxy-setting` speaks of the settings that are the proxy's own.
        | Effect::Set { .. }
        | Effect::SetUnknown
        | Effect::Reset(_)
        | Effect::ResetAll
        | Effect::DiscardAll
        | Effect::DiscardTemp
        | Effect::DiscardPlans
        | Effect::DiscardSequences
        | Effect::Show(_)
        | Effect::TempObject
        | Effect::Listen
        | Effect::Unlisten(_)
        | Effect::AdvisoryLock
        | Effect::AdvisoryUnlock
        | Effect::AdvisoryUnlockAll
        | Effect::Load => None,
    }
}
