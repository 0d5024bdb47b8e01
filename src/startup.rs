//! From the first byte to an authenticated session: encryption, protocol version, SCRAM, tier, settings.
//!
//! Everything is read by its exact length, so nothing a client sends ahead of its turn is ever taken for something else: bytes
//! behind an SSLRequest go to the TLS handshake (CVE-2021-3935), and no statement is read before authentication has ended.

mod options;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pgwire::messages::startup::Authentication;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::audit::{Event, Record, SessionContext};
use crate::auth::{Challenge, MAX_SASL_MESSAGE, MECHANISM};
use crate::config::{LookupError, OnAuditFailure, Tier, User, format_duration};
use crate::guard::{Judge, LocalAction, Route};
use crate::policy::sqlstate;
use crate::server::{Runtime, Server, TargetRuntime};
use crate::session::Session;
use crate::stream::Stream;
use crate::tls;
use crate::upstream::{CheckoutError, Settings, SettingsError};
use crate::wire::{
    Reader, Report, StartupPacket, TransactionState, put_authentication, put_backend_key, put_negotiate_version,
    put_parameter_status, put_ready, startup_size,
};
use options::{Parameters, StartupOptions};

/// Newest minor protocol version spoken: 3.2.
const NEWEST_MINOR: u16 = 2;

/// Most encryption requests of one client.
const MAX_REQUESTS: usize = 3;

/// Size of a cancel key in protocol 3.0, and in 3.2.
const CANCEL_KEY: (usize, usize) = (4, 32);

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
pub async fn start(server: Arc<Server>, tcp: TcpStream, peer: SocketAddr, admission: Admission) -> Option<Session> {
    let limit = server.runtime().config.listen.login_timeout;
    let startup =
        Startup { server: Arc::clone(&server), stream: Some(Stream::Plain(tcp)), peer, admission, tls: None, minor: 0 };
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
    minor: u16,
}

