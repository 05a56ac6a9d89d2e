//! Text to statements, on a stack that is as deep as the text.
//!
//! DataFusion and sqlparser recurse over what a user writes, and a Rust process that runs out of
//! stack aborts. So depth is bounded here, before anything recurses over it:
//!
//! 1. The text is cut into tokens, which takes no recursion. Operators and open brackets bound the
//!    depth of any tree that they parse to; above [`OPERATORS_MAX`] and [`NESTING_MAX`] the statement
//!    is refused.
//! 2. It is parsed and rewritten on a stack made for that depth.
//! 3. Chains of `AND`, `OR` and `UNION` become balanced trees ([`super::chains`]): 20,000 terms are 15
//!    levels deep.
//! 4. What is still deeper than [`DEPTH_MAX`] is refused, and so are CTEs that are written out to too much
//!    ([`super::repeated`]).
//!
//! Rejected: larger stacks for any depth. Expressions are copied, compared, evaluated and dropped by
//! many threads, each of which would need one.

use std::collections::VecDeque;

use datafusion::common::{DataFusionError, Result};
use datafusion::config::Dialect as DialectName;
use datafusion::sql::parser::{DFParserBuilder, ParserInput, Statement};
use datafusion::sql::sqlparser::dialect::{Dialect, dialect_from_str};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::dialect::GnistDialect;
use super::repeated::{ViewSizes, refuse_repeats};
use super::rewrites::rewrite;

/// Operators on top of each other.
pub(super) const OPERATORS_MAX: usize = 100_000;

/// Brackets, `CASE`s, prefix operators and statements inside each other.
const NESTING_MAX: usize = 250;

/// Levels of an expression, a join or a set operation after chains are balanced.
pub(super) const DEPTH_MAX: usize = 500;

/// Stack that parsing and rewriting take at most for a level.
const LEVEL_BYTES: usize = 4 << 10;

/// Stack that they take at most for a level of brackets.
const BRACKET_BYTES: usize = 128 << 10;

/// The statements of a text, as DataFusion's planner answers them rightly.
///
/// # Errors
/// `SQL` with its place, or `Plan` for a statement that is too deep.
pub fn parse(text: &str) -> Result<VecDeque<Statement>> {
    parse_as(text, DialectName::Generic)
}

/// Parses as [`parse`] does, in a dialect that the session was set to.
pub(crate) fn parse_as(text: &str, dialect: DialectName) -> Result<VecDeque<Statement>> {
    let named;
    let dialect: &dyn Dialect = match dialect {
        DialectName::Generic => &GnistDialect,
        other => {
            named = dialect_from_str(other);
            let unknown = || DataFusionError::Plan(format!("unknown SQL dialect `{other}`"));
            named.as_deref().ok_or_else(unknown)?
        }
    };
    let tokens =
        Tokenizer::new(dialect, text).tokenize_with_location().map_err(ParserError::from)?;
    let depth = Depth::of(&tokens)?;
    let stack = (4 << 20) + depth.operators * LEVEL_BYTES + depth.nesting * BRACKET_BYTES;
    on_stack(stack, || {
        // sqlparser counts several levels for one bracket.
        let mut parser = DFParserBuilder::new(ParserInput::Tokens(tokens))
            .with_dialect(dialect)
            .with_recursion_limit(16 * NESTING_MAX)
            .build()?;
        let mut statements = parser.parse_statements().or_else(named_depth)?;
        statements.iter_mut().try_for_each(rewrite)?;
        let no_views = ViewSizes::new();
        statements.iter().try_for_each(|statement| refuse_repeats(statement, &no_views))?;
        Ok(statements)
    })
}

/// The parser's error, or that of a statement that is too deep where the parser came to its own limit.
fn named_depth<T>(error: DataFusionError) -> Result<T> {
    let is_depth = matches!(
        error.find_root(),
        DataFusionError::SQL(cause, _) if matches!(**cause, ParserError::RecursionLimitExceeded)
    );
    if is_depth { too_deep(format!("it has more than {DEPTH_MAX} levels")) } else { Err(error) }
}

/// Runs on the thread's own stack where that has room.
fn on_stack<R>(bytes: usize, run: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(bytes, bytes, run)
}

/// Bounds of the depth of what a text parses to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Depth {
    /// Operators on top of each other: those since the last comma, in all brackets that are open.
    operators: usize,
    /// Brackets, `CASE`s and prefix operators inside each other.
    nesting: usize,
}

impl Depth {
    fn of(tokens: &[TokenWithSpan]) -> Result<Self> {
        let mut scan = Scan::default();
        tokens.iter().for_each(|token| scan.take(&token.token));
        let depth = scan.deepest;
        if depth.nesting > NESTING_MAX {
            let found = depth.nesting;
            return too_deep(format!("brackets nest {found} deep, and {NESTING_MAX} is the most"));
        }
        if depth.operators > OPERATORS_MAX {
            let found = depth.operators;
            return too_deep(format!(
                "it chains {found} operators, and {OPERATORS_MAX} is the most"
            ));
        }
        Ok(depth)
    }
}

