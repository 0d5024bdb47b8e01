"""The guard off: what PostgreSQL's regression schedule and the drivers' own suites found, one case each.

With one connection for all, each session meets what the one before it has left there; tests/compat runs the suites themselves.
"""

import concurrent.futures
import subprocess

import psycopg
import pytest

from support import wire as w
from support.cluster import SUPERUSER_PASSWORD, program
from support.compat import plain_pooler
from support.ports import wait_until
from support.proxy import DIRECT, Direct

DATABASE = "plain_pooler"


class Postgres(Direct):
    """Postgres itself, for PGBELAY_DIRECT=1."""

    def dbname(self, database, tier):
        return database


@pytest.fixture(scope="module")
def make_pooler(cluster):
    """Makes proxies with the guard off: make(connections)."""
    with cluster.admin() as conn:
        conn.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        conn.execute("CREATE ROLE pooled_one; CREATE ROLE pooled_two; GRANT pooled_two TO pooled_one")
    made = []

    def make(connections):
        server = Postgres(cluster) if DIRECT else plain_pooler(cluster, [DATABASE], connections)
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.close()
    cluster.drop_database(DATABASE)
    with cluster.admin() as conn:
        conn.execute("DROP ROLE pooled_one; DROP ROLE pooled_two")


@pytest.fixture(scope="module")
def single(make_pooler):
    """One connection for all."""
    return make_pooler(1)


@pytest.fixture(scope="module")
def pair(make_pooler):
    """Two connections. Who begins a transaction holds the one that was used last, so that others meet the other one."""
    return make_pooler(2)


def connect(server, options=None, **parameters):
    """A session of the superuser."""
    return psycopg.connect(host=server.host, port=server.port, user="postgres", password=SUPERUSER_PASSWORD, dbname=DATABASE,
                           autocommit=True, options=options, **parameters)


def one(conn, query, params=None):
    """The only value of the only row."""
    return conn.execute(query, params).fetchone()[0]


def psql(server, script, **parameters):
    """What psql prints for a script on its input."""
    environment = {"PATH": "/usr/bin:/bin", "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres",
                   "PGPASSWORD": SUPERUSER_PASSWORD, "PGDATABASE": DATABASE, "LC_ALL": "C"}
    return subprocess.run([program("psql"), "-X", "-q", "-A", "-t"], input=script, capture_output=True, text=True, env=environment,
                          timeout=30, **parameters)


def test_settings_that_the_server_spells_in_capitals(single):
    """A function whose settings had to be asked for does not take TimeZone and DateStyle away from the next session."""
    options = "-c TimeZone=America/Los_Angeles -c IntervalStyle=postgres_verbose"
    with connect(single, options) as first, connect(single, options) as second:
        first.execute("CREATE OR REPLACE FUNCTION leaves() RETURNS void LANGUAGE plpgsql AS"
                      " $$ BEGIN PERFORM set_config('app.made', 'x', false); END $$")
        first.execute("SELECT leaves()")
        for conn in (second, first):
            assert conn.execute("SELECT current_setting('TimeZone'), '1 day'::interval::text").fetchone() == ("America/Los_Angeles", "@ 1 day")
            assert conn.execute("SELECT current_setting('app.made', true)").fetchone()[0] != "x" or conn is first


def test_settings_of_a_function_follow_its_session(single):
    """Once the catalog, which is loaded in the background, has told which ones a function sets."""
    with connect(single) as first, connect(single) as second:
        first.execute("CREATE OR REPLACE FUNCTION leaves() RETURNS void LANGUAGE plpgsql AS"
                      " $$ BEGIN PERFORM set_config('app.made', 'x', false); END $$")

        def follows():
            first.execute("SELECT leaves()")
            assert one(second, "SELECT current_setting('app.made', true)") != "x"
            return one(first, "SELECT current_setting('app.made', true)") == "x"

        wait_until(follows, "the setting follows its session")


def test_date_style_keeps_the_part_that_is_not_named(single):
    with connect(single) as first, connect(single) as second:
        first.execute("SET DateStyle = 'SQL, DMY'")
        second.execute("SET DateStyle = 'ymd'")
        first.execute("SET DateStyle = 'German'")
        first.execute("SET DateStyle = 'SQL'")
        assert (one(second, "SHOW DateStyle"), one(first, "SHOW DateStyle")) == ("ISO, YMD", "SQL, DMY")
        with connect(single, "-c DateStyle=ISO") as third:
            assert one(third, "SHOW DateStyle") == "ISO, MDY"
        assert one(first, "SHOW DateStyle") == "SQL, DMY"
        first.execute("BEGIN; SET DateStyle = 'ymd'")
        first.execute("ROLLBACK")
        assert (one(second, "SHOW DateStyle"), one(first, "SHOW DateStyle")) == ("ISO, YMD", "SQL, DMY")


