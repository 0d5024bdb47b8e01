"""A server that speaks just enough of the protocol to be logged in to, and answers as the test tells it: what a real Postgres never sends."""

import socket
import struct
import threading

from .wire import message

AUTHENTICATED = message("R", struct.pack("!i", 0))
PARAMETERS = b"".join(message("S", name + b"\0" + value + b"\0") for name, value in [
    (b"server_version", b"15.0"), (b"client_encoding", b"UTF8"), (b"standard_conforming_strings", b"on")])
KEY = message("K", struct.pack("!ii", 4711, 42))
READY = message("Z", b"I")


def sasl(code, data):
    """An authentication request of SCRAM."""
    return message("R", struct.pack("!i", code) + data)


def complete(tag):
    """CommandComplete."""
    return message("C", tag + b"\0")


def error(**fields):
    """ErrorResponse with these fields and no other."""
    return message("E", b"".join(k.encode() + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


class FakePostgres:
    """Answers queries by `answers`, a list of (part of the text, bytes), or by `good`, whole texts with their bytes; every other one with an
    empty SELECT. `login` takes a connection to ReadyForQuery in its own way. Use it as a context manager."""

    def __init__(self, answers=(), login=None, good=None):
        self.answers = list(answers)
        self.good = good or {}
        self.login = login or (lambda conn: conn.send(AUTHENTICATED, PARAMETERS, KEY, READY))
        # Queries that came over a connection on which one of `answers` had been given.
        self.after_answer = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            try:
                # Wakes the thread that reads from it.
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(10)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(FakeConnection(sock),), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, conn):
        try:
            size, = struct.unpack("!i", conn.exactly(4))
            packet = conn.exactly(size - 4)
            if packet[:4] != struct.pack("!i", 0x30000):
                return
            if b"pgbelay catalog" in packet:
                # Its own queries of functions: they find nothing here.
                conn.send(error(S="FATAL", V="FATAL", C="57P03", M="not now"))
                return
            self.login(conn)
            is_answered = False
            while True:
                kind, body = conn.receive()
                if kind == b"Q":
                    sql = body[:-1].decode()
                    if is_answered:
                        self.after_answer.append(sql)
                    is_answered |= any(part in sql for part, _ in self.answers)
                    conn.send(self.answer(sql))
                elif kind == b"X":
                    return
        except (OSError, EOFError, struct.error):
            pass
        finally:
            conn.sock.close()

    def answer(self, sql):
        """The bytes that answer a query."""
        return next((data for part, data in self.answers if part in sql), self.good.get(sql, complete(b"SELECT 0") + READY))


class FakeConnection:
    """The server's end of a connection."""

    def __init__(self, sock):
        self.sock = sock

    def exactly(self, count):
        """The next `count` bytes."""
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def receive(self):
        """The next message: type and body."""
        kind, size = struct.unpack("!ci", self.exactly(5))
        return kind, self.exactly(size - 4)

    def send(self, *parts):
        """Sends all parts."""
        self.sock.sendall(b"".join(parts))
