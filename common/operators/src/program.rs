//! A stage's program: its plan and the placement of its rows, encoded once per stage.
//!
//! ```text
//! driver                                       executor
//! plan + placement ──encode──▶ bytes ──decode──▶ Program ──instantiate(task)──▶ Instance
//!                   once per stage      once per executor        once per attempt
//! ```
//!
//! Invariant: no two attempts share state. Joins, repartitions, dynamic filters and metrics keep
//! theirs in operators and expressions, and some share it through clones. What attempts have in
//! common is the message alone, which is plain data and never changed; every operator and
//! expression of an attempt is built from it, for this attempt. What is built is small: leaves come
//! cut down to the attempt's partition (see [`crate::decoder`]), and the operators above are built
//! on them once.
//!
//! The bytes hold nothing that changes from run to run: subquery values, files, rows, settings and
//! the seed come with the bindings, shared expressions are numbered per program, and maps are in
//! the order of their keys. So the same query planned twice has the same hash, in any process.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::{
    parse_physical_exprs, parse_physical_sort_exprs, parse_protobuf_partitioning,
};
use datafusion_proto::physical_plan::to_proto::{
    serialize_partitioning, serialize_physical_exprs, serialize_physical_sort_exprs,
};
use datafusion_proto::physical_plan::{PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf;
use gnist_common::graph::ProgramKind;
use gnist_common::ids::TaskId;
use prost::Message;

use crate::bindings::Bindings;
use crate::canonical;
use crate::codec::GnistCodec;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::measured::measured;
use crate::once::left_sides_once;
use crate::placement::{Placement, Ranges};
use crate::random::TaskRandom;
use crate::source::{Bound, Piece, PlaceMessage, Scanned, Sources};

/// Stack for encoding: it recurses once or twice per operator.
const ENCODER_STACK_BYTES: usize = 256 << 20;

/// Stack for decoding, per message within a message: an operator is one or two.
const DECODER_STACK_BYTES_PER_LEVEL: usize = 48 << 10;

/// Stack for decoding a program without depth.
const DECODER_STACK_BYTES_MIN: usize = 256 << 10;

/// A plan and its placement on the wire.
#[derive(Clone, PartialEq, Message)]
struct PlanProgram {
    #[prost(message, optional, boxed, tag = "1")]
    plan: Option<Box<protobuf::PhysicalPlanNode>>,
    /// Absent for a single output partition, and for ranges.
    #[prost(message, optional, tag = "2")]
    partitioning: Option<protobuf::Partitioning>,
    #[prost(message, optional, tag = "3")]
    ranges: Option<RangesMessage>,
    /// The leaves that scan, by their ordinals.
    #[prost(message, repeated, tag = "4")]
    places: Vec<PlaceMessage>,
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
    /// A program that does nothing.
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
pub struct PlanTemplate {
    message: PlanProgram,
    /// Messages within messages.
    depth: usize,
}

/// An encoded program, and what it scans.
#[derive(Debug)]
pub struct Encoded {
    /// The program.
    pub bytes: Bytes,
    /// The files or rows that its leaves scan, by the ordinals of the leaves.
    pub scanned: Vec<Scanned>,
}

/// The pieces of one partition of a leaf, the leaf and the partition.
pub type RowsOfLeaf<'a> = ((u32, u32), &'a [Piece]);

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
) -> Result<Encoded> {
    stacker::maybe_grow(ENCODER_STACK_BYTES / 2, ENCODER_STACK_BYTES, || {
        let encode = |encoder: &Encoder| encode_message(plan, placement, encoder);
        let (mut message, scanned, places) = encoder.program(encode)?;
        message.places = places.into_iter().map(PlaceMessage::from).collect();
        Ok(Encoded { bytes: canonical::encode(&message).into(), scanned })
    })
}

fn encode_message(
    plan: &Arc<dyn ExecutionPlan>,
    placement: &Placement,
    encoder: &Encoder,
) -> Result<PlanProgram> {
    let codec = encoder.codec();
    let node = encoder.execution_plan_to_proto(plan, &codec);
    let node = node.map_err(|error| codec.explain(error))?;
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
    Ok(message)
}

