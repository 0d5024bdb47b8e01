//! From the first byte to an authenticated session: encryption, protocol version, SCRAM, tier, settings.
//!
//! Everything is read by its exact length, so nothing a client sends ahead of its turn is ever taken for something else: bytes
//! behind an SSLRequest go to the TLS handshake (CVE-2021-3935), and no statement is read before authentication has ended.

mod admit;
mod authenticate;
mod options;
mod places;
mod scram;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::audit::{Event, Record, SessionContext, Written};
use crate::auth::ClientIdentity;
use crate::policy::sqlstate;
use crate::server::{Runtime, Server};
use crate::session::Session;
use crate::stream::Stream;
use crate::tls;
use crate::wire::{Report, StartupPacket, put_negotiate_version, startup_size};
use options::{Parameters, StartupOptions};
pub use places::{Owner, Place, Places};

/// Newest minor protocol version spoken: 3.2.
const NEWEST_MINOR: u16 = 2;

/// Most encryption requests of one client.
const MAX_REQUESTS: usize = 3;

/// Why a start-up ended without a session.
#[derive(Debug)]
enum Refused {
    /// The client was told this, or is to be.
    Told(Report),
    /// Nothing can be told any more.
    Gone(io::Error),
    /// It was a CancelRequest, which gets no answer.
    Cancel,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Gone(error)
    }
}

/// Takes a connection through the start-up. `None` when there is no session: the client was told why, where it can be.
pub async fn start(
    server: Arc<Server>,
    tcp: TcpStream,
    peer: SocketAddr,
    admission: Admission,
) -> Option<Box<Session>> {
    let limit = server.runtime().config.listen.login_timeout;
    let startup = Startup {
        server: Arc::clone(&server),
        stream: Some(Stream::Plain(tcp)),
        peer,
        admission,
        tls: None,
        end_point: None,
        certificate: None,
        minor: 0,
    };
    match tokio::time::timeout(limit, startup.run()).await {
        Ok(session) => session,
        Err(_) => {
            server.metrics.auth_failure("timeout");
            None
        }
    }
}

/// Whether there is room for one more client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is.
    Welcome,
    /// There is not: the client is told so once it has said who it is, when clients read errors; a cancel is still taken.
    Full,
}

struct Startup {
    server: Arc<Server>,
    stream: Option<Stream>,
    peer: SocketAddr,
    admission: Admission,
    /// The TLS session in words, for the audit trail.
    tls: Option<String>,
    /// What a login can be bound to.
    end_point: Option<Arc<[u8]>>,
    /// The client's certificate, signed by a CA of `client_ca`.
    certificate: Option<ClientIdentity>,
    minor: u16,
}

impl Startup {
    async fn run(mut self) -> Option<Box<Session>> {
        match self.go().await {
            Ok(session) => Some(session),
            Err(Refused::Told(report)) => {
                let mut out = BytesMut::new();
                report.write(&mut out);
                let _told = self.send(&mut out).await;
                if let Some(stream) = &mut self.stream {
                    let _closed = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
                }
                None
            }
            Err(Refused::Gone(error)) => {
                tracing::debug!(peer = %self.peer, %error, "client gone before it was authenticated");
                None
            }
            Err(Refused::Cancel) => {
                // Under TLS an end without close_notify would look like an attack to the client.
                if let Some(stream) = &mut self.stream {
                    let _closed = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
                }
                None
            }
        }
    }

