//! Subqueries in a predicate: those that let every row of the target through.

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, JoinOperator, Query, Select, SelectItem, SetExpr, SetOperator,
    TableFactor, Value,
};

use super::chain;
use super::columns::Target;
use super::truth::Truth;
use super::value::Constant;
use crate::sql::walk::name;

/// Deepest chain of queries in FROM that is followed.
const MAX_DEPTH: usize = 8;

/// Aggregates: without GROUP BY a query of them gives exactly one row.
const AGGREGATES: &[&str] =
    &["array_agg", "avg", "bool_and", "bool_or", "count", "every", "max", "min", "string_agg", "sum"];

impl Target<'_> {
    /// `EXISTS (query)`
    pub(super) fn exists(&self, query: &Query) -> Truth {
        if is_limited(query) {
            return Truth::Open { target: self.mentioned_in(query) };
        }
        match query.body.as_ref() {
            SetExpr::Select(select) => self.select_exists(select),
            SetExpr::Query(query) => self.exists(query),
            SetExpr::Values(values) if !values.rows.is_empty() => Truth::True,
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
                let part = |part: &SetExpr| match part {
                    SetExpr::Select(select) => self.select_exists(select),
                    _ => Truth::Open { target: self.mentioned_in(&query_of(part.clone())) },
                };
                part(left).or(part(right))
            }
            _ => Truth::Open { target: self.mentioned_in(query) },
        }
    }

    fn select_exists(&self, select: &Select) -> Truth {
        if select.having.is_none() && is_plain_aggregate(select) {
            return Truth::True;
        }
        if select.having.is_some() || is_grouping_sets(&select.group_by) {
            return Truth::Open { target: self.mentioned_in(&select_of(select.clone())) };
        }
        let filter = select.selection.as_ref();
        if select.from.is_empty() {
            // One row, unless a function in the list makes none of it.
            return if select.projection.iter().any(may_multiply) {
                Truth::Open { target: self.mentioned_in(&select_of(select.clone())) }
            } else {
                // No row where the filter is NULL; EXISTS itself never is.
                match filter.map_or(Truth::True, |filter| self.truth(filter)) {
                    Truth::Null => Truth::False,
                    known => known,
                }
            };
        }
        let mut kept = None;
        if let Some(filter) = filter {
            let parts = chain(filter, &BinaryOperator::And);
            let (all, truth, choosing) = self.inside(&select.from, || {
                let identity = |part: &Expr| self.is_self_join(part, &select.from);
                let all = parts.iter().any(|part| identity(part))
                    && parts.iter().all(|part| identity(part) || self.truth(part) == Truth::True);
                let choosing: Vec<&Expr> =
                    parts.iter().copied().filter(|part| self.truth(part) != Truth::True).collect();
                (all, self.truth(filter), choosing)
            });
            if all {
                return Truth::True;
            }
            if matches!(truth, Truth::False | Truth::Null) {
                return Truth::False;
            }
            kept = choosing.into_iter().cloned().reduce(|left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::And,
                right: Box::new(right),
            });
        }
        // What it lists does not matter, nor what is true anyway.
        let choosing = Select { projection: Vec::new(), selection: kept, ..select.clone() };
        Truth::Open { target: self.mentioned_in(&select_of(choosing)) }
    }

    /// `expr IN (query)`
    pub(super) fn in_query(&self, expr: &Expr, query: &Query) -> Truth {
        if let Some(column) = self.column(expr) {
            if self.covers(query, None, column, MAX_DEPTH) {
                return Truth::True;
            }
            // `id IN (SELECT t.id FROM …)`, the column of the target itself: true for each row for which there is any.
            if let SetExpr::Select(select) = query.body.as_ref()
                && let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
                    select.projection.as_slice()
                && self.is_target_itself(item, select, column)
            {
                return self.exists(query);
            }
        }
        match self.rows(query) {
            Rows::None => return Truth::False,
            Rows::One(value) => {
                if let Some(constant) = self.constant(expr).compare(&BinaryOperator::Eq, &value) {
                    return Truth::of(&constant);
                }
            }
            Rows::Unknown => {}
        }
        Truth::Open { target: self.mentioned_in(expr) || self.mentioned_in(query) }
    }

    fn is_target_itself(&self, item: &Expr, select: &Select, column: &str) -> bool {
        let alone =
            Select { projection: vec![SelectItem::UnnamedExpr(item.clone())], selection: None, ..select.clone() };
        let is_own = match item {
            Expr::CompoundIdentifier(_) => self.mentioned_in(&select_of(alone)),
            _ => select.from.is_empty(),
        };
        is_own && self.column(item) == Some(column)
    }

    /// The value of a query that stands for one: `(SELECT true)`; NULL where it has no row.
    pub(super) fn scalar(&self, query: &Query) -> Constant {
        match self.rows(query) {
            Rows::None => Constant::Null,
            Rows::One(value) => value,
            Rows::Unknown => Constant::Unknown,
        }
    }

    /// The rows of a query without FROM.
    fn rows(&self, query: &Query) -> Rows {
        let SetExpr::Select(select) = query.body.as_ref() else { return Rows::Unknown };
        if select.having.is_some() || is_plain_aggregate(select) || is_grouping_sets(&select.group_by) {
            return Rows::Unknown;
        }
        if !select.from.is_empty() {
            let none =
                |filter: &Expr| matches!(self.inside(&select.from, || self.truth(filter)), Truth::False | Truth::Null);
            return if select.selection.as_ref().is_some_and(none) { Rows::None } else { Rows::Unknown };
        }
        if is_limited(query) {
            return Rows::Unknown;
        }
        let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
            select.projection.as_slice()
        else {
            return Rows::Unknown;
        };
        match select.selection.as_ref().map_or(Truth::True, |filter| self.truth(filter)) {
            Truth::True => Rows::One(self.constant(item)),
            Truth::False | Truth::Null => Rows::None,
            Truth::Open { .. } => Rows::Unknown,
        }
    }

    /// Whether a query gives, in its column `output` (its only one where that is not named), every value that the target's
    /// `column` has: `SELECT id FROM target`, also through CTEs and queries in FROM.
    fn covers(&self, query: &Query, output: Option<&str>, column: &str, depth: usize) -> bool {
        if depth == 0 || is_limited(query) {
            return false;
        }
        match query.body.as_ref() {
            SetExpr::Select(select) => self.select_covers(query, select, output, column, depth),
            SetExpr::Query(inner) => self.covers(inner, output, column, depth - 1),
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
                [left, right].into_iter().any(|part| {
                    matches!(part.as_ref(), SetExpr::Select(select)
                    if self.select_covers(query, select, output, column, depth))
                })
            }
            _ => false,
        }
    }

    fn select_covers(&self, query: &Query, select: &Select, output: Option<&str>, column: &str, depth: usize) -> bool {
        // Each row finds at least itself where the query is joined to the target by the same column.
        let passes = |filter: &Expr| {
            self.inside(&select.from, || {
                let part = |part: &Expr| self.is_self_join(part, &select.from) || self.truth(part) == Truth::True;
                chain(filter, &BinaryOperator::And).into_iter().all(part)
            })
        };
        let filtered = !select.selection.as_ref().is_none_or(passes);
        let [from] = select.from.as_slice() else { return false };
        let outer = from.joins.iter().all(|join| {
            matches!(
                join.join_operator,
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::FullOuter(_)
            )
        });
        let plain = !filtered
            && outer
            && select.having.is_none()
            && select.qualify.is_none()
            && !matches!(select.distinct, Some(Distinct::On(_)))
            && !is_grouping_sets(&select.group_by)
            && !is_plain_aggregate(select);
        if !plain {
            return false;
        }
        let (relation, alias) = match &from.relation {
            TableFactor::Table { name: table, alias, args: None, sample: None, .. } => (Some(name(table)), alias),
            TableFactor::Derived { alias, sample: None, .. } => (None, alias),
            _ => return false,
        };
        let qualifier = alias.as_ref().map(|a| a.name.value.as_str()).or(relation.as_ref().map(|r| r.name.as_str()));
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return false;
        }
        let Some(source) = self.output_source(select, output, qualifier) else { return false };
        match (&from.relation, relation) {
            (TableFactor::Derived { subquery, .. }, _) => self.covers(subquery, Some(source), column, depth - 1),
            (_, Some(table)) => {
                let with = query.with.as_ref().map_or(&[][..], |with| &with.cte_tables);
                let cte = with.iter().chain(self.ctes).find(|cte| {
                    table.schema.is_none() && cte.alias.name.value == table.name && cte.alias.columns.is_empty()
                });
                match cte {
                    Some(cte) => self.covers(&cte.query, Some(source), column, depth - 1),
                    None => self.is_same_table(&table) && source == column,
                }
            }
            (_, None) => false,
        }
    }

    /// Whether a table or query in FROM has, in its column of that name, every value that the target's column has.
    pub(super) fn gives_all(&self, factor: &TableFactor, column: &str) -> bool {
        match factor {
            TableFactor::Table { name: table, alias, args: None, sample: None, .. } => {
                let table = name(table);
                let cte = self.ctes.iter().find(|cte| table.schema.is_none() && cte.alias.name.value == table.name);
                alias.as_ref().is_none_or(|alias| alias.columns.is_empty())
                    && match cte {
                        Some(cte) => {
                            cte.alias.columns.is_empty() && self.covers(&cte.query, Some(column), column, MAX_DEPTH)
                        }
                        None => self.is_same_table(&table),
                    }
            }
            TableFactor::Derived { subquery, alias, sample: None, .. } => {
                alias.as_ref().is_none_or(|alias| alias.columns.is_empty())
                    && self.covers(subquery, Some(column), column, MAX_DEPTH)
            }
            _ => false,
        }
    }

    /// The column of the FROM's table that a query's `output` is.
    fn output_source<'q>(
        &self,
        select: &'q Select,
        output: Option<&'q str>,
        qualifier: Option<&str>,
    ) -> Option<&'q str> {
        let plain = |expr: &'q Expr| match expr {
            Expr::Identifier(column) => Some(column.value.as_str()),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, column] if Some(table.value.as_str()) == qualifier => Some(column.value.as_str()),
                _ => None,
            },
            _ => None,
        };
        let only = select.projection.len() == 1;
        select.projection.iter().find_map(|item| match item {
            SelectItem::UnnamedExpr(expr) => {
                let source = plain(expr)?;
                (output == Some(source) || (output.is_none() && only)).then_some(source)
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let source = plain(expr)?;
                (output == Some(alias.value.as_str()) || (output.is_none() && only)).then_some(source)
            }
            SelectItem::Wildcard(_) => output,
            SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => None,
        })
    }
}

