//! Tables that are sorted already, by declaration or by what their files say: no exchange loses the
//! order that the plan above it relies on.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::datasource::MemTable;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::metadata::SortingColumn;
use datafusion::parquet::file::properties::WriterProperties;
use gnist::{Failure, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::slt::rows_of;

type Outcome = Result<(), Failed>;
type Rows = Vec<Vec<String>>;

/// Keys of the tables, each in two rows, dealt out over the files.
const KEYS: i64 = 5_000;
const FILES: i64 = 3;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("sorted::a_declared_order_survives_every_exchange", || block_on(declared())),
        Trial::test("sorted::the_sorting_columns_of_parquet_files_are_not_relied_on", || {
            block_on(sorting_columns())
        }),
        Trial::test("sorted::each_of_two_declared_orders_survives_every_exchange", || {
            block_on(two_orders())
        }),
        Trial::test("sorted::a_merge_keeps_the_order_it_merges_by_and_no_other_one", || {
            block_on(merged_by_one())
        }),
        Trial::test("sorted::groups_behind_a_merge_are_one_each", || {
            block_on(groups_behind_a_merge())
        }),
        Trial::test("sorted::a_window_over_a_constant_key_gathers_a_table", || {
            block_on(constant_key())
        }),
        Trial::test("sorted::files_with_nulls_are_no_sorted_stream", || block_on(with_nulls())),
    ]
}

async fn declared() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..FILES {
        let lines: String = keys_of(file).map(|k| format!("{k},{}\n", k % 7)).collect();
        std::fs::write(folder.path().join(format!("{file}.csv")), format!("k,v\n{lines}"))?;
    }
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        let columns = "(k bigint not null, v bigint not null)";
        let table = format!(
            "create external table t {columns} stored as csv with order (k asc) location '{}/' \
             options ('format.has_header' 'true')",
            folder.path().display()
        );
        rows(&session, &table).await?;
        check(&session, master).await?;
    }
    Ok(())
}

async fn sorting_columns() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..FILES {
        let keys: Vec<i64> = keys_of(file).collect();
        write_sorted(&folder.path().join(format!("{file}.parquet")), &keys)?;
    }
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        let location = folder.path().display();
        let table = format!("create external table t stored as parquet location '{location}/'");
        rows(&session, &table).await?;
        // What files say of their order holds in each row group: it is not relied on.
        check_rows(&session, master).await?;
    }
    Ok(())
}

/// Rows that ascend by one column and descend by another, declared as two orders.
async fn two_orders() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..FILES {
        let lines: String = keys_of(file).map(|k| format!("{k},{}\n", -k)).collect();
        std::fs::write(folder.path().join(format!("{file}.csv")), format!("k,d\n{lines}"))?;
    }
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        let table = format!(
            "create external table t (k bigint not null, d bigint not null) stored as csv \
             with order (k asc) with order (d desc) location '{}/' \
             options ('format.has_header' 'true')",
            folder.path().display()
        );
        rows(&session, &table).await?;
        let by_k = "select k, count(*) from t group by k order by k";
        is(&session, master, by_k, (0..KEYS).map(|k| vec![k, 2]).collect()).await?;
        let by_d = "select d, count(*) from t group by d order by d desc";
        is(&session, master, by_d, (0..KEYS).map(|k| vec![-k, 2]).collect()).await?;
        let both = "select k, d, count(*) from t group by k, d order by d desc limit 3";
        is(&session, master, both, (0..3).map(|k| vec![k, -k, 2]).collect()).await?;
    }
    Ok(())
}

