"""Functions of the database's own, however they are reached, and those that Postgres brings."""

import re
from pathlib import Path

import psycopg
import pytest

from support.ports import wait_until
from support.wire import FLUSH, SYNC, bind, errors, execute, parse

ROOT = Path(__file__).resolve().parents[2]

# `nuke` is volatile; everything below reaches it without its name, or under another.
SCHEMA = """
CREATE SCHEMA ext;
CREATE FUNCTION ext.nuke(n int) RETURNS int LANGUAGE sql AS 'DELETE FROM email_drafts; SELECT n';
CREATE FUNCTION public.nuke(n int) RETURNS int LANGUAGE sql AS 'DELETE FROM email_drafts; SELECT n';
CREATE FUNCTION nuke2(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT public.nuke(a)';
CREATE FUNCTION pretends(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT nuke(n)';
CREATE FUNCTION twice_removed(n int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN pretends(n); END';
CREATE FUNCTION of_text(n int) RETURNS int STABLE LANGUAGE plpgsql
  AS $$ DECLARE r int; BEGIN EXECUTE 'SELECT nu' || 'ke(1)' INTO r; RETURN r; END $$;
CREATE FUNCTION nuke_row(p projects) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION harmless(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n + 1';
CREATE FUNCTION status(a text, b text, c text) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION nuke_big(a bigint, b int) RETURNS int LANGUAGE sql AS 'SELECT nuke(b)';
CREATE AGGREGATE nuke_all (int) (sfunc = nuke2, stype = int, initcond = '0');
CREATE OPERATOR ### (FUNCTION = nuke2, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR #+# (FUNCTION = harmless, RIGHTARG = int);
CREATE VIEW wiped AS SELECT nuke(1) AS n;
CREATE VIEW wiped_again AS SELECT n FROM wiped;
CREATE VIEW seen AS SELECT id, harmless(1) AS n FROM projects;
CREATE MATERIALIZED VIEW kept AS SELECT nuke(1) AS n WITH NO DATA;
CREATE FUNCTION is_fine(n int) RETURNS bool LANGUAGE sql AS 'SELECT nuke(n) > 0';
CREATE DOMAIN checked AS int CHECK (is_fine(VALUE));
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION nuke_pairs(a pair, b pair) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION pair_sum(a int, p pair) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION pair_text(p pair) RETURNS text LANGUAGE sql AS 'SELECT nuke(1)::text';
CREATE FUNCTION to_int(p pair) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE CAST (pair AS int) WITH FUNCTION to_int(pair);
CREATE FUNCTION public.lower(p pair) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION public.substring(p pair, n int) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION public.ceil(p pair) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE FUNCTION public.pg_sleep(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)';
CREATE TABLE watched (id int);
CREATE TABLE shed (id int);
CREATE RULE shedding AS ON INSERT TO shed DO ALSO DELETE FROM email_drafts WHERE id > 0;
CREATE FUNCTION cascade() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM email_drafts WHERE id > 0; RETURN NEW; END';
CREATE TRIGGER cascading AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION cascade();
"""

