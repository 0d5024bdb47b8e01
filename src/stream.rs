//! A connection to a client or a server, whatever carries it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Plain TCP, a Unix-domain socket, or TLS over TCP.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
    /// TLS, the proxy as server.
    TlsServer(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS, the proxy as client.
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Resolves once the other side has hung up; what it has sent before stays unread. Cancel safe.
    pub async fn closed(&self) {
        /// A socket that can be read says no more when it is closed as well, so it is looked at now and then.
        const LOOK: Duration = Duration::from_millis(250);
        loop {
            let ready = match self {
                Stream::Plain(tcp) => tcp.ready(Interest::READABLE).await,
                Stream::Unix(unix) => unix.ready(Interest::READABLE).await,
                Stream::TlsServer(tls) => tls.get_ref().0.ready(Interest::READABLE).await,
                Stream::TlsClient(tls) => tls.get_ref().0.ready(Interest::READABLE).await,
            };
            if ready.is_ok_and(|ready| ready.is_read_closed()) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::TlsServer($stream) => $call,
            Stream::TlsClient($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}
