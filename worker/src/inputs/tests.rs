mod broken;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{ContentHash, StageInput};
use gnist_common::ids::{ApplicationId, StageId};
use gnist_common::stores::StoreSettings;
use gnist_common::task::{AttemptEnd, OutputLocation};
use gnist_operators::block::decode_block;
use gnist_operators::failure::attempt_end_of;
use gnist_proto::connect::listen;
use gnist_proto::link::ContentSource;
use tokio::runtime::Runtime;

use super::credit::Credit;
use super::remote::RemoteBlocks;
use super::*;
use crate::blocks::Block;
use crate::data_plane::serve;
use crate::memory::{Class, Grant};

const STAGE: u32 = 3;
const PARTITIONS: u32 = 2;
const BATCHES: i64 = 5;
const BATCH_ROWS: i64 = 20_000;

pub(super) fn stage() -> StageId {
    ApplicationId(1).job(0).stage(STAGE)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// The first row of a block.
fn first_row(task: u32, partition: u32) -> i64 {
    i64::from(task) * 10_000_000 + i64::from(partition) * 1_000_000
}

fn rows_of(task: u32, partition: u32) -> impl Iterator<Item = i64> {
    let first = first_row(task, partition);
    first..first + BATCHES * BATCH_ROWS
}

/// A worker's store and data plane, on a runtime of its own that can be killed.
pub(super) struct Peer {
    id: WorkerId,
    address: String,
    store: Arc<BlockStore>,
    runtime: Option<Runtime>,
    _folder: tempfile::TempDir,
}

impl Peer {
    pub(super) fn start(id: u64, memory_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let budget = MemoryBudget::new(memory_bytes);
        let store = BlockStore::new(folder.path().to_owned(), Arc::clone(&budget));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(listen("127.0.0.1:0")).unwrap();
        let address = listener.address.to_string();
        let id = WorkerId(id);
        let serving = Arc::clone(&store);
        runtime.block_on(async move { drop(serve(listener, id, serving, budget)) });
        Self { id, address, store, runtime: Some(runtime), _folder: folder }
    }

    /// Stores the output of a task; says where it is.
    fn run(&self, task: u32) -> OutputLocation {
        let attempt = stage().task(task).attempt(0);
        let mut writer = self.store.writer(attempt, schema(), PARTITIONS as usize);
        for partition in 0..PARTITIONS {
            let rows: Vec<_> = rows_of(task, partition).collect();
            for rows in rows.chunks(BATCH_ROWS as usize) {
                let column = Arc::new(Int64Array::from(rows.to_vec()));
                writer
                    .push(partition, RecordBatch::try_new(schema(), vec![column]).unwrap())
                    .unwrap();
            }
        }
        let sealed = writer.seal().unwrap();
        OutputLocation { attempt, worker: self.id, bytes: sealed.bytes }
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Default)]
struct Known {
    tables: Mutex<HashMap<StageId, Arc<OutputTable>>>,
    pulls: AtomicU32,
}

#[async_trait]
impl ContentSource for Known {
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        Err(Failure::new(ErrorKind::NotFound, hash.to_string()))
    }

    async fn outputs(&self, stage: StageId, _: u32) -> Result<Arc<OutputTable>, Failure> {
        self.pulls.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::clone(&self.tables.lock().unwrap()[&stage]))
    }

    async fn stores(&self, _: ApplicationId) -> Result<StoreSettings, Failure> {
        Ok(StoreSettings::default())
    }
}

pub(super) struct Reader {
    known: Arc<Known>,
    source: Arc<InputSource>,
}

impl Reader {
    /// Reads as a task that runs where `here` is, of outputs that are at these peers.
    fn new(here: &Peer, peers: &[&Peer], outputs: Vec<OutputLocation>) -> Self {
        let workers = peers.iter().map(|peer| (peer.id, peer.address.clone())).collect();
        Self::of_workers(here, workers, outputs, 256 << 20)
    }

    /// Reads outputs that are all at one address.
    pub(super) fn with_budget(
        here: &Peer,
        there: WorkerId,
        address: String,
        outputs: Vec<OutputLocation>,
        budget_bytes: u64,
    ) -> Self {
        Self::of_workers(here, vec![(there, address)], outputs, budget_bytes)
    }

    fn of_workers(
        here: &Peer,
        workers: Vec<(WorkerId, String)>,
        outputs: Vec<OutputLocation>,
        budget_bytes: u64,
    ) -> Self {
        let table = OutputTable { stage: stage(), version: 1, outputs, workers };
        let known = Arc::new(Known::default());
        known.tables.lock().unwrap().insert(stage(), Arc::new(table));
        let budget = MemoryBudget::new(budget_bytes);
        let tables = Tables::new(Arc::clone(&known) as _);
        let io = Handle::current();
        let source = InputSource::new(here.id, Arc::clone(&here.store), budget, tables, io);
        Self { known, source }
    }