REACHES = {
    "call": "SELECT nuke(1)",
    "call by its schema": "SELECT ext.nuke(1)",
    "quoted": 'SELECT "nuke"(1)',
    "escaped": 'SELECT U&"\\006euke"(1)',
    "says it is immutable": "SELECT pretends(1)",
    "two steps away": "SELECT twice_removed(1)",
    "from a text": "SELECT of_text(1)",
    "planned by EXPLAIN": "EXPLAIN SELECT pretends(1)",
    "attribute of a value": "SELECT (1).nuke",
    "attribute of a row": "SELECT p.nuke_row FROM projects p",
    "attribute of a row in parentheses": "SELECT (p).nuke_row FROM projects p",
    "attribute of a parameter": "PREPARE q (int) AS SELECT $1.nuke",
    "aggregate": "SELECT nuke_all(1)",
    "operator": "SELECT 1 ### 2",
    "operator by its schema": "SELECT 1 OPERATOR(public.###) 2",
    "view": "SELECT * FROM wiped",
    "TABLE of a view": "TABLE wiped",
    "COPY of a view": "COPY (SELECT * FROM wiped) TO STDOUT",
    "view of a view": "SELECT * FROM public.wiped_again",
    "materialized view": "REFRESH MATERIALIZED VIEW kept",
    "domain": "SELECT 1::checked",
    "domain in CAST": "SELECT CAST(1 AS checked)",
    "domain's literal": "SELECT checked '1'",
    "cast": "SELECT ROW(1, 2)::pair::int",
    "shadowed built-in": "SELECT lower(ROW(1, 2)::pair)",
    "shadowed built-in of the grammar": "SELECT substring(ROW(1, 2)::pair, 1)",
    "shadowed built-in of the parser": "SELECT ceil(ROW(1, 2)::pair)",
    "shadowed built-in of the table": "SELECT pg_sleep(1, 2)",
    "ORDER BY": "SELECT id FROM projects ORDER BY nuke(1)",
    "LIMIT": "SELECT id FROM projects LIMIT nuke(1)",
    "OFFSET": "SELECT id FROM projects OFFSET nuke(1)",
    "FILTER": "SELECT count(*) FILTER (WHERE nuke(1) > 0) FROM projects",
    "WINDOW": "SELECT count(*) OVER w FROM projects WINDOW w AS (ORDER BY nuke(1))",
    "frame": "SELECT sum(id) OVER (ROWS BETWEEN nuke(1) PRECEDING AND CURRENT ROW) FROM projects",
    "TABLESAMPLE": "SELECT id FROM projects TABLESAMPLE system (nuke(1))",
    "JOIN": "SELECT 1 FROM projects a JOIN projects b ON nuke(1) = a.id",
    "FROM": "SELECT * FROM nuke(1)",
    "ROWS FROM": "SELECT * FROM ROWS FROM (nuke(1), generate_series(1, 2))",
    "LATERAL": "SELECT 1 FROM projects p, LATERAL nuke(p.id::int) n",
    "GROUPING SETS": "SELECT 1 FROM projects GROUP BY GROUPING SETS ((nuke(1)), ())",
    "HAVING": "SELECT count(*) FROM projects HAVING nuke(1) > 0",
    "VALUES": "VALUES (nuke(1))",
    "DISTINCT ON": "SELECT DISTINCT ON (nuke(1)) id FROM projects",
    "CASE": "SELECT CASE WHEN nuke(1) > 0 THEN 1 END",
    "ARRAY": "SELECT ARRAY[nuke(1)]",
    "subscript": "SELECT (ARRAY[1, 2])[nuke(1)]",
    "RETURNING": "UPDATE projects SET name = name WHERE id = 1 RETURNING nuke(1)",
    "ON CONFLICT": "INSERT INTO projects (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = nuke(1)::text WHERE projects.id = 1",
    "MERGE": "MERGE INTO projects p USING (SELECT 1 AS id) s ON p.id = s.id WHEN MATCHED AND nuke(1) > 0 THEN DO NOTHING",
    "cursor": "DECLARE c CURSOR FOR SELECT nuke(1)",
    "new column": "ALTER TABLE watched ADD COLUMN n int DEFAULT nuke(1)",
    "new type": "ALTER TABLE watched ALTER COLUMN id TYPE int USING nuke(id)",
    "new check": "ALTER TABLE watched ADD CHECK (is_fine(id))",
    "new index": "CREATE INDEX ON watched (pretends(id))",
    "bound of a partition": "CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (nuke(1)) TO (10)",
    "CREATE TABLE AS": "CREATE TABLE made AS SELECT nuke(1)",
    "SELECT INTO": "SELECT nuke(1) AS n INTO made",
    "EXECUTE's argument": "EXECUTE p (nuke(1))",
}

