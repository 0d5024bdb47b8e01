//! The proxy as a SCRAM-SHA-256 server, with and without channel binding (RFC 5802, RFC 5929, RFC 7677; Postgres documentation,
//! "SASL Authentication"): the database's own password never reaches a person.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, rand};

use super::ScramKeys;
use crate::config::{Secret, Verifier};

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// The mechanism that binds the login to the server's certificate.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The only channel binding type that Postgres has.
const BINDING_TYPE: &str = "tls-server-end-point";

/// Longest SASL message read: a nonce longer than this is an attack (PgBouncer's CVE-2026-6664 and its kin).
pub const MAX_SASL_MESSAGE: usize = 2048;

/// Random bytes of a nonce, as Postgres has them.
const NONCE_LENGTH: usize = 18;

/// An exchange that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Wrong password or no such user (SQLSTATE 28P01): the client hears nothing more.
    #[error("{0}")]
    Login(&'static str),
    /// Not the messages of an exchange (SQLSTATE 08P01).
    #[error("{0}")]
    Malformed(&'static str),
    /// Something of the protocol that Postgres does not have either (SQLSTATE 0A000).
    #[error("{0}")]
    NotSupported(&'static str),
    /// Somebody may stand between client and proxy (SQLSTATE 28000).
    #[error("{message}: {detail}")]
    Binding {
        /// Primary message.
        message: &'static str,
        /// DETAIL.
        detail: &'static str,
    },
    /// The system has no randomness (SQLSTATE XX000).
    #[error("the system has no randomness")]
    NoRandomness,
}

/// Makes the answers for users that do not exist look like those for users that do.
pub struct Decoy(hmac::Key);

/// How a client means to log in: the mechanism it selected, of those it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Hash of the server's certificate; `None` where SCRAM-SHA-256-PLUS was not offered.
    pub end_point: Option<&'a [u8]>,
}

/// An exchange after the client's first message.
pub struct Challenge {
    verifier: Verifier,
    is_known: bool,
    /// What the client must send as channel binding: its GS2 header, and the hash of the certificate if it is bound to it.
    binding: String,
    is_bound: bool,
    nonce: String,
    /// Client-first message without its header, and server-first message: the beginning of what is signed.
    transcript: String,
}

/// A client that has proved that it knows the password.
pub struct Proven {
    /// The server-final message, by which the proxy proves that it knows the verifier.
    pub server_final: String,
    /// What has been proved: the client's key, which only the password gives.
    pub keys: ScramKeys,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenge")
    }
}

impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proven")
    }
}

impl std::fmt::Debug for Decoy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoy")
    }
}

impl Decoy {
    /// A decoy with a key of its own, made when the process starts.
    ///
    /// # Errors
    /// [`ScramError::NoRandomness`]
    pub fn new() -> Result<Self, ScramError> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map(Self)
            .map_err(|_| ScramError::NoRandomness)
    }

    /// A verifier that nobody can satisfy; the same salt each time for the same name.
    fn verifier(&self, user: &str) -> Verifier {
        let salt = hmac::sign(&self.0, user.as_bytes());
        let impossible = sha256(salt.as_ref());
        Verifier {
            iterations: 4096,
            salt: salt.as_ref()[..16].to_vec(),
            stored_key: impossible,
            server_key: impossible,
        }
    }
}

impl<'a> Offer<'a> {
    /// The mechanisms to offer, the best first.
    pub fn mechanisms(self) -> Vec<String> {
        let plus = self.end_point.map(|_| SCRAM_SHA_256_PLUS);
        plus.into_iter().chain([SCRAM_SHA_256]).map(str::to_owned).collect()
    }

