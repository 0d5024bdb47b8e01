//! Whose column is it: the target's, or somebody else's.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SetExpr, TableFactor,
    TableWithJoins, Value, Visit, Visitor,
};

use super::chain;
use crate::sql::Name;
use crate::sql::walk::name;

/// The table that is written to, as its predicate sees it.
#[derive(Clone, Debug)]
pub(super) struct Target<'s> {
    table: Name,
    /// The name that columns are qualified with: the alias, where there is one.
    qualifier: String,
    /// Nothing stands in FROM or USING.
    alone: bool,
    from: &'s [TableWithJoins],
    pub(super) ctes: &'s [Cte],
    /// Steps that may still be taken. A predicate can be built so that folding it would take for ever; what is not looked at
    /// does not count as a restriction.
    fuel: Cell<u32>,
    /// What the FROM clauses bring of the subqueries that are being looked into.
    scopes: RefCell<Vec<Vec<String>>>,
}

/// Steps for a predicate, and more for each of its expressions: a plain one takes about ten for each.
const FUEL: u32 = 4_000;
const FUEL_PER_EXPRESSION: u32 = 64;

impl<'s> Target<'s> {
    pub(super) fn new(table: &TableFactor, from: &'s [TableWithJoins], ctes: &'s [Cte]) -> Option<Self> {
        let TableFactor::Table { name: table, alias, .. } = table else { return None };
        let table = name(table);
        let qualifier = alias.as_ref().map_or_else(|| table.name.clone(), |alias| alias.name.value.clone());
        Some(Target {
            table,
            qualifier,
            alone: from.is_empty(),
            from,
            ctes,
            fuel: Cell::new(FUEL),
            scopes: RefCell::default(),
        })
    }

    /// Provides for a predicate.
    pub(super) fn refuel(&self, predicate: &Expr) {
        let mut expressions = 0u32;
        let _ = sqlparser::ast::visit_expressions(predicate, |_| {
            expressions = expressions.saturating_add(1);
            ControlFlow::<()>::Continue(())
        });
        let more = expressions.saturating_mul(FUEL_PER_EXPRESSION);
        self.fuel.set(self.fuel.get().saturating_add(more));
    }

