//! What stands between a pool and a server that cannot be reached: one attempt at a time, with growing pauses.
//!
//! While it is closed, slots of the pool that have no connection are parked: whoever asks for a connection waits for one that
//! is still open, or for the server, and only the pool's own probe knocks. Opening it gives the slots back, oldest waiter first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ConnectError;
use super::endpoint::random;

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it is closed; `None` when it is open.
    trouble: Option<Arc<ConnectError>>,
    /// Slots taken out of circulation.
    parked: usize,
    has_probe: bool,
    has_connected: bool,
}

/// What somebody with a slot and no connection has to do.
#[derive(Debug)]
pub(super) enum Entry {
    /// Connect.
    Go(OwnedSemaphorePermit),
    /// Queue for a slot again: this one is parked.
    Wait,
    /// Give up: the trouble lasts until somebody mends it.
    Fail(Arc<ConnectError>),
}

impl Gate {
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self { slots, state: Mutex::default() }
    }

    pub(super) fn enter(&self, slot: OwnedSemaphorePermit) -> Entry {
        let mut state = self.lock();
        match &state.trouble {
            None => Entry::Go(slot),
            Some(error) if error.is_passing() => {
                slot.forget();
                state.parked += 1;
                Entry::Wait
            }
            Some(error) => Entry::Fail(Arc::clone(error)),
        }
    }

    /// Closes it. Returns whether a probe has to be started.
    pub(super) fn close(&self, error: Arc<ConnectError>) -> bool {
        let mut state = self.lock();
        if !error.is_passing() {
            // Nobody waits for what does not pass.
            self.unpark(&mut state);
        }
        state.trouble = Some(error);
        !std::mem::replace(&mut state.has_probe, true)
    }

    /// The server was reached.
    pub(super) fn open(&self) {
        let mut state = self.lock();
        state.trouble = None;
        state.has_connected = true;
        self.unpark(&mut state);
    }

    /// Asked by the probe: whether it is still needed. If not, it ends.
    pub(super) fn needs_probe(&self) -> bool {
        let mut state = self.lock();
        state.has_probe = state.trouble.is_some();
        state.has_probe
    }

    /// Why it is closed.
    pub(super) fn trouble(&self) -> Option<Arc<ConnectError>> {
        self.lock().trouble.clone()
    }

    /// Whether the server was ever reached.
    pub(super) fn has_connected(&self) -> bool {
        self.lock().has_connected
    }

    fn unpark(&self, state: &mut State) {
        self.slots.add_permits(std::mem::take(&mut state.parked));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pauses between attempts: doubled each time, and never the same for two proxies.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest: a server that is back is found within this time.
const LONGEST: Duration = Duration::from_secs(1);

/// The longest when the trouble does not pass by itself: refused logins fill the server's log.
const LONGEST_LASTING: Duration = Duration::from_secs(5);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(SHORTEST)
    }

    /// The next pause, of which half is left to chance.
    pub(super) fn next(&mut self, trouble: &ConnectError) -> Duration {
        let longest = if trouble.is_passing() { LONGEST } else { LONGEST_LASTING };
        let whole = self.0.min(longest);
        self.0 = (self.0 * 2).min(LONGEST_LASTING);
        let half = whole / 2;
        half + half.mul_f64((random() % 1024) as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> Arc<ConnectError> {
        Arc::new(ConnectError::Timeout { host: "h".to_owned(), port: 1, seconds: 1 })
    }

    fn lasting() -> Arc<ConnectError> {
        Arc::new(ConnectError::Authentication("no".to_owned()))
    }

    fn gate(slots: usize) -> (Arc<Semaphore>, Gate) {
        let slots = Arc::new(Semaphore::new(slots));
        (Arc::clone(&slots), Gate::new(slots))
    }

    fn slot(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        Arc::clone(slots).try_acquire_owned().unwrap()
    }

    #[test]
    fn slots_are_parked_while_it_is_closed() {
        let (slots, gate) = gate(2);
        assert!(matches!(gate.enter(slot(&slots)), Entry::Go(_)));
        assert!(gate.close(passing()), "the first to close it starts the probe");
        assert!(!gate.close(passing()), "and no other does");
        assert!(matches!(gate.enter(slot(&slots)), Entry::Wait));
        assert!(matches!(gate.enter(slot(&slots)), Entry::Wait));
        assert_eq!(slots.available_permits(), 0);
        assert!(gate.needs_probe());
        gate.open();
        assert_eq!(slots.available_permits(), 2);
        assert!(!gate.needs_probe(), "the probe ends");
        assert!(gate.close(passing()), "and the next closing starts another");
    }

    #[test]
    fn nobody_waits_for_what_lasts() {
        let (slots, gate) = gate(2);
        gate.close(passing());
        assert!(matches!(gate.enter(slot(&slots)), Entry::Wait));
        gate.close(lasting());
        assert_eq!(slots.available_permits(), 2, "those that waited are told");
        assert!(matches!(gate.enter(slot(&slots)), Entry::Fail(_)));
        assert_eq!(slots.available_permits(), 2);
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.next(&passing())).collect();
        for (n, pause) in pauses.iter().enumerate() {
            let whole = (SHORTEST * 2_u32.pow(n as u32)).min(LONGEST);
            assert!(*pause >= whole / 2 && *pause <= whole, "{n}: {pause:?}");
        }
        assert!(backoff.next(&lasting()) > LONGEST, "a refused login is not repeated every second");
    }
}
