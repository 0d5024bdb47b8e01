//! Waits for bytes of both sides, and sends what there is for them.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::core::HIGH_WATER;
use super::Driver;
use crate::stream::Stream;
use crate::upstream::Connection;

/// Most bytes read ahead from a client whose message cannot be handled yet.
const READ_AHEAD: usize = 128 * 1024;

/// Bytes asked of a socket at once.
const READ_SIZE: usize = 16 * 1024;

/// Largest buffer that an idle client keeps.
const KEPT: usize = 256;

/// What woke a session.
#[derive(Debug)]
pub(super) enum Wake {
    /// Bytes from the client.
    Client,
    /// Bytes from the server.
    Upstream,
    /// The output is sent.
    Flushed,
    /// An order, a deadline or a new configuration.
    Control,
    /// The client is gone.
    ClientGone,
    /// The server is gone.
    UpstreamGone(String),
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitFor {
    /// Anything.
    Traffic,
    /// The output to be sent.
    Flush,
}

impl Driver {
    /// Sends the server what it takes at once. That it is gone is found by who waits.
    pub(super) fn send_upstream(&mut self) {
        if let Some(lease) = &mut self.lease {
            let Connection { stream, link, .. } = lease.connection();
            if !link.outbox.is_empty() {
                let _sent = poll_send(stream, &mut link.outbox, &mut Context::from_waker(Waker::noop()));
            }
        }
    }

    /// Waits for traffic while both sides' output is sent as fast as they take it.
    ///
    /// Neither side can block the other: as long as one is slow, the other is read only up to a limit.
    pub(super) async fn wait(&mut self, until: WaitFor) -> Wake {
        let now = Instant::now();
        let activity = self.activity();
        let deadline = self.limits.next(&self.core.judge.policy, activity, now);
        self.registered.control.set_deadline(deadline);
        let mut notified = pin!(self.registered.control.wake.notified());
        poll_fn(|cx| {
            if notified.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Control);
            }
            if self.is_client_gone {
                self.core.out.clear();
            } else if poll_send(&mut self.client, &mut self.core.out, cx).is_err() {
                return Poll::Ready(Wake::ClientGone);
            }
            if let Some(lease) = &mut self.lease {
                let connection = lease.connection();
                if let Err(error) = poll_send(&mut connection.stream, &mut connection.link.outbox, cx) {
                    return Poll::Ready(Wake::UpstreamGone(error.to_string()));
                }
                if self.core.out.len() < HIGH_WATER {
                    match poll_receive(&mut connection.stream, &mut connection.link.inbox, cx) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Wake::UpstreamGone("end of stream".to_owned())),
                        Poll::Ready(Ok(_)) => return Poll::Ready(Wake::Upstream),
                        Poll::Ready(Err(error)) => return Poll::Ready(Wake::UpstreamGone(error.to_string())),
                        Poll::Pending => {}
                    }
                }
            }
            let outbox = self.lease.as_mut().map_or(0, |lease| lease.connection().link.outbox.len());
            if until == WaitFor::Flush && self.core.out.len() <= HIGH_WATER / 2 && outbox <= HIGH_WATER / 2 {
                return Poll::Ready(Wake::Flushed);
            }
            if !self.is_client_gone
                && until == WaitFor::Traffic
                && outbox < HIGH_WATER
                && self.input.len() < read_ahead(&self.input)
            {
                match poll_receive(&mut self.client, &mut self.input, cx) {
                    Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Wake::Client),
                    Poll::Ready(_) => return Poll::Ready(Wake::ClientGone),
                    Poll::Pending => {}
                }
            }
            if self.lease.is_none() {
                rest(&mut self.input);
                rest(&mut self.core.out);
            }
            Poll::Pending
        })
        .await
    }
}

/// Sends the client what there is for it, and reads ahead, while something else is waited for; resolves once it is gone.
///
/// Cancel safe.
pub(super) async fn client_gone(client: &mut Stream, out: &mut BytesMut, input: &mut BytesMut) {
    poll_fn(|cx| {
        if poll_send(client, out, cx).is_err() {
            return Poll::Ready(());
        }
        while input.len() < READ_AHEAD {
            match poll_receive(client, input, cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    })
    .await;
}

/// Gives the memory of a buffer back that is empty now, unless it is next to nothing.
fn rest(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.try_reclaim(KEPT + 1) {
        *buffer = BytesMut::new();
    }
}

/// How much may be read ahead: a message that must be whole is taken in as a whole, whose size the machine has checked.
fn read_ahead(input: &BytesMut) -> usize {
    match crate::wire::frontend_header(input) {
        Ok(Some(header)) => READ_AHEAD.max(header.size.min(crate::wire::MAX_BUFFERED)),
        Ok(None) | Err(_) => READ_AHEAD,
    }
}

/// Sends as much as the socket takes, also of what TLS has taken in before.
pub(super) fn poll_send(stream: &mut Stream, out: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<()> {
    while !out.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, out) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => out.advance(n),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}

/// Reads what has come from a client, and waits for nothing. That it is gone is found by who waits.
pub(super) fn read_available(client: &mut Stream, input: &mut BytesMut) {
    let mut context = Context::from_waker(Waker::noop());
    while input.len() < READ_AHEAD
        && let Poll::Ready(Ok(1..)) = poll_receive(client, input, &mut context)
    {}
}

/// Reads what is there, at most [`READ_SIZE`] bytes.
fn poll_receive(stream: &mut Stream, into: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut chunk = [std::mem::MaybeUninit::<u8>::uninit(); READ_SIZE];
    let mut buffer = ReadBuf::uninit(&mut chunk);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) => {
            into.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// Both ends of a TLS connection; the proxy's is the first.
    async fn tls_pair() -> (Stream, tokio_rustls::client::TlsStream<TcpStream>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let certificate = CertificateDer::from(made.der().to_vec());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let (server, client) = tokio::join!(
            TlsAcceptor::from(Arc::new(server)).accept(accepted),
            connector.connect("localhost".try_into().unwrap(), tcp)
        );
        (Stream::TlsServer(Box::new(server.unwrap())), client.unwrap())
    }

    /// TLS takes in more than its socket; what it holds back is sent once the socket takes it, though nothing comes behind it.
    #[tokio::test]
    async fn a_slow_reader_gets_the_end() {
        let (mut stream, mut reader) = tls_pair().await;
        let mut out = BytesMut::new();
        let mut sent = 0;
        let holds_back = |stream: &Stream| matches!(stream, Stream::TlsServer(tls) if tls.get_ref().1.wants_write());
        while !holds_back(&stream) {
            out.resize(1000, b'x');
            sent += out.len();
            poll_fn(|cx| Poll::Ready(poll_send(&mut stream, &mut out, cx))).await.unwrap();
            assert!(out.is_empty(), "the socket took less than it should for this test");
        }
        let mut read = vec![0; sent];
        let sending = poll_fn(|cx| {
            poll_send(&mut stream, &mut out, cx).unwrap();
            Poll::<()>::Pending
        });
        tokio::select! {
            all = tokio::time::timeout(Duration::from_secs(20), reader.read_exact(&mut read)) => {
                all.expect("the end never comes").unwrap();
            }
            () = sending => {}
        }
    }
}
