//! Window functions: for every row the partition is built, sorted and cut to the frame anew.

use std::cmp::Ordering;

use super::scope::{Scope, WindowRows, directed};
use super::{Evaluated, Oracle, Stop, aggregate};
use crate::calendar::DAY_NS;
use crate::tree::{Bound, Frame, FrameUnit, Window};
use crate::value::{Row, Value};

/// The partition of a row, in order.
struct Partition {
    /// Places of the rows among those of the SELECT.
    rows: Vec<usize>,
    /// The order keys of the rows.
    keys: Vec<Row>,
    /// The place of the row at hand in `rows`.
    at: usize,
}

impl Oracle<'_> {
    pub(crate) fn window(&mut self, window: &Window, scope: &Scope<'_>) -> Evaluated<Value> {
        let (rows, at) = scope.window.ok_or(Stop::NotCovered("a window outside of items"))?;
        let partition = self.partition(window, rows, at)?;
        if window.is_aggregate {
            let (start, end) = frame(window, &partition)?;
            let mut arguments = Vec::new();
            for place in start..end {
                let scope = rows.scope(partition.rows[place]);
                if let Some(filter) = &window.filter
                    && self.truth(filter, &scope)? != Some(true)
                {
                    continue;
                }
                arguments.push(self.arguments(window, &scope)?);
            }
            return aggregate::fold(window.function, &arguments, &window.of);
        }
        match window.function {
            "first_value" | "last_value" | "nth_value" => self.nth(window, rows, &partition),
            "lag" | "lead" => self.shifted(window, rows, &partition),
            _ => self.ranked(window, rows, &partition),
        }
    }

    fn arguments(&mut self, window: &Window, scope: &Scope<'_>) -> Evaluated<Row> {
        window.arguments.iter().map(|argument| self.expr(argument, scope)).collect()
    }

    fn partition(
        &mut self,
        window: &Window,
        rows: &WindowRows<'_>,
        at: usize,
    ) -> Evaluated<Partition> {
        let keys_of = |oracle: &mut Self, at: usize| -> Evaluated<(Row, Row)> {
            let scope = rows.scope(at);
            let partition: Evaluated<Row> =
                window.partition.iter().map(|key| oracle.expr(key, &scope)).collect();
            let order: Evaluated<Row> =
                window.order.iter().map(|(key, _)| oracle.expr(key, &scope)).collect();
            Ok((partition?, order?))
        };
        let (own, _) = keys_of(self, at)?;
        let mut members = Vec::new();
        for other in 0..rows.rows.len() {
            let (partition, order) = keys_of(self, other)?;
            if partition.iter().zip(&own).all(|(left, right)| left.same(right)) {
                members.push((other, order));
            }
        }
        members.sort_by(|(_, left), (_, right)| compare_keys(window, left, right));
        let place = members.iter().position(|(other, _)| *other == at).expect("its own partition");
        let (rows, keys) = members.into_iter().unzip();
        Ok(Partition { rows, keys, at: place })
    }

    /// `first_value`, `last_value`, `nth_value`: of the frame.
    fn nth(
        &mut self,
        window: &Window,
        rows: &WindowRows<'_>,
        partition: &Partition,
    ) -> Evaluated<Value> {
        let (start, end) = frame(window, partition)?;
        let mut values = Vec::new();
        for place in start..end {
            let value = self.expr(&window.arguments[0], &rows.scope(partition.rows[place]))?;
            if !(window.ignores_nulls && value.is_null()) {
                values.push(value);
            }
        }
        let found = match window.function {
            "first_value" => values.first(),
            "last_value" => values.last(),
            _ => {
                let place = self.constant(window, 1)?;
                values.get(usize::try_from(place - 1).unwrap_or(usize::MAX))
            }
        };
        Ok(found.cloned().unwrap_or(Value::Null))
    }

    /// `lag` and `lead`: of the partition, whatever the frame.
    fn shifted(
        &mut self,
        window: &Window,
        rows: &WindowRows<'_>,
        partition: &Partition,
    ) -> Evaluated<Value> {
        let mut left = if window.arguments.len() > 1 { self.constant(window, 1)? } else { 1 };
        let mut place = partition.at;
        if left == 0 {
            return self.expr(&window.arguments[0], &rows.scope(partition.rows[place]));
        }
        loop {
            let next = match window.function {
                "lag" => place.checked_sub(1),
                _ => Some(place + 1).filter(|place| *place < partition.rows.len()),
            };
            let Some(next) = next else {
                return match window.arguments.get(2) {
                    Some(default) => self.expr(default, &rows.scope(partition.rows[partition.at])),
                    None => Ok(Value::Null),
                };
            };
            place = next;
            let value = self.expr(&window.arguments[0], &rows.scope(partition.rows[place]))?;
            left -= i128::from(!(window.ignores_nulls && value.is_null()));
            if left == 0 {
                return Ok(value);
            }
        }
    }

    fn ranked(
        &mut self,
        window: &Window,
        _: &WindowRows<'_>,
        partition: &Partition,
    ) -> Evaluated<Value> {
        let (count, at) = (partition.rows.len(), partition.at);
        let (first, end) = peers(window, partition, at);
        Ok(match window.function {
            "row_number" => Value::Int(at as i128 + 1),
            "rank" => Value::Int(first as i128 + 1),
            "dense_rank" => Value::Int(group_of(window, partition, at) as i128 + 1),
            "percent_rank" if count == 1 => Value::Float(0.0),
            "percent_rank" => Value::Float(first as f64 / (count - 1) as f64),
            "cume_dist" => Value::Float(end as f64 / count as f64),
            "ntile" => Value::Int(tile(self.constant(window, 0)?, count as i128, at as i128)),
            _ => return Err(Stop::NotCovered("this window function")),
        })
    }

    fn constant(&mut self, window: &Window, argument: usize) -> Evaluated<i128> {
        match self.expr(&window.arguments[argument], &Scope::of(&[], &[], None))? {
            Value::Int(number) => Ok(number),
            _ => Err(Stop::NotCovered("an argument that is no number")),
        }
    }
}

