//! How a plan travels: DataFusion's own encoding, and what it needs from us.
//!
//! - our operators, each an arm of [`OperatorMessage`], encoded beside the operator;
//! - subquery values: inside a stage a scalar subquery is a hole with an ordinal. It is encoded as
//!   that ordinal, and decoded as the literal that the job's bindings hold for it, so that pruning
//!   and constant folding see a value;
//! - shared expressions: a dynamic filter that a join fills and a scan reads must stay one object.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::physical_planning_context::ScalarSubqueryResults;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr_with_converter;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use prost::Message;

use crate::program::Bindings;
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
        match message {
            OperatorMessage { stage_reader: Some(reader), .. } => {
                Ok(Arc::new(StageReaderExec::decode(&reader, &decode_context, converter)?))
            }
            OperatorMessage { recursive_query: Some(query), .. } => {
                Ok(Arc::new(recursive::decode_query(&query, inputs)?))
            }
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
        let mut message = OperatorMessage::default();
        if let Some(reader) = node.downcast_ref::<StageReaderExec>() {
            message.stage_reader = Some(reader.encode(self, converter)?);
        } else if let Some(query) = node.downcast_ref::<RecursiveQueryExec>() {
            message.recursive_query = Some(recursive::encode_query(query)?);
        } else if let Some(table) = node.downcast_ref::<WorkTableExec>() {
            message.work_table = Some(recursive::encode_work_table(table)?);
        } else if let Some(sample) = node.downcast_ref::<SampleExec>() {
            message.sample = Some(sample.encode(self, converter)?);
        } else {
            return Err(DataFusionError::NotImplemented(format!(
                "the operator `{}` can't travel to an executor yet",
                node.name()
            )));
        }
        buf.extend_from_slice(&message.encode_to_vec());
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

/// Encodes plans; knows which binding each scalar subquery of the query is.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The results containers of the query's subquery levels, with the ordinal of their first.
    subqueries: Vec<(ScalarSubqueryResults, usize)>,
    /// Ordinals met since [`Encoder::recording`] began.
    met: RefCell<BTreeSet<usize>>,
}

impl Encoder {
    /// Says that the subqueries of `results` are the bindings from ordinal `first` on.
    pub fn bind_subqueries(&mut self, results: ScalarSubqueryResults, first: usize) {
        self.subqueries.push((results, first));
    }

    /// Runs `encode` and says which bindings were met in it, ascending.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn recording<T>(&self, encode: impl FnOnce(&Self) -> Result<T>) -> Result<(T, Vec<usize>)> {
        self.met.borrow_mut().clear();
        let encoded = encode(self)?;
        Ok((encoded, self.met.take().into_iter().collect()))
    }

    fn binding_base(&self, subquery: &ScalarSubqueryExpr) -> Result<usize> {
        let found = self
            .subqueries
            .iter()
            .find(|(results, _)| ScalarSubqueryResults::ptr_eq(results, subquery.results()));
        found.map(|(_, first)| *first).ok_or_else(|| {
            internal_datafusion_err!("a scalar subquery of this stage was never planned")
        })
    }
}

impl PhysicalProtoConverterExtension for Encoder {
    fn proto_to_execution_plan(
        &self,
        _: &protobuf::PhysicalPlanNode,
        _: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("an encoder does not decode")
    }

    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        protobuf::PhysicalPlanNode::try_from_physical_plan_with_converter(
            Arc::clone(plan),
            codec,
            self,
        )
    }

    fn proto_to_physical_expr(
        &self,
        _: &protobuf::PhysicalExprNode,
        _: &Schema,
        _: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        internal_err!("an encoder does not decode")
    }

    fn physical_expr_to_proto(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalExprNode> {
        let mut node = serialize_physical_expr_with_converter(expr, codec, self)?;
        if let Some(ExprType::ScalarSubquery(subquery)) = &mut node.expr_type {
            let expr = expr
                .downcast_ref::<ScalarSubqueryExpr>()
                .ok_or_else(|| internal_datafusion_err!("not a scalar subquery"))?;
            let base = u32::try_from(self.binding_base(expr)?).expect("bindings are few");
            subquery.index += base;
            self.met.borrow_mut().insert(subquery.index as usize);
        }
        Ok(node)
    }
}

/// Decodes plans of one attempt: fills in the bindings and keeps shared expressions shared.
#[derive(Debug)]
pub struct Decoder<'a> {
    bindings: &'a Bindings,
    /// Expressions that occur more than once, by their identity in the encoded plan.
    shared: RefCell<BTreeMap<u64, Arc<dyn PhysicalExpr>>>,
}

impl<'a> Decoder<'a> {
    /// A decoder for one instance.
    pub fn new(bindings: &'a Bindings) -> Self {
        Self { bindings, shared: RefCell::default() }
    }

    fn bound_value(&self, ordinal: u32) -> Result<Arc<dyn PhysicalExpr>> {
        let value = self.bindings.values.get(ordinal as usize).ok_or_else(|| {
            internal_datafusion_err!("the job's bindings have no value number {ordinal}")
        })?;
        Ok(Arc::new(Literal::new(value.clone())))
    }
}

impl PhysicalProtoConverterExtension for Decoder<'_> {
    fn proto_to_execution_plan(
        &self,
        proto: &protobuf::PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        proto.try_into_physical_plan_with_context(context, self)
    }

    fn execution_plan_to_proto(
        &self,
        _: &Arc<dyn ExecutionPlan>,
        _: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        internal_err!("a decoder does not encode")
    }

    fn proto_to_physical_expr(
        &self,
        proto: &protobuf::PhysicalExprNode,
        schema: &Schema,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        if let Some(ExprType::ScalarSubquery(subquery)) = &proto.expr_type {
            return self.bound_value(subquery.index);
        }
        let parsed = parse_physical_expr_with_converter(proto, schema, context, self)?;
        let Some(id) = proto.expr_id else {
            return Ok(parsed);
        };
        let known = self.shared.borrow().get(&id).cloned();
        let Some(known) = known else {
            self.shared.borrow_mut().insert(id, Arc::clone(&parsed));
            return Ok(parsed);
        };
        let children = parsed.children().into_iter().cloned().collect();
        known.with_new_children(children)
    }

    fn physical_expr_to_proto(
        &self,
        _: &Arc<dyn PhysicalExpr>,
        _: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalExprNode> {
        internal_err!("a decoder does not encode")
    }
}
