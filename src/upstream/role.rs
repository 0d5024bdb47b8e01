//! What a server is: primary or standby, and whether `target_session_attrs` asks for such a one.

use std::fmt;

use super::{Parameters, Row};
use crate::config::SessionAttrs;

/// What a server is, for a session that has set nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerRole {
    /// In hot standby: recovering, and following another server as a rule.
    pub is_standby: bool,
    /// Its transactions may not write unless they ask for it, or never.
    pub is_read_only: bool,
}

impl ServerRole {
    /// As told by ParameterStatus (Postgres 14 and later); `None` when it was not.
    pub fn told(parameters: &Parameters) -> Option<Self> {
        let is_on = |name| parameters.get(name).map(|value| value == "on");
        let is_standby = is_on("in_hot_standby")?;
        Some(Self { is_standby, is_read_only: is_standby || is_on("default_transaction_read_only")? })
    }

    /// As told by `pg_is_in_recovery()` and `transaction_read_only`.
    pub(super) fn asked(rows: &[Row]) -> Option<Self> {
        let [row] = rows else { return None };
        let [Some(recovery), Some(read_only)] = row.as_slice() else { return None };
        Some(Self { is_standby: recovery == "t", is_read_only: read_only == "on" })
    }

    /// Whether such a server will do. A standby is only preferred by `prefer-standby`, not demanded.
    pub fn suits(self, wanted: SessionAttrs) -> bool {
        match wanted {
            SessionAttrs::Any | SessionAttrs::PreferStandby => true,
            SessionAttrs::ReadWrite => !self.is_read_only,
            SessionAttrs::ReadOnly => self.is_read_only,
            SessionAttrs::Primary => !self.is_standby,
            SessionAttrs::Standby => self.is_standby,
        }
    }

    /// `primary` or `standby`.
    pub fn as_str(self) -> &'static str {
        if self.is_standby { "standby" } else { "primary" }
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_standby, self.is_read_only) {
            (true, _) => f.write_str("a standby"),
            (false, true) => f.write_str("a primary that is read-only"),
            (false, false) => f.write_str("a primary"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> Option<ServerRole> {
        let mut parameters = Parameters::default();
        for (name, value) in pairs {
            parameters.set(name, value);
        }
        ServerRole::told(&parameters)
    }

    #[test]
    fn is_read_from_what_the_server_reports() {
        let role = |is_standby, is_read_only| Some(ServerRole { is_standby, is_read_only });
        assert_eq!(told(&[("in_hot_standby", "on"), ("default_transaction_read_only", "off")]), role(true, true));
        assert_eq!(told(&[("in_hot_standby", "off"), ("default_transaction_read_only", "off")]), role(false, false));
        assert_eq!(told(&[("in_hot_standby", "off"), ("default_transaction_read_only", "on")]), role(false, true));
        assert_eq!(told(&[("server_version", "13.1")]), None);
        let row = |values: [&str; 2]| vec![values.map(|value| Some(value.to_owned())).to_vec()];
        assert_eq!(ServerRole::asked(&row(["t", "on"])), role(true, true));
        assert_eq!(ServerRole::asked(&row(["f", "off"])), role(false, false));
        assert_eq!(ServerRole::asked(&[]), None);
    }

    /// Postgres documentation, "target_session_attrs".
    #[test]
    fn each_value_takes_what_libpq_would() {
        let servers = [(false, false), (false, true), (true, true)]
            .map(|(is_standby, is_read_only)| ServerRole { is_standby, is_read_only });
        let table = [
            (SessionAttrs::Any, [true, true, true]),
            (SessionAttrs::ReadWrite, [true, false, false]),
            (SessionAttrs::ReadOnly, [false, true, true]),
            (SessionAttrs::Primary, [true, true, false]),
            (SessionAttrs::Standby, [false, false, true]),
            (SessionAttrs::PreferStandby, [true, true, true]),
        ];
        for (wanted, expected) in table {
            assert_eq!(servers.map(|server| server.suits(wanted)), expected, "{wanted:?}");
        }
    }
}
