//! From what the server told to what may do anything: a function that calls a volatile one may do what that may, whatever it
//! says of itself; and so may an operator, a type or a view that needs it.

use std::collections::{HashMap, HashSet};

use crate::sql::functions::{self, Category};
use crate::sql::{Mention, Place, mentions_of_body};

/// What the server's catalogs hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Postgres's own functions.
    pub(super) built_ins: Vec<BuiltIn>,
    /// All others.
    pub(super) routines: Vec<Routine>,
    /// Which object needs which.
    pub(super) needs: Vec<(Object, Object)>,
    /// The database's own operators.
    pub(super) operators: Vec<(u32, String)>,
    /// Its own domains and types with casts.
    pub(super) types: Vec<(u32, String)>,
    /// Its views, and tables with rules.
    pub(super) relations: Vec<Relation>,
    /// Settings of the form `prefix.name` that functions set.
    pub(super) custom_settings: Vec<String>,
}

/// Postgres's own functions of one name.
#[derive(Debug)]
pub(super) struct BuiltIn {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) oids: Vec<u32>,
    /// One of them is.
    pub(super) is_volatile: bool,
}

impl BuiltIn {
    /// Volatile, and nobody has judged it.
    pub(super) fn is_unjudged(&self) -> bool {
        self.is_volatile && !functions::is_known_volatile(&self.name)
    }

    /// Whether an operator or a function of the database's own that calls it does more than read.
    fn is_harmful(&self) -> bool {
        self.is_unjudged() || functions::category(None, &self.name).is_some_and(|category| category != Category::Sleep)
    }

    fn leaves_state(&self) -> bool {
        let category = functions::category(None, &self.name);
        self.is_unjudged() || matches!(category, Some(Category::AdvisoryLock | Category::Settings))
    }
}

/// A function, procedure or aggregate of the database's own.
#[derive(Debug, Default)]
pub(super) struct Routine {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Fewest arguments of a call.
    pub(super) least: usize,
    /// Most arguments of a call.
    pub(super) most: usize,
    /// VOLATILE or SECURITY DEFINER.
    pub(super) is_volatile: bool,
    /// Not VOLATILE: the planner calls it.
    pub(super) is_planned: bool,
    /// In a language that a READ ONLY transaction does not hold.
    pub(super) is_unheld: bool,
    /// Its body may leave state in the session.
    pub(super) may_leave_state: bool,
    /// Its first argument may be a table's row.
    pub(super) takes_row: bool,
    /// Its body where that is text; empty for an aggregate.
    pub(super) source: String,
    /// IMMUTABLE and an extension's: as good as Postgres's own. citext's `min` must not make that of Postgres suspect.
    pub(super) is_immutable_of_extension: bool,
}

/// A view, or a table with rules.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) is_materialized: bool,
    pub(super) has_rules: bool,
}

/// The kinds of objects that need each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Routine,
    Operator,
    Type,
    Relation,
}

/// One object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) class: Class,
    pub(super) oid: u32,
}

/// What the objects of a set lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// A function that may do anything.
    ToAnything,
    /// One that may leave settings, locks or temporary objects in the session.
    ToState,
}

/// The objects that lead there.
pub(super) fn reaching(found: &Found, sources: &Sources, leads: Leads) -> HashSet<Object> {
    let to_state = leads == Leads::ToState;
    let built_ins = found.built_ins.iter().filter(|f| if to_state { f.leaves_state() } else { f.is_harmful() });
    let routines =
        found.routines.iter().filter(|r| r.is_volatile && !is_harmless(r) && (r.may_leave_state || !to_state));
    let mut reaching: HashSet<Object> = routines.map(|r| routine(r.oid)).collect();
    reaching.extend(built_ins.flat_map(|f| &f.oids).map(|&oid| routine(oid)));
    reaching.extend(&sources.not_understood);
    let names = names_of(found);
    let reached_by = |objects: &[Object]| -> Vec<Mention> {
        objects.iter().filter_map(|object| names.get(object)).flat_map(|name| ways_to(*name)).collect()
    };
    let mut ways: HashSet<Mention> = reached_by(&reaching.iter().copied().collect::<Vec<_>>()).into_iter().collect();
    // Until nothing is added: each round adds an object or is the last.
    loop {
        let by_need = found.needs.iter().filter(|(_, needed)| reaching.contains(needed)).map(|(object, _)| *object);
        let by_name = sources.read.iter().filter(|(_, named)| !ways.is_disjoint(named)).map(|(object, _)| *object);
        let added: Vec<Object> = by_need.chain(by_name).filter(|object| !reaching.contains(object)).collect();
        if added.is_empty() {
            return reaching;
        }
        ways.extend(reached_by(&added));
        reaching.extend(added);
    }
}

/// What the bodies of functions name.
#[derive(Debug)]
pub(super) struct Sources {
    read: Vec<(Object, HashSet<Mention>)>,
    /// Those of which it cannot be told.
    not_understood: Vec<Object>,
}

impl Sources {
    /// Reads all bodies.
    pub(super) fn read(found: &Found) -> Self {
        let mut sources = Self { read: Vec::new(), not_understood: Vec::new() };
        for one in found.routines.iter().filter(|r| !r.source.is_empty()) {
            match mentions_of_body(&one.source) {
                Some(mentions) => sources.read.push((routine(one.oid), mentions)),
                None => sources.not_understood.push(routine(one.oid)),
            }
        }
        sources
    }
}

fn routine(oid: u32) -> Object {
    Object { class: Class::Routine, oid }
}

