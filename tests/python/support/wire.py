"""A raw Postgres protocol client: sends exactly the bytes it is told to (Postgres documentation, "Frontend/Backend Protocol")."""

import socket
import ssl
import struct

from . import scram

V3_0 = 0x0003_0000
V3_2 = 0x0003_0002
CANCEL = 80877102
SSL = 80877103
GSSENC = 80877104


def packet(code, body=b""):
    """A start-up packet: length, 32-bit code, body."""
    return struct.pack("!ii", len(body) + 8, code) + body


def message(kind, body=b""):
    """A typed message."""
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def startup_packet(params, version=V3_0):
    """A StartupMessage."""
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in params.items())
    return packet(version, body + b"\0")


def query(sql):
    """Query"""
    return message("Q", (sql.encode() if isinstance(sql, str) else sql) + b"\0")


def parse(sql, name="", types=()):
    """Parse"""
    return message("P", name.encode() + b"\0" + sql.encode() + b"\0" + struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(statement="", portal="", values=()):
    """Bind, all values as text; `None` is NULL."""
    body = portal.encode() + b"\0" + statement.encode() + b"\0" + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value.encode()
    return message("B", body + struct.pack("!h", 0))


def execute(portal="", rows=0):
    """Execute"""
    return message("E", portal.encode() + b"\0" + struct.pack("!i", rows))


def describe(kind, name=""):
    """Describe of a statement ('S') or portal ('P')."""
    return message("D", kind.encode() + name.encode() + b"\0")


def close(kind, name=""):
    """Close of a statement ('S') or portal ('P')."""
    return message("C", kind.encode() + name.encode() + b"\0")


def function_call(oid=2000):
    """FunctionCall without arguments."""
    return message("F", struct.pack("!Ihhh", oid, 0, 0, 0))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
COPY_DONE = message("c")


def copy_data(data):
    """CopyData"""
    return message("d", data)


class Message:
    """One message of the server."""

    def __init__(self, kind, body):
        self.kind = kind
        self.body = body

    def __repr__(self):
        return f"{self.kind}{self.fields() if self.kind in 'EN' else self.body!r}"

    def fields(self):
        """The fields of an ErrorResponse or NoticeResponse by their letter."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {p[:1].decode(): p[1:].decode(errors="replace") for p in parts if p}

    @property
    def sqlstate(self):
        """The SQLSTATE of an ErrorResponse."""
        return self.fields()["C"]

    @property
    def tag(self):
        """The command tag of a CommandComplete."""
        return self.body[:-1].decode()

    def row(self):
        """The values of a DataRow as text."""
        count, at, values = struct.unpack_from("!h", self.body)[0], 2, []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", self.body, at)
            at += 4
            values.append(None if size < 0 else self.body[at:at + size].decode())
            at += max(size, 0)
        return values


def kinds(messages):
    """The message types as one string, what a server may send at any time left out."""
    return "".join(m.kind for m in messages if m.kind not in "NSA")


def errors(messages):
    """SQLSTATEs of the ErrorResponses."""
    return [m.sqlstate for m in messages if m.kind == "E"]


class Closed(Exception):
    """The server closed the connection."""


class Wire:
    """A socket that speaks the protocol. Use it as a context manager."""

    def __init__(self, host, port, timeout=15.0):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.key = None
        self.parameters = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, *parts):
        """Sends all parts in one write."""
        self.sock.sendall(b"".join(parts))

    def end(self):
        """Says that nothing more is coming; the server may have closed already."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _fill(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        if not data:
            raise Closed
        self.buffer += data

    def exactly(self, count):
        """The next `count` bytes."""
        while len(self.buffer) < count:
            self._fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def receive(self):
        """The next message."""
        kind, size = struct.unpack("!ci", self.exactly(5))
        result = Message(kind.decode(), self.exactly(size - 4))
        if result.kind == "S":
            name, value, _ = result.body.split(b"\0", 2)
            self.parameters[name.decode()] = value.decode()
        elif result.kind == "K":
            self.key = (struct.unpack("!i", result.body[:4])[0], result.body[4:])
        return result

    def until(self, *ends):
        """All messages up to the first whose type is one of `ends` (ReadyForQuery by default)."""
        ends = ends or ("Z",)
        result = []
        while not result or result[-1].kind not in ends:
            result.append(self.receive())
        return result

    def rest(self):
        """All messages until the server closes the connection."""
        result = []
        try:
            while True:
                result.append(self.receive())
        except Closed:
            return result

    def is_closed(self):
        """Waits for the end of the connection; false when the server sends something instead."""
        try:
            self._fill()
            return False
        except Closed:
            return True

    def silent(self, seconds=0.3):
        """Whether the server sends nothing for a while and keeps the connection."""
        if self.buffer:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self._fill()
            return False
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.sock.settimeout(before)

    def start_tls(self, context=None, hostname="localhost"):
        """Continues over TLS (after an 'S', or at once for direct TLS)."""
        if context is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock, server_hostname=hostname)

    def authenticate(self, password):
        """Answers a SCRAM request; returns the messages from there to ReadyForQuery or the error."""
        request = self.receive()
        if request.kind != "R":
            return [request]
        assert request.body[:4] == struct.pack("!i", 10), f"not asked for SASL: {request!r}"
        client = scram.Client(password)
        first = client.first()
        self.send(message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        answer = self.receive()
        if answer.kind != "R":
            return [answer]
        self.send(message("p", client.final(answer.body[4:])))
        answer = self.receive()
        if answer.kind != "R":
            return [answer]
        client.check(answer.body[4:])
        return self.until("Z", "E")

    def login(self, params, password, version=V3_0):
        """From StartupMessage to ReadyForQuery; fails when the server refuses."""
        self.send(startup_packet(params, version))
        messages = self.authenticate(password)
        assert messages[-1].kind == "Z", messages
        return messages

    def simple(self, sql):
        """A simple query and all messages of its answer."""
        self.send(query(sql))
        return self.until()
