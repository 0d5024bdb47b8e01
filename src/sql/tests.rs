use super::*;

fn one(text: &str) -> Facts {
    let mut script = classify(text);
    assert_eq!(script.statements.len(), 1, "{text}\n{script:#?}");
    script.statements.remove(0)
}

fn effects(text: &str) -> Vec<Effect> {
    classify(text).statements.into_iter().flat_map(|s| s.effects).collect()
}

fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(|n| n.schema.iter().chain([&n.name]).cloned().collect::<Vec<_>>().join(".")).collect()
}

fn functions(facts: &Facts) -> Vec<String> {
    names(&facts.functions.iter().map(|call| call.name.clone()).collect::<Vec<_>>())
}

#[test]
fn kinds_classes_and_tags() {
    use Class::{Ddl as D, Function as F, Misc as M, MiscSet, Read as R, Role as O, Write as W};
    use Kind::*;
    for (text, kind, class, tag) in [
        ("SELECT 1", Select, R, "SELECT"),
        ("(SELECT 1) UNION (SELECT 2)", Select, R, "SELECT"),
        ("VALUES (1)", Select, R, "SELECT"),
        ("TABLE t", Select, R, "SELECT"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Select, R, "SELECT"),
        ("WITH a AS (DELETE FROM t WHERE id = 1 RETURNING *) SELECT * FROM a", Select, W, "SELECT"),
        ("SELECT * INTO n FROM t", CreateTableAs, D, "SELECT INTO"),
        ("SELECT * INTO TEMP n FROM t", TempDdl, D, "SELECT INTO"),
        ("INSERT INTO t VALUES (1)", Insert, W, "INSERT"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", Insert, W, "INSERT"),
        ("UPDATE t SET a = 1 WHERE id = 1", Update, W, "UPDATE"),
        ("DELETE FROM t WHERE id = 1", Delete, W, "DELETE"),
        ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE", Merge, W, "MERGE"),
        ("COPY t FROM STDIN", CopyFrom, W, "COPY"),
        ("COPY t (a, b) FROM STDIN WITH (FORMAT csv)", CopyFrom, W, "COPY"),
        ("COPY s.t TO STDOUT", CopyTo, R, "COPY"),
        ("COPY (SELECT 1) TO STDOUT", CopyTo, R, "COPY"),
        ("COPY BINARY t TO STDOUT", CopyTo, R, "COPY"),
        ("TRUNCATE t", Truncate, W, "TRUNCATE TABLE"),
        ("DROP TABLE t", Drop, D, "DROP TABLE"),
        ("DROP TABLE pg_temp.t", TempDdl, D, "DROP TABLE"),
        ("DROP TABLE pg_temp.t, u", Drop, D, "DROP TABLE"),
        ("DROP MATERIALIZED VIEW IF EXISTS v", Drop, D, "DROP MATERIALIZED VIEW"),
        ("DROP OPERATOR CLASS c USING btree", Drop, D, "DROP OPERATOR CLASS"),
        ("CREATE TABLE t (a int)", Ddl, D, "CREATE TABLE"),
        ("CREATE UNLOGGED TABLE IF NOT EXISTS t (a int)", Ddl, D, "CREATE TABLE"),
        ("CREATE TABLE t AS SELECT 1", CreateTableAs, D, "CREATE TABLE AS"),
        ("CREATE TABLE t (a) AS TABLE u WITH NO DATA", CreateTableAs, D, "CREATE TABLE AS"),
        ("CREATE TABLE t (a int GENERATED ALWAYS AS (1) STORED)", Ddl, D, "CREATE TABLE"),
        ("CREATE TEMP TABLE t (a int)", TempDdl, D, "CREATE TABLE"),
        ("CREATE TABLE pg_temp.t (a int)", TempDdl, D, "CREATE TABLE"),
        ("CREATE TEMPORARY VIEW v AS SELECT 1", TempDdl, D, "CREATE VIEW"),
        ("CREATE LOCAL TEMP SEQUENCE s", TempDdl, D, "CREATE SEQUENCE"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1 WITH LOCAL CHECK OPTION", Ddl, D, "CREATE VIEW"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", Ddl, D, "CREATE MATERIALIZED VIEW"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", Ddl, D, "CREATE INDEX"),
        ("CREATE INDEX ON pg_temp.t (a)", TempDdl, D, "CREATE INDEX"),
        ("CREATE CONSTRAINT TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()", Ddl, D, "CREATE TRIGGER"),
        ("CREATE TEXT SEARCH PARSER p (START = a)", Ddl, D, "CREATE TEXT SEARCH PARSER"),
        ("CREATE DEFAULT CONVERSION c FOR 'a' TO 'b' FROM f", Ddl, D, "CREATE CONVERSION"),
        ("ALTER TABLE t DROP COLUMN a", Ddl, D, "ALTER TABLE"),
        ("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO a", Role, O, "ALTER DEFAULT PRIVILEGES"),
        ("ALTER SYSTEM SET work_mem = 1", Cluster, D, "ALTER SYSTEM"),
        ("CREATE DATABASE d", Cluster, D, "CREATE DATABASE"),
        ("DROP DATABASE d", Cluster, D, "DROP DATABASE"),
        ("CREATE PUBLICATION p FOR ALL TABLES", Cluster, D, "CREATE PUBLICATION"),
        ("CREATE EXTENSION hstore", Cluster, D, "CREATE EXTENSION"),
        ("CREATE USER a", Role, O, "CREATE ROLE"),
        ("ALTER ROLE CURRENT_USER SET statement_timeout = 0", Cluster, O, "ALTER ROLE"),
        ("GRANT ALL ON t TO public", Role, O, "GRANT"),
        ("GRANT a TO b", Role, O, "GRANT ROLE"),
        ("REVOKE SELECT ON t FROM a", Role, O, "REVOKE"),
        ("REASSIGN OWNED BY a TO b", Role, O, "REASSIGN OWNED"),
        ("DROP OWNED BY a", Role, O, "DROP OWNED"),
        ("COMMENT ON TABLE t IS 'x'", Ddl, D, "COMMENT"),
        ("SECURITY LABEL ON TABLE t IS 'x'", Ddl, D, "SECURITY LABEL"),
        ("REFRESH MATERIALIZED VIEW v", Ddl, D, "REFRESH MATERIALIZED VIEW"),
        ("VACUUM FULL t", Maintenance, M, "VACUUM"),
        ("ANALYSE t", Maintenance, M, "ANALYZE"),
        ("REINDEX TABLE t", Maintenance, M, "REINDEX"),
        ("CHECKPOINT", Maintenance, M, "CHECKPOINT"),
        ("DO $$ BEGIN END $$", Do, F, "DO"),
        ("CALL p(1)", Call, F, "CALL"),
        ("EXPLAIN DELETE FROM t", Explain, M, "EXPLAIN"),
        ("EXPLAIN (ANALYZE, BUFFERS) SELECT 1", Explain, R, "EXPLAIN"),
        ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", CreateTableAs, D, "EXPLAIN"),
        ("EXPLAIN ANALYZE EXECUTE p", Execute, M, "EXPLAIN"),
        ("PREPARE p (int) AS SELECT $1", Prepare, R, "PREPARE"),
        ("PREPARE TRANSACTION 'x'", TwoPhase, M, "PREPARE TRANSACTION"),
        ("COMMIT PREPARED 'x'", TwoPhase, M, "COMMIT PREPARED"),
        ("DECLARE c CURSOR FOR SELECT 1", Declare, R, "DECLARE CURSOR"),
        ("FETCH FORWARD 2 FROM c", Fetch, M, "FETCH"),
        ("MOVE ALL c", Fetch, M, "MOVE"),
        ("LOCK t", Lock, M, "LOCK TABLE"),
        ("SET CONSTRAINTS ALL DEFERRED", Constraints, M, "SET CONSTRAINTS"),
        ("SET a.b = 1", Set, MiscSet, "SET"),
        ("START TRANSACTION", Transaction, M, "START TRANSACTION"),
        ("NOTIFY c, 'x'", Notify, M, "NOTIFY"),
        // Not understood.
        ("SELECT ((SELECT 2) UNION SELECT 2)", UnparsedMaybeRead, R, "SELECT"),
        ("SELECT 'x", UnparsedMaybeRead, R, "SELECT"),
        ("WITH x AS (DELETE FROM t RETURNING +) SELECT 1", UnparsedMaybeWrite, W, "WITH"),
        ("DELETE FROM t WHERE WHERE", UnparsedMaybeWrite, W, "DELETE"),
        ("EXPLAIN ANALYZE DELETE FROM t WHERE WHERE", UnparsedMaybeWrite, W, "EXPLAIN"),
        ("EXPLAIN (SELECT 1)", Explain, M, "EXPLAIN"),
        ("EXPLAIN (1) DELETE FROM t", UnparsedMaybeWrite, M, "EXPLAIN"),
        ("EXPLAIN ANALYZE VACUUM", UnparsedMaybeWrite, M, "EXPLAIN"),
        ("EXPLAIN EXPLAIN EXPLAIN", Explain, M, "EXPLAIN"),
        ("PREPARE p AS SELECT ((SELECT 2) UNION SELECT 2)", UnparsedMaybeWrite, R, "PREPARE"),
        ("DECLARE c CURSOR FOR DELETE FROM t", UnparsedMaybeWrite, R, "DECLARE CURSOR"),
        ("COPY (VACUUM) TO STDOUT", UnparsedMaybeWrite, R, "COPY"),
        ("CREATE SOMETHING", UnparsedMaybeWrite, M, "CREATE"),
        ("FROBNICATE t", UnparsedMaybeWrite, M, "FROBNICATE"),
        ("DELETE FROM a, b WHERE a.id = 1", UnparsedMaybeWrite, W, "DELETE"),
    ] {
        let facts = one(text);
        assert_eq!((facts.kind, facts.class, &*facts.tag), (kind, class, tag), "{text}");
    }
}

#[test]
fn settings() {
    let set = |name: &str, value: SettingValue| Effect::Set {
        name: name.to_owned(),
        value,
        scope: Scope::Session,
        by_function: false,
    };
    let text = |value: &str| SettingValue::Text(value.to_owned());
    for (sql, effect) in [
        ("SET work_mem = '1GB'", set("work_mem", text("1GB"))),
        ("SET SESSION Work_Mem TO 64", set("work_mem", text("64"))),
        ("SET \"Work_Mem\" = -1.50", set("work_mem", text("-1.50"))),
        ("SET app.Tenant = acme", set("app.tenant", text("acme"))),
        ("SET session.x = on", set("session.x", text("on"))),
        ("SET DateStyle TO ISO, DMY", set("datestyle", text("iso, dmy"))),
        ("SET search_path TO a, \"B c\", 'D', pg_catalog", set("search_path", text("a, \"B c\", \"D\", pg_catalog"))),
        ("SET search_path = ''", set("search_path", text("\"\""))),
        ("SET SCHEMA 'X'", set("search_path", text("\"X\""))),
        ("SET search_path TO DEFAULT", set("search_path", SettingValue::Default)),
        ("SET TIME ZONE 'Europe/Paris'", set("timezone", text("Europe/Paris"))),
        ("SET TIME ZONE LOCAL", set("timezone", SettingValue::Default)),
        ("SET TIME ZONE -5", set("timezone", text("-5"))),
        ("SET TIME ZONE INTERVAL '1' HOUR TO MINUTE", set("timezone", SettingValue::Unknown)),
        ("SET timezone TO 'UTC'", set("timezone", text("UTC"))),
        ("SET NAMES 'GBK'", set("client_encoding", text("GBK"))),
        ("SET NAMES", set("client_encoding", SettingValue::Default)),
        ("SET ROLE NONE", set("role", text("none"))),
        ("SET ROLE \"Bob\"", set("role", text("Bob"))),
        ("SET role TO bob", set("role", text("bob"))),
        ("SET SESSION AUTHORIZATION postgres", set("session_authorization", text("postgres"))),
        ("SET SESSION SESSION AUTHORIZATION DEFAULT", set("session_authorization", SettingValue::Default)),
        ("SET XML OPTION DOCUMENT", set("xmloption", text("document"))),
        ("SET x.y FROM CURRENT", set("x.y", SettingValue::Unknown)),
        (
            "SET LOCAL lock_timeout = '1s'",
            Effect::Set {
                name: "lock_timeout".to_owned(),
                value: text("1s"),
                scope: Scope::Transaction,
                by_function: false,
            },
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
            Effect::SetTransaction(Some(AccessMode::ReadWrite)),
        ),
        ("SET transaction_read_only = off", set("transaction_read_only", text("off"))),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            Effect::SetSessionCharacteristics(Some(AccessMode::ReadOnly)),
        ),
        ("RESET work_mem", Effect::Reset("work_mem".to_owned())),
        ("RESET ALL", Effect::ResetAll),
        ("RESET TIME ZONE", Effect::Reset("timezone".to_owned())),
        ("RESET SESSION AUTHORIZATION", Effect::Reset("session_authorization".to_owned())),
        ("RESET ROLE", Effect::Reset("role".to_owned())),
        ("SHOW ALL", Effect::Show("all".to_owned())),
        ("SHOW pgbelay.Tier", Effect::Show("pgbelay.tier".to_owned())),
        ("SHOW TRANSACTION ISOLATION LEVEL", Effect::Show("transaction_isolation".to_owned())),
        ("DISCARD ALL", Effect::DiscardAll),
        ("DISCARD TEMPORARY", Effect::DiscardTemp),
        ("DISCARD PLANS", Effect::DiscardPlans),
        ("DISCARD SEQUENCES", Effect::DiscardSequences),
    ] {
        assert_eq!(effects(sql), [effect], "{sql}");
    }
}

#[test]
fn set_config_wherever_it_stands() {
    let by_function = |name: &str, value: SettingValue, scope: Scope| Effect::Set {
        name: name.to_owned(),
        value,
        scope,
        by_function: true,
    };
    let text = |value: &str| SettingValue::Text(value.to_owned());
    for (sql, effect) in [
        ("SELECT set_config('A.b', 'c', false)", by_function("a.b", text("c"), Scope::Session)),
        ("SELECT pg_catalog.set_config('a', 'c', true) AS x", by_function("a", text("c"), Scope::Transaction)),
        ("SELECT set_config('a', NULL, false)", by_function("a", SettingValue::Default, Scope::Session)),
        ("SELECT set_config('a', $1, false)", by_function("a", SettingValue::Unknown, Scope::Session)),
        (
            "SELECT set_config(is_local => false, setting_name => 'a', new_value => 'b')",
            by_function("a", text("b"), Scope::Session),
        ),
        ("SELECT set_config('a' || 'b', 'c', false)", Effect::SetUnknown),
        ("SELECT set_config(name, 'x', false) FROM pg_settings", Effect::SetUnknown),
        ("SELECT set_config(name, 'x', false) FROM pg_settings WHERE name <> 'a'", Effect::SetUnknown),
        (
            "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings \
             WHERE name = 'restrict_nonsystem_relation_kind'",
            Effect::Set {
                name: "restrict_nonsystem_relation_kind".to_owned(),
                value: SettingValue::Unknown,
                scope: Scope::Session,
                by_function: true,
            },
        ),
        // It may run never or often.
        (
            "SELECT 1 FROM (SELECT set_config('a', 'b', true)) q",
            by_function("a", SettingValue::Unknown, Scope::Session),
        ),
        ("SELECT set_config('a', 'b', false) FROM t", by_function("a", SettingValue::Unknown, Scope::Session)),
        ("SELECT * FROM set_config('a', 'b', false)", by_function("a", SettingValue::Unknown, Scope::Session)),
        ("INSERT INTO t VALUES (set_config('a', 'b', false))", by_function("a", SettingValue::Unknown, Scope::Session)),
        (
            "UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'",
            by_function("default_transaction_read_only", SettingValue::Unknown, Scope::Session),
        ),
        ("UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name LIKE 'default%'", Effect::SetUnknown),
        ("EXECUTE p(set_config('a', 'b', false))", Effect::Execute("p".to_owned())),
    ] {
        let effects = effects(sql);
        assert!(effects.contains(&effect), "{sql}: {effects:?}");
    }
    assert!(effects("EXPLAIN SELECT set_config('a', 'b', false)").is_empty());
    assert_eq!(effects("SELECT app.set_config('a', 'b', false)"), []);
}

#[test]
fn transactions_and_sessions() {
    let name = |s: &str| s.to_owned();
    for (sql, effect) in [
        ("BEGIN", Effect::Begin(None)),
        ("BEGIN WORK ISOLATION LEVEL READ COMMITTED, READ ONLY", Effect::Begin(Some(AccessMode::ReadOnly))),
        ("BEGIN READ WRITE", Effect::Begin(Some(AccessMode::ReadWrite))),
        ("START TRANSACTION READ ONLY", Effect::Begin(Some(AccessMode::ReadOnly))),
        ("COMMIT AND CHAIN", Effect::Commit { chain: true }),
        ("END WORK AND NO CHAIN", Effect::Commit { chain: false }),
        ("ABORT", Effect::Rollback { chain: false }),
        ("ROLLBACK TRANSACTION AND CHAIN", Effect::Rollback { chain: true }),
        ("SAVEPOINT A", Effect::Savepoint(name("a"))),
        ("ROLLBACK TO SAVEPOINT \"A\"", Effect::RollbackTo(name("A"))),
        ("ROLLBACK WORK TO a", Effect::RollbackTo(name("a"))),
        ("RELEASE SAVEPOINT savepoint", Effect::Release(name("savepoint"))),
        ("RELEASE a", Effect::Release(name("a"))),
        ("PREPARE TRANSACTION 'x'", Effect::PrepareTransaction),
        ("PREPARE p AS SELECT 1", Effect::Prepare(name("p"))),
        ("EXECUTE p (1)", Effect::Execute(name("p"))),
        ("DEALLOCATE PREPARE p", Effect::Deallocate(Some(name("p")))),
        ("DEALLOCATE ALL", Effect::Deallocate(None)),
        ("DECLARE c BINARY SCROLL CURSOR WITH HOLD FOR SELECT 1", Effect::HoldCursor(name("c"))),
        ("CLOSE c", Effect::CloseCursor(Some(name("c")))),
        ("CLOSE ALL", Effect::CloseCursor(None)),
        ("LISTEN c", Effect::Listen),
        ("UNLISTEN *", Effect::Unlisten(None)),
        ("UNLISTEN C", Effect::Unlisten(Some(name("c")))),
        ("LOAD 'x'", Effect::Load),
        ("CREATE TEMP TABLE t AS SELECT 1", Effect::TempObject),
        ("SELECT 1 INTO TEMPORARY t", Effect::TempObject),
        ("CREATE STATISTICS pg_temp.s ON a, b FROM t", Effect::TempObject),
        ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", Effect::TempObject),
        ("SELECT pg_advisory_lock(1)", Effect::AdvisoryLock),
        ("SELECT * FROM pg_try_advisory_lock_shared(1)", Effect::AdvisoryLock),
        ("SELECT pg_advisory_unlock(1)", Effect::AdvisoryUnlock),
        ("SELECT pg_advisory_unlock_all()", Effect::AdvisoryUnlockAll),
    ] {
        assert_eq!(effects(sql), [effect], "{sql}");
    }
    for sql in ["SELECT pg_advisory_xact_lock(1)", "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", "NOTIFY c"] {
        assert_eq!(effects(sql), [], "{sql}");
    }
}

#[test]
fn writes_anywhere() {
    for (sql, expected) in [
        ("WITH x AS (UPDATE s.t SET a = 1, (b, c) = (2, 3) RETURNING 1) SELECT 1", "UPDATE s.t a,b,c"),
        ("INSERT INTO t (a, b) SELECT 1, 2", "INSERT t a,b"),
        ("EXPLAIN ANALYZE DELETE FROM t", "DELETE t "),
        ("EXPLAIN (COSTS off, ANALYZE on) DELETE FROM t", "DELETE t "),
        ("EXPLAIN (\"analyze\") DELETE FROM t", "DELETE t "),
        ("EXPLAIN (U&\"\\0061nalyze\", verbose) DELETE FROM t", "DELETE t "),
        ("PREPARE p AS DELETE FROM t WHERE $1", "DELETE t "),
        ("COPY (DELETE FROM t RETURNING *) TO STDOUT", "DELETE t "),
        ("COPY t (a) FROM STDIN", "COPY t a"),
        ("CREATE TABLE n AS WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "DELETE t "),
        ("TRUNCATE TABLE ONLY s.a, b CASCADE", "TRUNCATE s.a "),
        ("CREATE RULE r AS ON INSERT TO p DO ALSO DELETE FROM t", "DELETE t "),
        ("CREATE RULE r AS ON INSERT TO p DO INSTEAD (NOTIFY c; DELETE FROM t)", "DELETE t "),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1'", "DELETE t "),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; SELECT CASE WHEN true THEN 1 END; END",
            "DELETE t ",
        ),
        ("DO $$ BEGIN IF true THEN DELETE FROM t; END IF; END $$", "DELETE t "),
        ("DO 'begin execute ''delete from t''; end'", "DELETE t "),
        ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1", "MERGE t a"),
        ("DELETE /* WHERE id = 1 */ FROM \"T\"", "DELETE T "),
    ] {
        let facts = one(sql);
        let writes: Vec<String> = facts
            .writes
            .iter()
            .map(|w| {
                format!("{} {} {}", w.verb.as_str(), names(std::slice::from_ref(&w.table))[0], w.columns.join(","))
            })
            .collect();
        assert_eq!(writes, [expected], "{sql}");
    }
    for sql in
        ["EXPLAIN DELETE FROM t", "EXPLAIN (ANALYZE false) DELETE FROM t", "EXPLAIN (ANALYZE 'off') DELETE FROM t"]
    {
        assert!(one(sql).writes.is_empty(), "{sql}");
    }
}

#[test]
fn reads_and_functions() {
    let facts = one(
        "WITH c AS (SELECT * FROM c WHERE lower(a) = 'x'), d AS (SELECT * FROM c) SELECT f(1, 'x', $1), s.g() FROM d, \
         public.t JOIN LATERAL h('y') ON true WHERE id IN (SELECT id FROM u) ORDER BY \"F\"()",
    );
    assert_eq!(names(&facts.reads), ["c", "public.t", "u"]);
    assert_eq!(functions(&facts), ["lower", "f", "s.g", "h", "F"]);
    let f = &facts.functions[1];
    assert_eq!((f.arity, &f.literals), (3, &vec![None, Some("x".to_owned()), None]));

    let facts = one("INSERT INTO t SELECT * FROM u");
    assert_eq!(names(&facts.reads), ["u"]);
    for (sql, function) in [
        ("SELECT * FROM t WHERE PG_TERMINATE_BACKEND(1)", "pg_terminate_backend"),
        ("SELECT \"pg_terminate_backend\"(1)", "pg_terminate_backend"),
        ("SELECT U&\"\\0070g_terminate_backend\"(1)", "pg_terminate_backend"),
        ("SELECT * FROM pg_ls_dir('/')", "pg_ls_dir"),
        ("VALUES (pg_reload_conf())", "pg_reload_conf"),
        ("EXECUTE p(pg_reload_conf())", "pg_reload_conf"),
        ("CALL p(pg_reload_conf())", "pg_reload_conf"),
        ("INSERT INTO t DEFAULT VALUES RETURNING pg_reload_conf()", "pg_reload_conf"),
        ("SELECT 1 FROM t GROUP BY pg_reload_conf()", "pg_reload_conf"),
        ("SELECT sum(1) FILTER (WHERE pg_reload_conf()) OVER (PARTITION BY pg_promote()) FROM t", "pg_promote"),
        ("SELECT 1 FROM t WINDOW w AS (ORDER BY pg_reload_conf())", "pg_reload_conf"),
        ("SELECT 1 LIMIT pg_reload_conf()::int", "pg_reload_conf"),
        ("SELECT a[pg_reload_conf()::int] FROM t", "pg_reload_conf"),
        ("SELECT * FROM t TABLESAMPLE SYSTEM (pg_reload_conf()::int)", "pg_reload_conf"),
        ("SELECT CASE WHEN pg_reload_conf() THEN 1 END", "pg_reload_conf"),
        ("SELECT * FROM t JOIN u ON pg_reload_conf()", "pg_reload_conf"),
        ("SELECT DISTINCT ON (pg_reload_conf()) 1", "pg_reload_conf"),
        ("SELECT array_agg(1 ORDER BY pg_reload_conf())", "pg_reload_conf"),
        ("SELECT xmlelement(name a, pg_reload_conf())", "pg_reload_conf"),
        ("SELECT * FROM ROWS FROM (pg_ls_dir('/'), generate_series(1, 2))", "pg_ls_dir"),
        ("UPDATE t SET a = DEFAULT, b[pg_promote()::int] = 1 WHERE id = 1", "pg_promote"),
        ("SELECT ((SELECT pg_promote()) UNION SELECT true)", "pg_promote"),
        ("COPY t FROM STDIN WHERE pg_promote()", "pg_promote"),
        ("CREATE VIEW v AS SELECT pg_promote()", "pg_promote"),
        ("CREATE FUNCTION f() RETURNS bool RETURN pg_promote()", "pg_promote"),
        ("ALTER TABLE t ADD COLUMN a bool DEFAULT pg_promote()", "pg_promote"),
        ("DO $$ BEGIN PERFORM pg_promote(); END $$", "pg_promote"),
        ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND pg_promote() THEN DELETE", "pg_promote"),
    ] {
        let facts = one(sql);
        assert!(functions(&facts).iter().any(|f| f == function), "{sql}: {:?}", facts.functions);
    }
    assert_eq!(functions(&one("CALL s.p(1)")).first().map(String::as_str), Some("s.p"));
    assert!(one("EXPLAIN SELECT pg_promote()").functions.is_empty());
    for sql in [
        "SELECT COALESCE(a, 1), GREATEST(1, 2), EXTRACT(year FROM b), CURRENT_DATE, CAST(a AS int), ARRAY(SELECT 1) FROM t",
        "SELECT GROUPING(a), xmlelement(name b), xmlforest(a AS c), NULLIF(1, 2), trim(a), substring(a FROM 1) FROM t GROUP BY a",
    ] {
        let facts = one(sql);
        assert!(!is_unparsed(facts.kind), "{sql}");
        assert!(functions(&facts).iter().all(|f| super::functions::is_built_in(f)), "{sql}: {:?}", functions(&facts));
    }
}

#[test]
fn hazards() {
    for (sql, hazard) in [
        ("COPY t FROM '/tmp/x'", Hazard::ServerFile),
        ("COPY t TO '/tmp/x'", Hazard::ServerFile),
        ("COPY t FROM PROGRAM 'curl x'", Hazard::ServerProgram),
        ("COPY (SELECT 1) TO PROGRAM 'id'", Hazard::ServerProgram),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'", Hazard::ServerFile),
        ("CREATE FUNCTION f() RETURNS int AS 'f' LANGUAGE 'C'", Hazard::ServerFile),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$pass$$", Hazard::ServerProgram),
        ("DO LANGUAGE plperlu $$x$$", Hazard::ServerProgram),
        ("CREATE LANGUAGE plpython3u", Hazard::ServerProgram),
        ("CREATE EXTENSION dblink", Hazard::OtherConnection),
        ("CREATE SERVER s FOREIGN DATA WRAPPER w", Hazard::OtherConnection),
        ("CREATE USER MAPPING FOR a SERVER s", Hazard::OtherConnection),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", Hazard::OtherConnection),
        ("IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b", Hazard::OtherConnection),
        ("CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (program 'id')", Hazard::ServerProgram),
        ("LOAD 'x'", Hazard::ServerFile),
        ("SELECT ((SELECT U&\"a\"()) UNION SELECT 1)", Hazard::UnicodeIdentifier),
        ("SELECT 1\0; DELETE FROM t", Hazard::TextTrap("the text holds a NUL character")),
    ] {
        assert!(one(sql).hazards.contains(&hazard), "{sql}: {:?}", one(sql).hazards);
    }
    for sql in [
        "COPY t FROM stdin",
        "COPY t TO STDOUT WITH CSV",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$begin return 1; end$$",
        "DROP SERVER s",
        "CREATE EXTENSION plpgsql",
        "SELECT U&\"a\" FROM t",
    ] {
        assert!(one(sql).hazards.is_empty(), "{sql}: {:?}", one(sql).hazards);
    }
}

#[test]
fn locks() {
    for (sql, lock) in [
        ("SELECT * FROM t FOR UPDATE", Lock::Rows),
        ("SELECT * FROM (SELECT * FROM t FOR KEY SHARE) x", Lock::Rows),
        ("LOCK TABLE t", Lock::Table("ACCESS EXCLUSIVE".to_owned())),
        ("LOCK t, u IN share row exclusive MODE NOWAIT", Lock::Table("SHARE ROW EXCLUSIVE".to_owned())),
    ] {
        assert_eq!(one(sql).locks, [lock], "{sql}");
    }
    assert!(one("SELECT * FROM t").locks.is_empty());
}

#[test]
fn texts_are_cut_as_the_server_cuts_them() {
    for (text, expected) in [
        ("", &[][..]),
        (" ; /* x */ ;-- y", &[]),
        ("SELECT 1; ; SELECT 'a;b' ", &["SELECT 1", "SELECT 'a;b'"]),
        ("SELECT $a$ ; $b$ ; $a$; DELETE FROM t", &["SELECT $a$ ; $b$ ; $a$", "DELETE FROM t"]),
        ("SELECT 1--\n;DELETE FROM t", &["SELECT 1", "DELETE FROM t"]),
        ("SELECT 1--\r;DELETE FROM t", &["SELECT 1", "DELETE FROM t"]),
        ("SELECT 1>-- '\n0; DELETE FROM t; --'", &["SELECT 1>-- '\n0", "DELETE FROM t"]),
        ("SELECT '1'\n'2'; DELETE FROM t", &["SELECT '1'\n'2'", "DELETE FROM t"]),
        (
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
            &["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"],
        ),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END; DELETE FROM t",
            &[
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END",
                "DELETE FROM t",
            ],
        ),
        ("BEGIN; SELECT 1; END; DELETE FROM t", &["BEGIN", "SELECT 1", "END", "DELETE FROM t"]),
    ] {
        let script = classify(text);
        let spans: Vec<&str> = script.statements.iter().map(|s| &text[s.span.clone()]).collect();
        assert_eq!(spans, expected, "{text}");
    }
}

