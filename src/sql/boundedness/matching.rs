//! Patterns and containment: `name LIKE '%'`, `tags @> ARRAY[]::text[]`.

use sqlparser::ast::{BinaryOperator, Expr};

use super::expression::empty;
use super::patterns::{like, likes_anything, matches_anything};
use super::scope::Target;
use super::term::Term;
use super::truth::Truth;
use super::value::Constant;

impl<'s> Target<'s> {
    pub(super) fn like(&self, text: &'s Expr, pattern: &'s Expr, escape: Option<&'s Expr>, ignore_case: bool) -> Truth {
        let (text, pattern) = (self.term(text), self.term(pattern));
        let escape = escape.map(|escape| self.term(escape));
        match (&text, &pattern, &escape) {
            (Term::Known(Constant::Null), ..) | (_, Term::Known(Constant::Null), _) => return Truth::Null,
            (Term::Known(Constant::Text(text)), Term::Known(Constant::Text(pattern)), None) => {
                return like(text, pattern, ignore_case).map_or(Truth::Open { target: false }, Truth::when);
            }
            // Any text is like %; as with `id = id`, NULL is left aside.
            (text, Term::Known(Constant::Text(pattern)), escape)
                if likes_anything(pattern) && !text.may_be_null() && escape.as_ref() != Some(&percent()) =>
            {
                return Truth::True;
            }
            _ => {}
        }
        let mut parts = vec![text, pattern];
        parts.extend(escape);
        self.leaf(Term::apply(if ignore_case { "~~*" } else { "~~" }, parts))
    }

    /// `text SIMILAR TO pattern`: only that any text is similar to %.
    pub(super) fn similar(&self, text: &'s Expr, pattern: &'s Expr) -> Truth {
        let (text, pattern) = (self.term(text), self.term(pattern));
        match &pattern {
            Term::Known(Constant::Text(any)) if likes_anything(any) && !text.may_be_null() => Truth::True,
            _ => self.leaf(Term::apply("similar to", vec![text, pattern])),
        }
    }

    pub(super) fn matches(&self, text: &'s Expr, pattern: &'s Expr, operator: &str) -> Truth {
        let (text, pattern) = (self.term(text), self.term(pattern));
        match &pattern {
            Term::Known(Constant::Text(any)) if matches_anything(any) && !text.may_be_null() => Truth::True,
            _ => self.leaf(Term::apply(operator, vec![text, pattern])),
        }
    }

    /// `left @> right`, `left <@ right` and `left ^@ right`, where that is true.
    pub(super) fn contains(&self, op: &BinaryOperator, left: &Term, right: &Term) -> Option<Truth> {
        let (whole, part) = if *op == BinaryOperator::ArrowAt { (right, left) } else { (left, right) };
        if whole.may_be_null() || part.may_be_null() || has_null_element(part) {
            return None;
        }
        let holds = match (whole, part) {
            _ if *op == BinaryOperator::PGStartsWith => whole == part || *part == empty(),
            (Term::Apply(a, whole), Term::Apply(b, parts)) if a == "array" && b == "array" => {
                parts.iter().all(|part| self.is_among(part, whole))
            }
            (_, Term::Apply(array, parts)) if array == "array" && parts.is_empty() => true,
            (_, Term::Apply(cast, of)) if whole != part && cast.starts_with("cast ") && cast.ends_with("[]") => {
                match of.as_slice() {
                    [Term::Known(Constant::Text(text))] => text.trim() == "{}",
                    [Term::Apply(array, parts)] => array == "array" && parts.is_empty(),
                    _ => false,
                }
            }
            _ => whole == part,
        };
        holds.then_some(Truth::True)
    }

    pub(super) fn is_among(&self, one: &Term, others: &[Term]) -> bool {
        others.iter().any(|other| self.compare_terms(one, &BinaryOperator::Eq, other) == Truth::True)
    }
}

/// Whether an array that is written down may have NULL in it, which no array contains.
fn has_null_element(term: &Term) -> bool {
    match term {
        Term::Apply(function, parts) => {
            let is_array = function == "array";
            parts.iter().any(|part| (is_array && part.may_be_null()) || has_null_element(part))
        }
        _ => false,
    }
}

fn percent() -> Term {
    Term::Known(Constant::Text("%".to_owned()))
}
