//! Times of the guard: to compare a plan of 20 operators with what its program decodes to
//! ([`gnist_operators::guard`]): every stage of every query pays for it.

use std::sync::Arc;
use std::time::Instant;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use gnist_operators::contexts::Contexts;
use gnist_operators::encoder::Encoder;
use gnist_operators::functions::register_functions;
use gnist_operators::guard::Guard;
use gnist_operators::placement::Placement;
use gnist_operators::program::encode_program;

use super::report::QueryReport;
use super::run::finish;

/// Comparisons that don't count, and those that do.
const ROUNDS: (usize, usize) = (50, 1000);

const TABLE: &str =
    "create table t as select * from (values (1, 2, 3.5), (2, null, 4.5)) as t(i, v, f)";

/// Plans to 20 operators, a scan among four of them.
const QUERY: &str = "select p.i, sum(q.f) as s, count(*) from t p join t q on p.i = q.i \
                     join (select i, max(f) as f from t where v > 1 group by i) r on r.i = p.i \
                     left join (select v, avg(f) as g from t group by v) s on s.v = p.v \
                     where p.f between 1 and 4 and q.v in (1, 2, 3, 4) \
                     group by p.i having sum(q.f) > 2 order by s desc limit 10";

/// Times of a program that was compared before, and of one that was not.
pub(super) async fn measure() -> Result<[QueryReport; 2]> {
    let plan = plan().await?;
    let name = |kind| format!("guard_{}_{kind}", operators(&plan));
    let context = Contexts::of_executors(Arc::default()).of(&[])?;
    let encoder = Encoder::new(Arc::clone(&context));
    let program = encode_program(&plan, &Placement::Single, &encoder)?;
    let guard = Guard::default();
    let known = times(|| guard.check(&plan, &Placement::Single, &program, &context))?;
    let new = times(|| Guard::default().check(&plan, &Placement::Single, &program, &context))?;
    Ok([report(name("known"), known), report(name("new"), new)])
}

async fn plan() -> Result<Arc<dyn ExecutionPlan>> {
    let config = SessionConfig::new().with_target_partitions(2);
    let mut session = SessionContext::new_with_config(config);
    register_functions(&mut session)?;
    session.sql(TABLE).await?.collect().await?;
    let plan = session.sql(QUERY).await?.into_optimized_plan()?;
    DefaultPhysicalPlanner::default().create_physical_plan(&plan, &session.state()).await
}

fn operators(plan: &Arc<dyn ExecutionPlan>) -> usize {
    1 + plan.children().into_iter().map(operators).sum::<usize>()
}

/// Milliseconds of each round that counts.
fn times(look: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    let (warm, counted) = ROUNDS;
    let rounds = (0..warm + counted).map(|_| {
        let start = Instant::now();
        look().map(|()| start.elapsed().as_secs_f64() * 1000.0)
    });
    Ok(rounds.collect::<Result<Vec<_>>>()?.split_off(warm))
}

fn report(name: String, times: Vec<f64>) -> QueryReport {
    let mut report = QueryReport { name, ..QueryReport::default() };
    finish(&mut report, times);
    report
}
