//! The table of rewrites, one a gap.

use super::super::keywords;
use super::super::lexer::{Token, TokenKind};
use super::{NOT_SYMMETRIC, OPERATOR, Rewrite, SYMMETRIC, SYMMETRIC_AND, UNKNOWN, drop, give, name_len, word};

/// The gaps of sqlparser 0.63 that statements of real programs run into.
pub(super) const REWRITES: &[Rewrite] = &[
    // TABLE name is SELECT * FROM name.
    Rewrite {
        at: |tokens, i| {
            let starts = i == 0
                || tokens[i - 1].kind == TokenKind::LParen
                || (tokens[0].is("insert") && i > 2)
                || ["union", "except", "intersect", "all", "as"].iter().any(|w| tokens[i - 1].is(w));
            (starts && tokens[i].is("table") && tokens.get(i + 1)?.ident().is_some()).then_some(())?;
            give(1, [word("select"), TokenKind::Operator("*"), word("from")])
        },
        #[cfg(test)]
        example: ("TABLE s.t ORDER BY a COLLATE \"C\"", "SELECT * FROM s.t ORDER BY a"),
    },
    // UPDATE … SET a[1] = …: the subscripts of an assignment, as long as they call nothing.
    Rewrite {
        at: |tokens, i| {
            let end = subscripts(tokens, i)?;
            (tokens.get(end)?.kind == TokenKind::Operator("=") && assigned(tokens, i)).then_some(())?;
            drop(end - i)
        },
        #[cfg(test)]
        example: (
            "UPDATE t SET a[1] = 'x', b.c['k'][2] = 1, d[1].e = 2 WHERE id = 1",
            "UPDATE t SET a = 'x', b.c = 1, d = 2 WHERE id = 1",
        ),
    },
    // INSERT INTO t (a[1], b).
    Rewrite {
        at: |tokens, i| {
            let end = subscripts(tokens, i)?;
            let list = matches!(tokens.get(end)?.kind, TokenKind::Comma | TokenKind::RParen);
            (list && in_insert_columns(tokens, i)).then_some(())?;
            drop(end - i)
        },
        #[cfg(test)]
        example: ("INSERT INTO t (a[1], a[2], b) VALUES (1, 2, 3)", "INSERT INTO t (a, a, b) VALUES (1, 2, 3)"),
    },
    // ON CONFLICT (expression) WHERE … names an index and computes nothing.
    Rewrite {
        at: |tokens, i| {
            (i > 0 && tokens[i - 1].is("conflict") && tokens[i].kind == TokenKind::LParen).then_some(())?;
            drop(tokens[i..].iter().take(REACH).position(|t| t.is("do"))?)
        },
        #[cfg(test)]
        example: (
            "INSERT INTO t VALUES (1) ON CONFLICT (lower(a), b) WHERE a LIKE 'x%' DO UPDATE SET a = excluded.a",
            "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = excluded.a",
        ),
    },
    // WHERE CURRENT OF cursor: one row, which nothing in the text tells.
    Rewrite {
        at: |tokens, i| {
            let current = i > 0 && tokens[i - 1].is("where") && tokens[i].is("current") && tokens.get(i + 1)?.is("of");
            (current && tokens.get(i + 2)?.ident().is_some()).then_some(())?;
            give(3, [word("ctid"), TokenKind::Operator("="), UNKNOWN])
        },
        #[cfg(test)]
        example: ("DELETE FROM t WHERE CURRENT OF c", "DELETE FROM t WHERE ctid = $1"),
    },
    // (composite).*, and t.* as a value.
    Rewrite {
        at: |tokens, i| {
            let star = tokens[i].kind == TokenKind::Dot && tokens.get(i + 1)?.kind == TokenKind::Operator("*");
            let value = matches!(tokens[i.checked_sub(1)?].kind, TokenKind::RParen | TokenKind::RBracket)
                || matches!(tokens.get(i + 2)?.kind, TokenKind::DoubleColon | TokenKind::Operator(_));
            (star && value).then(|| drop(2))?
        },
        #[cfg(test)]
        example: ("SELECT (p).*, f(q.*::r) FROM p, q", "SELECT p, f(q::r) FROM p, q"),
    },
    // FROM t *: with its children, which is so anyway.
    Rewrite {
        at: |tokens, i| {
            (tokens[i].kind == TokenKind::Operator("*")).then_some(())?;
            let mut start = i.checked_sub(1)?;
            tokens[start].ident()?;
            while start >= 2 && tokens[start - 1].kind == TokenKind::Dot {
                start -= 2;
            }
            let before = tokens.get(start.checked_sub(1)?)?;
            ["from", "join", "update", "into"].iter().any(|w| before.is(w)).then(|| drop(1))?
        },
        #[cfg(test)]
        example: ("SELECT p.a FROM s.person* p", "SELECT p.a FROM s.person p"),
    },
    // f(VARIADIC array).
    Rewrite {
        at: |tokens, i| {
            let argument = matches!(tokens.get(i.checked_sub(1)?)?.kind, TokenKind::LParen | TokenKind::Comma);
            (argument && tokens[i].is("variadic")).then(|| drop(1))?
        },
        #[cfg(test)]
        example: ("SELECT concat_ws(',', VARIADIC ARRAY['a'])", "SELECT concat_ws(',', ARRAY['a'])"),
    },
    // Window frames' EXCLUDE.
    Rewrite {
        at: |tokens, i| {
            let exclude = |words: &[&str]| {
                words.iter().enumerate().all(|(n, word)| tokens.get(i + 1 + n).is_some_and(|t| t.is(word)))
            };
            tokens[i].is("exclude").then_some(())?;
            let len = [&["current", "row"][..], &["no", "others"], &["group"], &["ties"]]
                .into_iter()
                .find(|w| exclude(w))?
                .len();
            drop(1 + len)
        },
        #[cfg(test)]
        example: (
            "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM t",
            "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM t",
        ),
    },
    // x IN ((SELECT …), y).
    Rewrite {
        at: |tokens, i| {
            let list = i > 0 && tokens[i - 1].is("in") && tokens[i].kind == TokenKind::LParen;
            (list && tokens.get(i + 1)?.kind == TokenKind::LParen).then_some(())?;
            give(1, [TokenKind::LParen, UNKNOWN, TokenKind::Comma])
        },
        #[cfg(test)]
        example: ("DELETE FROM t WHERE id IN ((SELECT f(1)), 2)", "DELETE FROM t WHERE id IN (f(1), 2)"),
    },
    // BETWEEN ASYMMETRIC is BETWEEN.
    Rewrite {
        at: |tokens, i| {
            (tokens[i].is("asymmetric") && tokens.get(i.checked_sub(1)?)?.is("between")).then(|| drop(1))?
        },
        #[cfg(test)]
        example: ("DELETE FROM t WHERE id BETWEEN ASYMMETRIC 1 AND 5", "DELETE FROM t WHERE id = $1"),
    },
    // BETWEEN SYMMETRIC: operators of ours, which `boundedness` knows.
    Rewrite {
        at: |tokens, i| {
            let not = usize::from(tokens[i].is("not"));
            let symmetric = tokens.get(i + not)?.is("between") && tokens.get(i + not + 1)?.is("symmetric");
            let mark = if not == 1 { NOT_SYMMETRIC } else { SYMMETRIC };
            symmetric.then(|| give(not + 2, [TokenKind::Operator(mark)]))?
        },
        #[cfg(test)]
        example: ("DELETE FROM t WHERE id BETWEEN SYMMETRIC 5 AND 1", "DELETE FROM t WHERE id = $1"),
    },
    // Its AND is no conjunction.
    Rewrite {
        at: |tokens, i| {
            tokens[i].is("and").then_some(())?;
            let mut depth = 0usize;
            for at in (1..i).rev().take(REACH) {
                match &tokens[at].kind {
                    TokenKind::RParen | TokenKind::RBracket => depth += 1,
                    TokenKind::LParen | TokenKind::LBracket => depth = depth.checked_sub(1)?,
                    TokenKind::Word(word) if depth == 0 => match word.as_ref() {
                        "symmetric" if tokens[at - 1].is("between") => {
                            return give(1, [TokenKind::Operator(SYMMETRIC_AND)]);
                        }
                        "and" | "case" | "where" | "select" => return None,
                        _ => {}
                    },
                    _ => {}
                }
            }
            None
        },
        #[cfg(test)]
        example: (
            "DELETE FROM t WHERE (NULL BETWEEN SYMMETRIC (1) AND 2 IS NULL) AND id = 1",
            "DELETE FROM t WHERE id = 1",
        ),
    },
    // FOR NO KEY UPDATE, FOR KEY SHARE, several tables behind OF.
    Rewrite {
        at: |tokens, i| {
            let strength = match () {
                () if sequence(tokens, i, &["for", "no", "key", "update"]) => 4,
                () if sequence(tokens, i, &["for", "key", "share"]) => 3,
                () if sequence(tokens, i, &["for", "update", "of"]) || sequence(tokens, i, &["for", "share", "of"]) => {
                    2
                }
                () => return None,
            };
            let mut end = i + strength;
            if tokens.get(end).is_some_and(|t| t.is("of")) {
                end += 1 + name_len(tokens.get(end + 1..)?)?;
                while tokens.get(end).is_some_and(|t| t.kind == TokenKind::Comma) {
                    end += 1 + name_len(tokens.get(end + 1..)?)?;
                }
            }
            give(end - i, [word("for"), word("update")])
        },
        #[cfg(test)]
        example: ("SELECT * FROM a, b FOR NO KEY UPDATE OF a, b SKIP LOCKED", "SELECT * FROM a, b FOR UPDATE"),
    },
    // JOIN … USING (a) AS x.
    Rewrite {
        at: |tokens, i| {
            let alias = tokens[i].is("as") && tokens.get(i + 1)?.ident().is_some();
            (alias && before_group(tokens, i)?.is("using")).then(|| drop(2))?
        },
        #[cfg(test)]
        example: ("SELECT x.a FROM t JOIN u USING (a) AS x", "SELECT x.a FROM t JOIN u USING (a)"),
    },
    // FROM f(…) AS (a int, b text).
    Rewrite {
        at: |tokens, i| {
            let definition = tokens[i].is("as")
                && tokens.get(i.checked_sub(1)?)?.kind == TokenKind::RParen
                && tokens.get(i + 1)?.kind == TokenKind::LParen
                && tokens.get(i + 2)?.word().is_none_or(|w| !keywords::is_grammar(w) && !is_verb(w))
                && tokens.get(i + 3)?.ident().is_some();
            definition.then(|| give(1, [word("as"), word("columns")]))?
        },
        #[cfg(test)]
        example: ("SELECT * FROM f(1) AS (a int, b text)", "SELECT * FROM f(1) AS t"),
    },
    // ROWS FROM (f(…), g(…)).
    Rewrite {
        at: |tokens, i| {
            let rows = sequence(tokens, i, &["rows", "from"]) && tokens.get(i + 2)?.kind == TokenKind::LParen;
            rows.then(|| give(2, [word("unnest")]))?
        },
        #[cfg(test)]
        example: (
            "SELECT * FROM ROWS FROM (f(1), generate_series(1, 2)) WITH ORDINALITY AS z(a, b, c)",
            "SELECT f(1), generate_series(1, 2)",
        ),
    },
    // LATERAL before XMLTABLE, where it changes nothing.
    Rewrite {
        at: |tokens, i| {
            let next = tokens.get(i + 1)?;
            (tokens[i].is("lateral") && (next.is("xmltable") || next.is("json_table"))).then(|| drop(1))?
        },
        #[cfg(test)]
        example: (
            "SELECT x.a FROM t, LATERAL XMLTABLE('/r' PASSING d COLUMNS a int PATH 'a') x",
            "SELECT x.a FROM t, XMLTABLE('/r' PASSING d COLUMNS a int PATH 'a') x",
        ),
    },
    // b ISNULL.
    Rewrite {
        at: |tokens, i| tokens[i].is("isnull").then(|| give(1, [word("is"), word("null")]))?,
        #[cfg(test)]
        example: ("DELETE FROM t WHERE b ISNULL", "DELETE FROM t WHERE b IS NULL"),
    },
    // A collation behind a cast. It decides what is equal, so that the value counts as unknown.
    Rewrite {
        at: |tokens, i| {
            (tokens[i].is("collate") && !tokens.iter().any(|t| t.is("create"))).then_some(())?;
            give(1 + name_len(tokens.get(i + 1..)?)?, [TokenKind::Operator("||"), UNKNOWN])
        },
        #[cfg(test)]
        example: ("SELECT a::text COLLATE \"C\" FROM t", "SELECT a::text || $1 FROM t"),
    },
    // x @@ ANY (…): operators other than comparisons.
    Rewrite {
        at: |tokens, i| {
            let quantifier = ["any", "some", "all"].iter().any(|w| tokens[i].is(w));
            let TokenKind::Operator(operator) = tokens.get(i.checked_sub(1)?)?.kind else { return None };
            (quantifier && !COMPARISONS.contains(&operator) && tokens.get(i + 1)?.kind == TokenKind::LParen)
                .then(|| drop(1))?
        },
        #[cfg(test)]
        example: ("SELECT a FROM t WHERE a @@ ANY ('{x}')", "SELECT a FROM t WHERE a @@ 'x'"),
    },
    // x OPERATOR(pg_catalog.=) ANY (…), as pg_dump and triggers write it: the operator's own sign, which is what it means.
    Rewrite {
        at: |tokens, i| {
            let (operator, quantifier) = catalog_operator(tokens, i)?;
            quantifier.then_some(())?;
            match COMPARISONS.iter().find(|known| **known == operator) {
                Some(&comparison) => give(6, [TokenKind::Operator(comparison)]),
                None => give(7, [OPERATOR]),
            }
        },
        #[cfg(test)]
        example: (
            "SELECT a FROM t WHERE a OPERATOR(pg_catalog.=) ANY (SELECT b FROM u)",
            "SELECT a FROM t WHERE a = ANY (SELECT b FROM u)",
        ),
    },
    // INSERT … SELECT without FROM, ON CONFLICT: sqlparser takes ON for the last column's name.
    Rewrite {
        at: |tokens, i| {
            (sequence(tokens, i, &["on", "conflict"]) && ends_columns(tokens, i)).then_some(())?;
            give(1, [word("where"), word("true"), word("on")])
        },
        #[cfg(test)]
        example: (
            "INSERT INTO t (a, b) SELECT unnest($1::int[]), f(2) ON CONFLICT (a) DO UPDATE SET b = excluded.b",
            "INSERT INTO t (a, b) SELECT unnest($1::int[]), f(2) AS b ON CONFLICT (a) DO UPDATE SET b = excluded.b",
        ),
    },
    // x LIKE ALL (…): the operators that LIKE stands for are read there.
    Rewrite {
        at: |tokens, i| {
            let not = usize::from(tokens[i].is("not"));
            let quantifier = tokens.get(i + not + 1)?;
            let list =
                (quantifier.is("all") || quantifier.is("some")) && tokens.get(i + not + 2)?.kind == TokenKind::LParen;
            let operator = match (tokens.get(i + not)?.word()?, not) {
                ("like", 0) => "~~",
                ("like", _) => "!~~",
                ("ilike", 0) => "~~*",
                ("ilike", _) => "!~~*",
                _ => return None,
            };
            list.then(|| give(not + 1, [TokenKind::Operator(operator)]))?
        },
        #[cfg(test)]
        example: (
            "DELETE FROM t WHERE a NOT LIKE ALL (ARRAY['x%', f(1)])",
            "DELETE FROM t WHERE a !~~ ALL (ARRAY['x%', f(1)])",
        ),
    },
    // TRIM(BOTH FROM x).
    Rewrite {
        at: |tokens, i| {
            let side = ["both", "leading", "trailing"].iter().any(|w| tokens[i].is(w));
            (side && tokens.get(i.checked_sub(1)?)?.kind == TokenKind::LParen && tokens.get(i + 1)?.is("from"))
                .then(|| drop(2))?
        },
        #[cfg(test)]
        example: ("SELECT trim(TRAILING FROM a) FROM t", "SELECT trim(a) FROM t"),
    },
    // GROUP BY DISTINCT.
    Rewrite {
        at: |tokens, i| {
            let group = i >= 2 && tokens[i - 2].is("group") && tokens[i - 1].is("by");
            let quantifier = tokens[i].is("distinct") || (tokens[i].is("all") && tokens.get(i + 1)?.ident().is_some());
            (group && quantifier).then(|| drop(1))?
        },
        #[cfg(test)]
        example: (
            "SELECT a FROM t GROUP BY DISTINCT ROLLUP(a, b), ROLLUP(a)",
            "SELECT a FROM t GROUP BY ROLLUP(a, b), ROLLUP(a)",
        ),
    },
    // Prefix operators of the database's own.
    Rewrite {
        at: |tokens, i| {
            let TokenKind::Operator(operator) = tokens[i].kind else { return None };
            let known = matches!(
                operator,
                "+" | "-" | "*" | "~" | "@" | "|/" | "||/" | "!!" | "#" | "@-@" | "@@" | "?-" | "?|"
            );
            let prefix = match &tokens.get(i.checked_sub(1)?)?.kind {
                TokenKind::Word(word) => {
                    matches!(word.as_ref(), "select" | "where" | "and" | "or" | "not" | "by" | "then")
                }
                TokenKind::LParen | TokenKind::Comma => true,
                _ => false,
            };
            (prefix && !known).then(|| give(1, [UNKNOWN, OPERATOR]))?
        },
        #[cfg(test)]
        example: ("SELECT |@| ARRAY[1], @#@ f(2)", "SELECT ARRAY[1], f(2)"),
    },
    // JSON constructors: FORMAT JSON, WITH UNIQUE KEYS.
    Rewrite {
        at: |tokens, i| {
            sequence(tokens, i, &["format", "json"]).then_some(())?;
            drop(if tokens.get(i + 2)?.is("encoding") { 4 } else { 2 })
        },
        #[cfg(test)]
        example: ("SELECT json_object('a': f(1) FORMAT JSON)", "SELECT json_object('a': f(1))"),
    },
    Rewrite {
        at: |tokens, i| {
            (sequence(tokens, i, &["with", "unique"]) || sequence(tokens, i, &["without", "unique"])).then_some(())?;
            drop(if tokens.get(i + 2)?.is("keys") { 3 } else { 2 })
        },
        #[cfg(test)]
        example: ("SELECT json_objectagg(k: v WITH UNIQUE KEYS) FROM t", "SELECT json_objectagg(k: v) FROM t"),
    },
    // JSON_ARRAY(query) reads as ARRAY(query) does.
    Rewrite {
        at: |tokens, i| {
            let query = ["select", "with", "values"].iter().any(|w| tokens.get(i + 2).is_some_and(|t| t.is(w)));
            (tokens[i].is("json_array") && tokens.get(i + 1)?.kind == TokenKind::LParen && query)
                .then(|| give(1, [word("array")]))?
        },
        #[cfg(test)]
        example: ("SELECT json_array(SELECT f(a) FROM t)", "SELECT array(SELECT f(a) FROM t)"),
    },
    // XMLELEMENT(NAME a, …), XMLPI(NAME a, …).
    Rewrite {
        at: |tokens, i| {
            let function = tokens.get(i.checked_sub(2)?)?;
            let named = (function.is("xmlelement") || function.is("xmlpi"))
                && tokens[i - 1].kind == TokenKind::LParen
                && tokens[i].is("name")
                && tokens.get(i + 1)?.ident().is_some();
            named.then_some(())?;
            drop(if tokens.get(i + 2)?.kind == TokenKind::Comma { 3 } else { 2 })
        },
        #[cfg(test)]
        example: (
            "SELECT xmlelement(NAME a, xmlattributes(f(1) AS b), 'c'), xmlpi(NAME d)",
            "SELECT xmlelement(xmlattributes(f(1) AS b), 'c'), xmlpi()",
        ),
    },
    // XMLROOT(x, VERSION …, STANDALONE …).
    Rewrite {
        at: |tokens, i| {
            (tokens[i].kind == TokenKind::Comma).then_some(())?;
            if sequence(tokens, i + 1, &["version", "no", "value"])
                || sequence(tokens, i + 1, &["standalone", "no", "value"])
            {
                drop(4)
            } else if sequence(tokens, i + 1, &["standalone", "yes"]) || sequence(tokens, i + 1, &["standalone", "no"])
            {
                drop(3)
            } else {
                let version = tokens.get(i + 1)?.is("version") && tokens.get(i + 2)?.string().is_some();
                version.then(|| give(2, [TokenKind::Comma]))?
            }
        },
        #[cfg(test)]
        example: ("SELECT xmlroot(f(1), VERSION '1.0', STANDALONE YES)", "SELECT xmlroot(f(1), '1.0')"),
    },
    // XMLSERIALIZE(CONTENT x AS type INDENT).
    Rewrite {
        at: |tokens, i| {
            let kind = tokens.get(i + 2)?;
            (tokens[i].is("xmlserialize") && tokens.get(i + 1)?.kind == TokenKind::LParen).then_some(())?;
            (kind.is("content") || kind.is("document")).then(|| give(3, [word("cast"), TokenKind::LParen]))?
        },
        #[cfg(test)]
        example: ("SELECT xmlserialize(CONTENT f(1) AS text NO INDENT)", "SELECT cast(f(1) AS text)"),
    },
    Rewrite {
        at: |tokens, i| {
            let no = usize::from(tokens[i].is("no"));
            let indent = tokens.get(i + no)?.is("indent") && tokens.get(i + no + 1)?.kind == TokenKind::RParen;
            indent.then(|| drop(1 + no))?
        },
        #[cfg(test)]
        example: ("SELECT xmlserialize(CONTENT f(1) AS text INDENT)", "SELECT cast(f(1) AS text)"),
    },
    // x IS DOCUMENT.
    Rewrite {
        at: |tokens, i| {
            let len = if sequence(tokens, i, &["is", "not", "document"]) {
                3
            } else if sequence(tokens, i, &["is", "document"]) {
                2
            } else {
                return None;
            };
            give(len, [OPERATOR, UNKNOWN])
        },
        #[cfg(test)]
        example: ("DELETE FROM t WHERE x IS NOT DOCUMENT", "DELETE FROM t WHERE x = $1"),
    },
    // XMLEXISTS(path PASSING BY REF x BY REF).
    Rewrite {
        at: |tokens, i| {
            let inside = || {
                let open = i - 1 - tokens[..i].iter().rev().take(REACH).position(|t| t.kind == TokenKind::LParen)?;
                Some(tokens.get(open.checked_sub(1)?)?.is("xmlexists"))
            };
            (tokens[i].is("passing") && inside()?).then(|| give(1, [TokenKind::Comma]))?
        },
        #[cfg(test)]
        example: ("SELECT a FROM t WHERE xmlexists('/x' PASSING d)", "SELECT a FROM t WHERE xmlexists('/x', d)"),
    },
    Rewrite {
        at: |tokens, i| {
            (sequence(tokens, i, &["by", "ref"]) || sequence(tokens, i, &["by", "value"])).then(|| drop(2))?
        },
        #[cfg(test)]
        example: (
            "SELECT a FROM t WHERE xmlexists('/x' PASSING BY REF d BY REF)",
            "SELECT a FROM t WHERE xmlexists('/x', d)",
        ),
    },
];

