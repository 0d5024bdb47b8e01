//! What DDL does to tables, as far as their locks go: which statements scan, rewrite or take away a table, and which have a form
//! that does so without holding up others. `policy` judges it.

use super::draft::{Calls, Draft};
use super::lexer::{Token, TokenKind};
use super::reader::{Reader, outside, split_at_commas};
use super::statement::is_off;
use super::{Call, Name};

/// What a statement does to one table, index or materialized view.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaChange {
    /// The table, or else the index or view; empty where a statement names none (VACUUM FULL of the whole database).
    pub object: Name,
    /// What it does.
    pub change: Change,
}

/// What DDL does to a table, an index or a materialized view. What is over in a moment whatever the table's size is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// CREATE TABLE and CREATE TABLE AS: it was not there before (IF NOT EXISTS is left out).
    CreateTable {
        /// TEMP: it ends with the session.
        temporary: bool,
        /// ON COMMIT DROP: it ends with the transaction.
        drops_on_commit: bool,
    },
    /// DROP TABLE.
    DropTable,
    /// CREATE INDEX.
    CreateIndex {
        /// CONCURRENTLY, or ON ONLY a partitioned table.
        concurrently: bool,
    },
    /// DROP INDEX.
    DropIndex {
        /// CONCURRENTLY.
        concurrently: bool,
    },
    /// REINDEX.
    Reindex {
        /// CONCURRENTLY.
        concurrently: bool,
    },
    /// ADD COLUMN. Constraints that stand with it are changes of their own.
    AddColumn(NewColumn),
    /// DROP COLUMN.
    DropColumn(String),
    /// ALTER COLUMN … TYPE.
    ChangeType(String),
    /// ALTER COLUMN … SET NOT NULL, ADD [CONSTRAINT] NOT NULL.
    SetNotNull(String),
    /// ADD CONSTRAINT.
    AddConstraint {
        /// What it asks of the rows.
        constraint: Constraint,
        /// NOT VALID, or USING INDEX: no row is looked at.
        unchecked: bool,
    },
    /// VALIDATE CONSTRAINT.
    ValidateConstraint,
    /// ATTACH PARTITION; holds the partition.
    AttachPartition(Name),
    /// DETACH PARTITION.
    DetachPartition {
        /// CONCURRENTLY or FINALIZE.
        concurrently: bool,
    },
    /// REFRESH MATERIALIZED VIEW.
    Refresh {
        /// CONCURRENTLY.
        concurrently: bool,
    },
    /// RENAME of a column.
    RenameColumn,
    /// RENAME of the table; SET SCHEMA, which leaves no name that is known.
    RenameTable(Option<String>),
    /// Written anew as a whole; holds how, as SQL says it: `SET LOGGED`, `VACUUM FULL`, `CLUSTER` …
    Rewrite(&'static str),
    /// An action of ALTER TABLE that is not known.
    Unknown,
}

/// A new column, as far as it decides whether the rows that are there must be written anew.
#[derive(Clone, Debug, PartialEq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// What its DEFAULT calls.
    pub default_calls: Vec<Call>,
    /// GENERATED ALWAYS AS (…) STORED.
    pub is_stored: bool,
    /// serial, or GENERATED … AS IDENTITY.
    pub is_numbered: bool,
}

/// What a constraint asks of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// CHECK.
    Check,
    /// UNIQUE and PRIMARY KEY.
    Unique,
    /// FOREIGN KEY.
    ForeignKey,
    /// EXCLUDE.
    Exclusion,
}

impl SchemaChange {
    fn of(object: Name, change: Change) -> Vec<Self> {
        vec![Self { object, change }]
    }
}

/// No name at all.
const NO_NAME: Name = Name { schema: None, name: String::new() };

/// CREATE TABLE, behind its word; `temporary` as far as the words before it say so.
pub(super) fn create_table(mut reader: Reader<'_, '_>, temporary: bool) -> Vec<SchemaChange> {
    if reader.eat(&["if", "not", "exists"]) {
        return Vec::new();
    }
    let Some(name) = reader.name() else { return Vec::new() };
    let rest = reader.rest();
    let drops_on_commit = rest.windows(3).any(|w| w[0].is("on") && w[1].is("commit") && w[2].is("drop"));
    let temporary = temporary || name.schema.as_deref() == Some("pg_temp");
    SchemaChange::of(name, Change::CreateTable { temporary, drops_on_commit })
}

