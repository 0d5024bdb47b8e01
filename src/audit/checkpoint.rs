//! Signed checkpoints: `<path>.checkpoint` says how far the trail had come. The chain shows what was changed or removed inside
//! the trail; only this shows that its end was cut off, or that all of it was written anew.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use super::chain::{Chain, Digest};
use super::error::AuditError;
use super::rotation::beside;
use super::time;

/// DER of an ed25519 SubjectPublicKeyInfo up to the key's 32 bytes (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The checkpoint of a trail's current file.
pub(super) fn checkpoint_path(trail: &Path) -> PathBuf {
    beside(trail, ".checkpoint")
}

/// How far a trail had come when somebody who holds the key said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The last record's number.
    pub seq: u64,
    /// SHA-256 of the last record's line, in hex.
    pub hash: String,
    /// When it was signed, RFC 3339 UTC.
    pub time: String,
    /// The signer's ed25519 public key, 32 bytes in base64.
    pub public_key: String,
    /// Signature in base64 over [`Checkpoint::signed_bytes`].
    pub signature: String,
}

impl Checkpoint {
    /// What is signed: a fixed first line, then `seq`, `hash` and `time`, each on its own line.
    pub fn signed_bytes(&self) -> Vec<u8> {
        format!("pgbelay audit checkpoint v1\n{}\n{}\n{}\n", self.seq, self.hash, self.time).into_bytes()
    }

    /// Reads a checkpoint; `None` where there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CheckpointError::Unreadable(e.to_string())),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| CheckpointError::Unreadable(e.to_string()))
    }

    /// Checks the signature: by `key`, or, without one, by the key the checkpoint itself names - which proves only that it is
    /// of one piece. Returns the hash it vouches for.
    pub fn check(&self, key: Option<&PublicKey>) -> Result<Digest, CheckpointError> {
        let own = PublicKey::from_base64(&self.public_key)?;
        if key.is_some_and(|k| *k != own) {
            return Err(CheckpointError::OtherKey);
        }
        let signature = STANDARD.decode(&self.signature).map_err(|_| CheckpointError::Signature)?;
        UnparsedPublicKey::new(&ED25519, own.0)
            .verify(&self.signed_bytes(), &signature)
            .map_err(|_| CheckpointError::Signature)?;
        self.hash.parse().map_err(|_| CheckpointError::Unreadable("its hash is not a SHA-256".into()))
    }
}

/// Why a checkpoint proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or is not a checkpoint.
    #[error("the checkpoint cannot be read: {0}")]
    Unreadable(String),
    /// A key is not an ed25519 public key.
    #[error("the public key is not an ed25519 key: {0}")]
    Key(String),
    /// It is signed by another key than the one given.
    #[error("the checkpoint is signed by another key than the one given")]
    OtherKey,
    /// The signature does not fit.
    #[error("the checkpoint's signature does not match its content")]
    Signature,
}

/// An ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a `PUBLIC KEY` PEM, as `openssl pkey -pubout` writes it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CheckpointError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|e| CheckpointError::Key(e.to_string()))?;
        let key = der.strip_prefix(&SPKI_PREFIX).and_then(|k| k.try_into().ok());
        key.map(Self).ok_or_else(|| CheckpointError::Key("it is of another kind".into()))
    }

    fn from_base64(text: &str) -> Result<Self, CheckpointError> {
        let bytes = STANDARD.decode(text).map_err(|e| CheckpointError::Key(e.to_string()))?;
        bytes.try_into().map(Self).map_err(|_| CheckpointError::Key("it is not 32 bytes long".into()))
    }
}

/// Signs checkpoints of one trail.
pub(super) struct Signer {
    key: Ed25519KeyPair,
    path: PathBuf,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Signer {
    /// Loads the key, a `PRIVATE KEY` PEM (PKCS#8, RFC 8410).
    pub(super) fn load(key_file: &Path, trail: &Path) -> Result<Self, AuditError> {
        let broken = |reason: String| AuditError::Key { path: key_file.to_owned(), reason };
        let pem = std::fs::read(key_file).map_err(|e| broken(e.to_string()))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|e| broken(e.to_string()))?;
        // OpenSSL leaves the public key out of the file, so there is nothing to compare it with.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|e| broken(format!("not an ed25519 key ({e})")))?;
        Ok(Self { key, path: checkpoint_path(trail) })
    }

