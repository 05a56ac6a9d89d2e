//! The text of several statements: its parts, and errors that point into it.

use std::fmt::Write as _;

use datafusion::common::{DataFusionError, Location, SchemaError, Span};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use gnist_common::config::nearest;
use gnist_operators::failure::failure_of;

use super::error::{CliError, push_help};

/// The statements of a script and the text they came from.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// `query`, or the file's name.
    name: String,
    text: String,
}

impl Script {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Every statement in order. All are parsed before the first runs.
    pub(crate) fn statements(&self) -> Result<Vec<Statement>, SqlError> {
        // Nested expressions are parsed on a stack that grows.
        const DEPTH_MAX: usize = 10_000;
        let dialect = GenericDialect {};
        let parsed = DFParserBuilder::new(self.text.as_str())
            .with_dialect(&dialect)
            .with_recursion_limit(DEPTH_MAX)
            .build()
            .and_then(|mut parser| parser.parse_statements());
        parsed.map(Vec::from).map_err(|error| self.error(&error, &[]))
    }

    /// What DataFusion said about a statement of this script, with its place. The tables known
    /// to the session serve for suggestions.
    pub(crate) fn error(&self, error: &DataFusionError, tables: &[String]) -> SqlError {
        let diagnostic = error.diagnostic();
        let span = diagnostic.and_then(|diagnostic| diagnostic.span).or_else(|| parser_span(error));
        let failure = failure_of(error);
        let message = match diagnostic {
            Some(diagnostic) => lowercase_first(&diagnostic.message),
            None => without_place(&failure.message).to_owned(),
        };
        let notes = diagnostic
            .map(|diagnostic| diagnostic.notes.iter().map(|note| note.message.clone()).collect());
        let helps = diagnostic.into_iter().flat_map(|diagnostic| &diagnostic.helps);
        let help = column_help(error)
            .or_else(|| table_help(&message, tables))
            .or_else(|| helps.map(|help| help.message.clone()).next())
            .or(failure.help);
        SqlError { script: self.clone(), message, span, notes: notes.unwrap_or_default(), help }
    }
}

/// The one statement of this text.
///
/// # Errors
///
/// It is not one statement of SQL.
pub(crate) fn statement(sql: &str) -> Result<Statement, CliError> {
    let script = Script::new("query", sql);
    let mut statements = script.statements().map_err(|error| CliError::Sql(Box::new(error)))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(CliError::usage("expected one statement")),
    }
}

/// Whether a statement has rows to print.
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

/// A statement that can't be understood or planned.
#[derive(Clone, Debug)]
pub(crate) struct SqlError {
    script: Script,
    message: String,
    span: Option<Span>,
    notes: Vec<String>,
    help: Option<String>,
}

impl SqlError {
    /// What, where with the span underlined, and what to do.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("error: {}\n", self.message);
        if let Some(span) = self.span {
            self.push_place(&mut out, span);
        }
        for note in &self.notes {
            writeln!(out, "  = note: {note}").expect("a string takes every write");
        }
        push_help(&mut out, self.help.as_deref());
        out
    }

    fn push_place(&self, out: &mut String, span: Span) {
        let (line, column) = (span.start.line, span.start.column);
        let Some(source) = line_of(&self.script.text, line) else { return };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
        // A tab stays a tab, so that what stands below it is below it.
        let indent: String =
            source.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let rest = source.chars().count().saturating_sub(before).max(1);
        let marked = if span.end.line == line {
            usize::try_from(span.end.column.saturating_sub(column)).unwrap_or(1).clamp(1, rest)
        } else {
            rest
        };
        let (name, marks) = (&self.script.name, "^".repeat(marked));
        write!(
            out,
            "{margin}--> {name}:{line}:{column}\n{margin} |\n{number} | {source}\n{margin} | {indent}{marks}\n"
        )
        .expect("a string takes every write");
    }
}

fn line_of(text: &str, line: u64) -> Option<&str> {
    text.lines().nth(usize::try_from(line.checked_sub(1)?).ok()?)
}

