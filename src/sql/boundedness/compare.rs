//! Comparisons: of expressions, of values, and of truth values.

use sqlparser::ast::{BinaryOperator, Expr};

use super::cases::Atom;
use super::expression::empty;
use super::range::Range;
use super::scope::Target;
use super::signs::Signs;
use super::sum::Sum;
use super::term::{Owner, Term};
use super::truth::{Truth, is_predicate};
use super::value::{Constant, Number};

/// What is known of how two values compare.
struct Relation {
    /// What is really compared: `id + 1 > 5` compares id with 4.
    left: Term,
    right: Term,
    /// The outcomes of `left ? right`.
    signs: Signs,
    /// Whether those of the two values are the opposite.
    turned: bool,
}

impl<'s> Target<'s> {
    /// `left op right`, a comparison.
    pub(super) fn compare(&self, left: &'s Expr, op: &BinaryOperator, right: &'s Expr) -> Truth {
        if let Some(truth) = self.falls_back_on(left, op, right) {
            return truth;
        }
        match (is_predicate(left), is_predicate(right)) {
            (true, true) => match (self.eval(left, false), self.eval(right, false)) {
                (_, Truth::Null) | (Truth::Null, _) => Truth::Null,
                (_, known @ (Truth::True | Truth::False)) => self.against_bool(left, op, known == Truth::True),
                (known @ (Truth::True | Truth::False), _) => {
                    self.against_bool(right, &mirrored(op), known == Truth::True)
                }
                (Truth::Open { target: a }, Truth::Open { target: b }) => Truth::Open { target: a || b },
            },
            (true, false) => self.predicate_against(left, op, right),
            (false, true) => self.predicate_against(right, &mirrored(op), left),
            (false, false) => {
                let (a, b) = (self.term(left), self.term(right));
                match (&a, &b) {
                    (Term::Known(_), Term::Known(_)) => self.compare_terms(&a, op, &b),
                    (Term::Known(Constant::Bool(value)), _) => self.against_bool(right, &mirrored(op), *value),
                    (_, Term::Known(Constant::Bool(value))) => self.against_bool(left, op, *value),
                    _ => self.compare_terms(&a, op, &b),
                }
            }
        }
    }

    fn predicate_against(&self, predicate: &'s Expr, op: &BinaryOperator, value: &'s Expr) -> Truth {
        let value = self.term(value);
        match &value {
            Term::Known(constant) => match constant.as_bool() {
                Constant::Bool(value) => self.against_bool(predicate, op, value),
                Constant::Null => Truth::Null,
                Constant::Number(_) | Constant::Text(_) | Constant::Unknown => Truth::Open { target: false },
            },
            value => match self.eval(predicate, false) {
                Truth::Null => Truth::Null,
                // The predicate is a constant then.
                known @ (Truth::True | Truth::False) => {
                    self.compare_terms(&Term::bool(known == Truth::True), op, value)
                }
                Truth::Open { target } => Truth::Open { target: target || value.mentions_target() },
            },
        }
    }

    /// `predicate op value`
    fn against_bool(&self, predicate: &'s Expr, op: &BinaryOperator, value: bool) -> Truth {
        let (wanted, whatever) = match (op, value) {
            (BinaryOperator::Eq, value) => (value, None),
            (BinaryOperator::NotEq, value) => (!value, None),
            (BinaryOperator::Gt, false) | (BinaryOperator::GtEq, true) => (true, None),
            (BinaryOperator::Lt, true) | (BinaryOperator::LtEq, false) => (false, None),
            (BinaryOperator::GtEq, false) | (BinaryOperator::LtEq, true) => (true, Some(Truth::True)),
            (BinaryOperator::Gt, true) | (BinaryOperator::Lt, false) => (true, Some(Truth::False)),
            _ => return Truth::Open { target: self.mentioned_in(predicate) },
        };
        match (self.eval(predicate, !wanted), whatever) {
            (truth, None) => truth,
            (Truth::Null, Some(_)) => Truth::Null,
            (Truth::True | Truth::False, Some(whatever)) => whatever,
            (Truth::Open { .. }, Some(whatever)) if !is_predicate(predicate) && !self.term(predicate).may_be_null() => {
                whatever
            }
            (open, Some(_)) => open,
        }
    }

    /// `left op right`, of values.
    pub(super) fn compare_terms(&self, left: &Term, op: &BinaryOperator, right: &Term) -> Truth {
        match (left, right) {
            (Term::Row(left), Term::Row(right)) if left.len() == right.len() => return self.rows(left, op, right),
            (Term::Known(Constant::Null), _) | (_, Term::Known(Constant::Null)) => return Truth::Null,
            (Term::Known(left), Term::Known(right)) => {
                return left.compare(op, right).map_or(Truth::Open { target: false }, |known| Truth::of(&known));
            }
            _ => {}
        }
        let Some(satisfying) = Signs::that_satisfy(op) else {
            return Truth::Open { target: left.mentions_target() || right.mentions_target() };
        };
        let relation = self.relation(left, right);
        let satisfying = satisfying.turned_if(relation.turned);
        if relation.signs == Signs::NULL {
            Truth::Null
        } else if relation.signs.is_within(satisfying) {
            Truth::True
        } else if (relation.signs & (satisfying | Signs::NULL)).is_none() {
            Truth::False
        } else {
            self.ask(relation)
        }
    }