impl Startup {
    async fn run(mut self) -> Option<Session> {
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

    async fn go(&mut self) -> Result<Session, Refused> {
        let runtime = self.server.runtime();
        let raw = self.negotiate(&runtime).await?;
        if self.server.is_draining() {
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
        let user = self.authenticate(&runtime, &options).await?;
        self.admit(&runtime, &user, options).await
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
                        && let Err(error) = control.cancel.cancel().await
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

    async fn accept_tls(&mut self, acceptor: tokio_rustls::TlsAcceptor, direct: bool) -> Result<(), Refused> {
        let Some(Stream::Plain(tcp)) = self.stream.take() else {
            return Err(violation("TLS inside TLS").into());
        };
        let stream = acceptor.accept(tcp).await?;
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
        let has_certificate = session.peer_certificates().is_some_and(|chain| !chain.is_empty());
        self.tls = Some(if has_certificate { format!("{version}, client certificate") } else { version.to_owned() });
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

    /// SCRAM-SHA-256; the answers for unknown users look like those for known ones.
    async fn authenticate(&mut self, runtime: &Runtime, options: &StartupOptions) -> Result<User, Refused> {
        let known = runtime.config.users.get(&options.user);
        match self.scram(known, options).await {
            Ok(()) => match known {
                Some(user) => Ok(user.clone()),
                None => Err(self.login_failed(options, "no such user")),
            },
            Err(ScramFailure::Login(why)) => Err(self.login_failed(options, &why)),
            Err(ScramFailure::Protocol(report)) => {
                self.server.metrics.protocol_error();
                Err(Refused::Told(*report))
            }
            Err(ScramFailure::Gone(error)) => Err(Refused::Gone(error)),
        }
    }

    async fn scram(&mut self, user: Option<&User>, options: &StartupOptions) -> Result<(), ScramFailure> {
        let mut out = BytesMut::new();
        put_authentication(Authentication::SASL(vec![MECHANISM.to_owned()]), &mut out);
        self.send(&mut out).await?;

        let first = self.read_password_message().await?;
        let mut reader = Reader::new(&first);
        let malformed = |_| ScramFailure::Protocol(Box::new(violation("malformed SASLInitialResponse")));
        let mechanism = reader.str().map_err(malformed)?;
        if mechanism != MECHANISM {
            return Err(ScramFailure::Protocol(Box::new(violation("client selected an invalid SASL mechanism"))));
        }
        let length = usize::try_from(reader.i32().map_err(malformed)?)
            .map_err(|_| ScramFailure::Protocol(Box::new(violation("no client-first message"))))?;
        let client_first = reader.bytes(length).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        let (challenge, server_first) = Challenge::start(&options.user, user, &self.server.decoy, client_first)
            .map_err(|e| ScramFailure::Login(e.to_string()))?;
        put_authentication(Authentication::SASLContinue(server_first.into()), &mut out);
        self.send(&mut out).await?;

        let client_final = self.read_password_message().await?;
        let server_final = challenge.finish(&client_final).map_err(|e| ScramFailure::Login(e.to_string()))?;
        put_authentication(Authentication::SASLFinal(server_final.into()), &mut out);
        self.send(&mut out).await?;
        Ok(())
    }

    fn login_failed(&self, options: &StartupOptions, why: &str) -> Refused {
        self.server.metrics.auth_failure("password");
        self.record_refusal(options, sqlstate::INVALID_PASSWORD, why);
        told(sqlstate::INVALID_PASSWORD, format!("password authentication failed for user \"{}\"", options.user)).into()
    }

    fn record_refusal(&self, options: &StartupOptions, code: &str, why: &str) {
        let context = SessionContext {
            id: self.server.next_session_id(),
            user: options.user.clone(),
            role: None,
            database: options.database.clone(),
            tier: None,
            client: Some(self.peer),
            application_name: options.application_name().map(str::to_owned),
            tls: self.tls.clone(),
        };
        self.server.record(Record {
            sqlstate: Some(code.to_owned()),
            message: Some(why.to_owned()),
            ..Record::of(Event::AuthFail, &Arc::new(context))
        });
    }

    /// The user is who it says: finds database, tier and policy, checks its settings, and greets it.
    async fn admit(&mut self, runtime: &Runtime, user: &User, options: StartupOptions) -> Result<Session, Refused> {
        let target = runtime.config.target(&options.database).map_err(|error| {
            self.server.metrics.auth_failure("unknown_database");
            self.record_refusal(&options, sqlstate::UNKNOWN_DATABASE, "no such database or tier");
            Refused::Told(unknown_database(&error))
        })?;
        let (Some(target), generation) = (runtime.target(&target), runtime.generation) else {
            return Err(told(sqlstate::INTERNAL, "the database is not at work").into());
        };
        let judge = runtime
            .judge(user.role, &target)
            .ok_or_else(|| told(sqlstate::INTERNAL, "the role has no policy on this tier"))?;
        let mut out = BytesMut::new();
        let initial = initial_settings(&judge, &options, &mut out).map_err(Refused::Told)?;
        let told_parameters = self.greeting(&target, &initial).await?;
        let context = Arc::new(SessionContext {
            id: self.server.next_session_id(),
            user: user.name.clone(),
            role: Some(user.role),
            database: target.target.database.clone(),
            tier: Some(target.target.tier),
            client: Some(self.peer),
            application_name: options.application_name().map(str::to_owned),
            tls: self.tls.clone(),
        });
        self.record_start(&judge, &context, &options).await?;

        let key_size = if self.minor == 0 { CANCEL_KEY.0 } else { CANCEL_KEY.1 };
        let registered = self
            .server
            .sessions
            .register(key_size)
            .ok_or_else(|| told(sqlstate::INTERNAL, "the system has no randomness"))?;
        let notices = std::mem::take(&mut out);
        put_authentication(Authentication::Ok, &mut out);
        for (name, value) in told_parameters.iter() {
            put_parameter_status(name, value, &mut out);
        }
        put_backend_key(registered.control.pid, &registered.control.key, &mut out);
        out.extend_from_slice(&notices);
        if let Some(banner) = banner(&judge) {
            banner.write(&mut out);
        }
        put_ready(TransactionState::Idle, &mut out);
        self.send(&mut out).await?;
        let client = self.stream.take().ok_or_else(|| Refused::Gone(io::ErrorKind::NotConnected.into()))?;
        Ok(Session {
            server: Arc::clone(&self.server),
            client,
            registered,
            target,
            context,
            judge,
            generation,
            initial,
            told: told_parameters,
            reason: options.reason,
        })
    }

    async fn greeting(
        &self,
        target: &TargetRuntime,
        initial: &Settings,
    ) -> Result<crate::upstream::Parameters, Refused> {
        let cannot = |detail: &str| {
            told(sqlstate::CANNOT_CONNECT, format!("cannot connect to {}", target.name))
                .detail(detail)
                .hint("Try again; whoever runs pgbelay finds the cause in its log.")
        };
        match target.greeting(initial).await {
            Ok(Ok(parameters)) => Ok(parameters),
            Ok(Err(SettingsError::Refused { sqlstate: code, message })) => {
                // The server's own words: they speak of the client's own setting.
                Err(told(sqlstate::INVALID_AUTHORIZATION, message)
                    .detail(format!("The server refused a setting of the connection (SQLSTATE {code})."))
                    .hint("Check the connection's options and PGOPTIONS.")
                    .into())
            }
            Ok(Err(SettingsError::Connect(error))) | Err(CheckoutError::Connect(error)) => {
                target.metrics.upstream_error(error.kind());
                tracing::error!(target = %target.name, %error, "cannot connect upstream");
                Err(cannot(error.client_text()).into())
            }
            Err(CheckoutError::Full { max, waited }) => Err(told(
                sqlstate::TOO_MANY_CONNECTIONS,
                format!("no connection to {} became free within {}", target.name, format_duration(waited)),
            )
            .detail(format!("All {max} connections of the pool are in use."))
            .hint("Try again; end transactions sooner, or have pool.max raised for this tier.")
            .into()),
        }
    }

    async fn record_start(
        &self,
        judge: &Judge,
        context: &Arc<SessionContext>,
        options: &StartupOptions,
    ) -> Result<(), Refused> {
        let record = Record { reason: options.reason.clone(), ..Record::of(Event::SessionStart, context) };
        match (self.server.audit.record(record), judge.policy.on_audit_failure) {
            (Ok(()), _) => Ok(()),
            (Err(error), OnAuditFailure::Allow) => {
                tracing::error!(%error, "audit record lost");
                Ok(())
            }
            (Err(error), OnAuditFailure::Deny) => {
                tracing::error!(%error, "session refused: it cannot be audited");
                Err(told(sqlstate::AUDIT_FAILURE, "the session cannot be audited, so it is refused")
                    .hint("Tell whoever runs pgbelay; connect again once the audit trail is mended.")
                    .into())
            }
        }
    }

    async fn read_packet(&mut self) -> Result<StartupPacket, Refused> {
        let Some(stream) = &mut self.stream else { return Err(Refused::Gone(io::ErrorKind::NotConnected.into())) };
        let mut packet = vec![0; 4];
        stream.read_exact(&mut packet).await?;
        let size = match startup_size(&packet) {
            Ok(Some(size)) => size,
            Ok(None) | Err(_) => {
                self.server.metrics.protocol_error();
                return Err(violation("invalid length of startup packet").into());
            }
        };
        packet.resize(size, 0);
        stream.read_exact(&mut packet[4..]).await?;
        StartupPacket::read(&packet).map_err(|_| {
            self.server.metrics.protocol_error();
            violation("invalid startup packet layout").into()
        })
    }

    /// The body of the next message, which must be a password message; no other is read before authentication.
    async fn read_password_message(&mut self) -> Result<Vec<u8>, ScramFailure> {
        let Some(stream) = &mut self.stream else {
            return Err(ScramFailure::Gone(io::ErrorKind::NotConnected.into()));
        };
        let mut head = [0; 5];
        stream.read_exact(&mut head).await?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if head[0] != b'p' {
            let report = violation(format!("expected a SASL response, got message type {:?}", head[0] as char));
            return Err(ScramFailure::Protocol(Box::new(report)));
        }
        match usize::try_from(length) {
            Ok(length) if (4..=MAX_SASL_MESSAGE).contains(&length) => {
                let mut body = vec![0; length - 4];
                stream.read_exact(&mut body).await?;
                Ok(body)
            }
            _ => Err(ScramFailure::Protocol(Box::new(violation("invalid length of a SASL response")))),
        }
    }

    async fn answer_byte(&mut self, byte: u8) -> Result<(), Refused> {
        self.send(&mut BytesMut::from(&[byte][..])).await.map_err(Refused::Gone)
    }

    async fn send(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        stream.write_all_buf(out).await?;
        stream.flush().await
    }
}

/// How a SCRAM exchange can fail.
#[derive(Debug)]
enum ScramFailure {
    /// Wrong password, unknown user or a message that makes no sense: the client hears the same.
    Login(String),
    /// Not the messages of an exchange.
    Protocol(Box<Report>),
    /// The client is gone.
    Gone(io::Error),
}

impl From<io::Error> for ScramFailure {
    fn from(error: io::Error) -> Self {
        ScramFailure::Gone(error)
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

fn unknown_database(error: &LookupError) -> Report {
    match error {
        LookupError::UnknownDatabase(name) => {
            told(sqlstate::UNKNOWN_DATABASE, format!("database \"{name}\" does not exist"))
                .hint("Connect to a database of the configuration, as NAME or NAME:TIER, for example app:prod.")
        }
        LookupError::UnknownTier { database, tier, known } => {
            let names: Vec<String> = known.iter().map(|t| format!("{database}:{t}")).collect();
            told(sqlstate::UNKNOWN_DATABASE, format!("database \"{database}\" has no tier \"{tier}\""))
                .hint(format!("It has: {}.", names.join(", ")))
        }
    }
}

/// The settings a session begins with: the policy's, and those of the start-up message as far as the policy lets them be set.
fn initial_settings(judge: &Judge, options: &StartupOptions, out: &mut BytesMut) -> Result<Settings, Report> {
    let mut settings = judge.forced.clone();
    for (name, value) in &options.settings {
        let mut sql = "SET ".to_owned();
        for (i, part) in name.split('.').enumerate() {
            sql.push_str(if i > 0 { "." } else { "" });
            sql.push_str(&format!("\"{}\"", part.replace('"', "\"\"")));
        }
        sql.push_str(" TO ");
        crate::upstream::push_literal(value, &mut sql);
        let judged = judge.judge(&sql, Some("connection"));
        match &judged.route {
            Route::Refuse(denial) | Route::Confirm(denial) => {
                return Err(told(denial.sqlstate, denial.message.clone())
                    .detail(denial.detail.clone())
                    .hint(denial.hint.clone()));
            }
            Route::Whole(_) | Route::Stepwise(_) => {}
            Route::SingleStatement(_) => {
                return Err(told(sqlstate::INVALID_AUTHORIZATION, format!("invalid connection setting \"{name}\"")));
            }
        }
        match judged.local() {
            Some(LocalAction::Limit { name, notice, .. }) => {
                if let Some(notice) = notice {
                    Report::notice(notice.message.clone())
                        .detail(notice.detail.clone())
                        .hint(notice.hint.clone())
                        .write(out);
                }
                debug_assert!(judge.forced.get(name).is_some(), "a limit that is held is one that is forced");
            }
            Some(LocalAction::Show(_) | LocalAction::Set { .. }) | None => settings = settings.with(name, value),
        }
    }
    Ok(settings)
}

/// What a person is told when connecting to a guarded tier.
fn banner(judge: &Judge) -> Option<Report> {
    let policy = &judge.policy;
    if !policy.role.is_human() || policy.tier == Tier::Int {
        return None;
    }
    let access = if policy.is_read_only() { "read-only" } else { "read-write" };
    let limit = match policy.session_limit {
        Some(limit) => format!("the session ends in {}", format_duration(limit)),
        None => "the session has no time limit".to_owned(),
    };
    let banner = Report::notice(format!("{} ({}): {access}, {limit}", policy.tier, policy.tier.colour()))
        .detail("Every statement is recorded.");
    Some(if policy.reason == crate::config::ReasonRule::Required {
        banner.hint("Say why you are here: SET pgbelay.reason = 'INC-42'; SHOW pgbelay.limits tells the limits.")
    } else {
        banner.hint("SHOW pgbelay.limits tells the limits.")
    })
}
