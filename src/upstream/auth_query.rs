//! Users that the database knows and the configuration does not: looked up on a connection of their own.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use lru::LruCache;

use super::{ConnectError, Connection, Endpoint, Pause, Row, push_literal};
use crate::config::{AuthQuery, Origin, Secret, User, Verifier};

/// Most answers that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Longest name of a role in Postgres, in bytes (NAMEDATALEN).
const LONGEST_NAME: usize = 63;

/// `search_path`: nothing that somebody may create comes before Postgres's own names.
const SETTINGS: &str = "SET application_name = 'pgbelay auth_query'; SET search_path = pg_catalog, pg_temp; \
                        SET statement_timeout = 5000; SET DateStyle = 'ISO'; SET TimeZone = 'UTC'";

/// Looks users up in one database.
#[derive(Debug)]
pub struct UserLookup {
    /// How, and what they may.
    pub settings: AuthQuery,
    endpoint: Arc<Endpoint>,
    pause: Arc<Pause>,
    /// Finds which of the groups the user `$1` is in; `None` where there are none.
    groups: Option<String>,
    /// One at a time: strangers cannot keep the server busy.
    connection: tokio::sync::Mutex<Option<Connection>>,
    known: Mutex<LruCache<String, Answer>>,
}

/// What the database knew, and when.
type Answer = (Instant, Option<Arc<User>>);

impl UserLookup {
    /// Nothing is connected yet.
    pub fn new(settings: AuthQuery, endpoint: Arc<Endpoint>, pause: Arc<Pause>) -> Self {
        Self {
            groups: groups_query(&settings),
            settings,
            endpoint,
            pause,
            connection: tokio::sync::Mutex::default(),
            known: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// The user, if the database knows one of this name that can log in with SCRAM. While an operator has paused the database,
    /// nobody is asked: it waits.
    ///
    /// Cancel safety: a query that was dropped halfway closes its connection.
    pub async fn find(&self, name: &str) -> Result<Option<Arc<User>>, ConnectError> {
        if name.len() > LONGEST_NAME {
            return Ok(None);
        }
        if let Some(known) = self.remembered(name) {
            return Ok(known);
        }
        self.pause.over().await;
        let mut kept = self.connection.lock().await;
        // Somebody before in the queue may have asked the same.
        if let Some(known) = self.remembered(name) {
            return Ok(known);
        }
        let (rows, groups) = match kept.take() {
            Some(connection) => match self.ask(connection, name, &mut kept).await {
                // The server may have closed it since.
                Err(ConnectError::Io { .. } | ConnectError::Refused { .. }) => {
                    self.ask(self.connect().await?, name, &mut kept).await
                }
                asked => asked,
            },
            None => self.ask(self.connect().await?, name, &mut kept).await,
        }?;
        let found = self.user(name, &rows, &groups).map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(name.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }

    /// Closes its connection, if nobody is asking.
    pub fn reconnect(&self) {
        if let Ok(mut kept) = self.connection.try_lock() {
            kept.take().into_iter().for_each(Connection::close);
        }
    }

    /// Asks anew the next time: a password that does not fit may have been changed.
    pub fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).pop(name);
    }

    fn remembered(&self, name: &str) -> Option<Option<Arc<User>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = known.get(name)?;
        (at.elapsed() < self.settings.cache).then(|| found.clone())
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let mut connection = self.endpoint.connect().await?;
        connection.query(SETTINGS).await?;
        Ok(connection)
    }

    /// Asks for the user and for its groups, and keeps the connection if it is in order.
    async fn ask(
        &self,
        mut connection: Connection,
        name: &str,
        kept: &mut Option<Connection>,
    ) -> Result<(Vec<Row>, Vec<Row>), ConnectError> {
        let host = connection.host;
        let asking = async {
            let rows = connection.query_with(&self.settings.query, name).await?;
            let groups = match &self.groups {
                Some(query) if !rows.is_empty() => connection.query_with(query, name).await?,
                _ => vec![],
            };
            Ok((rows, groups))
        };
        let answer = self.endpoint.in_time(host, asking).await?;
        // What is paused is left alone.
        *kept = (!self.pause.is_on()).then_some(connection);
        Ok(answer)
    }

