//! Collects a draft from sqlparser's tree of a query or a DML statement.
//!
//! sqlparser's derived visitor steps through every field of every node, so that no place where an expression or a query can
//! stand is left out; it is asked for statements, queries, table factors, relations and expressions.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, AssignmentTarget, BinaryOperator, Cte, Expr, FromTable, Function, FunctionArg, FunctionArguments,
    Ident, Insert, MergeAction, MergeUpdateKind, ObjectName, Query, Select, SelectInto, SelectItem, SetExpr, Statement,
    TableFactor, TableObject, Update, Visit, Visitor,
};

use super::boundedness;
use super::calls::{arguments, call, equals_literal, set_config};
use super::draft::Draft;
use super::functions::{self, Advisory};
use super::{Boundedness, Class, Effect, Kind, Lock, Name, Verb, Write, keywords, setting};

/// Collects what `statement` does; `None` where the parser has misread it.
pub(super) fn collect(statement: &Statement, source: &dyn Fn(&Expr) -> String) -> Option<Draft> {
    let mut walk = Walk {
        draft: Draft::new(Kind::Select, Class::Read, "SELECT"),
        source,
        ctes: match statement {
            Statement::Query(query) => query.with.as_ref().map_or(&[], |with| &with.cte_tables),
            _ => &[],
        },
        certain: top_select(statement).map_or(&[], |select| &select.projection),
        column_name: column_name(statement),
        scopes: Vec::new(),
        targets: Vec::new(),
        understood: true,
    };
    // Nothing breaks off the walk.
    let _: ControlFlow<()> = statement.visit(&mut walk);
    let Walk { mut draft, understood, .. } = walk;
    if let Some((kind, tag)) = kind(statement) {
        draft.kind = kind;
        tag.clone_into(&mut draft.tag);
        draft.class = Class::Write;
    } else if draft.kind == Kind::Select && !draft.writes.is_empty() {
        draft.class = Class::Write;
    }
    understood.then_some(draft)
}

/// The kind of a statement that is not a query.
fn kind(statement: &Statement) -> Option<(Kind, &'static str)> {
    match statement {
        Statement::Insert(_) => Some((Kind::Insert, "INSERT")),
        Statement::Update(_) => Some((Kind::Update, "UPDATE")),
        Statement::Delete(_) => Some((Kind::Delete, "DELETE")),
        Statement::Merge(_) => Some((Kind::Merge, "MERGE")),
        Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner) | SetExpr::Merge(inner) => {
                kind(inner)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The SELECT without FROM and WHERE that the whole statement is: what stands in its list runs once and for certain.
fn top_select(statement: &Statement) -> Option<&Select> {
    let Statement::Query(query) = statement else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none();
    plain.then_some(select)
}

/// What the column `name` of a whole `SELECT … FROM pg_settings WHERE name = '…'` can only be: pg_dump names a setting so that
/// servers without it change nothing.
fn column_name(statement: &Statement) -> Option<&str> {
    let Statement::Query(query) = statement else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name: table, alias: None, .. } = &from.relation else { return None };
    if query.with.is_some() || !from.joins.is_empty() || name(table).name != "pg_settings" {
        return None;
    }
    match select.selection.as_ref().and_then(equals_literal) {
        Some(("name", value)) => Some(value),
        _ => None,
    }
}

struct Walk<'s> {
    draft: Draft,
    source: &'s dyn Fn(&Expr) -> String,
    /// The WITH of the whole statement.
    ctes: &'s [Cte],
    /// Expressions that are computed exactly once.
    certain: &'s [SelectItem],
    /// See [`column_name`].
    column_name: Option<&'s str>,
    /// The WITH clauses around the place that the walk has come to.
    scopes: Vec<WithScope>,
    /// Names that are not reads: targets of writes, functions in FROM.
    targets: Vec<*const ObjectName>,
    understood: bool,
}

