//! What the server says of the code that a database keeps: loaded in the background, asked by `policy`.

mod queries;
mod reach;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Config, NoTls};

use self::reach::{Class, Found, Object};
use super::{ConnectError, Endpoint};
use crate::policy::{Catalog, FunctionNature, StaticCatalog};
use crate::sql::{Mention, Name, Place};

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
    operators: HashSet<Box<str>>,
    /// Types whose casts or checks may; and whether by a function that the planner calls.
    types: HashSet<Box<str>>,
    /// Views that may when they are read.
    views: HashSet<(Box<str>, Box<str>)>,
    /// Materialized views that may when they are refreshed.
    materialized: HashSet<(Box<str>, Box<str>)>,
    /// Tables and views with rules for writes.
    ruled: HashSet<Box<str>>,
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
    pub async fn load(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let target = &endpoint.target;
        let stream = endpoint.in_time(endpoint.open()).await?;
        let mut config = Config::new();
        config
            .user(&target.user)
            .dbname(&target.dbname)
            .application_name("pgbelay catalog")
            .options("-c default_transaction_read_only=on -c statement_timeout=30000")
            // TLS, where asked for, is there already.
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        if let Some(password) = &target.password {
            config.password(password.expose());
        }
        let refused = |e: tokio_postgres::Error| ConnectError::Refused {
            sqlstate: e.code().map(|c| c.code().to_owned()).unwrap_or_default(),
            message: e.to_string(),
        };
        let (client, connection) =
            endpoint.in_time(async { config.connect_raw(stream, NoTls).await.map_err(refused) }).await?;
        let driver = tokio::spawn(connection);
        let found = queries::ask(&client).await.map_err(refused);
        drop(client);
        // It ends by itself once its client is gone; how, does not matter any more.
        let _ended = driver.await;
        Ok(Self { known: known(found?), loaded: Some(Instant::now()) })
    }

    /// How long ago it was loaded; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.loaded.map(|at| at.elapsed())
    }

    /// Whether another catalog knows the same.
    pub fn knows_the_same(&self, other: &Self) -> bool {
        self.loaded.is_some() && self.known == other.known
    }

    /// Whether a call may leave settings, temporary objects, locks or subscriptions behind in the session.
    pub fn leaves_state(&self, schema: Option<&str>, name: &str) -> bool {
        if self.loaded.is_none() {
            return StaticCatalog.function(schema, name, 0) == FunctionNature::Opaque;
        }
        let mut known = self.candidates(schema, name).peekable();
        known.peek().is_none() || known.any(|f| f.leaves_state)
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
        fitting.or_else(any).unwrap_or(FunctionNature::Opaque)
    }

    fn may_run(&self, mention: &Mention, is_only_planned: bool) -> bool {
        let name = &*mention.name;
        let is_opaque = |f: &&Function| f.is_opaque() && (f.is_planned || !is_only_planned) && &*f.schema != "pg_temp";
        let mut opaque = self.known.functions.get(name).into_iter().flatten().filter(is_opaque);
        match mention.place {
            Place::Call => opaque.next().is_some(),
            Place::Attribute => opaque.any(|f| f.takes(1) && f.takes_row),
            Place::Field => opaque.any(|f| f.takes(1)),
            Place::Word => self.known.types.contains(name),
            Place::Operator => self.known.operators.contains(name),
        }
    }

    fn view_may_run(&self, name: &Name, is_refreshed: bool) -> bool {
        let views = if is_refreshed { &self.known.materialized } else { &self.known.views };
        views.iter().any(|(schema, view)| {
            **view == *name.name && name.schema.as_deref().is_none_or(|written| written == &**schema)
        })
    }
}

fn known(found: Found) -> Known {
    let opaque = reach::opaque(&found);
    let is_opaque = |class: Class, oid: u32| opaque.contains(&Object { class, oid });
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
        let may_do_anything = is_opaque(Class::Routine, routine.oid);
        let nature = match (may_do_anything, routine.is_unheld && routine.is_volatile) {
            (false, _) => FunctionNature::ReadOnly,
            (true, false) => FunctionNature::Opaque,
            (true, true) => FunctionNature::Unheld,
        };
        functions.entry(routine.name.as_str().into()).or_default().push(Function {
            schema: routine.schema.as_str().into(),
            least: routine.least,
            most: routine.most,
            nature,
            takes_row: routine.takes_row,
            is_planned: routine.is_planned,
            // What a function calls may leave what its own body does not show.
            leaves_state: may_do_anything && (routine.may_leave_state || routine.is_planned),
        });
    }
    for overloads in functions.values_mut() {
        overloads.sort();
    }
    let qualified = |r: &reach::Relation| (r.schema.as_str().into(), r.name.as_str().into());
    let views = |is_materialized: bool| {
        let opaque = found.relations.iter().filter(move |r| r.is_materialized == is_materialized);
        opaque.filter(|r| is_opaque(Class::Relation, r.oid)).map(qualified).collect()
    };
    Known {
        functions,
        operators: pick(&found.operators, |oid| is_opaque(Class::Operator, oid)),
        types: pick(&found.types, |oid| is_opaque(Class::Type, oid)),
        views: views(false),
        materialized: views(true),
        ruled: found.relations.iter().filter(|r| r.has_rules).map(|r| r.name.as_str().into()).collect(),
    }
}

fn pick(named: &[(u32, String)], is_wanted: impl Fn(u32) -> bool) -> HashSet<Box<str>> {
    named.iter().filter(|(oid, _)| is_wanted(*oid)).map(|(_, name)| name.as_str().into()).collect()
}

/// A catalog that can be replaced while sessions use it.
pub type SharedCatalog = arc_swap::ArcSwap<ServerCatalog>;

/// A catalog to begin with, before the server's own is loaded: what is not known to be Postgres's own counts as opaque.
pub fn empty_catalog() -> Arc<SharedCatalog> {
    Arc::new(SharedCatalog::from_pointee(ServerCatalog::default()))
}