/// Two files, each in the order of both columns, and together in that of neither.
async fn merged_by_one() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (file, lines) in ["1,5\n3,6\n5,7\n7,8\n", "2,1\n4,2\n6,3\n8,4\n"].iter().enumerate() {
        std::fs::write(folder.path().join(format!("{file}.csv")), format!("a,b\n{lines}"))?;
    }
    let by_a = || [5, 1, 6, 2, 7, 3, 8, 4].into_iter().zip(1..).map(|(b, a)| vec![a, b]);
    let by_b = || [2, 4, 6, 8, 1, 3, 5, 7].into_iter().zip(1..).map(|(a, b)| vec![a, b]);
    let with_rank = |row: Vec<i64>| [row.clone(), vec![row[1]]].concat();
    for master in ["local[1]"].into_iter().chain(BACKENDS) {
        let session = builder(master).connect().await?;
        let table = format!(
            "create external table t (a bigint not null, b bigint not null) stored as csv \
             with order (a) with order (b) location '{}/' options ('format.has_header' 'true')",
            folder.path().display()
        );
        rows(&session, &table).await?;
        let nested = "select * from (select * from t order by a limit 100) order by b";
        is(&session, master, nested, by_b().collect()).await?;
        let limited = format!("{nested} limit 3");
        is(&session, master, &limited, by_b().take(3).collect()).await?;
        let ranked = "select a, b, row_number() over (order by b) from";
        let below = format!("{ranked} (select * from t order by a limit 100) order by b");
        is(&session, master, &below, by_b().map(with_rank).collect()).await?;
        let above = format!("{ranked} t order by a");
        is(&session, master, &above, by_a().map(with_rank).collect()).await?;
    }
    Ok(())
}

/// Groups by the order that a merge does not keep.
async fn groups_behind_a_merge() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..2 {
        let row = |i: i64| format!("{},{}\n", 2 * i + file, (i + 300 * file) / 2);
        let lines: String = (0..1000).map(row).collect();
        std::fs::write(folder.path().join(format!("{file}.csv")), format!("a,b\n{lines}"))?;
    }
    for master in ["local[1]"].into_iter().chain(BACKENDS) {
        let session = builder(master).connect().await?;
        let table = format!(
            "create external table t (a bigint not null, b bigint not null) stored as csv \
             with order (a) with order (b) location '{}/' options ('format.has_header' 'true')",
            folder.path().display()
        );
        rows(&session, &table).await?;
        let groups = "select count(*), count(distinct b) from (select b, count(*) from \
             (select * from t order by a limit 1900) group by b)";
        is(&session, master, groups, vec![vec![625, 625]]).await?;
    }
    Ok(())
}

/// A table in memory of more partitions than there are slots.
async fn constant_key() -> Outcome {
    let k: ArrayRef = Arc::new(Int64Array::from(vec![1, -6]));
    let batch = RecordBatch::try_from_iter([("k", k)])?;
    let partitions = vec![vec![batch.clone()], vec![batch.clone()], vec![batch.clone()]];
    for master in ["local[1]"].into_iter().chain(BACKENDS) {
        let session = builder(master).connect().await?;
        let table = MemTable::try_new(batch.schema(), partitions.clone())?;
        session.context().register_table("t", Arc::new(table))?;
        let windows = "select sum(1) over (order by k nulls last), max(k) over (partition by k order by k \
             desc groups between unbounded preceding and unbounded following) from t where k = -6";
        is(&session, master, windows, vec![vec![3, -6]; 3]).await?;
    }
    Ok(())
}

/// Each file is sorted with its null last, and its other keys are below those of the next file.
async fn with_nulls() -> Outcome {
    let folder = tempfile::tempdir()?;
    for file in 0..8 {
        let k: Int64Array = [Some(2 * file), Some(2 * file + 1), None].into_iter().collect();
        write_with(&folder.path().join(format!("{file}.parquet")), Arc::new(k), false)?;
    }
    let want: Vec<String> =
        (0..16).map(|k| k.to_string()).chain((0..8).map(|_| "NULL".to_owned())).collect();
    for master in ["local[1]"].into_iter().chain(BACKENDS) {
        let declared = ("(k bigint, v bigint)", "with order (k asc nulls last)");
        for (columns, order) in [("", ""), declared] {
            let session = builder(master).connect().await?;
            let location = folder.path().display();
            let table = format!(
                "create external table t {columns} stored as parquet {order} location '{location}/'"
            );
            rows(&session, &table).await?;
            let sorted = rows(&session, "select k from t order by k nulls last").await?.concat();
            if sorted != want {
                return Err(format!("{master}, {order}: {sorted:?}").into());
            }
            let first = "select k from t order by k nulls last limit 3";
            is(&session, master, first, vec![vec![0], vec![1], vec![2]]).await?;
            let groups = "select count(*) from (select k from t group by k)";
            is(&session, master, groups, vec![vec![17]]).await?;
        }
    }
    Ok(())
}

