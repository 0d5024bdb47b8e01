//! Configuration: the file's types, defaults by tier, validation and the flat [`Policy`].
//!
//! Loading has two stages: `reader` gives TOML values with their places, and one file a section makes of them the checked
//! [`Config`]. docs/configuration.md is the reference of every key.

mod auth_query;
mod certificate_name;
mod connection;
mod databases;
mod defaults;
mod files;
mod listen;
mod load;
mod model;
mod peak_hours;
mod policy;
mod problem;
mod reader;
mod rules;
mod scram;
mod show;
mod tiers;
mod url;
mod url_parameters;
mod users;
mod values;

pub use auth_query::{AuthQuery, UpstreamRole};
pub use certificate_name::CertificateName;
pub use connection::*;
pub use defaults::{default_policy, default_pool};
pub use load::{Loaded, known_keys, load, load_admin, load_with_warnings, load_without_secrets, parse};
pub use model::*;
pub use peak_hours::PeakHours;
pub use policy::*;
pub use problem::{ConfigErrors, Problem};
pub use rules::{Mode, RuleSetting, RuleSettings};
pub use scram::{Verifier, scram_verifier};
pub use show::{format_bytes, format_duration, policy_values, pool_values};
