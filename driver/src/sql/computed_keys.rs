//! Computed keys of sorts and windows become columns of their input.
//!
//! DataFusion asks what order a key has before it looks for the key among the orders that it knows. Of
//! a comparison over a call, `length(s) > 1`, it can't say, and takes rows that it sorted itself for
//! unsorted: "does not satisfy order requirements". Of computed keys whose columns are equal it leaves
//! one out of a window's sort and then doesn't find it. Of columns it knows both.
//!
//! ```text
//! Window: sum(x) partition by length(s) > 1      Projection: …                the columns as before
//!                                                 Window: sum(x) partition by key_0
//!                                                  Projection: …, length(s) > 1 key_0
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort, Window};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::reserved::reserved;

/// The end of the reserved name of the table that the keys are columns of.
const KEYS: &str = "keys";
/// The beginning of a key's name, before its number.
const KEY: &str = "key_";

/// The rule. See the module.
#[derive(Debug)]
pub(super) struct ComputedKeys;

impl OptimizerRule for ComputedKeys {
    fn name(&self) -> &'static str {
        "computed_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut keys = Keys::default();
        match &plan {
            LogicalPlan::Window(window) => keys.of_window(window),
            LogicalPlan::Sort(sort) => sort.expr.iter().for_each(|key| keys.add(&key.expr)),
            _ => return Ok(Transformed::no(plan)),
        }
        if keys.computed.is_empty() {
            return Ok(Transformed::no(plan));
        }
        keys.first = keys_of(plan.inputs()[0]);
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let over_keys = match plan {
            LogicalPlan::Window(window) => keys.window(window)?,
            LogicalPlan::Sort(sort) => keys.sort(sort)?,
            other => return Ok(Transformed::no(other)),
        };
        let plan = Projection::try_new(columns, Arc::new(over_keys))?;
        Ok(Transformed::yes(LogicalPlan::Projection(plan)))
    }
}

/// The computed keys of a node, each once.
#[derive(Default)]
struct Keys {
    computed: Vec<Expr>,
    /// The number of the first one: those before it are columns of the input.
    first: usize,
}

impl Keys {
    fn of_window(&mut self, window: &Window) {
        for call in &window.window_expr {
            let Expr::WindowFunction(call) = call.clone().unalias() else { continue };
            call.params.partition_by.iter().for_each(|key| self.add(key));
            call.params.order_by.iter().for_each(|key| self.add(&key.expr));
        }
    }

    fn add(&mut self, key: &Expr) {
        let is_plain = matches!(key, Expr::Column(_) | Expr::Literal(..));
        if !is_plain && !self.computed.contains(key) {
            self.computed.push(key.clone());
        }
    }

    fn window(&self, window: Window) -> Result<LogicalPlan> {
        let names = NamePreserver::new_for_projection();
        let calls = window.window_expr.into_iter().map(|call| {
            let called = names.save(&call);
            let call = call.transform(|expr| {
                let Expr::WindowFunction(mut call) = expr else { return Ok(Transformed::no(expr)) };
                call.params.partition_by.iter_mut().for_each(|key| self.replace(key));
                call.params.order_by.iter_mut().for_each(|key| self.replace(&mut key.expr));
                Ok(Transformed::yes(Expr::WindowFunction(call)))
            });
            Ok(called.restore(call.data()?))
        });
        let calls = calls.collect::<Result<_>>()?;
        Ok(LogicalPlan::Window(Window::try_new(calls, self.below(window.input)?)?))
    }

    fn sort(&self, mut sort: Sort) -> Result<LogicalPlan> {
        sort.input = self.below(sort.input)?;
        sort.expr.iter_mut().for_each(|key| self.replace(&mut key.expr));
        Ok(LogicalPlan::Sort(sort))
    }

    /// The input with the keys behind its columns.
    fn below(&self, input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        let all = input.schema().columns().into_iter().map(Expr::Column);
        let keys = self.computed.iter().enumerate();
        let keys =
            keys.map(|(at, key)| key.clone().alias_qualified(Some(reserved(KEYS)), self.name(at)));
        let columns = all.chain(keys).collect();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, input)?)))
    }

    /// Puts a computed key's column in its place.
    fn replace(&self, key: &mut Expr) {
        if let Some(at) = self.computed.iter().position(|computed| computed == key) {
            *key = Expr::Column(Column::new(
                Some(TableReference::bare(reserved(KEYS))),
                self.name(at),
            ));
        }
    }

    fn name(&self, at: usize) -> String {
        format!("{KEY}{}", self.first + at)
    }
}

/// The first number that no column of a plan has as a key: a window further in has keys too, whose own
/// projection DataFusion may have joined with another one.
fn keys_of(plan: &LogicalPlan) -> usize {
    let keys = plan.schema().iter().filter_map(|(table, field)| {
        let number = field.name().strip_prefix(KEY)?;
        table
            .filter(|table| table.table() == reserved(KEYS))
            .and_then(|_| number.parse::<usize>().ok())
    });
    keys.map(|number| number + 1).max().unwrap_or(0)
}
