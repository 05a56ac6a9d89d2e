//! Expressions of any type.

use super::{Evaluated, Fault, Oracle, Scope, Stop, arithmetic, cast};
use crate::tree::{Expr, Query};
use crate::value::Value;

impl Oracle<'_> {
    /// The value of an expression.
    pub(crate) fn expr(&mut self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        self.step()?;
        match expr {
            Expr::Column(id, _) => {
                scope.column(*id).cloned().ok_or(Stop::NotCovered("an unknown column"))
            }
            Expr::Literal(value, _) | Expr::Written(value, _) => Ok(value.clone()),
            Expr::Key(key, _) => {
                let group = scope.group.ok_or(Stop::NotCovered("a key outside of a group"))?;
                Ok(group.keys[*key].clone())
            }
            Expr::Grouping(key) => {
                let group = scope.group.ok_or(Stop::NotCovered("a key outside of a group"))?;
                Ok(Value::Int(i128::from(!group.present[*key])))
            }
            Expr::Arithmetic(operator, left, right, of) => {
                let (left, right) = (self.expr(left, scope)?, self.expr(right, scope)?);
                arithmetic::arithmetic(operator, &left, &right, of)
            }
            Expr::Negate(operand, of) => {
                let operand = self.expr(operand, scope)?;
                arithmetic::arithmetic("-", &arithmetic::zero(of), &operand, of)
            }
            Expr::Case { .. } => self.case(expr, scope),
            Expr::Call(call, arguments, of) => self.call(*call, arguments, of, scope),
            Expr::Cast { of, to, is_try } => {
                let value = self.expr(of, scope)?;
                match cast::cast(&value, to) {
                    Err(Stop::Fault(_)) if *is_try => Ok(Value::Null),
                    result => result,
                }
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, scope),
            Expr::Window(window) => self.window(window, scope),
            Expr::Scalar(query, _) => self.scalar(query, scope),
            predicate => {
                let truth = self.truth(predicate, scope)?;
                Ok(truth.map_or(Value::Null, Value::Bool))
            }
        }
    }

    /// The first THEN whose WHEN holds; nothing after it is evaluated.
    fn case(&mut self, expr: &Expr, scope: &Scope<'_>) -> Evaluated<Value> {
        let Expr::Case { operand, whens, otherwise, .. } = expr else {
            return Err(Stop::NotCovered("not a CASE"));
        };
        let operand = match operand {
            Some(operand) => Some(self.expr(operand, scope)?),
            None => None,
        };
        for (when, then) in whens {
            let holds = match &operand {
                Some(operand) => super::equal(operand, &self.expr(when, scope)?),
                None => self.truth(when, scope)?,
            };
            if holds == Some(true) {
                return self.expr(then, scope);
            }
        }
        otherwise.as_ref().map_or(Ok(Value::Null), |otherwise| self.expr(otherwise, scope))
    }

    fn scalar(&mut self, query: &Query, scope: &Scope<'_>) -> Evaluated<Value> {
        let rows = self.query(query, Some(scope))?;
        match rows.as_slice() {
            [] => Ok(Value::Null),
            [row] => Ok(row[0].clone()),
            _ => Err(Stop::Fault(Fault::ManyRows)),
        }
    }
}
