//! Postgres's keywords that are not plain names (`pg_get_keywords()`, Postgres 15 to 18).

/// Reserved: never a function's name or a column's without quotes.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Column names but not functions' without quotes: their calls are grammar (`coalesce(…)`), harmless or types.
const GRAMMAR: &[&str] = &[
    "between",
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "coalesce",
    "dec",
    "decimal",
    "exists",
    "extract",
    "float",
    "greatest",
    "grouping",
    "inout",
    "int",
    "integer",
    "interval",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_object",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_table",
    "json_value",
    "least",
    "merge_action",
    "national",
    "nchar",
    "none",
    "normalize",
    "nullif",
    "numeric",
    "out",
    "overlay",
    "position",
    "precision",
    "real",
    "row",
    "setof",
    "smallint",
    "substring",
    "time",
    "timestamp",
    "treat",
    "trim",
    "values",
    "varchar",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// Types and functions, but not columns, without quotes.
const TYPE_OR_FUNCTION: &[&str] = &[
    "authorization",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "current_schema",
    "freeze",
    "full",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "similar",
    "tablesample",
    "verbose",
];

/// A word that can stand before a parenthesis without being a function: reserved, or grammar of its own.
pub(super) fn is_grammar(word: &str) -> bool {
    [RESERVED, GRAMMAR].iter().any(|list| list.binary_search(&word).is_ok())
}

/// Whether a word cannot be a name without quotes. Those that stand for values (CURRENT_DATE, DEFAULT …) are left out.
pub(super) fn is_reserved(word: &str) -> bool {
    let value = word.starts_with("current_") || word.starts_with("local");
    !value
        && !matches!(word, "default" | "session_user" | "system_user" | "user")
        && RESERVED.binary_search(&word).is_ok()
}

/// Whether `quote_ident` would quote this name for being a keyword.
fn is_special(word: &str) -> bool {
    is_grammar(word) || TYPE_OR_FUNCTION.binary_search(&word).is_ok()
}

/// A name as `quote_ident` writes it (Postgres documentation, 9.4).
pub(super) fn quote_identifier(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if plain && !is_special(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [RESERVED, GRAMMAR, TYPE_OR_FUNCTION] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn names_are_quoted_as_the_server_does() {
        for (name, quoted) in [
            ("public", "public"),
            ("$user", "\"$user\""),
            ("Mixed", "\"Mixed\""),
            ("user", "\"user\""),
            ("left", "\"left\""),
            ("a\"b", "\"a\"\"b\""),
            ("", "\"\""),
            ("_x9", "_x9"),
        ] {
            assert_eq!(quote_identifier(name), quoted);
        }
    }
}
