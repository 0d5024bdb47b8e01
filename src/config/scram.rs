//! SCRAM verifiers in Postgres's form, `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (Postgres documentation, pg_authid).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::model::Secret;

/// How a verifier begins.
const PREFIX: &str = "SCRAM-SHA-256$";
/// RFC 7677 asks for at least this many iterations; Postgres makes as many.
const USUAL_ITERATIONS: u32 = 4096;
/// A client must do this work at each login; more would only keep it out.
const MOST_ITERATIONS: u32 = 10_000_000;
/// Length in bytes of StoredKey and ServerKey: those of a SHA-256 hash.
const KEY_LENGTH: usize = 32;

/// Makes the verifier of a password as Postgres would: SASLprep (the password as it is where that refuses it),
/// 4096 iterations, a random salt of 16 bytes.
pub fn scram_verifier(password: &str) -> Secret {
    Secret::new(postgres_protocol::password::scram_sha_256(password.as_bytes()))
}

/// Whether a text is meant to be a verifier.
pub(super) fn looks_like_verifier(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// What a server keeps of a password (RFC 5802, section 3): it proves a login, and cannot be used for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How often the password is hashed.
    pub iterations: u32,
    /// Salt of the hash.
    pub salt: Vec<u8>,
    /// Hash of the ClientKey, by which a client is known.
    pub stored_key: [u8; KEY_LENGTH],
    /// By which the server makes itself known.
    pub server_key: [u8; KEY_LENGTH],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// Reads Postgres's form. The message never quotes the text.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let broken =
            |what: &str| format!("is not a whole SCRAM verifier: {what}; make a new one with `pgbelay password`");
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| broken("it does not begin with SCRAM-SHA-256$"))?;
        let (work, keys) = rest.split_once('$').ok_or_else(|| broken("a $ is missing"))?;
        let (iterations, salt) = work.split_once(':').ok_or_else(|| broken("the salt is missing"))?;
        let (stored_key, server_key) = keys.split_once(':').ok_or_else(|| broken("the ServerKey is missing"))?;

        let digits = !iterations.is_empty() && iterations.bytes().all(|b| b.is_ascii_digit());
        let iterations = iterations.parse::<u32>().ok().filter(|n| digits && (1..=MOST_ITERATIONS).contains(n));
        let iterations = iterations.ok_or_else(|| broken("the iterations are not a number from 1 to 10000000"))?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty());
        let salt = salt.ok_or_else(|| broken("the salt is not base64"))?;
        let key = |name: &str, key: &str| {
            let key = STANDARD.decode(key).ok().and_then(|key| key.try_into().ok());
            key.ok_or_else(|| broken(&format!("the {name} is not 32 bytes in base64")))
        };
        let (stored_key, server_key) = (key("StoredKey", stored_key)?, key("ServerKey", server_key)?);
        Ok(Self { iterations, salt, stored_key, server_key })
    }

    /// Whether fewer iterations than usual make it easier to guess the password.
    pub(super) fn is_weak(&self) -> bool {
        self.iterations < USUAL_ITERATIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    /// Made by Postgres 15: `CREATE ROLE x PASSWORD 'péncil'`.
    const FROM_POSTGRES: &str = "SCRAM-SHA-256$4096:TuxPUSGMeJxZeM7d/JbVkA==$wZN/uzNK/LMlmob87gCfCp6QSsCmCCJCp/GyQUrwM+I=:gQZ6cy6lnChWpS02mmUowNrtA65iuQu/pqtI6aQkLg0=";

    /// StoredKey and ServerKey as RFC 5802 makes them of a password that SASLprep has been applied to.
    fn keys(password: &str, salt: &[u8], iterations: u32) -> (String, String) {
        let mut salted = [0; KEY_LENGTH];
        let iterations = NonZeroU32::new(iterations).unwrap();
        ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &salted);
        let client_key = ring::hmac::sign(&key, b"Client Key");
        let stored_key = ring::digest::digest(&ring::digest::SHA256, client_key.as_ref());
        (STANDARD.encode(stored_key), STANDARD.encode(ring::hmac::sign(&key, b"Server Key")))
    }

    fn assert_fits(verifier: &str, password: &str) {
        assert_eq!(Verifier::parse(verifier).unwrap().iterations, USUAL_ITERATIONS);
        let parts: Vec<&str> = verifier.split(['$', ':']).collect();
        let salt = STANDARD.decode(parts[2]).unwrap();
        assert_eq!(salt.len(), 16);
        assert_eq!(keys(password, &salt, 4096), (parts[3].to_owned(), parts[4].to_owned()));
    }

    #[test]
    fn a_verifier_of_postgres_is_accepted() {
        assert_fits(FROM_POSTGRES, "péncil");
    }

    #[test]
    fn our_verifier_fits_the_password_and_is_salted() {
        // The second is prohibited by SASLprep, the third normalised by it: U+00AA to "a".
        let passwords = [
            ("pencil", "pencil"),
            ("bell\u{7}", "bell\u{7}"),
            ("\u{aa}", "a"),
            ("", ""),
            ("пароль 密码", "пароль 密码"),
        ];
        for (password, prepared) in passwords {
            assert_fits(scram_verifier(password).expose(), prepared);
        }
        assert!(scram_verifier("x") != scram_verifier("x"));
    }

    #[test]
    fn broken_verifiers_are_refused() {
        let good = FROM_POSTGRES;
        let parts: Vec<&str> = good.split(['$', ':']).collect();
        let (salt, stored, server) = (parts[2], parts[3], parts[4]);
        let short = STANDARD.encode([0; 31]);
        for bad in [
            "secret".to_owned(),
            "md5a6f2d2a6f2d2a6f2d2a6f2d2a6f2d2a6".to_owned(),
            "SCRAM-SHA-256$".to_owned(),
            format!("SCRAM-SHA-256$0:{salt}${stored}:{server}"),
            format!("SCRAM-SHA-256$+4096:{salt}${stored}:{server}"),
            format!("SCRAM-SHA-256$99999999999:{salt}${stored}:{server}"),
            format!("SCRAM-SHA-256$4096:${stored}:{server}"),
            format!("SCRAM-SHA-256$4096:*{salt}${stored}:{server}"),
            format!("SCRAM-SHA-256$4096:{salt}${stored}"),
            format!("SCRAM-SHA-256$4096:{salt}${short}:{server}"),
            format!("SCRAM-SHA-256$4096:{salt}${stored}:{short}"),
            format!("{good} "),
            good[..good.len() - 1].to_owned(),
        ] {
            let message = Verifier::parse(&bad).expect_err(&bad);
            assert!(!message.contains(salt) && message.contains("pgbelay password"), "{message}");
        }
    }
}
