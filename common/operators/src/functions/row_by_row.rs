//! The value of a scalar function in a row depends on that row alone: not on the rows around it, nor on which
//! arguments are constants.
//!
//! Every function that a session knows is called with values of every type that it accepts. The reference is a batch
//! of that one row. Faults of this kind are silent: functions that read an option from the first row of a batch,
//! and constants that an optimizer puts together otherwise than the function would.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{Expr, ScalarUDF, Volatility, col, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::SessionContext;

use super::register_functions;

/// SQL texts of values, several of each type.
const VALUES: &[&[&str]] = &[
    &["0", "-1", "7", "cast(null as bigint)"],
    &["0e0", "1.5e0", "cast('NaN' as double)", "cast(null as double)"],
    &["cast('1.25' as decimal(3, 2))", "-0.50", "null"],
    &["'abc'", "''", "'10'", "'%Y-%m'", "'day'", "'b'", "cast(null as varchar)"],
    &["true", "false", "cast(null as boolean)"],
    &["date '2020-02-29'", "date '1969-12-31'", "cast(null as date)"],
    &[
        "timestamp '2020-02-29T12:34:56.789'",
        "timestamp '1969-12-31T23:59:59.5'",
        "cast(null as timestamp)",
    ],
    &["interval '1 month'", "interval '-36 hours'", "cast(null as interval)"],
    &["time '12:34:56'", "cast(null as time)"],
    &["X'00ff'", "X''", "cast(null as bytea)"],
    &["[1, 2, null]", "[2]", "[3, 1]", "arrow_cast(null, 'List(Int64)')"],
    &["['a', null]", "['b', 'a']", "arrow_cast(null, 'List(Utf8)')"],
    &["[[1], [2, null]]", "[[2]]", "[null, [1]]"],
    &["map(['a', 'b'], [1, null])", "map(['b'], [2])"],
    &["named_struct('a', 1, 'b', 'x')", "named_struct('a', null, 'b', 'y')"],
    // Types that columns have, and literals have not.
    &[
        "arrow_cast('abc', 'Utf8View')",
        "arrow_cast('', 'Utf8View')",
        "arrow_cast('10', 'Utf8View')",
        "arrow_cast('day', 'Utf8View')",
        "arrow_cast(null, 'Utf8View')",
    ],
    &[
        "arrow_cast(0, 'Int8')",
        "arrow_cast(-1, 'Int8')",
        "arrow_cast(7, 'Int8')",
        "arrow_cast(null, 'Int8')",
    ],
    &[
        "arrow_cast(0, 'Int16')",
        "arrow_cast(-1, 'Int16')",
        "arrow_cast(7, 'Int16')",
        "arrow_cast(null, 'Int16')",
    ],
    &[
        "arrow_cast(0, 'Int32')",
        "arrow_cast(-1, 'Int32')",
        "arrow_cast(7, 'Int32')",
        "arrow_cast(null, 'Int32')",
    ],
    &[
        "arrow_cast(0, 'UInt8')",
        "arrow_cast(7, 'UInt8')",
        "arrow_cast(255, 'UInt8')",
        "arrow_cast(null, 'UInt8')",
    ],
    &["arrow_cast(0, 'UInt16')", "arrow_cast(7, 'UInt16')", "arrow_cast(null, 'UInt16')"],
    &["arrow_cast(0, 'UInt32')", "arrow_cast(7, 'UInt32')", "arrow_cast(null, 'UInt32')"],
    &["arrow_cast(0, 'UInt64')", "arrow_cast(7, 'UInt64')", "arrow_cast(null, 'UInt64')"],
];

/// Arguments of calls with three arguments are of these kinds of values.
const OF_THREE: &[usize] = &[0, 3, 5, 6, 7, 10, 11, 15];

/// Functions of a call's types and names, not of its values.
const OF_TYPES: [&str; 3] = ["arrow_field", "arrow_metadata", "arrow_typeof"];

/// Errors of calls that are refused one way and not the other.
const REFUSALS: [&str; 6] = [
    // A constant pattern that is none, or place, is refused whatever the text.
    "Regular expression did not compile",
    "field position must not be zero",
    "Error parsing timestamp",
    // Lists that are not of numbers, and negative lengths.
    "could not cast array of type List",
    "failed to convert size to usize",
    // Logarithms of decimals with fewer than two digits before the point.
    "Can't represent ten at scale",
];

/// Limit of the rows of a call.
const ROWS_MAX: usize = 20;

struct Functions {
    context: SessionContext,
    /// Values of each kind of [`VALUES`].
    values: Vec<Vec<ScalarValue>>,
}

/// The values of one call: a column for each argument.
struct Rows {
    columns: Vec<Vec<ScalarValue>>,
    batch: RecordBatch,
}