FREE = {
    "own, immutable": "SELECT harmless(1)",
    "own operator": "SELECT #+# 1",
    "own view": "SELECT * FROM seen",
    "own domain": "SELECT 1::small",
    "built-in": "SELECT upper('A'), length('abc'), count(*) FROM projects",
    "built-in with an overload of its own": "SELECT status FROM projects WHERE status = 'x'",
    "column of the name of a function of several arguments": "SELECT p.status FROM projects p",
    "EXPLAIN of a volatile function": "EXPLAIN SELECT nuke(1)",
    "default for later": "CREATE TABLE later_{n} (n int DEFAULT nuke(1))",
    "a default set": "ALTER TABLE watched ALTER COLUMN id SET DEFAULT nuke(1)",
    "a function made again": "CREATE OR REPLACE FUNCTION harmless(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n + 1'",
    "a comment on a function": "COMMENT ON FUNCTION nuke(int) IS 'careful'",
    "a grant on a function": "GRANT EXECUTE ON FUNCTION public.nuke(int) TO app",
    "a table with an old trigger": "INSERT INTO watched VALUES (1)",
    "two-argument ts_rewrite's harmless sister": "SELECT ts_rewrite('a'::tsquery, 'a'::tsquery, 'b'::tsquery)",
    "random": "SELECT random(), clock_timestamp(), gen_random_uuid()",
}


@pytest.fixture(scope="module")
def own(cluster, make_module_proxy):
    """A database with functions of its own, and a proxy that has loaded its catalog."""
    name = cluster.fresh_database("functions")
    with cluster.connect(name) as conn:
        conn.execute(SCHEMA)
    # What is asked of DDL here is what it calls, not how it locks.
    locks_are_fine = {"roles": {"migrator": {"prod": {"unsafe_ddl": "allow"}}}}
    proxy = make_module_proxy(locks_are_fine, {("app", tier): name for tier in ("int", "stg", "prod")})
    proxy.database_name = name

    def is_loaded():
        with proxy.connect("mig", "prod") as conn:
            return refused(conn, "SELECT 1 ### 2") == "opaque-write"  # From the first statement on.

    wait_until(is_loaded, "the catalog is loaded")
    return proxy


def refused(conn, sql):
    """The rule that refused a statement; None when it ran or failed on the server."""
    try:
        conn.execute(sql)
    except psycopg.Error as error:
        rule = re.match(r"rule ([a-z-]+):", error.diag.message_detail or "")
        return rule and rule.group(1)
    finally:
        if not conn.autocommit:
            conn.rollback()
    return None


def drafts(cluster, proxy):
    with cluster.admin(proxy.database_name) as conn:
        return conn.execute("SELECT count(*) FROM email_drafts").fetchone()[0]


@pytest.mark.needs_proxy
class TestReached:
    @pytest.mark.parametrize("sql", REACHES.values(), ids=REACHES)
    def test_a_volatile_function_is_seen(self, own, cluster, sql):
        """migrator on prod may run everything but what cannot be read off its statement."""
        before = drafts(cluster, own)
        with own.connect("mig", "prod") as conn:
            assert refused(conn, sql) == "opaque-write", sql
        assert drafts(cluster, own) == before > 0

    @pytest.mark.parametrize("sql", REACHES.values(), ids=REACHES)
    def test_it_needs_a_confirmation_on_stg(self, own, cluster, sql):
        before = drafts(cluster, own)
        with own.connect("alice", "stg") as conn:
            assert refused(conn, sql) == "opaque-write", sql
        assert drafts(cluster, own) == before

    @pytest.mark.parametrize("sql", [sql for sql in REACHES.values() if sql.split()[0] in ("SELECT", "TABLE", "VALUES")])
    def test_a_read_only_session_changes_nothing(self, own, cluster, sql):
        """There the server refuses what such a function writes."""
        before = drafts(cluster, own)
        with own.connect("alice", "prod") as conn, pytest.raises(psycopg.Error):
            conn.execute(sql)
            raise psycopg.Error("it ran, and changed nothing")
        assert drafts(cluster, own) == before

    @pytest.mark.parametrize("name", FREE)
    def test_what_calls_none_is_free(self, own, name):
        with own.connect("mig", "prod") as conn:
            assert refused(conn, "BEGIN") is None
            assert refused(conn, FREE[name].replace("{n}", "1")) is None
            conn.execute("ROLLBACK")


