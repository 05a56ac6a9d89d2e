//! Plans as messages: DataFusion's own encoding, with what must not be in a program taken out.
//!
//! - What leaves scan is noted and travels beside the program: see [`crate::source`].
//! - Identities of shared expressions come from a counter of the process; here they are numbered
//!   anew, so that the same query planned twice is the same program.
//! - Subquery values become the ordinals of bindings.
//!
//! Fields that DataFusion's encoding loses are carried beside it: see [`crate::wire`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::physical_planning_context::ScalarSubqueryResults;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_expr_node::ExprType;

use crate::codec::{GnistCodec, OperatorMessage, UnionMessage, extension, operator_message};
use crate::leaves;
use crate::measured::operators_of;
use crate::source::{Place, Scanned};
use crate::wire::{self, Input};

/// Encodes plans; knows which binding each scalar subquery of the query is.
#[derive(Debug)]
pub struct Encoder {
    /// The functions that executors know.
    functions: Arc<TaskContext>,
    /// The results containers of the query's subquery levels, with the ordinal of their first.
    subqueries: Vec<(ScalarSubqueryResults, usize)>,
    /// Ordinals met since [`Encoder::recording`] began.
    met: RefCell<BTreeSet<usize>>,
    /// The program being encoded.
    program: RefCell<InProgram>,
}

/// Facts about a program that are collected while it is encoded.
#[derive(Debug, Default)]
struct InProgram {
    /// Identities of shared expressions, which count up in a process, as numbers from 0 in the
    /// order in which the program names them.
    shared: BTreeMap<u64, u64>,
    scanned: Vec<Scanned>,
    /// The place of every leaf that scans.
    places: Vec<Place>,
    /// The place of what is encoded next.
    place: Place,
}

impl Encoder {
    /// An encoder of plans for executors with the functions of `functions`.
    pub fn new(functions: Arc<TaskContext>) -> Self {
        let (met, program) = (RefCell::default(), RefCell::default());
        Self { functions, subqueries: Vec::new(), met, program }
    }

    pub(crate) fn codec(&self) -> GnistCodec {
        GnistCodec::of_driver(&self.functions)
    }

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

    /// Encodes one program, and says what its leaves scan, and where they are.
    pub(crate) fn program<T>(
        &self,
        encode: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<(T, Vec<Scanned>, Vec<Place>)> {
        self.program.take();
        let encoded = encode(self)?;
        let InProgram { scanned, places, .. } = self.program.take();
        Ok((encoded, scanned, places))
    }

    /// Encodes an operator as DataFusion does, its children as [`Encoder`] does.
    pub(crate) fn operator_to_proto(
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

    /// An operator of DataFusion, wrapped with the fields that its encoding has lost.
    fn with_lost_fields(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        let node = self.operator_to_proto(plan, codec)?;
        let carried = wire::lost_of_operator(plan.as_ref())?;
        if carried.is_none() {
            return Ok(node);
        }
        let message = OperatorMessage { carried, ..OperatorMessage::default() };
        Ok(extension(&message, vec![node]))
    }

    /// One of our operators, its children encoded here: DataFusion would not ask for them.
    fn extension(
        &self,
        message: &OperatorMessage,
        children: &[&Arc<dyn ExecutionPlan>],
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        let inputs = children.iter().map(|child| self.execution_plan_to_proto(child, codec));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        Ok(extension(message, inputs))
    }

    /// A union, each branch in its place among the tasks.
    fn union(
        &self,
        union: &UnionExec,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        let outer = self.program.borrow().place;
        let (mut first, mut partitions, mut inputs) = (outer.first, Vec::new(), Vec::new());
        for branch in union.inputs() {
            let count = branch.output_partitioning().partition_count();
            let count = u32::try_from(count).expect("partition counts are u32");
            self.program.borrow_mut().place = Place { first, count, ..outer };
            inputs.push(self.execution_plan_to_proto(branch, codec)?);
            partitions.push(count);
            first += count;
        }
        self.program.borrow_mut().place = outer;
        let message = OperatorMessage {
            union: Some(UnionMessage {
                partitions,
                operators: union.inputs().iter().map(operators_of).collect(),
            }),
            ..OperatorMessage::default()
        };
        Ok(extension(&message, inputs))
    }

    /// A leaf that scans files or rows, which are noted; nothing for other operators.
    fn leaf(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<Option<protobuf::PhysicalPlanNode>> {
        let ordinal = u32::try_from(self.program.borrow().scanned.len()).expect("leaves are few");
        let Some((leaf, scanned)) = leaves::encode(plan, ordinal, codec, self)? else {
            return Ok(None);
        };
        let mut program = self.program.borrow_mut();
        let place = program.place;
        program.scanned.push(scanned);
        program.places.push(place);
        let message = OperatorMessage { leaf: Some(leaf), ..OperatorMessage::default() };
        Ok(Some(extension(&message, Vec::new())))
    }

    /// A recursive query, all of it in every task.
    fn recursive(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        message: &OperatorMessage,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        let outer = self.program.borrow().place;
        self.program.borrow_mut().place.is_whole = true;
        let encoded = self.extension(message, &plan.children(), codec);
        self.program.borrow_mut().place = outer;
        encoded
    }

    /// The number of a shared expression in this program.
    fn number_of(&self, id: u64) -> u64 {
        let shared = &mut self.program.borrow_mut().shared;
        let next = shared.len() as u64;
        *shared.entry(id).or_insert(next)
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
        if let Some(union) = plan.downcast_ref::<UnionExec>() {
            return self.union(union, codec);
        }
        if let Some(leaf) = self.leaf(plan, codec)? {
            return Ok(leaf);
        }
        let Some(message) = operator_message(plan, codec, self)? else {
            return self.with_lost_fields(plan, codec);
        };
        if plan.is::<RecursiveQueryExec>() {
            return self.recursive(plan, &message, codec);
        }
        self.extension(&message, &plan.children(), codec)
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
        if let Some(lost) = wire::lost_of_expr(expr)? {
            let inputs = lost.inputs.iter();
            let inputs = inputs.map(|input| match input {
                Input::Whole(operand) => self.physical_expr_to_proto(operand, codec),
                Input::AsDataFusion(whole) => {
                    serialize_physical_expr_with_converter(whole, codec, self)
                }
            });
            return Ok(lost.fields.with_inputs(inputs.collect::<Result<_>>()?));
        }
        let mut node = serialize_physical_expr_with_converter(expr, codec, self)?;
        if let Some(ExprType::ScalarSubquery(subquery)) = &mut node.expr_type {
            let expr = expr
                .downcast_ref::<ScalarSubqueryExpr>()
                .ok_or_else(|| internal_datafusion_err!("not a scalar subquery"))?;
            let base = u32::try_from(self.binding_base(expr)?).expect("bindings are few");
            subquery.index += base;
            self.met.borrow_mut().insert(subquery.index as usize);
        }
        node.expr_id = node.expr_id.map(|id| self.number_of(id));
        Ok(node)
    }
}