/// Operators that sqlparser reads before ANY and ALL.
const COMPARISONS: &[&str] = &["=", "<>", "!=", "<", "<=", ">", ">=", "~~", "~~*", "!~~", "!~~*"];

/// How far a rewrite looks around, in tokens: no input may make reading take quadratic time.
const REACH: usize = 512;

/// Whether these words stand at a place.
fn sequence(tokens: &[Token<'_>], at: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|t| t.is(word)))
}

/// The operator of an `OPERATOR(pg_catalog.op)` at a place, and whether ANY, SOME or ALL with a list follows.
fn catalog_operator<'a>(tokens: &[Token<'a>], at: usize) -> Option<(&'a str, bool)> {
    let is = |offset: usize, kind: &TokenKind<'_>| tokens.get(at + offset).is_some_and(|t| t.kind == *kind);
    let TokenKind::Operator(operator) = tokens.get(at + 4)?.kind else { return None };
    let named = tokens[at].is("operator")
        && is(1, &TokenKind::LParen)
        && tokens[at + 2].is("pg_catalog")
        && is(3, &TokenKind::Dot)
        && is(5, &TokenKind::RParen);
    let quantified = ["any", "some", "all"].iter().any(|w| tokens.get(at + 6).is_some_and(|t| t.is(w)));
    named.then_some((operator, quantified && is(7, &TokenKind::LParen)))
}

