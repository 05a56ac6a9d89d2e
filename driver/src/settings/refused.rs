//! DataFusion's settings that would change nothing in a session of Gnist, or would make its answers
//! wrong.

/// A group of keys and the reason why a session does not take them.
pub(super) struct Refused {
    /// Whole keys; one that ends in a dot stands for all below it.
    pub(super) keys: &'static [&'static str],
    /// Refused on clusters alone.
    only_on_clusters: bool,
    /// True if the setting would make answers wrong, and not merely do nothing.
    pub(super) is_wrong: bool,
    /// The reason, after the key's name and a colon.
    pub(super) reason: &'static str,
    /// The next step.
    pub(super) help: Option<&'static str>,
}

/// The group of a key, if it is refused.
pub(super) fn refusal(key: &str, on_cluster: bool) -> Option<&'static Refused> {
    let holds =
        |name: &&str| if name.ends_with('.') { key.starts_with(*name) } else { key == *name };
    REFUSED
        .iter()
        .filter(|refused| on_cluster || !refused.only_on_clusters)
        .find(|refused| refused.keys.iter().any(holds))
}

const fn idle(
    keys: &'static [&'static str],
    reason: &'static str,
    help: Option<&'static str>,
) -> Refused {
    Refused { keys, only_on_clusters: false, is_wrong: false, reason, help }
}

/// Every group.
pub(super) static REFUSED: &[Refused] = &[
    idle(
        &["datafusion.runtime."],
        "memory, disk and caches belong to the executors, which exist already",
        Some("give `--memory SIZE` at start; a worker's spills go to its `--work-dir`"),
    ),
    idle(
        &[
            "datafusion.execution.keep_partition_by_columns",
            "datafusion.execution.max_buffered_batches_per_output_file",
            "datafusion.execution.minimum_parallel_output_files",
            "datafusion.execution.objectstore_writer_buffer_size",
            "datafusion.execution.soft_max_rows_per_output_file",
            "datafusion.execution.parquet.allow_single_file_parallelism",
            "datafusion.execution.parquet.maximum_buffered_record_batches_per_stream",
            "datafusion.execution.parquet.maximum_parallel_row_group_writers",
        ],
        "it is about how DataFusion writes files, and Gnist writes them in another way",
        Some("sizes of files are options of a write: `max_file_rows`, `max_file_size`"),
    ),
    idle(
        &[
            "datafusion.catalog.create_default_catalog_and_schema",
            "datafusion.catalog.format",
            "datafusion.catalog.location",
        ],
        "it is read when a session is opened, and never again",
        None,
    ),
    idle(&["datafusion.sql_parser.recursion_limit"], "statements are parsed to any depth", None),
    idle(
        &["datafusion.execution.max_spill_file_size_bytes"],
        "executors write a spill file per batch, whatever its size",
        None,
    ),
    idle(
        &["datafusion.execution.enable_ansi_mode"],
        "the functions that look at it are not part of Gnist",
        None,
    ),
    idle(&["datafusion.spark."], "the functions that look at it are not part of Gnist", None),
    idle(
        &["datafusion.sql_parser.enable_options_value_normalization"],
        "DataFusion ignores it",
        None,
    ),
    idle(
        &["datafusion.explain.analyze_level", "datafusion.explain.analyze_categories"],
        "`EXPLAIN ANALYZE` shows the same for every value",
        None,
    ),
    Refused {
        keys: &["datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery"],
        only_on_clusters: false,
        is_wrong: true,
        reason: "without it a subquery of several rows would give a wrong answer, and not an error",
        help: None,
    },
    Refused {
        keys: &[
            "datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown",
            "datafusion.optimizer.enable_dynamic_filter_pushdown",
            "datafusion.optimizer.enable_topk_aggregation",
            "datafusion.optimizer.enable_window_limits",
            "datafusion.optimizer.enable_window_topn",
        ],
        only_on_clusters: false,
        is_wrong: true,
        reason: "DataFusion's rule leaves out rows that other parts of a query need",
        help: Some("dynamic filters of joins and of `LIMIT` have settings of their own"),
    },
    Refused {
        keys: &["datafusion.optimizer.enable_leaf_expression_pushdown"],
        only_on_clusters: false,
        is_wrong: true,
        reason: "DataFusion's rule makes a struct of drawn values twice, and loses keys of joins",
        help: None,
    },
    Refused {
        keys: &["datafusion.execution.parquet.pushdown_filters"],
        only_on_clusters: false,
        is_wrong: true,
        reason: "DataFusion's scans drop a filter over a list or a struct then",
        help: None,
    },
    Refused {
        keys: &["datafusion.optimizer.enable_piecewise_merge_join"],
        only_on_clusters: false,
        is_wrong: true,
        reason: "DataFusion's join by ranges loses rows of full joins",
        help: None,
    },
    Refused {
        keys: &["datafusion.optimizer.top_down_join_key_reordering"],
        only_on_clusters: false,
        is_wrong: true,
        reason: "DataFusion's rule takes one key of a grouping for another one of its name",
        help: None,
    },
    Refused {
        keys: &["datafusion.execution.enable_file_stream_work_stealing"],
        only_on_clusters: true,
        is_wrong: false,
        reason: "a task of a cluster has its own files alone, and none to take over",
        help: Some("it is on in one process, with `--master local[N]`"),
    },
    Refused {
        keys: &["datafusion.optimizer.prefer_existing_union"],
        only_on_clusters: true,
        is_wrong: true,
        reason: "without it the inputs of a union would have to be cut the same way",
        help: None,
    },
];