    /// Takes a step; false when none is left.
    pub(super) fn step(&self) -> bool {
        let left = self.fuel.get();
        self.fuel.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether a table in a FROM is the target's table.
    pub(super) fn is_same_table(&self, other: &Name) -> bool {
        let schemas = (self.table.schema.as_ref(), other.schema.as_ref());
        self.table.name == other.name && !matches!(schemas, (Some(a), Some(b)) if a != b)
    }

    /// The name of the target's column that `expr` is, for certain.
    pub(super) fn column<'e>(&self, expr: &'e Expr) -> Option<&'e str> {
        match expr {
            Expr::Nested(inner) => self.column(inner),
            Expr::Identifier(column) if self.alone && self.scopes.borrow().is_empty() => Some(&column.value),
            Expr::CompoundIdentifier(parts) => {
                let [.., qualifier, column] = parts.as_slice() else { return None };
                let hidden = self.scopes.borrow().iter().flatten().any(|name| *name == qualifier.value);
                (qualifier.value == self.qualifier && !hidden).then_some(&column.value)
            }
            _ => None,
        }
    }

    /// Looks into a subquery: bare columns are most likely those of its FROM there.
    pub(super) fn inside<T>(&self, from: &[TableWithJoins], look: impl FnOnce() -> T) -> T {
        let mut names = Vec::new();
        from.iter().for_each(|table| from_names(table, &mut names));
        self.scopes.borrow_mut().push(names);
        let seen = look();
        self.scopes.borrow_mut().pop();
        seen
    }

    /// Whether an expression speaks of the target: one of its columns, also from inside a subquery.
    pub(super) fn mentioned_in(&self, node: &impl Visit) -> bool {
        let mut search = Search { target: self, scopes: self.scopes.borrow().clone() };
        node.visit(&mut search) == ControlFlow::Break(true)
    }

    /// Whether a predicate does no more than join the target to itself, column by column, so that every row is found.
    pub(super) fn joins_itself(&self, predicate: &Expr) -> bool {
        if self.from.is_empty() {
            return false;
        }
        let mut joined = false;
        let all = chain(predicate, &BinaryOperator::And).into_iter().all(|part| {
            let identity = self.is_self_join(part, self.from);
            joined |= identity;
            identity || self.truth(part) == super::Truth::True
        });
        all && joined
    }

    /// `target.x = other.x`, where `other` is the target's table again, or a query that gives all of its rows.
    pub(super) fn is_self_join(&self, expr: &Expr, from: &[TableWithJoins]) -> bool {
        let (left, right) = match expr {
            Expr::BinaryOp { left, op, right } if operator(op) == BinaryOperator::Eq => (bare(left), bare(right)),
            Expr::IsNotDistinctFrom(left, right) => (bare(left), bare(right)),
            Expr::Nested(inner) => return self.is_self_join(inner, from),
            _ => return false,
        };
        if let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right) {
            return left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| self.is_pair(bare(left), bare(right), from));
        }
        self.is_pair(left, right, from)
    }

    fn is_pair(&self, left: &Expr, right: &Expr, from: &[TableWithJoins]) -> bool {
        let other = |expr: &Expr, column: &str| match expr {
            Expr::CompoundIdentifier(parts) => {
                let [.., qualifier, name] = parts.as_slice() else { return false };
                name.value == column
                    && qualifier.value != self.qualifier
                    && self.is_self(&qualifier.value, column, from)
            }
            _ => false,
        };
        let one_way = |a: &Expr, b: &Expr| {
            matches!(a, Expr::CompoundIdentifier(_)) && self.column(a).is_some_and(|c| other(b, c))
        };
        one_way(left, right) || one_way(right, left)
    }

    /// Whether `alias` stands for all values of the target's column, and nothing joined to it leaves any out.
    fn is_self(&self, alias: &str, column: &str, from: &[TableWithJoins]) -> bool {
        let known_as = |factor: &TableFactor| match factor {
            TableFactor::Table { alias: Some(named), .. } | TableFactor::Derived { alias: Some(named), .. } => {
                named.name.value == alias
            }
            TableFactor::Table { name: table, alias: None, .. } => name(table).name == alias,
            _ => false,
        };
        from.iter().all(|table| table.joins.is_empty())
            && from.iter().any(|table| known_as(&table.relation) && self.gives_all(&table.relation, column))
    }

    /// Whether two expressions always have the same value: equal in form, and made of columns, constants and functions that
    /// give the same answer each time within a statement.
    pub(super) fn is_same(&self, left: &Expr, right: &Expr) -> bool {
        if !self.step() {
            return false;
        }
        let same = |a: &[Expr], b: &[Expr]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.is_same(a, b));
        match (strip(left), strip(right)) {
            (Expr::Identifier(a), Expr::Identifier(b)) => a.value == b.value,
            (Expr::CompoundIdentifier(a), Expr::CompoundIdentifier(b)) => {
                // The schema before the table changes nothing.
                let tail = |parts: &[Ident]| {
                    let names = parts.iter().rev().take(2);
                    names.map(|part| part.value.clone()).collect::<Vec<_>>()
                };
                tail(a) == tail(b)
            }
            (a @ Expr::Identifier(_), b @ Expr::CompoundIdentifier(_))
            | (a @ Expr::CompoundIdentifier(_), b @ Expr::Identifier(_)) => {
                self.column(a).is_some() && self.column(a) == self.column(b)
            }
            (Expr::Value(a), Expr::Value(b)) => {
                // A parameter, though it is not known, is the same wherever it stands; the mark of a cut list is not.
                // Nor is NULL, which equals nothing.
                a.value == b.value && a.value != Value::Null && a.value.to_string() != "$0"
            }
            (Expr::Cast { expr: a, data_type: to_a, .. }, Expr::Cast { expr: b, data_type: to_b, .. }) => {
                to_a == to_b && self.is_same(a, b)
            }
            (Expr::TypedString(a), Expr::TypedString(b)) => {
                a.data_type == b.data_type && a.value.value == b.value.value
            }
            (Expr::UnaryOp { op: op_a, expr: a }, Expr::UnaryOp { op: op_b, expr: b }) => {
                op_a == op_b && self.is_same(a, b)
            }
            (
                Expr::BinaryOp { left: left_a, op: op_a, right: right_a },
                Expr::BinaryOp { left: left_b, op: op_b, right: right_b },
            ) => op_a == op_b && self.is_same(left_a, left_b) && self.is_same(right_a, right_b),
            (Expr::Collate { expr: a, .. }, Expr::Collate { expr: b, .. }) => self.is_same(a, b),
            (Expr::Tuple(a), Expr::Tuple(b)) => same(a, b),
            (Expr::Array(a), Expr::Array(b)) => same(&a.elem, &b.elem),
            (Expr::Function(a), Expr::Function(b)) => {
                let called = name(&a.name);
                let plain = |f: &sqlparser::ast::Function| f.filter.is_none() && f.over.is_none();
                called == name(&b.name)
                    && called.schema.as_deref().is_none_or(|schema| schema == "pg_catalog")
                    && SAME_EACH_TIME.binary_search(&called.name.as_str()).is_ok()
                    && plain(a)
                    && plain(b)
                    && self.is_same_arguments(&a.args, &b.args)
            }
            _ => false,
        }
    }

    fn is_same_arguments(&self, a: &FunctionArguments, b: &FunctionArguments) -> bool {
        match (a, b) {
            (FunctionArguments::None, FunctionArguments::None) => true,
            (FunctionArguments::List(a), FunctionArguments::List(b)) => {
                a.args.len() == b.args.len()
                    && a.args.iter().zip(&b.args).all(|pair| match pair {
                        (
                            FunctionArg::Unnamed(FunctionArgExpr::Expr(a)),
                            FunctionArg::Unnamed(FunctionArgExpr::Expr(b)),
                        ) => self.is_same(a, b),
                        _ => false,
                    })
            }
            _ => false,
        }
    }
}

