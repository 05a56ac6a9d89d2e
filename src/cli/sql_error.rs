//! An error that points into a script: the span underlined, the nearest name suggested.

use std::error::Error;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use datafusion::common::{DataFusionError, Diagnostic, Location, SchemaError, Span};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Spanned as _, Statement as SqlStatement, visit_expressions,
};
use datafusion::sql::sqlparser::parser::ParserError;
use gnist_operators::failure::failure_of;

use super::error::push_help;
use super::quoted::{path_help, quoted_span};
use super::script::Script;
use super::suggest::{self, Names};

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
    /// The fault, without its place.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A script that is not SQL.
    pub(super) fn parsing(script: &Script, error: &DataFusionError) -> Self {
        let mut this = Self::new(script, error);
        this.span = this.span.or_else(|| parser_span(error));
        if let Some(message) = parser_message(error) {
            this.message = lowercase_first(without_place(message));
        }
        this
    }

    /// A statement that DataFusion refused. The names known to the session serve for suggestions.
    pub(super) fn planning(
        script: &Script,
        statement: &Statement,
        error: &DataFusionError,
        names: &Names,
    ) -> Self {
        let mut this = Self::new(script, error);
        if let Some((message, candidates)) = signature(&this.message) {
            this.span = this.span.or_else(|| function_span(statement, &message));
            this.help = candidates;
            this.message = message;
        }
        if let Some(name) = unknown_function(&this.message).map(str::to_owned) {
            this.span = this.span.or_else(|| call_span(statement, &name));
            this.message = format!("there is no function `{name}`");
            (this.help, this.notes) = (names.function(&name), Vec::new());
        }
        let suggestion = column_help(error).or_else(|| table_help(&this.message, names));
        if suggestion.is_some() {
            (this.help, this.notes) = (suggestion, Vec::new());
        }
        this.help = path_help(&this.message).or(this.help);
        let whole = statement_span(statement);
        let (text, from_line) = (&script.text, whole.map_or(1, |span| span.start.line));
        let sql = sql_statement(statement);
        this.span = this.span.or_else(|| quoted_span(text, from_line, sql, &this.message));
        this.span = this.span.or(whole);
        this
    }

    fn new(script: &Script, error: &DataFusionError) -> Self {
        let diagnostic = error.diagnostic();
        let failure = failure_of(error);
        let message = diagnostic.map_or(&failure.message, |diagnostic| &diagnostic.message);
        let notes = diagnostic.map(|diagnostic| diagnostic.notes.iter());
        let helps = diagnostic.into_iter().flat_map(|diagnostic: &Diagnostic| &diagnostic.helps);
        Self {
            script: script.clone(),
            message: lowercase_first(message),
            span: diagnostic.and_then(|diagnostic| diagnostic.span),
            notes: notes.into_iter().flatten().map(|note| note.message.clone()).collect(),
            help: helps.map(|help| help.message.clone()).next().or(failure.help),
        }
    }

    /// The report: the fault, its place with the span underlined, and the next step.
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

fn parser_message(error: &DataFusionError) -> Option<&str> {
    let DataFusionError::SQL(parser, _) = error.find_root() else { return None };
    match &**parser {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => Some(message),
        ParserError::RecursionLimitExceeded => None,
    }
}

/// sqlparser says where a syntax error is at the end of its message and nowhere else.
fn parser_span(error: &DataFusionError) -> Option<Span> {
    let (_, place) = parser_message(error)?.rsplit_once(PLACE)?;
    let (line, column) = place.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    let start = Location { line: line.parse().ok()?, column: column[..digits].parse().ok()? };
    Some(Span { start, end: Location { line: start.line, column: start.column + 1 } })
}

fn without_place(message: &str) -> &str {
    message.rsplit_once(PLACE).map_or(message, |(message, _)| message)
}

fn column_help(error: &DataFusionError) -> Option<String> {
    let mut next: Option<&dyn Error> = Some(error.find_root());
    while let Some(current) = next {
        if let Some(DataFusionError::SchemaError(schema, _)) =
            current.downcast_ref::<DataFusionError>()
            && let SchemaError::FieldNotFound { field, valid_fields } = &**schema
        {
            let names: Vec<String> =
                valid_fields.iter().map(|column| column.name.clone()).collect();
            return suggest::name(&field.name, &names);
        }
        next = current.source();
    }
    None
}

