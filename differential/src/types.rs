//! Types of columns and expressions, with their SQL names and ranges.

use std::fmt;

/// The type of a column or an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// An integer of this many bits, with or without a sign.
    Int {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// True if it has a sign.
        signed: bool,
    },
    /// A float of 32 bits.
    F32,
    /// A float of 64 bits.
    F64,
    /// A decimal of precision and scale.
    Decimal(u8, u8),
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Days since 1970.
    Date,
    /// Nanoseconds since 1970 without a time zone.
    Timestamp,
    /// Nanoseconds since 1970 in UTC, shown in the session's time zone.
    Instant,
    /// A list.
    List(Box<Type>),
}

/// The groups of types that the generator treats alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Every integer.
    Int,
    /// Text.
    Text,
    /// Dates.
    Date,
    /// Decimals.
    Decimal,
    /// Floats.
    Float,
    /// Booleans.
    Bool,
    /// Timestamps without a time zone.
    Timestamp,
    /// Timestamps with a time zone.
    Instant,
    /// Bytes.
    Bytes,
    /// Lists.
    List,
}

impl Type {
    /// `bigint`.
    pub const I64: Self = Self::Int { bits: 64, signed: true };
    /// `int`.
    pub const I32: Self = Self::Int { bits: 32, signed: true };

    /// The group of the type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Bool => Kind::Bool,
            Self::Int { .. } => Kind::Int,
            Self::F32 | Self::F64 => Kind::Float,
            Self::Decimal(..) => Kind::Decimal,
            Self::Text => Kind::Text,
            Self::Bytes => Kind::Bytes,
            Self::Date => Kind::Date,
            Self::Timestamp => Kind::Timestamp,
            Self::Instant => Kind::Instant,
            Self::List(_) => Kind::List,
        }
    }

    /// The least and the greatest integer; none for other types.
    pub fn int_range(&self) -> Option<(i128, i128)> {
        match *self {
            Self::Int { bits, signed: true } => {
                Some((-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1))
            }
            Self::Int { bits, signed: false } => Some((0, (1_i128 << bits) - 1)),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let int = |bits: u8| match bits {
            8 => "tinyint",
            16 => "smallint",
            32 => "int",
            _ => "bigint",
        };
        match self {
            Self::Bool => f.write_str("boolean"),
            Self::Int { bits, signed: true } => f.write_str(int(*bits)),
            Self::Int { bits, signed: false } => write!(f, "{} unsigned", int(*bits)),
            Self::F32 => f.write_str("real"),
            Self::F64 => f.write_str("double"),
            Self::Decimal(precision, scale) => write!(f, "decimal({precision}, {scale})"),
            Self::Text => f.write_str("varchar"),
            Self::Bytes => f.write_str("bytea"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Instant => f.write_str("timestamp with time zone"),
            Self::List(of) => write!(f, "{of}[]"),
        }
    }
}
