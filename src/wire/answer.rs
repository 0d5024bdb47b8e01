//! Building the messages that the proxy itself sends, to clients and to the server.

use bytes::{BufMut, BytesMut};
use pgwire::error::PgWireResult;
use pgwire::messages::Message;
use pgwire::messages::data::{DataRow, FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion, ParameterStatus};

use super::Reader;

/// How bad an error is (Postgres documentation, "Error and Notice Message Fields").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
    /// Nothing failed.
    Notice,
    /// Nothing failed, but look at it.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
        }
    }
}

/// What an error or notice of the proxy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Severity.
    pub severity: Severity,
    /// SQLSTATE.
    pub sqlstate: &'static str,
    /// Primary message.
    pub message: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
    /// The routine of the server's source that such an error comes from, where drivers look at it.
    pub routine: Option<&'static str>,
}

impl Report {
    /// An error.
    pub fn error(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, sqlstate, message: message.into(), detail: None, hint: None, routine: None }
    }

    /// An error that ends the session.
    pub fn fatal(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(sqlstate, message) }
    }

    /// The same, ending the session.
    pub fn ending_session(self) -> Self {
        Self { severity: Severity::Fatal, ..self }
    }

    /// A notice (SQLSTATE 00000).
    pub fn notice(message: impl Into<String>) -> Self {
        Self { severity: Severity::Notice, ..Self::error("00000", message) }
    }

    /// Adds a DETAIL.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a HINT.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a ROUTINE.
    pub fn routine(self, routine: &'static str) -> Self {
        Self { routine: Some(routine), ..self }
    }

    /// Appends it as ErrorResponse or NoticeResponse.
    pub fn write(&self, out: &mut BytesMut) {
        let mut fields = vec![
            (b'S', self.severity.as_str().to_owned()),
            (b'V', self.severity.as_str().to_owned()),
            (b'C', self.sqlstate.to_owned()),
            (b'M', no_nul(&self.message)),
        ];
        fields.extend(self.detail.as_deref().map(|d| (b'D', no_nul(d))));
        fields.extend(self.hint.as_deref().map(|h| (b'H', no_nul(h))));
        fields.extend(self.routine.map(|r| (b'R', r.to_owned())));
        let written = match self.severity {
            Severity::Error | Severity::Fatal => ErrorResponse::new(fields).encode(out),
            Severity::Notice | Severity::Warning => NoticeResponse::new(fields).encode(out),
        };
        if written.is_err() {
            // Only an overlong text can fail; it still has to be a well-formed answer (invariant 5).
            let short = vec![
                (b'S', self.severity.as_str().to_owned()),
                (b'V', self.severity.as_str().to_owned()),
                (b'C', self.sqlstate.to_owned()),
                (b'M', "message too long to be shown".to_owned()),
            ];
            put(ErrorResponse::new(short), out);
        }
    }
}

/// Texts of messages are NUL-terminated, and an error longer than libpq's limit would not be read.
fn no_nul(text: &str) -> String {
    let mut clean: String = text.chars().filter(|&c| c != '\0').take(4000).collect();
    if clean.len() < text.len() && clean.chars().count() == 4000 {
        clean.push('…');
    }
    clean
}

fn put(message: impl Message, out: &mut BytesMut) {
    let before = out.len();
    let written: PgWireResult<()> = message.encode(out);
    if written.is_err() {
        out.truncate(before);
    }
}

/// AuthenticationOk.
pub fn put_authentication(message: Authentication, out: &mut BytesMut) {
    put(message, out);
}

/// BackendKeyData; the key has 4 bytes in protocol 3.0 and up to 256 in 3.2.
pub fn put_backend_key(pid: u32, key: &[u8], out: &mut BytesMut) {
    out.put_u8(b'K');
    out.put_i32(8 + i32::try_from(key.len()).unwrap_or(0));
    out.put_u32(pid);
    out.put_slice(key);
}

/// ParameterStatus.
pub fn put_parameter_status(name: &str, value: &str, out: &mut BytesMut) {
    put(ParameterStatus::new(name.to_owned(), value.to_owned()), out);
}

/// NegotiateProtocolVersion: the newest minor version spoken here and the protocol options not known.
pub fn put_negotiate_version(minor: u16, options: Vec<String>, out: &mut BytesMut) {
    put(NegotiateProtocolVersion::new((3 << 16) | i32::from(minor), options), out);
}

/// ReadyForQuery.
pub fn put_ready(status: TransactionState, out: &mut BytesMut) {
    put(ReadyForQuery::new(status.into()), out);
}

/// CommandComplete.
pub fn put_command_complete(tag: &str, out: &mut BytesMut) {
    put(CommandComplete::new(tag.to_owned()), out);
}

