//! What is known of functions where no server can be asked.

use crate::sql::{Mention, Name, functions};

use super::{Catalog, FunctionNature};

/// A [`Catalog`] without a server: knows Postgres's own functions and takes every other one to be able to do anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaticCatalog;

impl Catalog for StaticCatalog {
    fn function(&self, schema: Option<&str>, name: &str, _arity: usize) -> FunctionNature {
        match schema {
            // information_schema has a handful of helper functions, all IMMUTABLE or STABLE.
            Some("information_schema") => FunctionNature::ReadOnly,
            Some("pg_catalog") => FunctionNature::BuiltIn,
            None if functions::is_built_in(name) => FunctionNature::BuiltIn,
            None | Some(_) => FunctionNature::Opaque,
        }
    }

    /// Names are everywhere: without a server it cannot be told which of them run anything.
    fn may_run(&self, _mention: &Mention, _is_only_planned: bool) -> bool {
        false
    }

    fn view_may_run(&self, _name: &Name, _is_refreshed: bool) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgres_brings_is_built_in() {
        let nature = |schema, name| StaticCatalog.function(schema, name, 1);
        assert_eq!(nature(None, "lower"), FunctionNature::BuiltIn);
        assert_eq!(nature(Some("pg_catalog"), "format_type"), FunctionNature::BuiltIn);
        assert_eq!(nature(None, "touch"), FunctionNature::Opaque);
        assert_eq!(nature(Some("public"), "lower"), FunctionNature::Opaque, "a schema of the user's may shadow a name");
    }
}
