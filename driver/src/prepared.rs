//! Statements with parameters: `PREPARE`, `EXECUTE` and `DEALLOCATE`.
//!
//! DataFusion optimises a statement when it is prepared, before its analyzer has seen it, so that none of the rules
//! that make plans right has run. Here it is kept as it was planned, and planned on once its parameters have
//! values.
//!
//! A parameter whose type is not declared gets from DataFusion that of what stands beside it: beside a
//! `DECIMAL(10, 2)` the value `1.499` would be 1.50. Here a text is read as what stands beside it, and other values
//! are as if they were written in the statement.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, Result, not_impl_err, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Execute, Expr, LogicalPlan, Prepare, Statement as PlanStatement};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use crate::sql::decimal_of;

/// The prepared statements of a session, by name.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements {
    statements: Mutex<HashMap<String, Prepare>>,
}

/// Returns true for a `PREPARE` that declares no types.
pub(crate) fn declares_no_types(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => {
            matches!(&**statement, SqlStatement::Prepare { data_types, .. } if data_types.is_empty())
        }
        _ => false,
    }
}

/// The plan of a `PREPARE` without the types that DataFusion found for its parameters.
pub(crate) fn without_types(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => {
            let prepare = Prepare { fields: Vec::new(), ..prepare };
            LogicalPlan::Statement(PlanStatement::Prepare(prepare))
        }
        plan => plan,
    }
}

impl PreparedStatements {
    /// Keeps a statement.
    ///
    /// # Errors
    /// There is one of its name, or it has another number of parameters than types.
    pub(crate) fn add(&self, statement: Prepare) -> Result<()> {
        let parameters = statement.input.get_parameter_names()?.len();
        let types = statement.fields.len();
        if types > 0 && types != parameters {
            return plan_err!(
                "`{}` is prepared with {types} types, and has {parameters} parameters",
                statement.name
            );
        }
        match self.statements().entry(statement.name.clone()) {
            Entry::Occupied(_) => plan_err!("`{}` is prepared already", statement.name),
            Entry::Vacant(place) => {
                place.insert(statement);
                Ok(())
            }
        }
    }

    /// A statement with values in the place of its parameters.
    ///
    /// # Errors
    /// There is none of this name, or the values are not as many as its types, or don't fit them.
    pub(crate) fn with_values(
        &self,
        execute: Execute,
        state: &SessionState,
    ) -> Result<LogicalPlan> {
        let Some(statement) = self.statements().get(&execute.name).cloned() else {
            return plan_err!("`{}` is not prepared", execute.name);
        };
        let (given, types) = (execute.parameters.len(), &statement.fields);
        if !types.is_empty() && types.len() != given {
            return plan_err!("`{}` has {} parameters, and not {given}", execute.name, types.len());
        }
        let inferred = statement.input.get_parameter_fields()?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(statement.input.schema()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let values = execute.parameters.into_iter().enumerate().map(|(at, value)| {
            let value = match simplifier.simplify(value)? {
                Expr::Literal(value, metadata) => ScalarAndMetadata::new(value, metadata),
                other => return not_impl_err!("the parameter `{other}`, which is no constant"),
            };
            match types.get(at) {
                Some(field) => value.cast_storage_to(field.data_type()),
                None => match inferred.get(&format!("${}", at + 1)) {
                    Some(Some(field)) => as_beside(value, field.data_type()),
                    _ => Ok(value),
                },
            }
        });
        let values = ParamValues::List(values.collect::<Result<_>>()?);
        Arc::unwrap_or_clone(statement.input).replace_params_with_values(&values)
    }

    /// Forgets a statement.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match self.statements().remove(name) {
            Some(_) => Ok(()),
            None => plan_err!("`{name}` is not prepared"),
        }
    }

    fn statements(&self) -> MutexGuard<'_, HashMap<String, Prepare>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text as a value of the type that stands beside it; another value as it is.
fn as_beside(value: ScalarAndMetadata, of: &DataType) -> Result<ScalarAndMetadata> {
    let Some(Some(text)) = value.value().try_as_str() else { return Ok(value) };
    match decimal_of(text).filter(|_| of.is_decimal()) {
        Some(number) => Ok(ScalarAndMetadata::new(number, None)),
        None => value.cast_storage_to(of),
    }
}
