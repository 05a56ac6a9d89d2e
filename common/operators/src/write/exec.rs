//! The last operator of a write: it writes the rows of its input, and gives receipts.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use futures::lock::Mutex as AsyncMutex;
use futures::{StreamExt, TryStreamExt, stream};
use gnist_storage::commit::WriteId;
use prost::Message;

use super::receipts;
use super::spec::{WriteSpec, WriteSpecMessage};
use super::task::{TaskFiles, TaskNames};

/// Writes each partition of its input into staged files. Its rows are receipts, one per file.
pub struct WriteExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<WriteSpec>,
    write: WriteId,
    /// The task that this instance is of; the partitions are the tasks if absent.
    task: Option<u32>,
    properties: Arc<PlanProperties>,
}

impl WriteExec {
    /// Writes the rows of `input` as `spec` says, for this write.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<WriteSpec>, write: WriteId) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(receipts::schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, spec, write, task: None, properties: Arc::new(properties) }
    }

    /// The write whose files this plan makes, if it makes any.
    pub fn write_of(plan: &Arc<dyn ExecutionPlan>) -> Option<WriteId> {
        plan.downcast_ref::<Self>().map(|exec| exec.write)
    }

    /// Returns true if all rows go to one file.
    pub fn makes_one_file(&self) -> bool {
        self.spec.single_file.is_some()
    }

    fn with_input(&self, input: Arc<dyn ExecutionPlan>) -> Self {
        Self { task: self.task, ..Self::new(input, Arc::clone(&self.spec), self.write) }
    }
}

/// A [`WriteExec`] on the wire; its input travels as its child, and the write in the bindings.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteMessage {
    #[prost(message, optional, tag = "1")]
    spec: Option<WriteSpecMessage>,
}

impl WriteExec {
    pub(crate) fn encode(&self) -> WriteMessage {
        WriteMessage { spec: Some(self.spec.encode()) }
    }

    pub(crate) fn decode(
        message: WriteMessage,
        inputs: &[Arc<dyn ExecutionPlan>],
        write: WriteId,
        task: Option<u32>,
    ) -> Result<Self> {
        let ([input], Some(spec)) = (inputs, message.spec) else {
            return internal_err!("a write needs an input and a target");
        };
        let spec = Arc::new(WriteSpec::decode(spec)?);
        Ok(Self { task, ..Self::new(Arc::clone(input), spec, write) })
    }
}

/// Without the write and the task, which differ from run to run.
impl fmt::Debug for WriteExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, spec, write: _, task: _, properties } = self;
        f.debug_struct("WriteExec")
            .field("input", input)
            .field("spec", spec)
            .field("properties", properties)
            .finish()
    }
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteExec: format={}", self.spec.format)?;
        let schema = self.input.schema();
        let names = self.spec.partition_by.iter().map(|at| schema.field(*at).name().as_str());
        let names: Vec<&str> = names.collect();
        if names.is_empty() { Ok(()) } else { write!(f, ", partitioned_by=[{}]", names.join(", ")) }
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &'static str {
        "WriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else { return internal_err!("a write has one input") };
        Ok(Arc::new(self.with_input(Arc::clone(input))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let own = u32::try_from(partition).expect("partition counts are u32");
        let names = TaskNames {
            write: self.write,
            task: self.task.unwrap_or(own),
            attempt: WriteId::fresh().to_string(),
        };
        let files = TaskFiles::new(&self.spec, self.input.schema(), names, &context)?;
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let order = match self.spec.partition_by.as_slice() {
            [] => None,
            columns => Some(by_folder(&self.input, columns)),
        };
        let receipt = stream::once(write(files, rows, order, context));
        Ok(Box::pin(RecordBatchStreamAdapter::new(receipts::schema(), receipt)))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

/// The order of rows by their folders, and as they come within one.
fn by_folder(input: &Arc<dyn ExecutionPlan>, columns: &[usize]) -> LexOrdering {
    let schema = input.schema();
    let folders = columns.iter().map(|at| PhysicalSortExpr {
        expr: Arc::new(Column::new(schema.field(*at).name(), *at)),
        options: SortOptions::default(),
    });
    let within = input.output_ordering().into_iter().flatten().cloned();
    LexOrdering::new(folders.chain(within)).expect("there is a column")
}

async fn write(
    mut files: TaskFiles,
    mut rows: SendableRecordBatchStream,
    order: Option<LexOrdering>,
    context: Arc<TaskContext>,
) -> Result<RecordBatch> {
    let Some(order) = order else {
        while let Some(rows) = rows.try_next().await? {
            files.write(rows).await?;
        }
        return receipts::batch_of(&files.finish().await?);
    };
    // Those whose files can't be open are what the sort gets, and it drives the others on their way.
    let files = Arc::new(AsyncMutex::new(files));
    let schema = rows.schema();
    let writing = Arc::clone(&files);
    let rest = rows.try_filter_map(move |rows| {
        let files = Arc::clone(&writing);
        async move { files.lock().await.write(rows).await }
    });
    let rest = RecordBatchStreamAdapter::new(Arc::clone(&schema), rest);
    let leaf = StreamingTableExec::try_new(
        Arc::clone(&schema),
        vec![Arc::new(OneStream::new(Box::pin(rest)))],
        None,
        Vec::<LexOrdering>::new(),
        false,
        None,
    )?;
    let mut sorted = SortExec::new(order, Arc::new(leaf)).execute(0, context)?;
    let mut next = sorted.try_next().await?;
    let mut files = files.lock().await;
    files.finish_open().await?;
    while let Some(rows) = next {
        files.write_sorted(rows).await?;
        next = sorted.try_next().await?;
    }
    receipts::batch_of(&files.finish().await?)
}

/// A stream as a leaf of a plan, executed once.
struct OneStream {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl OneStream {
    fn new(rows: SendableRecordBatchStream) -> Self {
        Self { schema: rows.schema(), rows: Mutex::new(Some(rows)) }
    }
}

impl fmt::Debug for OneStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for OneStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        rows.unwrap_or_else(|| {
            let again = internal_datafusion_err!("the rows of a write are read twice");
            let failed = stream::once(std::future::ready(Err(again))).boxed();
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), failed))
        })
    }
}
