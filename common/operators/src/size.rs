//! The bytes that the rows of a batch need, whatever the buffers hold that they are part of.

use std::sync::Arc;

use datafusion::arrow::array::{
    AnyDictionaryArray, Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, GenericListArray,
    MutableArrayData, OffsetSizeTrait, RecordBatch, RecordBatchOptions, StringViewArray,
    make_array,
};
use datafusion::arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;

const BYTES_OF_VIEW: usize = 16;

/// Bytes of a column that may be unused: buffers are allocated in multiples of 64.
const SLACK_BYTES: usize = 256;

/// The bytes that the rows of a batch need.
pub fn rows_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_bytes).sum()
}

/// The bytes that a value needs beyond those of its type: of a text, or the elements of a list.
pub fn value_bytes(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Dictionary(_, value) => value_bytes(value),
        ScalarValue::List(values) => column_bytes(&(Arc::clone(values) as ArrayRef)),
        ScalarValue::LargeList(values) => column_bytes(&(Arc::clone(values) as ArrayRef)),
        ScalarValue::Struct(values) => column_bytes(&(Arc::clone(values) as ArrayRef)),
        ScalarValue::Map(values) => column_bytes(&(Arc::clone(values) as ArrayRef)),
        other => other
            .try_as_str()
            .flatten()
            .map_or_else(|| other.size().saturating_sub(size_of::<ScalarValue>()), str::len),
    }
}

/// The bytes that a row of this type needs at least.
pub fn fixed_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => BYTES_OF_VIEW,
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        other => other.primitive_width().unwrap_or(4),
    }
}

/// The bytes that the rows of a column need.
pub(crate) fn column_bytes(column: &ArrayRef) -> usize {
    let (rows, nulls) = (column.len(), column.nulls().map_or(0, |_| column.len().div_ceil(8)));
    nulls
        + match column.data_type() {
            DataType::Boolean => rows.div_ceil(8),
            DataType::Utf8View => view_bytes::<StringViewType>(column),
            DataType::BinaryView => view_bytes::<BinaryViewType>(column),
            DataType::Utf8 => offset_bytes(column.as_string::<i32>().value_offsets()),
            DataType::LargeUtf8 => offset_bytes(column.as_string::<i64>().value_offsets()),
            DataType::Binary => offset_bytes(column.as_binary::<i32>().value_offsets()),
            DataType::LargeBinary => offset_bytes(column.as_binary::<i64>().value_offsets()),
            DataType::Null => 0,
            DataType::List(_) => list_bytes(column.as_list::<i32>()),
            DataType::LargeList(_) => list_bytes(column.as_list::<i64>()),
            DataType::Map(..) => {
                let map = column.as_map();
                let entries = map.entries().columns();
                values_bytes(map.value_offsets(), entries)
            }
            DataType::FixedSizeList(..) => {
                let list = column.as_fixed_size_list();
                let start = usize::try_from(list.value_offset(0)).unwrap_or(0);
                let length = usize::try_from(list.value_length()).unwrap_or(0) * rows;
                column_bytes(&list.values().slice(start, length))
            }
            DataType::Struct(_) => column.as_struct().columns().iter().map(column_bytes).sum(),
            DataType::Dictionary(..) => dictionary_bytes(column.as_any_dictionary()),
            other => match other.primitive_width() {
                Some(width) => rows * width,
                None => nested_bytes(column),
            },
        }
}

fn view_bytes<T: ByteViewType>(column: &ArrayRef) -> usize {
    let views = column.as_byte_view::<T>();
    views.len() * BYTES_OF_VIEW + views.total_buffer_bytes_used()
}

fn offset_bytes<O: Copy + TryInto<usize> + std::ops::Sub<Output = O>>(offsets: &[O]) -> usize {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return 0 };
    size_of_val(offsets) + (*last - *first).try_into().unwrap_or(0)
}

fn list_bytes<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> usize {
    values_bytes(list.value_offsets(), std::slice::from_ref(list.values()))
}

