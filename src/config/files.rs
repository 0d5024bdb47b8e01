//! The files a configuration names: certificates, keys and passwords. Each check says what the file should hold.

use std::fs;
use std::path::Path;

use ring::signature::Ed25519KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::model::Secret;

/// Reads a PEM file of at least one certificate.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{} holds no PEM certificate (-----BEGIN CERTIFICATE-----)", path.display())),
        Err(error) => Err(format!("{} is not a PEM file: {error:?}", path.display())),
    }
}

/// Checks that a CA file holds certificates that can be trusted as roots.
pub(super) fn certificate_authority(path: &Path) -> Result<(), String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Checks that a file holds certificate revocation lists.
pub(super) fn revocation_lists(path: &Path) -> Result<(), String> {
    let pem = read(path)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(()),
        Ok(_) => Err(format!("{} holds no PEM revocation list (-----BEGIN X509 CRL-----)", path.display())),
        Err(error) => Err(format!("{} is not a PEM file: {error:?}", path.display())),
    }
}

/// Reads a PEM file of a private key (PKCS#8, PKCS#1 or SEC1).
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| format!("{} holds no PEM private key (-----BEGIN PRIVATE KEY-----)", path.display()))
}

/// Checks that a key belongs to the first certificate of a chain.
pub(super) fn belong_together(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), String> {
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map(|_| ())
        .map_err(|error| format!("cannot be used with the certificate: {error}; give the key it was made with"))
}

/// Checks that a file holds an ed25519 key in PKCS#8 PEM.
pub(super) fn signing_key(path: &Path) -> Result<(), String> {
    let advice = "make one with `pgbelay certs DIR --audit-key`";
    let key = PrivatePkcs8KeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| format!("{} holds no PKCS#8 PEM private key; {advice}", path.display()))?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der())
        .map(|_| ())
        .map_err(|_| format!("{} holds a key that is not ed25519; {advice}", path.display()))
}

/// Reads a password: the file's text without its last line end.
pub(super) fn password(path: &Path) -> Result<Secret, String> {
    let text = String::from_utf8(read(path)?).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match text {
        "" => Err(format!("{} is empty; write the password into it", path.display())),
        _ if text.contains(['\n', '\0']) => Err(format!("{} must hold one line, the password", path.display())),
        _ => Ok(Secret::new(text)),
    }
}

/// Whether everybody on the machine may read a file that should be secret.
#[cfg(unix)]
pub(super) fn everybody_reads(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
}

/// Permissions are judged on Unix only.
#[cfg(not(unix))]
pub(super) fn everybody_reads(_path: &Path) -> bool {
    false
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
