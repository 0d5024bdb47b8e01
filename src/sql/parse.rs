//! Our tokens to sqlparser's trees.

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token as Parsed, TokenWithSpan};

use super::lexer::{Token, TokenKind};

/// Parses tokens that are one statement; nothing may be left over.
pub(super) fn statement(tokens: &[Token<'_>]) -> Option<Statement> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(convert(tokens));
    let statement = parser.parse_statement().ok()?;
    (parser.peek_token_ref().token == Parsed::EOF).then_some(statement)
}

/// Depth of the tree that these tokens may become, at most: operators that follow each other nest without a limit in the
/// parser.
pub(super) fn depth(tokens: &[Token<'_>]) -> usize {
    tokens
        .iter()
        .filter(|token| match &token.kind {
            TokenKind::Operator(_) | TokenKind::DoubleColon | TokenKind::LBracket | TokenKind::LParen => true,
            TokenKind::Word(word) => matches!(
                word.as_ref(),
                "and"
                    | "or"
                    | "not"
                    | "is"
                    | "isnull"
                    | "notnull"
                    | "in"
                    | "like"
                    | "ilike"
                    | "between"
                    | "similar"
                    | "at"
                    | "collate"
                    | "operator"
                    | "overlaps"
                    | "union"
                    | "except"
                    | "intersect"
                    | "join"
            ),
            _ => false,
        })
        .count()
}

/// The byte range that a span of the tree covers.
pub(super) fn bytes(span: Span) -> Option<std::ops::Range<usize>> {
    let byte = |location: Location| usize::try_from(location.column).ok()?.checked_sub(1);
    (span.start.line == 1).then_some(byte(span.start)?..byte(span.end)?)
}

fn convert(tokens: &[Token<'_>]) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        // One line whose columns are bytes, so that a span in the tree is a range of the text.
        let at = |byte: usize| Location { line: 1, column: byte as u64 + 1 };
        let span = Span { start: at(token.span.start), end: at(token.span.end) };
        let token = match &token.kind {
            TokenKind::Word(word) => Parsed::make_word(word, None),
            TokenKind::Quoted(name) => Parsed::make_word(name, Some('"')),
            TokenKind::String(value) => Parsed::SingleQuotedString(value.to_string()),
            TokenKind::Bits(digits) => Parsed::SingleQuotedByteStringLiteral((*digits).to_owned()),
            TokenKind::Hex(digits) => Parsed::HexStringLiteral((*digits).to_owned()),
            TokenKind::Number(number) => Parsed::Number((*number).to_owned(), false),
            TokenKind::Param(param) => Parsed::Placeholder((*param).to_owned()),
            TokenKind::Operator(operator) => convert_operator(operator),
            TokenKind::LParen => Parsed::LParen,
            TokenKind::RParen => Parsed::RParen,
            TokenKind::LBracket => Parsed::LBracket,
            TokenKind::RBracket => Parsed::RBracket,
            TokenKind::Comma => Parsed::Comma,
            TokenKind::Semicolon => Parsed::SemiColon,
            TokenKind::Dot => Parsed::Period,
            TokenKind::DotDot => Parsed::Char('.'),
            TokenKind::Colon => Parsed::Colon,
            TokenKind::DoubleColon => Parsed::DoubleColon,
            TokenKind::ColonEquals => Parsed::Assignment,
            TokenKind::Arrow => Parsed::RArrow,
            TokenKind::Other(c) => Parsed::Char(*c),
        };
        out.push(TokenWithSpan { token, span });
    }
    out
}

/// The operators that sqlparser gives tokens of their own to; any other is a custom one, as it is to Postgres.
fn convert_operator(operator: &str) -> Parsed {
    match operator {
        "=" => Parsed::Eq,
        "<>" | "!=" => Parsed::Neq,
        "<" => Parsed::Lt,
        ">" => Parsed::Gt,
        "<=" => Parsed::LtEq,
        ">=" => Parsed::GtEq,
        "+" => Parsed::Plus,
        "-" => Parsed::Minus,
        "*" => Parsed::Mul,
        "/" => Parsed::Div,
        "%" => Parsed::Mod,
        "^" => Parsed::Caret,
        "||" => Parsed::StringConcat,
        "&" => Parsed::Ampersand,
        "|" => Parsed::Pipe,
        "#" => Parsed::Sharp,
        "##" => Parsed::DoubleSharp,
        "!" => Parsed::ExclamationMark,
        "!!" => Parsed::DoubleExclamationMark,
        "~" => Parsed::Tilde,
        "~*" => Parsed::TildeAsterisk,
        "!~" => Parsed::ExclamationMarkTilde,
        "!~*" => Parsed::ExclamationMarkTildeAsterisk,
        "~~" => Parsed::DoubleTilde,
        "~~*" => Parsed::DoubleTildeAsterisk,
        "!~~" => Parsed::ExclamationMarkDoubleTilde,
        "!~~*" => Parsed::ExclamationMarkDoubleTildeAsterisk,
        "@" => Parsed::AtSign,
        "^@" => Parsed::CaretAt,
        "<<" => Parsed::ShiftLeft,
        ">>" => Parsed::ShiftRight,
        "&&" => Parsed::Overlap,
        "|/" => Parsed::PGSquareRoot,
        "||/" => Parsed::PGCubeRoot,
        "@-@" => Parsed::AtDashAt,
        "?-" => Parsed::QuestionMarkDash,
        "&<" => Parsed::AmpersandLeftAngleBracket,
        "&>" => Parsed::AmpersandRightAngleBracket,
        "&<|" => Parsed::AmpersandLeftAngleBracketVerticalBar,
        "|&>" => Parsed::VerticalBarAmpersandRightAngleBracket,
        "<->" => Parsed::TwoWayArrow,
        "<^" => Parsed::LeftAngleBracketCaret,
        ">^" => Parsed::RightAngleBracketCaret,
        "?#" => Parsed::QuestionMarkSharp,
        "?-|" => Parsed::QuestionMarkDashVerticalBar,
        "?||" => Parsed::QuestionMarkDoubleVerticalBar,
        "~=" => Parsed::TildeEqual,
        "<<|" => Parsed::ShiftLeftVerticalBar,
        "|>>" => Parsed::VerticalBarShiftRight,
        "->" => Parsed::Arrow,
        "->>" => Parsed::LongArrow,
        "#>" => Parsed::HashArrow,
        "#>>" => Parsed::HashLongArrow,
        "@>" => Parsed::AtArrow,
        "<@" => Parsed::ArrowAt,
        "#-" => Parsed::HashMinus,
        "@?" => Parsed::AtQuestion,
        "@@" => Parsed::AtAt,
        "?" => Parsed::Question,
        "?&" => Parsed::QuestionAnd,
        "?|" => Parsed::QuestionPipe,
        custom => Parsed::CustomBinaryOperator(custom.to_owned()),
    }
}
