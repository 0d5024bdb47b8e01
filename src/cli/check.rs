//! `pgbelay check`: validates a configuration and prints what it means.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{ConfigArg, connect};
use crate::config::{
    self, Admin, Config, Host, Loaded, Mode, Policy, Replicas, Role, Target, Tier, UpstreamRole, User, format_duration,
};
use crate::policy::{RULES, RuleId};

/// Arguments of `pgbelay check`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print nothing but errors and warnings
    #[arg(short, long)]
    quiet: bool,
    /// Log in to each upstream as well
    #[arg(long)]
    connect: bool,
}

const AFTER_HELP: &str = "\
Every error is printed at once, with file, line and key. Passwords are never printed.

Examples:
  pgbelay check                                check config/pgbelay.toml, or the file in PGBELAY_CONFIG
  pgbelay check --config prod.toml --quiet     in CI
  pgbelay check --connect                      before a deployment: are the databases there, does the login work

Exit status: 0 it can be used; 1 it cannot.";

/// Runs the command: 0 when the configuration can be used, 1 when not.
pub fn run(args: Args) -> ExitCode {
    let path = &args.config.config;
    let Loaded { config, warnings } = match config::load_with_warnings(path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            let count = errors.problems().len();
            eprintln!("{count} {} in {}", if count == 1 { "error" } else { "errors" }, path.display());
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if !args.quiet {
        // A closed pipe (`| head`) is no error of the configuration.
        let _ = writeln!(std::io::stdout(), "{}", Report(&config));
    }
    if args.connect {
        return match connect::connect_all(&config) {
            Ok((report, all)) => {
                let _ = write!(std::io::stdout(), "Connections\n{report}");
                if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("cannot connect: {error}");
                ExitCode::FAILURE
            }
        };
    }
    ExitCode::SUCCESS
}

/// What a configuration means, for people; holds no secret.
struct Report<'a>(&'a Config);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        writeln!(f, "{} is valid\n", config.source.display())?;
        write!(f, "{}", general(config))?;
        writeln!(f, "\nDatabases\n{}", databases(config))?;
        writeln!(f, "Users\n{}", users(config))?;
        write!(f, "Pools\n{}", pools(config))?;
        for tier in Tier::ALL {
            write!(f, "\nPolicy on {tier} ({})\n{}", tier.colour(), policies(config, tier))?;
            let rules = rules(config, tier);
            if !rules.is_empty() {
                write!(f, "\nRules on {tier} that are set on their own\n{rules}")?;
            }
            let peak_hours = peak_hours(config, tier);
            if !peak_hours.is_empty() {
                write!(f, "\nPeak hours on {tier}\n{peak_hours}")?;
            }
        }
        Ok(())
    }
}

fn admin(admin: &Admin) -> String {
    let commands = if admin.token.is_some() { "takes commands" } else { "takes no commands" };
    format!("{}, {commands}", admin.address)
}

fn general(config: &Config) -> Table {
    let listen = &config.listen;
    let tls = match &listen.tls {
        None => "no TLS".to_owned(),
        Some(tls) => {
            let required = if tls.required { "TLS required" } else { "TLS offered" };
            let client = if tls.client_ca.is_some() { ", client certificates accepted" } else { "" };
            format!("{required}{client}")
        }
    };
    let mut table = Table::default();
    let login = format_duration(listen.login_timeout);
    let clients = format!("{}, {tls}, at most {} clients, {login} to log in", listen.address, listen.max_clients);
    table.row(["listen", &clients]);
    table.row(["admin", &config.admin.as_ref().map_or("none".to_owned(), admin)]);
    let signed = if config.audit.signing_key.is_some() { "signed checkpoints" } else { "no signed checkpoints" };
    let rotate = config::format_bytes(config.audit.rotate_bytes);
    table.row(["audit", &format!("{}, rotated at {rotate}, {signed}", config.audit.path.display())]);
    table.row(["drain", &format_duration(config.drain)]);
    table
}

fn databases(config: &Config) -> Table {
    let mut table = Table::default();
    table.row(["database", "also called", "upstream", "servers", "as", "password", "sslmode", "connect within"]);
    for (name, database) in &config.databases {
        for (tier, target) in &database.targets {
            let bare = if *tier == database.default_tier { format!("{name}, ") } else { String::new() };
            let aliases = format!("{bare}{}", target.alias.as_deref().unwrap_or_default());
            let target_name = target.name();
            let name = [target_name.as_str(), aliases.trim_end_matches(", ")];
            table.row(name.into_iter().chain(place(target).iter().map(String::as_str)));
            if let Some(Replicas { target, max_lag }) = &target.replicas {
                let lag =
                    max_lag.map_or_else(|| "any lag".to_owned(), |lag| format!("lag up to {}", format_duration(lag)));
                table.row(["  replicas", &lag].into_iter().chain(place(target).iter().map(String::as_str)));
            }
        }
    }
    table
}

fn place(target: &Target) -> [String; 6] {
    [
        upstream(target),
        target.session_attrs.as_str().to_owned(),
        target.user.clone(),
        if target.password.is_some() { "given" } else { "none" }.to_owned(),
        target.sslmode.as_str().to_owned(),
        format_duration(target.connect_timeout),
    ]
}

