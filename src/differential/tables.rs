//! A round's tables in a session: in memory, or as files.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::logical_expr::{SortExpr, col};
use datafusion::object_store::buffered::BufWriter;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path as ObjectPath;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::metadata::SortingColumn;
use datafusion::parquet::file::properties::WriterProperties;
use gnist_differential::{Row, Storage, Table, TableSet, render};
use tokio::io::AsyncWriteExt as _;

use super::cells::{batch, schema};

/// A table as a session takes it.
#[derive(Clone)]
pub(super) enum Registered {
    /// Rows in memory.
    Memory { name: String, table: Arc<dyn TableProvider> },
    /// `CREATE EXTERNAL TABLE` over files that are there.
    Files { name: String, create: String },
}

impl Registered {
    /// The table's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Memory { name, .. } | Self::Files { name, .. } => name,
        }
    }
}

/// Writes the files of the tables into a folder, and says how to register all.
pub(super) async fn prepare(tables: &TableSet, folder: &Path) -> Result<Vec<Registered>> {
    let mut registered = Vec::new();
    for table in &tables.tables {
        registered.push(prepare_one(table, folder).await?);
    }
    Ok(registered)
}

/// Prepares tables as [`prepare`] does, but only these, by their place in the set.
pub(super) async fn prepare_some(
    tables: &TableSet,
    some: &BTreeSet<usize>,
    folder: &Path,
) -> Result<Vec<Registered>> {
    let mut registered = Vec::new();
    for table in some {
        registered.push(prepare_one(&tables.tables[*table], folder).await?);
    }
    Ok(registered)
}

async fn prepare_one(table: &Table, folder: &Path) -> Result<Registered> {
    let name = table.name.clone();
    let folder = folder.join(&name);
    let Some(rendered) = render(table, &folder.to_string_lossy()) else {
        return Ok(Registered::Memory { name, table: Arc::new(in_memory(table)?) });
    };
    std::fs::create_dir_all(&folder)?;
    if matches!(table.storage, Storage::Parquet { .. }) {
        write_parquet(table, &folder)?;
    } else {
        let compression: FileCompressionType = rendered.compression.to_string().parse()?;
        for (file, text) in &rendered.files {
            let store = Arc::new(LocalFileSystem::new());
            let path = ObjectPath::from_absolute_path(folder.join(file))?;
            let mut writer = compression.convert_async_writer(BufWriter::new(store, path))?;
            writer.write_all(text.as_bytes()).await?;
            writer.shutdown().await?;
        }
    }
    Ok(Registered::Files { name, create: rendered.create })
}

fn in_memory(table: &Table) -> Result<MemTable> {
    let Storage::Memory(partitions) = &table.storage else {
        return MemTable::try_new(schema(table), vec![vec![]]);
    };
    let schema = schema(table);
    let mut rows = table.rows.as_slice();
    let mut made = Vec::new();
    for batches in partitions {
        let mut partition = Vec::new();
        for count in batches {
            let (these, rest) = rows.split_at(*count);
            rows = rest;
            partition.push(batch(table, &schema, these)?);
        }
        made.push(partition);
    }
    let memory = MemTable::try_new(schema, made)?;
    let orders = table.sorted_by.iter().map(|column| vec![sort_key(*column)]);
    Ok(memory.with_sort_order(orders.collect()))
}

fn sort_key(column: usize) -> SortExpr {
    col(format!("c{column}")).sort(true, false)
}

fn write_parquet(table: &Table, folder: &Path) -> Result<()> {
    let Storage::Parquet { files, group_rows, sorting_columns } = &table.storage else {
        return Ok(());
    };
    let sorted_by = table.sorted_by.first().filter(|_| *sorting_columns);
    let column = |column| i32::try_from(column).unwrap_or_default();
    let sorting = sorted_by.map(|by| {
        vec![SortingColumn { column_idx: column(*by), descending: false, nulls_first: false }]
    });
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(*group_rows))
        .set_sorting_columns(sorting)
        .build();
    let schema = schema(table);
    let mut rows: &[Row] = &table.rows;
    for (at, count) in files.iter().enumerate() {
        let (these, rest) = rows.split_at(*count);
        rows = rest;
        let file = File::create(folder.join(format!("{at}.parquet")))?;
        let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties.clone()))?;
        writer.write(&batch(table, &schema, these)?)?;
        writer.close()?;
    }
    Ok(())
}