/// CREATE INDEX, behind its word.
pub(super) fn create_index(mut reader: Reader<'_, '_>) -> Vec<SchemaChange> {
    let concurrently = reader.eat(&["concurrently"]);
    if reader.until(&["on"]).is_none() {
        return Vec::new();
    }
    // On a partitioned table it makes an index without content, which those of the partitions are then attached to.
    let only = reader.eat(&["only"]);
    let object = reader.name().unwrap_or(NO_NAME);
    SchemaChange::of(object, Change::CreateIndex { concurrently: concurrently || only })
}

/// DROP TABLE and DROP INDEX, behind their words.
pub(super) fn drop(object: &str, mut reader: Reader<'_, '_>) -> Vec<SchemaChange> {
    let concurrently = reader.eat(&["concurrently"]);
    let change = match object {
        "TABLE" => Change::DropTable,
        "INDEX" => Change::DropIndex { concurrently },
        _ => return Vec::new(),
    };
    reader.eat(&["if", "exists"]);
    let mut changes = Vec::new();
    while let Some(name) = reader.name() {
        changes.push(SchemaChange { object: name, change: change.clone() });
        if !reader.eat_kind(&TokenKind::Comma) {
            break;
        }
    }
    changes
}

/// ALTER of an object, behind the words that name its type.
pub(super) fn alter(object: &str, mut reader: Reader<'_, '_>) -> Vec<SchemaChange> {
    if !matches!(object, "DOMAIN" | "INDEX" | "MATERIALIZED VIEW" | "TABLE") {
        return Vec::new();
    }
    if reader.eat(&["all", "in", "tablespace"]) {
        return SchemaChange::of(NO_NAME, Change::Rewrite("SET TABLESPACE"));
    }
    reader.eat(&["if", "exists"]);
    reader.eat(&["only"]);
    let Some(name) = reader.name() else { return Vec::new() };
    reader.eat_kind(&TokenKind::Operator("*"));
    let actions = split_at_commas(reader.rest());
    let changes = actions.into_iter().flat_map(|action| match object {
        "TABLE" => table_action(Reader::new(action)),
        "DOMAIN" => domain_action(Reader::new(action)),
        _ => storage_action(&mut Reader::new(action)).into_iter().collect(),
    });
    changes.map(|change| SchemaChange { object: name.clone(), change }).collect()
}

/// REINDEX, behind its word.
pub(super) fn reindex(mut reader: Reader<'_, '_>) -> Vec<SchemaChange> {
    let listed = option(&mut reader, "concurrently");
    reader.eat_any(&["index", "table", "schema", "database", "system"]);
    let concurrently = reader.eat(&["concurrently"]) || listed;
    SchemaChange::of(reader.name().unwrap_or(NO_NAME), Change::Reindex { concurrently })
}

/// REFRESH MATERIALIZED VIEW, behind its first word.
pub(super) fn refresh(mut reader: Reader<'_, '_>) -> Vec<SchemaChange> {
    reader.eat(&["materialized", "view"]);
    let concurrently = reader.eat(&["concurrently"]);
    SchemaChange::of(reader.name().unwrap_or(NO_NAME), Change::Refresh { concurrently })
}

/// VACUUM, CLUSTER and REPACK, behind their word.
pub(super) fn maintenance(word: &str, mut reader: Reader<'_, '_>) -> Vec<SchemaChange> {
    let how = match word {
        "vacuum" => {
            let full = option(&mut reader, "full") || reader.eat(&["full"]);
            if !full {
                return Vec::new();
            }
            "VACUUM FULL"
        }
        "repack" if option(&mut reader, "concurrently") => return Vec::new(),
        "repack" => "REPACK",
        "cluster" => {
            reader.parenthesised();
            "CLUSTER"
        }
        _ => return Vec::new(),
    };
    while reader.eat_any(&["freeze", "verbose", "analyze", "analyse"]) {}
    SchemaChange::of(reader.name().unwrap_or(NO_NAME), Change::Rewrite(how))
}

/// Reads `(OPTION, …)` where it comes next: whether this one is there and not off.
fn option(reader: &mut Reader<'_, '_>, name: &str) -> bool {
    let options = reader.parenthesised().unwrap_or_default();
    options
        .split(|token| token.kind == TokenKind::Comma)
        .any(|option| option.first().is_some_and(|t| t.ident() == Some(name)) && !option.get(1).is_some_and(is_off))
}

fn domain_action(mut reader: Reader<'_, '_>) -> Vec<Change> {
    if reader.eat(&["add"]) { constraint(&mut reader).into_iter().collect() } else { Vec::new() }
}