def test_session_authorization_ends_a_role(single):
    with connect(single) as first, connect(single) as second:
        first.execute("SET SESSION AUTHORIZATION pooled_one")
        first.execute("SET ROLE pooled_two")
        assert one(second, "SELECT current_user") == "postgres"
        assert first.execute("SELECT session_user, current_user").fetchone() == ("pooled_one", "pooled_two")
        first.execute("RESET SESSION AUTHORIZATION")
        assert one(second, "SELECT current_user") == "postgres"
        assert first.execute("SELECT session_user, current_user, current_setting('role')").fetchone() == ("postgres", "postgres", "none")


def test_settings_of_a_superuser_who_is_somebody_else_now(single):
    """Another role may not set them: it is left before they change, and taken again behind them."""
    with connect(single) as first, connect(single) as second:
        first.execute("SET log_min_duration_statement = '5s'")
        first.execute("SET ROLE pooled_one")
        for _ in range(2):
            assert second.execute("SELECT current_user, current_setting('log_min_duration_statement')").fetchone() == ("postgres", "-1")
            assert one(first, "SELECT current_user") == "pooled_one"
        first.execute("RESET ROLE")
        assert one(first, "SHOW log_min_duration_statement") == "5s"


def test_a_reset_setting_of_nobodys_is_empty_not_unknown(pair):
    for reset in ("RESET app.mine", "RESET ALL", "DISCARD ALL"):
        with connect(pair) as first, connect(pair) as second:
            first.execute("SET app.mine = 'x'")
            first.execute(reset)
            with second.transaction():
                second.execute("SELECT 1")
                assert one(first, "SHOW app.mine") == ""


def test_a_setting_that_its_library_has_removed(pair):
    """Postgres takes it away when the library is loaded; it is not set again, nor does another session hear of it."""
    with connect(pair) as first:
        with first.transaction():
            first.execute("SET plpgsql.misspelt = 'x'")
            first.execute("LOAD 'plpgsql'")
        first.execute("DISCARD ALL")
        with connect(pair) as second, second.transaction():
            second.execute("SELECT 1")
            with pytest.raises(psycopg.errors.UndefinedObject):
                first.execute("SHOW plpgsql.misspelt")


def test_settings_that_are_not_valid_any_more_can_be_reset(single, cluster):
    with connect(single) as first, connect(single) as second, cluster.admin() as admin:
        admin.execute("CREATE ROLE pooled_three")
        first.execute("SET ROLE pooled_three")
        one(second, "SELECT 1")
        admin.execute("DROP ROLE pooled_three")
        if not DIRECT:
            with pytest.raises(psycopg.OperationalError, match="settings cannot be applied"):
                first.execute("SELECT 1")
        first.execute("RESET ROLE")
        assert one(first, "SELECT current_user") == "postgres"
        assert one(second, "SELECT 1") == 1


def test_temporary_objects_of_any_kind_stay_with_their_session(pair):
    with connect(pair) as first, connect(pair) as second:
        first.execute("CREATE TABLE IF NOT EXISTS measured (a int, b int)")
        first.execute("CREATE STATISTICS pg_temp.on_both ON a, b FROM measured")
        with second.transaction():
            second.execute("SELECT 1")
            first.execute("DROP STATISTICS pg_temp.on_both")


