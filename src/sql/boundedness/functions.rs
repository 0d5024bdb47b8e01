//! What is known of Postgres's own functions and operators: that they give the same for the same arguments within a statement,
//! when they give NULL, and between what limits.

use sqlparser::ast::BinaryOperator;

use super::range::Range;
use super::term::Nulls;

/// When a function gives NULL; `None` for one that is not known, or that need not give the same each time.
pub(super) fn nulls(name: &str) -> Option<Nulls> {
    Some(match name {
        // Conditions and forms of ours.
        "is null" | "exists" | "distinct" | "array" | "count" | "pg_typeof" => Nulls::Never,
        "coalesce" | "greatest" | "least" | "max" | "min" => Nulls::OfAllArguments,
        name if name.starts_with("cast ") || name.starts_with("collate ") || name.starts_with("literal") => {
            Nulls::OfArguments
        }
        name if name.starts_with("extract ") || name.starts_with("interval") => Nulls::OfArguments,
        "~~" | "~~*" | "similar to" | "~" | "~*" | "+" | "-" | "*" | "/" | "%" | "^" | "||" | "&" | "|" | "#"
        | "<<" | ">>" | "@>" | "<@" | "&&" | "^@" | "at time zone" | "neg" => Nulls::OfArguments,
        "->" | "->>" | "#>" | "#>>" | "#-" | "@@" | "@?" | "?" | "?|" | "?&" | "element" | "in" | "any" | "all"
        | "select" => Nulls::Sometimes,
        // Postgres's.
        "concat" | "format" | "jsonb_build_array" | "jsonb_build_object" | "json_build_array" | "json_build_object"
        | "num_nonnulls" | "num_nulls" | "quote_nullable" => Nulls::Never,
        "abs" | "age" | "array_append" | "array_cat" | "array_prepend" | "array_remove" | "array_replace"
        | "array_to_string" | "ascii" | "bit_count" | "bit_length" | "btrim" | "cardinality" | "cbrt" | "ceil"
        | "ceiling" | "char_length" | "character_length" | "chr" | "concat_ws" | "date_part" | "date_trunc"
        | "decode" | "degrees" | "div" | "encode" | "exp" | "factorial" | "floor" | "gcd" | "hashtext" | "initcap"
        | "isfinite" | "json_array_length" | "json_typeof" | "jsonb_array_length" | "jsonb_typeof" | "lcm" | "left"
        | "length" | "ln" | "log" | "lower" | "lpad" | "ltrim" | "md5" | "mod" | "octet_length" | "overlay"
        | "pg_column_size" | "position" | "pow" | "power" | "quote_ident" | "quote_literal" | "radians"
        | "regexp_count" | "regexp_replace" | "repeat" | "replace" | "reverse" | "right" | "round" | "row_to_json"
        | "rpad" | "rtrim" | "sha224" | "sha256" | "sha384" | "sha512" | "sign" | "split_part" | "sqrt"
        | "starts_with" | "string_to_array" | "strpos" | "substr" | "to_char" | "to_hex" | "to_json" | "to_jsonb"
        | "to_tsvector" | "translate" | "trim" | "trunc" | "upper" | "version" => Nulls::OfArguments,
        "clock"
        | "current_catalog"
        | "current_database"
        | "current_date"
        | "current_role"
        | "current_time"
        | "current_timestamp"
        | "current_user"
        | "localtime"
        | "localtimestamp"
        | "now"
        | "pg_backend_pid"
        | "session_user"
        | "statement_timestamp"
        | "transaction_timestamp"
        | "user" => Nulls::OfArguments,
        "array_dims"
        | "array_length"
        | "array_lower"
        | "array_ndims"
        | "array_position"
        | "array_upper"
        | "current_schema"
        | "jsonb_extract_path"
        | "jsonb_extract_path_text"
        | "json_extract_path"
        | "json_extract_path_text"
        | "nullif"
        | "regexp_match"
        | "regexp_substr"
        | "substring"
        | "to_date"
        | "to_number"
        | "to_timestamp" => Nulls::Sometimes,
        _ => return None,
    })
}

/// What a function's value lies between.
pub(super) fn range(name: &str) -> Range {
    match name {
        "abs" | "ascii" | "bit_count" | "bit_length" | "cardinality" | "char_length" | "character_length" | "count"
        | "exp" | "json_array_length" | "jsonb_array_length" | "length" | "octet_length" | "pg_column_size"
        | "position" | "regexp_count" | "sqrt" | "strpos" => Range::from(0, None),
        "sign" => Range::from(-1, Some(1)),
        _ => Range::ALL,
    }
}

/// Functions that change nothing when they are applied to their own value.
pub(super) fn is_idempotent(name: &str) -> bool {
    matches!(
        name,
        "abs"
            | "btrim"
            | "ceil"
            | "ceiling"
            | "floor"
            | "initcap"
            | "lower"
            | "ltrim"
            | "rtrim"
            | "sign"
            | "trim"
            | "trunc"
            | "upper"
    )
}

