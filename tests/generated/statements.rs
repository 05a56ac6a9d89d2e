//! Random SELECT statements whose answer is a fixed multiset of rows: a limit always follows a
//! total order, and so does every function that depends on order.

use super::dice::Dice;
use super::tables::{COLUMNS, TABLES, Type};

/// A statement, and whether the order of its rows is fixed too.
pub struct Statement {
    pub sql: String,
    pub ordered: bool,
}

/// What can stand in a FROM clause: its text and its columns.
struct Source {
    sql: String,
    columns: Vec<(String, Type)>,
    /// Columns that tell the rows apart.
    ids: Vec<String>,
}

/// The body of a query and the types of its columns, which are named `c0`, `c1`, …
struct Query {
    sql: String,
    types: Vec<Type>,
}

const TYPES: [Type; 6] =
    [Type::Int, Type::Text, Type::Date, Type::Decimal, Type::Float, Type::Bool];

pub struct Generator<'a> {
    dice: &'a mut Dice,
    aliases: usize,
}

impl<'a> Generator<'a> {
    pub fn new(dice: &'a mut Dice) -> Self {
        Self { dice, aliases: 0 }
    }

    pub fn statement(&mut self) -> Statement {
        self.aliases = 0;
        let with = if self.dice.percent(15) { self.with() } else { None };
        let (prefix, query) = match with {
            Some((prefix, query)) => (prefix, query),
            None => (String::new(), self.query(2)),
        };
        let ordered = self.dice.percent(50);
        let order = if ordered { self.order_and_limit(&query.types) } else { String::new() };
        Statement { sql: format!("{prefix}{}{order}", query.sql), ordered }
    }

    fn query(&mut self, depth: usize) -> Query {
        match self.dice.below(if depth > 0 { 10 } else { 8 }) {
            0..=2 => self.select(depth),
            3..=5 => self.grouped(depth),
            6 => self.distinct(depth),
            7 => self.windowed(depth),
            _ => self.set_operation(depth),
        }
    }

    fn with(&mut self) -> Option<(String, Query)> {
        let common = self.query(1);
        let columns = columns_of(&common.types);
        let reference = |alias: &str| Source {
            sql: format!("w as {alias}"),
            columns: qualified(alias, &columns),
            ids: Vec::new(),
        };
        let (left, right) = (reference("w1"), reference("w2"));
        let source = self.joined(left, right);
        let query = if self.dice.percent(50) {
            self.select_from(&source, 0)
        } else {
            self.grouped_from(&source)
        };
        Some((format!("with w as ({}) ", common.sql), query))
    }

    fn order_and_limit(&mut self, types: &[Type]) -> String {
        let keys: Vec<String> = (1..=types.len())
            .map(|column| {
                let direction = self.dice.pick(&["", " asc", " desc"]);
                let nulls = self.dice.pick(&["", " nulls first", " nulls last"]);
                format!("{column}{direction}{nulls}")
            })
            .collect();
        let mut text = format!(" order by {}", keys.join(", "));
        if self.dice.percent(60) {
            text.push_str(&format!(" limit {}", self.dice.below(30)));
            if self.dice.percent(40) {
                text.push_str(&format!(" offset {}", self.dice.below(12)));
            }
        }
        text
    }

    // Sources.

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn table(&mut self, among: usize) -> Source {
        let first = TABLES.len() - among;
        let (name, _) = TABLES[first + self.dice.below(among)];
        let alias = self.alias();
        Source {
            sql: format!("{name} as {alias}"),
            columns: qualified(&alias, &COLUMNS.map(|(name, kind)| (name.to_owned(), kind))),
            ids: vec![format!("{alias}.id")],
        }
    }

    fn derived(&mut self, depth: usize) -> Source {
        let query = self.query(depth - 1);
        let alias = self.alias();
        let order =
            if self.dice.percent(25) { self.order_and_limit(&query.types) } else { String::new() };
        Source {
            sql: format!("({}{order}) as {alias}", query.sql),
            columns: qualified(&alias, &columns_of(&query.types)),
            ids: Vec::new(),
        }
    }