impl Rows {
    fn new(columns: Vec<Vec<ScalarValue>>) -> Self {
        let arrays: Vec<ArrayRef> = columns
            .iter()
            .map(|values| ScalarValue::iter_to_array(values.iter().cloned()).unwrap())
            .collect();
        let fields: Vec<Field> = (0..)
            .zip(&arrays)
            .map(|(at, array): (usize, _)| {
                Field::new(format!("c{at}"), array.data_type().clone(), true)
            })
            .collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(columns[0].len()));
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &rows).unwrap();
        Self { columns, batch }
    }

    fn of(&self, rows: &[usize]) -> RecordBatch {
        let rows: Vec<u32> = rows.iter().map(|row| u32::try_from(*row).unwrap()).collect();
        take_record_batch(&self.batch, &UInt32Array::from(rows)).unwrap()
    }

    fn len(&self) -> usize {
        self.batch.num_rows()
    }
}

fn texts(array: &dyn Array) -> Result<Vec<String>> {
    let options = FormatOptions::new().with_null("null");
    let formatter = ArrayFormatter::try_new(array, &options)?;
    (0..array.len()).map(|row| Ok(formatter.value(row).try_to_string()?)).collect()
}

impl Functions {
    fn new() -> Self {
        let mut context = SessionContext::new();
        register_functions(&mut context).unwrap();
        let values = Vec::new();
        let mut functions = Self { context, values };
        let of_kind = |texts: &&[&str]| -> Vec<ScalarValue> {
            let values = texts.iter().map(|text| functions.constant(text).expect(text));
            let values: Vec<_> = values.collect();
            let of = values[0].data_type();
            values.iter().map(|value| value.cast_to(&of).expect("a value of its kind")).collect()
        };
        let values = VALUES.iter().map(of_kind).collect();
        functions.values = values;
        functions
    }

