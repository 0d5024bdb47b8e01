//! Logging in to Postgres: start-up message, authentication, and what the server tells before it is ready.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as PasswordBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ConnectError, Endpoint, Parameters};
use crate::auth::{Binding, ScramClient};
use crate::config::{ChannelBinding, Secret, Target};
use crate::stream::Stream;
use crate::tls;
use crate::wire::{HEADER, Reader, backend_header, error_field};

/// What the server told while logging in.
pub(super) struct LoggedIn {
    pub(super) pid: u32,
    pub(super) key: Vec<u8>,
    pub(super) parameters: Parameters,
}

/// Largest message read while logging in; a server that sends more is not Postgres.
const MAX_LOGIN_MESSAGE: usize = 64 * 1024;

pub(super) async fn login(stream: &mut Stream, endpoint: &Endpoint, host: usize) -> Result<LoggedIn, ConnectError> {
    let target = &endpoint.target;
    let mut exchange =
        Exchange { stream, endpoint, target, host, is_bound: false, inbox: BytesMut::with_capacity(1024) };
    exchange.send_startup().await?;
    exchange.authenticate().await?;
    exchange.until_ready().await
}

struct Exchange<'a> {
    stream: &'a mut Stream,
    endpoint: &'a Endpoint,
    target: &'a Target,
    host: usize,
    /// The login is bound to the server's certificate.
    is_bound: bool,
    inbox: BytesMut,
}

