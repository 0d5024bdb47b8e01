//! The endpoint's answers.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
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
    body: String,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    checks: Vec<Check>,
}

impl Answer {
    pub(super) fn text(body: &str) -> Self {
        Self { status: StatusCode::OK, content_type: TEXT, body: body.to_owned() }
    }

    pub(super) fn metrics(body: String) -> Self {
        Self { status: StatusCode::OK, content_type: PROMETHEUS, body }
    }

    /// 200 when every check holds, 503 otherwise; none at all is not ready.
    pub(super) fn readiness(checks: Vec<Check>) -> Self {
        let ready = !checks.is_empty() && checks.iter().all(|check| check.ok);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match serde_json::to_string(&Report { ready, checks }) {
            Ok(body) => Self { status, content_type: JSON, body: body + "\n" },
            Err(error) => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                content_type: TEXT,
                body: format!("the checks cannot be shown: {error}\n"),
            },
        }
    }

    pub(super) fn not_found() -> Self {
        let body = "not found; there are /healthz, /readyz and /metrics\n".to_owned();
        Self { status: StatusCode::NOT_FOUND, content_type: TEXT, body }
    }

    pub(super) fn method_not_allowed() -> Self {
        let body = "only GET and HEAD are answered\n".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, content_type: TEXT, body }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}
