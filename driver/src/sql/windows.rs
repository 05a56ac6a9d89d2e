//! Named windows written out where they are used.
//!
//! DataFusion forgets the base of a refinement: of `OVER (w ORDER BY i)` it plans the order alone. It
//! knows names in the select list only. Here every use becomes the whole definition, by the standard's
//! rules: a definition refers to earlier ones, and a refinement adds what its base lacks.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowExpr, Query, Select, SetExpr, VisitMut, VisitorMut, WindowSpec,
    WindowType,
};
use gnist_common::error::{ErrorKind, Failure};

use super::clauses::Refused;

/// Writes out the windows of a query of one `SELECT`, in its `ORDER BY` too.
pub(super) fn of_query(query: &mut Query) -> ControlFlow<Refused> {
    let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
    let mut windows = Windows::defined(select)?;
    select.visit(&mut windows)?;
    query.order_by.visit(&mut windows)
}

/// Writes out the windows of a `SELECT`, such as an arm of `UNION`.
pub(super) fn of_select(select: &mut Select) -> ControlFlow<Refused> {
    let mut windows = Windows::defined(select)?;
    select.visit(&mut windows)
}

/// The definitions of a `SELECT`, and the walk that puts them in.
#[derive(Default)]
struct Windows {
    defined: Vec<(Ident, WindowSpec)>,
    /// Queries around the expression, below the `SELECT`: they have definitions of their own.
    depth: usize,
}

impl Windows {
    /// Takes the definitions out of a `SELECT`.
    fn defined(select: &mut Select) -> ControlFlow<Refused, Self> {
        let mut windows = Self::default();
        for definition in std::mem::take(&mut select.named_window) {
            let name = definition.0;
            if windows.find(&name).is_some() {
                return wrong(
                    format!("the window `{name}` is defined twice"),
                    "name one otherwise",
                );
            }
            let window = match definition.1 {
                NamedWindowExpr::NamedWindow(base) => windows.named(&base)?,
                NamedWindowExpr::WindowSpec(window) => windows.refined(window)?,
            };
            windows.defined.push((name, window));
        }
        ControlFlow::Continue(windows)
    }

    fn find(&self, name: &Ident) -> Option<&WindowSpec> {
        let same = |(defined, _): &&(Ident, WindowSpec)| folded(defined) == folded(name);
        self.defined.iter().find(same).map(|(_, window)| window)
    }

    fn named(&self, name: &Ident) -> ControlFlow<Refused, WindowSpec> {
        match self.find(name) {
            Some(window) => ControlFlow::Continue(window.clone()),
            None => wrong(
                format!("the window `{name}` is not defined"),
                "define it in `WINDOW`, before the windows that refer to it",
            ),
        }
    }

    /// A window with all that its base says.
    fn refined(&self, mut window: WindowSpec) -> ControlFlow<Refused, WindowSpec> {
        let Some(name) = window.window_name.take() else { return ControlFlow::Continue(window) };
        let base = self.named(&name)?;
        if !window.partition_by.is_empty() {
            return wrong(
                format!("`PARTITION BY` in a window over `{name}`"),
                "only the base of a window may have `PARTITION BY`",
            );
        }
        if !window.order_by.is_empty() && !base.order_by.is_empty() {
            return wrong(
                format!("`ORDER BY` in a window over `{name}`, which has one"),
                "write the window out",
            );
        }
        if base.window_frame.is_some() {
            return wrong(
                format!("a window over `{name}`, which has a frame"),
                "write `OVER` and the name without brackets, or write the window out",
            );
        }
        window.partition_by = base.partition_by;
        if window.order_by.is_empty() {
            window.order_by = base.order_by;
        }
        ControlFlow::Continue(window)
    }
}

impl VisitorMut for Windows {
    type Break = Refused;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Refused> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Refused> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refused> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let over = match &function.over {
            Some(WindowType::NamedWindow(name)) if self.depth == 0 => self.named(name)?,
            Some(WindowType::WindowSpec(window)) if self.depth == 0 => {
                self.refined(window.clone())?
            }
            _ => return ControlFlow::Continue(()),
        };
        function.over = Some(WindowType::WindowSpec(over));
        ControlFlow::Continue(())
    }
}

/// A name as it is compared: without quotes, case does not count.
fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn wrong<T>(message: String, help: &'static str) -> ControlFlow<Refused, T> {
    ControlFlow::Break(Refused::from(Failure::new(ErrorKind::User, message).with_help(help)))
}

#[cfg(test)]
mod tests {
    use crate::sql::parse;

    fn text(sql: &str) -> String {
        parse(sql).expect(sql)[0].to_string()
    }

    #[test]
    fn uses_become_definitions() {
        for (named, written) in [
            (
                "select sum(a) over (w order by b) from t window w as (partition by g)",
                "select sum(a) over (partition by g order by b) from t",
            ),
            (
                "select sum(a) over v from t window w as (partition by g), v as (W rows 1 preceding)",
                "select sum(a) over (partition by g rows 1 preceding) from t",
            ),
            (
                "select a from t window w as (order by b) order by rank() over w",
                "select a from t order by rank() over (order by b)",
            ),
            (
                "select a from t union select rank() over v from t window w as (order by b), v as w",
                "select a from t union select rank() over (order by b) from t",
            ),
        ] {
            assert_eq!(text(named), text(written));
        }
    }

    #[test]
    fn refinements_that_contradict_their_base_are_errors() {
        for (over, windows, said) in [
            ("(w partition by a)", "w as (order by b)", "`PARTITION BY`"),
            ("(w order by a)", "w as (order by b)", "`ORDER BY`"),
            ("(w)", "w as (order by b rows 1 preceding)", "frame"),
            ("v", "w as (order by b)", "not defined"),
            ("w", "w as (v order by b), v as (partition by g)", "not defined"),
            ("w", "w as (order by b), W as (order by a)", "twice"),
        ] {
            let sql = format!("select sum(a) over {over} from t window {windows}");
            let error = parse(&sql).expect_err(&sql).to_string();
            assert!(error.contains(said), "{sql}: {error}");
        }
    }
}
