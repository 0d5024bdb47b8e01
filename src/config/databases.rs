//! `[databases.NAME]`: the tiers of a database, where they are and how to log in there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::files;
use super::listen::warn_if_everybody_reads;
use super::model::{Database, Secret, SslMode, Target};
use super::policy::Tier;
use super::reader::{At, Section};
use super::url::UpstreamUrl;
use super::values::{choice, connections, duration, text};

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads `[databases]`.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, Database> {
    let section = root.table("databases");
    let mut databases = BTreeMap::new();
    let mut aliases = Vec::new();
    let entries = section.entries();
    if entries.is_empty() {
        section
            .reader
            .error(&section.place, "there is no database; add [databases.app] with a tier such as int = { url = … }");
    }
    for (name, entry) in entries {
        if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
            let message = "a database's name must not be empty nor hold a colon or control characters: \
                           clients write NAME:TIER";
            section.reader.error(&entry.place, message);
        }
        if let Some(database) = read_database(&name, entry, &mut aliases) {
            databases.insert(name, database);
        }
    }
    check_aliases(&section, &databases, &aliases);
    databases
}

/// Reads one database. `None` when it cannot be used; the errors are noted.
fn read_database(name: &str, section: Section<'_>, aliases: &mut Vec<At<String>>) -> Option<Database> {
    let reader = section.reader;
    let default_tier = section.get("default_tier", choice::<Tier>);
    let mut targets = BTreeMap::new();
    let mut tiers = Vec::new();
    for tier in Tier::ALL {
        let of_tier = section.named(tier.as_str(), "TIER");
        let target = read_target(name, tier, &of_tier, aliases);
        if of_tier.is_present() {
            tiers.push(tier);
            targets.extend(target.map(|target| (tier, Arc::new(target))));
        }
    }
    let is_default_wrong = section.has("default_tier") && default_tier.is_none();
    let place = default_tier.as_ref().map_or_else(|| section.place.clone(), |at| at.place.clone());
    let given = default_tier.map(|at| at.value);

    let known = tiers.iter().map(|tier| tier.as_str()).collect::<Vec<_>>().join(", ");
    let default_tier = given.unwrap_or(Tier::Int);
    if tiers.is_empty() {
        reader.error(&place, "has no tier; add int, stg or prod, as in int = { url = \"postgres://…\" }");
    } else if !tiers.contains(&default_tier) && !is_default_wrong {
        let message = match given {
            Some(tier) => format!("is {tier}, which this database does not have; it has {known}"),
            None => format!("has no tier int for a bare name to mean; set default_tier to one of: {known}"),
        };
        reader.error(&place, message);
    } else if default_tier == Tier::Prod && tiers.len() > 1 {
        reader.warn(&place, format!("a bare \"{name}\" means prod; a milder default_tier saves people from a slip"));
    }
    (!targets.is_empty()).then_some(Database { default_tier, targets })
}

fn read_target(database: &str, tier: Tier, section: &Section<'_>, aliases: &mut Vec<At<String>>) -> Option<Target> {
    let reader = section.reader;
    let url = section.require("url", "write url = \"postgres://user@host:5432/dbname?sslmode=verify-full\"", text);
    let alias = section.get("name", text);
    let ca = section.get("ca", text).map(|at| at.map(|path| reader.resolve(&path)));
    let connect_timeout = section.get("connect_timeout", duration);
    let max_connections = section.get("max_connections", connections);
    let password = read_password(section);
    if !section.is_present() {
        return None;
    }
    section.refuse("password", "a password does not belong into this file; name it by password_env or password_file");
    aliases.extend(alias.clone());
    if let Some(at) = ca.as_ref().filter(|_| reader.reads_files()) {
        reader.check(&at.place, files::certificate_authority(&at.value));
    }
    let At { value: url, place } = url?;
    let url = reader.check(&place, UpstreamUrl::parse(&url))?;

    let verifies = matches!(url.sslmode, SslMode::VerifyCa | SslMode::VerifyFull);
    if let Some(at) = ca.as_ref().filter(|_| !verifies) {
        let sslmode = url.sslmode.as_str();
        reader.warn(&at.place, format!("is not used with sslmode={sslmode}; use sslmode=verify-full"));
    }
    // sslmode=disable is somebody's decision; prefer gives way without a word.
    if tier.is_guarded() && url.sslmode == SslMode::Prefer && !url.is_local() {
        reader.warn(&place, "may talk to the database in plain TCP; use sslmode=verify-full");
    }
    let UpstreamUrl { user, host, port, dbname, sslmode } = url;
    Some(Target {
        database: database.to_owned(),
        tier,
        alias: alias.map(|at| at.value),
        host,
        port,
        dbname,
        user,
        password,
        sslmode,
        ca: ca.map(|at| at.value),
        connect_timeout: connect_timeout.map_or(DEFAULT_CONNECT_TIMEOUT, |at| at.value),
        max_connections: max_connections.map(|at| at.value),
    })
}

/// The password from the environment or a file; `None` for trust authentication.
fn read_password(section: &Section<'_>) -> Option<Secret> {
    let reader = section.reader;
    let variable = section.get("password_env", text);
    let file = section.get("password_file", text).map(|at| at.map(|path| reader.resolve(&path)));
    if let (Some(at), Some(_)) = (&variable, &file) {
        reader.error(&at.place, "password_file is given as well; keep one of them");
    }
    if let Some(at) = variable {
        return reader.check(&at.place, reader.variable(&at.value)).flatten().map(Secret::new);
    }
    let file = file.filter(|_| reader.reads_files())?;
    warn_if_everybody_reads(section, &file);
    reader.check(&file.place, files::password(&file.value))
}

fn check_aliases(section: &Section<'_>, databases: &BTreeMap<String, Database>, aliases: &[At<String>]) {
    for (i, alias) in aliases.iter().enumerate() {
        let name = &alias.value;
        let message = if name.contains(':') {
            "must not hold a colon, which parts a database from its tier; use app_prod or the like".to_owned()
        } else if databases.contains_key(name) {
            format!("\"{name}\" is the name of a database; choose another")
        } else if let Some(other) = aliases[..i].iter().find(|other| other.value == *name) {
            format!("\"{name}\" is the name of {} already; choose another", other.place.key.trim_end_matches(".name"))
        } else {
            continue;
        };
        section.reader.error(&alias.place, message);
    }
}
