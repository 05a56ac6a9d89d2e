//! Properties of an operator's rows that are compared: partitions, order, whether they end.
//!
//! Texts of two plans may differ where the plans are the same: of two equal columns DataFusion names
//! either, and not the same one each time it makes the operator. So two operators are the same if each
//! fulfils what the other one claims. Equal and constant expressions follow from the operators below, and are
//! computed anew wherever they are needed. So does the time when rows come: groups of a constant come one by one,
//! and statistics of files, which stay in the driver, make another column constant.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::physical_expr::physical_exprs_equal;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering};
use datafusion::physical_plan::{Partitioning, PhysicalExpr, PlanProperties};

use super::text::Text;

/// The properties of a decoded operator's rows.
pub(super) struct Flow {
    text: Text,
    properties: Arc<PlanProperties>,
}

impl Flow {
    pub(super) fn new(properties: &Arc<PlanProperties>) -> Self {
        Self { text: Text::of(&shown(properties)), properties: Arc::clone(properties) }
    }

    /// True if rows of `original` have the same properties.
    pub(super) fn is_of(&self, original: &PlanProperties) -> bool {
        self.text.is_of(&shown(original)) || self.is_equal_to(original)
    }

    /// Bytes of memory, roughly: the expressions are about as long as their texts.
    pub(super) fn bytes(&self) -> usize {
        size_of::<PlanProperties>() + 2 * self.text.bytes()
    }

    fn is_equal_to(&self, original: &PlanProperties) -> bool {
        let decoded = self.properties.as_ref();
        decoded.boundedness == original.boundedness
            && is_same_partitioning(decoded, original)
            && fulfils(&decoded.eq_properties, original.output_ordering())
            && fulfils(&original.eq_properties, decoded.output_ordering())
    }
}

fn shown(properties: &PlanProperties) -> impl Debug {
    (&properties.partitioning, properties.output_ordering(), properties.boundedness)
}

fn fulfils(properties: &EquivalenceProperties, order: Option<&LexOrdering>) -> bool {
    order.is_none_or(|order| properties.ordering_satisfy(order.clone()).unwrap_or(false))
}

fn is_same_partitioning(decoded: &PlanProperties, original: &PlanProperties) -> bool {
    match (&decoded.partitioning, &original.partitioning) {
        (Partitioning::Hash(one, of_one), Partitioning::Hash(other, of_other)) => {
            of_one == of_other
                && are_equal(&decoded.eq_properties, one, other)
                && are_equal(&original.eq_properties, one, other)
        }
        (Partitioning::UnknownPartitioning(one), Partitioning::UnknownPartitioning(other)) => {
            one == other
        }
        (one, other) => one == other,
    }
}

fn are_equal(
    properties: &EquivalenceProperties,
    one: &[Arc<dyn PhysicalExpr>],
    other: &[Arc<dyn PhysicalExpr>],
) -> bool {
    let normal = |expressions: &[Arc<dyn PhysicalExpr>]| -> Vec<_> {
        let group = properties.eq_group();
        expressions.iter().map(|it| group.normalize_expr(Arc::clone(it))).collect()
    };
    physical_exprs_equal(&normal(one), &normal(other))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::PhysicalSortExpr;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};

    use super::*;

    fn column(name: &str) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(name, usize::from(name == "b")))
    }

    /// The properties of rows `a, b` in the order of one column, dealt out by one of them.
    fn properties(are_equal: bool, dealt_by: &str, sorted_by: &str) -> Arc<PlanProperties> {
        let field = |name| Field::new(name, DataType::Int64, true);
        let mut known =
            EquivalenceProperties::new(Arc::new(Schema::new(vec![field("a"), field("b")])));
        if are_equal {
            known.add_equal_conditions(column("a"), column("b")).unwrap();
        }
        known.add_ordering([PhysicalSortExpr::new_default(column(sorted_by))]);
        let partitioning = Partitioning::Hash(vec![column(dealt_by)], 3);
        let (emission, bounded) = (EmissionType::Incremental, Boundedness::Bounded);
        Arc::new(PlanProperties::new(known, partitioning, emission, bounded))
    }

    #[test]
    fn either_of_two_equal_columns_says_the_same() {
        for (dealt_by, sorted_by) in [("a", "a"), ("b", "a"), ("a", "b"), ("b", "b")] {
            let equal = Flow::new(&properties(true, "a", "a"));
            assert!(equal.is_of(&properties(true, dealt_by, sorted_by)));
            let different = Flow::new(&properties(false, "a", "a"));
            let is_same = (dealt_by, sorted_by) == ("a", "a");
            assert_eq!(different.is_of(&properties(false, dealt_by, sorted_by)), is_same);
            // An equality that only one side knows proves nothing.
            assert_eq!(equal.is_of(&properties(false, dealt_by, sorted_by)), is_same);
        }
    }

    #[test]
    fn another_number_or_kind_of_partitions_and_rows_without_an_end_are_found() {
        use Boundedness::{Bounded, Unbounded};
        use Partitioning::{Hash, RoundRobinBatch, UnknownPartitioning};
        let with = |partitioning, bounded| {
            let of = properties(false, "a", "a");
            let known = of.eq_properties.clone();
            Arc::new(PlanProperties::new(known, partitioning, EmissionType::Incremental, bounded))
        };
        let endless = Unbounded { requires_infinite_memory: false };
        let hash =
            |columns: &[&str], count| Hash(columns.iter().map(|it| column(it)).collect(), count);
        let all = [
            with(UnknownPartitioning(3), Bounded),
            with(UnknownPartitioning(4), Bounded),
            with(UnknownPartitioning(3), endless),
            with(RoundRobinBatch(3), Bounded),
            with(hash(&["a"], 3), Bounded),
            with(hash(&["a"], 4), Bounded),
            with(hash(&["b"], 3), Bounded),
            with(hash(&["a", "b"], 3), Bounded),
            with(hash(&["b", "a"], 3), Bounded),
        ];
        for (at, decoded) in all.iter().enumerate() {
            for (other, original) in all.iter().enumerate() {
                assert_eq!(Flow::new(decoded).is_of(original), at == other, "{at} {other}");
            }
        }
    }

    #[test]
    fn an_order_that_only_one_side_has_is_found() {
        let sorted = properties(false, "a", "a");
        let known = EquivalenceProperties::new(Arc::clone(sorted.eq_properties.schema()));
        let unsorted = PlanProperties::new(
            known,
            sorted.partitioning.clone(),
            sorted.emission_type,
            sorted.boundedness,
        );
        let unsorted = Arc::new(unsorted);
        assert!(!Flow::new(&sorted).is_of(&unsorted));
        assert!(!Flow::new(&unsorted).is_of(&sorted));
    }
}
