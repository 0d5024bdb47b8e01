"""Every backslash command of psql 15 that sends a query, in all its variants, and lines whose completion sends one."""

# Command, the letters it takes behind it, and patterns that it is called with.
_NAMES = ["", "*", "shop.*", "*.*", "nosuch", '"Weird Schema".*', "shop.cust*|orders"]
_LISTS = [
    ("\\da", "S", ["shop.longest"]),
    ("\\dA", "+", ["heap*"]),
    ("\\dAc", "+", ["btree", "btree int*", "* shop.*"]),
    ("\\dAf", "+", ["btree", "gin text"]),
    ("\\dAo", "+", ["btree", "btree shop.family", "gist *.gist_*"]),
    ("\\dAp", "+", ["btree", "hash *.text_ops"]),
    ("\\db", "+", ["pg_default"]),
    ("\\dc", "S+", ["shop.latin"]),
    ("\\dconfig", "+", ["*", "work_mem", "*timeout"]),
    ("\\dC", "+", ["shop.address", "int*"]),
    ("\\dd", "S", ["shop.*"]),
    ("\\dD", "S+", ["shop.email"]),
    ("\\ddp", "", ["shop"]),
    ("\\dE", "S+", ["shop.far*"]),
    ("\\des", "+", ["else*"]),
    ("\\det", "+", ["shop.*"]),
    ("\\deu", "+", ["elsewhere"]),
    ("\\dew", "+", ["post*"]),
    ("\\df", "S+", ["shop.add", "shop.add int", "shop.add int int int[]", "*.* text", "shop.*"]),
    ("\\dfa", "S+", ["shop.*"]),
    ("\\dfn", "S+", ["shop.*"]),
    ("\\dfp", "S+", ["shop.*"]),
    ("\\dft", "S+", ["shop.*"]),
    ("\\dfw", "S+", ["rank"]),
    ("\\dfanptw", "+", ["shop.*"]),
    ("\\dF", "+", ["shop.plain", "english"]),
    ("\\dFd", "+", ["shop.words"]),
    ("\\dFp", "+", ["default"]),
    ("\\dFt", "+", ["simple"]),
    ("\\dg", "S+", ["rep*"]),
    ("\\di", "S+", ["shop.customers*"]),
    ("\\dl", "+", []),
    ("\\dL", "S+", ["plpgsql"]),
    ("\\dm", "S+", ["shop.totals"]),
    ("\\dn", "S+", ["shop"]),
    ("\\do", "S+", ["shop.===", "= int4", "* int4 int8", "shop.=== shop.address shop.address"]),
    ("\\dO", "S+", ["shop.backward", '"C"']),
    ("\\dp", "", ["shop.customers"]),
    ("\\dP", "+", ["shop.orders"]),
    ("\\dPt", "+", ["shop.*"]),
    ("\\dPi", "+", ["shop.*"]),
    ("\\dPn", "+", ["shop.*"]),
    ("\\dPtin", "+", []),
    ("\\drds", "", ["reporting", "reporting tools", "* *"]),
    ("\\dRp", "+", ["changes", "every*"]),
    ("\\dRs", "+", ["other_place"]),
    ("\\ds", "S+", ["shop.numbers"]),
    ("\\dt", "S+", ["shop.customers", "shop.orders*", "tools.shop.customers"]),
    ("\\dtvmsEi", "S+", ["shop.*"]),
    ("\\dT", "S+", ["shop.mood", "shop.*", "int"]),
    ("\\du", "S+", ["tools"]),
    ("\\dv", "S+", ["shop.who"]),
    ("\\dx", "+", ["hstore"]),
    ("\\dX", "", ["shop.customers_stats"]),
    ("\\dy", "+", ["watch*"]),
    ("\\l", "+", ["tools", "*"]),
    ("\\list", "+", ["template*"]),
    ("\\z", "S", ["shop.*"]),
    ("\\lo_list", "+", []),
]

