-- One of everything that programs look at: what \d and its kin, pg_dump and the ORMs' inspectors have a query for.
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gist;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION file_fdw;
COMMENT ON EXTENSION hstore IS 'keys and values';

CREATE ROLE reporting NOLOGIN;
CREATE ROLE auditing NOLOGIN IN ROLE reporting;
COMMENT ON ROLE reporting IS 'reads';
ALTER ROLE reporting SET work_mem = '8MB';
ALTER ROLE reporting IN DATABASE tools SET statement_timeout = '10s';
ALTER DATABASE tools SET lock_timeout = '20s';
COMMENT ON DATABASE tools IS 'the comparison''s own';

CREATE SCHEMA shop AUTHORIZATION tools;
COMMENT ON SCHEMA shop IS 'the shop';
GRANT USAGE ON SCHEMA shop TO reporting;
CREATE SCHEMA "Weird Schema";

CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy ☃');
COMMENT ON TYPE shop.mood IS 'how it is';
CREATE TYPE shop.address AS (street text, city text COLLATE "C", zip int);
CREATE TYPE shop.timespan AS RANGE (subtype = timestamptz, multirange_type_name = shop.timespans);
CREATE DOMAIN shop.positive AS int DEFAULT 1 NOT NULL CHECK (VALUE > 0);
CREATE DOMAIN shop.email AS citext CONSTRAINT at_sign CHECK (VALUE ~ '@');
COMMENT ON DOMAIN shop.email IS 'with an at sign';
CREATE TYPE shop.shell;

CREATE TABLE shop.customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email shop.email UNIQUE,
    name varchar(80) NOT NULL DEFAULT 'anonymous' COLLATE "C",
    home shop.address,
    feeling shop.mood DEFAULT 'ok',
    tags text[] DEFAULT '{}',
    attributes hstore,
    settings jsonb,
    born date,
    initial "char",
    picture oid,
    upper_name text GENERATED ALWAYS AS (upper(name)) STORED,
    CONSTRAINT no_empty_name CHECK (name <> '')
);
COMMENT ON TABLE shop.customers IS 'who buys';
COMMENT ON COLUMN shop.customers.email IS 'where to write to';
COMMENT ON CONSTRAINT no_empty_name ON shop.customers IS 'a name';
ALTER TABLE shop.customers ALTER COLUMN settings SET STORAGE EXTERNAL, ALTER COLUMN name SET STATISTICS 500;
ALTER TABLE shop.customers ALTER COLUMN tags SET COMPRESSION pglz;
ALTER TABLE shop.customers ALTER COLUMN born SET (n_distinct = 100);
CREATE INDEX customers_lower_name ON shop.customers (lower(name) text_pattern_ops) INCLUDE (born) WHERE name IS NOT NULL;
CREATE INDEX customers_trgm ON shop.customers USING gin (name gin_trgm_ops);
CREATE UNIQUE INDEX customers_nulls ON shop.customers (born, initial) NULLS NOT DISTINCT;
COMMENT ON INDEX shop.customers_trgm IS 'looks for names';
CLUSTER shop.customers USING customers_pkey;
ALTER INDEX shop.customers_lower_name ALTER COLUMN 1 SET STATISTICS 200;
CREATE STATISTICS shop.customers_stats (ndistinct, dependencies, mcv) ON name, born FROM shop.customers;
CREATE STATISTICS shop.customers_expression ON lower(name), born FROM shop.customers;
COMMENT ON STATISTICS shop.customers_stats IS 'together';
GRANT SELECT (id, name), UPDATE (name) ON shop.customers TO reporting;
GRANT SELECT ON shop.customers TO PUBLIC;

CREATE TABLE shop.orders (
    id serial,
    customer_id bigint NOT NULL REFERENCES shop.customers ON DELETE CASCADE ON UPDATE RESTRICT DEFERRABLE INITIALLY DEFERRED,
    placed_at timestamptz NOT NULL DEFAULT now(),
    amount numeric(12, 2) CHECK (amount >= 0),
    during tstzrange,
    PRIMARY KEY (id, placed_at)
) PARTITION BY RANGE (placed_at);
CREATE TABLE shop.orders_2025 PARTITION OF shop.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.orders_2026 PARTITION OF shop.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (id);
CREATE TABLE shop.orders_2026_first PARTITION OF shop.orders_2026 FOR VALUES IN (1, 2);
CREATE TABLE shop.orders_2026_rest PARTITION OF shop.orders_2026 DEFAULT;
CREATE TABLE shop.orders_rest PARTITION OF shop.orders DEFAULT;
CREATE INDEX orders_customer ON shop.orders (customer_id);
COMMENT ON COLUMN shop.orders.amount IS 'in euro';

