//! Functions of arrays whose answer for a row depends on that row alone.
//!
//! DataFusion's `map` pairs the keys of one row with the values of another where their lengths differ,
//! `array_sort` sorts every row in the order that the first row asks for, `array_has_all` and `array_has_any`
//! forget nulls where no row has an element to look for, and a null array is found where an empty one stands.
//! `array_has` is answered by the function alone: DataFusion makes an `IN` list of a written array, which has
//! another answer for null.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt64Array, make_comparator,
    new_null_array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{SortOptions, cast};
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_nested::array_has::{
    array_has_all_udf, array_has_any_udf, array_has_udf,
};
use datafusion::functions_nested::map::map_udf;
use datafusion::functions_nested::position::{array_position_udf, array_positions_udf};
use datafusion::functions_nested::sort::array_sort_udf;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::wrapped::{over_columns, wrapped};

/// The functions of this module, over DataFusion's of the same name.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        wrapped(map_udf(), map),
        wrapped(array_sort_udf(), array_sort),
        wrapped(array_has_udf(), ScalarUDF::invoke_with_args),
        wrapped(array_has_all_udf(), array_has_several),
        wrapped(array_has_any_udf(), array_has_several),
        wrapped(array_position_udf(), array_position),
        wrapped(array_positions_udf(), array_positions),
    ]
}

fn map(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    if let [keys, values] = args.args.as_slice() {
        let keys = keys.to_array(args.number_rows)?;
        let values = values.to_array(args.number_rows)?;
        if let (Some(of_keys), Some(of_values)) = (lengths(&keys)?, lengths(&values)?) {
            for (keys, values) in of_keys.iter().zip(of_values.iter()) {
                if let (Some(keys), Some(values)) = (keys, values)
                    && keys != values
                {
                    return exec_err!("`map` got {keys} keys and {values} values for one map");
                }
            }
        }
    }
    // Of null lists that are constants DataFusion makes an empty map.
    over_columns(inner, args)
}

/// The number of elements of each list; none if the values are no lists.
fn lengths(lists: &ArrayRef) -> Result<Option<Int64Array>> {
    if !is_list(lists.data_type()) && !matches!(lists.data_type(), DataType::FixedSizeList(..)) {
        return Ok(None);
    }
    let lengths = cast(&length(lists.as_ref())?, &DataType::Int64)?;
    Ok(Some(lengths.as_primitive::<Int64Type>().clone()))
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_))
}

/// `array_sort(list, order, nulls)`: one call for each order that a row of the batch asks for.
fn array_sort(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let rows = args.number_rows;
    let has_column = args.args.iter().skip(1).any(|arg| matches!(arg, ColumnarValue::Array(_)));
    if !has_column || rows == 0 {
        return inner.invoke_with_args(args);
    }
    let asked = args.args[1..].iter().map(|arg| Ok(cast(&arg.to_array(rows)?, &DataType::Utf8)?));
    let asked: Vec<ArrayRef> = asked.collect::<Result<_>>()?;
    let order_of = |row: usize| -> Option<Vec<&str>> {
        let texts = asked
            .iter()
            .map(|texts| texts.is_valid(row).then(|| texts.as_string::<i32>().value(row)));
        texts.collect()
    };
    let mut orders: Vec<Vec<&str>> = (0..rows).filter_map(order_of).collect();
    orders.sort_unstable();
    orders.dedup();

    let mut sorted = new_null_array(args.return_type(), rows);
    for order in orders {
        let mut call = args.clone();
        for (arg, text) in call.args.iter_mut().skip(1).zip(&order) {
            *arg = ColumnarValue::Scalar(ScalarValue::from(*text));
        }
        let asks = (0..rows).map(|row| order_of(row).as_ref() == Some(&order));
        let asks = BooleanArray::from_iter(asks.map(Some));
        let lists = inner.invoke_with_args(call)?.into_array(rows)?;
        sorted = zip(&asks, &lists, &sorted)?;
    }
    Ok(ColumnarValue::Array(sorted))
}

