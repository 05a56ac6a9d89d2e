//! The fields of DataFusion's operators, listed: one that comes with a new version fails here, and
//! whoever takes the new version looks whether it travels.

use std::collections::BTreeMap;

use super::shape;
use super::tests::planned;

/// Queries that DataFusion plans with an operator of each kind.
const QUERIES: &[&str] = &[
    "select i + 1 from t where v > 1 order by f limit 2 offset 1",
    "select i, sum(f), row_number() over (order by i), sum(f) over () from t group by i, f",
    "select * from t p join t q on p.i = q.i left join t r on p.f < r.f cross join t s",
    "select i from t union all select unnest([v]) from t where false",
    "select value, 1 from generate_series(1, 3)",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select * from r",
];

/// Operators and their fields.
pub(super) const OPERATORS: &[(&str, &[&str])] = &[
    (
        "AggregateExec",
        &[
            "mode",
            "group_by",
            "aggr_expr",
            "filter_expr",
            "limit_options",
            "input",
            "schema",
            "input_schema",
            "metrics",
            "cache",
            "dynamic_filter",
        ],
    ),
    (
        "BoundedWindowAggExec",
        &[
            "input",
            "window_expr",
            "schema",
            "metrics",
            "input_order_mode",
            "ordered_partition_by_indices",
            "cache",
            "state_observer",
        ],
    ),
    ("CoalescePartitionsExec", &["input", "metrics", "cache", "fetch"]),
    ("CooperativeExec", &["input", "properties"]),
    ("CrossJoinExec", &["left", "right", "schema", "left_fut", "metrics", "cache"]),
    ("DataSourceExec", &["data_source", "cache", "execution_state"]),
    ("EmptyExec", &["partitions", "cache"]),
    (
        "FilterExec",
        &[
            "predicate",
            "input",
            "metrics",
            "default_selectivity",
            "cache",
            "projection",
            "batch_size",
            "fetch",
        ],
    ),
    ("GlobalLimitExec", &["input", "skip", "fetch", "metrics", "required_ordering", "cache"]),
    (
        "HashJoinExec",
        &[
            "left",
            "right",
            "on",
            "filter",
            "join_type",
            "join_schema",
            "left_fut",
            "random_state",
            "mode",
            "metrics",
            "projection",
            "column_indices",
            "null_equality",
            "cache",
        ],
    ),
    ("LazyMemoryExec", &["schema", "batch_generators"]),
    (
        "NestedLoopJoinExec",
        &[
            "left",
            "right",
            "filter",
            "join_type",
            "join_schema",
            "build_side_data",
            "left_spill_data",
            "column_indices",
            "projection",
            "metrics",
            "cache",
        ],
    ),
    ("PlaceholderRowExec", &["schema", "partitions", "cache"]),
    ("ProjectionExec", &["projector", "input", "metrics", "cache", "overrides_metadata"]),
    (
        "RecursiveQueryExec",
        &["name", "work_table", "static_term", "recursive_term", "is_distinct", "metrics", "cache"],
    ),
    ("RepartitionExec", &["input", "state", "metrics", "preserve_order", "cache"]),
    (
        "SortExec",
        &[
            "input",
            "expr",
            "metrics_set",
            "preserve_partitioning",
            "fetch",
            "common_sort_prefix",
            "cache",
            "filter",
        ],
    ),
    (
        "SortPreservingMergeExec",
        &["input", "expr", "metrics", "fetch", "cache", "enable_round_robin_repartition"],
    ),
    ("UnionExec", &["inputs", "metrics", "cache"]),
    (
        "UnnestExec",
        &[
            "input",
            "schema",
            "list_column_indices",
            "struct_column_indices",
            "options",
            "metrics",
            "cache",
        ],
    ),
    (
        "WindowAggExec",
        &["input", "window_expr", "schema", "metrics", "ordered_partition_by_indices", "cache"],
    ),
    ("WorkTableExec", &["name", "schema", "projection", "work_table", "metrics", "cache"]),
];

#[test]
fn operators_have_the_fields_that_were_looked_at() {
    let mut met = BTreeMap::new();
    for query in QUERIES {
        let text = format!("{:?}", planned(query, false));
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for field in shape::read(&text).fields {
            let of_operator = fields.entry(field.operator.to_owned()).or_default();
            if !of_operator.contains(&field.name.to_owned()) {
                of_operator.push(field.name.to_owned());
            }
        }
        met.extend(fields);
    }
    for (operator, fields) in met {
        let known = OPERATORS.iter().find(|(name, _)| *name == operator);
        let known = known.map_or(&[] as &[&str], |(_, fields)| fields);
        assert_eq!(fields, known, "{operator}");
    }
}
