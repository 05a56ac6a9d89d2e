//! One job against a manager that says what the test wants.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{ContentHash, StageOutput};
use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};
use gnist_common::protocol::{DriverToManager, JobStats, ManagerToDriver, ResultLocation};
use gnist_common::stores::StoreSettings;
use gnist_common::time::WallTime;
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_proto::link::{ContentSink, DriverLink};
use tokio::sync::mpsc;

use super::courier::Courier;
use crate::connection::Connection;
use crate::fetch::tests::Worker;
use crate::session::{Session, SessionParts};

struct Sink;

#[async_trait]
impl ContentSink for Sink {
    async fn put_content(&self, _: ContentHash, _: Bytes) -> Result<(), Failure> {
        Ok(())
    }

    async fn release_content(&self, _: ContentHash) -> Result<(), Failure> {
        Ok(())
    }
}

/// The manager's end of a conversation.
struct Manager {
    heard: mpsc::Receiver<DriverToManager>,
    say: mpsc::Sender<ManagerToDriver>,
}

impl Manager {
    /// The first thing heard that `pick` wants.
    async fn hear<T>(&mut self, pick: impl Fn(DriverToManager) -> Option<T>) -> T {
        loop {
            let message = self.heard.recv().await.expect("the driver is there");
            if let Some(picked) = pick(message) {
                return picked;
            }
        }
    }

    /// The stage of the next job that makes its result.
    async fn result_stage(&mut self) -> StageId {
        self.stage_of(StageOutput::Result).await
    }

    /// The next stage that makes this.
    async fn stage_of(&mut self, output: StageOutput) -> StageId {
        self.hear(|message| match message {
            DriverToManager::SubmitStages { stages, .. } => {
                let found = stages.into_iter().find(|stage| stage.output == output);
                found.map(|stage| stage.id)
            }
            _ => None,
        })
        .await
    }

    async fn taken(&mut self) -> AttemptId {
        self.hear(|message| match message {
            DriverToManager::ResultTaken { attempt } => Some(attempt),
            _ => None,
        })
        .await
    }

    async fn ready(&self, attempt: AttemptId) {
        let location =
            ResultLocation::Worker { worker: WorkerId(1), address: "a:1".to_owned(), bytes: 0 };
        self.tell(ManagerToDriver::ResultReady { attempt, location, rows: 0 }).await;
    }

    async fn end(&self, job: JobId, outcome: Result<(), Failure>) {
        let stats = JobStats::default();
        self.tell(ManagerToDriver::JobEnded { job, outcome, stats }).await;
    }

    async fn tell(&self, message: ManagerToDriver) {
        self.say.send(message).await.expect("the driver is there");
    }
}

/// A link whose manager has opened the application, and that manager.
async fn link() -> (DriverLink, Manager) {
    let (to_manager, heard) = mpsc::channel(64);
    let (say, from_manager) = mpsc::channel(64);
    let manager = Manager { heard, say };
    manager
        .tell(ManagerToDriver::ApplicationOpened {
            application: ApplicationId(1),
            heartbeat_interval_ms: 60_000,
            slots: 2,
            workers: 2,
        })
        .await;
    (DriverLink { to_manager, from_manager, content: Arc::new(Sink) }, manager)
}

/// A session of a cluster, and what is its manager.
async fn session() -> (Session, Manager) {
    let (link, manager) = link().await;
    let session = Session::open(SessionParts {
        stores: StoreSettings::default(),
        link,
        in_process: None,
        name: "test".to_owned(),
        submitted_at: WallTime(0),
        observer: None,
        shuffle_partitions: None,
        batch_rows: 8192,
        ansi: true,
        memory: ByteSize::mib(64),
        broadcast_threshold: ByteSize(1 << 20),
        sort_threshold: ByteSize(1 << 20),
    });
    (session.await.expect("the manager said yes"), manager)
}

/// One column of these numbers, within the message.
fn inline(numbers: &[i64]) -> ResultLocation {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let batch = RecordBatch::try_from_iter([("value", column)]).expect("a column");
    let block = encode_block(batch.schema_ref(), std::slice::from_ref(&batch), BlockCodec::Plain);
    ResultLocation::Inline(block.expect("a block").to_vec())
}

