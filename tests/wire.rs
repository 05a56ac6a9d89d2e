//! Parts of a session that a cluster's executors do not get: they are refused by name before
//! anything runs. The same runs inside one process.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session as Catalog, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    Accumulator, ColumnarValue, Expr, PartitionEvaluator, TableType, Volatility, create_udaf,
    create_udf, create_udwf,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use gnist::{ErrorKind, Failure, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::slt::rows_of;

const CLUSTER: &str = "local-cluster[2,1,1GiB]";

type Outcome = std::result::Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("functions_of_ones_own_are_refused_by_name", functions_of_ones_own),
        trial("a_function_that_replaces_a_known_one_is_refused_by_name", replaced_function),
        trial("a_table_provider_of_ones_own_is_refused_by_name", table_provider),
        trial("frames_have_the_time_zone_of_their_session", time_zone_of_frames),
        trial("an_operator_without_encoding_is_refused_by_name", operator_without_encoding),
        trial("a_filter_of_what_is_no_aggregate_is_refused", filter_of_no_aggregate),
    ]
}

fn trial<F: Future<Output = Outcome>>(
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::test(format!("wire::{name}"), move || block_on(test()))
}

async fn rows(session: &Session, query: &str) -> Result<Vec<Vec<String>>, Failure> {
    let batches = session.sql(query).await?.collect().await?;
    Ok(batches.iter().flat_map(rows_of).collect())
}

async fn is(session: &Session, query: &str, want: &str) -> Outcome {
    let got = rows(session, query).await.map_err(|failure| format!("{query}\n{failure}"))?;
    let got: Vec<String> = got.into_iter().map(|row| row.join(" ")).collect();
    if got.join("\n") == want { Ok(()) } else { Err(format!("{query}\n{got:?}").into()) }
}

/// A statement that is not planned, in words that tell the user's name for what is in the way.
async fn is_refused(session: &Session, query: &str, words: &[&str]) -> Outcome {
    let failure: Failure = match session.sql(query).await {
        Ok(_) => return Err(format!("{query}\nit was started").into()),
        Err(error) => error.into(),
    };
    let text = failure.to_string();
    let is_named = words.iter().all(|word| text.contains(word));
    let is_dump = ["Exec", " { ", "bug in Gnist"].iter().any(|dump| text.contains(dump));
    if failure.kind == ErrorKind::Unsupported && is_named && !is_dump {
        return Ok(());
    }
    Err(format!("{query}\n{:?}: {text}", failure.kind).into())
}

async fn functions_of_ones_own() -> Outcome {
    for (master, is_cluster) in [("local[2]", false), (CLUSTER, true)] {
        let session = builder(master).connect().await?;
        register(&session);
        for (query, name, want) in [
            ("select my_next(value) from range(1, 2)", "my_next", "2"),
            ("select my_count(value) from range(1, 4)", "my_count", "3"),
            ("select my_place(value) over (order by value) from range(1, 2)", "my_place", "1"),
            (
                "select sum(value) filter (where my_next(value) > 2) over () from range(2, 3)",
                "my_next",
                "2",
            ),
        ] {
            if is_cluster {
                is_refused(&session, query, &[name, "local[*]"]).await?;
            } else {
                is(&session, query, want).await?;
            }
        }
    }
    Ok(())
}

fn register(session: &Session) {
    let context = session.context();
    context.register_udf(create_udf(
        "my_next",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(next),
    ));
    context.register_udaf(create_udaf(
        "my_count",
        vec![DataType::Int64],
        Arc::new(DataType::Int64),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(Count(0)))),
        Arc::new(vec![DataType::Int64]),
    ));
    context.register_udwf(create_udwf(
        "my_place",
        DataType::Int64,
        Arc::new(DataType::Int64),
        Volatility::Immutable,
        Arc::new(|| Ok(Box::new(Place))),
    ));
}

fn next(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let one = ScalarValue::Int64(Some(1)).to_array_of_size(arrays[0].len())?;
    let sum = datafusion::arrow::compute::kernels::numeric::add(&arrays[0], &one)?;
    Ok(ColumnarValue::Array(sum))
}

