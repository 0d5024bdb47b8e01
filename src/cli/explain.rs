//! `pgbelay explain`: the verdict on each statement, without any database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::psql_script::PsqlScript;
use crate::config::{self, Config, Policy, Role, Tier};
use crate::policy::Confirmation;
use crate::policy::{
    Judgement, SessionTables, SessionView, StaticCatalog, WouldDeny, judge, known_or_opaque, qualified,
};
use crate::sql::{self, Boundedness, Effect, Facts, Hazard, Kind, Made, Script, Write};

const AFTER_HELP: &str = "\
An argument is judged as one query string, as psql -c sends it. In a file (-f) or on standard input each statement is judged as
sent alone, as psql -f does; psql's own lines (\\d, \\restrict) and COPY data are passed over. Functions that Postgres does not
bring count as able to do anything, since no server is asked.

With --json-lines each line of the file or of standard input is a JSON string, or an object whose key \"sql\" holds one: a query
string, judged as one. Each is answered by one line {\"line\": number, \"statements\": [...]}, with what --json prints of each statement.

Examples:
  pgbelay explain --tier prod --role service 'DELETE FROM email_drafts WHERE 1=1'
  pgbelay explain --tier prod --role migrator --json -f migrations/0042.sql      in CI
  pgbelay explain --config pgbelay.toml --database app:prod --role engineer < script.sql

Exit status: 0 no statement is denied; 1 one is; 2 wrong usage.";

/// Arguments of `pgbelay explain`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Configuration file; without it the built-in policies are used
    #[arg(short, long, env = "PGBELAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database of the configuration, with its tier: app:prod
    #[arg(long, value_name = "NAME", conflicts_with = "tier")]
    database: Option<String>,
    /// Tier: int, stg or prod
    #[arg(long, value_name = "TIER", required_unless_present = "database")]
    tier: Option<Tier>,
    /// Role: admin, agent, auditor, engineer, migrator or service
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Prints one JSON object a statement
    #[arg(long)]
    json: bool,
    /// Reads query strings as JSON, one a line, and prints one JSON object for each
    #[arg(long, conflicts_with_all = ["json", "sql"])]
    json_lines: bool,
    /// The reason that the session has given; without it, one counts as given
    #[arg(long, value_name = "TEXT", conflicts_with = "no_reason")]
    reason: Option<String>,
    /// Judges as if no reason had been given
    #[arg(long)]
    no_reason: bool,
    /// Reads the statements from a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// The statements
    #[arg(value_name = "SQL")]
    sql: Option<String>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    match explain(&args) {
        Ok(Outcome::NoneDenied) => ExitCode::SUCCESS,
        Ok(Outcome::SomeDenied) => ExitCode::from(1),
        Err(error) => {
            eprintln!("pgbelay explain: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    NoneDenied,
    SomeDenied,
}

/// Why nothing could be explained.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Config(String),
    #[error("no database \"{0}\" in the configuration; pgbelay check lists them")]
    Database(String),
    #[error("--database needs --config, or PGBELAY_CONFIG in the environment")]
    NoConfig,
    #[error("give --tier, or --config and --database")]
    NoTier,
    #[error("no statement: give one as an argument, a file with -f, or statements on standard input")]
    NoStatement,
    #[error("line {line} is neither a JSON string nor an object whose key \"sql\" holds one")]
    NotAText { line: usize },
    #[error("cannot read {what}: {source}")]
    Read { what: String, source: io::Error },
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

fn explain(args: &Args) -> Result<Outcome, Error> {
    let setting = Setting::of(args)?;
    let source = Source::of(args)?;
    let reason = match (&args.reason, args.no_reason) {
        (Some(given), _) => Some(given.as_str()),
        (None, true) => None,
        (None, false) => Some("explain"),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut tally = Tally::default();
    let mut session = Session::default();
    let mut explain_text = |line: Option<usize>, text: &str, script: &Script| -> Result<(), Error> {
        let view = SessionView {
            database: &setting.database,
            reason,
            catalog: &StaticCatalog,
            tables: &session.tables,
            made: &session.made,
            confirmation: Confirmation::NotGiven,
        };
        let judgements = judge(script, &setting.policy, &view);
        let rows = script.statements.iter().zip(&judgements);
        let rows = rows.map(|(facts, it)| Row::new(text, facts, it, &setting.policy, &view));
        let statements: Vec<_> = rows.inspect(|row| tally.count(row.verdict)).collect();
        if let Some(line) = line {
            return Ok(out.write_all(json_line(&Line { line, statements })?.as_bytes())?);
        }
        for row in &statements {
            let shown = if args.json { json_line(row)? } else { row.for_people() };
            out.write_all(shown.as_bytes())?;
        }
        session.run(script);
        Ok(())
    };
    match &source {
        Source::QueryString(text) => explain_text(None, text, &sql::classify(text))?,
        Source::JsonLines(lines) => {
            for (line, text) in query_strings(lines) {
                let text = text.ok_or(Error::NotAText { line })?;
                explain_text(Some(line), &text, &sql::classify(&text))?;
            }
        }
        Source::PsqlScript(text) => {
            let mut psql = PsqlScript::new(text);
            while let Some(statement) = psql.next_statement() {
                let script = sql::classify(statement);
                if takes_data(&script) {
                    psql.skip_copy_data();
                }
                explain_text(None, statement, &script)?;
            }
            for command in psql.unjudged() {
                eprintln!("pgbelay explain: note: what psql runs for \"{command}\" was not judged");
            }
        }
    }
    if !args.json && !args.json_lines {
        writeln!(out, "{tally} ({} on {})", setting.policy.role, setting.policy.tier)?;
    }
    out.flush()?;
    Ok(if tally.denied() == 0 { Outcome::NoneDenied } else { Outcome::SomeDenied })
}

/// What a session would know if everything so far had run.
#[derive(Debug, Default)]
struct Session {
    tables: SessionTables,
    made: BTreeSet<Made>,
    is_in_block: bool,
}

impl Session {
    fn run(&mut self, script: &Script) {
        for facts in &script.statements {
            self.tables.learn_in_text(facts);
            self.made.extend(facts.makes.iter().cloned());
            for effect in &facts.effects {
                match effect {
                    Effect::Begin(_) => self.is_in_block = true,
                    Effect::Commit { chain } | Effect::Rollback { chain } => self.is_in_block = *chain,
                    Effect::PrepareTransaction => self.is_in_block = false,
                    _ => {}
                }
            }
        }
        if !self.is_in_block {
            self.tables.end_transaction();
        }
    }
}

/// The policy to judge by, and the database's name for hints.
#[derive(Debug)]
struct Setting {
    policy: Arc<Policy>,
    database: String,
}

impl Setting {
    fn of(args: &Args) -> Result<Self, Error> {
        // Only the rules are needed: no password, no other file.
        let config = match &args.config {
            Some(path) => Some(config::load_without_secrets(path).map_err(|e| Error::Config(e.to_string()))?),
            None => None,
        };
        let (tier, database) = match (&args.database, args.tier) {
            (Some(name), _) => {
                let target = config.as_ref().ok_or(Error::NoConfig)?.target(name);
                let target = target.map_err(|_| Error::Database(name.clone()))?;
                (target.tier, target.database.clone())
            }
            (None, Some(tier)) => (tier, String::new()),
            (None, None) => return Err(Error::NoTier),
        };
        let configured = config.and_then(|config: Config| config.policy(args.role, tier));
        let policy = configured.unwrap_or_else(|| Arc::new(config::default_policy(args.role, tier)));
        Ok(Self { policy, database })
    }
}

/// Where the statements come from, and so how they would be sent.
#[derive(Debug)]
enum Source {
    /// All in one Query message.
    QueryString(String),
    /// One after the other.
    PsqlScript(String),
    /// Query strings as JSON, one a line.
    JsonLines(String),
}

impl Source {
    fn of(args: &Args) -> Result<Self, Error> {
        if let Some(sql) = &args.sql {
            return Ok(Self::QueryString(sql.clone()));
        }
        let of_text = if args.json_lines { Self::JsonLines } else { Self::PsqlScript };
        if let Some(path) = &args.file {
            let text = std::fs::read_to_string(path);
            return text.map(of_text).map_err(|e| Error::Read { what: path.display().to_string(), source: e });
        }
        if io::stdin().is_terminal() {
            return Err(Error::NoStatement);
        }
        let text = io::read_to_string(io::stdin());
        text.map(of_text).map_err(|e| Error::Read { what: "standard input".to_owned(), source: e })
    }
}

/// The query strings of JSON lines, with the number of their line; `None` where a line holds none.
fn query_strings(lines: &str) -> impl Iterator<Item = (usize, Option<String>)> {
    let text = |line: &str| match serde_json::from_str(line).ok()? {
        Value::String(sql) => Some(sql),
        Value::Object(mut object) => match object.remove("sql")? {
            Value::String(sql) => Some(sql),
            _ => None,
        },
        _ => None,
    };
    let numbered = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered.map(move |(index, line)| (index + 1, text(line)))
}

/// Whether psql would read COPY data from the script behind this statement.
fn takes_data(script: &Script) -> bool {
    script.statements.last().is_some_and(|facts| {
        facts.kind == Kind::CopyFrom
            && !facts.hazards.contains(&Hazard::ServerFile)
            && !facts.hazards.contains(&Hazard::ServerProgram)
    })
}

/// One statement's verdict: the keys of the JSON output, in their order.
#[derive(Debug, Serialize)]
struct Row<'a> {
    sql: &'a str,
    kind: &'a str,
    class: &'static str,
    verdict: &'static str,
    rule: &'static str,
    message: Option<&'a str>,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_deny: Vec<WouldDenyRow<'a>>,
    /// The limits that its plan is held to before it runs, which needs a server.
    plan: Option<String>,
    writes: Vec<WriteRow<'a>>,
    tables: Vec<String>,
    /// Functions it calls that the rules have something to say of.
    functions: Vec<FunctionRow>,
    fingerprint: &'a str,
}

/// What a rule in report mode would have done.
#[derive(Debug, Serialize)]
struct WouldDenyRow<'a> {
    rule: &'static str,
    verdict: &'static str,
    message: &'a str,
    detail: &'a str,
    hint: &'a str,
}

/// One query string of many: the keys of a line of `--json-lines`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    line: usize,
    statements: Vec<Row<'a>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct FunctionRow {
    name: String,
    is: &'static str,
}

#[derive(Debug, Serialize)]
struct WriteRow<'a> {
    verb: &'static str,
    table: String,
    columns: &'a [String],
    bound: &'static str,
}