fn upstream(target: &Target) -> String {
    let hosts: Vec<String> = target.hosts.iter().map(Host::to_string).collect();
    format!("{} {}", hosts.join(","), target.dbname)
}

fn users(config: &Config) -> Table {
    let mut table = Table::default();
    table.row(["user", "role", "proves itself by", "connections"]);
    for user in config.users.values() {
        let most = user.max_connections.map_or_else(|| "no limit".to_owned(), |most| format!("at most {most}"));
        table.row([user.name.as_str(), user.role.as_str(), &proof(user), &most]);
    }
    for target in config.databases.values().flat_map(|database| database.targets.values()) {
        if let Some(query) = &target.auth_query {
            let (proof, most) = match query.upstream_role {
                UpstreamRole::Own => {
                    let most = format!("at most {} each to the server", query.max_user_connections);
                    ("password of the database, where it is its own role", most)
                }
                UpstreamRole::Shared => ("password of the database", "no limit".to_owned()),
            };
            table.row([&format!("those of {}", target.name()), query.role.as_str(), proof, &most]);
        }
    }
    table
}

fn proof(user: &User) -> String {
    let names: Vec<String> = user.certificates.iter().map(ToString::to_string).collect();
    let mut proof = match (&user.verifier, names.is_empty()) {
        (Some(_), true) => "password".to_owned(),
        (Some(_), false) => format!("password and certificate {}", names.join(" or ")),
        (None, _) => format!("certificate {}", names.join(" or ")),
    };
    if let Some(end) = user.valid_until {
        proof.push_str(&format!(", until {}", end.format("%Y-%m-%d %H:%M UTC")));
    }
    proof
}

fn pools(config: &Config) -> Table {
    let mut table = Table::default();
    for (tier, pool) in &config.pools {
        let values = config::pool_values(pool);
        if table.is_empty() {
            table.row(["tier"].into_iter().chain(values.iter().map(|(key, _)| *key)));
        }
        table.row([tier.as_str()].into_iter().chain(values.iter().map(|(_, value)| value.as_str())));
    }
    table
}

/// A column for each role, a row for each key.
fn policies(config: &Config, tier: Tier) -> Table {
    let columns: Vec<_> = Role::ALL
        .into_iter()
        .filter_map(|role| Some((role, config::policy_values(config.policy(role, tier)?.as_ref()))))
        .collect();
    let mut table = Table::default();
    table.row(["key"].into_iter().chain(columns.iter().map(|(role, _)| role.as_str())));
    if let Some((_, keys)) = columns.first() {
        for (i, (key, _)) in keys.iter().enumerate() {
            table.row([*key].into_iter().chain(columns.iter().map(|(_, values)| values[i].1.as_str())));
        }
    }
    table
}

/// A row for each rule that the file speaks of, a column for each role.
fn rules(config: &Config, tier: Tier) -> Table {
    let policies: Vec<_> = Role::ALL.into_iter().filter_map(|role| config.policy(role, tier)).collect();
    let named: BTreeSet<_> = policies.iter().flat_map(|policy| policy.rules.iter().map(|(rule, _)| rule)).collect();
    let mut table = Table::default();
    if !named.is_empty() {
        table.row(["rule"].into_iter().chain(policies.iter().map(|policy| policy.role.as_str())));
    }
    for rule in named {
        let cells = policies.iter().map(|policy| in_words(rule, policy)).collect::<Vec<_>>();
        table.row([rule].into_iter().chain(cells.iter().map(String::as_str)));
    }
    table
}

/// A row for each role whose policy is tighter at times.
fn peak_hours(config: &Config, tier: Tier) -> Table {
    let mut table = Table::default();
    for policy in Role::ALL.into_iter().filter_map(|role| config.policy(role, tier)) {
        let Some(peak) = &policy.peak else { continue };
        let Some(tighter) = &peak.policy else { continue };
        let ordinary = config::policy_values(&policy);
        let changes: Vec<String> = config::policy_values(tighter)
            .into_iter()
            .zip(ordinary)
            .filter(|(peak, ordinary)| peak != ordinary)
            .map(|((key, value), _)| format!("{key} {value}"))
            .collect();
        table.row([policy.role.as_str(), &peak.hours.to_string(), &changes.join(", ")]);
    }
    table
}

/// How a rule acts: `report`, `enforce` or its own action.
fn in_words(rule: RuleId, policy: &Policy) -> String {
    let judged = RULES.iter().find(|known| known.id == rule);
    let mode = judged.map_or_else(|| policy.mode(rule), |rule| rule.mode(policy));
    match (mode, policy.rules.get(rule).action) {
        (mode, None) => mode.to_string(),
        (Mode::Enforce, Some(action)) => action.to_string(),
        (Mode::Report, Some(action)) => format!("report ({action})"),
    }
}

/// Rows of cells, aligned when shown.
#[derive(Default)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn row<'c>(&mut self, cells: impl IntoIterator<Item = &'c str>) {
        self.0.push(cells.into_iter().map(str::to_owned).collect());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "  {cell:width$}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
