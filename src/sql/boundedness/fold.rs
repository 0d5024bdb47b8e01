//! Built-in functions of constants: what `lower('%')` and `chr(37)` are, so that a pattern cannot hide behind them.

use super::term::Term;
use super::value::{Constant, Number};

/// Longest text that is made.
const LONGEST: usize = 1_000;

/// The value of a function of constants; `None` where it is not certain.
pub(super) fn fold(function: &str, arguments: &[Term]) -> Option<Constant> {
    let constant = |at: usize| match arguments.get(at) {
        Some(Term::Known(constant)) => Some(constant),
        _ => None,
    };
    let text = |at: usize| match constant(at)? {
        // What other letters become depends on the locale.
        Constant::Text(text) if text.is_ascii() => Some(text.as_str()),
        _ => None,
    };
    let number = |at: usize| match constant(at)? {
        Constant::Number(number) => number.as_usize(),
        _ => None,
    };
    let count = |n: usize| i64::try_from(n).ok().map(|n| Constant::Number(Number::from(n)));
    let made =
        |text: String| Some(Constant::Text(text)).filter(|_| arguments.iter().all(|a| matches!(a, Term::Known(_))));
    match (function, arguments.len()) {
        ("lower", 1) => made(text(0)?.to_ascii_lowercase()),
        ("upper", 1) => made(text(0)?.to_ascii_uppercase()),
        ("reverse", 1) => made(text(0)?.chars().rev().collect()),
        ("btrim", 1) => made(text(0)?.trim_matches(' ').to_owned()),
        ("ltrim", 1) => made(text(0)?.trim_start_matches(' ').to_owned()),
        ("rtrim", 1) => made(text(0)?.trim_end_matches(' ').to_owned()),
        ("left", 2) => made(text(0)?.chars().take(number(1)?).collect()),
        ("right", 2) => {
            let text = text(0)?;
            made(text[text.len().saturating_sub(number(1)?)..].to_owned())
        }
        ("substr", 2) => made(text(0)?.chars().skip(number(1)?.checked_sub(1)?).collect()),
        ("substr", 3) => made(text(0)?.chars().skip(number(1)?.checked_sub(1)?).take(number(2)?).collect()),
        ("replace", 3) if !text(1)?.is_empty() => made(text(0)?.replace(text(1)?, text(2)?)),
        ("repeat", 2) => {
            let (text, times) = (text(0)?, number(1)?);
            (text.len().saturating_mul(times) <= LONGEST).then(|| made(text.repeat(times)))?
        }
        ("chr", 1) => {
            let code = u8::try_from(number(0)?).ok().filter(|code| code.is_ascii() && *code > 0)?;
            made(char::from(code).to_string())
        }
        ("concat", _) => {
            let all: Option<Vec<&str>> = (0..arguments.len()).map(text).collect();
            made(all?.concat())
        }
        ("length" | "char_length" | "character_length" | "octet_length", 1) => count(text(0)?.len()),
        ("ascii", 1) => count(text(0)?.bytes().next().map_or(0, usize::from)),
        ("floor" | "ceil" | "ceiling" | "round" | "trunc", 1) => match constant(0)? {
            Constant::Number(number) if number.is_integer() => Some(Constant::Number(*number)),
            _ => None,
        },
        ("sign", 1) => match constant(0)? {
            Constant::Number(Number::ZERO) => count(0),
            Constant::Number(number) => Some(Constant::Number(Number::from(if number.is_negative() { -1 } else { 1 }))),
            _ => None,
        },
        _ => None,
    }
}
