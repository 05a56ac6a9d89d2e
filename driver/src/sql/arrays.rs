//! `[a, b]` as `make_array(a, b)`, which it stands for.
//!
//! DataFusion plans the elements of a literal without what is around the query: columns of an outer
//! query and common table expressions are unknown in it, those of a function's arguments are not.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName,
};

/// Replaces an array's literal by the call.
pub(super) fn as_call(expr: &mut Expr) {
    let Expr::Array(array) = expr else { return };
    let elements = std::mem::take(&mut array.elem).into_iter();
    let args = elements.map(|element| FunctionArg::Unnamed(FunctionArgExpr::Expr(element)));
    let args = FunctionArgumentList {
        duplicate_treatment: None,
        args: args.collect(),
        clauses: Vec::new(),
    };
    *expr = Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("make_array")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    });
}
