//! `[tiers.TIER.rules.RULE]` and `[roles.ROLE.TIER.rules.RULE]`: what the file says of single rules.
//!
//! Which rules there are, and which of them may be changed so, `policy` knows: its registry is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::policy::Action;
use super::reader::Section;
use super::values::choice;
use crate::policy::{RuleId, Tuning, tunings};

/// Whether a rule is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// What it refuses does not run.
    #[default]
    Enforce,
    /// What it would refuse, or ask a confirmation for, runs and is recorded as such.
    Report,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Mode; 2] = [Mode::Enforce, Mode::Report];

    /// The name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Report => "report",
        }
    }
}

/// What the file says of one rule; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSetting {
    /// `mode`
    pub mode: Option<Mode>,
    /// `action`: instead of the action of the key that the rule follows.
    pub action: Option<Action>,
}

/// What is said of rules, by their ids; nothing of most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSettings(BTreeMap<RuleId, RuleSetting>);

impl RuleSettings {
    /// What is said of a rule.
    pub fn get(&self, rule: &str) -> RuleSetting {
        self.0.get(rule).copied().unwrap_or_default()
    }

    /// Says something of a rule; what is `None` stays as it was.
    pub fn set(&mut self, rule: RuleId, setting: RuleSetting) {
        let known = self.0.entry(rule).or_default();
        known.mode = setting.mode.or(known.mode);
        known.action = setting.action.or(known.action);
    }

    /// Every rule of which something is said, by id.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, RuleSetting)> + '_ {
        self.0.iter().map(|(rule, setting)| (*rule, *setting))
    }

    /// Says all that `over` says.
    pub(super) fn overlay(&mut self, over: &Self) {
        for (rule, setting) in over.iter() {
            self.set(rule, setting);
        }
    }

    /// Reads the table `rules`.
    pub(super) fn read(rules: &Section<'_>) -> Self {
        let mut all = Self::default();
        for (rule, tuning) in tunings() {
            let section = rules.named(rule, "RULE");
            let setting = RuleSetting { mode: mode(&section, tuning), action: action(&section, tuning) };
            if setting != RuleSetting::default() {
                all.set(rule, setting);
            }
        }
        all
    }
}

fn mode(section: &Section<'_>, tuning: Tuning) -> Option<Mode> {
    let mode = section.get("mode", choice::<Mode>)?;
    if mode.value == Mode::Report {
        match tuning {
            Tuning::Key(_) | Tuning::KeyUnlessReadOnly(_) | Tuning::Action(_) => {}
            Tuning::With(other) => {
                section.reader.error(&mode.place, format!("goes with {other}; set the mode of that"))
            }
            Tuning::Fixed(why) => section.reader.error(&mode.place, format!("cannot be \"report\": {why}")),
        }
    }
    Some(mode.value)
}

fn action(section: &Section<'_>, tuning: Tuning) -> Option<Action> {
    let action = section.get("action", choice::<Action>)?;
    match tuning {
        Tuning::Action(_) => return Some(action.value),
        Tuning::Key(key) | Tuning::KeyUnlessReadOnly(key) => {
            section.reader.error(&action.place, format!("the rule has none of its own; set {key}"));
        }
        Tuning::With(_) | Tuning::Fixed(_) => {
            section.reader.error(&action.place, "the rule has none of its own: it always refuses");
        }
    }
    None
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "enforce" => Ok(Mode::Enforce),
            "report" => Ok(Mode::Report),
            _ => Err(format!("unknown mode \"{text}\"; use one of: enforce, report")),
        }
    }
}
