"""Read replicas: which sessions read from one, and when not."""

import psycopg
import pytest

from support import wire as w
from support.cluster import Cluster
from support.ports import wait_until
from support.proxy import Proxy, command

pytestmark = pytest.mark.needs_proxy


@pytest.fixture(scope="module")
def pair():
    """A primary and its standby."""
    servers = [Cluster()]
    try:
        servers[0].create_empty()
        servers.append(servers[0].standby())
        with servers[0].admin() as conn:
            conn.execute("CREATE TABLE seen (n int)")
            conn.execute("GRANT ALL ON seen TO app")
        yield servers
    finally:
        for server in reversed(servers):
            server.remove()


@pytest.fixture(scope="module")
def proxy(pair):
    """`int` has both servers for each url, as operators would write it."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in pair)
    proxy = Proxy(pair[0], {"tiers": {"int": {"pool": {"min": 0, "max": 3}}}})
    proxy.config["databases"]["app"] = {"int": {
        "url": f"postgres://app@{hosts}/postgres?target_session_attrs=read-write",
        "replicas": f"postgres://app@{hosts}/postgres", "max_replica_lag": "1s", "password_env": "TEST_UPSTREAM_PASSWORD"}}
    proxy.write_config()
    try:
        yield proxy.start()
    finally:
        proxy.close()


def on_standby(conn):
    """Whether a session's statements run on the standby now."""
    return conn.execute("SELECT pg_is_in_recovery()").fetchone()[0]


@pytest.fixture
def reader(proxy):
    """A session of the auditor's, read-only, once the replica is read from."""
    with proxy.connect("ann", "int") as conn:
        wait_until(lambda: on_standby(conn), "the replica is read from")
        yield conn


def test_read_only_sessions_read_from_the_replica(proxy, reader):
    with proxy.connect("app", "int") as writer:
        assert not on_standby(writer)
        assert writer.execute("INSERT INTO seen VALUES (1) RETURNING n").fetchone() == (1,)
    wait_until(lambda: reader.execute("SELECT count(*) FROM seen").fetchone()[0], "the row has arrived")
    with reader.transaction():
        assert on_standby(reader)
    # Prepared, with parameters, in a pipeline.
    for _ in range(8):
        assert reader.execute("SELECT pg_is_in_recovery(), %s::int", [5], prepare=True).fetchone() == (True, 5)
    with reader.pipeline():
        cursors = [reader.execute("SELECT pg_is_in_recovery()") for _ in range(5)]
    assert all(cursor.fetchone()[0] for cursor in cursors)


def test_connections_are_counted_over_all_pools(pair, proxy, reader):
    """Both servers stand in both urls; each pool has connections to one of them."""
    def counted(server, role):
        labels = {"host": f"127.0.0.1:{server.port}", "role": role}
        return sum(value for found, value in proxy.metrics()["pgbelay_upstream_connections"] if labels.items() <= found.items())

    with proxy.connect("app", "int") as writer, writer.transaction(), reader.transaction():
        assert not on_standby(writer) and on_standby(reader)
        wait_until(lambda: counted(pair[0], "primary"), "the primary's are counted")
        wait_until(lambda: counted(pair[1], "standby"), "the standby's are counted")


def test_writes_stay_refused(reader):
    for statement in ("INSERT INTO seen VALUES (9)", "CREATE TABLE x (a int)"):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute(statement)


def test_a_replica_that_lags_is_not_read_from(pair, proxy, reader):
    with pair[1].admin() as replica, proxy.connect("app", "int") as writer:
        replica.execute("SELECT pg_wal_replay_pause()")
        try:
            writer.execute("INSERT INTO seen VALUES (77)")
            wait_until(lambda: not on_standby(reader), "the primary is read from")
            assert reader.execute("SELECT count(*) FROM seen WHERE n = 77").fetchone() == (1,)
            assert "(standby, lagging)" in proxy.http("/readyz")[1]
            assert proxy.answers("/readyz")
            wait_until(lambda: lag(proxy, pair[1]) > 1, "the metric tells")
        finally:
            replica.execute("SELECT pg_wal_replay_resume()")
    wait_until(lambda: on_standby(reader), "the replica is read from again")
    wait_until(lambda: lag(proxy, pair[1]) < 1, "the metric tells")


def lag(proxy, server):
    """The lag of a server, in seconds, as the metrics tell it."""
    return next(value for labels, value in proxy.metrics()["pgbelay_replica_lag_seconds"]
                if labels["host"] == f"127.0.0.1:{server.port}")


def test_an_idle_primary_is_no_lag(pair, proxy, reader):
    """The last transaction was replayed long ago, and yet nothing is missing."""
    pair[0].caught_up(pair[1])
    with pair[1].admin() as replica:
        wait_until(lambda: replica.execute("SELECT now() - pg_last_xact_replay_timestamp() > '1.5 s'").fetchone()[0], "it is idle")
    assert on_standby(reader)


