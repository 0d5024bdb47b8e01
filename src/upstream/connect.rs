//! Opening a connection to Postgres: socket, TLS as `sslmode` says, login.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::cancel::CancelTarget;
use super::{Applied, Link, Parameters, Settings, difference, login};
use crate::config::{SslMode, Target};
use crate::stream::Stream;
use crate::tls::{self, TlsSetupError};
use crate::wire::{HEADER, backend_header, error_field, put_query};

/// Where an upstream is and how to get in: a target with its TLS made ready.
#[derive(Debug)]
pub struct Endpoint {
    /// The target.
    pub target: Arc<Target>,
    tls: Option<Arc<ClientConfig>>,
}

/// Why a connection to Postgres could not be made. `Display` is meant for the operator's log; clients are told
/// [`ConnectError::client_text`], which names no host.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket could not be opened, or broke.
    #[error("cannot reach {host}:{port}: {source}")]
    Io {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// It took longer than `connect_timeout`.
    #[error("no connection to {host}:{port} within {seconds} s")]
    Timeout {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// The limit in seconds.
        seconds: u64,
    },
    /// The server does not offer TLS, but `sslmode` asks for it.
    #[error("{host}:{port} does not offer TLS, which sslmode asks for")]
    NoTls {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
    /// The server answered with an error.
    #[error("the server refused the login: {message} (SQLSTATE {sqlstate})")]
    Refused {
        /// SQLSTATE.
        sqlstate: String,
        /// Primary message.
        message: String,
    },
    /// The server asks for something not configured or not supported.
    #[error("{0}")]
    Authentication(String),
    /// The server speaks no Postgres.
    #[error("unexpected answer from the server: {0}")]
    Protocol(String),
}

impl ConnectError {
    /// What a client may know: no address, no server text that could name one.
    pub fn client_text(&self) -> &'static str {
        match self {
            ConnectError::Io { .. } => "The database server cannot be reached.",
            ConnectError::Timeout { .. } => "The database server does not answer.",
            ConnectError::NoTls { .. } => "The database server does not offer TLS.",
            ConnectError::Refused { sqlstate, .. } if sqlstate.starts_with("53") => {
                "The database server has no connection left."
            }
            ConnectError::Refused { sqlstate, .. } if sqlstate.starts_with("57") => {
                "The database server is starting up or shutting down."
            }
            ConnectError::Refused { .. } | ConnectError::Authentication(_) => {
                "The database server refused the proxy's login."
            }
            ConnectError::Protocol(_) => "The database server gave an answer that is not understood.",
        }
    }

    /// A short word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            ConnectError::Io { .. } => "io",
            ConnectError::Timeout { .. } => "timeout",
            ConnectError::NoTls { .. } => "no_tls",
            ConnectError::Refused { .. } => "refused",
            ConnectError::Authentication(_) => "authentication",
            ConnectError::Protocol(_) => "protocol",
        }
    }
}

/// An upstream connection that has logged in.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub stream: Stream,
    /// Its protocol state.
    pub link: Link,
    /// How to cancel what it runs.
    pub cancel: Arc<CancelTarget>,
    /// When it was opened.
    pub opened: Instant,
    /// When it was last returned to the pool.
    pub idle_since: Instant,
}

impl Endpoint {
    /// Makes the TLS of a target ready.
    pub fn new(target: Arc<Target>) -> Result<Self, TlsSetupError> {
        let tls = tls::client_config(target.sslmode, target.ca.as_deref())?;
        Ok(Self { target, tls })
    }

    /// Connects and logs in, within `connect_timeout`.
    ///
    /// Cancel safety: dropping it closes the half-made connection.
    pub async fn connect(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        self.in_time(async {
            let mut stream = self.open().await?;
            let logged_in = login::login(&mut stream, &self.target).await?;
            let cancel = CancelTarget::new(Arc::clone(self), logged_in.pid, logged_in.key);
            let now = Instant::now();
            Ok(Connection {
                stream,
                link: Link { pid: logged_in.pid, ..Link::new(logged_in.parameters) },
                cancel: Arc::new(cancel),
                opened: now,
                idle_since: now,
            })
        })
        .await
    }