    /// Rows compare by their first columns that differ.
    fn rows(&self, left: &[Term], op: &BinaryOperator, right: &[Term]) -> Truth {
        let pairs = || left.iter().zip(right);
        let strict = match op {
            BinaryOperator::Eq => {
                return pairs().fold(Truth::True, |all, (l, r)| all.and(self.compare_terms(l, op, r)));
            }
            BinaryOperator::NotEq => {
                return pairs().fold(Truth::False, |any, (l, r)| any.or(self.compare_terms(l, op, r)));
            }
            BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
            _ => BinaryOperator::Gt,
        };
        let last = Truth::when(matches!(op, BinaryOperator::LtEq | BinaryOperator::GtEq));
        left.iter().zip(right).rev().fold(last, |rest, (l, r)| {
            let equal = self.compare_terms(l, &BinaryOperator::Eq, r);
            self.compare_terms(l, &strict, r).or(equal.and(rest))
        })
    }

    /// A truth value that is not taken apart any further.
    pub(super) fn leaf(&self, term: Term) -> Truth {
        if let Term::Known(constant) = &term {
            return Truth::of(constant);
        }
        let mut signs = Signs::EQUAL | Signs::LESS;
        if term.may_be_null() {
            signs = signs | Signs::NULL;
        }
        let right = Term::bool(true);
        let signs = self.assumed(&term, &right, signs);
        match signs {
            Signs::EQUAL => Truth::True,
            Signs::LESS => Truth::False,
            Signs::NULL => Truth::Null,
            _ => self.ask(Relation { left: term, right, signs, turned: false }),
        }
    }

    /// Whether a value is NULL, where it is not taken apart any further.
    pub(super) fn is_null_term(&self, term: Term) -> Truth {
        match &term {
            Term::Known(constant) => Truth::when(*constant == Constant::Null),
            _ if term.is_never_null() => Truth::False,
            _ => self.leaf(Term::apply(super::term::IS_NULL, vec![term])),
        }
    }

    /// `left IS DISTINCT FROM right`
    pub(super) fn distinct(&self, left: &'s Expr, right: &'s Expr) -> Truth {
        let (a, b) = (self.term(left), self.term(right));
        match (&a, &b) {
            (Term::Known(Constant::Null), _) => return self.is_null(right).not(),
            (_, Term::Known(Constant::Null)) => return self.is_null(left).not(),
            (Term::Row(left), Term::Row(right)) if left.len() == right.len() => {
                return left.iter().zip(right).fold(Truth::False, |any, (l, r)| any.or(self.distinct_terms(l, r)));
            }
            _ => {}
        }
        self.distinct_terms(&a, &b)
    }

    fn distinct_terms(&self, left: &Term, right: &Term) -> Truth {
        if left.without_collation() == right.without_collation() {
            return Truth::False;
        }
        match self.compare_terms(left, &BinaryOperator::NotEq, right) {
            Truth::Null => self.leaf(Term::apply("distinct", vec![left.clone(), right.clone()])),
            known => known,
        }
    }

    /// Notes what would have to be known.
    fn ask(&self, relation: Relation) -> Truth {
        let Relation { left, right, signs, .. } = relation;
        let target = left.mentions_target() || right.mentions_target() || self.names_another_table(&left, &right);
        self.pending.borrow_mut().push(Atom { left, right, signs });
        Truth::Open { target }
    }

    /// `tableoid = 'a_partition'::regclass`
    fn names_another_table(&self, left: &Term, right: &Term) -> bool {
        fn inner(term: &Term) -> &Term {
            match term {
                Term::Apply(cast, of) if cast.starts_with("cast ") && of.len() == 1 => inner(&of[0]),
                _ => term,
            }
        }
        match (inner(left), inner(right)) {
            (Term::Column(Owner::Target, column), Term::Known(Constant::Text(table)))
            | (Term::Known(Constant::Text(table)), Term::Column(Owner::Target, column)) => {
                column == "tableoid" && !self.is_called(table) && Number::parse(table).is_none()
            }
            _ => false,
        }
    }

