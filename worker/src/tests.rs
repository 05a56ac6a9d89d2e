//! A worker driven through a link by a manager that does what the test says.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::{SessionConfig, SessionContext};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{
    ContentHash, InputMode, ProgramKind, ProgramRef, StageInput, StageOutput,
};
use gnist_common::ids::{ApplicationId, AttemptId, Generation, StageId, WorkerId};
use gnist_common::protocol::{ManagerToWorker, WorkerToManager};
use gnist_common::stores::StoreSettings;
use gnist_common::task::{
    AttemptEnd, Launch, LaunchInput, OutputLocation, OutputTable, TaskOutput,
};
use gnist_operators::bindings::Bindings;
use gnist_operators::block::decode_block;
use gnist_operators::program::Program;
use gnist_operators::reader::{ReadMode, StageReaderExec};
use gnist_proto::link::{ContentSource, LINK_MESSAGES_MAX, WorkerLink};
use tokio::sync::mpsc;

use super::*;
use crate::memory::MemoryBudget;

/// Tables that are known; of other stages one waits for ever.
#[derive(Default)]
struct Known(Mutex<HashMap<StageId, Arc<OutputTable>>>);

#[async_trait]
impl ContentSource for Known {
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        Err(Failure::new(ErrorKind::NotFound, hash.to_string()))
    }

    async fn outputs(&self, stage: StageId, _: u32) -> Result<Arc<OutputTable>, Failure> {
        let known = self.0.lock().unwrap().get(&stage).cloned();
        match known {
            Some(table) => Ok(table),
            None => std::future::pending().await,
        }
    }

    async fn stores(&self, _: ApplicationId) -> Result<StoreSettings, Failure> {
        Ok(StoreSettings::default())
    }
}

/// Programs handed over, and the budget of the worker that has them.
#[derive(Default)]
struct Programs {
    handed: OneProcessPrograms,
    budget: OnceLock<Arc<MemoryBudget>>,
}

#[async_trait]
impl ProgramSource for Programs {
    async fn program(&self, program: ProgramRef) -> Result<Arc<Counted<Program>>, Failure> {
        self.handed.program(program).await
    }

    async fn bindings(
        &self,
        program: ProgramRef,
        bindings: Option<ContentHash>,
    ) -> Result<Arc<Counted<Bindings>>, Failure> {
        self.handed.bindings(program, bindings).await
    }

    fn count_in(self: Arc<Self>, budget: &Arc<MemoryBudget>) {
        self.budget.set(Arc::clone(budget)).expect("a worker starts once");
    }
}

/// The other end of a worker's link.
struct FakeManager {
    worker: Worker,
    to_worker: mpsc::Sender<ManagerToWorker>,
    from_worker: mpsc::Receiver<WorkerToManager>,
    known: Arc<Known>,
    programs: Arc<Programs>,
    folder: tempfile::TempDir,
}

fn link(
    known: &Arc<Known>,
) -> (WorkerLink, mpsc::Sender<ManagerToWorker>, mpsc::Receiver<WorkerToManager>) {
    let (to_manager, from_worker) = mpsc::channel(LINK_MESSAGES_MAX);
    let (to_worker, from_manager) = mpsc::channel(LINK_MESSAGES_MAX);
    let content = Arc::clone(known) as _;
    (WorkerLink { to_manager, from_manager, content }, to_worker, from_worker)
}

const REGISTERED: ManagerToWorker = ManagerToWorker::Registered { heartbeat_interval_ms: 50 };

impl FakeManager {
    async fn start(memory: ByteSize, results: Option<Arc<dyn ResultSink>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (known, programs) = (Arc::new(Known::default()), Arc::new(Programs::default()));
        let (link, to_worker, mut from_worker) = link(&known);
        let config = config(folder.path(), memory);
        let programs_of_worker = Arc::clone(&programs) as _;
        let connections = Connections {
            link,
            reconnect: None,
            programs: programs_of_worker,
            results,
            listener: None,
        };
        let starting = tokio::spawn(Worker::start(config, connections));
        let first = from_worker.recv().await;
        assert!(
            matches!(first, Some(WorkerToManager::Register(r)) if r.slots == 2 && r.held.is_empty())
        );
        to_worker.send(REGISTERED).await.unwrap();
        let worker = starting.await.unwrap().unwrap();
        Self { worker, to_worker, from_worker, known, programs, folder }
    }

