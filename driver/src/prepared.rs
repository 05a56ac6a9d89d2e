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
use datafusion::common::{DFSchema, ParamValues, Result, not_impl_err, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Execute, Expr, LogicalPlan, Prepare, Statement as PlanStatement};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use crate::sql::{normalized, number_of};

/// The prepared statements of a session, by name.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements {
    statements: Mutex<HashMap<String, Prepare>>,
}

/// The name and the statement of a `PREPARE` that declares no types. DataFusion plans it only if one type fits each
/// parameter everywhere.
pub(crate) fn untyped(statement: &Statement) -> Option<(String, Statement)> {
    let Statement::Statement(statement) = statement else { return None };
    match statement.as_ref() {
        SqlStatement::Prepare { name, data_types, statement } if data_types.is_empty() => {
            Some((normalized(name), Statement::Statement(statement.clone())))
        }
        _ => None,
    }
}

/// The plan of a `PREPARE` without types.
pub(crate) fn without_types(name: String, input: LogicalPlan) -> LogicalPlan {
    let prepare = Prepare { name, fields: Vec::new(), input: Arc::new(input) };
    LogicalPlan::Statement(PlanStatement::Prepare(prepare))
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
        let names = statement.input.get_parameter_names()?;
        let places = names.iter().filter_map(|name| name.strip_prefix('$')?.parse().ok());
        let parameters: usize = places.max().unwrap_or_default();
        if parameters != given {
            return plan_err!("`{}` has {parameters} parameters, and not {given}", execute.name);
        }
        // None if several types stand beside one parameter.
        let inferred = statement.input.get_parameter_fields().unwrap_or_default();
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(statement.input.schema()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let values = execute.parameters.into_iter().enumerate().map(|(at, value)| {
            let value = simplifier.coerce(value, &DFSchema::empty())?;
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
    if of.is_null() {
        return Ok(value);
    }
    match number_of(text).filter(|_| of.is_decimal()) {
        Some(number) => Ok(ScalarAndMetadata::new(number, None)),
        None => value.cast_storage_to(of),
    }
}
