//! Texts that differ in nothing but the digits of their integers: what is known of one is known of all.
//!
//! A client that writes its keys into its texts sends no text twice. Reading such a text costs several times what the rest of its way
//! does, and finds the same each time.

use super::lexer::{self, TokenKind};
use super::{Facts, Kind, Script};

/// Longest integer whose digits are left out: any of this length fits into 64 bits.
const MOST_DIGITS: usize = 18;

/// The text with a NUL in place of each digit of its integers. `None` when it has none, or when it cannot be cut into tokens.
///
/// The length of every integer stays, so that all texts of a shape have their statements in the same place.
pub fn shape(text: &str) -> Option<Box<str>> {
    let lexed = lexer::lex(text);
    if lexed.error.is_some() || text.contains('\0') {
        return None;
    }
    let mut shape = text.as_bytes().to_vec();
    let mut has_integer = false;
    for token in &lexed.tokens {
        // A token that stands for a list which was cut covers more than its own digits.
        if let TokenKind::Number(number) = &token.kind
            && number.len() <= MOST_DIGITS
            && number.len() == token.span.len()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            shape[token.span.clone()].fill(0);
            has_integer = true;
        }
    }
    if !has_integer {
        return None;
    }
    String::from_utf8(shape).ok().map(String::into_boxed_str)
}

impl Script {
    /// Whether every text of the same [`shape`] has these facts, to the last field: those of a plain read. What a write, a setting
    /// or a change of the schema is may rest on a number (`WHERE 1 = 1`).
    pub fn holds_for_its_shape(&self) -> bool {
        let [facts] = self.statements.as_slice() else { return false };
        // Every field is named, so that a new one does not compile until somebody has asked whether an integer gets into it.
        let Facts {
            kind,
            writes,
            effects,
            hazards,
            makes,
            schema_changes,
            redacted,
            // Names, and strings between the same bytes.
            class: _,
            tag: _,
            reads: _,
            functions: _,
            mentions: _,
            locks: _,
            is_only_planned: _,
            // The same places, and no literals.
            span: _,
            normalized: _,
            fingerprint: _,
        } = facts;
        *kind == Kind::Select
            && writes.is_empty()
            && effects.is_empty()
            && hazards.is_empty()
            && makes.is_empty()
            && schema_changes.is_empty()
            && redacted.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;

    #[test]
    fn only_the_digits_of_integers_are_left_out() {
        for (text, expected) in [
            ("SELECT a FROM t WHERE id = 42", "SELECT a FROM t WHERE id = \0\0"),
            (
                "SELECT 1, '2', \"3\", $4, t5, 6.5, 7e8, $$9$$ -- 10",
                "SELECT \0, '2', \"3\", $4, t5, 6.5, 7e8, $$9$$ -- 10",
            ),
            ("SELECT -12 + 3", "SELECT -\0\0 + \0"),
            ("SELECT 0x1F, 1_000, 5", "SELECT 0x1F, 1_000, \0"),
        ] {
            assert_eq!(shape(text).as_deref(), Some(expected));
        }
        for text in ["SELECT a FROM t", "SELECT '1", "SELECT 1\0", "SELECT 1234567890123456789"] {
            assert_eq!(shape(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_that_was_cut_keeps_what_was_not_read() {
        let list = |last: &str| format!("SELECT a FROM t WHERE id IN ({}{last})", "1, ".repeat(1000));
        assert_ne!(shape(&list("x")), shape(&list("y")));
        assert_ne!(shape(&list("'x'")), shape(&list("'y'")));
    }

    #[test]
    fn only_plain_reads_hold_for_their_shape() {
        for text in
            ["SELECT a FROM t WHERE id = 1", "SELECT count(*) FROM t WHERE a = 'x' LIMIT 5; -- c", "TABLE t LIMIT 1"]
        {
            assert!(classify(text).holds_for_its_shape(), "{text}");
        }
        for text in [
            "DELETE FROM t WHERE 1 = 1",
            "UPDATE t SET a = 2 WHERE id = 1",
            "INSERT INTO t VALUES (1)",
            "WITH d AS (DELETE FROM t WHERE id = 1 RETURNING 1) SELECT * FROM d",
            "SET statement_timeout = 5",
            "SELECT set_config('a.b', '1', false), 2",
            "SELECT 1; SELECT 2",
            "SELECT a INTO b FROM t LIMIT 1",
            "SELECT 1 FROM",
            "EXPLAIN SELECT 1",
            "COPY t TO STDOUT WITH (FORMAT csv, HEADER 1)",
        ] {
            assert!(!classify(text).holds_for_its_shape(), "{text}");
        }
    }

    #[test]
    fn texts_of_a_shape_have_the_same_facts() {
        let texts = [
            "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
            "SELECT a::varchar(10), b::numeric(10, 2), '1'::bit(3), x[1], y[2:3] FROM t LIMIT 10 OFFSET 20",
            "SELECT * FROM a JOIN b ON 1 = 1 WHERE a.id IN (1, 22, 333) ORDER BY 1 FETCH FIRST 5 ROWS ONLY",
            "SELECT * FROM t TABLESAMPLE SYSTEM (10) REPEATABLE (200) WHERE ts > now() - interval '1 day' * 7",
            "SELECT pg_sleep(10), repeat('x', 1000), generate_series(1, 10), f(1)",
            "VALUES (1, 'a'), (2, 'b')",
            "SELECT extract(epoch FROM ts), CASE WHEN a > 10 THEN 1 ELSE 0 END FROM t GROUP BY 1, 2 HAVING count(*) > 10 FOR UPDATE",
            "SELECT timestamp(3) '2020-01-01', time (6) with time zone '10:00', float(53) '1', interval(2) '1 s'",
        ];
        for text in texts {
            let shape_of_it = shape(text).unwrap();
            let script = classify(text);
            for digit in ['0', '1', '9'] {
                let other: String =
                    text.char_indices().map(|(i, c)| if shape_of_it.as_bytes()[i] == 0 { digit } else { c }).collect();
                assert_eq!(shape(&other).as_ref(), Some(&shape_of_it), "{other}");
                if script.holds_for_its_shape() {
                    assert_eq!(classify(&other), script, "{other}");
                }
            }
        }
    }
}
