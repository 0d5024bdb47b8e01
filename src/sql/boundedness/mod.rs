//! How far the predicate of an UPDATE, DELETE or MERGE restricts the rows it touches (docs/architecture.md, boundedness).
//!
//! Three-valued constant folding, as Postgres would compute it, with one assumption: a column compared with itself is not
//! NULL, so that `id = id` counts as always true. Nothing is folded that is not certain: what is only suspicious
//! (`id > 0`) counts as bounded, and the row limit takes care of it.

mod columns;
mod constant;
mod idioms;
mod subquery;
mod truth;
mod value;

use sqlparser::ast::{
    BinaryOperator, Cte, Delete, Expr, FromTable, Merge, MergeAction, MergeClauseKind, TableFactor, TableWithJoins,
    Update, UpdateTableFromKind,
};

use self::columns::Target;
use self::truth::Truth;
use super::Boundedness;

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
        let on = match clause.clause_kind {
            MergeClauseKind::Matched => target.truth(&merge.on),
            // The rows of the target that no row of the source matches.
            MergeClauseKind::NotMatchedBySource => target.negated(&merge.on),
            MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => continue,
        };
        let when = clause.predicate.as_ref();
        let mut all = on.and(when.map_or(Truth::True, |predicate| target.truth(predicate)));
        if clause.clause_kind == MergeClauseKind::Matched
            && all == (Truth::Open { target: true })
            && target.joins_itself(&merge.on)
            && when.is_none_or(|predicate| target.truth(predicate) == Truth::True)
        {
            all = Truth::True;
        }
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
    let truth = if target.joins_itself(predicate) { Truth::True } else { target.truth(predicate) };
    judge(truth, || source(predicate))
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