/// The keys of one file: ascending, and none of them is all in it.
fn keys_of(file: i64) -> impl Iterator<Item = i64> {
    (0..KEYS).filter(move |k| k % FILES == file || (k + 1) % FILES == file)
}

fn write_sorted(path: &Path, keys: &[i64]) -> Outcome {
    write_with(path, Arc::new(Int64Array::from(keys.to_vec())), true)
}

fn write_with(path: &Path, k: Arc<Int64Array>, nulls_first: bool) -> Outcome {
    let v: ArrayRef = Arc::new(k.unary::<_, Int64Type>(|k| k % 7));
    let batch = RecordBatch::try_from_iter_with_nullable([("k", k as _, true), ("v", v, true)])?;
    let by_k = SortingColumn { column_idx: 0, descending: false, nulls_first };
    let properties = WriterProperties::builder().set_sorting_columns(Some(vec![by_k])).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

async fn check(session: &Session, master: &str) -> Outcome {
    let grouped = "select k, count(*) as n, sum(v) as s from t group by k order by k";
    if master.starts_with("local-cluster") {
        let plan = rows(session, &format!("explain {grouped}")).await?.concat().concat();
        if !plan.contains("mode=Ordered") {
            return Err(format!("{master}: no exchange keeps the order\n{plan}").into());
        }
    }
    check_rows(session, master).await
}

async fn check_rows(session: &Session, master: &str) -> Outcome {
    let grouped = "select k, count(*) as n, sum(v) as s from t group by k order by k";
    let all = (0..KEYS).map(|k| vec![k, 2, 2 * (k % 7)]);
    is(session, master, grouped, all.clone().collect()).await?;
    is(session, master, &format!("{grouped} limit 5"), all.clone().take(5).collect()).await?;
    let skipped = format!("{grouped} limit 3 offset 4000");
    is(session, master, &skipped, all.skip(4000).take(3).collect()).await?;
    let windowed = "select k, max(k) over (order by k rows between 1 preceding and current row) as m \
         from t order by k, m limit 6";
    let pairs = [[0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [2, 2]];
    is(session, master, windowed, pairs.map(Vec::from).to_vec()).await?;
    rows(session, "set datafusion.optimizer.prefer_hash_join = false").await?;
    let joined =
        "select a.k, count(*) as n from t a join t b on a.k = b.k group by a.k order by a.k";
    is(session, master, joined, (0..KEYS).map(|k| vec![k, 4]).collect()).await
}

async fn is(session: &Session, master: &str, sql: &str, want: Vec<Vec<i64>>) -> Outcome {
    let got = rows(session, sql).await.map_err(|failure| format!("{master}: {sql}\n{failure}"))?;
    let want: Rows =
        want.into_iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
    let different = got.iter().zip(&want).position(|(got, want)| got != want);
    if got == want {
        return Ok(());
    }
    let at = different.unwrap_or(got.len().min(want.len()));
    let (found, wanted) = (got.get(at), want.get(at));
    Err(format!("{master}: {sql}\n{} rows, row {at} is {found:?}, not {wanted:?}", got.len())
        .into())
}

async fn rows(session: &Session, sql: &str) -> Result<Rows, Failure> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(batches.iter().flat_map(rows_of).collect())
}
