//! The least and the greatest that a value can be.

use std::cmp::Ordering;

use super::functions;
use super::signs::Signs;
use super::term::Term;
use super::value::{Constant, Number};

/// Limits of a value that is not NULL; `None` where there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: Option<Bound>,
    pub(super) high: Option<Bound>,
}

/// One limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    number: Number,
    /// Whether the value can be the number itself.
    including: bool,
}

impl Bound {
    pub(super) const fn including(number: Number) -> Bound {
        Bound { number, including: true }
    }

    fn plus(self, other: Bound) -> Option<Bound> {
        Some(Bound { number: self.number.plus(other.number)?, including: self.including && other.including })
    }

    fn times(self, factor: Number) -> Option<Bound> {
        Some(Bound { number: self.number.times(factor)?, including: self.including })
    }
}

impl Range {
    pub(super) const ALL: Range = Range { low: None, high: None };

    pub(super) fn at(number: Number) -> Range {
        Range { low: Some(Bound::including(number)), high: Some(Bound::including(number)) }
    }

    pub(super) fn from(low: i64, high: Option<i64>) -> Range {
        let bound = |n| Bound::including(Number::from(n));
        Range { low: Some(bound(low)), high: high.map(bound) }
    }

    /// Between `-number` and `number`, without these.
    fn within(number: Number) -> Range {
        let (low, high) = if number.is_negative() { (number, number.negated()) } else { (number.negated(), number) };
        Range {
            low: Some(Bound { number: low, including: false }),
            high: Some(Bound { number: high, including: false }),
        }
    }

    pub(super) fn is_not_negative(&self) -> bool {
        self.low.is_some_and(|low| !low.number.is_negative())
    }

    pub(super) fn plus(self, other: Range) -> Range {
        Range {
            low: self.low.zip(other.low).and_then(|(a, b)| a.plus(b)),
            high: self.high.zip(other.high).and_then(|(a, b)| a.plus(b)),
        }
    }

    pub(super) fn times(self, factor: Number) -> Range {
        let low = self.low.and_then(|low| low.times(factor));
        let high = self.high.and_then(|high| high.times(factor));
        if factor.is_negative() { Range { low: high, high: low } } else { Range { low, high } }
    }

    /// How a value of this range compares with one of the other.
    pub(super) fn against(&self, other: &Range) -> Signs {
        Signs::ALL & above(self.low, other.high) & above(other.low, self.high).turned()
    }
}

/// What is left when one value is at least `low` and another at most `high`.
fn above(low: Option<Bound>, high: Option<Bound>) -> Signs {
    let (Some(low), Some(high)) = (low, high) else { return Signs::ALL };
    match low.number.compare(high.number) {
        Some(Ordering::Greater) => Signs::GREATER,
        Some(Ordering::Equal) if low.including && high.including => Signs::GREATER | Signs::EQUAL,
        Some(Ordering::Equal) => Signs::GREATER,
        Some(Ordering::Less) | None => Signs::ALL,
    }
}

impl Term {
    pub(super) fn range(&self) -> Range {
        match self {
            Term::Known(Constant::Number(number)) => Range::at(*number),
            Term::Sum(sum) => sum.range(),
            Term::Apply(function, arguments) => match (function.as_str(), arguments.as_slice()) {
                ("%", [_, Term::Known(Constant::Number(number))]) if *number != Number::ZERO => Range::within(*number),
                ("num_nulls" | "num_nonnulls", of) => Range::from(0, i64::try_from(of.len()).ok()),
                (function, _) => functions::range(function),
            },
            Term::Known(_) | Term::Column(..) | Term::Parameter(_) | Term::Row(_) | Term::Opaque { .. } => Range::ALL,
        }
    }
}
