//! What a rule sees, and what it answers.

use std::fmt;

use crate::config::{Action, Policy, Tier};
use crate::policy::family::Family;
use crate::policy::{Catalog, FunctionNature, SessionTables, SessionView};
use crate::sql::functions::{self, Category};
use crate::sql::{Call, Facts, Kind, Made, Mention, Name, Place, Script};

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

    /// What a call may do, as far as catalog and session know.
    pub(super) fn nature(&self, call: &Call) -> FunctionNature {
        let Name { schema, name } = &call.name;
        let known = self.view.catalog.function(schema.as_deref(), name, call.arity);
        let is_fresh = self.has_made(|made| match made {
            Made::Code(made) => **made == **name,
            Made::Anything => known != FunctionNature::BuiltIn,
            Made::OnTable(_) => false,
        });
        if is_fresh { known.max(FunctionNature::Opaque) } else { known }
    }

    /// The calls of functions that may do anything.
    pub(in crate::policy) fn opaque_calls(&self) -> impl Iterator<Item = &'a Call> + use<'a> {
        let cx = *self;
        self.facts().functions.iter().filter(move |call| cx.nature(call) >= FunctionNature::Opaque)
    }

    /// What runs code that may do anything without being called by the syntax of a call, in words for people.
    pub(in crate::policy) fn hidden_code(&self) -> Option<String> {
        let facts = self.facts();
        let (catalog, planned) = (self.view.catalog, facts.is_only_planned);
        let mention = facts.mentions.iter().find(|mention| catalog.may_run(mention, planned) || self.is_fresh(mention));
        if let Some(mention) = mention {
            return Some(match mention.place {
                Place::Operator => format!("the operator {}", mention.name),
                Place::Attribute | Place::Field => format!("the function {}, written as an attribute,", mention.name),
                Place::Call | Place::Word => mention.name.to_string(),
            });
        }
        if planned {
            return None;
        }
        let is_refreshed = facts.kind == Kind::Ddl;
        let tables = facts.reads.iter().chain(facts.writes.iter().map(|write| &write.table));
        let fresh = |name: &Name| {
            self.has_made(|made| match made {
                Made::Code(made) | Made::OnTable(made) => **made == *name.name,
                Made::Anything => false,
            })
        };
        let mut found = tables.filter(|name| catalog.view_may_run(name, is_refreshed) || fresh(name));
        found.next().map(|name| format!("what belongs to {}", qualified(name)))
    }

    /// Whether a mention may mean what the session has just made. That its definition names it does not run it.
    fn is_fresh(&self, mention: &Mention) -> bool {
        self.has_made(|made| match made {
            Made::Code(made) => *made == mention.name,
            Made::OnTable(_) | Made::Anything => false,
        })
    }

    /// Whether the session, or an earlier statement of this text, has made something.
    fn has_made(&self, what: impl Fn(&Made) -> bool) -> bool {
        let earlier = self.script.statements[..self.index].iter().flat_map(|facts| &facts.makes);
        self.view.made.iter().chain(earlier).any(what)
    }

    /// The calls of functions in the table of `sql::functions`, with their category.
    pub(in crate::policy) fn categories(&self) -> impl Iterator<Item = (&'a Call, Category)> + use<'a> {
        self.facts().functions.iter().filter_map(|call| Some((call, category(call)?)))
    }

    /// "is not allowed on prod", "needs confirmation on stg".
    pub(super) fn phrase(&self, action: Action) -> String {
        Phrase(action, self.policy.tier).to_string()
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

/// What is done about something, and where.
pub(in crate::policy) struct Phrase(pub(in crate::policy) Action, pub(in crate::policy) Tier);

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0 {
            Action::Allow => "is allowed",
            Action::Warn => "asks for care",
            Action::Confirm => "needs confirmation",
            Action::Deny => "is not allowed",
        };
        write!(f, "{what} on {}", self.1)
    }
}

/// The calls of a statement that the rules have something to say of, and what: a category of the table of `sql::functions`,
/// or `opaque` for what may do anything. A read without them changes nothing.
pub fn known_or_opaque<'a>(facts: &'a Facts, catalog: &dyn Catalog) -> impl Iterator<Item = (&'a Call, &'static str)> {
    facts.functions.iter().filter_map(move |call| match category(call) {
        Some(category) => Some((call, category.as_str())),
        None => is_opaque(call, catalog).then_some((call, "opaque")),
    })
}

fn is_opaque(call: &Call, catalog: &dyn Catalog) -> bool {
    let name = &call.name;
    category(call).is_none()
        && catalog.function(name.schema.as_deref(), &name.name, call.arity) >= FunctionNature::Opaque
}

/// The category of a call, by the function's written name; none where it would be for the SQL that it runs, and that was read.
pub(in crate::policy) fn category(call: &Call) -> Option<Category> {
    functions::category_of_call(call.name.schema.as_deref(), &call.name.name, call.arity)
        .filter(|category| *category != Category::RunsSql || !call.sql_is_read)
}

/// A name as people write it.
pub(crate) fn qualified(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}
