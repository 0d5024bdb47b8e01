//! From a classified text to what the trail keeps of it.

use std::collections::BTreeSet;

use super::clip::{Clipper, clip};
use super::line::MAX_SQL;
use super::record::{StatementRecord, Written};
use crate::sql::{Name, Script};

/// Longest joined list of classes, tags or fingerprints, in bytes.
const MAX_JOINED: usize = 1 << 10;

impl StatementRecord {
    /// What is recorded of `text`, which `script` was read from: secrets replaced, at most 16 KiB of it, with a visible mark
    /// where it was cut.
    pub fn from_script(text: &str, script: &Script) -> Self {
        let statements = &script.statements;
        let mut classes = Vec::new();
        for facts in statements {
            if !classes.contains(&facts.class.as_str()) {
                classes.push(facts.class.as_str());
            }
        }
        let tables: BTreeSet<String> =
            statements.iter().flat_map(|f| f.writes.iter().map(|w| &w.table).chain(&f.reads)).map(written).collect();
        Self {
            class: classes.join(","),
            kind: joined(statements.iter().map(|f| f.tag.as_ref()), "; "),
            tables: tables.into_iter().collect(),
            sql: redacted(text, script),
            fingerprint: joined(statements.iter().map(|f| f.fingerprint.as_str()), ","),
            traceparent: script.traceparent.clone(),
            written: Written::default(),
        }
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>, separator: &str) -> String {
    let mut out = Clipper::new(MAX_JOINED);
    for (i, part) in parts.enumerate() {
        if i > 0 {
            out.push(separator);
        }
        out.push(part);
    }
    out.finish()
}

/// The text with each statement that holds a secret replaced by its redacted form.
fn redacted(text: &str, script: &Script) -> String {
    if script.statements.iter().all(|f| f.redacted.is_none()) {
        return clip(text, MAX_SQL).into_owned();
    }
    splice(text, script).unwrap_or_else(|| {
        // The spans cannot be trusted, so neither can what stands outside them: only the redacted and literal-free forms do.
        joined_sql(script)
    })
}

/// `None` when a span lies outside the text, inside a character or before the end of the one before it.
fn splice(text: &str, script: &Script) -> Option<String> {
    let mut out = Clipper::new(MAX_SQL);
    let mut end = 0;
    for facts in &script.statements {
        out.push(text.get(end..facts.span.start)?);
        let own = text.get(facts.span.clone())?;
        out.push(facts.redacted.as_deref().unwrap_or(own));
        end = facts.span.end;
    }
    out.push(text.get(end..)?);
    Some(out.finish())
}

fn joined_sql(script: &Script) -> String {
    let mut out = Clipper::new(MAX_SQL);
    for (i, facts) in script.statements.iter().enumerate() {
        if i > 0 {
            out.push("; ");
        }
        out.push(facts.redacted.as_deref().unwrap_or(&facts.normalized));
    }
    out.finish()
}

/// A name as SQL spells it: quoted where it must be.
fn written(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&name.name)),
        None => quoted(&name.name),
    }
}

