//! What a predicate comes to, in Postgres's three-valued logic.

use sqlparser::ast::{
    Array, BinaryOperator, CaseWhen, DataType, Expr, Function, FunctionArguments, UnaryOperator, Value,
};

use super::chain;
use super::columns::{Target, bare, is_comparison, operator};
use super::value::{Constant, like};

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

/// Longest OR whose parts are compared with each other.
const MAX_COMPLEMENTS: usize = 24;

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
    fn not(self) -> Truth {
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

    fn when(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}

impl Target<'_> {
    /// What a predicate comes to.
    pub(super) fn truth(&self, expr: &Expr) -> Truth {
        self.eval(expr, false)
    }

    /// What its negation comes to.
    pub(super) fn negated(&self, expr: &Expr) -> Truth {
        self.eval(expr, true)
    }

    pub(super) fn eval(&self, expr: &Expr, negate: bool) -> Truth {
        if !self.step() {
            return Truth::Open { target: false };
        }
        let flip = |truth: Truth| if negate { truth.not() } else { truth };
        match expr {
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => self.eval(inner, negate),
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => self.eval(inner, !negate),
            Expr::BinaryOp { op: BinaryOperator::And, .. } => self.all(expr, &BinaryOperator::And, negate),
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => self.all(expr, &BinaryOperator::Or, negate),
            Expr::BinaryOp { left, op, right } => flip(self.binary(expr, left, op, right)),
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
                self.any_of(expr, parts, negate != *negated)
            }
            Expr::InSubquery { expr: inner, subquery, negated } => {
                let truth = self.in_query(inner, subquery);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::Exists { subquery, negated } => {
                let truth = self.exists(subquery);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::AnyOp { left, compare_op, right, .. } => flip(self.any(expr, left, compare_op, right)),
            Expr::AllOp { left, compare_op, right } => flip(self.every(expr, left, compare_op, right)),
            Expr::Like { negated, any: false, expr: text, pattern, escape_char: None } => {
                let truth = self.like(expr, text, pattern, false);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::ILike { negated, any: false, expr: text, pattern, escape_char: None } => {
                let truth = self.like(expr, text, pattern, true);
                if negate != *negated { truth.not() } else { truth }
            }
            Expr::SimilarTo { negated: false, expr: text, pattern, escape_char: None } => {
                flip(self.similar(expr, text, pattern))
            }
            Expr::IsNull(inner) => flip(self.is_null(inner)),
            Expr::IsNotNull(inner) => flip(self.is_null(inner).not()),
            Expr::IsTrue(inner) => self.is_true(inner, false, negate),
            Expr::IsNotTrue(inner) => self.is_true(inner, false, !negate),
            Expr::IsFalse(inner) => self.is_true(inner, true, negate),
            Expr::IsNotFalse(inner) => self.is_true(inner, true, !negate),
            Expr::IsUnknown(inner) => flip(is_unknown(self.eval(inner, false))),
            Expr::IsNotUnknown(inner) => flip(is_unknown(self.eval(inner, false)).not()),
            Expr::IsDistinctFrom(left, right) => flip(self.distinct(left, right)),
            Expr::IsNotDistinctFrom(left, right) => flip(self.distinct(left, right).not()),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), negate)
            }
            Expr::Cast { expr: inner, data_type: DataType::Bool | DataType::Boolean, .. } => {
                match self.constant(expr) {
                    Constant::Unknown => self.eval(inner, negate),
                    known => flip(Truth::of(&known)),
                }
            }
            _ => match self.constant(expr) {
                Constant::Unknown => Truth::Open { target: self.mentioned_in(expr) },
                known => flip(Truth::of(&known)),
            },
        }
    }

    /// `inner IS TRUE`, or with `of_negation` `inner IS FALSE`; neither is ever NULL.
    fn is_true(&self, inner: &Expr, of_negation: bool, negate: bool) -> Truth {
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

    /// A chain of ANDs or ORs; negated by De Morgan's laws.
    fn all(&self, expr: &Expr, op: &BinaryOperator, negate: bool) -> Truth {
        let parts = chain(expr, op);
        let conjunction = (*op == BinaryOperator::And) != negate;
        if !conjunction && parts.len() <= MAX_COMPLEMENTS {
            let pairs = parts.iter().enumerate().flat_map(|(i, a)| parts[i + 1..].iter().map(move |b| (*a, *b)));
            if pairs.into_iter().any(|(a, b)| self.is_complement(a, b)) {
                return Truth::True;
            }
        }
        let values = parts.into_iter().map(|part| self.eval(part, negate));
        if conjunction { values.fold(Truth::True, Truth::and) } else { values.fold(Truth::False, Truth::or) }
    }

    /// Whether one of two predicates holds for every row: `x IS NULL` and `x IS NOT NULL`, `x < 1` and `x >= 1` (of an x that is
    /// not NULL), `p` and `NOT p`.
    fn is_complement(&self, a: &Expr, b: &Expr) -> bool {
        match (a, b) {
            (Expr::Nested(a), b) | (b, Expr::Nested(a)) => self.is_complement(a, b),
            (Expr::IsNull(a), Expr::IsNotNull(b))
            | (Expr::IsNotNull(a), Expr::IsNull(b))
            | (Expr::IsTrue(a), Expr::IsNotTrue(b))
            | (Expr::IsNotTrue(a), Expr::IsTrue(b))
            | (Expr::IsFalse(a), Expr::IsNotFalse(b))
            | (Expr::IsNotFalse(a), Expr::IsFalse(b))
            | (Expr::IsUnknown(a), Expr::IsNotUnknown(b))
            | (Expr::IsNotUnknown(a), Expr::IsUnknown(b)) => self.is_same(a, b),
            (Expr::UnaryOp { op: UnaryOperator::Not, expr: a }, b)
            | (b, Expr::UnaryOp { op: UnaryOperator::Not, expr: a }) => {
                self.is_same(a, b) && self.constant(a) == Constant::Unknown
            }
            (
                Expr::BinaryOp { left: left_a, op: op_a, right: right_a },
                Expr::BinaryOp { left: left_b, op: op_b, right: right_b },
            ) => {
                let sides = opposite(op_a).as_ref() == Some(op_b)
                    && self.is_same(left_a, left_b)
                    && self.is_same(right_a, right_b);
                // `x > 1` and `1 >= x`.
                let turned = opposite(op_a).and_then(|op| mirrored(&op)).as_ref() == Some(op_b)
                    && self.is_same(left_a, right_b)
                    && self.is_same(right_a, left_b);
                (sides || turned) && self.constant(left_a) != Constant::Null && self.constant(right_a) != Constant::Null
            }
            _ => false,
        }
    }

    fn binary(&self, expr: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Truth {
        let op = &operator(op);
        if is_comparison(op) {
            return self.compare(left, op, right);
        }
        match op {
            BinaryOperator::PGLikeMatch => self.like(expr, left, right, false),
            BinaryOperator::PGILikeMatch => self.like(expr, left, right, true),
            BinaryOperator::PGNotLikeMatch => self.like(expr, left, right, false).not(),
            BinaryOperator::PGNotILikeMatch => self.like(expr, left, right, true).not(),
            // As with LIKE '%', NULL is left aside.
            BinaryOperator::PGRegexMatch | BinaryOperator::PGRegexIMatch
                if self.is_any_pattern(right) && self.mentioned_in(left) =>
            {
                Truth::True
            }
            _ => match self.constant(expr) {
                Constant::Unknown => Truth::Open { target: self.mentioned_in(expr) },
                known => Truth::of(&known),
            },
        }
    }

    /// `left op right`
    pub(super) fn compare(&self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Truth {
        if let (Expr::Tuple(left), Expr::Tuple(right)) = (bare(left), bare(right))
            && left.len() == right.len()
            && *op == BinaryOperator::Eq
        {
            return left.iter().zip(right).fold(Truth::True, |all, (l, r)| all.and(self.compare(l, op, r)));
        }
        let (a, b) = (self.constant(left), self.constant(right));
        if let Some(constant) = a.compare(op, &b) {
            return Truth::of(&constant);
        }
        if self.is_same(left, right) {
            return Truth::when(matches!(op, BinaryOperator::Eq | BinaryOperator::LtEq | BinaryOperator::GtEq));
        }
        if *op == BinaryOperator::Eq {
            for (one, other) in [(left, right), (right, left)] {
                if let Expr::Subquery(query) = bare(other)
                    && self.in_query(bare(one), query) == Truth::True
                {
                    return Truth::True;
                }
                if let Some(truth) = self.falls_back_on(one, other) {
                    return truth;
                }
            }
        }
        // A truth value against a known one.
        let wanted = match (op, &a, &b) {
            (BinaryOperator::Eq, Constant::Bool(value), _) => Some((right, *value)),
            (BinaryOperator::Eq, _, Constant::Bool(value)) => Some((left, *value)),
            (BinaryOperator::NotEq, Constant::Bool(value), _) => Some((right, !*value)),
            (BinaryOperator::NotEq, _, Constant::Bool(value)) => Some((left, !*value)),
            _ => None,
        };
        if let Some((predicate, value)) = wanted
            && is_predicate(predicate)
        {
            return self.eval(predicate, !value);
        }
        Truth::Open { target: self.mentioned_in(left) || self.mentioned_in(right) }
    }

    /// One of several equalities holds; `negate`, none of them does.
    fn any_of(&self, whole: &Expr, parts: impl Iterator<Item = Truth>, negate: bool) -> Truth {
        let mut all = Truth::False;
        for part in parts {
            // Whether it is the rows that decide is asked once, of the whole.
            all = all.or(part);
            if all == Truth::True {
                break;
            }
        }
        match all {
            Truth::Open { .. } => Truth::Open { target: self.mentioned_in(whole) },
            known if negate => known.not(),
            known => known,
        }
    }

    /// `left op ANY (right)`
    fn any(&self, expr: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Truth {
        match self.elements(right) {
            Elements::List(list) => self.any_of(expr, list.iter().map(|item| self.element(left, op, item)), false),
            Elements::Query(query) if *op == BinaryOperator::Eq => self.in_query(left, query),
            Elements::Empty => Truth::False,
            Elements::Query(_) | Elements::Unknown => Truth::Open { target: self.mentioned_in(expr) },
        }
    }

    /// `left op ALL (right)`
    fn every(&self, expr: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Truth {
        match self.elements(right) {
            Elements::List(list) => {
                let all = list.iter().map(|item| self.element(left, op, item)).fold(Truth::True, Truth::and);
                match all {
                    Truth::Open { .. } => Truth::Open { target: self.mentioned_in(expr) },
                    known => known,
                }
            }
            Elements::Query(query) if *op == BinaryOperator::NotEq => self.in_query(left, query).not(),
            Elements::Empty => Truth::True,
            Elements::Query(_) | Elements::Unknown => Truth::Open { target: self.mentioned_in(expr) },
        }
    }

    fn element(&self, left: &Expr, op: &BinaryOperator, item: &Expr) -> Truth {
        match op {
            BinaryOperator::PGLikeMatch => self.like(item, left, item, false),
            BinaryOperator::PGILikeMatch => self.like(item, left, item, true),
            op if is_comparison(op) => self.compare(left, op, item),
            _ => Truth::Open { target: false },
        }
    }

    fn elements<'e>(&self, expr: &'e Expr) -> Elements<'e> {
        match expr {
            Expr::Nested(inner) => self.elements(inner),
            Expr::Cast { expr: inner, .. } => self.elements(inner),
            Expr::Array(Array { elem, .. }) if elem.is_empty() => Elements::Empty,
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
                Value::SingleQuotedString(text) if text.trim() == "{}" => Elements::Empty,
                _ => Elements::Unknown,
            },
            _ => Elements::Unknown,
        }
    }

    pub(super) fn like(&self, expr: &Expr, text: &Expr, pattern: &Expr, ignore_case: bool) -> Truth {
        match (self.constant(text), self.constant(pattern)) {
            (Constant::Null, _) | (_, Constant::Null) => Truth::Null,
            (Constant::Text(text), Constant::Text(pattern)) => match like(&text, &pattern, ignore_case) {
                Some(matches) => Truth::when(matches),
                None => Truth::Open { target: false },
            },
            // Any text is like %; as with `id = id`, NULL is left aside.
            (Constant::Unknown, Constant::Text(pattern))
                if !pattern.is_empty() && pattern.bytes().all(|b| b == b'%') && self.mentioned_in(text) =>
            {
                Truth::True
            }
            _ => Truth::Open { target: self.mentioned_in(expr) || self.mentioned_in(text) },
        }
    }

    fn is_null(&self, expr: &Expr) -> Truth {
        match self.constant(expr) {
            Constant::Null => return Truth::True,
            Constant::Unknown => {}
            _ => return Truth::False,
        }
        if self.is_never_null(expr) {
            return Truth::False;
        }
        Truth::Open { target: self.mentioned_in(expr) }
    }

    /// Predicates that have no third value, and the columns that every row has.
    fn is_never_null(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Nested(inner) => self.is_never_null(inner),
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
            | Expr::Exists { .. } => true,
            _ => self
                .column(expr)
                .is_some_and(|column| matches!(column, "ctid" | "tableoid" | "xmin" | "xmax" | "cmin" | "cmax")),
        }
    }

    fn distinct(&self, left: &Expr, right: &Expr) -> Truth {
        let (a, b) = (self.constant(left), self.constant(right));
        match (&a, &b) {
            (Constant::Null, Constant::Null) => return Truth::False,
            (Constant::Null, other) | (other, Constant::Null) if *other != Constant::Unknown => return Truth::True,
            _ => {}
        }
        if let Some(constant) = a.compare(&BinaryOperator::NotEq, &b).filter(|c| *c != Constant::Null) {
            return Truth::of(&constant);
        }
        if self.is_same(left, right) {
            return Truth::False;
        }
        Truth::Open { target: self.mentioned_in(left) || self.mentioned_in(right) }
    }

    /// A CASE is an OR over its branches: each with the conditions that lead to it.
    fn case(&self, operand: Option<&Expr>, conditions: &[CaseWhen], otherwise: Option<&Expr>, negate: bool) -> Truth {
        // Whether rows of the target have decided any condition so far.
        let mut decided = false;
        let mut branches: Vec<Truth> = Vec::new();
        let mut complete = false;
        for CaseWhen { condition, result } in conditions {
            let condition = match operand {
                Some(operand) => self.compare(operand, &BinaryOperator::Eq, condition),
                None => self.truth(condition),
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

    fn branch(&self, result: &Expr, decided: bool, negate: bool) -> Truth {
        match self.eval(result, negate) {
            Truth::Open { target } => Truth::Open { target: target || decided },
            known => known,
        }
    }
}

enum Elements<'e> {
    List(&'e [Expr]),
    Query(&'e sqlparser::ast::Query),
    Empty,
    Unknown,
}

fn is_unknown(truth: Truth) -> Truth {
    match truth {
        Truth::Null => Truth::True,
        Truth::True | Truth::False => Truth::False,
        open @ Truth::Open { .. } => open,
    }
}

fn opposite(op: &BinaryOperator) -> Option<BinaryOperator> {
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

/// The operator that says the same with its operands exchanged.
fn mirrored(op: &BinaryOperator) -> Option<BinaryOperator> {
    match op {
        BinaryOperator::Eq | BinaryOperator::NotEq => Some(op.clone()),
        BinaryOperator::Lt => Some(BinaryOperator::Gt),
        BinaryOperator::LtEq => Some(BinaryOperator::GtEq),
        BinaryOperator::Gt => Some(BinaryOperator::Lt),
        BinaryOperator::GtEq => Some(BinaryOperator::LtEq),
        _ => None,
    }
}

/// Whether an expression is a predicate by its form.
pub(super) fn is_predicate(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_predicate(inner),
        Expr::BinaryOp { op, .. } => is_comparison(op) || matches!(op, BinaryOperator::And | BinaryOperator::Or),
        Expr::UnaryOp { op: UnaryOperator::Not, .. }
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Exists { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..) => true,
        _ => false,
    }
}
