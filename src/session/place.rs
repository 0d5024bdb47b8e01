//! On which server a statement runs: read-only sessions may read from a replica, but not everything can be done there.

use std::sync::Arc;

use super::core::{Core, Step};
use crate::guard::{Judged, works_on_standby};
use crate::policy::sqlstate;
use crate::upstream::{Link, Reach};
use crate::wire::{Report, TransactionState};

/// Where a statement stands.
#[derive(Debug)]
pub(super) enum Placed<'l> {
    /// On this connection it may run.
    On(&'l mut Link),
    /// This has to happen first.
    Wait(Step),
    /// The session cannot leave its connection, which is to a replica, and the statement cannot run there.
    Refuse(Report, &'l mut Link),
}

impl Core {
    /// Which servers will do for a statement.
    pub(super) fn reach(&self, judged: &Judged) -> Reach {
        if self.judge.policy.is_read_only() && !self.needs_primary(judged) { Reach::Replica } else { Reach::Primary }
    }

    fn needs_primary(&self, judged: &Judged) -> bool {
        judged.needs_primary || !works_on_standby(&self.state.wanted)
    }

    /// Finds the connection for a statement, or what has to happen before there is one.
    pub(super) fn place<'l>(&mut self, judged: &Arc<Judged>, link: Option<&'l mut Link>) -> Placed<'l> {
        let Some(link) = link else { return Placed::Wait(Step::NeedLease(self.reach(judged))) };
        if !(link.is_replica && self.needs_primary(judged)) {
            return Placed::On(link);
        }
        let is_movable = self.state.transaction == TransactionState::Idle
            && self.state.pins.is_empty()
            && !self.state.doubt.is_open()
            && !self.is_unsynced;
        if !is_movable {
            return Placed::Refuse(on_replica(), link);
        }
        Placed::Wait(if self.replies.is_empty() { Step::NeedLease(Reach::Primary) } else { Step::AwaitReplies })
    }
}

fn on_replica() -> Report {
    Report::error(sqlstate::NOT_SUPPORTED, "this statement is not possible on a read replica")
        .detail(
            "The transaction began on a replica; LISTEN, advisory locks, SERIALIZABLE and what acts on the server need the primary.",
        )
        .hint("End the transaction and run the statement outside of one, or as the first of a new one without BEGIN.")
}
