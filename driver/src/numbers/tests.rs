//! Plans as these rules leave them.

#![allow(clippy::unwrap_used)]

use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::*;

fn context() -> SessionContext {
    let state = with_number_rules(SessionStateBuilder::new()).with_default_features().build();
    SessionContext::new_with_state(state)
}

async fn optimised(context: &SessionContext, query: &str) -> LogicalPlan {
    let tables = "create table if not exists t as select * from (values (1, 1.5, 's')) t(a, f, s)";
    context.sql(tables).await.unwrap().collect().await.unwrap();
    context.sql(query).await.unwrap().into_optimized_plan().unwrap()
}

async fn text(query: &str) -> String {
    optimised(&context(), query).await.display_indent().to_string()
}

const QUERIES: [&str; 8] = [
    "select a + 1, -a, a * a - a, a / 2 + a % 3 from t",
    "select sum(a), avg(a), sum(a + 1) filter (where a - 1 > 0), stddev(f) from t",
    "select sum(a) over (partition by f order by f), min(f) over () from t",
    "select f, min(f), max(f), count(distinct f) from t group by f having f > 1",
    "select distinct f, s from t order by f",
    "select l.f, f2 from t l join (select f as f2 from t) r on l.f = r.f2 where l.f < 10",
    "select f, a, sum(a) from t group by rollup(f, a)",
    "select a <> 0 and 10 / a > 1, case f when 1.5 then a + 1 end from t",
];

#[tokio::test]
async fn columns_keep_their_names_and_types() {
    let plain = SessionContext::new();
    let ours = context();
    for query in QUERIES {
        let (want, got) = (optimised(&plain, query).await, optimised(&ours, query).await);
        let fields = |plan: &LogicalPlan| {
            let fields = plan.schema().iter();
            fields.map(|(of, field)| (of.cloned(), field.clone())).collect::<Vec<_>>()
        };
        assert_eq!(fields(&got), fields(&want), "{query}");
        ours.state().create_physical_plan(&got).await.unwrap();
    }
}

#[tokio::test]
async fn a_plan_that_is_optimised_again_gets_no_second_function() {
    let context = context();
    for query in QUERIES {
        let once = optimised(&context, query).await;
        let twice = context.state().optimize(&once).unwrap().display_indent().to_string();
        for nested in ["normal_float(normal_float", "checked_add(checked_add", "CASE CASE"] {
            assert!(!twice.contains(nested), "{twice}");
        }
    }
}

#[tokio::test]
async fn a_condition_that_can_fail_is_asked_for_after_the_others() {
    let plan = text("select a from t where 10 / a > 1 and a <> 0").await;
    let guarded =
        "WHEN Boolean(true) THEN checked_divide(Int64(10), t.a) > Int64(1) ELSE Boolean(false)";
    assert!(plan.contains(guarded), "{plan}");
    let plan = text("select a from t where a > 1 and f > 2 and s = 'x'").await;
    assert!(!plan.contains("CASE"), "{plan}");
}

#[tokio::test]
async fn only_what_can_overflow_is_rewritten() {
    let plan = text("select f + 1, f / 0, s || 'x', date '2020-01-01' + interval '1 day' from t");
    assert!(!plan.await.contains("checked_"), "a float never overflows");
    let plan = text("select a + 1 from t").await;
    assert!(plan.contains("checked_add(t.a, Int64(1))"), "{plan}");
}
