//! The leaf that stands for another stage.
//!
//! In the driver's plan it has as many partitions as the consumer has tasks. The instance of one
//! task is cut down to what that task reads, see [`crate::instance`]:
//!
//! ```text
//! mode     partitions   reads in task t
//! Shuffle  n            partition t of every producer task      -> 1 partition
//! Gather   1            everything, in task order               -> 1 partition
//! Merge    m            run i of m: everything of producer task i -> m partitions
//! Each     n            everything of producer task t             -> 1 partition
//! Runs     m            run i of m: partition t of producer task i -> m partitions
//! Ordered  n            partition t of every producer task, merged in their order: a merge of `Runs`
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Constraints, Result, ScalarValue, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{AcrossPartitions, ConstExpr, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use datafusion_proto::physical_plan::from_proto::{
    parse_physical_exprs, parse_physical_sort_exprs, parse_protobuf_partitioning,
};
use datafusion_proto::physical_plan::to_proto::{
    serialize_partitioning, serialize_physical_exprs, serialize_physical_sort_exprs,
};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use prost::Message;

use crate::exchange::{BlockSelection, TaskInputs};

/// The ways in which the partitions of a reader map to the blocks of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// Partition `p` is output partition `p` of every producer task.
    Shuffle,
    /// The one partition is everything.
    Gather,
    /// Partition `i` is everything of producer task `i`.
    Merge,
    /// Partition `p` is everything of producer task `p`, and there is a task for each.
    Each,
    /// Partition `i` is, in task `t`, output partition `t` of producer task `i`.
    Runs,
    /// Partition `p` is output partition `p` of every producer task, merged in the order that the
    /// reader promises. An instance is a merge of the runs: see [`StageReaderExec::instance`].
    Ordered {
        /// Number of producer tasks.
        runs: u32,
    },
}

/// Reads the output of another stage. Rows: those blocks, in producer task order.
#[derive(Debug)]
pub struct StageReaderExec {
    input: usize,
    mode: ReadMode,
    /// The only partition that an instance has, or none in a template.
    bound: Option<u32>,
    properties: Arc<PlanProperties>,
}

impl StageReaderExec {
    /// A reader of input number `input` of its stage, with `partitioning` and the orderings that
    /// `equivalence` promises. Which columns are unique does not travel, and is forgotten here too.
    pub fn new(
        input: usize,
        mode: ReadMode,
        equivalence: EquivalenceProperties,
        partitioning: Partitioning,
    ) -> Self {
        let properties = PlanProperties::new(
            equivalence.with_constraints(Constraints::default()),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, mode, bound: None, properties: Arc::new(properties) }
    }

    /// Returns the ordinal of the input among those of the stage.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Returns the way in which its partitions map to blocks.
    pub fn mode(&self) -> ReadMode {
        self.mode
    }

    /// Returns the plan that one task runs in place of the reader: in modes `Shuffle`, `Each` and
    /// `Ordered` only partition `task` is left, as partition 0; in modes `Gather` and `Merge` every
    /// task reads the same.
    ///
    /// # Errors
    /// Internal, when a reader is to merge in an order that it does not promise.
    pub fn instance(&self, task: u32) -> Result<Arc<dyn ExecutionPlan>> {
        let ReadMode::Ordered { runs } = self.mode else { return Ok(Arc::new(self.bind(task))) };
        let Some(ordering) = self.properties.output_ordering() else {
            return internal_err!("a stage reader merges runs of no order");
        };
        let equivalence = self.properties.eq_properties.clone();
        let partitioning = Partitioning::UnknownPartitioning(runs as usize);
        let reader = Self::new(self.input, ReadMode::Runs, equivalence, partitioning);
        let runs = Arc::new(reader.bind(task));
        Ok(Arc::new(SortPreservingMergeExec::new(ordering.clone(), runs)))
    }

