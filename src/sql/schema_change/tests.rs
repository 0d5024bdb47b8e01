//! What is read off DDL.

use super::super::classify;
use super::*;

fn changes(text: &str) -> Vec<Change> {
    let mut script = classify(text);
    assert_eq!(script.statements.len(), 1, "{text}");
    script.statements.remove(0).schema_changes.into_iter().map(|change| change.change).collect()
}

fn constraint(constraint: Constraint, unchecked: bool) -> Change {
    Change::AddConstraint { constraint, unchecked }
}

fn column(name: &str, calls: &[&str]) -> NewColumn {
    let call = |name: &&str| Call {
        name: Name { schema: None, name: (*name).to_owned() },
        arity: 0,
        literals: Vec::new(),
        sql_is_read: false,
    };
    let default_calls = calls.iter().map(call).collect();
    NewColumn { name: name.to_owned(), default_calls, is_stored: false, is_numbered: false }
}

#[test]
fn each_form_is_told_from_the_other() {
    use Change::*;
    for (text, expected) in [
        ("CREATE INDEX i ON t (a)", CreateIndex { concurrently: false }),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t USING gin (a)", CreateIndex { concurrently: true }),
        ("CREATE INDEX ON ONLY t (a)", CreateIndex { concurrently: true }),
        ("DROP INDEX i", DropIndex { concurrently: false }),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", DropIndex { concurrently: true }),
        ("DROP TABLE IF EXISTS t", DropTable),
        ("REINDEX TABLE t", Reindex { concurrently: false }),
        ("REINDEX TABLE CONCURRENTLY t", Reindex { concurrently: true }),
        ("REINDEX (VERBOSE, CONCURRENTLY) INDEX i", Reindex { concurrently: true }),
        ("REINDEX (CONCURRENTLY off) INDEX i", Reindex { concurrently: false }),
        ("REFRESH MATERIALIZED VIEW v", Refresh { concurrently: false }),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v WITH DATA", Refresh { concurrently: true }),
        ("VACUUM FULL t", Rewrite("VACUUM FULL")),
        ("VACUUM (ANALYZE, FULL) t", Rewrite("VACUUM FULL")),
        ("CLUSTER t USING i", Rewrite("CLUSTER")),
        ("CLUSTER", Rewrite("CLUSTER")),
        ("ALTER TABLE t SET UNLOGGED", Rewrite("SET UNLOGGED")),
        ("ALTER TABLE t SET ACCESS METHOD heap", Rewrite("SET ACCESS METHOD")),
        ("ALTER INDEX i SET TABLESPACE s", Rewrite("SET TABLESPACE")),
        ("ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", Rewrite("SET TABLESPACE")),
        ("ALTER TABLE t ADD CHECK (a > 0)", constraint(Constraint::Check, false)),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", constraint(Constraint::Check, true)),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a <> 'not valid')", constraint(Constraint::Check, false)),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", constraint(Constraint::Unique, false)),
        ("ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY USING INDEX i", constraint(Constraint::Unique, true)),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u", constraint(Constraint::ForeignKey, false)),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID", constraint(Constraint::ForeignKey, true)),
        ("ALTER TABLE t ADD EXCLUDE USING gist (a WITH &&)", constraint(Constraint::Exclusion, false)),
        ("ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0)", constraint(Constraint::Check, false)),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", ValidateConstraint),
        ("ALTER TABLE t ALTER a SET NOT NULL", SetNotNull("a".into())),
        ("ALTER TABLE t ADD CONSTRAINT n NOT NULL a", SetNotNull("a".into())),
        ("ALTER TABLE t ALTER COLUMN \"A\" TYPE bigint", ChangeType("A".into())),
        ("ALTER TABLE t ALTER a SET DATA TYPE text", ChangeType("a".into())),
        ("ALTER TABLE IF EXISTS ONLY t DROP a", DropColumn("a".into())),
        ("ALTER TABLE t RENAME a TO b", RenameColumn),
        ("ALTER TABLE t RENAME TO u", RenameTable(Some("u".into()))),
        ("ALTER TABLE t SET SCHEMA s", RenameTable(None)),
        ("ALTER TABLE t DETACH PARTITION p", DetachPartition { concurrently: false }),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", DetachPartition { concurrently: true }),
        ("ALTER TABLE t FROBNICATE", Unknown),
        ("ALTER TABLE t ALTER a SET FROBNICATION", Unknown),
    ] {
        assert_eq!(changes(text), [expected], "{text}");
    }
}

