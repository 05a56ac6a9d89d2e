//! Content that driver, manager and workers keep for an application: it does not grow with its
//! queries.

use libtest_mimic::{Failed, Trial};

use crate::backends::{block_on, builder};
use crate::process::{PATIENCE, until};
use crate::slt::rows_of;
use crate::standing::{Cluster, array, check};

/// 24 MiB of rows.
const TABLE: &str =
    "create table t as select value as k, value * 7 as v from generate_series(1, 1572864)";
const TABLE_BYTES: u64 = 24 << 20;

/// Programs and bindings that may be kept beside what is used.
const IDLE_BYTES: u64 = 16 << 20;

const WORKER_BYTES: u64 = 1 << 30;

const QUERIES: u32 = 300;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("content::a_table_in_memory_is_put_once_and_what_is_kept_is_bounded", || {
        block_on(many_queries_over_a_table())
    })]
}

fn manager_bytes(cluster: &Cluster) -> Result<u64, String> {
    let (_, manager) = cluster.get("/api/v1/manager")?;
    manager["content_bytes"].as_u64().ok_or_else(|| format!("no bytes: {manager}"))
}

fn worker_bytes(cluster: &Cluster) -> Option<Vec<u64>> {
    let (_, workers) = cluster.get("/api/v1/workers").ok()?;
    array(&workers).ok()?.iter().map(|worker| worker["memory_used_bytes"].as_u64()).collect()
}

async fn many_queries_over_a_table() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &[])?;
    let session = builder(&cluster.master).connect().await?;
    session.sql(TABLE).await?.collect().await?;
    let mut first = 0;
    for n in 0..QUERIES {
        let query = format!("select count(*), sum(v) from t where k > {n}");
        let mut rows = session.sql(&query).await?;
        let (count, sum) = (1_572_864 - u64::from(n), 7 * (1_572_864 * 1_572_865 / 2 - gauss(n)));
        let batches = rows.collect().await?;
        let got: Vec<_> = batches.iter().flat_map(rows_of).collect();
        check(got == [[count.to_string(), sum.to_string()]], format!("{query}: {got:?}"))?;
        first = if n == 0 { manager_bytes(&cluster)? } else { first };
    }
    // What is released is released behind the last query.
    let is_same = || (manager_bytes(&cluster).ok()? == session.content_bytes()).then_some(());
    until(PATIENCE, is_same).ok_or("the driver counts otherwise than the manager")?;
    let kept = manager_bytes(&cluster)?;
    check((TABLE_BYTES..TABLE_BYTES + IDLE_BYTES).contains(&first), format!("{first} at first"))?;
    check(kept < first + IDLE_BYTES / 4, format!("{first} bytes became {kept}"))?;
    let worker_max = WORKER_BYTES / 4;
    let is_bounded = || {
        let bytes = worker_bytes(&cluster)?;
        bytes.iter().all(|bytes| (1..worker_max).contains(bytes)).then_some(())
    };
    until(PATIENCE, is_bounded).ok_or_else(|| format!("{:?}", worker_bytes(&cluster)))?;
    session.sql("drop table t").await?.collect().await?;
    let kept = manager_bytes(&cluster)?;
    check(kept <= IDLE_BYTES, format!("{kept} bytes without the table"))?;
    session.close().await;
    until(PATIENCE, || (manager_bytes(&cluster).ok()? == 0).then_some(()))
        .ok_or("a closed application keeps content")?;
    Ok(())
}

/// The sum of the first numbers.
fn gauss(n: u32) -> u64 {
    u64::from(n) * (u64::from(n) + 1) / 2
}