    fn bind(&self, task: u32) -> Self {
        match self.mode {
            ReadMode::Shuffle | ReadMode::Each => {
                let equivalence = self.properties.eq_properties.clone();
                let one = Partitioning::UnknownPartitioning(1);
                let reader = Self::new(self.input, self.mode, equivalence, one);
                Self { bound: Some(task), ..reader }
            }
            ReadMode::Gather | ReadMode::Merge | ReadMode::Runs | ReadMode::Ordered { .. } => {
                Self {
                    input: self.input,
                    mode: self.mode,
                    bound: (self.mode == ReadMode::Runs).then_some(task),
                    properties: Arc::clone(&self.properties),
                }
            }
        }
    }

    fn selection(&self, partition: usize) -> Result<BlockSelection> {
        let partition = u32::try_from(partition).expect("partition counts are u32");
        match (self.mode, self.bound) {
            (ReadMode::Shuffle, Some(bound)) => Ok(BlockSelection::Partition(bound)),
            (ReadMode::Each, Some(bound)) => Ok(BlockSelection::Task(bound)),
            (ReadMode::Runs, Some(bound)) => {
                Ok(BlockSelection::Block { task: partition, partition: bound })
            }
            (ReadMode::Shuffle | ReadMode::Each | ReadMode::Runs | ReadMode::Ordered { .. }, _) => {
                internal_err!("a stage reader ran without being bound")
            }
            (ReadMode::Gather, _) => Ok(BlockSelection::All),
            (ReadMode::Merge, _) => Ok(BlockSelection::Task(partition)),
        }
    }
}

/// A [`StageReaderExec`] on the wire. All its orderings travel, and which expressions are equal or
/// constant: a window finds its `PARTITION BY` in the order of its input only by knowing them, and
/// an aggregate keeps the order of its groups only if it finds them ordered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StageReaderMessage {
    #[prost(uint32, tag = "1")]
    input: u32,
    #[prost(uint32, tag = "2")]
    mode: u32,
    #[prost(message, optional, tag = "3")]
    partitioning: Option<protobuf::Partitioning>,
    #[prost(message, optional, tag = "4")]
    schema: Option<protobuf::Schema>,
    #[prost(message, repeated, tag = "5")]
    orderings: Vec<OrderingMessage>,
    #[prost(message, repeated, tag = "6")]
    equal: Vec<EqualMessage>,
    /// Producer tasks whose runs are merged, in mode `Ordered`.
    #[prost(uint32, tag = "7")]
    runs: u32,
}

/// An order that the rows of each partition have.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OrderingMessage {
    #[prost(message, repeated, tag = "1")]
    keys: Vec<protobuf::PhysicalSortExprNode>,
}

/// Expressions that are equal in every row.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EqualMessage {
    #[prost(message, repeated, tag = "1")]
    exprs: Vec<protobuf::PhysicalExprNode>,
    /// True if all rows of a partition have the same value.
    #[prost(bool, tag = "2")]
    is_constant: bool,
    /// True if the rows of all partitions have the same value.
    #[prost(bool, tag = "3")]
    is_uniform: bool,
    /// The value of all rows, where it is known.
    #[prost(message, optional, tag = "4")]
    value: Option<protobuf::ScalarValue>,
}

impl ReadMode {
    /// The number on the wire, and the runs it merges.
    fn encode(self) -> (u32, u32) {
        match self {
            Self::Shuffle => (0, 0),
            Self::Gather => (1, 0),
            Self::Merge => (2, 0),
            Self::Each => (3, 0),
            Self::Runs => (4, 0),
            Self::Ordered { runs } => (5, runs),
        }
    }

    fn decode(number: u32, runs: u32) -> Result<Self> {
        Ok(match number {
            0 => Self::Shuffle,
            1 => Self::Gather,
            2 => Self::Merge,
            3 => Self::Each,
            4 => Self::Runs,
            5 => Self::Ordered { runs },
            _ => return internal_err!("a stage reader has an unknown mode {number}"),
        })
    }
}

