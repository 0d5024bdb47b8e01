//! Which session each server process of a host works for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Processes that are remembered before those that are gone are looked for.
const MOST_KEPT: usize = 1024;

/// The sessions that a host's server processes work for, or worked for last: each by the process id that its client was told at
/// login, so that the sender of a notification has the number its own client knows it by.
#[derive(Debug, Default)]
pub struct Holders(Mutex<HashMap<u32, Arc<AtomicU32>>>);

impl Holders {
    /// A server process that works for nobody yet. One that is gone is remembered for a while: its notifications may still come.
    pub(super) fn enter(&self, process: u32) -> Arc<AtomicU32> {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() >= MOST_KEPT {
            holders.retain(|_, session| Arc::strong_count(session) > 1);
        }
        let session = Arc::default();
        holders.insert(process, Arc::clone(&session));
        session
    }

    /// The session that a server process works for, or worked for last; `None` of a process of somebody else's.
    pub fn of(&self, process: u32) -> Option<u32> {
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.get(&process).map(|session| session.load(Ordering::Relaxed)).filter(|session| *session != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_while_it_is_there_and_a_while_longer() {
        let holders = Holders::default();
        let kept = holders.enter(7);
        assert_eq!(holders.of(7), None, "nobody has had it");
        kept.store(1, Ordering::Relaxed);
        holders.enter(8).store(2, Ordering::Relaxed);
        assert_eq!((holders.of(7), holders.of(8), holders.of(9)), (Some(1), Some(2), None));
        let others = 100..100 + u32::try_from(MOST_KEPT).unwrap();
        others.for_each(|process| drop(holders.enter(process)));
        assert_eq!((holders.of(7), holders.of(8)), (Some(1), None), "what is gone makes room");
    }
}
