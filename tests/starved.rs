//! Queries that need more memory than they are given: sorts, aggregates and shuffles spill and
//! stay right; a hash join, which can't spill, fails by name.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use datafusion::prelude::SessionContext;
use gnist::{ErrorKind, JobObserver, JobReport, Session};
use gnist_common::bytes::ByteSize;
use gnist_common::protocol::ManagerToDriver;
use libtest_mimic::{Failed, Trial};

use crate::answers::{Answer, plain_answer};
use crate::backends::{block_on, builder};
use crate::loss::{kill, workers};

const BUDGET: ByteSize = ByteSize::mib(64);
const LOCAL: &str = "local[2]";
const CLUSTER: &str = "local-cluster[2,1,64MiB]";
const SECONDS_MAX: u64 = 60;

/// A query that spills.
struct Hungry {
    name: &'static str,
    sql: &'static str,
    /// The stage that spills, on a cluster.
    stage: usize,
}

/// The row number is cast for plain DataFusion, which gives it no sign.
const HUNGRY: [Hungry; 4] = [
    Hungry {
        name: "sort",
        sql: "select value * 7919 % 1000003 as k, repeat(cast(value as varchar), 10) as s \
              from generate_series(1, 1000000) order by k, s",
        stage: 0,
    },
    Hungry {
        name: "aggregate",
        sql: "select count(*), sum(c), max(s) from (select value % 900000 as k, count(*) as c, \
              max(repeat(cast(value as varchar), 12)) as s \
              from generate_series(1, 1000000) group by 1)",
        stage: 1,
    },
    Hungry {
        name: "shuffle",
        sql: "select count(*), sum(n), sum(character_length(s)) from (select s, \
              cast(row_number() over (partition by value % 97 order by value) as bigint) as n from \
              (select value, repeat(cast(value as varchar), 20) as s \
              from generate_series(1, 1000000)))",
        stage: 0,
    },
    Hungry {
        name: "distinct",
        sql: "select count(*), max(s) from (select distinct value % 800000 as k, \
              repeat(cast(value % 800000 as varchar), 15) as s from generate_series(1, 1200000))",
        stage: 0,
    },
];

const JOIN: &str = "select count(*), sum(character_length(a.s)) from \
     (select value as k, repeat(cast(value as varchar), 20) as s from range(0, 1500000)) a join \
     (select value as k, repeat(cast(value as varchar), 20) as s from range(0, 1500000)) b \
     on a.k = b.k where a.s <= b.s";

const FLOAT_SUMS: &str = "select value % 200000 as k, sum(cast(value as double) / 7) as s, \
     avg(cast(value as double) / 11) as a, max(repeat(cast(value as varchar), 10)) as m \
     from generate_series(1, 1000000) group by 1";

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for master in [LOCAL, CLUSTER] {
        for hungry in &HUNGRY {
            let name = format!("starved::{} of {BUDGET} on {master}", hungry.name);
            trials.push(trial(name, move || block_on(spills(hungry, master))));
        }
        let name = format!("starved::a_hash_join_over_{BUDGET}_fails_by_name on {master}");
        trials.push(trial(name, move || block_on(join_fails(master))));
    }
    let name = format!("starved::float_sums_of_{BUDGET}_survive_a_lost_worker");
    trials.push(trial(name, || block_on(float_sums())));
    trials
}

fn trial(name: String, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    // `local[2]` in a name reads as the master's URL.
    Trial::test(name.replace(' ', "_").replace("_on_", " on "), test)
}

async fn spills(hungry: &Hungry, master: &str) -> Result<(), Failed> {
    let session =
        builder(master).memory(Some(BUDGET)).shuffle_partitions(Some(2)).connect().await?;
    let (got, report) = answer(&session, hungry.sql).await?;
    same(&got, &expected(hungry.sql).await?)?;
    let stage = if master == LOCAL { 0 } else { hungry.stage };
    let spilled: Vec<u64> = report.stages.iter().map(|stage| stage.metrics.spill_bytes).collect();
    if spilled[stage] == 0 {
        return Err(format!("stage {stage} did not spill: {spilled:?}").into());
    }
    Ok(())
}

async fn join_fails(master: &str) -> Result<(), Failed> {
    let session =
        builder(master).memory(Some(BUDGET)).shuffle_partitions(Some(2)).connect().await?;
    let failure = match answer(&session, JOIN).await {
        Ok(_) => return Err("the build side fitted".into()),
        Err(failure) => failure,
    };
    let Some(failure) = failure.downcast_ref::<gnist::Failure>() else {
        return Err(failure.to_string().into());
    };
    let text = failure.to_string();
    let named = failure.kind == ErrorKind::OutOfMemory
        && text.contains("HashJoin")
        && text.contains("peak")
        && failure.blame.peak_bytes.is_some();
    if !named {
        return Err(text.into());
    }
    // The session outlives it.
    answer(&session, "select sum(value) from range(0, 100)").await?;
    Ok(())
}

/// Kills one worker when the first stage of a job has finished.
#[derive(Default)]
struct Killer(Mutex<Option<u32>>);

impl JobObserver for Killer {
    fn event(&self, message: &ManagerToDriver) {
        if let ManagerToDriver::StageFinished(_) = message
            && let Some(process) = self.0.lock().expect("not poisoned").take()
        {
            kill(process);
        }
    }
}

async fn float_sums() -> Result<(), Failed> {
    let killer = Arc::new(Killer::default());
    let session = builder("local-cluster[3,1,64MiB]")
        .observer(Some(Arc::clone(&killer) as _))
        .connect()
        .await?;
    *killer.0.lock().expect("not poisoned") = Some(workers(&session)[0].id);
    let (got, report) = answer(&session, FLOAT_SUMS).await?;
    same(&got, &expected(FLOAT_SUMS).await?)?;
    if report.stats.workers_lost != 1 {
        return Err("no worker was lost".into());
    }
    if report.stages.iter().all(|stage| stage.metrics.spill_bytes == 0) {
        return Err("nothing spilled".into());
    }
    Ok(())
}

fn same(got: &Answer, want: &Answer) -> Result<(), Failed> {
    if got.agrees_with(want, false) {
        return Ok(());
    }
    Err(format!("want {want}\ngot {got}").into())
}

async fn expected(sql: &str) -> Result<Answer, Failed> {
    Ok(plain_answer(&SessionContext::new(), sql).await?)
}

async fn answer(
    session: &Session,
    sql: &str,
) -> Result<(Answer, JobReport), Box<dyn std::error::Error>> {
    let running = async {
        let mut result = session.sql(sql).await.map_err(|error| error.failure())?;
        let batches = result.collect().await?;
        let report = result.report().cloned().expect("the job has ended");
        Ok((Answer::new(&result.schema(), &batches), report))
    };
    tokio::time::timeout(Duration::from_secs(SECONDS_MAX), running).await?
}