impl StageReaderExec {
    pub(crate) fn encode(
        &self,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<StageReaderMessage> {
        let partitioning = serialize_partitioning(&self.properties.partitioning, codec, converter)?;
        let orderings = self.properties.eq_properties.oeq_class().iter().map(|ordering| {
            let keys = serialize_physical_sort_exprs(ordering.iter().cloned(), codec, converter)?;
            Ok(OrderingMessage { keys })
        });
        let (mode, runs) = self.mode.encode();
        Ok(StageReaderMessage {
            input: u32::try_from(self.input).expect("inputs are few"),
            mode,
            runs,
            partitioning: Some(partitioning),
            schema: Some(self.schema().as_ref().try_into()?),
            orderings: orderings.collect::<Result<_>>()?,
            equal: self.encode_equal(codec, converter)?,
        })
    }

    fn encode_equal(
        &self,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Vec<EqualMessage>> {
        let equivalence = &self.properties.eq_properties;
        let classes = equivalence.eq_group().iter().map(|class| {
            let constant = class.iter().find_map(|expr| equivalence.is_expr_constant(expr));
            let value = match &constant {
                Some(AcrossPartitions::Uniform(Some(value))) => Some(value.try_into()?),
                _ => None,
            };
            Ok(EqualMessage {
                exprs: serialize_physical_exprs(class.iter(), codec, converter)?,
                is_constant: constant.is_some(),
                is_uniform: matches!(constant, Some(AcrossPartitions::Uniform(_))),
                value,
            })
        });
        classes.collect()
    }

    pub(crate) fn decode(
        message: &StageReaderMessage,
        context: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Self> {
        let mode = ReadMode::decode(message.mode, message.runs)?;
        let Some(schema) = &message.schema else {
            return internal_err!("a stage reader has no schema");
        };
        let schema = Arc::new(Schema::try_from(schema)?);
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&schema));
        for equal in &message.equal {
            let exprs = parse_physical_exprs(&equal.exprs, context, &schema, converter)?;
            add_equal(&mut equivalence, &exprs, equal.constant()?)?;
        }
        for ordering in &message.orderings {
            let keys = &ordering.keys;
            let keys = parse_physical_sort_exprs(keys, context, &schema, converter)?;
            equivalence.add_ordering(keys);
        }
        let partitioning = message.partitioning.as_ref();
        let partitioning = parse_protobuf_partitioning(partitioning, context, &schema, converter)?;
        let Some(partitioning) = partitioning else {
            return internal_err!("a stage reader has no partitions");
        };
        Ok(Self::new(message.input as usize, mode, equivalence, partitioning))
    }
}

impl EqualMessage {
    /// Returns the partitions over which the expressions are constant, each or all; none if they
    /// are not constant.
    fn constant(&self) -> Result<Option<AcrossPartitions>> {
        if !self.is_constant {
            return Ok(None);
        }
        if !self.is_uniform {
            return Ok(Some(AcrossPartitions::Heterogeneous));
        }
        let value = self.value.as_ref().map(ScalarValue::try_from).transpose()?;
        Ok(Some(AcrossPartitions::Uniform(value)))
    }
}

fn add_equal(
    equivalence: &mut EquivalenceProperties,
    exprs: &[Arc<dyn PhysicalExpr>],
    constant: Option<AcrossPartitions>,
) -> Result<()> {
    let Some((first, others)) = exprs.split_first() else {
        return Ok(());
    };
    for other in others {
        equivalence.add_equal_conditions(Arc::clone(first), Arc::clone(other))?;
    }
    if let Some(constant) = constant {
        equivalence.add_constants([ConstExpr::new(Arc::clone(first), constant)])?;
    }
    Ok(())
}

impl DisplayAs for StageReaderExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.properties.partitioning.partition_count();
        write!(
            f,
            "StageReaderExec: input={}, mode={:?}, partitions={partitions}",
            self.input, self.mode
        )
    }
}

impl ExecutionPlan for StageReaderExec {
    fn name(&self) -> &'static str {
        "StageReaderExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.properties.eq_properties.schema())
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert!(children.is_empty(), "a stage reader is a leaf");
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let selection = self.selection(partition)?;
        TaskInputs::of(&context)?.0.read(self.input, selection, self.schema())
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
