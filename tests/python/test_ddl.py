"""DDL that would hold up everybody else: refused on a table in use, with a way that works, and free on new tables."""

import re
import time

import psycopg
import pytest

from support.wire import SYNC, bind, errors, execute, parse

pytestmark = pytest.mark.needs_proxy

Refused = psycopg.errors.InsufficientPrivilege
CURSORS = pytest.mark.parametrize("cursor", [psycopg.ClientCursor, psycopg.Cursor], ids=["simple", "extended"])

SCHEMA = """
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, code text, note text);
CREATE INDEX orders_note ON orders (note);
INSERT INTO customers VALUES (1, 'a'); INSERT INTO orders SELECT n, 1, n::text, 'x' FROM generate_series(1, 50) n;
CREATE MATERIALIZED VIEW totals AS SELECT customer_id, count(*) AS n FROM orders GROUP BY 1;
CREATE UNIQUE INDEX ON totals (customer_id);
CREATE TABLE events (at date) PARTITION BY RANGE (at);
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_2027 (at date NOT NULL);
CREATE FUNCTION own_number() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION own_constant() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE SEQUENCE numbers;
"""


@pytest.fixture(scope="module")
def migrating(cluster, make_module_proxy):
    """stg and prod in a database of their own, with a short wait for locks on prod."""
    name = cluster.create_database("ddl_prod")
    with cluster.connect(name) as owner:
        owner.execute(SCHEMA)
    return make_module_proxy({"tiers": {"prod": {"lock_timeout": "400ms"}}}, {("app", "prod"): name, ("app", "stg"): name})


@pytest.fixture
def owner(cluster, migrating):
    """The tables as they were at first; the connection of their owner, past the proxy."""
    with cluster.connect("ddl_prod") as conn:
        conn.execute(SCHEMA)
        yield conn


@pytest.fixture
def mig(migrating, owner):
    """A migrator on prod."""
    with migrating.connect("mig", "prod") as conn:
        yield conn


def shape(conn):
    """What the schema looks like."""
    return conn.execute("""
        SELECT 'column', attrelid::regclass::text, attname, atttypid::regtype::text || attnotnull FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = 'public'::regnamespace AND attnum > 0
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, convalidated::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, indisvalid::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid
         WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'file', relname, relfilenode::text, relpersistence::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3""").fetchall()


# Rule: what is refused, and what does the same without holding up others (nothing where a confirmation is asked for).
ADD = "ALTER TABLE orders ADD"
CASES = {
    "create-index": ("CREATE INDEX orders_code ON orders (code)", ["CREATE INDEX CONCURRENTLY orders_code ON orders (code)"]),
    "drop-index": ("DROP INDEX orders_note", ["DROP INDEX CONCURRENTLY orders_note"]),
    "reindex": ("REINDEX TABLE orders", ["REINDEX TABLE CONCURRENTLY orders", "REINDEX (CONCURRENTLY) INDEX orders_note"]),
    "add-column-default": (f"{ADD} COLUMN token uuid DEFAULT gen_random_uuid()",
                           [f"{ADD} COLUMN token uuid", "ALTER TABLE orders ALTER token SET DEFAULT gen_random_uuid()"]),
    "add-column-generated": (f"{ADD} COLUMN size int GENERATED ALWAYS AS (length(code)) STORED", [f"{ADD} COLUMN size int"]),
    "add-column-serial": (f"{ADD} COLUMN nr serial",
                          [f"{ADD} COLUMN nr int", "ALTER TABLE orders ALTER nr SET DEFAULT nextval('numbers')"]),
    "set-not-null": ("ALTER TABLE orders ALTER note SET NOT NULL",
                     [f"{ADD} CONSTRAINT note_there CHECK (note IS NOT NULL) NOT VALID",
                      "ALTER TABLE orders VALIDATE CONSTRAINT note_there",
                      "ALTER TABLE orders ALTER note SET NOT NULL",
                      "ALTER TABLE orders DROP CONSTRAINT note_there"]),
    "add-foreign-key": (f"{ADD} CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers",
                        [f"{ADD} CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers NOT VALID",
                         "ALTER TABLE orders VALIDATE CONSTRAINT fk", f"{ADD} COLUMN second int REFERENCES customers"]),
    "add-check": (f"{ADD} CONSTRAINT positive CHECK (id > 0)",
                  [f"{ADD} CONSTRAINT positive CHECK (id > 0) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT positive"]),
    "add-unique": (f"{ADD} CONSTRAINT one_code UNIQUE (code)",
                   ["CREATE UNIQUE INDEX CONCURRENTLY one_code ON orders (code)", f"{ADD} CONSTRAINT one_code UNIQUE USING INDEX one_code"]),
    "attach-partition": ("ALTER TABLE events ATTACH PARTITION events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
                         ["ALTER TABLE events_2027 ADD CONSTRAINT year CHECK (at >= '2027-01-01' AND at < '2028-01-01') NOT VALID",
                          "ALTER TABLE events_2027 VALIDATE CONSTRAINT year",
                          "ALTER TABLE events ATTACH PARTITION events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"]),
    "detach-partition": ("ALTER TABLE events DETACH PARTITION events_2020",
                         ["ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY"]),
    "refresh-materialized-view": ("REFRESH MATERIALIZED VIEW totals", ["REFRESH MATERIALIZED VIEW CONCURRENTLY totals"]),
    "lock-table": ("LOCK TABLE orders", ["LOCK TABLE orders IN ACCESS SHARE MODE"]),
    "change-column-type": ("ALTER TABLE orders ALTER id TYPE bigint", None),
    "add-exclusion": (f"{ADD} EXCLUDE (code WITH =)", None),
    "table-rewrite": ("VACUUM FULL orders", None),
    "rename": ("ALTER TABLE orders RENAME COLUMN code TO number", None),
    "drop-column": ("ALTER TABLE orders DROP COLUMN code", None),
}