    /// Reads the answer; whatever is not as it should be is nobody.
    fn user(&self, name: &str, rows: &[Row], groups: &[Row]) -> Option<User> {
        let target = self.endpoint.target.name();
        let refuse = |why: &str| {
            tracing::warn!(%target, user = name, why, "auth_query: the user cannot log in");
            None
        };
        let [row] = rows else {
            return if rows.is_empty() { None } else { refuse("the query returned several rows") };
        };
        let (found, password, end) = match row.as_slice() {
            [found, password] => (found, password, &None),
            [found, password, end] => (found, password, end),
            _ => return refuse("the query must return name, password and, if it likes, the end of its validity"),
        };
        if found.as_deref() != Some(name) {
            return refuse("the query returned another name");
        }
        let Some(password) = password else { return refuse("it has no password, or one that is not valid any more") };
        if Verifier::parse(password).is_err() {
            return refuse("its password is not kept as a SCRAM verifier (password_encryption = 'scram-sha-256')");
        }
        let valid_until = match end.as_deref().map(valid_until) {
            None => None,
            Some(Ok(end)) => end,
            Some(Err(())) => return refuse("the end of its validity cannot be read; return a timestamptz"),
        };
        let role = match groups {
            [] => self.settings.role,
            [row, ..] => {
                let at = row.first().and_then(|at| at.as_deref()?.parse::<usize>().ok());
                let Some((_, role)) = at.and_then(|at| self.settings.groups.get(at)) else {
                    return refuse("its groups cannot be read");
                };
                *role
            }
        };
        Some(User {
            name: name.to_owned(),
            role,
            origin: Origin::Database,
            verifier: Some(Secret::new(password)),
            certificates: vec![],
            max_connections: None,
            valid_until,
        })
    }
}

/// A group that the database does not have has no members. Every name is qualified.
fn groups_query(settings: &AuthQuery) -> Option<String> {
    let mut names = String::new();
    for (at, (group, _)) in settings.groups.iter().enumerate() {
        names.push_str(if at == 0 { "(" } else { ", (" });
        names.push_str(&at.to_string());
        names.push_str(", ");
        push_literal(group, &mut names);
        names.push(')');
    }
    (!names.is_empty()).then(|| {
        format!(
            "SELECT g.at FROM (VALUES {names}) AS g(at, name) \
             JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) g.name \
             WHERE pg_catalog.pg_has_role($1::pg_catalog.name, r.oid, 'MEMBER') ORDER BY 1"
        )
    })
}

/// A timestamptz as DateStyle ISO and TimeZone UTC show it; `None` for infinity.
fn valid_until(text: &str) -> Result<Option<DateTime<Utc>>, ()> {
    match text {
        "infinity" => Ok(None),
        "-infinity" => Ok(Some(DateTime::<Utc>::MIN_UTC)),
        _ => match DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z") {
            Ok(end) => Ok(Some(end.to_utc())),
            Err(_) => Err(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_as_postgres_shows_them() {
        let read = |text| valid_until(text).map(|end| end.map(|end| end.to_rfc3339()));
        assert_eq!(read("infinity"), Ok(None));
        assert_eq!(read("2027-01-31 18:00:00+00"), Ok(Some("2027-01-31T18:00:00+00:00".to_owned())));
        assert_eq!(read("2027-01-31 18:00:00.25+01"), Ok(Some("2027-01-31T17:00:00.250+00:00".to_owned())));
        assert!(valid_until("-infinity").unwrap().unwrap() < Utc::now());
        for text in ["", "tomorrow", "2027-01-31", "0044-03-15 00:00:00+00 BC", "31/01/2027 00:00:00 UTC"] {
            assert_eq!(read(text), Err(()), "{text}");
        }
    }
}
