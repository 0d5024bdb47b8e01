//! The packets a client may send before it is authenticated: they have a length but no type byte.

use super::{BodyError, Reader};

/// Largest start-up packet (Postgres's `MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP: usize = 10_000;

const SSL_REQUEST: i32 = 80_877_103;
const GSSENC_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;

/// A packet of the start-up phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupPacket {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    GssEnc,
    /// CancelRequest.
    Cancel {
        /// Process id as told in BackendKeyData.
        pid: u32,
        /// Secret key, 4 to 256 bytes.
        key: Vec<u8>,
    },
    /// StartupMessage.
    Startup {
        /// Major protocol version.
        major: u16,
        /// Minor protocol version.
        minor: u16,
        /// Parameters in the order sent.
        parameters: Vec<(String, String)>,
    },
}

/// Size of the packet at the front of `buf`, once its length is there.
///
/// # Errors
/// [`BodyError::Field`] for a length no start-up packet has.
pub fn startup_size(buf: &[u8]) -> Result<Option<usize>, BodyError> {
    let Some((length, _)) = buf.split_first_chunk::<4>() else { return Ok(None) };
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(size) if (8..=MAX_STARTUP).contains(&size) => Ok(Some(size)),
        _ => Err(BodyError::Field),
    }
}

impl StartupPacket {
    /// Reads a whole packet, its length included.
    pub fn read(packet: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(packet);
        reader.i32()?;
        match reader.i32()? {
            SSL_REQUEST => reader.finish().map(|()| StartupPacket::Ssl),
            GSSENC_REQUEST => reader.finish().map(|()| StartupPacket::GssEnc),
            CANCEL_REQUEST => {
                let pid = reader.i32()?.cast_unsigned();
                let key = reader.rest();
                if !(4..=256).contains(&key.len()) {
                    return Err(BodyError::Field);
                }
                Ok(StartupPacket::Cancel { pid, key: key.to_vec() })
            }
            version => {
                let version = version.cast_unsigned();
                let mut parameters = vec![];
                loop {
                    let name = reader.str()?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.push((name.to_owned(), reader.str()?.to_owned()));
                }
                reader.finish()?;
                Ok(StartupPacket::Startup {
                    major: (version >> 16) as u16,
                    minor: (version & 0xffff) as u16,
                    parameters,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: i32, body: &[u8]) -> Vec<u8> {
        let mut packet = (8 + body.len() as i32).to_be_bytes().to_vec();
        packet.extend(code.to_be_bytes());
        packet.extend(body);
        packet
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(StartupPacket::read(&packet(SSL_REQUEST, b"")), Ok(StartupPacket::Ssl));
        assert_eq!(StartupPacket::read(&packet(GSSENC_REQUEST, b"")), Ok(StartupPacket::GssEnc));
        assert_eq!(
            StartupPacket::read(&packet(CANCEL_REQUEST, b"\0\0\0\x07abcd")),
            Ok(StartupPacket::Cancel { pid: 7, key: b"abcd".to_vec() })
        );
        assert_eq!(
            StartupPacket::read(&packet(196_608, b"user\0a\0\0")),
            Ok(StartupPacket::Startup { major: 3, minor: 0, parameters: vec![("user".into(), "a".into())] })
        );
    }

    #[test]
    fn malformed_packets_are_refused() {
        assert!(StartupPacket::read(&packet(SSL_REQUEST, b"x")).is_err());
        assert!(StartupPacket::read(&packet(CANCEL_REQUEST, b"\0\0\0\x07abc")).is_err());
        assert!(StartupPacket::read(&packet(CANCEL_REQUEST, &[0; 300])).is_err());
        assert!(StartupPacket::read(&packet(196_608, b"user\0a\0")).is_err());
        assert!(StartupPacket::read(&packet(196_608, b"user\0a\0\0more")).is_err());
        for size in [0_i32, 7, 10_001, -1, i32::MAX] {
            assert!(startup_size(&size.to_be_bytes()).is_err());
        }
    }
}