    pub(super) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.source.budget
    }

    pub(super) fn task(&self, mode: InputMode, tasks: u32) -> TaskReader {
        let input = LaunchInput { input: StageInput { stage: stage(), mode }, version: 1 };
        TaskReader::new(Arc::clone(&self.source), vec![input], tasks)
    }
}

async fn read(task: &TaskReader, selection: BlockSelection) -> Result<Vec<i64>> {
    let batches: Vec<RecordBatch> = task.read(0, selection, schema())?.try_collect().await?;
    let column =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    Ok(batches.iter().flat_map(column).collect())
}

pub(super) fn on_io<T>(test: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(test)
}

#[test]
fn rows_of_three_workers_come_in_task_order() {
    let (here, near, far) =
        (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20), Peer::start(3, 1 << 20));
    let outputs = vec![far.run(0), here.run(1), near.run(2), far.run(3), here.run(4), near.run(5)];
    on_io(async {
        let reader = Reader::new(&here, &[&here, &near, &far], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let expected: Vec<_> = (0..6).flat_map(|task| rows_of(task, 1)).collect();
        assert_eq!(read(&task, BlockSelection::Partition(1)).await.unwrap(), expected);
        let counts = task.counts();
        assert_eq!(counts.rows(), expected.len() as u64);
        let rows_there = 4 * BATCHES * BATCH_ROWS;
        assert!(counts.fetched_bytes() > 8 * rows_there as u64 / 4, "{}", counts.fetched_bytes());
        let run: Vec<_> = (0..2).flat_map(|partition| rows_of(3, partition)).collect();
        assert_eq!(read(&task, BlockSelection::Task(3)).await.unwrap(), run);
        assert_eq!(reader.known.pulls.load(Ordering::Relaxed), 1, "the table is pulled once");
        assert_eq!(reader.source.budget.used_bytes(), 0, "windows are given back");
    });
}

/// Arrow takes its buffers as they are where a frame is aligned.
#[test]
fn a_frame_that_came_is_an_allocation_of_its_own_and_is_not_copied() {
    // Frames of several chunks.
    const ROWS: i64 = 300_000;
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let attempt = stage().task(0).attempt(0);
    let mut writer = far.store.writer(attempt, schema(), 1);
    for _ in 0..3 {
        let column = Arc::new(Int64Array::from_iter_values(0..ROWS));
        writer.push(0, RecordBatch::try_new(schema(), vec![column]).unwrap()).unwrap();
    }
    writer.seal().unwrap();
    on_io(async {
        let reader = Reader::new(&here, &[&far], vec![]);
        let credit = Credit::new(&reader.source.ahead, 3 * 8 * ROWS as u64, 1);
        let (address, blocks) = (far.address.clone(), vec![attempt.block(0)]);
        let mut frames = RemoteBlocks::fetch(&reader.source, far.id, address, blocks, credit);
        for _ in 0..3 {
            let frame = frames.next_frame().await.unwrap().expect("a frame");
            let range = frame.as_ptr_range();
            let batches = decode_block(&frame).unwrap();
            let values = batches[0].column(0).as_primitive::<Int64Type>().values().inner();
            assert_eq!(values.len() as i64, 8 * ROWS);
            assert!(range.contains(&values.as_ptr()), "the values were copied");
            drop(batches);
            let length = frame.len();
            let owned = frame.try_into_mut().expect("nobody else has it");
            assert_eq!((owned.len(), owned.capacity()), (length, length));
        }
        assert!(frames.next_frame().await.unwrap().is_none());
    });
}

#[test]
fn a_run_that_has_ended_gives_back_its_credit_before_it_is_dropped() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let output = far.run(0);
    on_io(async {
        let reader = Reader::new(&here, &[&far], vec![]);
        let credit = Credit::new(&reader.source.ahead, output.bytes[0], 1);
        let (address, blocks) = (far.address.clone(), vec![output.attempt.block(0)]);
        let mut frames = RemoteBlocks::fetch(&reader.source, far.id, address, blocks, credit);
        while frames.next_frame().await.unwrap().is_some() {
            assert!(reader.budget().used_bytes() > 0, "more may come");
        }
        assert_eq!(reader.budget().used_bytes(), 0);
    });
}

