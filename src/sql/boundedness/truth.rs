//! What a predicate comes to, in Postgres's three-valued logic.

use sqlparser::ast::{BinaryOperator, CaseWhen, DataType, Expr, Function, UnaryOperator};

use super::chain;
use super::compare::bare;
use super::functions::{as_operator, operator, operator_name};
use super::quantified::any_of;
use super::scope::Target;
use super::term::Term;
use super::value::Constant;

/// What is known of a predicate's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Truth {
    True,
    False,
    Null,
    /// Not known; `target` when rows of the target decide it.
    Open {
        target: bool,
    },
}

impl Truth {
    pub(super) fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::True, other) | (other, Truth::True) => other,
            (Truth::Null, Truth::Null) => Truth::Null,
            (Truth::Open { target: a }, Truth::Open { target: b }) => Truth::Open { target: a || b },
            (Truth::Open { target }, Truth::Null) | (Truth::Null, Truth::Open { target }) => Truth::Open { target },
        }
    }

    /// Of two branches either of which lets a row through, both must restrict.
    pub(super) fn or(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::True, _) | (_, Truth::True) => Truth::True,
            (Truth::False, other) | (other, Truth::False) => other,
            (Truth::Null, Truth::Null) => Truth::Null,
            (Truth::Open { target: a }, Truth::Open { target: b }) => Truth::Open { target: a && b },
            (Truth::Open { target }, Truth::Null) | (Truth::Null, Truth::Open { target }) => Truth::Open { target },
        }
    }

    /// NOT; only a predicate that has no parts may be open here.
    pub(super) fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Null => Truth::Null,
            Truth::Open { target } => Truth::Open { target },
        }
    }

    pub(super) fn of(constant: &Constant) -> Truth {
        match constant.as_bool() {
            Constant::Bool(true) => Truth::True,
            Constant::Bool(false) => Truth::False,
            Constant::Null => Truth::Null,
            Constant::Number(_) | Constant::Text(_) | Constant::Unknown => Truth::Open { target: false },
        }
    }

    pub(super) fn as_constant(self) -> Constant {
        match self {
            Truth::True => Constant::Bool(true),
            Truth::False => Constant::Bool(false),
            Truth::Null => Constant::Null,
            Truth::Open { .. } => Constant::Unknown,
        }
    }

    pub(super) fn when(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}

impl<'s> Target<'s> {
    /// What a predicate comes to, with each case looked at where one look does not tell.
    pub(super) fn truth(&self, expr: &'s Expr) -> Truth {
        self.decide(expr, false)
    }

    /// What its negation comes to.
    pub(super) fn negated(&self, expr: &'s Expr) -> Truth {
        self.decide(expr, true)
    }

    fn decide(&self, expr: &'s Expr, negate: bool) -> Truth {
        let first = self.eval(expr, negate);
        if !matches!(first, Truth::Open { .. }) {
            return first;
        }
        if self.is_true_in_all_cases(expr, negate) { Truth::True } else { first }
    }

    /// Whether it lets no row through, in any case.
    pub(super) fn is_never_true(&self, expr: &'s Expr) -> bool {
        let is_not_true = |truth| matches!(truth, Truth::False | Truth::Null);
        is_not_true(self.eval(expr, false)) || self.in_all_cases(&|| self.eval(expr, false), is_not_true)
    }

    fn is_true_in_all_cases(&self, expr: &'s Expr, negate: bool) -> bool {
        let always = |parts: &[&'s Expr]| {
            let look = || parts.iter().map(|part| self.eval(part, negate)).fold(Truth::False, Truth::or);
            self.in_all_cases(&look, |truth| truth == Truth::True)
        };
        let (op, inner, negate_inner) = match bare(expr) {
            Expr::BinaryOp { op, .. } => (op.clone(), bare(expr), negate),
            _ => return self.in_all_cases(&|| self.eval(expr, negate), |truth| truth == Truth::True),
        };
        let disjunction = match op {
            BinaryOperator::Or => !negate_inner,
            BinaryOperator::And => negate_inner,
            _ => return always(&[inner]),
        };
        let parts = chain(inner, &op);
        if disjunction {
            // Parts that speak of different things do not help each other.
            self.related(&parts, negate).iter().any(|group| always(group))
        } else {
            parts.into_iter().all(|part| self.decide(part, negate) == Truth::True)
        }
    }

