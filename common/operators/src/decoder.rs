//! Messages as plans, cut down to one task while they are decoded.
//!
//! DataFusion assumes that one process drives all partitions of a plan. A task gets a plan of its
//! own that has its one partition only, so what joins and filters wait for ("all partitions have
//! reported") is this one partition:
//!
//! ```text
//! program, 4 partitions                      instance of task 2, 1 partition
//! Aggregate(partial)                         Aggregate(partial)
//!   HashJoin(CollectLeft)                      HashJoin(CollectLeft)
//!     StageReader(Gather)        everything      StageReader(Gather)
//!     Leaf(4 file groups)                        DataSource(group 2)
//! ```
//!
//! Only the leaves are cut, before anything is built on them, so that a task costs what its own
//! partition costs: of a union only the one branch that the task is part of is decoded. A recursive
//! query is one task and keeps all partitions of its terms.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::logical_expr::physical_planning_context::{ScalarSubqueryResults, SubqueryIndex};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use gnist_storage::commit::WriteId;
use prost::Message;

use crate::bindings::Bindings;
use crate::codec::{OperatorMessage, UnionMessage};
use crate::instance::cut_leaf;
use crate::leaves;
use crate::measured::{Measuring, operators_of};
use crate::reader::StageReaderExec;
use crate::recursive;
use crate::soft_limit::without_refused_limit;
use crate::source::Sources;
use crate::write::WriteExec;

/// Decodes plans of one attempt: cuts them down to a task, fills in the bindings and keeps shared
/// expressions shared.
#[derive(Debug)]
pub struct Decoder<'a> {
    /// The values that fill the holes; absent where they stay open.
    bindings: Option<&'a Bindings>,
    sources: &'a dyn Sources,
    /// The only partition that is left of what is decoded next; none to decode all of them.
    task: Cell<Option<u32>>,
    /// Hands out positions if every operator is measured.
    measuring: RefCell<Option<Measuring>>,
    /// Expressions that occur more than once, by their identity in the encoded plan.
    shared: RefCell<BTreeMap<u64, Arc<dyn PhysicalExpr>>>,
}

impl<'a> Decoder<'a> {
    /// A decoder of partition `task` of a plan, or of all partitions.
    pub fn new(bindings: &'a Bindings, sources: &'a dyn Sources, task: Option<u32>) -> Self {
        let measuring = RefCell::new(bindings.is_measured.then(Measuring::default));
        let bindings = Some(bindings);
        Self { bindings, sources, task: Cell::new(task), measuring, shared: RefCell::default() }
    }

    /// A decoder of all of a plan that is only looked at: values stay holes.
    pub(crate) fn with_holes(sources: &'a dyn Sources) -> Self {
        let (measuring, shared) = (RefCell::default(), RefCell::default());
        Self { bindings: None, sources, task: Cell::new(None), measuring, shared }
    }

