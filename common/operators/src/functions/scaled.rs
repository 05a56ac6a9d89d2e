//! `n * INTERVAL '1 day'`, `(b - a) / 2`: intervals and differences of timestamps, times or by a number.
//!
//! DataFusion has no such operators. What an interval loses of its months becomes days, of 30 to a month, and what it
//! loses of its days becomes time, as in PostgreSQL. Integers and decimals are exact. A difference stays one.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gnist_common::error::{ErrorKind, Failure};

use crate::failure::external;

const DAY_NS: i128 = 86_400_000_000_000;
const DAYS_OF_MONTH: i128 = 30;

/// The function of `*`, whose operands come in any order, or of `/`.
pub fn function(divides: bool) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Scaled { divides, signature }))
}

/// Returns true for one of these functions, which fail where the result is too large.
pub fn is_scaled(function: &ScalarUDF) -> bool {
    function.inner().is::<Scaled>()
}

/// Returns true for the types that are multiplied and divided here.
pub fn is_length(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    divides: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Scaled {
    fn name(&self) -> &'static str {
        if self.divides { "interval_divide" } else { "interval_multiply" }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<_> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(if self.divides { " / " } else { " * " }))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced: Option<Vec<_>> = types.iter().map(operand).collect();
        match (coerced, types) {
            (Some(coerced), [left, right])
                if is_length(left) && !is_length(right)
                    || !self.divides && is_length(right) && !is_length(left) =>
            {
                Ok(coerced)
            }
            _ => plan_err!("`{}` takes an interval and a number", self.name()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.iter().find(|of| is_length(of)) {
            Some(length) => Ok(length.clone()),
            None => plan_err!("`{}` takes an interval and a number", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let operands = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = operands.as_slice() else {
            return plan_err!("`{}` takes an interval and a number", self.name());
        };
        let is_swapped = is_length(right.data_type());
        let (lengths, numbers) = if is_swapped { (right, left) } else { (left, right) };
        let factors = Factors { numbers, divides: self.divides };
        let scaled = factors.scaled(lengths)?;
        if !is_constant {
            return Ok(ColumnarValue::Array(scaled));
        }
        let value = datafusion::common::ScalarValue::try_from_array(&scaled, 0)?;
        Ok(ColumnarValue::Scalar(value))
    }
}

/// The type that an operand is cast to.
fn operand(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Duration(_) | DataType::Decimal128(..) => data_type.clone(),
        DataType::UInt64 => DataType::Decimal128(20, 0),
        of if of.is_integer() || of.is_null() => DataType::Int64,
        of if of.is_floating() => DataType::Float64,
        _ => return None,
    })
}

/// A number that a length is multiplied with.
#[derive(Clone, Copy)]
enum Factor {
    /// A numerator, and a denominator that is positive.
    Ratio(i128, i128),
    Times(f64),
    By(f64),
}

impl Factor {
    /// The factor of a divisor; none for zero.
    fn inverse(self) -> Option<Self> {
        match self {
            Self::Ratio(0, _) | Self::Times(0.0) => None,
            Self::Ratio(over, under) => {
                Some(Self::Ratio(under * over.signum(), over.checked_abs()?))
            }
            Self::Times(number) => Some(Self::By(number)),
            other => Some(other),
        }
    }

    fn of(self, value: f64) -> f64 {
        match self {
            Self::Ratio(over, under) => value * over as f64 / under as f64,
            Self::Times(number) => value * number,
            Self::By(number) => value / number,
        }
    }

    /// The nearest integer to so many times this; none where it does not fit.
    fn rounded(self, value: i64) -> Option<i128> {
        match self {
            Self::Ratio(over, under) => nearest(i128::from(value).checked_mul(over)?, under),
            _ => integer(self.of(value as f64).round()),
        }
    }

    fn interval(self, value: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
        let (months, days) = (i128::from(value.months), i128::from(value.days));
        let (months, days, rest) = match self {
            Self::Ratio(over, under) => {
                let (months, days) = (months.checked_mul(over)?, days.checked_mul(over)?);
                let rest =
                    (months % under).checked_mul(DAYS_OF_MONTH)?.checked_add(days % under)?;
                (months / under, days / under, nearest(rest.checked_mul(DAY_NS)?, under)?)
            }
            _ => {
                let (months, days) = (self.of(months as f64), self.of(days as f64));
                let rest = months.fract() * DAYS_OF_MONTH as f64 + days.fract();
                let rest = integer((rest * DAY_NS as f64).round())?;
                (integer(months.trunc())?, integer(days.trunc())?, rest)
            }
        };
        let nanoseconds = self.rounded(value.nanoseconds)? + rest % DAY_NS;
        Some(IntervalMonthDayNano {
            months: i32::try_from(months).ok()?,
            days: i32::try_from(days + rest / DAY_NS).ok()?,
            nanoseconds: i64::try_from(nanoseconds).ok()?,
        })
    }
}

/// The nearest integer to a fraction with a positive denominator, halves away from zero.
fn nearest(over: i128, under: i128) -> Option<i128> {
    let (whole, rest) = (over / under, over % under);
    let is_half = rest.unsigned_abs() >= under.unsigned_abs().div_ceil(2);
    if is_half { whole.checked_add(rest.signum()) } else { Some(whole) }
}

/// A float as the integer that it is; none beyond those of 64 bits.
fn integer(value: f64) -> Option<i128> {
    (value.abs() < 9.3e18).then_some(value as i128)
}

/// The numbers of a batch.
struct Factors<'a> {
    numbers: &'a ArrayRef,
    divides: bool,
}

