//! A plan is the same after its encoding, or it is refused: in every build, for every plan.
//!
//! DataFusion's encoding drops what it does not know, silently, and our own may come to. So the
//! driver decodes what it encoded, as an executor will, and compares the two plans operator by
//! operator. A difference is an error that names the operator and the field.
//!
//! **What is compared**, so that nothing can be forgotten:
//! 1. The `Debug` text of each operator over empty inputs, field by field ([`shape`]). Almost every
//!    operator, expression and function derives `Debug`, so its private fields are there too, and a
//!    field that comes with a new version of DataFusion is compared without a line of ours. What
//!    changes from run to run is left out by the name of its type, each with its reason. Of a text
//!    longer than 4 MiB only the beginning is compared.
//! 2. Names, schemas, partitionings and orders of all operators.
//! 3. Leaves that scan, field by field ([`scan`]): what they scan is not part of the program, and a
//!    text of thousands of files would cost more than all the rest. So are the fields of hash joins
//!    that their hand-written text leaves out. A test fails when a type that scans gets another field.
//! 4. Functions travel by name; that executors mean the same is seen as they are encoded
//!    ([`crate::wire::functions`]).
//!
//! Rejected: comparing bytes of a second encoding, which loses the same again; a comparer for each
//! operator over its public methods, which can forget a field and can't see a private one; equality
//! of expressions, which looks at settings that executors have of their own.
//!
//! The decoded side is kept by program. The original is looked at every time: a plan that lost
//! something has the bytes of one that never had it.

mod kept;
mod scan;
pub(crate) mod shape;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};

use crate::debug_text::debug_text;
use crate::placement::Placement;
use crate::program::{ENCODER_STACK_BYTES, Encoded, Instance, decode_whole};
use crate::source::{Scanned, Sources};
use kept::{Kept, Key};
use shape::Field;

/// Compares plans with what their programs decode to.
#[derive(Default)]
pub struct Guard {
    kept: Mutex<Kept>,
}

impl Guard {
    /// Sees that `encoded` is all of `plan` and `placement` for an executor that decodes it in
    /// `context`.
    ///
    /// # Errors
    /// `NotImplemented` naming the operator and the field that the program lost.
    pub fn check(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        placement: &Placement,
        encoded: &Encoded,
        context: &Arc<TaskContext>,
    ) -> Result<()> {
        stacker::maybe_grow(ENCODER_STACK_BYTES / 2, ENCODER_STACK_BYTES, || {
            let decoded = self.decoded(plan, encoded, context)?;
            match decoded.difference(plan, placement) {
                Some(lost) => Err(lost.into()),
                None => Ok(()),
            }
        })
    }

    fn decoded(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        encoded: &Encoded,
        context: &Arc<TaskContext>,
    ) -> Result<Arc<Decoded>> {
        // An order of files depends on which they are.
        let is_ordered = walk(plan).into_iter().any(scan::has_order);
        let key = Key::new(encoded, context);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key);
        if let Some(decoded) = kept.filter(|_| !is_ordered) {
            return Ok(decoded);
        }
        let sources = Shapes { scanned: &encoded.scanned, with_files: is_ordered };
        let Instance { plan, placement } = decode_whole(&encoded.bytes, &sources, context)?;
        let decoded = Arc::new(Decoded::new(&plan, &placement));
        if !is_ordered {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.put(key, context, &decoded);
        }
        Ok(decoded)
    }
}

/// Sources of the partitions that are scanned, without rows, and without files unless the plan
/// depends on them.
#[derive(Debug)]
struct Shapes<'a> {
    scanned: &'a Vec<Scanned>,
    with_files: bool,
}

impl Sources for Shapes<'_> {
    fn partitions(&self, leaf: u32) -> Result<u32> {
        self.scanned.partitions(leaf)
    }

    fn files(&self, leaf: u32, partition: u32) -> Result<Bytes> {
        if self.with_files { self.scanned.files(leaf, partition) } else { Ok(Bytes::new()) }
    }

    fn rows(&self, _: u32, _: u32) -> Result<Vec<RecordBatch>> {
        Ok(Vec::new())
    }
}

/// A field that a program loses of a plan.
#[derive(Debug, PartialEq, Eq)]
struct Lost {
    operator: String,
    field: String,
}

impl From<Lost> for DataFusionError {
    fn from(lost: Lost) -> Self {
        let Lost { operator, field } = lost;
        DataFusionError::NotImplemented(format!(
            "this query does not run on a cluster: `{field}` of `{operator}` would be lost on the \
             way to the executors; use the master `local[*]`"
        ))
    }
}

/// A decoded plan, as far as it is compared.
struct Decoded {
    /// In the order of a walk, parents first.
    operators: Vec<Operator>,
    placement: u64,
}

struct Operator {
    name: String,
    schema: SchemaRef,
    flow: u64,
    data_source: Option<Arc<dyn DataSource>>,
    hash_join: Option<u64>,
    fields: Vec<Field<String>>,
}

