//! Whom a client certificate names. That a CA of `client_ca` has signed it was checked in the TLS handshake.

use std::fmt;

use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Error as DerError};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use crate::config::CertificateName;

/// commonName (X.520).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A client's certificate, as far as it says who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject's common name, then the names of subjectAltName.
    names: Vec<CertificateName>,
    /// Serial number in hexadecimal: together with the CA it is unique.
    serial: String,
}

impl ClientIdentity {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// What cannot be read: a certificate is taken whole or not at all.
    pub fn read(certificate: &[u8]) -> Result<Self, DerError> {
        let certificate = Certificate::from_der(certificate)?;
        let certificate = certificate.tbs_certificate();
        let mut common_names = certificate.subject().iter().filter(|attribute| attribute.oid == COMMON_NAME);
        let mut names = vec![];
        // Of several common names it is open which one is meant.
        if let (Some(only), None) = (common_names.next(), common_names.next()) {
            let name = DirectoryString::try_from(&only.value)?;
            names.push(CertificateName::CommonName(name.value().into_owned()));
        }
        if let Some((_, SubjectAltName(alternatives))) = certificate.get_extension::<SubjectAltName>()? {
            names.extend(alternatives.iter().filter_map(alternative));
        }
        let serial = certificate.serial_number().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { names, serial })
    }

    /// Whether the certificate has one of these names, whole.
    pub fn has_any(&self, wanted: &[CertificateName]) -> bool {
        wanted.iter().any(|name| self.names.contains(name))
    }
}

/// For the audit trail: `CN=alice, EMAIL=alice@example.org, serial 0a1b`.
impl fmt::Display for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.names {
            write!(f, "{name}, ")?;
        }
        write!(f, "serial {}", self.serial)
    }
}

fn alternative(name: &GeneralName) -> Option<CertificateName> {
    match name {
        GeneralName::DnsName(name) => Some(CertificateName::dns(name.as_str())),
        GeneralName::Rfc822Name(name) => Some(CertificateName::Email(name.as_str().to_owned())),
        GeneralName::UniformResourceIdentifier(name) => Some(CertificateName::Uri(name.as_str().to_owned())),
        // Nothing by which a user can be known here.
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn identity(common_names: &[&str], alternatives: Vec<SanType>) -> ClientIdentity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternatives;
        params.serial_number = Some(vec![0x0a, 0x1b].into());
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientIdentity::read(made.der()).unwrap()
    }

    fn names(texts: &[&str]) -> Vec<CertificateName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_names_are_read() {
        let identity = identity(
            &["alice"],
            vec![
                SanType::DnsName("CI.example.org".try_into().unwrap()),
                SanType::Rfc822Name("alice@example.org".try_into().unwrap()),
                SanType::URI("spiffe://example.org/ci".try_into().unwrap()),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ],
        );
        let shown = "CN=alice, DNS=ci.example.org, EMAIL=alice@example.org, URI=spiffe://example.org/ci, serial 0a1b";
        assert_eq!(identity.to_string(), shown);
        for name in ["CN=alice", "DNS=ci.EXAMPLE.org", "EMAIL=alice@example.org", "URI=spiffe://example.org/ci"] {
            assert!(identity.has_any(&names(&["CN=nobody", name])), "{name}");
        }
    }

    #[test]
    fn a_name_is_compared_whole_and_by_its_kind() {
        let identity = identity(&["alice"], vec![SanType::DnsName("*.example.org".try_into().unwrap())]);
        for name in ["CN=alic", "CN=alice2", "CN=Alice", "DNS=alice", "EMAIL=alice", "DNS=ci.example.org"] {
            assert!(!identity.has_any(&names(&[name])), "{name}");
        }
        assert!(!identity.has_any(&[]));
    }

    #[test]
    fn a_nul_does_not_end_a_name() {
        assert!(!identity(&["alice\0.example.org"], vec![]).has_any(&names(&["CN=alice"])));
    }

    #[test]
    fn without_a_name_there_is_nobody() {
        assert_eq!(identity(&[], vec![]).to_string(), "serial 0a1b");
    }

    #[test]
    fn damaged_certificates_are_refused() {
        let made = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = made.der();
        for end in 0..der.len() {
            assert!(ClientIdentity::read(&der[..end]).is_err());
        }
    }
}
