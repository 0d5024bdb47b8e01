//! The endpoint's answers.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use super::Check;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus documentation, "Exposition formats".
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A status, a type and a body.
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    /// One header more.
    extra: Option<(HeaderName, &'static str)>,
    body: String,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    checks: Vec<Check>,
}

impl Answer {
    pub(super) fn text(body: &str) -> Self {
        Self::new(StatusCode::OK, TEXT, body)
    }

    fn new(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type, extra: None, body: body.into() }
    }

    pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self::new(status, JSON, format!("{value}\n"))
    }

    pub(super) fn metrics(body: String) -> Self {
        Self::new(StatusCode::OK, PROMETHEUS, body)
    }

    /// 200 when every check holds, 503 otherwise; none at all is not ready.
    pub(super) fn readiness(checks: Vec<Check>) -> Self {
        let ready = !checks.is_empty() && checks.iter().all(|check| check.ok);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match serde_json::to_string(&Report { ready, checks }) {
            Ok(body) => Self::new(status, JSON, body + "\n"),
            Err(error) => {
                let message = format!("the checks cannot be shown: {error}\n");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, TEXT, message)
            }
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            TEXT,
            "not found; there are /healthz, /readyz and /metrics, and operators' commands\n",
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        let extra = Some((ALLOW, "GET, HEAD"));
        Self { extra, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered\n") }
    }

    /// Another method than the one that a command takes.
    pub(super) fn only(method: Method) -> Self {
        let (name, body) = if method == Method::POST {
            ("POST", "only POST is answered\n")
        } else {
            ("GET", "only GET is answered\n")
        };
        Self { extra: Some((ALLOW, name)), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, TEXT, body) }
    }

    pub(super) fn forbidden(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, TEXT, why)
    }

    pub(super) fn unauthorized() -> Self {
        let body = "send the token of [admin] as Authorization: Bearer TOKEN\n";
        Self { extra: Some((WWW_AUTHENTICATE, "Bearer")), ..Self::new(StatusCode::UNAUTHORIZED, TEXT, body) }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.extra {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
