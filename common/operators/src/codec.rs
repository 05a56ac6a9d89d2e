//! The encoding of plans: DataFusion's own, and what it needs from us.
//!
//! - our operators, each an arm of [`OperatorMessage`], encoded beside the operator;
//! - subquery values: inside a stage a scalar subquery is a hole with an ordinal. It is encoded as
//!   that ordinal, and decoded as the literal that the job's bindings hold for it, so that pruning
//!   and constant folding see a value;
//! - shared expressions: a dynamic filter that a join fills and a scan reads must stay one object.

use std::sync::{Arc, OnceLock};

use datafusion::common::{DataFusionError, Result, internal_datafusion_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
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
use crate::collected::{CollectedExec, CollectedMessage};
use crate::functions::unordered;
use crate::leaves::LeafMessage;
use crate::random::{self, TaskRandom};
use crate::reader::{StageReaderExec, StageReaderMessage};
use crate::recursive::{self, RecursiveQueryMessage, WorkTableMessage};
use crate::sample::{SampleExec, SampleMessage};
use crate::unclaimed::{UnclaimedExec, UnclaimedMessage};
use crate::window_rows::WindowRowsExec;
use crate::wire::{CarriedExpr, CarriedOperator, filtered, functions};
use crate::write::{WriteExec, WriteMessage};

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
    /// The fields of an operator that DataFusion's encoding lost; it travels as the only child.
    #[prost(message, optional, tag = "7")]
    pub(crate) carried: Option<CarriedOperator>,
    #[prost(message, optional, tag = "8")]
    pub(crate) unclaimed: Option<UnclaimedMessage>,
    #[prost(message, optional, tag = "9")]
    pub(crate) collected: Option<CollectedMessage>,
    /// The rows of a window, which travels as the only child.
    #[prost(bool, tag = "10")]
    pub(crate) window_rows: bool,
    /// The rows that are written travel as the only child.
    #[prost(message, optional, tag = "11")]
    pub(crate) write: Option<WriteMessage>,
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
    /// The functions that executors know.
    functions: Arc<TaskContext>,
    draws: Draws,
    /// The name of an operator or expression that has no encoding, once one was met.
    refused: OnceLock<String>,
}

/// The ways to decode calls of `random()` and `uuid()`.
#[derive(Debug)]
enum Draws {
    /// Calls as the driver planned them.
    AsPlanned,
    /// Bound to the rows of one task.
    OfTask(TaskRandom),
}

impl GnistCodec {
    /// The codec that encodes, and that decodes what is only looked at.
    pub(crate) fn of_driver(functions: &Arc<TaskContext>) -> Self {
        let functions = Arc::clone(functions);
        Self { functions, draws: Draws::AsPlanned, refused: OnceLock::new() }
    }

    /// The codec that decodes the program of one attempt.
    pub(crate) fn of_task(functions: &Arc<TaskContext>, random: TaskRandom) -> Self {
        Self { draws: Draws::OfTask(random), ..Self::of_driver(functions) }
    }

    /// Returns the error to show for a failed encoding: it names the operator or expression that
    /// has no encoding, if that was the cause.
    pub(crate) fn explain(&self, error: DataFusionError) -> DataFusionError {
        match self.refused.get() {
            Some(name) => functions::cannot_travel(name),
            None => error,
        }
    }

    fn refuse(&self, name: &str) -> DataFusionError {
        functions::cannot_travel(self.refused.get_or_init(|| name.to_owned()))
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
        // Those that depend on the task are decoded by [`crate::decoder::Decoder`].
        match message {
            OperatorMessage { work_table: Some(table), .. } => {
                Ok(Arc::new(recursive::decode_work_table(&table)?))
            }
            OperatorMessage { sample: Some(sample), .. } => {
                Ok(Arc::new(SampleExec::decode(&sample, inputs, &decode_context, converter)?))
            }
            OperatorMessage { unclaimed: Some(rows), .. } => {
                Ok(Arc::new(UnclaimedExec::decode(&rows, inputs, &decode_context, converter)?))
            }
            OperatorMessage { collected: Some(rows), .. } => {
                Ok(Arc::new(CollectedExec::decode(&rows, inputs)?))
            }
            OperatorMessage { window_rows: true, .. } => {
                Ok(Arc::new(WindowRowsExec::decode(inputs)?))
            }
            _ => internal_err!("an unknown operator"),
        }
    }

    /// Refuses an operator that has no encoding. Our own operators never get here:
    /// [`crate::encoder::Encoder`] encodes them.
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        _: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        Err(self.refuse(&words_for(node.name())))
    }

    fn try_encode_expr(
        &self,
        node: &Arc<dyn PhysicalExpr>,
        _: &mut Vec<u8>,
        _: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        Err(self.refuse(&node.to_string()))
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        _: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let message = CarriedExpr::decode(buf)
            .map_err(|error| internal_datafusion_err!("an expression does not decode: {error}"))?;
        message.restore(inputs)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        let Some(kind) = random::encode(function) else {
            return functions::check_scalar(&self.functions, function);
        };
        buf.push(kind);
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        let bound = match (&self.draws, buf) {
            (Draws::OfTask(random), [kind]) => random.decode(*kind),
            (Draws::AsPlanned, [kind]) => random::as_planned(*kind),
            _ => None,
        };
        bound.ok_or_else(|| functions::unknown(name))
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        let known = &self.functions;
        let mark = if let Some(filtered) = filtered::of(function) {
            functions::check_aggregate(known, filtered.inner())?;
            filtered::MARK
        } else if let Some((replaced, mark)) = unordered::replaced(function) {
            functions::check_aggregate(known, replaced)?;
            mark
        } else {
            functions::mark_of_aggregate(known, function)?
        };
        buf.extend_from_slice(mark);
        Ok(())
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        match (self.functions.aggregate_functions().get(name), buf) {
            (Some(inner), filtered::MARK) => Ok(filtered::filtered(Arc::clone(inner))),
            (Some(inner), functions::IN_ORDER) => functions::in_order(inner),
            (Some(inner), mark) => {
                unordered::of_mark(inner, mark).ok_or_else(|| functions::unknown(name))
            }
            (None, _) => Err(functions::unknown(name)),
        }
    }

    fn try_encode_udwf(&self, function: &WindowUDF, _: &mut Vec<u8>) -> Result<()> {
        functions::check_window(&self.functions, function)
    }

    fn try_encode_higher_order_function(
        &self,
        function: &HigherOrderUDF,
        _: &mut Vec<u8>,
    ) -> Result<()> {
        functions::check_higher_order(&self.functions, function)
    }
}

/// An operator's name as people know it.
fn words_for(operator: &str) -> String {
    operator.strip_suffix("Exec").unwrap_or(operator).to_owned()
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
    } else if let Some(rows) = node.downcast_ref::<UnclaimedExec>() {
        message.unclaimed = Some(rows.encode(codec, converter)?);
    } else if let Some(rows) = node.downcast_ref::<CollectedExec>() {
        message.collected = Some(rows.encode());
    } else if let Some(write) = node.downcast_ref::<WriteExec>() {
        message.write = Some(write.encode());
    } else if node.is::<WindowRowsExec>() {
        message.window_rows = true;
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
