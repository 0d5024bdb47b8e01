//! The names by which a user's client certificate is known: `CN=alice`, or a name of subjectAltName.

use std::fmt;
use std::str::FromStr;

/// A name in a certificate, compared whole: no wildcard of a certificate reaches further than the user it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// `CN=alice`: the common name of the subject.
    CommonName(String),
    /// `DNS=ci.example.org`: a dNSName of subjectAltName, in lower case.
    Dns(String),
    /// `EMAIL=alice@example.org`: an rfc822Name of subjectAltName.
    Email(String),
    /// `URI=spiffe://example.org/ci`: a uniformResourceIdentifier of subjectAltName.
    Uri(String),
}

impl CertificateName {
    /// A dNSName; their case does not count (RFC 4343).
    pub fn dns(name: &str) -> Self {
        CertificateName::Dns(name.to_ascii_lowercase())
    }
}

impl FromStr for CertificateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "is not a name of a certificate; write \"CN=alice\", \"DNS=ci.example.org\", \"EMAIL=alice@example.org\" or \
             \"URI=spiffe://example.org/ci\""
                .to_owned()
        };
        let (kind, name) = text.split_once('=').ok_or_else(wrong)?;
        match kind {
            _ if name.is_empty() || name.trim() != name => Err(wrong()),
            "CN" => Ok(CertificateName::CommonName(name.to_owned())),
            "DNS" => Ok(CertificateName::dns(name)),
            "EMAIL" => Ok(CertificateName::Email(name.to_owned())),
            "URI" => Ok(CertificateName::Uri(name.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateName::CommonName(name) => write!(f, "CN={name}"),
            CertificateName::Dns(name) => write!(f, "DNS={name}"),
            CertificateName::Email(name) => write!(f, "EMAIL={name}"),
            CertificateName::Uri(name) => write!(f, "URI={name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_kind_and_is_shown_as_written() {
        for text in ["CN=alice", "CN=Alice A=B", "DNS=ci.example.org", "EMAIL=a@b", "URI=spiffe://x/y?z=1"] {
            assert_eq!(text.parse::<CertificateName>().unwrap().to_string(), text);
        }
        assert_eq!("DNS=CI.Example.org".parse(), Ok(CertificateName::dns("ci.example.ORG")));
        for text in ["", "alice", "CN=", "CN= alice", "cn=alice", "O=Example", "=alice"] {
            assert!(text.parse::<CertificateName>().is_err(), "{text}");
        }
    }
}