    /// Answers the client-first message of the mechanism that the client selected; returns the exchange and the server-first
    /// message. `verifier` is `None` for a user that does not exist, and looks no different from outside.
    ///
    /// # Errors
    /// Any but [`ScramError::Login`].
    pub fn challenge(
        self,
        mechanism: &str,
        user: &str,
        verifier: Option<Verifier>,
        decoy: &Decoy,
        client_first: &[u8],
    ) -> Result<(Challenge, String), ScramError> {
        let is_bound = match (mechanism, self.end_point) {
            (SCRAM_SHA_256, _) => false,
            (SCRAM_SHA_256_PLUS, Some(_)) => true,
            _ => return Err(ScramError::Malformed("client selected an invalid SASL authentication mechanism")),
        };
        let client_first = utf8(client_first)?;
        let (flag, rest) = client_first.split_once(',').ok_or(MALFORMED)?;
        match (flag, is_bound) {
            // The client thinks that the server has no channel binding: somebody has taken it out of the offer.
            ("y", false) if self.end_point.is_some() => {
                return Err(ScramError::Binding {
                    message: "SCRAM channel binding negotiation error",
                    detail: "The client supports SCRAM channel binding but thinks the server does not; however, \
                             this server does support channel binding.",
                });
            }
            ("n" | "y", false) => {}
            ("n" | "y", true) => {
                return Err(ScramError::Malformed(
                    "the client selected SCRAM-SHA-256-PLUS, but its SCRAM message has no channel binding",
                ));
            }
            (flag, true) if flag.strip_prefix("p=") == Some(BINDING_TYPE) => {}
            (flag, true) if flag.starts_with("p=") => {
                return Err(ScramError::Malformed("unsupported SCRAM channel-binding type"));
            }
            (flag, false) if flag.starts_with("p=") => {
                return Err(ScramError::Malformed(
                    "the client selected SCRAM-SHA-256 without channel binding, but its SCRAM message has it",
                ));
            }
            _ => return Err(MALFORMED),
        }
        let (authorization, bare) = rest.split_once(',').ok_or(MALFORMED)?;
        if !authorization.is_empty() {
            return Err(ScramError::NotSupported("client uses authorization identity, but it is not supported"));
        }
        if bare.starts_with("m=") {
            return Err(ScramError::NotSupported("client requires an unsupported SCRAM extension"));
        }
        let mut attributes = bare.split(',');
        // The name is that of the start-up message, as in Postgres.
        let (Some(name), Some(nonce)) = (attributes.next(), attributes.next()) else { return Err(MALFORMED) };
        let client_nonce = nonce.strip_prefix("r=").filter(|_| name.starts_with("n=")).ok_or(MALFORMED)?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("non-printable characters in SCRAM nonce"));
        }

        let mut binding = format!("{flag},,").into_bytes();
        binding.extend_from_slice(self.end_point.filter(|_| is_bound).unwrap_or_default());
        let is_known = verifier.is_some();
        let verifier = verifier.unwrap_or_else(|| decoy.verifier(user));
        let random = rand::generate::<[u8; NONCE_LENGTH]>(&rand::SystemRandom::new());
        let random = random.map_err(|_| ScramError::NoRandomness)?.expose();
        let nonce = format!("{client_nonce}{}", STANDARD.encode(random));
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let transcript = format!("{bare},{server_first}");
        let binding = STANDARD.encode(binding);
        Ok((Challenge { verifier, is_known, binding, is_bound, nonce, transcript }, server_first))
    }
}

impl Challenge {
    /// Checks the client-final message.
    ///
    /// # Errors
    /// Any.
    pub fn finish(self, client_final: &[u8]) -> Result<Proven, ScramError> {
        let client_final = utf8(client_final)?;
        // The proof is the last attribute, and the only one that is not signed.
        let (without_proof, proof) = client_final.rsplit_once(",p=").ok_or(MALFORMED)?;
        let mut attributes = without_proof.split(',');
        let (Some(binding), Some(nonce)) = (attributes.next(), attributes.next()) else { return Err(MALFORMED) };
        let binding = binding.strip_prefix("c=").ok_or(MALFORMED)?;
        let nonce = nonce.strip_prefix("r=").ok_or(MALFORMED)?;
        if binding != self.binding {
            return Err(if self.is_bound {
                ScramError::Binding {
                    message: "SCRAM channel binding check failed",
                    detail: "The client is bound to another certificate than the server has: somebody may stand between them.",
                }
            } else {
                ScramError::Malformed("unexpected SCRAM channel-binding attribute in client-final-message")
            });
        }
        if nonce != self.nonce {
            return Err(ScramError::Malformed("invalid SCRAM response: the nonce does not match"));
        }
        let proof: [u8; 32] = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(MALFORMED)?;

        let signed = format!("{},{without_proof}", self.transcript);
        let signature = hmac_sha256(&self.verifier.stored_key, signed.as_bytes());
        let mut client_key = proof;
        for (byte, signed) in client_key.iter_mut().zip(signature) {
            *byte ^= signed;
        }
        let stored_key = sha256(&client_key);
        // In constant time.
        let differs = stored_key.iter().zip(self.verifier.stored_key).fold(0, |all, (a, b)| all | (a ^ b));
        match (differs, self.is_known) {
            (0, true) => {}
            // Fail closed: not even a correct guess of the decoy logs in.
            (_, false) => return Err(ScramError::Login("no such user")),
            (_, true) => return Err(ScramError::Login("wrong password")),
        }
        let server_signature = hmac_sha256(&self.verifier.server_key, signed.as_bytes());
        let keys = ScramKeys { client_key, server_key: self.verifier.server_key };
        Ok(Proven { server_final: format!("v={}", STANDARD.encode(server_signature)), keys })
    }
}

