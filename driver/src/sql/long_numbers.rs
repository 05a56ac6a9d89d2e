//! Numbers that are written with more digits than a `DOUBLE` has.
//!
//! DataFusion reads `12345678901234567.89` as a float, which is another number, and compares a decimal column with
//! that. Here a number that no float prints as it is written is a decimal, as in PostgreSQL and Spark.

use datafusion::arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Value, ValueWithSpan,
};

/// Writes such a number as a decimal.
pub(super) fn as_decimal(expr: &mut Expr) {
    let Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) = expr else { return };
    let Some((precision, scale)) = digits_of_long(text) else { return };
    let number = Expr::value(Value::SingleQuotedString(text.clone()));
    *expr = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(number),
        data_type: DataType::Decimal(ExactNumberInfo::PrecisionAndScale(precision, scale)),
        array: false,
        format: None,
    };
}

/// The digits of a number, and those after the point; none if a float or an integer holds it, or no decimal does.
fn digits_of_long(text: &str) -> Option<(u64, i64)> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_plain || text.parse::<u64>().is_ok() {
        return None;
    }
    let float: f64 = text.parse().ok()?;
    if normal(&float.to_string()) == normal(text) {
        return None;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.trim_start_matches('0').len() + fraction.len();
    let fits = digits <= usize::from(DECIMAL128_MAX_PRECISION);
    fits.then(|| Some((u64::try_from(digits).ok()?, i64::try_from(fraction.len()).ok()?)))?
}

/// The digits without zeros at the ends that mean nothing.
fn normal(text: &str) -> &str {
    let text = text.trim_start_matches('0');
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::digits_of_long;

    #[test]
    fn floats_and_integers_stay() {
        for text in
            ["0.1", "1.50", "007.25", "42", "18446744073709551615", "1e40", "0.30000000000000004"]
        {
            assert_eq!(digits_of_long(text), None, "{text}");
        }
        assert_eq!(digits_of_long(&"9".repeat(39)), None);
    }

    #[test]
    fn other_numbers_have_their_digits() {
        assert_eq!(digits_of_long("12345678901234567.89"), Some((19, 2)));
        assert_eq!(digits_of_long("0.1234567890123456789"), Some((19, 19)));
        assert_eq!(digits_of_long("18446744073709551617"), Some((20, 0)));
    }
}
