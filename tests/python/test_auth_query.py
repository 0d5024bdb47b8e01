"""Users that the database knows: looked up there, logged in with the password they have there, at work as their own role."""

import concurrent.futures
import json

import psycopg
import pytest

from support import scram
from support.ports import wait_until
from support.proxy import command

pytestmark = pytest.mark.needs_proxy

FIND_USER = """
CREATE SCHEMA IF NOT EXISTS pgbelay;
CREATE OR REPLACE FUNCTION pgbelay.find_user(name text, OUT rolname text, OUT password text, OUT valid_until timestamptz)
    RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ SELECT a.rolname::text, a.rolpassword, a.rolvaliduntil FROM pg_authid a
        WHERE a.rolname = name AND a.rolcanlogin AND NOT a.rolsuper $$;
REVOKE ALL ON FUNCTION pgbelay.find_user FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbelay TO app;
GRANT EXECUTE ON FUNCTION pgbelay.find_user TO app;
"""
QUERY = "SELECT rolname, password, valid_until FROM pgbelay.find_user($1)"

ROLES = """
CREATE ROLE dana LOGIN PASSWORD 'dana-secret';
CREATE ROLE erin LOGIN PASSWORD 'erin-secret';
CREATE ROLE "Ödön O'Neil" LOGIN PASSWORD 'odd-secret';
CREATE ROLE late LOGIN PASSWORD 'late-secret' VALID UNTIL '2020-01-01';
CREATE ROLE soon LOGIN PASSWORD 'soon-secret' VALID UNTIL '2999-01-01 12:00+02';
CREATE ROLE forever LOGIN PASSWORD 'forever-secret' VALID UNTIL 'infinity';
CREATE ROLE brief LOGIN PASSWORD 'brief-secret';
CREATE ROLE deployers;
CREATE ROLE programs;
CREATE ROLE nightly;
GRANT nightly TO programs;
GRANT deployers TO erin;
GRANT programs, deployers TO soon;
CREATE ROLE group_only NOLOGIN PASSWORD 'group-secret';
CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'boss-secret';
CREATE ROLE without LOGIN;
SET password_encryption = 'md5';
CREATE ROLE legacy LOGIN PASSWORD 'legacy-secret';
RESET password_encryption;
"""
NAMES = ["dana", "erin", '"Ödön O\'Neil"', "late", "soon", "forever", "brief", "deployers", "nightly", "programs", "group_only", "boss", "without", "legacy"]


@pytest.fixture(scope="module")
def roles(cluster):
    with cluster.admin() as conn:
        conn.execute(ROLES)
    for database in ("app_int", "app_stg"):
        with cluster.admin(database) as conn:
            conn.execute(FIND_USER)
            conn.execute("GRANT CREATE ON SCHEMA public TO dana, erin")
    yield
    for database in ("app_int", "app_stg", "postgres"):
        with cluster.admin(database) as conn:
            conn.execute("DROP SCHEMA IF EXISTS pgbelay CASCADE")
            conn.execute("DROP OWNED BY dana, erin CASCADE")
    with cluster.admin() as conn:
        for name in NAMES:
            conn.execute(f"DROP ROLE IF EXISTS {name}")


def config(**extra):
    return {"databases": {"app": {"int": {"auth_query": {"role": "engineer", "query": QUERY} | extra}}}}


@pytest.fixture(scope="module")
def passing(roles, make_module_proxy):
    """Users of the database are at work as themselves."""
    return make_module_proxy(config())


@pytest.fixture(scope="module")
def shared(roles, make_module_proxy):
    """Users of the database are at work as the role of the url."""
    return make_module_proxy(config(pass_through=False))


def log_in(proxy, user, password=None, tier="int", **extra):
    return proxy.connect(user, tier, password=password or f"{user}-secret", **extra)


def assert_refused(proxy, user, password=None, match="password authentication failed", **extra):
    with pytest.raises(psycopg.OperationalError, match=match):
        log_in(proxy, user, password, **extra)


