//! The checked configuration: what the file means, with every path resolved, every secret loaded and every policy flat.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::auth_query::AuthQuery;
use super::certificate_name::CertificateName;
use super::connection::{
    ChannelBinding, ClientCertificate, Host, LoadBalance, Replicas, SessionAttrs, SslMode, SslNegotiation,
};
use super::policy::{Policy, PoolLimits, Role, Tier};

/// A secret: never shown by `Debug` or `Display` (invariant 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; call it only where it is used up.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A whole checked configuration; replaced as one on reload.
#[derive(Debug)]
pub struct Config {
    /// The file it came from.
    pub source: PathBuf,
    /// Where clients connect.
    pub listen: Listen,
    /// The operators' endpoint; `None` serves none.
    pub admin: Option<Admin>,
    /// The audit trail.
    pub audit: Audit,
    /// Databases by name.
    pub databases: BTreeMap<String, Database>,
    /// Users by name.
    pub users: BTreeMap<String, Arc<User>>,
    /// The policy of every role on every tier.
    pub policies: BTreeMap<(Role, Tier), Arc<Policy>>,
    /// The pool limits of every tier.
    pub pools: BTreeMap<Tier, PoolLimits>,
    /// How long a stop waits for sessions to finish.
    pub drain: Duration,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Address and port of the Postgres listener.
    pub address: SocketAddr,
    /// TLS towards clients.
    pub tls: Option<ListenTls>,
    /// Allows plain TCP off loopback.
    pub insecure: bool,
    /// Most client connections at once; more are refused with SQLSTATE 53300.
    pub max_clients: usize,
    /// Lets another process listen on the same address, as its successor does during a restart.
    pub reuse_port: bool,
    /// Time a client has to finish the start-up and authentication.
    pub login_timeout: Duration,
    /// Longest pause before a login is answered that follows failed ones; `None` for no pause.
    pub failed_login_delay: Option<Duration>,
}

/// `tls = { … }` of `[listen]`
#[derive(Clone, Debug, PartialEq)]
pub struct ListenTls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// PEM file of the CA that signs client certificates; when given, clients may present one, and must be signed by it.
    pub client_ca: Option<PathBuf>,
    /// PEM file of the revocation lists of that CA; a certificate on them is refused.
    pub client_crl: Option<PathBuf>,
    /// Refuses clients that do not use TLS.
    pub required: bool,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where health checks, metrics and operators' commands are served.
    pub address: SocketAddr,
    /// What a command must carry; `None` takes no commands.
    pub token: Option<Secret>,
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The current file; rotated files stand beside it.
    pub path: PathBuf,
    /// Size in bytes at which the file is rotated.
    pub rotate_bytes: u64,
    /// PKCS#8 PEM file of the ed25519 key that signs checkpoints; without it none are written.
    pub signing_key: Option<PathBuf>,
}

/// `[databases.NAME]`
#[derive(Clone, Debug)]
pub struct Database {
    /// The tier that a bare name means.
    pub default_tier: Tier,
    /// The tiers it has.
    pub targets: BTreeMap<Tier, Arc<Target>>,
}

/// One tier of one database: where it is and how to log in there.
#[derive(Debug, PartialEq)]
pub struct Target {
    /// The database's name in the configuration.
    pub database: String,
    /// The tier.
    pub tier: Tier,
    /// A second, plain name for clients that dislike `app:prod`.
    pub alias: Option<String>,
    /// Its servers, at least one, in the order in which they are tried.
    pub hosts: Vec<Host>,
    /// Which of them will do.
    pub session_attrs: SessionAttrs,
    /// Whether they are tried in their order or at random.
    pub load_balance: LoadBalance,
    /// The database's name on the server.
    pub dbname: String,
    /// The role the proxy logs in as.
    pub user: String,
    /// Its password; `None` for trust authentication.
    pub password: Option<Secret>,
    /// How TLS is used.
    pub sslmode: SslMode,
    /// PEM file of the CA for `verify-ca` and `verify-full`; without it the public web CAs are trusted.
    pub ca: Option<PathBuf>,
    /// How TLS begins.
    pub sslnegotiation: SslNegotiation,
    /// The proxy's certificate towards the server.
    pub certificate: Option<ClientCertificate>,
    /// Whether the SCRAM login is bound to the server's certificate.
    pub channel_binding: ChannelBinding,
    /// Time allowed for connecting to one address and logging in there.
    pub connect_timeout: Duration,
    /// Most sessions of clients at once; more are refused with SQLSTATE 53300.
    pub max_connections: Option<u32>,
    /// How users are found that the file does not know; `None` where there are none.
    pub auth_query: Option<AuthQuery>,
    /// Where its read-only sessions go; `None` when they go to the same servers.
    pub replicas: Option<Replicas>,
}

impl Target {
    /// `app:prod`
    pub fn name(&self) -> String {
        format!("{}:{}", self.database, self.tier)
    }
}

/// Who knows a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    Configured,
    /// A database, asked by its `auth_query`.
    Database,
}

/// `[users.NAME]`
#[derive(Clone, Debug)]
pub struct User {
    /// Name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Where it comes from.
    pub origin: Origin,
    /// Postgres's SCRAM verifier (`SCRAM-SHA-256$…`); made when loading, if a cleartext came from `password_env`. `None`
    /// where the certificate alone logs in.
    pub verifier: Option<Secret>,
    /// The client must show a certificate with one of these names; where there are none, it needs no certificate.
    pub certificates: Vec<CertificateName>,
    /// Most sessions at once; more are refused with SQLSTATE 53300.
    pub max_connections: Option<u32>,
    /// From then on logins are refused.
    pub valid_until: Option<DateTime<Utc>>,
}

/// The database and tier that a client's `database` start-up parameter means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// No database of that name.
    UnknownDatabase(String),
    /// The database has no such tier; holds those it has.
    UnknownTier {
        /// Database name.
        database: String,
        /// What the client wrote behind the colon.
        tier: String,
        /// The tiers that exist.
        known: Vec<Tier>,
    },
}

impl Config {
    /// Finds the target of `app`, `app:prod` or an alias.
    pub fn target(&self, name: &str) -> Result<Arc<Target>, LookupError> {
        let by_alias =
            self.databases.values().flat_map(|d| d.targets.values()).find(|t| t.alias.as_deref() == Some(name));
        if let Some(target) = by_alias {
            return Ok(Arc::clone(target));
        }
        let (base, tier) = match name.split_once(':') {
            Some((base, tier)) => (base, Some(tier)),
            None => (name, None),
        };
        let database = self.databases.get(base).ok_or_else(|| LookupError::UnknownDatabase(base.to_owned()))?;
        let tier_known = match tier {
            None => Some(database.default_tier),
            Some(text) => text.parse().ok(),
        };
        tier_known.and_then(|t| database.targets.get(&t)).map(Arc::clone).ok_or_else(|| LookupError::UnknownTier {
            database: base.to_owned(),
            tier: tier.unwrap_or_default().to_owned(),
            known: database.targets.keys().copied().collect(),
        })
    }

    /// The policy of a role on a tier. Every pair exists: loading makes them all.
    pub fn policy(&self, role: Role, tier: Tier) -> Option<Arc<Policy>> {
        self.policies.get(&(role, tier)).map(Arc::clone)
    }
}
