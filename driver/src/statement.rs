//! What kind of statement a logical plan is: what runs as a job, what stays in the driver, and
//! what comes with a later version and is refused before anything runs.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};

use crate::error::{SessionError, not_yet};

/// How a statement is executed.
#[derive(Debug)]
pub(crate) enum Statement {
    /// As a job.
    Query(LogicalPlan),
    /// By DataFusion, in the driver: settings, definitions, descriptions.
    InDriver(LogicalPlan),
    /// Its query as a job, its rows kept in the driver.
    CreateTable(DdlStatement),
    /// The stage graph of the query.
    Explain(Arc<LogicalPlan>),
    /// The query as a job, then its stage graph with what was measured.
    ExplainAnalyze(Arc<LogicalPlan>),
}

/// Sorts a statement.
///
/// # Errors
/// `Unsupported`, for what writes and for what defines functions.
pub(crate) fn classify(plan: LogicalPlan) -> Result<Statement, SessionError> {
    refuse_writes(&plan)?;
    Ok(match plan {
        LogicalPlan::Explain(explain) => Statement::Explain(explain.plan),
        LogicalPlan::Analyze(analyze) => Statement::ExplainAnalyze(analyze.input),
        LogicalPlan::Ddl(statement @ DdlStatement::CreateMemoryTable(_)) => {
            Statement::CreateTable(statement)
        }
        LogicalPlan::Ddl(DdlStatement::CreateFunction(_)) => {
            return Err(not_yet("CREATE FUNCTION").into());
        }
        LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) | LogicalPlan::DescribeTable(_) => {
            Statement::InDriver(plan)
        }
        query => Statement::Query(query),
    })
}

fn refuse_writes(plan: &LogicalPlan) -> Result<(), SessionError> {
    let mut write = None;
    let visited = plan.apply(|node| {
        write = match node {
            LogicalPlan::Copy(_) => Some("COPY"),
            LogicalPlan::Dml(dml) => Some(dml.op.name()),
            _ => return Ok(TreeNodeRecursion::Continue),
        }
        .map(str::to_owned);
        Ok(TreeNodeRecursion::Stop)
    });
    visited?;
    match write {
        Some(what) => Err(not_yet(&format!("writing (`{what}`)")).into()),
        None => Ok(()),
    }
}