/// Built-in functions that give the same answer for the same arguments within a statement, and none for NULL only; sorted.
const SAME_EACH_TIME: &[&str] = &[
    "abs",
    "btrim",
    "cardinality",
    "char_length",
    "coalesce",
    "concat",
    "current_catalog",
    "current_database",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "date_trunc",
    "greatest",
    "initcap",
    "jsonb_typeof",
    "least",
    "left",
    "length",
    "localtime",
    "localtimestamp",
    "lower",
    "ltrim",
    "md5",
    "now",
    "octet_length",
    "pg_typeof",
    "replace",
    "reverse",
    "right",
    "round",
    "row",
    "rtrim",
    "session_user",
    "statement_timestamp",
    "substr",
    "to_char",
    "to_json",
    "to_jsonb",
    "transaction_timestamp",
    "trim",
    "trunc",
    "upper",
    "user",
    "version",
];

/// What an operator is, also where it is written `OPERATOR(pg_catalog.=)`.
pub(super) fn operator(op: &BinaryOperator) -> BinaryOperator {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return op.clone() };
    let plain = match parts.as_slice() {
        [only] => only,
        [schema, only] if schema == "pg_catalog" => only,
        _ => return op.clone(),
    };
    match plain.as_str() {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        _ => op.clone(),
    }
}

/// An expression without parentheses around it.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        _ => expr,
    }
}

/// An expression without what does not change its value: parentheses, `+ 0`, `* 1`, `|| ''`.
fn strip(expr: &Expr) -> &Expr {
    use super::value::{Constant, Number};
    let constant = |expr: &Expr| match expr {
        Expr::Value(value) => Constant::of(&value.value),
        _ => Constant::Unknown,
    };
    let zero = Constant::Number(Number::ZERO);
    let one = Constant::Number(Number::ONE);
    match expr {
        Expr::Nested(inner) => strip(inner),
        Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Plus, expr } => strip(expr),
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::Plus | BinaryOperator::Minus if constant(right) == zero => strip(left),
            BinaryOperator::Plus if constant(left) == zero => strip(right),
            BinaryOperator::Multiply | BinaryOperator::Divide if constant(right) == one => strip(left),
            BinaryOperator::Multiply if constant(left) == one => strip(right),
            BinaryOperator::StringConcat if constant(right) == Constant::Text(String::new()) => strip(left),
            _ => expr,
        },
        _ => expr,
    }
}