/// Whether what stands before a place is SELECT with its columns and nothing else.
fn ends_columns(tokens: &[Token<'_>], at: usize) -> bool {
    let mut depth = 0usize;
    for token in tokens[..at].iter().rev().take(REACH) {
        match &token.kind {
            TokenKind::RParen | TokenKind::RBracket => depth += 1,
            TokenKind::LParen | TokenKind::LBracket => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return false,
            },
            TokenKind::Word(word) if depth == 0 => match word.as_ref() {
                "select" => return true,
                "from" | "where" | "group" | "having" | "window" | "order" | "limit" | "offset" | "fetch" | "for"
                | "union" | "intersect" | "except" | "values" | "insert" | "set" => return false,
                _ => {}
            },
            _ => {}
        }
    }
    false
}

/// Whether a word begins a statement.
fn is_verb(word: &str) -> bool {
    matches!(word, "values" | "insert" | "update" | "delete" | "merge")
}

/// Where the subscripts and fields that begin at a place end: `[1]['k'].f`. `None` where there are none, or where they call
/// something.
fn subscripts(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    (tokens[at].kind == TokenKind::LBracket).then_some(())?;
    let mut depth = 0usize;
    let mut end = at;
    loop {
        let token = tokens.get(end).filter(|_| end - at < REACH)?;
        match token.kind {
            TokenKind::LBracket => depth += 1,
            TokenKind::RBracket => depth = depth.checked_sub(1)?,
            TokenKind::LParen | TokenKind::RParen => return if depth == 0 { Some(end) } else { None },
            TokenKind::Dot => {}
            _ if depth == 0 && tokens[end - 1].kind == TokenKind::Dot => {
                token.ident()?;
            }
            _ if depth == 0 => return Some(end),
            _ => {}
        }
        end += 1;
    }
}