/// Volatile functions of well-known extensions that only compute.
fn is_harmless(routine: &Routine) -> bool {
    routine.is_unheld && functions::is_harmless_extension(&routine.name)
}

/// How a source names an object.
fn ways_to((class, name): (Class, &str)) -> Vec<Mention> {
    let places: &[Place] = match class {
        Class::Routine => &[Place::Call, Place::Attribute, Place::Field],
        Class::Operator => &[Place::Operator],
        Class::Type | Class::Relation => &[Place::Word],
    };
    places.iter().map(|&place| Mention { place, name: name.into() }).collect()
}

/// The names of all objects that a source can name.
fn names_of(found: &Found) -> HashMap<Object, (Class, &str)> {
    let built_ins =
        found.built_ins.iter().flat_map(|f| f.oids.iter().map(|&oid| (Class::Routine, oid, f.name.as_str())));
    let routines = found.routines.iter().map(|r| (Class::Routine, r.oid, r.name.as_str()));
    let operators = found.operators.iter().map(|(oid, symbol)| (Class::Operator, *oid, symbol.as_str()));
    let types = found.types.iter().map(|(oid, name)| (Class::Type, *oid, name.as_str()));
    // What a materialized view holds is read, not computed.
    let views = found.relations.iter().filter(|r| !r.is_materialized);
    let views = views.map(|r| (Class::Relation, r.oid, r.name.as_str()));
    let all = built_ins.chain(routines).chain(operators).chain(types).chain(views);
    all.map(|(class, oid, name)| (Object { class, oid }, (class, name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(oid: u32, name: &str, is_volatile: bool, source: &str) -> Routine {
        Routine { oid, name: name.to_owned(), is_volatile, source: source.to_owned(), ..Routine::default() }
    }

    fn built_in(name: &str, is_volatile: bool, oid: u32) -> BuiltIn {
        BuiltIn { schema: "pg_catalog".to_owned(), name: name.to_owned(), oids: vec![oid], is_volatile }
    }

    fn object(class: Class, oid: u32) -> Object {
        Object { class, oid }
    }

    #[test]
    fn whatever_reaches_a_volatile_function_is_opaque() {
        let found = Found {
            built_ins: vec![
                built_in("pg_reload_conf", true, 7),
                built_in("lower", false, 8),
                built_in("nextval", true, 50),
                built_in("pg_sleep", true, 51),
                built_in("random", true, 52),
                built_in("set_config", true, 54),
                built_in("pg_of_tomorrow", true, 53),
            ],
            routines: vec![
                own(1, "nuke", true, ""),
                own(2, "pretends", false, "SELECT app.\"nuke\"(1)"),
                own(3, "twice_removed", false, "BEGIN RETURN (SELECT pretends()); END"),
                own(4, "honest", false, "SELECT lower($1)"),
                own(5, "of_text", false, "BEGIN EXECUTE 'select nu' || 'ke()'; END"),
                own(6, "an_aggregate", false, ""),
                own(9, "sequences", false, "SELECT nextval('s')"),
                own(10, "reads_view", false, "SELECT count(*) FROM v"),
                own(16, "by_set", true, "SELECT set_config('a', 'b', false)"),
                own(11, "waits", false, "SELECT pg_sleep(1), random(), t.nuke_count FROM nuke AS t"),
                own(12, "of_tomorrow", false, "SELECT pg_of_tomorrow()"),
                own(13, "by_attribute", false, "SELECT (1).nuke"),
                own(14, "by_operator", false, "SELECT 1 ### 2"),
                own(15, "not_understood", false, "return 'open"),
            ],
            needs: vec![
                (object(Class::Routine, 6), object(Class::Routine, 1)),
                (object(Class::Operator, 20), object(Class::Routine, 2)),
                (object(Class::Operator, 21), object(Class::Routine, 7)),
                (object(Class::Operator, 22), object(Class::Routine, 8)),
                (object(Class::Relation, 30), object(Class::Operator, 20)),
                (object(Class::Type, 40), object(Class::Routine, 4)),
            ],
            operators: vec![(20, "###".to_owned())],
            types: vec![],
            relations: vec![Relation {
                oid: 30,
                schema: "public".to_owned(),
                name: "v".to_owned(),
                is_materialized: false,
                has_rules: false,
            }],
            custom_settings: vec![],
        };
        let sources = Sources::read(&found);
        let opaque = reaching(&found, &sources, Leads::ToAnything);
        for (class, oid) in [1, 2, 3, 5, 6, 7, 9, 10, 12, 13, 14, 15].map(|oid| (Class::Routine, oid)) {
            assert!(opaque.contains(&object(class, oid)), "{oid}");
        }
        for oid in [4, 8, 11] {
            assert!(!opaque.contains(&object(Class::Routine, oid)), "{oid}");
        }
        assert!(opaque.contains(&object(Class::Operator, 20)));
        assert!(opaque.contains(&object(Class::Operator, 21)), "one of Postgres's own that does harm");
        assert!(!opaque.contains(&object(Class::Operator, 22)));
        assert!(opaque.contains(&object(Class::Relation, 30)));
        assert!(!opaque.contains(&object(Class::Type, 40)));

        let stateful = reaching(&found, &sources, Leads::ToState);
        assert!(stateful.contains(&object(Class::Routine, 5)), "a text may set anything");
        assert!(stateful.contains(&object(Class::Routine, 16)));
        for oid in [1, 2, 4, 9] {
            assert!(!stateful.contains(&object(Class::Routine, oid)), "{oid}");
        }
    }
}