/// DataFusion quotes the table it did not find; the suggestion is made from its last part.
fn table_help(message: &str, names: &Names) -> Option<String> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    names.table(name.rsplit('.').next()?)
}

/// DataFusion names a function that it does not know in its message alone.
fn unknown_function(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("invalid function '")?;
    rest.split_once('\'').map(|(name, _)| name)
}

/// DataFusion's account of a call that fits no signature: what was called, and what could be.
fn signature(message: &str) -> Option<(String, Option<String>)> {
    let at = message.find("No function matches")?;
    let (what, candidates) = message[at..].split_once('.').unwrap_or((&message[at..], ""));
    let candidates: Vec<&str> = candidates
        .split_once("Candidate functions:")
        .map(|(_, list)| list.lines().map(str::trim).filter(|line| !line.is_empty()).collect())
        .unwrap_or_default();
    let help = format!("it takes {}", candidates.join(" or "));
    Some((lowercase_first(what), (!candidates.is_empty()).then_some(help)))
}

/// The call of the function that the message quotes.
fn function_span(statement: &Statement, message: &str) -> Option<Span> {
    let (_, quoted) = message.split_once('\'')?;
    let (name, _) = quoted.split_once('(')?;
    call_span(statement, name)
}

/// The first call of a function.
fn call_span(statement: &Statement, name: &str) -> Option<Span> {
    let found = visit_expressions(sql_statement(statement)?, |expression| match expression {
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(name) => {
            ControlFlow::Break(expression.span())
        }
        _ => ControlFlow::Continue(()),
    });
    Span::try_from_sqlparser_span(found.break_value()?)
}

/// The whole statement, when nothing closer is known.
fn statement_span(statement: &Statement) -> Option<Span> {
    Span::try_from_sqlparser_span(sql_statement(statement)?.span())
}

/// The statement itself, or the one that is explained.
fn sql_statement(statement: &Statement) -> Option<&SqlStatement> {
    match statement {
        Statement::Statement(statement) => Some(statement),
        Statement::Explain(explain) => sql_statement(&explain.statement),
        _ => None,
    }
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
                let names = Names::of(&context);
                let planning =
                    |error: &_| Box::new(SqlError::planning(&script, &statement, error, &names));
                let state = context.state();
                let plan = state.statement_to_plan(statement.clone()).await;
                let plan = plan.map_err(|error| planning(&error))?;
                state.optimize(&plan).map_err(|error| planning(&error))?;
            }
            Ok::<_, Box<SqlError>>(())
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
    async fn an_unknown_function_is_underlined_and_told_by_its_meaning() {
        let text = render("select 1,\n mod(o_key, 2) from orders").await;
        let expected = "error: there is no function `mod`\n --> query:2:2\n  |\n\
                        2 |  mod(o_key, 2) from orders\n  |  ^^^\n  \
                        = help: use the operator `%`: `a % b`\n";
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn a_column_that_fails_by_its_case_is_shown_in_quotes() {
        let text = render("select userId from (select 1 as \"userId\") t").await;
        let help = "= help: write `\"userId\"`: a name without quotes is read in lower case\n";
        assert!(text.ends_with(help), "{text}");
    }

    #[tokio::test]
    async fn a_syntax_error_is_underlined() {
        let text = render("select 1;\nselec 2").await;
        assert!(text.contains(" --> query:2:1\n  |\n2 | selec 2\n  | ^"), "{text}");
        assert!(text.starts_with("error: expected: an SQL statement, found: selec\n"), "{text}");
    }

    #[tokio::test]
    async fn a_wrong_call_is_underlined_and_says_what_it_takes() {
        let text = render("select 1,\n sum(o_name) from orders").await;
        let expected = "error: no function matches the given name and argument types 'sum(Utf8)'\n \
                        --> query:2:2\n  |\n2 |  sum(o_name) from orders\n  |  ^^^^^^^^^^\n  = help: it takes sum(Decimal) or ";
        assert!(text.starts_with(expected), "{text}");
    }

    #[tokio::test]
    async fn what_has_no_place_of_its_own_underlines_the_statement() {
        let text = render("select 1;\nselect o_key from orders where o_name").await;
        assert!(text.contains("2 | select o_key from orders where o_name\n  | ^^^^^^"), "{text}");
    }

    #[tokio::test]
    async fn a_type_error_is_underlined() {
        let text = render("select o_key + interval '1 day' * 'x' from orders").await;
        assert!(text.contains("1 | select o_key"), "{text}");
        assert!(text.contains("^"), "{text}");
    }
}
