//! Sums against a naive oracle in wider numbers, however they are batched, partitioned and framed.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type, Schema, i256,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use proptest::prelude::*;

use super::avg;
use super::sum::{OnOverflow, sum};
use super::total::Total;

/// A sum of one column of this type, ready to make accumulators of.
struct Call {
    function: Arc<AggregateUDF>,
    schema: Schema,
    fields: [FieldRef; 1],
    exprs: [Arc<dyn PhysicalExpr>; 1],
    result: FieldRef,
}

impl Call {
    fn new(function: Arc<AggregateUDF>, data_type: &DataType) -> Self {
        let field = Arc::new(Field::new("v", data_type.clone(), true));
        let result = function.return_type(std::slice::from_ref(data_type)).unwrap();
        Self {
            function,
            schema: Schema::new(vec![Arc::clone(&field)]),
            fields: [field],
            exprs: [Arc::new(Column::new("v", 0))],
            result: Arc::new(Field::new("sum(v)", result, true)),
        }
    }

    fn args(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: Arc::clone(&self.result),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: "sum(v)",
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        }
    }

    fn one(&self) -> Box<dyn Accumulator> {
        self.function.accumulator(self.args()).unwrap()
    }

    fn sliding(&self) -> Box<dyn Accumulator> {
        self.function.create_sliding_accumulator(self.args()).unwrap()
    }

    fn groups(&self) -> Box<dyn GroupsAccumulator> {
        self.function.create_groups_accumulator(self.args()).unwrap()
    }

    /// Partial sums of parts, merged in order.
    fn merged(&self, parts: &[ArrayRef]) -> Result<ScalarValue> {
        let mut total = self.one();
        for part in parts {
            let mut partial = self.one();
            partial.update_batch(std::slice::from_ref(part))?;
            let state = partial.state()?.remove(0).to_array()?;
            total.merge_batch(&[state])?;
        }
        total.evaluate()
    }

    /// The same by groups: parts, none of them empty, belong to one of two groups by turns, and every
    /// third is converted to states instead of being summed.
    fn grouped(&self, parts: &[ArrayRef]) -> Result<ArrayRef> {
        let mut total = self.groups();
        for (at, part) in parts.iter().enumerate() {
            let (group, groups) = (at % 2, (at + 1).min(2));
            if at % 3 == 0 {
                let states = total.convert_to_state(std::slice::from_ref(part), None)?;
                total.merge_batch(&states, &vec![group; part.len()], groups)?;
                continue;
            }
            let mut partial = self.groups();
            partial.update_batch(std::slice::from_ref(part), &vec![0; part.len()], None, 1)?;
            total.merge_batch(&partial.state(EmitTo::All)?, &[group], groups)?;
        }
        total.evaluate(EmitTo::All)
    }
}

fn integers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn decimals(values: &[Option<i128>]) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_data_type(DataType::Decimal128(38, 0)))
}

/// The exact sum, none without a value.
fn exact(values: impl Iterator<Item = Option<i128>>) -> Option<i256> {
    values.flatten().fold(None, |sum, value| {
        Some(sum.unwrap_or(i256::ZERO).wrapping_add(i256::from_i128(value)))
    })
}

fn fits_integer(sum: i256) -> Option<i64> {
    sum.to_i128().and_then(|sum| i64::try_from(sum).ok())
}

fn fits_decimal(sum: i256) -> Option<i128> {
    sum.to_i128().filter(|sum| sum.unsigned_abs() < 10_u128.pow(38))
}

fn edges() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        Just(None),
        Just(Some(i64::MAX)),
        Just(Some(i64::MIN)),
        (-3_i64..=3).prop_map(Some),
        any::<i64>().prop_map(Some),
    ]
}

fn decimal_edges() -> impl Strategy<Value = Option<i128>> {
    const MAX: i128 = 10_i128.pow(38) - 1;
    prop_oneof![
        Just(None),
        Just(Some(MAX)),
        Just(Some(-MAX)),
        (-3_i128..=3).prop_map(Some),
        (-MAX..=MAX).prop_map(Some),
    ]
}

