//! Functions of Gnist's own, by the names under which driver and executors know them.
//!
//! A function travels by name, so both sides register the same ones ([`register_functions`]).
//! Some are called by users (`try_add`); others only by plans that the driver rewrites
//! (`checked_add`, `nearest_double`, `normal_float`, `normal_interval`, `normal_nested`, `held_value`, `row_key`,
//! `set_key`, `signed_count`, `plain_number`).
//!
//! ```text
//! arithmetic   + - * / % and unary minus: an overflow is an error, or null (`try_*`)
//! sum          sum over integers and decimals: an overflow of the total is an error, null, or wraps
//! total        the 128-bit totals of `sum`, per group and per window frame
//! average      avg whose window frames forget what leaves them, and try_avg
//! sliding      sums of floats over window frames
//! frames       variance, correlation and the like over window frames
//! normal_float one NaN and one zero
//! normal_interval one interval of each length
//! normal_nested the same inside of lists, structs and maps
//! held         a value of which no rule knows anything
//! same_type    what the last three have in common
//! bounded      repeat, lpad and rpad of texts that fit in memory
//! bounded_lists array_repeat, array_resize and series of arrays that fit in memory
//! extremes     min and max of floats, with infinity and NaN
//! calendar     days, months and years
//! counts       ranks and lengths as BIGINT
//! date_bin     date_bin of every date there is
//! date_part    date_part of differences and intervals
//! date_trunc   date_trunc of every date there is
//! instants     timestamps in a coarser unit
//! lists        functions of arrays whose answer depends on one row
//! microseconds timestamps between two microseconds
//! nearest_float the float that is nearest to a decimal
//! overflow     the error
//! percentile   the values of percentile_cont
//! plain        percentile_cont and bit_xor without what makes them faster
//! plain_number texts of numbers as a cast to a decimal reads them
//! quotients    quotients and averages of decimals, rounded
//! regexes      regexp_replace that drops no text of the replacement
//! rounded      round and trunc of floats to digits that they don't reach
//! to_char      to_char of a constant with a column of formats
//! wrapped      what the functions of DataFusion's with other values have in common
//! zoned        to_timestamp of text, with the zone of its type
//! row_key      keys of structs and lists that are ordered as these are
//! scaled       intervals times or by a number
//! settings     `SET sql.ansi`
//! set_keys     keys of grouping sets that claim nothing
//! shifts       lead and lag that find the next value past nulls
//! unreversed   array_agg and string_agg that are never computed backwards
//! unordered    window aggregates that claim no order of their values
//! ```

pub mod arithmetic;
mod average;
mod bounded;
mod bounded_lists;
mod calendar;
pub mod counts;
mod date_bin;
pub mod date_part;
mod date_trunc;
mod decimal;
mod extremes;
mod frames;
pub mod held;
pub mod instants;
mod lists;
pub mod microseconds;
pub mod nearest_float;
pub mod normal_float;
pub mod normal_interval;
pub mod normal_nested;
mod overflow;
mod percentile;
mod plain;
pub mod plain_number;
mod quotients;
pub(crate) mod recomputed;
mod regexes;
mod rounded;
pub mod row_key;
mod same_type;
pub mod scaled;
pub mod set_keys;
pub mod settings;
mod shifts;
mod sliding;
pub mod sum;
mod to_char;
mod total;
pub mod unordered;
mod unreversed;
mod wrapped;
mod zoned;

#[cfg(test)]
mod row_by_row;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::string::concat_ws;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub use average::{avg, is_plain_avg};
pub use extremes::extreme;
pub use frames::folded_frames;
pub(crate) use overflow::sql_name;

/// Registers every function of this module, over DataFusion's of the same name.
///
/// # Errors
/// When the registry takes no functions.
pub fn register_functions(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in arithmetic::all() {
        registry.register_udf(function)?;
    }
    registry.register_udf(normal_float::function())?;
    registry.register_udf(set_keys::function())?;
    registry.register_udf(row_key::function())?;
    registry.register_udf(normal_interval::function())?;
    registry.register_udf(normal_nested::function())?;
    registry.register_udf(held::function())?;
    registry.register_udf(plain_number::function())?;
    registry.register_udf(counts::function())?;
    for function in nearest_float::all() {
        registry.register_udf(function)?;
    }
    for side in microseconds::Side::ALL {
        registry.register_udf(microseconds::function(side))?;
    }
    registry.register_udf(scaled::function(false))?;
    registry.register_udf(scaled::function(true))?;
    for function in instants::all() {
        registry.register_udf(function)?;
    }
    for function in replacements() {
        registry.register_udf(function)?;
    }
    for function in zoned::all(registry)? {
        registry.register_udf(function)?;
    }
    for function in aggregates() {
        registry.register_udaf(function)?;
    }
    for function in shifts::all() {
        registry.register_udwf(function)?;
    }
    Ok(())
}

/// The functions that take the place of one of DataFusion's, whatever the session.
fn replacements() -> Vec<Arc<ScalarUDF>> {
    let dates =
        [date_bin::function(), date_part::function(), date_trunc::function(), to_char::function()];
    // With constants that are null DataFusion's becomes a call with too few arguments.
    let texts = [wrapped::wrapped(concat_ws(), ScalarUDF::invoke_with_args), regexes::function()];
    dates
        .into_iter()
        .chain(texts)
        .chain(bounded::all())
        .chain(bounded_lists::all())
        .chain(rounded::all())
        .chain(lists::all())
        .collect()
}

/// The function of this module that takes the place of DataFusion's: `extract`, `@>` and others ask for
/// theirs, whatever is registered.
pub fn replacement(function: &ScalarUDF) -> Option<Arc<ScalarUDF>> {
    static REPLACEMENTS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(replacements);
    let ours = REPLACEMENTS.iter().find(|ours| ours.name() == function.name())?;
    (ours.inner().as_ref().type_id() != function.inner().as_ref().type_id())
        .then(|| Arc::clone(ours))
}

fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let sums = sum::OnOverflow::ALL.into_iter().map(sum::sum);
    sums.chain([avg(false), avg(true)])
        .chain(frames::all())
        .chain(extremes::all())
        .chain(unreversed::all())
        .chain(plain::all())
        .collect()
}
