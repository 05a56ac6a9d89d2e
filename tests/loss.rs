//! Workers that die by SIGKILL in the middle of a job: the fault really happened, the answer is
//! right, and only what was lost ran again.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use gnist::{JobObserver, Process, Session};
use gnist_common::error::ErrorKind;
use gnist_common::protocol::{JobStats, ManagerToDriver};
use libtest_mimic::{Failed, Trial};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::backends::{block_on, builder};
use crate::slt::rows_of;

/// Kills per query; the environment asks for more.
const KILLS: u32 = 3;

/// Rounds that may be tried for each kill that has to happen.
const ROUNDS_PER_KILL: u32 = 5;

/// TPC-H, and a result that is merged by ranges: its partitions wait on workers for their turn.
const TPCH: [(&str, &str); 5] = [
    ("q5", include_str!("../src/bench/tpch/q05.sql")),
    ("q9", include_str!("../src/bench/tpch/q09.sql")),
    ("q18", include_str!("../src/bench/tpch/q18.sql")),
    ("q21", include_str!("../src/bench/tpch/q21.sql")),
    (
        "sort",
        "select l_comment, l_orderkey, l_linenumber from lineitem where l_quantity < 3 \
         order by l_comment, l_orderkey, l_linenumber",
    ),
];

const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

pub fn trials() -> Vec<Trial> {
    let killed =
        |name: &str, test: fn() -> Result<(), Failed>| Trial::test(format!("loss::{name}"), test);
    let mut trials = vec![
        killed("a_killed_worker_costs_its_own_partitions_only", || {
            block_on(killed_after_a_stage()).map_err(Failed::from)
        }),
        killed("a_value_agrees_with_the_rows_it_is_compared_with", || {
            block_on(killed_after_a_value()).map_err(Failed::from)
        }),
        killed("rows_chosen_without_an_order_are_the_same_wherever_they_are_read", || {
            block_on(killed_after_a_choice()).map_err(Failed::from)
        }),
    ];
    trials.extend(TPCH.map(|(name, sql)| {
        Trial::test(format!("loss::{name}_is_right_whenever_a_worker_dies"), move || {
            block_on(killed_at_random(name, sql)).map_err(Failed::from)
        })
    }));
    trials
}

/// Kills one worker at a moment of a job.
#[derive(Default)]
struct Killer {
    victim: Mutex<Option<(u32, Moment)>>,
    /// Jobs that were started over.
    contradicted: AtomicU32,
}

/// The first time in a job that something is there.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Stage,
    Result,
}

impl JobObserver for Killer {
    fn event(&self, message: &ManagerToDriver) {
        let now = match message {
            ManagerToDriver::StageFinished(_) => Moment::Stage,
            ManagerToDriver::ResultReady { .. } => Moment::Result,
            ManagerToDriver::JobEnded { outcome: Err(failure), .. } => {
                let is_contradicted = failure.kind == ErrorKind::Contradicted;
                self.contradicted.fetch_add(u32::from(is_contradicted), Ordering::Relaxed);
                return;
            }
            _ => return,
        };
        let mut victim = self.victim.lock().expect("not poisoned");
        if let Some((process, _)) = victim.take_if(|(_, moment)| *moment == now) {
            kill(process);
        }
    }
}

/// SIGKILL.
pub fn kill(process: u32) {
    let process = i32::try_from(process).expect("a process id");
    let process = rustix::process::Pid::from_raw(process).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it was alive");
}

/// The processes of a session's workers.
pub fn workers(session: &Session) -> Vec<Process> {
    let processes = session.processes().iter();
    processes.filter(|process| process.role == "worker").cloned().collect()
}

const JOIN: &str = "select a.value % 10 as g, count(*), sum(b.value) \
     from generate_series(1, 2000000) a join generate_series(1, 2000000) b on a.value = b.value \
     group by 1 order by 1";

async fn killed_after_a_stage() -> Result<(), String> {
    let want = answer(&builder("local[2]").connect().await.map_err(text)?, JOIN).await?.0;
    let killer = Arc::new(Killer::default());
    let session = builder("local-cluster[3,1,1GiB]").observer(Some(Arc::clone(&killer) as _));
    let session = session.connect().await.map_err(text)?;
    *killer.victim.lock().expect("not poisoned") = Some((workers(&session)[1].id, Moment::Stage));
    let (got, stats) = answer(&session, JOIN).await?;
    if got != want {
        return Err(format!("the answer differs: {got:?}, not {want:?}"));
    }
    if stats.workers_lost != 1 || stats.recomputed >= stats.tasks {
        return Err(format!("one worker was to be lost, and not everything with it: {stats:?}"));
    }
    Ok(())
}

/// Sums of floats differ in their last digits from run to run: rows made anew would miss the
/// largest of the rows that are lost.
const LARGEST: &str = "with s as (select l_orderkey % 1000 as k, sum(l_extendedprice / 3e0) as v \
     from lineitem group by 1) select count(*) from s where v = (select max(v) from s)";