@pytest.mark.needs_proxy
class TestMadeInTheSession:
    """What a session makes is judged with suspicion until the catalog tells what it is."""

    MAKE = {
        "overload": ("CREATE FUNCTION {s}.upper(p pair) RETURNS int LANGUAGE sql AS 'SELECT nuke(1)'",
                     "SELECT upper(ROW(1, 2)::pair)"),
        "operator": ("CREATE OPERATOR {s}.### (FUNCTION = nuke_big, LEFTARG = bigint, RIGHTARG = int)",
                     "SELECT 1::bigint OPERATOR({s}.###) 2"),
        "operator of a known name": ("CREATE OPERATOR {s}.+ (FUNCTION = nuke_pairs, LEFTARG = pair, RIGHTARG = pair)",
                                     "SELECT 1 + 2"),
        "aggregate": ("CREATE AGGREGATE {s}.max (pair) (sfunc = pair_sum, stype = int)", "SELECT max(ROW(1, 2)::pair)"),
        "view": ("CREATE VIEW {s}.v AS SELECT harmless(1) AS n", "SELECT * FROM {s}.v"),
        "domain": ("CREATE DOMAIN {s}.d AS int CHECK (harmless(VALUE) > 0)", "SELECT 1::{s}.d"),
        "cast": ("CREATE CAST (pair AS text) WITH FUNCTION pair_text(pair)", "SELECT ROW(1, 2)::pair::text"),
        "trigger": ("CREATE TRIGGER t AFTER INSERT ON {s}.mine FOR EACH ROW EXECUTE FUNCTION cascade()",
                    "INSERT INTO {s}.mine VALUES (1)"),
        "rule": ("CREATE RULE r AS ON INSERT TO {s}.mine DO ALSO DELETE FROM email_drafts WHERE id > 0",
                 "INSERT INTO {s}.mine VALUES (1)"),
        "policy": ("CREATE POLICY p ON {s}.mine USING (is_fine(id))", "SELECT * FROM {s}.mine"),
        "schema under another name": ("ALTER SCHEMA {s} RENAME TO {s}_2", "SELECT {s}_2.quiet(1)"),
    }

    @pytest.fixture
    def schema(self, own, cluster, request):
        """A schema of the test's own, with a table and functions in it."""
        name = re.sub(r"\W", "_", f"s_{request.node.callspec.id}").lower()
        with cluster.connect(own.database_name) as conn:
            conn.execute(f"CREATE SCHEMA {name}; CREATE TABLE {name}.mine (id int)")
            conn.execute(f"CREATE FUNCTION {name}.quiet(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'")
        yield name
        with cluster.connect(own.database_name) as conn:
            conn.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE; DROP SCHEMA IF EXISTS {name}_2 CASCADE")
            conn.execute("DROP CAST IF EXISTS (pair AS text)")

    @pytest.mark.parametrize("what", MAKE)
    @pytest.mark.parametrize("how", ["transaction", "text", "pipeline"])
    def test_before_the_catalog_knows_it(self, own, cluster, schema, what, how):
        make, use = (sql.format(s=schema) for sql in self.MAKE[what])
        before = drafts(cluster, own)
        with own.connect("mig", "prod", autocommit=False) as conn:
            if what == "overload":
                conn.execute(f"SET search_path = {schema}, public")
            if how == "transaction":
                conn.execute(make)
                assert refused(conn, use) == "opaque-write"
            elif how == "text":
                assert refused(conn, f"{make}; {use}") == "opaque-write"
            else:
                with conn.pipeline():
                    conn.execute(make)
                    with pytest.raises(psycopg.Error) as refusal:
                        conn.execute(use).fetchall()
                assert refusal.value.diag.message_detail.startswith("rule opaque-write")
        assert drafts(cluster, own) == before

    def test_the_next_statement_waits_for_the_catalog(self, own, cluster):
        """Outside a transaction there is no moment in which a new operator is not known, nor one in which all are suspect."""
        with own.connect("mig", "prod") as conn:
            conn.execute("CREATE OPERATOR !## (FUNCTION = nuke, RIGHTARG = int)")
            conn.execute("CREATE OPERATOR !### (FUNCTION = harmless, RIGHTARG = int)")
            assert refused(conn, "SELECT !## 1") == "opaque-write"
            assert conn.execute("SELECT !### 1").fetchone() == (2,)
            conn.execute("CREATE FUNCTION kind_to_all(n int) RETURNS int STABLE LANGUAGE sql AS 'SELECT n * 2'")
            assert conn.execute("SELECT kind_to_all(2)").fetchone() == (4,)

    def test_another_session_learns_of_it(self, own):
        """Within about a second: nobody waits for what a session makes that may call anything."""
        with own.connect("app", "stg") as maker, own.connect("mig", "stg") as other:
            maker.execute("CREATE OPERATOR @## (FUNCTION = nuke, RIGHTARG = int)")
            assert maker.execute("SELECT 1").fetchone() == (1,)
            wait_until(lambda: refused(other, "SELECT @## 1 WHERE false") == "opaque-write", "the catalog is loaded", 20)

    @pytest.mark.parametrize("then", ["idle", "gone"])
    def test_another_session_learns_of_it_whatever_its_maker_does(self, own, then):
        """The maker's own next statement would wait for the catalog: others do not have to wait for that statement."""
        with own.connect("mig", "prod") as maker, own.connect("mig", "prod") as other:
            maker.execute(f"CREATE OPERATOR @#{'!' if then == 'idle' else '?'} (FUNCTION = nuke, RIGHTARG = int)")
            if then == "gone":
                maker.close()
            statement = f"SELECT @#{'!' if then == 'idle' else '?'} 1 WHERE false"
            wait_until(lambda: refused(other, statement) == "opaque-write", "the catalog is loaded", 20)

    def test_what_a_batch_makes_is_loaded_behind_its_commit(self, own):
        """Flush brings the answers, Sync commits: a catalog that was loaded between the two knows nothing of it."""
        statement = "SELECT ~## 1 WHERE false"
        with own.wire_login("mig", "prod") as maker, own.connect("mig", "prod") as other:
            assert refused(other, "SELECT 1") is None
            maker.send(parse("CREATE OPERATOR ~## (FUNCTION = nuke, RIGHTARG = int)"), bind(), execute(), FLUSH)
            assert maker.until("C", "E")[-1].kind == "C"
            maker.send(SYNC)
            maker.until()
            assert errors(maker.simple(statement)) == ["42501"]
            assert refused(other, statement) == "opaque-write"

    def test_rolled_back(self, own):
        with own.connect("mig", "prod", autocommit=False) as conn:
            conn.execute("CREATE OPERATOR ?## (FUNCTION = nuke, RIGHTARG = int)")
            conn.rollback()
            assert conn.execute("SELECT harmless(1)").fetchone() == (2,)

    def test_a_table_with_a_rule_counts_what_the_rule_changes(self, own, cluster):
        """The command tag of an INSERT says nothing of the rows that a rule deletes: they count against the limit."""
        before = drafts(cluster, own)
        for user in ("app", "mig"):
            with own.connect(user, "prod") as conn:
                with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                    conn.execute("INSERT INTO shed VALUES (1)")
                with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                    conn.execute("INSERT INTO shed VALUES (%s)", [1], prepare=True)
        assert drafts(cluster, own) == before

    def test_what_hidden_code_sets_stays_with_its_session(self, own, cluster, make_proxy):
        """An operator, a view or a function of a function that calls set_config: the next session on the connection sees none of it."""
        name = cluster.fresh_database("state")
        with cluster.connect(name) as conn:
            conn.execute("""
                CREATE FUNCTION tenant(n int) RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.tenant', 'left', false) $$;
                CREATE FUNCTION around(n int) RETURNS text LANGUAGE sql AS $$ SELECT tenant(n) $$;
                CREATE OPERATOR !~! (FUNCTION = tenant, RIGHTARG = int);
                CREATE VIEW tenants AS SELECT around(1) AS t;
            """)
        config = {"tiers": {tier: {"pool": {"min": 1, "max": 1}} for tier in ("int", "prod")}}
        proxy = make_proxy(config, {("app", tier): name for tier in ("int", "stg", "prod")})
        for sql in ("SELECT around(1)", "SELECT !~! 1", "SELECT * FROM tenants", "SELECT (1).around"):
            with proxy.connect("app", "prod") as one, proxy.connect("app", "prod") as other:
                assert one.execute(sql).fetchone() == ("left",)
                assert other.execute("SELECT current_setting('app.tenant', true)").fetchone()[0] in (None, ""), sql
                assert one.execute("SELECT current_setting('app.tenant', true)").fetchone() == ("left",), sql


