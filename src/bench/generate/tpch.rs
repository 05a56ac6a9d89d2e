//! TPC-H data as Parquet: a folder for each table, files of a size that two readers share well.

use std::fs::{self, File};
use std::path::Path;

use datafusion::arrow::record_batch::RecordBatchReader;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use super::{Outcome, in_parallel};

/// The tables and the megabytes each takes at scale 1.
pub(in super::super) const TABLES: [(&str, f64); 8] = [
    ("lineitem", 240.0),
    ("orders", 75.0),
    ("partsupp", 55.0),
    ("customer", 16.0),
    ("part", 9.0),
    ("supplier", 1.0),
    ("nation", 0.0),
    ("region", 0.0),
];

/// A file to write.
struct Piece {
    table: &'static str,
    /// The number of the file among those of the table, from 1.
    part: i32,
    parts: i32,
}

/// Writes all tables below a folder.
pub(super) fn write_all(scale: f64, folder: &Path) -> Outcome {
    for (table, _) in TABLES {
        fs::create_dir_all(folder.join(table))?;
    }
    in_parallel(&pieces(scale), |piece| {
        let name = format!("part-{:05}.parquet", piece.part - 1);
        write_one(rows_of(piece, scale), &folder.join(piece.table).join(name))
    })
}

fn pieces(scale: f64) -> Vec<Piece> {
    const FILE_MEGABYTES: f64 = 24.0;
    const FILES_MAX: f64 = 1000.0;
    let mut pieces = Vec::new();
    for (table, megabytes) in TABLES {
        let files = (megabytes * scale / FILE_MEGABYTES).ceil().clamp(1.0, FILES_MAX);
        #[expect(clippy::cast_possible_truncation, reason = "clamped above")]
        let parts = files as i32;
        pieces.extend((1..=parts).map(|part| Piece { table, part, parts }));
    }
    pieces
}

type Rows = Box<dyn RecordBatchReader>;

fn rows_of(piece: &Piece, scale: f64) -> Rows {
    let (part, parts) = (piece.part, piece.parts);
    match piece.table {
        "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, part, parts))),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, part, parts))),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, part, parts))),
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, part, parts))),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, part, parts))),
        "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, part, parts))),
        "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, part, parts))),
        "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, part, parts))),
        other => unreachable!("`{other}` is not in TABLES"),
    }
}

fn write_one(rows: Rows, path: &Path) -> Outcome {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), Some(properties))?;
    for batch in rows {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}
