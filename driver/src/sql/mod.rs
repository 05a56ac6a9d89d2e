//! SQL where DataFusion answers wrongly or not at all: what is done to a statement's text and to
//! its plan before DataFusion optimises it.
//!
//! ```text
//! text ──parse──▶ statement ──plan──▶ logical plan ──types──▶ rules ──▶ optimizer
//!        │                     │                                      │
//!        parse.rs              keys.rs                 types/           one file a rule
//!        rewrites.rs
//! ```
//!
//! Invariant: each rule is named in one line of [`function_rewrites`], [`late_rewrites`], [`rules`] or
//! [`optimizer_rules`], and each rewrite of the text in one line of `rewrites.rs`. Without the line
//! there is no rule.

mod around;
mod arrays;
mod called;
mod cast_inputs;
mod cast_keys;
mod chains;
mod clauses;
mod computed_keys;
mod copies;
mod copy_targets;
mod counts;
mod date_times;
mod dependencies;
mod dialect;
mod empty_sets;
mod escapes;
mod far_dates;
mod grouping;
mod guarded_keys;
mod idle_options;
mod implicit_keys;
mod in_lists;
mod input_columns;
mod interval_frames;
mod intervals;
mod item_names;
mod joined_keys;
mod key_names;
mod keys;
mod left_out;
mod long_numbers;
mod marked_names;
mod names;
mod nested_queries;
mod null_flags;
mod null_frames;
mod null_keys;
mod parse;
mod patterns;
mod places;
mod pushed_filters;
mod quantified_arrays;
mod refused;
mod refused_exprs;
mod repeated;
mod replacements;
mod reserved;
mod rewrites;
mod row_values;
mod rows;
mod scanned_times;
mod similar;
mod sort_keys;
mod stack;
mod subqueries;
mod tables;
mod time_zones;
mod truth_tests;
mod typed_operators;
mod types;
mod volatile;
mod wildcards;
mod windows;
mod years;
mod zones;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};

use crate::numbers::WholeDecimals;

pub(crate) use key_names::normalized;
pub use parse::parse;
pub(crate) use parse::parse_as;
pub(crate) use refused::refuse_left_subqueries;
pub(crate) use repeated::{ViewSizes, operators_of, refuse_repeats};
pub(crate) use reserved::shown;
pub(crate) use stack::{on_deep_stack, refuse_depth};
pub(crate) use types::{number_of, of_view};

/// Rewrites of expressions before their operands meet ([`types`]).
fn function_rewrites() -> Vec<Arc<dyn FunctionRewrite + Send + Sync>> {
    vec![
        Arc::new(intervals::IntervalLengths),
        Arc::new(interval_frames::IntervalFrames),
        Arc::new(date_times::DateTimes),
        Arc::new(cast_inputs::CastInputs),
        Arc::new(replacements::Replacements),
        Arc::new(null_flags::NullFlags),
        // After those that look for the functions.
        Arc::new(counts::SignedCounts),
    ]
}

/// Rewrites that see the types which operands have together.
fn late_rewrites() -> Vec<Arc<dyn FunctionRewrite + Send + Sync>> {
    vec![Arc::new(far_dates::FarDates), Arc::new(WholeDecimals)]
}

/// The rules that run after DataFusion has coerced types, in this order.
fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(joined_keys::JoinedKeys),
        Arc::new(idle_options::IdleOptions),
        // Before subqueries become joins: of other forms, and with operands that are drawn there.
        Arc::new(copies::CountedCopies),
        Arc::new(volatile::VolatileOnce),
        Arc::new(subqueries::Subqueries),
        Arc::new(empty_sets::EmptySets),
        Arc::new(truth_tests::TruthTests),
        Arc::new(in_lists::InLists),
        Arc::new(patterns::Patterns),
        Arc::new(years::Years),
        Arc::new(zones::Zones),
    ]
}

/// DataFusion's optimizer rules, with ours in front of those that they are named beside, in place of
/// one, and last.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let ours: [(&str, Arc<dyn OptimizerRule + Send + Sync>); 3] = [
        ("extract_equijoin_predicate", Arc::new(subqueries::FreedLaterals)),
        ("extract_equijoin_predicate", Arc::new(null_keys::NotNullKeys)),
        ("eliminate_cross_join", Arc::new(null_keys::ApartJoins)),
    ];
    let mut rules = Vec::new();
    for rule in Optimizer::new().rules {
        let before = ours.iter().filter(|(name, _)| *name == rule.name());
        rules.extend(before.map(|(_, rule)| Arc::clone(rule)));
        rules.push(match rule.name() {
            "push_down_filter" => Arc::new(pushed_filters::PushedFilters::default()),
            "extract_equijoin_predicate" => around::around(rule, guarded_keys::without_guarded),
            name if dependencies::RULES.contains(&name) => {
                left_out::careful(around::around(rule, dependencies::without_keys))
            }
            _ => left_out::careful(rule),
        });
    }
    rules.push(Arc::new(sort_keys::KeysOnce));
    rules.push(Arc::new(computed_keys::ComputedKeys));
    rules
}

/// Adds everything of this module to a session.
pub(crate) fn install(builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut analyzer = Analyzer::new();
    analyzer.rules.insert(0, Arc::new(nested_queries::NestedQueries));
    analyzer.rules.insert(1, Arc::new(implicit_keys::WrittenKeys));
    analyzer.rules.insert(2, Arc::new(input_columns::InputColumns));
    analyzer.rules.insert(3, Arc::new(null_frames::NullFrames));
    types::install(&mut analyzer, function_rewrites(), late_rewrites());
    analyzer.rules.extend(rules());
    let mut builder = builder
        .with_optimizer_rules(optimizer_rules())
        .with_relation_planners(vec![
            Arc::new(keys::MergedKeys),
            Arc::new(scanned_times::ScannedTimes),
        ])
        .with_expr_planners(vec![
            Arc::new(typed_operators::TypedOperators),
            Arc::new(counts::SignedRanks),
        ]);
    *builder.analyzer() = Some(analyzer);
    builder
}
