//! `to_timestamp` and the like of text, with the zone that their type has.
//!
//! DataFusion reads text in the session's zone and promises a timestamp in it, and leaves the zone
//! out of what it returns for a column. The instants are right, so the zone is put back.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

const NAMES: [&str; 5] = [
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
];

/// The functions of this module, over DataFusion's in a registry.
pub(super) fn all(registry: &dyn FunctionRegistry) -> Result<Vec<Arc<ScalarUDF>>> {
    NAMES.into_iter().map(|name| Ok(zoned(registry.udf(name)?))).collect()
}

fn zoned(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if inner.inner().is::<Zoned>() { inner } else { Arc::new(ScalarUDF::from(Zoned { inner })) }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Zoned {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Zoned {
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

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = self.inner.inner().with_updated_config(config)?;
        Some(ScalarUDF::from(Self { inner: Arc::new(inner) }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let promised = args.return_field.data_type().clone();
        Ok(match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(values) => ColumnarValue::Array(in_zone(values, &promised)),
            value => value,
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The same instants in the zone of a type.
fn in_zone(values: ArrayRef, promised: &DataType) -> ArrayRef {
    fn tagged<T: ArrowTimestampType>(values: &ArrayRef, zone: &Arc<str>) -> ArrayRef {
        Arc::new(values.as_primitive::<T>().clone().with_timezone(Arc::clone(zone)))
    }
    match (values.data_type(), promised) {
        (DataType::Timestamp(unit, None), DataType::Timestamp(other, Some(zone)))
            if unit == other =>
        {
            match unit {
                TimeUnit::Second => tagged::<TimestampSecondType>(&values, zone),
                TimeUnit::Millisecond => tagged::<TimestampMillisecondType>(&values, zone),
                TimeUnit::Microsecond => tagged::<TimestampMicrosecondType>(&values, zone),
                TimeUnit::Nanosecond => tagged::<TimestampNanosecondType>(&values, zone),
            }
        }
        _ => values,
    }
}