    fn constant(&self, text: &str) -> Result<ScalarValue> {
        let schema = DFSchema::empty();
        let expr = self.simplified(self.context.parse_sql_expr(text, &schema)?, &schema)?;
        let expr = self.context.create_physical_expr(expr, &schema)?;
        let rows = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &rows)?;
        ScalarValue::try_from_array(&expr.evaluate(&row)?.into_array(1)?, 0)
    }

    fn simplified(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(self.context.state().config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        simplifier.simplify(simplifier.coerce(expr, schema)?)
    }

    /// Every function whose values repeat.
    fn all(&self) -> Vec<Arc<ScalarUDF>> {
        let functions = self.context.state().scalar_functions().clone();
        let names: BTreeSet<_> = functions.values().map(|it| it.name().to_owned()).collect();
        let functions = names.into_iter().map(|name| Arc::clone(&functions[&name]));
        functions
            .filter(|it| it.signature().volatility != Volatility::Volatile)
            .filter(|it| !OF_TYPES.contains(&it.name()))
            .collect()
    }

    /// Kinds of values for so many arguments.
    fn kinds(&self, arguments: usize) -> Vec<Vec<usize>> {
        let of: Vec<usize> = match arguments {
            3.. => OF_THREE.to_vec(),
            _ => (0..self.values.len()).collect(),
        };
        let mut kinds = vec![vec![]];
        for _ in 0..arguments {
            let longer = |kinds: &Vec<usize>| {
                let kinds = kinds.clone();
                of.clone().into_iter().map(move |kind| [kinds.as_slice(), &[kind]].concat())
            };
            kinds = kinds.iter().flat_map(longer).collect();
        }
        kinds
    }

    /// The values of a call's arguments, each with each; some of them, if there are many.
    fn rows(&self, kinds: &[usize]) -> Rows {
        let all: usize = kinds.iter().map(|kind| self.values[*kind].len()).product();
        // A step without a common divisor with the lengths, all below 8.
        let step = if all > ROWS_MAX { 11 } else { 1 };
        let picked = (0..all.min(ROWS_MAX)).map(|at| at * step % all);
        let picked: Vec<usize> = picked.collect();
        let mut divisor = 1;
        let mut columns = Vec::new();
        for kind in kinds {
            let values = &self.values[*kind];
            let of = |at: &usize| values[at / divisor % values.len()].clone();
            columns.push(picked.iter().map(of).collect());
            divisor *= values.len();
        }
        Rows::new(columns)
    }

    /// The values of a call in a batch, as texts.
    fn call(&self, call: Expr, batch: &RecordBatch) -> Result<Vec<String>> {
        let run = || {
            let schema = DFSchema::try_from(batch.schema())?;
            let call = self.simplified(call, &schema)?;
            let call = self.context.create_physical_expr(call, &schema)?;
            texts(&call.evaluate(batch)?.into_array(batch.num_rows())?)
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| internal_err!("it panicked"))
    }

    /// Adds the faults of a function's calls with these arguments: values that differ from those of
    /// their rows alone, panics, and internal errors.
    fn check(&self, function: &Arc<ScalarUDF>, rows: &Rows, faults: &mut BTreeSet<String>) {
        let arguments = rows.columns.len();
        let columns: Vec<Expr> = (0..arguments).map(|at| col(format!("c{at}"))).collect();
        let of_columns = function.call(columns.clone());
        let one = |row| self.call(of_columns.clone(), &rows.of(&[row]));
        let mut alone = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let value = one(row);
            if let Err(DataFusionError::Internal(error)) = &value
                && !is_refusal(error)
            {
                let of: Vec<_> = rows.columns.iter().map(|it| format!("{:?}", it[row])).collect();
                faults.insert(format!("{}({}): {value:?}", function.name(), of.join(", ")));
            }
            alone.push(value.ok().map(|it| it[0].clone()));
        }
        let good: Vec<usize> = (0..rows.len()).filter(|row| alone[*row].is_some()).collect();
        if good.is_empty() {
            return;
        }
        let types: Vec<_> =
            rows.batch.columns().iter().map(|it| it.data_type().to_string()).collect();
        let mut compare = |how: &str, of: &[usize], called: Result<Vec<String>>| {
            let name = function.name();
            let types = types.join(", ");
            match called {
                Err(error) if is_refusal(&error.to_string()) => {}
                Err(error) => {
                    let error = error.strip_backtrace();
                    let error: String = error.chars().take(200).collect();
                    faults.insert(format!("{name}({types}) {how}: fails: {error}"));
                }
                Ok(values) => {
                    for (row, value) in of.iter().zip(values) {
                        let expected = alone[*row].as_ref().unwrap();
                        if !is_same(expected, &value) {
                            let of: Vec<_> =
                                rows.columns.iter().map(|it| it[*row].to_string()).collect();
                            let of = of.join(", ");
                            faults.insert(format!(
                                "{name}({types}) {how}: of ({of}) is {value}, alone {expected}"
                            ));
                            return;
                        }
                    }
                }
            }
        };
        compare("together", &good, self.call(of_columns.clone(), &rows.of(&good)));
        let padded: Vec<usize> = good.iter().rev().chain([&good[0]]).copied().collect();
        let sliced = rows.of(&padded).slice(1, good.len());
        compare("sliced", &padded[1..], self.call(of_columns, &sliced));
        for constants in 1..1_usize << arguments {
            let is_constant = |at: usize| constants >> at & 1 == 1;
            let mut left = good.clone();
            while let Some(first) = left.first().copied() {
                let is_like = |row: &usize| {
                    (0..arguments).filter(|at| is_constant(*at)).all(|at| {
                        let values = &rows.columns[at];
                        values[*row] == values[first]
                    })
                };
                let (of, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_like);
                left = others;
                let argument = |at: usize| match is_constant(at) {
                    true => lit(rows.columns[at][first].clone()),
                    false => columns[at].clone(),
                };
                let call = function.call((0..arguments).map(argument).collect());
                let how = format!("constants {constants:b}");
                compare(&how, &of, self.call(call, &rows.of(&of)));
            }
        }
    }
}

fn is_refusal(error: &str) -> bool {
    REFUSALS.iter().any(|refusal| error.contains(refusal))
}

/// Returns true for equal texts, and for equal numbers: a constant may give a decimal other digits.
fn is_same(one: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    one == other || number(one).is_some_and(|one| number(other) == Some(one))
}

#[test]
fn a_value_depends_on_its_row_alone() {
    let functions = Functions::new();
    let (mut faults, mut calls) = (BTreeSet::new(), 0);
    for function in functions.all() {
        let mut seen: BTreeSet<Vec<String>> = BTreeSet::new();
        for arguments in 1..=3 {
            for kinds in functions.kinds(arguments) {
                let fields: Vec<FieldRef> = kinds
                    .iter()
                    .map(|kind| {
                        let of = functions.values[*kind][0].data_type();
                        Arc::new(Field::new("c", of, true))
                    })
                    .collect();
                let Ok(coerced) = fields_with_udf(&fields, function.as_ref()) else { continue };
                let coerced = coerced.iter().map(|field| field.data_type().to_string()).collect();
                if seen.insert(coerced) {
                    calls += 1;
                    functions.check(&function, &functions.rows(&kinds), &mut faults);
                }
            }
        }
    }
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{} faults in {calls} calls:\n{}", faults.len(), faults.join("\n"));
}
