//! Function calls in sqlparser's tree: their arguments, and what `set_config` sets.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Value,
};

use super::walk::name;
use super::{Call, Effect, Scope, SettingValue, setting};

pub(super) fn arguments(function: &Function) -> Vec<&FunctionArg> {
    match &function.args {
        FunctionArguments::List(list) => list.args.iter().collect(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => Vec::new(),
    }
}

pub(super) fn call(function: &ObjectName, arguments: &[&FunctionArg]) -> Call {
    Call {
        name: name(function),
        arity: arguments.iter().filter(|arg| !is_star(arg)).count(),
        literals: arguments.iter().map(|arg| literal(argument(arg)?).map(str::to_owned)).collect(),
        sql_is_read: false,
    }
}

/// `f(*)`, a call without arguments; `f(t.*)` has one.
fn is_star(arg: &FunctionArg) -> bool {
    matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Wildcard))
}

fn argument(arg: &FunctionArg) -> Option<&Expr> {
    let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) = arg;
    match arg {
        FunctionArgExpr::Expr(expr) => Some(expr),
        _ => None,
    }
}

/// A string literal, also one that is cast or in parentheses.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(value) => Some(value),
            _ => None,
        },
        Expr::Cast { expr, .. } | Expr::Nested(expr) => literal(expr),
        _ => None,
    }
}

/// `column = 'literal'`
pub(super) fn equals_literal(predicate: &Expr) -> Option<(&str, &str)> {
    match predicate {
        Expr::Nested(inner) => equals_literal(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match left.as_ref() {
            Expr::Identifier(column) => Some((&column.value, literal(right)?)),
            Expr::CompoundIdentifier(parts) => Some((&parts.last()?.value, literal(right)?)),
            _ => None,
        },
        _ => None,
    }
}

/// The effect of `set_config(setting_name, new_value, is_local)`. Where it is not certain that it runs once, its value is not
/// known. `column_name` is what a column `name` stands for, where that is known.
pub(super) fn set_config(arguments: &[&FunctionArg], certain: bool, column_name: Option<&str>) -> Effect {
    let find = |position: usize, parameter: &str| {
        let named = arguments.iter().find(|arg| match arg {
            FunctionArg::Named { name, .. } => name.value == parameter,
            FunctionArg::ExprNamed { name, .. } => matches!(name, Expr::Identifier(name) if name.value == parameter),
            FunctionArg::Unnamed(_) => false,
        });
        let positional = || arguments.get(position).filter(|arg| matches!(arg, FunctionArg::Unnamed(_)));
        argument(named.or_else(positional)?)
    };
    let written = find(0, "setting_name").and_then(|argument| match argument {
        Expr::Identifier(column) if column.value == "name" => column_name,
        argument => literal(argument),
    });
    let Some(name) = written else { return Effect::SetUnknown };
    let value = find(1, "new_value");
    let local = match find(2, "is_local") {
        Some(Expr::Value(value)) => matches!(value.value, Value::Boolean(true)),
        _ => false,
    };
    let is_null = matches!(value, Some(Expr::Value(value)) if value.value == Value::Null);
    let known = value.and_then(literal).filter(|_| certain).map(str::to_owned);
    let mut effect = setting::by_function(name, known, local);
    if let Effect::Set { value, .. } = &mut effect
        && is_null
        && certain
    {
        *value = SettingValue::Default;
    }
    if let Effect::Set { scope, .. } = &mut effect
        && !certain
    {
        *scope = Scope::Session;
    }
    effect
}
