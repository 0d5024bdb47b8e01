//! CREATE, ALTER, DROP and the other statements about objects: their family, from the words that name the object.
//!
//! Every statement of Postgres's grammar that begins with CREATE, ALTER or DROP names its object's type next, so that the
//! words decide; what is not in the table is not known and counts as such.

use super::draft::{Calls, Draft, Runs};
use super::lexer::{Token, TokenKind};
use super::reader::{Reader, outside};
use super::{Class, Effect, Hazard, Kind, made, routine, schema_change, statement};

/// How an object's statements are treated.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    /// Part of a schema.
    Plain,
    /// Who may do what.
    Role,
    /// Belongs to the whole database or server.
    Cluster,
    /// Makes the server open connections.
    Foreign,
    /// A foreign table: may stand for a file or program of the server (file_fdw).
    ForeignTable,
    /// Subscriptions: both.
    ClusterForeign,
}

/// Object types by their words; a longer entry stands before one that it begins with.
const OBJECTS: &[(&[&str], &str, Family)] = &[
    (&["access", "method"], "ACCESS METHOD", Family::Plain),
    (&["aggregate"], "AGGREGATE", Family::Plain),
    (&["cast"], "CAST", Family::Plain),
    (&["collation"], "COLLATION", Family::Plain),
    (&["conversion"], "CONVERSION", Family::Plain),
    (&["database"], "DATABASE", Family::Cluster),
    (&["default", "privileges"], "DEFAULT PRIVILEGES", Family::Role),
    (&["domain"], "DOMAIN", Family::Plain),
    (&["event", "trigger"], "EVENT TRIGGER", Family::Cluster),
    (&["extension"], "EXTENSION", Family::Cluster),
    (&["foreign", "data", "wrapper"], "FOREIGN DATA WRAPPER", Family::Foreign),
    (&["foreign", "table"], "FOREIGN TABLE", Family::ForeignTable),
    (&["function"], "FUNCTION", Family::Plain),
    (&["group"], "ROLE", Family::Role),
    (&["index"], "INDEX", Family::Plain),
    (&["language"], "LANGUAGE", Family::Cluster),
    (&["large", "object"], "LARGE OBJECT", Family::Plain),
    (&["materialized", "view"], "MATERIALIZED VIEW", Family::Plain),
    (&["operator", "class"], "OPERATOR CLASS", Family::Plain),
    (&["operator", "family"], "OPERATOR FAMILY", Family::Plain),
    (&["operator"], "OPERATOR", Family::Plain),
    (&["owned"], "OWNED", Family::Role),
    (&["policy"], "POLICY", Family::Plain),
    (&["procedure"], "PROCEDURE", Family::Plain),
    (&["property", "graph"], "PROPERTY GRAPH", Family::Plain),
    (&["publication"], "PUBLICATION", Family::Cluster),
    (&["role"], "ROLE", Family::Role),
    (&["routine"], "ROUTINE", Family::Plain),
    (&["rule"], "RULE", Family::Plain),
    (&["schema"], "SCHEMA", Family::Plain),
    (&["sequence"], "SEQUENCE", Family::Plain),
    (&["server"], "SERVER", Family::Foreign),
    (&["statistics"], "STATISTICS", Family::Plain),
    (&["subscription"], "SUBSCRIPTION", Family::ClusterForeign),
    (&["system"], "SYSTEM", Family::Cluster),
    (&["table"], "TABLE", Family::Plain),
    (&["tablespace"], "TABLESPACE", Family::Cluster),
    (&["text", "search", "configuration"], "TEXT SEARCH CONFIGURATION", Family::Plain),
    (&["text", "search", "dictionary"], "TEXT SEARCH DICTIONARY", Family::Plain),
    (&["text", "search", "parser"], "TEXT SEARCH PARSER", Family::Plain),
    (&["text", "search", "template"], "TEXT SEARCH TEMPLATE", Family::Plain),
    (&["transform"], "TRANSFORM", Family::Plain),
    (&["trigger"], "TRIGGER", Family::Plain),
    (&["type"], "TYPE", Family::Plain),
    (&["user", "mapping"], "USER MAPPING", Family::Foreign),
    (&["user"], "ROLE", Family::Role),
    (&["view"], "VIEW", Family::Plain),
];

/// Extensions that open files or run programs of the server.
const FILE_EXTENSIONS: &[&str] = &["adminpack", "file_fdw", "pg_read_file"];