/// The operator that a built-in function stands behind: `int4eq(a, b)`, `textlike(a, b)`.
pub(super) fn as_operator(name: &str) -> Option<BinaryOperator> {
    const TYPES: &[&str] = &[
        "int2",
        "int4",
        "int8",
        "int24",
        "int42",
        "int28",
        "int82",
        "int48",
        "int84",
        "float4",
        "float8",
        "float48",
        "float84",
        "numeric_",
        "text",
        "bpchar",
        "name",
        "char",
        "bool",
        "date_",
        "time_",
        "timetz_",
        "timestamp_",
        "timestamptz_",
        "interval_",
        "uuid_",
        "oid",
        "tid",
        "xid",
        "bytea",
        "jsonb_",
        "array_",
        "record_",
        "enum_",
        "cash_",
        "network_",
        "macaddr_",
        "bit",
        "varbit",
        "range_",
    ];
    Some(match name {
        "like" | "textlike" | "bpcharlike" | "namelike" => BinaryOperator::PGLikeMatch,
        "notlike" | "textnlike" | "bpcharnlike" | "namenlike" => BinaryOperator::PGNotLikeMatch,
        "texticlike" | "bpchariclike" | "nameiclike" => BinaryOperator::PGILikeMatch,
        "texticnlike" | "bpcharicnlike" | "nameicnlike" => BinaryOperator::PGNotILikeMatch,
        "textregexeq" | "bpcharregexeq" | "nameregexeq" | "regexp_like" => BinaryOperator::PGRegexMatch,
        "texticregexeq" | "bpcharicregexeq" | "nameicregexeq" => BinaryOperator::PGRegexIMatch,
        "textregexne" | "bpcharregexne" | "nameregexne" => BinaryOperator::PGRegexNotMatch,
        "texticregexne" | "bpcharicregexne" | "nameicregexne" => BinaryOperator::PGRegexNotIMatch,
        "starts_with" => BinaryOperator::PGStartsWith,
        "arraycontains" | "jsonb_contains" | "range_contains" => BinaryOperator::AtArrow,
        "arraycontained" | "jsonb_contained" | "range_contained_by" => BinaryOperator::ArrowAt,
        "textcat" | "jsonb_concat" => BinaryOperator::StringConcat,
        "mod" => BinaryOperator::Modulo,
        _ => {
            let (of, suffix) = name.split_at_checked(name.len().checked_sub(2)?)?;
            let comparison = match suffix {
                "eq" => BinaryOperator::Eq,
                "ne" => BinaryOperator::NotEq,
                "lt" => BinaryOperator::Lt,
                "le" => BinaryOperator::LtEq,
                "gt" => BinaryOperator::Gt,
                "ge" => BinaryOperator::GtEq,
                _ => return arithmetic(name),
            };
            return (TYPES.contains(&of) || of == "text_" || of == "tid").then_some(comparison);
        }
    })
}

fn arithmetic(name: &str) -> Option<BinaryOperator> {
    const TYPES: &[&str] = &["int2", "int4", "int8", "float4", "float8", "numeric_"];
    let of = TYPES.iter().find_map(|of| name.strip_prefix(of))?;
    Some(match of {
        "pl" | "add" => BinaryOperator::Plus,
        "mi" | "sub" => BinaryOperator::Minus,
        "mul" => BinaryOperator::Multiply,
        "div" => BinaryOperator::Divide,
        "mod" => BinaryOperator::Modulo,
        _ => return None,
    })
}

/// What an operator is, also where it is written `OPERATOR(pg_catalog.=)`.
pub(super) fn operator(op: &BinaryOperator) -> BinaryOperator {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return op.clone() };
    let plain = match parts.as_slice() {
        [only] => only,
        [schema, only] if schema == "pg_catalog" => only,
        _ => return op.clone(),
    };
    match plain.as_str() {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "^@" => BinaryOperator::PGStartsWith,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        "&&" => BinaryOperator::PGOverlap,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "^" => BinaryOperator::PGExp,
        "#" => BinaryOperator::PGBitwiseXor,
        "&" => BinaryOperator::BitwiseAnd,
        "|" => BinaryOperator::BitwiseOr,
        _ => op.clone(),
    }
}

/// The name under which an operator's values go in a [`Term`](super::term::Term); `None` for one that is not known.
pub(super) fn operator_name(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::PGExp => "^",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::PGBitwiseXor => "#",
        BinaryOperator::PGBitwiseShiftLeft => "<<",
        BinaryOperator::PGBitwiseShiftRight => ">>",
        BinaryOperator::AtArrow => "@>",
        BinaryOperator::ArrowAt => "<@",
        BinaryOperator::PGOverlap => "&&",
        BinaryOperator::PGStartsWith => "^@",
        BinaryOperator::Arrow => "->",
        BinaryOperator::LongArrow => "->>",
        BinaryOperator::HashArrow => "#>",
        BinaryOperator::HashLongArrow => "#>>",
        BinaryOperator::HashMinus => "#-",
        BinaryOperator::AtAt => "@@",
        BinaryOperator::AtQuestion => "@?",
        BinaryOperator::Question => "?",
        BinaryOperator::QuestionAnd => "?&",
        BinaryOperator::QuestionPipe => "?|",
        _ => return None,
    })
}
