use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::physical_plan::Partitioning;
use gnist_common::ids::{ApplicationId, AttemptId};
use gnist_operators::block::decode_block;
use gnist_operators::placement::{BatchLimit, Placement, Placer};

use super::*;
use crate::memory::{Class, Evict, MemoryBudget};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, true),
    ]))
}

fn batch(from: i64, rows: i64) -> RecordBatch {
    let text = |n: i64| (n % 5 != 0).then(|| format!("a value that is not inline: {n}"));
    let numbers = Arc::new(Int64Array::from_iter_values(from..from + rows));
    let texts = Arc::new((from..from + rows).map(text).collect::<StringViewArray>());
    RecordBatch::try_new(schema(), vec![numbers, texts]).unwrap()
}

fn attempt(task: u32) -> AttemptId {
    ApplicationId(1).job(0).stage(0).task(task).attempt(0)
}

struct Fixture {
    folder: tempfile::TempDir,
    budget: Arc<MemoryBudget>,
    store: Arc<BlockStore>,
}

fn fixture(limit_bytes: u64) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let budget = MemoryBudget::new(limit_bytes);
    let store = BlockStore::new(folder.path().to_owned(), Arc::clone(&budget));
    Fixture { folder, budget, store }
}

/// Writes 1,000 rows for each of three partitions in turn, so many times.
fn write(store: &Arc<BlockStore>, task: u32, rounds: i64) -> Sealed {
    let mut writer = store.writer(attempt(task), schema(), 3);
    for round in 0..rounds {
        for partition in 0..3_u32 {
            let from = round * 1000 + i64::from(partition) * 1_000_000;
            writer.push(partition, batch(from, 1000)).unwrap();
        }
    }
    writer.seal().unwrap()
}

