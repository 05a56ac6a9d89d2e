//! The files that operators spill to, in the worker's folder.
//!
//! DataFusion's own files, but for two things: a refusal of the disk is one that the scheduler
//! answers by trying on another worker ([`crate::work_dir::disk_failure`]), and a folder that was
//! deleted is made again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, StreamExt};
use gnist_operators::failure::external;

use crate::work_dir::{disk_error, disk_failure};

/// Limit of the bytes that operators may spill; the disk refuses before.
const SPILL_BYTES_MAX: u64 = 1 << 60;

/// Makes the spill files of all attempts.
pub(crate) struct SpillFiles {
    folder: PathBuf,
    /// True once the worker has ended: its folder stays deleted.
    is_closed: Arc<AtomicBool>,
    /// Made when the first file is, and again when its folder is gone.
    disk: Mutex<Option<Arc<DiskManager>>>,
}

impl SpillFiles {
    /// Files in this folder, until it is closed.
    pub(crate) fn new(folder: PathBuf, is_closed: Arc<AtomicBool>) -> Self {
        Self { folder, is_closed, disk: Mutex::default() }
    }

    fn create(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed.load(Ordering::Acquire) {
            return Err(io::Error::other("the worker has ended").into());
        }
        if let Some(disk) = &*disk {
            match disk.create_tmp_file(description) {
                Err(DataFusionError::IoError(error))
                    if error.kind() == io::ErrorKind::NotFound
                        && !self.is_closed.load(Ordering::Acquire) =>
                {
                    tracing::warn!(folder = %self.folder.display(), "the spill folder was deleted");
                }
                made => return made,
            }
        }
        fs::create_dir_all(&self.folder)?;
        let made = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![self.folder.clone()]))
            .with_max_temp_directory_size(SPILL_BYTES_MAX)
            .build()?;
        disk.insert(Arc::new(made)).create_tmp_file(description)
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let file = self.create(description).map_err(|error| typed(&self.folder, error))?;
        Ok(Arc::new(TypedFile { file, folder: self.folder.clone() }))
    }
}

/// A refusal of the disk as a failure that names the folder; other errors as they are.
fn typed(folder: &Path, error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::IoError(error) => external(disk_failure(folder, &error)),
        other => other,
    }
}

struct TypedFile {
    file: Arc<dyn SpillFile>,
    folder: PathBuf,
}

impl SpillFile for TypedFile {
    fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let folder = self.folder.clone();
        let chunks = self.file.read_stream().map_err(|error| typed(&folder, error))?;
        Ok(chunks.map(move |chunk| chunk.map_err(|error| typed(&folder, error))).boxed())
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let folder = self.folder.clone();
        let writer = self.file.open_writer().map_err(|error| typed(&folder, error))?;
        Ok(Box::new(TypedWriter { writer, folder }))
    }
}

struct TypedWriter {
    writer: Box<dyn SpillWriter>,
    folder: PathBuf,
}

impl Write for TypedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes).map_err(|error| disk_error(&self.folder, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(|error| disk_error(&self.folder, error))
    }
}

impl SpillWriter for TypedWriter {
    fn finish(&mut self) -> Result<()> {
        self.writer.finish().map_err(|error| typed(&self.folder, error))
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use gnist_common::task::AttemptEnd;
    use gnist_operators::failure::attempt_end_of;

    use super::*;

    fn spill(files: &SpillFiles) -> Result<Arc<dyn SpillFile>> {
        let file = files.create_temp_file("a test")?;
        let mut writer = file.open_writer()?;
        writer.write_all(b"rows")?;
        writer.finish()?;
        Ok(file)
    }

    #[tokio::test]
    async fn a_folder_that_was_deleted_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let files = SpillFiles::new(root.path().join("worker/spill"), Arc::default());
        spill(&files).unwrap();
        fs::remove_dir_all(root.path().join("worker")).unwrap();
        let file = spill(&files).unwrap();
        let chunks: Vec<Bytes> = file.read_stream().unwrap().try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"rows");
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_named_and_the_attempt_is_for_another_worker() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spill");
        let files = SpillFiles::new(folder.clone(), Arc::default());
        let file = spill(&files).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "no folder").unwrap();
        let lost = file.read_stream().unwrap().try_collect::<Vec<Bytes>>().await;
        for error in [spill(&files).err().unwrap(), lost.unwrap_err()] {
            let AttemptEnd::DiskFull(failure) = attempt_end_of(&error) else { panic!("{error}") };
            assert!(failure.message.contains(&folder.display().to_string()), "{failure}");
            assert!(failure.help.is_some());
        }
    }

    /// Arrow's writer wraps what it meets.
    #[test]
    fn a_full_disk_stays_typed_through_the_writer_of_batches() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                Err(io::Error::other(DataFusionError::IoError(full)))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl SpillWriter for Full {
            fn finish(&mut self) -> Result<()> {
                Ok(())
            }
        }
        use datafusion::arrow::datatypes::Schema;
        use datafusion::arrow::ipc::writer::StreamWriter;
        let writer = TypedWriter { writer: Box::new(Full), folder: "/work".into() };
        let error = StreamWriter::try_new(writer, &Schema::empty()).err().unwrap();
        let AttemptEnd::DiskFull(failure) = attempt_end_of(&error.into()) else { panic!() };
        let expected = "can't write to the work folder `/work`: no storage space";
        assert_eq!(failure.message, expected);
    }
}
