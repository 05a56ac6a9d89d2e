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
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::parse_protobuf_partitioning;
use datafusion_proto::physical_plan::to_proto::serialize_partitioning;
use datafusion_proto::physical_plan::{
    PhysicalPlanDecodeContext, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use gnist_common::graph::ProgramKind;
use prost::Message;

use crate::block::{BlockCodec, decode_block, encode_block};
use crate::codec::{Decoder, Encoder, GnistCodec};
use crate::instance::cut_to_task;
use crate::placement::Placement;

/// Stack for encoding and decoding: both recurse once or twice per operator.
const CODEC_STACK_BYTES: usize = 256 << 20;

/// What travels.
#[derive(Clone, PartialEq, Message)]
struct PlanProgram {
    #[prost(message, optional, boxed, tag = "1")]
    plan: Option<Box<protobuf::PhysicalPlanNode>>,
    /// Absent for a single output partition.
    #[prost(message, optional, tag = "2")]
    partitioning: Option<protobuf::Partitioning>,
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
}

impl Bindings {
    /// The values as one block of one row, a column each; the settings as its schema's metadata.
    ///
    /// # Errors
    /// When Arrow can't hold a value.
    pub fn encode(&self) -> Result<Bytes> {
        let fields = self.values.iter().enumerate();
        let fields: Vec<Field> = fields
            .map(|(at, value)| Field::new(format!("value_{at}"), value.data_type(), true))
            .collect();
        let columns = self.values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        let schema = Schema::new_with_metadata(fields, self.settings.iter().cloned().collect());
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
        let settings = batches.iter().flat_map(|batch| batch.schema_ref().metadata().clone());
        Ok(Self { values: values.collect::<Result<_>>()?, settings: settings.collect() })
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
        let codec = GnistCodec::new();
        let node = encoder.execution_plan_to_proto(plan, &codec)?;
        let partitioning = match placement {
            Placement::Single => None,
            Placement::Partitioned(partitioning) => {
                Some(serialize_partitioning(partitioning, &codec, encoder)?)
            }
        };
        let message = PlanProgram { plan: Some(Box::new(node)), partitioning };
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
        task: u32,
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
    task: u32,
    bindings: &Bindings,
    context: &TaskContext,
) -> Result<Instance> {
    let codec = GnistCodec::new();
    let decoder = Decoder::new(bindings);
    let decode_context = PhysicalPlanDecodeContext::new(context, &codec);
    let node =
        message.plan.as_ref().ok_or_else(|| internal_datafusion_err!("a program has no plan"))?;
    let whole = node.try_into_physical_plan_with_context(&decode_context, &decoder)?;
    let plan = cut_to_task(whole, task)?;
    let partitioning = parse_protobuf_partitioning(
        message.partitioning.as_ref(),
        &decode_context,
        &plan.schema(),
        &decoder,
    )?;
    let placement = partitioning.map_or(Placement::Single, Placement::Partitioned);
    Ok(Instance { plan, placement })
}
