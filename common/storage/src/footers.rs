//! Parquet files whose footer claims more bytes than the file has.
//!
//! The reader of Parquet trusts the length of the footer, and panics. Every footer is read through a
//! store, in the driver and in executors, so the ends of files are looked at there. A range of another
//! file or place may end with the same bytes: only then is the size of the file asked for.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::object_store::path::Path;
use datafusion::object_store::{self, ObjectStore, ObjectStoreExt as _};
use gnist_common::error::{ErrorKind, Failure};

use crate::stores::shown;

/// Bytes at the end of a Parquet file: the length of the footer, and four that say what the file is.
const END_BYTES: u64 = 8;

/// Refuses ranges of which one is the end of a Parquet file that is shorter than its footer.
///
/// # Errors
/// There is such a range, or the store does not tell the size of the file.
pub(crate) async fn refuse_long_footers(
    store: &dyn ObjectStore,
    location: &Path,
    ranges: &[Range<u64>],
    read: &[Bytes],
) -> object_store::Result<()> {
    for (range, bytes) in ranges.iter().zip(read) {
        if claims_more(bytes, range.end) && store.head(location).await?.size == range.end {
            let path = shown(store, location);
            let message = format!("can't read `{path}` as Parquet: the file is damaged");
            let source = Box::new(Damaged(Failure::new(ErrorKind::User, message)));
            return Err(object_store::Error::Generic { store: "Parquet file", source });
        }
    }
    Ok(())
}

/// Returns true if bytes are the end of a Parquet file, and a file of this size can't hold its footer.
fn claims_more(bytes: &[u8], size: u64) -> bool {
    let Some((_, [a, b, c, d, magic @ ..])) = bytes.split_last_chunk::<8>() else { return false };
    let footer = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    matches!(magic, b"PAR1" | b"PARE") && footer + END_BYTES > size
}

/// Returns true for the error of [`refuse_long_footers`].
pub(crate) fn is_damaged(error: &DataFusionError) -> bool {
    let DataFusionError::ObjectStore(error) = error.find_root() else { return false };
    matches!(&**error, object_store::Error::Generic { source, .. } if source.is::<Damaged>())
}

/// A file that is shorter than its footer. Its cause is the failure that users see.
#[derive(Debug)]
struct Damaged(Failure);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for Damaged {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::object_store::memory::InMemory;

    use super::*;
    use crate::hidden::DataFiles;

    #[tokio::test]
    async fn a_footer_longer_than_its_file_is_an_error_that_names_the_file() {
        let store = DataFiles(Arc::new(InMemory::new()));
        let location = Path::from("a/b.parquet");
        let end_of = async |range: Range<u64>| {
            store.get_ranges(&location, std::slice::from_ref(&range)).await
        };
        let put = async |bytes: &'static [u8]| {
            store.put(&location, Bytes::from_static(bytes).into()).await.expect("written");
        };
        for bytes in [b"PAR1garbagePAR1".as_slice(), b"PAR1\xff\xff\xff\xffPARE", b"\x01\0\0\0PAR1"]
        {
            put(bytes).await;
            let end = bytes.len() as u64;
            for begin in [0, end - 8] {
                let error = end_of(begin..end).await.expect_err("damaged");
                assert!(error.to_string().contains("b.parquet` as Parquet: the file is damaged"));
                assert!(is_damaged(&error.into()));
            }
        }
        // The same bytes inside of a file, a footer that fits, and a file of nothing.
        put(b"PAR1garbagePAR1 and more").await;
        assert!(end_of(0..15).await.is_ok());
        put(b"PAR1xx\x02\0\0\0PAR1").await;
        assert!(end_of(0..14).await.is_ok());
        put(b"PAR1").await;
        assert!(end_of(0..4).await.is_ok());
    }
}
