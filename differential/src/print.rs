//! SQL text of a statement's tree.

use crate::table::TableSet;
use crate::tree::{
    Aggregate, Body, Bound, Call, ColumnId, Common, Direction, Expr, Frame, FrameUnit, From, Group,
    GroupingSets, JoinKind, JoinOn, Query, Select, SetOperation, Window,
};
use crate::types::Type;

/// The SQL text of a query over these tables.
pub fn sql(query: &Query, tables: &TableSet) -> String {
    Printer { tables }.query(query)
}

struct Printer<'a> {
    tables: &'a TableSet,
}

/// Keys of the GROUP BY around an expression.
type Keys<'a> = &'a [Expr];

impl Printer<'_> {
    fn query(&self, query: &Query) -> String {
        let mut text = String::new();
        if !query.with.is_empty() {
            let recursive = query.with.iter().any(|common| common.step.is_some());
            let commons: Vec<String> =
                query.with.iter().map(|common| self.common(common)).collect();
            let word = if recursive { "with recursive " } else { "with " };
            text.push_str(&format!("{word}{} ", commons.join(", ")));
        }
        text.push_str(&self.body(&query.body));
        if !query.order.is_empty() {
            let keys = query.order.iter().map(|key| (key.column + 1, key.direction));
            let keys: Vec<String> =
                keys.map(|(at, direction)| format!("{at}{}", direction_text(direction))).collect();
            text.push_str(&format!(" order by {}", keys.join(", ")));
        }
        if let Some(limit) = query.limit {
            text.push_str(&format!(" limit {limit}"));
        }
        if let Some(offset) = query.offset {
            text.push_str(&format!(" offset {offset}"));
        }
        text
    }

    fn common(&self, common: &Common) -> String {
        let columns = column_list(common.types.len());
        let body = match &common.step {
            None => self.query(&common.query),
            Some(step) => {
                format!("{} union all {}", self.query(&common.query), self.query(step))
            }
        };
        format!("w{}({columns}) as ({body})", common.number)
    }

    fn body(&self, body: &Body) -> String {
        match body {
            Body::Select(select) => self.select(select),
            Body::Set { operation, all, left, right } => {
                let word = match operation {
                    SetOperation::Union => "union",
                    SetOperation::Intersect => "intersect",
                    SetOperation::Except => "except",
                };
                let all = if *all { " all" } else { "" };
                format!("({}) {word}{all} ({})", self.query(left), self.query(right))
            }
            Body::Values { types, rows } => {
                let row = |row: &crate::value::Row| {
                    let values = row.iter().zip(types).map(|(value, of)| value.sql(of));
                    format!("({})", values.collect::<Vec<_>>().join(", "))
                };
                let rows: Vec<String> = rows.iter().map(row).collect();
                let names = (1..=types.len()).enumerate();
                let names = names.map(|(at, column)| format!("column{column} as c{at}"));
                let names: Vec<String> = names.collect();
                format!("select {} from (values {})", names.join(", "), rows.join(", "))
            }
        }
    }

    fn select(&self, select: &Select) -> String {
        let keys: Keys<'_> = select.group.as_ref().map_or(&[], |group| &group.keys);
        let items = select.items.iter().enumerate();
        let items = items.map(|(at, item)| {
            let name = if select.named { format!(" as c{at}") } else { String::new() };
            format!("{}{name}", self.expr(item, keys))
        });
        let items = items.collect::<Vec<_>>().join(", ");
        let distinct = if select.distinct { "distinct " } else { "" };
        let mut text = format!("select {distinct}{items}");
        if let Some(from) = &select.from {
            text.push_str(&format!(" from {}", self.from(from)));
        }
        if let Some(filter) = &select.filter {
            text.push_str(&format!(" where {}", self.expr(filter, keys)));
        }
        if let Some(group) = &select.group {
            text.push_str(&self.group(group));
        }
        if let Some(having) = &select.having {
            text.push_str(&format!(" having {}", self.expr(having, keys)));
        }
        if let Some(qualify) = &select.qualify {
            text.push_str(&format!(" qualify {}", self.expr(qualify, keys)));
        }
        text
    }

    fn group(&self, group: &Group) -> String {
        let keys: Vec<String> = group.keys.iter().map(|key| self.expr(key, &[])).collect();
        let all = keys.join(", ");
        match &group.sets {
            GroupingSets::Plain if keys.is_empty() => " group by ()".to_owned(),
            GroupingSets::Plain => format!(" group by {all}"),
            GroupingSets::Rollup => format!(" group by rollup({all})"),
            GroupingSets::Cube => format!(" group by cube({all})"),
            GroupingSets::Listed(sets) => {
                let set = |set: &Vec<usize>| {
                    let keys: Vec<&str> = set.iter().map(|key| keys[*key].as_str()).collect();
                    format!("({})", keys.join(", "))
                };
                let sets: Vec<String> = sets.iter().map(set).collect();
                format!(" group by grouping sets ({})", sets.join(", "))
            }
        }
    }

    fn from(&self, from: &From) -> String {
        match from {
            From::Table { table, relation } => {
                format!("{} as t{relation}", self.tables.tables[*table].name)
            }
            From::Common { common, relation, .. } => format!("w{common} as t{relation}"),
            From::Derived { query, lateral, relation } => {
                let lateral = if *lateral { "lateral " } else { "" };
                format!("{lateral}({}) as t{relation}", self.query(query))
            }
            From::Unnest { list, relation } => {
                format!("unnest({}) as t{relation}(c0)", self.expr(list, &[]))
            }
            From::Series { first, last, relation } => {
                format!("generate_series({first}, {last}) as t{relation}(c0)")
            }
            From::Join { kind, left, right, on } => self.join(*kind, left, right, on),
        }
    }

    fn join(&self, kind: JoinKind, left: &From, right: &From, on: &JoinOn) -> String {
        let word = match kind {
            JoinKind::Inner => "join",
            JoinKind::Left => "left join",
            JoinKind::Right => "right join",
            JoinKind::Full => "full join",
            JoinKind::Cross => "cross join",
            JoinKind::LeftSemi => "left semi join",
            JoinKind::LeftAnti => "left anti join",
        };
        let natural = if matches!(on, JoinOn::Natural(_)) { "natural " } else { "" };
        let right_text = match right {
            From::Join { .. } => format!("({})", self.from(right)),
            _ => self.from(right),
        };
        let on = match on {
            JoinOn::On(on) => format!(" on {}", self.expr(on, &[])),
            JoinOn::Using(columns) => {
                let names = columns.iter().map(|(left, ..)| format!("c{}", left.column));
                format!(" using ({})", names.collect::<Vec<_>>().join(", "))
            }
            JoinOn::Natural(_) | JoinOn::Nothing => String::new(),
        };
        format!("{} {natural}{word} {right_text}{on}", self.from(left))
    }

    fn list(&self, exprs: &[Expr], keys: Keys<'_>) -> String {
        exprs.iter().map(|expr| self.expr(expr, keys)).collect::<Vec<_>>().join(", ")
    }

    fn expr(&self, expr: &Expr, keys: Keys<'_>) -> String {
        let sub = |expr: &Expr| self.expr(expr, keys);
        let not = |negated: &bool| if *negated { "not " } else { "" };
        match expr {
            Expr::Column(id, _) => column_name(*id),
            Expr::Literal(value, of) => value.sql(of),
            Expr::Key(key, _) => self.expr(&keys[*key], &[]),
            Expr::Grouping(key) => format!("grouping({})", self.expr(&keys[*key], &[])),
            Expr::Not(of) => format!("(not {})", sub(of)),
            Expr::And(left, right) => format!("({} and {})", sub(left), sub(right)),
            Expr::Or(left, right) => format!("({} or {})", sub(left), sub(right)),
            Expr::IsNull(of, negated) => format!("({} is {}null)", sub(of), not(negated)),
            Expr::IsTruth { of, truth, negated } => {
                let truth = match truth {
                    Some(true) => "true",
                    Some(false) => "false",
                    None => "unknown",
                };
                format!("({} is {}{truth})", sub(of), not(negated))
            }
            Expr::Compare(operator, left, right) => {
                format!("({} {operator} {})", sub(left), sub(right))
            }
            Expr::Distinct { left, right, negated } => {
                format!("({} is {}distinct from {})", sub(left), not(negated), sub(right))
            }
            Expr::Between(of, negated) => {
                let [of, low, high] = &**of;
                format!("({} {}between {} and {})", sub(of), not(negated), sub(low), sub(high))
            }
            Expr::InList(of, list, negated) => {
                format!("({} {}in ({}))", sub(of), not(negated), self.list(list, keys))
            }
            Expr::Like { of, pattern, negated, insensitive } => {
                let word = if *insensitive { "ilike" } else { "like" };
                format!("({} {}{word} '{pattern}')", sub(of), not(negated))
            }
            Expr::Arithmetic(operator, left, right, _) => {
                format!("({} {operator} {})", sub(left), sub(right))
            }
            Expr::Negate(of, _) => format!("(- {})", sub(of)),
            Expr::Case { operand, whens, otherwise, .. } => {
                let mut text = "case".to_owned();
                text.extend(operand.iter().map(|operand| format!(" {}", sub(operand))));
                for (when, then) in whens {
                    text.push_str(&format!(" when {} then {}", sub(when), sub(then)));
                }
                text.extend(otherwise.iter().map(|other| format!(" else {}", sub(other))));
                text + " end"
            }
            Expr::Call(call, arguments, _) => self.call(*call, arguments, keys),
            Expr::Cast { of, to, is_try } => {
                format!("{}cast({} as {to})", if *is_try { "try_" } else { "" }, sub(of))
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, keys),
            Expr::Window(window) => self.window(window, keys),
            Expr::Scalar(query, _) => self.subquery(query),
            Expr::Exists(query, negated) => {
                format!("({}exists {})", not(negated), self.subquery(query))
            }
            Expr::InQuery(of, query, negated) => {
                format!("({} {}in {})", sub(of), not(negated), self.subquery(query))
            }
            Expr::Quantified { operator, of, all, query } => {
                let all = if *all { "all" } else { "any" };
                format!("({} {operator} {all} {})", sub(of), self.subquery(query))
            }
        }
    }

    /// A query in an expression. One that begins with a parenthesis would be taken for a list.
    fn subquery(&self, query: &Query) -> String {
        match &query.body {
            Body::Set { .. } => format!("(select s.c0 from ({}) as s)", self.query(query)),
            Body::Select(_) | Body::Values { .. } => format!("({})", self.query(query)),
        }
    }

    fn call(&self, call: Call, arguments: &[Expr], keys: Keys<'_>) -> String {
        let argument = |at: usize| self.expr(&arguments[at], keys);
        let name = match call {
            Call::Coalesce => "coalesce",
            Call::NullIf => "nullif",
            Call::Greatest => "greatest",
            Call::Least => "least",
            Call::Abs => "abs",
            Call::Length => "character_length",
            Call::Upper => "upper",
            Call::Lower => "lower",
            Call::Substr => "substr",
            Call::Replace => "replace",
            Call::Reverse => "reverse",
            Call::ToTimestamp => "to_timestamp",
            Call::ArrayLength => "array_length",
            Call::Concat => return format!("({} || {})", argument(0), argument(1)),
            Call::Year => return format!("extract(year from {})", argument(0)),
            Call::Month => return format!("extract(month from {})", argument(0)),
            Call::Day => return format!("extract(day from {})", argument(0)),
            Call::Hour => return format!("extract(hour from {})", argument(0)),
            Call::TruncateToMonth => return format!("date_trunc('month', {})", argument(0)),
            Call::TruncateToDay => return format!("date_trunc('day', {})", argument(0)),
            Call::AddDays => {
                let days = argument(1).replace(['(', ')'], "");
                return format!("({} + interval '{days} days')", argument(0));
            }
            Call::Element => return format!("{}[{}]", argument(0), argument(1)),
        };
        format!("{name}({})", self.list(arguments, keys))
    }

    fn aggregate(&self, aggregate: &Aggregate, keys: Keys<'_>) -> String {
        let distinct = if aggregate.distinct { "distinct " } else { "" };
        let arguments = match aggregate.arguments.as_slice() {
            [] => "*".to_owned(),
            arguments => self.list(arguments, keys),
        };
        let order = self.order(&aggregate.order, keys, " order by ");
        let filter = self.filter(aggregate.filter.as_ref(), keys);
        format!("{}({distinct}{arguments}{order}){filter}", aggregate.function)
    }

    fn filter(&self, filter: Option<&Expr>, keys: Keys<'_>) -> String {
        let text = filter.map(|filter| format!(" filter (where {})", self.expr(filter, keys)));
        text.unwrap_or_default()
    }

    fn order(&self, order: &[(Expr, Direction)], keys: Keys<'_>, before: &str) -> String {
        if order.is_empty() {
            return String::new();
        }
        let key = |(key, direction): &(Expr, Direction)| {
            format!("{}{}", self.expr(key, keys), direction_text(*direction))
        };
        let order: Vec<String> = order.iter().map(key).collect();
        format!("{before}{}", order.join(", "))
    }

    fn window(&self, window: &Window, keys: Keys<'_>) -> String {
        let arguments = match window.arguments.as_slice() {
            [] if window.is_aggregate => "*".to_owned(),
            arguments => self.list(arguments, keys),
        };
        let nulls = if window.ignores_nulls { " ignore nulls" } else { "" };
        let filter = self.filter(window.filter.as_ref(), keys);
        let mut over = Vec::new();
        if !window.partition.is_empty() {
            over.push(format!("partition by {}", self.list(&window.partition, keys)));
        }
        over.push(self.order(&window.order, keys, "order by "));
        over.extend(window.frame.map(|frame| {
            let key = window.order.first().map(|(key, _)| key.of_type());
            frame_text(frame, key.as_ref())
        }));
        over.retain(|part| !part.is_empty());
        format!("{}({arguments}){nulls}{filter} over ({})", window.function, over.join(" "))
    }
}