#[test]
fn a_body_that_does_not_end_where_it_seems_to_is_not_trusted() {
    // `1 case` is a column's name to the server.
    let text = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 case; END; DROP TABLE t";
    let script = classify(text);
    assert!(script.statements.iter().any(|s| s.kind == Kind::UnparsedMaybeWrite), "{script:#?}");
}

#[test]
fn one_broken_statement_leaves_the_others_readable() {
    let script = classify("SET x.y = 1; REINDEX TABLE t; SELECT ((SELECT 2) UNION SELECT 2); DELETE FROM t");
    let kinds: Vec<Kind> = script.statements.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [Kind::Set, Kind::Maintenance, Kind::UnparsedMaybeRead, Kind::Delete]);
}

#[test]
fn misreadings_of_the_parser_are_not_trusted() {
    for text in [
        // Postgres: NOT (EXISTS (…) IS NOT UNKNOWN), which is false.
        "DELETE FROM t WHERE NOT EXISTS (SELECT 1 WHERE false) IS NOT UNKNOWN",
        "DELETE FROM t WHERE symmetric(1)",
    ] {
        assert_eq!(one(text).kind, Kind::UnparsedMaybeWrite, "{text}");
    }
}

#[test]
fn traceparents() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for text in [
        format!("SELECT 1 /*traceparent='{trace}'*/"),
        format!("/*traceparent='{trace}'*/ SELECT /* a */ 1"),
        format!("SELECT /* a */ 1; /*b='c',traceparent='{trace}'*/"),
    ] {
        assert_eq!(classify(&text).traceparent.as_deref(), Some(trace), "{text}");
    }
    assert_eq!(classify(&format!("SELECT 'traceparent=''{trace}'''")).traceparent, None);
}

