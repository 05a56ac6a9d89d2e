//! A stage's program: its plan and the placement of its rows, encoded once per stage.
//!
//! ```text
//! driver                                       executor
//! plan + placement ──encode──▶ bytes ──decode──▶ Program ──instantiate(task)──▶ Instance
//!                   once per stage      once per executor        once per attempt
//! ```
//!
//! Joins, repartitions and dynamic filters keep state in the plan, so every attempt gets a plan of
//! its own, built anew from the decoded message and cut down to its task. The bytes hold nothing
//! that changes from run to run: subquery values come with the bindings.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::{
    parse_physical_exprs, parse_physical_sort_exprs, parse_protobuf_partitioning,
};
use datafusion_proto::physical_plan::to_proto::{
    serialize_partitioning, serialize_physical_exprs, serialize_physical_sort_exprs,
};
use datafusion_proto::physical_plan::{
    PhysicalPlanDecodeContext, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use gnist_common::graph::ProgramKind;
use gnist_common::ids::TaskId;
use prost::Message;

use crate::block::{BlockCodec, decode_block, encode_block};
use crate::codec::{Decoder, Encoder, GnistCodec};
use crate::instance::cut_to_task;
use crate::placement::{Placement, Ranges};
use crate::random::TaskRandom;

/// Stack for encoding and decoding: both recurse once or twice per operator.
const CODEC_STACK_BYTES: usize = 256 << 20;

/// The seed among the metadata of encoded bindings.
const SEED_KEY: &str = "gnist.seed";

/// What travels.
#[derive(Clone, PartialEq, Message)]
struct PlanProgram {
    #[prost(message, optional, boxed, tag = "1")]
    plan: Option<Box<protobuf::PhysicalPlanNode>>,
    /// Absent for a single output partition, and for ranges.
    #[prost(message, optional, tag = "2")]
    partitioning: Option<protobuf::Partitioning>,
    #[prost(message, optional, tag = "3")]
    ranges: Option<RangesMessage>,
}

/// A [`Ranges`] on the wire.
#[derive(Clone, PartialEq, Message)]
struct RangesMessage {
    #[prost(message, repeated, tag = "1")]
    ordering: Vec<protobuf::PhysicalSortExprNode>,
    /// One split point after the other, a value per key.
    #[prost(message, repeated, tag = "2")]
    split_points: Vec<protobuf::PhysicalExprNode>,
}

/// A decoded program, shared by all attempts of an executor.
#[derive(Debug)]
pub enum Program {
    /// Does nothing.
    Empty,
    /// A plan that came as bytes: a template to build instances from.
    Template(PlanTemplate),
    /// A plan handed over inside one process, run once, as it is.
    Shared {
        /// The plan, all of its partitions driven by one task.
        plan: Arc<dyn ExecutionPlan>,
    },
}

/// A decoded message, from which instances are built.
#[derive(Debug)]
pub struct PlanTemplate(PlanProgram);

/// What of a program's holes one job fills.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// Values of uncorrelated scalar subqueries, by binding ordinal.
    pub values: Vec<ScalarValue>,
    /// Settings that the user changed, as DataFusion names them.
    pub settings: Vec<(String, String)>,
    /// Where `random()` and `uuid()` begin.
    pub seed: u64,
}

impl Bindings {
    /// The values as one block of one row, a column each; the rest as its schema's metadata.
    ///
    /// # Errors
    /// When Arrow can't hold a value.
    pub fn encode(&self) -> Result<Bytes> {
        let fields = self.values.iter().enumerate();
        let fields: Vec<Field> = fields
            .map(|(at, value)| Field::new(format!("value_{at}"), value.data_type(), true))
            .collect();
        let columns = self.values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        let seed = (SEED_KEY.to_owned(), self.seed.to_string());
        let metadata = self.settings.iter().cloned().chain([seed]).collect();
        let schema = Schema::new_with_metadata(fields, metadata);
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), columns, &one_row)?;
        encode_block(batch.schema_ref(), std::slice::from_ref(&batch), BlockCodec::Plain)
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// What [`Bindings::encode`] made.
    ///
    /// # Errors
    /// When the bytes are no such block.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let batches =
            decode_block(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let columns = batches.iter().flat_map(RecordBatch::columns);
        let values = columns.map(|column| ScalarValue::try_from_array(column, 0));
        let metadata = batches.iter().flat_map(|batch| batch.schema_ref().metadata().clone());
        let (seed, settings): (Vec<_>, Vec<_>) = metadata.partition(|(key, _)| key == SEED_KEY);
        let seed = seed.first().and_then(|(_, seed)| seed.parse().ok());
        let seed = seed.ok_or_else(|| internal_datafusion_err!("bindings without a seed"))?;
        Ok(Self { values: values.collect::<Result<_>>()?, settings, seed })
    }
}

/// One attempt's own copy of a program.
#[derive(Debug)]
pub struct Instance {
    /// Runs all of its partitions.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Places its rows.
    pub placement: Placement,
}

