//! What a session has made that runs code: judged with suspicion until the server's catalog tells what it is.
//!
//! It is noted when the statement is sent, so that what follows in the same pipeline is judged with it in mind, and forgotten
//! once the catalog was loaded behind the end of its transaction. Tables that got rules, triggers or policies stay in mind for
//! as long as the session lasts: of those the catalog says nothing, since a schema's own triggers are none of a guard's business.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::core::Core;
use crate::config::Action;
use crate::guard::{Judge, Judged};
use crate::sql::{Kind, Made};
use crate::wire::TransactionState;

/// What a session has made.
#[derive(Debug, Default)]
pub(super) struct MadeHere {
    names: BTreeSet<Made>,
    /// What the catalog has to catch up with.
    behind: Behind,
}

/// How far the catalog is behind the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Behind {
    /// It knows all.
    #[default]
    Nothing,
    /// It has to be loaded once the transaction has ended.
    Changed,
    /// It was asked for, under this number, and the session's next statement waits for it.
    Awaited(u64),
    /// It was asked for, under this number.
    Asked(u64),
}

impl Core {
    /// A statement is sent that may make code.
    pub(super) fn note_made(&mut self, judged: &Judged) {
        let before = self.made.names.len();
        for facts in &judged.script.statements {
            self.made.names.extend(facts.makes.iter().cloned());
            match facts.kind {
                Kind::Do | Kind::Call => {
                    self.made.names.insert(Made::Anything);
                }
                Kind::Drop => {}
                _ if facts.makes.is_empty() => continue,
                _ => {}
            }
            self.made.behind = Behind::Changed;
        }
        if self.made.names.len() != before {
            self.fork_judge();
        }
    }

    /// The judge of a new configuration, or of another session's policy.
    pub(super) fn follow(&mut self, judge: Arc<Judge>) {
        self.judge = judge;
        self.fork_judge();
    }

    /// What the session must do about the catalog before the next message is judged.
    pub(super) fn catalog_behind(&self) -> Behind {
        match self.made.behind {
            // What a batch has made is committed by its Sync.
            Behind::Changed
                if self.state.transaction != TransactionState::Idle || !self.is_idle() || self.is_unsynced =>
            {
                Behind::Nothing
            }
            behind => behind,
        }
    }

    /// Whether it may have made what the catalog was never asked about, committed or not.
    pub(super) fn has_made_code(&self) -> bool {
        self.made.behind == Behind::Changed
    }

    /// Whether the next statement must wait for the catalog: where nothing hangs on it, it is loaded in the background.
    pub(super) fn waits_for_catalog(&self) -> bool {
        matches!(self.catalog_behind(), Behind::Changed | Behind::Awaited(_))
            && self.judge.policy.opaque_write != Action::Allow
    }

    /// The catalog will be loaded for the sake of others, too; `ticket` tells when it has been.
    pub(super) fn catalog_asked(&mut self, ticket: u64) {
        self.made.behind = if self.waits_for_catalog() { Behind::Awaited(ticket) } else { Behind::Asked(ticket) };
    }

    /// The catalog could not be loaded: nobody waits for a later attempt.
    pub(super) fn catalog_failed(&mut self, ticket: u64) {
        self.made.behind = Behind::Asked(ticket);
    }

    /// The catalog knows all that the session has made, but for what hangs on tables.
    pub(super) fn catalog_loaded(&mut self) {
        self.made.behind = Behind::Nothing;
        let before = self.made.names.len();
        self.made.names.retain(|made| matches!(made, Made::OnTable(_)));
        if self.made.names.len() != before {
            self.fork_judge();
        }
    }

    fn fork_judge(&mut self) {
        self.judge = self.judge.of_session(self.made.names.clone());
    }
}
