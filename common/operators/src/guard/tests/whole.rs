//! Whole plans: where rows go, what is below, and every clause.

use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::limit::LocalLimitExec;

use super::*;
use crate::collected::{CollectedExec, Collector};
use crate::window_rows::WindowRowsExec;

#[test]
fn a_lost_placement_is_caught() {
    let plan = empty();
    let by = |partitions| Placement::Partitioned(Partitioning::Hash(vec![column()], partitions));
    let decoded = Decoded::new(&plan, &by(3));
    assert_eq!(decoded.difference(&plan, &by(3)), None);
    for other in [by(4), Placement::Single] {
        let lost = decoded.difference(&plan, &other);
        assert_eq!(lost, Some(lost_field("Empty", "placement")));
    }
}

#[test]
fn collected_rows_survive() {
    for by in [Collector::Join, Collector::Sort, Collector::Window] {
        survives(&(Arc::new(CollectedExec::new(empty(), by)) as Plan));
    }
    survives(&(Arc::new(WindowRowsExec::new(empty())) as Plan));
}

#[test]
fn a_lost_input_is_caught() {
    let shallow: Plan = Arc::new(LocalLimitExec::new(empty(), 1));
    let deep: Plan = Arc::new(LocalLimitExec::new(Arc::clone(&shallow), 1));
    assert_eq!(difference(&shallow, &deep), Some(lost_field("LocalLimit", "the operator itself")));
}

#[test]
fn the_original_is_looked_at_every_time() {
    let context = context();
    let plain: Plan = Arc::new(LocalLimitExec::new(empty(), 1));
    let encoder = Encoder::new(Arc::clone(&context));
    let program = encode_program(&plain, &Placement::Single, &encoder).unwrap();
    let guard = Guard::default();
    guard.check(&plain, &Placement::Single, &program, &context).unwrap();
    let other: Plan = Arc::new(LocalLimitExec::new(empty(), 2));
    let error = guard.check(&other, &Placement::Single, &program, &context).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`fetch` of `LocalLimit`"), "{text}");
}

#[test]
fn plans_of_every_clause_survive() {
    for query in [
        "select i, sum(f), count(distinct v) from t group by i having sum(f) > 1 order by 2 limit 3",
        "select * from t p join t q on p.i = q.i and p.v < q.v left join t r on r.f > p.f",
        "select * from t where i in (select v from t) or v not in (select i from t)",
        "select i, case when v = 1 then 'a' when v = 2 then 'b' else s end from \
         (select *, cast(i as varchar) as s from t)",
        "select i, rank() over (partition by v order by f), sum(f) over (order by i) from t",
        "select i from t union all select v from t except select 1 intersect select 2",
        "select grouping(i), i, v, count(*) from t group by cube (i, v)",
        "select date_trunc('day', to_timestamp(i)), array_agg(v order by f), random() from t \
         group by 1",
        "select unnest(make_array(i, v)), struct(i, f), map(['a'], [i]) from t",
        "select i like 'a%', i between 1 and 2, i is distinct from v, interval '1 day' from \
         (select cast(i as varchar) as i, cast(v as varchar) as v from t)",
        "select value from generate_series(1, 10) where value % 2 = 0",
        "select first_value(v order by f desc), approx_distinct(i), stddev(f), median(f) from t",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select * from r",
        "with recursive r as (select i, v as w, f from t union select q.i + r.i, 1, r.f from r, t q \
         where q.f > r.f) select w, count(*) from r group by w",
        "with recursive r(a, b) as (select 1, 'x' union all select a + 1, null from r where a < 3), \
         s(n) as (select max(a) from r union all select n - 1 from s where n > 0) select * from s",
    ] {
        let plan = planned(query, true);
        if !format!("{plan:?}").contains("ScalarSubqueryExec") {
            survives(&plan);
        }
    }
}
