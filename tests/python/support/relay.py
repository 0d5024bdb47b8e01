"""Something between the proxy and Postgres: a socket that passes bytes on, and may change, encrypt or count."""

import contextlib
import socket
import ssl
import struct
import threading

CANCEL_REQUEST = struct.pack("!i", 80877102)
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Relay:
    """Listens on a port of its own; each connection is passed on to `target` in two threads.

    `tls`: certificate and key; the relay ends TLS itself then, and speaks TLS to Postgres as well.
    `direct`: TLS begins without an SSLRequest; with `alpn=False` no protocol is chosen.
    `refuse_tls`: an SSLRequest is answered with N.
    Without a target each connection is closed at once.
    `hold_cancels`: CancelRequests are passed on only once the event is set; `held` counts them.
    `address`, `port`: listens there.
    `edit`: called with each message of the server's start-up (type, body); a false result leaves the message out.
    """

    def __init__(self, target=None, *, tls=None, direct=False, alpn=True, refuse_tls=False, edit=None, hold_cancels=None,
                 address="127.0.0.1", port=0):
        self.target, self.direct, self.refuse_tls, self.edit = target, direct, refuse_tls, edit
        self.hold_cancels, self.held = hold_cancels, 0
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
            if alpn:
                self.context.set_alpn_protocols(["postgresql"])
        self.listener = socket.create_server((address, port))
        self.port = self.listener.getsockname()[1]
        self.accepted = 0
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Takes no more connections and ends those there are."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.target is None:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            if self.hold_cancels and client.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)[4:] == CANCEL_REQUEST:
                self.held += 1
                self.hold_cancels.wait(30)
            server = socket.create_connection(self.target)
            if self.context:
                if not self.direct:
                    assert client.recv(8, socket.MSG_WAITALL) == SSL_REQUEST
                    client.sendall(b"S")
                client = self.context.wrap_socket(client, server_side=True)
                server.sendall(SSL_REQUEST)
                assert server.recv(1) == b"S"
                anyone = ssl.create_default_context()
                anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
                server = anyone.wrap_socket(server)
            elif self.refuse_tls:
                assert client.recv(8, socket.MSG_WAITALL) == SSL_REQUEST
                client.sendall(b"N")
        except (OSError, AssertionError):
            client.close()
            return
        self._open += [client, server]
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        if self.edit:
            self._edit_startup(server, client)
        self._pump(server, client)

    def _edit_startup(self, server, client):
        with contextlib.suppress(OSError, struct.error):
            while True:
                head = server.recv(5, socket.MSG_WAITALL)
                kind, size = struct.unpack("!ci", head)
                body = server.recv(size - 4, socket.MSG_WAITALL) if size > 4 else b""
                if self.edit(kind.decode(), body):
                    client.sendall(head + body)
                if kind == b"Z":
                    return

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
