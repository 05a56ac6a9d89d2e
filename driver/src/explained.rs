//! The statements `EXPLAIN` and `EXPLAIN ANALYZE`, in every form that was asked for.

use std::sync::Arc;

use datafusion::arrow::array::AsArray as _;
use datafusion::common::format::ExplainFormat;
use datafusion::logical_expr::{Analyze, Explain, LogicalPlan};
use futures::TryStreamExt as _;

use crate::error::SessionError;
use crate::explain::{Shown, answer};
use crate::jobs::reads_the_session;
use crate::result::ResultStream;
use crate::session::Session;
use crate::sql;

impl Session {
    /// `EXPLAIN`: the logical plan and the stages, in the form that was asked for.
    pub(crate) async fn explain(&self, explain: Explain) -> Result<ResultStream, SessionError> {
        let state = self.context().state();
        let optimised = sql::on_deep_stack(async { state.optimize(&explain.plan) }).await?;
        let logical = |text: String| answer(&[("logical_plan", text)]);
        match explain.explain_format {
            ExplainFormat::PostgresJSON => {
                return Ok(logical(optimised.display_pg_json().to_string()));
            }
            ExplainFormat::Graphviz => {
                return Ok(logical(optimised.display_graphviz().to_string()));
            }
            ExplainFormat::Indent | ExplainFormat::Tree => {}
        }
        let options = &state.config_options().explain;
        let shown = Shown::of(&explain, options);
        if shown.is_tree || options.physical_plan_only {
            return Ok(answer(&[("stages", self.stages(&explain.plan, &shown).await?)]));
        }
        if options.logical_plan_only {
            return Ok(logical(optimised.display_indent().to_string()));
        }
        let stages = self.stages(&explain.plan, &shown).await?;
        if !explain.verbose {
            let logical = optimised.display_indent().to_string();
            return Ok(answer(&[("logical_plan", logical), ("stages", stages)]));
        }
        // Every step of DataFusion's planner comes first.
        let steps = self.physical(&LogicalPlan::Explain(explain)).await?;
        let mut steps = self.collect_here(steps).await?;
        let batches = steps.collect().await?;
        let mut rows: Vec<(&str, String)> = Vec::new();
        for batch in &batches {
            let (kinds, plans) =
                (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            let step = kinds.iter().zip(plans);
            rows.extend(step.filter_map(|(kind, plan)| Some((kind?, plan?.to_owned()))));
        }
        rows.push(("stages", stages));
        Ok(answer(&rows))
    }

    /// The stages of a query, as text.
    async fn stages(&self, query: &LogicalPlan, shown: &Shown) -> Result<String, SessionError> {
        let physical = self.physical(query).await?;
        Ok(self.jobs.explain(physical, self.context().state().config(), shown, None)?)
    }

    /// `EXPLAIN ANALYZE`: runs the query, and shows its stages with what was measured.
    pub(crate) async fn explain_analyze(
        &self,
        analyze: Analyze,
    ) -> Result<ResultStream, SessionError> {
        let physical = self.physical(&analyze.input).await?;
        let state = self.context().state();
        let shown = Shown::of_analyze(&analyze, &state.config_options().explain);
        if self.jobs.in_process.is_none() && reads_the_session(&physical) {
            // No task measures what the driver runs.
            self.collect_here(Arc::clone(&physical)).await?;
            let stages = self.jobs.explain(physical, state.config(), &shown, None)?;
            return Ok(answer(&[("stages", stages)]));
        }
        let mut rows = self.jobs.start_measured(Arc::clone(&physical), state.config())?;
        while rows.try_next().await?.is_some() {}
        let stages = self.jobs.explain(physical, state.config(), &shown, rows.report())?;
        Ok(answer(&[("stages", stages)]))
    }
}
