"""pg_dump and a restore through the proxy give an equal database."""

import re
import subprocess

import pytest

from support.cluster import APP_PASSWORD, program

SOURCE, COPY = "dump_source", "dump_copy"


@pytest.fixture(scope="module")
def dumps(cluster, make_module_proxy):
    """A database with data of many kinds, an empty one, and the way to both."""
    cluster.create_database(SOURCE)
    with cluster.admin() as admin:
        admin.execute(f"CREATE DATABASE {COPY} OWNER app")
    with cluster.connect(SOURCE) as conn:
        conn.execute(r"""
            CREATE SCHEMA other;
            CREATE TYPE other.mood AS ENUM ('sad', 'happy ☃');
            CREATE DOMAIN other.positive AS int CHECK (VALUE > 0);
            CREATE TABLE other.kinds (id int PRIMARY KEY, m other.mood, p other.positive, b bytea, j jsonb, a text[], t timestamptz,
                                      n numeric, f float8, s text, g int GENERATED ALWAYS AS (id * 2) STORED);
            INSERT INTO other.kinds VALUES
                (1, 'sad', 1, '\x00ff5c', '{"a": [1, null]}', '{a,"b c",NULL}', '2026-01-01 00:00:00.000001+02', 1e100, 0.1, E'tab\tnew\nback\\'),
                (2, NULL, NULL, NULL, NULL, '{}', 'infinity', 'NaN', '-Infinity', '');
            CREATE VIEW other.seen AS SELECT id, m FROM other.kinds;
            CREATE INDEX ON other.kinds (lower(s)) WHERE s IS NOT NULL;
            CREATE FUNCTION other.noted() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE NOTICE 'noted; %', NEW.id; RETURN NEW; END $f$;
            CREATE TRIGGER noted BEFORE INSERT ON other.kinds FOR EACH ROW EXECUTE FUNCTION other.noted();
            CREATE TABLE other.parts (k int, v text) PARTITION BY RANGE (k);
            CREATE TABLE other.part1 PARTITION OF other.parts FOR VALUES FROM (0) TO (100);
            INSERT INTO other.parts SELECT i, 'p' || i FROM generate_series(0, 99) i;
            COMMENT ON TABLE other.kinds IS 'of many kinds';
            ALTER TABLE other.kinds ENABLE ROW LEVEL SECURITY;
            CREATE POLICY everybody ON other.kinds USING (true);
            SELECT setval('projects_id_seq', 12345);
        """)
    return make_module_proxy(None, {("source", "int"): SOURCE, ("source", "prod"): SOURCE, ("copy", "int"): COPY})


def dump(env, *args):
    """pg_dump's output without what differs from run to run."""
    result = subprocess.run([program("pg_dump"), *args], env=env, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    return re.sub(r"^\\(un)?restrict .*\n", "", result.stdout, flags=re.M)


def directly(cluster, dbname):
    """The environment that leads past the proxy."""
    return {"PGHOST": cluster.host, "PGPORT": str(cluster.port), "PGUSER": "app", "PGPASSWORD": APP_PASSWORD, "PGDATABASE": dbname,
            "PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize("args", [[], ["--inserts"], ["--schema-only"], ["--data-only", "--column-inserts"]], ids=" ".join)
def test_dump_is_the_same_as_directly(dumps, cluster, args):
    assert dump(dumps.env("app", "int", "source"), *args) == dump(directly(cluster, SOURCE), *args)


def test_dump_of_prod_by_a_person(dumps, cluster):
    """Reading all of it is a read: pg_dump's settings are limited, not refused."""
    assert dump(dumps.env("alice", "prod", "source")) == dump(directly(cluster, SOURCE))


def test_restore_gives_an_equal_database(dumps, cluster, tmp_path):
    script = tmp_path / "dump.sql"
    script.write_text(dump(dumps.env("app", "int", "source")))
    result = subprocess.run([program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script)], env=dumps.env("app", "int", "copy"),
                            capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    assert dump(directly(cluster, COPY)) == dump(directly(cluster, SOURCE))


def test_custom_format_and_pg_restore(dumps, cluster, tmp_path):
    archive = tmp_path / "dump.pgc"
    env = dumps.env("app", "int", "source")
    result = subprocess.run([program("pg_dump"), "-Fc", "-f", str(archive)], env=env, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    result = subprocess.run([program("pg_restore"), "--clean", "--if-exists", "-d", dumps.env("app", "int", "copy")["PGDATABASE"],
                             str(archive)], env=dumps.env("app", "int", "copy"), capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    assert dump(directly(cluster, COPY)) == dump(directly(cluster, SOURCE))