def refused(conn, sql):
    with pytest.raises(Refused) as error:
        conn.execute(sql)
    return error.value.diag


@CURSORS
@pytest.mark.parametrize("rule", CASES)
def test_each_rule(migrating, owner, rule, cursor):
    sql, way = CASES[rule]
    before = shape(owner)
    with migrating.connect("mig", "prod", cursor_factory=cursor) as conn:
        said = refused(conn, sql)
        assert said.message_detail.startswith(f"rule {rule}: ") and said.message_hint.endswith(".")
        assert shape(owner) == before
        if way is None:
            token = re.search(r"pgbelay\.confirm = '(\w+)'", said.message_hint)[1]
            conn.execute(f"SET pgbelay.confirm = '{token}'")
            way = [sql]
        for statement in way:
            if statement.startswith("LOCK"):
                with conn.transaction():
                    conn.execute(statement)
            else:
                conn.execute(statement)
    if rule != "lock-table" and rule != "refresh-materialized-view":
        assert shape(owner) != before


def test_other_forms(migrating, owner, mig):
    before = shape(owner)
    for rule, sql in [
        ("table-rewrite", "CLUSTER orders USING orders_pkey"), ("table-rewrite", "ALTER TABLE orders SET UNLOGGED"),
        ("table-rewrite", "ALTER TABLE orders SET TABLESPACE pg_default"), ("rename", "ALTER TABLE orders RENAME TO purchases"),
        ("add-unique", f"{ADD} COLUMN mark text UNIQUE"), ("add-column-serial", f"{ADD} nr int GENERATED ALWAYS AS IDENTITY"),
        ("add-column-default", f"{ADD} nr int DEFAULT own_number()"), ("add-column-default", f"{ADD} at timestamptz DEFAULT clock_timestamp()"),
        ("add-check", f"{ADD} a int, ADD CHECK (id > 0)"), ("create-index", "CREATE UNIQUE INDEX ON public.orders USING btree (code)"),
        ("lock-table", "BEGIN; LOCK TABLE orders IN SHARE MODE; COMMIT"), ("create-index", "SELECT 1; CREATE INDEX ON orders (code)"),
    ]:
        assert refused(mig, sql).message_detail.startswith(f"rule {rule}: "), sql
        assert mig.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert shape(owner) == before
    # What takes a moment runs: the database's own functions are asked for in its catalog.
    mig.execute(f"{ADD} a int NOT NULL DEFAULT 0, ADD b timestamptz DEFAULT now(), ADD c int DEFAULT own_constant()")
    mig.execute("ALTER TABLE orders ALTER a SET DEFAULT 5, ALTER a DROP NOT NULL, SET (fillfactor = 80)")


