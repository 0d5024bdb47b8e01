//! The pause before a login is answered that follows failed ones: guessing a password takes long, and nobody is locked out.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// The first pause; each failure doubles it.
const FIRST: Duration = Duration::from_millis(100);

/// Failures are forgotten after this time.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Most pairs of user and address that are remembered: about 1 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Failed logins by user and address. A user is only slowed down where the failures come from, and whether a user exists
/// makes no difference.
#[derive(Debug)]
pub struct LoginDelays {
    hasher: RandomState,
    failed: Mutex<LruCache<(u64, IpAddr), Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// How a login went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user is who it says.
    Proven,
    /// It is not, as far as can be told.
    Failed,
}

impl Default for LoginDelays {
    fn default() -> Self {
        Self { hasher: RandomState::new(), failed: Mutex::new(LruCache::new(MOST)) }
    }
}

impl LoginDelays {
    /// Notes how a login went, and returns how long its answer is to wait, at most `longest`. The answer to a right password
    /// waits as long as one more wrong one would have made it, so that an early answer tells nothing.
    pub fn note(&self, user: &str, address: IpAddr, outcome: Outcome, longest: Duration, now: Instant) -> Duration {
        let key = (self.hasher.hash_one(user), network(address));
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failed.get(&key).filter(|f| now.saturating_duration_since(f.last) < REMEMBERED);
        let before = known.map_or(0, |failures| failures.count);
        match outcome {
            Outcome::Proven => {
                failed.pop(&key);
                if before == 0 { Duration::ZERO } else { pause(before.saturating_add(1), longest) }
            }
            Outcome::Failed => {
                let count = before.saturating_add(1);
                failed.put(key, Failures { count, last: now });
                pause(count, longest)
            }
        }
    }
}

fn pause(failures: u32, longest: Duration) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(doubled).min(longest)
}

/// Whoever has one IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_ends_with_a_login() {
        let delays = LoginDelays::default();
        let here: IpAddr = [127, 0, 0, 1].into();
        let now = Instant::now();
        let note = |outcome| delays.note("alice", here, outcome, LONGEST, now);
        assert_eq!(note(Outcome::Proven), ms(0));
        let pauses: Vec<_> = (0..8).map(|_| note(Outcome::Failed)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000].map(ms));
        // No sooner than a wrong one would have been answered.
        assert_eq!(note(Outcome::Proven), LONGEST);
        assert_eq!(note(Outcome::Proven), ms(0));
        for _ in 0..100 {
            assert!(note(Outcome::Failed) <= LONGEST);
        }
    }

    #[test]
    fn other_users_and_other_addresses_do_not_wait() {
        let delays = LoginDelays::default();
        let now = Instant::now();
        let note = |user, address: &str, outcome| delays.note(user, address.parse().unwrap(), outcome, LONGEST, now);
        for _ in 0..5 {
            note("alice", "10.0.0.1", Outcome::Failed);
            note("alice", "2001:db8::1", Outcome::Failed);
        }
        for (user, address) in [("alice", "10.0.0.2"), ("bob", "10.0.0.1"), ("alice", "2001:db8:0:1::1")] {
            assert_eq!(note(user, address, Outcome::Proven), ms(0), "{user} {address}");
        }
        // The same network, and the same address in another form.
        assert!(note("alice", "2001:db8::ffff", Outcome::Proven) > ms(0));
        assert!(note("alice", "::ffff:10.0.0.1", Outcome::Proven) > ms(0));
    }

    #[test]
    fn failures_are_forgotten() {
        let delays = LoginDelays::default();
        let here: IpAddr = [127, 0, 0, 1].into();
        let now = Instant::now();
        delays.note("alice", here, Outcome::Failed, LONGEST, now);
        assert_eq!(delays.note("alice", here, Outcome::Failed, LONGEST, now + REMEMBERED), ms(100));
    }

    #[test]
    fn memory_is_bounded() {
        let delays = LoginDelays::default();
        let now = Instant::now();
        for i in 0..20_000 {
            delays.note(&format!("user{i}"), [10, 0, 0, 1].into(), Outcome::Failed, LONGEST, now);
        }
        assert_eq!(delays.failed.lock().unwrap().len(), MOST.get());
    }
}
