use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// Holds a grant and gives it back when asked.
struct Hoard {
    grant: Mutex<Option<Grant>>,
    calls: AtomicU64,
}

impl Evict for Hoard {
    fn evict(&self, _: u64) -> io::Result<u64> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let grant = self.grant.lock().unwrap().take();
        Ok(grant.map_or(0, |grant| grant.bytes()))
    }
}

fn hoard(budget: &Arc<MemoryBudget>, bytes: u64) -> Arc<Hoard> {
    let mut grant = Grant::empty(budget, Class::Blocks);
    grant.try_grow(bytes).unwrap();
    let hoard = Arc::new(Hoard { grant: Mutex::new(Some(grant)), calls: AtomicU64::new(0) });
    let weak: std::sync::Weak<dyn Evict> = Arc::downgrade(&hoard) as _;
    budget.evict_with(weak);
    hoard
}

#[test]
fn blocks_give_way_before_anyone_is_refused() {
    let budget = MemoryBudget::new(1000);
    let hoard = hoard(&budget, 800);
    let mut fixed = Grant::empty(&budget, Class::Fixed);
    fixed.try_grow(900).unwrap();
    assert_eq!(hoard.calls.load(Ordering::Relaxed), 1);
    assert_eq!(budget.used_bytes(), 900);
    assert!(matches!(fixed.try_grow(200), Err(Refused::Full { free_bytes: 100, .. })));
    drop(fixed);
    assert_eq!(budget.used_bytes(), 0);
    assert_eq!(budget.peak_bytes(), 900);
}

#[test]
fn what_is_kept_without_need_gives_way_before_anyone_is_held_to_a_share() {
    let budget = MemoryBudget::new(1600);
    let mut kept = Grant::empty(&budget, Class::Fixed);
    kept.try_grow(1200).unwrap();
    let kept = Arc::new(Hoard { grant: Mutex::new(Some(kept)), calls: AtomicU64::new(0) });
    let weak: std::sync::Weak<dyn Evict> = Arc::downgrade(&kept) as _;
    budget.evict_first_with(weak);
    let mut sort = Grant::empty(&budget, Class::Spillable);
    sort.try_grow(700).unwrap();
    assert_eq!(kept.calls.load(Ordering::Relaxed), 1);
    assert_eq!(budget.used_bytes(), 700);
}

#[test]
fn spillers_are_free_below_half_and_share_above() {
    let budget = MemoryBudget::new(1600);
    let mut one = Grant::empty(&budget, Class::Spillable);
    let mut two = Grant::empty(&budget, Class::Spillable);
    one.try_grow(800).unwrap();
    assert!(matches!(one.try_grow(1), Err(Refused::Full { free_bytes: 0, .. })), "over its share");
    two.try_grow(700).unwrap();
    assert!(two.try_grow(1).is_err(), "an eighth is kept for those that can't spill");
    one.clear();
    drop(one);
    two.try_grow(700).unwrap();
}

/// Gives back one byte whenever it is asked.
struct Trickle(Mutex<Grant>);

impl Evict for Trickle {
    fn evict(&self, _: u64) -> io::Result<u64> {
        self.0.lock().unwrap().shrink(1);
        Ok(1)
    }
}

#[test]
fn a_share_holds_however_often_a_little_gives_way() {
    let budget = MemoryBudget::new(1600);
    let mut kept = Grant::empty(&budget, Class::Fixed);
    kept.try_grow(100).unwrap();
    let kept = Arc::new(Trickle(Mutex::new(kept)));
    let weak: std::sync::Weak<dyn Evict> = Arc::downgrade(&kept) as _;
    budget.evict_first_with(weak);
    let mut one = Grant::empty(&budget, Class::Spillable);
    let _two = Grant::empty(&budget, Class::Spillable);
    one.try_grow(700).unwrap();
    assert!(matches!(one.try_grow(200), Err(Refused::Full { free_bytes: 0, .. })));
}