fn frame_text(frame: Frame, key: Option<&Type>) -> String {
    let days = frame.unit == FrameUnit::Range
        && matches!(key, Some(Type::Date | Type::Timestamp | Type::Instant));
    let offset = |offset: u32| {
        if days { format!("interval '{offset} days'") } else { offset.to_string() }
    };
    let bound = |bound: Bound| match bound {
        Bound::UnboundedPreceding => "unbounded preceding".to_owned(),
        Bound::Preceding(of) => format!("{} preceding", offset(of)),
        Bound::CurrentRow => "current row".to_owned(),
        Bound::Following(of) => format!("{} following", offset(of)),
        Bound::UnboundedFollowing => "unbounded following".to_owned(),
    };
    let unit = match frame.unit {
        FrameUnit::Rows => "rows",
        FrameUnit::Range => "range",
        FrameUnit::Groups => "groups",
    };
    format!("{unit} between {} and {}", bound(frame.start), bound(frame.end))
}

fn direction_text(direction: Direction) -> String {
    let nulls = match direction.nulls_first {
        None => "",
        Some(true) => " nulls first",
        Some(false) => " nulls last",
    };
    format!("{}{nulls}", if direction.descending { " desc" } else { "" })
}

fn column_name(id: ColumnId) -> String {
    if id.merged { format!("c{}", id.column) } else { format!("t{}.c{}", id.relation, id.column) }
}

fn column_list(count: usize) -> String {
    (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(", ")
}
