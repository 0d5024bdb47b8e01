//! Forms of predicates that programs and people write to let every row through: patterns, and a fallback to the column itself.

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::columns::{Target, bare};
use super::truth::Truth;
use super::value::Constant;
use crate::sql::walk::name;

impl Target<'_> {
    /// `x = COALESCE(…, x)`: every row, if all that stands before the x is NULL.
    pub(super) fn falls_back_on(&self, x: &Expr, coalesce: &Expr) -> Option<Truth> {
        let Expr::Function(function) = bare(coalesce) else { return None };
        let called = name(&function.name);
        if called.schema.is_some() || called.name != "coalesce" {
            return None;
        }
        let FunctionArguments::List(list) = &function.args else { return None };
        let mut certain = true;
        for argument in &list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else { return None };
            if self.is_same(x, argument) {
                return Some(if certain { Truth::True } else { Truth::Open { target: false } });
            }
            match self.constant(argument) {
                Constant::Null => {}
                Constant::Unknown if !self.mentioned_in(argument) => certain = false,
                _ => return None,
            }
        }
        None
    }

    /// `text SIMILAR TO pattern`: only that any text is similar to %.
    pub(super) fn similar(&self, expr: &Expr, text: &Expr, pattern: &Expr) -> Truth {
        match self.constant(pattern) {
            Constant::Text(any) if !any.is_empty() && any.bytes().all(|b| b == b'%') => {
                self.like(expr, text, pattern, false)
            }
            _ => Truth::Open { target: self.mentioned_in(expr) },
        }
    }

    /// Whether a regular expression is one that matches any text.
    pub(super) fn is_any_pattern(&self, pattern: &Expr) -> bool {
        match self.constant(pattern) {
            Constant::Text(pattern) => {
                let inner = pattern.strip_prefix('^').unwrap_or(&pattern);
                matches!(inner, "" | ".*" | ".*$" | "()" | "(.*)") || pattern == "$"
            }
            _ => false,
        }
    }
}