impl Decoded {
    fn new(plan: &Arc<dyn ExecutionPlan>, placement: &Placement) -> Self {
        let operators = walk(plan).into_iter().map(|operator| Operator {
            name: operator.name().to_owned(),
            schema: operator.schema(),
            flow: flow(operator.properties()),
            data_source: data_source(operator).cloned(),
            hash_join: hash_join(operator),
            fields: fields(operator),
        });
        Self { operators: operators.collect(), placement: shape::of(placement) }
    }

    /// The first field of `plan` that this differs in.
    fn difference(&self, plan: &Arc<dyn ExecutionPlan>, placement: &Placement) -> Option<Lost> {
        let operators = walk(plan);
        for (original, decoded) in operators.iter().zip(&self.operators) {
            if let Some(field) = decoded.difference(original.as_ref()) {
                return Some(lost(original.name(), field));
            }
            if let Some(lost) = decoded.different_field(original) {
                return Some(lost);
            }
        }
        if operators.len() != self.operators.len() {
            return Some(lost(plan.name(), "input"));
        }
        (shape::of(placement) != self.placement).then(|| lost(plan.name(), "placement"))
    }
}

/// The fields of one operator, without those of its inputs.
fn fields(operator: &Arc<dyn ExecutionPlan>) -> Vec<Field<String>> {
    let mut fields = Vec::new();
    shape::read(&text_of(operator), |field| fields.push(field.to_owned()));
    fields
}

/// The text of one operator over empty inputs; none of a leaf that scans.
fn text_of(operator: &Arc<dyn ExecutionPlan>) -> String {
    match operator.is::<DataSourceExec>() {
        true => String::new(),
        // One that takes no such inputs is compared with all that is below it.
        false => debug_text(&alone(operator).unwrap_or_else(|_| Arc::clone(operator))),
    }
}

/// The operator with empty leaves in the place of its inputs; it keeps all of its own fields.
fn alone(operator: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let empty = |input: &Arc<dyn ExecutionPlan>| {
        let partitions = input.output_partitioning().partition_count();
        Arc::new(EmptyExec::new(input.schema()).with_partitions(partitions)) as _
    };
    let inputs: Vec<_> = operator.children().into_iter().map(empty).collect();
    if inputs.is_empty() {
        return Ok(Arc::clone(operator));
    }
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Arc::clone(operator).replace_children(inputs, keep)
}

impl Operator {
    fn difference(&self, original: &dyn ExecutionPlan) -> Option<&'static str> {
        if self.name != original.name() {
            return Some("the operator itself");
        }
        if self.schema != original.schema() {
            return Some("schema");
        }
        if self.flow != flow(original.properties()) {
            return Some("partitioning or order");
        }
        if self.hash_join != hash_join_of(original) {
            return Some("null_aware or fetch");
        }
        let (Some(one), Some(other)) = (data_source_of(original), &self.data_source) else {
            return None;
        };
        scan::difference(one.as_ref(), other.as_ref())
    }

    fn different_field(&self, original: &Arc<dyn ExecutionPlan>) -> Option<Lost> {
        let mut decoded = self.fields.iter();
        let mut first = None;
        shape::read(&text_of(original), |field| {
            let same = decoded.next().is_some_and(|decoded| decoded == &field);
            if !same && first.is_none() {
                first = Some(lost(field.operator, field.name));
            }
        });
        first.or_else(|| decoded.next().map(|left| lost(&left.operator, &left.name)))
    }
}

fn lost(operator: &str, field: &str) -> Lost {
    let operator = operator.strip_suffix("Exec").unwrap_or(operator);
    Lost { operator: operator.to_owned(), field: field.to_owned() }
}

/// All operators of a plan, parents first; not those of recursive queries, whose decoded terms have
/// the schema of the whole query around their work table ([`crate::recursive`]).
fn walk(plan: &Arc<dyn ExecutionPlan>) -> Vec<&Arc<dyn ExecutionPlan>> {
    let mut operators = Vec::new();
    let mut next = vec![plan];
    while let Some(operator) = next.pop() {
        operators.push(operator);
        if !operator.is::<RecursiveQueryExec>() {
            next.extend(operator.children().into_iter().rev());
        }
    }
    operators
}

/// The hash of how rows leave an operator. Equal and constant expressions follow from the operators
/// below and are computed anew wherever they are needed.
fn flow(properties: &PlanProperties) -> u64 {
    shape::of(&(
        &properties.partitioning,
        properties.output_ordering(),
        properties.emission_type,
        properties.boundedness,
    ))
}

fn data_source(operator: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn DataSource>> {
    data_source_of(operator.as_ref())
}

fn data_source_of(operator: &dyn ExecutionPlan) -> Option<&Arc<dyn DataSource>> {
    operator.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source)
}

fn hash_join(operator: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    hash_join_of(operator.as_ref())
}

/// The fields of a hash join that its `Debug` text leaves out. Its dynamic filter is among those:
/// without it a join answers the same, only slower.
fn hash_join_of(operator: &dyn ExecutionPlan) -> Option<u64> {
    let join = operator.downcast_ref::<HashJoinExec>()?;
    Some(shape::of(&(join.null_aware, join.fetch())))
}

#[cfg(test)]
mod fields;
#[cfg(test)]
mod tests;