impl Exchange<'_> {
    async fn send_startup(&mut self) -> Result<(), ConnectError> {
        let mut packet = BytesMut::new();
        packet.put_i32(0);
        packet.put_i32(3 << 16);
        let target = self.target;
        for (name, value) in [
            ("user", self.endpoint.pass_through().map_or(target.user.as_str(), |own| &own.user)),
            ("database", target.dbname.as_str()),
            ("client_encoding", "UTF8"),
            ("application_name", "pgbelay"),
        ] {
            packet.put_slice(name.as_bytes());
            packet.put_u8(0);
            packet.put_slice(value.as_bytes());
            packet.put_u8(0);
        }
        packet.put_u8(0);
        let size = i32::try_from(packet.len()).unwrap_or(i32::MAX);
        packet[..4].copy_from_slice(&size.to_be_bytes());
        self.send(&packet).await
    }

    async fn authenticate(&mut self) -> Result<(), ConnectError> {
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'R' => {}
                // A 3.0 request is never negotiated down, but the answer may be sent for unknown options.
                b'v' | b'N' => continue,
                _ => return Err(unexpected(tag)),
            }
            let mut reader = Reader::new(&body);
            let code = reader.i32().map_err(protocol)?;
            if self.target.channel_binding == ChannelBinding::Require && code != 10 && !(code == 0 && self.is_bound) {
                return Err(ConnectError::Authentication(
                    "channel_binding=require, but the server authenticates without channel binding; \
                     use TLS, and scram-sha-256 in pg_hba.conf"
                        .to_owned(),
                ));
            }
            match code {
                0 => return Ok(()),
                3 => {
                    let private = matches!(self.stream, Stream::TlsClient(_) | Stream::Unix(_));
                    if !private {
                        return Err(ConnectError::Authentication(
                            "the server asks for the password in clear text over an unencrypted connection; \
                             use sslmode=require or better, or scram-sha-256 in pg_hba.conf"
                                .to_owned(),
                        ));
                    }
                    let password = self.password()?.expose().to_owned();
                    self.send_password(password.as_bytes()).await?;
                }
                5 => {
                    let salt = reader.bytes(4).map_err(protocol)?;
                    let salt = [salt[0], salt[1], salt[2], salt[3]];
                    let user = self.target.user.as_bytes();
                    let hash = md5_hash(user, self.password()?.expose().as_bytes(), salt);
                    self.send_password(hash.as_bytes()).await?;
                }
                10 => self.scram(reader.rest()).await?,
                code => {
                    return Err(ConnectError::Authentication(format!(
                        "the server asks for authentication method {code}, which is not supported; \
                         use scram-sha-256, md5 or trust in pg_hba.conf for this role"
                    )));
                }
            }
        }
    }

    /// SCRAM-SHA-256 (RFC 5802, RFC 7677), bound to the server's certificate where both sides can (RFC 5929).
    async fn scram(&mut self, mechanisms: &[u8]) -> Result<(), ConnectError> {
        let is_offered = |name: &str| mechanisms.split(|&b| b == 0).any(|m| m == name.as_bytes());
        let wanted = self.target.channel_binding;
        let end_point = match &*self.stream {
            Stream::TlsClient(tls) if wanted != ChannelBinding::Disable => tls::server_end_point(tls),
            _ => None,
        };
        let (mechanism, binding) = match end_point {
            Some(hash) if is_offered(SCRAM_SHA_256_PLUS) => {
                self.is_bound = true;
                (SCRAM_SHA_256_PLUS, Binding::EndPoint(hash))
            }
            _ if wanted == ChannelBinding::Require => {
                return Err(ConnectError::Authentication(
                    "channel_binding=require, but there is no TLS, the server does not offer SCRAM-SHA-256-PLUS, or \
                     its certificate's signature has no hash to bind to"
                        .to_owned(),
                ));
            }
            // "y": the client could, and thinks that the server cannot. A server that can knows of a man in the middle then.
            Some(_) if is_offered(SCRAM_SHA_256) => (SCRAM_SHA_256, Binding::NotOffered),
            None if is_offered(SCRAM_SHA_256) => (SCRAM_SHA_256, Binding::Unsupported),
            _ => {
                return Err(ConnectError::Authentication(
                    "the server offers no SASL mechanism that is supported (SCRAM-SHA-256)".to_owned(),
                ));
            }
        };
        match self.endpoint.pass_through() {
            Some(own) => {
                let failed = |e: &str| ConnectError::Authentication(format!("SCRAM with the server failed: {e}"));
                let mut scram =
                    ScramClient::new(&own.keys, &binding).ok_or_else(|| failed("the system has no randomness"))?;
                self.send_first(mechanism, scram.first().as_bytes()).await?;
                let last = scram.answer(&self.sasl_answer(11).await?).map_err(failed)?;
                self.send_message(b'p', last.as_bytes()).await?;
                scram.finish(&self.sasl_answer(12).await?).map_err(failed)
            }
            None => {
                let failed = |e: io::Error| ConnectError::Authentication(format!("SCRAM with the server failed: {e}"));
                let binding = match binding {
                    Binding::EndPoint(hash) => PasswordBinding::tls_server_end_point(hash),
                    Binding::NotOffered => PasswordBinding::unrequested(),
                    Binding::Unsupported => PasswordBinding::unsupported(),
                };
                let mut scram = ScramSha256::new(self.password()?.expose().as_bytes(), binding);
                self.send_first(mechanism, scram.message()).await?;
                scram.update(&self.sasl_answer(11).await?).map_err(failed)?;
                self.send_message(b'p', scram.message()).await?;
                // The server proves that it knows the password too.
                scram.finish(&self.sasl_answer(12).await?).map_err(failed)
            }
        }
    }

    /// SASLInitialResponse.
    async fn send_first(&mut self, mechanism: &str, message: &[u8]) -> Result<(), ConnectError> {
        let mut first = BytesMut::new();
        first.put_slice(mechanism.as_bytes());
        first.put_u8(0);
        first.put_i32(i32::try_from(message.len()).unwrap_or(0));
        first.put_slice(message);
        self.send_message(b'p', &first).await
    }

    async fn sasl_answer(&mut self, wanted: i32) -> Result<Vec<u8>, ConnectError> {
        let (tag, body) = self.receive().await?;
        if tag != b'R' {
            return Err(unexpected(tag));
        }
        let mut reader = Reader::new(&body);
        match reader.i32().map_err(protocol)? {
            code if code == wanted => Ok(reader.rest().to_vec()),
            code => Err(ConnectError::Protocol(format!("authentication code {code} within SCRAM"))),
        }
    }

    async fn until_ready(&mut self) -> Result<LoggedIn, ConnectError> {
        let mut logged_in = LoggedIn { pid: 0, key: vec![], parameters: Parameters::default() };
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'S' => {
                    logged_in.parameters.learn(&body);
                }
                b'K' => {
                    let mut reader = Reader::new(&body);
                    logged_in.pid = reader.i32().map_err(protocol)?.cast_unsigned();
                    logged_in.key = reader.rest().to_vec();
                }
                b'N' => {}
                b'Z' => return Ok(logged_in),
                _ => return Err(unexpected(tag)),
            }
        }
    }

    fn password(&self) -> Result<&Secret, ConnectError> {
        if let Some(own) = self.endpoint.pass_through() {
            return Err(ConnectError::Authentication(format!(
                "the server asks for the password of \"{}\", but only its SCRAM keys are known; \
                 use scram-sha-256 in pg_hba.conf for the roles of auth_query",
                own.user
            )));
        }
        self.target.password.as_ref().ok_or_else(|| {
            ConnectError::Authentication(format!(
                "the server asks for a password for role \"{}\", but none is configured; \
                 add password_env or password_file to this database",
                self.target.user
            ))
        })
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), ConnectError> {
        let mut body = BytesMut::from(password);
        body.put_u8(0);
        self.send_message(b'p', &body).await
    }

    async fn send_message(&mut self, tag: u8, body: &[u8]) -> Result<(), ConnectError> {
        let mut message = BytesMut::with_capacity(HEADER + body.len());
        message.put_u8(tag);
        message.put_i32(i32::try_from(body.len() + 4).unwrap_or(i32::MAX));
        message.put_slice(body);
        self.send(&message).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|e| self.io(e))
    }

    /// The next message; an ErrorResponse becomes [`ConnectError::Refused`].
    async fn receive(&mut self) -> Result<(u8, BytesMut), ConnectError> {
        loop {
            let header = backend_header(&self.inbox).map_err(|e| ConnectError::Protocol(e.to_string()))?;
            if let Some(header) = header {
                if header.size > MAX_LOGIN_MESSAGE {
                    return Err(ConnectError::Protocol(format!("a message of {} bytes during login", header.size)));
                }
                if self.inbox.len() >= header.size {
                    let mut body = self.inbox.split_to(header.size);
                    body.advance(HEADER);
                    if header.tag == b'E' {
                        return Err(ConnectError::Refused {
                            sqlstate: error_field(&body, b'C').unwrap_or_default(),
                            message: error_field(&body, b'M').unwrap_or_default(),
                        });
                    }
                    return Ok((header.tag, body));
                }
            }
            let read = self.stream.read_buf(&mut self.inbox).await.map_err(|e| self.io(e))?;
            if read == 0 {
                return Err(self.io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn io(&self, source: io::Error) -> ConnectError {
        self.endpoint.io(self.host, source)
    }
}

fn protocol(error: crate::wire::BodyError) -> ConnectError {
    ConnectError::Protocol(error.to_string())
}

fn unexpected(tag: u8) -> ConnectError {
    ConnectError::Protocol(format!("message {:?} during login", tag as char))
}
