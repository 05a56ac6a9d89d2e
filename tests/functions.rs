//! Functions of the user's own, through the library: what becomes of a job when one panics or fails.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use gnist::{ErrorKind, Failure, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{block_on, builder};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("functions::a_panic_is_named_and_ends_its_job_alone", || {
            block_on(a_panic_is_named_and_ends_its_job_alone())
        }),
        Trial::test("functions::an_error_is_named", || block_on(an_error_is_named())),
    ]
}

/// `boom(integer)`, whose end is given.
async fn session(master: &str, boom: fn() -> Result<ColumnarValue>) -> Result<Session, Failure> {
    let session = builder(master).connect().await?;
    let types = vec![DataType::Int64];
    let run = Arc::new(move |_: &[ColumnarValue]| boom());
    let function = create_udf("boom", types, DataType::Int64, Volatility::Volatile, run);
    session.context().register_udf(function);
    Ok(session)
}

/// Runs a query that must fail.
async fn failure(session: &Session, query: &str) -> Result<Failure, String> {
    let mut rows = match session.sql(query).await {
        Ok(rows) => rows,
        Err(error) => return Ok(error.into()),
    };
    match rows.collect().await {
        Ok(rows) => Err(format!("it did not fail: {rows:?}")),
        Err(failure) => Ok(failure),
    }
}

const QUERY: &str = "select sum(boom(value)) from generate_series(1, 100000)";

async fn a_panic_is_named_and_ends_its_job_alone() -> Result<(), Failed> {
    for master in ["local", "local[2]"] {
        let session = session(master, || panic!("the function went wrong")).await?;
        let failure = failure(&session, QUERY).await?;
        let text = failure.to_string();
        let is_named = text.contains("the function went wrong") && text.contains("functions.rs");
        if failure.kind != ErrorKind::Panic || !is_named {
            return Err(format!("{master}: {:?}: {text}", failure.kind).into());
        }
        // The process and the session live on.
        let rows = session.sql("select 1").await.map_err(Failure::from)?.collect().await?;
        if rows.iter().map(|batch| batch.num_rows()).sum::<usize>() != 1 {
            return Err(format!("{master}: {rows:?}").into());
        }
    }
    Ok(())
}

async fn an_error_is_named() -> Result<(), Failed> {
    let session = session("local[2]", || exec_err!("this value is unlucky")).await?;
    let failure = failure(&session, QUERY).await?;
    if failure.kind == ErrorKind::User && failure.to_string().contains("this value is unlucky") {
        return Ok(());
    }
    Err(format!("{:?}: {failure}", failure.kind).into())
}
