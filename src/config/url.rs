//! The URL of an upstream database: libpq's form (Postgres documentation, "Connection URIs"), less what a proxy must not have.
//!
//! No message quotes the URL: somebody may have written a password into it in a place where it is not recognised.

use percent_encoding::percent_decode_str;

use super::connection::Host;
use super::url_parameters::Parameters;

/// The parts of an upstream URL.
#[derive(Debug, PartialEq)]
pub(super) struct UpstreamUrl {
    pub(super) user: String,
    /// At least one.
    pub(super) hosts: Vec<Host>,
    pub(super) dbname: String,
    /// What stands behind the `?`, without `host` and `port`.
    pub(super) parameters: Parameters,
}

/// Postgres's own port.
const DEFAULT_PORT: u16 = 5432;

impl UpstreamUrl {
    /// Whether every server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }

    /// Reads `postgres://user@host:port,host:port/dbname?sslmode=…`.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or("must begin with postgres://, as in postgres://app@db.example.com:5432/app?sslmode=verify-full")?;
        if rest.contains('#') {
            return Err("must not hold #; write %23 for it".to_owned());
        }
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, dbname) = location.split_once('/').unwrap_or((location, ""));
        let (login, servers) = authority.rsplit_once('@').unwrap_or(("", authority));
        if dbname.contains('@') || query.contains('@') {
            return Err("has an @ behind the host; percent-encode it as %40 (and a / as %2F)".to_owned());
        }
        let user = match login.split_once(':') {
            Some((_, _)) => {
                return Err("holds a password; take it out and name it by password_env or password_file".to_owned());
            }
            None => decode(login, "user")?,
        };
        if user.is_empty() {
            return Err("names no user; write postgres://USER@host/dbname".to_owned());
        }
        if dbname.contains('/') {
            return Err("has more than one / behind the host; percent-encode it as %2F".to_owned());
        }
        let dbname = decode(dbname, "database name")?;
        if dbname.is_empty() {
            return Err("names no database; write postgres://user@host/DBNAME".to_owned());
        }
        let mut parameters = Parameters::parse(query)?;
        let hosts = hosts(servers, parameters.host.take(), parameters.port.take())?;
        Ok(Self { user, hosts, dbname, parameters })
    }
}

/// The servers: those before the path, or those of `?host=`, with their ports.
fn hosts(servers: &str, host: Option<String>, port: Option<String>) -> Result<Vec<Host>, String> {
    let servers = servers.split(',').map(split_server).collect::<Result<Vec<_>, _>>()?;
    let is_named = servers.iter().any(|(name, _)| !name.is_empty());
    let (names, ports): (Vec<String>, Vec<Option<u16>>) = match (is_named, host) {
        (true, Some(_)) => {
            return Err("names the host twice; leave it out before the path or behind ?host=".to_owned());
        }
        (false, None) => return Err("names no host; write user@HOST, or ?host=/run/postgresql for a socket".to_owned()),
        (true, None) => servers.into_iter().unzip(),
        (false, Some(host)) => {
            let names: Vec<String> = host.split(',').map(str::to_owned).collect();
            let ports = match servers.as_slice() {
                [(_, port)] => vec![*port; names.len()],
                _ => {
                    return Err(
                        "has a comma before the path and the hosts behind ?host=; write them in one place".into()
                    );
                }
            };
            (names, ports)
        }
    };
    if names.iter().any(String::is_empty) {
        return Err("has an empty host in its list; take out the comma too many".to_owned());
    }
    let ports = match port {
        None => ports,
        Some(_) if ports.iter().any(Option::is_some) => return Err("names the port twice; leave one out".to_owned()),
        Some(text) => {
            let given = text.split(',').map(parse_port).collect::<Result<Vec<_>, _>>()?;
            match given.as_slice() {
                [one] => vec![Some(*one); names.len()],
                several if several.len() == names.len() => several.iter().copied().map(Some).collect(),
                _ => return Err("has more or fewer ports than hosts; give one port, or one for each host".to_owned()),
            }
        }
    };
    Ok(names.into_iter().zip(ports).map(|(name, port)| Host { name, port: port.unwrap_or(DEFAULT_PORT) }).collect())
}

