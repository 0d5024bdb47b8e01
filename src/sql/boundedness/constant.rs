//! The value of an expression that is made of constants.

use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
};

use super::columns::Target;
use super::truth::{Truth, is_predicate};
use super::value::Constant;
use crate::sql::walk::name;

impl Target<'_> {
    /// The value of an expression, where it is a constant.
    pub(super) fn constant(&self, expr: &Expr) -> Constant {
        if !self.step() {
            return Constant::Unknown;
        }
        match expr {
            Expr::Value(value) => Constant::of(&value.value),
            Expr::Nested(inner) => self.constant(inner),
            // A collation decides which texts are equal.
            Expr::Collate { expr: inner, .. } => match self.constant(inner) {
                Constant::Null => Constant::Null,
                _ => Constant::Unknown,
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => self.constant(inner).negate(),
            Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => match self.constant(inner) {
                number @ (Constant::Number(_) | Constant::Null) => number,
                Constant::Bool(_) | Constant::Text(_) | Constant::Unknown => Constant::Unknown,
            },
            Expr::Cast { expr: inner, data_type, .. } => self.constant(inner).cast(data_type),
            Expr::TypedString(typed) => Constant::of(&typed.value.value).cast(&typed.data_type),
            Expr::Subquery(query) => self.scalar(query),
            Expr::Function(function) => self.function(function),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case_value(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
                self.constant(left).compute(op, &self.constant(right))
            }
            _ if is_predicate(expr) => self.eval(expr, false).as_constant(),
            _ => Constant::Unknown,
        }
    }

    fn case_value(&self, operand: Option<&Expr>, conditions: &[CaseWhen], otherwise: Option<&Expr>) -> Constant {
        for CaseWhen { condition, result } in conditions {
            let condition = match operand {
                Some(operand) => self.compare(operand, &BinaryOperator::Eq, condition),
                None => self.truth(condition),
            };
            match condition {
                Truth::True => return self.constant(result),
                Truth::False | Truth::Null => {}
                Truth::Open { .. } => return Constant::Unknown,
            }
        }
        otherwise.map_or(Constant::Null, |result| self.constant(result))
    }

    /// COALESCE and NULLIF of constants.
    fn function(&self, function: &Function) -> Constant {
        let FunctionArguments::List(list) = &function.args else { return Constant::Unknown };
        let arguments: Option<Vec<&Expr>> = list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect();
        let called = name(&function.name);
        match (called.schema, called.name.as_str(), arguments.as_deref()) {
            (None, "coalesce", Some(arguments)) => {
                arguments.iter().map(|arg| self.constant(arg)).find(|c| *c != Constant::Null).unwrap_or(Constant::Null)
            }
            (None, "nullif", Some([left, right])) => match self.compare(left, &BinaryOperator::Eq, right) {
                Truth::True => Constant::Null,
                Truth::False | Truth::Null => self.constant(left),
                Truth::Open { .. } => Constant::Unknown,
            },
            _ => Constant::Unknown,
        }
    }
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
    )
}
