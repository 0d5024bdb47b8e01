//! What the server says of its functions: loaded per database in the background, asked by `policy`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Config, NoTls};

use super::{ConnectError, Endpoint};
use crate::policy::{Catalog, FunctionNature, StaticCatalog};
use crate::sql::functions;

/// The functions of one database, by name.
#[derive(Debug, Default)]
pub struct ServerCatalog {
    functions: HashMap<String, Vec<Function>>,
    loaded: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    /// The schema that is part of the name in a call.
    schema: String,
    nature: FunctionNature,
    leaves_state: bool,
}

/// One row per schema and name; the worst of its overloads counts, since which one a call means is known to the server only.
///
/// A function can leave session state behind when its body can: only SQL and PL/pgSQL bodies that hold none of the words
/// that do so are trusted not to. What an extension brings and declares IMMUTABLE is as good as Postgres's own: citext's `min`
/// and `replace` must not make those of Postgres suspect. `search_path` in the connection cannot mislead it: every name is qualified.
const FUNCTIONS: &str = "
SELECT n.nspname::text, p.proname::text,
       pg_catalog.bool_or(p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.prosecdef) AS opaque,
       pg_catalog.bool_or(
           l.lanname NOT IN ('sql', 'plpgsql')
           OR p.prosrc OPERATOR(pg_catalog.~*)
              '(set_config|\\mset\\M|\\mreset\\M|temp|listen|advisory|execute|prepare|\\mload\\M|hold|discard|dblink)'
       ) AS leaves_state,
       pg_catalog.bool_and(
           p.provolatile OPERATOR(pg_catalog.=) 'i' AND NOT p.prosecdef
           AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                          AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
       ) AS of_extension
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
 GROUP BY 1, 2";

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
        let rows = client.query(FUNCTIONS, &[]).await.map_err(refused);
        drop(client);
        // It ends by itself once its client is gone; how, does not matter any more.
        let _ended = driver.await;
        let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
        for row in rows? {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let (opaque, of_extension) = (row.get::<_, bool>(2), row.get::<_, bool>(4));
            let nature = match schema.as_str() {
                "pg_catalog" | "information_schema" => FunctionNature::BuiltIn,
                _ if of_extension => FunctionNature::BuiltIn,
                _ if opaque => FunctionNature::Opaque,
                _ => FunctionNature::ReadOnly,
            };
            let leaves_state = nature == FunctionNature::Opaque && row.get::<_, bool>(3);
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
        if known.peek().is_none() {
            return !is_grammar(schema, name);
        }
        known.any(|f| f.leaves_state)
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
        match self.candidates(schema, name).map(|f| f.nature).max() {
            Some(nature) => nature,
            None if is_grammar(schema, name) => FunctionNature::BuiltIn,
            None => FunctionNature::Opaque,
        }
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
        let own = Function { schema: "public".to_owned(), nature: FunctionNature::Opaque, leaves_state: true };
        let catalog = ServerCatalog {
            functions: HashMap::from([("greatest".to_owned(), vec![own])]),
            loaded: Some(Instant::now()),
        };
        for name in ["coalesce", "nullif", "least", "grouping", "xmlelement"] {
            assert_eq!(catalog.function(None, name), FunctionNature::BuiltIn, "{name}");
            assert!(!catalog.leaves_state(None, name), "{name}");
            assert_eq!(
                catalog.function(Some("public"), name),
                FunctionNature::Opaque,
                "with a schema it is a function"
            );
        }
        assert_eq!(catalog.function(None, "unknown"), FunctionNature::Opaque);
        assert_eq!(catalog.function(None, "greatest"), FunctionNature::Opaque, "\"greatest\" in quotes may be meant");
    }
}
