//! `[listen]`, `[admin]` and `[audit]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::files;
use super::model::{Admin, Audit, Listen, ListenTls, Secret};
use super::reader::{At, Section};
use super::values::{boolean, bytes, duration, limit, number, text};

/// Where clients connect when the file does not say.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6432);
const DEFAULT_MAX_CLIENTS: u64 = 1000;
const DEFAULT_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_FAILED_LOGIN_DELAY: Duration = Duration::from_secs(5);
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
const DEFAULT_ROTATE_BYTES: u64 = 256 << 20;
/// Smaller files would hold only a few records each.
const LEAST_ROTATE_BYTES: u64 = 1 << 10;

/// A shorter token could be guessed.
const LEAST_TOKEN: usize = 16;

/// Reads `[listen]` and how long a stop waits.
pub(super) fn read_listen(root: &Section<'_>) -> (Listen, Duration) {
    let section = root.table("listen");
    let reader = section.reader;
    let address = section.get("address", address);
    let insecure = section.get("insecure", boolean);
    let reuse_port = section.get("reuse_port", boolean);
    let max_clients = section.get("max_clients", |value| number(value, 1, 1_000_000));
    let login_timeout = section.get("login_timeout", duration);
    let failed_login_delay = section.get("failed_login_delay", limit(duration));
    let drain = section.get("drain", duration);
    let tls = read_tls(&section.table("tls"));

    let place = address.as_ref().map_or_else(|| section.place.clone(), |at| at.place.clone());
    let is_insecure = insecure.as_ref().is_some_and(|at| at.value);
    let on_loopback = address.as_ref().is_none_or(|at| at.value.ip().to_canonical().is_loopback());
    let is_plain = tls.as_ref().is_none_or(|tls| !tls.required);
    if is_plain && !on_loopback && !is_insecure {
        let message = match tls {
            None => "is off loopback and needs tls = { cert = …, key = … }; insecure = true allows plain TCP",
            Some(_) => {
                "is off loopback but TLS is not required of clients; set required = true in tls, or insecure = true"
            }
        };
        reader.error(&place, message);
    }
    if let Some(insecure) = insecure.filter(|at| at.value && (on_loopback || !is_plain)) {
        reader.warn(&insecure.place, "has no effect: clients are on loopback or must use TLS; leave it out");
    }

    let listen = Listen {
        address: address.map_or(DEFAULT_ADDRESS, |at| at.value),
        tls,
        insecure: is_insecure,
        reuse_port: reuse_port.is_some_and(|at| at.value),
        max_clients: usize::try_from(max_clients.map_or(DEFAULT_MAX_CLIENTS, |at| at.value)).unwrap_or(usize::MAX),
        login_timeout: login_timeout.map_or(DEFAULT_LOGIN_TIMEOUT, |at| at.value),
        failed_login_delay: failed_login_delay.map_or(Some(DEFAULT_FAILED_LOGIN_DELAY), |at| at.value),
    };
    (listen, drain.map_or(DEFAULT_DRAIN, |at| at.value))
}

/// Reads `tls = { … }`; `None` when it is absent or unusable.
fn read_tls(section: &Section<'_>) -> Option<ListenTls> {
    let resolve = |at: At<String>| at.map(|path| section.reader.resolve(&path));
    let cert_hint = "name the PEM file of the certificate (`pgbelay certs DIR` makes one)";
    let cert = section.require("cert", cert_hint, text).map(resolve);
    let key = section.require("key", "name the PEM file of the certificate's private key", text).map(resolve);
    let client_ca = section.get("client_ca", text).map(resolve);
    let client_crl = section.get("client_crl", text).map(resolve);
    let required = section.get("required", boolean);
    if !section.is_present() {
        return None;
    }
    if let Some(at) = client_crl.as_ref().filter(|_| client_ca.is_none()) {
        section.reader.error(&at.place, "has no effect without client_ca; name the CA, or leave it out");
    }
    if section.reader.reads_files() {
        check_tls_files(section, cert.as_ref(), key.as_ref(), client_ca.as_ref());
        if let Some(at) = &client_crl {
            section.reader.check(&at.place, files::revocation_lists(&at.value));
        }
    }
    Some(ListenTls {
        cert: cert?.value,
        key: key?.value,
        client_ca: client_ca.map(|at| at.value),
        client_crl: client_crl.map(|at| at.value),
        required: required.is_none_or(|at| at.value),
    })
}