    fn source(&mut self, depth: usize) -> Source {
        match self.dice.below(10) {
            0..=3 => self.table(4),
            4..=6 => self.join_of_tables(),
            7 if depth > 0 => self.derived(depth),
            8 if depth > 0 => {
                let (left, right) = (self.table(3), self.derived(depth));
                self.joined(left, right)
            }
            _ => {
                let (left, right) = (self.join_of_tables(), self.table(2));
                self.joined(left, right)
            }
        }
    }

    fn join_of_tables(&mut self) -> Source {
        let (left, right) = (self.table(4), self.table(3));
        if self.dice.percent(50) { self.joined(left, right) } else { self.joined(right, left) }
    }

    fn joined(&mut self, left: Source, right: Source) -> Source {
        let kind = self.dice.pick(&["join", "left join", "right join", "full join"]);
        let on = self.join_condition(&left, &right);
        let (mut columns, mut ids) = (left.columns, left.ids);
        columns.extend(right.columns);
        ids.extend(right.ids);
        Source { sql: format!("{} {kind} {} on {on}", left.sql, right.sql), columns, ids }
    }

    fn join_condition(&mut self, left: &Source, right: &Source) -> String {
        let mut terms = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let kind = self.dice.pick(&[Type::Int, Type::Int, Type::Text, Type::Date]);
            let (l, r) = (self.column(left, kind), self.column(right, kind));
            if let (Some(l), Some(r)) = (l, r) {
                let compared = if self.dice.percent(88) { "=" } else { "is not distinct from" };
                terms.push(format!("{l} {compared} {r}"));
            }
        }
        if terms.is_empty() || self.dice.percent(12) {
            let (l, r) = (self.expr(left, Type::Int, 0), self.expr(right, Type::Int, 0));
            terms.push(format!("{l} {} {r}", self.dice.pick(&["<", ">="])));
        } else if self.dice.percent(20) {
            let (l, r) = (self.expr(left, Type::Float, 0), self.expr(right, Type::Float, 0));
            terms.push(format!("{l} {} {r}", self.dice.pick(&["<", ">", "<>"])));
        }
        terms.join(" and ")
    }

    fn column(&mut self, source: &Source, kind: Type) -> Option<String> {
        let matching: Vec<&String> =
            source.columns.iter().filter(|(_, is)| *is == kind).map(|(name, _)| name).collect();
        (!matching.is_empty()).then(|| self.dice.pick(&matching).clone())
    }

    // Query bodies.

    fn select(&mut self, depth: usize) -> Query {
        let source = self.source(depth);
        self.select_from(&source, depth)
    }

    fn select_from(&mut self, source: &Source, depth: usize) -> Query {
        let (list, types) = self.select_list(source, 1);
        let filter = self.filter(source, depth);
        Query { sql: format!("select {list} from {}{filter}", source.sql), types }
    }

    fn distinct(&mut self, depth: usize) -> Query {
        let source = self.source(depth);
        let (list, types) = self.select_list(&source, 0);
        let filter = self.filter(&source, depth);
        Query { sql: format!("select distinct {list} from {}{filter}", source.sql), types }
    }

    fn select_list(&mut self, source: &Source, depth: usize) -> (String, Vec<Type>) {
        let types: Vec<Type> =
            (0..1 + self.dice.below(4)).map(|_| self.dice.pick(&TYPES)).collect();
        let items: Vec<String> = types.iter().map(|kind| self.expr(source, *kind, depth)).collect();
        (listed(&items), types)
    }

    fn filter(&mut self, source: &Source, depth: usize) -> String {
        if self.dice.percent(35) {
            return String::new();
        }
        let mut text = format!(" where {}", self.predicate(source, 2));
        if depth > 0 && self.dice.percent(45) {
            let joined = if self.dice.percent(85) { "and" } else { "or" };
            text.push_str(&format!(" {joined} {}", self.subquery_predicate(source)));
        }
        text
    }

    fn grouped(&mut self, depth: usize) -> Query {
        let source = self.source(depth);
        self.grouped_from(&source)
    }

    fn grouped_from(&mut self, source: &Source) -> Query {
        let mut types = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..self.dice.below(4) {
            let kind = self.dice.pick(&TYPES);
            types.push(kind);
            keys.push(self.expr(source, kind, 1));
        }
        let mut items = keys.clone();
        for _ in 0..1 + self.dice.below(3) {
            let (item, kind) = self.aggregate(source);
            items.push(item);
            types.push(kind);
        }
        let filter = self.filter(source, 0);
        let group = self.group_by(source, &keys);
        let having = if self.dice.percent(25) {
            let (aggregate, _) = self.aggregate_of(source, Type::Int);
            format!(" having {aggregate} > {}", self.dice.below(4))
        } else {
            String::new()
        };
        let sql = format!("select {} from {}{filter}{group}{having}", listed(&items), source.sql);
        Query { sql, types }
    }

    fn group_by(&mut self, source: &Source, keys: &[String]) -> String {
        if keys.is_empty() {
            return String::new();
        }
        // DataFusion drops an ORDER BY of constants, though grouping sets make them null.
        let varies = |key: &String| source.columns.iter().any(|(column, _)| key.contains(column));
        let sets = if keys.iter().all(varies) { 12 } else { 0 };
        let keys = keys.join(", ");
        match self.dice.below(12 + sets) {
            21 => format!(" group by rollup({keys})"),
            22 => format!(" group by cube({keys})"),
            23 => format!(" group by grouping sets (({keys}), ())"),
            _ => format!(" group by {keys}"),
        }
    }

    fn aggregate(&mut self, source: &Source) -> (String, Type) {
        let kind = self.dice.pick(&TYPES);
        let (mut text, kind) = self.aggregate_of(source, kind);
        if self.dice.percent(20) {
            text.push_str(&format!(" filter (where {})", self.predicate(source, 0)));
        }
        (text, kind)
    }

    fn aggregate_of(&mut self, source: &Source, kind: Type) -> (String, Type) {
        let value = self.expr(source, kind, 1);
        let text = match kind {
            Type::Int => match self.dice.below(5) {
                0 => "count(*)".to_owned(),
                1 => format!("count({value})"),
                2 => format!("count(distinct {value})"),
                3 => format!("sum({value})"),
                _ => format!("max({value})"),
            },
            Type::Decimal => format!("{}({value})", self.dice.pick(&["sum", "min", "max"])),
            Type::Float => format!("{}({value})", self.dice.pick(&["sum", "avg", "min", "max"])),
            Type::Bool => format!("{}({value})", self.dice.pick(&["bool_and", "bool_or"])),
            Type::Text if !source.ids.is_empty() && self.dice.percent(25) => {
                format!("string_agg({value}, '|' order by {})", source.ids.join(", "))
            }
            Type::Text | Type::Date => {
                format!("{}({value})", self.dice.pick(&["min", "max"]))
            }
        };
        (text, kind)
    }

    fn windowed(&mut self, depth: usize) -> Query {
        let source = if self.dice.percent(60) { self.table(4) } else { self.join_of_tables() };
        let mut items = source.ids.clone();
        let mut types = vec![Type::Int; items.len()];
        for _ in 0..1 + self.dice.below(3) {
            let (item, kind) = self.window(&source);
            items.push(item);
            types.push(kind);
        }
        let filter = self.filter(&source, depth);
        Query { sql: format!("select {} from {}{filter}", listed(&items), source.sql), types }
    }

    fn window(&mut self, source: &Source) -> (String, Type) {
        let key = self.dice.pick(&TYPES);
        let partition = match self.dice.below(3) {
            0 => String::new(),
            _ => format!("partition by {} ", self.expr(source, key, 0)),
        };
        let total = source.ids.join(", ");
        let kind = self.dice.pick(&TYPES);
        let value = self.expr(source, kind, 0);
        let number = self.expr(source, Type::Int, 0);
        let frame = self.dice.pick(&[
            "",
            " rows between 2 preceding and current row",
            " rows between 1 preceding and 1 following",
            " rows between unbounded preceding and unbounded following",
        ]);
        match self.dice.below(8) {
            0 => (format!("row_number() over ({partition}order by {total})"), Type::Int),
            1 => (format!("rank() over ({partition}order by {value})"), Type::Int),
            2 => (format!("dense_rank() over ({partition}order by {value} desc)"), Type::Int),
            3 => (format!("lag({value}) over ({partition}order by {total})"), kind),
            4 => (format!("lead({value}, 2) over ({partition}order by {total})"), kind),
            5 => (format!("first_value({value}) over ({partition}order by {total}{frame})"), kind),
            6 => (format!("sum({number}) over ({partition}order by {total}{frame})"), Type::Int),
            _ => (format!("count({value}) over ({partition}order by {number})"), Type::Int),
        }
    }

    fn set_operation(&mut self, depth: usize) -> Query {
        let types: Vec<Type> =
            (0..1 + self.dice.below(3)).map(|_| self.dice.pick(&TYPES)).collect();
        let mut arms = Vec::new();
        for _ in 0..2 + self.dice.below(2) {
            let source = if self.dice.percent(70) { self.table(4) } else { self.source(depth - 1) };
            let items: Vec<String> =
                types.iter().map(|kind| self.expr(&source, *kind, 0)).collect();
            let filter = self.filter(&source, 0);
            arms.push(format!("select {} from {}{filter}", listed(&items), source.sql));
        }
        let mut sql = arms.remove(0);
        for arm in arms {
            let operation = self.dice.pick(&[
                "union",
                "union all",
                "union all",
                "intersect",
                "intersect all",
                "except",
                "except all",
            ]);
            sql = format!("({sql}) {operation} ({arm})");
        }
        Query { sql: format!("select * from ({sql}) as {}", self.alias()), types }
    }

    // Predicates and expressions.

    fn subquery_predicate(&mut self, outer: &Source) -> String {
        let inner = self.table(3);
        let kind = self.dice.pick(&[Type::Int, Type::Text, Type::Date]);
        let value = self.expr(&inner, kind, 0);
        let local = self.predicate(&inner, 0);
        let (Some(of_outer), Some(of_inner)) =
            (self.column(outer, kind), self.column(&inner, kind))
        else {
            return "true".to_owned();
        };
        let from = format!("from {} where {local}", inner.sql);
        match self.dice.below(8) {
            0 => format!("exists (select 1 {from} and {of_inner} = {of_outer})"),
            1 => format!("not exists (select 1 {from} and {of_inner} = {of_outer})"),
            2 => format!("{of_outer} in (select {value} {from})"),
            3 => format!("{of_outer} not in (select {value} {from})"),
            4 => format!("{of_outer} not in (select {value} {from} and {value} is not null)"),
            5 => format!("{of_outer} >= (select max({value}) {from})"),
            6 => format!("{of_outer} <> (select {value} from {} where {}.id = 0)", inner.sql, {
                let (alias, _) = inner.ids[0].split_once('.').expect("qualified");
                alias
            }),
            _ => format!("{of_outer} <= (select min({value}) {from} and {of_inner} = {of_outer})"),
        }
    }

    fn predicate(&mut self, source: &Source, depth: usize) -> String {
        if depth > 0 && self.dice.percent(40) {
            let (left, right) =
                (self.predicate(source, depth - 1), self.predicate(source, depth - 1));
            return match self.dice.below(3) {
                0 => format!("({left} and {right})"),
                1 => format!("({left} or {right})"),
                _ => format!("not ({left})"),
            };
        }
        let kind = self.dice.pick(&TYPES);
        let value = self.expr(source, kind, 0);
        let other =
            if self.dice.percent(50) { self.literal(kind) } else { self.expr(source, kind, 0) };
        match self.dice.below(9) {
            0 => format!("{value} is null"),
            1 => format!("{value} is not null"),
            2 => format!("{value} between {other} and {}", self.literal(kind)),
            3 => format!("{value} in ({other}, {}, {})", self.literal(kind), self.literal(kind)),
            4 => format!("{value} is distinct from {other}"),
            5 if kind == Type::Text => format!("{value} like '%b%'"),
            6 => format!("{value} = {other}"),
            _ => format!("{value} {} {other}", self.dice.pick(&["<", "<=", ">", ">=", "<>"])),
        }
    }

    fn expr(&mut self, source: &Source, kind: Type, depth: usize) -> String {
        if depth == 0 || self.dice.percent(60) {
            return match self.column(source, kind) {
                Some(column) => column,
                None => self.literal(kind),
            };
        }
        let (left, right) = (self.expr(source, kind, depth - 1), self.expr(source, kind, 0));
        match self.dice.below(6) {
            0 => format!("coalesce({left}, {right})"),
            1 => format!("nullif({left}, {right})"),
            2 => {
                let test = self.predicate(source, 0);
                format!("case when {test} then {left} else {right} end")
            }
            _ => self.composed(source, kind, &left, &right),
        }
    }

    fn composed(&mut self, source: &Source, kind: Type, left: &str, right: &str) -> String {
        match kind {
            Type::Int => match self.dice.below(4) {
                0 => format!("({left} + {right})"),
                1 => format!("({left} % 5)"),
                2 => format!("character_length({})", self.expr(source, Type::Text, 0)),
                _ => format!("abs({left})"),
            },
            Type::Text => match self.dice.below(3) {
                0 => format!("({left} || '-' || {right})"),
                1 => format!("upper({left})"),
                _ => format!("substr({left}, 1, 2)"),
            },
            Type::Date => format!("({left} + interval '3 days')"),
            Type::Decimal => format!("({left} + {right})"),
            Type::Float => match self.dice.below(2) {
                0 => format!("({left} - {right})"),
                _ => format!("cast({} as double)", self.expr(source, Type::Int, 0)),
            },
            Type::Bool => self.predicate(source, 0),
        }
    }

    fn literal(&mut self, kind: Type) -> String {
        if self.dice.percent(4) {
            let name = match kind {
                Type::Int => "bigint",
                Type::Text => "varchar",
                Type::Date => "date",
                Type::Decimal => "decimal(12, 2)",
                Type::Float => "double",
                Type::Bool => "boolean",
            };
            return format!("cast(null as {name})");
        }
        let number = self.dice.below(7);
        match kind {
            Type::Int => (number + 1).to_string(),
            Type::Text => self.dice.pick(&["'a'", "'b'", "''", "'abc'", "'øl'"]).to_owned(),
            Type::Date => format!("date '2020-02-{:02}'", number + 1),
            Type::Decimal => format!("cast({number}.25 as decimal(12, 2))"),
            Type::Float => format!("cast({number}.5 as double)"),
            Type::Bool => self.dice.pick(&["true", "false"]).to_owned(),
        }
    }
}

fn qualified(alias: &str, columns: &[(String, Type)]) -> Vec<(String, Type)> {
    columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect()
}

fn columns_of(types: &[Type]) -> Vec<(String, Type)> {
    types.iter().enumerate().map(|(at, kind)| (format!("c{at}"), *kind)).collect()
}

fn listed(items: &[String]) -> String {
    let named = items.iter().enumerate().map(|(at, item)| format!("{item} as c{at}"));
    named.collect::<Vec<_>>().join(", ")
}
