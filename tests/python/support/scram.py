"""SCRAM-SHA-256 (RFC 5802, RFC 7677): the verifier that Postgres stores, and a client's side for raw sockets."""

import base64
import hashlib
import hmac
import os


def _hmac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def _salted(password, salt, iterations):
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)


def verifier(password, iterations=4096):
    """`SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` of an ASCII password."""
    salt = os.urandom(16)
    salted = _salted(password, salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    parts = [base64.b64encode(x).decode() for x in (salt, stored, _hmac(salted, b"Server Key"))]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


class Client:
    """One SCRAM exchange, without channel binding or bound to the hash of a certificate."""

    def __init__(self, password, binding=None):
        self.password, self.binding = password, binding or b""
        self.header = "p=tls-server-end-point,," if binding else "n,,"
        self.bare = "n=,r=" + base64.b64encode(os.urandom(18)).decode()

    def first(self):
        """client-first-message"""
        return (self.header + self.bare).encode()

    def final(self, server_first):
        """client-final-message, for the server's first message."""
        fields = dict(part.split("=", 1) for part in server_first.decode().split(","))
        salted = _salted(self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c={base64.b64encode(self.header.encode() + self.binding).decode()},r={fields['r']}"
        transcript = ",".join([self.bare, server_first.decode(), without_proof]).encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), transcript)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = _hmac(_hmac(salted, b"Server Key"), transcript)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final):
        """Raises unless the server has proved that it knows the verifier."""
        assert server_final == b"v=" + base64.b64encode(self.server_signature), "the server's signature is wrong"
