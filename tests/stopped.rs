//! A worker that stands still (SIGSTOP) in the middle of a job: its connections stand, and nobody
//! answers on them. The job goes on once the worker is declared lost. And a driver whose threads are busy: it is not
//! lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use gnist::{JobObserver, Session};
use gnist_common::bytes::ByteSize;
use gnist_common::protocol::ManagerToDriver;
use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Builder;

use crate::backends::{block_on, builder};
use crate::loss::workers;
use crate::process::PATIENCE;
use crate::slt::rows_of;

/// One task a side, on two workers, and many tasks that read from both.
const JOIN: &str = "select count(*), sum(a.value % 1000 + b.value % 7) \
     from generate_series(1, 2000000) a join generate_series(1, 2000000) b on a.value = b.value";

const SIDES: u32 = 2;

pub fn trials() -> Vec<Trial> {
    let name = "stopped::readers_of_a_worker_that_stands_still_go_on_once_it_is_lost";
    let computes = "stopped::a_program_may_compute_for_longer_than_a_lease";
    vec![
        Trial::test(name, || block_on(stopped_after_both_sides())),
        Trial::test(computes, computes_for_long),
    ]
}

/// The only thread of the program's runtime computes between two queries, and nothing else runs there meanwhile.
fn computes_for_long() -> Result<(), Failed> {
    let (interval, lease) = (Duration::from_millis(50), Duration::from_millis(500));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let program = async move {
        let session = builder("local-cluster[2,1,1GiB]").lease(interval, lease).connect().await?;
        for _ in 0..2 {
            session.sql("select value from range(0, 3)").await?.collect().await?;
            std::thread::sleep(4 * lease);
        }
        session.sql("select value from range(0, 3)").await?.collect().await
    };
    runtime.block_on(async { tokio::spawn(program).await })??;
    Ok(())
}

/// Stops a worker when both sides of the join are there.
#[derive(Default)]
struct Stopper {
    victim: AtomicU32,
    sides: AtomicU32,
}

impl JobObserver for Stopper {
    fn event(&self, message: &ManagerToDriver) {
        let is_stage = matches!(message, ManagerToDriver::StageFinished(_));
        if is_stage && self.sides.fetch_add(1, Ordering::Relaxed) + 1 == SIDES {
            let victim = i32::try_from(self.victim.load(Ordering::Relaxed)).expect("a process id");
            let victim = Pid::from_raw(victim).expect("not zero");
            kill_process(victim, Signal::STOP).expect("it was alive");
        }
    }
}

async fn stopped_after_both_sides() -> Result<(), Failed> {
    let want = answer(&builder("local[2]").connect().await?).await?.0;
    let stopper = Arc::new(Stopper::default());
    let session = builder("local-cluster[2,1,1GiB]")
        .shuffle_partitions(Some(16))
        .broadcast_threshold(ByteSize(0))
        .observer(Some(Arc::clone(&stopper) as _))
        .connect()
        .await?;
    stopper.victim.store(workers(&session)[1].id, Ordering::Relaxed);
    let (got, lost) = tokio::time::timeout(PATIENCE, answer(&session)).await??;
    if got != want {
        return Err(format!("{got:?}, not {want:?}").into());
    }
    if lost == 1 { Ok(()) } else { Err("no worker was lost in the middle".into()) }
}

/// The rows, and how many workers were lost.
async fn answer(session: &Session) -> Result<(Vec<Vec<String>>, u32), Failed> {
    let mut result = session.sql(JOIN).await?;
    let mut rows = Vec::new();
    while let Some(batch) = result.try_next().await? {
        rows.extend(rows_of(&batch));
    }
    let report = result.report().expect("the job has ended");
    Ok((rows, report.stats.workers_lost))
}