    /// How two values compare, as far as it is known.
    fn relation(&self, a: &Term, b: &Term) -> Relation {
        let may_be_null = a.may_be_null() || b.may_be_null();
        let null = |signs: Signs| if may_be_null { signs | Signs::NULL } else { signs };
        if a.without_collation() == b.without_collation() {
            return Relation { left: a.clone(), right: b.clone(), signs: null(Signs::EQUAL), turned: false };
        }
        let difference = Sum::of(a).zip(Sum::of(b)).and_then(|(a, b)| a.minus(&b));
        if let Some(number) = difference.as_ref().and_then(Sum::as_number) {
            let signs = number.compare(Number::ZERO).map_or(Signs::ALL, Signs::of);
            return Relation { left: a.clone(), right: b.clone(), signs: null(signs), turned: false };
        }
        let mut signs = null(self.by_nature(a, b));
        let (left, right, turned) = match difference.and_then(Sum::against_number) {
            Some((left, number, turned)) => (left, Term::Known(Constant::Number(number)), turned),
            None if matches!(a, Term::Known(_)) || (a > b && !matches!(b, Term::Known(_))) => {
                (b.clone(), a.clone(), true)
            }
            None => (a.clone(), b.clone(), false),
        };
        signs = signs.turned_if(turned);
        if let Term::Known(Constant::Number(number)) = &right {
            signs = signs & (left.range().against(&Range::at(*number)) | Signs::NULL);
        }
        let signs = self.assumed(&left, &right, signs);
        Relation { left, right, signs, turned }
    }

    /// What holds of two values by what they are.
    fn by_nature(&self, a: &Term, b: &Term) -> Signs {
        let one_way = |a: &Term, b: &Term| {
            let mut signs = Signs::ALL;
            // GREATEST(x, 5) is at least x and at least 5, and with either at least what that is at least.
            if let Some((of, beyond)) = self.beyond(a)
                && of.iter().any(|of| !of.may_be_null() && self.surely(of, beyond, b))
            {
                signs = signs & beyond;
            }
            match b {
                Term::Known(Constant::Text(text)) => signs = signs & extremes(a, text),
                Term::Apply(cast, of) if cast.starts_with("cast ") => {
                    if let [Term::Known(Constant::Text(text))] = of.as_slice() {
                        signs = signs & extremes(a, text);
                    }
                }
                _ => {}
            }
            signs
        };
        one_way(a, b) & one_way(b, a).turned()
    }

    fn surely(&self, a: &Term, signs: Signs, b: &Term) -> bool {
        self.step() && {
            let Relation { signs: known, turned, .. } = self.relation(a, b);
            known.turned_if(turned).is_within(signs)
        }
    }

    /// What is left of the outcomes under what is assumed.
    fn assumed(&self, left: &Term, right: &Term, mut signs: Signs) -> Signs {
        for (assumed_left, assumed_right, sign) in self.assumed.borrow().iter() {
            if assumed_left != left {
                continue;
            }
            let follows = match (assumed_right, right) {
                (a, b) if a == b => *sign,
                (Term::Known(known), Term::Known(constant)) => sign.then_against(known, constant),
                _ => continue,
            };
            let rest = signs & follows;
            // What is left of a case that cannot be does not matter.
            signs = if rest.is_none() { signs } else { rest };
        }
        signs
    }

    /// `x = COALESCE($1, x)`: every row, if all that stands before the x is NULL.
    fn falls_back_on(&self, left: &'s Expr, op: &BinaryOperator, right: &'s Expr) -> Option<Truth> {
        let one_way = |x: &'s Expr, coalesce: &'s Expr| {
            let Expr::Function(function) = bare(coalesce) else { return None };
            let (called, arguments) = self.plain_call(function)?;
            let x = (called == "coalesce").then(|| self.term(x))?;
            for argument in arguments {
                let argument = self.term(argument);
                if argument == x {
                    return x.mentions_target().then_some(Truth::Open { target: false });
                }
                let passed_over = argument.may_be_null() || matches!(argument, Term::Parameter(_));
                if argument.mentions_target() || !passed_over {
                    return None;
                }
            }
            None
        };
        let known = (*op == BinaryOperator::Eq).then(|| one_way(left, right).or_else(|| one_way(right, left)))??;
        // `COALESCE(x, …)` is x.
        match self.compare_terms(&self.term(left), op, &self.term(right)) {
            Truth::True => Some(Truth::True),
            _ => Some(known),
        }
    }
}

/// What a column's type has for its least and its greatest value.
fn extremes(column: &Term, text: &str) -> Signs {
    let at_least = Signs::GREATER | Signs::EQUAL;
    let at_most = Signs::LESS | Signs::EQUAL;
    if let Term::Column(_, name) = column
        && name == "ctid"
    {
        return tid(text).map_or(Signs::ALL, |tid| Range::from(1, Some(LAST_TID)).against(&Range::at(tid)));
    }
    match text {
        text if *column != empty() && text.is_empty() => at_least,
        "-infinity" => at_least,
        "infinity" => at_most,
        "00000000-0000-0000-0000-000000000000" => at_least,
        "ffffffff-ffff-ffff-ffff-ffffffffffff" => at_most,
        _ => Signs::ALL,
    }
}

/// `(4294967295,65535)`
const LAST_TID: i64 = (1 << 48) - 1;

/// `(block,offset)`; the offsets of rows begin with 1.
fn tid(text: &str) -> Option<Number> {
    let (block, offset) = text.trim().strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let (block, offset): (u32, u16) = (block.trim().parse().ok()?, offset.trim().parse().ok()?);
    Some(Number::from(i64::from(block) << 16 | i64::from(offset)))
}

/// The operator that says the same with its operands exchanged.
fn mirrored(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other.clone(),
    }
}

/// An expression without parentheses around it.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        _ => expr,
    }
}