# \d of each kind of relation.
_RELATIONS = [name for line in """
shop.customers|shop.orders|shop.orders_2025|shop.orders_2026|shop.orders_2026_first|shop.orders_rest|shop.bookings|shop.hashed
shop.hashed_0|shop.parent|shop.child|shop.scratch|shop.typed|shop.on_heap_two|"Weird Schema"."Weird ""Table"|public.plain|shop.numbers
free_numbers|shop.customers_id_seq|shop.orders_id_seq|shop.big_orders|shop.who|shop.countdown|shop.totals|shop.far_orders|shop.address
shop.customers_pkey|shop.customers_lower_name|shop.customers_trgm|shop.orders_pkey|shop.orders_2025_pkey|shop.bookings_room_during_excl
"Weird Schema"."Weird Index"|pg_class|pg_stat_activity|pg_toast.*|information_schema.tables|shop.cust*|nosuch|tools.shop.parent
""".split("\n") for name in line.split("|") if name]

# What does not list: definitions, editors that change nothing, connection.
_OTHERS = [
    "\\sf shop.grid", "\\sf+ shop.grid", "\\sf shop.add(int, int, int[])", "\\sf shop.tidy", "\\sf nosuch", "\\sf shop.add",
    "\\sv shop.who", "\\sv+ shop.big_orders", "\\sv shop.countdown", "\\sv nosuch", "\\sv shop.parent",
    "\\ef shop.grid", "\\ef shop.names 2", "\\ev shop.who", "\\ev shop.big_orders 1",
    "\\conninfo", "\\encoding", "\\encoding LATIN1\nSHOW client_encoding;",
    "SELECT 1 AS a, 'x'::shop.mood AS b, 2.5::numeric(5, 2) AS c \\gdesc", "SELECT 40 + 2 AS answer \\gset\n\\echo :answer",
    "SELECT 'SELECT 6 * 7' \\gexec", "SELECT 1 AS a, 2 AS b, 3 AS c \\crosstabview", "SELECT 1/0;\n\\errverbose", "\\lo_export 424242 /dev/null",
    "\\set FETCH_COUNT 3\nSELECT relname FROM pg_class ORDER BY oid LIMIT 10;", "\\set AUTOCOMMIT off\nSELECT 1;\n\\dn\nCOMMIT;",
    "\\set ON_ERROR_ROLLBACK on\nBEGIN;\nSELECT 1/0;\n\\d public.plain\nCOMMIT;", "\\copy (SELECT relname FROM pg_class WHERE oid < 1260 ORDER BY oid) TO STDOUT",
    "\\copy shop.parent TO STDOUT (FORMAT csv, HEADER)", "BEGIN;\n\\d shop.customers\n\\dt shop.*\nROLLBACK;",
    "\\set ECHO_HIDDEN on\n\\dt public.*", "\\set HIDE_TABLEAM on\n\\d+ shop.on_heap_two", "\\set HIDE_TOAST_COMPRESSION on\n\\d+ shop.customers", "\\x\n\\l",
]


def _with_flags(command, flags):
    """The command alone and with each choice of its letters."""
    choices = [""] + list(flags) + ([flags] if len(flags) > 1 else [])
    return [command + letters for letters in choices]


def commands():
    """All commands, each a script for psql."""
    result = []
    for command, flags, patterns in _LISTS:
        for form in _with_flags(command, flags):
            for pattern in _NAMES + patterns:
                result.append(f"{form} {pattern}".strip())
    for relation in _RELATIONS:
        result += [f"{form} {relation}" for form in ("\\d", "\\d+", "\\dS+")]
    result += ["\\d", "\\dS", "\\d+", "\\dS+", "\\d *", "\\d+ *.*plain"]
    result += _OTHERS
    return list(dict.fromkeys(result))


