//! Messages as bytes that depend on nothing but the message.
//!
//! prost writes a map in the order of Rust's hash table, which differs from one table to the next.
//! Schemas and fields carry their metadata in such maps, so the same plan would have many
//! encodings, and as many hashes. Here the entries of a map are put in the order of their keys.
//!
//! The messages are DataFusion's and can't be walked by type, so maps are found by their shape on
//! the wire: neighbouring fields of one of [`MAP_TAGS`] that each hold a text key without control
//! characters, then a text value. What looks like a map by chance is found out: the sorted bytes
//! must decode to the very message, else the bytes stay as they were.

use prost::Message;

/// The field numbers of the maps in DataFusion's schemas and fields.
const MAP_TAGS: [u64; 2] = [2, 5];

/// The wire type of texts, bytes and messages.
const LENGTH_DELIMITED: u64 = 2;

/// Encodes a message; equal messages have equal bytes.
pub(crate) fn encode<M: Message + Default + PartialEq>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut sorted = bytes.clone();
    sort_maps(&mut sorted);
    let is_same = sorted == bytes || M::decode(&*sorted).is_ok_and(|decoded| decoded == *message);
    if is_same { sorted } else { bytes }
}

/// The greatest number of messages within messages that the bytes may hold. A text that could be a
/// message counts as one, so this is an upper bound.
pub(crate) fn depth(bytes: &[u8]) -> usize {
    let mut deepest = 0;
    let mut waiting = vec![(0..bytes.len(), 1)];
    while let Some((range, depth)) = waiting.pop() {
        deepest = deepest.max(depth);
        let fields = fields(bytes, range);
        waiting.extend(fields.into_iter().filter_map(|field| Some((field.payload?, depth + 1))));
    }
    deepest
}

type Range = std::ops::Range<usize>;

/// A field of a message, as it lies on the wire.
struct WireField {
    tag: u64,
    whole: Range,
    /// The kind of value in a length-delimited field.
    payload: Option<Range>,
}

/// Sorts the entries of every map.
fn sort_maps(bytes: &mut [u8]) {
    let mut waiting: Vec<Range> = std::iter::once(0..bytes.len()).collect();
    while let Some(range) = waiting.pop() {
        let fields = fields(bytes, range);
        for run in fields.chunk_by(|one, next| one.tag == next.tag) {
            if !sort_map(bytes, run) {
                waiting.extend(run.iter().filter_map(|field| field.payload.clone()));
            }
        }
    }
}

/// Sorts neighbouring fields of one tag by their keys; false when they are no map.
fn sort_map(bytes: &mut [u8], run: &[WireField]) -> bool {
    if run.len() < 2 || !MAP_TAGS.contains(&run[0].tag) {
        return false;
    }
    let entry = |field: &WireField| {
        let key = map_key(bytes, field.payload.clone()?)?.to_owned();
        Some((key, bytes[field.whole.clone()].to_vec()))
    };
    let Some(mut entries) = run.iter().map(entry).collect::<Option<Vec<_>>>() else {
        return false;
    };
    entries.sort();
    let mut at = run[0].whole.start;
    for (_, entry) in entries {
        bytes[at..at + entry.len()].copy_from_slice(&entry);
        at += entry.len();
    }
    true
}

/// The key, when these bytes are an entry of a map of texts.
fn map_key(bytes: &[u8], entry: Range) -> Option<&str> {
    let fields = fields(bytes, entry.clone());
    let [key, value] = fields.as_slice() else { return None };
    let is_whole = value.whole.end == entry.end;
    let text = |field: &WireField| std::str::from_utf8(&bytes[field.payload.clone()?]).ok();
    let (key_text, _) = (text(key)?, text(value)?);
    let is_entry = is_whole && (key.tag, value.tag) == (1, 2);
    (is_entry && !key_text.contains(|c: char| c.is_control())).then_some(key_text)
}

