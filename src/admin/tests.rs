use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Switch(AtomicBool);

impl Readiness for Switch {
    fn checks(&self) -> Vec<Check> {
        let ok = self.0.load(Ordering::SeqCst);
        let detail = if ok { "accepting" } else { "draining" }.to_owned();
        vec![
            Check { name: "audit".to_owned(), ok: true, detail: "on disk".to_owned() },
            Check { name: "listener".to_owned(), ok, detail },
        ]
    }
}

/// Takes commands from whoever knows the token, and remembers them.
#[derive(Default)]
struct Console {
    token: Option<&'static str>,
    given: Arc<Mutex<Vec<Command>>>,
}

impl Operator for Console {
    fn allows(&self, token: &str, _by: SocketAddr) -> Allowance {
        match self.token {
            None => Allowance::Off,
            Some(known) if known == token => Allowance::Granted,
            Some(_) => Allowance::Wrong,
        }
    }

    fn view(&self, view: View) -> serde_json::Value {
        serde_json::json!({ "view": format!("{view:?}") })
    }

    fn run(
        &self,
        command: Command,
        _by: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = Result<serde_json::Value, Refusal>> + Send>> {
        self.given.lock().unwrap().push(command.clone());
        Box::pin(async move {
            match command {
                Command::Reload => Err(Refusal::Failed("line 3 is wrong".to_owned())),
                Command::Shutdown => Err(Refusal::NotAudited("disk full".to_owned())),
                Command::Pause(Scope::One(name)) => Err(Refusal::Unknown(name)),
                _ => Ok(serde_json::json!({ "done": true })),
            }
        })
    }
}

struct Endpoint {
    address: SocketAddr,
    given: Arc<Mutex<Vec<Command>>>,
    ready: Arc<Switch>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn endpoint() -> Endpoint {
    endpoint_with(PATIENCE).await
}

async fn endpoint_with(patience: Patience) -> Endpoint {
    endpoint_of(patience, Console { token: Some(TOKEN), ..Console::default() }).await
}

const TOKEN: &str = "0123456789abcdef";

async fn endpoint_of(patience: Patience, operator: Console) -> Endpoint {
    let given = Arc::clone(&operator.given);
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let ready = Arc::new(Switch(AtomicBool::new(true)));
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::counter!("pgbelay_test_total").increment(3));
    let readiness = Arc::clone(&ready) as _;
    let state = AdminState { readiness, metrics: Metrics::of(&recorder), operator: Arc::new(operator) };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve_with(listener, state, shutdown, patience));
    Endpoint { address, given, ready, stop, task }
}

/// Sends `request` as it is and returns everything the server says until it closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn serves_its_three_pages() {
    let endpoint = endpoint().await;
    assert_eq!(get(endpoint.address, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(endpoint.address, "/healthz?verbose").await, (200, "ok\n".to_owned()));
    let (status, metrics) = get(endpoint.address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("pgbelay_test_total 3"), "{metrics}");
    let (status, ready) = get(endpoint.address, "/readyz").await;
    assert_eq!(status, 200);
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["checks"][1], serde_json::json!({"name": "listener", "ok": true, "detail": "accepting"}));
}