    /// The key that verifies what it signs.
    pub(super) fn public_key(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.key.public_key().as_ref());
        PublicKey(key)
    }

    /// Replaces the checkpoint as one: a reader sees the old one or the new one.
    pub(super) fn write(&self, chain: Chain) -> io::Result<()> {
        let mut checkpoint = Checkpoint {
            seq: chain.seq,
            hash: chain.last.to_string(),
            time: time::rfc3339(time::now_us()),
            public_key: STANDARD.encode(self.public_key().0),
            signature: String::new(),
        };
        checkpoint.signature = STANDARD.encode(self.key.sign(&checkpoint.signed_bytes()));
        let mut bytes = serde_json::to_vec(&checkpoint)?;
        bytes.push(b'\n');
        let temporary = beside(&self.path, ".new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, &self.path)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A fresh key pair as the PEM files that `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write.
    pub(in super::super) fn key_pair() -> (String, String) {
        /// DER of such a private key up to its 32 bytes (RFC 8410, section 7).
        const PKCS8_V1: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let public = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap().public_key().as_ref().to_vec();
        let pem = |label: &str, prefix: &[u8], key: &[u8]| {
            let body = STANDARD.encode([prefix, key].concat());
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let seed = &document.as_ref()[16..48];
        (pem("PRIVATE KEY", &PKCS8_V1, seed), pem("PUBLIC KEY", &SPKI_PREFIX, &public))
    }

    /// A directory, a checkpoint written twice in it, and the PEM of the key that verifies it.
    fn written() -> (tempfile::TempDir, PathBuf, String) {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key.pem");
        let (private, public) = key_pair();
        std::fs::write(&key, private).unwrap();
        let trail = dir.path().join("audit.jsonl");
        let signer = Signer::load(&key, &trail).unwrap();
        signer.write(Chain { seq: 5, last: Digest::of(b"five") }).unwrap();
        signer.write(Chain { seq: 7, last: Digest::of(b"seven") }).unwrap();
        assert!(!format!("{signer:?}").contains("key: "));
        (dir, checkpoint_path(&trail), public)
    }

    #[test]
    fn the_newest_checkpoint_is_kept_and_verifies() {
        let (dir, path, public) = written();
        let checkpoint = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!(checkpoint.seq, 7);
        assert_eq!(checkpoint.check(None), Ok(Digest::of(b"seven")));
        assert_eq!(checkpoint.check(Some(&PublicKey::from_pem(public.as_bytes()).unwrap())), Ok(Digest::of(b"seven")));
        assert_eq!(
            checkpoint.check(Some(&PublicKey::from_pem(key_pair().1.as_bytes()).unwrap())),
            Err(CheckpointError::OtherKey)
        );
        assert!(!dir.path().join("audit.jsonl.checkpoint.new").exists());
    }

    #[test]
    fn every_changed_byte_is_found() {
        let (_dir, path, _) = written();
        let bytes = std::fs::read(&path).unwrap();
        for i in 0..bytes.len() - 1 {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let outcome = Checkpoint::read(&path).and_then(|c| c.unwrap().check(None));
            assert!(outcome.is_err(), "byte {i}: {}", String::from_utf8_lossy(&bad));
        }
    }

    #[test]
    fn a_missing_checkpoint_is_none_and_a_bad_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::read(&dir.path().join("none")), Ok(None));
        let key = dir.path().join("key.pem");
        let (private, public) = key_pair();
        std::fs::write(&key, public).unwrap();
        let error = Signer::load(&key, Path::new("x")).unwrap_err();
        assert!(matches!(&error, AuditError::Key { path, .. } if *path == key), "{error}");
        assert!(matches!(PublicKey::from_pem(private.as_bytes()), Err(CheckpointError::Key(_))));
    }
}
