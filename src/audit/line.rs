//! The JSON of one record: fixed field order, absent fields left out, every text bounded. docs/audit.md documents each field.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use serde::Serialize;

use super::chain::Digest;
use super::clip::clip;
use super::record::{Record, StatementRecord};
use super::time;
use crate::policy::WouldDeny;

/// Longest SQL text in bytes.
pub(super) const MAX_SQL: usize = 16 << 10;
/// Longest other text that a client can choose, in bytes.
const MAX_TEXT: usize = 4 << 10;
/// Longest name: user, database, table …, in bytes. Postgres's own are 63.
const MAX_NAME: usize = 256;
/// Most names in a list.
const MAX_TABLES: usize = 100;
/// Longest parameter in bytes.
const MAX_PARAMETER: usize = 1 << 10;
/// Most bytes of all parameters together.
const MAX_PARAMETERS: usize = 16 << 10;
/// Most parameters.
const MAX_PARAMETER_COUNT: usize = 1000;
/// Longest detail of what a rule would have refused, in bytes.
const MAX_DETAIL: usize = 1 << 10;
/// Most rules of which that is told.
const MAX_WOULD_DENY: usize = 20;

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    prev: Digest,
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_deny: Vec<WouldDenyField<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Vec<Option<Cow<'a, str>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
}

/// What a rule in report mode would have done.
#[derive(Serialize)]
struct WouldDenyField<'a> {
    rule: &'static str,
    verdict: &'static str,
    detail: Cow<'a, str>,
}

/// Appends the record as a JSON object, without newline and without the `hash` field, which [`super::Chain`] adds.
pub(super) fn write(seq: u64, prev: Digest, time_us: i64, record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let session = record.session.as_deref();
    let statement = record.statement.as_deref();
    let line = Line {
        seq,
        prev,
        time: time::rfc3339(time_us),
        event: record.event.as_str(),
        session: session.map(|s| clip(&s.id, MAX_NAME)),
        statement: record.statement_no,
        user: session.map(|s| clip(&s.user, MAX_NAME)),
        role: session.and_then(|s| s.role).map(|r| r.as_str()),
        database: session.map(|s| clip(&s.database, MAX_NAME)),
        tier: session.and_then(|s| s.tier).map(|t| t.as_str()),
        client: session.and_then(|s| s.client),
        application_name: session.and_then(|s| s.application_name.as_deref()).map(|s| clip(s, MAX_NAME)),
        tls: session.and_then(|s| s.tls.as_deref()).map(|s| clip(s, MAX_TEXT)),
        reason: record.reason.as_deref().map(|s| clip(s, MAX_TEXT)),
        verdict: record.verdict,
        rule: record.rule,
        would_deny: would_deny(&record.would_deny),
        class: filled(statement, |s| &s.class, MAX_TEXT),
        kind: filled(statement, |s| &s.kind, MAX_TEXT),
        tables: statement.filter(|s| !s.tables.is_empty()).map(|s| tables(&s.tables)),
        sql: statement.map(|s| clip_sql(&s.sql)),
        fingerprint: filled(statement, |s| &s.fingerprint, MAX_TEXT),
        parameters: record.parameters.as_deref().map(parameters),
        estimated_rows: record.estimated_rows,
        estimated_cost: record.estimated_cost,
        rows: record.rows,
        bytes: record.bytes,
        duration_us: record.duration.map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)),
        sqlstate: record.sqlstate.as_deref().map(|s| clip(s, MAX_NAME)),
        traceparent: statement.and_then(|s| s.traceparent.as_deref()).map(|s| clip(s, MAX_NAME)),
        message: record.message.as_deref().map(|s| clip(s, MAX_TEXT)),
    };
    serde_json::to_writer(out, &line).map_err(io::Error::from)
}

/// A text of the statement; `None` when it is empty, as for a script without statements.
fn filled<'a>(
    statement: Option<&'a StatementRecord>,
    text: fn(&StatementRecord) -> &String,
    max: usize,
) -> Option<Cow<'a, str>> {
    statement.map(text).filter(|t| !t.is_empty()).map(|t| clip(t, max))
}

/// A text that `StatementRecord::from_script` has cut may be longer than [`MAX_SQL`] by its mark; it is not marked twice.
fn clip_sql(sql: &str) -> Cow<'_, str> {
    const MARK_ROOM: usize = 64;
    if sql.len() <= MAX_SQL + MARK_ROOM { Cow::Borrowed(sql) } else { clip(sql, MAX_SQL) }
}

fn tables(names: &[String]) -> Vec<Cow<'_, str>> {
    let mut out: Vec<_> = names.iter().take(MAX_TABLES).map(|t| clip(t, MAX_NAME)).collect();
    if names.len() > MAX_TABLES {
        out.push(Cow::Owned(format!("…[+{} tables]", names.len() - MAX_TABLES)));
    }
    out
}

fn would_deny(entries: &[WouldDeny]) -> Vec<WouldDenyField<'_>> {
    let fields = entries.iter().take(MAX_WOULD_DENY);
    fields
        .map(|entry| WouldDenyField {
            rule: entry.rule,
            verdict: entry.verdict,
            detail: clip(&entry.detail, MAX_DETAIL),
        })
        .collect()
}

