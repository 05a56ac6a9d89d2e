//! Queries while the results of others are open: read slowly, in a loop that asks more, or never.

use std::future::Future;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use futures::TryStreamExt;
use gnist::{Failure, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::slt::rows_of;

const SECONDS_MAX: u64 = 60;

/// A query of more rows than anything holds for a reader that is behind.
const MANY: &str = "select value from range(0, 1000000)";

type Outcome = Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    vec![
        on_every_master("queries_in_the_loop_over_a_result_end", in_a_loop),
        on_every_master("an_unread_result_blocks_nobody_and_goes_when_it_is_dropped", unread),
        on_every_master("many_open_results_are_read_in_turn", in_turn),
    ]
}

fn on_every_master<F: Future<Output = Outcome> + 'static>(
    name: &str,
    test: fn(Session) -> F,
) -> Trial {
    Trial::test(format!("nested::{name}"), move || {
        for master in BACKENDS {
            let limit = Duration::from_secs(SECONDS_MAX);
            let ended = block_on(async {
                let session = builder(master).connect().await?;
                Ok::<_, Failed>(tokio::time::timeout(limit, test(session)).await)
            });
            ended?.map_err(|_| format!("{master}: no answer in {SECONDS_MAX} s"))??;
        }
        Ok(())
    })
}

/// Three deep, the innermost as a DataFrame.
async fn in_a_loop(session: Session) -> Outcome {
    let mut outer = open(&session, MANY).await?;
    for _ in 0..3 {
        next(&mut outer).await?;
        let mut middle = open(&session, &format!("{MANY} where value % 2 = 0")).await?;
        for _ in 0..2 {
            next(&mut middle).await?;
            is(&session, "select sum(value) from range(0, 1000)", "499500").await?;
            let frame = session.context().sql("select count(*) from range(0, 1234)").await?;
            let counted = frame.collect().await?;
            check(rows_of(&counted[0]) == [["1234"]], "the count of a frame")?;
        }
    }
    let left: usize = outer.collect().await?.iter().map(RecordBatch::num_rows).sum();
    check(left > 0 && left < 1_000_000, "what was left of the outer result")
}

async fn unread(session: Session) -> Outcome {
    let first = open(&session, MANY).await?;
    let second = open(&session, MANY).await?;
    is(&session, "select sum(value) from range(0, 1000)", "499500").await?;
    drop(first);
    is(&session, "select sum(value) from range(0, 1000)", "499500").await?;
    drop(second);
    is(&session, &format!("select count(*) from ({MANY})"), "1000000").await
}

async fn in_turn(session: Session) -> Outcome {
    let mut results = Vec::new();
    for _ in 0..5 {
        results.push(open(&session, MANY).await?);
    }
    for result in &mut results {
        next(result).await?;
    }
    for mut result in results.into_iter().rev() {
        let left: usize = result.collect().await?.iter().map(RecordBatch::num_rows).sum();
        check(left > 0 && left < 1_000_000, "what was left of a result")?;
    }
    Ok(())
}

async fn open(session: &Session, sql: &str) -> Result<gnist::ResultStream, Failure> {
    session.sql(sql).await.map_err(Failure::from)
}

async fn next(result: &mut gnist::ResultStream) -> Outcome {
    let batch = result.try_next().await?.ok_or("the result has ended")?;
    check(batch.num_rows() > 0, "a batch of rows")
}

async fn is(session: &Session, sql: &str, want: &str) -> Outcome {
    let batches = session.sql(sql).await.map_err(Failure::from)?.collect().await?;
    let got: Vec<_> = batches.iter().flat_map(rows_of).collect();
    check(got == [[want]], &format!("{sql}: {got:?}"))
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