#[test]
fn secrets_stay_out() {
    let facts = one("ALTER ROLE a PASSWORD 'hunter2'");
    assert_eq!(facts.redacted.as_deref(), Some("ALTER ROLE a PASSWORD '<redacted>'"));
    assert!(!facts.normalized.contains("hunter2"));
    let script = classify("SELECT 1; ALTER ROLE a PASSWORD 'hunter2; SELECT");
    assert!(script.statements.iter().all(|s| s.redacted.as_deref().is_some_and(|r| !r.contains("hunter2"))));
}

#[test]
fn deep_and_long_texts_end_well() {
    let chain = |op: &str, n: usize| vec!["id = 1"; n].join(op);
    for text in [
        format!("DELETE FROM t WHERE {}", chain(" OR ", 5000)),
        format!("SELECT {}", vec!["1"; 30_000].join(" + ")),
        format!("SELECT 1{}", "::int".repeat(20_000)),
        format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("SELECT {}1", "NOT ".repeat(20_000)),
        format!("SELECT {}1", "- ".repeat(20_000)),
        format!("SELECT {}", "a[1".repeat(10_000)),
        vec!["SELECT 1"; 10_000].join(" UNION "),
        format!("SELECT * FROM {}", "(SELECT * FROM ".repeat(5_000)),
        format!("SELECT {}", "CASE WHEN a THEN ".repeat(5_000)),
        "EXPLAIN ".repeat(50_000),
        "PREPARE a AS ".repeat(20_000),
        "COPY (".repeat(20_000),
        "CREATE TABLE a AS ".repeat(20_000),
        "CREATE RULE r AS ON a TO b DO ".repeat(10_000),
        "SELECT 1;".repeat(10_000),
        "'\n'".repeat(20_000),
        "((".repeat(200_000),
        "x ".repeat(500_000),
        "$a$".repeat(50_001),
        "/*".repeat(100_000),
    ] {
        let script = classify(&text);
        assert!(script.statements.len() <= 10_000);
    }
    let script = classify(&format!("DELETE FROM t WHERE {}", chain(" OR ", 5000)));
    assert_eq!(script.statements[0].writes[0].bound, Boundedness::Bounded);
    let script = classify(&format!("DELETE FROM t WHERE {} OR 1 = 1", chain(" OR ", 5000)));
    assert!(matches!(script.statements[0].writes[0].bound, Boundedness::Tautology(_)));
    // As deep as the caller's stack must bear.
    one(&format!("SELECT {}", vec!["1"; SHALLOW].join(" + ")));
}

