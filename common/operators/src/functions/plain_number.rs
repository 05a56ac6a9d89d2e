//! Texts of numbers as Arrow's cast to a decimal reads them: `1.5e3` is `1500`, 1.005 of two digits is `1.01`.
//!
//! Arrow knows no exponent, refuses a fraction of more than 76 digits, and multiplies the digits before a fraction
//! that is longer than the scale without looking at an overflow. Here such a text is written out with the digits of
//! the scale, rounded half away from zero. Others, and those that are no numbers, stay as they are, for Arrow to
//! read or refuse. The driver puts the function below casts.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use super::wrapped::over_array;

const NAME: &str = "plain_number";

/// Digits that an exponent adds, at most: more than any decimal has.
const DIGITS_MAX: usize = 200;

/// The largest exponent that is told from others: more than a text can have digits.
const EXPONENT_MAX: i64 = 1 << 40;

/// The function: `plain_number(text, scale)`.
pub(super) fn function() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(PlainNumber { signature }))
}

/// The expression to cast to a decimal of a scale in place of a text; none if the text is right.
pub fn to_cast(text: &Expr, scale: u8) -> Option<Expr> {
    match text {
        Expr::Literal(value, _) => {
            value.try_as_str().flatten().and_then(|text| plain(text, scale)).map(lit)
        }
        // A plan that was analysed before, such as a view's.
        Expr::ScalarFunction(call) if call.name() == NAME => None,
        text => Some(function().call(vec![text.clone(), lit(i64::from(scale))])),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PlainNumber {
    signature: Signature,
}

impl ScalarUDFImpl for PlainNumber {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.coerce_types(types)?.remove(0))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let text = &args.arg_fields[0];
        Ok(Arc::new(Field::new(NAME, text.data_type().clone(), text.is_nullable())))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, scale] if text.is_string() && scale.is_integer() => {
                Ok(vec![text.clone(), DataType::Int64])
            }
            other => plan_err!("`{NAME}` takes a text and a scale, not {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scale = match args.args.get(1) {
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(scale)))) => {
                u8::try_from(*scale).ok()
            }
            _ => None,
        };
        let (Some(scale), Some(texts)) = (scale, args.args.first()) else {
            return exec_err!("`{NAME}` takes a scale that is a constant, 0 to 255");
        };
        if args.number_rows == 0 {
            // DataFusion takes an expression for a constant that has one value over no rows.
            return Ok(ColumnarValue::Array(texts.to_array(0)?));
        }
        over_array(texts, |texts| written(texts, scale))
    }
}

fn written(texts: &ArrayRef, scale: u8) -> Result<ArrayRef> {
    let all = cast(texts, &DataType::LargeUtf8)?;
    let all = all.as_string::<i64>();
    let plains: Vec<Option<String>> = all.iter().map(|text| plain(text?, scale)).collect();
    if plains.iter().all(Option::is_none) {
        return Ok(Arc::clone(texts));
    }
    let rows = all.iter().zip(&plains);
    let written: LargeStringArray = rows.map(|(text, plain)| plain.as_deref().or(text)).collect();
    Ok(cast(&written, texts.data_type())?)
}

/// The number that a text is, with the digits of a scale; none if the text has no others, or is no number, or has
/// an exponent beyond any decimal.
fn plain(text: &str, scale: u8) -> Option<String> {
    let scale = usize::from(scale);
    let text = text.trim();
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent_of(exponent)?)),
        None => (text, None),
    };
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if exponent.is_none() && fraction.len() <= scale {
        return None;
    }
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = all.trim_start_matches('0');
    // The digits before the point of the result and, behind it, those of the scale; below none the number is less
    // than a tenth of the last one.
    let zeros = i64::try_from(all.len() - digits.len()).ok()?;
    let kept = i64::try_from(whole.len() + scale).ok()? - zeros + exponent.unwrap_or(0);
    let units = match usize::try_from(kept) {
        Ok(_) if digits.is_empty() => String::new(),
        Ok(kept) if kept > DIGITS_MAX.max(digits.len() + scale) => return None,
        Ok(kept) => rounded(digits, kept),
        Err(_) => String::new(),
    };
    let units = format!("{units:0>width$}", width = scale + 1);
    let (whole, fraction) = units.split_at(units.len() - scale);
    let sign = if number.starts_with('-') { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// An exponent; none if the text is none.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent = digits.parse().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
    Some(if text.starts_with('-') { -exponent } else { exponent })
}

/// The first digits of a number, rounded half away from zero by the one behind them.
fn rounded(digits: &str, kept: usize) -> String {
    let first = &digits[..kept.min(digits.len())];
    let units = format!("{first:0<kept$}");
    if digits.as_bytes().get(kept).is_none_or(|next| *next < b'5') {
        return units;
    }
    let mut raised = units.trim_end_matches('9').to_owned();
    let nines = units.len() - raised.len();
    let last = raised.pop().and_then(|last| last.to_digit(10)).unwrap_or(0) + 1;
    raised.push_str(&last.to_string());
    raised.push_str(&"0".repeat(nines));
    raised
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_written_out_and_digits_rounded() {
        for (text, scale, want) in [
            ("1.5e3", 0, "1500"),
            (" 1E+5 ", 2, "100000.00"),
            ("-1.e1", 0, "-10"),
            (".5e1", 0, "5"),
            ("1e-5", 7, "0.0000100"),
            ("5e-3", 2, "0.01"),
            ("-5e-3", 2, "-0.01"),
            ("4.999e-3", 2, "0.00"),
            ("9.995e0", 2, "10.00"),
            ("1.005", 2, "1.01"),
            ("0e999999999", 0, "0"),
            ("1e-99999999999999999999", 2, "0.00"),
        ] {
            assert_eq!(plain(text, scale).as_deref(), Some(want), "{text}");
            assert_eq!(plain(want, scale), None, "{want}");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "1.50",
            "12",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1e5.5",
            "1 e5",
            "--1e5",
            "1e999999999",
            "x",
        ] {
            assert_eq!(plain(text, 2), None, "{text}");
        }
    }

    #[test]
    fn what_arrow_overflows_silently_is_written_out_for_it_to_refuse() {
        let text =
            "11579208923731619542357098500868790785326998466564056403945758400791312963994.55";
        let text: ArrayRef = Arc::new(LargeStringArray::from(vec![text]));
        let text = written(&text, 1).unwrap();
        let read = cast(&text, &DataType::Decimal128(38, 1)).unwrap();
        assert!(read.is_null(0));
    }
}
