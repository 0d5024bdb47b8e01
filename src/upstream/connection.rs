//! A connection to Postgres that has logged in, and what the proxy asks on it for itself.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::cancel::CancelTarget;
use super::cohort::Cohort;
use super::endpoint::Counted;
use super::{Applied, ConnectError, Link, Parameters, ServerRole, Settings, difference};
use crate::stream::Stream;
use crate::wire::{
    BodyError, HEADER, Reader, backend_header, error_field, put_bare, put_bind_head, put_execute, put_parse, put_query,
};

/// An upstream connection that has logged in.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub stream: Stream,
    /// Its protocol state.
    pub link: Link,
    /// How to cancel what it runs.
    pub cancel: Arc<CancelTarget>,
    /// Which host of the target it goes to.
    pub host: usize,
    /// What the server was at login; `None` of a server before 14 that nobody asked.
    pub role: Option<ServerRole>,
    /// Retired with the others to its address.
    pub(super) cohort: Cohort,
    /// When it was opened.
    pub opened: Instant,
    /// When it was last returned to the pool.
    pub idle_since: Instant,
    pub(super) _counted: Counted,
}

/// The server did not accept a session's settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is refused: SQLSTATE and message of the server.
    #[error("{message}")]
    Refused {
        /// SQLSTATE.
        sqlstate: String,
        /// Primary message.
        message: String,
    },
    /// The connection was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// The values of one row, as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

impl Connection {
    /// Makes the connection's settings these and returns the parameters a client with them is told.
    ///
    /// Not cancel safe: dropped halfway the connection is out of sync, and so not returned to its pool.
    pub async fn apply(&mut self, settings: &Settings) -> Result<Parameters, SettingsError> {
        if let Some(sql) = difference(&self.link.applied, settings) {
            if let Err(error) = self.query(&sql).await {
                // Half of it may have been done.
                self.link.in_sync = false;
                return Err(match error {
                    ConnectError::Refused { sqlstate, message } => SettingsError::Refused { sqlstate, message },
                    error => SettingsError::Connect(error),
                });
            }
            self.link.applied = Applied::Known(settings.clone());
        }
        Ok(self.link.parameters.clone())
    }

    /// What the server is, as it told at login; one older than 14 is asked.
    pub(super) async fn ask_role(&mut self) -> Result<ServerRole, ConnectError> {
        if let Some(role) = self.role {
            return Ok(role);
        }
        let rows = self
            .query("SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')")
            .await?;
        self.role = ServerRole::asked(&rows);
        self.role.ok_or_else(|| ConnectError::Protocol("no answer about recovery".to_owned()))
    }

    /// Runs a simple query of the proxy's own and returns its rows. An error of the server is [`ConnectError::Refused`].
    ///
    /// Not cancel safe: dropped halfway the connection is out of sync, and so not returned to its pool.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, ConnectError> {
        put_query(sql.as_bytes(), &mut self.link.outbox);
        self.exchange().await
    }

    /// Runs a query of the proxy's own with a text for its `$1`.
    ///
    /// Not cancel safe: dropped halfway the connection is out of sync.
    pub(super) async fn query_with(&mut self, sql: &str, value: &str) -> Result<Vec<Row>, ConnectError> {
        const TEXT: i32 = 25;
        let out = &mut self.link.outbox;
        let types = [&1_i16.to_be_bytes()[..], &TEXT.to_be_bytes()].concat();
        put_parse("", sql.as_bytes(), &types, out);
        let mut parameters = BytesMut::new();
        // All in text form, one parameter; results in text form.
        parameters.put_i16(0);
        parameters.put_i16(1);
        parameters.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        parameters.put_slice(value.as_bytes());
        parameters.put_i16(0);
        put_bind_head("", "", parameters.len(), out);
        out.put_slice(&parameters);
        put_execute("", out);
        put_bare(b'S', out);
        self.exchange().await
    }

    /// Asks for a ReadyForQuery and waits for it: the server is there, and has told what has changed.
    pub(super) async fn sync(&mut self) -> Result<(), ConnectError> {
        put_bare(b'S', &mut self.link.outbox);
        self.exchange().await.map(|_| ())
    }

    /// Sends what is in the outbox and takes in what the server answers, up to ReadyForQuery.
    async fn exchange(&mut self) -> Result<Vec<Row>, ConnectError> {
        self.link.in_sync = false;
        let sent = async {
            self.stream.write_all_buf(&mut self.link.outbox).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|e| self.cancel.io(e))?;
        let mut rows = vec![];
        let mut refused = None;
        loop {
            let header = backend_header(&self.link.inbox).map_err(protocol)?;
            let Some(header) = header.filter(|h| self.link.inbox.len() >= h.size) else {
                let read = self.stream.read_buf(&mut self.link.inbox).await;
                if read.map_err(|e| self.cancel.io(e))? == 0 {
                    return Err(self.cancel.io(io::ErrorKind::UnexpectedEof.into()));
                }
                continue;
            };
            let message = self.link.inbox.split_to(header.size);
            let body = &message[HEADER..];
            match header.tag {
                b'S' => {
                    self.link.learn(body);
                }
                b'D' => rows.push(row(body).map_err(protocol)?),
                b'E' => {
                    refused = Some(ConnectError::Refused {
                        sqlstate: error_field(body, b'C').unwrap_or_default(),
                        message: error_field(body, b'M').unwrap_or_default(),
                    });
                }
                b'Z' => break,
                _ => {}
            }
        }
        self.link.in_sync = true;
        refused.map_or(Ok(rows), Err)
    }
}

impl Connection {
    /// Says goodbye without waiting, as far as the socket takes it at once.
    pub fn close(self) {
        const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];
        let _sent = match &self.stream {
            Stream::Plain(tcp) => tcp.try_write(&TERMINATE),
            Stream::Unix(unix) => unix.try_write(&TERMINATE),
            Stream::TlsClient(_) | Stream::TlsServer(_) => Ok(0),
        };
    }
}

/// Reads a DataRow of text values.
fn row(body: &[u8]) -> Result<Row, BodyError> {
    let mut reader = Reader::new(body);
    let columns = reader.i16()?;
    (0..columns)
        .map(|_| {
            let size = reader.i32()?;
            // -1 is NULL.
            let value = usize::try_from(size).ok().map(|size| reader.bytes(size)).transpose()?;
            value.map(|bytes| str::from_utf8(bytes).map(str::to_owned).map_err(|_| BodyError::Encoding)).transpose()
        })
        .collect()
}

fn protocol(error: impl std::fmt::Display) -> ConnectError {
    ConnectError::Protocol(error.to_string())
}