/// What ALTER INDEX and ALTER MATERIALIZED VIEW have of ALTER TABLE's actions.
fn storage_action(reader: &mut Reader<'_, '_>) -> Option<Change> {
    let how = [
        (["set", "tablespace"], "SET TABLESPACE"),
        (["set", "logged"], "SET LOGGED"),
        (["set", "unlogged"], "SET UNLOGGED"),
        (["set", "access"], "SET ACCESS METHOD"),
    ];
    how.into_iter().find(|(words, _)| reader.at(words)).map(|(_, how)| Change::Rewrite(how))
}

/// Actions of ALTER TABLE that are over in a moment (Postgres documentation, ALTER TABLE): a few words of the catalog.
const BRIEF: &[&[&str]] = &[
    &["alter", "constraint"],
    &["cluster", "on"],
    &["depends", "on"],
    &["disable"],
    &["drop", "constraint"],
    &["enable"],
    &["force", "row"],
    &["inherit"],
    &["no", "depends"],
    &["no", "force"],
    &["no", "inherit"],
    &["not", "of"],
    &["of"],
    &["options"],
    &["owner", "to"],
    &["rename", "constraint"],
    &["replica", "identity"],
    &["reset"],
    &["set", "without"],
];

fn table_action(mut reader: Reader<'_, '_>) -> Vec<Change> {
    let reader = &mut reader;
    if let Some(rewrite) = storage_action(reader) {
        return vec![rewrite];
    }
    let behind_set = reader.rest().get(1).map(|token| &token.kind);
    if BRIEF.iter().any(|words| reader.at(words)) || reader.at(&["set"]) && behind_set == Some(&TokenKind::LParen) {
        return Vec::new();
    }
    if reader.eat(&["add"]) {
        return match constraint(reader) {
            Some(constraint) => vec![constraint],
            None => new_column(reader),
        };
    }
    let change = if reader.eat(&["drop"]) {
        reader.eat(&["column"]);
        reader.eat(&["if", "exists"]);
        reader.ident().map(|column| Change::DropColumn(column.to_owned()))
    } else if reader.eat(&["alter"]) {
        reader.eat(&["column"]);
        let column = reader.next().and_then(Token::ident).unwrap_or_default().to_owned();
        return column_action(reader, column).into_iter().collect();
    } else if reader.eat(&["validate", "constraint"]) {
        Some(Change::ValidateConstraint)
    } else if reader.eat(&["attach", "partition"]) {
        reader.name().map(Change::AttachPartition)
    } else if reader.eat(&["detach", "partition"]) {
        let concurrently = reader.rest().iter().any(|t| t.is("concurrently") || t.is("finalize"));
        Some(Change::DetachPartition { concurrently })
    } else if reader.eat(&["rename", "to"]) {
        reader.ident().map(|name| Change::RenameTable(Some(name.to_owned())))
    } else if reader.at(&["set", "schema"]) {
        Some(Change::RenameTable(None))
    } else if reader.at(&["rename"]) {
        Some(Change::RenameColumn)
    } else if reader.at(&["merge", "partitions"]) {
        Some(Change::Rewrite("MERGE PARTITIONS"))
    } else if reader.at(&["split", "partition"]) {
        Some(Change::Rewrite("SPLIT PARTITION"))
    } else {
        None
    };
    vec![change.unwrap_or(Change::Unknown)]
}

/// ALTER COLUMN, behind the column.
fn column_action(reader: &mut Reader<'_, '_>, column: String) -> Option<Change> {
    const BRIEF: &[&[&str]] = &[
        &["add", "generated"],
        &["drop", "default"],
        &["drop", "expression"],
        &["drop", "identity"],
        &["drop", "not", "null"],
        &["options"],
        &["reset"],
        &["restart"],
        &["set", "cache"],
        &["set", "compression"],
        &["set", "cycle"],
        &["set", "default"],
        &["set", "generated"],
        &["set", "increment"],
        &["set", "maxvalue"],
        &["set", "minvalue"],
        &["set", "no"],
        &["set", "sequence"],
        &["set", "start"],
        &["set", "statistics"],
        &["set", "storage"],
    ];
    if reader.at(&["type"]) || reader.at(&["set", "data", "type"]) {
        return Some(Change::ChangeType(column));
    }
    if reader.at(&["set", "not", "null"]) {
        return Some(Change::SetNotNull(column));
    }
    if reader.at(&["set", "expression"]) {
        return Some(Change::Rewrite("SET EXPRESSION"));
    }
    let has_options = reader.at(&["set"]) && reader.rest().get(1).is_some_and(|t| t.kind == TokenKind::LParen);
    if has_options || BRIEF.iter().any(|words| reader.at(words)) { None } else { Some(Change::Unknown) }
}