/// The offsets of lists, and those of their values that are between them.
fn values_bytes<O: OffsetSizeTrait>(offsets: &[O], values: &[ArrayRef]) -> usize {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return 0 };
    let (first, last) = (first.as_usize(), last.as_usize());
    let values = values.iter().map(|values| column_bytes(&values.slice(first, last - first)));
    size_of_val(offsets) + values.sum::<usize>()
}

/// The keys, and for each a word of the average length, but no word twice.
fn dictionary_bytes(dictionary: &dyn AnyDictionaryArray) -> usize {
    let (keys, words) = (dictionary.keys(), dictionary.values());
    let (rows, all) = (keys.len(), column_bytes(words));
    rows * keys.data_type().primitive_width().unwrap_or(8)
        + all.min(all.div_ceil(words.len().max(1)) * rows)
}

fn nested_bytes(column: &ArrayRef) -> usize {
    let held = || column.get_array_memory_size();
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| held())
}

/// The same rows, with a copy of those columns that hold much more than the rows need: capacity
/// for rows that never came, or rows and text of other batches.
///
/// # Errors
/// When Arrow refuses the columns.
pub fn compacted(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch.columns().iter().all(|column| !has_slack(column)) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(compacted_column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn has_slack(column: &ArrayRef) -> bool {
    // What is small enough in any case needs no pass over its views.
    let held = column.get_buffer_memory_size();
    held > SLACK_BYTES && held > 2 * column_bytes(column) + SLACK_BYTES
}

fn compacted_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_slack(column) {
        return Ok(ArrayRef::clone(column));
    }
    let data = column.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    let mut copy = make_array(with_own_texts(copy.freeze())?);
    copy.shrink_to_fit();
    Ok(copy)
}

/// The same values, those inside of others too, views without buffers that they share.
fn with_own_texts(data: ArrayData) -> Result<ArrayData, ArrowError> {
    match data.data_type() {
        DataType::Utf8View => Ok(StringViewArray::from(data).gc().into_data()),
        DataType::BinaryView => Ok(BinaryViewArray::from(data).gc().into_data()),
        _ if data.child_data().is_empty() => Ok(data),
        _ => {
            let parts = data.child_data().iter().cloned().map(with_own_texts);
            let parts = parts.collect::<Result<_, _>>()?;
            data.into_builder().child_data(parts).build()
        }
    }
}

/// The rows in pieces that need no more than `bytes_max` each, or are single rows, or don't get
/// smaller by being cut.
pub fn pieces(batch: RecordBatch, bytes_max: usize) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut rest = vec![batch];
    while let Some(batch) = rest.pop() {
        let (rows, bytes) = (batch.num_rows(), rows_bytes(&batch));
        if bytes <= bytes_max || rows <= 1 {
            pieces.push(batch);
            continue;
        }
        // Rows of one width are cut into equal pieces; others again.
        let rows_of_piece = rows.div_ceil(bytes.div_ceil(bytes_max)).min(rows - 1).max(1);
        let starts: Vec<usize> = (0..rows).step_by(rows_of_piece).collect();
        let piece = |start: usize| batch.slice(start, rows_of_piece.min(rows - start));
        if rows_bytes(&piece(0)) >= bytes {
            pieces.push(batch);
            continue;
        }
        rest.extend(starts.into_iter().rev().map(piece));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        BooleanArray, DictionaryArray, FixedSizeListArray, Int32Array, Int64Array, ListArray,
        NullArray, StringArray, StructArray,
    };

    use datafusion::arrow::buffer::OffsetBuffer;
    use datafusion::arrow::datatypes::{Field, Int32Type, Int64Type};
    use datafusion::common::utils::memory::get_record_batch_memory_size;

    use super::*;

    fn of(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("c", column)]).expect("one column")
    }

    fn columns(rows: i64) -> Vec<ArrayRef> {
        let text = |n: i64| (n % 3 != 0).then(|| format!("a value that is not inline {n}"));
        let lists = (0..rows).map(|n| Some(vec![Some(n), None, Some(1)]));
        let texts: ArrayRef = Arc::new((0..rows).map(text).collect::<StringViewArray>());
        let field = Arc::new(Field::new("text", DataType::Utf8View, true));
        let each = OffsetBuffer::from_lengths(vec![1; rows as usize]);
        let words: DictionaryArray<Int32Type> =
            (0..rows).map(|n| ["red", "green", "blue"][(n % 3) as usize]).collect();
        vec![
            Arc::new(Int64Array::from_iter_values(0..rows)),
            Arc::new((0..rows).map(|n| (n % 2 == 0).then_some(n as i32)).collect::<Int32Array>()),
            Arc::new((0..rows).map(|n| Some(n % 2 == 0)).collect::<BooleanArray>()),
            Arc::new((0..rows).map(text).collect::<StringArray>()),
            Arc::clone(&texts),
            Arc::new(StructArray::from(vec![(Arc::clone(&field), Arc::clone(&texts))])),
            Arc::new(ListArray::new(field, each, texts, None)),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
            Arc::new(words),
            Arc::new(NullArray::new(rows as usize)),
        ]
    }

    #[test]
    fn compacted_rows_are_the_same_rows_and_hold_what_they_need() {
        for column in columns(8192) {
            let few = of(column.slice(5000, 10));
            let small = compacted(few.clone()).expect("compacted");
            assert_eq!(small, few);
            let (held, needed) = (get_record_batch_memory_size(&small), rows_bytes(&few));
            // A slice of a dictionary's keys has all its words.
            if !matches!(column.data_type(), DataType::Dictionary(..)) {
                assert!(held <= 2 * needed + 512, "{}: {held} {needed}", column.data_type());
            }
            let whole = compacted(of(Arc::clone(&column))).expect("compacted");
            assert!(whole.column(0).to_data().ptr_eq(&column.to_data()), "{}", column.data_type());
        }
    }

    #[test]
    fn pieces_are_the_rows_in_order_and_no_longer_than_asked_for() {
        for column in columns(3000) {
            let batch = of(column);
            let pieces = pieces(batch.clone(), 4096);
            let mut start = 0;
            for piece in &pieces {
                assert_eq!(*piece, batch.slice(start, piece.num_rows()));
                assert!(rows_bytes(piece) <= 4096 || piece.num_rows() == 1);
                start += piece.num_rows();
            }
            assert_eq!(start, 3000);
        }
    }

    #[test]
    fn a_slice_of_lists_needs_its_own_values() {
        let lists = |rows: i64| (0..rows).map(|n| Some(vec![Some(n), None, Some(1)]));
        let list: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists(8000)));
        let field = |name: &str| Arc::new(Field::new(name, list.data_type().clone(), true));
        let nested: ArrayRef = Arc::new(StructArray::from(vec![(field("l"), Arc::clone(&list))]));
        let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(
            Arc::new(Field::new("item", list.data_type().clone(), true)),
            2,
            Arc::clone(&list),
            None,
        ));
        for column in [list, nested, fixed] {
            let whole = of(column);
            let (bytes, rows) = (rows_bytes(&whole), whole.num_rows());
            let part = rows_bytes(&whole.slice(rows / 2, rows / 100));
            assert!(part.abs_diff(bytes / 100) < bytes / 1000, "{part} of {bytes}");
            assert!(pieces(whole, bytes / 10).len() < 15);
        }
    }

    #[test]
    fn rows_of_one_large_dictionary_are_not_cut_into_single_rows() {
        let words = (0..1000).map(|n| format!("a rather long word number {n}"));
        let values: DictionaryArray<Int32Type> =
            words.collect::<Vec<_>>().iter().map(String::as_str).collect();
        let batch = of(Arc::new(values));
        let bytes = rows_bytes(&batch);
        assert!(pieces(batch, bytes / 10).len() < 15);
    }

    #[test]
    fn one_long_value_is_a_piece_of_its_own() {
        let values = ["a", "b", &"x".repeat(100_000), "c", "d"];
        let batch = of(Arc::new(StringArray::from_iter_values(values)));
        let rows: Vec<_> = pieces(batch, 1000).iter().map(RecordBatch::num_rows).collect();
        assert!(rows.contains(&1) && rows.iter().sum::<usize>() == 5, "{rows:?}");
    }
}
