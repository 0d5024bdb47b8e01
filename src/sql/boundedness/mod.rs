//! How far the predicate of an UPDATE, DELETE or MERGE restricts the rows it touches (docs/architecture.md, boundedness).
//!
//! A predicate is [always true](Boundedness::Tautology) when it is true for every row whose columns, as far as the predicate
//! names them, hold ordinary values: neither NULL nor NaN or infinity, nor arrays with NULL in them. So `id = id` counts as always
//! true, and `id IS NOT NULL` does not: it asks for NULL, and is looked at as what it asks. Operators and functions are taken to be
//! Postgres's own, and arithmetic to be exact. Nothing else is folded that is not certain: what is only suspicious (`id > 0`)
//! counts as bounded, and the row limit takes care of it.
//!
//! How it is told: expressions become [`term::Term`]s, in which what is always equal looks the same (`expression`, `sum`); a
//! comparison of two is known by what they are (`compare`, `range`), and predicates by Postgres's three-valued logic (`truth`). What
//! is not known yet is asked, and looked at with each answer in turn (`cases`). Subqueries are read for the rows that they are
//! certain to have for each row of the target (`rows`).

mod cases;
mod compare;
mod expression;
mod fold;
mod functions;
mod matching;
mod mention;
mod patterns;
mod quantified;
mod range;
mod rows;
mod scope;
mod signs;
mod subquery;
mod sum;
mod term;
mod truth;
mod value;

use sqlparser::ast::{
    BinaryOperator, ConflictTarget, Cte, Delete, DoUpdate, Expr, FromTable, Insert, Merge, MergeAction,
    MergeClauseKind, ObjectName, OnConflict, OnConflictAction, OnInsert, TableFactor, TableWithJoins, Update,
    UpdateTableFromKind,
};

use self::scope::{Row, Target};
use self::term::{Owner, Term};
use self::truth::Truth;
use super::Boundedness;
use super::walk::name;

/// Gives an expression's text.
type Source<'s> = &'s dyn Fn(&Expr) -> String;

/// Boundedness of an UPDATE; `ctes` are those of the WITH before it.
pub(super) fn of_update(update: &Update, ctes: &[Cte], source: Source<'_>) -> Boundedness {
    let from = match &update.from {
        Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => from.as_slice(),
        None => &[],
    };
    of_predicate(&update.table.relation, from, update.selection.as_ref(), ctes, source)
}

/// Boundedness of a DELETE.
pub(super) fn of_delete(delete: &Delete, ctes: &[Cte], source: Source<'_>) -> Boundedness {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    match from.first() {
        Some(table) => {
            let using = delete.using.as_deref().unwrap_or_default();
            of_predicate(&table.relation, using, delete.selection.as_ref(), ctes, source)
        }
        None => Boundedness::Missing,
    }
}

/// Boundedness of a MERGE: the widest of its WHEN clauses that change or delete rows of the target.
pub(super) fn of_merge(merge: &Merge, ctes: &[Cte], source: Source<'_>) -> Boundedness {
    let joined = TableWithJoins { relation: merge.source.clone(), joins: Vec::new() };
    let Some(target) = Target::new(&merge.table, std::slice::from_ref(&joined), ctes) else {
        return Boundedness::Missing;
    };
    let mut widest = Boundedness::Bounded;
    for clause in &merge.clauses {
        target.refuel(&merge.on);
        if let Some(predicate) = &clause.predicate {
            target.refuel(predicate);
        }
        match &clause.action {
            MergeAction::Update(_) | MergeAction::Delete { .. } => {}
            MergeAction::Insert(_) | MergeAction::DoNothing { .. } => continue,
        }
        let when = clause.predicate.as_ref();
        let both = |on: Truth| on.and(when.map_or(Truth::True, |predicate| target.truth(predicate)));
        let all = match clause.clause_kind {
            MergeClauseKind::Matched => target.with_own_row(|| both(target.truth(&merge.on))),
            // The rows of the target that no row of the source matches.
            MergeClauseKind::NotMatchedBySource => both(target.negated(&merge.on)),
            MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => continue,
        };
        let text = || match when {
            Some(predicate) => format!("{} AND {}", source(&merge.on), source(predicate)),
            None => source(&merge.on),
        };
        let bound = judge(all, text);
        if rank(&bound) > rank(&widest) {
            widest = bound;
        }
    }
    widest
}