/// Runs what recurses once per message within a message, on a stack that is large enough. A new
/// one is only made for deep programs.
pub(crate) fn on_stack_for<T>(depth: usize, run: impl FnOnce() -> T) -> T {
    let bytes = DECODER_STACK_BYTES_MIN + depth * DECODER_STACK_BYTES_PER_LEVEL;
    stacker::maybe_grow(bytes, 2 * bytes, run)
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
                let depth = canonical::depth(bytes);
                let message = on_stack_for(depth, || PlanProgram::decode(bytes));
                let message = message.map_err(|error| {
                    internal_datafusion_err!("a program does not decode: {error}")
                })?;
                Ok(Self::Template(PlanTemplate { message, depth }))
            }
        }
    }

    /// The rows that a task scans, by leaf and partition.
    pub fn rows_of<'a>(&self, task: u32, bindings: &'a Bindings) -> Vec<RowsOfLeaf<'a>> {
        let Self::Template(template) = self else { return Vec::new() };
        let mut needed = Vec::new();
        let leaves = template.message.places.iter().zip(&bindings.sources);
        for (leaf, (place, bound)) in (0_u32..).zip(leaves) {
            let Bound::Rows(partitions) = bound else { continue };
            let count = u32::try_from(partitions.len()).expect("partition counts are u32");
            let of_task = place.partitions_of(task, count);
            needed.extend(of_task.map(|at| ((leaf, at), partitions[at as usize].as_slice())));
        }
        needed
    }

    /// Builds one attempt's own copy, cut down to its task. Nothing for an empty program.
    ///
    /// # Errors
    /// When a function or table the program names is not known here.
    pub fn instantiate(
        &self,
        task: TaskId,
        bindings: &Bindings,
        sources: &dyn Sources,
        context: &Arc<TaskContext>,
    ) -> Result<Option<Instance>> {
        match self {
            Self::Empty => Ok(None),
            Self::Shared { plan } => {
                let plan = if bindings.is_measured {
                    measured(Arc::clone(plan))?
                } else {
                    Arc::clone(plan)
                };
                let plan = left_sides_once(plan)?;
                Ok(Some(Instance { plan, placement: Placement::Single }))
            }
            Self::Template(PlanTemplate { message, depth }) => on_stack_for(*depth, || {
                instantiate(message, task, (bindings, sources), context).map(Some)
            }),
        }
    }
}

fn instantiate(
    message: &PlanProgram,
    task: TaskId,
    (bindings, sources): (&Bindings, &dyn Sources),
    context: &Arc<TaskContext>,
) -> Result<Instance> {
    let codec = GnistCodec::of_task(context, TaskRandom::new(bindings.seed, task));
    let decoder = Decoder::new(bindings, sources, Some(task.partition));
    let Instance { plan, placement } = decode_message(message, &codec, &decoder, context)?;
    Ok(Instance { plan: left_sides_once(plan)?, placement })
}

/// All of a program's plan as the driver planned it, values still holes, to be compared.
///
/// # Errors
/// As [`Program::instantiate`].
pub(crate) fn decode_whole(
    program: &[u8],
    sources: &dyn Sources,
    context: &Arc<TaskContext>,
) -> Result<Instance> {
    let Program::Template(template) = Program::decode(ProgramKind::Plan, program)? else {
        return Err(internal_datafusion_err!("a program has no plan"));
    };
    on_stack_for(template.depth, || {
        let codec = GnistCodec::of_driver(context);
        decode_message(&template.message, &codec, &Decoder::with_holes(sources), context)
    })
}

fn decode_message(
    message: &PlanProgram,
    codec: &GnistCodec,
    decoder: &Decoder<'_>,
    context: &TaskContext,
) -> Result<Instance> {
    let decode_context = PhysicalPlanDecodeContext::new(context, codec);
    let node =
        message.plan.as_ref().ok_or_else(|| internal_datafusion_err!("a program has no plan"))?;
    let plan = decoder.proto_to_execution_plan(node, &decode_context)?;
    let schema = plan.schema();
    let placement = match (&message.partitioning, &message.ranges) {
        (_, Some(ranges)) => {
            Placement::Ranges(decode_ranges(ranges, &schema, &decode_context, decoder)?)
        }
        (partitioning, None) => {
            let partitioning = partitioning.as_ref();
            parse_protobuf_partitioning(partitioning, &decode_context, &schema, decoder)?
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

#[cfg(test)]
mod tests;