#[test]
fn what_is_over_in_a_moment_is_no_change() {
    for text in [
        "ALTER TABLE t ALTER a SET DEFAULT random()",
        "ALTER TABLE t ALTER a DROP NOT NULL, ALTER b SET STATISTICS 100, ALTER c SET (n_distinct = 5)",
        "ALTER TABLE t DROP CONSTRAINT c, OWNER TO o, SET (fillfactor = 70)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t RENAME CONSTRAINT a TO b",
        "ALTER INDEX i RENAME TO j",
        "ALTER TABLE t CLUSTER ON i",
        "CREATE TABLE IF NOT EXISTS t (a int)",
        "VACUUM ANALYZE t",
        "VACUUM (FULL false) t",
        "COMMENT ON TABLE t IS 'x'",
    ] {
        assert_eq!(changes(text), [], "{text}");
    }
}

#[test]
fn new_columns_are_told_by_what_they_do_to_the_rows_that_are_there() {
    let add = |column| [Change::AddColumn(column)];
    assert_eq!(changes("ALTER TABLE t ADD a int NOT NULL DEFAULT 5"), add(column("a", &[])));
    assert_eq!(changes("ALTER TABLE t ADD a text[] DEFAULT ARRAY['a', 'b'] NOT NULL"), add(column("a", &[])));
    assert_eq!(changes("ALTER TABLE t ADD a numeric(4,2) DEFAULT NULL::numeric(4,2)"), add(column("a", &[])));
    assert_eq!(changes("ALTER TABLE t ADD a timestamptz DEFAULT now()"), add(column("a", &["now"])));
    let volatile = "ALTER TABLE t ADD COLUMN IF NOT EXISTS a uuid DEFAULT gen_random_uuid() NOT NULL";
    assert_eq!(changes(volatile), add(column("a", &["gen_random_uuid"])));
    let stored = NewColumn { is_stored: true, ..column("a", &[]) };
    assert_eq!(changes("ALTER TABLE t ADD a int GENERATED ALWAYS AS (abs(b)) STORED"), add(stored));
    assert_eq!(changes("ALTER TABLE t ADD a int GENERATED ALWAYS AS (b) VIRTUAL"), add(column("a", &[])));
    let numbered = NewColumn { is_numbered: true, ..column("a", &[]) };
    assert_eq!(changes("ALTER TABLE t ADD a bigserial"), add(numbered.clone()));
    assert_eq!(changes("ALTER TABLE t ADD a int GENERATED BY DEFAULT AS IDENTITY"), add(numbered));
    assert_eq!(changes("ALTER TABLE t ADD a int REFERENCES u"), add(column("a", &[])));
}

#[test]
fn constraints_of_a_new_column_are_changes_of_their_own() {
    let with = |text: &str| changes(text).into_iter().skip(1).collect::<Vec<_>>();
    assert_eq!(with("ALTER TABLE t ADD a int UNIQUE"), [constraint(Constraint::Unique, false)]);
    assert_eq!(with("ALTER TABLE t ADD a int CHECK (a > 0)"), [constraint(Constraint::Check, false)]);
    let referring = "ALTER TABLE t ADD a int DEFAULT 1 REFERENCES u (id)";
    assert_eq!(with(referring), [constraint(Constraint::ForeignKey, false)]);
}

#[test]
fn actions_are_told_apart_and_carry_the_table() {
    let script = classify("ALTER TABLE s.t ADD a int, ADD CONSTRAINT c CHECK (a IN (1, 2)), ALTER b SET NOT NULL");
    let changes = &script.statements[0].schema_changes;
    assert_eq!(changes.len(), 3);
    let table = Name { schema: Some("s".into()), name: "t".into() };
    assert!(changes.iter().all(|change| change.object == table));
}

#[test]
fn tables_are_known_to_be_new() {
    let is = |text: &str, temporary, drops_on_commit| {
        assert_eq!(changes(text)[0], Change::CreateTable { temporary, drops_on_commit }, "{text}");
    };
    is("CREATE TABLE t (a int)", false, false);
    is("CREATE UNLOGGED TABLE t AS SELECT 1", false, false);
    is("CREATE TEMP TABLE t (a int)", true, false);
    is("CREATE TABLE pg_temp.t (a int)", true, false);
    is("CREATE TEMP TABLE t (a int) ON COMMIT DROP", true, true);
}
