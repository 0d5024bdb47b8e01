//! The proxy as a SCRAM-SHA-256 client that has no password, only the keys that a user has logged in with (RFC 5802, section 3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand;

use super::scram_server::{hmac_sha256, sha256};

/// What a login proves: enough to log in as that user elsewhere, where the same verifier is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ScramKeys {
    pub(super) client_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramKeys(…)")
    }
}

/// What is said of channel binding (RFC 5802, section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The login is bound to the server's certificate, whose hash this is.
    EndPoint(Vec<u8>),
    /// It could be, but the server does not offer it.
    NotOffered,
    /// It is not to be, or cannot.
    Unsupported,
}

/// One exchange.
pub struct ScramClient {
    keys: ScramKeys,
    /// `c=…`
    binding: String,
    /// GS2 header.
    header: &'static str,
    nonce: String,
    /// What is signed, once it is known.
    signed: String,
}

impl std::fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramClient")
    }
}

impl ScramClient {
    /// An exchange with these keys; `None` when the system has no randomness.
    pub fn new(keys: &ScramKeys, binding: &Binding) -> Option<Self> {
        let (header, hash): (_, &[u8]) = match binding {
            Binding::EndPoint(hash) => ("p=tls-server-end-point,,", hash),
            Binding::NotOffered => ("y,,", &[]),
            Binding::Unsupported => ("n,,", &[]),
        };
        let random = rand::generate::<[u8; 18]>(&rand::SystemRandom::new()).ok()?.expose();
        Some(Self {
            keys: keys.clone(),
            binding: format!("c={}", STANDARD.encode([header.as_bytes(), hash].concat())),
            header,
            nonce: STANDARD.encode(random),
            signed: String::new(),
        })
    }

    /// The client-first message. The user's name is that of the start-up message.
    pub fn first(&self) -> String {
        format!("{}n=,r={}", self.header, self.nonce)
    }

    /// Answers the server-first message by the client-final one; salt and iterations do not matter to whom has the keys.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn answer(&mut self, server_first: &[u8]) -> Result<String, &'static str> {
        let server_first = str::from_utf8(server_first).map_err(|_| "the server's first message is not UTF-8")?;
        let nonce = server_first.strip_prefix("r=").and_then(|rest| rest.split_once(','));
        let (nonce, _) = nonce.ok_or("the server's first message is malformed")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's nonce does not extend the client's");
        }
        let without_proof = format!("{},r={nonce}", self.binding);
        self.signed = format!("n=,r={},{server_first},{without_proof}", self.nonce);
        let signature = hmac_sha256(&sha256(&self.keys.client_key), self.signed.as_bytes());
        let mut proof = self.keys.client_key;
        for (byte, signed) in proof.iter_mut().zip(signature) {
            *byte ^= signed;
        }
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Checks the server-final message: the server has to prove that it knows the verifier.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn finish(&self, server_final: &[u8]) -> Result<(), &'static str> {
        if self.signed.is_empty() {
            return Err("the server's messages are out of order");
        }
        let signature = hmac_sha256(&self.keys.server_key, self.signed.as_bytes());
        let proven = format!("v={}", STANDARD.encode(signature));
        if server_final == proven.as_bytes() { Ok(()) } else { Err("the server does not know the user's verifier") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scram_server::{Decoy, Offer, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError};
    use super::*;
    use crate::config::{Verifier, scram_verifier};
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    /// What a login with the password proves.
    fn keys_of(password: &str, verifier: &Verifier) -> ScramKeys {
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let decoy = Decoy::new().unwrap();
        let (challenge, server_first) = Offer { end_point: None }
            .challenge(SCRAM_SHA_256, "alice", Some(verifier.clone()), &decoy, client.message())
            .unwrap();
        client.update(server_first.as_bytes()).unwrap();
        challenge.finish(client.message()).unwrap().keys
    }

    fn log_in(keys: &ScramKeys, verifier: &Verifier, binding: &Binding, offer: Offer<'_>) -> Result<(), ScramError> {
        let mut client = ScramClient::new(keys, binding).unwrap();
        let mechanism = if matches!(binding, Binding::EndPoint(_)) { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 };
        let decoy = Decoy::new().unwrap();
        let (challenge, server_first) =
            offer.challenge(mechanism, "alice", Some(verifier.clone()), &decoy, client.first().as_bytes())?;
        let proven = challenge.finish(client.answer(server_first.as_bytes()).unwrap().as_bytes())?;
        client.finish(proven.server_final.as_bytes()).unwrap();
        assert!(client.finish(b"v=AAAA").is_err(), "an impostor is believed");
        Ok(())
    }

    fn verifier(password: &str) -> Verifier {
        Verifier::parse(scram_verifier(password).expose()).unwrap()
    }

    #[test]
    fn keys_of_a_login_log_in_where_the_same_verifier_is_kept() {
        let kept = verifier("s3cret");
        let keys = keys_of("s3cret", &kept);
        let plain = Offer { end_point: None };
        let bound = Offer { end_point: Some(b"hash") };
        assert_eq!(log_in(&keys, &kept, &Binding::Unsupported, plain), Ok(()));
        assert_eq!(log_in(&keys, &kept, &Binding::NotOffered, plain), Ok(()));
        assert_eq!(log_in(&keys, &kept, &Binding::EndPoint(b"hash".to_vec()), bound), Ok(()));
        assert!(log_in(&keys, &kept, &Binding::EndPoint(b"other".to_vec()), bound).is_err());
        // The same password with another salt makes other keys.
        let other = log_in(&keys, &verifier("s3cret"), &Binding::Unsupported, plain);
        assert_eq!(other, Err(ScramError::Login("wrong password")));
    }

    #[test]
    fn a_server_that_does_not_keep_to_the_exchange_is_refused() {
        let kept = verifier("s3cret");
        let mut client = ScramClient::new(&keys_of("s3cret", &kept), &Binding::Unsupported).unwrap();
        assert!(client.finish(b"v=").is_err());
        let own = client.nonce.clone();
        for first in ["", "r=", "r=abc,s=AAAA,i=4096", &format!("r={own},s=AAAA,i=4096"), &format!("s=AAAA,r={own}x")] {
            assert!(client.answer(first.as_bytes()).is_err(), "{first}");
        }
    }
}