/// The place of a partition of this many bytes, which the worker makes of the number of its task.
fn held(worker: &Worker, bytes: u64) -> ResultLocation {
    ResultLocation::Worker { worker: WorkerId(1), address: worker.address.clone(), bytes }
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let of = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(of).collect()
}

const QUERY: &str = "select value from generate_series(1, 10)";

fn contradicted() -> Result<(), Failure> {
    Err(Failure::new(ErrorKind::Contradicted, "what was delivered is lost"))
}

/// The manager may lose a worker before it hears that a partition was taken, and computes the
/// partition again. It would wait for ever if the second one were not acknowledged.
#[tokio::test]
async fn a_partition_that_is_here_is_acknowledged_again() {
    let (session, mut manager) = session().await;
    let mut rows = session.sql(QUERY).await.expect("a plan");
    let task = manager.result_stage().await.task(0);
    for attempt in [task.attempt(0), task.attempt(1)] {
        manager.ready(attempt).await;
        assert_eq!(manager.taken().await, attempt);
    }
    manager.end(task.stage.job, Ok(())).await;
    assert!(rows.collect().await.expect("the job ended well").is_empty());
}

/// The worker answers once the next partition is asked for, too.
#[tokio::test]
async fn a_partition_that_is_announced_again_while_it_is_fetched_is_delivered_once() {
    let worker = Worker::start(2).await;
    let (session, mut manager) = session().await;
    let mut rows = session.sql(QUERY).await.expect("a plan");
    let stage = manager.result_stage().await;
    let [first, again] = [0, 1].map(|attempt| stage.task(0).attempt(attempt));
    let next = stage.task(1).attempt(0);
    let ready = |attempt, location| ManagerToDriver::ResultReady { attempt, location, rows: 1 };
    manager.tell(ready(first, held(&worker, 100))).await;
    while worker.requests() == 0 {
        tokio::task::yield_now().await;
    }
    manager.tell(ready(again, inline(&[0]))).await;
    manager.tell(ready(next, held(&worker, 100))).await;
    manager.end(stage.job, Ok(())).await;
    let mut numbers = numbers(&rows.collect().await.expect("both partitions"));
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    let mut taken = [manager.taken().await, manager.taken().await, manager.taken().await];
    taken.sort_unstable();
    assert_eq!(taken, [first, again, next]);
}

#[tokio::test]
async fn a_contradicted_job_is_started_over_until_rows_are_out() {
    let (session, mut manager) = session().await;
    let mut rows = session.sql(QUERY).await.expect("a plan");
    let first = manager.result_stage().await;
    manager.end(first.job, contradicted()).await;
    let second = manager.result_stage().await;
    assert_ne!(second.job, first.job);
    manager.ready(second.task(0).attempt(0)).await;
    manager.taken().await;
    manager.end(second.job, contradicted()).await;
    let failure = rows.collect().await.expect_err("a partition is out");
    assert_eq!(failure.kind, ErrorKind::Contradicted);
}

#[tokio::test]
async fn a_job_is_not_started_over_for_ever() {
    let (session, mut manager) = session().await;
    let mut rows = session.sql(QUERY).await.expect("a plan");
    for _ in 0..super::JOBS_MAX {
        let stage = manager.result_stage().await;
        manager.end(stage.job, contradicted()).await;
    }
    let failure = rows.collect().await.expect_err("that was the last try");
    assert_eq!(failure.kind, ErrorKind::Contradicted);
}

/// The job's slots and blocks would stay until the session is closed, were it not cancelled.
#[tokio::test]
async fn a_job_that_an_error_in_the_driver_ends_is_cancelled() {
    let (session, mut manager) = session().await;
    let query = "select 1 where 1 = (select value from generate_series(1, 2))";
    let mut rows = session.sql(query).await.expect("a plan");
    let value = manager.stage_of(StageOutput::Value).await;
    let (attempt, location) = (value.task(0).attempt(0), inline(&[1, 2]));
    manager.tell(ManagerToDriver::ResultReady { attempt, location, rows: 2 }).await;
    let failure = rows.collect().await.expect_err("two rows are no value");
    assert_eq!(failure.kind, ErrorKind::User);
    let is_cancelled = |message| match message {
        DriverToManager::CancelJob { job } => Some(job),
        _ => None,
    };
    assert_eq!(manager.hear(is_cancelled).await, value.job);
}