CREATE TABLE shop.bookings (room int, during tstzrange, note text, EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE TABLE shop.hashed (k int, v text) PARTITION BY HASH (k);
CREATE TABLE shop.hashed_0 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.hashed_1 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE shop.parent (a int PRIMARY KEY, b text);
CREATE TABLE shop.child (c int) INHERITS (shop.parent) WITH (fillfactor = 70, autovacuum_enabled = false);
CREATE UNLOGGED TABLE shop.scratch (a int, b int REFERENCES shop.parent) ;
ALTER TABLE shop.scratch REPLICA IDENTITY FULL;
CREATE TABLE shop.typed OF shop.address (PRIMARY KEY (zip));
CREATE TABLE "Weird Schema"."Weird ""Table" ("Weird Column" int, "select" text);
CREATE INDEX "Weird Index" ON "Weird Schema"."Weird ""Table" ("Weird Column" DESC NULLS LAST);
CREATE TABLE public.plain (id int PRIMARY KEY, note text);
CREATE SEQUENCE shop.numbers AS smallint INCREMENT 2 MINVALUE 1 MAXVALUE 999 CYCLE OWNED BY shop.customers.id;
CREATE SEQUENCE public.free_numbers;
COMMENT ON SEQUENCE public.free_numbers IS 'free';
GRANT USAGE ON SEQUENCE public.free_numbers TO reporting;

CREATE VIEW shop.big_orders AS SELECT id, amount FROM shop.orders WHERE amount > 100 WITH LOCAL CHECK OPTION;
CREATE VIEW shop.who WITH (security_barrier, security_invoker) AS SELECT c.name, count(*) AS n FROM shop.customers c JOIN shop.orders o ON o.customer_id = c.id GROUP BY 1;
CREATE RECURSIVE VIEW shop.countdown (n) AS VALUES (3) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0;
COMMENT ON VIEW shop.who IS 'who orders';
COMMENT ON COLUMN shop.who.n IS 'how often';
CREATE RULE no_delete AS ON DELETE TO shop.big_orders DO INSTEAD NOTHING;
COMMENT ON RULE no_delete ON shop.big_orders IS 'kept';
CREATE RULE log_update AS ON UPDATE TO public.plain WHERE new.id <> old.id DO ALSO DELETE FROM public.plain WHERE id = -1;
CREATE MATERIALIZED VIEW shop.totals AS SELECT customer_id, sum(amount) AS total FROM shop.orders GROUP BY 1 WITH DATA;
CREATE UNIQUE INDEX totals_customer ON shop.totals (customer_id);
COMMENT ON MATERIALIZED VIEW shop.totals IS 'sums';

CREATE FUNCTION shop.add(a int, b int DEFAULT 1, VARIADIC rest int[] DEFAULT '{}') RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 5
    RETURN a + b;
CREATE FUNCTION shop.names(OUT id bigint, OUT name text) RETURNS SETOF record LANGUAGE sql STABLE ROWS 10 SECURITY DEFINER SET search_path = shop, pg_temp
    AS $$ SELECT id, name FROM customers $$;
CREATE FUNCTION shop.grid(n int) RETURNS TABLE (x int, y int) LANGUAGE plpgsql LEAKPROOF AS $body$
BEGIN
    RETURN QUERY SELECT i, i * i FROM generate_series(1, n) i;  -- "quoted" 'text'
END
$body$;
CREATE FUNCTION shop.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE DEBUG 'noted %', NEW; RETURN NEW; END $$;
CREATE PROCEDURE shop.tidy(IN older date, INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := 0; END $$;
CREATE FUNCTION shop.add(a text) RETURNS text LANGUAGE sql AS 'SELECT a';
COMMENT ON FUNCTION shop.grid(int) IS 'squares';
GRANT EXECUTE ON FUNCTION shop.grid(int) TO reporting;
REVOKE EXECUTE ON FUNCTION shop.names() FROM PUBLIC;
CREATE AGGREGATE shop.longest(text) (sfunc = 'textcat', stype = text, initcond = '', combinefunc = 'textcat', parallel = safe);
CREATE AGGREGATE shop.most_common(ORDER BY anyelement) (sfunc = 'ordered_set_transition', stype = internal, finalfunc = 'mode_final', finalfunc_extra);
COMMENT ON AGGREGATE shop.longest(text) IS 'all of them';
CREATE FUNCTION shop.same(a shop.address, b shop.address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a::text = b::text';
CREATE OPERATOR shop.=== (leftarg = shop.address, rightarg = shop.address, function = shop.same, commutator = OPERATOR(shop.===), restrict = eqsel, join = eqjoinsel);
COMMENT ON OPERATOR shop.=== (shop.address, shop.address) IS 'the same';
CREATE FUNCTION shop.to_text(shop.address) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street';
CREATE CAST (shop.address AS text) WITH FUNCTION shop.to_text(shop.address) AS ASSIGNMENT;
CREATE OPERATOR FAMILY shop.family USING btree;
CREATE OPERATOR CLASS shop.backwards FOR TYPE int USING btree FAMILY shop.family AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(int, int);
CREATE ACCESS METHOD heap_two TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD heap_two IS 'another heap';
CREATE TABLE shop.on_heap_two (a int) USING heap_two;
CREATE COLLATION shop.backward FROM "C";
COMMENT ON COLLATION shop.backward IS 'a copy';
CREATE CONVERSION shop.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TEXT SEARCH DICTIONARY shop.words (TEMPLATE = simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION shop.plain (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION shop.plain ALTER MAPPING FOR asciiword WITH shop.words, simple;
COMMENT ON TEXT SEARCH CONFIGURATION shop.plain IS 'plain words';
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));

CREATE TRIGGER noted BEFORE INSERT OR UPDATE OF name ON shop.customers FOR EACH ROW WHEN (NEW.name IS NOT NULL) EXECUTE FUNCTION shop.noted('x');
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON shop.orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.noted();
CREATE TRIGGER together AFTER UPDATE ON public.plain REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION shop.noted();
COMMENT ON TRIGGER noted ON shop.customers IS 'notes';
ALTER TABLE public.plain DISABLE TRIGGER together;
CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER watch_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION shop.on_ddl();
COMMENT ON EVENT TRIGGER watch_ddl IS 'watches';

ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON shop.customers AS PERMISSIVE FOR SELECT TO reporting USING (name = current_user);
CREATE POLICY limited ON shop.customers AS RESTRICTIVE FOR ALL USING (true) WITH CHECK (id > 0);
COMMENT ON POLICY limited ON shop.customers IS 'limits';

CREATE PUBLICATION changes FOR TABLE shop.customers (id, name), shop.parent WHERE (a > 0) WITH (publish = 'insert, update');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION a_schema FOR TABLES IN SCHEMA shop WITH (publish_via_partition_root);
COMMENT ON PUBLICATION changes IS 'some';
CREATE SUBSCRIPTION other_place CONNECTION 'dbname=nowhere host=127.0.0.1 port=1' PUBLICATION changes WITH (connect = false, enabled = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION other_place IS 'off';

CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'nowhere');
CREATE USER MAPPING FOR tools SERVER elsewhere OPTIONS (user 'nobody', password 'nothing');
CREATE FOREIGN TABLE shop.far_orders (id int OPTIONS (column_name 'ID') NOT NULL, amount numeric) SERVER elsewhere OPTIONS (schema_name 'public', table_name 'orders');
COMMENT ON SERVER elsewhere IS 'far away';
COMMENT ON FOREIGN TABLE shop.far_orders IS 'far orders';
GRANT USAGE ON FOREIGN SERVER elsewhere TO reporting;
CREATE FOREIGN DATA WRAPPER own_wrapper NO HANDLER OPTIONS (debug 'true');

ALTER DEFAULT PRIVILEGES FOR ROLE tools IN SCHEMA shop GRANT SELECT ON TABLES TO reporting;
ALTER DEFAULT PRIVILEGES FOR ROLE tools GRANT EXECUTE ON FUNCTIONS TO reporting;

SELECT lo_from_bytea(424242, '\x00ff01');
COMMENT ON LARGE OBJECT 424242 IS 'three bytes';
GRANT SELECT ON LARGE OBJECT 424242 TO reporting;
SELECT lo_from_bytea(424243, decode(repeat('ab', 50000), 'hex'));

INSERT INTO shop.customers (email, name, home, tags, attributes, settings, born)
    SELECT 'c' || i || '@example.com', 'customer ' || i, ROW('street ' || i, 'city', i)::shop.address, ARRAY['a', 'b ' || i], hstore('k', i::text), jsonb_build_object('n', i), date '2000-01-01' + i
    FROM generate_series(1, 50) i;
INSERT INTO shop.orders (customer_id, placed_at, amount) SELECT i % 50 + 1, timestamptz '2025-06-01' + i * interval '1 day', i FROM generate_series(1, 600) i;
INSERT INTO public.plain SELECT i, 'plain ' || i FROM generate_series(1, 20) i;
REFRESH MATERIALIZED VIEW shop.totals;
ANALYZE;
