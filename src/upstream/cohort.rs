//! Connections that are not to be lent again: those to an address that was retired since they were opened.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::open::Address;

/// What the connections to one address share, until it is retired.
#[derive(Clone, Debug, Default)]
pub(super) struct Cohort(Arc<AtomicBool>);

impl Cohort {
    /// Whether its connections are closed as soon as nobody uses them.
    pub(super) fn is_retired(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn retire(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_connections(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// The cohorts of one host.
#[derive(Debug, Default)]
pub(super) struct Cohorts(Mutex<HashMap<Address, Cohort>>);

impl Cohorts {
    /// What a connection to this address belongs to from now on.
    pub(super) fn at(&self, address: &Address) -> Cohort {
        self.lock().entry(address.clone()).or_default().clone()
    }

    /// Retires every connection that there is now.
    pub(super) fn retire(&self) {
        self.lock().drain().for_each(|(_, cohort)| cohort.retire());
    }

    /// Retires those to other addresses than these; returns whether there were any.
    pub(super) fn retire_all_but(&self, addresses: &[Address]) -> bool {
        let gone = self.lock().extract_if(|address, _| !addresses.contains(address)).collect::<Vec<_>>();
        gone.iter().for_each(|(_, cohort)| cohort.retire());
        gone.iter().any(|(_, cohort)| cohort.has_connections())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Cohort>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_addresses_that_are_gone_are_retired() {
        let [a, b] = [1, 2].map(|port| Address::Tcp(([127, 0, 0, 1], port).into()));
        let cohorts = Cohorts::default();
        let (of_a, of_b) = (cohorts.at(&a), cohorts.at(&b));
        assert!(!cohorts.retire_all_but(&[a.clone(), b.clone()]));
        assert!(cohorts.retire_all_but(std::slice::from_ref(&b)));
        assert!(of_a.is_retired() && !of_b.is_retired());
        assert!(!cohorts.at(&a).is_retired(), "it is back");
        assert!(!cohorts.retire_all_but(std::slice::from_ref(&b)), "nobody was there");
        cohorts.retire();
        assert!(of_b.is_retired() && !cohorts.at(&b).is_retired());
    }
}
