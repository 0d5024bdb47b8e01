//! `currval` and `lastval`: what the session's own `nextval` gave, on whatever connection it ran.
//!
//! The server keeps these values for a connection, and nothing can carry them to another. So a session is never shown those of
//! another one; and once a role asks for them between transactions, its sessions keep the connections on which they move
//! sequences. An application that never asks, because it uses RETURNING, keeps none and forgets none.

use std::sync::atomic::Ordering::Relaxed;

use super::core::{Core, next_serial};
use super::state::Pin;
use crate::guard::Judged;
use crate::upstream::{Link, SequencesOf};
use crate::wire::TransactionState;

/// Makes a connection forget them.
pub(super) const FORGET_SEQUENCES: &str = "DISCARD SEQUENCES;";

impl Core {
    /// Notes that the session asks for these values. One that asks outside a block, or has a table or function ask, needs them
    /// to last from one transaction to the next.
    pub(super) fn note_sequence_reader(&mut self, judged: &Judged) {
        if !judged.reads_sequences {
            return;
        }
        self.reads_sequences = true;
        self.judge.sequences().is_asked.store(true, Relaxed);
        let is_in_block = self.state.transaction != TransactionState::Idle || self.has_effects_in_flight();
        if judged.script.statements.len() == 1 && !is_in_block {
            self.judge.sequences().is_kept.store(true, Relaxed);
        }
    }

    /// A text is on its way that may move sequences: what they gave is this session's now.
    pub(super) fn note_sequence_mover(&mut self, judged: &Judged, link: &mut Link) {
        if !judged.moves_sequences {
            return;
        }
        let last = match link.sequences_of {
            SequencesOf::Nobody => None,
            SequencesOf::Session(last) | SequencesOf::SessionAndOthers(last) => Some(last),
        };
        if last != Some(self.serial) {
            // What it was given before, on another connection, is outdated: it is not its own any more.
            self.serial = next_serial();
            link.sequences_of = match last {
                None => SequencesOf::Session(self.serial),
                Some(_) => SequencesOf::SessionAndOthers(self.serial),
            };
        }
        if self.judge.sequences().is_kept.load(Relaxed) {
            self.state.pins.add(Pin::Sequence);
        }
    }

    /// Whether the connection has the values of another session, and this one could see them.
    pub(super) fn has_foreign_sequences(&self, link: &Link) -> bool {
        let is_foreign = match link.sequences_of {
            SequencesOf::Nobody => false,
            SequencesOf::Session(owner) => owner != self.serial,
            // The first block of its role that asks has moved sequences when nobody knew that values had to be forgotten before:
            // it is told its own, and would be told another's only if it asked for a sequence that it has not moved.
            SequencesOf::SessionAndOthers(last) => {
                last != self.serial || self.state.transaction == TransactionState::Idle
            }
        };
        let is_asked = self.reads_sequences || self.judge.sequences().is_asked.load(Relaxed);
        is_foreign && is_asked && self.state.transaction != TransactionState::Failed
    }

    /// [`FORGET_SEQUENCES`] did not run in a batch.
    pub(super) fn keep_foreign_sequences(link: &mut Link) {
        // No session has this number.
        link.sequences_of = SequencesOf::SessionAndOthers(u64::MAX);
    }
}