fn parameters(values: &[Option<String>]) -> Vec<Option<Cow<'_, str>>> {
    let mut room = MAX_PARAMETERS;
    let mut out: Vec<_> = values
        .iter()
        .take(MAX_PARAMETER_COUNT)
        .map(|value| {
            value.as_deref().map(|text| {
                let max = MAX_PARAMETER.min(room);
                room -= text.len().min(max);
                clip(text, max)
            })
        })
        .collect();
    if values.len() > MAX_PARAMETER_COUNT {
        out.push(Some(Cow::Owned(format!("…[+{} parameters]", values.len() - MAX_PARAMETER_COUNT))));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::chain::MAX_LINE;
    use super::super::record::{Event, SessionContext};
    use super::*;
    use crate::config::{Role, Tier};

    fn json(record: &Record) -> String {
        let mut out = Vec::new();
        write(7, Digest::ZERO, 1, record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn would_deny(rule: &'static str, detail: &str) -> WouldDeny {
        let (message, hint) = Default::default();
        WouldDeny { rule, verdict: "deny", message, detail: detail.to_owned(), hint }
    }

    #[test]
    fn absent_fields_are_left_out() {
        assert_eq!(
            json(&Record::new(Event::ConfigReload)),
            format!(
                "{{\"seq\":7,\"prev\":\"{}\",\"time\":\"1970-01-01T00:00:00.000001Z\",\"event\":\"config.reload\"}}",
                "0".repeat(64)
            )
        );
    }

    #[test]
    fn a_full_record_has_every_field_in_its_documented_order() {
        let session = Arc::new(SessionContext {
            id: "1f-2".into(),
            user: "alice".into(),
            role: Some(Role::Engineer),
            database: "app".into(),
            tier: Some(Tier::Prod),
            client: Some("127.0.0.1:5000".parse().unwrap()),
            application_name: Some("psql".into()),
            tls: Some("TLSv1.3".into()),
        });
        let record = Record {
            statement: Some(Arc::new(StatementRecord {
                class: "WRITE".into(),
                kind: "DELETE".into(),
                tables: vec!["t".into()],
                sql: "DELETE FROM t -- \"x\"\n".into(),
                fingerprint: "abc".into(),
                traceparent: Some("00-1-2-01".into()),
            })),
            statement_no: Some(3),
            reason: Some("INC-42".into()),
            rule: Some("unbounded-write"),
            verdict: Some("deny"),
            would_deny: vec![would_deny("unbounded-write", "no WHERE")].into(),
            estimated_rows: Some(12),
            estimated_cost: Some(34.5),
            rows: Some(4),
            bytes: Some(5),
            duration: Some(Duration::from_micros(1500)),
            sqlstate: Some("42501".into()),
            parameters: Some(vec![Some("a".into()), None]),
            message: Some("no".into()),
            ..Record::of(Event::Deny, &session)
        };
        let text = json(&record);
        let rest = text.split_once("\"event\":").unwrap().1;
        assert_eq!(
            rest,
            "\"deny\",\"session\":\"1f-2\",\"statement\":3,\"user\":\"alice\",\"role\":\"engineer\",\"database\":\"app\",\
             \"tier\":\"prod\",\"client\":\"127.0.0.1:5000\",\"application_name\":\"psql\",\"tls\":\"TLSv1.3\",\
             \"reason\":\"INC-42\",\"verdict\":\"deny\",\"rule\":\"unbounded-write\",\
             \"would_deny\":[{\"rule\":\"unbounded-write\",\"verdict\":\"deny\",\"detail\":\"no WHERE\"}],\"class\":\"WRITE\",\"kind\":\"DELETE\",\
             \"tables\":[\"t\"],\"sql\":\"DELETE FROM t -- \\\"x\\\"\\n\",\"fingerprint\":\"abc\",\
             \"parameters\":[\"a\",null],\"estimated_rows\":12,\"estimated_cost\":34.5,\"rows\":4,\"bytes\":5,\"duration_us\":1500,\"sqlstate\":\"42501\",\
             \"traceparent\":\"00-1-2-01\",\"message\":\"no\"}"
        );
    }

    #[test]
    fn the_largest_record_a_client_can_cause_stays_below_the_line_limit() {
        // U+0001 is the worst case: one byte becomes six.
        let huge = "\u{1}".repeat(1 << 20);
        let session = Arc::new(SessionContext {
            id: huge.clone(),
            user: huge.clone(),
            role: Some(Role::Engineer),
            database: huge.clone(),
            tier: Some(Tier::Prod),
            client: None,
            application_name: Some(huge.clone()),
            tls: Some(huge.clone()),
        });
        let record = Record {
            statement: Some(Arc::new(StatementRecord {
                class: huge.clone(),
                kind: huge.clone(),
                tables: vec![huge.clone(); 200],
                sql: huge.clone(),
                fingerprint: huge.clone(),
                traceparent: Some(huge.clone()),
            })),
            reason: Some(huge.as_str().into()),
            would_deny: vec![would_deny("unbounded-write", &huge); 1000].into(),
            sqlstate: Some(huge.clone()),
            parameters: Some(std::iter::repeat_n(Some("\u{1}".repeat(2000)), 65_535).collect()),
            message: Some(huge.clone()),
            ..Record::of(Event::Result, &session)
        };
        let text = json(&record);
        assert!(text.len() < MAX_LINE * 3 / 4, "{}", text.len());
        assert!(text.contains("…[+100 tables]") && text.contains("…[+64535 parameters]"));
    }
}
