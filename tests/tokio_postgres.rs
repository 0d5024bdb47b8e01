//! tokio-postgres through the proxy, against a real Postgres.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly, in its helpers too")]

mod support;

use std::sync::Arc;

use support::Proxy;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

async fn connect(proxy: &Proxy, user: &str, database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&proxy.url(user, database), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn rows(messages: &[SimpleQueryMessage]) -> usize {
    messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_works_as_with_postgres() {
    let proxy = Proxy::start(3);
    queries(&proxy).await;
    refusals(&proxy).await;
    transactions(&proxy).await;
    row_limits(&proxy).await;
    copies(&proxy).await;
    many_clients(&proxy).await;
    notifications(&proxy).await;
    cancel(&proxy).await;
    let trail = std::fs::read_to_string(proxy.audit()).unwrap();
    assert!(trail.contains("\"event\":\"deny\""), "denials are recorded");
}

async fn queries(proxy: &Proxy) {
    let client = connect(proxy, "service", "app").await;
    let row = client.query_one("SELECT name FROM items WHERE id = $1", &[&7]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "item 7");
    let simple = client.simple_query("SELECT 1; SELECT 2; SELECT generate_series(1, 3)").await.unwrap();
    assert_eq!(rows(&simple), 5);
    let statement = client.prepare("SELECT count(*) FROM items WHERE id > $1").await.unwrap();
    for _ in 0..5 {
        let row = client.query_one(&statement, &[&50]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 50);
    }
    let many = (0..20).map(|i| client.query_one("SELECT $1::int + 1", std::slice::from_ref(&NUMBERS[i])));
    for (i, row) in futures_join(many).await.into_iter().enumerate() {
        assert_eq!(row.unwrap().get::<_, i32>(0), i as i32 + 1, "pipelined answers keep their order");
    }
    let error = client.query("SELECT * FROM nowhere", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    assert!(client.query("SELECT 1", &[]).await.is_ok(), "the session goes on");
}

static NUMBERS: [&(dyn tokio_postgres::types::ToSql + Sync); 20] =
    [&0, &1, &2, &3, &4, &5, &6, &7, &8, &9, &10, &11, &12, &13, &14, &15, &16, &17, &18, &19];

/// Polls all of them at once, so that the driver pipelines.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut all = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => all = false,
                }
            }
        }
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

async fn refusals(proxy: &Proxy) {
    let mut client = connect(proxy, "service", "app:prod").await;
    for sql in ["DELETE FROM items", "DELETE FROM items WHERE 1=1"] {
        let error = client.simple_query(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE, "{sql}");
        assert!(error.detail().unwrap().starts_with("rule unbounded-write: "), "{sql}");
        assert!(error.hint().is_some(), "{sql}");
        let error = client.execute(sql, &[]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql} in the extended protocol");
    }
    // Inside a transaction the refusal fails it, for the server as for the client.
    let transaction = client.transaction().await.unwrap();
    transaction.execute("UPDATE items SET name = 'x' WHERE id = 1", &[]).await.unwrap();
    assert!(transaction.execute("DELETE FROM items", &[]).await.is_err());
    let error = transaction.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.commit().await.unwrap();
    let name: String = client.query_one("SELECT name FROM items WHERE id = 1", &[]).await.unwrap().get(0);
    assert_eq!(name, "item 1", "the COMMIT of a failed transaction keeps nothing");

    let person = connect(proxy, "alice", "app:prod").await;
    let error = person.simple_query("UPDATE items SET name = 'x' WHERE id = 1").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    let shown = person.simple_query("SHOW transaction_read_only").await.unwrap();
    let SimpleQueryMessage::Row(row) = &shown[1] else { panic!("{shown:?}") };
    assert_eq!(row.get(0), Some("on"), "the server enforces it too");
}

async fn transactions(proxy: &Proxy) {
    let mut client = connect(proxy, "service", "app").await;
    client.batch_execute("SET application_name = 'before'").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("SET application_name = 'inside'").await.unwrap();
    transaction.rollback().await.unwrap();
    let name: String = client.query_one("SHOW application_name", &[]).await.unwrap().get(0);
    assert_eq!(name, "before", "a ROLLBACK undoes a SET");
    let other = connect(proxy, "service", "app").await;
    let name: String = other.query_one("SHOW application_name", &[]).await.unwrap().get(0);
    assert_ne!(name, "before", "another client does not see it");
}

