//! Asking the server for a plan: the EXPLAIN to send, and its JSON read into a [`PlanEstimate`].

use std::ops::Range;

use serde::Deserialize;

use crate::policy::{FEWEST_PAIRS, PlanEstimate, PlanStep, Unjoined};
use crate::sql::Planned;

/// VERBOSE names schemas, and writes each column with its table's alias.
const EXPLAIN: &str = "EXPLAIN (FORMAT JSON, VERBOSE) ";

/// A plan to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanQuery {
    planned: Planned,
}

impl PlanQuery {
    /// The plan of a part of a text.
    pub fn new(planned: Planned) -> Self {
        Self { planned }
    }

    /// The EXPLAIN, around the client's own text.
    pub fn sql(&self, text: &str) -> String {
        let Planned { prefix, span } = &self.planned;
        format!("{EXPLAIN}{prefix}{}", text.get(Range::clone(span)).unwrap_or_default())
    }

    /// How many characters further on a position of [`PlanQuery::sql`] stands in `text`.
    pub fn shift(&self, text: &str) -> isize {
        let Planned { prefix, span } = &self.planned;
        let before = text.get(..span.start).map_or(0, |before| before.chars().count());
        before.cast_signed() - (EXPLAIN.len() + prefix.len()).cast_signed()
    }
}

/// Reads what EXPLAIN (FORMAT JSON, VERBOSE) answers (Postgres documentation, "Using EXPLAIN"). `Err` says why it cannot be
/// judged.
pub fn read_plan(json: &[u8]) -> Result<PlanEstimate, String> {
    let explained: Vec<Explained> = match serde_json::from_slice(json) {
        Ok(explained) => explained,
        // CREATE TABLE IF NOT EXISTS … AS of a table that is there: its name instead of a plan.
        Err(_) if serde_json::from_slice::<Vec<&str>>(json).is_ok() => vec![],
        Err(error) => return Err(format!("the server's plan was not understood ({error})")),
    };
    // None for a statement that turns out to do nothing; several where rules add statements of their own.
    let plans: Vec<&Node> = explained.iter().filter_map(|explained| explained.plan.as_ref()).collect();
    let mut found = Found::default();
    plans.iter().for_each(|plan| found.visit(plan, plan.total_cost, None));
    let returned: f64 = plans.iter().map(|plan| plan.rows).sum();
    Ok(PlanEstimate {
        rows: whole(returned.max(found.changed)),
        cost: plans.iter().map(|plan| plan.total_cost).sum(),
        costliest: found.costliest.map(|(_, step)| step),
        unjoined: found.unjoined,
    })
}

#[derive(Deserialize)]
struct Explained {
    #[serde(rename = "Plan")]
    plan: Option<Node>,
}

/// One node; of its fields those that are looked at.
#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Node Type", default)]
    node_type: String,
    #[serde(rename = "Parent Relationship", default)]
    relationship: String,
    #[serde(rename = "Join Type", default)]
    join_type: String,
    #[serde(rename = "Schema", default)]
    schema: Option<String>,
    #[serde(rename = "Relation Name", default)]
    relation: Option<String>,
    #[serde(rename = "CTE Name", default)]
    cte: Option<String>,
    #[serde(rename = "Alias", default)]
    alias: Option<String>,
    #[serde(rename = "Plan Rows", default)]
    rows: f64,
    #[serde(rename = "Total Cost", default)]
    total_cost: f64,
    #[serde(rename = "Join Filter", default)]
    join_filter: Option<String>,
    #[serde(rename = "Hash Cond", default)]
    hash_cond: Option<String>,
    #[serde(rename = "Merge Cond", default)]
    merge_cond: Option<String>,
    #[serde(rename = "Index Cond", default)]
    index_cond: Option<String>,
    #[serde(rename = "Recheck Cond", default)]
    recheck_cond: Option<String>,
    #[serde(rename = "TID Cond", default)]
    tid_cond: Option<String>,
    #[serde(rename = "Filter", default)]
    filter: Option<String>,
    #[serde(rename = "One-Time Filter", default)]
    one_time_filter: Option<String>,
    #[serde(rename = "Cache Key", default)]
    cache_key: Option<String>,
    #[serde(rename = "Function Call", default)]
    function_call: Option<String>,
    #[serde(rename = "Table Function Call", default)]
    table_function_call: Option<String>,
    /// What a foreign server is asked, with the conditions that it keeps.
    #[serde(rename = "Remote SQL", default)]
    remote_sql: Option<String>,
    #[serde(rename = "Output", default)]
    output: Vec<String>,
    #[serde(rename = "Plans", default)]
    plans: Vec<Node>,
}