def test_a_replica_that_is_cut_off_is_not_read_from(pair, proxy, reader):
    """It has replayed all that it received, and receives nothing any more."""
    standby = pair[1]
    with standby.admin() as replica:
        conninfo = replica.execute("SHOW primary_conninfo").fetchone()[0]
    standby.configure("primary_conninfo = 'host=127.0.0.1 port=1'")
    try:
        wait_until(lambda: not on_standby(reader), "the primary is read from", 20)
    finally:
        standby.configure("primary_conninfo = '" + conninfo.replace("'", "''") + "'")
    wait_until(lambda: on_standby(reader), "the replica is read from again", 30)


def test_what_needs_the_primary_goes_there(proxy, reader):
    reader.execute("LISTEN told")
    with proxy.connect("app", "int") as writer:
        writer.execute("NOTIFY told, 'hello'")
    assert [notify.payload for notify in reader.notifies(timeout=5, stop_after=1)] == ["hello"]
    # It holds its connection now.
    assert not on_standby(reader)
    reader.execute("UNLISTEN *")
    wait_until(lambda: on_standby(reader), "it reads from the replica again")


def test_advisory_locks_exclude_everybody(proxy, reader):
    with proxy.connect("app", "int") as writer:
        writer.execute("SELECT pg_advisory_lock(7)")
        assert reader.execute("SELECT pg_try_advisory_xact_lock(7)").fetchone() == (False,)
        writer.execute("SELECT pg_advisory_unlock(7)")
    # Inside a transaction on a replica it would be a lock of that server's own.
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused, reader.transaction():
        assert on_standby(reader)
        reader.execute("SELECT pg_advisory_xact_lock(7)")
    assert "replica" in refused.value.diag.message_primary and refused.value.diag.message_hint
    assert on_standby(reader)


def serializable(conn, begin):
    """Whether a serializable transaction that begins so works, and where it runs."""
    conn.execute(begin)
    try:
        return conn.execute("SHOW transaction_isolation").fetchone()[0] == "serializable", on_standby(conn)
    finally:
        conn.execute("ROLLBACK")


def test_what_a_standby_cannot_do_is_done_by_the_primary(proxy, reader):
    """Serializable transactions, and the transaction's id (Postgres documentation, "Hot Standby")."""
    assert serializable(reader, "BEGIN ISOLATION LEVEL SERIALIZABLE") == (True, False)
    assert reader.execute("SELECT pg_current_xact_id() > '0', pg_current_wal_lsn() > '0/0'").fetchone() == (True, True)
    for make in ("SET default_transaction_isolation = serializable", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"):
        assert on_standby(reader)
        reader.execute(make)
        for _ in range(2):
            assert not on_standby(reader)
        assert serializable(reader, "BEGIN") == (True, False)
        reader.execute("RESET default_transaction_isolation")
        wait_until(lambda: on_standby(reader), "it reads from the replica again")


def test_one_session_is_serializable_from_the_start(proxy, reader):
    """Its setting is on none of the connections to the replica that others get."""
    for _ in range(4):
        with proxy.connect("ann", "int", options="-c default_transaction_isolation=serializable") as conn:
            assert not on_standby(conn)
        with proxy.connect("ann", "int") as other:
            assert on_standby(other)
    assert on_standby(reader)


def test_pipelined_statements_move_to_the_primary(proxy, reader):
    """Simple queries sent at once: each runs where it can, in order."""
    with proxy.wire_login("ann", "int") as wire:
        wire.send(*(w.query(sql) for sql in ("SELECT pg_is_in_recovery()", "SELECT pg_is_in_recovery() FROM pg_try_advisory_xact_lock(8)",
                                             "SELECT pg_is_in_recovery()")))
        rows = [m.row() for _ in range(3) for m in wire.until() if m.kind == "D"]
        # The third may stay where the second was.
        assert rows[:2] == [["t"], ["f"]] and len(rows) == 3


def test_a_replica_that_is_gone_is_done_without(pair, proxy, reader):
    pair[1].stop()
    try:
        # What ran on it is lost; what comes next is not.
        wait_until(lambda: _reads(reader) is False, "the primary is read from")
        with proxy.connect("ann", "int") as conn:
            assert not on_standby(conn)
        assert proxy.answers("/readyz")
    finally:
        pair[1].start()
    wait_until(lambda: on_standby(reader), "the replica is read from again", 30)


def _reads(conn):
    try:
        return on_standby(conn)
    except psycopg.OperationalError:
        return None


def test_check_shows_the_replicas(proxy):
    shown = command("check", "--connect", "--config", proxy.config_file, env=proxy.environment)
    assert shown.returncode == 0, shown.stderr
    assert "lag up to 1s" in shown.stdout and "app:int replicas" in shown.stdout


def test_a_promoted_replica_is_a_replica_no_more(pair, proxy, reader):
    """The last test: the pair is none any more."""
    pair[0].caught_up(pair[1])
    pair[0].kill()
    pair[1].promote()
    with proxy.connect("app", "int") as writer:
        assert writer.execute("SELECT inet_server_port()").fetchone() == (pair[1].port,)
        writer.execute("INSERT INTO seen VALUES (4711)")
    assert wait_until(lambda: reader.execute("SELECT count(*) FROM seen WHERE n = 4711").fetchone()[0], "it is read") == 1
    wait_until(lambda: not on_standby(reader), "the new primary is read from")