    fn publish(&self, name: u8, plan: Arc<dyn ExecutionPlan>) -> ProgramRef {
        let hash = ContentHash([name; 32]);
        self.programs.handed.put(hash, Program::Shared { plan }, Bindings::default());
        ProgramRef { hash, kind: ProgramKind::Plan, length_bytes: 0 }
    }

    async fn launch(&self, launch: Launch) {
        self.to_worker.send(ManagerToWorker::Launch(vec![launch])).await.unwrap();
    }

    async fn ended(&mut self) -> (AttemptId, AttemptEnd) {
        loop {
            match self.from_worker.recv().await.expect("the worker lives") {
                WorkerToManager::AttemptEnded { attempt, end } => return (attempt, end),
                WorkerToManager::Heartbeat { .. } | WorkerToManager::SlotsReleased { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    async fn done(&mut self) -> TaskOutput {
        match self.ended().await {
            (_, AttemptEnd::Done(output)) => output,
            (attempt, end) => panic!("{attempt} did not succeed: {end:?}"),
        }
    }
}

fn config(folder: &Path, memory: ByteSize) -> WorkerConfig {
    WorkerConfig::new(WorkerId(7), 2, memory, folder.to_owned())
}

fn stage(ordinal: u32) -> StageId {
    ApplicationId(1).job(0).stage(ordinal)
}

fn launch(stage: StageId, program: ProgramRef, output: StageOutput) -> Launch {
    Launch {
        attempt: stage.task(0).attempt(0),
        generation: Generation(0),
        program,
        bindings: None,
        slots: 1,
        inputs: Vec::new(),
        output,
        tasks: 1,
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// A session with a table `t` of so many partitions of 1,000 rows.
fn session(partitions: i64) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(usize::try_from(partitions).unwrap());
    let session = SessionContext::new_with_config(config);
    let batch = |p: i64| {
        let column = Arc::new(Int64Array::from_iter_values(p * 1000..(p + 1) * 1000));
        vec![RecordBatch::try_new(schema(), vec![column]).unwrap()]
    };
    let table = MemTable::try_new(schema(), (0..partitions).map(batch).collect()).unwrap();
    session.register_table("t", Arc::new(table)).unwrap();
    let boom = create_udf(
        "boom",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(|_: &[ColumnarValue]| panic!("boom went the function")),
    );
    session.register_udf(boom);
    session
}

async fn plan(session: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    session.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

fn reader() -> Arc<dyn ExecutionPlan> {
    let equivalence = EquivalenceProperties::new(schema());
    let one = Partitioning::UnknownPartitioning(1);
    Arc::new(StageReaderExec::new(0, ReadMode::Gather, equivalence, one))
}

fn input(stage: StageId) -> LaunchInput {
    LaunchInput { input: StageInput { stage, mode: InputMode::All }, version: 1 }
}

fn inline_sum(output: &TaskOutput) -> i64 {
    let batches = decode_block(&output.inline.clone().unwrap().into()).unwrap();
    let sum = |batch: &RecordBatch| {
        batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()
    };
    batches.iter().map(sum).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stages_run_and_a_small_result_travels_inline() {
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    let all = plan(&session(4), "select n from t").await;
    let program = manager.publish(1, all);
    manager.launch(launch(stage(0), program, StageOutput::Shuffle { partitions: 1 })).await;
    let made = manager.done().await;
    assert_eq!(made.rows, [4000]);
    let attempt = stage(0).task(0).attempt(0);
    let location = OutputLocation { attempt, worker: WorkerId(7), bytes: made.bytes };
    let table =
        OutputTable { stage: stage(0), version: 1, outputs: vec![location], workers: vec![] };
    manager.known.0.lock().unwrap().insert(stage(0), Arc::new(table));

    let program = manager.publish(2, reader());
    let mut second = launch(stage(1), program, StageOutput::Result);
    second.inputs = vec![input(stage(0))];
    manager.launch(second.clone()).await;
    let large = manager.done().await;
    assert_eq!((large.rows, large.inline, large.metrics.input_rows), (vec![4000], None, 4000));

    let small = plan(&session(4), "select sum(n) from t").await;
    let program = manager.publish(3, small);
    manager.launch(launch(stage(2), program, StageOutput::Result)).await;
    assert_eq!(inline_sum(&manager.done().await), (0..4000).sum::<i64>());

    manager.to_worker.send(ManagerToWorker::DropJob(stage(0).job)).await.unwrap();
    second.attempt = stage(1).task(0).attempt(1);
    manager.launch(second).await;
    let (_, end) = manager.ended().await;
    assert_eq!(end, AttemptEnd::BlocksMissing { blocks: vec![attempt.block(0)] });
}

/// 40 kB of rows fill no batch. The room for them is taken in steps.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_for_a_full_batch_take_from_the_budget() {
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    let all = plan(&session(5), "select n from t").await;
    let program = manager.publish(1, all);
    manager.launch(launch(stage(0), program, StageOutput::Shuffle { partitions: 1 })).await;
    assert_eq!(manager.done().await.rows, [5000]);
    let budget = manager.programs.budget.get().expect("the worker has started");
    assert!(budget.peak_bytes() >= 256 << 10, "{}", budget.peak_bytes());
    assert!(budget.used_bytes() <= 128 << 10, "{}", budget.used_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_attempt_with_message_and_location() {
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    for (name, partitions) in [(1, 1), (2, 3)] {
        let plan = plan(&session(partitions), "select boom(n) from t").await;
        let program = manager.publish(name, plan);
        manager.launch(launch(stage(u32::from(name)), program, StageOutput::Result)).await;
        let (attempt, end) = manager.ended().await;
        let AttemptEnd::Panic(failure) = end else { panic!("not a panic: {end:?}") };
        assert!(failure.message.contains("boom went the function"), "{failure}");
        assert!(failure.message.contains("worker/src/tests.rs"), "{failure}");
        assert_eq!(failure.blame.attempt, Some(attempt));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_attempt_ends_as_cancelled() {
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    let program = manager.publish(1, reader());
    let mut waiting = launch(stage(1), program, StageOutput::Result);
    waiting.inputs = vec![input(stage(0))];
    let attempt = waiting.attempt;
    manager.launch(waiting).await;
    let running = loop {
        match manager.from_worker.recv().await.unwrap() {
            WorkerToManager::Heartbeat { running, .. } if !running.is_empty() => break running,
            _ => {}
        }
    };
    assert_eq!(running, [attempt]);
    manager.to_worker.send(ManagerToWorker::Cancel(vec![attempt])).await.unwrap();
    assert_eq!(manager.ended().await, (attempt, AttemptEnd::Cancelled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_is_the_users_error() {
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    let plan = plan(&session(1), "select n / (n - n) from t").await;
    let program = manager.publish(1, plan);
    manager.launch(launch(stage(1), program, StageOutput::Result)).await;
    let (_, end) = manager.ended().await;
    assert!(
        matches!(&end, AttemptEnd::User(failure) if failure.blame.worker == Some(WorkerId(7))),
        "{end:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_programs_end_in_order_and_cost_almost_nothing() {
    const TASKS: u32 = 10_000;
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    let hash = ContentHash([0; 32]);
    let program = ProgramRef { hash, kind: ProgramKind::Empty, length_bytes: 0 };
    let empty = |task: u32| Launch {
        attempt: stage(0).task(task).attempt(0),
        ..launch(stage(0), program, StageOutput::Shuffle { partitions: 1 })
    };
    let started = Instant::now();
    for first in (0..TASKS).step_by(100) {
        let launches = (first..first + 100).map(empty).collect();
        manager.to_worker.send(ManagerToWorker::Launch(launches)).await.unwrap();
    }
    for task in 0..TASKS {
        let (attempt, end) = manager.ended().await;
        assert_eq!(attempt.task.partition, task);
        assert!(matches!(end, AttemptEnd::Done(output) if output.bytes == [0]));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Passes rows on to the test.
struct Rows(Mutex<Option<mpsc::Sender<RecordBatch>>>);

impl ResultSink for Rows {
    fn open(&self, _: AttemptId, _: SchemaRef) -> Option<Box<dyn ResultWriter>> {
        let sender = self.0.lock().unwrap().take()?;
        Some(Box::new(RowsOfOne(sender)))
    }
}

struct RowsOfOne(mpsc::Sender<RecordBatch>);

#[async_trait]
impl ResultWriter for RowsOfOne {
    fn try_push(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>, ResultClosed> {
        match self.0.try_send(batch) {
            Ok(()) => Ok(None),
            Err(mpsc::error::TrySendError::Full(batch)) => Ok(Some(batch)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ResultClosed),
        }
    }

    async fn push(&mut self, batch: RecordBatch) -> Result<(), ResultClosed> {
        self.0.send(batch).await.map_err(|_| ResultClosed)
    }

    async fn finish(self: Box<Self>) -> Result<(), ResultClosed> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_reader_is_behind_releases_its_slots_once_and_ends_when_it_is_read() {
    let (sender, mut rows) = mpsc::channel(1);
    let sink = Arc::new(Rows(Mutex::new(Some(sender))));
    let mut manager = FakeManager::start(ByteSize::mib(12), Some(sink)).await;
    let plan = plan(&session(1), "select value from generate_series(1, 100000)").await;
    let program = manager.publish(1, plan);
    manager.launch(launch(stage(1), program, StageOutput::Result)).await;
    let attempt = loop {
        match manager.from_worker.recv().await.expect("the worker lives") {
            WorkerToManager::SlotsReleased { attempt } => break attempt,
            WorkerToManager::Heartbeat { .. } => {}
            other => panic!("nothing was read, and it said {other:?}"),
        }
    };
    let mut count = 0;
    while let Some(batch) = rows.recv().await {
        count += batch.num_rows();
    }
    assert_eq!(count, 100_000);
    loop {
        match manager.from_worker.recv().await.expect("the worker lives") {
            WorkerToManager::AttemptEnded { attempt: ended, end } => {
                assert!(matches!(end, AttemptEnd::Done(_)), "{end:?}");
                break assert_eq!(ended, attempt);
            }
            WorkerToManager::Heartbeat { .. } => {}
            other => panic!("it said {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_larger_than_the_budget_spills_and_its_rows_are_passed_on() {
    const ROWS: i64 = 3_000_000;
    let (sender, mut rows) = mpsc::channel(2);
    let sink = Arc::new(Rows(Mutex::new(Some(sender))));
    let mut manager = FakeManager::start(ByteSize::mib(12), Some(sink)).await;
    let sql = format!("select value from generate_series(1, {ROWS}) order by value desc");
    let plan = plan(&session(1), &sql).await;
    let program = manager.publish(1, plan);
    manager.launch(launch(stage(1), program, StageOutput::Result)).await;
    let mut expected = ROWS;
    while let Some(batch) = rows.recv().await {
        for value in batch.column(0).as_primitive::<Int64Type>().values() {
            assert_eq!(*value, expected);
            expected -= 1;
        }
    }
    assert_eq!(expected, 0);
    let made = manager.done().await;
    assert_eq!(made.rows, [u64::try_from(ROWS).unwrap()]);
    assert!(made.metrics.spill_bytes > 0);
    assert!(made.metrics.peak_memory_bytes <= 12 << 20, "{}", made.metrics.peak_memory_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_does_not_fit_fails_naming_the_operator() {
    let mut manager = FakeManager::start(ByteSize::mib(4), None).await;
    let sql = "select count(*) from generate_series(1, 2000000) a(x) \
               join generate_series(1, 2000000) b(y) on x = y";
    let plan = plan(&session(1), sql).await;
    let program = manager.publish(1, plan);
    manager.launch(launch(stage(1), program, StageOutput::Result)).await;
    let (_, end) = manager.ended().await;
    let AttemptEnd::OutOfMemory(failure) = end else { panic!("not out of memory: {end:?}") };
    assert!(
        failure.blame.operator.as_ref().is_some_and(|name| name.contains("HashJoin")),
        "{failure}"
    );
    assert!(failure.blame.peak_bytes.is_some() && failure.help.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_nobody_reads_cancels_its_attempt() {
    let (sender, rows) = mpsc::channel(1);
    let sink = Arc::new(Rows(Mutex::new(Some(sender))));
    let mut manager = FakeManager::start(ByteSize::mib(64), Some(sink)).await;
    let plan = plan(&session(4), "select n from t").await;
    let program = manager.publish(1, plan);
    drop(rows);
    manager.launch(launch(stage(1), program, StageOutput::Result)).await;
    assert_eq!(manager.ended().await.1, AttemptEnd::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaves_says_goodbye_and_deletes_its_folder() {
    let mut manager = FakeManager::start(ByteSize::mib(64), None).await;
    assert_eq!(std::fs::read_dir(manager.folder.path()).unwrap().count(), 1);
    manager.worker.handle().deregister();
    let goodbye = loop {
        match manager.from_worker.recv().await.unwrap() {
            WorkerToManager::Heartbeat { .. } => {}
            other => break other,
        }
    };
    assert_eq!(goodbye, WorkerToManager::Deregister);
    assert_eq!(manager.worker.join().await, WorkerEnd::Asked);
    assert_eq!(std::fs::read_dir(manager.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_refused_registration_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (link, to_worker, _from_worker) = link(&Arc::default());
    let reason = "another protocol version".to_owned();
    to_worker.send(ManagerToWorker::Shutdown { reason }).await.unwrap();
    let programs = Arc::new(OneProcessPrograms::default());
    let connections =
        Connections { link, reconnect: None, programs, results: None, listener: None };
    let started = Worker::start(config(folder.path(), ByteSize::mib(4)), connections).await;
    let failure = started.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Cluster);
    assert!(failure.message.ends_with("another protocol version"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_broken_link_a_worker_registers_again_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (known, programs) = (Arc::new(Known::default()), Arc::new(OneProcessPrograms::default()));
    let hash = ContentHash([1; 32]);
    let all = plan(&session(1), "select n from t").await;
    programs.put(hash, Program::Shared { plan: all }, Bindings::default());
    let (first, to_worker, mut from_worker) = link(&known);
    let (links, again) = mpsc::channel(1);
    let again = Arc::new(tokio::sync::Mutex::new(again));
    let reconnect: Reconnect = Arc::new(move || {
        let again = Arc::clone(&again);
        Box::pin(async move {
            let link = again.lock().await.recv().await;
            link.ok_or_else(|| Failure::new(ErrorKind::Cluster, "no manager"))
        })
    });
    let connections = Connections {
        link: first,
        reconnect: Some(reconnect),
        programs,
        results: None,
        listener: None,
    };
    to_worker.send(REGISTERED).await.unwrap();
    let worker =
        Worker::start(config(folder.path(), ByteSize::mib(64)), connections).await.unwrap();
    let program = ProgramRef { hash, kind: ProgramKind::Plan, length_bytes: 0 };
    let launched = launch(stage(0), program, StageOutput::Broadcast);
    to_worker.send(ManagerToWorker::Launch(vec![launched.clone()])).await.unwrap();
    while !matches!(from_worker.recv().await.unwrap(), WorkerToManager::AttemptEnded { .. }) {}
    drop((to_worker, from_worker));

    let (second, to_worker, mut from_worker) = link(&known);
    assert!(links.send(second).await.is_ok());
    let again = from_worker.recv().await.unwrap();
    let WorkerToManager::Register(again) = again else { panic!("not a registration: {again:?}") };
    assert_eq!((again.worker, again.held), (WorkerId(7), vec![launched.attempt]));
    to_worker.send(REGISTERED).await.unwrap();
    let beat = from_worker.recv().await.unwrap();
    assert!(matches!(beat, WorkerToManager::Heartbeat { .. }), "{beat:?}");
    to_worker.send(ManagerToWorker::Shutdown { reason: "lost".to_owned() }).await.unwrap();
    assert_eq!(worker.join().await, WorkerEnd::ShutDown { reason: "lost".to_owned() });
}
