//! Session settings as plain values, and the statements that turn one set of them into another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sql::is_quoted_list;

/// Settings by name (lower case), in the flat form that `set_config` takes. Shared: most sessions and connections of a pool
/// hold the same ones, and then comparing them is comparing a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings(Arc<BTreeMap<String, String>>);

impl Settings {
    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// With `name` set to `value`.
    pub fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if self.get(name) == Some(&value) {
            return self.clone();
        }
        let mut map = BTreeMap::clone(&self.0);
        map.insert(name.to_owned(), value);
        Self(Arc::new(map))
    }

    /// Without `name`.
    pub fn without(&self, name: &str) -> Self {
        if !self.0.contains_key(name) {
            return self.clone();
        }
        let mut map = BTreeMap::clone(&self.0);
        map.remove(name);
        Self(Arc::new(map))
    }

    /// With all of `other` set over these.
    pub fn overlaid(&self, other: &Settings) -> Self {
        other.iter().fold(self.clone(), |all, (name, value)| all.with(name, value))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that decide what a text means; see [`is_read_at_parse`].
    pub fn read_at_parse(&self) -> Self {
        self.iter()
            .filter(|(name, _)| is_read_at_parse(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Whether they are equal; quickly when one is a copy of the other.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl FromIterator<(String, String)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(settings: I) -> Self {
        Self(Arc::new(settings.into_iter().collect()))
    }
}

/// What a connection is known to have set beyond its server's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Exactly these.
    Known(Settings),
    /// Anything: something ran whose effects could not be read.
    Unknown,
}

/// Settings that decide what a text means once the server has parsed it: names are looked up and constants are read then.
/// (`SELECT '01/02/2026'::date` keeps the date of the DateStyle it was parsed under.)
const READ_AT_PARSE: [&str; 13] = [
    "array_nulls",
    "backslash_quote",
    "client_encoding",
    "datestyle",
    "default_text_search_config",
    "extra_float_digits",
    "intervalstyle",
    "lc_monetary",
    "search_path",
    "standard_conforming_strings",
    "timezone",
    "transform_null_equals",
    "xmloption",
];

/// Whether a text that was parsed under another value of this setting may mean something else.
pub fn is_read_at_parse(name: &str) -> bool {
    READ_AT_PARSE.contains(&name)
}

/// The statements that make a connection with `have` into one with `want`; `None` when nothing differs.
pub fn difference(have: &Applied, want: &Settings) -> Option<String> {
    let (mut sql, changes) = resets(have, want)?;
    let mut separator = "SELECT ";
    for (name, value) in changes {
        sql.push_str(separator);
        push_set_config(name, value, &mut sql);
        separator = ",";
    }
    Some(sql)
}

/// The same inside a transaction block that may not have run a query yet. SET takes no snapshot, behind which Postgres refuses SET
/// TRANSACTION ISOLATION LEVEL; but it cannot give every value to a setting that is a list of identifiers.
pub fn difference_in_block(have: &Settings, want: &Settings) -> Option<String> {
    let (mut sql, changes) = resets(&Applied::Known(have.clone()), want)?;
    for (name, value) in changes {
        if is_quoted_list(name) {
            sql.push_str("SELECT ");
            push_set_config(name, value, &mut sql);
        } else {
            sql.push_str("SET ");
            push_setting_name(name, &mut sql);
            sql.push_str(" TO");
            push_literal(value, &mut sql);
        }
        sql.push(';');
    }
    Some(sql)
}

/// The statements that take away what is not wanted, and what is to be set behind them; `None` when nothing differs.
///
/// The order matters: another role may not have the right to set the rest, so it is left first and taken last. SET SESSION
/// AUTHORIZATION also ends SET ROLE (Postgres documentation, SET ROLE, "Notes").
fn resets<'w>(have: &Applied, want: &'w Settings) -> Option<(String, Vec<(&'w str, &'w str)>)> {
    let mut sql = String::new();
    let mut have = match have {
        Applied::Known(have) if have.same(want) => return None,
        Applied::Known(have) => have.clone(),
        Applied::Unknown => {
            sql.push_str("RESET SESSION AUTHORIZATION;RESET ALL;");
            Settings::default()
        }
    };
    for (name, reset) in [("session_authorization", "RESET SESSION AUTHORIZATION;RESET ROLE;"), ("role", "RESET ROLE;")]
    {
        if have.get(name).is_some() {
            sql.push_str(reset);
            have = have.without("session_authorization").without("role");
        }
    }
    for (name, _) in have.iter().filter(|&(name, _)| want.get(name).is_none_or(|value| is_partial(name, value))) {
        sql.push_str("RESET ");
        push_setting_name(name, &mut sql);
        sql.push(';');
    }
    let is_changed = |&(name, value): &(&str, &str)| have.get(name) != Some(value) || is_partial(name, value);
    let mut changes: Vec<_> = want.iter().filter(is_changed).collect();
    changes.sort_by_key(|&(name, _)| match name {
        "session_authorization" => 1,
        "role" => 2,
        _ => 0,
    });
    (!sql.is_empty() || !changes.is_empty()).then_some((sql, changes))
}

fn push_set_config(name: &str, value: &str, sql: &mut String) {
    sql.push_str("pg_catalog.set_config(");
    push_literal(name, sql);
    sql.push(',');
    push_literal(value, sql);
    sql.push_str(",false)");
}

/// Whether a value changes only a part of its setting: DateStyle has a format and an order, and keeps what is not named
/// (Postgres documentation, "Date/Time Output").
pub fn is_partial(name: &str, value: &str) -> bool {
    name == "datestyle" && !value.contains(',')
}

/// Quotes as a string literal that reads the same whatever `standard_conforming_strings` says.
pub fn push_literal(text: &str, sql: &mut String) {
    if text.contains('\\') {
        sql.push_str(" E");
    }
    sql.push('\'');
    for c in text.chars() {
        match c {
            '\'' => sql.push_str("''"),
            '\\' => sql.push_str("\\\\"),
            '\0' => {}
            c => sql.push(c),
        }
    }
    sql.push('\'');
}

/// A setting's name, each part quoted: custom settings are `prefix.name`.
pub fn push_setting_name(name: &str, sql: &mut String) {
    for (i, part) in name.split('.').enumerate() {
        if i > 0 {
            sql.push('.');
        }
        sql.push('"');
        sql.push_str(&part.replace('"', "\"\""));
        sql.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn nothing_is_sent_when_nothing_differs() {
        let a = settings(&[("timezone", "UTC")]);
        assert_eq!(difference(&Applied::Known(a.clone()), &a.clone()), None);
        assert_eq!(difference(&Applied::Known(settings(&[("timezone", "UTC")])), &a), None);
        assert_eq!(difference(&Applied::Known(Settings::default()), &Settings::default()), None);
    }

    #[test]
    fn what_differs_is_set_and_what_is_gone_is_reset() {
        let have = Applied::Known(settings(&[("a.b", "1"), ("timezone", "UTC")]));
        let want = settings(&[("role", "r"), ("timezone", "it's"), ("work_mem", "1\\")]);
        assert_eq!(
            difference(&have, &want).unwrap(),
            "RESET \"a\".\"b\";SELECT pg_catalog.set_config('timezone','it''s',false),\
             pg_catalog.set_config('work_mem', E'1\\\\',false),pg_catalog.set_config('role','r',false)"
        );
    }

    #[test]
    fn inside_a_block_no_snapshot_is_taken_for_it() {
        let have = settings(&[("a.b", "1")]);
        let want =
            settings(&[("role", "r"), ("search_path", "\"a b\", public"), ("timezone", "it's"), ("work_mem", "1\\")]);
        assert_eq!(
            difference_in_block(&have, &want).unwrap(),
            "RESET \"a\".\"b\";SELECT pg_catalog.set_config('search_path','\"a b\", public',false);\
             SET \"timezone\" TO'it''s';SET \"work_mem\" TO E'1\\\\';SET \"role\" TO'r';"
        );
        assert_eq!(difference_in_block(&want, &want), None);
    }

    #[test]
    fn another_role_is_left_before_the_rest_is_set_and_taken_behind_it() {
        let have = Applied::Known(settings(&[("log_statement", "all"), ("role", "r"), ("session_authorization", "u")]));
        assert_eq!(
            difference(&have, &settings(&[("role", "r")])).unwrap(),
            "RESET SESSION AUTHORIZATION;RESET ROLE;RESET \"log_statement\";SELECT pg_catalog.set_config('role','r',false)"
        );
    }

    #[test]
    fn a_partial_date_style_does_not_keep_what_another_session_had() {
        let have = Applied::Known(settings(&[("datestyle", "SQL, DMY")]));
        assert_eq!(
            difference(&have, &settings(&[("datestyle", "ISO")])).unwrap(),
            "RESET \"datestyle\";SELECT pg_catalog.set_config('datestyle','ISO',false)"
        );
    }

    #[test]
    fn unknown_state_is_reset_first() {
        assert_eq!(
            difference(&Applied::Unknown, &Settings::default()).unwrap(),
            "RESET SESSION AUTHORIZATION;RESET ALL;"
        );
    }
}
