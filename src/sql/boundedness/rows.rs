//! Rows that a query is certain to have, for a row of the target: `SELECT id FROM t` has, among others, that row's own id.

use sqlparser::ast::{
    Distinct, Expr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, Query, Select, SelectItem,
    SetExpr, SetOperator, TableAlias, TableFactor, TableWithJoins,
};

use super::expression::is_whole_row;
use super::scope::{Row, Target};
use super::subquery::{Limit, is_grouping_sets, is_plain_aggregate, limit, may_multiply};
use super::term::{Owner, Term, WHOLE_ROW};
use super::truth::Truth;
use super::value::{Constant, Number};
use crate::sql::Name;
use crate::sql::walk::name;

/// Most rows that are kept apart.
const MOST: usize = 16;

/// One row of each item of a FROM, by the item's name.
type Items = Vec<(String, Row)>;

impl<'s> Target<'s> {
    /// Rows that a query has. Not all that it has.
    pub(super) fn certain_rows(&self, query: &'s Query) -> Vec<Row> {
        let Some(_deeper) = self.deeper() else { return Vec::new() };
        let ctes = query.with.as_ref().map_or(&[][..], |with| &with.cte_tables);
        self.with_ctes(ctes, || {
            let rows = self.body_rows(&query.body);
            match limit(query) {
                Limit::None => rows,
                Limit::SomeRow if is_single(&query.body) => rows,
                Limit::SomeRow | Limit::Unknown => Vec::new(),
            }
        })
    }

    /// Every row of a query that has no FROM; `None` where it is not known whether there are others.
    pub(super) fn all_rows(&self, query: &'s Query) -> Option<Vec<Row>> {
        if !matches!(limit(query), Limit::None) {
            return None;
        }
        match query.body.as_ref() {
            SetExpr::Values(_) => Some(self.certain_rows(query)),
            SetExpr::Query(inner) => self.all_rows(inner),
            SetExpr::Select(select) => {
                let never = select.selection.as_ref().is_some_and(|filter| self.is_never_passed(select, filter));
                if never && !is_plain_aggregate(select) && !is_grouping_sets(&select.group_by) {
                    return Some(Vec::new());
                }
                let rows = (select.from.is_empty() && !is_plain_aggregate(select)).then(|| self.certain_rows(query))?;
                // None means that the filter is not known.
                (!rows.is_empty()).then_some(rows)
            }
            _ => None,
        }
    }

    fn is_never_passed(&self, select: &'s Select, filter: &'s Expr) -> bool {
        self.inside(&select.from, || self.is_never_true(filter))
    }

