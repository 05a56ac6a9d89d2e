//! The kinds of statement: those that run as a job, those that stay in the driver, and those that
//! come with a later version and are refused before anything runs.

use datafusion::common::format::ExplainFormat;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{
    Analyze, DdlStatement, Execute, Explain, LogicalPlan, Prepare, Statement as PlanStatement,
};
use gnist_common::error::Failure;

use crate::error::{SessionError, not_yet};
use crate::write::{Options, Write};

/// A statement, by the way it is executed.
#[derive(Debug)]
pub(crate) enum Statement {
    /// A query, which runs as a job.
    Query(LogicalPlan),
    /// A statement that DataFusion runs, in the driver: definitions, descriptions.
    InDriver(LogicalPlan),
    /// Another value of a setting; none for the one it was opened with.
    Set(String, Option<String>),
    /// A query whose rows are written to files.
    Write(Box<Write>),
    /// A table made by a query, which runs as a job; the rows are kept in the driver.
    CreateTable(DdlStatement),
    /// Kept until it is executed.
    Prepare(Prepare),
    /// A prepared statement, with values.
    Execute(Execute),
    /// A prepared statement, forgotten.
    Deallocate(String),
    /// The stage graph of the query.
    Explain(Explain),
    /// The query as a job, then its stage graph with what was measured.
    ExplainAnalyze(Analyze),
}

/// The option that DataFusion looks at when it infers types, and not when it reads rows.
const NULL_REGEX: &str = "format.null_regex";

/// Sorts a statement.
///
/// # Errors
/// `Unsupported`, for what writes inside of another statement and for what defines functions.
pub(crate) fn classify(plan: LogicalPlan) -> Result<Statement, SessionError> {
    let plan = match plan {
        LogicalPlan::Copy(copy) => {
            refuse_writes(&copy.input)?;
            return Ok(Statement::Write(Box::new(Write::of_copy(copy)?)));
        }
        LogicalPlan::Dml(dml) => {
            refuse_writes(&dml.input)?;
            return Ok(Statement::Write(Box::new(Write::of_dml(dml)?)));
        }
        other => other,
    };
    refuse_writes(&plan)?;
    Ok(match plan {
        LogicalPlan::Explain(explain) => {
            refuse_definition(&explain.plan)?;
            Statement::Explain(explain)
        }
        LogicalPlan::Analyze(analyze) => {
            refuse_definition(&analyze.input)?;
            refuse_options(&analyze)?;
            Statement::ExplainAnalyze(analyze)
        }
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table))
            if !table.constraints.is_empty() =>
        {
            return Err(no_keys().into());
        }
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table))
            if !table.constraints.is_empty() =>
        {
            return Err(no_keys().into());
        }
        LogicalPlan::Ddl(statement @ DdlStatement::CreateMemoryTable(_)) => {
            Statement::CreateTable(statement)
        }
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table))
            if table.options.contains_key(NULL_REGEX) =>
        {
            let failure = not_yet(&format!("the option `{NULL_REGEX}` of a table"));
            return Err(failure
                .with_help("read the column as text, and write `nullif(c, 'NULL')`")
                .into());
        }
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table)) => {
            // What is not known is told here, with the name that is nearest.
            let options = table.options.iter();
            let options = Options::of(options.map(|(key, value)| (key.clone(), value.clone())))?;
            options.check_of_table(&table.file_type)?;
            Statement::InDriver(LogicalPlan::Ddl(DdlStatement::CreateExternalTable(table)))
        }
        LogicalPlan::Ddl(DdlStatement::CreateFunction(_)) => {
            return Err(not_yet("CREATE FUNCTION").into());
        }
        LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => Statement::Prepare(prepare),
        LogicalPlan::Statement(PlanStatement::Execute(execute)) => Statement::Execute(execute),
        LogicalPlan::Statement(PlanStatement::Deallocate(statement)) => {
            Statement::Deallocate(statement.name)
        }
        LogicalPlan::Statement(PlanStatement::SetVariable(set)) => {
            Statement::Set(set.variable, Some(set.value))
        }
        LogicalPlan::Statement(PlanStatement::ResetVariable(reset)) => {
            Statement::Set(reset.variable, None)
        }
        LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) | LogicalPlan::DescribeTable(_) => {
            Statement::InDriver(plan)
        }
        query => Statement::Query(query),
    })
}

/// The refusal of keys: a table's keys are not checked, and DataFusion would leave out a `DISTINCT`
/// by them.
fn no_keys() -> Failure {
    not_yet("`PRIMARY KEY` and `UNIQUE` of a table").with_help("leave them out")
}

/// Refuses to explain what is no query.
fn refuse_definition(explained: &LogicalPlan) -> Result<(), SessionError> {
    let (what, help) = match explained {
        LogicalPlan::Ddl(_) => ("a definition", "explain the query in it"),
        LogicalPlan::Statement(statement) => match statement {
            PlanStatement::Prepare(_) => ("`PREPARE`", "explain the query in it"),
            PlanStatement::Execute(_) => {
                ("`EXECUTE`", "explain the query that was prepared, with values in it")
            }
            PlanStatement::Deallocate(_) => ("`DEALLOCATE`", "explain a query"),
            PlanStatement::SetVariable(_) => ("`SET`", "explain a query"),
            PlanStatement::ResetVariable(_) => ("`RESET`", "explain a query"),
            PlanStatement::TransactionStart(_) | PlanStatement::TransactionEnd(_) => {
                ("a transaction", "explain a query")
            }
        },
        _ => return Ok(()),
    };
    Err(not_yet(&format!("`EXPLAIN` of {what}")).with_help(help).into())
}

/// Refuses options of `EXPLAIN ANALYZE` that would be ignored.
fn refuse_options(analyze: &Analyze) -> Result<(), SessionError> {
    let option = match analyze {
        Analyze {
            format: ExplainFormat::Indent,
            analyze_level: None,
            analyze_categories: None,
            ..
        } => {
            return Ok(());
        }
        Analyze { analyze_level: Some(_), .. } => "LEVEL".to_owned(),
        Analyze { analyze_categories: Some(_), .. } => "METRICS".to_owned(),
        Analyze { format, .. } => format!("FORMAT {format}"),
    };
    let failure = not_yet(&format!("`EXPLAIN ANALYZE` with `{option}`"));
    Err(failure.with_help("leave the option out: every operator is shown with its measures").into())
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
        Some(what) => Err(not_yet(&format!("writing (`{what}`) inside of a statement")).into()),
        None => Ok(()),
    }
}
