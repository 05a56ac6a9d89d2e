//! `date_part`, which is `extract` too, of differences of timestamps and of intervals.
//!
//! DataFusion's gives the whole difference in hours or minutes, counts its seconds and their parts in 32 bits, and
//! loses those beyond two seconds. Here a difference is days and a time of day, as in PostgreSQL, and the seconds
//! of an interval have all their parts. The rest is DataFusion's.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::Result;
use datafusion::functions::datetime::date_part;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::instants::nanoseconds_of;
use super::wrapped::over_array;

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DatePart { inner: date_part() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, context)
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        context: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner.inner().preimage(args, literal, context)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(part), value] = args.args.as_slice() else {
            return self.inner.invoke_with_args(args);
        };
        let part = part.try_as_str().flatten().and_then(Part::of);
        let Some(found) = part.and_then(|part| part.of_type(&value.data_type())) else {
            return self.inner.invoke_with_args(args);
        };
        over_array(value, found)
    }
}

/// A part of days and a time of day.
#[derive(Clone, Copy)]
enum Part {
    Epoch,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

type Found = Box<dyn Fn(&ArrayRef) -> Result<ArrayRef>>;

impl Part {
    fn of(name: &str) -> Option<Self> {
        Some(match name.trim_matches(['\'', '"']).to_lowercase().as_str() {
            "epoch" => Self::Epoch,
            "day" | "days" => Self::Day,
            "hour" | "hours" => Self::Hour,
            "minute" | "minutes" => Self::Minute,
            "second" | "seconds" => Self::Second,
            "millisecond" | "milliseconds" => Self::Millisecond,
            "microsecond" | "microseconds" => Self::Microsecond,
            "nanosecond" | "nanoseconds" => Self::Nanosecond,
            _ => return None,
        })
    }

    /// The computation of the part from values of a type; none where DataFusion's is right.
    fn of_type(self, data_type: &DataType) -> Option<Found> {
        match (data_type, self) {
            (DataType::Duration(unit), _) => {
                let unit = i128::from(nanoseconds_of(*unit));
                Some(Box::new(move |values| {
                    let values = cast(values, &DataType::Int64)?;
                    let values = values.as_primitive::<Int64Type>().iter();
                    Ok(self.array(values.map(|value| Some(i128::from(value?) * unit))))
                }))
            }
            (
                DataType::Interval(IntervalUnit::MonthDayNano),
                Self::Second | Self::Millisecond | Self::Microsecond | Self::Nanosecond,
            ) => Some(Box::new(move |values| {
                let values = values.as_primitive::<IntervalMonthDayNanoType>().iter();
                Ok(self.array(values.map(|value| Some(i128::from(value?.nanoseconds)))))
            })),
            _ => None,
        }
    }

    /// The part of times in nanoseconds.
    fn array(self, values: impl Iterator<Item = Option<i128>>) -> ArrayRef {
        let of: fn(i128) -> i128 = match self {
            Self::Epoch => {
                let seconds = values.map(|value| Some(value? as f64 / SECOND as f64));
                return Arc::new(Float64Array::from_iter(seconds));
            }
            Self::Nanosecond => {
                let parts = values.map(|value| i64::try_from(value? % MINUTE).ok());
                return Arc::new(Int64Array::from_iter(parts));
            }
            Self::Day => |value| value / DAY,
            Self::Hour => |value| value % DAY / HOUR,
            Self::Minute => |value| value % HOUR / MINUTE,
            Self::Second => |value| value % MINUTE / SECOND,
            Self::Millisecond => |value| value % MINUTE / 1_000_000,
            Self::Microsecond => |value| value % MINUTE / 1_000,
        };
        // A part of 64 bits of seconds may have more days than 32 bits hold.
        Arc::new(Int32Array::from_iter(values.map(|value| i32::try_from(of(value?)).ok())))
    }
}
