use super::*;

/// The tokens of a text, each as `kind:text`.
fn tokens(text: &str) -> Vec<String> {
    let lexed = lex(text);
    assert_eq!(lexed.error, None, "{text}");
    let shown = |token: &Token<'_>| match &token.kind {
        TokenKind::Word(text) => format!("w:{text}"),
        TokenKind::Quoted(text) => format!("q:{text}"),
        TokenKind::String(text) => format!("s:{text}"),
        TokenKind::Bits(text) => format!("b:{text}"),
        TokenKind::Hex(text) => format!("x:{text}"),
        TokenKind::Number(text) => format!("n:{text}"),
        TokenKind::Param(text) => format!("p:{text}"),
        TokenKind::Operator(text) => format!("o:{text}"),
        other => format!("{other:?}"),
    };
    lexed.tokens.iter().map(shown).collect()
}

#[test]
fn words_fold_ascii_only_and_are_cut() {
    assert_eq!(tokens("SELECT Ünïcode a$b _1"), ["w:select", "w:Ünïcode", "w:a$b", "w:_1"]);
    let long = "é".repeat(40);
    assert_eq!(tokens(&long), [format!("w:{}", "é".repeat(31))]);
    assert_eq!(tokens(&format!("\"{}\"", "X".repeat(70))), [format!("q:{}", "X".repeat(63))]);
    assert_eq!(tokens(r#""a""b" "C""#), ["q:a\"b", "q:C"]);
    assert_eq!(tokens("a\u{a0}b"), ["w:a\u{a0}b"], "a no-break space is a letter to Postgres");
}

#[test]
fn strings() {
    assert_eq!(tokens("'it''s' N'n' B'01' X'1f'"), ["s:it's", "s:n", "b:01", "x:1f"]);
    assert_eq!(tokens(r"'a\' 'b'"), [r"s:a\", "s:b"], "a backslash is a character like any other");
    assert_eq!(tokens(r"E'it\'s\n\x41\101\u0042\\' e''"), ["s:it's\nAAB\\", "s:"]);
    assert_eq!(tokens(r"E'\uD83D\uDE00'"), ["s:😀"]);
    assert_eq!(tokens("'a'\n  'b'  -- c\n'd'"), ["s:abd"]);
    assert_eq!(tokens("'a' 'b'"), ["s:a", "s:b"], "one literal only across a line end");
    assert_eq!(tokens("'a' --x\n'b'"), ["s:ab"]);
    assert_eq!(tokens("$$a'b$$ $x$a$$b$x$ $1"), ["s:a'b", "s:a$$b", "p:$1"]);
    assert_eq!(tokens("a$$b"), ["w:a$$b"], "a dollar belongs to the identifier before it");
    assert_eq!(tokens(r"U&'d\0061t\+000061' U&'d!0061' UESCAPE '!'"), ["s:data", "s:da"]);
    assert_eq!(tokens(r#"U&"d\0061t\\" u&"!0061" /* */ uescape '!'"#), ["q:dat\\", "q:a"]);
}

#[test]
fn numbers() {
    assert_eq!(
        tokens("1 1.5 .5 1e5 1.e-3 1..2 0x1F 0b01 1_000 1a"),
        [
            "n:1", "n:1.5", "n:.5", "n:1e5", "n:1.e-3", "n:1", "DotDot", "n:2", "n:0x1F", "n:0b01", "n:1_000", "n:1",
            "w:a"
        ]
    );
}

#[test]
fn operators_end_where_postgres_ends_them() {
    assert_eq!(tokens("a>-- '\n0"), ["w:a", "o:>", "n:0"]);
    assert_eq!(tokens("1<--x\n2"), ["n:1", "o:<", "n:2"]);
    assert_eq!(tokens("1+/* c */2"), ["n:1", "o:+", "n:2"]);
    assert_eq!(
        tokens("1*-2 1=-2 1@-2"),
        ["n:1", "o:*", "o:-", "n:2", "n:1", "o:=", "o:-", "n:2", "n:1", "o:@-", "n:2"]
    );
    assert_eq!(
        tokens("a->>'b' @> ~~* != := :: => .."),
        ["w:a", "o:->>", "s:b", "o:@>", "o:~~*", "o:!=", "ColonEquals", "DoubleColon", "Arrow", "DotDot"]
    );
}

#[test]
fn comments() {
    assert_eq!(tokens("a--x\rb"), ["w:a", "w:b"], "a carriage return ends a comment");
    assert_eq!(tokens("a/* /* x */ ' */b"), ["w:a", "w:b"]);
    assert_eq!(tokens("/*! a */b"), ["w:b"]);
    assert_eq!(lex("/*one*/ a /*two*/ b /*three*/").outer_comments, ["one", "three"]);
}

#[test]
fn texts_that_end_too_soon() {
    for text in ["'a", "E'a\\'", "\"a", "/* a /* */", "$$a", "$x$a$y$", "U&'\\00'", "U&\"\\D800\"", "\"\"", "B'01"] {
        assert!(lex(text).error.is_some(), "{text}");
    }
}

#[test]
fn long_lists_are_cut_and_keep_their_place() {
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!("SELECT a FROM t WHERE id IN ({}) AND b = 1", list(100_000));
    let lexed = lex(&text);
    assert!(lexed.tokens.len() < 1000);
    assert!(lexed.tokens.iter().any(|t| t.kind == TokenKind::Param("$0")));
    assert_eq!(lexed.tokens.last().unwrap().span.end, text.len());
    assert_eq!(tokens(&format!("({})", list(200))).len(), 401);

    let rows = (0..50_000).map(|i| format!("({i}, -1.5, 'x', NULL)")).collect::<Vec<_>>().join(",");
    let text = format!("INSERT INTO t VALUES {rows}");
    let lexed = lex(&text);
    assert!(lexed.tokens.len() < 4000);
    assert_eq!(lexed.tokens.last().unwrap().span.end, text.len());
    assert_eq!(lexed.error, None);

    // What is not a mere literal stays.
    let text = format!("VALUES {}", (0..2000).map(|i| format!("({i}, f())")).collect::<Vec<_>>().join(","));
    assert!(lex(&text).tokens.len() > 12_000);
    // A chain of operators in parentheses is no list.
    let text = format!("SELECT a, ({})", ["1"; 500].join(" + "));
    assert_eq!(lex(&text).tokens.len(), 3 + 1 + 999 + 1);
}

#[test]
fn too_many_tokens_are_refused() {
    assert!(lex(&"a ".repeat(MAX_TOKENS + 1)).error.is_some());
    assert_eq!(lex(&"a ".repeat(MAX_TOKENS)).error, None);
}