/// A user's verifier, read; an empty one is nobody's.
///
/// # Errors
/// What is wrong with the text.
pub fn read_verifier(verifier: &Secret) -> Result<Verifier, String> {
    Verifier::parse(verifier.expose())
}

const MALFORMED: ScramError = ScramError::Malformed("malformed SCRAM message");

fn utf8(message: &[u8]) -> Result<&str, ScramError> {
    str::from_utf8(message).map_err(|_| MALFORMED)
}

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    tag
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;
    use crate::config::scram_verifier;

    const END_POINT: &[u8] = b"the hash of a certificate's bytes";

    fn verifier(password: &str) -> Verifier {
        read_verifier(&scram_verifier(password)).unwrap()
    }

    fn log_in(
        offer: Offer<'_>,
        mechanism: &str,
        binding: ChannelBinding,
        verifier: Option<Verifier>,
    ) -> Result<(), ScramError> {
        let decoy = Decoy::new().unwrap();
        let mut client = ScramSha256::new(b"s3cret", binding);
        let (challenge, server_first) = offer.challenge(mechanism, "alice", verifier, &decoy, client.message())?;
        client.update(server_first.as_bytes()).unwrap();
        let proven = challenge.finish(client.message())?;
        client.finish(proven.server_final.as_bytes()).unwrap();
        Ok(())
    }

    fn plain() -> Offer<'static> {
        Offer { end_point: None }
    }

    fn bound() -> Offer<'static> {
        Offer { end_point: Some(END_POINT) }
    }

    fn tls(hash: &[u8]) -> ChannelBinding {
        ChannelBinding::tls_server_end_point(hash.to_vec())
    }

    #[test]
    fn the_right_password_is_accepted_and_no_other() {
        let log_in = |verifier| log_in(plain(), SCRAM_SHA_256, ChannelBinding::unsupported(), verifier);
        assert_eq!(log_in(Some(verifier("s3cret"))), Ok(()));
        assert_eq!(log_in(Some(verifier("S3cret"))), Err(ScramError::Login("wrong password")));
        assert_eq!(log_in(None), Err(ScramError::Login("no such user")));
    }

    #[test]
    fn a_bound_login_needs_this_servers_certificate() {
        let log_in = |binding, password| log_in(bound(), SCRAM_SHA_256_PLUS, binding, Some(verifier(password)));
        assert_eq!(log_in(tls(END_POINT), "s3cret"), Ok(()));
        assert!(matches!(log_in(tls(END_POINT), "S3cret"), Err(ScramError::Login(_))));
        assert!(matches!(log_in(tls(b"another"), "s3cret"), Err(ScramError::Binding { .. })));
        for without in [ChannelBinding::unsupported(), ChannelBinding::unrequested()] {
            assert!(matches!(log_in(without, "s3cret"), Err(ScramError::Malformed(_))));
        }
    }

    /// RFC 5802, section 6: a client that could bind, and was told that the server cannot, finds the man in the middle.
    #[test]
    fn a_downgrade_is_refused() {
        let log_in = |offer, binding| log_in(offer, SCRAM_SHA_256, binding, Some(verifier("s3cret")));
        assert!(matches!(log_in(bound(), ChannelBinding::unrequested()), Err(ScramError::Binding { .. })));
        // Without TLS, and from a client that cannot bind, there is nothing wrong.
        assert_eq!(log_in(plain(), ChannelBinding::unrequested()), Ok(()));
        assert_eq!(log_in(bound(), ChannelBinding::unsupported()), Ok(()));
        assert!(matches!(log_in(bound(), tls(END_POINT)), Err(ScramError::Malformed(_))));
    }

    #[test]
    fn only_what_was_offered_can_be_selected() {
        assert_eq!(plain().mechanisms(), [SCRAM_SHA_256]);
        assert_eq!(bound().mechanisms(), [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]);
        for mechanism in [SCRAM_SHA_256_PLUS, "PLAIN", ""] {
            let refused = log_in(plain(), mechanism, tls(END_POINT), Some(verifier("s3cret")));
            assert!(matches!(refused, Err(ScramError::Malformed(_))), "{mechanism}");
        }
    }

    fn first(message: &[u8]) -> Result<(Challenge, String), ScramError> {
        bound().challenge(SCRAM_SHA_256, "alice", Some(verifier("x")), &Decoy::new().unwrap(), message)
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        assert!(first(b"n,,n=,r=abc").is_ok() && first(b"n,,n=someone,r=abc,x=ignored").is_ok());
        let malformed: [&[u8]; 13] = [
            b"",
            b"n",
            b"n,",
            b"n,,",
            b"n,,n=",
            b"n,,r=abc",
            b"n,,n=,r=",
            b"n,,n=,r=a b",
            b"n,,n=,r=\xc3\xa9",
            b"n,,n=,r=\xff",
            b"q,,n=,r=abc",
            b"N,,n=,r=abc",
            b"p=tls-unique,,n=,r=abc",
        ];
        for message in malformed {
            assert!(matches!(first(message), Err(ScramError::Malformed(_))), "{message:?}");
        }
        for message in [&b"n,a=root,n=,r=abc"[..], b"n,,m=x,n=,r=abc"] {
            assert!(matches!(first(message), Err(ScramError::NotSupported(_))), "{message:?}");
        }
    }

    #[test]
    fn malformed_final_messages_are_refused() {
        let proof = STANDARD.encode([0; 32]);
        let finish = |last: &dyn Fn(&str) -> String| {
            let (challenge, server_first) = first(b"n,,n=,r=abc").unwrap();
            let nonce = server_first.strip_prefix("r=").and_then(|rest| rest.split_once(',')).unwrap().0;
            challenge.finish(last(nonce).as_bytes()).map(|_| ())
        };
        assert!(matches!(finish(&|r| format!("c=biws,r={r},p={proof}")), Err(ScramError::Login(_))));
        let short = STANDARD.encode([0; 31]);
        let malformed: [&dyn Fn(&str) -> String; 8] = [
            &|_| String::new(),
            &|r| format!("c=biws,r={r}"),
            &|r| format!("r={r},c=biws,p={proof}"),
            &|r| format!("c=eSws,r={r},p={proof}"),
            &|r| format!("c=,r={r},p={proof}"),
            &|r| format!("c=biws,r={r}x,p={proof}"),
            &|r| format!("c=biws,r={r},p={short}"),
            &|r| format!("c=biws,r={r},p={proof},x=y"),
        ];
        for (i, last) in malformed.iter().enumerate() {
            assert!(matches!(finish(last), Err(ScramError::Malformed(_))), "{i}");
        }
    }

    #[test]
    fn a_decoy_has_the_same_salt_each_time() {
        let decoy = Decoy::new().unwrap();
        let salt = |user| decoy.verifier(user).salt;
        assert_eq!(salt("mallory"), salt("mallory"));
        assert_ne!(salt("mallory"), salt("eve"));
    }

    /// The example of RFC 7677, section 3, made with its nonces.
    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let keys = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = Challenge {
            verifier: Verifier::parse(keys).unwrap(),
            is_known: true,
            binding: "biws".to_owned(),
            is_bound: false,
            nonce: nonce.to_owned(),
            transcript: format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let proven = challenge.finish(last.as_bytes()).unwrap();
        assert_eq!(proven.server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
