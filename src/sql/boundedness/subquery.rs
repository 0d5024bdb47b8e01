//! Subqueries in a predicate: those that let every row of the target through.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, SetOperator, Value,
    visit_expressions,
};

use super::chain;
use super::functions;
use super::scope::{Row, Target};
use super::term::Term;
use super::truth::Truth;
use super::value::{Constant, Number};
use crate::sql::walk::name;

/// Aggregates: without GROUP BY a query of them gives exactly one row.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

impl<'s> Target<'s> {
    /// `EXISTS (query)`
    pub(super) fn exists(&self, query: &'s Query) -> Truth {
        // Which rows a limit leaves does not matter, as long as it leaves any.
        if matches!(limit(query), Limit::Unknown) {
            return Truth::Open { target: self.mentioned_in(query) };
        }
        let ctes = query.with.as_ref().map_or(&[][..], |with| &with.cte_tables);
        let truth = self.with_ctes(ctes, || self.body_exists(query, &query.body));
        match (truth, self.repeatable(query)) {
            (open @ Truth::Open { .. }, Some(known)) => self.asked_of(open, Term::apply("exists", vec![known])),
            (truth, _) => truth,
        }
    }

    fn body_exists(&self, query: &'s Query, body: &'s SetExpr) -> Truth {
        match body {
            SetExpr::Select(select) => self.select_exists(select),
            SetExpr::Query(inner) => self.exists(inner),
            SetExpr::Values(values) if !values.rows.is_empty() => Truth::True,
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
                self.body_exists(query, left).or(self.body_exists(query, right))
            }
            _ => {
                if self.certain_rows(query).iter().any(|row| row.sure) {
                    return Truth::True;
                }
                Truth::Open { target: self.mentioned_in(query) }
            }
        }
    }

    fn select_exists(&self, select: &'s Select) -> Truth {
        if select.having.is_none() && is_plain_aggregate(select) {
            return Truth::True;
        }
        let filter = select.selection.as_ref();
        if select.having.is_some() || is_grouping_sets(&select.group_by) {
            return Truth::Open { target: self.mentioned_in(select) };
        }
        // One row for each, unless a function in the list makes none of it.
        if select.projection.iter().any(may_multiply) {
            return Truth::Open { target: self.mentioned_in(select) };
        }
        if select.from.is_empty() {
            // No row where the filter is NULL; EXISTS itself never is.
            return match filter.map_or(Truth::True, |filter| self.at_rows(Vec::new(), || self.truth(filter))) {
                Truth::Null => Truth::False,
                known => known,
            };
        }
        let passes = |items: &Vec<(String, Row)>| {
            self.at_rows(items.clone(), || filter.is_none_or(|filter| self.truth(filter) == Truth::True))
        };
        let mut for_all = false;
        for items in self.items(&select.from).into_iter().filter(passes) {
            if items.iter().all(|(_, row)| row.sure) {
                return Truth::True;
            }
            for_all = true;
        }
        if for_all && filter.is_none_or(|filter| self.inside(&select.from, || self.truth(filter)) == Truth::True) {
            // For every row of the target, or for none.
            return Truth::Open { target: false };
        }
        let Some(filter) = filter else { return Truth::Open { target: self.mentioned_in(&select.from) } };
        let (never, kept) = self.inside(&select.from, || {
            let parts = chain(filter, &BinaryOperator::And).into_iter();
            (
                self.is_never_true(filter),
                parts.filter(|part| self.truth(part) != Truth::True).cloned().collect::<Vec<_>>(),
            )
        });
        if never {
            return Truth::False;
        }
        if for_all {
            return Truth::Open { target: false };
        }
        // What it lists does not matter, nor what is true anyway.
        let kept = kept.into_iter().reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        });
        let choosing = Select { projection: Vec::new(), selection: kept, ..select.clone() };
        Truth::Open { target: self.mentioned_in(&query_of(SetExpr::Select(Box::new(choosing)))) }
    }

    /// `expr op ANY (query)`; `expr IN (query)`.
    pub(super) fn in_query(&self, expr: &'s Expr, op: &BinaryOperator, query: &'s Query) -> Truth {
        let left = self.term(expr);
        let values = match &left {
            Term::Row(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        if let Some(rows) = self.all_rows(query) {
            return rows.iter().map(|row| self.has_values(row, op, values)).fold(Truth::False, Truth::or);
        }
        let mut for_all = false;
        for row in self.elements_of(query) {
            if self.has_values(&row, op, values) == Truth::True {
                if row.sure {
                    return Truth::True;
                }
                for_all = true;
            }
        }
        let open = Truth::Open { target: !for_all && (left.mentions_target() || self.mentioned_in(query)) };
        match (self.repeatable(query), &left) {
            (None, _) | (_, Term::Opaque { .. }) => open,
            (Some(known), _) => {
                let op = Term::Apply(format!("literal {op}"), Vec::new());
                self.asked_of(open, Term::apply("in", vec![op, known, left]))
            }
        }
    }

    /// The rows of a query, or the elements of the array that it makes of them: `= ANY ((SELECT array_agg(id) FROM t))`.
    fn elements_of(&self, query: &'s Query) -> Vec<Row> {
        if let SetExpr::Select(select) = query.body.as_ref()
            && let [SelectItem::UnnamedExpr(Expr::Function(function))] = select.projection.as_slice()
            && let Some(("array_agg", [argument])) =
                self.plain_call(function).as_ref().map(|(name, arguments)| (name.as_str(), arguments.as_slice()))
            && is_plain_aggregate(select)
            && select.having.is_none()
        {
            let filter = select.selection.as_ref();
            let element = |items: Vec<(String, Row)>| {
                let sure = items.iter().all(|(_, row)| row.sure);
                let value = self.at_rows(items, || {
                    filter.is_none_or(|filter| self.truth(filter) == Truth::True).then(|| self.term(argument))
                });
                value.map(|value| Row {
                    columns: vec![("array_agg".to_owned(), value)],
                    is_target: false,
                    open: false,
                    sure,
                })
            };
            return self.items(&select.from).into_iter().filter_map(element).collect();
        }
        self.certain_rows(query)
    }

    /// The value of a query that stands for one: `(SELECT true)`; NULL where it has no row.
    pub(super) fn scalar(&self, expr: &'s Expr, query: &'s Query) -> Term {
        if let SetExpr::Select(select) = query.body.as_ref()
            && let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
                select.projection.as_slice()
            && select.having.is_none()
            && is_plain_aggregate(select)
            && matches!(limit(query), Limit::None | Limit::SomeRow)
        {
            let ctes = query.with.as_ref().map_or(&[][..], |with| &with.cte_tables);
            let unknown = self.repeatable(query).unwrap_or_else(|| self.opaque(expr));
            return self.with_ctes(ctes, || self.aggregate(select, item, unknown));
        }
        if self.all_rows(query).is_some_and(|rows| rows.is_empty()) {
            return Term::NULL;
        }
        // If there are others, it is an error.
        match self.certain_rows(query).as_slice() {
            [row] if row.sure && !row.open && !row.is_target && row.columns.len() == 1 => row.columns[0].1.clone(),
            _ => self.repeatable(query).unwrap_or_else(|| self.opaque(expr)),
        }
    }

    /// A question that is asked whole, where its parts do not tell.
    fn asked_of(&self, open: Truth, question: Term) -> Truth {
        match self.leaf(question) {
            Truth::Open { .. } => open,
            known => known,
        }
    }

    /// The value of a query that gives the same each time within a statement: two of the same text are equal. `None` for others,
    /// and where a query stands around it.
    fn repeatable(&self, query: &'s Query) -> Option<Term> {
        let plain = self.names_around().is_empty()
            && matches!(limit(query), Limit::None)
            && visit_expressions(query, |expr| match expr {
                Expr::Function(function) if !is_known(function) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
            .is_continue();
        let text = plain.then(|| query.to_string()).filter(|text| !text.contains("TABLESAMPLE"))?;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Some(Term::Opaque { place: hasher.finish(), target: self.mentioned_in(query) })
    }
}

fn is_known(function: &Function) -> bool {
    let called = name(&function.name);
    called.schema.as_deref().is_none_or(|schema| schema == "pg_catalog")
        && (functions::nulls(&called.name).is_some() || AGGREGATES.contains(&called.name.as_str()))
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

/// What LIMIT, OFFSET and FETCH leave of a query's rows.
pub(super) enum Limit {
    /// All of them: `LIMIT ALL`, `LIMIT NULL`, `OFFSET 0`.
    None,
    /// One at least, where there are any.
    SomeRow,
    Unknown,
}

pub(super) fn limit(query: &Query) -> Limit {
    let value = |expr: &Expr| match expr {
        Expr::Value(value) => Constant::of(&value.value),
        _ => Constant::Unknown,
    };
    let leaves = |quantity: Option<&Expr>| match quantity.map(value) {
        None => Limit::None,
        Some(Constant::Null) => Limit::None,
        Some(Constant::Number(number)) if number != Number::ZERO && !number.is_negative() => Limit::SomeRow,
        Some(_) => Limit::Unknown,
    };
    let limited = match &query.limit_clause {
        None => Limit::None,
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            let skips = offset.as_ref().is_some_and(|offset| {
                !matches!(value(&offset.value), Constant::Null | Constant::Number(Number::ZERO))
                    && !matches!(&offset.value, Expr::Value(v) if v.value == Value::Null)
            });
            if skips { Limit::Unknown } else { leaves(limit.as_ref()) }
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => Limit::Unknown,
    };
    match (&query.fetch, limited) {
        (None, limited) => limited,
        (Some(fetch), Limit::None | Limit::SomeRow) if !fetch.percent => match &fetch.quantity {
            None => Limit::SomeRow,
            quantity => match leaves(quantity.as_ref()) {
                Limit::None | Limit::SomeRow => Limit::SomeRow,
                Limit::Unknown => Limit::Unknown,
            },
        },
        (Some(_), _) => Limit::Unknown,
    }
}

pub(super) fn is_grouping_sets(group_by: &GroupByExpr) -> bool {
    match group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => {
            !modifiers.is_empty()
                || expressions.iter().any(|e| matches!(e, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)))
        }
    }
}

/// `SELECT count(*) FROM …` without GROUP BY.
pub(super) fn is_plain_aggregate(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
    };
    !grouped
        && select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                visit_expressions(expr, |expr| match expr {
                    Expr::Function(function)
                        if function.over.is_none() && AGGREGATES.contains(&name(&function.name).name.as_str()) =>
                    {
                        ControlFlow::Break(())
                    }
                    // An aggregate in a subquery is that one's.
                    _ => ControlFlow::Continue(()),
                })
                .is_break()
                    && !has_query(expr)
            }
            _ => false,
        })
}

fn has_query(expr: &Expr) -> bool {
    visit_expressions(expr, |expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// Whether an item of a SELECT's list may give other than one row: it calls a function that could return a set.
pub(super) fn may_multiply(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            visit_expressions(expr, |expr| match expr {
                Expr::Function(function) if !is_known(function) && name(&function.name).name != "row" => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })
            .is_break()
        }
        SelectItem::ExprWithAliases { .. } => true,
        SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => false,
    }
}