/// The state of one pass over tokens.
#[derive(Debug, Default)]
struct Scan {
    deepest: Depth,
    /// Operators since the last comma, for each open bracket around the innermost.
    around: Vec<usize>,
    /// The same of the innermost.
    here: usize,
    /// Sum of both.
    operators: usize,
    /// Prefix operators just read.
    prefixes: usize,
    /// Words since the last comma or operator that may begin a statement inside of another, outside of brackets.
    starts: usize,
}

impl Scan {
    fn take(&mut self, token: &Token) {
        match token {
            Token::Whitespace(_) => return,
            Token::LParen | Token::LBracket | Token::LBrace => self.open(),
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Word(word) if word.keyword == Keyword::CASE => self.open(),
            Token::Word(word) if word.keyword == Keyword::END => self.close(),
            Token::Word(word) if self.around.is_empty() && STARTS.contains(&word.keyword) => {
                self.starts += 1;
            }
            Token::Comma => {
                self.forget();
                if self.around.is_empty() {
                    self.starts = 0;
                }
            }
            Token::SemiColon => {
                self.around.clear();
                (self.here, self.operators, self.starts) = (0, 0, 0);
            }
            token if is_operator(token) => {
                self.here += 1;
                self.operators += 1;
                // No statement begins within an expression: such a word was the name of a column.
                self.starts = 0;
            }
            _ => {}
        }
        self.prefixes = if is_prefix(token) { self.prefixes + 1 } else { 0 };
        let nesting = self.around.len() + self.prefixes + self.starts;
        self.deepest.nesting = self.deepest.nesting.max(nesting);
        self.deepest.operators = self.deepest.operators.max(self.operators);
    }

    fn open(&mut self) {
        self.around.push(self.here);
        self.here = 0;
    }

    fn close(&mut self) {
        self.forget();
        self.here = self.around.pop().unwrap_or(0);
    }

    fn forget(&mut self) {
        self.operators -= self.here;
        self.here = 0;
    }
}

fn is_prefix(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            matches!(word.keyword, Keyword::NOT | Keyword::PRIOR | Keyword::INTERVAL)
        }
        Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark | Token::AtSign => true,
        _ => false,
    }
}

/// True if a token may put one tree on top of another.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => OPERATORS.contains(&word.keyword),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Char(_)
        | Token::EOF => false,
        _ => true,
    }
}

/// Words before a statement that may be another one of these.
const STARTS: [Keyword; 5] =
    [Keyword::EXPLAIN, Keyword::DESCRIBE, Keyword::DESC, Keyword::PREPARE, Keyword::WHILE];

const OPERATORS: [Keyword; 24] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::SIMILAR,
    Keyword::OVERLAPS,
    Keyword::DIV,
    Keyword::AT,
    Keyword::COLLATE,
    Keyword::PRIOR,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::MINUS,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::INTERVAL,
    Keyword::EXPLAIN,
];

/// The error of a statement that is too deep.
pub(super) fn too_deep<T>(what: String) -> Result<T> {
    let message = format!(
        "the statement is too deep: {what}; load the values into a table and join with it, or cut the \
         expression into views"
    );
    Err(DataFusionError::Plan(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).expect_err("too deep").to_string()
    }

    #[test]
    fn long_chains_are_read_on_a_small_stack() {
        let terms = |op: &str, n: usize| vec!["a = 1"; n].join(op);
        for (op, n) in [(" or ", 20_000), (" and ", 1_000)] {
            let text = format!("select 1 from t where {}", terms(op, n));
            let read = std::thread::Builder::new().stack_size(256 << 10);
            let read = read.spawn(move || parse(&text).map(|statements| statements.len()));
            let statements = read.expect("a thread").join().expect("no overflow");
            assert_eq!(statements.expect("statements"), 1);
        }
    }

    #[test]
    fn what_is_too_deep_is_refused() {
        let nested = |open: &str, close: &str, n: usize| {
            format!("select {}1{}", open.repeat(n), close.repeat(n))
        };
        for text in [
            nested("(", ")", 25_000),
            nested("abs(", ")", 12_000),
            nested("case when true then ", " end", 5_000),
            nested("- ", "", 20_000),
            nested("not ", "", 20_000),
            nested("[", "]", 20_000),
            format!("select {}", vec!["1"; 20_000].join(" + ")),
            format!("select {}", vec!["'a'"; 20_000].join(" || ")),
            format!("select {}", vec!["a"; 200_000].join(" or ")),
            format!("select {}", vec!["a"; 20_000].join(" and ")),
            format!("select not ({})", vec!["a"; 20_000].join(" or ")),
            format!(
                "select {}",
                vec![format!("({})", vec!["a"; 200].join(" and ")); 9].join(" and ")
            ),
        ] {
            assert!(error(&text).contains("too deep"), "{}", &text[..40]);
        }
    }

    #[test]
    fn what_is_deep_but_not_too_deep_is_read() {
        let plus = format!("select {}", vec!["1"; 400].join(" + "));
        let brackets = format!("select {}1{}", "(".repeat(240), ")".repeat(240));
        let list = format!("select 1 in ({})", vec!["1"; 100_000].join(", "));
        let unions = vec!["select 1"; 10_000].join(" union all ");
        for text in [plus, brackets, list, unions] {
            assert_eq!(parse(&text).expect("it is not too deep").len(), 1);
        }
    }
}
