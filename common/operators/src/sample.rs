//! Every so manieth row: what split points are chosen from.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use futures::StreamExt;
use prost::Message;

/// Passes on every `stride`th row of each partition, beginning in the middle of the first stride.
#[derive(Debug)]
pub struct SampleExec {
    input: Arc<dyn ExecutionPlan>,
    /// A UInt64, bound when the number of rows is known.
    stride: Arc<dyn PhysicalExpr>,
    properties: Arc<PlanProperties>,
}

impl SampleExec {
    /// A sample of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>, stride: Arc<dyn PhysicalExpr>) -> Self {
        let properties = PlanProperties::new(
            input.properties().eq_properties.clone(),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, stride, properties: Arc::new(properties) }
    }

    fn bound_stride(&self) -> Result<u64> {
        let literal = self.stride.downcast_ref::<Literal>().map(Literal::value);
        match literal {
            Some(ScalarValue::UInt64(Some(stride))) => Ok((*stride).max(1)),
            _ => internal_err!("a sample ran before its stride was known"),
        }
    }
}

/// A [`SampleExec`] on the wire; its input travels as its child.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SampleMessage {
    #[prost(message, optional, tag = "1")]
    stride: Option<protobuf::PhysicalExprNode>,
}

impl SampleExec {
    pub(crate) fn encode(
        &self,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<SampleMessage> {
        Ok(SampleMessage { stride: Some(converter.physical_expr_to_proto(&self.stride, codec)?) })
    }

    pub(crate) fn decode(
        message: &SampleMessage,
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Self> {
        let ([input], Some(stride)) = (inputs, &message.stride) else {
            return internal_err!("a sample needs an input and a stride");
        };
        let stride = converter.proto_to_physical_expr(stride, &input.schema(), context)?;
        Ok(Self::new(Arc::clone(input), stride))
    }
}

/// The rows of a batch that are in the sample, `before` rows having come before.
fn sampled(batch: &RecordBatch, before: u64, stride: u64) -> Result<RecordBatch> {
    let middle = stride / 2;
    let first = (middle + stride - before % stride) % stride;
    let step = usize::try_from(stride).unwrap_or(usize::MAX);
    let rows = UInt64Array::from_iter_values((first..batch.num_rows() as u64).step_by(step));
    Ok(take_record_batch(batch, &rows)?)
}

impl DisplayAs for SampleExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SampleExec")
    }
}

impl ExecutionPlan for SampleExec {
    fn name(&self) -> &'static str {
        "SampleExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else {
            return internal_err!("a sample has one input");
        };
        Ok(Arc::new(Self::new(Arc::clone(input), Arc::clone(&self.stride))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let stride = self.bound_stride()?;
        let mut before = 0_u64;
        let rows = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let kept = sampled(&batch, before, stride)?;
            before += batch.num_rows() as u64;
            Ok(kept)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit(&self.stride)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    #[test]
    fn a_sample_does_not_depend_on_the_batches() {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        for lengths in [vec![100], vec![1, 0, 49, 50], vec![33, 33, 34]] {
            let (mut before, mut kept) = (0_i64, Vec::new());
            for length in lengths {
                let column = Arc::new(Int64Array::from_iter_values(before..before + length));
                let batch =
                    RecordBatch::try_new(schema.clone(), vec![column]).expect("a small number");
                let sample = sampled(&batch, u64::try_from(before).expect("a small number"), 30)
                    .expect("a small number");
                kept.extend_from_slice(sample.column(0).as_primitive::<Int64Type>().values());
                before += length;
            }
            assert_eq!(kept, [15, 45, 75]);
        }
    }
}