/// Encodes a stage's program.
///
/// # Errors
/// `NotImplemented` naming the operator or function that can't travel.
pub fn encode_program(
    plan: &Arc<dyn ExecutionPlan>,
    placement: &Placement,
    encoder: &Encoder,
) -> Result<Bytes> {
    stacker::maybe_grow(CODEC_STACK_BYTES / 2, CODEC_STACK_BYTES, || {
        let codec = GnistCodec::to_encode();
        let node = encoder.execution_plan_to_proto(plan, &codec)?;
        let mut message = PlanProgram { plan: Some(Box::new(node)), ..PlanProgram::default() };
        match placement {
            Placement::Single => {}
            Placement::Partitioned(partitioning) => {
                message.partitioning = Some(serialize_partitioning(partitioning, &codec, encoder)?);
            }
            Placement::Ranges(ranges) => {
                message.ranges = Some(encode_ranges(ranges, &codec, encoder)?);
            }
        }
        Ok(Bytes::from(message.encode_to_vec()))
    })
}

impl Program {
    /// Decodes what [`encode_program`] made.
    ///
    /// # Errors
    /// Internal, when the bytes are no such program.
    pub fn decode(kind: ProgramKind, bytes: &[u8]) -> Result<Self> {
        match kind {
            ProgramKind::Empty => Ok(Self::Empty),
            ProgramKind::Typed => Err(internal_datafusion_err!(
                "typed programs run in executors of their application's own binary"
            )),
            ProgramKind::Plan => {
                stacker::maybe_grow(CODEC_STACK_BYTES / 2, CODEC_STACK_BYTES, || {
                    let message = PlanProgram::decode(bytes).map_err(|error| {
                        internal_datafusion_err!("a program does not decode: {error}")
                    })?;
                    Ok(Self::Template(PlanTemplate(message)))
                })
            }
        }
    }

    /// Builds one attempt's own copy, cut down to its task. Nothing for an empty program.
    ///
    /// # Errors
    /// When a function or table the program names is not known here.
    pub fn instantiate(
        &self,
        task: TaskId,
        bindings: &Bindings,
        context: &TaskContext,
    ) -> Result<Option<Instance>> {
        match self {
            Self::Empty => Ok(None),
            Self::Shared { plan } => {
                Ok(Some(Instance { plan: Arc::clone(plan), placement: Placement::Single }))
            }
            Self::Template(PlanTemplate(message)) => {
                stacker::maybe_grow(CODEC_STACK_BYTES / 2, CODEC_STACK_BYTES, || {
                    instantiate(message, task, bindings, context).map(Some)
                })
            }
        }
    }
}

fn instantiate(
    message: &PlanProgram,
    task: TaskId,
    bindings: &Bindings,
    context: &TaskContext,
) -> Result<Instance> {
    let codec = GnistCodec::to_decode(TaskRandom::new(bindings.seed, task));
    let decoder = Decoder::new(bindings);
    let decode_context = PhysicalPlanDecodeContext::new(context, &codec);
    let node =
        message.plan.as_ref().ok_or_else(|| internal_datafusion_err!("a program has no plan"))?;
    let whole = node.try_into_physical_plan_with_context(&decode_context, &decoder)?;
    let plan = cut_to_task(whole, task.partition)?;
    let schema = plan.schema();
    let placement = match (&message.partitioning, &message.ranges) {
        (_, Some(ranges)) => {
            Placement::Ranges(decode_ranges(ranges, &schema, &decode_context, &decoder)?)
        }
        (partitioning, None) => {
            let partitioning = partitioning.as_ref();
            parse_protobuf_partitioning(partitioning, &decode_context, &schema, &decoder)?
                .map_or(Placement::Single, Placement::Partitioned)
        }
    };
    Ok(Instance { plan, placement })
}

fn encode_ranges(ranges: &Ranges, codec: &GnistCodec, encoder: &Encoder) -> Result<RangesMessage> {
    let points = ranges.split_points.iter().flatten();
    Ok(RangesMessage {
        ordering: serialize_physical_sort_exprs(ranges.ordering.iter().cloned(), codec, encoder)?,
        split_points: serialize_physical_exprs(points, codec, encoder)?,
    })
}

fn decode_ranges(
    message: &RangesMessage,
    schema: &SchemaRef,
    context: &PhysicalPlanDecodeContext<'_>,
    decoder: &Decoder<'_>,
) -> Result<Ranges> {
    let ordering = parse_physical_sort_exprs(&message.ordering, context, schema, decoder)?;
    let ordering =
        LexOrdering::new(ordering).ok_or_else(|| internal_datafusion_err!("ranges of no key"))?;
    let values = parse_physical_exprs(&message.split_points, context, schema, decoder)?;
    let split_points = values.chunks(ordering.len()).map(<[_]>::to_vec).collect();
    Ok(Ranges { ordering, split_points })
}
