//! The expressions directly below an expression, to read and to change.

use super::Expr;

impl Expr {
    /// The expressions directly below this one.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Column(..) | Self::Literal(..) | Self::Written(..) => Vec::new(),
            Self::Key(..) | Self::Grouping(_) => Vec::new(),
            Self::Scalar(..) | Self::Exists(..) => Vec::new(),
            Self::Not(of)
            | Self::IsNull(of, _)
            | Self::IsTruth { of, .. }
            | Self::Like { of, .. }
            | Self::Negate(of, _)
            | Self::Cast { of, .. }
            | Self::InQuery(of, ..)
            | Self::Quantified { of, .. } => vec![of],
            Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::Distinct { left, right, .. }
            | Self::Arithmetic(_, left, right, _) => vec![left, right],
            Self::Between(of, _) => of.iter().collect(),
            Self::InList(of, list, _) => std::iter::once(&**of).chain(list).collect(),
            Self::Case { operand, whens, otherwise, .. } => {
                let whens = whens.iter().flat_map(|(when, then)| [when, then]);
                operand.as_deref().into_iter().chain(whens).chain(otherwise.as_deref()).collect()
            }
            Self::Call(_, arguments, _) => arguments.iter().collect(),
            Self::Aggregate(aggregate) => {
                let order = aggregate.order.iter().map(|(key, _)| key);
                aggregate.arguments.iter().chain(&aggregate.filter).chain(order).collect()
            }
            Self::Window(window) => {
                let order = window.order.iter().map(|(key, _)| key);
                let before = window.arguments.iter().chain(&window.filter);
                before.chain(&window.partition).chain(order).collect()
            }
        }
    }

    /// The children, as [`Self::children`] gives them, to change.
    pub fn children_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Column(..) | Self::Literal(..) | Self::Written(..) => Vec::new(),
            Self::Key(..) | Self::Grouping(_) => Vec::new(),
            Self::Scalar(..) | Self::Exists(..) => Vec::new(),
            Self::Not(of)
            | Self::IsNull(of, _)
            | Self::IsTruth { of, .. }
            | Self::Like { of, .. }
            | Self::Negate(of, _)
            | Self::Cast { of, .. }
            | Self::InQuery(of, ..)
            | Self::Quantified { of, .. } => vec![of],
            Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::Distinct { left, right, .. }
            | Self::Arithmetic(_, left, right, _) => vec![left, right],
            Self::Between(of, _) => of.iter_mut().collect(),
            Self::InList(of, list, _) => std::iter::once(&mut **of).chain(list).collect(),
            Self::Case { operand, whens, otherwise, .. } => {
                let whens = whens.iter_mut().flat_map(|(when, then)| [when, then]);
                let operand = operand.as_deref_mut().into_iter();
                operand.chain(whens).chain(otherwise.as_deref_mut()).collect()
            }
            Self::Call(_, arguments, _) => arguments.iter_mut().collect(),
            Self::Aggregate(aggregate) => {
                let order = aggregate.order.iter_mut().map(|(key, _)| key);
                aggregate.arguments.iter_mut().chain(&mut aggregate.filter).chain(order).collect()
            }
            Self::Window(window) => {
                let order = window.order.iter_mut().map(|(key, _)| key);
                let before = window.arguments.iter_mut().chain(&mut window.filter);
                before.chain(&mut window.partition).chain(order).collect()
            }
        }
    }
}
