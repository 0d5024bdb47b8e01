//! How two values may compare.

use std::cmp::Ordering;
use std::ops::{BitAnd, BitOr};

use sqlparser::ast::BinaryOperator;

use super::value::{Constant, Number};

/// A set of outcomes: less, equal, greater, and NULL where one of the two is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs(u8);

impl Signs {
    pub(super) const LESS: Signs = Signs(1);
    pub(super) const EQUAL: Signs = Signs(2);
    pub(super) const GREATER: Signs = Signs(4);
    pub(super) const NULL: Signs = Signs(8);
    /// All of two values that are not NULL.
    pub(super) const ALL: Signs = Signs(7);

    pub(super) fn of(ordering: Ordering) -> Signs {
        match ordering {
            Ordering::Less => Signs::LESS,
            Ordering::Equal => Signs::EQUAL,
            Ordering::Greater => Signs::GREATER,
        }
    }

    /// The outcomes for which a comparison is true; `None` for other operators.
    pub(super) fn that_satisfy(op: &BinaryOperator) -> Option<Signs> {
        Some(match op {
            BinaryOperator::Eq => Signs::EQUAL,
            BinaryOperator::NotEq => Signs::LESS | Signs::GREATER,
            BinaryOperator::Lt => Signs::LESS,
            BinaryOperator::LtEq => Signs::LESS | Signs::EQUAL,
            BinaryOperator::Gt => Signs::GREATER,
            BinaryOperator::GtEq => Signs::GREATER | Signs::EQUAL,
            _ => return None,
        })
    }

    /// With the two values exchanged.
    pub(super) fn turned(self) -> Signs {
        let swap = |from: Signs, to: Signs| if (self & from) == from { to } else { Signs(0) };
        swap(Signs::LESS, Signs::GREATER)
            | swap(Signs::GREATER, Signs::LESS)
            | (self & Signs::EQUAL)
            | (self & Signs::NULL)
    }

    pub(super) fn turned_if(self, turn: bool) -> Signs {
        if turn { self.turned() } else { self }
    }

    pub(super) fn is_within(self, other: Signs) -> bool {
        self & other == self
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Each outcome alone.
    pub(super) fn each(self) -> impl Iterator<Item = Signs> {
        [Signs::LESS, Signs::EQUAL, Signs::GREATER, Signs::NULL].into_iter().filter(move |sign| sign.is_within(self))
    }

    /// What `x ? c` can be for an x of which `x self known` holds.
    pub(super) fn then_against(self, known: &Constant, c: &Constant) -> Signs {
        let order = match (self, known) {
            // Of two there is only the other one.
            (Signs::LESS, Constant::Bool(true)) => return order(&Constant::Bool(false), c),
            (Signs::GREATER, Constant::Bool(false)) => return order(&Constant::Bool(true), c),
            _ => order(known, c),
        };
        match self {
            Signs::EQUAL => order,
            Signs::LESS if order.is_within(Signs::LESS | Signs::EQUAL) => Signs::LESS,
            Signs::GREATER if order.is_within(Signs::GREATER | Signs::EQUAL) => Signs::GREATER,
            Signs::NULL => Signs::NULL,
            _ => Signs::ALL,
        }
    }
}

impl BitAnd for Signs {
    type Output = Signs;
    fn bitand(self, other: Signs) -> Signs {
        Signs(self.0 & other.0)
    }
}

impl BitOr for Signs {
    type Output = Signs;
    fn bitor(self, other: Signs) -> Signs {
        Signs(self.0 | other.0)
    }
}

/// How two constants compare, as values of a column whose type is not known: `'5'` and `'5.0'` are different texts, but the
/// same number.
fn order(a: &Constant, b: &Constant) -> Signs {
    let numbers = |a: Number, b: Number| a.compare(b).map_or(Signs::ALL, Signs::of);
    match (a, b) {
        (Constant::Number(a), Constant::Number(b)) => numbers(*a, *b),
        // Then the column is one of numbers.
        (Constant::Number(a), Constant::Text(b)) => Number::parse(b).map_or(Signs::ALL, |b| numbers(*a, b)),
        (Constant::Text(a), Constant::Number(b)) => Number::parse(a).map_or(Signs::ALL, |a| numbers(a, *b)),
        (Constant::Bool(a), Constant::Bool(b)) => Signs::of(a.cmp(b)),
        (Constant::Text(a), Constant::Text(b)) if a == b => Signs::EQUAL,
        (Constant::Text(a), Constant::Text(b)) if is_same_date_form(a, b) => Signs::of(a.cmp(b)),
        (Constant::Text(a), Constant::Text(b)) if are_different_words(a, b) => Signs::LESS | Signs::GREATER,
        _ => Signs::ALL,
    }
}

/// `2024-01-31` or `2024-01-31 10:00:00`, both in the same form: they compare as texts as they do as dates.
fn is_same_date_form(a: &str, b: &str) -> bool {
    let form = |text: &str| text.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect::<Vec<_>>();
    let shape = form(a);
    let known = ["0000-00-00", "0000-00-00 00:00", "0000-00-00 00:00:00", "0000-00-00T00:00:00"];
    known.iter().any(|known| known.as_bytes() == shape) && form(b) == shape
}

/// Whether two texts are different values in every type that takes both: words of letters that differ in more than case, and
/// neither of which is a word for a truth value, a time or a type.
fn are_different_words(a: &str, b: &str) -> bool {
    const SPECIAL: &[&str] = &[
        "allballs",
        "epoch",
        "f",
        "false",
        "inf",
        "infinity",
        "n",
        "nan",
        "no",
        "now",
        "of",
        "off",
        "on",
        "t",
        "today",
        "tomorrow",
        "true",
        "y",
        "yes",
        "yesterday",
        "int",
        "integer",
        "bool",
        "boolean",
        "decimal",
        "numeric",
        "float",
        "real",
        "char",
        "varchar",
        "character",
        "bigint",
        "smallint",
        "tr",
        "tru",
        "fa",
        "fal",
        "fals",
        "ye",
    ];
    let is_word = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
            && text.bytes().any(|b| b.is_ascii_alphabetic())
            && !SPECIAL.contains(&text.to_ascii_lowercase().as_str())
    };
    is_word(a) && is_word(b) && !a.eq_ignore_ascii_case(b)
}