#[test]
fn no_text_takes_quadratic_or_exponential_time() {
    let start = std::time::Instant::now();
    for text in [
        format!("SELECT {}", "[".repeat(100_000)),
        "on conflict (".repeat(30_000),
        format!("SELECT {}", ") and ".repeat(50_000)),
        format!("SELECT {}", "passing ".repeat(100_000)),
        format!("SELECT {}", "f(".repeat(50_000)),
        format!("SELECT {}", (0..50_000).map(|i| format!("f{i}(")).collect::<String>()),
        format!("SELECT * FROM {}", (0..30_000).map(|i| format!("t{i}")).collect::<Vec<_>>().join(", ")),
        format!("SELECT * FROM {}", vec!["f(1)"; 20_000].join(", ")),
        format!("DELETE FROM t WHERE id = 1{};", " = true".repeat(30)).repeat(1000),
        format!("DELETE FROM t WHERE id = 1{};", "::bool".repeat(30)).repeat(1000),
        format!("SELECT {}", vec![format!("{}1{}", "(".repeat(40), ")".repeat(40)); 100].join(", ")),
        format!("SELECT {}", vec![format!("{}1{}", "f((".repeat(15), "))".repeat(15)); 100].join(", ")),
        format!("SELECT * FROM {}t{}", "(".repeat(40), ")".repeat(40)),
        format!("DELETE FROM t WHERE {}", vec!["a || b"; 20_000].join(" || ")),
        format!("DELETE FROM t WHERE a IN ({}1{})", "(SELECT 1 WHERE a IN (".repeat(12), "))".repeat(12)),
    ] {
        let before = start.elapsed();
        classify(&text);
        let taken = start.elapsed() - before;
        assert!(taken.as_secs() < 20, "{taken:?}: {}", &text[..60]);
    }
}