fn of_predicate(
    table: &TableFactor,
    from: &[TableWithJoins],
    predicate: Option<&Expr>,
    ctes: &[Cte],
    source: Source<'_>,
) -> Boundedness {
    let (Some(predicate), Some(target)) = (predicate, Target::new(table, from, ctes)) else {
        return Boundedness::Missing;
    };
    target.refuel(predicate);
    judge(target.with_own_row(|| target.truth(predicate)), || source(predicate))
}

/// Boundedness of an INSERT … ON CONFLICT DO UPDATE: when it inserts the table's own rows into the table, each of them is updated.
pub(super) fn of_insert(insert: &Insert, table: &ObjectName, ctes: &[Cte], source: Source<'_>) -> Boundedness {
    let (Some(OnInsert::OnConflict(conflict)), Some(query)) = (&insert.on, &insert.source) else {
        return Boundedness::NotApplicable;
    };
    let OnConflict { conflict_target, action: OnConflictAction::DoUpdate(DoUpdate { selection, .. }) } = conflict
    else {
        return Boundedness::NotApplicable;
    };
    let table = name(table);
    let alias = insert.table_alias.as_ref().map(|alias| alias.alias.value.clone());
    let qualifier = alias.unwrap_or_else(|| table.name.clone());
    // Names in the query are those of its own FROM.
    let target = Target::named(table, qualifier, &[], ctes);
    let columns: Vec<String> = insert.columns.iter().map(|column| name(column).name).collect();
    let keys: &[_] = match conflict_target {
        Some(ConflictTarget::Columns(keys)) => keys,
        Some(ConflictTarget::OnConstraint(_)) | None => &[],
    };
    let keeps_key = |row: &Row| {
        let own = |at: usize, key: &str| {
            row.columns.get(at).is_some_and(|(_, term)| *term == Term::Column(Owner::Target, key.to_owned()))
        };
        let keeps = |key: &str| match columns.iter().position(|column| column == key) {
            Some(at) => own(at, key),
            None => columns.is_empty() && (0..row.columns.len()).any(|at| own(at, key)),
        };
        match (row.is_target, keys) {
            (true, _) => true,
            // Which columns a constraint has is not known; a table's first column is most often its key.
            (false, []) => {
                columns.first().is_none_or(|first| own(0, first))
                    && matches!(row.columns.first(), Some((_, Term::Column(Owner::Target, _))))
            }
            (false, keys) => keys.iter().all(|key| keeps(&key.value)),
        }
    };
    let Some(row) = target.certain_rows(query).into_iter().find(|row| row.sure && keeps_key(row)) else {
        return Boundedness::NotApplicable;
    };
    let Some(predicate) = selection else { return Boundedness::Missing };
    target.refuel(predicate);
    let inserted = Row { open: false, ..row };
    match target.beside_rows(vec![("excluded".to_owned(), inserted)], || target.truth(predicate)) {
        Truth::Open { target: true } | Truth::False | Truth::Null => Boundedness::NotApplicable,
        truth => judge(truth, || source(predicate)),
    }
}

impl Target<'_> {
    /// What a predicate comes to where what stands beside the target, in FROM or USING, has the target's own row: of a table
    /// joined to itself, each row finds at least itself.
    fn with_own_row(&self, look: impl Fn() -> Truth) -> Truth {
        let first = look();
        if !matches!(first, Truth::Open { .. }) || self.from.is_empty() {
            return first;
        }
        let at_own_row = |items| self.beside_rows(items, &look) == Truth::True;
        if self.items(self.from).into_iter().any(at_own_row) { Truth::True } else { first }
    }
}

fn judge(truth: Truth, text: impl FnOnce() -> String) -> Boundedness {
    match truth {
        Truth::True => Boundedness::Tautology(text()),
        Truth::Open { target: false } => Boundedness::NotOnTarget(text()),
        Truth::Open { target: true } | Truth::False | Truth::Null => Boundedness::Bounded,
    }
}

fn rank(bound: &Boundedness) -> u8 {
    match bound {
        Boundedness::NotApplicable | Boundedness::Bounded => 0,
        Boundedness::NotOnTarget(_) => 1,
        Boundedness::Tautology(_) => 2,
        Boundedness::Missing => 3,
    }
}

/// The parts of a chain of one operator, without the parentheses around them.
fn chain<'e>(expr: &'e Expr, operator: &BinaryOperator) -> Vec<&'e Expr> {
    let mut parts = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Nested(inner) => open.push(inner),
            Expr::BinaryOp { left, op, right } if op == operator => {
                open.push(right);
                open.push(left);
            }
            _ => parts.push(expr),
        }
    }
    parts
}

#[cfg(test)]
mod tests;