/// Languages whose functions cannot reach beyond the database; all others can run anything on the server.
const TRUSTED_LANGUAGES: &[&str] =
    &["java", "plcoffee", "plls", "plperl", "plpgsql", "plprql", "plrust", "pltcl", "pltclu_safe", "plv8", "sql"];

/// CREATE, behind its word.
pub(super) fn create(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let tokens = reader.rest();
    reader.eat(&["or", "replace"]);
    let mut temporary = false;
    loop {
        if reader.eat_any(&["temp", "temporary"]) {
            temporary = true;
        } else if reader.at(&["default", "conversion"]) {
            reader.next();
        } else if !reader.eat_any(&[
            "constraint",
            "global",
            "local",
            "procedural",
            "recursive",
            "trusted",
            "unique",
            "unlogged",
        ]) {
            break;
        }
    }
    let (object, family) = object(reader)?;
    let mut draft = draft("CREATE", object, family, tokens);
    draft.makes = made::made(object, reader.rest());
    match object {
        "TABLE" => return Some(table(reader, draft, temporary)),
        "VIEW" | "MATERIALIZED VIEW" => {
            reader.eat(&["if", "not", "exists"]);
            temporary |= in_pg_temp(reader.rest());
            if reader.until(&["as"]).is_some() {
                let runs = object == "MATERIALIZED VIEW";
                if runs {
                    draft.runs = Runs::Now;
                }
                routine::absorb(&mut draft, statement::read_inner(without_data_clause(reader.rest())), runs);
            }
        }
        "SEQUENCE" => {
            reader.eat(&["if", "not", "exists"]);
            temporary |= in_pg_temp(reader.rest());
        }
        "FUNCTION" | "PROCEDURE" => {
            temporary |= in_pg_temp(reader.rest());
            routine::create(reader.rest(), &mut draft);
            if !temporary {
                // Code that stays is looked at before it is made; which settings it changes is for its callers to say.
                draft.effects.retain(|effect| *effect != Effect::SetUnknown);
            }
        }
        "RULE" => routine::rule(reader, &mut draft),
        "SCHEMA" => elements(reader.rest(), &mut draft),
        "INDEX" | "TRIGGER" | "POLICY" => {
            if object == "INDEX" {
                draft.schema_changes = schema_change::create_index(reader.clone());
            }
            if is_on_pg_temp(reader) {
                draft.kind = Kind::TempDdl;
            }
        }
        "LANGUAGE" => {
            reader.eat(&["if", "not", "exists"]);
            if reader.ident().is_none_or(|name| !is_trusted(name)) {
                draft.add_hazard(Hazard::ServerProgram);
            }
        }
        "EXTENSION" => extension(reader, &mut draft),
        "TYPE" | "DOMAIN" | "COLLATION" => temporary |= in_pg_temp(reader.rest()),
        // Statistics, aggregates, operators …
        _ if tokens.windows(2).any(in_pg_temp) => draft.effects.push(Effect::TempObject),
        _ => {}
    }
    if temporary {
        let is_block = matches!(object, "FUNCTION" | "PROCEDURE") && !routine::only_reads(reader.rest());
        draft.kind = if is_block { Kind::Do } else { Kind::TempDdl };
        draft.effects.push(Effect::TempObject);
    }
    Some(draft)
}

/// ALTER, behind its word.
pub(super) fn alter(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let tokens = reader.rest();
    reader.eat_any(&["trusted", "procedural"]);
    let (object, family) = object(reader)?;
    let mut draft = draft("ALTER", object, family, tokens).with_changes(schema_change::alter(object, reader.clone()));
    draft.makes = made::made(object, reader.rest());
    if matches!(object, "FUNCTION" | "PROCEDURE" | "ROUTINE") {
        draft.effects.extend(routine::options_set(reader.rest()));
    }
    if object == "ROLE" && outside(tokens).any(|i| tokens[i].is("set") || tokens[i].is("reset")) {
        // Its settings are those of every session to come, as ALTER DATABASE's are.
        draft.kind = Kind::Cluster;
    }
    reader.eat(&["if", "exists"]);
    reader.eat(&["only"]);
    let gets_parent = reader.rest().iter().any(|token| token.is("inherit"));
    if matches!(object, "TABLE" | "VIEW" | "SEQUENCE" | "INDEX" | "TYPE") && in_pg_temp(reader.rest()) && !gets_parent {
        draft.kind = Kind::TempDdl;
    }
    Some(draft)
}

