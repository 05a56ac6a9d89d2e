//! The sum of `DECIMAL(39..76)`, whose totals need more than 256 bits.
//!
//! A total is `bits + carries * 2^256`, as in [`super::super::total`], and its partial state has a
//! column for each of the two. Such columns are rare: groups go through one accumulator each.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal256Type, DecimalType, Field, FieldRef, Int64Type, i256,
};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::utils::format_state_name;

use super::super::overflow::does_not_fit;
use super::OnOverflow;

/// Returns true if values of a type have such sums.
pub(super) fn is_wide(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal256(..))
}

/// The sum of all rows, or of a window frame.
#[derive(Debug)]
pub(super) struct WideSum {
    bits: i256,
    carries: i64,
    rows: u64,
    precision: u8,
    scale: i8,
    on_overflow: OnOverflow,
    /// The call as typed, for the error.
    name: String,
}

impl WideSum {
    /// An empty sum with a result of this type.
    pub(super) fn new(result: &DataType, on_overflow: OnOverflow, name: &str) -> Self {
        let (precision, scale) = match result {
            DataType::Decimal256(precision, scale) => (*precision, *scale),
            other => unreachable!("`is_wide` was asked, and {other} is not"),
        };
        let name = name.to_owned();
        Self { bits: i256::ZERO, carries: 0, rows: 0, precision, scale, on_overflow, name }
    }

    /// The columns of its partial state.
    pub(super) fn state_fields(name: &str, values: &DataType) -> Vec<FieldRef> {
        let scale = match values {
            DataType::Decimal256(_, scale) => *scale,
            _ => 0,
        };
        let bits = DataType::Decimal256(Decimal256Type::MAX_PRECISION, scale);
        vec![
            Arc::new(Field::new(format_state_name(name, "sum"), bits, true)),
            Arc::new(Field::new(format_state_name(name, "carries"), DataType::Int64, true)),
        ]
    }

    fn add(&mut self, value: i256) {
        match self.bits.checked_add(value) {
            Some(bits) => self.bits = bits,
            None => {
                self.bits = self.bits.wrapping_add(value);
                self.carries += if value.is_negative() { -1 } else { 1 };
            }
        }
    }

    fn subtract(&mut self, value: i256) {
        match self.bits.checked_sub(value) {
            Some(bits) => self.bits = bits,
            None => {
                self.bits = self.bits.wrapping_sub(value);
                self.carries -= if value.is_negative() { -1 } else { 1 };
            }
        }
    }

    fn overflow(&self) -> DataFusionError {
        let total = match self.carries {
            0 => {
                Decimal256Type::format_decimal(self.bits, Decimal256Type::MAX_PRECISION, self.scale)
            }
            _ => "the sum".to_owned(),
        };
        does_not_fit(&total, &self.data_type(), &self.name, "try_sum")
    }

    fn data_type(&self) -> DataType {
        DataType::Decimal256(self.precision, self.scale)
    }
}

impl Accumulator for WideSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Decimal256Type>();
        values.iter().flatten().for_each(|value| self.add(value));
        self.rows += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Decimal256Type>();
        values.iter().flatten().for_each(|value| self.subtract(value));
        self.rows -= (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let bits = states[0].as_primitive::<Decimal256Type>();
        let carries = states[1].as_primitive::<Int64Type>();
        for (bits, carries) in bits.iter().zip(carries) {
            let Some(bits) = bits else { continue };
            self.add(bits);
            self.carries += carries.unwrap_or_default();
            self.rows += 1;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bits = (self.rows > 0).then_some(self.bits);
        let bits = ScalarValue::Decimal256(bits, Decimal256Type::MAX_PRECISION, self.scale);
        Ok(vec![bits, ScalarValue::Int64(Some(self.carries))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let fits = self.carries == 0
            && Decimal256Type::is_valid_decimal_precision(self.bits, self.precision);
        let value = match (self.rows, self.on_overflow) {
            (0, _) => None,
            _ if fits => Some(self.bits),
            (_, OnOverflow::Fail) => return Err(self.overflow()),
            (_, OnOverflow::Null | OnOverflow::Wrap) => None,
        };
        Ok(ScalarValue::Decimal256(value, self.precision, self.scale))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.name.capacity()
    }
}
