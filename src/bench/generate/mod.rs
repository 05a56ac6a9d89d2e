//! `gnist bench generate`: benchmark data, the same for the same arguments on every machine.
//!
//! Files are written beside the target and renamed when all are complete, so that a folder that is there is whole.

mod events;
mod tpch;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::{Args, Subcommand};
use gnist_common::bytes::ByteSize;
use gnist_common::error::ErrorKind;

pub(super) use events::{Events, TextCompression};
pub(super) use tpch::TABLES;

use crate::cli::{CliError, Exit};

/// Arguments of `gnist bench generate`.
#[derive(Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The eight tables of TPC-H, as folders of Parquet files.
    Tpch {
        /// Scale factor: 1 is about 1 GB of text, 6 million order lines.
        #[arg(long, value_parser = parse_scale)]
        scale: f64,
        /// The folder to make; it must not hold anything yet.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Events of users, as files of JSON lines of 128 MiB.
    Events {
        /// Bytes of text, about.
        #[arg(long)]
        size: ByteSize,
        /// The folder to make; it must not hold anything yet.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Another seed makes other events.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Compression of the files.
        #[arg(long, value_enum, default_value_t)]
        compression: TextCompression,
    },
}

/// A scale factor, for clap.
pub(super) fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100_000.0 => Ok(scale),
        _ => Err("expected a number above 0 and up to 100000".to_owned()),
    }
}

pub(super) fn run(args: &GenerateArgs) -> Result<Exit, CliError> {
    match &args.what {
        What::Tpch { scale, out } => {
            tpch(*scale, out)?;
            eprintln!("TPC-H scale {scale} is in {}", out.display());
        }
        What::Events { size, out, seed, compression } => {
            let of = Events { bytes: size.0, seed: *seed, compression: *compression };
            events(&of, out)?;
            eprintln!("{size} of events are in {}", out.display());
        }
    }
    Ok(Exit::Success)
}

/// Generates all tables of TPC-H into `out`, which must be empty or not there.
pub(super) fn tpch(scale: f64, out: &Path) -> Result<(), CliError> {
    whole(out, |folder| tpch::write_all(scale, folder))
}

/// Generates events into `out`, which must be empty or not there.
pub(super) fn events(of: &Events, out: &Path) -> Result<(), CliError> {
    whole(out, |folder| of.write_all(folder))
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Makes a folder that is whole as soon as it is there.
fn whole(out: &Path, write_all: impl FnOnce(&Path) -> Outcome) -> Result<(), CliError> {
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
    let made = fs::create_dir_all(&partial).map_err(Into::into).and_then(|()| write_all(&partial));
    if let Err(error) = made {
        let _ = fs::remove_dir_all(&partial);
        return Err(failed("write", &partial, &error));
    }
    let _ = fs::remove_dir(&out);
    fs::rename(&partial, &out).map_err(|error| failed("make", &out, &error))
}

/// Makes every piece, on all CPUs.
fn in_parallel<T: Sync>(pieces: &[T], make: impl Fn(&T) -> Outcome + Sync) -> Outcome {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            make(piece)?;
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
