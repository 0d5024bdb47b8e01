//! What a rule sees, and what it answers.

use crate::config::{Action, Policy, Tier};
use crate::policy::family::Family;
use crate::policy::{FunctionNature, SessionTables, SessionView};
use crate::sql::functions::{self, Category};
use crate::sql::{Call, Facts, Kind, Name, Script};

/// One statement of a text, under a policy, in a session.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Context<'a> {
    /// The whole text.
    pub(in crate::policy) script: &'a Script,
    /// Which of its statements is judged.
    pub(in crate::policy) index: usize,
    /// The policy.
    pub(in crate::policy) policy: &'a Policy,
    /// The session.
    pub(in crate::policy) view: &'a SessionView<'a>,
    /// What is known of the session's tables where the statement stands in its text.
    pub(in crate::policy) tables: &'a SessionTables,
}

/// A rule's answer where it has something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Finding {
    /// What is to be done.
    pub(in crate::policy) action: Action,
    /// Primary message.
    pub(in crate::policy) message: String,
    /// DETAIL without its `rule <id>: `.
    pub(in crate::policy) detail: String,
    /// HINT.
    pub(in crate::policy) hint: String,
}

impl Finding {
    /// A refusal that no configuration key softens.
    pub(super) fn deny(message: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Option<Self> {
        Self::of(Action::Deny, message, detail, hint)
    }

    /// What the policy wants done; nothing when it allows it.
    pub(super) fn of(
        action: Action,
        message: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<Self> {
        match action {
            Action::Allow => None,
            Action::Warn | Action::Confirm | Action::Deny => {
                Some(Self { action, message: message.into(), detail: detail.into(), hint: hint.into() })
            }
        }
    }

    /// A statement that runs because a rule found a way in which it may.
    pub(super) fn allowed() -> Option<Self> {
        Some(Self { action: Action::Allow, message: String::new(), detail: String::new(), hint: String::new() })
    }
}

impl<'a> Context<'a> {
    /// The statement's facts.
    pub(in crate::policy) fn facts(&self) -> &'a Facts {
        &self.script.statements[self.index]
    }

    /// What the statement is to guards and rules.
    pub(in crate::policy) fn family(&self) -> Family {
        Family::of(self.facts().kind)
    }

    /// Whether what is not certain must be refused: on guarded tiers, and wherever the session is read-only.
    pub(in crate::policy) fn is_careful(&self) -> bool {
        self.policy.is_guarded() || self.policy.is_read_only()
    }

    /// What is done about what reaches beyond the data. READ ONLY on the server stops none of it, so that a read-only session
    /// may not do it whatever the key says.
    pub(super) fn dangerous(&self) -> Action {
        if self.policy.is_read_only() { Action::Deny } else { self.policy.dangerous }
    }

    /// The calls of functions that may do anything.
    pub(in crate::policy) fn opaque_calls(&self) -> impl Iterator<Item = &'a Call> + use<'a> {
        let catalog = self.view.catalog;
        self.facts().functions.iter().filter(move |call| {
            category(&call.name).is_none()
                && catalog.function(call.name.schema.as_deref(), &call.name.name) == FunctionNature::Opaque
        })
    }

    /// The calls of functions in the table of `sql::functions`, with their category.
    pub(in crate::policy) fn categories(&self) -> impl Iterator<Item = (&'a Call, Category)> + use<'a> {
        self.facts().functions.iter().filter_map(|call| Some((call, category(&call.name)?)))
    }

    /// "is not allowed on prod", "needs confirmation on stg".
    pub(super) fn phrase(&self, action: Action) -> String {
        let what = match action {
            Action::Allow => "is allowed",
            Action::Warn => "asks for care",
            Action::Confirm => "needs confirmation",
            Action::Deny => "is not allowed",
        };
        format!("{what} on {}", self.policy.tier)
    }

    /// A less careful tier to try things on, as a client names it.
    pub(super) fn elsewhere(&self) -> Option<String> {
        let tier = match self.policy.tier {
            Tier::Int => return None,
            Tier::Stg => Tier::Int,
            Tier::Prod => Tier::Stg,
        };
        Some(if self.view.database.is_empty() { tier.to_string() } else { format!("{}:{tier}", self.view.database) })
    }

    /// A HINT that ends with the other tier, where there is one; `hint` is the sentence without its full stop.
    pub(super) fn hint_or_elsewhere(&self, hint: &str) -> String {
        match self.elsewhere() {
            Some(place) => format!("{hint}, or try it on {place} first."),
            None if hint.ends_with("...") => hint.to_owned(),
            None => format!("{hint}."),
        }
    }

    /// The statement's command tag, or words for it where it could not be parsed.
    pub(super) fn tag(&self) -> &'a str {
        match self.facts().kind {
            Kind::UnparsedMaybeRead | Kind::UnparsedMaybeWrite => "the statement",
            _ => &self.facts().tag,
        }
    }
}

/// The category of a function by its written name.
pub(in crate::policy) fn category(name: &Name) -> Option<Category> {
    functions::category(name.schema.as_deref(), &name.name)
}

/// A name as people write it.
pub(crate) fn qualified(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}