/// Splits `host`, `host:port`, `[::1]:port`, `:port` or nothing.
fn split_server(server: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(bracketed) = server.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or("has a [ without a ] around the IPv6 address")?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address between [ and ]")?;
        let port = match port {
            "" => None,
            _ => Some(port.strip_prefix(':').ok_or("has something other than :port behind the ]")?),
        };
        (address.to_owned(), port)
    } else {
        match server.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("has an IPv6 address without brackets; write user@[::1]:5432".to_owned());
            }
            Some((host, port)) => (decode(host, "host")?, Some(port)),
            None => (decode(server, "host")?, None),
        }
    };
    let port = port.filter(|port| !port.is_empty()).map(parse_port).transpose()?;
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port > 0);
    port.ok_or_else(|| "has a port that is not a number from 1 to 65535".to_owned())
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str, what: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let is_hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
    if (0..bytes.len()).any(|i| bytes[i] == b'%' && !(is_hex(i + 1) && is_hex(i + 2))) {
        return Err(format!("has a % without two hexadecimal digits in the {what}; write %25 for a percent sign"));
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| format!("has a {what} that is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(format!("has a control character in the {what}"));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ChannelBinding, LoadBalance, SessionAttrs, SslMode, SslNegotiation};

    fn parsed(url: &str) -> (String, String, String, Parameters) {
        let url = UpstreamUrl::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        let hosts: Vec<String> = url.hosts.iter().map(Host::to_string).collect();
        (url.user, hosts.join(","), url.dbname, url.parameters)
    }

    fn expect(user: &str, hosts: &str, dbname: &str, sslmode: Option<SslMode>) -> (String, String, String, Parameters) {
        (user.to_owned(), hosts.to_owned(), dbname.to_owned(), Parameters { sslmode, ..Parameters::default() })
    }

    #[test]
    fn accepts_what_libpq_does() {
        use SslMode::{Disable, VerifyFull};
        assert_eq!(parsed("postgres://app@db/app_int"), expect("app", "db:5432", "app_int", None));
        assert_eq!(
            parsed("postgresql://a@[::1]:6000/b?sslmode=disable"),
            expect("a", "[::1]:6000", "b", Some(Disable))
        );
        assert_eq!(parsed("postgres://a@[2001:db8::1]/b"), expect("a", "[2001:db8::1]:5432", "b", None));
        assert_eq!(parsed("postgres://a@/b?host=/run/postgresql"), expect("a", "/run/postgresql:5432", "b", None));
        assert_eq!(parsed("postgres://a@:5433/b?host=%2Frun"), expect("a", "/run:5433", "b", None));
        assert_eq!(parsed("postgres://a@%2Frun%2Fpg/b?port=7"), expect("a", "/run/pg:7", "b", None));
        assert_eq!(
            parsed("postgres://a%40b%3Ac@h.example/d%20%C3%A9%2F?sslmode=verify-full"),
            expect("a@b:c", "h.example:5432", "d é/", Some(VerifyFull))
        );
    }

    #[test]
    fn accepts_several_hosts() {
        assert_eq!(parsed("postgres://a@h,i:2,[::1]:3/d"), expect("a", "h:5432,i:2,[::1]:3", "d", None));
        assert_eq!(parsed("postgres://a@/d?host=h,/run&port=1,2"), expect("a", "h:1,/run:2", "d", None));
        assert_eq!(parsed("postgres://a@h,i/d?port=7"), expect("a", "h:7,i:7", "d", None));
        assert_eq!(parsed("postgres://a@:7/d?host=h,i"), expect("a", "h:7,i:7", "d", None));
        let (_, _, _, parameters) = parsed(
            "postgres://a@h/d?target_session_attrs=prefer-standby&load_balance_hosts=random&channel_binding=require\
             &sslnegotiation=direct&sslrootcert=a%20b&sslcert=c&sslkey=d",
        );
        let expected = Parameters {
            session_attrs: Some(SessionAttrs::PreferStandby),
            load_balance: Some(LoadBalance::Random),
            channel_binding: Some(ChannelBinding::Require),
            sslnegotiation: Some(SslNegotiation::Direct),
            sslrootcert: Some("a b".to_owned()),
            sslcert: Some("c".to_owned()),
            sslkey: Some("d".to_owned()),
            ..Parameters::default()
        };
        assert_eq!(parameters, expected);
    }

    #[test]
    fn refuses_with_advice() {
        let cases = [
            ("http://a@b/c", "postgres://"),
            ("postgres://a:secret@h/d", "password_env"),
            ("postgres://a:@h/d", "password_env"),
            ("postgres://h/d", "no user"),
            ("postgres://a@h", "no database"),
            ("postgres://a@h/", "no database"),
            ("postgres://a@/d", "no host"),
            ("postgres://a@h/d?host=/run", "twice"),
            ("postgres://a@h:1/d?port=2", "twice"),
            ("postgres://a@h:0/d", "port"),
            ("postgres://a@h:65536/d", "port"),
            ("postgres://a@h:+1/d", "port"),
            ("postgres://a@h:x/d", "port"),
            ("postgres://a@::1/d", "brackets"),
            ("postgres://a@[::1/d", "]"),
            ("postgres://a@[::g]/d", "IPv6"),
            ("postgres://a@h,,i/d", "empty host"),
            ("postgres://a@h,/d", "empty host"),
            ("postgres://a@/d?host=h,", "empty host"),
            ("postgres://a@h,i/d?host=j", "twice"),
            ("postgres://a@:1,:2/d?host=h,i", "one place"),
            ("postgres://a@h,i,j/d?port=1,2", "one for each host"),
            ("postgres://a@h:1,i/d?port=2", "twice"),
            ("postgres://a@h,i/d?port=1,x", "number"),
            ("postgres://a@h/d/e", "%2F"),
            ("postgres://a@h/d?sslmode=allow", "verify-full"),
            ("postgres://a@h/d?sslmode=on", "unknown sslmode"),
            ("postgres://a@h/d?sslmode", "without ="),
            ("postgres://a@h/d?sslmode=require&sslmode=disable", "twice"),
            ("postgres://a@h/d?password=secret", "password_env"),
            ("postgres://a@h/d?sslrootcert=", "empty"),
            ("postgres://a@h/d?sslrootcert=system", "leave it out"),
            ("postgres://a@h/d?target_session_attrs=master", "read-write"),
            ("postgres://a@h/d?load_balance_hosts=yes", "random"),
            ("postgres://a@h/d?channel_binding=on", "require"),
            ("postgres://a@h/d?sslnegotiation=tls", "direct"),
            ("postgres://a@h/d?hostaddr=10.0.0.1", "host"),
            ("postgres://a@h/d?keepalives=1", "unknown parameter"),
            ("postgres://a%4@h/d", "%25"),
            ("postgres://a%ff@h/d", "UTF-8"),
            ("postgres://a%00@h/d", "control"),
            ("postgres://a@h/d#x", "%23"),
        ];
        for (url, advice) in cases {
            let message = UpstreamUrl::parse(url).expect_err(url);
            assert!(message.contains(advice), "{url}: {message}");
        }
    }

    #[test]
    fn a_misplaced_password_is_not_quoted() {
        for url in
            ["postgres://a:s3/cret@h/d", "postgres://a:s3?cret@h/d", "postgres://a:s3cret", "postgres://a:x#s3cret@h/d"]
        {
            let message = UpstreamUrl::parse(url).expect_err(url);
            assert!(!message.contains("s3") && !message.contains("cret"), "{url}: {message}");
        }
    }
}
