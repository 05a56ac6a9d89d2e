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
    *expr = call("make_array", std::mem::take(&mut array.elem));
}

/// The call of a function.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    let args = FunctionArgumentList {
        duplicate_treatment: None,
        args: args.collect(),
        clauses: Vec::new(),
    };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
