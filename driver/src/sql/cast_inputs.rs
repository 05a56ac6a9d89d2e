//! Inputs of casts that arrow's cast takes for something else than they are.
//!
//! ```text
//! timestamptz as timestamp   UTC                    local time in the session's zone
//! timestamp(9) as (0)        cut towards 1970       cut down
//! '5' as interval            5 months               5 seconds
//! '5' as time                5 nanoseconds          an error
//! '23:59:60' as time         no time of a day       an error
//! '1.5e3' as decimal         no number              1500
//! ```
//!
//! The right side is what PostgreSQL does, and Spark where it has the types.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::datetime::to_local_time;
use datafusion::functions::regex::regexp_like;
use datafusion::functions::string::btrim;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, binary_expr, cast, lit, when};
use gnist_operators::functions::instants::floor_between;
use gnist_operators::functions::plain_number;

/// A number without a unit.
const NUMBER: &str = r"^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$";

/// A number without a unit, or the second that is put in between two days: arrow's time of it is none.
const NO_TIME: &str = r"^\s*[+-]?\d+\s*$|:60(\.\d*)?\s*(?i:[ap]m)?\s*$";

/// The rewrite. See the module.
#[derive(Debug)]
pub(super) struct CastInputs;

impl FunctionRewrite for CastInputs {
    fn name(&self) -> &'static str {
        "cast_inputs"
    }

    fn rewrite(
        &self,
        mut expr: Expr,
        schema: &DFSchema,
        config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Ok(to) = expr.get_type(schema) else { return Ok(Transformed::no(expr)) };
        let input = match &mut expr {
            Expr::Cast(cast) => cast.expr.as_mut(),
            Expr::TryCast(cast) => cast.expr.as_mut(),
            Expr::ScalarFunction(call)
                if ["arrow_cast", "arrow_try_cast"].contains(&call.name()) =>
            {
                let Some(input) = call.args.first_mut() else { return Ok(Transformed::no(expr)) };
                input
            }
            _ => return Ok(Transformed::no(expr)),
        };
        let Ok(from) = input.get_type(schema) else { return Ok(Transformed::no(expr)) };
        let Some(meant) = meant(input, &from, &to, config)? else {
            return Ok(Transformed::no(expr));
        };
        *input = meant;
        Ok(Transformed::yes(expr))
    }
}

/// The expression to cast in place of an input; none if the input is right.
fn meant(
    input: &Expr,
    from: &DataType,
    to: &DataType,
    config: &ConfigOptions,
) -> Result<Option<Expr>> {
    match (from, to) {
        (DataType::Timestamp(..), DataType::Timestamp(..)) => {
            let local = local(input, from, to, config);
            let floor = floor_between(from, to);
            let changed = local.is_some() || floor.is_some();
            let input = local.unwrap_or_else(|| input.clone());
            Ok(changed.then(|| match floor {
                Some(floor) => floor.call(vec![input]),
                None => input,
            }))
        }
        (text, DataType::Interval(_)) if text.is_string() => {
            let number = btrim().call(vec![input.clone()]);
            let seconds = binary_expr(number, Operator::StringConcat, lit(" seconds"));
            matching_as(input, NUMBER, seconds).map(Some)
        }
        (
            text,
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale),
        ) if text.is_string() => {
            let scale = u8::try_from(*scale).ok();
            Ok(scale.and_then(|scale| plain_number::to_cast(input, scale)))
        }
        (
            DataType::Dictionary(_, text),
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale),
        ) if text.is_string() => {
            let text = cast(input.clone(), DataType::Utf8);
            let scale = u8::try_from(*scale).ok();
            Ok(scale.and_then(|scale| plain_number::to_cast(&text, scale)))
        }
        // A blank in front of it: no time, and no number either.
        (text, DataType::Time32(_) | DataType::Time64(_)) if text.is_string() => {
            let no_time = binary_expr(lit(" "), Operator::StringConcat, input.clone());
            matching_as(input, NO_TIME, no_time).map(Some)
        }
        _ => Ok(None),
    }
}

/// The text, or another expression where it matches a pattern.
fn matching_as(text: &Expr, pattern: &str, other: Expr) -> Result<Expr> {
    let matches = regexp_like().call(vec![text.clone(), lit(pattern)]);
    when(matches, other).otherwise(text.clone())
}

/// The local time of a timestamp that is cast to one without a time zone.
fn local(timestamp: &Expr, from: &DataType, to: &DataType, config: &ConfigOptions) -> Option<Expr> {
    let zone = config.execution.time_zone.as_deref()?;
    let (DataType::Timestamp(unit, Some(_)), DataType::Timestamp(_, None)) = (from, to) else {
        return None;
    };
    let zoned = DataType::Timestamp(*unit, Some(zone.into()));
    let zoned = Expr::Cast(Cast::new(Box::new(timestamp.clone()), zoned));
    Some(to_local_time().call(vec![zoned]))
}
