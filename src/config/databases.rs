//! `[databases.NAME]`: the tiers of a database, where they are and how to log in there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::auth_query;
use super::connection::{ChannelBinding, ClientCertificate, Replicas, SessionAttrs, SslMode, SslNegotiation};
use super::files;
use super::listen::warn_if_everybody_reads;
use super::model::{Database, Secret, Target};
use super::policy::Tier;
use super::reader::{At, Place, Section};
use super::url::UpstreamUrl;
use super::url_parameters::Parameters;
use super::values::{choice, connections, duration, limit, text};

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const DEFAULT_MAX_REPLICA_LAG: Duration = Duration::from_secs(10);

/// Reads `[databases]`.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Database> {
    let section = root.table("databases");
    let mut databases = BTreeMap::new();
    let mut aliases = Vec::new();
    let entries = section.entries();
    if entries.is_empty() {
        section
            .reader
            .error(&section.place, "there is no database; add [databases.app] with a tier such as int = { url = … }");
    }
    for (name, entry) in entries {
        if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
            let message = "a database's name must not be empty nor hold a colon or control characters: \
                           clients write NAME:TIER";
            section.reader.error(&entry.place, message);
        }
        if let Some(database) = read_database(&name, entry, &mut aliases) {
            databases.insert(name, database);
        }
    }
    check_aliases(&section, &databases, &aliases);
    databases
}

/// Reads one database. `None` when it cannot be used; the errors are noted.
fn read_database(name: &str, section: Section<'_>, aliases: &mut Vec<At<String>>) -> Option<Database> {
    let reader = section.reader;
    let default_tier = section.get("default_tier", choice::<Tier>);
    let mut targets = BTreeMap::new();
    let mut tiers = Vec::new();
    for tier in Tier::ALL {
        let of_tier = section.named(tier.as_str(), "TIER");
        let target = read_target(name, tier, &of_tier, aliases);
        if of_tier.is_present() {
            tiers.push(tier);
            targets.extend(target.map(|target| (tier, Arc::new(target))));
        }
    }
    let is_default_wrong = section.has("default_tier") && default_tier.is_none();
    let place = default_tier.as_ref().map_or_else(|| section.place.clone(), |at| at.place.clone());
    let given = default_tier.map(|at| at.value);

    let known = tiers.iter().map(|tier| tier.as_str()).collect::<Vec<_>>().join(", ");
    let default_tier = given.unwrap_or(Tier::Int);
    if tiers.is_empty() {
        reader.error(&place, "has no tier; add int, stg or prod, as in int = { url = \"postgres://…\" }");
    } else if !tiers.contains(&default_tier) && !is_default_wrong {
        let message = match given {
            Some(tier) => format!("is {tier}, which this database does not have; it has {known}"),
            None => format!("has no tier int for a bare name to mean; set default_tier to one of: {known}"),
        };
        reader.error(&place, message);
    } else if default_tier == Tier::Prod && tiers.len() > 1 {
        reader.warn(&place, format!("a bare \"{name}\" means prod; a milder default_tier saves people from a slip"));
    }
    (!targets.is_empty()).then_some(Database { default_tier, targets })
}

fn read_target(database: &str, tier: Tier, section: &Section<'_>, aliases: &mut Vec<At<String>>) -> Option<Target> {
    let reader = section.reader;
    let url = section.require("url", "write url = \"postgres://user@host:5432/dbname?sslmode=verify-full\"", text);
    let replicas = section.get("replicas", text);
    let max_lag = section.get("max_replica_lag", limit(duration));
    let alias = section.get("name", text);
    let connect_timeout = section.get("connect_timeout", duration).map_or(DEFAULT_CONNECT_TIMEOUT, |at| at.value);
    let max_connections = section.get("max_connections", connections).map(|at| at.value);
    let auth_query = auth_query::read(&section.table("auth_query"));
    let password = read_password(section);
    let files = Files::read(section);
    if !section.is_present() {
        return None;
    }
    section.refuse("password", "a password does not belong into this file; name it by password_env or password_file");
    aliases.extend(alias.clone());
    if let Some(at) = max_lag.as_ref().filter(|_| replicas.is_none()) {
        reader.error(&at.place, "has no effect without replicas; add replicas = \"postgres://…\", or leave it out");
    }
    let target = |url: At<String>, default: SessionAttrs| {
        let At { value: url, place } = url;
        let url = reader.check(&place, UpstreamUrl::parse(&url))?;
        let (ca, certificate) = files.of(&url.parameters, &place, section);
        check_tls(tier, &url, certificate.is_some(), &place, section);
        Some(Target {
            database: database.to_owned(),
            tier,
            alias: None,
            session_attrs: url.parameters.session_attrs.unwrap_or(default),
            load_balance: url.parameters.load_balance.unwrap_or_default(),
            sslmode: url.parameters.sslmode.unwrap_or_default(),
            sslnegotiation: url.parameters.sslnegotiation.unwrap_or_default(),
            channel_binding: url.parameters.channel_binding.unwrap_or_default(),
            hosts: url.hosts,
            dbname: url.dbname,
            user: url.user,
            password: password.clone(),
            ca,
            certificate,
            connect_timeout,
            max_connections,
            auth_query: None,
            replicas: None,
        })
    };
    let replicas = replicas.and_then(|url| {
        let place = url.place.clone();
        let target = target(url, SessionAttrs::Standby)?;
        if matches!(target.session_attrs, SessionAttrs::ReadWrite | SessionAttrs::Primary) {
            let attrs = target.session_attrs.as_str();
            reader.error(&place, format!("has target_session_attrs={attrs}, which no replica is; use standby"));
        }
        let max_lag = max_lag.map_or(Some(DEFAULT_MAX_REPLICA_LAG), |at| at.value);
        Some(Replicas { target: Arc::new(target), max_lag })
    });
    let url = url?;
    let place = url.place.clone();
    let target = target(url, SessionAttrs::Any)?;
    if target.hosts.len() > 1 && target.session_attrs == SessionAttrs::Any {
        reader.warn(&place, "names several hosts, and any of them will do; add target_session_attrs=read-write");
    }
    Some(Target { alias: alias.map(|at| at.value), auth_query, replicas, ..target })
}