/// The worker answers none before the last of them is asked for.
#[tokio::test]
async fn partitions_are_fetched_several_at_a_time_over_one_connection() {
    const PARTITIONS: u32 = 6;
    let worker = Worker::start(PARTITIONS as usize).await;
    let (session, mut manager) = session().await;
    let mut rows = session.sql(QUERY).await.expect("a plan");
    let stage = manager.result_stage().await;
    for task in 0..PARTITIONS {
        let (attempt, location) = (stage.task(task).attempt(0), held(&worker, 100));
        manager.tell(ManagerToDriver::ResultReady { attempt, location, rows: 1 }).await;
    }
    manager.end(stage.job, Ok(())).await;
    let batches = rows.collect().await.expect("every partition");
    let mut numbers = numbers(&batches);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..i64::from(PARTITIONS)).collect::<Vec<_>>());
    assert_eq!(worker.connections(), 1);
}

/// Two partitions of 40 MiB are more than may wait for their reader.
#[tokio::test]
async fn no_more_is_fetched_than_may_wait_for_a_slow_reader() {
    const PARTITIONS: u32 = 50;
    let worker = Worker::start(1).await;
    let (session, mut manager) = session().await;
    let mut rows = session.sql(QUERY).await.expect("a plan");
    let stage = manager.result_stage().await;
    for task in 0..PARTITIONS {
        let (attempt, location) = (stage.task(task).attempt(0), held(&worker, 40 << 20));
        manager.tell(ManagerToDriver::ResultReady { attempt, location, rows: 1 }).await;
    }
    manager.end(stage.job, Ok(())).await;
    let mut requests = 0;
    while requests == 0 || requests != worker.requests() {
        requests = worker.requests();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(requests < 20, "{requests}");
    let batches = rows.collect().await.expect("every partition");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), PARTITIONS as usize);
}

/// Two ranges of 40 MiB are more than may wait for their reader.
#[tokio::test]
async fn the_range_whose_turn_it_is_comes_whatever_later_ranges_hold() {
    let worker = Worker::start(1).await;
    let (link, mut manager) = link().await;
    let connection =
        Connection::open(link, "test".to_owned(), WallTime(0), StoreSettings::default(), None)
            .await;
    let connection = Arc::new(connection.expect("the manager said yes"));
    let (sender, mut rows) = mpsc::channel(2);
    let mut courier = Courier::start(connection, sender, true);
    let range = |task| ApplicationId(1).job(0).stage(0).task(task).attempt(0);
    courier.offer(range(1), held(&worker, 40 << 20));
    assert_eq!(manager.taken().await, range(1));
    courier.offer(range(0), held(&worker, 40 << 20));
    courier.finish().await.expect("both ranges");
    let batches = [0, 1].map(|_| rows.try_recv().expect("a batch").expect("rows"));
    assert_eq!(numbers(&batches), [0, 1]);
}

/// The kernel of a process that is stopped accepts connections, and acknowledges what nobody reads.
#[tokio::test]
async fn a_result_on_a_worker_that_stands_still_is_missing_once_it_is_lost() {
    for (query, output) in [
        (QUERY, StageOutput::Result),
        ("select 1 where 1 = (select max(value) from generate_series(1, 2))", StageOutput::Value),
    ] {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("it is bound").to_string();
        let (session, mut manager) = session().await;
        let _rows = session.sql(query).await.expect("a plan");
        let attempt = manager.stage_of(output).await.task(0).attempt(0);
        let worker = WorkerId(1);
        let location = ResultLocation::Worker { worker, address, bytes: 100 };
        manager.tell(ManagerToDriver::ResultReady { attempt, location, rows: 1 }).await;
        let reason = "no heartbeat".to_owned();
        manager.tell(ManagerToDriver::WorkerLost { worker, reason }).await;
        let is_missing = |message| match message {
            DriverToManager::ResultMissing { attempt } => Some(attempt),
            _ => None,
        };
        assert_eq!(manager.hear(is_missing).await, attempt);
    }
}
