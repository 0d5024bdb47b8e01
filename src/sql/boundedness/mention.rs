//! Whether an expression speaks of the target at all.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SetExpr, TableFactor, TableWithJoins, Visit, Visitor,
};

use super::scope::Target;
use super::truth::is_comparison;
use crate::sql::walk::name;

/// It says which table a row is in, and does not choose among the rows of one.
const TABLEOID: &str = "tableoid";

impl Target<'_> {
    /// Whether an expression speaks of the target: one of its columns, also from inside a subquery.
    pub(super) fn mentioned_in(&self, node: &impl Visit) -> bool {
        let mut search = Search { target: self, scopes: self.names_around(), aside: Vec::new() };
        node.visit(&mut search) == ControlFlow::Break(true)
    }
}

/// Looks for a column of the target.
struct Search<'t, 's> {
    target: &'t Target<'s>,
    /// The names that the FROM of each query around the current place brings.
    scopes: Vec<Vec<String>>,
    /// The names that cannot be seen in the queries of the FROM that brings them.
    aside: Vec<Vec<String>>,
}

impl Search<'_, '_> {
    fn is_target(&self, qualifier: &str) -> bool {
        self.target.is_qualifier(qualifier) && !self.scopes.iter().flatten().any(|name| name == qualifier)
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

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<bool> {
        match factor {
            TableFactor::Derived { lateral: false, .. } => {
                self.aside.push(self.scopes.last_mut().map(std::mem::take).unwrap_or_default());
            }
            // A bare column that a function in FROM is given is most likely one of the query around.
            TableFactor::UNNEST { array_exprs, .. } if array_exprs.iter().any(has_bare_column) => {
                return ControlFlow::Break(true);
            }
            TableFactor::Table { args: Some(args), .. } if args.args.iter().any(has_bare_argument) => {
                return ControlFlow::Break(true);
            }
            TableFactor::Function { args, .. } if args.iter().any(has_bare_argument) => {
                return ControlFlow::Break(true);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<bool> {
        if let TableFactor::Derived { lateral: false, .. } = factor
            && let (Some(names), Some(scope)) = (self.aside.pop(), self.scopes.last_mut())
        {
            *scope = names;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<bool> {
        if !self.target.step() {
            return ControlFlow::Break(false);
        }
        let inner = self.scopes.iter().any(|names| !names.is_empty());
        let found = match expr {
            // Inside a subquery with a FROM of its own, a bare column is most likely that FROM's …
            Expr::Identifier(column) => !inner && column.value != TABLEOID,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, column] => self.is_target(&qualifier.value) && column.value != TABLEOID,
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

fn has_bare_argument(argument: &FunctionArg) -> bool {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => has_bare_column(expr),
        _ => false,
    }
}

fn has_bare_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => has_bare_column(inner),
        Expr::BinaryOp { left, right, .. } => has_bare_column(left) || has_bare_column(right),
        Expr::Function(function) => match &function.args {
            FunctionArguments::List(list) => list.args.iter().any(has_bare_argument),
            FunctionArguments::None | FunctionArguments::Subquery(_) => false,
        },
        _ => false,
    }
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

pub(super) fn from_names(table: &TableWithJoins, names: &mut Vec<String>) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        factor_names(factor, names);
    }
}

pub(super) fn factor_names(factor: &TableFactor, names: &mut Vec<String>) {
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
        TableFactor::UnpivotExpr { .. } => return,
    };
    names.extend(alias.as_ref().map(|alias| alias.name.value.clone()).or(own));
}
