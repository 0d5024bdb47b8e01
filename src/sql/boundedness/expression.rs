//! Expressions to [`Term`]s.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};

use super::functions::{self, operator, operator_name};
use super::scope::Target;
use super::signs::Signs;
use super::sum::Sum;
use super::term::{Owner, Term, WHOLE_ROW};
use super::truth::{Truth, is_predicate};
use super::value::{Constant, Number, Type};
use crate::sql::walk::name;

/// Largest value that is kept: what is larger is known by its place only.
const MOST_PARTS: usize = 256;

impl<'s> Target<'s> {
    /// What an expression comes to.
    pub(super) fn term(&self, expr: &'s Expr) -> Term {
        let term = match self.deeper() {
            Some(_deeper) => self.read(expr),
            None => self.opaque(expr),
        };
        if term.is_larger_than(MOST_PARTS) { self.opaque(expr) } else { term }
    }

    fn read(&self, expr: &'s Expr) -> Term {
        match expr {
            Expr::Nested(inner) => self.term(inner),
            Expr::Value(value) => self.literal(expr, &value.value),
            Expr::Identifier(column) => self.unqualified(&column.value),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, column] => self.qualified(&qualifier.value, &column.value),
                _ => self.opaque(expr),
            },
            Expr::QualifiedWildcard(row, _) => self.qualified(&name(row).name, WHOLE_ROW),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(expr, root, access_chain),
            Expr::Tuple(parts) => Term::Row(self.terms(parts)),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match self.term(inner) {
                Term::Known(constant) => Term::of(constant.negate()).unwrap_or_else(|| self.opaque(expr)),
                inner => self.arithmetic(&BinaryOperator::Minus, Term::Known(Constant::Number(Number::ZERO)), inner),
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => match self.term(inner) {
                Term::Known(Constant::Bool(_) | Constant::Text(_)) => self.opaque(expr),
                number => number,
            },
            Expr::UnaryOp { op: UnaryOperator::PGAbs, expr: inner } => self.absolute(self.term(inner)),
            Expr::Cast { expr: inner, data_type, .. } => self.cast(expr, inner, data_type),
            Expr::TypedString(typed) => {
                cast(Term::of(Constant::of(&typed.value.value)), &typed.data_type).unwrap_or_else(|| self.opaque(expr))
            }
            Expr::Interval(interval) if matches!(interval.value.as_ref(), Expr::Value(_)) => {
                Term::Apply(format!("interval {interval}"), Vec::new())
            }
            Expr::Subquery(query) => self.scalar(expr, query),
            Expr::Function(function) => self.call(expr, function),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.choice(expr, operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Collate { expr: inner, collation } => match self.term(inner) {
                Term::Known(Constant::Null) => Term::NULL,
                inner => Term::Apply(format!("collate {collation}"), vec![inner]),
            },
            Expr::Array(array) => Term::apply("array", self.terms(&array.elem)),
            Expr::Position { expr: part, r#in: whole } => self.position(self.term(part), self.term(whole)),
            Expr::Substring { expr: text, substring_from: Some(from), substring_for: None, .. } => {
                match self.term(from) {
                    Term::Known(Constant::Number(Number::ONE)) => self.term(text),
                    number @ Term::Known(Constant::Number(_)) => self.plain("substr", vec![self.term(text), number]),
                    other => Term::apply("substring", vec![self.term(text), other]),
                }
            }
            Expr::Trim { trim_where, trim_what, expr: text, trim_characters: None } => {
                let side = trim_where.map_or_else(String::new, |side| side.to_string());
                let what = trim_what.as_deref().map(|what| self.term(what));
                let text = self.term(text);
                if what == Some(empty()) {
                    return text;
                }
                let function =
                    if side.is_empty() || side == "BOTH" { "btrim".to_owned() } else { format!("trim {side}") };
                self.plain(&function, std::iter::once(text).chain(what).collect())
            }
            Expr::Ceil { expr: inner, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.plain("ceil", vec![self.term(inner)])
            }
            Expr::Floor { expr: inner, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.plain("floor", vec![self.term(inner)])
            }
            Expr::Extract { field, expr: inner, .. } => Term::Apply(format!("extract {field}"), vec![self.term(inner)]),
            Expr::AtTimeZone { timestamp, time_zone } => {
                Term::apply("at time zone", vec![self.term(timestamp), self.term(time_zone)])
            }
            Expr::Overlay { expr: text, overlay_what, overlay_from, overlay_for } => {
                let arguments = [Some(text), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()];
                Term::apply("overlay", arguments.into_iter().flatten().map(|part| self.term(part)).collect())
            }
            Expr::BinaryOp { left, op, right } if !is_predicate(expr) => {
                self.operation(expr, &operator(op), self.term(left), self.term(right))
            }
            _ if is_predicate(expr) => {
                Term::of(self.eval(expr, false).as_constant()).unwrap_or_else(|| self.opaque(expr))
            }
            _ => self.opaque(expr),
        }
    }

    pub(super) fn terms(&self, parts: &'s [Expr]) -> Vec<Term> {
        parts.iter().map(|part| self.term(part)).collect()
    }

    /// What is only known by its place in the text.
    pub(super) fn opaque(&self, expr: &Expr) -> Term {
        Term::Opaque { place: std::ptr::from_ref(expr).addr() as u64, target: self.mentioned_in(expr) }
    }

    fn literal(&self, expr: &Expr, value: &Value) -> Term {
        match value {
            // The mark of a part that could not be read.
            Value::Placeholder(mark) if mark == "$0" => self.opaque(expr),
            Value::Placeholder(parameter) => Term::Parameter(parameter.clone()),
            value => {
                Term::of(Constant::of(value)).unwrap_or_else(|| Term::Apply(format!("literal {value}"), Vec::new()))
            }
        }
    }

    fn access(&self, expr: &'s Expr, root: &'s Expr, chain: &'s [AccessExpr]) -> Term {
        match (self.term(root), chain) {
            (Term::Column(owner, row), [AccessExpr::Dot(Expr::Identifier(column))]) if row == WHOLE_ROW => {
                Term::Column(owner, column.value.clone())
            }
            _ => self.opaque(expr),
        }
    }

    fn cast(&self, expr: &'s Expr, inner: &'s Expr, to: &DataType) -> Term {
        // A predicate, or text that is read as one.
        if Type::of(to) == Type::Bool && is_predicate(inner) {
            return self.term(inner);
        }
        cast(Some(self.term(inner)), to).unwrap_or_else(|| self.opaque(expr))
    }

    /// `left op right`, where that is no comparison.
    fn operation(&self, expr: &Expr, op: &BinaryOperator, left: Term, right: Term) -> Term {
        let Some(function) = operator_name(op) else { return self.opaque(expr) };
        match (&left, &right) {
            (Term::Known(Constant::Null), Term::Known(Constant::Null)) => return Term::NULL,
            // An array and NULL are the array.
            (Term::Known(Constant::Null), _) | (_, Term::Known(Constant::Null))
                if *op == BinaryOperator::StringConcat =>
            {
                return self.opaque(expr);
            }
            (Term::Known(Constant::Null), _) | (_, Term::Known(Constant::Null)) => return Term::NULL,
            (Term::Known(left), Term::Known(right)) => {
                if let Some(known) = Term::of(left.compute(op, right)) {
                    return known;
                }
            }
            _ => {}
        }
        let number = |term: &Term, wanted: i64| *term == Term::Known(Constant::Number(Number::from(wanted)));
        let same = left == right && !left.may_be_null();
        match op {
            BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply => self.arithmetic(op, left, right),
            BinaryOperator::Divide if number(&right, 1) => left,
            // Of 0 it is an error.
            BinaryOperator::Divide if same => Term::Known(Constant::Number(Number::ONE)),
            BinaryOperator::Divide => match (&left, &right) {
                (Term::Sum(sum), Term::Known(Constant::Number(by))) => sum
                    .divided_exactly(*by)
                    .map_or_else(|| Term::apply(function, vec![left.clone(), right.clone()]), Sum::into_term),
                _ => Term::apply(function, vec![left, right]),
            },
            BinaryOperator::PGExp if number(&right, 1) => left,
            BinaryOperator::PGExp if number(&right, 0) && !left.may_be_null() => {
                Term::Known(Constant::Number(Number::ONE))
            }
            BinaryOperator::StringConcat if right == empty() => left,
            BinaryOperator::StringConcat if left == empty() => right,
            BinaryOperator::PGBitwiseXor if same => Term::Known(Constant::Number(Number::ZERO)),
            BinaryOperator::BitwiseAnd | BinaryOperator::BitwiseOr if same => left,
            BinaryOperator::BitwiseAnd if number(&right, 0) && !left.may_be_null() => right,
            BinaryOperator::BitwiseAnd if number(&left, 0) && !right.may_be_null() => left,
            BinaryOperator::BitwiseOr | BinaryOperator::PGBitwiseXor if number(&right, 0) => left,
            BinaryOperator::BitwiseOr | BinaryOperator::PGBitwiseXor if number(&left, 0) => right,
            BinaryOperator::PGBitwiseShiftLeft | BinaryOperator::PGBitwiseShiftRight if number(&right, 0) => left,
            _ => Term::apply(function, vec![left, right]),
        }
    }

    /// `+`, `-` and `*`. Whether they are those of numbers is not known: `jsonb - 'key'` is told by its text, but what a
    /// parameter is cannot be told.
    fn arithmetic(&self, op: &BinaryOperator, left: Term, right: Term) -> Term {
        let sums = match (&right, op) {
            (Term::Parameter(_), BinaryOperator::Minus) if left != right => None,
            _ => Sum::of(&left).zip(Sum::of(&right)),
        };
        let sum = sums.and_then(|(left, right)| match op {
            BinaryOperator::Plus => left.plus(&right),
            BinaryOperator::Minus => left.minus(&right),
            _ => left.times(&right),
        });
        match sum {
            Some(sum) => sum.into_term(),
            None => Term::apply(operator_name(op).unwrap_or_default(), vec![left, right]),
        }
    }

    fn absolute(&self, of: Term) -> Term {
        let zero = Term::Known(Constant::Number(Number::ZERO));
        match self.compare_terms(&of, &BinaryOperator::GtEq, &zero) {
            Truth::True => of,
            Truth::False => self.arithmetic(&BinaryOperator::Minus, zero, of),
            Truth::Null => Term::NULL,
            Truth::Open { .. } => self.plain("abs", vec![of]),
        }
    }

    fn position(&self, part: Term, whole: Term) -> Term {
        if (part == empty() || part == whole) && !part.may_be_null() && !whole.may_be_null() {
            return Term::Known(Constant::Number(Number::ONE));
        }
        Term::apply("position", vec![whole, part])
    }

    /// A CASE, where it is known which branch is taken.
    fn choice(
        &self,
        expr: &'s Expr,
        operand: Option<&'s Expr>,
        conditions: &'s [CaseWhen],
        otherwise: Option<&'s Expr>,
    ) -> Term {
        for CaseWhen { condition, result } in conditions {
            let condition = match operand {
                Some(operand) => self.compare(operand, &BinaryOperator::Eq, condition),
                None => self.eval(condition, false),
            };
            match condition {
                Truth::True => return self.term(result),
                Truth::False | Truth::Null => {}
                Truth::Open { .. } => return self.opaque(expr),
            }
        }
        otherwise.map_or(Term::NULL, |result| self.term(result))
    }

    /// The arguments of a call that is nothing but a call, and its name.
    pub(super) fn plain_call(&self, function: &'s Function) -> Option<(String, Vec<&'s Expr>)> {
        let called = name(&function.name);
        let plain = called.schema.as_deref().is_none_or(|schema| schema == "pg_catalog")
            && function.filter.is_none()
            && function.over.is_none()
            && function.within_group.is_empty();
        let arguments = match &function.args {
            FunctionArguments::None => Vec::new(),
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
                let unnamed = list.args.iter().map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                });
                unnamed.collect::<Option<Vec<_>>>()?
            }
            FunctionArguments::List(_) | FunctionArguments::Subquery(_) => return None,
        };
        plain.then_some((called.name, arguments))
    }

    fn call(&self, expr: &'s Expr, function: &'s Function) -> Term {
        let whole_rows = match &function.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
        };
        // `to_jsonb(t.*)`
        if let [FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(row))] = whole_rows {
            let called = name(&function.name).name;
            return match functions::nulls(&called) {
                _ if called == "row" => Term::Row(vec![self.qualified(&name(row).name, WHOLE_ROW)]),
                Some(_) => self.plain(&called, vec![self.qualified(&name(row).name, WHOLE_ROW)]),
                None => self.opaque(expr),
            };
        }
        let Some((called, arguments)) = self.plain_call(function) else { return self.opaque(expr) };
        let terms: Vec<Term> = arguments.iter().map(|argument| self.term(argument)).collect();
        let zero = Term::Known(Constant::Number(Number::ZERO));
        match (called.as_str(), terms.as_slice()) {
            ("row", _) => Term::Row(terms),
            ("coalesce", _) => coalesce(terms),
            ("nullif", [left, right]) => match self.compare_terms(left, &BinaryOperator::Eq, right) {
                Truth::True => Term::NULL,
                Truth::False | Truth::Null => left.clone(),
                Truth::Open { .. } => self.opaque(expr),
            },
            ("greatest", _) => self.extreme("greatest", &BinaryOperator::GtEq, terms),
            ("least", _) => self.extreme("least", &BinaryOperator::LtEq, terms),
            ("abs", [of]) => self.absolute(of.clone()),
            ("strpos", [whole, part]) => self.position(part.clone(), whole.clone()),
            ("left" | "right" | "repeat", [text, length]) if *length == zero && !text.may_be_null() => empty(),
            ("substr", [text, from]) if *from == Term::Known(Constant::Number(Number::ONE)) => text.clone(),
            ("replace" | "translate", [text, from, to]) if from == to && !from.may_be_null() => text.clone(),
            ("replace" | "translate", [text, from, to]) if *from == empty() && !to.may_be_null() => text.clone(),
            ("btrim" | "ltrim" | "rtrim", [text, what]) if *what == empty() => text.clone(),
            ("reverse", [Term::Apply(inner, text)]) if inner == "reverse" && text.len() == 1 => text[0].clone(),
            ("trim", _) => self.plain("btrim", terms),
            ("to_char", [_, format]) if !matches!(format, Term::Known(Constant::Text(text)) if !text.is_empty()) => {
                self.opaque(expr)
            }
            // The casts by their function names.
            ("text", [of]) => Term::apply("cast text", vec![of.clone()]),
            ("power" | "pow", [left, right]) => {
                self.operation(expr, &BinaryOperator::PGExp, left.clone(), right.clone())
            }
            (called, arguments) => match (functions::as_operator(called), arguments) {
                (Some(op), [left, right]) if operator_name(&op).is_some() => {
                    self.operation(expr, &op, left.clone(), right.clone())
                }
                (Some(_), [_, _]) => {
                    Term::of(self.eval(expr, false).as_constant()).unwrap_or_else(|| self.opaque(expr))
                }
                (None, _) if functions::nulls(called).is_some() => self.plain(called, terms),
                _ => self.opaque(expr),
            },
        }
    }

    /// A function of which nothing more is known than [`functions::nulls`].
    fn plain(&self, function: &str, arguments: Vec<Term>) -> Term {
        let strict = functions::nulls(function) == Some(super::term::Nulls::OfArguments);
        if strict && arguments.contains(&Term::NULL) {
            return Term::NULL;
        }
        if let Some(known) = super::fold::fold(function, &arguments) {
            return Term::Known(known);
        }
        match arguments.as_slice() {
            [Term::Apply(inner, _)] if inner == function && functions::is_idempotent(function) => arguments[0].clone(),
            _ => Term::apply(function, arguments),
        }
    }

    /// GREATEST or LEAST: which of two is taken, where that is known. NULLs do not count.
    fn extreme(&self, function: &str, op: &BinaryOperator, arguments: Vec<Term>) -> Term {
        let mut left: Vec<Term> = Vec::new();
        'next: for argument in arguments.into_iter().filter(|argument| *argument != Term::NULL) {
            for kept in &mut left {
                if kept.may_be_null() || argument.may_be_null() {
                    continue;
                }
                match self.compare_terms(kept, op, &argument) {
                    Truth::True => continue 'next,
                    Truth::False => {
                        *kept = argument;
                        continue 'next;
                    }
                    Truth::Null | Truth::Open { .. } => {}
                }
            }
            left.push(argument);
        }
        match left.len() {
            0 => Term::NULL,
            1 => left.remove(0),
            _ => Term::apply(function, left),
        }
    }

    /// What a value compares with in the same way, as far as GREATEST, LEAST, max and min go: the signs of a value that is
    /// at least, or at most, each of these.
    pub(super) fn beyond<'t>(&self, term: &'t Term) -> Option<(&'t [Term], Signs)> {
        match term {
            Term::Apply(function, of) => match function.as_str() {
                "greatest" | "max" => Some((of, Signs::GREATER | Signs::EQUAL)),
                "least" | "min" => Some((of, Signs::LESS | Signs::EQUAL)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// COALESCE, of a row whose columns are not NULL: a column is never passed over.
fn coalesce(terms: Vec<Term>) -> Term {
    let mut left = Vec::new();
    for term in terms.into_iter().filter(|term| *term != Term::NULL) {
        let last = !term.may_be_null() && !matches!(term, Term::Parameter(_));
        left.push(term);
        if last {
            break;
        }
    }
    match left.len() {
        0 => Term::NULL,
        1 => left.remove(0),
        _ => Term::apply("coalesce", left),
    }
}

fn cast(term: Option<Term>, to: &DataType) -> Option<Term> {
    let term = term?;
    if let Term::Known(constant) = &term
        && let Some(known) = Term::of(constant.clone().cast(to))
    {
        return Some(known);
    }
    let integer = Type::of(to) == Type::Integer;
    Some(match (&term, Type::of(to)) {
        // There and back: what cannot come back is an error.
        (Term::Apply(function, of), _) if integer && function == "cast text" => of.first()?.clone(),
        (Term::Apply(function, _), Type::Text) if function == "cast text" => term,
        (_, Type::Text) => Term::apply("cast text", vec![term]),
        (_, Type::Bool) => Term::apply("cast boolean", vec![term]),
        _ => Term::Apply(format!("cast {}", to.to_string().to_lowercase()), vec![term]),
    })
}

pub(super) fn empty() -> Term {
    Term::Known(Constant::Text(String::new()))
}

/// Whether it is the row of the target, whole.
pub(super) fn is_whole_row(term: &Term) -> bool {
    matches!(term, Term::Column(Owner::Target, name) if name == WHOLE_ROW)
}
