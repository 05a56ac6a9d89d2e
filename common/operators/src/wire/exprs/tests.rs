//! Expressions keep all of their fields.

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{Column, Literal, lit};

use super::*;
use crate::guard::shape::field_names;

fn column() -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("a", 0))
}

/// The expression as an executor has it.
fn after(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let lost = lost_of_expr(expr).unwrap().unwrap();
    let inputs = lost.inputs.into_iter().map(|input| match input {
        Input::Whole(operand) => operand,
        Input::AsDataFusion(whole) => match whole.downcast_ref::<Literal>() {
            Some(literal) => lit(literal.value().clone()),
            None => whole,
        },
    });
    let bytes = lost.fields.encode_to_vec();
    CarriedExpr::decode(bytes.as_slice()).unwrap().restore(&inputs.collect::<Vec<_>>()).unwrap()
}

/// An expression with a field that is not here needs a look: does it travel?
#[test]
fn expressions_have_the_fields_that_are_known_here() {
    let binary = BinaryExpr::new(column(), Operator::Plus, column());
    assert_eq!(field_names(&binary), ["left", "op", "right", "fail_on_overflow"]);
    let cast = CastExpr::new(column(), DataType::Int8, None);
    let names = ["expr", "target_field", "explicit_target", "cast_options"];
    assert_eq!(field_names(&cast), names);
    let cast = TryCastExpr::new(column(), DataType::Int8);
    assert_eq!(field_names(&cast), ["expr", "target_field", "explicit_target"]);
    assert_eq!(field_names(&Literal::new(ScalarValue::from(1))), ["value", "field"]);
}

#[test]
fn arithmetic_of_every_operator_stays_checked() {
    for operator in [Operator::Plus, Operator::Minus, Operator::Multiply, Operator::Divide] {
        let checked = BinaryExpr::new(column(), operator, column()).with_fail_on_overflow(true);
        let checked: Arc<dyn PhysicalExpr> = Arc::new(checked);
        assert_eq!(&after(&checked), &checked);
        let plain: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column(), operator, column()));
        assert!(lost_of_expr(&plain).unwrap().is_none());
    }
}

#[test]
fn casts_keep_their_field_and_whether_they_are_safe() {
    let field = Field::new("f", DataType::Int8, false);
    let field = Arc::new(field.with_metadata([("key".to_owned(), "value".to_owned())].into()));
    let mut safe = DEFAULT_CAST_OPTIONS;
    safe.safe = true;
    let casts: [Arc<dyn PhysicalExpr>; 4] = [
        Arc::new(CastExpr::new(column(), DataType::Int8, Some(safe.clone()))),
        Arc::new(CastExpr::new_with_target_field(column(), Arc::clone(&field), Some(safe))),
        Arc::new(CastExpr::new_with_target_field(column(), Arc::clone(&field), None)),
        Arc::new(TryCastExpr::new_with_target_field(column(), field)),
    ];
    for cast in casts {
        assert_eq!(format!("{:?}", after(&cast)), format!("{cast:?}"));
    }
}

#[test]
fn literals_keep_their_metadata() {
    let metadata = FieldMetadata::from(std::collections::HashMap::from([(
        "ARROW:extension:name".to_owned(),
        "geo".to_owned(),
    )]));
    let literal = Literal::new_with_metadata(ScalarValue::from(1), Some(metadata));
    let literal: Arc<dyn PhysicalExpr> = Arc::new(literal);
    assert_eq!(format!("{:?}", after(&literal)), format!("{literal:?}"));
}