/// A table's constraint, behind ADD; `None` where a column stands there.
fn constraint(reader: &mut Reader<'_, '_>) -> Option<Change> {
    if reader.eat(&["constraint"]) {
        reader.ident();
    }
    let rest = reader.rest();
    let has = |words: [&str; 2]| {
        let at: Vec<usize> = outside(rest).collect();
        at.windows(2).any(|pair| rest[pair[0]].is(words[0]) && rest[pair[1]].is(words[1]))
    };
    let unchecked = has(["not", "valid"]) || has(["not", "enforced"]);
    if reader.eat(&["not", "null"]) {
        let column = reader.ident().unwrap_or_default().to_owned();
        return if unchecked { Some(Change::ValidateConstraint) } else { Some(Change::SetNotNull(column)) };
    }
    let is_exclusion =
        reader.at(&["exclude"]) && rest.get(1).is_some_and(|next| next.is("using") || next.kind == TokenKind::LParen);
    let constraint = match reader.next().and_then(Token::word) {
        Some("check") => Constraint::Check,
        Some("unique") => return Some(unique(has(["using", "index"]))),
        Some("primary") => return Some(unique(has(["using", "index"]))),
        Some("foreign") => Constraint::ForeignKey,
        Some("exclude") if is_exclusion => Constraint::Exclusion,
        _ => {
            *reader = Reader::new(rest);
            return None;
        }
    };
    Some(Change::AddConstraint { constraint, unchecked })
}

fn unique(from_index: bool) -> Change {
    Change::AddConstraint { constraint: Constraint::Unique, unchecked: from_index }
}

/// ADD COLUMN, behind ADD.
fn new_column(reader: &mut Reader<'_, '_>) -> Vec<Change> {
    reader.eat(&["column"]);
    reader.eat(&["if", "not", "exists"]);
    let Some(name) = reader.ident() else { return vec![Change::Unknown] };
    let rest = reader.rest();
    let at: Vec<usize> = outside(rest).collect();
    let has = |word: &str| at.iter().any(|&i| rest[i].is(word));
    let default = default_of(rest, &at);
    let is_generated = has("generated");
    let column = NewColumn {
        name: name.to_owned(),
        default_calls: default.map(calls).unwrap_or_default(),
        is_stored: is_generated && has("stored"),
        is_numbered: is_generated && has("identity") || rest.first().and_then(Token::ident).is_some_and(is_serial),
    };
    let with_it = [
        (has("unique") || has("primary"), Constraint::Unique),
        (has("check"), Constraint::Check),
        // In a column that is empty so far there is nothing to look up.
        (has("references") && default.is_some(), Constraint::ForeignKey),
    ];
    let constraints = with_it
        .into_iter()
        .filter(|(is_there, _)| *is_there)
        .map(|(_, constraint)| Change::AddConstraint { constraint, unchecked: false });
    std::iter::once(Change::AddColumn(column)).chain(constraints).collect()
}

fn is_serial(type_name: &str) -> bool {
    matches!(type_name, "bigserial" | "serial" | "serial2" | "serial4" | "serial8" | "smallserial")
}

/// The expression behind DEFAULT, up to the next constraint of the column. `at` are the tokens outside parentheses.
fn default_of<'t, 'a>(tokens: &'t [Token<'a>], at: &[usize]) -> Option<&'t [Token<'a>]> {
    const NEXT: &[&str] =
        &["check", "collate", "constraint", "generated", "not", "null", "primary", "references", "unique"];
    let default = at.iter().position(|&i| tokens[i].is("default"))?;
    // The first token is the expression's whatever it is: DEFAULT NULL.
    let end = at.iter().skip(default + 2).find(|&&i| NEXT.iter().any(|word| tokens[i].is(word)));
    tokens.get(at[default] + 1..end.copied().unwrap_or(tokens.len()))
}

/// What an expression calls; `x::numeric(10, 2)` is a type.
fn calls(expression: &[Token<'_>]) -> Vec<Call> {
    let mut found = Draft::new(super::Kind::Select, super::Class::Read, "");
    found.scan_calls(expression, Calls::All);
    let is_type = |call: &Call| {
        expression
            .windows(2)
            .any(|pair| pair[0].kind == TokenKind::DoubleColon && pair[1].ident() == Some(call.name.name.as_str()))
    };
    found.functions.retain(|call| !is_type(call));
    found.functions
}

#[cfg(test)]
mod tests;
