//! Suggestions: the name that a user may have meant by one that nothing has.

use datafusion::prelude::SessionContext;
use gnist_common::config::nearest;

/// The names a session knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The tables.
    pub(super) tables: Vec<String>,
    /// The functions, sorted: suggestions are the same in every run.
    pub(super) functions: Vec<String>,
}

impl Names {
    /// The names that a context knows.
    pub(super) fn of(context: &SessionContext) -> Self {
        let catalogs = context.catalog_names();
        let catalogs = catalogs.into_iter().filter_map(|name| context.catalog(&name));
        let mut tables = Vec::new();
        for catalog in catalogs {
            for schema in catalog.schema_names() {
                let schema = catalog.schema(&schema);
                tables.extend(schema.map(|schema| schema.table_names()).unwrap_or_default());
            }
        }
        let state = context.state();
        let scalars = state.scalar_functions().keys();
        let names = scalars.chain(state.aggregate_functions().keys());
        let mut functions: Vec<String> =
            names.chain(state.window_functions().keys()).cloned().collect();
        tables.sort();
        functions.sort();
        functions.dedup();
        Self { tables, functions }
    }

    /// Help for a table that is not there.
    pub(super) fn table(&self, typed: &str) -> Option<String> {
        name(typed, &self.tables)
    }

    /// Help for a function that is not there: the same thing under another name, else the name most
    /// like it.
    pub(super) fn function(&self, typed: &str) -> Option<String> {
        let typed = typed.to_lowercase();
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(name, _)| *name == typed) {
            return Some(format!("use {instead}"));
        }
        let found = nearest(&typed, self.functions.iter().rev().cloned());
        found.map(|name| format!("did you mean `{name}`?"))
    }
}

/// Help for a column, or a table, out of those that there are. One that fails by its case alone is
/// shown as it has to be written: a name without quotes is read in lower case.
pub(super) fn name(typed: &str, candidates: &[String]) -> Option<String> {
    if let Some(same) = candidates.iter().find(|name| name.eq_ignore_ascii_case(typed)) {
        let quoted = same.replace('"', "\"\"");
        return Some(format!("write `\"{quoted}\"`: a name without quotes is read in lower case"));
    }
    let found = nearest(typed, candidates.iter().rev().cloned())?;
    let shown = if found.chars().any(char::is_uppercase) { format!("\"{found}\"") } else { found };
    Some(format!("did you mean `{shown}`?"))
}

/// Functions of other engines, and what does the same here.
const ELSEWHERE: [(&str, &str); 50] = [
    ("add_months", "`date + interval '1 month'`"),
    ("approx_count_distinct", "`approx_distinct(x)`"),
    ("approx_percentile", "`approx_percentile_cont(p) within group (order by x)`"),
    ("array", "`make_array(a, b)`, or `[a, b]`"),
    ("charindex", "`strpos(text, part)`"),
    ("collect_list", "`array_agg(x)`"),
    ("collect_set", "`array_agg(distinct x)`"),
    ("count_if", "`count(*) filter (where c)`"),
    ("date_add", "`date + interval '1 day'`"),
    ("date_diff", "`a - b`, the difference of two dates"),
    ("date_sub", "`date - interval '1 day'`"),
    ("dateadd", "`date + interval '1 day'`"),
    ("datediff", "`a - b`, the difference of two dates"),
    ("day", "`extract(day from x)`"),
    ("dayofweek", "`extract(dow from x)`"),
    ("dayofyear", "`extract(doy from x)`"),
    ("explode", "`unnest(x)`"),
    ("first", "`first_value(x order by y)`"),
    ("getdate", "`now()`"),
    ("group_concat", "`string_agg(x, ',')`"),
    ("hour", "`extract(hour from x)`"),
    ("if", "`case when c then a else b end`"),
    ("iff", "`case when c then a else b end`"),
    ("isnull", "`x is null`"),
    ("last", "`last_value(x order by y)`"),
    ("last_day", "`date_trunc('month', d) + interval '1 month' - interval '1 day'`"),
    ("lcase", "`lower(x)`"),
    ("len", "`length(x)`"),
    ("listagg", "`string_agg(x, ',')`"),
    ("locate", "`strpos(text, part)`"),
    ("max_by", "`first_value(x order by y desc)`"),
    ("min_by", "`first_value(x order by y)`"),
    ("minute", "`extract(minute from x)`"),
    ("mod", "the operator `%`: `a % b`"),
    ("month", "`extract(month from x)`"),
    ("percentile_approx", "`approx_percentile_cont(p) within group (order by x)`"),
    ("pmod", "`(a % b + b) % b`"),
    ("quarter", "`extract(quarter from x)`"),
    ("regexp_extract", "`regexp_match(text, pattern)[1]`"),
    ("second", "`extract(second from x)`"),
    ("sequence", "`generate_series(a, b)`"),
    ("sha2", "`sha256(x)`, `sha384(x)` or `sha512(x)`"),
    ("size", "`cardinality(x)`"),
    ("sort_array", "`array_sort(x)`"),
    ("split", "`string_to_array(text, ',')`"),
    ("to_number", "`cast(x as decimal(20, 2))`"),
    ("typeof", "`arrow_typeof(x)`"),
    ("ucase", "`upper(x)`"),
    ("unix_timestamp", "`extract(epoch from x)`"),
    ("year", "`extract(year from x)`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::of(&SessionContext::new())
    }

    #[test]
    fn a_function_of_another_engine_is_told_by_its_meaning() {
        let help = names().function("mod").expect("help");
        assert_eq!(help, "use the operator `%`: `a % b`");
        assert_eq!(names().function("LEN").expect("help"), "use `length(x)`");
    }

    #[test]
    fn no_function_that_is_there_is_told_to_be_elsewhere() {
        let there = names().functions;
        for (name, _) in ELSEWHERE {
            assert!(!there.iter().any(|function| function == name), "{name}");
        }
    }

    #[test]
    fn a_misspelt_function_is_told_by_its_spelling_the_same_every_time() {
        let names = names();
        for (typed, meant) in [("lenght", "length"), ("substrr", "substr"), ("roun", "round")] {
            let help = names.function(typed).expect(typed);
            assert_eq!(help, format!("did you mean `{meant}`?"));
        }
        // Sessions keep their functions in an order that is drawn anew for each of them.
        let sessions: Vec<_> = (0..20).map(|_| self::names()).collect();
        for name in &names.functions {
            let typed = &name[..name.len() - 1];
            let help = names.function(typed);
            assert!(sessions.iter().all(|names| names.function(typed) == help), "{typed}");
        }
    }

    #[test]
    fn nothing_is_suggested_that_is_spelt_otherwise() {
        for typed in ["mode", "rollup", "foo", "xyz"] {
            assert_eq!(names().function(typed), None, "{typed}");
        }
    }

    #[test]
    fn a_name_that_fails_by_its_case_is_shown_in_quotes() {
        let columns = ["userId".to_owned(), "name".to_owned()];
        let help = name("userid", &columns).expect("help");
        assert!(help.contains("write `\"userId\"`"), "{help}");
        assert_eq!(name("userids", &columns).expect("help"), "did you mean `\"userId\"`?");
        assert_eq!(name("nam", &columns).expect("help"), "did you mean `name`?");
    }
}
