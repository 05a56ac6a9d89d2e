//! The text of several statements, and its parts.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::error::CliError;
use super::sql_error::SqlError;

/// The statements of a script and the text they came from.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// `query`, or the file's name.
    pub(super) name: String,
    pub(super) text: String,
}

impl Script {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Every statement in order. All are parsed before the first runs.
    pub(crate) fn statements(&self) -> Result<Vec<Statement>, Box<SqlError>> {
        let parsed = gnist_driver::parse(&self.text);
        parsed.map(Vec::from).map_err(|error| Box::new(SqlError::parsing(self, &error)))
    }
}

/// The one statement of this text.
///
/// # Errors
///
/// The text is not one statement of SQL.
pub(crate) fn statement(sql: &str) -> Result<Statement, CliError> {
    let script = Script::new("query", sql);
    let mut statements = script.statements().map_err(CliError::Sql)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(CliError::usage("expected one statement")),
    }
}

/// Tells whether a statement has rows to print.
pub(crate) fn has_result(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => matches!(
            **statement,
            SqlStatement::Query(_)
                | SqlStatement::Explain { .. }
                | SqlStatement::ExplainTable { .. }
                | SqlStatement::ShowVariable { .. }
                | SqlStatement::ShowTables { .. }
                | SqlStatement::ShowColumns { .. }
                | SqlStatement::ShowFunctions { .. }
                | SqlStatement::ShowCreate { .. }
                | SqlStatement::Execute { .. }
        ),
        Statement::Explain(_) => true,
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

/// True for statements whose answer is the number of rows that they wrote.
pub(crate) fn writes(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => matches!(**statement, SqlStatement::Insert(_)),
        Statement::CopyTo(_) => true,
        Statement::Explain(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_know_whether_they_have_rows() {
        for (text, rows) in [
            ("select 1", true),
            ("explain select 1", true),
            ("show tables", true),
            ("set a = 1", false),
            ("create view v as select 1", false),
            ("with a as (select 1) select * from a", true),
            ("values (1)", true),
        ] {
            let statements = Script::new("query", text).statements().expect(text);
            assert_eq!(has_result(&statements[0]), rows, "{text}");
        }
    }
}
