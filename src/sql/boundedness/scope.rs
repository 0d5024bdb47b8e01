//! Names in a predicate: whose column is it, the target's or somebody else's.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Expr, TableFactor, TableWithJoins, Visit as _, Visitor};

use super::cases::Atom;
use super::mention::from_names;
use super::signs::Signs;
use super::term::{Owner, Term, WHOLE_ROW};
use crate::sql::Name;
use crate::sql::walk::name;

/// The table that is written to, as its predicate sees it, and what is known while the predicate is looked at.
#[derive(Debug)]
pub(super) struct Target<'s> {
    table: Name,
    /// The name that columns are qualified with: the alias, where there is one.
    qualifier: String,
    /// What stands in FROM or USING.
    pub(super) from: &'s [TableWithJoins],
    ctes: RefCell<Vec<&'s [Cte]>>,
    /// The CTEs that are being looked into.
    entered: RefCell<Vec<&'s Cte>>,
    /// Steps that may still be taken. A predicate can be built so that folding it would take for ever; what is not looked at
    /// does not count as a restriction.
    pub(super) fuel: Cell<u32>,
    /// Levels that may still be gone down.
    levels: Cell<u32>,
    /// The FROM clauses around the place that is being looked at.
    scopes: RefCell<Vec<Scope>>,
    /// What is assumed of values in the case that is being looked at.
    pub(super) assumed: RefCell<Vec<(Term, Term, Signs)>>,
    /// What would have to be known to tell more.
    pub(super) pending: RefCell<Vec<Atom>>,
}

/// What a FROM clause brings.
#[derive(Clone, Debug)]
struct Scope {
    names: Vec<String>,
    /// One row of each item, by the item's name, where the clause is looked at for one row of it.
    items: Option<Vec<(String, Row)>>,
    /// It stands beside the target, in FROM or USING: names without a qualifier may be either's.
    beside: bool,
}

/// A row that a table or query in FROM has.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) columns: Vec<(String, Term)>,
    /// Whether it is the row of the target that is being looked at, and has that row's columns too.
    pub(super) is_target: bool,
    /// Whether it may have columns besides.
    pub(super) open: bool,
    /// Whether it is certain that there is such a row. If not, there is one for each row of the target, or for none.
    pub(super) sure: bool,
}

impl Row {
    /// A row of a table of which nothing is known.
    pub(super) fn unknown() -> Row {
        Row { columns: Vec::new(), is_target: false, open: true, sure: false }
    }

    pub(super) fn of_target() -> Row {
        Row { columns: Vec::new(), is_target: true, open: false, sure: true }
    }

    fn named(&self, column: &str) -> Option<Term> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, term)| term.clone())
    }

    pub(super) fn column(&self, column: &str) -> Option<Term> {
        self.named(column).or_else(|| self.is_target.then(|| Term::Column(Owner::Target, column.to_owned())))
    }
}

/// Most CTEs that are looked into one within the other.
const MOST_ENTERED: usize = 16;

/// Steps for a predicate, and more for each of its expressions: a plain one takes about ten for each.
const FUEL: u32 = 8_000;
const FUEL_PER_EXPRESSION: u32 = 128;

/// Levels that reading a predicate may go down, and more for each level of its tree. Readings call each other, and what would go
/// round in circles must not fill the stack before it has no fuel left.
const LEVELS: u32 = 200;
const LEVELS_PER_LEVEL: u32 = 4;

/// One level down, as long as it lives.
pub(super) struct Deeper<'t>(&'t Cell<u32>);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// How many expressions a tree has, and how deep they lie.
#[derive(Default)]
struct Extent {
    expressions: u32,
    depth: u32,
    deepest: u32,
}

impl Visitor for Extent {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.expressions = self.expressions.saturating_add(1);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl<'s> Target<'s> {
    pub(super) fn new(table: &TableFactor, from: &'s [TableWithJoins], ctes: &'s [Cte]) -> Option<Self> {
        let TableFactor::Table { name: table, alias, .. } = table else { return None };
        let table = name(table);
        let qualifier = alias.as_ref().map_or_else(|| table.name.clone(), |alias| alias.name.value.clone());
        Some(Target::named(table, qualifier, from, ctes))
    }

    pub(super) fn named(table: Name, qualifier: String, from: &'s [TableWithJoins], ctes: &'s [Cte]) -> Self {
        Target {
            table,
            qualifier,
            from,
            ctes: RefCell::new(vec![ctes]),
            entered: RefCell::default(),
            fuel: Cell::new(FUEL),
            levels: Cell::new(LEVELS),
            scopes: RefCell::default(),
            assumed: RefCell::default(),
            pending: RefCell::default(),
        }
    }

    /// Provides for a predicate.
    pub(super) fn refuel(&self, predicate: &Expr) {
        let mut extent = Extent::default();
        // It never breaks off.
        let _ = predicate.visit(&mut extent);
        let more = extent.expressions.saturating_mul(FUEL_PER_EXPRESSION);
        self.fuel.set(self.fuel.get().saturating_add(more));
        let levels = LEVELS.saturating_add(extent.deepest.saturating_mul(LEVELS_PER_LEVEL));
        self.levels.set(self.levels.get().max(levels));
    }

    /// Takes a step, one level down; `None` when no step is left or no level.
    pub(super) fn deeper(&self) -> Option<Deeper<'_>> {
        let levels = self.levels.get().checked_sub(1)?;
        self.step().then(|| {
            self.levels.set(levels);
            Deeper(&self.levels)
        })
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
        self.table.name == other.name
            && match schemas {
                (Some(a), Some(b)) => a == b,
                // `archive.t` is most likely not what t alone is.
                (Some(only), None) | (None, Some(only)) => only == "public",
                (None, None) => true,
            }
    }

