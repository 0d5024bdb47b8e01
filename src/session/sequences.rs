//! `currval` and `lastval`: what the session's own `nextval` gave, on whatever connection it ran.
//!
//! The server keeps these values for a connection, and nothing can carry them to another. So a session is never shown those of
//! another one; and once a role asks for them between transactions, its sessions keep the connections on which they move
//! sequences. An application that never asks, because it uses RETURNING, keeps none.

use super::core::Core;
use super::state::Pin;
use crate::guard::Judged;
use crate::upstream::Link;
use crate::wire::TransactionState;

impl Core {
    /// Notes that the session asks for these values. One that asks outside a block, or has a table or function ask, needs them
    /// to last from one transaction to the next.
    pub(super) fn note_sequence_reader(&mut self, judged: &Judged) {
        if !judged.reads_sequences {
            return;
        }
        self.reads_sequences = true;
        let is_in_block = self.state.transaction != TransactionState::Idle || self.has_effects_in_flight();
        if judged.script.statements.len() == 1 && !is_in_block {
            self.judge.keep_sequences();
        }
    }

    /// A text is on its way that may move sequences: what they gave is this session's now.
    pub(super) fn note_sequence_mover(&mut self, judged: &Judged, link: &mut Link) {
        if !judged.moves_sequences {
            return;
        }
        link.sequences_of = Some(self.serial);
        if self.judge.keeps_sequences() {
            self.state.pins.add(Pin::Sequence);
        }
    }

    /// What makes the connection forget the values of another session, before this one could see them.
    pub(super) fn forget_foreign_sequences(&mut self, link: &mut Link) -> Option<&'static str> {
        if !self.reads_sequences || self.state.transaction == TransactionState::Failed {
            return None;
        }
        link.sequences_of.take_if(|owner| *owner != self.serial)?;
        Some("DISCARD SEQUENCES;")
    }
}