/// The PEM files of a tier, as its keys name them.
struct Files {
    ca: Option<At<PathBuf>>,
    cert: Option<At<PathBuf>>,
    key: Option<At<PathBuf>>,
}

impl Files {
    fn read(section: &Section<'_>) -> Self {
        let path = |key| section.get(key, text).map(|at| at.map(|path| section.reader.resolve(&path)));
        Self { ca: path("ca"), cert: path("cert"), key: path("key") }
    }

    /// The files to use with a url: its own parameters stand for the keys of the tier. Their contents are checked.
    fn of(
        &self,
        parameters: &Parameters,
        url: &Place,
        section: &Section<'_>,
    ) -> (Option<PathBuf>, Option<ClientCertificate>) {
        let reader = section.reader;
        let one = |name: &str, given: &Option<String>, key: &Option<At<PathBuf>>| {
            let given = given.as_ref().map(|path| At { value: reader.resolve(path), place: url.clone() });
            if let (Some(_), Some(at)) = (&given, key) {
                reader.error(&at.place, format!("is given by {name} in the url as well; keep one of them"));
            }
            given.or_else(|| key.clone())
        };
        let ca = one("sslrootcert", &parameters.sslrootcert, &self.ca);
        let cert = one("sslcert", &parameters.sslcert, &self.cert);
        let key = one("sslkey", &parameters.sslkey, &self.key);
        let sslmode = parameters.sslmode.unwrap_or_default();
        if let Some(at) = ca.as_ref().filter(|_| !sslmode.is_verifying()) {
            reader.warn(
                &at.place,
                format!("the CA is not used with sslmode={}; use sslmode=verify-full", sslmode.as_str()),
            );
        }
        if let Some(at) = ca.as_ref().filter(|_| reader.reads_files()) {
            reader.check(&at.place, files::certificate_authority(&at.value));
        }
        let certificate = match (cert, key) {
            (Some(cert), Some(key)) => {
                if reader.reads_files() {
                    let chain = reader.check(&cert.place, files::certificates(&cert.value));
                    let private = reader.check(&key.place, files::private_key(&key.value));
                    if let (Some(chain), Some(private)) = (chain, private) {
                        reader.check(&key.place, files::belong_together(chain, private));
                    }
                    warn_if_everybody_reads(section, &key);
                }
                Some(ClientCertificate { cert: cert.value, key: key.value })
            }
            (Some(At { place, .. }), None) => {
                reader.error(&place, "a client certificate needs its private key; add key = \"client-key.pem\"");
                None
            }
            (None, Some(At { place, .. })) => {
                reader.error(&place, "a private key needs its client certificate; add cert = \"client.pem\"");
                None
            }
            (None, None) => None,
        };
        (ca.map(|at| at.value), certificate)
    }
}

fn check_tls(tier: Tier, url: &UpstreamUrl, has_certificate: bool, place: &Place, section: &Section<'_>) {
    let reader = section.reader;
    let sslmode = url.parameters.sslmode.unwrap_or_default();
    // sslmode=disable is somebody's decision; prefer gives way without a word.
    if tier.is_guarded() && sslmode == SslMode::Prefer && !url.is_local() {
        reader.warn(place, "may talk to the database in plain TCP; use sslmode=verify-full");
    }
    if sslmode == SslMode::Disable {
        if has_certificate {
            reader.error(place, "has sslmode=disable, but a client certificate needs TLS; use verify-full");
        }
        if url.parameters.channel_binding == Some(ChannelBinding::Require) {
            reader.error(place, "has sslmode=disable, but channel_binding=require needs TLS; use verify-full");
        }
    }
    let is_weak = matches!(sslmode, SslMode::Disable | SslMode::Prefer);
    if is_weak && url.parameters.sslnegotiation == Some(SslNegotiation::Direct) {
        reader.error(place, "has sslnegotiation=direct, which needs sslmode=require or better");
    }
}

/// The password from the environment or a file; `None` for trust authentication.
fn read_password(section: &Section<'_>) -> Option<Secret> {
    let reader = section.reader;
    let variable = section.get("password_env", text);
    let file = section.get("password_file", text).map(|at| at.map(|path| reader.resolve(&path)));
    if let (Some(at), Some(_)) = (&variable, &file) {
        reader.error(&at.place, "password_file is given as well; keep one of them");
    }
    if let Some(at) = variable {
        return reader.check(&at.place, reader.variable(&at.value)).flatten().map(Secret::new);
    }
    let file = file.filter(|_| reader.reads_files())?;
    warn_if_everybody_reads(section, &file);
    reader.check(&file.place, files::password(&file.value))
}

fn check_aliases(section: &Section<'_>, databases: &BTreeMap<String, Database>, aliases: &[At<String>]) {
    for (i, alias) in aliases.iter().enumerate() {
        let name = &alias.value;
        let message = if name.contains(':') {
            "must not hold a colon, which parts a database from its tier; use app_prod or the like".to_owned()
        } else if databases.contains_key(name) {
            format!("\"{name}\" is the name of a database; choose another")
        } else if let Some(other) = aliases[..i].iter().find(|other| other.value == *name) {
            format!("\"{name}\" is the name of {} already; choose another", other.place.key.trim_end_matches(".name"))
        } else {
            continue;
        };
        section.reader.error(&alias.place, message);
    }
}
