//! `repeat`, `lpad` and `rpad` whose texts have a length that fits in memory.
//!
//! A slip of a digit asks DataFusion's for gigabytes, which it makes before anybody counts them. Here
//! the lengths that are asked for are added up first: a text is refused above [`VALUE_BYTES_MAX`], a
//! batch of texts above [`BATCH_BYTES_MAX`].

use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions::string::repeat;
use datafusion::functions::unicode::{lpad, rpad};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};

use super::wrapped::wrapped;
use crate::failure::external;

/// Limit of the bytes of one text or array.
const VALUE_BYTES_MAX: u64 = 256 << 20;

/// Limit of the bytes of the texts or arrays of one batch.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// The functions, over DataFusion's of the same name.
pub(super) fn all() -> [Arc<ScalarUDF>; 3] {
    [repeat(), lpad(), rpad()].map(|inner| wrapped(inner, bounded))
}

fn bounded(inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let name = inner.name();
    Asked::of(name, &args)?.check(name, "a text", "the texts of a batch")?;
    inner.invoke_with_args(not_negative(name, args))
}

/// The arguments with 0 for a negative length, which DataFusion's `lpad` and `rpad` panic on.
fn not_negative(name: &str, mut args: ScalarFunctionArgs) -> ScalarFunctionArgs {
    if name == "repeat" {
        return args;
    }
    match args.args.get_mut(1) {
        Some(ColumnarValue::Array(lengths)) => {
            if let Some(numbers) = lengths.as_primitive_opt::<Int64Type>() {
                *lengths = Arc::new(numbers.unary::<_, Int64Type>(|length| length.max(0)));
            }
        }
        Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(length)))) => *length = (*length).max(0),
        _ => {}
    }
    args
}

/// The bytes of texts or arrays that are asked for, at least.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) longest: u64,
    pub(super) all: u64,
}

impl Asked {
    fn of(name: &str, args: &ScalarFunctionArgs) -> Result<Self> {
        let [text, number, ..] = args.args.as_slice() else {
            return internal_err!("`{name}` has {} arguments", args.args.len());
        };
        // What is asked for once is made once.
        let is_once = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_once { 1 } else { args.number_rows };
        let lengths = if name == "repeat" { Lengths::of(text)? } else { Lengths::All(1) };
        let mut asked = Self::default();
        match number {
            ColumnarValue::Scalar(number) => {
                if let ScalarValue::Int64(Some(number)) = number.cast_to(&DataType::Int64)? {
                    (0..rows).for_each(|row| asked.add(number, lengths.at(row)));
                }
            }
            ColumnarValue::Array(numbers) => {
                let numbers = cast(numbers, &DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                for (row, number) in numbers.iter().enumerate() {
                    asked.add(number.unwrap_or(0), lengths.at(row));
                }
            }
        }
        Ok(asked)
    }

    fn add(&mut self, times: i64, bytes: u64) {
        self.add_bytes(product(times, bytes));
    }

    /// One text or array more.
    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.longest = self.longest.max(bytes);
        self.all = self.all.saturating_add(bytes);
    }

    /// An error if one of them, or all of a batch, need more bytes than there may be.
    pub(super) fn check(&self, name: &str, one: &str, batch: &str) -> Result<()> {
        let (what, bytes, most) = if self.longest > VALUE_BYTES_MAX {
            (one, self.longest, VALUE_BYTES_MAX)
        } else if self.all > BATCH_BYTES_MAX {
            (batch, self.all, BATCH_BYTES_MAX)
        } else {
            return Ok(());
        };
        let (bytes, most) = (ByteSize(bytes), ByteSize(most));
        let message = format!("`{name}` would make {what} of {bytes}, and {most} is the most");
        let help = "give a smaller number, or smaller batches with `set execution.batch_rows`";
        Err(external(Failure::new(ErrorKind::User, message).with_help(help)))
    }
}

/// The bytes of copies; none for a negative number of them.
pub(super) fn product(times: i64, bytes: u64) -> u64 {
    u64::try_from(times).unwrap_or(0).saturating_mul(bytes)
}

/// The bytes of a text that is repeated.
enum Lengths {
    /// The same in every row; one for what is made letter by letter.
    All(u64),
    /// The bytes of the texts, row by row.
    Of(ArrayRef),
}

impl Lengths {
    fn of(texts: &ColumnarValue) -> Result<Self> {
        Ok(match texts {
            ColumnarValue::Scalar(text) => {
                Self::All(text.try_as_str().flatten().map_or(0, |text| text.len() as u64))
            }
            ColumnarValue::Array(texts) => Self::Of(cast(texts, &DataType::LargeUtf8)?),
        })
    }

    fn at(&self, row: usize) -> u64 {
        match self {
            Self::All(bytes) => *bytes,
            Self::Of(texts) if texts.is_null(row) => 0,
            Self::Of(texts) => texts.as_string::<i64>().value(row).len() as u64,
        }
    }
}
