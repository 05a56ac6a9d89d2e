//! A decoded plan, as far as it is compared, and what another one differs in.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;

use super::alone::alone;
use super::flow::Flow;
use super::scan::Scan;
use super::text::Text;
use super::{Lost, lost};
use crate::placement::Placement;

/// All operators of a plan and where its rows go.
pub(super) struct Decoded {
    /// Operators in the order of a walk, parents first.
    operators: Vec<Operator>,
    placement: Text,
}

struct Operator {
    name: String,
    schema: SchemaRef,
    flow: Flow,
    hash_join: Option<HashJoin>,
    fields: Fields,
}

/// The fields of an operator.
enum Fields {
    Shown(Text),
    Scan(Scan),
}

/// The fields of a hash join that its `Debug` text leaves out: null-aware, and the rows it stops
/// after. Its dynamic filter is among those: without it a join answers the same, only slower.
type HashJoin = (bool, Option<usize>);

impl Decoded {
    pub(super) fn new(plan: &Arc<dyn ExecutionPlan>, placement: &Placement) -> Self {
        let operators = walk(plan).into_iter().map(Operator::new).collect();
        Self { operators, placement: Text::of(placement) }
    }

    /// The first field of `plan` that this differs in.
    pub(super) fn difference(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        placement: &Placement,
    ) -> Option<Lost> {
        let operators = walk(plan);
        let mut pairs = operators.iter().zip(&self.operators);
        if let Some(lost) = pairs.find_map(|(original, decoded)| decoded.difference(original)) {
            return Some(lost);
        }
        if operators.len() != self.operators.len() {
            return Some(lost(plan.name(), "input"));
        }
        (!self.placement.is_of(placement)).then(|| lost(plan.name(), "placement"))
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let operators: usize = self.operators.iter().map(Operator::bytes).sum();
        operators + self.placement.bytes()
    }
}

impl Operator {
    fn new(operator: &Arc<dyn ExecutionPlan>) -> Self {
        let scan = operator.downcast_ref::<DataSourceExec>();
        Self {
            name: operator.name().to_owned(),
            schema: operator.schema(),
            flow: Flow::new(operator.properties()),
            hash_join: hash_join(operator),
            fields: match scan {
                Some(scan) => Fields::Scan(Scan::new(scan.data_source())),
                None => Fields::Shown(Text::of(&shown(operator))),
            },
        }
    }

    fn difference(&self, original: &Arc<dyn ExecutionPlan>) -> Option<Lost> {
        let of_original = |field| Some(lost(original.name(), field));
        if self.name != original.name() {
            return of_original("the operator itself");
        }
        if self.schema != original.schema() {
            return of_original(&schema_difference(&self.schema, &original.schema()));
        }
        if !self.flow.is_of(original.properties()) {
            return of_original("partitioning or order");
        }
        if self.hash_join != hash_join(original) {
            return of_original("null_aware or fetch");
        }
        match (&self.fields, original.downcast_ref::<DataSourceExec>()) {
            (Fields::Scan(scan), Some(original)) => {
                scan.difference(original.data_source().as_ref()).and_then(of_original)
            }
            (Fields::Shown(text), None) => {
                let field = text.different_field(&shown(original));
                field.map(|(operator, field)| lost(&operator, &field))
            }
            _ => of_original("the operator itself"),
        }
    }

    fn bytes(&self) -> usize {
        let fields = match &self.fields {
            Fields::Shown(text) => text.bytes(),
            Fields::Scan(scan) => scan.bytes(),
        };
        size_of::<Self>() + self.name.len() + self.flow.bytes() + fields
    }
}

/// The part of a schema that two schemas differ in first.
fn schema_difference(decoded: &Schema, original: &Schema) -> String {
    let pairs = decoded.fields().iter().zip(original.fields());
    let mut parts = pairs.filter_map(|(decoded, original)| {
        let part = match () {
            () if decoded.name() != original.name() => "name",
            () if decoded.data_type() != original.data_type() => "type",
            () if decoded.is_nullable() != original.is_nullable() => "nullability",
            () if decoded != original => "metadata",
            () => return None,
        };
        Some(format!("{part} of column {}", original.name()))
    });
    parts.next().unwrap_or_else(|| "schema".to_owned())
}

/// The operator to be shown: alone, or with all that is below it if it takes no stand-ins.
fn shown(operator: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    alone(operator).unwrap_or_else(|_| Arc::clone(operator))
}

/// All operators of a plan, parents first.
pub(super) fn walk(plan: &Arc<dyn ExecutionPlan>) -> Vec<&Arc<dyn ExecutionPlan>> {
    let mut operators = Vec::new();
    let mut next = vec![plan];
    while let Some(operator) = next.pop() {
        operators.push(operator);
        next.extend(operator.children().into_iter().rev());
    }
    operators
}

fn hash_join(operator: &Arc<dyn ExecutionPlan>) -> Option<HashJoin> {
    let join = operator.downcast_ref::<HashJoinExec>()?;
    Some((join.null_aware, join.fetch()))
}
