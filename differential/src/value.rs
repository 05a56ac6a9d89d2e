//! Values, their SQL order and equality, and their spelling.
//!
//! NaN equals NaN and is the greatest float, whatever its sign bit; -0.0 equals 0.0. Null equals
//! null here; three-valued logic is the oracle's.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::calendar;
use crate::types::Type;

/// A row.
pub type Row = Vec<Value>;

/// A value of any type.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer of any width.
    Int(i128),
    /// A float of any width.
    Float(f64),
    /// A decimal: units of 10 to the minus scale.
    Decimal(i128, u8),
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// Days since 1970.
    Date(i64),
    /// Nanoseconds since 1970.
    Timestamp(i64),
    /// A list.
    List(Arc<[Value]>),
}

impl Value {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Returns true if it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The order of two values of one kind, null last.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => compare_floats(*left, *right),
            (Self::Text(left), Self::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            (Self::Date(left), Self::Date(right))
            | (Self::Timestamp(left), Self::Timestamp(right)) => left.cmp(right),
            (Self::List(left), Self::List(right)) => compare_rows(left, right),
            (left, right) => match (left.normal_decimal(), right.normal_decimal()) {
                (Some(left), Some(right)) => compare_decimals(left, right),
                _ => left.rank().cmp(&right.rank()),
            },
        }
    }

    /// Returns true if two values are the same, null with null too.
    pub fn same(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }

    /// An integer or a decimal as units and scale without trailing zeros.
    fn normal_decimal(&self) -> Option<(i128, u8)> {
        let (mut units, mut scale) = match self {
            Self::Int(number) => (*number, 0),
            Self::Decimal(units, scale) => (*units, *scale),
            _ => return None,
        };
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Some((units, scale))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Decimal(..) => 1,
            Self::Float(_) => 2,
            Self::Text(_) => 3,
            Self::Bytes(_) => 4,
            Self::Date(_) => 5,
            Self::Timestamp(_) => 6,
            Self::List(_) => 7,
            Self::Null => 8,
        }
    }

    /// The SQL text of the value as a literal of this type.
    pub fn sql(&self, of: &Type) -> String {
        match (self, of) {
            (Self::Null, _) => format!("cast(null as {of})"),
            (Self::Int(number), Type::Int { bits: 64, signed: true })
                if number.unsigned_abs() < 1 << 62 =>
            {
                if *number < 0 {
                    format!("({number})")
                } else {
                    number.to_string()
                }
            }
            (Self::Bool(value), _) => value.to_string(),
            (Self::Text(text), Type::Text) => format!("'{}'", text.replace('\'', "''")),
            (Self::Date(days), Type::Date) => format!("date '{}'", calendar::date_text(*days)),
            (Self::Bytes(bytes), _) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("X'{hex}'")
            }
            (Self::List(values), Type::List(of)) => {
                let values: Vec<String> = values.iter().map(|value| value.sql(of)).collect();
                if values.is_empty() {
                    return format!(
                        "arrow_cast(make_array(), '{}')",
                        arrow_name(&Type::List(of.clone()))
                    );
                }
                format!("make_array({})", values.join(", "))
            }
            // Functions that depend on the session's zone read no zone in a literal that has one.
            (Self::Timestamp(ns), Type::Instant) => {
                format!(
                    "arrow_cast('{}Z', 'Timestamp(ns, \"+00:00\")')",
                    calendar::timestamp_text(*ns)
                )
            }
            _ => format!("cast('{}' as {of})", self.plain()),
        }
    }

    /// The text of the value as a file or a cast spells it.
    pub fn plain(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) if number.is_nan() => "NaN".to_owned(),
            Self::Float(number) if number.is_infinite() => {
                if *number > 0.0 { "inf" } else { "-inf" }.to_owned()
            }
            Self::Float(number) => format!("{number:?}"),
            Self::Decimal(units, scale) => decimal_text(*units, *scale),
            Self::Text(text) => text.to_string(),
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Date(days) => calendar::date_text(*days),
            Self::Timestamp(ns) => calendar::timestamp_text(*ns),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Self::plain).collect();
                format!("[{}]", values.join(", "))
            }
        }
    }
}

/// Arrow's name of a type.
pub(crate) fn arrow_name(of: &Type) -> String {
    match of {
        Type::Int { bits, signed } => format!("{}Int{bits}", if *signed { "" } else { "U" }),
        Type::List(of) => format!("List({})", arrow_name(of)),
        Type::Bool => "Boolean".to_owned(),
        Type::F32 => "Float32".to_owned(),
        Type::F64 => "Float64".to_owned(),
        Type::Decimal(precision, scale) => format!("Decimal128({precision}, {scale})"),
        Type::Text => "Utf8View".to_owned(),
        Type::Bytes => "Binary".to_owned(),
        Type::Date => "Date32".to_owned(),
        Type::Timestamp => "Timestamp(ns)".to_owned(),
        Type::Instant => "Timestamp(ns, \"+00:00\")".to_owned(),
    }
}

fn decimal_text(units: i128, scale: u8) -> String {
    if scale == 0 {
        return units.to_string();
    }
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    format!("{}{whole}.{fraction}", if units < 0 { "-" } else { "" })
}

fn compare_floats(left: f64, right: f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (false, false) => left.partial_cmp(&right).expect("neither is NaN"),
        (left, right) => left.cmp(&right),
    }
}

/// Compares without overflow: first the whole parts, then the fractions at the larger scale.
fn compare_decimals((left, left_scale): (i128, u8), (right, right_scale): (i128, u8)) -> Ordering {
    let (left_unit, right_unit) =
        (10_i128.pow(u32::from(left_scale)), 10_i128.pow(u32::from(right_scale)));
    let whole = left.div_euclid(left_unit).cmp(&right.div_euclid(right_unit));
    let scale = left_scale.max(right_scale);
    let fraction = |units: i128, unit: i128, own: u8| {
        units.rem_euclid(unit) * 10_i128.pow(u32::from(scale - own))
    };
    let fractions =
        || fraction(left, left_unit, left_scale).cmp(&fraction(right, right_unit, right_scale));
    whole.then_with(fractions)
}

/// The order of two rows, column by column, then by length.
pub fn compare_rows(left: &[Value], right: &[Value]) -> Ordering {
    let pairs = left.iter().zip(right).map(|(left, right)| left.compare(right));
    pairs.fold(Ordering::Equal, Ordering::then).then(left.len().cmp(&right.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nan_is_one_value_and_the_greatest() {
        let (nan, inf) = (Value::Float(f64::NAN), Value::Float(f64::INFINITY));
        assert!(nan.same(&Value::Float(-f64::NAN)));
        assert_eq!(nan.compare(&inf), Ordering::Greater);
        assert!(Value::Float(-0.0).same(&Value::Float(0.0)));
    }

    #[test]
    fn decimals_compare_by_value() {
        assert!(Value::Decimal(1500, 2).same(&Value::Int(15)));
        assert_eq!(Value::Decimal(-150, 2).compare(&Value::Decimal(-14, 1)), Ordering::Less);
        assert_eq!(Value::Decimal(-5, 2).plain(), "-0.05");
        let (large, small) = (Value::Decimal(10_i128.pow(37), 0), Value::Decimal(1, 37));
        assert_eq!(large.compare(&small), Ordering::Greater);
    }
}