proptest! {
    #[test]
    fn integers_sum_exactly_or_fail(parts in prop::collection::vec(prop::collection::vec(edges(), 0..6), 0..8)) {
        let arrays: Vec<ArrayRef> = parts.iter().map(|part| integers(part)).collect();
        let expected = exact(parts.iter().flatten().map(|value| value.map(i128::from)));
        let call = Call::new(sum(OnOverflow::Fail), &DataType::Int64);
        match (call.merged(&arrays), expected.map(fits_integer)) {
            (Ok(value), None) => prop_assert_eq!(value, ScalarValue::Int64(None)),
            (Ok(value), Some(fits)) => prop_assert_eq!(value, ScalarValue::Int64(Some(fits.unwrap()))),
            (Err(_), fits) => prop_assert_eq!(fits, Some(None)),
        }
        let call = Call::new(sum(OnOverflow::Null), &DataType::Int64);
        let value = call.merged(&arrays).unwrap();
        prop_assert_eq!(value, ScalarValue::Int64(expected.and_then(fits_integer)));
        let call = Call::new(sum(OnOverflow::Wrap), &DataType::Int64);
        let wrapped = parts.iter().flatten().flatten().fold(0_i64, |sum, v| sum.wrapping_add(*v));
        let value = call.merged(&arrays).unwrap();
        prop_assert_eq!(value, ScalarValue::Int64(expected.map(|_| wrapped)));
    }

    #[test]
    fn decimals_sum_exactly_or_are_null(parts in prop::collection::vec(prop::collection::vec(decimal_edges(), 0..6), 0..8)) {
        let arrays: Vec<ArrayRef> = parts.iter().map(|part| decimals(part)).collect();
        let call = Call::new(sum(OnOverflow::Null), &DataType::Decimal128(38, 0));
        let expected = exact(parts.iter().flatten().copied()).and_then(fits_decimal);
        prop_assert_eq!(call.merged(&arrays).unwrap(), ScalarValue::Decimal128(expected, 38, 0));
        let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).collect();
        let of_group = |group: usize| {
            let parts = parts.iter().enumerate().filter(|(at, _)| at % 2 == group);
            exact(parts.flat_map(|(_, part)| part.iter().copied())).and_then(fits_decimal)
        };
        if !parts.is_empty() {
            let arrays: Vec<ArrayRef> = parts.iter().map(|part| decimals(part)).collect();
            let sums = call.grouped(&arrays).unwrap();
            let sums: Vec<_> = sums.as_primitive::<Decimal128Type>().iter().collect();
            let expected: Vec<_> = (0..parts.len().min(2)).map(of_group).collect();
            prop_assert_eq!(sums, expected);
        }
    }

    #[test]
    fn groups_of_integers_sum_exactly(parts in prop::collection::vec(prop::collection::vec(edges(), 1..6), 1..8)) {
        let arrays: Vec<ArrayRef> = parts.iter().map(|part| integers(part)).collect();
        let call = Call::new(sum(OnOverflow::Null), &DataType::Int64);
        let sums = call.grouped(&arrays).unwrap();
        let of_group = |group: usize| {
            let parts = parts.iter().enumerate().filter(|(at, _)| at % 2 == group);
            let values = parts.flat_map(|(_, part)| part.iter().map(|v| v.map(i128::from)));
            exact(values).and_then(fits_integer)
        };
        let sums: Vec<_> = sums.as_primitive::<Int64Type>().iter().collect();
        let expected: Vec<_> = (0..parts.len().min(2)).map(of_group).collect();
        prop_assert_eq!(sums, expected);
    }

    #[test]
    fn frames_of_integers_and_floats_hold_only_their_rows(
        values in prop::collection::vec(edges(), 1..40),
        floats in prop::collection::vec(prop_oneof![
            Just(None),
            Just(Some(f64::INFINITY)),
            Just(Some(f64::NEG_INFINITY)),
            Just(Some(f64::NAN)),
            Just(Some(1e20)),
            (-100_i32..100).prop_map(|value| Some(f64::from(value))),
        ], 1..40),
        rows in 1_usize..6,
    ) {
        let call = Call::new(sum(OnOverflow::Null), &DataType::Int64);
        let sums = slide(&mut *call.sliding(), &integers(&values), rows);
        for (at, value) in sums.into_iter().enumerate() {
            let frame = values[at.saturating_sub(rows - 1)..=at].iter();
            let expected = exact(frame.map(|v| v.map(i128::from))).and_then(fits_integer);
            prop_assert_eq!(value, ScalarValue::Int64(expected));
        }
        let column: ArrayRef = Arc::new(Float64Array::from(floats.clone()));
        for (function, is_average) in [(sum(OnOverflow::Fail), false), (avg(false), true)] {
            let call = Call::new(function, &DataType::Float64);
            let sums = slide(&mut *call.sliding(), &column, rows);
            for (at, value) in sums.into_iter().enumerate() {
                let frame: Vec<f64> =
                    floats[at.saturating_sub(rows - 1)..=at].iter().flatten().copied().collect();
                let divisor = if is_average { frame.len() as f64 } else { 1.0 };
                check_float(&value, &frame, divisor)?;
            }
        }
    }

    #[test]
    fn a_total_survives_its_wide_form(bits in any::<i128>(), carries in any::<i64>()) {
        let total = Total { bits, carries };
        prop_assert_eq!(Total::from_wide(total.to_wide()), total);
    }
}

/// The value of each row's frame: itself and the rows before it.
fn slide(sums: &mut dyn Accumulator, values: &ArrayRef, rows: usize) -> Vec<ScalarValue> {
    (0..values.len())
        .map(|at| {
            sums.update_batch(&[values.slice(at, 1)]).unwrap();
            if let Some(leaving) = at.checked_sub(rows) {
                sums.retract_batch(&[values.slice(leaving, 1)]).unwrap();
            }
            sums.evaluate().unwrap()
        })
        .collect()
}

fn check_float(value: &ScalarValue, frame: &[f64], divisor: f64) -> Result<(), TestCaseError> {
    let ScalarValue::Float64(value) = value else { panic!("not a float: {value}") };
    let Some(value) = value else {
        prop_assert!(frame.is_empty());
        return Ok(());
    };
    let expected = frame.iter().sum::<f64>() / divisor;
    if expected.is_finite() {
        let size = frame.iter().map(|value| value.abs()).sum::<f64>();
        prop_assert!((value - expected).abs() <= size * 1e-14, "{value} is not {expected}");
    } else {
        prop_assert_eq!(value.is_nan(), expected.is_nan());
        prop_assert!(expected.is_nan() || *value == expected);
    }
    Ok(())
}

#[test]
fn normal_floats_are_the_same_array_and_odd_ones_have_one_form() {
    let plain: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN, 0.0, f64::INFINITY]));
    assert!(Arc::ptr_eq(&super::normal_float::normal(&plain), &plain));
    let odd = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 1);
    let values: ArrayRef =
        Arc::new(Float64Array::from(vec![Some(odd), Some(-0.0), None, Some(2.0)]));
    let normal = super::normal_float::normal(&values);
    let normal = normal.as_primitive::<Float64Type>();
    assert_eq!(normal.value(0).to_bits(), f64::NAN.to_bits());
    assert_eq!(normal.value(1).to_bits(), 0.0_f64.to_bits());
    assert!(normal.is_null(2));
    assert_eq!(normal.value(3), 2.0);
}