impl Node {
    /// Its inputs, without the plans that run beside it (InitPlan, SubPlan).
    fn inputs(&self) -> impl Iterator<Item = &Node> {
        self.plans.iter().filter(|plan| !matches!(plan.relationship.as_str(), "InitPlan" | "SubPlan"))
    }

    fn side(&self, relationship: &str) -> Option<&Node> {
        self.plans.iter().find(|plan| plan.relationship == relationship)
    }

    fn is_join(&self) -> bool {
        matches!(self.node_type.as_str(), "Nested Loop" | "Hash Join" | "Merge Join")
    }

    fn what(&self) -> String {
        let on = match (&self.schema, &self.relation, &self.cte, &self.alias) {
            (Some(schema), Some(relation), ..) => format!(" on {schema}.{relation}"),
            (None, Some(name), ..) | (_, None, Some(name), _) | (_, None, None, Some(name)) => format!(" on {name}"),
            (_, None, None, None) => String::new(),
        };
        format!("{}{on}", self.node_type)
    }

    fn step(&self) -> PlanStep {
        PlanStep { what: self.what(), rows: whole(self.rows) }
    }

    /// The largest scan of a table below, itself included.
    fn largest_table(&self) -> Option<&Node> {
        let own = (self.relation.is_some() || self.cte.is_some()).then_some(self);
        self.inputs().filter_map(Node::largest_table).chain(own).max_by(|a, b| a.rows.total_cmp(&b.rows))
    }

    fn aliases<'n>(&'n self, into: &mut Vec<&'n str>) {
        into.extend(self.alias.as_deref());
        self.inputs().for_each(|input| input.aliases(into));
    }

    /// Whether a condition below speaks of one of these aliases.
    fn depends_on(&self, aliases: &[&str]) -> bool {
        let conditions = [
            &self.join_filter,
            &self.hash_cond,
            &self.merge_cond,
            &self.index_cond,
            &self.recheck_cond,
            &self.tid_cond,
            &self.filter,
            &self.one_time_filter,
            &self.cache_key,
            &self.function_call,
            &self.table_function_call,
        ];
        conditions.into_iter().flatten().any(|condition| mentions(condition, aliases))
            // A parameter of a foreign scan stands as $1 in the text that its server gets.
            || self.remote_sql.as_deref().is_some_and(|sql| sql.contains('$'))
            || self.plans.iter().any(|plan| plan.depends_on(aliases))
            || (self.relation.is_none() && self.output.iter().any(|output| mentions(output, aliases)))
    }
}

/// What was found on the way down.
#[derive(Default)]
struct Found {
    /// Rows that the writes in it change.
    changed: f64,
    costliest: Option<(f64, PlanStep)>,
    unjoined: Option<Unjoined>,
}

impl Found {
    /// `cost` is what the node's own total comes to under those above it, a LIMIT's included; `limit` how many of its rows are
    /// taken.
    fn visit(&mut self, node: &Node, cost: f64, limit: Option<f64>) {
        // The total holds the plans run once beside it (InitPlan), too.
        let is_in_total = |plan: &&Node| plan.relationship != "SubPlan";
        let below: f64 = node.plans.iter().filter(is_in_total).map(|plan| plan.total_cost.min(cost)).sum();
        let own = (cost - below).max(0.0);
        if self.costliest.as_ref().is_none_or(|(most, _)| own > *most) {
            self.costliest = Some((own, node.step()));
        }
        if node.node_type == "ModifyTable" {
            self.changed += node.inputs().map(|input| input.rows).sum::<f64>();
        }
        self.look_at_join(node, limit);
        let limit = match node.node_type.as_str() {
            "Limit" => Some(limit.map_or(node.rows, |outer| outer.min(node.rows))),
            // They hand on each row as it comes, so that no more is made than is taken.
            "Subquery Scan" | "Result" | "LockRows" | "ProjectSet" | "Nested Loop" => limit,
            _ => None,
        };
        for plan in &node.plans {
            let taken = limit.filter(|_| matches!(plan.relationship.as_str(), "Outer" | "Subquery"));
            let cost = if node.inputs().any(|input| std::ptr::eq(input, plan)) { cost } else { plan.total_cost };
            self.visit(plan, plan.total_cost.min(cost), taken);
        }
    }

