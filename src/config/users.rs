//! `[users.NAME]`: who may log in at the proxy.

use std::collections::BTreeMap;

use super::model::{Secret, User};
use super::policy::Role;
use super::reader::{At, Section};
use super::scram::{check_verifier, is_weak, looks_like_verifier, scram_verifier};
use super::values::{choice, text};

/// Reads `[users]`.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, User> {
    let section = root.table("users");
    let entries = section.entries();
    if entries.is_empty() {
        section.reader.error(&section.place, "there is no user; add [users.NAME] with a role and a password");
    }
    entries.into_iter().filter_map(|(name, entry)| Some((name.clone(), read_user(name, entry)?))).collect()
}

fn read_user(name: String, section: Section<'_>) -> Option<User> {
    if name.is_empty() || name.chars().any(char::is_control) {
        section.reader.error(&section.place, "a user's name must not be empty nor hold control characters");
    }
    let roles = Role::ALL.map(Role::as_str).join(", ");
    let role = section.require("role", &format!("use one of: {roles}"), choice::<Role>);
    let verifier = read_verifier(&section);
    Some(User { name, role: role?.value, verifier: verifier? })
}

/// The verifier from the file, or made of what the environment holds. Without the environment it is empty, which no
/// password fits.
fn read_verifier(section: &Section<'_>) -> Option<Secret> {
    let reader = section.reader;
    let in_file = section.get("password", |value| text(value).map_err(|_| "must be a SCRAM verifier".to_owned()));
    let variable = section.get("password_env", text);
    match (in_file, variable) {
        (Some(at), None) if looks_like_verifier(&at.value) => accept_verifier(section, at),
        (Some(at), None) => {
            let message = if at.value.starts_with("md5") && at.value.len() == 35 {
                "is an md5 hash, which pgbelay does not use; make a SCRAM verifier with `pgbelay password`"
            } else {
                "is a cleartext password; run `pgbelay password` and put the verifier it prints here"
            };
            reader.error(&at.place, message);
            None
        }
        (None, Some(at)) => match reader.check(&at.place, reader.variable(&at.value))? {
            None => Some(Secret::new("")),
            Some(text) if looks_like_verifier(&text) => accept_verifier(section, At { value: text, ..at }),
            Some(password) => Some(scram_verifier(&password)),
        },
        (Some(_), Some(at)) => {
            reader.error(&at.place, "password is given as well; keep one of them");
            None
        }
        (None, None) => {
            if !section.has("password") && !section.has("password_env") {
                let message = "has no password; run `pgbelay password` and write password = \"SCRAM-SHA-256$…\", \
                               or name an environment variable by password_env";
                reader.error(&section.place, message);
            }
            None
        }
    }
}

fn accept_verifier(section: &Section<'_>, text: At<String>) -> Option<Secret> {
    let iterations = section.reader.check(&text.place, check_verifier(&text.value))?;
    if is_weak(iterations) {
        let message =
            format!("has {iterations} iterations, fewer than RFC 7677's 4096; make a new one with `pgbelay password`");
        section.reader.warn(&text.place, message);
    }
    Some(Secret::new(text.value))
}
