//! What the server says of the code that a database keeps: loaded in the background, asked by `policy`.

mod queries;
mod reach;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::reach::{Class, Found, Leads, Object, Relation, Sources, reaching};
use super::{ConnectError, Endpoint};
use crate::policy::{Catalog, FunctionNature, StaticCatalog};
use crate::sql::functions;
use crate::sql::{Facts, Mention, Name, Place};

/// The functions of one database by name, and what calls them.
#[derive(Debug, Default)]
pub struct ServerCatalog {
    known: Known,
    loaded: Option<Instant>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    functions: HashMap<Box<str>, Vec<Function>>,
    /// Operators that may run anything.
    operators: HashMap<Box<str>, Reach>,
    /// Types whose casts or checks may.
    types: HashMap<Box<str>, Reach>,
    /// Views that may when they are read.
    views: HashMap<(Box<str>, Box<str>), Reach>,
    /// Materialized views that may when they are refreshed.
    materialized: HashMap<(Box<str>, Box<str>), Reach>,
    /// Tables and views with rules for writes.
    ruled: HashSet<Box<str>>,
    custom_settings: BTreeSet<String>,
}

/// How far what is not a function reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    leaves_state: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    schema: Box<str>,
    least: usize,
    most: usize,
    nature: FunctionNature,
    takes_row: bool,
    is_planned: bool,
    leaves_state: bool,
}

impl Function {
    fn takes(&self, arity: usize) -> bool {
        (self.least..=self.most).contains(&arity)
    }

    fn is_opaque(&self) -> bool {
        self.nature >= FunctionNature::Opaque
    }
}

impl ServerCatalog {
    /// Loads it on a connection of its own.
    pub async fn load(endpoint: &Arc<Endpoint>) -> Result<Self, ConnectError> {
        let mut connection = endpoint.connect().await?;
        connection
            .query(
                "SET application_name = 'pgbelay catalog'; SET default_transaction_read_only = on; \
                 SET statement_timeout = 30000",
            )
            .await?;
        let found = queries::ask(&mut connection).await?;
        connection.close();
        Ok(Self { known: known(found), loaded: Some(Instant::now()) })
    }

    /// How long ago it was loaded; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.loaded.map(|at| at.elapsed())
    }

    /// Whether another catalog knows the same.
    pub fn knows_the_same(&self, other: &Self) -> bool {
        self.loaded.is_some() && self.known == other.known
    }

    /// Whether a statement may leave settings, temporary objects, locks or subscriptions behind in the session by what it calls.
    pub fn leaves_state(&self, facts: &Facts) -> bool {
        facts.functions.iter().any(|call| self.call_leaves_state(&call.name))
            || facts.mentions.iter().any(|mention| self.mention_leaves_state(mention))
            || facts
                .reads
                .iter()
                .chain(facts.writes.iter().map(|write| &write.table))
                .any(|name| self.view(name, false).or(self.view(name, true)).is_some_and(|reach| reach.leaves_state))
    }

    /// The custom settings that functions of the database set: pg_settings does not show them.
    pub fn custom_settings(&self) -> impl Iterator<Item = &str> {
        self.known.custom_settings.iter().map(String::as_str)
    }

    fn call_leaves_state(&self, name: &Name) -> bool {
        let schema = name.schema.as_deref();
        if self.loaded.is_none() {
            return StaticCatalog.function(schema, &name.name, 0) == FunctionNature::Opaque;
        }
        let mut known = self.candidates(schema, &name.name).peekable();
        if known.peek().is_none() {
            return !is_grammar(schema, &name.name);
        }
        known.any(|f| f.leaves_state)
    }

    fn mention_leaves_state(&self, mention: &Mention) -> bool {
        let leaves = |reach: Option<&Reach>| reach.is_some_and(|reach| reach.leaves_state);
        match mention.place {
            Place::Word => leaves(self.known.types.get(&mention.name)),
            Place::Operator => leaves(self.known.operators.get(&mention.name)),
            Place::Attribute | Place::Call | Place::Field => {
                self.may_run(mention, false)
                    && self.known.functions.get(&mention.name).into_iter().flatten().any(|f| f.leaves_state)
            }
        }
    }

    fn view(&self, name: &Name, is_refreshed: bool) -> Option<Reach> {
        let views = if is_refreshed { &self.known.materialized } else { &self.known.views };
        let is_meant = |(schema, view): &(Box<str>, Box<str>)| {
            **view == *name.name && name.schema.as_deref().is_none_or(|written| written == &**schema)
        };
        views.iter().find(|(view, _)| is_meant(view)).map(|(_, reach)| *reach)
    }

    /// Whether a table has rules for writes, so that a command tag does not tell what a write to it changes.
    pub fn has_rules(&self, table: &Name) -> bool {
        self.known.ruled.contains(table.name.as_str())
    }

    fn candidates(&self, schema: Option<&str>, name: &str) -> impl Iterator<Item = &Function> {
        // A function of the temporary schema is found by that name only.
        let may_be = move |f: &&Function| schema.map_or(&*f.schema != "pg_temp", |schema| schema == &*f.schema);
        self.known.functions.get(name).into_iter().flatten().filter(may_be)
    }
}

impl Catalog for ServerCatalog {
    /// A name in several schemas may mean any of them, since search_path is the session's; and of overloads with as many
    /// arguments, any: one that fits better wins even over pg_catalog's.
    fn function(&self, schema: Option<&str>, name: &str, arity: usize) -> FunctionNature {
        if self.loaded.is_none() {
            return StaticCatalog.function(schema, name, arity);
        }
        let fitting = self.candidates(schema, name).filter(|f| f.takes(arity)).map(|f| f.nature).max();
        // With other numbers of arguments only: the call fails, or its arguments were miscounted.
        let any = || self.candidates(schema, name).map(|f| f.nature).max();
        match fitting.or_else(any) {
            Some(nature) => nature,
            None if is_grammar(schema, name) => FunctionNature::BuiltIn,
            None => FunctionNature::Opaque,
        }
    }