    /// The parts of an OR in groups that ask about the same columns.
    fn related(&self, parts: &[&'s Expr], negate: bool) -> Vec<Vec<&'s Expr>> {
        let mut groups: Vec<(Vec<Term>, Vec<&'s Expr>)> = Vec::new();
        for &part in parts {
            let pending = self.pending.take();
            self.eval(part, negate);
            let mut about = Vec::new();
            for atom in self.pending.replace(pending) {
                atom.left.columns(&mut about);
                atom.right.columns(&mut about);
            }
            let (touched, rest): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|(columns, _)| columns.iter().any(|column| about.contains(column)));
            let mut group = (about, Vec::new());
            for (columns, parts) in touched {
                group.0.extend(columns);
                group.1.extend(parts);
            }
            group.1.push(part);
            groups = rest;
            groups.push(group);
        }
        groups.into_iter().map(|(_, parts)| parts).collect()
    }

    pub(super) fn eval(&self, expr: &'s Expr, negate: bool) -> Truth {
        let Some(_deeper) = self.deeper() else { return Truth::Open { target: false } };
        let flip = |truth: Truth| if negate { truth.not() } else { truth };
        match expr {
            Expr::Nested(inner) => self.eval(inner, negate),
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => self.eval(inner, !negate),
            Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                let values = chain(expr, op).into_iter().map(|part| self.eval(part, negate));
                // Negated by De Morgan's laws.
                match (*op == BinaryOperator::And) != negate {
                    true => values.fold(Truth::True, Truth::and),
                    false => values.fold(Truth::False, Truth::or),
                }
            }
            Expr::BinaryOp { left, op, right } => match self.symmetric(left, op, right) {
                Some(truth) => flip(truth),
                None => flip(self.binary(expr, left, &operator(op), right)),
            },
            Expr::Between { expr: inner, negated, low, high } => {
                let low = self.compare(inner, &BinaryOperator::GtEq, low);
                let high = self.compare(inner, &BinaryOperator::LtEq, high);
                match negate != *negated {
                    false => low.and(high),
                    true => low.not().or(high.not()),
                }
            }
            Expr::InList { expr: inner, list, negated } => {
                let parts = list.iter().map(|item| self.compare(inner, &BinaryOperator::Eq, item));
                any_of(parts, negate != *negated)
            }
            Expr::InSubquery { expr: inner, subquery, negated } => {
                let truth = self.in_query(inner, &BinaryOperator::Eq, subquery);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::Exists { subquery, negated } => {
                let truth = self.exists(subquery);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::AnyOp { left, compare_op, right, .. } => self.any(expr, left, &operator(compare_op), right, negate),
            Expr::AllOp { left, compare_op, right } => self.every(expr, left, &operator(compare_op), right, negate),
            Expr::Like { negated, any: false, expr: text, pattern, escape_char } => {
                let truth = self.like(text, pattern, escape_char.as_deref(), false);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::ILike { negated, any: false, expr: text, pattern, escape_char } => {
                let truth = self.like(text, pattern, escape_char.as_deref(), true);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::Like { negated: false, any: true, expr: text, pattern, escape_char: None } => {
                self.any(expr, text, &BinaryOperator::PGLikeMatch, pattern, negate)
            }
            Expr::ILike { negated: false, any: true, expr: text, pattern, escape_char: None } => {
                self.any(expr, text, &BinaryOperator::PGILikeMatch, pattern, negate)
            }
            Expr::SimilarTo { negated, expr: text, pattern, escape_char: None } => {
                let truth = self.similar(text, pattern);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::IsNull(inner) => flip(self.is_null(inner)),
            Expr::IsNotNull(inner) => flip(self.is_not_null(inner)),
            Expr::IsTrue(inner) => self.is_true(inner, false, negate),
            Expr::IsNotTrue(inner) => self.is_true(inner, false, !negate),
            Expr::IsFalse(inner) => self.is_true(inner, true, negate),
            Expr::IsNotFalse(inner) => self.is_true(inner, true, !negate),
            Expr::IsUnknown(inner) => flip(self.is_null(inner)),
            Expr::IsNotUnknown(inner) => flip(self.is_null(inner).not()),
            Expr::IsDistinctFrom(left, right) => flip(self.distinct(left, right)),
            Expr::IsNotDistinctFrom(left, right) => flip(self.distinct(left, right).not()),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), negate)
            }
            Expr::Cast { expr: inner, data_type: DataType::Bool | DataType::Boolean, .. } => match self.term(expr) {
                Term::Known(known) => flip(Truth::of(&known)),
                _ => self.eval(inner, negate),
            },
            Expr::Function(function) => self.called(expr, function, negate),
            _ => flip(self.leaf(self.term(expr))),
        }
    }

    /// `inner IS TRUE`, or with `of_negation` `inner IS FALSE`; neither is ever NULL.
    fn is_true(&self, inner: &'s Expr, of_negation: bool, negate: bool) -> Truth {
        match self.eval(inner, of_negation) {
            Truth::True => Truth::when(!negate),
            Truth::False | Truth::Null => Truth::when(negate),
            open @ Truth::Open { .. } if !negate => open,
            // What restricts the rows is then the opposite.
            Truth::Open { .. } => match self.eval(inner, !of_negation) {
                Truth::Open { target } => Truth::Open { target },
                Truth::True | Truth::False | Truth::Null => Truth::Open { target: false },
            },
        }
    }

    /// `x BETWEEN SYMMETRIC a AND b`, as it is made readable: see `sql::bridge`.
    fn symmetric(&self, left: &'s Expr, op: &BinaryOperator, high: &'s Expr) -> Option<Truth> {
        let is = |op: &BinaryOperator, mark: &str| matches!(op, BinaryOperator::Custom(name) if name == mark);
        let Expr::BinaryOp { left: inner, op: first, right: low } = left else { return None };
        let negated = is(first, crate::sql::bridge::NOT_SYMMETRIC);
        let symmetric = is(op, crate::sql::bridge::SYMMETRIC_AND)
            && (negated || is(first, crate::sql::bridge::SYMMETRIC))
            // Marks of another precedence than BETWEEN has: only what cannot be torn apart is sure to be whole.
            && [inner.as_ref(), low, high].into_iter().all(is_primary);
        symmetric.then(|| {
            let between = |low: &'s Expr, high: &'s Expr| {
                let low = self.compare(inner, &BinaryOperator::GtEq, low);
                low.and(self.compare(inner, &BinaryOperator::LtEq, high))
            };
            let truth = between(low, high).or(between(high, low));
            if negated { truth.not() } else { truth }
        })
    }

    fn binary(&self, expr: &'s Expr, left: &'s Expr, op: &BinaryOperator, right: &'s Expr) -> Truth {
        if is_comparison(op) {
            return self.compare(left, op, right);
        }
        match op {
            BinaryOperator::PGLikeMatch => self.like(left, right, None, false),
            BinaryOperator::PGILikeMatch => self.like(left, right, None, true),
            BinaryOperator::PGNotLikeMatch => self.like(left, right, None, false).not(),
            BinaryOperator::PGNotILikeMatch => self.like(left, right, None, true).not(),
            BinaryOperator::PGRegexMatch => self.matches(left, right, "~"),
            BinaryOperator::PGRegexIMatch => self.matches(left, right, "~*"),
            BinaryOperator::PGRegexNotMatch => self.matches(left, right, "~").not(),
            BinaryOperator::PGRegexNotIMatch => self.matches(left, right, "~*").not(),
            op => match (operator_name(op), op) {
                (Some(name), BinaryOperator::PGStartsWith | BinaryOperator::AtArrow | BinaryOperator::ArrowAt) => {
                    let (left, right) = (self.term(left), self.term(right));
                    self.contains(op, &left, &right).unwrap_or_else(|| self.leaf(Term::apply(name, vec![left, right])))
                }
                (Some(name), BinaryOperator::PGOverlap) => {
                    let (left, right) = (self.term(left), self.term(right));
                    match (&left, &right) {
                        (Term::Apply(a, some), Term::Apply(b, others))
                            if a == "array" && b == "array" && some.iter().any(|one| self.is_among(one, others)) =>
                        {
                            Truth::True
                        }
                        _ => self.leaf(Term::apply(name, vec![left, right])),
                    }
                }
                _ => self.leaf(self.term(expr)),
            },
        }
    }

    /// A call where a predicate is wanted.
    fn called(&self, expr: &'s Expr, function: &'s Function, negate: bool) -> Truth {
        let flip = |truth: Truth| if negate { truth.not() } else { truth };
        let Some((name, arguments)) = self.plain_call(function) else { return flip(self.leaf(self.term(expr))) };
        match (as_operator(&name), arguments.as_slice()) {
            (Some(op), [left, right]) => flip(self.binary(expr, left, &op, right)),
            // The first that is not NULL; where the rows decide that one, it restricts them.
            (None, arguments) if name == "coalesce" => {
                let values = arguments.iter().map(|argument| self.eval(argument, negate));
                values.into_iter().find(|value| *value != Truth::Null).unwrap_or(Truth::Null)
            }
            _ => flip(self.leaf(self.term(expr))),
        }
    }

    pub(super) fn is_null(&self, expr: &'s Expr) -> Truth {
        match self.parts_that_count(expr) {
            Some(parts) => parts.into_iter().map(|part| self.is_null(part)).fold(Truth::True, Truth::and),
            None => self.is_null_alone(expr),
        }
    }

    /// `expr IS NOT NULL`; of a row, that none of its columns is.
    fn is_not_null(&self, expr: &'s Expr) -> Truth {
        match bare(expr) {
            Expr::Tuple(parts) => parts.iter().map(|part| self.is_not_null(part)).fold(Truth::True, Truth::and),
            _ => self.is_null(expr).not(),
        }
    }

    /// What all has to be NULL for it to be NULL.
    fn parts_that_count(&self, expr: &'s Expr) -> Option<Vec<&'s Expr>> {
        match bare(expr) {
            Expr::Tuple(parts) => Some(parts.iter().collect()),
            Expr::Function(function) => {
                let (name, arguments) = self.plain_call(function)?;
                matches!(name.as_str(), "coalesce" | "greatest" | "least").then_some(arguments)
            }
            _ => None,
        }
    }

    fn is_null_alone(&self, expr: &'s Expr) -> Truth {
        let inner = bare(expr);
        match inner {
            _ if has_no_third_value(inner) => Truth::False,
            _ if is_predicate(inner) => match self.eval(inner, false) {
                Truth::Null => Truth::True,
                Truth::True | Truth::False => Truth::False,
                open @ Truth::Open { .. } => open,
            },
            _ => self.is_null_term(self.term(inner)),
        }
    }

    /// A CASE is an OR over its branches: each with the conditions that lead to it.
    fn case(
        &self,
        operand: Option<&'s Expr>,
        conditions: &'s [CaseWhen],
        otherwise: Option<&'s Expr>,
        negate: bool,
    ) -> Truth {
        // Whether rows of the target have decided any condition so far.
        let mut decided = false;
        let mut branches: Vec<Truth> = Vec::new();
        let mut complete = false;
        for CaseWhen { condition, result } in conditions {
            let condition = match operand {
                Some(operand) => self.compare(operand, &BinaryOperator::Eq, condition),
                None => self.eval(condition, false),
            };
            match condition {
                Truth::False | Truth::Null => continue,
                Truth::True => complete = true,
                Truth::Open { target } => decided |= target,
            }
            branches.push(self.branch(result, decided, negate));
            if complete {
                break;
            }
        }
        if !complete {
            branches.push(otherwise.map_or(Truth::Null, |result| self.branch(result, decided, negate)));
        }
        // All branches alike: the conditions do not matter.
        if let Some(&first) = branches.first()
            && branches.iter().all(|branch| *branch == first)
        {
            return first;
        }
        let restricts = branches.iter().all(|branch| match branch {
            Truth::True => decided,
            Truth::False | Truth::Null => true,
            Truth::Open { target } => *target,
        });
        if branches.iter().all(|branch| matches!(branch, Truth::False | Truth::Null)) {
            return Truth::Open { target: true };
        }
        Truth::Open { target: restricts }
    }

    fn branch(&self, result: &'s Expr, decided: bool, negate: bool) -> Truth {
        match self.eval(result, negate) {
            Truth::Open { target } => Truth::Open { target: target || decided },
            known => known,
        }
    }
}

fn is_primary(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::Nested(_) | Expr::Function(_)
    )
}

pub(super) fn is_comparison(op: &BinaryOperator) -> bool {
    opposite(op).is_some()
}

pub(super) fn opposite(op: &BinaryOperator) -> Option<BinaryOperator> {
    match op {
        BinaryOperator::Eq => Some(BinaryOperator::NotEq),
        BinaryOperator::NotEq => Some(BinaryOperator::Eq),
        BinaryOperator::Lt => Some(BinaryOperator::GtEq),
        BinaryOperator::GtEq => Some(BinaryOperator::Lt),
        BinaryOperator::Gt => Some(BinaryOperator::LtEq),
        BinaryOperator::LtEq => Some(BinaryOperator::Gt),
        _ => None,
    }
}

/// Predicates that are never NULL.
fn has_no_third_value(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Exists { .. }
    )
}

/// Whether an expression is a predicate by its form.
pub(super) fn is_predicate(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_predicate(inner),
        Expr::BinaryOp { op, .. } => {
            let op = operator(op);
            is_comparison(&op)
                || matches!(
                    op,
                    BinaryOperator::And
                        | BinaryOperator::Or
                        | BinaryOperator::PGLikeMatch
                        | BinaryOperator::PGILikeMatch
                        | BinaryOperator::PGNotLikeMatch
                        | BinaryOperator::PGNotILikeMatch
                        | BinaryOperator::PGRegexMatch
                        | BinaryOperator::PGRegexIMatch
                        | BinaryOperator::PGRegexNotMatch
                        | BinaryOperator::PGRegexNotIMatch
                )
        }
        Expr::UnaryOp { op: UnaryOperator::Not, .. }
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::SimilarTo { .. } => true,
        _ => has_no_third_value(expr),
    }
}
