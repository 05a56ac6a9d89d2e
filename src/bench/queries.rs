//! The 22 queries of TPC-H, with the specification's own parameters (its clause 2.4.n.3).

/// The queries in their order; the first is q1.
const QUERIES: [&str; 22] = [
    include_str!("tpch/q01.sql"),
    include_str!("tpch/q02.sql"),
    include_str!("tpch/q03.sql"),
    include_str!("tpch/q04.sql"),
    include_str!("tpch/q05.sql"),
    include_str!("tpch/q06.sql"),
    include_str!("tpch/q07.sql"),
    include_str!("tpch/q08.sql"),
    include_str!("tpch/q09.sql"),
    include_str!("tpch/q10.sql"),
    include_str!("tpch/q11.sql"),
    include_str!("tpch/q12.sql"),
    include_str!("tpch/q13.sql"),
    include_str!("tpch/q14.sql"),
    include_str!("tpch/q15.sql"),
    include_str!("tpch/q16.sql"),
    include_str!("tpch/q17.sql"),
    include_str!("tpch/q18.sql"),
    include_str!("tpch/q19.sql"),
    include_str!("tpch/q20.sql"),
    include_str!("tpch/q21.sql"),
    include_str!("tpch/q22.sql"),
];

/// The number of queries.
pub(crate) const COUNT: usize = QUERIES.len();

/// The text of a query, by its number from 1. The fraction of q11 depends on the scale (TPC-H
/// 2.4.11.3), or its answer would be empty at large ones.
pub(crate) fn query(number: usize, scale: f64) -> String {
    QUERIES[number - 1].replace("0.0001", &format!("{:.10}", 0.0001 / scale))
}
