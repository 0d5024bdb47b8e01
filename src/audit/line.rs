//! The JSON of one record: fixed field order, absent fields left out, every text bounded. docs/audit.md documents each field.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::chain::Digest;
use super::clip::clip;
use super::record::{Record, SessionContext, StatementRecord, Written};
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

/// Appends the record as a JSON object, without newline and without the `hash` field, which [`super::Chain`] adds.
pub(super) fn write(seq: u64, prev: Digest, time_us: i64, record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let session = record.session.as_deref();
    let statement = record.statement.as_deref();
    let mut object = Object::open(out);
    object.value("seq", Some(&seq))?;
    object.plain("prev", prev.hex().as_slice());
    object.plain("time", time::rfc3339(time_us).as_bytes());
    object.plain("event", record.event.as_str().as_bytes());
    object.text("session", session.map(|s| clip(&s.id, MAX_NAME)))?;
    object.value("statement", record.statement_no.as_ref())?;
    match session {
        Some(session) if statement.is_some() => object.once(&session.written, |object| who(session, object))?,
        // A session that has run nothing keeps nothing: an idle client is to be small.
        Some(session) => who(session, &mut object)?,
        None => {}
    }
    object.text("reason", record.reason.as_deref().map(|s| clip(s, MAX_TEXT)))?;
    object.text("verdict", record.verdict.map(Cow::Borrowed))?;
    object.text("rule", record.rule.map(Cow::Borrowed))?;
    object.list("would_deny", would_deny(&record.would_deny))?;
    if let Some(statement) = statement {
        object.once(&statement.written, |object| what(statement, object))?;
    }
    object.value("parameters", record.parameters.as_deref().map(parameters).as_ref())?;
    object.value("estimated_rows", record.estimated_rows.as_ref())?;
    object.value("estimated_cost", record.estimated_cost.as_ref())?;
    object.value("rows", record.rows.as_ref())?;
    object.value("bytes", record.bytes.as_ref())?;
    object.value("duration_us", record.duration.map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)).as_ref())?;
    object.text("sqlstate", record.sqlstate.as_deref().map(|s| clip(s, MAX_NAME)))?;
    object.text("traceparent", statement.and_then(|s| s.traceparent.as_deref()).map(|s| clip(s, MAX_NAME)))?;
    object.text("message", record.message.as_deref().map(|s| clip(s, MAX_TEXT)))?;
    object.close();
    Ok(())
}

/// The fields that are the same in every record of a session.
fn who(session: &SessionContext, object: &mut Object<'_>) -> io::Result<()> {
    object.text("user", Some(clip(&session.user, MAX_NAME)))?;
    object.text("role", session.role.map(|role| role.as_str().into()))?;
    object.text("database", Some(clip(&session.database, MAX_NAME)))?;
    object.text("tier", session.tier.map(|tier| tier.as_str().into()))?;
    object.value("client", session.client.as_ref())?;
    object.text("application_name", session.application_name.as_deref().map(|s| clip(s, MAX_NAME)))?;
    object.text("tls", session.tls.as_deref().map(|s| clip(s, MAX_TEXT)))
}

/// The fields that are the same in every record of a text.
fn what(statement: &StatementRecord, object: &mut Object<'_>) -> io::Result<()> {
    object.text("class", filled(&statement.class))?;
    object.text("kind", filled(&statement.kind))?;
    object.list("tables", tables(&statement.tables))?;
    object.text("sql", Some(clip_sql(&statement.sql)))?;
    object.text("fingerprint", filled(&statement.fingerprint))
}

/// A JSON object that is being written. What is `None` or empty is left out; serde_json writes all but the texts that need no
/// escape, which are nearly all of a line.
struct Object<'o>(&'o mut Vec<u8>);

impl<'o> Object<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self(out)
    }

    fn close(self) {
        self.0.push(b'}');
    }

    /// Fields that stand in many records: written once, and copied from then on. They are never the first ones.
    fn once(&mut self, written: &Written, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if let Some(fields) = written.get() {
            self.0.extend_from_slice(fields);
            return Ok(());
        }
        let start = self.0.len();
        write(self)?;
        written.keep(&self.0[start..]);
        Ok(())
    }

    fn key(&mut self, key: &'static str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A text of the proxy's own, which needs no escape.
    fn plain(&mut self, key: &'static str, text: &[u8]) {
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
    }

    fn text(&mut self, key: &'static str, text: Option<Cow<'_, str>>) -> io::Result<()> {
        match text {
            None => Ok(()),
            Some(text) if is_plain(&text) => {
                self.plain(key, text.as_bytes());
                Ok(())
            }
            Some(text) => self.value(key, Some(&text)),
        }
    }

    fn value(&mut self, key: &'static str, value: Option<&impl Serialize>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        self.key(key);
        serde_json::to_writer(&mut *self.0, value).map_err(io::Error::from)
    }

    fn list(&mut self, key: &'static str, list: Vec<impl Serialize>) -> io::Result<()> {
        self.value(key, Some(&list).filter(|list| !list.is_empty()))
    }
}

/// Whether JSON writes a text as it is (RFC 8259, section 7). All of it is looked at, which is faster than stopping early.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

/// What a rule in report mode would have done.
#[derive(Serialize)]
struct WouldDenyField<'a> {
    rule: &'static str,
    verdict: &'static str,
    detail: Cow<'a, str>,
}

/// A text of the statement; `None` when it is empty, as for a script without statements.
fn filled(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then(|| clip(text, MAX_TEXT))
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
    use super::super::record::{Event, SessionContext, StatementRecord};
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
            ..SessionContext::default()
        });
        let record = Record {
            statement: Some(Arc::new(StatementRecord {
                class: "WRITE".into(),
                kind: "DELETE".into(),
                tables: vec!["t".into()],
                sql: "DELETE FROM t -- \"x\"\n".into(),
                fingerprint: "abc".into(),
                traceparent: Some("00-1-2-01".into()),
                written: Written::default(),
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
        assert_eq!(json(&record), text, "what was kept of the first is the same");
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
    fn a_text_is_escaped_wherever_the_character_stands() {
        for c in (0..0x100).filter_map(char::from_u32).chain(['\u{2028}', '\u{1f600}']) {
            for text in [format!("{c}"), format!("{c}abc"), format!("abc{c}"), format!("{}{c}{}", "x".repeat(40), "y")]
            {
                let line = json(&Record { message: Some(text.clone()), ..Record::new(Event::Admin) });
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(read["message"], *text, "{c:?}");
            }
        }
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
            ..SessionContext::default()
        });
        let record = Record {
            statement: Some(Arc::new(StatementRecord {
                class: huge.clone(),
                kind: huge.clone(),
                tables: vec![huge.clone(); 200],
                sql: huge.clone(),
                fingerprint: huge.clone(),
                traceparent: Some(huge.clone()),
                written: Written::default(),
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