    fn body_rows(&self, body: &'s SetExpr) -> Vec<Row> {
        match body {
            SetExpr::Select(select) => self.select_rows(select),
            SetExpr::Query(query) => self.certain_rows(query),
            SetExpr::Values(values) => {
                let row = |parts: &'s [Expr]| {
                    let named = |(i, part): (usize, &'s Expr)| (format!("column{}", i + 1), self.term(part));
                    listed(parts.iter().enumerate().map(named).collect())
                };
                values.rows.iter().take(MOST).map(|parts| row(&parts.content)).collect()
            }
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
                let mut rows = self.body_rows(left);
                // The names are those of the first part.
                let names: Vec<String> = rows
                    .first()
                    .map(|row| row.columns.iter().map(|(name, _)| name.clone()).collect())
                    .unwrap_or_default();
                rows.extend(self.body_rows(right).into_iter().map(|row| renamed(row, &names)));
                rows
            }
            SetExpr::SetOperation { op: SetOperator::Intersect, left, right, .. } => {
                let others = self.body_rows(right);
                let is_common = |row: &Row| {
                    others.iter().any(|other| {
                        row.is_target == other.is_target
                            && row.columns.iter().map(|(_, term)| term).eq(other.columns.iter().map(|(_, term)| term))
                    })
                };
                self.body_rows(left).into_iter().filter(is_common).collect()
            }
            SetExpr::Table(table) => match &table.table_name {
                Some(table_name) => {
                    self.table_rows(&Name { schema: table.schema_name.clone(), name: table_name.clone() })
                }
                None => Vec::new(),
            },
            SetExpr::SetOperation { .. }
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_) => Vec::new(),
        }
    }

    fn select_rows(&self, select: &'s Select) -> Vec<Row> {
        let plain = select.having.is_none()
            && select.qualify.is_none()
            && !matches!(select.distinct, Some(Distinct::On(_)))
            && !is_grouping_sets(&select.group_by)
            && !select.projection.iter().any(may_multiply);
        if !plain {
            return Vec::new();
        }
        if is_plain_aggregate(select) {
            return vec![self.aggregates(select)];
        }
        let filter = select.selection.as_ref();
        let mut rows = Vec::new();
        for items in self.items(&select.from) {
            let sure = items.iter().all(|(_, row)| row.sure);
            let row = self.at_rows(items, || {
                filter.is_none_or(|filter| self.truth(filter) == Truth::True).then(|| self.listed(select))
            });
            rows.extend(row.flatten().map(|row| Row { sure, ..row }));
        }
        rows
    }

    /// What the list of a SELECT makes of a row; `None` where it is not known what columns that has.
    fn listed(&self, select: &'s Select) -> Option<Row> {
        let mut row = listed(Vec::new());
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let called = match expr {
                        Expr::Identifier(column) => column.value.clone(),
                        Expr::CompoundIdentifier(parts) => parts.last()?.value.clone(),
                        Expr::QualifiedWildcard(..) => return None,
                        Expr::Function(function) => name(&function.name).name,
                        _ => "?column?".to_owned(),
                    };
                    row.columns.push((called, self.term(expr)));
                }
                SelectItem::ExprWithAlias { expr, alias } => row.columns.push((alias.value.clone(), self.term(expr))),
                SelectItem::Wildcard(_) => {
                    for (_, item) in self.items_here() {
                        row.is_target |= item.is_target;
                        row.open |= item.open;
                        row.columns.extend(item.columns);
                    }
                }
                SelectItem::QualifiedWildcard(kind, _) => {
                    let qualifier = kind.to_string();
                    let (_, item) = self
                        .items_here()
                        .into_iter()
                        .find(|(name, _)| format!("{name}.*") == qualifier || *name == qualifier)?;
                    row.is_target |= item.is_target;
                    row.open |= item.open;
                    row.columns.extend(item.columns);
                }
                SelectItem::ExprWithAliases { .. } => return None,
            }
        }
        Some(row)
    }

    /// The one row of `SELECT count(*) FROM …`.
    fn aggregates(&self, select: &'s Select) -> Row {
        let columns = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr @ Expr::Function(function)) => {
                Some((name(&function.name).name, self.aggregate(select, expr, self.opaque(expr))))
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                Some((alias.value.clone(), self.aggregate(select, expr, self.opaque(expr))))
            }
            _ => None,
        });
        let columns: Vec<_> = columns.collect();
        Row { open: columns.len() < select.projection.len(), ..listed(columns) }
    }

    /// count, max and min, as far as they are known from the rows that are certain; what is `unknown` of them stands for the rest.
    pub(super) fn aggregate(&self, select: &'s Select, expr: &'s Expr, unknown: Term) -> Term {
        let Expr::Function(function) = expr else { return unknown };
        let called = name(&function.name).name;
        let filter = select.selection.as_ref();
        let mut over: Vec<Term> = Vec::new();
        let rows_of = |argument: &'s Expr| {
            let mut found = Vec::new();
            for items in self.items(&select.from).into_iter().filter(|items| items.iter().all(|(_, row)| row.sure)) {
                let value = self.at_rows(items, || {
                    filter.is_none_or(|filter| self.truth(filter) == Truth::True).then(|| self.term(argument))
                });
                found.extend(value.filter(|value| !value.may_be_null()));
            }
            found
        };
        match (called.as_str(), self.plain_call(function)) {
            ("max" | "min", Some((_, arguments))) => {
                if let [argument] = arguments.as_slice() {
                    over = rows_of(argument);
                }
                over.push(unknown);
                Term::Apply(called, over)
            }
            ("count", Some((_, arguments))) => {
                let some = match arguments.as_slice() {
                    [argument] => !rows_of(argument).is_empty(),
                    _ => false,
                };
                self.counted(unknown, some)
            }
            ("count", None) => {
                let star = match &function.args {
                    sqlparser::ast::FunctionArguments::List(list) => {
                        matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
                    }
                    _ => false,
                };
                let some = star
                    && function.filter.is_none()
                    && self.items(&select.from).into_iter().any(|items| {
                        items.iter().all(|(_, row)| row.sure)
                            && self.at_rows(items, || filter.is_none_or(|filter| self.truth(filter) == Truth::True))
                    });
                self.counted(unknown, some)
            }
            _ => unknown,
        }
    }

    /// A count, which is 1 at least where there is certain to be a row.
    fn counted(&self, unknown: Term, some: bool) -> Term {
        let count = Term::apply("count", vec![unknown]);
        let one = super::sum::Sum::of(&Term::Known(Constant::Number(Number::ONE)));
        match (some, super::sum::Sum::of(&count).zip(one).and_then(|(count, one)| count.plus(&one))) {
            (true, Some(sum)) => sum.into_term(),
            _ => count,
        }
    }

    /// Rows of the items of a FROM that are certain to stand beside each other.
    pub(super) fn items(&self, from: &'s [TableWithJoins]) -> Vec<Items> {
        let mut all: Vec<Items> = vec![Vec::new()];
        for table in from {
            all = self.each_with(all, |items| self.joined_rows(items, table));
        }
        all
    }

    fn each_with(&self, all: Vec<Items>, more: impl Fn(&Items) -> Vec<Items>) -> Vec<Items> {
        let mut out = Vec::new();
        for items in all {
            for added in more(&items) {
                if out.len() < MOST && self.step() {
                    out.push(items.iter().cloned().chain(added).collect());
                }
            }
        }
        out
    }

    fn joined_rows(&self, before: &Items, table: &'s TableWithJoins) -> Vec<Items> {
        let mut all = self.factor_rows(before, &table.relation);
        for join in &table.joins {
            all = self.each_join(before, all, join);
        }
        all
    }

    fn each_join(&self, before: &Items, all: Vec<Items>, join: &'s Join) -> Vec<Items> {
        let (constraint, keeps_left) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
                (constraint, false)
            }
            JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::FullOuter(constraint) => (constraint, true),
            _ => return Vec::new(),
        };
        let mut out = Vec::new();
        for left in all {
            let around: Items = before.iter().chain(&left).cloned().collect();
            let mut matched = Vec::new();
            for right in self.factor_rows(&around, &join.relation) {
                let both: Items = around.iter().chain(&right).cloned().collect();
                if self.holds(constraint, &left, &right, both) {
                    matched.push(right);
                }
            }
            if keeps_left && matched.is_empty() {
                // What stands on the other side may be NULL.
                let mut names = Vec::new();
                super::mention::factor_names(&join.relation, &mut names);
                let unknown = |name| (name, Row { sure: true, ..Row::unknown() });
                matched.push(names.into_iter().map(unknown).collect());
            }
            out.extend(matched.into_iter().map(|right| left.iter().cloned().chain(right).collect()));
        }
        out.truncate(MOST);
        out
    }

    fn holds(&self, constraint: &'s JoinConstraint, left: &Items, right: &Items, both: Items) -> bool {
        match constraint {
            JoinConstraint::None => true,
            JoinConstraint::On(condition) => self.at_rows(both, || self.truth(condition) == Truth::True),
            JoinConstraint::Using(columns) => columns.iter().all(|column| {
                let column = name(column).name;
                let value = |items: &Items| items.iter().find_map(|(_, row)| row.column(&column));
                value(left).is_some_and(|left| !left.may_be_null() && Some(left) == value(right))
            }),
            JoinConstraint::Natural => left.iter().chain(right).all(|(_, row)| row.is_target && row.columns.is_empty()),
        }
    }

    fn factor_rows(&self, before: &Items, factor: &'s TableFactor) -> Vec<Items> {
        let one = |called: String, row: Row| vec![vec![(called, row)]];
        match factor {
            TableFactor::Table { name: table, alias, args: None, sample: None, .. } => {
                let table = name(table);
                let called = alias.as_ref().map_or_else(|| table.name.clone(), |alias| alias.name.value.clone());
                let rows = self.table_rows(&table).into_iter().map(|row| aliased(row, alias.as_ref()));
                self.or_unknown(factor, called, rows.collect())
            }
            TableFactor::Derived { subquery, alias, lateral, sample: None } => {
                let called = alias.as_ref().map_or_else(String::new, |alias| alias.name.value.clone());
                let rows = match lateral {
                    true => self.at_rows(before.clone(), || self.certain_rows(subquery)),
                    false => self.certain_rows(subquery),
                };
                self.or_unknown(factor, called, rows.into_iter().map(|row| aliased(row, alias.as_ref())).collect())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.joined_rows(before, table_with_joins),
            TableFactor::UNNEST { alias, array_exprs, with_ordinality: false, .. } => {
                let called = alias.as_ref().map_or_else(|| "unnest".to_owned(), |alias| alias.name.value.clone());
                let elements = match array_exprs.as_slice() {
                    [Expr::Array(array)] => self.terms(&array.elem),
                    _ => Vec::new(),
                };
                let rows = elements.into_iter().take(MOST).map(|element| scalar(&called, element));
                self.or_unknown(factor, called.clone(), rows.map(|row| aliased(row, alias.as_ref())).collect())
            }
            TableFactor::Table { name: function, alias, args: Some(args), with_ordinality: false, .. } => {
                let function = name(function);
                let called = alias.as_ref().map_or_else(|| function.name.clone(), |alias| alias.name.value.clone());
                let bounds: Vec<Term> = args
                    .args
                    .iter()
                    .filter_map(|arg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(self.term(expr)),
                        _ => None,
                    })
                    .collect();
                let rows = match (function.name.as_str(), bounds.as_slice()) {
                    ("generate_series", [low, high])
                        if self.compare_terms(low, &sqlparser::ast::BinaryOperator::LtEq, high) == Truth::True =>
                    {
                        vec![scalar(&called, low.clone())]
                    }
                    _ => Vec::new(),
                };
                self.or_unknown(
                    factor,
                    called.clone(),
                    rows.into_iter().map(|row| aliased(row, alias.as_ref())).collect(),
                )
            }
            other => {
                let mut names = Vec::new();
                super::mention::factor_names(other, &mut names);
                one(names.into_iter().next().unwrap_or_default(), Row::unknown())
            }
        }
    }

    /// Nothing known of the rows: that there are any is for the data to say, unless it depends on the target's row.
    fn or_unknown(&self, factor: &TableFactor, called: String, rows: Vec<Row>) -> Vec<Items> {
        let rows = match rows.is_empty() {
            true if self.mentioned_in(factor) => Vec::new(),
            true => vec![Row::unknown()],
            false => rows,
        };
        rows.into_iter().map(|row| vec![(called.clone(), row)]).collect()
    }

    /// The rows of a table or of the CTE of that name.
    fn table_rows(&self, table: &Name) -> Vec<Row> {
        match self.cte(table) {
            Some(cte) => {
                let rows = self.in_cte(cte, || self.certain_rows(&cte.query)).unwrap_or_default();
                rows.into_iter().map(|row| aliased(row, Some(&cte.alias))).collect()
            }
            None if self.is_same_table(table) => vec![Row::of_target()],
            None => Vec::new(),
        }
    }

    /// Whether a row's columns are certain to be these values; a target's whole row is taken to have them in their order.
    pub(super) fn has_values(&self, row: &Row, op: &sqlparser::ast::BinaryOperator, values: &[Term]) -> Truth {
        let own = |term: &Term| matches!(term, Term::Column(Owner::Target, name) if name != WHOLE_ROW);
        if row.is_target && row.columns.is_empty() && !row.open {
            let all = values.iter().all(own) && values.iter().enumerate().all(|(i, v)| !values[..i].contains(v));
            return if all || matches!(values, [whole] if is_whole_row(whole)) {
                Truth::when(
                    super::signs::Signs::that_satisfy(op).is_some_and(|s| super::signs::Signs::EQUAL.is_within(s)),
                )
            } else {
                Truth::Open { target: true }
            };
        }
        if row.is_target || row.open || row.columns.len() != values.len() {
            return Truth::Open { target: true };
        }
        let columns: Vec<Term> = row.columns.iter().map(|(_, term)| term.clone()).collect();
        match (values, columns.as_slice()) {
            ([value], [column]) => self.compare_terms(value, op, column),
            _ => self.compare_terms(&Term::Row(values.to_vec()), op, &Term::Row(columns)),
        }
    }
}

