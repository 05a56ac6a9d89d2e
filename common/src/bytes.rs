//! Byte counts as a type: `4GiB` in, `4.0 GiB` out.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// The size of `count` mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The size of `count` gibibytes.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = UNITS.iter().find(|(_, factor)| self.0 >= *factor);
        match found {
            Some((unit, 1)) => write!(f, "{} {unit}", self.0),
            #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
            Some((unit, factor)) => write!(f, "{:.1} {unit}", self.0 as f64 / *factor as f64),
            None => f.write_str("0 B"),
        }
    }
}

/// Text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: write a number and B, KiB, MiB, GiB or TiB, such as `512MiB`")]
pub struct ParseByteSizeError {
    /// The text that was given.
    pub text: String,
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    /// Takes binary units, and Spark's short forms `k`, `m`, `g`, `t`, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseByteSizeError { text: text.to_owned() };
        let trimmed = text.trim();
        let unit_at =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(unit_at);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err(error()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(ByteSize).ok_or_else(error);
        }
        let number: f64 = number.parse().map_err(|_| error())?;
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let bytes = number * factor as f64;
        if !bytes.is_finite() || !(0.0..1.8e19).contains(&bytes) {
            return Err(error());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        let bytes = bytes as u64;
        Ok(ByteSize(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_in_every_usual_form() {
        for (text, bytes) in [("512MiB", 512 << 20), ("4g", 4 << 30), ("1.5 KiB", 1536), ("7", 7)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "12 parsecs", "-1g", "99999999999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        assert_eq!(ByteSize::mib(1536).to_string(), "1.5 GiB");
        assert_eq!(ByteSize(12).to_string(), "12 B");
        assert_eq!(ByteSize(0).to_string(), "0 B");
    }
}
