//! The SQL we read: DataFusion's generic dialect, with `IS [NOT] DISTINCT FROM` binding as tightly as
//! the standard says.
//!
//! sqlparser reads the right operand of `IS DISTINCT FROM` as a whole expression, so that
//! `a is distinct from b and c` means `a is distinct from (b and c)` (sqlparser PR 2436). Here it ends
//! where an operator follows that binds as loosely as `IS`.
//!
//! sqlparser has no way to inherit a dialect: what the generic one overrides is forwarded, method by
//! method. The test below compares the two on text that needs those methods.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// The dialect. See the module.
#[derive(Debug)]
pub(super) struct GnistDialect;

macro_rules! as_generic {
    ($($method:ident,)*) => {
        $(fn $method(&self) -> bool {
            GenericDialect.$method()
        })*
    };
}

impl Dialect for GnistDialect {
    fn dialect(&self) -> TypeId {
        GenericDialect.dialect()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GenericDialect.is_identifier_part(ch)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let is_negated = if parser.parse_keywords(&DISTINCT) {
            false
        } else if parser.parse_keywords(&NOT_DISTINCT) {
            true
        } else {
            return None;
        };
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| {
            let (left, right) = (Box::new(expr.clone()), Box::new(right));
            if is_negated {
                Expr::IsNotDistinctFrom(left, right)
            } else {
                Expr::IsDistinctFrom(left, right)
            }
        }))
    }

    as_generic! {
        supports_unicode_string_literal,
        supports_partition_by_after_order_by,
        supports_array_join_syntax,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
        supports_connect_by,
        supports_match_recognize,
        supports_pipe_operator,
        supports_start_transaction_modifier,
        supports_window_function_null_treatment_arg,
        supports_dictionary_syntax,
        supports_window_clause_named_window_reference,
        supports_parenthesized_set_variables,
        supports_select_wildcard_except,
        support_map_literal_syntax,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_extract_comma_syntax,
        supports_create_view_comment_syntax,
        supports_parens_around_table_factor,
        supports_values_as_table_factor,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_limit_comma,
        supports_update_order_by,
        supports_from_first_select,
        supports_projection_trailing_commas,
        supports_asc_desc_in_column_definition,
        supports_try_convert,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_assignment_operator,
        supports_struct_literal,
        supports_empty_projections,
        supports_nested_comments,
        supports_multiline_comment_hints,
        supports_user_host_grantee,
        supports_string_escape_constant,
        supports_array_typedef_with_brackets,
        supports_match_against,
        supports_set_names,
        supports_comma_separated_set_assignments,
        supports_filter_during_aggregation,
        supports_select_wildcard_exclude,
        supports_data_type_signed_suffix,
        supports_interval_options,
        supports_quote_delimited_string,
        supports_select_wildcard_replace,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_optimize_table,
        supports_install,
        supports_detach,
        supports_prewhere,
        supports_with_fill,
        supports_limit_by,
        supports_interpolate,
        supports_settings,
        supports_select_format,
        supports_comment_optimizer_hint,
        supports_constraint_keyword_without_name,
        supports_key_column_option,
        supports_comma_separated_trim,
        supports_cte_without_as,
        supports_select_item_multi_column_alias,
        supports_xml_expressions,
    }
}

const DISTINCT: [Keyword; 3] = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
const NOT_DISTINCT: [Keyword; 4] = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(dialect: &dyn Dialect, text: &str) -> String {
        match Parser::parse_sql(dialect, text) {
            Ok(statements) => statements.iter().map(ToString::to_string).collect(),
            Err(error) => error.to_string(),
        }
    }

    fn condition(text: &str) -> Expr {
        let mut parser = Parser::new(&GnistDialect).try_with_sql(text).expect(text);
        parser.parse_expr().expect(text)
    }

    #[test]
    fn is_distinct_from_ends_before_and_or_and_is() {
        for (text, same) in [
            ("a is distinct from b and c", "(a is distinct from b) and c"),
            ("a is not distinct from b or c", "(a is not distinct from b) or c"),
            ("a and b is distinct from c and d", "a and (b is distinct from c) and d"),
            ("a is distinct from b + 1 or c", "(a is distinct from b + 1) or c"),
            ("a is distinct from b is not null", "(a is distinct from b) is not null"),
            ("not a is distinct from b and c", "(not a is distinct from b) and c"),
            ("a is distinct from b = c", "a is distinct from (b = c)"),
        ] {
            let shape = |text: &str| format!("{:?}", unnested(condition(text)));
            let without_places = |shape: String| {
                let mut text = String::new();
                let mut rest = shape.as_str();
                while let Some(at) = rest.find("Span(") {
                    text.push_str(&rest[..at]);
                    rest = &rest[at..];
                    let end = rest.find("))").map_or(rest.len(), |end| end + 2);
                    rest = &rest[end..];
                }
                text + rest
            };
            assert_eq!(without_places(shape(text)), without_places(shape(same)), "{text}");
        }
    }

    fn unnested(mut expr: Expr) -> Expr {
        use datafusion::sql::sqlparser::ast::visit_expressions_mut;
        let _ = visit_expressions_mut(&mut expr, |expr| {
            while let Expr::Nested(inner) = expr {
                *expr = inner.as_ref().clone();
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        expr
    }

    #[test]
    fn everything_else_reads_as_in_the_generic_dialect() {
        for text in [
            "select * exclude (a) from t",
            "select * except (a) from t",
            "select * replace (a + 1 as a) from t",
            "select {'a': 1}, [1, 2][1], map {'a': 1}",
            "select extract(year from d), trim(both 'x' from y), a // b, a << 1",
            "from t select a",
            "select a, from t",
            "select count(*) filter (where a > 1) from t group by rollup (a, b)",
            "select first_value(a ignore nulls) over (order by a) from t",
            "select try_cast(a as int), a::int, e'\\n', u&'\\0041' from t",
            "select a from t limit 1, 2",
            "create table t (a int) with (x = 1)",
            "select \"A\", `b` from t",
            "explain (analyze) select 1",
            "select a from t where a in (select b from u) qualify row_number() over () = 1",
        ] {
            assert_eq!(parsed(&GnistDialect, text), parsed(&GenericDialect, text), "{text}");
        }
    }
}
