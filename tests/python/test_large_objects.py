"""Large objects by FunctionCall, the only way that libpq's lo_* functions, psql, pg_dump and drivers know."""

import struct

import pytest

from support import wire as w
from support.cluster import program
from support.sessions import rows, status
from support.wire import message

INV_READ, INV_WRITE = 0x40000, 0x20000
LO_OPEN, LO_CLOSE, LOREAD, LOWRITE, LO_CREATE, LO_UNLINK, LO_TRUNCATE = 952, 953, 954, 955, 715, 964, 1004


def call(oid, *arguments):
    """FunctionCall with binary arguments: integers and bytes."""
    values = [struct.pack("!i", a) if isinstance(a, int) else a for a in arguments]
    body = struct.pack("!Ihhh", oid, 1, 1, len(values)) + b"".join(struct.pack("!i", len(v)) + v for v in values) + struct.pack("!h", 1)
    return message("F", body)


def called(conn, oid, *arguments):
    """The result of a call that must succeed, as bytes."""
    conn.send(call(oid, *arguments))
    answer = conn.until()
    assert w.errors(answer) == [], answer
    result = next(m for m in answer if m.kind == "V").body
    size, = struct.unpack_from("!i", result)
    return result[4:] if size >= 0 else None


@pytest.fixture
def large_object(cluster, proxy):
    """The number of a large object of 300 kB on int and prod."""
    data = bytes(range(256)) * 1200
    for name in ("app_int", "app_prod"):
        with cluster.connect(name) as conn:
            conn.execute("SELECT lo_from_bytea(777, %s)", [data])
    yield 777, data
    for name in ("app_int", "app_prod"):
        with cluster.connect(name) as conn:
            conn.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


@pytest.mark.parametrize("user, tier", [("alice", "prod"), ("app", "prod"), ("app", "int")])
def test_read(proxy, large_object, user, tier):
    number, data = large_object
    with proxy.wire_login(user, tier) as conn:
        conn.simple("BEGIN")
        descriptor = struct.unpack("!i", called(conn, LO_OPEN, number, INV_READ))[0]
        assert called(conn, LOREAD, descriptor, 1000) == data[:1000]
        assert called(conn, LOREAD, descriptor, 1_000_000) == data[1000:]
        assert called(conn, LOREAD, descriptor, 10) == b""
        assert struct.unpack("!i", called(conn, LO_CLOSE, descriptor))[0] == 0
        assert status(conn.simple("COMMIT")) == "I"
        assert rows(conn.simple("SELECT 'in step'")) == [["in step"]]


@pytest.mark.needs_proxy
def test_a_read_only_person_writes_none(proxy, cluster, large_object):
    number, data = large_object
    with proxy.wire_login("alice", "prod") as conn:
        for oid, arguments in [(LO_CREATE, (778,)), (LO_UNLINK, (number,))]:
            conn.send(call(oid, *arguments))
            assert w.errors(conn.until()) == ["25006"]
        for oid, argument in [(LOWRITE, b"x"), (LO_TRUNCATE, 0)]:
            conn.simple("BEGIN")
            descriptor = struct.unpack("!i", called(conn, LO_OPEN, number, INV_READ | INV_WRITE))[0]
            conn.send(call(oid, descriptor, argument))
            answer = conn.until()
            assert w.errors(answer) == ["25006"] and status(answer) == "E"
            conn.simple("ROLLBACK")
    with cluster.connect("app_prod") as check:
        assert check.execute("SELECT oid::int, lo_get(oid) FROM pg_largeobject_metadata").fetchall() == [(number, data)]


@pytest.mark.needs_proxy
def test_reading_them_needs_a_reason(proxy, large_object):
    number, _ = large_object
    with proxy.wire_login("alice", "prod", reason=None) as conn:
        conn.simple("BEGIN")
        descriptor = struct.unpack("!i", called(conn, LO_OPEN, number, INV_READ))[0]
        conn.send(call(LOREAD, descriptor, 10))
        assert w.errors(conn.until()) == ["42501"]


def test_write(proxy, cluster, large_object):
    with proxy.wire_login("app", "int") as conn:
        conn.simple("BEGIN")
        assert struct.unpack("!I", called(conn, LO_CREATE, 779))[0] == 779
        descriptor = struct.unpack("!i", called(conn, LO_OPEN, 779, INV_READ | INV_WRITE))[0]
        assert struct.unpack("!i", called(conn, LOWRITE, descriptor, b"written"))[0] == 7
        conn.simple("COMMIT")
    with cluster.connect("app_int") as check:
        assert check.execute("SELECT lo_get(779)").fetchone() == (b"written",)


def test_errors_are_the_servers(proxy):
    with proxy.wire_login("app", "int") as conn:
        conn.simple("BEGIN")
        conn.send(call(LO_OPEN, 123456, INV_READ))
        answer = conn.until()
        assert w.errors(answer) == ["42704"] and status(answer) == "E"
        conn.send(call(LO_CLOSE, 0))
        assert w.errors(conn.until()) == ["25P02"]
        assert status(conn.simple("ROLLBACK")) == "I"


@pytest.mark.needs_proxy
def test_is_recorded(proxy, large_object):
    with proxy.wire_login("alice", "prod", application_name="lo-recorded") as conn:
        conn.simple("BEGIN")
        called(conn, LO_OPEN, large_object[0], INV_READ)
        conn.send(call(LO_UNLINK, large_object[0]), call(2925))
        conn.until(), conn.until()
    records = [r for r in (proxy.wait_record("deny", lambda r: "lo_unlink" in r.get("sql", ""), application_name="lo-recorded"),
                           proxy.wait_record("deny", lambda r: "2925" in r.get("message", ""), application_name="lo-recorded"))]
    assert [r["sqlstate"] for r in records] == ["25006", "0A000"]
    assert "lo_open" in proxy.wait_record("result", lambda r: "lo_open" in r.get("sql", ""), application_name="lo-recorded")["sql"]


def test_psql_exports_one(proxy, large_object, tmp_path):
    import subprocess
    target = tmp_path / "object"
    result = subprocess.run([program("psql"), "-X", "-c", f"\\lo_export {large_object[0]} '{target}'"], env=proxy.env("alice", "prod"),
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and target.read_bytes() == large_object[1], result.stderr