#[test]
fn a_broadcast_is_fetched_once_and_forgotten_with_its_job() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![far.run(0), here.run(1)];
    on_io(async {
        let reader = Reader::new(&here, &[&here, &far], outputs);
        let expected: Vec<_> =
            (0..2).flat_map(|task| (0..2).flat_map(move |p| rows_of(task, p))).collect();
        let tasks: Vec<_> = (0..4).map(|_| reader.task(InputMode::All, 4)).collect();
        let reads = tasks.iter().map(|task| read(task, BlockSelection::All));
        for rows in futures::future::join_all(reads).await {
            assert_eq!(rows.unwrap(), expected);
        }
        let fetches = tasks.iter().filter(|task| task.counts().fetched_bytes() > 0).count();
        assert_eq!(fetches, 1);
        assert!(reader.source.budget.used_bytes() > 0);
        reader.source.drop_job(stage().job);
        assert_eq!(reader.source.budget.used_bytes(), 0);
    });
}

#[test]
fn a_broadcast_that_nobody_reads_gives_way_and_is_fetched_again() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![far.run(0), here.run(1)];
    on_io(async {
        let reader = Reader::new(&here, &[&here, &far], outputs);
        let budget = reader.budget();
        let first = reader.task(InputMode::All, 4);
        let mut rows = first.read(0, BlockSelection::All, schema()).unwrap();
        let batch = rows.next().await.unwrap().unwrap();
        let kept = budget.used_bytes();
        let sent = first.counts().fetched_bytes();
        assert!(kept.abs_diff(sent) < sent / 8, "{kept} reserved of {sent}");
        let mut join = Grant::empty(budget, Class::Fixed);
        assert!(join.try_grow(budget.limit_bytes() - kept + 1).is_err(), "it is being read");
        drop((rows, batch));
        join.try_grow(budget.limit_bytes()).unwrap();
        assert_eq!(budget.used_bytes(), budget.limit_bytes());
        drop(join);
        let second = reader.task(InputMode::All, 4);
        assert_eq!(read(&second, BlockSelection::All).await.unwrap().len(), 400_000);
        assert!(second.counts().fetched_bytes() > 0);
    });
}

#[test]
fn a_block_whose_reader_stalls_is_freed_when_it_goes_to_disk() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![far.run(0)];
    on_io(async {
        let frame_bytes = 8 * BATCH_ROWS as u64;
        // A budget so small that nothing is read ahead.
        let reader = Reader::with_budget(&here, far.id, far.address.clone(), outputs, 1 << 20);
        let task = reader.task(InputMode::Partition, 2);
        let mut rows = task.read(0, BlockSelection::Partition(0), schema()).unwrap();
        let first = rows.next().await.unwrap().unwrap();
        let budget = far.store.budget();
        let mut join = Grant::empty(budget, Class::Fixed);
        join.try_grow(budget.limit_bytes() - 2 * frame_bytes).unwrap();
        assert!(far.store.evicted_bytes() > 0);
        assert!(budget.used_bytes() <= budget.limit_bytes(), "the reader holds no block");
        let rest: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        let batches = std::iter::once(&first).chain(&rest);
        let numbers =
            batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        assert!(numbers.copied().eq(rows_of(0, 0)));
    });
}