# --- tables that nobody else uses yet ---

DJANGO = [
    # contenttypes 0001 and 0002, each in a transaction of its own; then an application of our own.
    ['CREATE TABLE "django_content_type" ("id" integer NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "name" varchar(100) NOT NULL, "app_label" varchar(100) NOT NULL, "model" varchar(100) NOT NULL)',
     'ALTER TABLE "django_content_type" ADD CONSTRAINT "django_content_type_app_label_model_76bd3d3b_uniq" UNIQUE ("app_label", "model")'],
    ['ALTER TABLE "django_content_type" ALTER COLUMN "name" DROP NOT NULL', 'ALTER TABLE "django_content_type" DROP COLUMN "name" CASCADE'],
    ['CREATE TABLE "shop_customer" ("id" bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "name" varchar(100) NOT NULL, "email" varchar(254) NOT NULL UNIQUE)',
     'CREATE TABLE "shop_order" ("id" bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "placed" timestamp with time zone NOT NULL, "note" text NOT NULL, "customer_id" bigint NOT NULL, CONSTRAINT "nox" CHECK (NOT ("note" = \'x\')))',
     'CREATE INDEX "shop_customer_email_d3fdf104_like" ON "shop_customer" ("email" varchar_pattern_ops)',
     'ALTER TABLE "shop_order" ADD CONSTRAINT "shop_order_customer_id_f638df20_fk_shop_customer_id" FOREIGN KEY ("customer_id") REFERENCES "shop_customer" ("id") DEFERRABLE INITIALLY DEFERRED',
     'CREATE INDEX "shop_order_placed_6a0403a6" ON "shop_order" ("placed")',
     'SET CONSTRAINTS ALL IMMEDIATE',
     'ALTER TABLE "shop_customer" ALTER COLUMN "name" TYPE varchar(255)'],
]


@CURSORS
def test_a_migration_as_django_sends_it(migrating, owner, cursor):
    with migrating.connect("mig", "prod", cursor_factory=cursor) as conn:
        for migration in DJANGO:
            with conn.transaction():
                for statement in migration:
                    conn.execute(statement)
    indexes = owner.execute("SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'shop%' AND schemaname = 'public'").fetchone()
    assert indexes == (5,)


@CURSORS
def test_a_migration_as_alembic_sends_it(migrating, owner, cursor):
    with migrating.connect("mig", "prod", autocommit=False, cursor_factory=cursor) as conn:
        conn.execute("CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)")
        conn.execute("CREATE TABLE account (\n\tid SERIAL NOT NULL, \n\tname VARCHAR(50) NOT NULL, \n\tPRIMARY KEY (id)\n)")
        conn.execute("CREATE UNIQUE INDEX ix_account_name ON account (name)")
        conn.execute("CREATE TABLE app_item (\n\tid SERIAL NOT NULL, \n\taccount_id INTEGER\n)")
        conn.execute("ALTER TABLE app_item ADD CONSTRAINT fk_item_account FOREIGN KEY(account_id) REFERENCES account (id)")
        conn.execute("ALTER TABLE app_item ADD PRIMARY KEY (id)")
        conn.execute("INSERT INTO alembic_version (version_num) VALUES ('1975ea83b712') RETURNING alembic_version.version_num")
        # The next revision, in the same transaction, adds to a table that is in use.
        conn.execute("ALTER TABLE orders ADD COLUMN account_id INTEGER")
        conn.execute("UPDATE alembic_version SET version_num='27c6a30d7c24' WHERE alembic_version.version_num = '1975ea83b712'")
        conn.commit()
        said = refused(conn, "CREATE INDEX ix_orders_account ON orders (account_id)")
        assert said.message_detail.startswith("rule create-index: ")
        conn.rollback()
    assert owner.execute("SELECT version_num FROM alembic_version").fetchone() == ("27c6a30d7c24",)


