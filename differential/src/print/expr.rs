//! SQL text of expressions.

use super::{Keys, Printer};
use crate::tree::{
    Aggregate, Body, Bound, Call, ColumnId, Direction, Expr, Frame, FrameUnit, Query, Window,
};
use crate::types::Type;

impl Printer<'_> {
    pub(super) fn list(&self, exprs: &[Expr], keys: Keys<'_>) -> String {
        exprs.iter().map(|expr| self.expr(expr, keys)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn expr(&self, expr: &Expr, keys: Keys<'_>) -> String {
        let sub = |expr: &Expr| self.expr(expr, keys);
        let not = |negated: &bool| if *negated { "not " } else { "" };
        match expr {
            Expr::Column(id, _) => column_name(*id),
            Expr::Literal(value, of) => value.sql(of),
            Expr::Written(value, _) => format!("({})", value.plain()),
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

pub(super) fn direction_text(direction: Direction) -> String {
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
