//! The proxy as a SCRAM-SHA-256 server (RFC 5802, RFC 7677): the database's own password never reaches a person.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth, ScramServerAuthWaitingForClientFinal};
use ring::{digest, hmac, rand};

use crate::config::{Secret, User};

/// The SASL mechanism offered.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Longest SASL message read: a nonce longer than this is an attack (PgBouncer's CVE-2026-6664 and its kin).
pub const MAX_SASL_MESSAGE: usize = 2048;

/// Most iterations a stored verifier may ask for; the client pays them, but an absurd number is a mistake in the file.
const MAX_ITERATIONS: usize = 1_000_000;

/// The exchange failed; the client is told no more than that, whatever the reason (SQLSTATE 28P01).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthError(pub String);

/// Makes the answers for users that do not exist look like those for users that do.
pub struct Decoy(hmac::Key);

/// An exchange after the client's first message.
pub struct Challenge {
    waiting: ScramServerAuthWaitingForClientFinal,
    known: bool,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenge")
    }
}

impl std::fmt::Debug for Decoy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoy")
    }
}

impl Decoy {
    /// A decoy with a key of its own, made when the process starts.
    pub fn new() -> Result<Self, AuthError> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map(Self)
            .map_err(|_| AuthError("the system has no randomness".to_owned()))
    }

    /// A verifier that nobody can satisfy; the same salt each time for the same name.
    fn secret(&self, user: &str) -> ScramSecret {
        let salt = hmac::sign(&self.0, user.as_bytes());
        let impossible = digest::digest(&digest::SHA256, salt.as_ref());
        ScramSecret::Verifier {
            salt: salt.as_ref()[..16].to_vec(),
            iterations: 4096,
            stored_key: impossible.as_ref().to_vec(),
            server_key: impossible.as_ref().to_vec(),
        }
    }
}

impl Challenge {
    /// Answers the client-first message; returns the exchange and the server-first message.
    pub fn start(
        user_name: &str,
        user: Option<&User>,
        decoy: &Decoy,
        client_first: &[u8],
    ) -> Result<(Self, String), AuthError> {
        let known = user.map(|u| parse_verifier(&u.verifier)).transpose()?;
        let is_known = known.is_some();
        let secret = known.unwrap_or_else(|| decoy.secret(user_name));
        let (server_first, waiting) = ScramServerAuth::new()
            .on_client_first_message_with_secret(client_first, secret)
            .map_err(|e| AuthError(e.to_string()))?;
        Ok((Self { waiting, known: is_known }, server_first))
    }

    /// Checks the client-final message; returns the server-final message.
    pub fn finish(self, client_final: &[u8]) -> Result<String, AuthError> {
        let server_final = self.waiting.on_client_final_message(client_final).map_err(|e| AuthError(e.to_string()))?;
        // Fail closed: not even a correct guess of the decoy logs in.
        if self.known { Ok(server_final) } else { Err(AuthError("no such user".to_owned())) }
    }
}

/// Reads Postgres's stored form: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
fn parse_verifier(verifier: &Secret) -> Result<ScramSecret, AuthError> {
    let malformed = || AuthError("the user's SCRAM verifier is malformed".to_owned());
    let mut parts = verifier.expose().split('$');
    let (Some(MECHANISM), Some(salting), Some(keys), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let (iterations, salt) = salting.split_once(':').ok_or_else(malformed)?;
    let (stored_key, server_key) = keys.split_once(':').ok_or_else(malformed)?;
    let iterations: usize = iterations.parse().map_err(|_| malformed())?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| malformed());
    let (salt, stored_key, server_key) = (decode(salt)?, decode(stored_key)?, decode(server_key)?);
    if stored_key.len() != 32 || server_key.len() != 32 || iterations == 0 || iterations > MAX_ITERATIONS {
        return Err(malformed());
    }
    Ok(ScramSecret::Verifier { salt, iterations, stored_key, server_key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;
    use pgwire::api::auth::sasl::scram::gen_salted_password;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    fn user(password: &str) -> User {
        let salt = b"0123456789abcdef".to_vec();
        let salted = gen_salted_password(password, &salt, 4096);
        let ScramSecret::Verifier { stored_key, server_key, .. } =
            ScramSecret::verifier_from_salted_password(salt.clone(), salted, 4096)
        else {
            unreachable!()
        };
        let text = format!(
            "SCRAM-SHA-256$4096:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(stored_key),
            STANDARD.encode(server_key)
        );
        User { name: "alice".to_owned(), role: Role::Engineer, verifier: Secret::new(text) }
    }

    fn log_in(user: Option<&User>, password: &str) -> Result<(), AuthError> {
        let decoy = Decoy::new().unwrap();
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let (challenge, server_first) = Challenge::start("alice", user, &decoy, client.message())?;
        client.update(server_first.as_bytes()).unwrap();
        let server_final = challenge.finish(client.message())?;
        client.finish(server_final.as_bytes()).map_err(|e| AuthError(e.to_string()))
    }

    #[test]
    fn the_right_password_is_accepted_and_no_other() {
        let alice = user("s3cret");
        assert_eq!(log_in(Some(&alice), "s3cret"), Ok(()));
        assert!(log_in(Some(&alice), "S3cret").is_err());
        assert!(log_in(None, "s3cret").is_err());
    }

    #[test]
    fn a_decoy_has_the_same_salt_each_time() {
        let decoy = Decoy::new().unwrap();
        let salt = |user| match decoy.secret(user) {
            ScramSecret::Verifier { salt, .. } => salt,
            ScramSecret::SaltedPassword { .. } => unreachable!(),
        };
        assert_eq!(salt("mallory"), salt("mallory"));
        assert_ne!(salt("mallory"), salt("eve"));
    }

    #[test]
    fn malformed_verifiers_are_refused() {
        for text in ["", "md5abc", "SCRAM-SHA-256$x:YQ==$YQ==:YQ==", "SCRAM-SHA-256$4096:YQ==$YQ==:YQ=="] {
            assert!(parse_verifier(&Secret::new(text)).is_err(), "{text}");
        }
    }
}