    /// Whether a text names the target's table, as `'s.t'::regclass` does.
    pub(super) fn is_called(&self, text: &str) -> bool {
        let last = text.rsplit('.').next().unwrap_or(text);
        last.trim_matches('"') == self.table.name || last.to_lowercase() == self.table.name
    }

    /// The CTE that a table's name stands for. Inside a CTE its own name stands for the table, as without RECURSIVE.
    pub(super) fn cte(&self, table: &Name) -> Option<&'s Cte> {
        let (ctes, entered) = (self.ctes.borrow(), self.entered.borrow());
        let mut all = ctes.iter().rev().flat_map(|ctes| ctes.iter());
        all.find(|cte| {
            table.schema.is_none()
                && cte.alias.name.value == table.name
                && !entered.iter().any(|entered| std::ptr::eq(*entered, *cte))
        })
    }

    /// Looks into a CTE; `None` where too many are being looked into.
    pub(super) fn in_cte<T>(&self, cte: &'s Cte, look: impl FnOnce() -> T) -> Option<T> {
        if self.entered.borrow().len() == MOST_ENTERED {
            return None;
        }
        self.entered.borrow_mut().push(cte);
        let seen = look();
        self.entered.borrow_mut().pop();
        Some(seen)
    }

    /// Looks into a query that has a WITH of its own.
    pub(super) fn with_ctes<T>(&self, ctes: &'s [Cte], look: impl FnOnce() -> T) -> T {
        self.ctes.borrow_mut().push(ctes);
        let seen = look();
        self.ctes.borrow_mut().pop();
        seen
    }

    /// Looks into a subquery, at any row of its FROM.
    pub(super) fn inside<T>(&self, from: &[TableWithJoins], look: impl FnOnce() -> T) -> T {
        let mut names = Vec::new();
        from.iter().for_each(|table| from_names(table, &mut names));
        self.in_scope(Scope { names, items: None, beside: false }, look)
    }

    /// Looks into a subquery, at certain rows of its FROM.
    pub(super) fn at_rows<T>(&self, items: Vec<(String, Row)>, look: impl FnOnce() -> T) -> T {
        let names = items.iter().map(|(name, _)| name.clone()).collect();
        self.in_scope(Scope { names, items: Some(items), beside: false }, look)
    }

    /// Looks at the predicate, at certain rows of what stands beside the target.
    pub(super) fn beside_rows<T>(&self, items: Vec<(String, Row)>, look: impl FnOnce() -> T) -> T {
        let names = items.iter().map(|(name, _)| name.clone()).collect();
        self.in_scope(Scope { names, items: Some(items), beside: true }, look)
    }

    fn in_scope<T>(&self, scope: Scope, look: impl FnOnce() -> T) -> T {
        // What would have to be known of the rows of a subquery is no question to ask outside of it.
        let pending = self.pending.take();
        self.scopes.borrow_mut().push(scope);
        let seen = look();
        self.scopes.borrow_mut().pop();
        self.pending.replace(pending);
        seen
    }

    /// The names that the queries around the current place bring.
    pub(super) fn names_around(&self) -> Vec<Vec<String>> {
        self.scopes.borrow().iter().filter(|scope| !scope.beside).map(|scope| scope.names.clone()).collect()
    }

    /// The rows of the innermost FROM.
    pub(super) fn items_here(&self) -> Vec<(String, Row)> {
        self.scopes.borrow().last().and_then(|scope| scope.items.clone()).unwrap_or_default()
    }

    pub(super) fn is_qualifier(&self, name: &str) -> bool {
        name == self.qualifier
    }

    /// `qualifier.column`
    pub(super) fn qualified(&self, qualifier: &str, column: &str) -> Term {
        for (depth, scope) in self.scopes.borrow().iter().enumerate().rev() {
            if scope.names.iter().any(|name| name == qualifier) {
                let items = scope.items.iter().flatten();
                let known = items.filter(|(name, _)| name == qualifier).find_map(|(_, row)| row.column(column));
                return known.unwrap_or_else(|| other(depth + 1, qualifier, column));
            }
        }
        if qualifier == self.qualifier {
            Term::Column(Owner::Target, column.to_owned())
        } else {
            other(0, qualifier, column)
        }
    }

    /// A name alone: the innermost FROM that has such a column.
    pub(super) fn unqualified(&self, column: &str) -> Term {
        for (depth, scope) in self.scopes.borrow().iter().enumerate().rev() {
            match &scope.items {
                _ if scope.beside => return Term::Column(Owner::Either, column.to_owned()),
                Some(items) => {
                    if let Some(known) = items.iter().find_map(|(_, row)| row.named(column)) {
                        return known;
                    }
                    if items.iter().any(|(name, row)| name == column && row.is_target) {
                        return Term::Column(Owner::Target, WHOLE_ROW.to_owned());
                    }
                    if items.iter().any(|(_, row)| row.open) {
                        return other(depth + 1, "", column);
                    }
                    match items.iter().filter(|(_, row)| row.is_target).count() {
                        0 => {}
                        1 => return Term::Column(Owner::Target, column.to_owned()),
                        _ => return other(depth + 1, "", column),
                    }
                }
                None if !scope.names.is_empty() => return other(depth + 1, "", column),
                None => {}
            }
        }
        match self.from {
            [] if column == self.qualifier => Term::Column(Owner::Target, WHOLE_ROW.to_owned()),
            [] => Term::Column(Owner::Target, column.to_owned()),
            _ => Term::Column(Owner::Either, column.to_owned()),
        }
    }
}

fn other(depth: usize, qualifier: &str, column: &str) -> Term {
    Term::Column(Owner::Other(depth, qualifier.to_owned()), column.to_owned())
}