impl<'a> Row<'a> {
    fn new(text: &'a str, facts: &'a Facts, judgement: &'a Judgement, policy: &Policy, view: &SessionView<'_>) -> Self {
        let (verdict, rule, said) = match judgement {
            Judgement::Deny(denial) => ("deny", denial.rule, Some((&denial.message, &denial.detail, &denial.hint))),
            Judgement::Confirm(denial) => {
                ("confirm", denial.rule, Some((&denial.message, &denial.detail, &denial.hint)))
            }
            Judgement::Allow { rule, guards, notices, would_deny: _ } => {
                let said = notices.first().map(|notice| (&notice.message, &notice.detail, &notice.hint));
                (guards.verdict_name(), *rule, said)
            }
        };
        let would_deny: &[WouldDeny] = match judgement {
            Judgement::Allow { would_deny, .. } => would_deny,
            Judgement::Confirm(_) | Judgement::Deny(_) => &[],
        };
        let asks_plan =
            matches!(judgement, Judgement::Allow { guards, .. } if guards.plan) && sql::planned(text, facts).is_some();
        let mut tables: Vec<_> =
            facts.writes.iter().map(|write| &write.table).chain(&facts.reads).map(qualified).collect();
        tables.sort();
        tables.dedup();
        let known = known_or_opaque(facts, view.catalog);
        let mut functions: Vec<_> = known.map(|(call, is)| FunctionRow { name: qualified(&call.name), is }).collect();
        functions.sort();
        functions.dedup();
        Self {
            sql: facts.redacted.as_deref().or_else(|| text.get(facts.span.clone())).unwrap_or(text).trim(),
            kind: &facts.tag,
            class: facts.class.as_str(),
            verdict,
            rule,
            message: said.map(|said| said.0.as_str()),
            detail: said.map(|said| said.1.as_str()),
            hint: said.map(|said| said.2.as_str()),
            would_deny: would_deny.iter().map(WouldDenyRow::new).collect(),
            plan: asks_plan.then(|| plan_limits(policy)),
            writes: facts.writes.iter().map(WriteRow::new).collect(),
            tables,
            functions,
            fingerprint: &facts.fingerprint,
        }
    }