#[test]
fn a_block_of_the_readers_own_worker_is_freed_when_it_goes_to_disk() {
    let here = Peer::start(1, 64 << 20);
    let outputs = vec![here.run(0)];
    on_io(async {
        let reader = Reader::new(&here, &[&here], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let mut rows = task.read(0, BlockSelection::Partition(0), schema()).unwrap();
        let first = rows.next().await.unwrap().unwrap();
        let budget = here.store.budget();
        let mut join = Grant::empty(budget, Class::Fixed);
        join.try_grow(budget.limit_bytes()).unwrap();
        assert!(here.store.evicted_bytes() > 0);
        assert!(budget.used_bytes() <= budget.limit_bytes(), "the reader holds no block");
        let rest: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        let batches = std::iter::once(&first).chain(&rest);
        let numbers =
            batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        assert!(numbers.copied().eq(rows_of(0, 0)));
    });
}

#[test]
fn blocks_that_a_worker_no_longer_has_are_all_named() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![far.run(0), far.run(1), far.run(2)];
    far.store.drop_attempt(outputs[0].attempt);
    far.store.drop_attempt(outputs[2].attempt);
    on_io(async {
        let gone = [outputs[0].attempt.block(0), outputs[2].attempt.block(0)];
        let reader = Reader::new(&here, &[&here, &far], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let error = read(&task, BlockSelection::Partition(0)).await.unwrap_err();
        let end = attempt_end_of(&error);
        assert_eq!(end, AttemptEnd::BlocksMissing { blocks: gone.to_vec() });
    });
}

#[test]
fn a_missing_local_block_is_named() {
    let here = Peer::start(1, 64 << 20);
    let outputs = vec![here.run(0)];
    here.store.drop_attempt(outputs[0].attempt);
    on_io(async {
        let gone = outputs[0].attempt.block(1);
        let reader = Reader::new(&here, &[&here], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let error = read(&task, BlockSelection::Partition(1)).await.unwrap_err();
        assert_eq!(attempt_end_of(&error), AttemptEnd::BlocksMissing { blocks: vec![gone] });
    });
}

/// Only what another worker has is encoded and travels.
#[test]
fn blocks_that_are_here_are_read_as_they_are() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![here.run(0), far.run(1)];
    let held = here.store.block(outputs[0].attempt.block(0)).unwrap();
    let Block::Held(held) = held.block else { panic!("it is in memory") };
    on_io(async {
        let reader = Reader::new(&here, &[&here, &far], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let rows = task.read(0, BlockSelection::Partition(0), schema()).unwrap();
        let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        assert_eq!(batches.len() as i64, 2 * BATCHES);
        let are_held = held.batches.iter().zip(&batches);
        let are_held = are_held.map(|(held, read)| Arc::ptr_eq(held.column(0), read.column(0)));
        assert!(are_held.into_iter().all(|is_held| is_held), "a local batch was made again");
        let travelled = task.counts().fetched_bytes();
        let of_far = 8 * (BATCHES * BATCH_ROWS) as u64;
        assert!((of_far..of_far + of_far / 10).contains(&travelled), "{travelled}");
    });
}

#[test]
fn a_killed_peer_is_a_failed_fetch_that_names_it() {
    let (here, mut far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![here.run(0), far.run(1)];
    far.kill();
    on_io(async {
        let reader = Reader::new(&here, &[&here, &far], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let error = read(&task, BlockSelection::Partition(0)).await.unwrap_err();
        let AttemptEnd::FetchFailed { worker, failure } = attempt_end_of(&error) else {
            panic!("not a failed fetch: {error}")
        };
        assert_eq!((worker, failure.kind), (far.id, ErrorKind::Transient));
        assert!(failure.message.contains(&far.address), "{failure}");
    });
}

#[test]
fn a_peer_killed_in_the_middle_is_a_failed_fetch() {
    let (here, mut far) = (Peer::start(1, 64 << 20), Peer::start(2, 512 << 20));
    let outputs: Vec<_> = (0..60).map(|task| far.run(task)).collect();
    on_io(async {
        let reader = Reader::new(&here, &[&here, &far], outputs);
        let task = reader.task(InputMode::Partition, 2);
        let mut rows = task.read(0, BlockSelection::Partition(0), schema()).unwrap();
        rows.next().await.unwrap().unwrap();
        far.kill();
        let error = loop {
            match rows.next().await.expect("it does not end well") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let end = attempt_end_of(&error);
        assert!(
            matches!(end, AttemptEnd::FetchFailed { worker, .. } if worker == far.id),
            "{end:?}"
        );
    });
}

/// The kernel of a process that is stopped accepts connections, and acknowledges what nobody reads.
#[test]
fn a_peer_that_stands_still_is_a_failed_fetch_once_it_is_lost() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs = vec![here.run(0), far.run(1)];
    on_io(async {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let reader = Reader::with_budget(&here, far.id, address, outputs, 64 << 20);
        for mode in [InputMode::Partition, InputMode::All] {
            let task = reader.task(mode, 2);
            let selection = match mode {
                InputMode::All => BlockSelection::All,
                _ => BlockSelection::Partition(0),
            };
            let reading = read(&task, selection);
            let (end, ()) = futures::join!(reading, async { reader.source.lose(far.id) });
            let end = attempt_end_of(&end.unwrap_err());
            let AttemptEnd::FetchFailed { worker, .. } = end else { panic!("{end:?}") };
            assert_eq!(worker, far.id);
        }
    });
}

/// A stage that lost outputs after version 1 and runs again.
struct Recomputing;

#[async_trait]
impl ContentSource for Recomputing {
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        Err(Failure::new(ErrorKind::NotFound, hash.to_string()))
    }

    async fn outputs(&self, _: StageId, version: u32) -> Result<Arc<OutputTable>, Failure> {
        if version > 1 {
            std::future::pending::<()>().await;
        }
        Err(Failure::new(ErrorKind::NotFound, "it lost outputs"))
    }

    async fn stores(&self, _: ApplicationId) -> Result<StoreSettings, Failure> {
        Ok(StoreSettings::default())
    }
}

#[test]
fn whoever_names_a_lost_version_does_not_wait_for_the_next() {
    on_io(async {
        let tables = Tables::new(Arc::new(Recomputing));
        let mut next = Box::pin(tables.get(stage(), 2));
        assert!(futures::FutureExt::now_or_never(next.as_mut()).is_none(), "it waits");
        let error = tables.get(stage(), 1).await.unwrap_err();
        assert_eq!(attempt_end_of(&error), AttemptEnd::BlocksMissing { blocks: Vec::new() });
    });
}
