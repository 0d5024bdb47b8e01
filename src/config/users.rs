//! `[users.NAME]`: who may log in at the proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeValue;

use super::certificate_name::CertificateName;
use super::model::{Listen, Origin, Secret, User};
use super::policy::Role;
use super::reader::{At, Section};
use super::scram::{Verifier, looks_like_verifier, scram_verifier};
use super::values::{choice, connections, instant, text};

/// Reads `[users]`; a client certificate is of use only where the listener takes one.
pub(super) fn read(root: &Section<'_>, listen: &Listen) -> BTreeMap<String, Arc<User>> {
    let section = root.table("users");
    let entries = section.entries();
    if entries.is_empty() {
        section.reader.error(&section.place, "there is no user; add [users.NAME] with a role and a password");
    }
    entries
        .into_iter()
        .filter_map(|(name, entry)| Some((name.clone(), Arc::new(read_user(name, entry, listen)?))))
        .collect()
}

fn read_user(name: String, section: Section<'_>, listen: &Listen) -> Option<User> {
    if name.is_empty() || name.chars().any(char::is_control) {
        section.reader.error(&section.place, "a user's name must not be empty nor hold control characters");
    }
    let roles = Role::ALL.map(Role::as_str).join(", ");
    let role = section.require("role", &format!("use one of: {roles}"), choice::<Role>);
    let certificates = section.get("clientcert", certificate_names);
    if let Some(at) = certificates.as_ref().filter(|_| listen.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none())) {
        let message = "needs a CA that signs client certificates; name it by client_ca in tls of [listen]";
        section.reader.error(&at.place, message);
    }
    let verifier = read_verifier(&section);
    let max_connections = section.get("max_connections", connections).map(|at| at.value);
    let valid_until = section.get("valid_until", instant).map(|at| at.value);
    let has_password = section.has("password") || section.has("password_env");
    if !has_password && !section.has("clientcert") {
        let message = "has no password; run `pgbelay password` and write password = \"SCRAM-SHA-256$…\", \
                       or name an environment variable by password_env, or a client certificate by clientcert";
        section.reader.error(&section.place, message);
    }
    if has_password != verifier.is_some() || section.has("clientcert") != certificates.is_some() {
        return None;
    }
    let certificates = certificates.map(|at| at.value).unwrap_or_default();
    let origin = Origin::Configured;
    Some(User { name, role: role?.value, origin, verifier, certificates, max_connections, valid_until })
}

/// One name of a certificate, or several of which one is enough.
fn certificate_names(value: &DeValue<'_>) -> Result<Vec<CertificateName>, String> {
    match value {
        DeValue::Array(names) if !names.is_empty() => names.iter().map(|name| choice(name.get_ref())).collect(),
        DeValue::Array(_) => Err("must not be empty".to_owned()),
        one => choice(one).map(|name| vec![name]),
    }
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
        (None, None) => None,
    }
}

fn accept_verifier(section: &Section<'_>, text: At<String>) -> Option<Secret> {
    let verifier = section.reader.check(&text.place, Verifier::parse(&text.value))?;
    if verifier.is_weak() {
        let iterations = verifier.iterations;
        let message =
            format!("has {iterations} iterations, fewer than RFC 7677's 4096; make a new one with `pgbelay password`");
        section.reader.warn(&text.place, message);
    }
    Some(Secret::new(text.value))
}