# Lines that psql completes with names from the database (see its tab-complete.c): at the next word, or before … the word itself.
_LINES = """
SELECT * FROM|SELECT * FROM shop.…|SELECT * FROM "We…|SELECT * FROM "Weird Schema".…|SELECT * FROM shop.cust…|INSERT INTO|UPDATE|UPDATE shop.customers SET
DELETE FROM|MERGE INTO|TABLE|TRUNCATE|LOCK|COPY|\\copy|ANALYZE|ANALYZE shop.customers (…|VACUUM|VACUUM FULL|CLUSTER|CLUSTER shop.customers USING
REINDEX TABLE|REINDEX INDEX|REINDEX SCHEMA|REINDEX DATABASE|REFRESH MATERIALIZED VIEW|REFRESH MATERIALIZED VIEW CONCURRENTLY
SELECT id FROM shop.customers WHERE|SELECT * FROM shop.customers ORDER BY|INSERT INTO shop.customers|INSERT INTO shop.customers (…|COPY shop.customers (…
ALTER TABLE|ALTER TABLE shop.customers ADD|ALTER TABLE shop.customers ALTER COLUMN|ALTER TABLE shop.customers DROP COLUMN|ALTER TABLE shop.customers RENAME
ALTER TABLE shop.customers DROP CONSTRAINT|ALTER TABLE shop.customers VALIDATE CONSTRAINT|ALTER TABLE shop.customers DISABLE TRIGGER|ALTER TABLE shop.customers ENABLE RULE
ALTER TABLE shop.customers CLUSTER ON|ALTER TABLE shop.customers REPLICA IDENTITY USING INDEX|ALTER TABLE shop.customers SET SCHEMA|ALTER TABLE shop.customers OWNER TO
ALTER TABLE shop.customers SET TABLESPACE|ALTER TABLE shop.customers INHERIT|ALTER TABLE shop.orders ATTACH PARTITION|ALTER TABLE shop.orders DETACH PARTITION
ALTER TABLE shop.customers SET ACCESS METHOD|ALTER TABLE shop.typed OF|ALTER TABLE shop.customers ALTER CONSTRAINT|ALTER TABLE shop.customers RENAME CONSTRAINT
ALTER TABLE shop.customers ADD CONSTRAINT c UNIQUE USING INDEX|ALTER TABLE shop.customers ADD FOREIGN KEY (id) REFERENCES
ALTER INDEX|ALTER INDEX shop.orders_customer ATTACH PARTITION|ALTER INDEX shop.customers_lower_name ALTER COLUMN|ALTER VIEW|ALTER VIEW shop.who ALTER COLUMN|ALTER VIEW shop.who RENAME
ALTER MATERIALIZED VIEW|ALTER MATERIALIZED VIEW shop.totals ALTER COLUMN|ALTER SEQUENCE|ALTER SEQUENCE shop.numbers OWNED BY|ALTER FOREIGN TABLE|ALTER SERVER|ALTER SERVER elsewhere OPTIONS
ALTER FOREIGN DATA WRAPPER|ALTER USER MAPPING FOR|CREATE USER MAPPING FOR|DROP USER MAPPING FOR|CREATE SERVER s FOREIGN DATA WRAPPER|CREATE FOREIGN TABLE t (a int) SERVER
ALTER FUNCTION|ALTER FUNCTION shop.add (…|DROP FUNCTION|DROP FUNCTION shop.grid (…|ALTER PROCEDURE|DROP PROCEDURE|CALL|ALTER ROUTINE|DROP ROUTINE|ALTER AGGREGATE|DROP AGGREGATE|DROP AGGREGATE shop.longest (…
ALTER TYPE|ALTER TYPE shop.mood RENAME VALUE|ALTER TYPE shop.mood ADD VALUE 'x' BEFORE|ALTER TYPE shop.address ALTER ATTRIBUTE|ALTER TYPE shop.address DROP ATTRIBUTE|DROP TYPE
ALTER DOMAIN|ALTER DOMAIN shop.email DROP CONSTRAINT|ALTER DOMAIN shop.email VALIDATE CONSTRAINT|DROP DOMAIN|COMMENT ON CONSTRAINT at_sign ON DOMAIN
ALTER SCHEMA|DROP SCHEMA|CREATE TABLE shop.…|CREATE TABLE t PARTITION OF|CREATE TABLE t (LIKE|CREATE TABLE t OF|CREATE TABLE t (a int) INHERITS (…|CREATE TABLE t (a int) USING|CREATE TABLE t (a int) TABLESPACE
CREATE INDEX ON|CREATE INDEX ON shop.customers (…|CREATE INDEX ON shop.customers USING|CREATE INDEX i ON|CREATE INDEX|CREATE INDEX CONCURRENTLY
CREATE VIEW|CREATE OR REPLACE VIEW|CREATE TRIGGER t BEFORE INSERT ON|CREATE TRIGGER t INSTEAD OF INSERT ON|CREATE TRIGGER t BEFORE UPDATE OF|CREATE TRIGGER t BEFORE INSERT ON shop.customers EXECUTE FUNCTION
CREATE RULE r AS ON INSERT TO|CREATE POLICY p ON|CREATE POLICY p ON shop.customers TO|ALTER POLICY|ALTER POLICY own_rows ON|DROP POLICY|DROP POLICY own_rows ON
DROP TRIGGER|DROP TRIGGER noted ON|ALTER TRIGGER|ALTER TRIGGER noted ON|DROP RULE|DROP RULE no_delete ON|ALTER RULE|ALTER RULE no_delete ON
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION|ALTER EVENT TRIGGER|DROP EVENT TRIGGER|CREATE STATISTICS s ON a FROM|ALTER STATISTICS|DROP STATISTICS
CREATE SEQUENCE s OWNED BY|CREATE AGGREGATE a (…|CREATE OPERATOR CLASS|CREATE CAST (…|CREATE LANGUAGE|DROP LANGUAGE|ALTER LANGUAGE|DROP TABLE|DROP TABLE shop.customers,|DROP VIEW|DROP MATERIALIZED VIEW|DROP INDEX|DROP INDEX CONCURRENTLY|DROP SEQUENCE|DROP FOREIGN TABLE
DROP COLLATION|ALTER COLLATION|DROP CONVERSION|ALTER CONVERSION|DROP EXTENSION|ALTER EXTENSION|ALTER EXTENSION hstore UPDATE TO|CREATE EXTENSION|CREATE EXTENSION ltree VERSION|DROP ACCESS METHOD
DROP TEXT SEARCH CONFIGURATION|DROP TEXT SEARCH DICTIONARY|DROP TEXT SEARCH PARSER|DROP TEXT SEARCH TEMPLATE|ALTER TEXT SEARCH CONFIGURATION|ALTER OPERATOR
DROP OWNED BY|REASSIGN OWNED BY|ALTER ROLE|ALTER USER|ALTER GROUP|ALTER GROUP reporting ADD USER|DROP ROLE|DROP USER|GRANT|GRANT SELECT ON|GRANT SELECT ON ALL TABLES IN SCHEMA|GRANT SELECT ON shop.customers TO
GRANT EXECUTE ON FUNCTION|GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA|GRANT USAGE ON SCHEMA|GRANT USAGE ON SEQUENCE|GRANT USAGE ON TYPE|GRANT USAGE ON DOMAIN|GRANT USAGE ON LANGUAGE|GRANT USAGE ON FOREIGN SERVER|GRANT USAGE ON FOREIGN DATA WRAPPER|GRANT CREATE ON DATABASE|GRANT CREATE ON TABLESPACE|GRANT SET ON PARAMETER|GRANT reporting TO
REVOKE|REVOKE SELECT ON|REVOKE SELECT ON shop.customers FROM|REVOKE reporting FROM|ALTER DEFAULT PRIVILEGES FOR ROLE|ALTER DEFAULT PRIVILEGES IN SCHEMA|ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO
ALTER DATABASE|DROP DATABASE|CREATE DATABASE d TEMPLATE|CREATE DATABASE d OWNER|CREATE DATABASE d ENCODING|CREATE DATABASE d TABLESPACE|ALTER DATABASE tools SET|ALTER ROLE tools SET|ALTER DATABASE tools SET TABLESPACE|ALTER SYSTEM SET|ALTER SYSTEM RESET|ALTER TABLESPACE|DROP TABLESPACE
ALTER PUBLICATION|ALTER PUBLICATION changes ADD TABLE|ALTER PUBLICATION changes DROP TABLE|ALTER PUBLICATION changes SET TABLES IN SCHEMA|DROP PUBLICATION|CREATE PUBLICATION p FOR TABLE|CREATE PUBLICATION p FOR TABLES IN SCHEMA|ALTER SUBSCRIPTION|DROP SUBSCRIPTION
SET|SET LOCAL|SET search_path TO|SET work_mem TO|SET DateStyle TO|SET TimeZone TO|SET TIME ZONE|SET ROLE|SET SESSION AUTHORIZATION|SET enable_seqscan TO|SET default_tablespace TO|SET default_text_search_config TO|SET wal_compression TO|SET CONSTRAINTS|SET SCHEMA|RESET|SHOW|SHOW work_…|SECURITY LABEL ON|SECURITY LABEL ON TABLE
COMMENT ON TABLE|COMMENT ON COLUMN|COMMENT ON CONSTRAINT|COMMENT ON CONSTRAINT no_empty_name ON|COMMENT ON TRIGGER|COMMENT ON TRIGGER noted ON|COMMENT ON POLICY|COMMENT ON RULE|COMMENT ON INDEX|COMMENT ON FUNCTION|COMMENT ON EVENT TRIGGER|COMMENT ON TEXT SEARCH CONFIGURATION|COMMENT ON LARGE OBJECT|COMMENT ON FOREIGN TABLE|COMMENT ON MATERIALIZED VIEW|COMMENT ON PROCEDURE|COMMENT ON TABLESPACE|COMMENT ON TRANSFORM FOR|COMMENT ON SCHEMA|COMMENT ON TYPE|COMMENT ON DOMAIN|COMMENT ON DATABASE|COMMENT ON ROLE|COMMENT ON EXTENSION|COMMENT ON SERVER
LISTEN|NOTIFY|UNLISTEN|EXECUTE|DEALLOCATE|PREPARE p AS SELECT * FROM|CLOSE|FETCH ALL FROM|MOVE FROM|DECLARE c CURSOR FOR SELECT * FROM|EXPLAIN SELECT * FROM|EXPLAIN ANALYZE SELECT * FROM|IMPORT FOREIGN SCHEMA s FROM SERVER|RELEASE|DO|SELECT shop.gr…|SELECT pg_get_view…
\\d|\\d shop.…|\\da|\\dA|\\dAc|\\dAf|\\dAo btree|\\dAp btree|\\db|\\dc|\\dconfig|\\dC|\\dd|\\dD|\\des|\\det|\\deu|\\dew|\\df|\\df shop.…|\\dF|\\dFd|\\dFp|\\dFt|\\dg|\\di|\\dL|\\dm|\\dn|\\do|\\dO|\\dp|\\dP|\\dPi|\\drds|\\dRp|\\dRs|\\ds|\\dt|\\dt shop.…|\\dT|\\du|\\dv|\\dx|\\dX|\\dy|\\dE|\\z|\\l|\\sf|\\sf shop.…|\\sv|\\ef|\\ev|\\c|\\c -|\\encoding|\\password|\\h ALTER
"""


def completions():
    """Lines to be completed."""
    parts = (part for line in _LINES.strip().split("\n") for part in line.split("|"))
    return [part.removesuffix("…") if part.endswith("…") else part + " " for part in parts]
