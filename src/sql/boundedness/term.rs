//! Values in a form in which two that are always equal look the same.

use super::sum::Sum;
use super::value::Constant;

/// What an expression comes to for a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Term {
    /// A constant; never [`Constant::Unknown`].
    Known(Constant),
    Column(Owner, String),
    /// A parameter's value is not known, but the same wherever it stands.
    Parameter(String),
    /// Arithmetic of `+`, `-` and `*`.
    Sum(Sum),
    /// A built-in function or operator that gives the same for the same arguments within a statement.
    Apply(String, Vec<Term>),
    Row(Vec<Term>),
    /// Anything else: equal to nothing but what stands at the same place of the text, or is a query of the same text.
    Opaque {
        place: u64,
        /// Whether rows of the target decide it.
        target: bool,
    },
}

/// Whose column it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Target,
    /// A table, function or query in the FROM of this depth.
    Other(usize, String),
    /// The target's, or that of something beside it in FROM or USING.
    Either,
}

/// The name under which the whole row of a table goes; no column can be called so without quotes.
pub(super) const WHOLE_ROW: &str = "*";

/// Columns that every row of every table has, and that are never NULL.
const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// The function of one argument that a test for NULL is.
pub(super) const IS_NULL: &str = "is null";

impl Term {
    pub(super) const NULL: Term = Term::Known(Constant::Null);

    pub(super) fn of(constant: Constant) -> Option<Term> {
        match constant {
            Constant::Unknown => None,
            known => Some(Term::Known(known)),
        }
    }

    pub(super) fn bool(value: bool) -> Term {
        Term::Known(Constant::Bool(value))
    }

    pub(super) fn apply(function: &str, arguments: Vec<Term>) -> Term {
        Term::Apply(function.to_owned(), arguments)
    }

    /// Whether it may be NULL in a row whose columns are not, with parameters that are not.
    pub(super) fn may_be_null(&self) -> bool {
        match self {
            Term::Known(constant) => *constant == Constant::Null,
            Term::Column(..) | Term::Parameter(_) | Term::Row(_) => false,
            Term::Sum(sum) => sum.parts().any(Term::may_be_null),
            Term::Apply(function, arguments) => match super::functions::nulls(function) {
                Some(Nulls::Never) => false,
                Some(Nulls::OfArguments) => arguments.iter().any(Term::may_be_null),
                Some(Nulls::OfAllArguments) => arguments.iter().all(|argument| {
                    // COALESCE is what one writes for a parameter that may be NULL.
                    argument.may_be_null() || matches!(argument, Term::Parameter(_))
                }),
                Some(Nulls::Sometimes) | None => true,
            },
            Term::Opaque { .. } => true,
        }
    }

    /// Whether it is never NULL, whatever the row holds.
    pub(super) fn is_never_null(&self) -> bool {
        match self {
            Term::Known(constant) => *constant != Constant::Null,
            Term::Column(_, name) => SYSTEM_COLUMNS.contains(&name.as_str()),
            Term::Parameter(_) | Term::Row(_) | Term::Opaque { .. } => false,
            Term::Sum(sum) => sum.parts().all(Term::is_never_null),
            Term::Apply(function, arguments) => match super::functions::nulls(function) {
                Some(Nulls::Never) => true,
                // A row is a value, whatever is in it.
                Some(Nulls::OfArguments) => arguments.iter().all(|of| {
                    of.is_never_null() || matches!(of, Term::Column(Owner::Target, name) if name == WHOLE_ROW)
                }),
                Some(Nulls::OfAllArguments) => arguments.iter().any(Term::is_never_null),
                Some(Nulls::Sometimes) | None => false,
            },
        }
    }

    /// Whether rows of the target decide it. `tableoid` says which table a row is in and `pg_typeof` what type a column has:
    /// neither chooses among the rows of a table.
    pub(super) fn mentions_target(&self) -> bool {
        match self {
            Term::Known(_) | Term::Parameter(_) => false,
            Term::Column(Owner::Target | Owner::Either, name) => name != "tableoid",
            Term::Column(Owner::Other(..), _) => false,
            Term::Sum(sum) => sum.parts().any(Term::mentions_target),
            Term::Apply(function, _) if function == "pg_typeof" => false,
            Term::Apply(_, parts) | Term::Row(parts) => parts.iter().any(Term::mentions_target),
            Term::Opaque { target, .. } => *target,
        }
    }

    /// Whether it has more than so many parts. What stands for a column of a query in FROM may stand there many times.
    pub(super) fn is_larger_than(&self, most: usize) -> bool {
        let mut left = most;
        let mut open = vec![self];
        while let Some(term) = open.pop() {
            let Some(less) = left.checked_sub(1) else { return true };
            left = less;
            match term {
                Term::Sum(sum) => open.extend(sum.parts().take(left + 1)),
                Term::Apply(_, parts) | Term::Row(parts) => open.extend(parts.iter().take(left + 1)),
                Term::Known(_) | Term::Column(..) | Term::Parameter(_) | Term::Opaque { .. } => {}
            }
        }
        false
    }

    /// The columns and parameters in it, and what else may be the same elsewhere.
    pub(super) fn columns(&self, found: &mut Vec<Term>) {
        match self {
            Term::Known(_) => {}
            Term::Column(..) | Term::Parameter(_) | Term::Opaque { .. } => found.push(self.clone()),
            Term::Sum(sum) => sum.parts().for_each(|part| part.columns(found)),
            Term::Apply(_, parts) if parts.is_empty() => found.push(self.clone()),
            Term::Apply(_, parts) | Term::Row(parts) => parts.iter().for_each(|part| part.columns(found)),
        }
    }

    /// The same value without the collation that it is compared by, and without a cast to text. What is equal byte by byte is
    /// equal in every collation.
    pub(super) fn without_collation(&self) -> &Term {
        match self {
            Term::Apply(function, arguments) if function.starts_with("collate ") || function == "cast text" => {
                arguments.first().map_or(self, Term::without_collation)
            }
            _ => self,
        }
    }
}

/// When a function gives NULL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Nulls {
    Never,
    /// For an argument that is NULL only.
    OfArguments,
    /// When all of its arguments are.
    OfAllArguments,
    /// For others too.
    Sometimes,
}
