//! From a host to a socket that carries the protocol: its addresses, TCP or a Unix-domain socket, TLS as `sslmode` says.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::{ConnectError, Endpoint};
use crate::config::{Host, SslMode, SslNegotiation};
use crate::stream::Stream;
use crate::tls;

/// Where a host can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

/// A server that vanished with its machine is noticed within a minute, also by a connection that only waits.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// All addresses of a host, in the resolver's order.
pub(super) async fn resolve(host: &Host) -> Result<Vec<Address>, ConnectError> {
    if host.is_socket() {
        return Ok(vec![Address::Unix(PathBuf::from(&host.name).join(format!(".s.PGSQL.{}", host.port)))]);
    }
    let found = lookup_host((host.name.as_str(), host.port)).await;
    let found = found.map_err(|source| ConnectError::Io { host: host.name.clone(), port: host.port, source })?;
    Ok(found.map(Address::Tcp).collect())
}

impl Endpoint {
    /// Opens the socket, with TLS as `sslmode` says, and sends nothing else.
    pub(super) async fn open(&self, host: usize, address: &Address) -> Result<Stream, ConnectError> {
        let address = match address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => {
                return UnixStream::connect(path).await.map(Stream::Unix).map_err(|e| self.io(host, e));
            }
        };
        let tcp = connect(address).await.map_err(|e| self.io(host, e))?;
        let Some(tls) = self.tls() else { return Ok(Stream::Plain(tcp)) };
        match self.encrypt(host, tcp, &tls).await {
            Ok(stream) => Ok(stream),
            // libpq's `prefer`: a server whose TLS does not work is used without.
            Err(ConnectError::Io { .. } | ConnectError::Tls { .. }) if self.target.sslmode == SslMode::Prefer => {
                connect(address).await.map(Stream::Plain).map_err(|e| self.io(host, e))
            }
            Err(e) => Err(e),
        }
    }

    /// SSLRequest, unless TLS begins at once, and handshake (Postgres documentation, "SSL Session Encryption").
    async fn encrypt(&self, host: usize, mut tcp: TcpStream, tls: &Arc<ClientConfig>) -> Result<Stream, ConnectError> {
        const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        let Host { name, port } = self.host(host);
        if self.target.sslnegotiation == SslNegotiation::Postgres {
            tcp.write_all(&SSL_REQUEST).await.map_err(|e| self.io(host, e))?;
            // One byte and no more: what came behind it in plain text would be an injection (CVE-2021-23222).
            match tcp.read_u8().await.map_err(|e| self.io(host, e))? {
                b'S' => {}
                b'N' if self.target.sslmode == SslMode::Prefer => return Ok(Stream::Plain(tcp)),
                b'N' => return Err(ConnectError::NoTls { host: name.clone(), port: *port }),
                other => return Err(ConnectError::Protocol(format!("byte {other} in answer to SSLRequest"))),
            }
        }
        let failed = |source| ConnectError::Tls { host: name.clone(), port: *port, source };
        let server_name = tls::server_name(name).map_err(failed)?;
        let stream =
            TlsConnector::from(Arc::clone(tls)).connect(server_name, tcp).await.map_err(|e| match e.kind() {
                // How rustls tells what is wrong with the other side's TLS; all else is the network's.
                io::ErrorKind::InvalidData => failed(e),
                _ => self.io(host, e),
            })?;
        let is_direct = self.target.sslnegotiation == SslNegotiation::Direct;
        if is_direct && stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
            // Without it the server may speak another protocol (ALPACA).
            return Err(failed(io::Error::other("the server did not choose the protocol \"postgresql\" (ALPN)")));
        }
        Ok(Stream::TlsClient(Box::new(stream)))
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // Without it each small request waits for the acknowledgement of the one before.
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(&tcp);
    let (idle, interval, probes) = KEEPALIVE;
    // No TCP_USER_TIMEOUT: it would also end a COPY whose server takes nothing for a while, because of a lock.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes))?;
    Ok(tcp)
}