impl Factors<'_> {
    fn scaled(&self, lengths: &ArrayRef) -> Result<ArrayRef> {
        if matches!(lengths.data_type(), DataType::Interval(_)) {
            let values = lengths.as_primitive::<IntervalMonthDayNanoType>();
            let scaled = (0..values.len())
                .map(|row| self.row(lengths, row, |factor| factor.interval(values.value(row))));
            return Ok(Arc::new(scaled.collect::<Result<IntervalMonthDayNanoArray>>()?));
        }
        let counts = cast(lengths, &DataType::Int64)?;
        let counts = counts.as_primitive::<Int64Type>();
        let scaled = (0..counts.len()).map(|row| {
            let one = |factor: Factor| i64::try_from(factor.rounded(counts.value(row))?).ok();
            self.row(lengths, row, one)
        });
        let scaled: ArrayRef = Arc::new(scaled.collect::<Result<Int64Array>>()?);
        Ok(cast(&scaled, lengths.data_type())?)
    }

    /// One row: null where an operand is.
    fn row<T>(
        &self,
        lengths: &ArrayRef,
        row: usize,
        scale: impl FnOnce(Factor) -> Option<T>,
    ) -> Result<Option<T>> {
        if lengths.is_null(row) || self.numbers.is_null(row) {
            return Ok(None);
        }
        let factor = self.factor(row)?;
        let factor = if self.divides { factor.inverse() } else { Some(factor) };
        let Some(factor) = factor else {
            return Err(by_zero(&array_value_to_string(lengths, row)?));
        };
        match scale(factor) {
            Some(value) => Ok(Some(value)),
            None => Err(self.too_large(lengths, row)?),
        }
    }

    fn factor(&self, row: usize) -> Result<Factor> {
        Ok(match self.numbers.data_type() {
            DataType::Int64 => {
                let number = self.numbers.as_primitive::<Int64Type>().value(row);
                Factor::Ratio(i128::from(number), 1)
            }
            DataType::Decimal128(_, scale) => {
                let number = self.numbers.as_primitive::<Decimal128Type>().value(row);
                let power = 10_i128.pow(u32::from(scale.unsigned_abs()));
                if *scale < 0 {
                    Factor::Ratio(number.saturating_mul(power), 1)
                } else {
                    Factor::Ratio(number, power)
                }
            }
            _ => Factor::Times(self.numbers.as_primitive::<Float64Type>().value(row)),
        })
    }

    fn too_large(&self, lengths: &ArrayRef, row: usize) -> Result<DataFusionError> {
        let operator = if self.divides { "/" } else { "*" };
        let length = array_value_to_string(lengths, row)?;
        let number = array_value_to_string(self.numbers, row)?;
        let message = format!("overflow: `{length} {operator} {number}` does not fit an interval");
        Ok(external(Failure::new(ErrorKind::User, message).with_help(
            "an interval has 32 bits of months, 32 of days and 64 of nanoseconds, a difference has 64",
        )))
    }
}

fn by_zero(length: &str) -> DataFusionError {
    let failure = Failure::new(ErrorKind::User, format!("division by zero: `{length} / 0`"));
    external(failure.with_help("`nullif(n, 0)` gives null instead"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(months: i32, days: i32, nanoseconds: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano { months, days, nanoseconds }
    }

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn what_is_lost_of_months_and_days_goes_on() {
        for (value, factor, expected) in [
            (interval(1, 1, 1), Factor::Ratio(3, 1), interval(3, 3, 3)),
            (interval(1, 0, 0), Factor::Ratio(1, 2), interval(0, 15, 0)),
            (interval(0, 1, 0), Factor::Ratio(-1, 2), interval(0, 0, -12 * HOUR)),
            (interval(1, 1, 0), Factor::Ratio(1, 4), interval(0, 7, 18 * HOUR)),
            (interval(1, 1, 0), Factor::Times(0.25), interval(0, 7, 18 * HOUR)),
            (interval(0, 10, 0), Factor::Times(0.3), interval(0, 3, 0)),
            (interval(10, 0, 0), Factor::Times(0.3), interval(3, 0, 0)),
            (interval(0, 3, 0), Factor::By(3.0), interval(0, 1, 0)),
            (interval(0, 0, 5), Factor::Ratio(1, 2), interval(0, 0, 3)),
            (interval(0, 0, -5), Factor::Ratio(1, 2), interval(0, 0, -3)),
        ] {
            assert_eq!(factor.interval(value), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        for factor in [
            Factor::Ratio(i128::MAX, 1),
            Factor::Ratio(1 << 40, 1),
            Factor::Times(1e300),
            Factor::Times(f64::NAN),
            Factor::By(1e-300),
        ] {
            assert_eq!(factor.interval(interval(1, 1, 1)), None);
        }
        assert!(Factor::Ratio(0, 10).inverse().is_none());
        assert!(Factor::Times(0.0).inverse().is_none());
    }
}