    /// Opens the socket, with TLS as `sslmode` says, and sends nothing else.
    pub(super) async fn open(&self) -> Result<Stream, ConnectError> {
        let target = &self.target;
        if target.host.starts_with('/') {
            let path = PathBuf::from(&target.host).join(format!(".s.PGSQL.{}", target.port));
            return UnixStream::connect(path).await.map(Stream::Unix).map_err(|e| self.io(e));
        }
        let tcp = self.tcp().await?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        match self.upgrade(tcp, tls).await {
            Ok(stream) => Ok(stream),
            // libpq's `prefer`: a server whose TLS does not work is used without.
            Err(ConnectError::Io { .. }) if target.sslmode == SslMode::Prefer => self.tcp().await.map(Stream::Plain),
            Err(e) => Err(e),
        }
    }

    pub(super) async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        match tokio::time::timeout(self.target.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Timeout {
                host: self.target.host.clone(),
                port: self.target.port,
                seconds: self.target.connect_timeout.as_secs(),
            }),
        }
    }

    async fn tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = self.target.host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((host, self.target.port)).await.map_err(|e| self.io(e))?;
        // Without it each small request waits for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(|e| self.io(e))?;
        Ok(tcp)
    }

    /// SSLRequest and handshake (Postgres documentation, "SSL Session Encryption").
    async fn upgrade(&self, mut tcp: TcpStream, tls: &Arc<ClientConfig>) -> Result<Stream, ConnectError> {
        const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        tcp.write_all(&SSL_REQUEST).await.map_err(|e| self.io(e))?;
        // One byte and no more: what came behind it in plain text would be an injection (CVE-2021-23222).
        match tcp.read_u8().await.map_err(|e| self.io(e))? {
            b'S' => {
                let name = tls::server_name(&self.target.host).map_err(|e| self.io(e))?;
                let connector = TlsConnector::from(Arc::clone(tls));
                let stream = connector.connect(name, tcp).await.map_err(|e| self.io(e))?;
                Ok(Stream::TlsClient(Box::new(stream)))
            }
            b'N' if self.target.sslmode == SslMode::Prefer => Ok(Stream::Plain(tcp)),
            b'N' => Err(ConnectError::NoTls { host: self.target.host.clone(), port: self.target.port }),
            other => Err(ConnectError::Protocol(format!("byte {other} in answer to SSLRequest"))),
        }
    }

    pub(super) fn io(&self, source: io::Error) -> ConnectError {
        ConnectError::Io { host: self.target.host.clone(), port: self.target.port, source }
    }
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

impl Connection {
    /// Makes the connection's settings these and returns the parameters a client with them is told.
    ///
    /// Not cancel safe: dropped halfway the connection is out of sync, and so not returned to its pool.
    pub async fn apply(&mut self, settings: &Settings) -> Result<Parameters, SettingsError> {
        let Some(sql) = difference(&self.link.applied, settings) else { return Ok(self.link.parameters.clone()) };
        self.link.in_sync = false;
        put_query(sql.as_bytes(), &mut self.link.outbox);
        let lost = |e: io::Error| ConnectError::Protocol(format!("the connection was lost: {e}"));
        self.stream.write_all_buf(&mut self.link.outbox).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)?;
        let mut refused = None;
        loop {
            let header = backend_header(&self.link.inbox).map_err(|e| ConnectError::Protocol(e.to_string()))?;
            let Some(header) = header.filter(|h| self.link.inbox.len() >= h.size) else {
                if self.stream.read_buf(&mut self.link.inbox).await.map_err(lost)? == 0 {
                    return Err(lost(io::ErrorKind::UnexpectedEof.into()).into());
                }
                continue;
            };
            let message = self.link.inbox.split_to(header.size);
            let body = &message[HEADER..];
            match header.tag {
                b'S' => {
                    self.link.parameters.learn(body);
                }
                b'E' => {
                    refused = Some(SettingsError::Refused {
                        sqlstate: error_field(body, b'C').unwrap_or_default(),
                        message: error_field(body, b'M').unwrap_or_default(),
                    });
                }
                b'Z' => break,
                _ => {}
            }
        }
        match refused {
            Some(error) => Err(error),
            None => {
                self.link.applied = Applied::Known(settings.clone());
                self.link.in_sync = true;
                Ok(self.link.parameters.clone())
            }
        }
    }
}
