//! TLS on both sides, with rustls: acceptor for clients, connector for servers (libpq's `sslmode`).

mod end_point;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;

use crate::config::{ClientCertificate, ListenTls, SslMode, Target};
use end_point::end_point;

/// The protocol name that direct TLS must negotiate (Postgres documentation, "SSL Session Encryption").
pub const ALPN: &[u8] = b"postgresql";

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A PEM file cannot be read.
    #[error("cannot read {path}: {reason}; make development certificates with `pgbelay certs DIR`")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The pieces do not fit together.
    #[error("TLS cannot be set up with {path}: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Takes TLS connections of clients.
#[derive(Clone)]
pub struct Acceptor {
    /// Does the handshake.
    pub acceptor: TlsAcceptor,
    /// What a SCRAM login of a client is bound to (RFC 5929, `tls-server-end-point`): a hash of the own certificate. `None` when
    /// its signature has no hash that can be used.
    pub end_point: Option<Arc<[u8]>>,
}

/// The acceptor for `[listen] tls`.
///
/// # Errors
/// Which file cannot be used.
pub fn acceptor(tls: &ListenTls) -> Result<Acceptor, TlsSetupError> {
    let unusable =
        |e: &dyn std::fmt::Display| TlsSetupError::Unusable { path: tls.cert.clone(), reason: e.to_string() };
    let certificates = read_certificates(&tls.cert)?;
    let end_point = certificates.first().and_then(|certificate| end_point(certificate)).map(Arc::from);
    let key = read_key(&tls.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => builder.with_client_cert_verifier(client_verifier(ca, tls.client_crl.as_deref())?),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|e| unusable(&e))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    if tls.client_ca.is_some() {
        // A resumed session would bring a certificate back without looking at it again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Acceptor { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
}

/// Takes clients without a certificate, and those whose certificate the CA has signed and not revoked.
fn client_verifier(ca: &Path, crl: Option<&Path>) -> Result<Arc<dyn ClientCertVerifier>, TlsSetupError> {
    let roots = Arc::new(read_roots(ca)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider()).allow_unauthenticated();
    if let Some(crl) = crl {
        let lists = CertificateRevocationListDer::pem_file_iter(crl).and_then(|lists| lists.collect());
        let lists: Vec<_> = lists.map_err(|e| TlsSetupError::Pem { path: crl.to_owned(), reason: e.to_string() })?;
        // As in Postgres a list that has run out refuses everybody whom it speaks of, until a new one is there.
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    builder.build().map_err(|e| TlsSetupError::Unusable { path: crl.unwrap_or(ca).to_owned(), reason: e.to_string() })
}

/// Why a handshake failed, if it did because of the client's certificate.
pub fn refused_certificate(error: &io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::InvalidCertificate(error) => Some(error),
        _ => None,
    }
}

/// The connector's configuration for one upstream; `None` for `sslmode=disable`.
pub fn client_config(target: &Target) -> Result<Option<Arc<ClientConfig>>, TlsSetupError> {
    let ca = target.ca.as_deref();
    let path = ca.unwrap_or(Path::new("the built-in CAs"));
    let unusable = |e: &dyn std::fmt::Display| TlsSetupError::Unusable { path: path.to_owned(), reason: e.to_string() };
    let roots = || match ca {
        Some(file) => read_roots(file),
        None => Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    let identity = match target.sslmode {
        SslMode::Disable => return Ok(None),
        SslMode::Prefer | SslMode::Require => Identity::Anyone,
        SslMode::VerifyCa => Identity::SignedByCa(web_pki(roots()?).map_err(|e| unusable(&e))?),
        SslMode::VerifyFull => Identity::SignedForHost(web_pki(roots()?).map_err(|e| unusable(&e))?),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerIdentity { identity, provider: provider() }));
    let mut config = match &target.certificate {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { cert, key }) => builder
            .with_client_auth_cert(read_certificates(cert)?, read_key(key)?)
            .map_err(|e| TlsSetupError::Unusable { path: key.clone(), reason: e.to_string() })?,
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

/// What a SCRAM login to this server is bound to (RFC 5929, `tls-server-end-point`): a hash of the server's certificate. `None`
/// when its signature has no hash that can be used.
pub fn server_end_point(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    stream.get_ref().1.peer_certificates()?.first().and_then(|certificate| end_point(certificate))
}

/// The name to verify a host by.
pub fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("\"{host}\" is not a valid host name for TLS"))
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn web_pki(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, rustls::client::VerifierBuilderError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let pem = |reason: String| TlsSetupError::Pem { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| pem(e.to_string()))?;
    if certificates.is_empty() { Err(pem("no certificate in it".to_owned())) } else { Ok(certificates) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| TlsSetupError::Pem { path: path.to_owned(), reason: e.to_string() })
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|e| TlsSetupError::Unusable { path: path.to_owned(), reason: e.to_string() })?;
    }
    Ok(roots)
}

/// What `sslmode` asks of the server's certificate.
#[derive(Debug)]
enum Identity {
    /// `prefer` and `require`: encryption against listeners, not against impostors.
    Anyone,
    /// `verify-ca`: signed by the CA, for whatever host.
    SignedByCa(Arc<WebPkiServerVerifier>),
    /// `verify-full`.
    SignedForHost(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct ServerIdentity {
    identity: Identity,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match &self.identity {
            Identity::Anyone => Ok(ServerCertVerified::assertion()),
            Identity::SignedForHost(verifier) => verify(verifier),
            Identity::SignedByCa(verifier) => match verify(verifier) {
                // The chain is verified before the name, so a wrong name is all that is wrong.
                Err(TlsError::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verified => verified,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