#[test]
fn the_first_bytes_of_a_holder_may_overdraw_a_little() {
    let budget = MemoryBudget::new(1600);
    let mut hog = Grant::empty(&budget, Class::Fixed);
    hog.try_grow(1600).unwrap();
    let mut merge = Grant::empty(&budget, Class::Fixed);
    let mut sort = Grant::empty(&budget, Class::Spillable);
    merge.try_grow(100).unwrap();
    sort.try_grow(100).unwrap();
    assert!(merge.try_grow(1).is_err(), "an eighth for all");
    assert_eq!(budget.used_bytes(), 1800);
    hog.clear();
    let mut other = Grant::empty(&budget, Class::Fixed);
    other.try_grow(1300).unwrap();
    assert!(merge.try_grow(101).is_err(), "an eighth for each of so small a budget");
}

#[test]
fn one_merge_does_not_take_what_the_others_need() {
    let budget = MemoryBudget::new(1600);
    let mut one = Grant::empty(&budget, Class::Merging);
    let mut two = Grant::empty(&budget, Class::Merging);
    one.try_grow(800).unwrap();
    assert!(one.try_grow(1).is_err());
    two.try_grow(700).unwrap();
    drop(one);
    two.try_grow(700).unwrap();
}

#[test]
fn grants_move_between_classes_without_changing_the_sum() {
    let budget = MemoryBudget::new(1000);
    let mut written = Grant::empty(&budget, Class::Spillable);
    written.try_grow(300).unwrap();
    let stored = written.split_off(200, Class::Blocks);
    assert_eq!((written.bytes(), stored.bytes(), budget.used_bytes()), (100, 200, 300));
    drop(written);
    assert_eq!(budget.used_bytes(), 200);
}

#[test]
fn a_refusal_names_the_operator_and_the_peak() {
    let budget = MemoryBudget::new(1 << 20);
    let pool = AttemptPool::new(&budget);
    let view: Arc<dyn MemoryPool> = pool.clone();
    let join = MemoryConsumer::new("HashJoinInput[0]").register(&view);
    join.try_grow(1 << 19).unwrap();
    let error = join.try_grow(1 << 20).unwrap_err();
    assert!(matches!(error, DataFusionError::ResourcesExhausted(_)), "{error}");
    let refusal = pool.refusal().unwrap();
    assert_eq!(refusal.operator, "HashJoinInput[0]");
    assert_eq!(refusal.peak_bytes, (1 << 19) + (1 << 20));
    assert_eq!(pool.peak_bytes(), 1 << 19);
    assert!(error.to_string().contains("; held by `HashJoinInput[0]` 512.0 KiB)"), "{error}");
    drop(join);
    let sort = MemoryConsumer::new("ExternalSorter[0]").register(&view);
    let error = sort.try_grow(1 << 21).unwrap_err().to_string();
    assert!(error.ends_with("(peak of the task: 2.0 MiB)"), "nobody holds anything: {error}");
    drop(sort);
    assert_eq!((pool.reserved(), budget.used_bytes()), (0, 0));
}

/// Counts the changes of reservations on their way to a pool.
#[derive(Debug)]
struct Counting {
    pool: Arc<AttemptPool>,
    changes: AtomicU64,
}

impl Counting {
    fn count(&self) -> &AttemptPool {
        self.changes.fetch_add(1, Ordering::Relaxed);
        &self.pool
    }
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pool.fmt(f)
    }
}

impl MemoryPool for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.count().grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.count().shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.count().try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }
}

/// A change takes two locks, of the pool and of the budget: little beside the work on a batch.
#[tokio::test]
async fn operators_change_their_reservations_a_few_times_a_batch() {
    const BATCH_ROWS: usize = 8192;
    for (query, batches) in [
        ("select value % 1000, count(*) from generate_series(1, 1000000) group by 1", 123),
        ("select value from generate_series(1, 1000000) order by value desc", 2 * 123),
        (
            "select count(*) from generate_series(1, 1000000) a \
             join generate_series(1, 1000000) b on a.value = b.value",
            2 * 123,
        ),
    ] {
        let pool = AttemptPool::new(&MemoryBudget::new(1 << 30));
        let counting = Arc::new(Counting { pool, changes: AtomicU64::new(0) });
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&counting) as _);
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
        let session = SessionContext::new_with_config_rt(config, runtime.build_arc().unwrap());
        session.sql(query).await.unwrap().collect().await.unwrap();
        let changes = counting.changes.load(Ordering::Relaxed);
        assert!((1..=4 * batches).contains(&changes), "{changes} changes: {query}");
    }
}
