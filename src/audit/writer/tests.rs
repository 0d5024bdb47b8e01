//! The writer without its thread, on a disk that fails when it is told to.

use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::super::chain::Header;
use super::*;

#[derive(Debug, Default)]
struct Disk {
    /// Rotated files, then the current one.
    files: Vec<Vec<u8>>,
    /// Bytes that may still be written.
    room: usize,
    fail_sync: bool,
    fail_truncate: bool,
    fail_rotate: bool,
    writes: u64,
    syncs: u64,
}

#[derive(Clone, Debug)]
struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Disk { files: vec![vec![]], room: usize::MAX, ..Disk::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn writes_and_syncs(&self) -> (u64, u64) {
        let disk = self.lock();
        (disk.writes, disk.syncs)
    }

    fn files(&self) -> usize {
        self.lock().files.len()
    }

    /// The messages of all records, after checking that their chain holds.
    fn messages(&self) -> Vec<String> {
        let mut chain = Chain::START;
        let bytes = self.lock().files.concat();
        assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "torn: {}", String::from_utf8_lossy(&bytes));
        let lines = bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty());
        lines
            .map(|line| {
                let header = Header::read(line).unwrap();
                assert_eq!((header.seq, header.prev), (chain.seq + 1, chain.last));
                chain = header.chain();
                let json: serde_json::Value = serde_json::from_slice(line).unwrap();
                json["message"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

impl Sink for SharedDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.lock();
        disk.writes += 1;
        let n = bytes.len().min(disk.room);
        disk.room -= n;
        disk.files.last_mut().unwrap().extend_from_slice(&bytes[..n]);
        if n < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.syncs += 1;
        if disk.fail_sync { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.fail_truncate {
            return Err(io::Error::other("input/output error"));
        }
        disk.files.last_mut().unwrap().truncate(len as usize);
        Ok(())
    }

    fn rotate(&mut self, last: u64) -> io::Result<String> {
        let mut disk = self.lock();
        if disk.fail_rotate {
            return Err(io::Error::other("no permission"));
        }
        disk.files.push(vec![]);
        Ok(format!("rotated-{last}"))
    }
}

struct Bench {
    disk: SharedDisk,
    queue: Arc<Queue>,
    writer: Writer<SharedDisk>,
}

type Answer = oneshot::Receiver<Result<(), AuditError>>;

impl Bench {
    fn new(rotate_bytes: u64) -> Self {
        let (disk, queue) = (SharedDisk::new(), Arc::new(Queue::new()));
        let position = Position { chain: Chain::START, offset: 0, records: 0 };
        let settings = Settings { rotate_bytes, signer: None };
        let writer = Writer::new(disk.clone(), Arc::clone(&queue), position, settings);
        Self { disk, queue, writer }
    }

    fn record(&self, message: &str) -> Result<(), AuditError> {
        self.queue.submit(Some(record(message)), None)
    }

    fn commit(&self, message: &str) -> Answer {
        let (waiter, answer) = oneshot::channel();
        self.queue.submit(Some(record(message)), Some(waiter)).unwrap();
        answer
    }

    /// What the thread does when something is queued.
    fn step(&mut self) {
        let mut batch = Vec::new();
        self.queue.take(&mut batch, Pace::Idle, Some(Instant::now()));
        self.writer.cycle(&mut batch, Sync::WhenDue);
    }
}

fn record(message: &str) -> Record {
    Record { message: Some(message.into()), ..Record::new(Event::Result) }
}

fn is_ok(mut answer: Answer) -> bool {
    answer.try_recv().expect("nobody is left without an answer").is_ok()
}

#[test]
fn many_commits_share_one_write_and_one_sync() {
    let mut bench = Bench::new(u64::MAX);
    let answers: Vec<_> = (0..100).map(|i| bench.commit(&i.to_string())).collect();
    bench.step();
    assert!(answers.into_iter().all(is_ok));
    assert_eq!(bench.disk.writes_and_syncs(), (1, 1));
    assert_eq!(bench.disk.messages(), (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn records_are_written_at_once_and_synced_when_somebody_waits() {
    let mut bench = Bench::new(u64::MAX);
    bench.record("a").unwrap();
    bench.step();
    assert_eq!((bench.disk.messages(), bench.disk.writes_and_syncs()), (vec!["a".to_owned()], (1, 0)));
    assert!(bench.writer.deadline().is_some_and(|t| t <= Instant::now() + SYNC_EVERY));
    // A flush waits for what stands before it, and writes nothing itself.
    let (waiter, answer) = oneshot::channel();
    bench.queue.submit(None, Some(waiter)).unwrap();
    bench.step();
    assert!(is_ok(answer));
    assert_eq!(bench.disk.writes_and_syncs(), (1, 1));
    assert_eq!((bench.writer.deadline(), bench.queue.lag()), (None, Duration::ZERO));
}

#[test]
fn much_that_nobody_waits_for_is_synced_before_it_is_too_much() {
    let mut bench = Bench::new(u64::MAX);
    for _ in 0..2000 {
        bench.record(&"x".repeat(2000)).unwrap();
    }
    bench.step();
    let disk = bench.disk.lock();
    assert_eq!(disk.syncs as usize, disk.files[0].len() / MAX_UNSYNCED);
    assert!(disk.syncs >= 4);
}

#[test]
fn a_full_disk_tells_who_waits_keeps_the_rest_and_resumes() {
    let mut bench = Bench::new(u64::MAX);
    assert!(bench.writer.begin(vec!["begin".into()]).is_ok());
    bench.record("kept").unwrap();
    let refused = bench.commit("refused");
    bench.disk.lock().room = 300;
    bench.step();
    assert!(!is_ok(refused));
    assert_eq!(bench.disk.messages(), ["begin"], "the half-written line was cut off");
    assert!(!bench.queue.is_healthy());
    assert!(bench.queue.lag() > Duration::ZERO);
    assert!(matches!(bench.record("refused too"), Err(AuditError::Failed { reason }) if reason.contains("storage")));
    // Trying without anybody waiting, and with: still full.
    bench.step();
    let refused = bench.commit("refused again");
    bench.step();
    assert!(!is_ok(refused));
    assert_eq!((bench.queue.failures(), bench.disk.messages().len()), (3, 1));

    bench.disk.lock().room = usize::MAX;
    let answer = bench.commit("good");
    bench.step();
    assert!(is_ok(answer) && bench.queue.is_healthy());
    bench.record("after").unwrap();
    bench.step();
    let messages = bench.disk.messages();
    assert_eq!(messages[..3], ["begin", "kept", "good"]);
    assert!(messages[3].starts_with("audit.resumed: could not be written since 2"), "{messages:?}");
    assert!(messages[3].ends_with("3 records were refused"), "{messages:?}");
    assert_eq!(messages[4..], ["after"]);
}

#[test]
fn a_failed_sink_is_tried_again_without_anybody_asking() {
    let mut bench = Bench::new(u64::MAX);
    bench.record("kept").unwrap();
    bench.disk.lock().room = 0;
    bench.step();
    assert!(bench.writer.deadline().is_some_and(|t| t <= Instant::now() + RETRY_EVERY));
    bench.disk.lock().room = usize::MAX;
    bench.step();
    assert!(bench.queue.is_healthy());
    assert_eq!(bench.disk.messages().len(), 2);
}

#[test]
fn what_a_failed_sync_leaves_in_doubt_is_written_again() {
    let mut bench = Bench::new(u64::MAX);
    bench.record("a").unwrap();
    bench.step();
    bench.disk.lock().fail_sync = true;
    let refused = bench.commit("b");
    bench.step();
    assert!(!is_ok(refused));
    assert_eq!(bench.disk.messages(), Vec::<String>::new());
    bench.disk.lock().fail_sync = false;
    bench.step();
    let messages = bench.disk.messages();
    assert!(messages.len() == 2 && messages[0] == "a" && messages[1].starts_with("audit.resumed"), "{messages:?}");
}

#[test]
fn a_half_line_that_could_not_be_cut_off_is_cut_off_later() {
    let mut bench = Bench::new(u64::MAX);
    assert!(is_ok({
        let answer = bench.commit("a");
        bench.step();
        answer
    }));
    bench.disk.lock().room = 10;
    bench.disk.lock().fail_truncate = true;
    let refused = bench.commit("b");
    bench.step();
    assert!(!is_ok(refused));
    // Space is back, but the half line still cannot be cut off: nothing may be written behind it.
    bench.disk.lock().room = usize::MAX;
    let refused = bench.commit("c");
    bench.step();
    assert!(!is_ok(refused));
    bench.disk.lock().fail_truncate = false;
    let answer = bench.commit("d");
    bench.step();
    assert!(is_ok(answer));
    assert_eq!(bench.disk.messages()[..2], ["a", "d"]);
}

#[test]
fn rotation_keeps_the_chain_and_files_near_their_limit() {
    let mut bench = Bench::new(2000);
    for i in 0..100 {
        bench.record(&i.to_string()).unwrap();
    }
    let answer = bench.commit("last");
    bench.step();
    assert!(is_ok(answer));
    let messages = bench.disk.messages();
    let disk = bench.disk.lock();
    assert!(disk.files.len() > 10);
    for (i, file) in disk.files.iter().enumerate() {
        assert!(file.len() < 2000 + 400, "one line over the limit at most");
        let heads = messages.iter().filter(|m| m.starts_with("audit.rotated: continues rotated-")).count();
        assert_eq!(heads, disk.files.len() - 1);
        let first = file.split(|&b| b == b'\n').next().unwrap();
        assert_eq!(String::from_utf8_lossy(first).contains("audit.rotated: continues"), i > 0);
    }
    let own: Vec<_> = messages.iter().filter(|m| !m.starts_with("audit.")).collect();
    assert_eq!(own.len(), 101);
}

#[test]
fn a_limit_below_one_line_rotates_after_every_record_and_ends() {
    let mut bench = Bench::new(1);
    for i in 0..5 {
        bench.record(&i.to_string()).unwrap();
    }
    bench.step();
    assert_eq!(bench.disk.messages().iter().filter(|m| !m.starts_with("audit.")).count(), 5);
    assert!(bench.disk.files() <= 6);
}

#[test]
fn a_file_that_cannot_be_rotated_grows_on() {
    let mut bench = Bench::new(2000);
    bench.disk.lock().fail_rotate = true;
    for i in 0..20 {
        bench.record(&i.to_string()).unwrap();
    }
    bench.step();
    assert!(bench.queue.is_healthy());
    assert_eq!((bench.disk.files(), bench.disk.messages().len()), (1, 20));
    bench.disk.lock().fail_rotate = false;
    for i in 20..30 {
        bench.record(&i.to_string()).unwrap();
    }
    bench.step();
    assert!(bench.disk.files() > 1);
    bench.disk.messages();
}

#[test]
fn records_refused_by_a_full_queue_leave_a_trace() {
    let mut bench = Bench::new(u64::MAX);
    while bench.record("x").is_ok() {}
    assert!(bench.record("x").is_err());
    bench.step();
    let last = bench.disk.messages().pop().unwrap();
    assert_eq!(last, "audit.lost: 2 records were refused because the queue was full");
    bench.record("y").unwrap();
    bench.step();
    assert_eq!(bench.disk.messages().pop().unwrap(), "y");
}

#[derive(Clone, Debug)]
enum Step {
    Record,
    Commit,
    Write,
    Room(usize),
    Sync(bool),
    Truncate(bool),
    Rotate(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Record),
        4 => Just(Step::Commit),
        4 => Just(Step::Write),
        1 => prop_oneof![0..2000_usize, Just(usize::MAX)].prop_map(Step::Room),
        1 => any::<bool>().prop_map(Step::Sync),
        1 => any::<bool>().prop_map(Step::Truncate),
        1 => any::<bool>().prop_map(Step::Rotate),
    ]
}

proptest! {
    /// Whatever fails in whatever order: once the disk is well again the chain holds, and the trail has exactly the records
    /// whose callers were told so, in their order.
    #[test]
    fn the_trail_holds_what_was_promised(steps in proptest::collection::vec(step(), 0..60), rotate in 300..3000_u64) {
        let mut bench = Bench::new(rotate);
        let mut answers: Vec<(String, Option<Answer>)> = Vec::new();
        for (i, step) in steps.into_iter().enumerate() {
            let name = i.to_string();
            match step {
                Step::Record => {
                    if bench.record(&name).is_ok() {
                        answers.push((name, None));
                    }
                }
                Step::Commit => {
                    let answer = bench.commit(&name);
                    answers.push((name, Some(answer)));
                }
                Step::Write => bench.step(),
                Step::Room(n) => bench.disk.lock().room = n,
                Step::Sync(fail) => bench.disk.lock().fail_sync = fail,
                Step::Truncate(fail) => bench.disk.lock().fail_truncate = fail,
                Step::Rotate(fail) => bench.disk.lock().fail_rotate = fail,
            }
        }
        {
            let mut disk = bench.disk.lock();
            (disk.room, disk.fail_sync, disk.fail_truncate, disk.fail_rotate) = (usize::MAX, false, false, false);
        }
        answers.push(("end".into(), Some(bench.commit("end"))));
        bench.step();
        let promised: Vec<_> =
            answers.into_iter().filter_map(|(name, answer)| answer.is_none_or(is_ok).then_some(name)).collect();
        let kept: Vec<_> = bench.disk.messages().into_iter().filter(|m| !m.starts_with("audit.")).collect();
        prop_assert_eq!(kept, promised);
        prop_assert!(bench.queue.is_healthy());
    }
}