    fn may_run(&self, mention: &Mention, is_only_planned: bool) -> bool {
        let name = &*mention.name;
        let is_opaque = |f: &&Function| f.is_opaque() && (f.is_planned || !is_only_planned) && &*f.schema != "pg_temp";
        let mut opaque = self.known.functions.get(name).into_iter().flatten().filter(is_opaque);
        match mention.place {
            Place::Call => opaque.next().is_some(),
            Place::Attribute => opaque.any(|f| f.takes(1) && f.takes_row),
            Place::Field => opaque.any(|f| f.takes(1)),
            Place::Word => self.known.types.contains_key(name),
            Place::Operator => self.known.operators.contains_key(name),
        }
    }

    fn view_may_run(&self, name: &Name, is_refreshed: bool) -> bool {
        self.view(name, is_refreshed).is_some()
    }
}

fn known(found: Found) -> Known {
    let sources = Sources::read(&found);
    let (opaque, stateful) =
        (reaching(&found, &sources, Leads::ToAnything), reaching(&found, &sources, Leads::ToState));
    let reach = |class: Class, oid: u32| {
        let object = Object { class, oid };
        opaque.contains(&object).then(|| Reach { leaves_state: stateful.contains(&object) })
    };
    let mut functions: HashMap<Box<str>, Vec<Function>> = HashMap::new();
    for one in &found.built_ins {
        functions.entry(one.name.as_str().into()).or_default().push(Function {
            schema: one.schema.as_str().into(),
            least: 0,
            most: usize::MAX,
            nature: if one.is_unjudged() { FunctionNature::Unjudged } else { FunctionNature::BuiltIn },
            takes_row: true,
            is_planned: false,
            leaves_state: one.is_unjudged(),
        });
    }
    for routine in &found.routines {
        let reach = reach(Class::Routine, routine.oid);
        let nature = match (reach, routine.is_unheld && routine.is_volatile) {
            (None, _) if routine.is_immutable_of_extension => FunctionNature::BuiltIn,
            (None, _) => FunctionNature::ReadOnly,
            (Some(_), false) => FunctionNature::Opaque,
            (Some(_), true) => FunctionNature::Unheld,
        };
        functions.entry(routine.name.as_str().into()).or_default().push(Function {
            schema: routine.schema.as_str().into(),
            least: routine.least,
            most: routine.most,
            nature,
            takes_row: routine.takes_row,
            is_planned: routine.is_planned,
            leaves_state: reach.is_some_and(|reach| reach.leaves_state),
        });
    }
    for overloads in functions.values_mut() {
        overloads.sort();
    }
    let views = |is_materialized: bool| {
        let all = found.relations.iter().filter(move |r| r.is_materialized == is_materialized);
        let name = |r: &Relation| (r.schema.as_str().into(), r.name.as_str().into());
        all.filter_map(|r| Some((name(r), reach(Class::Relation, r.oid)?))).collect()
    };
    let named = |class: Class, all: &[(u32, String)]| {
        all.iter().filter_map(|(oid, name)| Some((name.as_str().into(), reach(class, *oid)?))).collect()
    };
    Known {
        functions,
        operators: named(Class::Operator, &found.operators),
        types: named(Class::Type, &found.types),
        views: views(false),
        materialized: views(true),
        ruled: found.relations.iter().filter(|r| r.has_rules).map(|r| r.name.as_str().into()).collect(),
        custom_settings: found.custom_settings.into_iter().collect(),
    }
}

/// COALESCE, GREATEST and their kin look like calls, but stand in no catalog.
fn is_grammar(schema: Option<&str>, name: &str) -> bool {
    schema.is_none() && functions::is_grammar(name)
}

/// A catalog that can be replaced while sessions use it.
pub type SharedCatalog = arc_swap::ArcSwap<ServerCatalog>;

/// A catalog to begin with, before the server's own is loaded: what is not known to be Postgres's own counts as opaque.
pub fn empty_catalog() -> Arc<SharedCatalog> {
    Arc::new(SharedCatalog::from_pointee(ServerCatalog::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_call_is_nobodys_function() {
        let own = Function {
            schema: "public".into(),
            least: 0,
            most: usize::MAX,
            nature: FunctionNature::Opaque,
            takes_row: false,
            is_planned: false,
            leaves_state: true,
        };
        let functions = HashMap::from([("greatest".into(), vec![own])]);
        let catalog = ServerCatalog { known: Known { functions, ..Known::default() }, loaded: Some(Instant::now()) };
        let called =
            |schema: Option<&str>, name: &str| Name { schema: schema.map(str::to_owned), name: name.to_owned() };
        for name in ["coalesce", "nullif", "least", "grouping", "xmlelement"] {
            assert_eq!(catalog.function(None, name, 2), FunctionNature::BuiltIn, "{name}");
            assert!(!catalog.call_leaves_state(&called(None, name)), "{name}");
            let with_schema = catalog.function(Some("public"), name, 2);
            assert_eq!(with_schema, FunctionNature::Opaque, "with a schema it is a function");
        }
        assert_eq!(catalog.function(None, "unknown", 0), FunctionNature::Opaque);
        assert_eq!(
            catalog.function(None, "greatest", 2),
            FunctionNature::Opaque,
            "\"greatest\" in quotes may be meant"
        );
    }
}
