//! Statements that the proxy answers itself: its own `pgbelay.*` settings, and time limits that a client would raise.

use crate::config::Policy;
use crate::policy::{Clamp, Denial, Notice, clamp};
use crate::sql::{Effect, Facts, Scope, SettingValue};
use crate::wire::Report;

/// What the proxy does instead of sending a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalAction {
    /// `SHOW pgbelay.…`; holds what follows the dot.
    Show(String),
    /// `SET pgbelay.…`.
    Set {
        /// What follows the dot.
        name: String,
        /// `None` to reset it.
        value: Option<String>,
    },
    /// A time limit that stays at the tier's value (DESIGN §5).
    Limit {
        /// The setting.
        name: String,
        /// The value it gets.
        value: String,
        /// What the client is told.
        notice: Option<Notice>,
        /// The command tag: `SET` or `RESET`.
        tag: &'static str,
    },
}

impl LocalAction {
    /// What the proxy does with this statement, if it is one of its own.
    pub fn of(facts: &Facts, policy: &Policy) -> Option<Self> {
        let [effect] = facts.effects.as_slice() else { return None };
        match effect {
            Effect::Show(name) => Some(LocalAction::Show(own_name(name)?.to_owned())),
            Effect::Set { name, value, by_function: false, .. } if own_name(name).is_some() => {
                let value = match value {
                    SettingValue::Text(text) => Some(text.clone()),
                    SettingValue::Default | SettingValue::Unknown => None,
                };
                Some(LocalAction::Set { name: own_name(name)?.to_owned(), value })
            }
            Effect::Reset(name) if own_name(name).is_some() => {
                Some(LocalAction::Set { name: own_name(name)?.to_owned(), value: None })
            }
            Effect::Set { name, value, by_function: false, scope: Scope::Session | Scope::Transaction } => {
                limit(name, value, policy, "SET")
            }
            Effect::Reset(name) => limit(name, &SettingValue::Default, policy, "RESET"),
            _ => None,
        }
    }
}

/// A warning of the policy as it is shown.
pub fn notice_report(notice: &Notice) -> Report {
    Report::notice(notice.message.clone()).detail(notice.detail.clone()).hint(notice.hint.clone())
}

/// A refusal of the policy as it is shown.
pub fn denial_report(denial: &Denial) -> Report {
    Report::error(denial.sqlstate, denial.message.clone()).detail(denial.detail.clone()).hint(denial.hint.clone())
}

/// What follows `pgbelay.` in the name of one of the proxy's own settings.
fn own_name(setting: &str) -> Option<&str> {
    setting.strip_prefix("pgbelay.")
}

fn limit(name: &str, value: &SettingValue, policy: &Policy, tag: &'static str) -> Option<LocalAction> {
    match clamp(name, value, policy) {
        Clamp::NotALimit | Clamp::WithinLimit => None,
        Clamp::Clamped { value, notice } => Some(LocalAction::Limit { name: name.to_owned(), value, notice, tag }),
    }
}