    async fn go(&mut self) -> Result<Box<Session>, Refused> {
        let runtime = self.server.runtime();
        let raw = self.negotiate(&runtime).await?;
        if self.server.refuses_logins() {
            self.server.metrics.connection_refused("draining");
            return Err(told("57P03", "pgbelay is stopping").hint("Connect again in a moment.").into());
        }
        if self.admission == Admission::Full {
            self.server.metrics.connection_refused("too_many_clients");
            return Err(told(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                .detail("pgbelay has as many clients as [listen] max_clients allows.")
                .hint("Close connections that are not used, or have max_clients raised.")
                .into());
        }
        let options = StartupOptions::read(raw).map_err(|report| Refused::Told(*report))?;
        let login = self.authenticate(&runtime, &options).await?;
        self.admit(&runtime, login, options).await
    }

    /// Encryption requests, up to the StartupMessage; returns its parameters.
    async fn negotiate(&mut self, runtime: &Runtime) -> Result<Parameters, Refused> {
        self.direct_tls(runtime).await?;
        for _ in 0..=MAX_REQUESTS {
            match self.read_packet().await? {
                StartupPacket::Ssl if self.is_encrypted() => {
                    return Err(violation("SSLRequest inside an encrypted connection").into());
                }
                StartupPacket::Ssl => match &runtime.tls {
                    Some(acceptor) => {
                        self.answer_byte(b'S').await?;
                        self.accept_tls(acceptor.clone(), false).await?;
                    }
                    None => self.answer_byte(b'N').await?,
                },
                StartupPacket::GssEnc => self.answer_byte(b'N').await?,
                StartupPacket::Cancel { pid, key } => {
                    if let Some(control) = self.server.sessions.find(pid, &key)
                        && let Err(error) = control.cancel_statement().await
                    {
                        tracing::warn!(%error, "cancel could not be sent");
                    }
                    return Err(Refused::Cancel);
                }
                StartupPacket::Startup { major, minor, parameters } => {
                    self.negotiate_version(major, minor, &parameters).await?;
                    let is_required = runtime.config.listen.tls.as_ref().is_some_and(|t| t.required);
                    if is_required && !self.is_encrypted() {
                        self.server.metrics.connection_refused("tls_required");
                        return Err(told(sqlstate::INVALID_AUTHORIZATION, "connections must be encrypted")
                            .hint("Connect with sslmode=require, or better verify-full.")
                            .into());
                    }
                    return Ok(parameters);
                }
            }
        }
        Err(violation("too many encryption requests").into())
    }

    /// TLS without an SSLRequest (`sslnegotiation=direct`): the first byte is that of a TLS handshake record.
    async fn direct_tls(&mut self, runtime: &Runtime) -> Result<(), Refused> {
        const TLS_HANDSHAKE: u8 = 0x16;
        let Some(Stream::Plain(tcp)) = &self.stream else { return Ok(()) };
        let mut first = [0];
        if tcp.peek(&mut first).await? == 0 {
            return Err(Refused::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        if first[0] != TLS_HANDSHAKE {
            return Ok(());
        }
        match &runtime.tls {
            Some(acceptor) => self.accept_tls(acceptor.clone(), true).await,
            None => {
                Err(Refused::Gone(io::Error::new(io::ErrorKind::InvalidData, "direct TLS, but no TLS is configured")))
            }
        }
    }

    async fn accept_tls(&mut self, tls: tls::Acceptor, direct: bool) -> Result<(), Refused> {
        let Some(Stream::Plain(tcp)) = self.stream.take() else {
            return Err(violation("TLS inside TLS").into());
        };
        let stream = match tls.acceptor.accept(tcp).await {
            Ok(stream) => stream,
            Err(error) => {
                // The client is told by a TLS alert, in words of its own.
                if let Some(why) = tls::refused_certificate(&error) {
                    self.server.metrics.auth_failure("certificate");
                    let why = format!("client certificate refused: {why}");
                    self.record_stranger(&why);
                }
                return Err(Refused::Gone(error));
            }
        };
        let session = stream.get_ref().1;
        if direct && session.alpn_protocol() != Some(tls::ALPN) {
            let missing = io::Error::new(io::ErrorKind::InvalidData, "direct TLS without ALPN \"postgresql\"");
            return Err(Refused::Gone(missing));
        }
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(|certificate| ClientIdentity::read(certificate)).transpose();
        self.tls = Some(match &certificate {
            Ok(Some(certificate)) => format!("{version}, client certificate {certificate}"),
            Ok(None) => version.to_owned(),
            Err(error) => format!("{version}, client certificate that cannot be read: {error}"),
        });
        self.certificate = certificate.ok().flatten();
        self.end_point = tls.end_point;
        self.stream = Some(Stream::TlsServer(Box::new(stream)));
        Ok(())
    }

    fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Protocol 3.0 and 3.2; anything newer is negotiated down (Postgres documentation, "Protocol Versions").
    async fn negotiate_version(&mut self, major: u16, minor: u16, parameters: &Parameters) -> Result<(), Refused> {
        if major != 3 {
            return Err(told(
                sqlstate::NOT_SUPPORTED,
                format!("unsupported frontend protocol {major}.{minor}: pgbelay supports 3.0 to 3.{NEWEST_MINOR}"),
            )
            .into());
        }
        let unknown: Vec<String> =
            parameters.iter().map(|(name, _)| name).filter(|name| name.starts_with("_pq_.")).cloned().collect();
        // 3.1 was never released.
        self.minor = match minor {
            0 | 1 => 0,
            _ => NEWEST_MINOR,
        };
        if self.minor != minor || !unknown.is_empty() {
            let mut out = BytesMut::new();
            put_negotiate_version(self.minor, unknown, &mut out);
            self.send(&mut out).await?;
        }
        Ok(())
    }

    fn record_refusal(&self, options: &StartupOptions, code: &str, why: &str) {
        let (user, database) = (options.user.clone(), options.database.clone());
        self.record_failure(user, database, options.application_name(), code, why);
    }

    /// A login refused before the client has said who it is.
    fn record_stranger(&self, why: &str) {
        self.record_failure(String::new(), String::new(), None, sqlstate::INVALID_AUTHORIZATION, why);
    }

    fn record_failure(&self, user: String, database: String, application: Option<&str>, code: &str, why: &str) {
        let context = SessionContext {
            id: self.server.next_session_id(),
            user,
            role: None,
            database,
            tier: None,
            client: Some(self.peer),
            application_name: application.map(str::to_owned),
            tls: self.tls.clone(),
            written: Written::default(),
        };
        self.server.record(Record {
            sqlstate: Some(code.to_owned()),
            message: Some(why.to_owned()),
            ..Record::of(Event::AuthFail, &Arc::new(context))
        });
    }

    async fn read_packet(&mut self) -> Result<StartupPacket, Refused> {
        let Some(stream) = &mut self.stream else { return Err(Refused::Gone(io::ErrorKind::NotConnected.into())) };
        let mut packet = vec![0; 4];
        stream.read_exact(&mut packet).await?;
        let size = match startup_size(&packet) {
            Ok(Some(size)) => size,
            Ok(None) | Err(_) => {
                self.server.metrics.protocol_error();
                // Postgres does not answer either (ProcessStartupPacket): this may be anything, and a Terminate of a client that
                // has thought better of it.
                let why = io::Error::new(io::ErrorKind::InvalidData, "invalid length of startup packet");
                return Err(Refused::Gone(why));
            }
        };
        packet.resize(size, 0);
        stream.read_exact(&mut packet[4..]).await?;
        StartupPacket::read(&packet).map_err(|_| {
            self.server.metrics.protocol_error();
            violation("invalid startup packet layout").into()
        })
    }

    async fn answer_byte(&mut self, byte: u8) -> Result<(), Refused> {
        self.send(&mut BytesMut::from(&[byte][..])).await.map_err(Refused::Gone)
    }

    /// Waits for something as long as the client is there: whoever hung up keeps no place in a queue.
    async fn while_connected<T>(&self, waiting: impl Future<Output = T>) -> Result<T, Refused> {
        let Some(stream) = &self.stream else { return Err(Refused::Gone(io::ErrorKind::NotConnected.into())) };
        tokio::select! {
            biased;
            done = waiting => Ok(done),
            () = stream.closed() => Err(Refused::Gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    async fn send(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        stream.write_all_buf(out).await?;
        stream.flush().await
    }
}

impl From<Report> for Refused {
    fn from(report: Report) -> Self {
        Refused::Told(report)
    }
}

fn told(code: &'static str, message: impl Into<String>) -> Report {
    Report::fatal(code, message)
}

fn violation(message: impl Into<String>) -> Report {
    Report::fatal(sqlstate::PROTOCOL_VIOLATION, message)
}
