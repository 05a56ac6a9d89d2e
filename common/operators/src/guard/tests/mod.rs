//! Plans and codecs that the tests of the guard share.

mod lost;
mod made;
mod mutations;
mod scans;
mod whole;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::{
    DefaultPhysicalProtoConverter, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use futures::executor::block_on;

use super::*;
use crate::codec::GnistCodec;
use crate::contexts::Contexts;
use crate::encoder::Encoder;
use crate::functions::register_functions;
use crate::program::encode_program;
use crate::wire::filtered::filters_as_arguments;

pub(super) type Plan = Arc<dyn ExecutionPlan>;

fn context() -> Arc<TaskContext> {
    Contexts::of_executors(Arc::default()).of(&[]).unwrap()
}

/// The field that a codec which is DataFusion's alone loses of a plan.
fn lost_by_datafusion(plan: &Plan) -> Option<Lost> {
    let context = context();
    let codec = GnistCodec::of_driver(&context);
    let converter = DefaultPhysicalProtoConverter {};
    let node = converter.execution_plan_to_proto(plan, &codec).unwrap();
    let decoded = node.try_into_physical_plan_with_converter(&context, &codec, &converter).unwrap();
    difference(&decoded, plan)
}

fn difference(decoded: &Plan, plan: &Plan) -> Option<Lost> {
    let decoded = Decoded::new(decoded, &Placement::Single);
    decoded.difference(plan, &Placement::Single)
}

/// Sees that our codec loses nothing of a plan.
fn survives(plan: &Plan) {
    let context = context();
    let encoder = Encoder::new(Arc::clone(&context));
    let program = encode_program(plan, &Placement::Single, &encoder).unwrap();
    let guard = Guard::default();
    for _ in 0..2 {
        let checked = guard.check(plan, &Placement::Single, &program, &context);
        assert!(checked.is_ok(), "{checked:?}\n{}", displayable(plan.as_ref()).indent(true));
    }
}

fn is_lost(plan: &Plan, operator: &str, field: &str) {
    let lost = lost_by_datafusion(plan).map(|lost| (lost.operator, lost.field));
    assert_eq!(lost, Some((operator.to_owned(), field.to_owned())));
}

pub(super) fn planned(query: &str, filters_are_arguments: bool) -> Plan {
    let mut session = SessionContext::new();
    register_functions(&mut session).unwrap();
    let table =
        "create table t as select * from (values (1, 2, 3.5), (2, null, 4.5)) as t(i, v, f)";
    block_on(async {
        session.sql(table).await.unwrap().collect().await.unwrap();
        let frame = session.sql(query).await.unwrap();
        let plan = frame.into_optimized_plan().unwrap();
        let plan = if filters_are_arguments {
            filters_as_arguments(&plan).unwrap().into_owned()
        } else {
            plan
        };
        let planner = datafusion::physical_planner::DefaultPhysicalPlanner::default();
        let planner: &dyn datafusion::physical_planner::PhysicalPlanner = &planner;
        planner.create_physical_plan(&plan, &session.state()).await.unwrap()
    })
}

fn schema() -> SchemaRef {
    let columns = ["a", "b"].map(|name| Field::new(name, DataType::Int64, true));
    Arc::new(Schema::new(columns.to_vec()))
}

fn scan(
    source: impl Into<Arc<dyn FileSource>>,
    with: impl FnOnce(FileScanConfigBuilder) -> FileScanConfigBuilder,
) -> Plan {
    let builder = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source.into())
        .with_file(PartitionedFile::new("folder/file", 7));
    DataSourceExec::from_data_source(with(builder).build())
}

fn projected(expr: impl PhysicalExpr) -> Plan {
    let expr = ProjectionExpr::new(Arc::new(expr), "x".to_owned());
    Arc::new(ProjectionExec::try_new([expr], empty()).unwrap())
}

fn empty() -> Plan {
    Arc::new(EmptyExec::new(schema()))
}

fn column() -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("a", 0))
}

fn lost_field(operator: &str, field: &str) -> Lost {
    Lost { operator: operator.to_owned(), field: field.to_owned() }
}
