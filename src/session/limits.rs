//! The time limits of a session, kept by the proxy besides the server's own (DESIGN §5). Pure: it is told the time.

use std::time::{Duration, Instant};

use crate::config::Policy;

/// How much later than the server the proxy acts: the server's own error is the better one.
const GRACE: Duration = Duration::from_secs(2);

/// How long a cancelled statement may take to end before its connection is closed.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// When the client is warned of the end of its session.
const WARNINGS: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(60)];

/// What a session's time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing is in flight and no transaction is open.
    Idle,
    /// A statement runs since then.
    Running(Instant),
    /// A transaction is open and the client says nothing.
    IdleInTransaction,
}

/// What has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The session ends in so long.
    Warning(Duration),
    /// The session is over.
    SessionEnd,
    /// The statement has run too long: cancel it.
    CancelStatement,
    /// It did not end when it was cancelled: close its connection.
    GiveUpStatement,
    /// The transaction was idle for too long.
    IdleInTransaction,
}

/// Deadlines of one session.
#[derive(Debug)]
pub(super) struct Limits {
    started: Instant,
    warned: usize,
    idle_since: Option<Instant>,
    cancelled: Option<Instant>,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, warned: 0, idle_since: None, cancelled: None }
    }

    /// What is due at `now`, one thing at a time.
    pub(super) fn due(&mut self, policy: &Policy, activity: Activity, now: Instant) -> Option<Due> {
        self.observe(activity, now);
        if let Some(limit) = policy.session_limit {
            let left = (self.started + limit).saturating_duration_since(now);
            if left.is_zero() {
                return Some(Due::SessionEnd);
            }
            if let Some(&warning) = WARNINGS.get(self.warned)
                && left <= warning
            {
                self.warned += 1;
                // A session shorter than the warning needs none that is older than itself.
                return if limit > warning { Some(Due::Warning(left)) } else { self.due(policy, activity, now) };
            }
        }
        match activity {
            Activity::Idle => None,
            Activity::Running(since) => {
                if let Some(cancelled) = self.cancelled {
                    return (now >= cancelled + CANCEL_PATIENCE).then_some(Due::GiveUpStatement);
                }
                let limit = policy.statement_timeout?;
                if now >= since + limit + GRACE {
                    self.cancelled = Some(now);
                    return Some(Due::CancelStatement);
                }
                None
            }
            Activity::IdleInTransaction => {
                let limit = policy.idle_in_transaction_timeout?;
                let since = self.idle_since?;
                (now >= since + limit + GRACE).then_some(Due::IdleInTransaction)
            }
        }
    }

    /// When to look again.
    pub(super) fn next(&mut self, policy: &Policy, activity: Activity, now: Instant) -> Option<Instant> {
        self.observe(activity, now);
        let session = policy.session_limit.map(|limit| {
            let end = self.started + limit;
            WARNINGS
                .get(self.warned)
                .and_then(|&warning| end.checked_sub(warning))
                .filter(|&at| at > now)
                .unwrap_or(end)
        });
        let activity = match activity {
            Activity::Idle => None,
            Activity::Running(since) => match self.cancelled {
                Some(cancelled) => Some(cancelled + CANCEL_PATIENCE),
                None => policy.statement_timeout.map(|limit| since + limit + GRACE),
            },
            Activity::IdleInTransaction => {
                policy.idle_in_transaction_timeout.zip(self.idle_since).map(|(limit, since)| since + limit + GRACE)
            }
        };
        session.into_iter().chain(activity).min()
    }

    fn observe(&mut self, activity: Activity, now: Instant) {
        match activity {
            Activity::IdleInTransaction => {
                self.idle_since.get_or_insert(now);
            }
            Activity::Idle | Activity::Running(_) => self.idle_since = None,
        }
        if !matches!(activity, Activity::Running(_)) {
            self.cancelled = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Role, Tier, default_policy};

    fn policy() -> Policy {
        default_policy(Role::Engineer, Tier::Prod)
    }

    #[test]
    fn a_session_is_warned_twice_and_ended() {
        let start = Instant::now();
        let mut limits = Limits::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(limits.due(&policy(), Activity::Idle, at(0)), None);
        assert_eq!(limits.next(&policy(), Activity::Idle, at(0)), Some(at(1500)));
        assert!(matches!(limits.due(&policy(), Activity::Idle, at(1500)), Some(Due::Warning(_))));
        assert_eq!(limits.due(&policy(), Activity::Idle, at(1501)), None);
        assert!(matches!(limits.due(&policy(), Activity::Idle, at(1740)), Some(Due::Warning(_))));
        assert_eq!(limits.due(&policy(), Activity::Idle, at(1800)), Some(Due::SessionEnd));
    }

    #[test]
    fn a_statement_is_cancelled_once_then_given_up() {
        let start = Instant::now();
        let mut limits = Limits::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        let running = Activity::Running(start);
        assert_eq!(limits.due(&policy(), running, at(121)), None);
        assert_eq!(limits.due(&policy(), running, at(122)), Some(Due::CancelStatement));
        assert_eq!(limits.due(&policy(), running, at(123)), None);
        assert_eq!(limits.due(&policy(), running, at(127)), Some(Due::GiveUpStatement));
        assert_eq!(limits.due(&policy(), Activity::Idle, at(128)), None);
        assert_eq!(limits.due(&policy(), Activity::Running(at(128)), at(129)), None);
    }

    #[test]
    fn idle_time_counts_from_when_it_began() {
        let start = Instant::now();
        let mut limits = Limits::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(limits.due(&policy(), Activity::IdleInTransaction, at(10)), None);
        assert_eq!(limits.due(&policy(), Activity::Running(at(20)), at(20)), None);
        assert_eq!(limits.due(&policy(), Activity::IdleInTransaction, at(30)), None);
        assert_eq!(limits.due(&policy(), Activity::IdleInTransaction, at(91)), None);
        assert_eq!(limits.due(&policy(), Activity::IdleInTransaction, at(92)), Some(Due::IdleInTransaction));
    }
}