/// One WITH clause: which of its names can be seen where the walk is.
struct WithScope {
    owner: *const Query,
    names: Vec<(String, *const Query)>,
    recursive: bool,
    visible: usize,
}

impl Walk<'_> {
    fn is_cte(&self, name: &Name) -> bool {
        name.schema.is_none()
            && self.scopes.iter().any(|scope| scope.names[..scope.visible].iter().any(|(cte, _)| *cte == name.name))
    }

    fn insert(&mut self, insert: &Insert) {
        let TableObject::TableName(table) = &insert.table else {
            self.understood = false;
            return;
        };
        self.targets.push(table);
        let columns = insert.columns.iter().map(|column| name(column).name).collect();
        let bound = boundedness::of_insert(insert, table, self.ctes, self.source);
        self.write(Verb::Insert, table, columns, bound);
    }

    fn update(&mut self, update: &Update) {
        let TableFactor::Table { name: table, .. } = &update.table.relation else {
            self.understood = false;
            return;
        };
        if !update.table.joins.is_empty() {
            self.understood = false;
        }
        self.targets.push(table);
        let columns = update.assignments.iter().flat_map(|a| columns(&a.target)).collect();
        let bound = boundedness::of_update(update, self.ctes, self.source);
        self.write(Verb::Update, table, columns, bound);
        let target = name(table);
        if target.name == "pg_settings" && target.schema.is_none_or(|schema| schema == "pg_catalog") {
            // The view's rule calls set_config for each row.
            let effect = match update.selection.as_ref().and_then(equals_literal) {
                Some(("name", value)) => setting::by_function(value, None, false),
                _ => Effect::SetUnknown,
            };
            self.draft.effects.push(effect);
        }
    }

    fn write(&mut self, verb: Verb, table: &ObjectName, columns: Vec<String>, bound: Boundedness) {
        self.draft.writes.push(Write { verb, table: name(table), columns, bound });
    }

    fn call(&mut self, expr: &Expr, function: &Function) {
        if matches!(function.args, FunctionArguments::Subquery(_)) {
            // `ARRAY(SELECT …)`
            return;
        }
        let arguments = arguments(function);
        let call = call(&function.name, &arguments);
        let Name { schema, name } = &call.name;
        if function.name.0.iter().filter_map(|part| part.as_ident()).any(is_misread) {
            self.understood = false;
        }
        let built_in = schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        if built_in && name == "set_config" {
            let certain = self.certain.iter().any(|item| match item {
                SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. } => {
                    std::ptr::eq(item, expr)
                }
                _ => false,
            });
            self.draft.effects.push(set_config(&arguments, certain, self.column_name));
        }
        if built_in {
            match functions::advisory(name) {
                Some(Advisory::LockSession) => self.draft.effects.push(Effect::AdvisoryLock),
                Some(Advisory::Unlock) => self.draft.effects.push(Effect::AdvisoryUnlock),
                Some(Advisory::UnlockAll) => self.draft.effects.push(Effect::AdvisoryUnlockAll),
                Some(Advisory::LockTransaction) | None => {}
            }
        }
        self.draft.functions.push(call);
    }

    fn into(&mut self, into: &SelectInto) {
        let temporary = into.temporary
            || into.targets.iter().any(|target| match target {
                Expr::CompoundIdentifier(parts) => parts.len() > 1 && parts[0].value == "pg_temp",
                _ => false,
            });
        "SELECT INTO".clone_into(&mut self.draft.tag);
        self.draft.class = Class::Ddl;
        if temporary {
            self.draft.kind = Kind::TempDdl;
            self.draft.effects.push(Effect::TempObject);
        } else {
            self.draft.kind = Kind::CreateTableAs;
        }
    }
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Query(_) => {}
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
                if let [only] = from.as_slice()
                    && let TableFactor::Table { name: table, .. } = &only.relation
                    && only.joins.is_empty()
                    && delete.tables.is_empty()
                {
                    self.targets.push(table);
                    let bound = boundedness::of_delete(delete, self.ctes, self.source);
                    self.write(Verb::Delete, table, Vec::new(), bound);
                } else {
                    self.understood = false;
                }
            }
            Statement::Merge(merge) => {
                if let TableFactor::Table { name: table, .. } = &merge.table {
                    self.targets.push(table);
                    let columns = merge.clauses.iter().flat_map(|clause| match &clause.action {
                        MergeAction::Insert(insert) => insert.columns.iter().map(|c| name(c).name).collect(),
                        MergeAction::Update(update) => match &update.kind {
                            MergeUpdateKind::Set(set) => set.iter().flat_map(|a| columns(&a.target)).collect(),
                            MergeUpdateKind::Wildcard => Vec::new(),
                        },
                        MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => Vec::new(),
                    });
                    let columns = columns.collect();
                    let bound = boundedness::of_merge(merge, self.ctes, self.source);
                    self.write(Verb::Merge, table, columns, bound);
                } else {
                    self.understood = false;
                }
            }
            // The words at the beginning led only queries and DML here: all else is a misreading of the parser's. The list is
            // complete, so that a variant that an upgrade adds is looked at.
            Statement::Analyze(_)
            | Statement::Set(_)
            | Statement::Truncate(_)
            | Statement::Msck(_)
            | Statement::Install { .. }
            | Statement::Load { .. }
            | Statement::Directory { .. }
            | Statement::Case(_)
            | Statement::If(_)
            | Statement::While(_)
            | Statement::Raise(_)
            | Statement::Call(_)
            | Statement::Copy { .. }
            | Statement::CopyIntoSnowflake { .. }
            | Statement::Open(_)
            | Statement::Close { .. }
            | Statement::CreateView(_)
            | Statement::CreateTable(_)
            | Statement::CreateVirtualTable { .. }
            | Statement::CreateIndex(_)
            | Statement::CreateRole(_)
            | Statement::CreateSecret { .. }
            | Statement::CreateServer(_)
            | Statement::CreatePolicy(_)
            | Statement::CreateConnector(_)
            | Statement::CreateOperator(_)
            | Statement::CreateOperatorFamily(_)
            | Statement::CreateOperatorClass(_)
            | Statement::CreateTextSearch(_)
            | Statement::AlterTable(_)
            | Statement::AlterSchema(_)
            | Statement::AlterIndex { .. }
            | Statement::AlterView { .. }
            | Statement::AlterFunction(_)
            | Statement::AlterType(_)
            | Statement::AlterCollation(_)
            | Statement::AlterOperator(_)
            | Statement::AlterOperatorFamily(_)
            | Statement::AlterOperatorClass(_)
            | Statement::AlterTextSearch(_)
            | Statement::AlterRole { .. }
            | Statement::AlterPolicy(_)
            | Statement::AlterConnector { .. }
            | Statement::AlterSession { .. }
            | Statement::AttachDatabase { .. }
            | Statement::AttachDuckDBDatabase { .. }
            | Statement::DetachDuckDBDatabase { .. }
            | Statement::Drop { .. }
            | Statement::DropFunction(_)
            | Statement::DropDomain(_)
            | Statement::DropProcedure { .. }
            | Statement::DropSecret { .. }
            | Statement::DropPolicy(_)
            | Statement::DropConnector { .. }
            | Statement::Declare { .. }
            | Statement::CreateExtension(_)
            | Statement::CreateCollation(_)
            | Statement::DropExtension(_)
            | Statement::DropOperator(_)
            | Statement::DropOperatorFamily(_)
            | Statement::DropOperatorClass(_)
            | Statement::Fetch { .. }
            | Statement::Flush { .. }
            | Statement::Discard { .. }
            | Statement::ShowFunctions { .. }
            | Statement::ShowVariable { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowVariables { .. }
            | Statement::ShowCreate { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowCatalogs { .. }
            | Statement::ShowDatabases { .. }
            | Statement::ShowProcessList { .. }
            | Statement::ShowSchemas { .. }
            | Statement::ShowCharset(_)
            | Statement::ShowObjects(_)
            | Statement::ShowTables { .. }
            | Statement::ShowViews { .. }
            | Statement::ShowCollation { .. }
            | Statement::Use(_)
            | Statement::StartTransaction { .. }
            | Statement::Comment { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. }
            | Statement::CreateFunction(_)
            | Statement::CreateTrigger(_)
            | Statement::DropTrigger(_)
            | Statement::CreateProcedure { .. }
            | Statement::CreateMacro { .. }
            | Statement::CreateStage { .. }
            | Statement::CreateFileFormat { .. }
            | Statement::CreateWarehouse(_)
            | Statement::Assert { .. }
            | Statement::Grant(_)
            | Statement::Deny(_)
            | Statement::Revoke(_)
            | Statement::Deallocate { .. }
            | Statement::Execute { .. }
            | Statement::Prepare { .. }
            | Statement::Kill { .. }
            | Statement::ExplainTable { .. }
            | Statement::Explain { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Cache { .. }
            | Statement::UNCache { .. }
            | Statement::CreateSequence { .. }
            | Statement::CreateDomain(_)
            | Statement::CreateType { .. }
            | Statement::Pragma { .. }
            | Statement::Lock(_)
            | Statement::LockTables { .. }
            | Statement::UnlockTables
            | Statement::Unload { .. }
            | Statement::OptimizeTable { .. }
            | Statement::LISTEN { .. }
            | Statement::UNLISTEN { .. }
            | Statement::NOTIFY { .. }
            | Statement::LoadData { .. }
            | Statement::RenameTable(_)
            | Statement::List(_)
            | Statement::Put { .. }
            | Statement::Remove(_)
            | Statement::RaisError { .. }
            | Statement::Throw(_)
            | Statement::Print(_)
            | Statement::WaitFor(_)
            | Statement::Return(_)
            | Statement::ExportData(_)
            | Statement::CreateUser(_)
            | Statement::AlterUser(_)
            | Statement::Vacuum(_)
            | Statement::Reset(_) => self.understood = false,
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if !query.locks.is_empty() && !self.draft.locks.contains(&Lock::Rows) {
            self.draft.locks.push(Lock::Rows);
        }
        if let SetExpr::Table(table) = query.body.as_ref()
            && let Some(name) = &table.table_name
        {
            let name = Name { schema: table.schema_name.clone(), name: name.clone() };
            if !self.is_cte(&name) {
                self.draft.add_read(name);
            }
        }
        if let Some(with) = &query.with {
            self.scopes.push(WithScope {
                owner: query,
                names: with.cte_tables.iter().map(|c| (c.alias.name.value.clone(), &raw const *c.query)).collect(),
                recursive: with.recursive,
                visible: if with.recursive { with.cte_tables.len() } else { 0 },
            });
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let here: *const Query = query;
        if self.scopes.last().is_some_and(|scope| scope.owner == here) {
            self.scopes.pop();
        }
        if let Some(scope) = self.scopes.last_mut()
            && !scope.recursive
            && scope.names.get(scope.visible).is_some_and(|(_, cte)| *cte == here)
        {
            scope.visible += 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(into) = &select.into {
            self.into(into);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name: function, args: Some(args), .. } => {
                self.targets.push(function);
                let arguments: Vec<_> = args.args.iter().collect();
                self.table_function(function, &arguments);
            }
            TableFactor::Function { name: function, args, .. } => {
                let arguments: Vec<_> = args.iter().collect();
                self.table_function(function, &arguments);
            }
            // Tables are relations, all others hold queries and expressions only.
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let here: *const ObjectName = relation;
        if relation.0.iter().filter_map(|part| part.as_ident()).any(is_misread) {
            self.understood = false;
        }
        // The last one noted comes first.
        if let Some(target) = self.targets.iter().rposition(|&target| target == here) {
            self.targets.remove(target);
            return ControlFlow::Continue(());
        }
        let name = name(relation);
        if !self.is_cte(&name) {
            self.draft.add_read(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.call(expr, function),
            Expr::Identifier(ident) if is_misread(ident) => self.understood = false,
            // `alias.f` is `f(alias)` where the alias has no such column.
            Expr::CompoundIdentifier(parts) => {
                if let [_, .., last] = parts.as_slice() {
                    self.draft.add_attribute(&last.value);
                }
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Dot(Expr::Identifier(attribute)) = access {
                        self.draft.add_attribute(&attribute.value);
                    }
                }
            }
            _ => {}
        }
        if operand(expr).is_some_and(|left| matches!(left, Expr::Exists { negated: true, .. })) {
            // The parser binds `NOT EXISTS (…) = x` as `(NOT EXISTS (…)) = x`, the server as `NOT (EXISTS (…) = x)`.
            self.understood = false;
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    /// A function in FROM; it may be called for no row or many.
    fn table_function(&mut self, name: &ObjectName, arguments: &[&FunctionArg]) {
        let call = call(name, arguments);
        if call.name.name == "set_config" {
            self.draft.effects.push(set_config(arguments, false, None));
        }
        match functions::advisory(&call.name.name) {
            Some(Advisory::LockSession) => self.draft.effects.push(Effect::AdvisoryLock),
            Some(Advisory::Unlock) => self.draft.effects.push(Effect::AdvisoryUnlock),
            Some(Advisory::UnlockAll) => self.draft.effects.push(Effect::AdvisoryUnlockAll),
            Some(Advisory::LockTransaction) | None => {}
        }
        self.draft.functions.push(call);
    }
}

/// Whether the parser took a word for a name that is reserved in Postgres, or for a function's name that begins a query: it has
/// misread what is around it.
fn is_misread(ident: &Ident) -> bool {
    ident.quote_style.is_none() && (keywords::is_reserved(&ident.value) || ident.value == "values")
}

/// The left operand of an operator that binds tighter than NOT.
fn operand(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => None,
        Expr::BinaryOp { left: inner, .. }
        | Expr::AnyOp { left: inner, .. }
        | Expr::AllOp { left: inner, .. }
        | Expr::IsDistinctFrom(inner, _)
        | Expr::IsNotDistinctFrom(inner, _)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotUnknown(inner)
        | Expr::Between { expr: inner, .. }
        | Expr::InList { expr: inner, .. }
        | Expr::InSubquery { expr: inner, .. }
        | Expr::Like { expr: inner, .. }
        | Expr::ILike { expr: inner, .. }
        | Expr::SimilarTo { expr: inner, .. }
        | Expr::Cast { expr: inner, kind: sqlparser::ast::CastKind::DoubleColon, .. }
        | Expr::Collate { expr: inner, .. }
        | Expr::AtTimeZone { timestamp: inner, .. } => Some(inner),
        _ => None,
    }
}

/// The last two parts of a name.
pub(super) fn name(name: &ObjectName) -> Name {
    let mut parts =
        name.0.iter().rev().map(|part| part.as_ident().map_or_else(|| part.to_string(), |i| i.value.clone()));
    Name { name: parts.next().unwrap_or_default(), schema: parts.next() }
}

fn columns(target: &AssignmentTarget) -> Vec<String> {
    match target {
        // `SET (a, b) = …`; of `a.b`, a field of a composite column, the first part is the column.
        AssignmentTarget::ColumnName(name) => column(name).into_iter().collect(),
        AssignmentTarget::Tuple(names) => names.iter().filter_map(column).collect(),
    }
}

fn column(name: &ObjectName) -> Option<String> {
    name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.value.clone())
}
