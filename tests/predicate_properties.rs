//! Predicates of every form that Postgres knows, put together at random: reading them ends, and follows the rules of logic.

#![allow(clippy::unwrap_used, clippy::panic)] // Tests may fail loudly.

#[path = "../fuzz/properties/boundedness.rs"]
mod boundedness;

use proptest::prelude::*;
use proptest::sample::select;

const LEAVES: &[&str] = &[
    "a",
    "b",
    "id",
    "t.a",
    "u.c",
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "'x'",
    "''",
    "'%'",
    "'1'",
    "NULL",
    "true",
    "false",
    "$1",
    "now()",
    "ARRAY[1, 2]",
    "ARRAY[]::int[]",
    "'{}'::jsonb",
    "t.*",
    "t",
    "ctid",
    "tableoid",
    "current_date",
    "interval '1 day'",
    "date '2026-01-01'",
];

const BINARY: &[&str] = &[
    "AND",
    "OR",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "||",
    "~",
    "!~",
    "~*",
    "!~*",
    "~~",
    "LIKE",
    "NOT LIKE",
    "ILIKE",
    "SIMILAR TO",
    "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM",
    "@>",
    "<@",
    "&&",
    "^@",
    "->",
    "->>",
    "#>",
    "?",
    "&",
    "|",
    "#",
    "<<",
    "OPERATOR(pg_catalog.=)",
    "OPERATOR(pg_catalog.~~)",
    "OVERLAPS",
];

/// With `{}` for the operands.
const FORMS: &[&str] = &[
    "NOT {}",
    "- {}",
    "+ {}",
    "@ {}",
    "|/ {}",
    "~ {}",
    "{} IS NULL",
    "{} IS NOT NULL",
    "{} IS TRUE",
    "{} IS NOT TRUE",
    "{} IS FALSE",
    "{} IS NOT FALSE",
    "{} IS UNKNOWN",
    "{} ISNULL",
    "{} NOTNULL",
    "{}::text",
    "{}::int",
    "{}::bool",
    "{}::jsonb",
    "CAST({} AS numeric(10, 2))",
    "{} COLLATE \"C\"",
    "{} AT TIME ZONE 'UTC'",
    "({})[1]",
    "{} BETWEEN {} AND {}",
    "{} NOT BETWEEN {} AND {}",
    "{} BETWEEN SYMMETRIC {} AND {}",
    "{} IN ({}, {})",
    "{} NOT IN ({}, {})",
    "{} = ANY (ARRAY[{}, {}])",
    "{} <> ALL (ARRAY[{}, {}])",
    "{} LIKE ANY (ARRAY[{}])",
    "CASE WHEN {} THEN {} ELSE {} END",
    "CASE {} WHEN {} THEN {} END",
    "COALESCE({}, {})",
    "NULLIF({}, {})",
    "GREATEST({}, {})",
    "LEAST({}, {})",
    "({}, {}) = ({}, {})",
    "({}, {}) < ({}, {})",
    "ROW({}, {}) IS NOT NULL",
    "ROW({}, {}) IS DISTINCT FROM ROW({}, {})",
    "ARRAY[{}, {}] @> ARRAY[{}]",
    "EXISTS (SELECT 1 FROM t x WHERE {})",
    "EXISTS (SELECT {} FROM u WHERE {})",
    "id IN (SELECT id FROM t WHERE {})",
    "{} = ANY (SELECT {} FROM t)",
    "(SELECT {})",
    "(SELECT max({}) FROM t)",
    "NOT EXISTS (SELECT FROM generate_series(1, 2) g WHERE {})",
    "{} IN (VALUES ({}), ({}))",
    "{} LIKE {} ESCAPE '!'",
    "substring({} FROM {} FOR 2)",
    "position({} IN {})",
    "trim(BOTH {} FROM {})",
    "extract(epoch FROM {})",
    "overlay({} PLACING {} FROM 1)",
    "{} IS DOCUMENT",
    "{} IS NORMALIZED",
    "{} IS JSON",
];

const TYPES: &[&str] = &[
    "int4", "int8", "int84", "text", "bpchar", "name", "bool", "numeric_", "float8", "jsonb_", "array_", "tid",
    "date_", "bytea",
];
const SUFFIXES: &[&str] = &[
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "pl",
    "mi",
    "mul",
    "div",
    "mod",
    "like",
    "nlike",
    "cat",
    "regexeq",
    "icregexne",
    "iclike",
    "um",
    "abs",
];
const FUNCTIONS: &[&str] = &[
    "like",
    "notlike",
    "starts_with",
    "regexp_like",
    "mod",
    "abs",
    "sign",
    "round",
    "floor",
    "ceil",
    "power",
    "sqrt",
    "length",
    "lower",
    "upper",
    "md5",
    "concat",
    "concat_ws",
    "left",
    "right",
    "repeat",
    "replace",
    "translate",
    "reverse",
    "strpos",
    "substr",
    "btrim",
    "to_char",
    "to_jsonb",
    "to_json",
    "row_to_json",
    "jsonb_typeof",
    "jsonb_exists",
    "array_length",
    "cardinality",
    "array_position",
    "num_nulls",
    "num_nonnulls",
    "isfinite",
    "date_trunc",
    "date_part",
    "age",
    "coalesce",
    "row",
    "text",
    "bool",
    "arraycontains",
    "arrayoverlap",
    "jsonb_contains",
    "range_contains",
    "pg_typeof",
    "hashtext",
    "pg_column_size",
    "quote_literal",
    "format",
    "unnest",
    "generate_series",
    "nosuch",
    "public.like",
    "pg_catalog.texteq",
    "random",
    "width_bucket",
];

fn fill(form: &str, operands: &[String]) -> String {
    let mut operands = operands.iter().cycle();
    let mut pieces = form.split("{}");
    let mut filled = pieces.next().unwrap().to_owned();
    for piece in pieces {
        filled.push_str(operands.next().unwrap());
        filled.push_str(piece);
    }
    filled
}

fn predicate() -> impl Strategy<Value = String> {
    let leaf = select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(5, 48, 4, |inner| {
        let operands = || prop::collection::vec(inner.clone(), 4);
        let of_type = (select(TYPES), select(SUFFIXES)).prop_map(|(of, suffix)| format!("{of}{suffix}"));
        let function = prop_oneof![select(FUNCTIONS).prop_map(str::to_owned), of_type];
        prop_oneof![
            2 => (inner.clone(), select(BINARY), inner.clone()).prop_map(|(left, op, right)| format!("({left} {op} {right})")),
            3 => (select(FORMS), operands()).prop_map(|(form, operands)| format!("({})", fill(form, &operands))),
            2 => (function, prop::collection::vec(inner.clone(), 0..4)).prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", "))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_predicate(predicate in predicate()) {
        boundedness::check(predicate.as_bytes());
    }
}
