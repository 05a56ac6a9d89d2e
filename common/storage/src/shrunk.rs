//! Files that get shorter while they are read.
//!
//! `object_store` reads a range of a local file in pieces until it has all of it. At the end of a file
//! that has become shorter it gets empty pieces, for ever, and whoever waits for rows never lets
//! go of the thread. Here the first empty piece is an error. Of a range that begins behind the new end,
//! the error of `object_store` names no file.

use std::error::Error;
use std::fmt;

use datafusion::object_store::path::Path;
use datafusion::object_store::{
    self, GetRange, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt as _,
};
use futures::{StreamExt as _, TryStreamExt as _};

/// A result whose bytes end with an error where the file ends before them.
pub(crate) fn checked(result: GetResult, location: &Path) -> GetResult {
    let GetResult { payload, meta, range, attributes } = result;
    let is_file = matches!(payload, GetResultPayload::File(..));
    let result = GetResult {
        payload,
        meta: meta.clone(),
        range: range.clone(),
        attributes: attributes.clone(),
    };
    if !is_file {
        return result;
    }
    let location = location.clone();
    let pieces = result.into_stream().and_then(move |piece| {
        let piece = if piece.is_empty() { Err(shorter(&location)) } else { Ok(piece) };
        std::future::ready(piece)
    });
    GetResult { payload: GetResultPayload::Stream(pieces.boxed()), meta, range, attributes }
}

/// The number of bytes that a file needs to have for a range of it.
pub(crate) fn end_of(range: &GetRange) -> u64 {
    match range {
        GetRange::Bounded(range) => range.end,
        GetRange::Offset(begin) => begin + 1,
        GetRange::Suffix(bytes) => *bytes,
    }
}

/// The error of a read of bytes up to `end`: that the file is shorter than that, or the `error` itself.
pub(crate) async fn explained(
    store: &dyn ObjectStore,
    location: &Path,
    end: u64,
    error: object_store::Error,
) -> object_store::Error {
    match store.head(location).await {
        Ok(now) if now.size < end => shorter(location),
        _ => error,
    }
}

fn shorter(location: &Path) -> object_store::Error {
    object_store::Error::Generic {
        store: "local file",
        source: Box::new(Shorter(location.clone())),
    }
}

/// A file that ends before the bytes that it had when it was opened.
#[derive(Debug)]
struct Shorter(Path);

impl fmt::Display for Shorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`/{}` became shorter while it was read: write a new file under another name and rename it, \
             instead of changing one that is being read",
            self.0
        )
    }
}

impl Error for Shorter {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::object_store::GetOptions;
    use datafusion::object_store::local::LocalFileSystem;

    use super::*;
    use crate::hidden::DataFiles;

    #[tokio::test]
    async fn a_file_that_is_cut_while_it_is_read_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        std::fs::write(&path, vec![b'x'; 100_000]).expect("written");
        let store = DataFiles(Arc::new(LocalFileSystem::new()));
        let location = Path::from_absolute_path(&path).expect("a path");
        let range = GetRange::Bounded(10..90_000);
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let mut pieces = store.get_opts(&location, options).await.expect("opened").into_stream();
        assert!(!pieces.next().await.expect("a piece").expect("read").is_empty());
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(20))
            .expect("cut");
        let rest: Result<Vec<_>, _> = pieces.try_collect().await;
        let error = rest.expect_err("cut").to_string();
        assert!(error.contains("a.csv` became shorter while it was read"), "{error}");

        // Ranges that begin behind the new end, or go beyond it.
        for range in [GetRange::Bounded(50..90), GetRange::Offset(20)] {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let error = store.get_opts(&location, options).await.expect_err("cut").to_string();
            assert!(error.contains("a.csv` became shorter"), "{error}");
        }
        let error = store.get_ranges(&location, &[0..10, 15..90]).await.expect_err("cut");
        assert!(error.to_string().contains("a.csv` became shorter"), "{error}");
    }
}
