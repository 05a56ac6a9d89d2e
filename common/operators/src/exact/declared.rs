//! Columns of Parquet files in the types that their table declares.
//!
//! DataFusion casts what a file has to what is declared, and drops digits as it does: 1.25 is 1 in a declared
//! `INT`. It then moves the cast to the literal of a filter and skips row groups that have no 1.00. Here
//! the declared type must have room for the digits of the file's, and a cast between timestamps stays where
//! it is unless the literal has no digits beyond the file's unit. A column whose name the file spells in other
//! letters is an error: it would be null.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use gnist_common::error::{ErrorKind, Failure};

use crate::failure::external;
use crate::functions::held;
use crate::widening::{exactly, keeps_digits};

/// Adapts expressions over declared columns to the columns of a file.
#[derive(Debug)]
pub(super) struct DeclaredTypes;

impl PhysicalExprAdapterFactory for DeclaredTypes {
    fn create(
        &self,
        declared: SchemaRef,
        found: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        declared.fields().iter().try_for_each(|field| check_spelling(field.name(), &found))?;
        let factory = DefaultPhysicalExprAdapterFactory;
        let inner = factory.create(Arc::clone(&declared), Arc::clone(&found))?;
        Ok(Arc::new(Declared { declared, found, inner }))
    }
}

#[derive(Debug)]
struct Declared {
    declared: SchemaRef,
    found: SchemaRef,
    inner: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for Declared {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        for column in collect_columns(&expr) {
            let declared = self.declared.field_with_name(column.name());
            let found = self.found.field_with_name(column.name());
            if let (Ok(declared), Ok(found)) = (declared, found) {
                check(declared, found)?;
            }
        }
        let adapted = self.inner.rewrite(expr)?;
        adapted.transform_up(|expr| self.with_held_casts(expr)).data()
    }
}

fn check(declared: &Field, found: &Field) -> Result<()> {
    if keeps_digits(found.data_type(), declared.data_type()) {
        return Ok(());
    }
    let message = format!(
        "column `{}` is {} in the file and declared {}, which drops some of its digits",
        declared.name(),
        found.data_type(),
        declared.data_type(),
    );
    let help = "declare the column as it is in the file, and cast it in the query";
    Err(external(Failure::new(ErrorKind::User, message).with_help(help)))
}

/// A column that no file has is null, as in Spark. One that a file spells otherwise is a mistake.
fn check_spelling(declared: &str, found: &Schema) -> Result<()> {
    if found.field_with_name(declared).is_ok() {
        return Ok(());
    }
    let mut names = found.fields().iter().map(|field| field.name());
    let Some(other) = names.find(|name| name.eq_ignore_ascii_case(declared)) else {
        return Ok(());
    };
    let message = format!("column `{declared}` is declared, and the file has `{other}`");
    let help = format!("declare it as the file spells it, in quotes: \"{other}\"");
    Err(external(Failure::new(ErrorKind::User, message).with_help(&help)))
}

impl Declared {
    fn with_held_casts(
        &self,
        expr: Arc<dyn PhysicalExpr>,
    ) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
        let Some(binary) = expr.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(expr));
        };
        let (left, right, op) = (binary.left(), binary.right(), *binary.op());
        let (left, right) = if self.must_hold(left, right)? {
            (self.held(left)?, Arc::clone(right))
        } else if self.must_hold(right, left)? {
            (Arc::clone(left), self.held(right)?)
        } else {
            return Ok(Transformed::no(expr));
        };
        Ok(Transformed::yes(Arc::new(BinaryExpr::new(left, op, right))))
    }

    /// Returns true for a cast to timestamps whose literal the timestamps of the file can't have.
    fn must_hold(
        &self,
        cast: &Arc<dyn PhysicalExpr>,
        literal: &Arc<dyn PhysicalExpr>,
    ) -> Result<bool> {
        let (Some(cast), Some(literal)) =
            (cast.downcast_ref::<CastExpr>(), literal.downcast_ref::<Literal>())
        else {
            return Ok(false);
        };
        let (from, to) = (cast.expr().data_type(&self.found)?, cast.cast_type());
        let (DataType::Timestamp(_, from_zone), DataType::Timestamp(_, to_zone)) = (&from, to)
        else {
            return Ok(false);
        };
        let is_same = from_zone.is_some() == to_zone.is_some();
        Ok(!is_same || exactly(literal.value(), &from).is_none())
    }

    fn held(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let options = Arc::new(ConfigOptions::default());
        let args = vec![Arc::clone(expr)];
        Ok(Arc::new(ScalarFunctionExpr::try_new(held::function(), args, &self.found, options)?))
    }
}