def test_large_objects_of_psql(single, tmp_path):
    """libpq calls their functions by number."""
    (tmp_path / "in").write_bytes(b"large " * 1000)
    script = ("\\lo_import in\n\\lo_export :LASTOID out\n\\lo_unlink :LASTOID\n"
              "BEGIN;\n\\lo_import in\nROLLBACK;\nSELECT count(*) FROM pg_largeobject_metadata WHERE oid = :LASTOID;\n")
    done = psql(single, script, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"
    assert (tmp_path / "out").read_bytes() == b"large " * 1000


def test_functions_called_by_number_are_those_of_large_objects(single):
    with single.wire() as wire:
        wire.login({"user": "postgres", "database": DATABASE}, SUPERUSER_PASSWORD)
        wire.send(w.function_call(953))
        got = wire.until()
        # No arguments: the server's own error.
        assert w.errors(got) == ["08P01"]


def test_a_statement_prepared_after_a_change_of_its_table_fits_it(pair):
    """Whoever prepares a text only now does not meet the plan of somebody who did before."""
    with connect(pair) as first, connect(pair) as second:
        for at, change in enumerate(("CREATE TABLE shifting AS SELECT 1 AS a", "ALTER TABLE shifting ADD COLUMN b int",
                                     "ALTER TABLE shifting ALTER a TYPE text", "BEGIN; ALTER TABLE shifting DROP COLUMN b; COMMIT")):
            first.execute(change)
            for conn in (first, second):
                for i in range(2):
                    name = f"shifting {at} {i}".encode()
                    prepared = conn.pgconn.prepare(name, b"SELECT * FROM shifting")
                    assert prepared.status == psycopg.pq.ExecStatus.COMMAND_OK, prepared.error_message
                    described = conn.pgconn.describe_prepared(name)
                    assert described.status == psycopg.pq.ExecStatus.COMMAND_OK, described.error_message
                    got = conn.pgconn.exec_prepared(name, [])
                    assert got.status == psycopg.pq.ExecStatus.TUPLES_OK, got.error_message
        first.execute("DROP TABLE shifting")


def test_a_statement_means_the_tables_of_its_own_search_path(single):
    with connect(single) as first, connect(single) as second:
        first.execute("CREATE SCHEMA one; CREATE TABLE one.tenants AS SELECT 1 AS a; CREATE SCHEMA two;"
                      "CREATE TABLE two.tenants AS SELECT 'x'::text AS b, 2 AS c")
        first.execute("SET search_path = one")
        second.execute("SET search_path = two")
        for _ in range(2):
            assert first.execute("SELECT * FROM tenants", prepare=True).fetchall() == [(1,)]
            assert second.execute("SELECT * FROM tenants", prepare=True).fetchall() == [("x", 2)]
        first.execute("CREATE TEMP TABLE tenants AS SELECT 4.5 AS d")
    with connect(single, "-c search_path=one") as first:
        assert first.execute("SELECT * FROM tenants", prepare=True).fetchall() == [(1,)]
        first.execute("DROP SCHEMA one, two CASCADE")


def test_a_named_portal_outlives_a_simple_query_in_its_block(single):
    with single.wire() as wire:
        wire.login({"user": "postgres", "database": DATABASE}, SUPERUSER_PASSWORD)
        wire.send(w.query("BEGIN"))
        wire.until()
        wire.send(w.parse("SELECT generate_series(1, 3)") + w.bind(portal="kept") + w.SYNC)
        wire.until()
        wire.send(w.query("SELECT 1"))
        wire.until()
        wire.send(w.execute("kept", 2) + w.SYNC)
        got = wire.until()
        assert w.errors(got) == [] and w.kinds(got).count("D") == 2
        wire.send(w.query("COMMIT"))
        wire.until()


def test_texts_in_another_encoding(single):
    """As they were sent, not as they were read."""
    with connect(single) as conn, connect(single) as other:
        conn.execute("SET client_encoding = 'LATIN1'")
        for text in ("é", "ÿ \xa0 ¡", "it''s é"):
            assert conn.pgconn.exec_(f"SELECT '{text}' AS ü".encode("latin1")).get_value(0, 0) == text.replace("''", "'").encode("latin1")
        assert one(other, "SELECT 'é'") == "é"
        refused = conn.pgconn.exec_("SET app.name = 'é'".encode("latin1"))
        if not DIRECT:
            assert refused.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"22021"
        other.pgconn.exec_(b"SET client_encoding = 'UTF8'")
        assert other.pgconn.exec_("SELECT 'é'".encode("latin1")).error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"22021"


def test_a_notification_names_the_session_that_sent_it(pair):
    with connect(pair) as first, connect(pair) as second:
        first.execute("LISTEN told")
        first.execute("NOTIFY told, 'mine'")
        second.execute("NOTIFY told, 'theirs'")
        with connect(pair) as third:
            third.execute("SELECT pg_notify('told', 'of one that is gone')")
            gone = third.info.backend_pid
        got = {n.payload: n.pid for n in first.notifies(timeout=10, stop_after=3)}
        assert got == {"mine": first.info.backend_pid, "theirs": second.info.backend_pid, "of one that is gone": gone}


def test_a_statement_that_waits_for_a_connection_can_be_cancelled(single):
    with connect(single) as first, connect(single) as second, concurrent.futures.ThreadPoolExecutor(1) as thread:
        first.execute("BEGIN")
        waiting = thread.submit(second.execute, "SELECT pg_sleep(30)")
        # However early or late the statement comes to the proxy.
        wait_until(lambda: second.cancel_safe() or waiting.done(), "the statement is cancelled", 20, 0.1)
        assert isinstance(waiting.exception(), psycopg.errors.QueryCanceled)
        first.execute("COMMIT")
        assert one(second, "SELECT 1") == 1


def test_a_text_prepared_with_a_type_that_was_rolled_back_is_prepared_anew(single):
    """Also where a batch of its own is what failed, and for whoever sends it next."""
    insert = "INSERT INTO with_types VALUES (%s::passing_type[])"

    def make(conn):
        conn.execute("CREATE TYPE passing_type AS ENUM ('a', 'b')")
        conn.execute("CREATE TABLE with_types (c passing_type[])")

    for ending in ("ROLLBACK", "COMMIT", "ROLLBACK"):
        with connect(single) as conn:
            conn.execute("BEGIN")
            make(conn)
            conn.cursor().executemany(insert, [(["a"],), (["b"],)])
            if ending == "COMMIT":
                with pytest.raises(psycopg.errors.UndefinedTable):
                    conn.execute("SELECT * FROM nowhere")
            conn.execute(ending)
    with connect(single) as conn:
        conn.execute("BEGIN")
        conn.execute("SAVEPOINT s")
        make(conn)
        conn.cursor().executemany(insert, [(["a"],), (["b"],)])
        conn.execute("ROLLBACK TO SAVEPOINT s")
        make(conn)
        conn.cursor().executemany(insert, [(["a"],), (["b"],)])
        conn.execute("ROLLBACK")
