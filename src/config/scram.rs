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

/// Checks the form of a verifier and returns its number of iterations. The message never quotes the text.
pub(super) fn check_verifier(text: &str) -> Result<u32, String> {
    let broken = |what: &str| format!("is not a whole SCRAM verifier: {what}; make a new one with `pgbelay password`");
    let rest = text.strip_prefix(PREFIX).ok_or_else(|| broken("it does not begin with SCRAM-SHA-256$"))?;
    let (work, keys) = rest.split_once('$').ok_or_else(|| broken("a $ is missing"))?;
    let (iterations, salt) = work.split_once(':').ok_or_else(|| broken("the salt is missing"))?;
    let (stored_key, server_key) = keys.split_once(':').ok_or_else(|| broken("the ServerKey is missing"))?;

    let digits = !iterations.is_empty() && iterations.bytes().all(|b| b.is_ascii_digit());
    let iterations = iterations.parse::<u32>().ok().filter(|n| digits && (1..=MOST_ITERATIONS).contains(n));
    let iterations = iterations.ok_or_else(|| broken("the iterations are not a number from 1 to 10000000"))?;
    if STANDARD.decode(salt).map_or(true, |salt| salt.is_empty()) {
        return Err(broken("the salt is not base64"));
    }
    for (name, key) in [("StoredKey", stored_key), ("ServerKey", server_key)] {
        if STANDARD.decode(key).map_or(true, |key| key.len() != KEY_LENGTH) {
            return Err(broken(&format!("the {name} is not 32 bytes in base64")));
        }
    }
    Ok(iterations)
}

/// Whether fewer iterations than usual make the verifier easier to guess.
pub(super) fn is_weak(iterations: u32) -> bool {
    iterations < USUAL_ITERATIONS
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgwire::api::auth::sasl::scram::gen_salted_password;

    /// Made by Postgres 15: `CREATE ROLE x PASSWORD 'péncil'`.
    const FROM_POSTGRES: &str = "SCRAM-SHA-256$4096:TuxPUSGMeJxZeM7d/JbVkA==$wZN/uzNK/LMlmob87gCfCp6QSsCmCCJCp/GyQUrwM+I=:gQZ6cy6lnChWpS02mmUowNrtA65iuQu/pqtI6aQkLg0=";

    /// StoredKey and ServerKey of RFC 5802, from the code that will check logins.
    fn keys(password: &str, salt: &[u8], iterations: usize) -> (String, String) {
        let salted = gen_salted_password(password, salt, iterations);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &salted);
        let client_key = ring::hmac::sign(&key, b"Client Key");
        let stored_key = ring::digest::digest(&ring::digest::SHA256, client_key.as_ref());
        (STANDARD.encode(stored_key), STANDARD.encode(ring::hmac::sign(&key, b"Server Key")))
    }

    fn assert_fits(verifier: &str, password: &str) {
        assert_eq!(check_verifier(verifier), Ok(USUAL_ITERATIONS));
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
        for password in ["pencil", "bell\u{7}", "\u{aa}", "", "пароль 密码"] {
            assert_fits(scram_verifier(password).expose(), password);
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
            let message = check_verifier(&bad).expect_err(&bad);
            assert!(!message.contains(salt) && message.contains("pgbelay password"), "{message}");
        }
    }
}
