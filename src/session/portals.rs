//! The session's portals: what is bound, and what is left when the server did not do what it was sent.

use std::sync::Arc;

use super::core::Core;
use super::plan::Planned;
use super::prepared::Prepared;
use crate::policy::sqlstate;
use crate::wire::Report;

/// Most portals of one session at once.
const MAX_PORTALS: usize = 10_000;

/// A portal: a statement with its parameters.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) prepared: Prepared,
    pub(super) parameters: Option<Vec<Option<String>>>,
    /// What the server expects of it with these parameters, where it was asked.
    pub(super) planned: Option<Arc<Planned>>,
    /// Rows that were fetched from it so far.
    pub(super) returned: u64,
    /// How many Syncs were sent before it was made.
    pub(super) batch: u64,
}

/// What a Bind or a Close has replaced: it still has the name when the server refuses or skips the message.
#[derive(Debug)]
pub(super) struct PortalUndo {
    pub(super) name: Box<str>,
    pub(super) portal: Option<Box<Portal>>,
    /// How many Syncs were sent before the message.
    pub(super) batch: u64,
}

impl Core {
    /// Why there cannot be a portal of this name; where both are the server's, it says so itself.
    pub(super) fn refuse_portal(&self, name: &str, prepared: &Prepared) -> Option<Report> {
        let has_it = |portal: &Portal| portal.prepared.judged.local().is_some() || prepared.judged.local().is_some();
        if !name.is_empty() && self.portals.get(name).is_some_and(has_it) {
            return Some(Report::error("42P03", format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= MAX_PORTALS {
            let report = Report::error(sqlstate::ROW_LIMIT, "too many portals in one session");
            return Some(report.hint("Close portals that are not used any more."));
        }
        None
    }

    pub(super) fn add_portal(&mut self, name: &str, portal: Portal) -> PortalUndo {
        let batch = portal.batch;
        let replaced = self.portals.insert(name.into(), portal);
        // A Bind ends the unnamed portal before it can fail.
        let portal = replaced.filter(|_| !name.is_empty()).map(Box::new);
        PortalUndo { name: name.into(), portal, batch }
    }

    /// A Bind or a Close was skipped, or failed. What a batch behind it has bound stays.
    pub(super) fn undo_portal(&mut self, undo: PortalUndo) {
        if self.portals.get(&undo.name).is_some_and(|portal| portal.batch > undo.batch) {
            return;
        }
        match undo.portal {
            Some(portal) => self.portals.insert(undo.name, *portal),
            None => self.portals.remove(&undo.name),
        };
    }
}

pub(super) fn no_portal(name: &str) -> Report {
    Report::error(sqlstate::UNKNOWN_PORTAL, format!("portal \"{name}\" does not exist"))
}