/// Whether what stands before a place is a column to which SET assigns.
fn assigned(tokens: &[Token<'_>], at: usize) -> bool {
    let Some(mut start) = at.checked_sub(1) else { return false };
    while start >= 2 && tokens[start].ident().is_some() && tokens[start - 1].kind == TokenKind::Dot {
        start -= 2;
    }
    let Some(before) = start.checked_sub(1).map(|i| &tokens[i]) else { return false };
    tokens[start].ident().is_some() && (before.is("set") || before.kind == TokenKind::Comma)
}

/// Whether a place is inside `INSERT INTO name ( … `.
fn in_insert_columns(tokens: &[Token<'_>], at: usize) -> bool {
    let Some(into) = tokens[..at].iter().rev().take(REACH).position(|t| t.is("into")).map(|n| at - 1 - n) else {
        return false;
    };
    let Some(name) = name_len(&tokens[into + 1..]) else { return false };
    let mut open = into + 1 + name;
    if tokens.get(open).is_some_and(|t| t.is("as")) {
        open += 2;
    }
    let parentheses = |kind: &TokenKind<'_>| matches!(kind, TokenKind::LParen | TokenKind::RParen);
    open < at && tokens[open].kind == TokenKind::LParen && !tokens[open + 1..at].iter().any(|t| parentheses(&t.kind))
}

/// The token before the parentheses that close right before a place.
fn before_group<'t, 'a>(tokens: &'t [Token<'a>], at: usize) -> Option<&'t Token<'a>> {
    let mut depth = 0usize;
    for (i, token) in tokens[..at].iter().enumerate().rev().take(REACH) {
        match token.kind {
            TokenKind::RParen => depth += 1,
            TokenKind::LParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return tokens.get(i.checked_sub(1)?);
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
