//! TPC-H data as Parquet: a folder for each table, files of a size that two readers share well.
//!
//! The files are written beside the target and renamed when all are complete, so that a folder
//! that is there is whole.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::{Args, ValueEnum};
use datafusion::arrow::record_batch::RecordBatchReader;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use gnist_common::error::ErrorKind;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::cli::{CliError, Exit};

/// Arguments of `gnist bench generate`.
#[derive(Args)]
pub(super) struct GenerateArgs {
    /// What to make.
    #[arg(value_enum)]
    what: What,
    /// Scale factor: 1 is about 1 GB of text, 6 million order lines.
    #[arg(long, value_parser = parse_scale)]
    scale: f64,
    /// The folder to make; it must not hold anything yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The eight tables of TPC-H.
    Tpch,
}

/// A scale factor, for clap.
pub(super) fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100_000.0 => Ok(scale),
        _ => Err("expected a number above 0 and up to 100000".to_owned()),
    }
}

pub(super) fn run(args: &GenerateArgs) -> Result<Exit, CliError> {
    match args.what {
        What::Tpch => tpch(args.scale, &args.out)?,
    }
    eprintln!("TPC-H scale {} is in {}", args.scale, args.out.display());
    Ok(Exit::Success)
}

/// The tables and the megabytes each takes at scale 1.
pub(super) const TABLES: [(&str, f64); 8] = [
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

/// Generates all tables into `out`, which must be empty or not there.
pub(super) fn tpch(scale: f64, out: &Path) -> Result<(), CliError> {
    let failed = |doing: &str, path: &Path, error: &dyn std::fmt::Display| {
        CliError::failed(
            ErrorKind::NotFound,
            format!("can't {doing} `{}`: {error}", path.display()),
        )
    };
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("the folder `{}` is not empty", out.display());
        return Err(CliError::failed(ErrorKind::User, message));
    }
    let out = std::path::absolute(out).map_err(|error| failed("find", out, &error))?;
    let mut partial = out.clone().into_os_string();
    partial.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let made = write_all(scale, &partial);
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&partial);
        return Err(failed("write", &partial, &error));
    }
    let _ = fs::remove_dir(&out);
    fs::rename(&partial, &out).map_err(|error| failed("make", &out, &error))
}

fn write_all(scale: f64, folder: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for (table, _) in TABLES {
        fs::create_dir_all(folder.join(table))?;
    }
    let pieces = pieces(scale);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = format!("part-{:05}.parquet", piece.part - 1);
            write_one(rows_of(piece, scale), &folder.join(piece.table).join(name))?;
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err("the generator panicked".into()))
        })
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

fn write_one(rows: Rows, path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows.schema(), Some(properties))?;
    for batch in rows {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_scale_makes_every_table_and_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("tpch");
        tpch(0.001, &out).expect("generated");
        for (table, _) in TABLES {
            assert!(out.join(table).join("part-00000.parquet").is_file(), "{table}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
        assert!(tpch(0.001, &out).is_err(), "what is there is kept");
    }

    #[test]
    fn scales_are_positive_numbers() {
        assert!(parse_scale("0.1").is_ok());
        for text in ["0", "-1", "x", "NaN", "inf"] {
            assert!(parse_scale(text).is_err(), "{text}");
        }
    }
}