/// DROP, behind its word.
pub(super) fn drop(reader: &mut Reader<'_, '_>) -> Option<Draft> {
    let tokens = reader.rest();
    reader.eat_any(&["trusted", "procedural"]);
    let (object, family) = object(reader)?;
    let mut draft = draft("DROP", object, family, tokens);
    if draft.kind == Kind::Ddl {
        draft.kind = Kind::Drop;
    }
    // Dropping what reaches other servers reaches none.
    draft.hazards.clear();
    draft.schema_changes = schema_change::drop(object, reader.clone());
    reader.eat(&["concurrently"]);
    reader.eat(&["if", "exists"]);
    if matches!(object, "TABLE" | "VIEW" | "SEQUENCE" | "INDEX" | "FUNCTION" | "TYPE") && only_pg_temp(reader) {
        draft.kind = Kind::TempDdl;
    }
    Some(draft)
}

/// COMMENT, SECURITY LABEL, IMPORT FOREIGN SCHEMA and REASSIGN OWNED.
pub(super) fn other(tag: &str) -> Draft {
    let draft = match tag {
        "REASSIGN OWNED" => Draft::new(Kind::Role, Class::Role, tag),
        "IMPORT FOREIGN SCHEMA" => Draft::new(Kind::Ddl, Class::Ddl, tag).with_hazard(Hazard::OtherConnection),
        _ => Draft::new(Kind::Ddl, Class::Ddl, tag),
    };
    Draft { runs: Runs::Later, ..draft }
}

/// REFRESH, behind its word: it runs the query of the view.
pub(super) fn refresh(reader: &mut Reader<'_, '_>) -> Draft {
    let mut draft = other("REFRESH MATERIALIZED VIEW");
    reader.eat(&["materialized", "view"]);
    reader.eat(&["concurrently"]);
    draft.reads.extend(reader.name());
    draft
}

/// GRANT and REVOKE, of privileges or of roles.
pub(super) fn grant(reader: &Reader<'_, '_>, verb: &str) -> Draft {
    let rest = reader.rest();
    let privileges = outside(rest).any(|i| rest[i].is("on"));
    let tag = if privileges { verb.to_owned() } else { format!("{verb} ROLE") };
    Draft { runs: Runs::Later, ..Draft::new(Kind::Role, Class::Role, tag) }
}

/// Whether a language is one that cannot reach the server's files and programs.
pub(super) fn is_trusted(language: &str) -> bool {
    TRUSTED_LANGUAGES.binary_search(&language.to_ascii_lowercase().as_str()).is_ok()
}

fn object(reader: &mut Reader<'_, '_>) -> Option<(&'static str, Family)> {
    OBJECTS.iter().find(|(words, ..)| reader.eat(words)).map(|&(_, object, family)| (object, family))
}