/// `array_has_all` and `array_has_any`: null where either side is.
fn array_has_several(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let mut nulls = None;
    for arg in &args.args {
        match arg {
            ColumnarValue::Scalar(value) if value.is_null() => {
                return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
            }
            ColumnarValue::Scalar(_) => {}
            ColumnarValue::Array(lists) => {
                nulls = NullBuffer::union(nulls.as_ref(), lists.logical_nulls().as_ref());
            }
        }
    }
    let rows = args.number_rows;
    let found = inner.invoke_with_args(args)?;
    if nulls.is_none() {
        return Ok(found);
    }
    let found = found.into_array(rows)?;
    let found = found.as_boolean();
    let nulls = NullBuffer::union(found.nulls(), nulls.as_ref());
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(found.values().clone(), nulls))))
}

/// `array_position(list, element, start)`: the first place from `start` on, 1 the first.
fn array_position(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let Some(nested) = Nested::of(&args)? else {
        // With a constant null to start from DataFusion's fails, even where the list is null.
        let has_start = args.args.len() > 2;
        return if has_start { over_columns(inner, args) } else { inner.invoke_with_args(args) };
    };
    let start = match args.args.get(2) {
        Some(start) => cast(&start.to_array(args.number_rows)?, &DataType::Int64)?,
        None => Arc::new(Int64Array::from_value(1, args.number_rows)),
    };
    let start = start.as_primitive::<Int64Type>();
    let mut places = vec![];
    for row in 0..args.number_rows {
        let Some(found) = nested.places(row) else {
            places.push(None);
            continue;
        };
        let from = if start.is_null(row) { 0 } else { start.value(row) };
        let Some(from) = u64::try_from(from).ok().filter(|from| *from > 0) else {
            return exec_err!("`array_position` begins at an element, 1 the first, not at {from}");
        };
        places.push(found.into_iter().find(|place| *place >= from));
    }
    Ok(ColumnarValue::Array(Arc::new(UInt64Array::from(places))))
}

/// `array_positions(list, element)`: all places, 1 the first.
fn array_positions(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let Some(nested) = Nested::of(&args)? else { return inner.invoke_with_args(args) };
    let places = (0..args.number_rows)
        .map(|row| nested.places(row).map(|places| places.into_iter().map(Some)));
    let lists = ListArray::from_iter_primitive::<UInt64Type, _, _>(places);
    Ok(ColumnarValue::Array(cast(&lists, args.return_type())?))
}

/// Lists whose elements are lists or structs themselves, and the element to look for in each.
struct Nested {
    /// Lists by row, with true for each element that is the one looked for; none where the list is
    /// null.
    is_equal: Vec<Option<Vec<bool>>>,
}

impl Nested {
    /// None where the elements are plain.
    fn of(args: &ScalarFunctionArgs) -> Result<Option<Self>> {
        let [lists, element, ..] = args.args.as_slice() else { return Ok(None) };
        if !element.data_type().is_nested() || !is_list(&lists.data_type()) {
            return Ok(None);
        }
        let lists = lists.to_array(args.number_rows)?;
        let elements = element.to_array(args.number_rows)?;
        let is_equal = (0..args.number_rows).map(|row| {
            let Some(list) = list_at(&lists, row) else { return Ok(None) };
            let compare = make_comparator(&list, &elements, SortOptions::default())?;
            let is_equal = (0..list.len()).map(|at| compare(at, row) == Ordering::Equal);
            Ok(Some(is_equal.collect()))
        });
        Ok(Some(Self { is_equal: is_equal.collect::<Result<_>>()? }))
    }

    /// The places of the element in the list of a row; none where the list is null.
    fn places(&self, row: usize) -> Option<Vec<u64>> {
        let is_equal = self.is_equal[row].as_ref()?;
        Some((1..).zip(is_equal).filter_map(|(place, is)| is.then_some(place)).collect())
    }
}

/// The elements of a list; none where it is null.
fn list_at(lists: &ArrayRef, row: usize) -> Option<ArrayRef> {
    if lists.is_null(row) {
        return None;
    }
    Some(match lists.data_type() {
        DataType::LargeList(_) => lists.as_list::<i64>().value(row),
        _ => lists.as_list::<i32>().value(row),
    })
}