@pytest.mark.needs_proxy
class TestBuiltIn:
    def test_every_volatile_function_of_the_server_has_been_judged(self, cluster):
        """One that stands in neither list of src/sql (functions.rs, harmless.rs) must be looked at, and put into one."""
        known = set()
        for name in ("functions.rs", "harmless.rs"):
            text = (ROOT / "src" / "sql" / name).read_text().split("#[cfg(test)]")[0]
            known |= set(re.findall(r'"([a-z0-9_]+)"', text))
        with cluster.admin() as conn:
            found = {name for (name,) in conn.execute(
                "SELECT proname FROM pg_proc WHERE provolatile = 'v' AND oid < 16384"
                " AND pronamespace = 'pg_catalog'::regnamespace"
                " AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)")}
        unknown = {name for name in found - known if not name.startswith("binary_upgrade_")}
        assert unknown == set()
        assert len(found) > 200

    def test_one_that_is_not_known_is_refused(self, cluster, make_proxy):
        """A function of a newer server: here one whose volatility the server's administrator has changed."""
        name = cluster.fresh_database("newer")
        with cluster.admin(name) as conn:
            conn.execute("UPDATE pg_proc SET provolatile = 'v' WHERE proname = 'pg_get_userbyid'")
        proxy = make_proxy(None, {("app", tier): name for tier in ("int", "stg", "prod")})
        for user, tier in (("app", "prod"), ("alice", "prod"), ("alice", "stg"), ("bot", "prod")):
            with proxy.connect(user, tier) as conn:
                assert refused(conn, "SELECT pg_get_userbyid(10)") == "dangerous-function", (user, tier)
        with proxy.connect("alice", "int") as conn:
            assert conn.execute("SELECT pg_get_userbyid(10)").fetchone() == ("postgres",)

    def test_code_that_read_only_does_not_hold(self, cluster, make_proxy):
        """Functions in C may do what a READ ONLY transaction does not stop; those of well-known extensions are known."""
        name = cluster.fresh_database("extended")
        with cluster.admin(name) as conn:
            available = {n for (n,) in conn.execute("SELECT name FROM pg_available_extensions")}
            if not {"pgcrypto", "amcheck"} <= available:
                pytest.skip("the server's contrib modules are not installed")
            conn.execute("CREATE EXTENSION pgcrypto; CREATE EXTENSION amcheck")
        proxy = make_proxy(None, {("app", tier): name for tier in ("int", "stg", "prod")})
        with proxy.connect("alice", "prod") as conn:
            assert refused(conn, "SELECT gen_random_bytes(4)") is None
            assert refused(conn, "SELECT bt_index_parent_check('projects_pkey')") == "read-only-tier"
