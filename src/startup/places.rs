//! How many sessions a user or a database has, and may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions counted by whose they are. It outlives a reload, so that a limit counts the sessions from before it, too.
#[derive(Debug, Default)]
pub struct Places {
    taken: Mutex<HashMap<Owner, u32>>,
}

/// Whose sessions are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// All sessions of a user.
    User(String),
    /// All sessions of a database's tier: `app:prod`.
    Database(String),
}

/// A session's place among those of its owner; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    owner: Owner,
}

impl Places {
    /// A place, if fewer than `most` are taken; `None` for `most` is no limit.
    pub fn take(self: &Arc<Self>, owner: Owner, most: Option<u32>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&owner).copied().unwrap_or(0);
        if most.is_some_and(|most| count >= most) {
            return None;
        }
        taken.insert(owner.clone(), count.saturating_add(1));
        Some(Place { places: Arc::clone(self), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_dropped() {
        let places = Arc::new(Places::default());
        let take = |most| places.take(Owner::User("alice".to_owned()), most);
        let (first, second) = (take(Some(2)).unwrap(), take(Some(2)).unwrap());
        assert!(take(Some(2)).is_none());
        assert!(places.take(Owner::User("bob".to_owned()), Some(1)).is_some());
        assert!(places.take(Owner::Database("alice".to_owned()), Some(1)).is_some());
        drop(first);
        let third = take(Some(2)).unwrap();
        // Those taken without a limit count as well, and a limit that was lowered ends nobody.
        let unlimited = take(None).unwrap();
        assert!(take(Some(2)).is_none());
        drop((second, third, unlimited));
        assert!(places.taken.lock().unwrap().is_empty(), "owners without sessions are forgotten");
    }
}