    fn look_at_join(&mut self, node: &Node, limit: Option<f64>) {
        let (Some(outer), Some(inner)) = (node.side("Outer"), node.side("Inner")) else { return };
        let combines_all = node.is_join()
            && matches!(node.join_type.as_str(), "Inner" | "Left" | "Right" | "Full")
            && [&node.join_filter, &node.hash_cond, &node.merge_cond].into_iter().all(Option::is_none);
        let pairs = outer.rows * inner.rows;
        if !combines_all
            || outer.rows <= 1.0
            || inner.rows <= 1.0
            || limit.map_or(pairs, |taken| taken.min(pairs)) < FEWEST_PAIRS
            || self.unjoined.as_ref().is_some_and(|worst| worst.pairs as f64 >= pairs)
        {
            return;
        }
        // Functions and lists of values are written out to be combined; tables are what a condition is forgotten for.
        let (Some(outer_table), Some(inner_table)) = (outer.largest_table(), inner.largest_table()) else { return };
        let mut aliases = vec![];
        outer.aliases(&mut aliases);
        if !inner.depends_on(&aliases) {
            let side = |table: &Node, side: &Node| PlanStep { what: table.what(), rows: whole(side.rows) };
            self.unjoined = Some(Unjoined {
                outer: side(outer_table, outer),
                inner: side(inner_table, inner),
                pairs: whole(pairs),
            });
        }
    }
}

/// Whether an expression names a column of one of these aliases, as the server writes them: `alias.column`, `"Alias".column`.
fn mentions(expression: &str, aliases: &[&str]) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '"');
    aliases.iter().any(|alias| {
        let quoted = format!("\"{}\".", alias.replace('"', "\"\""));
        let plain = format!("{alias}.");
        expression.contains(&quoted)
            || expression
                .match_indices(&plain)
                .any(|(at, _)| !expression[..at].chars().next_back().is_some_and(is_name))
    })
}