#[tokio::test]
async fn a_failed_check_means_503_while_the_process_is_healthy() {
    let endpoint = endpoint().await;
    endpoint.ready.0.store(false, Ordering::SeqCst);
    let (status, ready) = get(endpoint.address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(ready.contains(r#""ready":false"#) && ready.contains("draining"), "{ready}");
    assert_eq!(get(endpoint.address, "/healthz").await.0, 200);
}

#[test]
fn no_check_at_all_is_not_ready() {
    assert_eq!(Answer::readiness(Vec::new()).into_response().status(), 503);
}

#[tokio::test]
async fn refuses_other_paths_and_methods() {
    let endpoint = endpoint().await;
    let address = endpoint.address;
    let (status, body) = get(address, "/metricsx").await;
    assert_eq!(status, 404);
    assert!(body.contains("/metrics"), "{body}");
    let answer = exchange(address, "DELETE /metrics HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    let head = exchange(address, "HEAD /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn refuses_heads_that_are_too_large_and_what_is_not_http() {
    let endpoint = endpoint().await;
    let address = endpoint.address;
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
    assert!(exchange(address, &long).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
    assert!(exchange(address, &many).await.starts_with("HTTP/1.1 431 "));
    assert!(exchange(address, "\0\0\0\x08\x04\u{2}\x16/\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn does_not_wait_for_a_body_that_never_comes() {
    let endpoint = endpoint().await;
    let address = endpoint.address;
    let request = "GET /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n";
    assert!(exchange(address, request).await.starts_with("HTTP/1.1 200 "));
}

/// Both clocks are tried alone: the one of the head, and the one of the whole connection.
#[tokio::test]
async fn a_silent_client_is_dropped() {
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(600));
    for patience in [Patience { header: short, connection: long }, Patience { header: long, connection: short }] {
        let endpoint = endpoint_with(patience).await;
        for said in ["", "GET /healthz HTTP/1.1\r\nHost:"] {
            let answer = timeout(Duration::from_secs(60), exchange(endpoint.address, said)).await.expect("still held");
            assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
}

#[tokio::test]
async fn silent_clients_cannot_take_more_than_their_places() {
    let endpoint = endpoint().await;
    let address = endpoint.address;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(exchange(address, "GET /healthz HTTP/1.1\r\n\r\n").await, "");
    drop(silent);
    // Their places are free again as soon as the server has seen them go.
    while exchange(address, "GET /healthz HTTP/1.1\r\n\r\n").await.is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Status and body of a command with these header lines.
async fn order(address: SocketAddr, request: &str, headers: &str) -> (u16, String) {
    let answer = exchange(address, &format!("{request} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

const RIGHT: &str = "Authorization: Bearer 0123456789abcdef\r\n";

#[tokio::test]
async fn commands_need_the_token_and_the_right_method() {
    let endpoint = endpoint().await;
    let address = endpoint.address;
    for headers in [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer 0123456789abcdeF\r\n",
        "Authorization: Basic 0123456789abcdef\r\n",
        "Authorization: 0123456789abcdef\r\n",
    ] {
        for request in ["POST /pause", "POST /kill?target=*", "GET /pools", "GET /clients", "GET /servers"] {
            let (status, body) = order(address, request, headers).await;
            assert_eq!(status, 401, "{request} {headers}");
            assert!(!body.contains("view"), "{body}");
        }
    }
    for (request, allowed) in [("GET /pause", "POST"), ("HEAD /kill?target=*", "POST"), ("POST /pools", "GET")] {
        let answer = exchange(address, &format!("{request} HTTP/1.1\r\nHost: test\r\n{RIGHT}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains(&format!("allow: {allowed}\r\n")), "{answer}");
    }
    assert!(endpoint.given.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_token_in_the_configuration_no_command_is_taken() {
    let endpoint = endpoint_of(PATIENCE, Console::default()).await;
    for headers in ["", "Authorization: Bearer \r\n", RIGHT] {
        assert_eq!(order(endpoint.address, "POST /pause", headers).await.0, 403, "{headers}");
        assert_eq!(order(endpoint.address, "GET /clients", headers).await.0, 403, "{headers}");
    }
    assert!(endpoint.given.lock().unwrap().is_empty());
}

#[tokio::test]
async fn commands_are_understood() {
    let endpoint = endpoint().await;
    let prod = || Scope::One("app:prod".to_owned());
    for (request, status, command) in [
        ("POST /pause", 200, Some(Command::Pause(Scope::All))),
        ("POST /pause?target=app%3Aprod", 404, Some(Command::Pause(prod()))),
        ("POST /resume?target=*", 200, Some(Command::Resume(Scope::All))),
        ("POST /reconnect?x=y&target=app:prod", 200, Some(Command::Reconnect(prod()))),
        ("POST /kill", 400, None),
        ("POST /kill?target=app:prod", 200, Some(Command::Kill(prod()))),
        ("POST /kill-client", 400, None),
        ("POST /kill-client?id=18f2a-7", 200, Some(Command::KillClient("18f2a-7".to_owned()))),
        ("POST /disable", 400, None),
        ("POST /disable?target=*", 200, Some(Command::Disable(Scope::All))),
        ("POST /enable", 200, Some(Command::Enable(Scope::All))),
        ("POST /reload", 409, Some(Command::Reload)),
        ("POST /shutdown", 503, Some(Command::Shutdown)),
        ("POST /pauses", 404, None),
        ("GET /pauses", 404, None),
    ] {
        let (got, body) = order(endpoint.address, request, RIGHT).await;
        assert_eq!(endpoint.given.lock().unwrap().pop(), command, "{request}");
        assert_eq!(got, status, "{request}: {body}");
    }
    let (status, body) = order(endpoint.address, "GET /servers", RIGHT).await;
    assert_eq!((status, body.as_str()), (200, "{\"view\":\"Servers\"}\n"));
}

#[tokio::test]
async fn commands_are_taken_from_this_machine_only() {
    let operator = Console { token: Some(TOKEN), ..Console::default() };
    let headers = hyper::HeaderMap::from_iter([(
        hyper::header::AUTHORIZATION,
        hyper::header::HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap(),
    )]);
    for (peer, status) in
        [("10.0.0.7:1", 403), ("[2001:db8::1]:1", 403), ("[::ffff:127.0.0.1]:1", 200), ("[::1]:1", 200)]
    {
        let uri = "/resume".parse().unwrap();
        let answer = command::answer(&Method::POST, &uri, &headers, peer.parse().unwrap(), &operator).await.unwrap();
        assert_eq!(answer.into_response().status(), status, "{peer}");
    }
}

#[tokio::test]
async fn stops_when_told() {
    let endpoint = endpoint().await;
    endpoint.stop.send(()).unwrap();
    endpoint.task.await.unwrap();
    assert!(TcpStream::connect(endpoint.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let endpoint = endpoint().await;
    let address = endpoint.address;
    let error = bind(address).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on [admin] address {address}: ")), "{error}");
}
