//! Memory of stored blocks: as many bytes as their rows need.

use gnist::{JobReport, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{block_on, builder};

const ROWS: u64 = 1000;
const BYTES_MAX: u64 = 1 << 20;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("blocks::a_thousand_rows_in_a_thousand_blocks_take_less_than_a_mib", || {
        block_on(one_row_a_block())
    })]
}

async fn one_row_a_block() -> Result<(), Failed> {
    let session =
        builder("local-cluster[2,1,256MiB]").shuffle_partitions(Some(1000)).connect().await?;
    let report = run(
        &session,
        "select sum(n) from (select row_number() over (partition by k order by v) as n from \
         (select value as k, value * 2 as v from generate_series(1, 1000)))",
    )
    .await?;
    let shuffled = report.stages.iter().find(|stage| stage.metrics.output_rows == ROWS);
    let shuffled = shuffled.ok_or("no stage shuffled the rows")?;
    let bytes = shuffled.metrics.output_bytes;
    if !(16 * ROWS..=BYTES_MAX).contains(&bytes) {
        return Err(format!("{bytes} bytes for {ROWS} rows of 16 bytes").into());
    }
    Ok(())
}

async fn run(session: &Session, sql: &str) -> Result<JobReport, Failed> {
    let mut result = session.sql(sql).await.map_err(|error| error.failure())?;
    result.collect().await?;
    Ok(result.report().cloned().ok_or("the job has ended")?)
}
