//! `pgbelay certs`: certificates for development, and the key that signs audit checkpoints.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use clap::builder::NonEmptyStringValueParser;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use ring::rand::SystemRandom;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// Arguments of `pgbelay certs`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Folder to write to; made if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One more host name or IP address of the proxy, beside localhost, 127.0.0.1 and ::1; may be repeated
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Vec<String>,
    /// Name of a client certificate (its CN and file name); may be repeated
    #[arg(long, value_name = "NAME", default_value = "client", value_parser = client_name)]
    client: Vec<String>,
    /// Write the ed25519 key pair audit.key and audit.pub, and no certificates
    #[arg(long, conflicts_with_all = ["host", "client"])]
    audit_key: bool,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

const AFTER_HELP: &str = "\
Writes ca.pem, ca-key.pem, server.pem, server-key.pem, client.pem and client-key.pem. They are meant for
development: the CA's key lies beside the certificates, and all of them end after 825 days.

Examples:
  pgbelay certs certs
  pgbelay certs certs --host pgbelay.internal --host 10.0.0.7 --client alice --client bob
  pgbelay certs /etc/pgbelay --audit-key";

/// The longest life of a certificate that all common clients accept.
const LIFE: TimeDelta = TimeDelta::days(825);

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
enum CertsError {
    #[error("{} already; nothing was written. Choose another folder, or replace them with --force", exist(.0))]
    Exists(Vec<PathBuf>),
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the certificates cannot be made: {0}; check the names given by --host and --client")]
    Make(#[from] rcgen::Error),
    #[error("the system gave no random numbers; try again")]
    Random,
}

fn exist(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "exists" } else { "exist" })
}

/// Runs the command: 0 when everything was written, 1 when not.
pub fn run(args: Args) -> ExitCode {
    let made = if args.audit_key { audit_key() } else { certificates(&args.host, &args.client, Utc::now()) };
    match made.and_then(|files| write_all(&args.dir, &files, args.force)) {
        Ok(written) => {
            for path in written {
                eprintln!("wrote {}", path.display());
            }
            // A closed pipe does not undo what was written.
            let _ = io::stdout().write_all(usage(&args).as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A file to write.
struct PemFile {
    name: String,
    pem: String,
    is_secret: bool,
}

impl PemFile {
    fn public(name: impl Into<String>, pem: String) -> Self {
        Self { name: name.into(), pem, is_secret: false }
    }

    fn secret(name: impl Into<String>, pem: String) -> Self {
        Self { name: name.into(), pem, is_secret: true }
    }
}

/// An ed25519 key in PKCS#8's first version, which OpenSSL reads too; the one ring writes it does not.
fn audit_key() -> Result<Vec<PemFile>, CertsError> {
    /// All of the encoding but the 32 bytes of the key (RFC 8410, section 7).
    const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let seed = ring::rand::generate::<[u8; 32]>(&SystemRandom::new()).map_err(|_| CertsError::Random)?.expose();
    let der = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &seed].concat());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)?;
    Ok(vec![PemFile::secret("audit.key", key.serialize_pem()), PemFile::public("audit.pub", key.public_key_pem())])
}

fn certificates(hosts: &[String], clients: &[String], now: DateTime<Utc>) -> Result<Vec<PemFile>, CertsError> {
    let mut params = params("pgbelay development CA", &[], now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut files = vec![PemFile::public("ca.pem", ca.pem()), PemFile::secret("ca-key.pem", ca.key().serialize_pem())];

    let mut leaf = |name: &str, names: &[String], purpose| -> Result<(), CertsError> {
        let mut params = self::params(name, names, now)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &ca)?;
        files.push(PemFile::public(format!("{name}.pem"), certificate.pem()));
        files.push(PemFile::secret(format!("{name}-key.pem"), key.serialize_pem()));
        Ok(())
    };
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    names.extend(hosts.iter().filter(|host| !["localhost", "127.0.0.1", "::1"].contains(&host.as_str())).cloned());
    leaf("server", &names, ExtendedKeyUsagePurpose::ServerAuth)?;
    for client in clients.iter().collect::<BTreeSet<_>>() {
        leaf(client, &[], ExtendedKeyUsagePurpose::ClientAuth)?;
    }
    Ok(files)
}

fn params(common_name: &str, names: &[String], now: DateTime<Utc>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // Months and days are at most 31, so nothing is cut.
    let midnight = |day: DateTime<Utc>| rcgen::date_time_ymd(day.year(), day.month() as u8, day.day() as u8);
    // A day back, for clocks that are behind.
    (params.not_before, params.not_after) = (midnight(now - TimeDelta::days(1)), midnight(now + LIFE));
    Ok(params)
}

/// Writes all files, or none when one is there already and `force` is not given.
fn write_all(dir: &Path, files: &[PemFile], force: bool) -> Result<Vec<PathBuf>, CertsError> {
    let paths: Vec<PathBuf> = files.iter().map(|file| dir.join(&file.name)).collect();
    let existing: Vec<PathBuf> = paths.iter().filter(|path| path.symlink_metadata().is_ok()).cloned().collect();
    if !force && !existing.is_empty() {
        return Err(CertsError::Exists(existing));
    }
    fs::create_dir_all(dir).map_err(|source| CertsError::Write { path: dir.to_owned(), source })?;
    for (file, path) in files.iter().zip(&paths) {
        write(dir, file, path, force).map_err(|source| CertsError::Write { path: path.clone(), source })?;
    }
    Ok(paths)
}

/// Writes beside and renames, so that a secret is never readable by others, not even for a moment.
fn write(dir: &Path, file: &PemFile, path: &Path, force: bool) -> io::Result<()> {
    let mut beside = tempfile::NamedTempFile::new_in(dir)?;
    beside.write_all(file.pem.as_bytes())?;
    set_mode(beside.as_file(), if file.is_secret { 0o600 } else { 0o644 })?;
    beside.as_file().sync_all()?;
    if force {
        beside.persist(path)?
    } else {
        beside.persist_noclobber(path)?
    };
    Ok(())
}

#[cfg(unix)]
fn set_mode(file: &fs::File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &fs::File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// How to use what was written: lines for the configuration and a psql command.
fn usage(args: &Args) -> String {
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let dir = dir.display();
    if args.audit_key {
        return format!(
            "\nIn the configuration:\n\n  [audit]\n  signing_key = \"{dir}/audit.key\"\n\n\
             Keep audit.pub where whoever can write the audit files cannot, and verify with it.\n"
        );
    }
    let client = args.client.first().map_or("client", String::as_str);
    format!(
        "\nIn the configuration:\n\n  [listen]\n  tls = {{ cert = \"{dir}/server.pem\", key = \"{dir}/server-key.pem\", \
         client_ca = \"{dir}/ca.pem\", required = true }}\n\nWith psql:\n\n  \
         psql \"host=localhost port=6432 dbname=app user=alice sslmode=verify-full sslrootcert={dir}/ca.pem \
         sslcert={dir}/{client}.pem sslkey={dir}/{client}-key.pem\"\n"
    )
}

/// A name that is also a file's: no separators, not one of the other files.
fn client_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
        return Err("use letters, digits, _ - . and @".to_owned());
    }
    if ["ca", "server", "ca-key", "server-key"].contains(&name) {
        return Err(format!("{name}.pem is another file's name; choose another"));
    }
    Ok(name.to_owned())
}
