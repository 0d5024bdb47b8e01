//! Proof that the client knows the user's password: the SASL exchange (Postgres documentation, "SASL Authentication").

use std::io;
use std::time::Instant;

use bytes::BytesMut;
use pgwire::messages::startup::Authentication;
use tokio::io::AsyncReadExt;

use super::{Refused, Startup, told, violation};
use crate::auth::{MAX_SASL_MESSAGE, Offer, Outcome, Proven, ScramError};
use crate::config::Verifier;
use crate::policy::sqlstate;
use crate::server::Runtime;
use crate::wire::{Reader, put_authentication};

/// How a SCRAM exchange can fail.
#[derive(Debug)]
pub(super) enum ScramFailure {
    /// Wrong password or unknown user, for the audit trail: the client hears the same in both cases.
    Login(&'static str),
    /// Anything else.
    Refused(Refused),
}

impl Startup {
    /// SCRAM, bound to the server's certificate where both can. `verifier` is `None` for a user without a password: the
    /// messages look no different, and the login fails.
    pub(super) async fn scram(
        &mut self,
        runtime: &Runtime,
        user: &str,
        verifier: Option<Verifier>,
    ) -> Result<Proven, ScramFailure> {
        let end_point = self.end_point.clone();
        let offer = Offer { end_point: end_point.as_deref() };
        let mut out = BytesMut::new();
        put_authentication(Authentication::SASL(offer.mechanisms()), &mut out);
        self.send(&mut out).await?;

        let first = self.read_password_message().await?;
        let mut reader = Reader::new(&first);
        let malformed = |_| ScramFailure::Refused(violation("malformed SASLInitialResponse").into());
        let mechanism = reader.str().map_err(malformed)?;
        let length = usize::try_from(reader.i32().map_err(malformed)?)
            .map_err(|_| ScramFailure::Refused(violation("no client-first message").into()))?;
        let client_first = reader.bytes(length).map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        let (challenge, server_first) = offer
            .challenge(mechanism, user, verifier, &self.server.decoy, client_first)
            .map_err(|e| self.failure(e))?;
        put_authentication(Authentication::SASLContinue(server_first.into()), &mut out);
        self.send(&mut out).await?;

        let client_final = self.read_password_message().await?;
        let finished = challenge.finish(&client_final);
        let outcome = if finished.is_ok() { Outcome::Proven } else { Outcome::Failed };
        if let Some(longest) = runtime.config.listen.failed_login_delay {
            let pause = self.server.login_delays.note(user, self.peer.ip(), outcome, longest, Instant::now());
            tokio::time::sleep(pause).await;
        }
        let proven = finished.map_err(|e| self.failure(e))?;
        put_authentication(Authentication::SASLFinal(proven.server_final.clone().into()), &mut out);
        self.send(&mut out).await?;
        Ok(proven)
    }

    fn failure(&self, error: ScramError) -> ScramFailure {
        let message = error.to_string();
        let report = match error {
            ScramError::Login(why) => return ScramFailure::Login(why),
            ScramError::Malformed(_) => violation(message),
            ScramError::NotSupported(_) => told(sqlstate::NOT_SUPPORTED, message),
            ScramError::Binding { message, detail } => told(sqlstate::INVALID_AUTHORIZATION, message)
                .detail(detail)
                .hint("Connect to pgbelay itself, not through something that ends TLS on the way."),
            ScramError::NoRandomness => told(sqlstate::INTERNAL, message),
        };
        if report.sqlstate == sqlstate::PROTOCOL_VIOLATION {
            self.server.metrics.protocol_error();
        }
        ScramFailure::Refused(Refused::Told(report))
    }

    /// The body of the next message, which must be a password message; no other is read before authentication.
    async fn read_password_message(&mut self) -> Result<Vec<u8>, Refused> {
        let Some(stream) = &mut self.stream else {
            return Err(Refused::Gone(io::ErrorKind::NotConnected.into()));
        };
        let mut head = [0; 5];
        stream.read_exact(&mut head).await?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if head[0] != b'p' {
            self.server.metrics.protocol_error();
            return Err(violation(format!("expected a SASL response, got message type {:?}", head[0] as char)).into());
        }
        match usize::try_from(length) {
            Ok(length) if (4..=MAX_SASL_MESSAGE).contains(&length) => {
                let mut body = vec![0; length - 4];
                stream.read_exact(&mut body).await?;
                Ok(body)
            }
            _ => {
                self.server.metrics.protocol_error();
                Err(violation("invalid length of a SASL response").into())
            }
        }
    }
}

impl From<Refused> for ScramFailure {
    fn from(refused: Refused) -> Self {
        ScramFailure::Refused(refused)
    }
}

impl From<io::Error> for ScramFailure {
    fn from(error: io::Error) -> Self {
        ScramFailure::Refused(error.into())
    }
}
