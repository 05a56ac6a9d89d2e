//! One NaN, one zero and one interval of each length inside of lists, structs and maps.
//!
//! `normal_nested(x)` is `x` with [`super::normal_float`] or
//! [`super::normal_interval`] of everything in it. The driver puts it where such values are
//! compared.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    StructArray,
};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::ScalarUDF;

use super::same_type::Kind;
use super::{normal_float, normal_interval};

const KIND: Kind = Kind {
    name: "normal_nested",
    takes: "one list, struct or map with floats or intervals",
    takes_type: is_nested,
    apply: normal,
};

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    KIND.function()
}

/// Returns true if a function is this one.
pub fn is_normal_nested(function: &ScalarUDF) -> bool {
    KIND.is_of(function)
}

/// Returns true for lists, structs and maps with floats or intervals in them.
pub fn is_nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => is_odd(field),
        DataType::Struct(fields) => fields.iter().any(is_odd),
        _ => false,
    }
}

fn is_odd(field: &FieldRef) -> bool {
    let of = field.data_type();
    normal_float::is_float(of) || normal_interval::is_interval(of) || is_nested(of)
}

/// The same values with one form each of what is in them; the same array where it has no other.
pub fn normal(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::List(field) => list::<i32>(values, field),
        DataType::LargeList(field) => list::<i64>(values, field),
        DataType::FixedSizeList(field, length) => {
            let lists = values.as_fixed_size_list();
            rebuilt(values, lists.values(), |items| {
                let nulls = lists.nulls().cloned();
                Arc::new(FixedSizeListArray::new(Arc::clone(field), *length, items, nulls))
            })
        }
        DataType::Map(field, is_ordered) => {
            let maps = values.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            rebuilt(values, &entries, |entries| {
                let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
                let entries = entries.as_struct().clone();
                Arc::new(MapArray::new(Arc::clone(field), offsets, entries, nulls, *is_ordered))
            })
        }
        DataType::Struct(fields) => {
            let structs = values.as_struct();
            let columns: Vec<ArrayRef> = structs.columns().iter().map(of_any_type).collect();
            if columns.iter().zip(structs.columns()).all(|(one, other)| Arc::ptr_eq(one, other)) {
                return Arc::clone(values);
            }
            Arc::new(StructArray::new(fields.clone(), columns, structs.nulls().cloned()))
        }
        _ => Arc::clone(values),
    }
}

fn list<O: OffsetSizeTrait>(values: &ArrayRef, field: &FieldRef) -> ArrayRef {
    let lists = values.as_list::<O>();
    rebuilt(values, lists.values(), |items| {
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        Arc::new(GenericListArray::new(Arc::clone(field), offsets, items, nulls))
    })
}

/// The values around normal ones of their items, unless these are normal.
fn rebuilt(
    values: &ArrayRef,
    items: &ArrayRef,
    around: impl FnOnce(ArrayRef) -> ArrayRef,
) -> ArrayRef {
    let normal = of_any_type(items);
    if Arc::ptr_eq(&normal, items) { Arc::clone(values) } else { around(normal) }
}

fn of_any_type(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        of if normal_float::is_float(of) => normal_float::normal(values),
        of if normal_interval::is_interval(of) => normal_interval::normal(values),
        _ => normal(values),
    }
}