async fn killed_after_a_value() -> Result<(), String> {
    let killer = Arc::new(Killer::default());
    let session = builder("local-cluster[3,1,1GiB]").observer(Some(Arc::clone(&killer) as _));
    let session = session.connect().await.map_err(text)?;
    register(&session).await?;
    *killer.victim.lock().expect("not poisoned") = Some((workers(&session)[1].id, Moment::Result));
    let (got, stats) = answer(&session, LARGEST).await?;
    if got != [["1"]] {
        return Err(format!("one sum is the largest, not {got:?}: {stats:?}"));
    }
    match killer.contradicted.load(Ordering::Relaxed) {
        1 => Ok(()),
        times => Err(format!("the job was to be started over once, not {times} times: {stats:?}")),
    }
}

/// Ten groups, whichever come first, read by both sides of a join.
const CHOSEN: &str = "with x as (select value % 10007 as k, count(*) as n \
     from range(0, 3000000) group by 1 limit 10) \
     select count(*), sum(abs(a.n - b.n)) from x a join x b on a.k = b.k";

async fn killed_after_a_choice() -> Result<(), String> {
    let mut lost = 0;
    for moment in [Moment::Stage, Moment::Result] {
        let killer = Arc::new(Killer::default());
        let session = builder("local-cluster[3,1,1GiB]").observer(Some(Arc::clone(&killer) as _));
        let session = session.connect().await.map_err(text)?;
        *killer.victim.lock().expect("not poisoned") = Some((workers(&session)[1].id, moment));
        let (got, stats) = answer(&session, CHOSEN).await?;
        if got != [["10", "0"]] {
            return Err(format!("the choice disagrees with itself: {got:?}"));
        }
        lost += stats.workers_lost;
    }
    if lost == 0 { Err("no worker was lost in the middle".to_owned()) } else { Ok(()) }
}

/// Runs a query again and again, each time on a cluster of its own that loses a worker at another
/// moment of it.
async fn killed_at_random(name: &str, sql: &str) -> Result<(), String> {
    let local = builder("local[2]").connect().await.map_err(text)?;
    register(&local).await?;
    let want = answer(&local, sql).await?.0;
    let kills = std::env::var("GNIST_TEST_KILLS").map_or(KILLS, |n| n.parse().unwrap_or(KILLS));
    let mut took = Duration::from_millis(500);
    let (mut lost, mut recomputed) = (0, 0);
    // The first round is undisturbed: it says how long the query takes. A round whose job was
    // faster than its killer does not count.
    for round in 0..=kills * ROUNDS_PER_KILL {
        let session = builder("local-cluster[3,1,4GiB]").connect().await.map_err(text)?;
        register(&session).await?;
        let mut random = SmallRng::seed_from_u64(u64::from(round));
        let victim = workers(&session)[random.random_range(0..3)].id;
        let moment = took.mul_f64(random.random_range(0.0..1.0));
        let killer = (round > 0).then(|| {
            tokio::spawn(async move {
                tokio::time::sleep(moment).await;
                kill(victim);
            })
        });
        let started = Instant::now();
        let (got, stats) = answer(&session, sql)
            .await
            .map_err(|error| format!("{name}, killed after {moment:?}: {error}"))?;
        match killer {
            None => took = started.elapsed(),
            Some(killer) => killer.abort(),
        }
        if got != want {
            return Err(format!("{name}, killed after {moment:?}: {got:?}, not {want:?}"));
        }
        lost += stats.workers_lost;
        recomputed += stats.recomputed;
        if lost == kills {
            println!("{name}: {lost} workers lost in the middle, {recomputed} tasks recomputed");
            return Ok(());
        }
    }
    Err(format!("{name}: {lost} of {kills} workers were lost in the middle of their job"))
}

/// The folder of TPC-H at scale 1, made when it is missing.
pub fn tpch_data() -> Result<PathBuf, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tpch-sf1");
    if !folder.join("supplier").exists() {
        let made = Command::new(env!("CARGO_BIN_EXE_gnist"))
            .args(["bench", "generate", "tpch", "--scale", "1", "--out"])
            .arg(&folder)
            .output();
        let made = made.map_err(text)?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
    }
    Ok(folder)
}

async fn register(session: &Session) -> Result<(), String> {
    let folder = tpch_data()?;
    for table in TABLES {
        let path = folder.join(table);
        let path = path.to_string_lossy();
        gnist_storage::register_path(session.context(), table, &path).await.map_err(text)?;
    }
    Ok(())
}

async fn answer(session: &Session, sql: &str) -> Result<(Vec<Vec<String>>, JobStats), String> {
    let mut result = session.sql(sql).await.map_err(text)?;
    let mut rows = Vec::new();
    while let Some(batch) = result.try_next().await.map_err(text)? {
        rows.extend(rows_of(&batch));
    }
    let report = result.report().ok_or("no report")?;
    Ok((rows, report.stats))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