fn whole(rows: f64) -> u64 {
    rows.clamp(0.0, u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> PlanEstimate {
        read_plan(format!("[{{\"Plan\": {json}}}]").as_bytes()).unwrap()
    }

    fn scan(relationship: &str, alias: &str, rows: u64, more: &str) -> String {
        format!(
            r#"{{"Node Type": "Seq Scan", "Parent Relationship": "{relationship}", "Schema": "public",
               "Relation Name": "{alias}", "Alias": "{alias}", "Total Cost": {rows}, "Plan Rows": {rows},
               "Output": ["{alias}.id"]{more}}}"#
        )
    }

    fn nested(more: &str, outer: &str, inner: &str) -> String {
        format!(
            r#"{{"Node Type": "Nested Loop", "Parent Relationship": "Outer", "Join Type": "Inner", "Total Cost": 9e9,
               "Plan Rows": 1e8{more}, "Plans": [{outer}, {inner}]}}"#
        )
    }

    #[test]
    fn the_costliest_step_is_the_one_that_costs_most_by_itself() {
        let found = plan(&format!(
            r#"{{"Node Type": "Sort", "Total Cost": 1500, "Plan Rows": 1000, "Plans": [{}]}}"#,
            scan("Outer", "events", 1000, "")
        ));
        assert_eq!((found.rows, found.cost), (1000, 1500.0));
        assert_eq!(found.costliest, Some(PlanStep { what: "Seq Scan on public.events".to_owned(), rows: 1000 }));
        let limited = plan(&format!(
            r#"{{"Node Type": "Limit", "Total Cost": 2, "Plan Rows": 10, "Plans": [{}]}}"#,
            scan("Outer", "events", 1_000_000, "")
        ));
        assert_eq!((limited.rows, limited.cost), (10, 2.0));
    }

    #[test]
    fn a_write_counts_the_rows_that_it_changes() {
        let update = format!(
            r#"{{"Node Type": "ModifyTable", "Operation": "Update", "Parent Relationship": "InitPlan", "Total Cost": 5,
               "Plan Rows": 0, "Plans": [{}]}}"#,
            scan("Outer", "drafts", 12_400, "")
        );
        assert_eq!(plan(&update).rows, 12_400);
        let around = format!(r#"{{"Node Type": "Aggregate", "Total Cost": 6, "Plan Rows": 1, "Plans": [{update}]}}"#);
        assert_eq!(plan(&around).rows, 12_400, "in a WITH");
    }

    #[test]
    fn a_join_without_a_condition_is_found() {
        let (a, b) = (scan("Outer", "a", 10_000, ""), scan("Inner", "b", 10_000, ""));
        let found = plan(&nested("", &a, &b)).unjoined.unwrap();
        assert_eq!((found.outer.what.as_str(), found.pairs), ("Seq Scan on public.a", 100_000_000));
        let materialized = format!(
            r#"{{"Node Type": "Materialize", "Parent Relationship": "Inner", "Total Cost": 1, "Plan Rows": 10000,
               "Plans": [{}]}}"#,
            scan("Outer", "b", 10_000, "")
        );
        assert!(plan(&nested("", &a, &materialized)).unjoined.is_some());
    }

    #[test]
    fn a_join_with_any_condition_is_none_without() {
        let (a, b) = (scan("Outer", "a", 10_000, ""), scan("Inner", "b", 10_000, ""));
        let by_index = scan("Inner", "b", 10_000, r#", "Index Cond": "(b.a_id = a.id)""#);
        let quoted = scan("Inner", "b", 10_000, r#", "Filter": "(b.x < \"a\".id)""#);
        let other = scan("Inner", "b", 10_000, r#", "Filter": "(data.id = 1)""#);
        assert!(plan(&nested(r#", "Join Filter": "(a.x < b.y)""#, &a, &b)).unjoined.is_none());
        assert!(plan(&nested("", &a, &by_index)).unjoined.is_none());
        assert!(plan(&nested("", &a, &quoted)).unjoined.is_none());
        assert!(plan(&nested("", &a, &other)).unjoined.is_some(), "data.id is not a.id");
        assert!(
            plan(&nested(r#", "Join Type": "Semi""#, &a, &b).replacen(r#""Join Type": "Inner","#, "", 1))
                .unjoined
                .is_none()
        );
    }

    #[test]
    fn few_rows_and_functions_are_no_alarm() {
        let a = scan("Outer", "a", 10_000, "");
        assert!(plan(&nested("", &a, &scan("Inner", "b", 366, ""))).unjoined.is_none(), "a calendar");
        assert!(plan(&nested("", &scan("Outer", "a", 1, ""), &scan("Inner", "b", 10_000_000, ""))).unjoined.is_none());
        let function = r#"{"Node Type": "Function Scan", "Parent Relationship": "Inner", "Alias": "day", "Plan Rows": 1000,
                           "Total Cost": 1, "Function Call": "generate_series(1, 1000)"}"#;
        assert!(plan(&nested("", &a, function)).unjoined.is_none());
        let (a, b) = (scan("Outer", "a", 10_000, ""), scan("Inner", "b", 10_000, ""));
        let limited =
            format!(r#"{{"Node Type": "Limit", "Total Cost": 2, "Plan Rows": 10, "Plans": [{}]}}"#, nested("", &a, &b));
        assert!(plan(&limited).unjoined.is_none(), "no more combinations are made than are taken");
    }

    #[test]
    fn no_plan_is_no_estimate_and_nonsense_is_an_error() {
        assert_eq!(read_plan(br#"[{"Query Identifier": 1}]"#), Ok(PlanEstimate::default()));
        assert_eq!(read_plan(br#"["CREATE TABLE AS"]"#), Ok(PlanEstimate::default()));
        assert!(read_plan(b"").is_err());
        let several =
            read_plan(br#"[{"Plan": {"Total Cost": 5, "Plan Rows": 2}}, {"Plan": {"Total Cost": 7, "Plan Rows": 3}}]"#);
        assert_eq!(several.map(|plan| (plan.rows, plan.cost)), Ok((5, 12.0)), "of a rule");
    }
}