def test_a_user_of_the_database_is_itself(passing):
    with log_in(passing, "dana") as conn, log_in(passing, "erin") as other:
        for session, name in ((conn, "dana"), (other, "erin")):
            assert session.execute("SELECT session_user, current_user").fetchone() == (name, name)
        conn.execute("CREATE TABLE public.of_dana (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("SELECT * FROM public.of_dana")
        assert conn.execute("SELECT count(*) FROM public.of_dana").fetchone() == (0,)
    record = passing.wait_record("session.start", user="dana")
    assert (record["role"], record["tier"]) == ("engineer", "int")
    text = passing.audit_file.read_text() + passing.stderr()
    assert "SCRAM-SHA-256$" not in text and "dana-secret" not in text


def test_sessions_of_one_user_share_its_connections(passing, cluster):
    conns = [log_in(passing, "dana") for _ in range(12)]

    def work(conn):
        with conn.transaction():
            conn.execute("SELECT pg_sleep(0.02)")
            return conn.execute("SELECT session_user::text, pg_backend_pid()").fetchone()

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = [answer for _ in range(3) for answer in pool.map(work, conns)]
    assert {user for user, _ in answers} == {"dana"}
    assert len({pid for _, pid in answers}) <= 5, "max_user_connections"
    for conn in conns:
        conn.close()


def test_settings_of_the_role_are_its_own(roles, make_proxy, cluster):
    with cluster.admin() as admin:
        admin.execute("ALTER ROLE erin SET work_mem = '7MB'; ALTER ROLE erin SET DateStyle = 'German, DMY'")
        try:
            proxy = make_proxy(config())
            with log_in(proxy, "dana") as other, log_in(proxy, "erin") as conn:
                assert conn.execute("SHOW work_mem").fetchone() == ("7MB",)
                assert conn.pgconn.parameter_status(b"DateStyle") == b"German, DMY"
                assert other.pgconn.parameter_status(b"DateStyle") == b"ISO, MDY"
        finally:
            admin.execute("ALTER ROLE erin RESET ALL")


def test_shared_role(shared):
    with log_in(shared, "dana") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("app",)
    assert shared.wait_record("session.start", user="dana")["role"] == "engineer"
    assert_refused(shared, "dana", "wrong")
    assert_refused(shared, "late", match="has expired")


def test_roles_by_groups(roles, make_proxy):
    """The first group that fits decides, whether the membership is direct or not."""
    groups = ["no such role=admin", "nightly=agent", "deployers=migrator", "it's=admin"]
    proxy = make_proxy(config(groups=groups, role="auditor"))
    for user, role in (("soon", "agent"), ("erin", "migrator"), ("dana", "auditor")):
        with log_in(proxy, user) as conn:
            assert conn.execute("SELECT session_user").fetchone() == (user,)
        assert proxy.wait_record("session.start", user=user)["role"] == role
    with log_in(proxy, "erin") as conn:
        # What the database would say now is not known: the session must not keep a role that is gone.
        proxy.reload(config(groups=["nightly=agent"]))
        with pytest.raises(psycopg.OperationalError):
            for _ in range(3):
                conn.execute("SELECT 1")


@pytest.mark.parametrize("user", ["soon", "forever"])
def test_a_password_that_is_still_valid(passing, user):
    log_in(passing, user).close()


def test_a_password_past_its_end(passing):
    """CVE-2025-2291: what Postgres would refuse, the proxy refuses."""
    assert_refused(passing, "late", match='the login of user "late" has expired')
    assert_refused(passing, "late", "wrong")


@pytest.mark.parametrize("user, password", [
    ("dana", "wrong"), ("nobody", None), ("group_only", "group-secret"), ("boss", None), ("without", None), ("legacy", None),
    ("DANA", "dana-secret"), ("postgres", None), ("dana' OR 'a'='a", "dana-secret"), ("x" * 200, None), ("$1", None),
])
def test_users_that_cannot_log_in(passing, user, password):
    assert_refused(passing, user, password)


def test_a_name_with_quotes(passing):
    with log_in(passing, "Ödön O'Neil", "odd-secret") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("Ödön O'Neil",)


def test_a_tier_without_auth_query_has_no_such_users(passing):
    assert_refused(passing, "dana", tier="stg")
    assert_refused(passing, "dana", tier=None, dbname="nosuch")


def test_the_file_comes_first(passing, cluster):
    """alice is in the file; a role of that name in the database changes nothing."""
    with cluster.admin() as admin:
        admin.execute("CREATE ROLE alice LOGIN PASSWORD 'of-the-database'")
        try:
            assert_refused(passing, "alice", "of-the-database")
            with passing.connect("alice", "int") as conn:
                assert conn.execute("SELECT session_user").fetchone() == ("app",)
        finally:
            admin.execute("DROP ROLE alice")


def test_a_password_that_is_changed(passing, cluster):
    """The first login with the new one works, even if the old one is remembered; the session from before lives on."""
    with log_in(passing, "erin") as before, cluster.admin() as admin:
        admin.execute("ALTER ROLE erin PASSWORD 'erin-new'")
        try:
            assert_refused(passing, "erin", "erin-new")
            with log_in(passing, "erin", "erin-new") as conn:
                assert conn.execute("SELECT session_user").fetchone() == ("erin",)
            assert_refused(passing, "erin", "erin-secret")
            assert before.execute("SELECT session_user").fetchone() == ("erin",)
        finally:
            admin.execute("ALTER ROLE erin PASSWORD 'erin-secret'")


def test_what_sessions_make_does_not_mislead_the_lookup(roles, make_proxy, cluster):
    """A table and a search_path that would make a careless query answer what somebody else likes."""
    careless = "SELECT rolname, rolpassword FROM roles_of_the_app WHERE rolname = $1"
    proxy = make_proxy(config(pass_through=False, cache="1ms", query=careless)
                       | {"tiers": {"int": {"pool": {"min": 0, "max": 1}}}})
    with proxy.connect("alice", "int") as conn:
        conn.execute("CREATE TABLE public.roles_of_the_app (rolname text, rolpassword text)")
        try:
            conn.execute("INSERT INTO public.roles_of_the_app VALUES ('dana', %s)", [scram.verifier("forged")])
            conn.execute("SET search_path = public, pg_catalog")
            with pytest.raises(psycopg.OperationalError, match="cannot connect"):
                log_in(proxy, "dana", "forged")
        finally:
            conn.execute("DROP TABLE public.roles_of_the_app")


def test_reload(roles, make_proxy):
    proxy = make_proxy(config())
    with log_in(proxy, "dana") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("dana",)
        # Another limit: the same user goes on as itself.
        proxy.reload(config(max_user_connections=2))
        assert conn.execute("SELECT session_user").fetchone() == ("dana",)
        # It must not go on as somebody else.
        proxy.reload(config(max_user_connections=None, pass_through=False))
        with pytest.raises(psycopg.OperationalError):
            for _ in range(3):
                assert conn.execute("SELECT session_user").fetchone() == ("dana",)
    with log_in(proxy, "dana") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("app",)
        del proxy.config["databases"]["app"]["int"]["auth_query"]
        proxy.reload()
        with pytest.raises(psycopg.OperationalError):
            for _ in range(3):
                conn.execute("SELECT 1")
    assert_refused(proxy, "dana")


def test_a_query_that_fails(roles, make_proxy):
    proxy = make_proxy(config(query="SELECT * FROM nosuch WHERE name = $1"))
    assert_refused(proxy, "dana", match="cannot connect to app:int")
    assert proxy.wait_record("auth.fail", user="dana")["message"] == "auth_query could not be asked"
    assert "nosuch" in proxy.stderr()
    # Those of the file do not need it.
    proxy.connect("alice", "int").close()


@pytest.mark.parametrize("query", [
    "SELECT 'erin', (SELECT password FROM pgbelay.find_user($1))",
    "SELECT rolname, password, valid_until FROM pgbelay.find_user($1) UNION ALL SELECT 'dana', 'x', NULL",
    "SELECT rolname, password, 'tomorrow' FROM pgbelay.find_user($1)",
    "SELECT password FROM pgbelay.find_user($1)",
])
def test_answers_that_are_not_as_they_should_be(roles, make_proxy, query):
    assert_refused(make_proxy(config(query=query)), "dana")


def test_a_role_that_may_read_pg_authid_needs_no_function(roles, cluster, make_proxy):
    with cluster.admin() as admin:
        admin.execute("ALTER ROLE app SUPERUSER")
    try:
        proxy = make_proxy({"databases": {"app": {"int": {"auth_query": {"role": "agent"}}}}})
        with log_in(proxy, "dana") as conn:
            assert conn.execute("SELECT session_user").fetchone() == ("dana",)
        assert_refused(proxy, "boss")
        assert_refused(proxy, "late", match="has expired")
    finally:
        with cluster.admin() as admin:
            admin.execute("ALTER ROLE app NOSUPERUSER")


def test_own_pools_are_given_up(roles, make_proxy, cluster):
    proxy = make_proxy(config() | {"tiers": {"int": {"pool": {"idle": "1s"}}}})
    with log_in(proxy, "brief") as conn:
        conn.execute("SELECT 1")

    def backends():
        with cluster.admin() as admin:
            return admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'brief'").fetchone()[0]

    assert backends() == 1
    wait_until(lambda: backends() == 0, "its idle connections are closed", 30)
    with log_in(proxy, "brief") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("brief",)


def test_operators_reach_the_users_own_connections(roles, make_proxy, cluster):
    """A pause leaves the server alone: the users' own pools as well, and the lookup; so do reconnect, kill and disable."""
    proxy = make_proxy(config(cache="1ms") | {"admin": {"token_env": "TEST_ADMIN_TOKEN"}}, start=False)
    proxy.environment["TEST_ADMIN_TOKEN"] = "a-token-of-the-tests-0123456789"

    def connections():
        with cluster.admin() as admin:
            return set(admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'dana' OR application_name = 'pgbelay auth_query'").fetchall())

    of_others = connections()
    proxy.start()

    def left():
        return connections() - of_others

    def order(word, *more):
        done = command("admin", word, "app:int", *more, "--config", proxy.config_file, env=proxy.environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["pools"][0]

    def waiting(pools):
        return sum(own["waiting"] for own in pools["own"])

    def pools():
        return json.loads(command("admin", "pools", "--config", proxy.config_file, env=proxy.environment).stdout)["pools"]

    with log_in(proxy, "dana") as conn, log_in(proxy, "dana") as busy:
        pid = conn.execute("SELECT pg_backend_pid()").fetchone()
        assert len(left()) > 1, "a connection of the user's, and the lookup's"
        order("reconnect")
        assert conn.execute("SELECT pg_backend_pid()").fetchone() != pid
        log_in(proxy, "erin").close()
        assert {own["user"] for own in order("reconnect")["own"]} >= {"dana"}
        log_in(proxy, "erin").close()
        busy.execute("BEGIN")
        busy.execute("SELECT 0")
        with concurrent.futures.ThreadPoolExecutor() as executor:
            paused = executor.submit(order, "pause")
            wait_until(lambda: any(pool["paused"] for pool in pools()), "the pause is in force")
            assert busy.execute("SELECT 1").fetchone() == (1,)
            assert not paused.done(), "a user's own transaction is waited for"
            busy.execute("COMMIT")
            assert sum(own["open"] for own in paused.result(20)["own"]) == 0
            wait_until(lambda: not left(), "the server is left alone, by the lookup as well")
            statement = executor.submit(lambda: conn.execute("SELECT 2").fetchone())
            login = executor.submit(lambda: log_in(proxy, "erin").close())
            wait_until(lambda: sum(waiting(pool) for pool in pools()) == 1, "the statement waits")
            assert not left() and not statement.done() and not login.done()
            order("resume")
            assert statement.result(20) == (2,)
            login.result(20)
        order("disable")
        assert_refused(proxy, "dana", match="not currently accepting connections")
        assert conn.execute("SELECT 3").fetchone() == (3,)
        order("enable")
        order("kill")
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 4")
        wait_until(lambda: not left(), "the server is left alone")
        order("resume")
    with log_in(proxy, "dana") as conn:
        assert conn.execute("SELECT 5").fetchone() == (5,)