fn check_tls_files(
    section: &Section<'_>,
    cert: Option<&At<PathBuf>>,
    key: Option<&At<PathBuf>>,
    client_ca: Option<&At<PathBuf>>,
) {
    let reader = section.reader;
    let chain = cert.and_then(|at| reader.check(&at.place, files::certificates(&at.value)));
    if let Some(at) = key {
        let private_key = reader.check(&at.place, files::private_key(&at.value));
        if let Some((chain, private_key)) = chain.zip(private_key) {
            reader.check(&at.place, files::belong_together(chain, private_key));
        }
        warn_if_everybody_reads(section, at);
    }
    if let Some(at) = client_ca {
        reader.check(&at.place, files::certificate_authority(&at.value));
    }
}

/// Reads `[admin]`; it must not take the listener's address.
pub(super) fn read_admin(root: &Section<'_>, listen: SocketAddr) -> Option<Admin> {
    let section = root.table("admin");
    let admin = section.require("address", "write address = \"127.0.0.1:9632\", or leave [admin] out", address);
    let token = read_token(&section);
    let admin = admin?;
    let same_port = admin.value.port() == listen.port() && listen.port() != 0;
    let (a, b) = (admin.value.ip(), listen.ip());
    if same_port && (a == b || a.is_unspecified() || b.is_unspecified()) {
        section.reader.error(&admin.place, "is the address of [listen]; give it another port, such as 9632");
    }
    Some(Admin { address: admin.value, token })
}

/// The operators' token from the environment or a file.
fn read_token(section: &Section<'_>) -> Option<Secret> {
    let reader = section.reader;
    let variable = section.get("token_env", text);
    let file = section.get("token_file", text).map(|at| at.map(|path| reader.resolve(&path)));
    if let (Some(at), Some(_)) = (&variable, &file) {
        reader.error(&at.place, "token_file is given as well; keep one of them");
    }
    let (place, token) = match (variable, file.filter(|_| reader.reads_files())) {
        (Some(at), _) => (at.place.clone(), reader.check(&at.place, reader.variable(&at.value))?.map(Secret::new)?),
        (None, Some(at)) => {
            warn_if_everybody_reads(section, &at);
            (at.place.clone(), reader.check(&at.place, files::password(&at.value))?)
        }
        (None, None) => return None,
    };
    if token.expose().len() < LEAST_TOKEN || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "holds a token that is shorter than {LEAST_TOKEN} characters, or has other than printable ASCII characters; \
             make one with `openssl rand -hex 32`"
        );
        reader.error(&place, message);
    }
    Some(token)
}

/// Reads `[audit]`.
pub(super) fn read_audit(root: &Section<'_>) -> Audit {
    let section = root.table("audit");
    let reader = section.reader;
    if !root.has("audit") {
        reader.error(&section.place, "is missing; add [audit] with path = \"logs/audit.jsonl\"");
    }
    let path = section.require("path", "name the audit file, as in path = \"logs/audit.jsonl\"", text);
    let rotate_size = section.get("rotate_size", bytes);
    let signing_key = section.get("signing_key", text).map(|at| at.map(|path| reader.resolve(&path)));
    if let Some(at) = rotate_size.as_ref().filter(|at| at.value < LEAST_ROTATE_BYTES) {
        reader.error(&at.place, "must be at least \"1KiB\"");
    }
    if let Some(at) = path.as_ref().filter(|at| reader.reads_files() && reader.resolve(&at.value).is_dir()) {
        reader.error(&at.place, "is a directory; name a file in it, such as audit.jsonl");
    }
    if let Some(at) = signing_key.as_ref().filter(|_| reader.reads_files()) {
        reader.check(&at.place, files::signing_key(&at.value));
        warn_if_everybody_reads(&section, at);
    }
    Audit {
        path: reader.resolve(&path.map(|at| at.value).unwrap_or_default()),
        rotate_bytes: rotate_size.map_or(DEFAULT_ROTATE_BYTES, |at| at.value),
        signing_key: signing_key.map(|at| at.value),
    }
}

pub(super) fn warn_if_everybody_reads(section: &Section<'_>, secret: &At<PathBuf>) {
    if files::everybody_reads(&secret.value) {
        let path = secret.value.display();
        section.reader.warn(&secret.place, format!("{path} can be read by every user of this machine; chmod 600 it"));
    }
}

/// An IP address and port; names are not resolved, so that a listener cannot move.
fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some(("", port)) => format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all interfaces"),
            Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
            _ => "write an IP address and a port, such as \"127.0.0.1:6432\" or \"[::1]:6432\"".to_owned(),
        };
        format!("is not an address; {hint}")
    })
}