fn quoted(identifier: &str) -> String {
    let plain = identifier.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && identifier.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    if plain { identifier.to_owned() } else { format!("\"{}\"", identifier.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Boundedness, Class, Facts, Kind, Verb, Write};

    fn facts(text: &str, part: &str, redacted: Option<&str>) -> Facts {
        let start = text.find(part).unwrap();
        Facts {
            span: start..start + part.len(),
            kind: Kind::Select,
            class: Class::Read,
            tag: part.split(' ').next().unwrap().into(),
            writes: vec![],
            reads: vec![],
            mentions: vec![],
            is_only_planned: false,
            makes: vec![],
            functions: vec![],
            effects: vec![],
            locks: vec![],
            hazards: vec![],
            schema_changes: vec![],
            normalized: format!("normalized {start}"),
            fingerprint: format!("f{start}"),
            redacted: redacted.map(str::to_owned),
        }
    }

    fn name(schema: Option<&str>, name: &str) -> Name {
        Name { schema: schema.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn statements_are_joined_and_tables_listed_once() {
        let text = "SELECT 1; DELETE FROM t";
        let mut one = facts(text, "SELECT 1", None);
        one.reads = vec![name(Some("public"), "t"), name(None, "My\"T"), name(None, "a.b")];
        let mut two = facts(text, "DELETE FROM t", None);
        two.class = Class::Write;
        two.reads = vec![name(None, "t")];
        two.writes =
            vec![Write { verb: Verb::Delete, table: name(None, "t"), columns: vec![], bound: Boundedness::Missing }];
        let mut three = two.clone();
        three.span = text.len()..text.len();
        let script = Script { statements: vec![one, two, three], traceparent: Some("00-a-b-01".into()) };
        let record = StatementRecord::from_script(text, &script);
        assert_eq!(record.class, "READ,WRITE");
        assert_eq!(record.kind, "SELECT; DELETE; DELETE");
        assert_eq!(record.tables, ["\"My\"\"T\"", "\"a.b\"", "public.t", "t"]);
        assert_eq!(record.sql, text);
        assert_eq!(record.fingerprint, "f0,f10,f10");
        assert_eq!(record.traceparent.as_deref(), Some("00-a-b-01"));
    }

    #[test]
    fn only_the_redacted_statement_is_replaced() {
        let text = "/* é */ SELECT 1; ALTER ROLE r PASSWORD 'geheim'; SELECT 2 -- end";
        let statements = vec![
            facts(text, "SELECT 1", None),
            facts(text, "ALTER ROLE r PASSWORD 'geheim'", Some("ALTER ROLE r PASSWORD '***'")),
            facts(text, "SELECT 2", None),
        ];
        let record = StatementRecord::from_script(text, &Script { statements, traceparent: None });
        assert_eq!(record.sql, "/* é */ SELECT 1; ALTER ROLE r PASSWORD '***'; SELECT 2 -- end");
    }

    #[test]
    fn a_span_that_does_not_fit_never_lets_the_secret_through() {
        let text = "SELECT 1; ALTER ROLE r PASSWORD 'geheim'";
        let secret = facts(text, "ALTER ROLE r PASSWORD 'geheim'", Some("ALTER ROLE r PASSWORD '***'"));
        for span in [5..500, std::ops::Range { start: 12, end: 3 }, 0..10] {
            let bad = Facts { span, ..secret.clone() };
            let statements = vec![facts(text, "SELECT 1", None), bad];
            let record = StatementRecord::from_script(text, &Script { statements, traceparent: None });
            assert_eq!(record.sql, "normalized 0; ALTER ROLE r PASSWORD '***'");
        }
    }

    #[test]
    fn long_texts_are_cut_with_a_mark_also_when_redacted() {
        let text = format!("SELECT 'geheim'{}", " ".repeat(MAX_SQL));
        let mut statement = facts(&text, "SELECT 'geheim'", None);
        let script = |s: &Facts| Script { statements: vec![s.clone()], traceparent: None };
        let record = StatementRecord::from_script(&text, &script(&statement));
        assert!(record.sql.len() < MAX_SQL + 32 && record.sql.ends_with("…[+15 bytes]"));
        statement.redacted = Some("SELECT '***'".into());
        let record = StatementRecord::from_script(&text, &script(&statement));
        assert!(!record.sql.contains("geheim") && record.sql.ends_with("…[+12 bytes]"));
    }

    #[test]
    fn an_empty_script_is_recorded_as_its_text() {
        let record = StatementRecord::from_script(" ; ", &Script { statements: vec![], traceparent: None });
        assert_eq!((record.sql.as_str(), record.class.as_str(), record.kind.as_str()), (" ; ", "", ""));
    }
}