#[derive(Debug)]
struct Count(i64);

impl Accumulator for Count {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0 += i64::try_from(values[0].len()).unwrap();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_any().downcast_ref::<Int64Array>().unwrap();
        self.0 += counts.iter().flatten().sum::<i64>();
        Ok(())
    }
}

#[derive(Debug)]
struct Place;

impl PartitionEvaluator for Place {
    fn evaluate_all(&mut self, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let last = i64::try_from(rows).unwrap();
        Ok(Arc::new(Int64Array::from_iter_values(1..=last)))
    }
}

async fn replaced_function() -> Outcome {
    for (master, is_cluster) in [("local[2]", false), (CLUSTER, true)] {
        let session = builder(master).connect().await?;
        let function = create_udf(
            "abs",
            vec![DataType::Int64],
            DataType::Int64,
            Volatility::Immutable,
            Arc::new(next),
        );
        session.context().register_udf(function);
        let query = "select abs(value) from range(1, 2)";
        if is_cluster {
            is_refused(&session, query, &["`abs`", "replaced"]).await?;
        } else {
            is(&session, query, "2").await?;
        }
    }
    Ok(())
}

async fn table_provider() -> Outcome {
    for (master, is_cluster) in [("local[2]", false), (CLUSTER, true)] {
        let session = builder(master).connect().await?;
        session.context().register_table("geo", Arc::new(Own))?;
        let query = "select sum(k) from geo where k > 1";
        if is_cluster {
            is_refused(&session, query, &["`geo`", "table provider"]).await?;
        } else {
            is(&session, query, "5").await?;
        }
    }
    Ok(())
}

fn own_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]))
}

/// A table of three rows.
#[derive(Debug)]
struct Own;

#[async_trait]
impl TableProvider for Own {
    fn schema(&self) -> SchemaRef {
        own_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Catalog,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(own_schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(OwnExec { properties: Arc::new(properties) }))
    }
}

#[derive(Debug)]
struct OwnExec {
    properties: Arc<PlanProperties>,
}

impl DisplayAs for OwnExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnExec")
    }
}

impl ExecutionPlan for OwnExec {
    fn name(&self) -> &'static str {
        "OwnExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_new(own_schema(), vec![column])?;
        Ok(Box::pin(MemoryStream::try_new(vec![batch], own_schema(), None)?))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

async fn time_zone_of_frames() -> Outcome {
    for master in BACKENDS {
        let session = builder(master).connect().await?;
        rows(&session, "set datafusion.execution.time_zone = '+02:00'").await?;
        let table = "create table t as select * from (values ('2020-01-01T10:00:00')) as v(o)";
        rows(&session, table).await?;
        let query = "select max(to_timestamp(o)) as at from t";
        let frame = session.context().sql(query).await?;
        let batches = frame.collect().await?;
        let got: Vec<_> = batches.iter().flat_map(rows_of).collect();
        if got != [["2020-01-01T10:00:00+02:00"]] {
            return Err(format!("{master}: {got:?}").into());
        }
    }
    Ok(())
}

async fn operator_without_encoding() -> Outcome {
    let query = "select count(*) from range(1, 4) a join range(1, 4) b on a.value < b.value";
    for (master, is_cluster) in [("local[2]", false), (CLUSTER, true)] {
        let session = builder(master).connect().await?;
        // `SET` refuses it, for it answers wrongly in other ways.
        let state = session.context().state_ref();
        state.write().config_mut().options_mut().optimizer.enable_piecewise_merge_join = true;
        if is_cluster {
            is_refused(&session, query, &["`PiecewiseMergeJoin`", "local[*]"]).await?;
        } else {
            is(&session, query, "3").await?;
        }
    }
    Ok(())
}

async fn filter_of_no_aggregate() -> Outcome {
    let session = builder(CLUSTER).connect().await?;
    let query = "select rank() filter (where value > 1) over (order by value) from range(1, 3)";
    match rows(&session, query).await {
        Err(failure) if failure.kind == ErrorKind::User => Ok(()),
        other => Err(format!("{query}\n{other:?}").into()),
    }
}
