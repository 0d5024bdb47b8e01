//! One configuration at work.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::TargetRuntime;
use crate::config::{self, Config, Origin, Role, Target, Tier, User};
use crate::guard::Judge;
use crate::tls::{self, TlsSetupError};

/// One configuration at work.
pub struct Runtime {
    /// The configuration.
    pub config: Config,
    /// Counts the configurations of this process.
    pub generation: u64,
    /// TLS towards clients.
    pub tls: Option<tls::Acceptor>,
    pub(super) targets: BTreeMap<(String, Tier), Arc<TargetRuntime>>,
    judges: Mutex<HashMap<(String, Role, PolicyHours), Arc<Judge>>>,
}

/// Which of a role's two policies a judge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PolicyHours {
    Ordinary,
    Peak,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runtime(generation {})", self.generation)
    }
}

impl Runtime {
    pub(super) fn new(config: Config, generation: u64, old: Option<&Runtime>) -> Result<Self, TlsSetupError> {
        let tls = config.listen.tls.as_ref().map(tls::acceptor).transpose()?;
        let mut targets = BTreeMap::new();
        for (name, database) in &config.databases {
            for (tier, target) in &database.targets {
                let key = (name.clone(), *tier);
                let limits = config.pools.get(tier).copied().unwrap_or_else(|| config::default_pool(*tier));
                let before = old.and_then(|old| old.targets.get(&key));
                let at_work = match before.filter(|t| t.target == *target && t.limits == limits) {
                    Some(kept) => {
                        kept.renew_tls()?;
                        Arc::clone(kept)
                    }
                    None => Arc::new(TargetRuntime::new(Arc::clone(target), limits, before.map(|before| &**before))?),
                };
                targets.insert(key, at_work);
            }
        }
        Ok(Self { config, generation, tls, targets, judges: Mutex::new(HashMap::new()) })
    }

    /// The database tier at work.
    pub fn target(&self, target: &Target) -> Option<Arc<TargetRuntime>> {
        self.targets.get(&(target.database.clone(), target.tier)).cloned()
    }

    /// The judge of a role on a target as the policy is at this moment; sessions share it and what it remembers.
    pub fn judge(&self, role: Role, target: &TargetRuntime, now: SystemTime) -> Option<Arc<Judge>> {
        let policy = self.config.policy(role, target.target.tier)?.at(now);
        let hours = if policy.is_of_peak_hours() { PolicyHours::Peak } else { PolicyHours::Ordinary };
        let mut judges = self.judges.lock().unwrap_or_else(PoisonError::into_inner);
        let judge = judges.entry((target.name.clone(), role, hours)).or_insert_with(|| {
            Arc::new(Judge::new(policy, target.target.database.clone(), Arc::clone(&target.catalog)))
        });
        Some(Arc::clone(judge))
    }

    /// What a running session goes on with under this configuration; `None` when its user or database is gone, or the user's
    /// role is another.
    pub fn resume(
        &self,
        user: &User,
        target: &TargetRuntime,
        now: SystemTime,
    ) -> Option<(Arc<Judge>, Arc<TargetRuntime>)> {
        let at_work = self.target(&target.target)?;
        let role = match user.origin {
            Origin::Configured => self.config.users.get(&user.name)?.role,
            Origin::Database => {
                // What the database would say now is not known.
                let roles = |of: &Target| of.auth_query.as_ref().map(|query| (query.role, query.groups.clone()));
                (roles(&at_work.target)? == roles(&target.target)?).then_some(user.role)?
            }
        };
        let at_work = at_work.follow(user, target)?;
        Some((self.judge(role, &at_work, now)?, at_work))
    }

    /// Which policies are in their peak hours, of those that have any.
    pub(super) fn peaks(&self, now: SystemTime) -> Vec<bool> {
        let peaks = self.config.policies.values().filter_map(|policy| policy.peak.as_ref());
        peaks.map(|peak| peak.hours.contains(now)).collect()
    }

    pub(super) fn forget_judgements(&self, target: &str) {
        let judges = self.judges.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, judge) in judges.iter().filter(|((name, ..), _)| name == target) {
            judge.forget();
        }
    }
}
