//! Sums of products with exact coefficients: `id + 1 - id` is 1, `2 * (a - b) + b` is `2a - b`.
//!
//! Arithmetic counts as exact, as it is for integers and numeric: what rounding, infinity and NaN make of floating-point numbers
//! is left aside.

use std::collections::BTreeMap;

use super::range::{Bound, Range};
use super::term::Term;
use super::value::{Constant, Number};

/// Coefficients by product, none of them zero; the empty product has the constant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sum(BTreeMap<Vec<Term>, Number>);

/// Most products of a sum: multiplying out must not blow up.
const MOST: usize = 32;

impl Sum {
    /// A value as a sum; `None` for what is certainly no number.
    pub(super) fn of(term: &Term) -> Option<Sum> {
        match term {
            Term::Known(Constant::Number(number)) => Some(Sum::constant(*number)),
            Term::Known(_) | Term::Row(_) => None,
            Term::Sum(sum) => Some(sum.clone()),
            // Adding an interval's months and days and taking them away does not cancel out.
            Term::Apply(function, _) if function.starts_with("interval ") || function == "cast interval" => None,
            Term::Apply(function, of) if function.starts_with("cast ") && matches!(of.as_slice(), [Term::Known(_)]) => {
                None
            }
            Term::Apply(function, _) if function.starts_with("literal ") => None,
            Term::Column(..) | Term::Parameter(_) | Term::Apply(..) | Term::Opaque { .. } => {
                Some(Sum(BTreeMap::from([(vec![term.clone()], Number::ONE)])))
            }
        }
    }

    fn constant(number: Number) -> Sum {
        let mut sum = BTreeMap::new();
        if number != Number::ZERO {
            sum.insert(Vec::new(), number);
        }
        Sum(sum)
    }

    pub(super) fn plus(&self, other: &Sum) -> Option<Sum> {
        let mut sum = self.0.clone();
        for (product, coefficient) in &other.0 {
            let total = sum.get(product).copied().unwrap_or(Number::ZERO).plus(*coefficient)?;
            if total != Number::ZERO {
                sum.insert(product.clone(), total);
            } else if product.iter().any(Term::may_be_null) {
                // It goes where it is not NULL only.
                return None;
            } else {
                sum.remove(product);
            }
        }
        (sum.len() <= MOST).then_some(Sum(sum))
    }

    pub(super) fn minus(&self, other: &Sum) -> Option<Sum> {
        self.plus(&other.times(&Sum::constant(Number::ONE.negated()))?)
    }

    pub(super) fn times(&self, other: &Sum) -> Option<Sum> {
        let vanishes = |zero: &Sum, other: &Sum| zero.0.is_empty() && other.parts().any(Term::may_be_null);
        if vanishes(self, other) || vanishes(other, self) || self.0.len() * other.0.len() > MOST {
            return None;
        }
        let mut sum = Sum(BTreeMap::new());
        for (a, by) in &self.0 {
            for (b, coefficient) in &other.0 {
                let mut product: Vec<Term> = a.iter().chain(b).cloned().collect();
                product.sort();
                sum = sum.plus(&Sum(BTreeMap::from([(product, by.times(*coefficient)?)])))?;
            }
        }
        Some(sum)
    }

    /// `self / number`, where that leaves integers only: then division cuts nothing off.
    pub(super) fn divided_exactly(&self, number: Number) -> Option<Sum> {
        let divide = |(product, coefficient): (&Vec<Term>, &Number)| {
            let quotient = coefficient.divided_by(number)?;
            quotient.is_integer().then(|| (product.clone(), quotient))
        };
        self.0.iter().map(divide).collect::<Option<BTreeMap<_, _>>>().map(Sum)
    }

    pub(super) fn into_term(self) -> Term {
        match self.as_number() {
            Some(number) => Term::Known(Constant::Number(number)),
            None => match self.0.iter().next() {
                Some((product, number)) if self.0.len() == 1 && *number == Number::ONE && product.len() == 1 => {
                    product[0].clone()
                }
                _ => Term::Sum(self),
            },
        }
    }

    /// The number that it is, where nothing else is in it.
    pub(super) fn as_number(&self) -> Option<Number> {
        match self.0.len() {
            0 => Some(Number::ZERO),
            1 => self.0.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    /// What `self = 0` comes to as `value = number`, with the first coefficient 1 where that can be written down, and whether
    /// the sign has been turned.
    pub(super) fn against_number(mut self) -> Option<(Term, Number, bool)> {
        let constant = self.0.remove(&Vec::new()).unwrap_or(Number::ZERO).negated();
        let (_, first) = self.0.iter().next()?;
        let turned = first.is_negative();
        let divisor = match self.0.values().all(|c| c.divided_by(*first).is_some()) {
            true => constant.divided_by(*first).map(|_| *first),
            false => None,
        };
        let divisor = divisor.unwrap_or(if turned { Number::ONE.negated() } else { Number::ONE });
        let constant = constant.divided_by(divisor)?;
        for coefficient in self.0.values_mut() {
            *coefficient = coefficient.divided_by(divisor)?;
        }
        Some((self.into_term(), constant, turned))
    }

    /// All that is added and multiplied, without the numbers.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Term> {
        self.0.keys().flatten()
    }

    pub(super) fn range(&self) -> Range {
        let mut range = Range::at(Number::ZERO);
        for (product, coefficient) in &self.0 {
            range = range.plus(product_range(product).times(*coefficient));
        }
        range
    }
}

fn product_range(product: &[Term]) -> Range {
    match product {
        [] => Range::at(Number::ONE),
        [one] => one.range(),
        _ => {
            // Sorted: equal factors stand beside each other.
            let groups = product.chunk_by(|a, b| a == b);
            let not_negative = |group: &[Term]| group.len().is_multiple_of(2) || group[0].range().is_not_negative();
            if groups.into_iter().all(not_negative) {
                Range { low: Some(Bound::including(Number::ZERO)), high: None }
            } else {
                Range::ALL
            }
        }
    }
}
