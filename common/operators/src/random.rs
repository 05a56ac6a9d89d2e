//! `random()` and `uuid()` that give a row the same value in every attempt.
//!
//! DataFusion's functions draw from the thread they run on, so a task that runs again makes other
//! rows. Here a value is a function of the job's seed, the stage, the task, the place of the call
//! in the stage's program and the number of the row at that place: the counter-based scheme of
//! Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011), with SplitMix64 (Steele et
//! al., 2014) as its function.
//!
//! The calls are not replaced by an operator of ours but by a function that counts its rows: it
//! works wherever an expression may stand, and an instance has one partition, so that its rows come
//! in one order.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{Float64Array, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::math::random::RandomFunc;
use datafusion::functions::string::uuid::UuidFunc;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gnist_common::ids::TaskId;

/// The two functions that draw random values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Random,
    Uuid,
}

const KINDS: [Kind; 2] = [Kind::Random, Kind::Uuid];

/// True if a function is one of those that are bound to the rows of a task.
pub fn draws_by_row(function: &ScalarUDF) -> bool {
    kind_of(function).is_some()
}

fn kind_of(function: &ScalarUDF) -> Option<Kind> {
    let inner = function.inner();
    if inner.is::<RandomFunc>() {
        return Some(Kind::Random);
    }
    inner.is::<UuidFunc>().then_some(Kind::Uuid)
}

/// Returns the number that stands for a function on the wire; none for any function but those two.
pub(crate) fn encode(function: &ScalarUDF) -> Option<u8> {
    let kind = kind_of(function)?;
    let at = KINDS.iter().position(|known| *known == kind).expect("every kind is listed");
    Some(u8::try_from(at).expect("two kinds"))
}

/// The function as the driver planned it.
pub(crate) fn as_planned(kind: u8) -> Option<Arc<ScalarUDF>> {
    Some(match KINDS.get(usize::from(kind))? {
        Kind::Random => datafusion::functions::math::random(),
        Kind::Uuid => datafusion::functions::string::uuid(),
    })
}

/// Gives every call of one instance its own sequence.
#[derive(Debug)]
pub(crate) struct TaskRandom {
    key: u64,
    calls: AtomicU64,
}

impl TaskRandom {
    /// The sequences of one task; every attempt of it gets the same.
    pub(crate) fn new(seed: u64, task: TaskId) -> Self {
        let stage = mix(seed ^ mix(u64::from(task.stage.ordinal) + 1));
        Self { key: mix(stage ^ mix(u64::from(task.partition) + 1)), calls: AtomicU64::new(0) }
    }

    /// The function of the next call, in the order in which a program is decoded.
    pub(crate) fn decode(&self, kind: u8) -> Option<Arc<ScalarUDF>> {
        let kind = *KINDS.get(usize::from(kind))?;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let key = mix(self.key ^ mix(call + 1));
        Some(Arc::new(ScalarUDF::from(DrawByRow::new(kind, key))))
    }
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One call of `random()` or `uuid()`.
#[derive(Debug)]
struct DrawByRow {
    kind: Kind,
    key: u64,
    signature: Signature,
    /// Rows drawn so far.
    rows: AtomicU64,
}

impl DrawByRow {
    fn new(kind: Kind, key: u64) -> Self {
        let signature = Signature::nullary(Volatility::Volatile);
        Self { kind, key, signature, rows: AtomicU64::new(0) }
    }

    /// 64 bits for the `number`th draw.
    fn draw(&self, number: u64) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.key.wrapping_add(number.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    fn unit(&self, row: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let bits = (self.draw(row) >> 11) as f64;
        bits / (1_u64 << 53) as f64
    }

    /// A version 4 UUID (RFC 9562), in lower case.
    fn uuid(&self, row: u64) -> String {
        let (high, low) = (self.draw(2 * row), self.draw(2 * row + 1));
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

impl PartialEq for DrawByRow {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.key) == (other.kind, other.key)
    }
}

impl Eq for DrawByRow {}

impl Hash for DrawByRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, self.key).hash(state);
    }
}

impl ScalarUDFImpl for DrawByRow {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Random => "random",
            Kind::Uuid => "uuid",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Random => DataType::Float64,
            Kind::Uuid => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows as u64;
        let first = self.rows.fetch_add(rows, Ordering::Relaxed);
        let rows = first..first + rows;
        Ok(ColumnarValue::Array(match self.kind {
            Kind::Random => {
                Arc::new(Float64Array::from_iter_values(rows.map(|row| self.unit(row))))
            }
            Kind::Uuid => {
                let mut texts = StringBuilder::new();
                rows.for_each(|row| texts.append_value(self.uuid(row)));
                Arc::new(texts.finish())
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gnist_common::ids::ApplicationId;

    use super::*;

    fn call(seed: u64, stage: u32, partition: u32, calls: u64) -> DrawByRow {
        let task = ApplicationId(0).job(0).stage(stage).task(partition);
        let random = TaskRandom::new(seed, task);
        DrawByRow::new(Kind::Random, mix(random.key ^ mix(calls + 1)))
    }

    #[test]
    fn a_row_has_one_value_per_seed_stage_task_and_call() {
        let mut seen = BTreeSet::new();
        for seed in 0..4 {
            for stage in 0..4 {
                for partition in 0..4 {
                    for number in 0..4 {
                        let call = call(seed, stage, partition, number);
                        seen.extend((0..16).map(|row| call.unit(row).to_bits()));
                    }
                }
            }
        }
        assert_eq!(seen.len(), 4 * 4 * 4 * 4 * 16);
        let again = call(3, 3, 3, 3);
        assert_eq!(again.unit(7), call(3, 3, 3, 3).unit(7));
    }

    #[test]
    fn values_are_uniform() {
        let call = call(1, 2, 3, 0);
        let mut buckets = [0_u32; 16];
        for row in 0..160_000 {
            buckets[(call.unit(row) * 16.0) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (9_600..10_400).contains(count)), "{buckets:?}");
    }

    #[test]
    fn uuids_have_their_version_and_variant() {
        let call = DrawByRow::new(Kind::Uuid, 5);
        for row in 0..1000 {
            let uuid = call.uuid(row);
            assert_eq!(uuid.len(), 36, "{uuid}");
            assert_eq!(&uuid[14..15], "4", "{uuid}");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }
}
