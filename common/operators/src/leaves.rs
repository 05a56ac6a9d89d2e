//! The leaves that scan files or rows, on the wire and off it: see [`crate::source`].

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, Statistics, internal_datafusion_err, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion_proto::physical_plan::from_proto::parse_physical_sort_exprs;
use datafusion_proto::physical_plan::to_proto::serialize_physical_sort_exprs;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use prost::Message;

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::exact::exact;
use crate::source::Scanned;
use crate::wire::{self, CarriedOperator};

/// A leaf that scans files or rows, on the wire.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeafMessage {
    /// The leaf's ordinal in its program.
    #[prost(uint32, tag = "1")]
    ordinal: u32,
    /// A scan of files, without the files.
    #[prost(message, optional, boxed, tag = "2")]
    scan: Option<Box<protobuf::PhysicalPlanNode>>,
    /// A scan of rows, without the rows.
    #[prost(message, optional, tag = "3")]
    rows: Option<RowsMessage>,
    /// The fields of the scan that DataFusion's encoding loses.
    #[prost(message, optional, tag = "4")]
    lost: Option<CarriedOperator>,
}

/// A [`MemorySourceConfig`] without its rows.
#[derive(Clone, PartialEq, Message)]
struct RowsMessage {
    #[prost(message, optional, tag = "1")]
    schema: Option<protobuf::Schema>,
    #[prost(message, optional, tag = "2")]
    projection: Option<ProjectionMessage>,
    /// Orderings in terms of the projected columns.
    #[prost(message, repeated, tag = "3")]
    orderings: Vec<protobuf::PhysicalSortExprNodeCollection>,
    #[prost(bool, tag = "4")]
    show_sizes: bool,
    #[prost(uint64, optional, tag = "5")]
    fetch: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ProjectionMessage {
    #[prost(uint32, repeated, tag = "1")]
    columns: Vec<u32>,
}

/// Encodes a leaf that scans files or rows, and says what it scans; nothing for other operators.
pub(crate) fn encode(
    plan: &Arc<dyn ExecutionPlan>,
    ordinal: u32,
    codec: &dyn PhysicalExtensionCodec,
    encoder: &Encoder,
) -> Result<Option<(LeafMessage, Scanned)>> {
    let Some(source) = plan.downcast_ref::<DataSourceExec>() else { return Ok(None) };
    let data = source.data_source();
    if let Some(rows) = data.downcast_ref::<MemorySourceConfig>() {
        let message = encode_rows(rows, codec, encoder)?;
        let message = LeafMessage { ordinal, rows: Some(message), ..LeafMessage::default() };
        return Ok(Some((message, Scanned::Rows(rows.partitions().to_vec()))));
    }
    let Some(files) = data.downcast_ref::<FileScanConfig>() else { return Ok(None) };
    let groups = files.file_groups.iter().map(|group| encode_group(group, files));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let unknown = Statistics::new_unknown(files.file_source.table_schema().table_schema());
    // A scan that declares its partitions warns of other groups than those.
    let declared = files.output_partitioning.as_ref().map_or(0, Partitioning::partition_count);
    let without = FileScanConfigBuilder::from(files.clone())
        .with_file_groups(vec![FileGroup::new(Vec::new()); declared])
        .with_statistics(unknown)
        .build();
    let without: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(without);
    let node = encoder.operator_to_proto(&without, codec)?;
    let lost = wire::lost_of_operator(plan.as_ref())?;
    let message = LeafMessage { ordinal, scan: Some(Box::new(node)), rows: None, lost };
    Ok(Some((message, Scanned::Files(groups))))
}

/// A group of files. Statistics travel only where an order between the files depends on them:
/// elsewhere the executor reads what it needs from the file itself.
fn encode_group(group: &FileGroup, scan: &FileScanConfig) -> Result<Bytes> {
    let keep_statistics = !scan.output_ordering.is_empty() && group.len() > 1;
    let files = group.iter().map(|file| {
        let mut file = file.clone();
        if !keep_statistics {
            file.statistics = None;
        }
        protobuf::PartitionedFile::try_from(&file)
    });
    let group = protobuf::FileGroup { files: files.collect::<Result<_>>()? };
    Ok(group.encode_to_vec().into())
}

fn encode_rows(
    rows: &MemorySourceConfig,
    codec: &dyn PhysicalExtensionCodec,
    encoder: &Encoder,
) -> Result<RowsMessage> {
    let column = |column: &usize| u32::try_from(*column).expect("columns are few");
    let projection = rows
        .projection()
        .as_ref()
        .map(|columns| ProjectionMessage { columns: columns.iter().map(column).collect() });
    let orderings = rows.sort_information().iter().map(|ordering| {
        let exprs = serialize_physical_sort_exprs(ordering.iter().cloned(), codec, encoder)?;
        Ok(protobuf::PhysicalSortExprNodeCollection { physical_sort_expr_nodes: exprs })
    });
    Ok(RowsMessage {
        schema: Some(rows.original_schema().as_ref().try_into()?),
        projection,
        orderings: orderings.collect::<Result<_>>()?,
        show_sizes: rows.show_sizes(),
        fetch: rows.fetch().map(|rows| rows as u64),
    })
}

/// The leaf with what the partitions of this decoding scan.
pub(crate) fn decode(
    message: LeafMessage,
    context: &PhysicalPlanDecodeContext<'_>,
    decoder: &Decoder<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let ordinal = message.ordinal;
    let partitions = decoder.partitions_of_leaf(ordinal)?;
    if let Some(rows) = message.rows {
        let batches = partitions.map(|partition| decoder.sources().rows(ordinal, partition));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        return decode_rows(&rows, &batches, context, decoder);
    }
    let Some(mut scan) = message.scan else { return internal_err!("a leaf scans nothing") };
    let conf = file_conf(&mut scan)?;
    let groups = partitions.map(|partition| {
        let group = decoder.sources().files(ordinal, partition)?;
        protobuf::FileGroup::decode(group)
            .map_err(|error| internal_datafusion_err!("a group of files: {error}"))
    });
    conf.file_groups = groups.collect::<Result<_>>()?;
    if decoder.task().is_some() {
        // It told how the rows are spread over partitions, of which one is left.
        conf.output_partitioning = None;
    }
    let scan = decoder.operator_from_proto(&scan, context)?;
    let scan = match &message.lost {
        Some(lost) => lost.restore(&[scan])?,
        None => scan,
    };
    let exact = if decoder.is_for_task() { exact(&scan)? } else { None };
    Ok(exact.unwrap_or(scan))
}

/// Rows in memory. Their orderings travel in terms of the projected columns, and are asked for in
/// terms of all columns.
fn decode_rows(
    message: &RowsMessage,
    partitions: &[Vec<RecordBatch>],
    context: &PhysicalPlanDecodeContext<'_>,
    decoder: &Decoder<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = message.schema.as_ref();
    let schema = schema.ok_or_else(|| internal_datafusion_err!("rows without a schema"))?;
    let schema = Arc::new(Schema::try_from(schema)?);
    let columns = message.projection.as_ref().map(|projection| {
        projection.columns.iter().map(|column| *column as usize).collect::<Vec<_>>()
    });
    let mut orderings = Vec::new();
    for ordering in &message.orderings {
        let exprs = &ordering.physical_sort_expr_nodes;
        let exprs = parse_physical_sort_exprs(exprs, context, &schema, decoder)?;
        let exprs = exprs.into_iter().map(|mut sort| {
            sort.expr = of_all_columns(sort.expr, columns.as_deref())?;
            Ok(sort)
        });
        orderings.extend(LexOrdering::new(exprs.collect::<Result<Vec<_>>>()?));
    }
    let fetch = message.fetch.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
    let rows = MemorySourceConfig::try_new(partitions, schema, columns)?
        .with_limit(fetch)
        .with_show_sizes(message.show_sizes)
        .try_with_sort_information(orderings)?;
    Ok(DataSourceExec::from_data_source(rows))
}

/// An expression over the columns of a projection, over the columns that they are of.
fn of_all_columns(
    expr: Arc<dyn PhysicalExpr>,
    projection: Option<&[usize]>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let Some(projection) = projection else { return Ok(expr) };
    expr.transform_up(|node| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        let Some(index) = projection.get(column.index()) else {
            return internal_err!("an ordering names a column that is not there: {column}");
        };
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), *index)) as _))
    })
    .data()
}

fn file_conf(scan: &mut protobuf::PhysicalPlanNode) -> Result<&mut protobuf::FileScanExecConf> {
    let conf = match &mut scan.physical_plan_type {
        Some(PhysicalPlanType::ParquetScan(scan)) => scan.base_conf.as_mut(),
        Some(PhysicalPlanType::CsvScan(scan)) => scan.base_conf.as_mut(),
        Some(PhysicalPlanType::JsonScan(scan)) => scan.base_conf.as_mut(),
        Some(PhysicalPlanType::ArrowScan(scan)) => scan.base_conf.as_mut(),
        Some(PhysicalPlanType::AvroScan(scan)) => scan.base_conf.as_mut(),
        _ => None,
    };
    conf.ok_or_else(|| internal_datafusion_err!("a scan of files of an unknown format"))
}
