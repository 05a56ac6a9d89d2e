//! A field that changes is found and named, in plans of queries.

use super::*;

/// Two queries whose plans differ in one field, and that field.
pub(super) const QUERIES: &[(&str, &str, &str)] = &[
    ("select i from t where v > 1", "select i from t where v > 2", "Filter.predicate"),
    ("select i from t where v > 1", "select i from t where f > 1", "Filter.predicate"),
    ("select i + 1 as x from t", "select i + 2 as x from t", "Projection.projector"),
    ("select i from t order by v limit 2", "select i from t order by v limit 3", "Sort.fetch"),
    ("select i from t order by v", "select i from t order by v desc", "Sort.partitioning or order"),
    (
        "select p.i from t p join t q on p.i = q.i",
        "select p.i from t p join t q on p.i = q.v",
        "HashJoin.on",
    ),
    (
        "select p.i from t p join t q on p.i = q.i and p.f < q.f",
        "select p.i from t p join t q on p.i = q.i and p.f > q.f",
        "HashJoin.filter",
    ),
    (
        "select p.i from t p left join t q on p.f < q.f",
        "select p.i from t p left join t q on p.f > q.f",
        "NestedLoopJoin.filter",
    ),
    (
        "select value from generate_series(1, 3)",
        "select value from generate_series(1, 4)",
        "LazyMemory.batch_generators",
    ),
    (
        "select i from t union all select v from t",
        "select i from t union all select i from t",
        "Union.nullability of column i",
    ),
    (
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select * from r",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 4) select * from r",
        "Filter.predicate",
    ),
    (
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select * from r",
        "with recursive r(n) as (select 2 union all select n + 1 from r where n < 3) select * from r",
        "Projection.projector",
    ),
    (
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select * from r",
        "with recursive r(n) as (select 1 union select n + 1 from r where n < 3) select * from r",
        "RecursiveQuery.is_distinct",
    ),
    (
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select * from r",
        "with recursive s(n) as (select 1 union all select n + 1 from s where n < 3) select * from s",
        "RecursiveQuery.name",
    ),
];

/// Expressions of one type that differ.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("7", "8"),
    ("'a\"b'", "'a\"c'"),
    ("-i", "i"),
    ("i + v", "i * v"),
    ("i = v", "i <> v"),
    ("not (i = v)", "i = v"),
    ("i is null", "i is not null"),
    ("i is distinct from v", "i is not distinct from v"),
    ("i in (1, v, 3)", "i in (1, v, 4)"),
    ("i in (1, v, 3)", "i not in (1, v, 3)"),
    ("i between 1 and v", "i between 2 and v"),
    ("case when v = 1 then 'a' else 'c' end", "case when v = 1 then 'b' else 'c' end"),
    ("case when v = 1 then 'a' else 'c' end", "case when v = 2 then 'a' else 'c' end"),
    ("case i when v then 1 end", "case i when v then 2 end"),
    ("cast(f as bigint)", "try_cast(f as bigint)"),
    ("cast(cast(i as int) as double)", "cast(cast(i as bigint) as double)"),
    ("cast(i as varchar) like 'a%'", "cast(i as varchar) like 'b%'"),
    ("cast(i as varchar) like 'a%b'", "cast(i as varchar) not like 'a%b'"),
    ("cast(i as varchar) like 'a_b'", "cast(i as varchar) ilike 'a_b'"),
    ("upper(cast(i as varchar))", "lower(cast(i as varchar))"),
    ("to_timestamp(i) + interval '1 day'", "to_timestamp(i) + interval '2 day'"),
    ("named_struct('a', v + 1)['a']", "named_struct('a', v)['a']"),
    ("[i, v]", "[v, i]"),
];

#[test]
fn a_changed_field_of_a_planned_operator_is_found_and_named() {
    for (one, other, field) in QUERIES {
        let (one, other) = (planned(one, false), planned(other, false));
        assert!(difference(&other, &one).is_some() && difference(&one, &other).is_some());
        // The first operator that differs may be above.
        let operators = walk(&one).into_iter().zip(walk(&other));
        let found = operators.filter_map(|(one, other)| difference(other, one));
        let found: Vec<_> = found.map(|lost| format!("{}.{}", lost.operator, lost.field)).collect();
        assert!(found.iter().any(|found| found == field), "{field} is not in {found:?}");
    }
}

#[test]
fn a_query_that_is_planned_twice_has_no_difference() {
    for (query, ..) in QUERIES {
        assert_eq!(difference(&planned(query, false), &planned(query, false)), None, "{query}");
    }
}

#[test]
fn a_changed_expression_is_found() {
    // Every one may be null, so that schemas are the same.
    let plan =
        |expr| planned(&format!("select case when f > 1 then {expr} end as x from t"), false);
    for (one, other) in EXPRESSIONS {
        let lost = difference(&plan(one), &plan(other));
        assert_eq!(lost, Some(lost_field("Projection", "projector")), "{one}, {other}");
    }
}