/// The fields of a message up to the first that can't be one: then the bytes are no message.
/// Neighbouring numbers are one field: a long text may look like millions of them.
fn fields(bytes: &[u8], range: Range) -> Vec<WireField> {
    let mut fields: Vec<WireField> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(field) = field(bytes, at, range.end) else { return Vec::new() };
        at = field.whole.end;
        match fields.last_mut() {
            Some(last) if last.payload.is_none() && field.payload.is_none() => last.whole.end = at,
            _ => fields.push(field),
        }
    }
    fields
}

fn field(bytes: &[u8], start: usize, end: usize) -> Option<WireField> {
    let (key, at) = varint(bytes, start, end)?;
    let (tag, wire_type) = (key >> 3, key & 7);
    let fixed = |length: usize| (at + length <= end).then_some(at + length);
    let mut payload = None;
    let whole_end = match wire_type {
        0 => varint(bytes, at, end)?.1,
        1 => fixed(8)?,
        LENGTH_DELIMITED => {
            let (length, from) = varint(bytes, at, end)?;
            let to = from.checked_add(usize::try_from(length).ok()?).filter(|to| *to <= end)?;
            payload = Some(from..to);
            to
        }
        5 => fixed(4)?,
        _ => return None,
    };
    (tag > 0).then_some(WireField { tag, whole: start..whole_end, payload })
}

/// A varint and where it ends.
fn varint(bytes: &[u8], start: usize, end: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (shift, at) in (0..64).step_by(7).zip(start..end) {
        value |= u64::from(bytes[at] & 0x7f) << shift;
        if bytes[at] < 0x80 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion_proto::protobuf;

    use super::*;

    fn schema() -> protobuf::Schema {
        let entries = |name: &str| -> HashMap<String, String> {
            (0..9).map(|n| (format!("{name}{n}"), format!("value\n{n}"))).collect()
        };
        let nested = Field::new("item", DataType::Int8, true).with_metadata(entries("nested"));
        let fields = vec![
            Field::new("k", DataType::Int64, false).with_metadata(entries("field")),
            Field::new("l", DataType::List(nested.into()), true),
        ];
        let schema = Schema::new_with_metadata(fields, entries("schema"));
        (&schema).try_into().unwrap()
    }

    #[test]
    fn metadata_is_in_the_order_of_its_keys_whatever_the_hash_table() {
        let encodings: BTreeSet<Vec<u8>> = (0..16).map(|_| encode(&schema())).collect();
        assert_eq!(encodings.len(), 1);
        let bytes = encodings.first().unwrap();
        assert_eq!(protobuf::Schema::decode(&**bytes).unwrap(), schema());
        let other: BTreeSet<Vec<u8>> = (0..16).map(|_| schema().encode_to_vec()).collect();
        assert!(other.len() > 1, "the hash table decides without it");
    }

    #[test]
    fn a_text_that_looks_like_many_numbers_is_one_field() {
        assert_eq!(fields(&[b'x'; 1000], 0..1000).len(), 1);
        assert!(fields(&[b'x'; 1001], 0..1001).is_empty(), "a number without its value");
    }

    #[test]
    fn what_looks_like_a_map_and_is_none_stays_as_it_is() {
        #[derive(Clone, PartialEq, Message)]
        struct Pair {
            #[prost(string, tag = "1")]
            one: String,
            #[prost(string, tag = "2")]
            other: String,
        }
        #[derive(Clone, PartialEq, Message)]
        struct Pairs {
            #[prost(message, repeated, tag = "2")]
            pairs: Vec<Pair>,
        }
        let pair = |one: &str| Pair { one: one.to_owned(), other: "x".to_owned() };
        let pairs = Pairs { pairs: vec![pair("z"), pair("a")] };
        assert_eq!(Pairs::decode(&*encode(&pairs)).unwrap(), pairs);
    }

    #[test]
    fn depth_is_the_number_of_messages_within_messages() {
        let mut bytes = vec![0x08, 0x01];
        for _ in 0..9 {
            let length = u8::try_from(bytes.len()).unwrap();
            bytes.splice(0..0, [0x0a, length]);
        }
        assert_eq!(depth(&bytes), 10);
    }
}
