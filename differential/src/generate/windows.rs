//! Window functions, with every frame and option.

use super::aggregates::sum_type;
use super::{Generator, Source};
use crate::tree::{Bound, Direction, Expr, Frame, FrameUnit, OrderColumn, Query, Select, Window};
use crate::types::{Kind, Type};

/// The type of a row's number or rank.
const NUMBER: Type = Type::I64;

/// A distance beyond all integers of 32 bits, and all timestamps: in days, 5.8 million years.
const FAR: u32 = i32::MAX.unsigned_abs();

impl Generator<'_> {
    pub(super) fn windowed(&mut self, depth: usize) -> Query {
        let source = if self.dice.percent(60) {
            self.input()
        } else {
            let (left, right) = (self.input(), self.small_input());
            self.joined(left, right)
        };
        // Without an identity no order of its rows is total.
        let source = if source.ids.is_empty() { self.table() } else { source };
        self.windowed_over(&source, depth)
    }

    /// Window functions over a relation, behind the columns that tell its rows apart.
    pub(super) fn windowed_over(&mut self, source: &Source, depth: usize) -> Query {
        let mut items: Vec<Expr> = source.ids.iter().map(|id| source.expr_of(*id)).collect();
        for _ in 0..1 + self.dice.below(3) {
            let partition = self.dice.percent(65).then(|| {
                let kind = self.kind();
                self.expr(source, kind, 0)
            });
            let window = self.window_by(source, partition);
            items.push(window);
        }
        let mut select = Select::of(items, Some(source.from.clone()));
        select.filter = self.filter(source, depth);
        if self.dice.percent(12) {
            let rank = self.window_by(source, None);
            select.qualify = Some(Expr::IsNull(Box::new(rank), self.dice.percent(80)));
        }
        select.query()
    }

    /// Rows in the order of an aggregate over a window of them: one that seems to grow with the rows may not.
    pub(super) fn by_window(&mut self) -> Query {
        let source = self.table();
        let id = source.at(0);
        let mut window = self.window_aggregate(&source);
        if window.arguments.is_empty() || self.dice.percent(30) {
            window.function = self.dice.pick(&["min", "max"]);
            (window.arguments, window.of) = (vec![id.clone()], id.of_type());
        }
        window.order = vec![(id.clone(), self.direction())];
        window.frame = self.dice.percent(70).then(|| self.frame(FrameUnit::Rows));
        let items = vec![Expr::Window(Box::new(window)), id];
        let mut query = Select::of(items, Some(source.from)).query();
        let directed = |column| OrderColumn { column, direction: self.direction() };
        query.order = [0, 1].into_iter().map(directed).collect();
        query.limit = self.dice.percent(50).then(|| 1 + self.dice.below(10) as u64);
        query
    }

    /// The first rows in the order of a window's keys, beside windows that need all rows.
    pub(super) fn by_keys_of_windows(&mut self) -> Query {
        let source = self.table();
        let (id, key) = (source.at(0), self.column_of_any_kind(&source));
        let direction = self.direction();
        let mut items = vec![key.clone(), id.clone()];
        for _ in 0..1 + self.dice.below(3) {
            let mut window = match self.dice.below(3) {
                0 => self.ranking(&source),
                1 => self.shift(&source),
                _ => self.window_aggregate(&source),
            };
            if window.is_aggregate && self.dice.percent(50) {
                (window.order, window.frame) = (Vec::new(), None);
            } else {
                window.order = vec![(id.clone(), direction)];
            }
            if self.dice.percent(70) {
                window.partition = vec![key.clone()];
            }
            items.push(Expr::Window(Box::new(window)));
        }
        let mut query = Select::of(items, Some(source.from)).query();
        if self.dice.percent(40) {
            let below = self.derived_of(query, false);
            let items = (0..below.columns.len()).map(|at| below.at(at)).collect();
            let mut select = Select::of(items, Some(below.from.clone()));
            select.filter = self.filter(&below, 0);
            query = select.query();
        }
        if key.of_type().kind() == Kind::List {
            return query;
        }
        let plain = Direction { descending: false, nulls_first: None };
        let first = if self.dice.percent(70) { plain } else { self.direction() };
        query.order =
            vec![OrderColumn { column: 0, direction: first }, OrderColumn { column: 1, direction }];
        query.limit = Some(1 + self.dice.below(6) as u64);
        query
    }

    pub(super) fn window_by(&mut self, source: &Source, partition: Option<Expr>) -> Expr {
        let mut window = match self.dice.below(10) {
            0..3 => self.ranking(source),
            3..5 => self.shift(source),
            5..7 => self.nth_of_frame(source),
            _ => self.window_aggregate(source),
        };
        window.partition = partition.into_iter().collect();
        Expr::Window(Box::new(window))
    }

    /// The rank of a row by a value.
    pub(super) fn rank_by(&mut self, value: Expr) -> Expr {
        let direction = self.direction();
        self.rank_in(value, direction)
    }

    pub(super) fn rank_in(&mut self, value: Expr, direction: Direction) -> Expr {
        let order = vec![(value, direction)];
        let function = self.dice.pick(&["rank", "dense_rank"]);
        Expr::Window(Box::new(window(function, Vec::new(), order, NUMBER)))
    }

    fn total_order(&mut self, source: &Source) -> Vec<(Expr, Direction)> {
        let mut order = Vec::new();
        if self.dice.percent(50) {
            let kind = self.kind();
            let key = self.column(source, kind);
            order.extend(key.map(|key| (key, self.direction())));
        }
        for id in &source.ids {
            order.push((source.expr_of(*id), self.direction()));
        }
        order
    }

    fn some_order(&mut self, source: &Source) -> Vec<(Expr, Direction)> {
        let kind = self.kind();
        let key = self.column(source, kind).unwrap_or_else(|| source.at(0));
        vec![(key, self.direction())]
    }

    fn ranking(&mut self, source: &Source) -> Window {
        match self.dice.below(6) {
            0 | 1 => {
                let order = self.total_order(source);
                window("row_number", Vec::new(), order, NUMBER)
            }
            2 => {
                let (order, tiles) = (self.total_order(source), 1 + self.dice.below(5));
                window("ntile", vec![Expr::int(tiles as i64)], order, NUMBER)
            }
            3 => {
                let order = self.some_order(source);
                window(self.dice.pick(&["percent_rank", "cume_dist"]), Vec::new(), order, Type::F64)
            }
            _ => {
                let order = self.some_order(source);
                window(self.dice.pick(&["rank", "dense_rank"]), Vec::new(), order, NUMBER)
            }
        }
    }

    fn shift(&mut self, source: &Source) -> Window {
        let kind = self.kind();
        let value = self.expr(source, kind, 0);
        let of = value.of_type();
        let mut arguments = vec![value];
        if self.dice.percent(50) {
            arguments.push(Expr::int(self.dice.pick(&[1, 2, 3])));
            if self.dice.percent(50) {
                arguments.push(self.literal_of(&of));
            }
        }
        let order = self.total_order(source);
        let function = self.dice.pick(&["lag", "lead"]);
        Window { ignores_nulls: self.dice.percent(30), ..window(function, arguments, order, of) }
    }

    fn nth_of_frame(&mut self, source: &Source) -> Window {
        let kind = self.kind();
        let value = self.expr(source, kind, 0);
        let of = value.of_type();
        let function = self.dice.pick(&["first_value", "last_value", "last_value", "nth_value"]);
        let mut arguments = vec![value];
        if function == "nth_value" {
            arguments.push(Expr::int(1 + self.dice.below(3) as i64));
        }
        let order = self.total_order(source);
        let mut made = window(function, arguments, order, of);
        made.ignores_nulls = self.dice.percent(40);
        made.frame = self.dice.percent(60).then(|| self.frame(FrameUnit::Rows));
        made
    }

    fn window_aggregate(&mut self, source: &Source) -> Window {
        let unit = self.dice.pick(&[
            None,
            None,
            Some(FrameUnit::Rows),
            Some(FrameUnit::Rows),
            Some(FrameUnit::Range),
            Some(FrameUnit::Groups),
        ]);
        let order = match unit {
            Some(FrameUnit::Rows) => self.total_order(source),
            Some(FrameUnit::Range) => self.range_order(source),
            Some(FrameUnit::Groups) => self.some_order(source),
            None if self.dice.percent(30) => Vec::new(),
            None => self.some_order(source),
        };
        let kind = self.kind();
        let value = self.expr(source, kind, 0);
        let of = value.of_type();
        let (function, arguments, of) = match kind {
            Kind::Int => match self.dice.below(5) {
                0 => ("count", Vec::new(), Type::I64),
                1 => ("count", vec![value], Type::I64),
                2 => ("avg", vec![value], Type::F64),
                3 => (self.dice.pick(&["min", "max"]), vec![value], of),
                _ => ("sum", vec![value], sum_type(&of)),
            },
            Kind::Float => match self.dice.below(3) {
                0 => ("avg", vec![value], Type::F64),
                1 => (self.dice.pick(&["min", "max"]), vec![value], of),
                _ => ("sum", vec![value], Type::F64),
            },
            Kind::Decimal => ("sum", vec![value], sum_type(&of)),
            Kind::Bool => (self.dice.pick(&["bool_and", "bool_or"]), vec![value], of),
            _ => (self.dice.pick(&["min", "max"]), vec![value], of),
        };
        let mut made = window(function, arguments, order, of);
        made.is_aggregate = true;
        made.filter = self.dice.percent(30).then(|| self.predicate(source, 0));
        made.frame = unit.map(|unit| self.frame(unit));
        made
    }

    /// One key that a range can be counted in.
    fn range_order(&mut self, source: &Source) -> Vec<(Expr, Direction)> {
        let kind = self.dice.pick(&[Kind::Int, Kind::Int, Kind::Date, Kind::Timestamp]);
        let keys = [Type::I64, Type::I32, Type::Date, Type::Timestamp];
        let key = self.column(source, kind).filter(|key| keys.contains(&key.of_type()));
        vec![(key.unwrap_or_else(|| source.at(0)), self.direction())]
    }

    fn frame(&mut self, unit: FrameUnit) -> Frame {
        let bounds = [
            Bound::UnboundedPreceding,
            Bound::Preceding(self.distance(unit)),
            Bound::CurrentRow,
            Bound::Following(self.distance(unit)),
            Bound::UnboundedFollowing,
        ];
        let start = self.dice.below(4);
        let end = start.max(1) + self.dice.below(5 - start.max(1));
        let (mut start, mut end) = (bounds[start], bounds[end]);
        // Both bounds on one side are ordered by their distance.
        if let (Bound::Preceding(far), Bound::Preceding(_)) = (start, end) {
            end = Bound::Preceding(self.dice.below(far as usize + 1) as u32);
        }
        if let (Bound::Following(_), Bound::Following(far)) = (start, end) {
            start = Bound::Following(self.dice.below(far as usize + 1) as u32);
        }
        Frame { unit, start, end }
    }

    /// A distance of a bound: a few, or one that leads out of most types.
    fn distance(&mut self, unit: FrameUnit) -> u32 {
        let far = if unit == FrameUnit::Range { 40 } else { 10 };
        if self.dice.percent(far) { FAR } else { 1 + self.dice.below(4) as u32 }
    }
}

fn window(
    function: &'static str,
    arguments: Vec<Expr>,
    order: Vec<(Expr, Direction)>,
    of: Type,
) -> Window {
    Window {
        function,
        arguments,
        is_aggregate: false,
        filter: None,
        ignores_nulls: false,
        partition: Vec::new(),
        order,
        frame: None,
        of,
    }
}
