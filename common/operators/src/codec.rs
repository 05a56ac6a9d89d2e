//! How a plan travels: DataFusion's own encoding, and what it needs from us.
//!
//! - our operators, each an arm of [`OperatorMessage`], encoded beside the operator;
//! - subquery values: inside a stage a scalar subquery is a hole with an ordinal. It is encoded as
//!   that ordinal, and decoded as the literal that the job's bindings hold for it, so that pruning
//!   and constant folding see a value;
//! - shared expressions: a dynamic filter that a join fills and a scan reads must stay one object.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use prost::Message;

use crate::canonical;
use crate::leaves::LeafMessage;
use crate::random::{self, TaskRandom};
use crate::reader::{StageReaderExec, StageReaderMessage};
use crate::recursive::{self, RecursiveQueryMessage, WorkTableMessage};
use crate::sample::{SampleExec, SampleMessage};

/// One of our operators on the wire.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorMessage {
    #[prost(message, optional, tag = "1")]
    pub(crate) stage_reader: Option<StageReaderMessage>,
    #[prost(message, optional, tag = "2")]
    pub(crate) recursive_query: Option<RecursiveQueryMessage>,
    #[prost(message, optional, tag = "3")]
    pub(crate) work_table: Option<WorkTableMessage>,
    #[prost(message, optional, tag = "4")]
    pub(crate) sample: Option<SampleMessage>,
    #[prost(message, optional, tag = "5")]
    pub(crate) leaf: Option<LeafMessage>,
    /// The branches of a union travel as its children.
    #[prost(message, optional, tag = "6")]
    pub(crate) union: Option<UnionMessage>,
}

/// A union: the number of partitions, and of operators, of each branch.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UnionMessage {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) partitions: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) operators: Vec<u32>,
}

/// The codec of our operators. Functions travel by name and come from the executor's registry, but
/// for those that are bound to the rows of a task.
#[derive(Debug)]
pub struct GnistCodec {
    random: Option<TaskRandom>,
}

impl GnistCodec {
    /// The codec that encodes.
    pub(crate) fn to_encode() -> Self {
        Self { random: None }
    }

    /// The codec that decodes the program of one attempt.
    pub(crate) fn to_decode(random: TaskRandom) -> Self {
        Self { random: Some(random) }
    }
}

impl PhysicalExtensionCodec for GnistCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = OperatorMessage::decode(buf)
            .map_err(|error| internal_datafusion_err!("an operator does not decode: {error}"))?;
        let decode_context = PhysicalPlanDecodeContext::new(context, self);
        // Those that depend on the task are decoded by [`Decoder`].
        match message {
            OperatorMessage { work_table: Some(table), .. } => {
                Ok(Arc::new(recursive::decode_work_table(&table)?))
            }
            OperatorMessage { sample: Some(sample), .. } => {
                Ok(Arc::new(SampleExec::decode(&sample, inputs, &decode_context, converter)?))
            }
            _ => internal_err!("an unknown operator"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let message = operator_message(&node, self, converter)?.ok_or_else(|| {
            DataFusionError::NotImplemented(format!(
                "the operator `{}` can't travel to an executor yet",
                node.name()
            ))
        })?;
        buf.extend_from_slice(&canonical::encode(&message));
        Ok(())
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        buf.extend(random::encode(function));
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        let bound = match (&self.random, buf) {
            (Some(random), [kind]) => random.decode(*kind),
            _ => None,
        };
        bound.ok_or_else(|| {
            DataFusionError::Plan(format!("the function `{name}` is not known to this executor"))
        })
    }
}

/// One of our operators on the wire, without its children; nothing for those of DataFusion.
pub(crate) fn operator_message(
    node: &Arc<dyn ExecutionPlan>,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Option<OperatorMessage>> {
    let mut message = OperatorMessage::default();
    if let Some(reader) = node.downcast_ref::<StageReaderExec>() {
        message.stage_reader = Some(reader.encode(codec, converter)?);
    } else if let Some(query) = node.downcast_ref::<RecursiveQueryExec>() {
        message.recursive_query = Some(recursive::encode_query(query)?);
    } else if let Some(table) = node.downcast_ref::<WorkTableExec>() {
        message.work_table = Some(recursive::encode_work_table(table)?);
    } else if let Some(sample) = node.downcast_ref::<SampleExec>() {
        message.sample = Some(sample.encode(codec, converter)?);
    } else {
        return Ok(None);
    }
    Ok(Some(message))
}

pub(crate) fn extension(
    message: &OperatorMessage,
    inputs: Vec<protobuf::PhysicalPlanNode>,
) -> protobuf::PhysicalPlanNode {
    let node = protobuf::PhysicalExtensionNode { node: canonical::encode(message), inputs };
    protobuf::PhysicalPlanNode { physical_plan_type: Some(PhysicalPlanType::Extension(node)) }
}
