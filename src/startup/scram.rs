//! Proof that the client is the user it says: the SASL exchange with SCRAM-SHA-256 (Postgres documentation, "SASL Authentication").

use std::io;

use bytes::BytesMut;
use pgwire::messages::startup::Authentication;
use tokio::io::AsyncReadExt;

use super::options::StartupOptions;
use super::{Refused, Startup, told, violation};
use crate::auth::{Challenge, MAX_SASL_MESSAGE, MECHANISM};
use crate::config::User;
use crate::policy::sqlstate;
use crate::server::Runtime;
use crate::wire::{Reader, Report, put_authentication};

impl Startup {
    /// SCRAM-SHA-256; the answers for unknown users look like those for known ones.
    pub(super) async fn authenticate(&mut self, runtime: &Runtime, options: &StartupOptions) -> Result<User, Refused> {
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

    fn login_failed(&self, options: &StartupOptions, why: &str) -> Refused {
        self.server.metrics.auth_failure("password");
        self.record_refusal(options, sqlstate::INVALID_PASSWORD, why);
        told(sqlstate::INVALID_PASSWORD, format!("password authentication failed for user \"{}\"", options.user)).into()
    }
}

/// How a SCRAM exchange can fail.
#[derive(Debug)]
pub(super) enum ScramFailure {
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
