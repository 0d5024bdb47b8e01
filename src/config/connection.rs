//! How an upstream is chosen and spoken to: libpq's choices of these names (Postgres documentation, "Parameter Key Words").

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::model::Target;

/// One server of a url.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Host name or address, or the directory of a Unix-domain socket (begins with `/`).
    pub name: String,
    /// Port.
    pub port: u16,
}

impl Host {
    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        let loopback = self.name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        loopback || self.name == "localhost" || self.is_socket()
    }

    /// Whether it is a Unix-domain socket.
    pub fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// The replicas of a tier: where read-only sessions go.
#[derive(Debug, PartialEq)]
pub struct Replicas {
    /// Where they are, and how to log in there.
    pub target: Arc<Target>,
    /// How far behind the primary one may be and still be read from; `None` for no limit.
    pub max_lag: Option<Duration>,
}

/// The proxy's certificate towards the server (libpq's `sslcert` and `sslkey`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

macro_rules! choices {
    ($(#[$of_all:meta])* $name:ident, $what:literal { $($(#[$of_one:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$of_all])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$of_one])* $variant,)+ }

        impl $name {
            /// libpq's name of it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err(format!("has an unknown {}; use one of: {}", $what, [$($text),+].join(", "))),
                }
            }
        }
    };
}

choices! {
    /// libpq's `target_session_attrs`: which servers will do.
    SessionAttrs, "target_session_attrs" {
        /// Every server.
        #[default]
        Any = "any",
        /// One whose transactions may write unless asked otherwise.
        ReadWrite = "read-write",
        /// One whose transactions may not.
        ReadOnly = "read-only",
        /// One that is not in recovery.
        Primary = "primary",
        /// One in hot standby.
        Standby = "standby",
        /// A standby when there is one, else any.
        PreferStandby = "prefer-standby",
    }
}

choices! {
    /// libpq's `load_balance_hosts`: the order in which hosts and their addresses are tried.
    LoadBalance, "load_balance_hosts" {
        /// As they are given.
        #[default]
        Disable = "disable",
        /// At random, anew for each connection.
        Random = "random",
    }
}

choices! {
    /// libpq's `channel_binding`: whether the SCRAM login is bound to the server's certificate.
    ChannelBinding, "channel_binding" {
        /// Never.
        Disable = "disable",
        /// When TLS is used and the server offers it.
        #[default]
        Prefer = "prefer",
        /// Always; another login is refused.
        Require = "require",
    }
}

choices! {
    /// libpq's `sslnegotiation`: how TLS begins.
    SslNegotiation, "sslnegotiation" {
        /// The server is asked first.
        #[default]
        Postgres = "postgres",
        /// With the handshake (Postgres 17 and later).
        Direct = "direct",
    }
}

choices! {
    /// libpq's `sslmode` (Postgres documentation, "SSL Mode Descriptions"); `allow` is not offered.
    SslMode, "sslmode" {
        /// Never TLS.
        Disable = "disable",
        /// TLS when the server offers it.
        #[default]
        Prefer = "prefer",
        /// TLS, whoever the server is.
        Require = "require",
        /// TLS, the certificate signed by the CA.
        VerifyCa = "verify-ca",
        /// TLS, the certificate signed by the CA and made for this host.
        VerifyFull = "verify-full",
    }
}

impl SslMode {
    /// Whether the server's certificate is checked.
    pub fn is_verifying(self) -> bool {
        match self {
            SslMode::VerifyCa | SslMode::VerifyFull => true,
            SslMode::Disable | SslMode::Prefer | SslMode::Require => false,
        }
    }
}
