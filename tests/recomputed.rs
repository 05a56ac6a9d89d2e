//! Recomputation after the death of a worker: exactly what ran there, and what lay there and was
//! needed, runs again.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{PATIENCE, Running, until};
use crate::standing::{Cluster, array, check};

/// Two shuffled inputs of four tasks each, a join of many matches whose tasks take long, and what
/// is made of it. The inputs are small: a running task has fetched them when a worker dies.
const QUERY: &str = "with t as ( \
     select value from range(0, 50000) union all select value from range(50000, 100000) union all \
     select value from range(100000, 150000) union all select value from range(150000, 200000)), \
     u as (select -value as value from range(0, 100000) union all \
     select -value from range(100000, 200000)) \
     select a.value % 10 as g, count(*), sum(a.value + b.value) from t a join u b \
     on a.value % 500 = -b.value % 500 group by 1 order by 1";

/// The join, which reads the two inputs.
const CONSUMER: u32 = 2;
const STAGES: u32 = 4;

/// Ends of attempts whose inputs were not there.
const NOT_BEGUN: [&str; 3] = ["blocks_missing", "fetch_failed", "cancelled"];

/// Rounds in which the right moment may be missed.
const ROUNDS: u32 = 6;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("loss::exactly_what_a_lost_worker_had_runs_again", || {
        for _ in 0..ROUNDS {
            if one_round()? {
                return Ok(());
            }
        }
        Err(format!("no worker died in the middle in {ROUNDS} rounds").into())
    })]
}

/// One attempt as the manager remembers it.
struct Attempt {
    partition: u64,
    worker: String,
    state: String,
    ended_at: String,
}

/// Kills a worker in the middle of the join. False if that was not the middle.
fn one_round() -> Result<bool, Failed> {
    let want = ["sql", "--master", "local[2]", "--format", "csv", "-e", QUERY];
    let want = Running::start(&want).end()?;
    let cluster = Cluster::start(3, &[])?;
    let (partitions, threshold) = ("shuffle.partitions=7", "broadcast.threshold=0B");
    let job = Running::start(&[
        "sql",
        "--master",
        &cluster.master,
        "--format",
        "csv",
        "--conf",
        partitions,
        "--conf",
        threshold,
        "-e",
        QUERY,
    ]);
    // Of seven tasks on three slots some are done, and some run.
    let is_in_the_middle = || {
        let done = attempts(&cluster, CONSUMER).ok()?;
        (done.iter().filter(|attempt| attempt.state == "done").count() >= 3).then_some(())
    };
    until(PATIENCE, is_in_the_middle).ok_or("the join does not end")?;
    cluster.workers[0].signal(Signal::KILL);
    job.end()?.expect(0, &String::from_utf8(want.stdout)?, &[])?;

    let stages: Vec<Vec<Attempt>> =
        (0..STAGES).map(|stage| attempts(&cluster, stage)).collect::<Result<_, _>>()?;
    let Some(lost) = stages[CONSUMER as usize].iter().find(|one| one.state == "worker_lost") else {
        return Ok(false);
    };
    let is_kept = |one: &&Attempt| one.state == "done" && one.ended_at < lost.ended_at;
    let elsewhere = stages[CONSUMER as usize].iter().filter(is_kept);
    if elsewhere.filter(|one| one.worker != lost.worker).count() == 0 {
        return Ok(false);
    }
    for (number, stage) in stages.iter().enumerate() {
        // Who started early and gave way, or was about to fetch from the lost worker, had not begun
        // to run, and waits anew.
        let ran = || stage.iter().filter(|one| !NOT_BEGUN.contains(&one.state.as_str()));
        let there = ran().filter(|one| one.worker == lost.worker);
        let had: BTreeSet<u64> = there.map(|one| one.partition).collect();
        let mut tries: BTreeMap<u64, u32> = BTreeMap::new();
        ran().for_each(|one| *tries.entry(one.partition).or_default() += 1);
        let again = tries.into_iter().filter(|(_, tries)| *tries > 1);
        let again: BTreeSet<u64> = again.map(|(partition, _)| partition).collect();
        let shown = format!("stage {number}: the worker had {had:?}, and {again:?} ran again");
        check(had == again, shown)?;
    }
    Ok(true)
}

fn attempts(cluster: &Cluster, stage: u32) -> Result<Vec<Attempt>, String> {
    let (_, tasks) =
        cluster.get(&format!("/api/v1/applications/app-0/jobs/0/stages/{stage}/tasks"))?;
    let text = |task: &Value, key: &str| task[key].as_str().unwrap_or_default().to_owned();
    let attempt = |task: &Value| Attempt {
        partition: task["partition"].as_u64().unwrap_or_default(),
        worker: text(task, "worker"),
        state: text(task, "state"),
        ended_at: text(task, "ended_at"),
    };
    Ok(array(&tasks)?.iter().map(attempt).collect())
}