fn numbers(store: &BlockStore, task: u32, partition: u32) -> Vec<i64> {
    let stored = store.block(attempt(task).block(partition)).unwrap();
    let batches = match stored.block {
        Block::Held(held) => held.batches.clone(),
        Block::OnDisk(segment, partition) => {
            let mut reader = segment.open(partition, 0).unwrap();
            let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
            frames.flat_map(|frame| decode_block(&frame).unwrap()).collect()
        }
    };
    let column =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

fn files(fixture: &Fixture) -> Vec<String> {
    let entries = fs::read_dir(fixture.folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn output_that_fits_stays_in_memory_and_is_counted() {
    let fixture = fixture(64 << 20);
    let sealed = write(&fixture.store, 0, 3);
    assert_eq!(sealed.rows, [3000; 3]);
    assert_eq!(sealed.spill_bytes, 0);
    assert_eq!(fixture.budget.used_bytes(), sealed.bytes.iter().sum::<u64>());
    assert_eq!(numbers(&fixture.store, 0, 1), (1_000_000..1_003_000).collect::<Vec<_>>());
    assert!(files(&fixture).is_empty());
    fixture.store.drop_attempt(attempt(0));
    assert_eq!(fixture.budget.used_bytes(), 0);
}

#[test]
fn output_that_does_not_fit_spills_in_runs_and_reads_back_in_order() {
    let fixture = fixture(1 << 20);
    let sealed = write(&fixture.store, 0, 40);
    assert!(sealed.spill_bytes > 1 << 20, "{}", sealed.spill_bytes);
    assert!(
        fixture.budget.peak_bytes() <= (1 << 20) + (1 << 18),
        "{}",
        fixture.budget.peak_bytes()
    );
    assert_eq!(fixture.budget.used_bytes(), 0);
    assert_eq!(files(&fixture), [format!("{}.segment", attempt(0))]);
    for partition in 0..3_u32 {
        let from = i64::from(partition) * 1_000_000;
        let expected: Vec<_> = (from..from + 40_000).collect();
        assert_eq!(numbers(&fixture.store, 0, partition), expected);
    }
    drop(fixture.store.remove_job(attempt(0).task.stage.job));
    assert!(files(&fixture).is_empty());
}

#[test]
fn the_oldest_output_goes_to_disk_when_others_need_its_memory() {
    let fixture = fixture(4 << 20);
    write(&fixture.store, 0, 4);
    write(&fixture.store, 1, 4);
    let mut join = Grant::empty(&fixture.budget, Class::Fixed);
    join.try_grow((4 << 20) - fixture.budget.used_bytes() + 1).unwrap();
    let is_on_disk = |task: u32| {
        let stored = fixture.store.block(attempt(task).block(0)).unwrap();
        matches!(stored.block, Block::OnDisk(..))
    };
    assert!(is_on_disk(0) && !is_on_disk(1));
    assert!(fixture.store.evicted_bytes() > 0);
    assert_eq!(numbers(&fixture.store, 0, 2), (2_000_000..2_004_000).collect::<Vec<_>>());
    join.try_grow(fixture.budget.limit_bytes() - fixture.budget.used_bytes() + 1).unwrap();
    assert!(is_on_disk(1));
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let fixture = fixture(1 << 20);
    let mut writer = fixture.store.writer(attempt(0), schema(), 1);
    for round in 0..40 {
        writer.push(0, batch(round * 1000, 1000)).unwrap();
    }
    assert_eq!(files(&fixture).len(), 1);
    drop(writer);
    assert!(files(&fixture).is_empty());
    assert_eq!(fixture.budget.used_bytes(), 0);
    assert!(fixture.store.attempts().is_empty());
}

#[test]
fn damage_on_the_disk_is_seen() {
    let fixture = fixture(1 << 20);
    write(&fixture.store, 0, 40);
    let path = fixture.folder.path().join(format!("{}.segment", attempt(0)));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let frames = |partition: u32| {
        let stored = fixture.store.block(attempt(0).block(partition)).unwrap();
        let Block::OnDisk(segment, partition) = stored.block else { panic!("it is on disk") };
        let mut reader = segment.open(partition, 0).unwrap();
        std::iter::from_fn(move || reader.next_frame().unwrap()).collect::<Vec<Bytes>>()
    };
    let damaged = (0..3).flat_map(frames).filter(|frame| decode_block(frame).is_err()).count();
    assert_eq!(damaged, 1);
}

#[test]
fn slices_of_one_buffer_are_counted_once_and_hold_no_foreign_text() {
    let fixture = fixture(64 << 20);
    let whole = batch(0, 10_000);
    let mut writer = fixture.store.writer(attempt(0), schema(), 1);
    for slice in 0..100 {
        writer.push(0, whole.slice(slice * 100, 100)).unwrap();
    }
    let sealed = writer.seal().unwrap();
    let held = sealed.bytes[0];
    assert!(held < 2 * whole.get_array_memory_size() as u64, "{held}");
    assert_eq!(numbers(&fixture.store, 0, 0), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn rows_without_columns_are_not_taken_for_nothing() {
    let fixture = fixture(1 << 20);
    let schema = Arc::new(Schema::empty());
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(7));
    let batch = RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap();
    let mut writer = fixture.store.writer(attempt(0), schema, 1);
    writer.push(0, batch).unwrap();
    let sealed = writer.seal().unwrap();
    assert_eq!((sealed.rows, sealed.bytes), (vec![7], vec![1]));
}

#[test]
fn a_thousand_rows_in_a_thousand_blocks_hold_what_they_need() {
    let fixture = fixture(64 << 20);
    let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let key = datafusion::physical_expr::expressions::col("k", &schema).unwrap();
    let hash = Placement::Partitioned(Partitioning::Hash(vec![key], 1000));
    let limit = BatchLimit { rows: 8192, bytes: 1 << 20 };
    let mut placer = Placer::new(&hash, &schema, 0, limit).unwrap();
    let mut writer = fixture.store.writer(attempt(0), schema.clone(), 1000);
    let numbers = Arc::new(Int64Array::from_iter_values(0..1000));
    let rows = RecordBatch::try_new(schema, vec![numbers.clone(), numbers]).unwrap();
    placer.push(rows, |partition, batch| writer.push(partition, batch)).unwrap();
    assert!(placer.buffered_bytes() >= 16_000);
    placer.flush(|partition, batch| writer.push(partition, batch)).unwrap();
    let sealed = writer.seal().unwrap();
    assert_eq!(sealed.rows.iter().sum::<u64>(), 1000);
    let held = fixture.budget.used_bytes();
    assert!(held < 1 << 20, "{held}");
    assert_eq!(sealed.bytes.iter().sum::<u64>(), held);
}

#[test]
fn rows_that_wait_for_a_full_batch_are_counted() {
    let fixture = fixture(1 << 20);
    let mut writer = fixture.store.writer(attempt(0), schema(), 1);
    assert!(writer.reserve_unplaced(300 << 10).unwrap());
    assert_eq!(fixture.budget.used_bytes(), 512 << 10);
    assert!(!writer.reserve_unplaced(1100 << 10).unwrap(), "they must be pushed");
    assert!(writer.reserve_unplaced(0).unwrap());
    assert_eq!(fixture.budget.used_bytes(), 0);
}

#[test]
fn two_threads_that_need_room_write_an_output_each() {
    let fixture = fixture(8 << 20);
    (0..4).for_each(|task| drop(write(&fixture.store, task, 4)));
    let held = fixture.budget.used_bytes();
    std::thread::scope(|scope| {
        let evict = || Evict::evict(&*fixture.store, held / 4).unwrap();
        let threads = [scope.spawn(evict), scope.spawn(evict)];
        let evicted = threads.map(|thread| thread.join().unwrap());
        assert!(evicted.iter().all(|bytes| *bytes >= held / 4 - 1), "{evicted:?}");
    });
    assert!(fixture.budget.used_bytes() <= held / 2 + 2);
    for task in 0..4 {
        assert_eq!(numbers(&fixture.store, task, 1), (1_000_000..1_004_000).collect::<Vec<_>>());
    }
}

/// The oldest output is written to a pipe: its thread stands in the middle of writing until somebody
/// reads from there.
#[test]
fn nobody_waits_while_another_thread_writes_an_output() {
    let fixture = fixture(8 << 20);
    (0..3).for_each(|task| drop(write(&fixture.store, task, 4)));
    let pipe = fixture.folder.path().join(format!("{}.tmp", attempt(0)));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    std::thread::scope(|scope| {
        let stands = scope.spawn(|| Evict::evict(&*fixture.store, 1));
        // Whatever fails here, the pipe is read in the end: else the scope would wait for ever.
        let others = scope.spawn(|| {
            while fixture.store.being_evicted() == 0 {
                std::thread::yield_now();
            }
            assert!(Evict::evict(&*fixture.store, 1).unwrap() > 0);
            assert_eq!(numbers(&fixture.store, 1, 0).len(), 4_000);
            write(&fixture.store, 3, 1);
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while !others.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (have_waited, stood) = (!others.is_finished(), !stands.is_finished());
        let _read = fs::read(&pipe);
        assert!(stood, "the pipe did not stop it");
        assert!(!have_waited, "others waited for it");
        others.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_an_eviction_that_fails_tries_for_itself() {
    let fixture = fixture(8 << 20);
    write(&fixture.store, 0, 8);
    assert!(files(&fixture).is_empty(), "it is in memory");
    let pipe = fixture.folder.path().join(format!("{}.tmp", attempt(0)));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    std::thread::scope(|scope| {
        let fails = scope.spawn(|| Evict::evict(&*fixture.store, 1));
        let waits = scope.spawn(|| {
            while fixture.store.being_evicted() == 0 {
                std::thread::yield_now();
            }
            Evict::evict(&*fixture.store, 1)
        });
        std::thread::sleep(Duration::from_millis(50));
        // Nobody reads what is written.
        drop(fs::File::open(&pipe).unwrap());
        let failure = fails.join().unwrap().expect_err("the pipe is closed");
        assert_eq!(failure.kind(), std::io::ErrorKind::BrokenPipe);
        assert!(waits.join().unwrap().unwrap() > 0);
    });
    assert_eq!(fixture.budget.used_bytes(), 0);
    assert_eq!(numbers(&fixture.store, 0, 0).len(), 8_000);
}

#[test]
fn what_is_removed_is_gone_at_once_and_its_files_later() {
    let fixture = fixture(1 << 20);
    write(&fixture.store, 0, 40);
    let removed = fixture.store.remove(&[attempt(0), attempt(1)]);
    assert!(fixture.store.attempts().is_empty() && removed.has_files());
    assert_eq!(files(&fixture).len(), 1);
    drop(removed);
    assert!(files(&fixture).is_empty());
    write(&fixture.store, 2, 1);
    assert!(!fixture.store.remove_job(attempt(0).task.stage.job).has_files());
}

#[test]
fn all_readers_of_a_segment_share_an_open_file() {
    let fixture = fixture(1 << 20);
    write(&fixture.store, 0, 40);
    let open = || {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| {
                let target = fs::read_link(entry.unwrap().path()).ok()?;
                target.starts_with(fixture.folder.path()).then_some(())
            })
            .count()
    };
    let reader = |partition: u32| {
        let stored = fixture.store.block(attempt(0).block(partition)).unwrap();
        let Block::OnDisk(segment, partition) = stored.block else { panic!("it is on disk") };
        segment.open(partition, 0).unwrap()
    };
    let readers = [reader(0), reader(1), reader(2)];
    assert_eq!(open(), 1);
    drop(readers);
    assert_eq!(open(), 0);
}