fn listed(columns: Vec<(String, Term)>) -> Row {
    Row { columns, is_target: false, open: false, sure: true }
}

fn scalar(called: &str, value: Term) -> Row {
    listed(vec![(called.to_owned(), value)])
}

fn renamed(row: Row, names: &[String]) -> Row {
    if names.len() != row.columns.len() || row.is_target {
        return row;
    }
    let columns = row.columns.into_iter().zip(names).map(|((_, term), name)| (name.clone(), term)).collect();
    Row { columns, ..row }
}

/// A row under an alias that may give its columns other names.
fn aliased(row: Row, alias: Option<&TableAlias>) -> Row {
    let Some(alias) = alias else { return row };
    let names: Vec<String> = alias.columns.iter().map(|column| column.name.value.clone()).collect();
    match (names.is_empty(), row.is_target) {
        // A function's only column is called as the function is.
        (true, _) => match row.columns.as_slice() {
            [(own, value)] if !row.is_target && *own == alias.name.value => scalar(&alias.name.value, value.clone()),
            _ => row,
        },
        // Which column is which is not known.
        (false, true) => Row { sure: row.sure, ..Row::unknown() },
        (false, false) => {
            let count = names.len().min(row.columns.len());
            let mut columns = row.columns;
            for (column, name) in columns.iter_mut().zip(&names[..count]) {
                column.0.clone_from(name);
            }
            Row { columns, is_target: false, open: row.open, sure: row.sure }
        }
    }
}

/// Whether a query has one row at most.
fn is_single(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.from.is_empty() || is_plain_aggregate(select),
        SetExpr::Values(values) => values.rows.len() == 1,
        _ => false,
    }
}