async fn row_limits(proxy: &Proxy) {
    let mut client = connect(proxy, "service", "app:prod").await;
    let over = "UPDATE items SET name = 'x' WHERE id <= 11";
    let count = async |client: &Client| -> i64 {
        client.query_one("SELECT count(*) FROM items WHERE name = 'x'", &[]).await.unwrap().get(0)
    };
    let error = client.simple_query(over).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
    assert_eq!(count(&client).await, 0, "simple");
    let error = client.execute(over, &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
    assert_eq!(count(&client).await, 0, "extended");
    let transaction = client.transaction().await.unwrap();
    let error = transaction.execute(over, &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
    transaction.commit().await.unwrap();
    assert_eq!(count(&client).await, 0, "inside a transaction");
    let two = format!("UPDATE items SET name = 'x' WHERE id = 50; {over}");
    assert!(client.simple_query(&two).await.is_err());
    assert_eq!(count(&client).await, 0, "several statements are one transaction");
    assert_eq!(client.execute("UPDATE items SET name = 'x' WHERE id <= 10", &[]).await.unwrap(), 10);
    assert_eq!(count(&client).await, 10, "at the limit");
}

async fn copies(proxy: &Proxy) {
    use std::pin::pin;
    let client = connect(proxy, "service", "app").await;
    let sink = client.copy_in("COPY items FROM STDIN").await.unwrap();
    let mut sink = pin!(sink);
    let data = (1000..3000).map(|i| format!("{i}\tcopied\n")).collect::<String>();
    std::future::poll_fn(|cx| {
        use futures_sink::Sink;
        match sink.as_mut().poll_ready(cx) {
            std::task::Poll::Ready(ready) => std::task::Poll::Ready(ready),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
    .unwrap();
    {
        use futures_sink::Sink;
        sink.as_mut().start_send(bytes::Bytes::from(data)).unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 2000);
    let copied: i64 = client.query_one("SELECT count(*) FROM items WHERE name = 'copied'", &[]).await.unwrap().get(0);
    assert_eq!(copied, 2000);
    client.execute("DELETE FROM items WHERE id >= 1000", &[]).await.unwrap();
}

/// More clients than connections, each with its own settings and prepared statements.
async fn many_clients(proxy: &Proxy) {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20 {
        let client = connect(proxy, "service", "app").await;
        tasks.spawn(async move {
            let zone = format!("Etc/GMT+{}", i % 12);
            client.batch_execute(&format!("SET TIME ZONE '{zone}'")).await.unwrap();
            let statement = client.prepare("SELECT current_setting('TimeZone'), $1::int").await.unwrap();
            for n in 0..20 {
                let row = client.query_one(&statement, &[&n]).await.unwrap();
                assert_eq!(row.get::<_, String>(0), zone);
                assert_eq!(row.get::<_, i32>(1), n);
            }
        });
    }
    tasks.join_all().await;
}

async fn notifications(proxy: &Proxy) {
    let (listener, mut connection) = tokio_postgres::connect(&proxy.url("service", "app"), NoTls).await.unwrap();
    let (send, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message {
                send.send(notification.payload().to_owned()).unwrap();
            }
        }
    });
    listener.batch_execute("LISTEN news").await.unwrap();
    let sender = connect(proxy, "service", "app").await;
    sender.batch_execute("NOTIFY news, 'hello'").await.unwrap();
    let payload = tokio::time::timeout(std::time::Duration::from_secs(10), received.recv()).await.unwrap();
    assert_eq!(payload.as_deref(), Some("hello"));
}

async fn cancel(proxy: &Proxy) {
    let client = Arc::new(connect(proxy, "service", "app").await);
    let token = client.cancel_token();
    let sleeping = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.simple_query("SELECT pg_sleep(60)").await }
    });
    // The statement has to run before it can be cancelled.
    let watcher = connect(proxy, "service", "app").await;
    loop {
        let running: i64 = watcher
            .query_one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        if running > 0 {
            break;
        }
    }
    token.cancel_query(NoTls).await.unwrap();
    let error = sleeping.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert!(client.simple_query("SELECT 1").await.is_ok());
}