def test_a_restored_dump(migrating, owner, mig):
    mig.execute("CREATE TABLE public.dumped (id integer NOT NULL, name text)")
    with mig.cursor().copy("COPY public.dumped (id, name) FROM stdin") as copy:
        copy.write("1\ta\n2\tb\n")
    mig.execute("ALTER TABLE ONLY public.dumped ADD CONSTRAINT dumped_pkey PRIMARY KEY (id)")
    mig.execute("CREATE INDEX dumped_name ON public.dumped USING btree (name)")


@CURSORS
def test_what_a_rollback_takes_away_is_not_new(migrating, owner, cursor):
    with migrating.connect("mig", "prod", cursor_factory=cursor, autocommit=False) as conn:
        conn.execute("CREATE TABLE fresh (id int)")
        conn.execute("CREATE INDEX ON fresh (id)")
        conn.rollback()
        owner.execute("CREATE TABLE fresh (id int)")
        assert refused(conn, "CREATE INDEX ON fresh (id)").message_detail.startswith("rule create-index: ")
        conn.rollback()
        conn.execute("CREATE TABLE outer_one (id int)")
        conn.execute("SAVEPOINT a")
        conn.execute("CREATE TABLE inner_one (id int)")
        conn.execute("ROLLBACK TO SAVEPOINT a")
        conn.execute("CREATE INDEX ON outer_one (id)")
        assert refused(conn, "CREATE INDEX ON inner_one (id)").message_detail.startswith("rule create-index: ")
        conn.rollback()


def test_a_table_that_was_there_is_not_new(migrating, owner, mig):
    with pytest.raises(psycopg.errors.DuplicateTable):
        mig.execute("CREATE TABLE orders (id int)")
    assert "create-index" in refused(mig, "CREATE INDEX ON orders (code)").message_detail
    mig.execute("CREATE TABLE IF NOT EXISTS orders (id int)")
    assert "create-index" in refused(mig, "CREATE INDEX ON orders (code)").message_detail
    with pytest.raises(psycopg.errors.DuplicateTable):
        mig.execute("CREATE TABLE other (id int); CREATE TABLE orders (id int)")
    assert "create-index" in refused(mig, "CREATE INDEX ON other (id)").message_detail


def test_what_one_session_has_made_is_in_use_for_another(migrating, owner, mig):
    mig.execute("CREATE TABLE fresh (id int)")
    with migrating.connect("mig", "prod") as other:
        assert "create-index" in refused(other, "CREATE INDEX ON fresh (id)").message_detail
    mig.execute("CREATE INDEX ON fresh (id)")


def test_a_new_table_of_the_same_name_elsewhere(migrating, owner, mig):
    """What a bare name means changes with search_path, and with the schemas on it."""
    owner.execute("DROP SCHEMA IF EXISTS aside CASCADE; CREATE SCHEMA aside")
    with mig.transaction():
        mig.execute("SET LOCAL search_path = aside")
        mig.execute("CREATE TABLE orders (id int)")
        mig.execute("CREATE INDEX ON orders (id)")
    with pytest.raises(Refused, match="CREATE INDEX without CONCURRENTLY"):
        mig.execute("CREATE INDEX ON orders (code)")
    owner.execute("DROP TABLE aside.orders")
    mig.execute("SET search_path = aside, public")
    mig.execute("CREATE TABLE orders (id int)")
    mig.execute("ALTER SCHEMA aside RENAME TO away")
    with pytest.raises(Refused, match="CREATE INDEX without CONCURRENTLY"):
        mig.execute("CREATE INDEX ON orders (code)")
    owner.execute("DROP SCHEMA away CASCADE")
    with migrating.connect("mig", "prod", options="-c search_path=public,pg_temp") as conn:
        conn.execute("CREATE TEMP TABLE orders (id int)")
        with pytest.raises(Refused, match="CREATE INDEX without CONCURRENTLY"):
            conn.execute("CREATE INDEX ON orders (code)")


def test_temporary_tables(migrating, owner, mig):
    mig.execute("CREATE TEMP TABLE picked (id int)")
    mig.execute("CREATE INDEX ON picked (id)")
    mig.execute("CREATE INDEX ON pg_temp.picked (id)")
    mig.execute("ALTER TABLE picked ADD COLUMN nr serial")


