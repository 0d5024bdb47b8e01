//! ANY, SOME and ALL, over arrays and over queries.

use sqlparser::ast::{Array, BinaryOperator, Expr, Function, FunctionArguments, Value};

use super::compare::bare;
use super::scope::Target;
use super::term::Term;
use super::truth::{Truth, is_comparison, opposite};
use super::value::Constant;

impl<'s> Target<'s> {
    /// `left op ANY (right)`
    pub(super) fn any(
        &self,
        expr: &'s Expr,
        left: &'s Expr,
        op: &BinaryOperator,
        right: &'s Expr,
        negate: bool,
    ) -> Truth {
        match self.elements(right) {
            Elements::List(list) => any_of(list.iter().map(|item| self.element(left, op, item)), negate),
            Elements::Terms(list) => {
                let left = self.term(left);
                any_of(list.iter().map(|item| self.compare_terms(&left, op, item)), negate)
            }
            Elements::Query(query) => {
                let truth = self.in_query(left, op, query);
                if negate { truth.not() } else { truth }
            }
            Elements::Unknown => self.leaf(self.quantified("any", expr, left, op, right)),
        }
    }

    /// `left op ALL (right)`
    pub(super) fn every(
        &self,
        expr: &'s Expr,
        left: &'s Expr,
        op: &BinaryOperator,
        right: &'s Expr,
        negate: bool,
    ) -> Truth {
        let all = |parts: &mut dyn Iterator<Item = Truth>| match negate {
            false => parts.fold(Truth::True, Truth::and),
            true => parts.map(Truth::not).fold(Truth::False, Truth::or),
        };
        match self.elements(right) {
            Elements::List(list) => all(&mut list.iter().map(|item| self.element(left, op, item))),
            Elements::Terms(list) => {
                let left = self.term(left);
                all(&mut list.iter().map(|item| self.compare_terms(&left, op, item)))
            }
            // Not for any of them does the opposite hold.
            Elements::Query(query) => match opposite(op) {
                Some(op) => {
                    let truth = self.in_query(left, &op, query);
                    if negate { truth } else { truth.not() }
                }
                None => Truth::Open { target: self.mentioned_in(expr) },
            },
            Elements::Unknown => self.leaf(self.quantified("all", expr, left, op, right)),
        }
    }

    fn quantified(&self, which: &str, expr: &'s Expr, left: &'s Expr, op: &BinaryOperator, right: &'s Expr) -> Term {
        match (self.term(left), self.term(right)) {
            (Term::Opaque { .. }, _) | (_, Term::Opaque { .. }) => self.opaque(expr),
            (left, right) => Term::apply(which, vec![Term::Apply(format!("literal {op}"), Vec::new()), left, right]),
        }
    }

    fn element(&self, left: &'s Expr, op: &BinaryOperator, item: &'s Expr) -> Truth {
        match op {
            BinaryOperator::PGLikeMatch => self.like(left, item, None, false),
            BinaryOperator::PGILikeMatch => self.like(left, item, None, true),
            op if is_comparison(op) => self.compare(left, op, item),
            _ => Truth::Open { target: self.mentioned_in(left) || self.mentioned_in(item) },
        }
    }

    fn elements<'e>(&self, expr: &'e Expr) -> Elements<'e> {
        match expr {
            Expr::Nested(inner) => self.elements(inner),
            Expr::Cast { expr: inner, .. } => self.elements(inner),
            Expr::Array(Array { elem, .. }) if elem.iter().any(|e| matches!(bare(e), Expr::Array(_))) => {
                Elements::Unknown
            }
            Expr::Array(Array { elem, .. }) => Elements::List(elem),
            Expr::Subquery(query) => Elements::Query(query),
            // `ARRAY(SELECT …)`
            Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. })
                if name.to_string().eq_ignore_ascii_case("array") =>
            {
                Elements::Query(query)
            }
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => array_elements(text).map_or(Elements::Unknown, Elements::Terms),
                _ => Elements::Unknown,
            },
            _ => Elements::Unknown,
        }
    }
}

enum Elements<'e> {
    List(&'e [Expr]),
    Terms(Vec<Term>),
    Query(&'e sqlparser::ast::Query),
    Unknown,
}

/// The elements of an array's text, where it needs no quotes: `{1,2,NULL}`.
fn array_elements(text: &str) -> Option<Vec<Term>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inner.contains(['{', '}', '"', '\\']) {
        return None;
    }
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    let element = |element: &str| match element.trim() {
        null if null.eq_ignore_ascii_case("null") => Term::NULL,
        text => Term::Known(Constant::Text(text.to_owned())),
    };
    Some(inner.split(',').map(element).collect())
}

/// One of several holds; `negate`, none of them does.
pub(super) fn any_of(parts: impl Iterator<Item = Truth>, negate: bool) -> Truth {
    if negate { parts.map(Truth::not).fold(Truth::True, Truth::and) } else { parts.fold(Truth::False, Truth::or) }
}
