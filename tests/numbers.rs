//! Numbers whose answer needs more than SQL text: files with statistics, frames, partitions.

use std::future::Future;
use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{SessionContext, col, lit};
use gnist::{ErrorKind, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::slt::rows_of;

type Outcome = Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("statistics_of_floats_leave_nan_out", nan_in_parquet),
        trial("a_column_that_a_file_spells_otherwise_is_not_counted", other_spelling),
        trial("a_total_does_not_depend_on_its_partitions", partitions),
        trial("frames_are_checked_too", frames),
        trial("the_config_allows_wrapping", wrapping),
    ]
}

fn trial<F: Future<Output = Outcome>>(
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::test(format!("numbers::{name}"), move || block_on(test()))
}

/// The only row of a query, as text.
async fn row(session: &Session, sql: &str) -> Result<String, Failed> {
    let batches =
        session.sql(sql).await?.collect().await.map_err(|error| format!("{sql}\n{error}"))?;
    let rows: Vec<String> = batches.iter().flat_map(rows_of).map(|row| row.join(" ")).collect();
    Ok(rows.join(", "))
}

async fn is(session: &Session, sql: &str, want: &str) -> Outcome {
    let got = row(session, sql).await?;
    if got == want { Ok(()) } else { Err(format!("{sql}\nwant {want}\ngot  {got}").into()) }
}

/// A column `[1.0, NaN]` has 1.0 for its minimum and maximum in Parquet.
async fn nan_in_parquet() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("t.parquet").display().to_string();
    let query = "select arrow_cast(id, 'Int64') as id, cast(f as double) as f
        from (values (1, '1.0'), (2, 'nan')) t(id, f)";
    let frame = SessionContext::new().sql(query).await?;
    frame.write_parquet(&path, Default::default(), None).await?;
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        let table = format!("create external table t stored as parquet location '{path}'");
        session.sql(&table).await?.collect().await?;
        is(&session, "select id, f from t order by id", "1 1.0, 2 NaN").await?;
        is(&session, "select min(f), max(f) from t", "1.0 NaN").await?;
        is(&session, "select id from t where f > 2", "2").await?;
        is(&session, "select id from t where f <> 1", "2").await?;
        is(&session, "select id from t where f = 1", "1").await?;
        is(&session, "select f from t order by f desc limit 1", "NaN").await?;
        is(&session, "select count(*) from t a join t b on a.f = b.f", "2").await?;
    }
    Ok(())
}

/// The number of values is in the statistics, where a column that a file lacks is null.
async fn other_spelling() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    for (file, column) in [("0", "id"), ("1", "\"Id\""), ("2", "other")] {
        let query = format!("select column1 as {column} from (values (1), (null))");
        let frame = SessionContext::new().sql(&query).await?;
        let path = format!("{path}/{file}.parquet");
        frame.write_parquet(&path, Default::default(), None).await?;
    }
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        let table = |name: &str, path: &str| {
            format!("create external table {name} (id bigint) stored as parquet location '{path}'")
        };
        session.sql(&table("t", &path)).await?.collect().await?;
        session.sql(&table("lacks", &format!("{path}/2.parquet"))).await?.collect().await?;
        is(&session, "select count(*) from t", "6").await?;
        is(&session, "select count(id), count(*) from lacks", "0 2").await?;
        let counted = row(&session, "select count(id) from t").await;
        let message = counted.err().and_then(|error| error.message().map(str::to_owned));
        if !message.is_some_and(|message| message.contains("the file has `Id`")) {
            return Err(format!("{master} counted a column that the file spells `Id`").into());
        }
    }
    Ok(())
}

fn table(session: &Session, partitions: &[&[i64]]) -> Outcome {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let batch = |values: &&[i64]| {
        let column = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_new(Arc::clone(&schema), vec![column])
    };
    let batches = partitions.iter().map(|part| Ok(vec![batch(part)?]));
    let batches = batches.collect::<Result<Vec<_>, Failed>>()?;
    session.context().register_table("t", Arc::new(MemTable::try_new(schema, batches)?))?;
    Ok(())
}

/// Each partition's own sum overflows, the total does not.
async fn partitions() -> Outcome {
    let parts: [&[i64]; 4] = [&[i64::MAX, 1], &[i64::MIN, -1], &[i64::MAX, i64::MAX], &[i64::MIN]];
    for master in BACKENDS {
        for count in 1..=4 {
            let session = builder(master).shuffle_partitions(Some(count)).connect().await?;
            table(&session, &parts)?;
            is(&session, "select sum(k) from t", "9223372036854775805").await?;
            let groups = "select k > 0 as g, try_sum(k) from t group by g order by g";
            is(&session, groups, "false NULL, true NULL").await?;
            let groups = "select k % 1 as g, sum(k) from t group by g";
            is(&session, groups, "0 9223372036854775805").await?;
        }
    }
    Ok(())
}

/// A DataFrame names DataFusion's own functions and operators.
async fn frames() -> Outcome {
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        table(&session, &[&[i64::MAX, 1]])?;
        let sums = session.table("t").await?.aggregate(vec![], vec![sum(col("k"))])?;
        let plus = session.table("t").await?.select(vec![col("k") + lit(1_i64)])?;
        for (frame, what) in [(sums, "overflow in `sum(t.k)`"), (plus, "overflow in `k + 1`")] {
            let outcome = session.execute(frame).await;
            let failure = match outcome {
                Ok(mut rows) => rows.collect().await.err(),
                Err(error) => Some(error.failure()),
            };
            let failure = failure.ok_or(format!("{master}: {what} is an answer"))?;
            if failure.kind != ErrorKind::User || !failure.message.contains(what) {
                return Err(format!("{master}: {failure}").into());
            }
        }
    }
    Ok(())
}

async fn wrapping() -> Outcome {
    for master in BACKENDS {
        let session = builder(master).ansi(false).connect().await?;
        table(&session, &[&[i64::MAX, 1]])?;
        is(&session, "select sum(k), max(k + 1), 1 / 0 from t", &format!("{} 2 NULL", i64::MIN))
            .await?;
        is(&session, "select sum(k) over () from t limit 1", &i64::MIN.to_string()).await?;
    }
    Ok(())
}
