//! What may stand behind the `?` of an upstream URL (Postgres documentation, "Parameter Key Words").

use super::connection::{ChannelBinding, LoadBalance, SessionAttrs, SslMode, SslNegotiation};
use super::url::decode;

/// The parameters of a URL; `None` for what it does not say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parameters {
    /// A list with commas.
    pub(super) host: Option<String>,
    /// A list with commas.
    pub(super) port: Option<String>,
    pub(super) sslmode: Option<SslMode>,
    pub(super) sslrootcert: Option<String>,
    pub(super) sslcert: Option<String>,
    pub(super) sslkey: Option<String>,
    pub(super) sslnegotiation: Option<SslNegotiation>,
    pub(super) channel_binding: Option<ChannelBinding>,
    pub(super) session_attrs: Option<SessionAttrs>,
    pub(super) load_balance: Option<LoadBalance>,
}

impl Parameters {
    /// Reads `name=value&name=value`.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("has a parameter without =; write ?sslmode=verify-full")?;
            let value = decode(value, "parameter")?;
            let is_twice = match name {
                "host" => parameters.host.replace(value).is_some(),
                "port" => parameters.port.replace(value).is_some(),
                "sslmode" => parameters.sslmode.replace(sslmode(&value)?).is_some(),
                "sslrootcert" => parameters.sslrootcert.replace(file(name, value)?).is_some(),
                "sslcert" => parameters.sslcert.replace(file(name, value)?).is_some(),
                "sslkey" => parameters.sslkey.replace(file(name, value)?).is_some(),
                "sslnegotiation" => parameters.sslnegotiation.replace(value.parse()?).is_some(),
                "channel_binding" => parameters.channel_binding.replace(value.parse()?).is_some(),
                "target_session_attrs" => parameters.session_attrs.replace(value.parse()?).is_some(),
                "load_balance_hosts" => parameters.load_balance.replace(value.parse()?).is_some(),
                _ => return Err(unknown_parameter(name)),
            };
            if is_twice {
                return Err(format!("has the parameter {name} twice; leave one out"));
            }
        }
        Ok(parameters)
    }
}

fn sslmode(text: &str) -> Result<SslMode, String> {
    match text {
        "allow" => Err("has sslmode=allow, which protects nothing; use prefer, or better verify-full".to_owned()),
        _ => text.parse(),
    }
}

fn file(name: &str, path: String) -> Result<String, String> {
    match path.as_str() {
        "" => Err(format!("has an empty {name}; name a file or leave it out")),
        "system" if name == "sslrootcert" => {
            Err("has sslrootcert=system; leave it out: the public web CAs are trusted then".to_owned())
        }
        _ => Ok(path),
    }
}

fn unknown_parameter(name: &str) -> String {
    let instead = match name {
        "password" | "passfile" => "name the password by password_env or password_file",
        "connect_timeout" => "use the key connect_timeout, as in connect_timeout = \"10s\"",
        "hostaddr" => "write the address as the host",
        "user" | "dbname" => "write them as postgres://user@host/dbname",
        "sslpassword" => "use a key without a passphrase, in a file that only pgbelay's account can read",
        "application_name" | "options" => "leave it out: clients give their own",
        _ => {
            return "has an unknown parameter; known are host, port, sslmode, sslrootcert, sslcert, sslkey, \
                    sslnegotiation, channel_binding, target_session_attrs and load_balance_hosts"
                .to_owned();
        }
    };
    format!("may not have the parameter {name}; {instead}")
}
