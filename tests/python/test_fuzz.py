"""Random and mutated protocol streams: no panic, no hang, steady memory, and everybody else is served.

PGBELAY_FUZZ is the number of streams (600); PGBELAY_FUZZ_SEED repeats a run.
"""

import concurrent.futures
import os
import random
import struct

import pytest

from support import wire as w
from support.proxy import DIRECT
from support.wire import SYNC, Closed, bind, close, describe, execute, message, packet, parse, query, startup_packet

STREAMS = int(os.environ.get("PGBELAY_FUZZ", "600"))
SEED = int(os.environ.get("PGBELAY_FUZZ_SEED", "20260101"))

SQL = [
    "SELECT 1", "SELECT id, name FROM projects WHERE id = 1", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a",
    "UPDATE projects SET name = name WHERE id = 1", "DELETE FROM email_drafts", "SELECT 1; SELECT 2", "", ";", "SELECT 1/0",
    "SET work_mem = '1MB'", "SET LOCAL work_mem = '2MB'", "RESET ALL", "SHOW ALL", "DISCARD ALL", "LISTEN a", "UNLISTEN *", "NOTIFY a, 'b'",
    "PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE ALL", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "FETCH c", "CLOSE ALL",
    "CREATE TEMP TABLE t (a int)", "COPY (SELECT 1) TO STDOUT", "COPY email_threads (subject) FROM STDIN", "SELECT 'unclosed",
    "SET pgbelay.reason = 'x'", "SHOW pgbelay.session", "SELECT $1::int", "SELECT /* unclosed", "SELECT $a$ $b$", "TRUNCATE projects",
    "SELECT repeat('x', 100000)", "SELECT pg_advisory_lock(1)", "SET client_encoding = 'SJIS'", "(" * 500 + "SELECT 1" + ")" * 500,
]
NAMES = ["", "a", "b", "long" * 30]


def random_message(rng):
    """One message as a client might send it."""
    sql, name, other = rng.choice(SQL), rng.choice(NAMES), rng.choice(NAMES)
    return rng.choice([
        lambda: query(sql), lambda: query(sql), lambda: parse(sql, name), lambda: parse(sql, name, [rng.choice([0, 20, 23, 25, 4294967295])]),
        lambda: bind(name, other), lambda: bind(name, other, ["1"]), lambda: bind(name, other, [None, "x"]), lambda: execute(name, rng.choice([0, 1, -1])),
        lambda: describe("S", name), lambda: describe("P", name), lambda: close("S", name), lambda: close("P", name), lambda: SYNC, lambda: SYNC,
        lambda: w.FLUSH, lambda: w.copy_data(b"line\n"), lambda: w.COPY_DONE, lambda: message("f", b"no\0"), lambda: w.function_call(),
        lambda: w.TERMINATE, lambda: message(chr(rng.randrange(128)), rng.randbytes(rng.randrange(20))),
    ])()


def random_start(rng):
    """The first bytes of a connection."""
    params = {"user": rng.choice(["alice", "nobody", ""]), "database": rng.choice(["app:int", "app:prod", "x"])}
    if rng.random() < 0.3:
        params[rng.choice(["options", "replication", "client_encoding", "_pq_.x", "pgbelay.reason"])] = rng.choice(["-c", "true", "SJIS", "", "-c a=b"])
    version = rng.choice([w.V3_0, w.V3_0, w.V3_2, 0x0003270F, 0x00020000, rng.getrandbits(32) - 2**31])
    parts = [startup_packet(params, version)]
    if rng.random() < 0.4:
        parts.insert(0, packet(rng.choice([w.SSL, w.GSSENC, w.CANCEL]), rng.choice([b"", b"", rng.randbytes(8)])))
    if rng.random() < 0.6:
        parts.append(message("p", rng.choice([b"SCRAM-SHA-256\0" + struct.pack("!i", 30) + b"n,,n=,r=abcdefghijklmnopqrstuv", rng.randbytes(40)])))
    return b"".join(parts + [random_message(rng) for _ in range(rng.randrange(3))])


def mutated(rng, data):
    """Some bytes changed, removed, repeated or put in, or the end cut off."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2:
            del data[at:at + rng.randrange(1, 9)]
        elif kind == 3:
            data[at:at] = data[at:at + rng.randrange(1, 60)]
        elif kind == 4:
            data[at:at + 4] = struct.pack("!i", rng.choice([-1, 0, 1, 4, 5, 2**31 - 1, -2**31, 65536]))
        else:
            del data[at:]
    return bytes(data)


def drain(wire):
    """Reads to the end of the connection; a hang is a failure."""
    total = 0
    try:
        while True:
            wire.buffer = b""
            wire._fill()
            total += len(wire.buffer)
            assert total < 200_000_000, "an answer without end"
    except (Closed, ConnectionError):
        pass


def run(server, number):
    """One stream, made from the seed and its number alone."""
    rng = random.Random(SEED * 1_000_003 + number)
    try:
        if rng.random() < 0.35:
            with server.wire(timeout=20) as wire:
                stream = rng.randbytes(rng.randrange(1, 400)) if rng.random() < 0.2 else mutated(rng, random_start(rng))
                send_and_drain(wire, stream)
        else:
            user, tier = rng.choice([("app", "int"), ("app", "prod"), ("alice", "prod"), ("bot", "stg")])
            with server.wire_login(user, tier, "fuzz") as wire:
                wire.sock.settimeout(20)
                send_and_drain(wire, mutated(rng, b"".join(random_message(rng) for _ in range(rng.randrange(1, 15)))))
    except TimeoutError:
        raise AssertionError(f"stream {number} of seed {SEED} hangs") from None


def send_and_drain(wire, stream):
    try:
        wire.send(stream)
    except ConnectionError:
        pass
    wire.end()
    drain(wire)


@pytest.fixture(scope="module")
def fuzzed(cluster, make_module_proxy):
    """Databases of its own: what is let through may change them. What waits for a connection or a lock may not wait long."""
    names = {("fuzz", tier): cluster.create_database(f"fuzz_{tier}") for tier in ("int", "stg", "prod")}
    limits = {"statement_timeout": "5s", "lock_timeout": "1s", "pool": {"min": 0, "max": 5, "wait": "5s"}}
    return make_module_proxy({"tiers": {tier: limits for tier in ("int", "stg", "prod")}}, names)


@pytest.mark.timeout(60 + STREAMS // 5)
def test_streams(fuzzed):
    rounds = 6
    memory = []
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for part in range(rounds):
            numbers = range(part * STREAMS // rounds, (part + 1) * STREAMS // rounds)
            list(pool.map(lambda number: run(fuzzed, number), numbers))
            with fuzzed.connect("app", "prod", "fuzz") as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)
            if not DIRECT:
                assert fuzzed.process.poll() is None, fuzzed.stderr()[-4000:]
                memory.append(fuzzed.rss_kib())
    if not DIRECT:
        assert "panicked" not in fuzzed.stderr(), fuzzed.stderr()[-6000:]
        # The first third fills caches and buffers.
        assert memory[-1] - memory[rounds // 3 - 1] < 20_000, f"resident memory in KiB after each round: {memory}"


def test_all_sessions_are_over(fuzzed):
    """Nothing of them is left: neither sessions nor connections in use."""
    if DIRECT:
        pytest.skip("counts the proxy's sessions")
    from support.ports import wait_until

    def at_rest():
        metrics = fuzzed.metrics()
        return all(sum(v for _, v in metrics.get(name, [])) == 0 for name in ("pgbelay_sessions", "pgbelay_pool_connections_in_use"))

    wait_until(at_rest, "all sessions and connections are at rest", 20)