/// Looks for a column of the target.
struct Search<'t, 's> {
    target: &'t Target<'s>,
    /// The names that the FROM of each query around the current place brings.
    scopes: Vec<Vec<String>>,
}

impl Search<'_, '_> {
    fn is_target(&self, qualifier: &str) -> bool {
        qualifier == self.target.qualifier && !self.scopes.iter().flatten().any(|name| name == qualifier)
    }
}

impl Visitor for Search<'_, '_> {
    /// Whether it was found; false when the search was given up.
    type Break = bool;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<bool> {
        let mut names = Vec::new();
        set_names(&query.body, &mut names);
        self.scopes.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<bool> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<bool> {
        if !self.target.step() {
            return ControlFlow::Break(false);
        }
        let inner = self.scopes.iter().any(|names| !names.is_empty());
        let found = match expr {
            // Inside a subquery with a FROM of its own, a bare column is most likely that FROM's …
            Expr::Identifier(_) => !inner,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, _] => self.is_target(&qualifier.value),
                _ => false,
            },
            Expr::QualifiedWildcard(name, _) => {
                name.0.last().and_then(|part| part.as_ident()).is_some_and(|part| self.is_target(&part.value))
            }
            // … unless it is compared with another column: `p.id = project_id` is how subqueries are correlated.
            Expr::BinaryOp { left, op, right } if inner && is_comparison(op) => {
                is_column(left) && is_column(right) && (is_bare(left) || is_bare(right))
            }
            Expr::InSubquery { expr, .. } if inner => is_bare(expr),
            // `to_jsonb(t.*)`
            Expr::Function(function) => match &function.args {
                FunctionArguments::List(list) => list.args.iter().any(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(row)) => self.is_target(&name(row).name),
                    _ => false,
                }),
                FunctionArguments::None | FunctionArguments::Subquery(_) => false,
            },
            _ => false,
        };
        if found { ControlFlow::Break(true) } else { ControlFlow::Continue(()) }
    }
}

pub(super) fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(expr) | Expr::Cast { expr, .. } => is_column(expr),
        _ => false,
    }
}

fn is_bare(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) => true,
        Expr::Nested(expr) | Expr::Cast { expr, .. } => is_bare(expr),
        _ => false,
    }
}

fn set_names(body: &SetExpr, names: &mut Vec<String>) {
    match body {
        SetExpr::Select(select) => select.from.iter().for_each(|table| from_names(table, names)),
        SetExpr::SetOperation { left, right, .. } => {
            set_names(left, names);
            set_names(right, names);
        }
        SetExpr::Query(_)
        | SetExpr::Values(_)
        | SetExpr::Insert(_)
        | SetExpr::Update(_)
        | SetExpr::Delete(_)
        | SetExpr::Merge(_)
        | SetExpr::Table(_) => {}
    }
}

fn from_names(table: &TableWithJoins, names: &mut Vec<String>) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        let (alias, own) = match factor {
            TableFactor::Table { alias, name: table, .. } => (alias, Some(name(table).name)),
            TableFactor::Function { alias, name: function, .. } => (alias, Some(name(function).name)),
            TableFactor::NestedJoin { alias, table_with_joins } => {
                from_names(table_with_joins, names);
                (alias, None)
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::JsonTable { alias, .. }
            | TableFactor::OpenJsonTable { alias, .. }
            | TableFactor::Pivot { alias, .. }
            | TableFactor::Unpivot { alias, .. }
            | TableFactor::MatchRecognize { alias, .. }
            | TableFactor::XmlTable { alias, .. }
            | TableFactor::SemanticView { alias, .. } => (alias, Some(String::new())),
            TableFactor::UnpivotExpr { .. } => continue,
        };
        names.extend(alias.as_ref().map(|alias| alias.name.value.clone()).or(own));
    }
}
