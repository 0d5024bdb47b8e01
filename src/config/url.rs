//! The URL of an upstream database: libpq's form (Postgres documentation, "Connection URIs"), less what a proxy must not have.
//!
//! No message quotes the URL: somebody may have written a password into it in a place where it is not recognised.

use percent_encoding::percent_decode_str;

use super::model::SslMode;

/// The parts of an upstream URL.
#[derive(Debug, PartialEq)]
pub(super) struct UpstreamUrl {
    pub(super) user: String,
    /// Name, address, or a directory that begins with `/`.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) dbname: String,
    pub(super) sslmode: SslMode,
}

/// Postgres's own port.
const DEFAULT_PORT: u16 = 5432;

impl UpstreamUrl {
    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let loopback = self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        loopback || self.host == "localhost" || self.host.starts_with('/')
    }

    /// Reads `postgres://user@host:port/dbname?sslmode=…`.
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
        let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
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
        let (host, port) = split_server(server)?;
        let parameters = Parameters::parse(query)?;
        let host = match (host.is_empty(), parameters.host) {
            (false, None) => host,
            (true, Some(host)) => host,
            (false, Some(_)) => {
                return Err("names the host twice; leave it out before the path or behind ?host=".into());
            }
            (true, None) => return Err("names no host; write user@HOST, or ?host=/run/postgresql for a socket".into()),
        };
        let port = match (port, parameters.port) {
            (Some(_), Some(_)) => return Err("names the port twice; leave one out".to_owned()),
            (one, other) => one.or(other).unwrap_or(DEFAULT_PORT),
        };
        Ok(Self { user, host, port, dbname, sslmode: parameters.sslmode.unwrap_or(SslMode::Prefer) })
    }
}

/// Splits `host`, `host:port`, `[::1]:port`, `:port` or nothing.
fn split_server(server: &str) -> Result<(String, Option<u16>), String> {
    if server.contains(',') {
        return Err("names several hosts; give one".to_owned());
    }
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

/// What may stand behind the `?`.
#[derive(Default)]
struct Parameters {
    sslmode: Option<SslMode>,
    host: Option<String>,
    port: Option<u16>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, String> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("has a parameter without =; write ?sslmode=verify-full")?;
            let value = decode(value, "parameter")?;
            let twice = match name {
                "sslmode" => parameters.sslmode.replace(parse_sslmode(&value)?).is_some(),
                "host" => parameters.host.replace(value).is_some(),
                "port" => parameters.port.replace(parse_port(&value)?).is_some(),
                _ => return Err(unknown_parameter(name)),
            };
            if twice {
                return Err(format!("has the parameter {name} twice; leave one out"));
            }
        }
        Ok(parameters)
    }
}

fn unknown_parameter(name: &str) -> String {
    let instead = match name {
        "password" | "passfile" => "name the password by password_env or password_file",
        "sslrootcert" => "name the CA's file by the key ca",
        "connect_timeout" => "use the key connect_timeout, as in connect_timeout = \"10s\"",
        "user" | "dbname" => "write them as postgres://user@host/dbname",
        "sslcert" | "sslkey" => "pgbelay logs in by password",
        "application_name" | "options" => "leave it out: clients give their own",
        _ => return "has an unknown parameter; only sslmode, host and port are known".to_owned(),
    };
    format!("may not have the parameter {name}; {instead}")
}

fn parse_sslmode(text: &str) -> Result<SslMode, String> {
    match text {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        "allow" => Err("has sslmode=allow, which protects nothing; use prefer, or better verify-full".to_owned()),
        _ => Err("has an unknown sslmode; use disable, prefer, require, verify-ca or verify-full".to_owned()),
    }
}

fn decode(text: &str, what: &str) -> Result<String, String> {
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

    fn parsed(url: &str) -> (String, String, u16, String, SslMode) {
        let url = UpstreamUrl::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        (url.user, url.host, url.port, url.dbname, url.sslmode)
    }

    fn expect(
        user: &str,
        host: &str,
        port: u16,
        dbname: &str,
        sslmode: SslMode,
    ) -> (String, String, u16, String, SslMode) {
        (user.to_owned(), host.to_owned(), port, dbname.to_owned(), sslmode)
    }

    #[test]
    fn accepts_what_libpq_does() {
        use SslMode::{Disable, Prefer, VerifyFull};
        assert_eq!(parsed("postgres://app@db/app_int"), expect("app", "db", 5432, "app_int", Prefer));
        assert_eq!(parsed("postgresql://a@[::1]:6000/b?sslmode=disable"), expect("a", "::1", 6000, "b", Disable));
        assert_eq!(parsed("postgres://a@[2001:db8::1]/b"), expect("a", "2001:db8::1", 5432, "b", Prefer));
        assert_eq!(parsed("postgres://a@/b?host=/run/postgresql"), expect("a", "/run/postgresql", 5432, "b", Prefer));
        assert_eq!(parsed("postgres://a@:5433/b?host=%2Frun"), expect("a", "/run", 5433, "b", Prefer));
        assert_eq!(parsed("postgres://a@%2Frun%2Fpg/b?port=7"), expect("a", "/run/pg", 7, "b", Prefer));
        assert_eq!(
            parsed("postgres://a%40b%3Ac@h.example/d%20%C3%A9%2F?sslmode=verify-full"),
            expect("a@b:c", "h.example", 5432, "d é/", VerifyFull)
        );
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
            ("postgres://a@h,i/d", "several hosts"),
            ("postgres://a@h/d/e", "%2F"),
            ("postgres://a@h/d?sslmode=allow", "verify-full"),
            ("postgres://a@h/d?sslmode=on", "unknown sslmode"),
            ("postgres://a@h/d?sslmode", "without ="),
            ("postgres://a@h/d?sslmode=require&sslmode=disable", "twice"),
            ("postgres://a@h/d?password=secret", "password_env"),
            ("postgres://a@h/d?sslrootcert=x", "key ca"),
            ("postgres://a@h/d?target_session_attrs=any", "unknown parameter"),
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