def test_a_statement_prepared_for_a_new_table_is_judged_again(migrating, owner):
    with migrating.wire_login("mig", "prod") as wire:
        wire.simple("BEGIN; CREATE TABLE fresh (id int)")
        wire.send(parse("CREATE INDEX ON fresh (id)", "make"), SYNC)
        assert not errors(wire.until())
        wire.simple("ROLLBACK")
        owner.execute("CREATE TABLE fresh (id int)")
        wire.send(bind("make"), execute(), SYNC)
        answer = wire.until()
        assert errors(answer) == ["42501"]
    assert owner.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'fresh'").fetchone() == (0,)


def test_set_not_null_needs_the_check_of_this_session(migrating, owner, mig):
    mig.execute("ALTER TABLE orders ADD CONSTRAINT c CHECK (note IS NOT NULL) NOT VALID")
    with migrating.connect("mig", "prod") as other:
        other.execute("ALTER TABLE orders VALIDATE CONSTRAINT c")
    assert "set-not-null" in refused(mig, "ALTER TABLE orders ALTER note SET NOT NULL").message_detail
    mig.execute("ALTER TABLE orders VALIDATE CONSTRAINT c")
    mig.execute("ALTER TABLE orders ALTER note SET NOT NULL")


# --- the wait for locks ---


def test_ddl_does_not_wait_for_long(migrating, owner, mig):
    assert mig.execute("SHOW lock_timeout").fetchone() == ("400ms",)
    with owner.transaction():
        owner.execute("LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            mig.execute("ALTER TABLE orders ADD COLUMN late int")
        assert 0.3 < time.monotonic() - started < 5
    mig.execute("SET lock_timeout = 0")
    assert mig.execute("SHOW lock_timeout").fetchone() == ("400ms",)
    mig.execute("SET lock_timeout = '100ms'")
    assert mig.execute("SHOW lock_timeout").fetchone() == ("100ms",)


def test_a_tier_without_one_has_one_where_ddl_is_allowed(cluster, migrating, owner, make_module_proxy):
    proxy = make_module_proxy({"tiers": {"prod": {"lock_timeout": "none"}}}, {("app", "prod"): "ddl_prod"})
    shown = {}
    for user in ["mig", "app"]:
        with proxy.connect(user, "prod") as conn:
            shown[user] = conn.execute("SHOW lock_timeout").fetchone()[0]
    assert shown == {"mig": "5s", "app": "0"}


# --- how it is configured ---


def test_stg_warns(migrating, owner):
    with migrating.connect("mig", "stg") as conn:
        told = []
        conn.add_notice_handler(lambda notice: told.append((notice.message_primary, notice.message_hint)))
        conn.execute("CREATE INDEX ON orders (code)")
        assert len(told) == 1 and told[0][0] == "CREATE INDEX without CONCURRENTLY asks for care on stg"
        assert "CONCURRENTLY" in told[0][1]
        conn.execute("CREATE TABLE fresh (id int)")
        conn.execute("CREATE INDEX ON fresh (id)")
        assert len(told) == 1


def test_a_rule_may_have_an_action_or_report_mode_of_its_own(migrating, owner, make_module_proxy):
    proxy = make_module_proxy({"tiers": {"prod": {"rules": {
        "create-index": {"action": "allow"}, "drop-column": {"action": "deny"}, "rename": {"mode": "report"}}}}},
        {("app", "prod"): "ddl_prod"})
    with proxy.connect("mig", "prod") as conn:
        conn.execute("CREATE INDEX ON orders (code)")
        assert "SET pgbelay.confirm" not in refused(conn, "ALTER TABLE orders DROP COLUMN code").message_hint
        conn.execute("ALTER TABLE orders RENAME COLUMN code TO number")
        assert "drop-index" in refused(conn, "DROP INDEX orders_note").message_detail
    record = proxy.wait_record("result", lambda r: "RENAME" in r.get("sql", ""))
    assert [(w["rule"], w["verdict"]) for w in record["would_deny"]] == [("rename", "confirm")]
