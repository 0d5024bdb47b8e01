//! The log: lines of text or JSON on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::TelemetryError;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// What `PGBELAY_LOG_FORMAT` asks for; text without it.
    pub fn from_env() -> Result<Self, TelemetryError> {
        match std::env::var("PGBELAY_LOG_FORMAT") {
            Ok(text) => Self::named(&text),
            Err(_) => Ok(LogFormat::Text),
        }
    }

    fn named(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "" | "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(TelemetryError::Format(other.to_owned())),
        }
    }
}

/// Sends log lines to standard error: `RUST_LOG`, else `PGBELAY_LOG`, else level info. Call it once.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = filter_from(|variable| std::env::var(variable).ok())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| TelemetryError::Installed(error.to_string()))
}

fn filter_from(env: impl Fn(&'static str) -> Option<String>) -> Result<EnvFilter, TelemetryError> {
    for variable in ["RUST_LOG", "PGBELAY_LOG"] {
        if let Some(text) = env(variable).filter(|text| !text.is_empty()) {
            return EnvFilter::try_new(text)
                .map_err(|error| TelemetryError::Filter { variable, reason: error.to_string() });
        }
    }
    Ok(EnvFilter::new("info"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_filter_comes_from_rust_log_first() {
        let both = |variable: &str| Some(if variable == "RUST_LOG" { "debug" } else { "trace" }.to_owned());
        assert_eq!(filter_from(both).unwrap().to_string(), "debug");
        let own = |variable: &str| (variable == "PGBELAY_LOG").then(|| "warn,pgbelay::audit=trace".to_owned());
        assert_eq!(filter_from(own).unwrap().to_string(), "pgbelay::audit=trace,warn");
        assert_eq!(filter_from(|_| None).unwrap().to_string(), "info");
        assert_eq!(filter_from(|_| Some(String::new())).unwrap().to_string(), "info");
    }

    #[test]
    fn a_bad_filter_names_its_variable() {
        let error = filter_from(|variable| (variable == "PGBELAY_LOG").then(|| "pgbelay=loud".to_owned())).unwrap_err();
        assert!(error.to_string().starts_with("PGBELAY_LOG is not a log filter"), "{error}");
    }

    #[test]
    fn log_formats_have_names() {
        assert_eq!(LogFormat::named("json").unwrap(), LogFormat::Json);
        assert_eq!(LogFormat::named("").unwrap(), LogFormat::Text);
        let error = LogFormat::named("xml").unwrap_err();
        assert_eq!(error.to_string(), r#"PGBELAY_LOG_FORMAT is "xml"; use text or json"#);
    }
}