    pub(crate) fn sources(&self) -> &'a dyn Sources {
        self.sources
    }

    /// True if what is decoded runs, and is not only looked at.
    pub(crate) fn is_for_task(&self) -> bool {
        self.bindings.is_some()
    }

    /// The only partition that is left; nothing when all of them are.
    pub(crate) fn task(&self) -> Option<u32> {
        self.task.get()
    }

    /// The partitions that are left of a leaf. A leaf of one partition is the same for every task.
    pub(crate) fn partitions_of_leaf(&self, leaf: u32) -> Result<Range<u32>> {
        let partitions = self.sources.partitions(leaf)?;
        match self.task() {
            None => Ok(0..partitions),
            Some(_) if partitions == 1 => Ok(0..1),
            Some(task) if task < partitions => Ok(task..task + 1),
            Some(task) => internal_err!("task {task} of a leaf of {partitions} partitions"),
        }
    }

    /// Decodes an operator as DataFusion does, its children as [`Decoder`] does.
    pub(crate) fn operator_from_proto(
        &self,
        node: &protobuf::PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        node.try_into_physical_plan_with_context(context, self)
    }

    /// Decodes plans with another partition left.
    fn within<T>(&self, task: Option<u32>, decode: impl FnOnce() -> Result<T>) -> Result<T> {
        let outer = self.task.replace(task);
        let decoded = decode();
        self.task.set(outer);
        decoded
    }

    /// Decodes operators that are not measured on their own: a recursive query resets and shares
    /// what is below it.
    fn unmeasured(
        &self,
        decode: impl FnOnce() -> Result<Vec<Arc<dyn ExecutionPlan>>>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let measuring = self.measuring.take();
        let decoded = decode();
        if let (Some(measuring), Ok(plans)) = (&measuring, &decoded) {
            measuring.skip(plans.iter().map(operators_of).sum());
        }
        self.measuring.replace(measuring);
        decoded
    }

    fn inputs(
        &self,
        node: &protobuf::PhysicalExtensionNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        node.inputs.iter().map(|input| self.proto_to_execution_plan(input, context)).collect()
    }

    /// One of our operators.
    fn extension(
        &self,
        node: &protobuf::PhysicalExtensionNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = OperatorMessage::decode(&*node.node)
            .map_err(|error| internal_datafusion_err!("an operator does not decode: {error}"))?;
        match message {
            OperatorMessage { union: Some(union), .. } => self.union(&union, node, context),
            OperatorMessage { leaf: Some(leaf), .. } => leaves::decode(leaf, context, self),
            OperatorMessage { stage_reader: Some(reader), .. } => {
                let reader = StageReaderExec::decode(&reader, context, self)?;
                match self.task() {
                    Some(task) => reader.instance(task),
                    None => Ok(Arc::new(reader)),
                }
            }
            OperatorMessage { carried: Some(carried), .. } => {
                // One operator, as its wrapper and as what it wraps.
                let decoded = node.inputs.iter().map(|input| self.decoded(input, context));
                carried.restore(&decoded.collect::<Result<Vec<_>>>()?)
            }
            OperatorMessage { write: Some(write), .. } => {
                let inputs = self.inputs(node, context)?;
                let id = self.bindings.and_then(|bindings| bindings.write);
                if id.is_none() && self.is_for_task() {
                    return internal_err!("a write has no id");
                }
                let id = id.unwrap_or(WriteId(0));
                Ok(Arc::new(WriteExec::decode(write, &inputs, id, self.task())?))
            }
            OperatorMessage { recursive_query: Some(query), .. } => {
                let terms = self.within(None, || self.unmeasured(|| self.inputs(node, context)))?;
                Ok(Arc::new(recursive::decode_query(&query, &terms)?))
            }
            _ => {
                let inputs = self.inputs(node, context)?;
                context.codec().try_decode(&node.node, &inputs, context.task_ctx(), self)
            }
        }
    }

    /// The one branch of a union that the task is part of.
    fn union(
        &self,
        union: &UnionMessage,
        node: &protobuf::PhysicalExtensionNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(task) = self.task() else {
            return UnionExec::try_new(self.inputs(node, context)?);
        };
        let mut first = 0;
        for (at, (branch, partitions)) in node.inputs.iter().zip(&union.partitions).enumerate() {
            if task < first + partitions {
                let decode = || self.proto_to_execution_plan(branch, context);
                let before = union.operators.get(..at).unwrap_or_default();
                let after = union.operators.get(at + 1..).unwrap_or_default();
                self.pass_over(before);
                let decoded = self.within(Some(task - first), decode);
                self.pass_over(after);
                return decoded;
            }
            first += partitions;
        }
        internal_err!("task {task} of a union with {first} partitions")
    }

    /// Keeps count of operators that this task has no part in.
    fn pass_over(&self, operators: &[u32]) {
        if let Some(measuring) = &*self.measuring.borrow() {
            measuring.skip(operators.iter().sum());
        }
    }

    /// Decodes an operator and what is below it.
    fn decoded(
        &self,
        proto: &protobuf::PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(PhysicalPlanType::Extension(node)) = &proto.physical_plan_type {
            return self.extension(node, context);
        }
        if let (Some(PhysicalPlanType::Union(_)), Some(_)) =
            (&proto.physical_plan_type, self.task())
        {
            return internal_err!("a union came without the partitions of its branches");
        }
        let plan = self.operator_from_proto(proto, context)?;
        let plan = without_refused_limit(&plan).unwrap_or(plan);
        match self.task() {
            Some(task) if plan.children().is_empty() => cut_leaf(plan, task),
            _ => Ok(plan),
        }
    }

    fn bound_value(
        &self,
        hole: &protobuf::PhysicalScalarSubqueryExprNode,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let ordinal = hole.index as usize;
        let Some(bindings) = self.bindings else {
            let of_type = hole.data_type.as_ref();
            let of_type = of_type.ok_or_else(|| internal_datafusion_err!("a hole of no type"))?;
            let results = ScalarSubqueryResults::new(0);
            let index = SubqueryIndex::new(ordinal);
            let hole = ScalarSubqueryExpr::new(of_type.try_into()?, hole.nullable, index, results);
            return Ok(Arc::new(hole));
        };
        let value = bindings.values.get(ordinal).ok_or_else(|| {
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
        let position = self.measuring.borrow().as_ref().map(Measuring::next);
        let plan = self.decoded(proto, context)?;
        match (position, &*self.measuring.borrow()) {
            (Some(position), Some(measuring)) => Ok(measuring.wrap(plan, position)),
            _ => Ok(plan),
        }
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
            return self.bound_value(subquery);
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
