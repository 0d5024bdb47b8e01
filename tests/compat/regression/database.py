"""A database with the objects that the regression suite makes, so that its queries find them."""

import re

import psycopg

# What makes objects and fills them. Nothing that drops them, changes who owns them, or ends the session's transaction.
MAKING = {
    "AlterDomainStmt", "AlterEnumStmt", "AlterTableStmt", "CompositeTypeStmt", "CreateCastStmt", "CreateConversionStmt", "CreateDomainStmt",
    "CreateEnumStmt", "CreateFunctionStmt", "CreateOpClassStmt", "CreatePolicyStmt", "CreateRangeStmt", "CreateSchemaStmt", "CreateSeqStmt",
    "CreateStatsStmt", "CreateStmt", "CreateTableAsStmt", "CreateTrigStmt", "DefineStmt", "DoStmt", "IndexStmt", "InsertStmt", "RuleStmt", "ViewStmt",
}
# Of these the first statement alone: the tables would be left without the columns that others speak of.
DESTRUCTIVE = re.compile(r"(?i)\b(drop|rename|enable\s+(row|always|replica)|force\s+row|owner\s+to|detach)\b")
TEMPORARY = re.compile(r"(?i)\b(create\s+(?:or\s+replace\s+)?)(?:local\s+|global\s+)?temp(?:orary)?\s")

# Tables that the suite fills from files of its own: the same columns with rows that are made here.
FILLED = """
CREATE TABLE IF NOT EXISTS tenk1 (unique1 int4, unique2 int4, two int4, four int4, ten int4, twenty int4, hundred int4, thousand int4,
    twothousand int4, fivethous int4, tenthous int4, odd int4, even int4, stringu1 name, stringu2 name, string4 name);
INSERT INTO tenk1 SELECT i, 999 - i, i % 2, i % 4, i % 10, i % 20, i % 100, i % 1000, i % 2000, i % 5000, i, i * 2 + 1, i * 2,
    'AAA' || i, 'BBB' || i, 'AAAAxx' FROM generate_series(0, 999) i;
CREATE TABLE IF NOT EXISTS onek AS SELECT * FROM tenk1;
CREATE TABLE IF NOT EXISTS onek2 AS SELECT * FROM tenk1;
CREATE TABLE IF NOT EXISTS tenk2 AS SELECT * FROM tenk1;
INSERT INTO onek SELECT * FROM tenk1 WHERE NOT EXISTS (SELECT FROM onek);
INSERT INTO onek2 SELECT * FROM tenk1 WHERE NOT EXISTS (SELECT FROM onek2);
INSERT INTO tenk2 SELECT * FROM tenk1 WHERE NOT EXISTS (SELECT FROM tenk2);
CREATE TABLE IF NOT EXISTS int4_tbl (f1 int4);
CREATE TABLE IF NOT EXISTS int8_tbl (q1 int8, q2 int8);
CREATE TABLE IF NOT EXISTS text_tbl (f1 text);
SELECT lo_create(oid) FROM unnest('{42, 1001, 1002, 1003, 1004, 1005, 2001, 2002}'::oid[]) oid;
CREATE SEQUENCE IF NOT EXISTS ts1;
CREATE SEQUENCE IF NOT EXISTS testseq;
"""


def prepare(cluster, statements, database):
    """Makes the database and runs in it what makes objects, in the suite's order; returns how many statements ran and failed."""
    cluster.drop_database(database)
    with cluster.admin() as admin:
        admin.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
        # The server's log would be as large as the run is long.
        admin.execute("ALTER SYSTEM SET log_statement = 'none'")
        admin.execute("ALTER SYSTEM SET log_min_messages = 'fatal'")
        admin.execute("SELECT pg_reload_conf()")
    made = failed = 0
    with cluster.admin(database) as admin:
        admin.execute("SET statement_timeout = '2s'")
        for statement in statements:
            if statement.kind not in MAKING or DESTRUCTIVE.search(statement.sql) and statement.kind == "AlterTableStmt":
                continue
            try:
                admin.execute(TEMPORARY.sub(r"\1", statement.sql).encode())
                made += 1
            except psycopg.Error:
                failed += 1
        for sql in FILLED.split(";\n"):
            try:
                admin.execute(sql.encode())
            except psycopg.Error:
                failed += 1
        admin.execute("RESET statement_timeout")
        for (schema,) in admin.execute(
                "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'").fetchall():
            for what in ("TABLES", "SEQUENCES", "ROUTINES"):
                admin.execute(f"GRANT ALL ON ALL {what} IN SCHEMA {schema} TO app")
            admin.execute(f"GRANT ALL ON SCHEMA {schema} TO app")
        admin.execute("GRANT SELECT, UPDATE ON LARGE OBJECT 42, 1001, 1002, 1003, 1004, 1005, 2001, 2002 TO app")
        # Someone who may read all of it, as an owner may.
        admin.execute("ALTER ROLE app BYPASSRLS")
    return made, failed