fn lowercase_first(message: &str) -> String {
    let mut chars = message.chars();
    // An acronym or a name stays as it is.
    match (chars.next(), message.chars().nth(1)) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => message.to_owned(),
    }
}

const PLACE: &str = " at Line: ";

/// sqlparser says where a syntax error is at the end of its message and nowhere else.
fn parser_span(error: &DataFusionError) -> Option<Span> {
    let DataFusionError::SQL(parser, _) = error.find_root() else { return None };
    let (ParserError::ParserError(message) | ParserError::TokenizerError(message)) = &**parser
    else {
        return None;
    };
    let (_, place) = message.rsplit_once(PLACE)?;
    let (line, column) = place.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    let start = Location { line: line.parse().ok()?, column: column[..digits].parse().ok()? };
    Some(Span { start, end: Location { line: start.line, column: start.column + 1 } })
}

fn without_place(message: &str) -> &str {
    message.rsplit_once(PLACE).map_or(message, |(message, _)| message)
}

fn column_help(error: &DataFusionError) -> Option<String> {
    let mut next: Option<&dyn std::error::Error> = Some(error.find_root());
    while let Some(current) = next {
        if let Some(DataFusionError::SchemaError(schema, _)) =
            current.downcast_ref::<DataFusionError>()
            && let SchemaError::FieldNotFound { field, valid_fields } = &**schema
        {
            let names = valid_fields.iter().map(|column| column.name.clone());
            return nearest(&field.name, names).map(|name| format!("did you mean `{name}`?"));
        }
        next = current.source();
    }
    None
}

/// DataFusion quotes the table it did not find; the suggestion is made from its last part.
fn table_help(message: &str, tables: &[String]) -> Option<String> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    let name = name.rsplit('.').next()?;
    nearest(name, tables.iter().cloned()).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn render(text: &str) -> String {
        let context = SessionContext::new();
        let options = |state: &mut datafusion::execution::SessionState| {
            state.config_mut().options_mut().sql_parser.collect_spans = true;
        };
        options(&mut context.state_ref().write());
        let script = Script::new("query", text);
        let create = "create table orders as select 1 as o_key, 'x' as o_name";
        context.sql(create).await.expect("created");
        let run = async {
            for statement in script.statements()? {
                let tables = ["orders".to_owned()];
                let state = context.state();
                let plan = state.statement_to_plan(statement).await;
                let plan = plan.map_err(|error| script.error(&error, &tables))?;
                state.optimize(&plan).map_err(|error| script.error(&error, &tables))?;
            }
            Ok::<_, SqlError>(())
        };
        run.await.expect_err("a wrong script").render()
    }

    #[tokio::test]
    async fn an_unknown_column_is_underlined_and_the_nearest_is_suggested() {
        let expected = "error: column 'o_nam' not found\n --> query:2:8\n  |\n\
                        2 | select o_nam from orders\n  |        ^^^^^\n  = help: did you mean `o_name`?\n";
        assert_eq!(render("select 1;\nselect o_nam from orders").await, expected);
    }

    #[tokio::test]
    async fn an_unknown_table_is_underlined_and_the_nearest_is_suggested() {
        let text = render("select 1 from order_").await;
        assert!(text.contains("1 | select 1 from order_\n  |               ^^^^^^"), "{text}");
        assert!(text.contains("= help: did you mean `orders`?"), "{text}");
    }

    #[tokio::test]
    async fn a_syntax_error_is_underlined() {
        let text = render("select 1;\nselec 2").await;
        assert!(text.contains(" --> query:2:1\n  |\n2 | selec 2\n  | ^"), "{text}");
        assert!(!text.contains("Line: "), "{text}");
    }

    #[tokio::test]
    async fn a_type_error_is_underlined() {
        let text = render("select o_key + interval '1 day' * 'x' from orders").await;
        assert!(text.contains("1 | select o_key"), "{text}");
        assert!(text.contains("^"), "{text}");
    }

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