enum Rows {
    None,
    One(Constant),
    Unknown,
}

fn select_of(select: Select) -> Query {
    query_of(SetExpr::Select(Box::new(select)))
}

fn query_of(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// LIMIT, OFFSET, FETCH: fewer rows than there are. `LIMIT ALL` and `LIMIT NULL` are none.
fn is_limited(query: &Query) -> bool {
    use sqlparser::ast::LimitClause;
    let limit = match &query.limit_clause {
        None => false,
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            let null = |expr: &Expr| matches!(expr, Expr::Value(value) if value.value == Value::Null);
            let skips = |offset: &Expr| !matches!(offset, Expr::Value(v) if v.value.to_string() == "0" || v.value == Value::Null);
            offset.as_ref().is_some_and(|offset| skips(&offset.value))
                || limit.as_ref().is_some_and(|limit| !null(limit))
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => true,
    };
    limit || query.fetch.is_some()
}

fn is_grouping_sets(group_by: &GroupByExpr) -> bool {
    match group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => {
            !modifiers.is_empty()
                || expressions.iter().any(|e| matches!(e, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)))
        }
    }
}

/// `SELECT count(*) FROM …` without GROUP BY.
fn is_plain_aggregate(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
    };
    !grouped
        && select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(Expr::Function(function))
            | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. } => {
                function.over.is_none() && AGGREGATES.binary_search(&name(&function.name).name.as_str()).is_ok()
            }
            _ => false,
        })
}

/// Whether an item of a SELECT's list may give other than one row: it calls a function that could return a set.
fn may_multiply(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            !matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                && sqlparser::ast::visit_expressions(expr, |expr| match expr {
                    Expr::Function(_) => std::ops::ControlFlow::Break(()),
                    _ => std::ops::ControlFlow::Continue(()),
                })
                .is_break()
        }
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => true,
    }
}
