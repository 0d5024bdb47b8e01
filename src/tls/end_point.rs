//! The hash of a certificate that a login is bound to (RFC 5929, section 4.1): that of the certificate's own signature.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// `tls-server-end-point` of a DER certificate; `None` when its signature uses no single hash, or one not known here.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
/// `[0] EXPLICIT`
const CONTEXT_0: u8 = 0xa0;

/// Object identifiers of signatures with their hashes (RFC 4055, RFC 5758), in DER, and of the hashes themselves.
const HASHES: &[(&[u8], &Algorithm)] = &[
    // md5WithRSAEncryption and sha1WithRSAEncryption: RFC 5929 says SHA-256.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &SHA256),
    // sha256, sha384 and sha512WithRSAEncryption.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &SHA512),
    // ecdsa-with-SHA1, -SHA256, -SHA384, -SHA512.
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &SHA512),
    // The hashes in the parameters of RSASSA-PSS: SHA-1, SHA-256, SHA-384, SHA-512.
    (b"\x2b\x0e\x03\x02\x1a", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x01", &SHA256),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x02", &SHA384),
    (b"\x60\x86\x48\x01\x65\x03\x04\x02\x03", &SHA512),
];

/// id-RSASSA-PSS
const RSASSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm AlgorithmIdentifier, signatureValue } (RFC 5280, section 4.1).
fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (_signed, rest) = element(certificate, SEQUENCE)?;
    let (identifier, _) = element(rest, SEQUENCE)?;
    let (name, parameters) = element(identifier, OID)?;
    if name != RSASSA_PSS {
        return hash_named(name);
    }
    // RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] DEFAULT sha1, … } (RFC 4055, section 3.1).
    let (parameters, _) = element(parameters, SEQUENCE)?;
    match element(parameters, CONTEXT_0) {
        None => Some(&SHA256),
        Some((explicit, _)) => {
            let (identifier, _) = element(explicit, SEQUENCE)?;
            hash_named(element(identifier, OID)?.0)
        }
    }
}

fn hash_named(name: &[u8]) -> Option<&'static Algorithm> {
    HASHES.iter().find(|(known, _)| *known == name).map(|(_, hash)| *hash)
}

/// Splits a DER element of this tag off the front: its contents, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // So many bytes of length follow, the most significant first.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().try_fold(0_usize, |sum, &byte| Some(sum.checked_mul(256)? + usize::from(byte)))?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| found == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As DER: an element of up to 65535 bytes.
    fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], contents].concat()
    }

    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let signed = der(SEQUENCE, &[0; 300]);
        der(SEQUENCE, &[signed, der(SEQUENCE, identifier), der(3, &[0; 65])].concat())
    }

    fn hash_length(identifier: &[u8]) -> Option<usize> {
        end_point(&certificate(identifier)).map(|hash| hash.len())
    }

    #[test]
    fn each_signature_has_its_hash() {
        for (name, algorithm) in HASHES {
            assert_eq!(hash_length(&der(OID, name)), Some(algorithm.output_len()));
        }
        // Ed25519 (1.3.101.112) has none.
        assert_eq!(hash_length(&der(OID, &[0x2b, 0x65, 0x70])), None);
    }

    #[test]
    fn pss_names_its_hash_in_its_parameters() {
        let pss = |parameters: &[u8]| hash_length(&[der(OID, RSASSA_PSS), der(SEQUENCE, parameters)].concat());
        assert_eq!(pss(&[]), Some(32));
        let sha512 = der(SEQUENCE, &der(OID, b"\x60\x86\x48\x01\x65\x03\x04\x02\x03"));
        assert_eq!(pss(&der(CONTEXT_0, &sha512)), Some(64));
        assert_eq!(hash_length(&der(OID, RSASSA_PSS)), None);
    }

    #[test]
    fn a_real_certificate_is_read() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(end_point(made.der()), Some(digest(&SHA384, made.der()).as_ref().to_vec()));
    }

    #[test]
    fn damaged_certificates_have_no_hash() {
        let whole = certificate(&der(OID, HASHES[0].0));
        for end in 0..whole.len() {
            let _no_panic = end_point(&whole[..end]);
        }
        assert_eq!(end_point(&[SEQUENCE, 0x80]), None);
        assert_eq!(end_point(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
