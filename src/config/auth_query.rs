//! `auth_query = { … }` of a database's tier: users that the database itself knows.

use std::time::Duration;

use toml::de::DeValue;

use super::policy::Role;
use super::reader::Section;
use super::values::{boolean, choice, connections, duration, text};

/// Superusers are left out: who needs one has the configuration say so. Every name is qualified.
const DEFAULT_QUERY: &str = "SELECT rolname, rolpassword, rolvaliduntil FROM pg_catalog.pg_authid \
                             WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin AND NOT rolsuper";
const DEFAULT_CACHE: Duration = Duration::from_secs(30);
const DEFAULT_USER_CONNECTIONS: u32 = 5;

/// How users that the file does not know are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthQuery {
    /// Finds the user `$1`: its name, its SCRAM verifier, and when that ends.
    pub query: String,
    /// The role at the proxy of users that are in none of the `groups`.
    pub role: Role,
    /// Roles at the proxy by roles of the database: the first that a user is a member of decides.
    pub groups: Vec<(String, Role)>,
    /// How long an answer counts.
    pub cache: Duration,
    /// As whom their sessions reach the server.
    pub upstream_role: UpstreamRole,
    /// Most connections to the server for each of them, where they have their own.
    pub max_user_connections: u32,
}

/// As whom a session's statements run on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamRole {
    /// The user's own: the keys it has logged in with at the proxy log in at the server.
    Own,
    /// The role of the url, for all.
    Shared,
}

/// Reads the table; `None` when it is absent or wrong.
pub(super) fn read(section: &Section<'_>) -> Option<AuthQuery> {
    let roles = Role::ALL.map(Role::as_str).join(", ");
    let role = section.require("role", &format!("use one of: {roles}"), choice::<Role>);
    let groups = section.get("groups", groups);
    let query = section.get("query", text);
    let cache = section.get("cache", duration);
    let pass_through = section.get("pass_through", boolean);
    let max_user_connections = section.get("max_user_connections", connections);
    if let Some(at) = query.as_ref().filter(|at| !at.value.contains("$1")) {
        section.reader.error(&at.place, "has no $1 for the user's name, as in WHERE rolname = $1");
    }
    let upstream_role = match &pass_through {
        Some(at) if !at.value => UpstreamRole::Shared,
        Some(_) | None => UpstreamRole::Own,
    };
    if let Some(at) = max_user_connections.as_ref().filter(|_| upstream_role == UpstreamRole::Shared) {
        section.reader.error(&at.place, "has no effect with pass_through = false; leave it out");
    }
    Some(AuthQuery {
        query: query.map_or_else(|| DEFAULT_QUERY.to_owned(), |at| at.value),
        role: role?.value,
        groups: groups.map(|at| at.value).unwrap_or_default(),
        cache: cache.map_or(DEFAULT_CACHE, |at| at.value),
        upstream_role,
        max_user_connections: max_user_connections.map_or(DEFAULT_USER_CONNECTIONS, |at| at.value),
    })
}

/// `["dba=admin", "deploy=migrator"]`
fn groups(value: &DeValue<'_>) -> Result<Vec<(String, Role)>, String> {
    let wrong =
        || "must be a list such as [\"dba=admin\", \"deploy=migrator\"]: role of the database = role".to_owned();
    let DeValue::Array(groups) = value else { return Err(wrong()) };
    groups
        .iter()
        .map(|group| {
            let group = text(group.get_ref()).map_err(|_| wrong())?;
            let (group, role) = group.rsplit_once('=').filter(|(group, _)| !group.is_empty()).ok_or_else(wrong)?;
            Ok((group.to_owned(), role.parse()?))
        })
        .collect()
}