/// The first `count % tiles` tiles have a row more than the others.
fn tile(tiles: i128, count: i128, at: i128) -> i128 {
    let (size, larger) = (count / tiles, count % tiles);
    let in_larger = larger * (size + 1);
    if at < in_larger { at / (size + 1) + 1 } else { larger + (at - in_larger) / size + 1 }
}

fn compare_keys(window: &Window, left: &Row, right: &Row) -> Ordering {
    let keys = window.order.iter().enumerate();
    let keys = keys.map(|(at, (_, direction))| directed(&left[at], &right[at], *direction));
    keys.fold(Ordering::Equal, Ordering::then)
}

/// The rows with the same order keys: from, until.
fn peers(window: &Window, partition: &Partition, at: usize) -> (usize, usize) {
    let is_peer =
        |other: &usize| compare_keys(window, &partition.keys[*other], &partition.keys[at]).is_eq();
    let first = (0..=at).rev().take_while(is_peer).last().unwrap_or(at);
    let last = (at..partition.keys.len()).take_while(is_peer).last().unwrap_or(at);
    (first, last + 1)
}

/// The number of the group of peers of a row.
fn group_of(window: &Window, partition: &Partition, at: usize) -> usize {
    let differs = |place: &usize| {
        compare_keys(window, &partition.keys[place - 1], &partition.keys[*place]).is_ne()
    };
    (1..=at).filter(differs).count()
}

/// The rows of the frame: from, until.
fn frame(window: &Window, partition: &Partition) -> Evaluated<(usize, usize)> {
    let default = Frame {
        unit: FrameUnit::Range,
        start: Bound::UnboundedPreceding,
        end: if window.order.is_empty() { Bound::UnboundedFollowing } else { Bound::CurrentRow },
    };
    let frame = window.frame.unwrap_or(default);
    let start = bound(window, partition, frame.unit, frame.start, false)?;
    let end = bound(window, partition, frame.unit, frame.end, true)?;
    Ok((start, end.max(start)))
}

/// The place of a bound: of its first row, or behind its last.
fn bound(
    window: &Window,
    partition: &Partition,
    unit: FrameUnit,
    bound: Bound,
    is_end: bool,
) -> Evaluated<usize> {
    let count = partition.rows.len();
    let (at, (first, end)) = (partition.at, peers(window, partition, partition.at));
    let offset = match bound {
        Bound::UnboundedPreceding => return Ok(0),
        Bound::UnboundedFollowing => return Ok(count),
        Bound::CurrentRow => 0,
        Bound::Preceding(of) => -i64::from(of),
        Bound::Following(of) => i64::from(of),
    };
    let clamped = |place: i64| usize::try_from(place.max(0)).map_or(count, |at| at.min(count));
    match unit {
        FrameUnit::Rows => Ok(clamped(at as i64 + offset + i64::from(is_end))),
        _ if bound == Bound::CurrentRow => Ok(if is_end { end } else { first }),
        FrameUnit::Groups => {
            let wanted = group_of(window, partition, at) as i64 + offset;
            let before = |place: &usize| {
                let group = group_of(window, partition, *place) as i64;
                if is_end { group <= wanted } else { group < wanted }
            };
            Ok((0..count).take_while(before).count())
        }
        FrameUnit::Range => range_bound(window, partition, offset, is_end, (first, end)),
    }
}

/// The place of a bound by value. A null is as far from every value as from nothing: its frame is
/// its peers.
fn range_bound(
    window: &Window,
    partition: &Partition,
    offset: i64,
    is_end: bool,
    (first, end): (usize, usize),
) -> Evaluated<usize> {
    let [(_, direction)] = &window.order[..] else {
        return Err(Stop::NotCovered("a range over several keys"));
    };
    let number = |key: &Row| match &key[0] {
        Value::Int(number) => Ok(Some(*number)),
        Value::Date(days) => Ok(Some(i128::from(*days))),
        Value::Timestamp(ns) => Ok(Some(i128::from(*ns))),
        Value::Null => Ok(None),
        _ => Err(Stop::NotCovered("a range of this type")),
    };
    let Some(own) = number(&partition.keys[partition.at])? else {
        return Ok(if is_end { end } else { first });
    };
    let is_time = matches!(partition.keys[partition.at][0], Value::Timestamp(_));
    let unit = if is_time { i128::from(DAY_NS) } else { 1 };
    let offset = i128::from(offset) * unit;
    let wanted = if direction.descending { own - offset } else { own + offset };
    let mut place = 0;
    for key in &partition.keys {
        let before = match number(key)? {
            None => direction.is_nulls_first(),
            Some(key) => {
                let order = if direction.descending { wanted.cmp(&key) } else { key.cmp(&wanted) };
                order.is_lt() || (is_end && order.is_eq())
            }
        };
        place += usize::from(before);
    }
    Ok(place)
}