    fn for_people(&self) -> String {
        let mut shown = format!("{:<9}  {}\n", self.verdict, self.sql.replace('\n', "\n           "));
        for line in [self.message, self.detail].into_iter().flatten() {
            shown.push_str(&format!("           {line}\n"));
        }
        if let Some(hint) = self.hint {
            shown.push_str(&format!("           hint: {hint}\n"));
        }
        for WouldDenyRow { rule, verdict, message, detail, hint } in &self.would_deny {
            shown.push_str(&format!("           would {verdict}: {message}\n           rule {rule}: {detail}\n"));
            shown.push_str(&format!("           hint: {hint}\n"));
        }
        if let Some(limits) = &self.plan {
            shown.push_str(&format!("           the server will be asked for its plan first: {limits}\n"));
        }
        shown
    }
}

impl<'a> WouldDenyRow<'a> {
    fn new(entry: &'a WouldDeny) -> Self {
        let WouldDeny { rule, verdict, message, detail, hint } = entry;
        Self { rule, verdict, message, detail, hint }
    }
}

/// The limits on plans, as the configuration writes them.
fn plan_limits(policy: &Policy) -> String {
    const KEYS: [&str; 3] = ["max_estimated_cost", "max_estimated_rows", "join_without_condition"];
    let set = config::policy_values(policy)
        .into_iter()
        .filter(|(key, value)| KEYS.contains(key) && !matches!(value.as_str(), "none" | "allow"));
    set.map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}

impl<'a> WriteRow<'a> {
    fn new(write: &'a Write) -> Self {
        let bound = match &write.bound {
            Boundedness::NotApplicable => "not_applicable",
            Boundedness::Missing => "missing",
            Boundedness::Tautology(_) => "tautology",
            Boundedness::NotOnTarget(_) => "not_on_target",
            Boundedness::Bounded => "bounded",
        };
        Self { verb: write.verb.as_str(), table: qualified(&write.table), columns: &write.columns, bound }
    }
}

fn json_line(row: &impl Serialize) -> Result<String, Error> {
    let mut line = serde_json::to_string(row).map_err(io::Error::from)?;
    line.push('\n');
    Ok(line)
}

/// How often each verdict was given.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn count(&mut self, verdict: &'static str) {
        *self.0.entry(verdict).or_default() += 1;
    }

    fn denied(&self) -> usize {
        self.0.get("deny").copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.0.values().sum();
        write!(f, "{total} {}", if total == 1 { "statement" } else { "statements" })?;
        for (i, (verdict, count)) in self.0.iter().enumerate() {
            write!(f, "{} {count} {verdict}", if i == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}