/// EmptyQueryResponse.
pub fn put_empty_query(out: &mut BytesMut) {
    put(EmptyQueryResponse::new(), out);
}

/// ParseComplete.
pub fn put_parse_complete(out: &mut BytesMut) {
    put(ParseComplete::new(), out);
}

/// BindComplete.
pub fn put_bind_complete(out: &mut BytesMut) {
    put(BindComplete::new(), out);
}

/// CloseComplete.
pub fn put_close_complete(out: &mut BytesMut) {
    put(CloseComplete::new(), out);
}

/// NoData.
pub fn put_no_data(out: &mut BytesMut) {
    put(NoData::new(), out);
}

/// ParameterDescription without parameters.
pub fn put_no_parameters(out: &mut BytesMut) {
    put(ParameterDescription::new(vec![]), out);
}

/// RowDescription of columns of type text.
pub fn put_text_columns(names: &[&str], out: &mut BytesMut) {
    const TEXT: u32 = 25;
    let columns = names.iter().map(|n| FieldDescription::new((*n).to_owned(), 0, 0, TEXT, -1, -1, 0)).collect();
    put(RowDescription::new(columns), out);
}

/// DataRow of text values.
pub fn put_text_row(values: &[&str], out: &mut BytesMut) {
    let mut data = BytesMut::new();
    for value in values {
        data.put_i32(i32::try_from(value.len()).unwrap_or(0));
        data.put_slice(value.as_bytes());
    }
    put(DataRow::new(data, i16::try_from(values.len()).unwrap_or(0)), out);
}

/// Query.
pub fn put_query(sql: &[u8], out: &mut BytesMut) {
    put_header(b'Q', sql.len() + 1, out);
    out.put_slice(sql);
    out.put_u8(0);
}

/// FunctionCall; `body` as the client sent it.
pub fn put_function_call(body: &[u8], out: &mut BytesMut) {
    put_header(b'F', body.len(), out);
    out.put_slice(body);
}

/// Parse; `types` is the count and the OIDs as the client sent them.
pub fn put_parse(name: &str, sql: &[u8], types: &[u8], out: &mut BytesMut) {
    put_header(b'P', name.len() + 1 + sql.len() + 1 + types.len(), out);
    put_cstr(name, out);
    out.put_slice(sql);
    out.put_u8(0);
    out.put_slice(types);
}

/// The front of a Bind: everything before its parameters, of which `rest` bytes will follow.
pub fn put_bind_head(portal: &str, statement: &str, rest: usize, out: &mut BytesMut) {
    put_header(b'B', portal.len() + 1 + statement.len() + 1 + rest, out);
    put_cstr(portal, out);
    put_cstr(statement, out);
}

/// Describe or Close (`tag`) of a statement (`S`) or portal (`P`).
pub fn put_target(tag: u8, kind: u8, name: &str, out: &mut BytesMut) {
    put_header(tag, 1 + name.len() + 1, out);
    out.put_u8(kind);
    put_cstr(name, out);
}

/// Execute without a row limit.
pub fn put_execute(portal: &str, out: &mut BytesMut) {
    put_header(b'E', portal.len() + 1 + 4, out);
    put_cstr(portal, out);
    out.put_i32(0);
}

/// A message without a body: Sync, Flush, Terminate.
pub fn put_bare(tag: u8, out: &mut BytesMut) {
    put_header(tag, 0, out);
}

fn put_header(tag: u8, body: usize, out: &mut BytesMut) {
    out.reserve(body + super::HEADER);
    out.put_u8(tag);
    // Bodies are bounded by MAX_MESSAGE before they get here.
    out.put_i32(i32::try_from(body + 4).unwrap_or(i32::MAX));
}

fn put_cstr(text: &str, out: &mut BytesMut) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

/// The transaction status of ReadyForQuery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionState {
    /// `I`: not in a transaction block.
    #[default]
    Idle,
    /// `T`: in one.
    InBlock,
    /// `E`: in one that failed.
    Failed,
}

impl TransactionState {
    /// Reads the status byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(TransactionState::Idle),
            b'T' => Some(TransactionState::InBlock),
            b'E' => Some(TransactionState::Failed),
            _ => None,
        }
    }
}

impl From<TransactionState> for TransactionStatus {
    fn from(state: TransactionState) -> Self {
        match state {
            TransactionState::Idle => TransactionStatus::Idle,
            TransactionState::InBlock => TransactionStatus::Transaction,
            TransactionState::Failed => TransactionStatus::Error,
        }
    }
}

/// One field of an ErrorResponse's or NoticeResponse's body, lossily: for logs and the audit trail only.
pub fn error_field(body: &[u8], wanted: u8) -> Option<String> {
    let mut reader = Reader::new(body);
    loop {
        match reader.u8().ok()? {
            0 => return None,
            code => {
                let value = reader.cstr().ok()?;
                if code == wanted {
                    return Some(String::from_utf8_lossy(value).into_owned());
                }
            }
        }
    }
}

