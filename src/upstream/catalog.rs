//! What the server says of its functions: loaded per database in the background, asked by `policy`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ConnectError, Endpoint};
use crate::policy::{Catalog, FunctionNature, StaticCatalog};

/// The functions of one database, by name.
#[derive(Debug, Default)]
pub struct ServerCatalog {
    functions: HashMap<String, Vec<Function>>,
    loaded: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    schema: String,
    nature: FunctionNature,
    leaves_state: bool,
}

/// One row per schema and name; the worst of its overloads counts, since which one a call means is known to the server only.
///
/// A function can leave session state behind when its body can: only SQL and PL/pgSQL bodies that hold none of the words
/// that do so are trusted not to. `search_path` in the connection cannot mislead it: every name is qualified.
const FUNCTIONS: &str = "
SELECT n.nspname::text, p.proname::text,
       pg_catalog.bool_or(p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.prosecdef) AS opaque,
       pg_catalog.bool_or(
           l.lanname NOT IN ('sql', 'plpgsql')
           OR p.prosrc OPERATOR(pg_catalog.~*)
              '(set_config|\\mset\\M|\\mreset\\M|temp|listen|advisory|execute|prepare|\\mload\\M|hold|discard|dblink)'
       ) AS leaves_state
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 GROUP BY 1, 2";

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
        let rows = connection.query(FUNCTIONS).await?;
        connection.close();
        let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
        for row in rows {
            let Ok([Some(schema), Some(name), opaque, leaves_state]) = <[_; 4]>::try_from(row) else {
                return Err(ConnectError::Protocol("a row of pg_proc is not as asked for".to_owned()));
            };
            let is_true = |value: Option<String>| value.as_deref() == Some("t");
            let nature = match (schema.as_str(), is_true(opaque)) {
                ("pg_catalog" | "information_schema", _) => FunctionNature::BuiltIn,
                (_, true) => FunctionNature::Opaque,
                (_, false) => FunctionNature::ReadOnly,
            };
            let leaves_state = nature == FunctionNature::Opaque && is_true(leaves_state);
            functions.entry(name).or_default().push(Function { schema, nature, leaves_state });
        }
        for overloads in functions.values_mut() {
            overloads.sort();
        }
        Ok(Self { functions, loaded: Some(Instant::now()) })
    }

    /// How long ago it was loaded; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.loaded.map(|at| at.elapsed())
    }

    /// Whether another catalog knows the same of every function.
    pub fn same_functions(&self, other: &Self) -> bool {
        self.loaded.is_some() && self.functions == other.functions
    }

    /// Whether a call may leave settings, temporary objects, locks or subscriptions behind in the session.
    pub fn leaves_state(&self, schema: Option<&str>, name: &str) -> bool {
        if self.loaded.is_none() {
            return StaticCatalog.function(schema, name) == FunctionNature::Opaque;
        }
        let mut known = self.candidates(schema, name).peekable();
        known.peek().is_none() || known.any(|f| f.leaves_state)
    }

    fn candidates(&self, schema: Option<&str>, name: &str) -> impl Iterator<Item = &Function> {
        self.functions.get(name).into_iter().flatten().filter(move |f| schema.is_none_or(|s| s == f.schema))
    }
}

impl Catalog for ServerCatalog {
    fn function(&self, schema: Option<&str>, name: &str) -> FunctionNature {
        if self.loaded.is_none() {
            return StaticCatalog.function(schema, name);
        }
        // A name in several schemas may mean any of them: search_path is the session's.
        self.candidates(schema, name).map(|f| f.nature).max().unwrap_or(FunctionNature::Opaque)
    }
}

/// A catalog that can be replaced while sessions use it.
pub type SharedCatalog = arc_swap::ArcSwap<ServerCatalog>;

/// A catalog to begin with, before the server's own is loaded: what is not known to be Postgres's own counts as opaque.
pub fn empty_catalog() -> Arc<SharedCatalog> {
    Arc::new(SharedCatalog::from_pointee(ServerCatalog::default()))
}