fn draft(verb: &str, object: &str, family: Family, tokens: &[Token<'_>]) -> Draft {
    let (kind, class) = match family {
        Family::Plain | Family::Foreign | Family::ForeignTable => (Kind::Ddl, Class::Ddl),
        Family::Role => (Kind::Role, Class::Role),
        Family::Cluster | Family::ClusterForeign => (Kind::Cluster, Class::Ddl),
    };
    let mut draft = Draft::new(kind, class, format!("{verb} {object}"));
    draft.runs = made::runs(verb, object, tokens);
    match family {
        Family::Foreign | Family::ClusterForeign => draft.add_hazard(Hazard::OtherConnection),
        Family::ForeignTable => {
            if verb == "CREATE" {
                draft.add_hazard(Hazard::OtherConnection);
            }
            // file_fdw's options.
            if tokens.windows(2).any(|pair| pair[0].ident() == Some("program") && pair[1].string().is_some()) {
                draft.add_hazard(Hazard::ServerProgram);
            }
            if tokens.windows(2).any(|pair| pair[0].ident() == Some("filename") && pair[1].string().is_some()) {
                draft.add_hazard(Hazard::ServerFile);
            }
        }
        Family::Plain | Family::Role | Family::Cluster => {}
    }
    // DEFAULT, USING, CHECK …: an expression of a table's definition may be computed for every row at once. Statements about
    // functions name them before a parenthesis and call none.
    if verb != "DROP" && matches!(object, "DOMAIN" | "FOREIGN TABLE" | "INDEX" | "POLICY" | "TABLE") {
        draft.scan_calls(tokens, Calls::Dangerous);
        draft.scan_attributes(tokens, false);
    }
    // Under another name they call a function that already is there.
    if verb != "DROP"
        && matches!(
            object,
            "AGGREGATE" | "CAST" | "CONVERSION" | "OPERATOR" | "OPERATOR CLASS" | "OPERATOR FAMILY" | "TYPE"
        )
    {
        draft.scan_names(tokens);
    }
    draft
}

/// CREATE TABLE, with or without AS.
fn table(reader: &mut Reader<'_, '_>, mut draft: Draft, mut temporary: bool) -> Draft {
    draft.schema_changes = schema_change::create_table(reader.clone(), temporary);
    reader.eat(&["if", "not", "exists"]);
    temporary |= in_pg_temp(reader.rest());
    if reader.until(&["as"]).is_some() {
        draft.kind = Kind::CreateTableAs;
        draft.runs = Runs::Now;
        "CREATE TABLE AS".clone_into(&mut draft.tag);
        routine::absorb(&mut draft, statement::read_inner(without_data_clause(reader.rest())), true);
    }
    if temporary {
        // A child of a permanent table changes that as well, and locks it.
        let has_parent = outside(reader.rest()).any(|i| reader.rest()[i].is("inherits"));
        if draft.kind != Kind::UnparsedMaybeWrite && !has_parent {
            draft.kind = Kind::TempDdl;
        }
        draft.effects.push(Effect::TempObject);
    }
    draft
}

/// A query without the `WITH [NO] DATA` or `WITH … CHECK OPTION` behind it.
fn without_data_clause<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match tokens {
        [query @ .., with, no, data] if with.is("with") && no.is("no") && data.is("data") => query,
        [query @ .., with, data] if with.is("with") && data.is("data") => query,
        [query @ .., with, _, check, option] if with.is("with") && check.is("check") && option.is("option") => query,
        [query @ .., with, check, option] if with.is("with") && check.is("check") && option.is("option") => query,
        _ => tokens,
    }
}

/// The statements that may stand in CREATE SCHEMA: each begins with CREATE or GRANT.
fn elements(tokens: &[Token<'_>], draft: &mut Draft) {
    let starts: Vec<usize> = outside(tokens).filter(|&i| tokens[i].is("create") || tokens[i].is("grant")).collect();
    for (n, &start) in starts.iter().enumerate() {
        let element = &tokens[start..starts.get(n + 1).copied().unwrap_or(tokens.len())];
        // A schema in a schema is none of Postgres's grammar, and must not nest without end.
        if !element.get(1).is_some_and(|token| token.is("schema")) {
            let inner = statement::read(element);
            draft.makes.extend(inner.makes.iter().cloned());
            routine::absorb(draft, inner, false);
        }
    }
}

fn extension(reader: &mut Reader<'_, '_>, draft: &mut Draft) {
    reader.eat(&["if", "not", "exists"]);
    let name = reader.ident().unwrap_or_default();
    if name == "dblink" || name.ends_with("_fdw") {
        draft.add_hazard(Hazard::OtherConnection);
    }
    if FILE_EXTENSIONS.contains(&name) {
        draft.add_hazard(Hazard::ServerFile);
    }
    if name.starts_with("pl") && !is_trusted(name) {
        draft.add_hazard(Hazard::ServerProgram);
    }
}

/// Whether the name that comes next is in the session's temporary schema.
fn in_pg_temp(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [schema, dot, ..] => schema.ident() == Some("pg_temp") && dot.kind == TokenKind::Dot,
        _ => false,
    }
}

/// Whether what is made belongs to a table in the session's temporary schema.
fn is_on_pg_temp(reader: &mut Reader<'_, '_>) -> bool {
    let on = reader.until(&["on"]).is_some();
    reader.eat(&["only"]);
    on && in_pg_temp(reader.rest())
}

/// Whether all the names that come next are in the session's temporary schema, and nothing else goes with them.
fn only_pg_temp(reader: &mut Reader<'_, '_>) -> bool {
    loop {
        if !in_pg_temp(reader.rest()) || reader.name().is_none() {
            return false;
        }
        reader.parenthesised();
        if !reader.eat_kind(&TokenKind::Comma) {
            return reader.at_end() || reader.at(&["restrict"]);
        }
    }
}