/// An ErrorResponse whose position (field `P`, in characters) is moved by `by`: a statement that was sent alone is a part of
/// a longer text for the client, and one that was sent in an EXPLAIN of a shorter one. A position before its text is left out.
pub fn put_shifted_error(body: &[u8], by: isize, out: &mut BytesMut) {
    put_changed_error(body, out, |field, value| if field == b'P' { shifted_position(value, by) } else { None });
}

/// A position moved by `by`, as [`put_changed_error`] takes it.
pub fn shifted_position(value: &str, by: isize) -> Option<Option<String>> {
    let position = value.parse::<isize>().ok()?.saturating_add(by);
    Some((position >= 1).then(|| position.to_string()))
}

/// An ErrorResponse whose primary message has another name of something in it.
pub fn put_renamed_error(body: &[u8], from: &str, to: &str, out: &mut BytesMut) {
    put_changed_error(body, out, |field, value| (field == b'M').then(|| Some(value.replace(from, to))));
}

/// An ErrorResponse with fields changed, where `change` gives them another value, or left out, where it gives none.
pub fn put_changed_error(body: &[u8], out: &mut BytesMut, change: impl Fn(u8, &str) -> Option<Option<String>>) {
    let mut changed = BytesMut::with_capacity(body.len() + 8);
    let mut reader = Reader::new(body);
    while let Ok(code) = reader.u8() {
        let Ok(value) = reader.cstr() else { break };
        let new = std::str::from_utf8(value).ok().and_then(|value| change(code, value));
        if new == Some(None) {
            continue;
        }
        changed.put_u8(code);
        changed.put_slice(new.flatten().as_deref().map_or(value, str::as_bytes));
        changed.put_u8(0);
    }
    changed.put_u8(0);
    put_header(b'E', changed.len(), out);
    out.put_slice(&changed);
}

/// The row count at the end of a command tag (`INSERT 0 5`, `UPDATE 5`, `SELECT 5`, `COPY 5`), where it has one.
pub fn tag_rows(tag: &[u8]) -> Option<u64> {
    let digits = tag.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let number = tag.get(tag.len() - digits..)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_an_error_response() {
        let mut out = BytesMut::new();
        Report::error("42501", "no\0").detail("D").hint("H").write(&mut out);
        assert_eq!(out[0], b'E');
        assert_eq!(error_field(&out[5..], b'C').as_deref(), Some("42501"));
        assert_eq!(error_field(&out[5..], b'M').as_deref(), Some("no"));
        assert_eq!(error_field(&out[5..], b'D').as_deref(), Some("D"));
        assert_eq!(error_field(&out[5..], b'H').as_deref(), Some("H"));
        assert_eq!(error_field(&out[5..], b'X'), None);
    }

    #[test]
    fn an_overlong_report_is_still_an_answer() {
        let mut out = BytesMut::new();
        Report::error("42501", "x".repeat(1 << 20)).detail("y".repeat(1 << 20)).write(&mut out);
        assert_eq!(out[0], b'E');
        assert!(out.len() < 30_000);
    }

    #[test]
    fn a_moved_error_says_the_same_elsewhere() {
        for (position, moved) in [("7", "12"), ("18446744073709551615", "18446744073709551615"), ("x", "x")] {
            let body = format!("SERROR\0Mno\0P{position}\0\0");
            let mut out = BytesMut::new();
            put_shifted_error(body.as_bytes(), 5, &mut out);
            assert_eq!(error_field(&out[5..], b'P').as_deref(), Some(moved));
            assert_eq!(error_field(&out[5..], b'M').as_deref(), Some("no"));
        }
    }

    #[test]
    fn rows_stand_at_the_end_of_a_tag() {
        assert_eq!(tag_rows(b"INSERT 0 5"), Some(5));
        assert_eq!(tag_rows(b"UPDATE 123"), Some(123));
        assert_eq!(tag_rows(b"BEGIN"), None);
        assert_eq!(tag_rows(b""), None);
    }

    #[test]
    fn built_messages_have_honest_lengths() {
        let mut out = BytesMut::new();
        put_query(b"SELECT 1", &mut out);
        put_parse("s", b"SELECT 1", &[0, 0], &mut out);
        put_bind_head("", "s", 0, &mut out);
        put_target(b'D', b'S', "s", &mut out);
        put_execute("", &mut out);
        put_bare(b'S', &mut out);
        let mut rest = &out[..];
        let mut tags = vec![];
        while let Some(header) = crate::wire::frontend_header(rest).unwrap() {
            tags.push(header.tag);
            rest = &rest[header.size..];
        }
        assert_eq!(tags, b"QPBDES");
        assert!(rest.is_empty());
    }
}
