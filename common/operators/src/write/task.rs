//! The files of one task: those that are open, and receipts for those that have ended.
//!
//! A write by partition values has a file open for each of the first [`OPEN_MAX`] values that it meets. Rows of other
//! values are sorted by value, on disk if they have to be, and written one value after the other when all rows are
//! here. So a task holds a bounded number of encoders, and few values, the common case, cost no sort.
//!
//! Encoders keep rows back for larger groups, as far as memory goes: when there is none, those that hold most give
//! theirs up as smaller groups.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::TableOptions;
use datafusion::common::{Result, exec_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use gnist_storage::commit::{AddedFile, WriteId, below, open_upload_path, staged_path};
use gnist_storage::stores::{Store, store_of};

use super::encode::encoder_of;
use super::file::StagedFile;
use super::folders::{Folders, Key, file_schema};
use super::sink::Sink;
use super::spec::WriteSpec;
use crate::failure::external;
use crate::size::compacted;

/// Files that a task has open at once.
const OPEN_MAX: usize = 64;

/// Bytes that the encoders of a task keep back, however much memory there is.
const HELD_BYTES_MAX: usize = 256 << 20;

/// The identity of a task's files.
pub(super) struct TaskNames {
    pub(super) write: WriteId,
    pub(super) task: u32,
    /// A name that no other attempt has.
    pub(super) attempt: String,
}

/// The files of one task.
pub(super) struct TaskFiles {
    spec: Arc<WriteSpec>,
    options: TableOptions,
    store: Store,
    schema: SchemaRef,
    rows_schema: SchemaRef,
    names: TaskNames,
    folders: Option<Folders>,
    open: HashMap<Key, Open>,
    reservation: MemoryReservation,
    /// True once rows were given back.
    has_rest: bool,
    /// Files so far.
    files: u32,
    done: Vec<AddedFile>,
}

/// The folder of a partition value, and its file.
struct Open {
    folder: String,
    file: Option<StagedFile>,
}

impl TaskFiles {
    pub(super) fn new(
        spec: &Arc<WriteSpec>,
        rows_schema: SchemaRef,
        names: TaskNames,
        context: &TaskContext,
    ) -> Result<Self> {
        let folders = match spec.partition_by.as_slice() {
            [] => None,
            columns => Some(Folders::new(&rows_schema, columns)?),
        };
        Ok(Self {
            options: spec.format.options(&spec.options)?,
            store: store_of(context.session_config(), &spec.store).map_err(external)?,
            schema: file_schema(&rows_schema, &spec.partition_by)?,
            spec: Arc::clone(spec),
            rows_schema,
            names,
            folders,
            open: HashMap::new(),
            reservation: MemoryConsumer::new("WriteExec").register(context.memory_pool()),
            has_rest: false,
            files: 0,
            done: Vec::new(),
        })
    }

    /// Writes the rows whose files are open or can be opened, and gives the others back.
    ///
    /// # Errors
    /// `Execution`, for a null in a column that has none.
    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<Option<RecordBatch>> {
        self.check_nulls(&rows)?;
        let Some(folders) = &self.folders else {
            self.write_to(Key::default(), &rows).await?;
            return Ok(None);
        };
        let mut rest = Vec::new();
        for (key, rows) in folders.split(&rows)? {
            if self.open.contains_key(&key) || self.open.len() < OPEN_MAX {
                self.write_to(key, &rows).await?;
            } else {
                rest.push(rows);
            }
        }
        if rest.is_empty() {
            return Ok(None);
        }
        if !self.has_rest {
            // The sort begins with a reservation of its own: the encoders, which were first, leave it room.
            self.has_rest = true;
            for file in self.open.values_mut().filter_map(|open| open.file.as_mut()) {
                file.shrink().await?;
            }
            self.account().await?;
        }
        // Each slice of a column of views has all of the column's texts, which a sort would count each time.
        Ok(Some(compacted(concat_batches(&self.rows_schema, &rest)?)?))
    }

    fn check_nulls(&self, rows: &RecordBatch) -> Result<()> {
        for at in &self.spec.not_null {
            if rows.column(*at).logical_null_count() > 0 {
                let name = self.rows_schema.field(*at).name();
                return exec_err!("a NULL for the column `{name}`, which is declared NOT NULL");
            }
        }
        Ok(())
    }

    /// Writes rows that come in the order of their partition values: of the file before theirs no more follow.
    pub(super) async fn write_sorted(&mut self, rows: RecordBatch) -> Result<()> {
        let Some(folders) = &self.folders else {
            return self.write_to(Key::default(), &rows).await;
        };
        for (key, rows) in folders.split(&rows)? {
            if !self.open.contains_key(&key) {
                self.finish_open().await?;
            }
            self.write_to(key, &rows).await?;
        }
        Ok(())
    }

    /// Ends all files that are open.
    pub(super) async fn finish_open(&mut self) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        for file in open.into_values().filter_map(|open| open.file) {
            self.done.push(file.finish().await?);
        }
        self.reservation.free();
        Ok(())
    }

    /// Ends all files, and returns their receipts in the order of their names.
    pub(super) async fn finish(&mut self) -> Result<Vec<AddedFile>> {
        self.finish_open().await?;
        self.done.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(std::mem::take(&mut self.done))
    }

    async fn write_to(&mut self, key: Key, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let open = match self.open.entry(key.clone()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let folder = match &self.folders {
                    Some(folders) => folders.folder_of(rows)?,
                    None => String::new(),
                };
                place.insert(Open { folder, file: None })
            }
        };
        let in_file = match &self.folders {
            Some(folders) => folders.without_keys(rows)?,
            None => rows.clone(),
        };
        let limits = self.spec.limits;
        let mut first = 0;
        while first < in_file.num_rows() {
            if open.file.is_none() {
                let number = self.files;
                self.files += 1;
                let opener = Opener {
                    spec: &self.spec,
                    options: &self.options,
                    store: &self.store,
                    schema: &self.schema,
                    names: &self.names,
                };
                open.file = Some(opener.open(&open.folder, number)?);
            }
            let file = open.file.as_mut().expect("it was opened");
            let left = usize::try_from(limits.rows - file.rows()).unwrap_or(usize::MAX);
            let count = left.min(in_file.num_rows() - first);
            file.write(&in_file.slice(first, count)).await?;
            first += count;
            if (file.rows() >= limits.rows || file.bytes() >= limits.bytes)
                && let Some(file) = open.file.take()
            {
                self.done.push(file.finish().await?);
            }
        }
        self.account().await
    }

    fn sum(&self, of: fn(&StagedFile) -> usize) -> usize {
        self.open.values().filter_map(|open| open.file.as_ref()).map(of).sum()
    }

    /// Counts what the files hold, and has them give up what is too much.
    async fn account(&mut self) -> Result<()> {
        loop {
            let held = self.sum(StagedFile::held_bytes);
            let unencoded = self.sum(StagedFile::unencoded_bytes);
            let refused = self.reservation.try_resize(held).err();
            if refused.is_none() && unencoded <= HELD_BYTES_MAX {
                return Ok(());
            }
            let files = self.open.values_mut().filter_map(|open| open.file.as_mut());
            let largest = files.max_by_key(|file| file.held_bytes());
            let before = largest.as_ref().map_or(0, |file| file.held_bytes());
            let Some(file) = largest.filter(|_| before > 0) else {
                return refused.map_or(Ok(()), Err);
            };
            file.shrink().await?;
            if file.held_bytes() < before {
                continue;
            }
            // What it still holds is an empty encoder, or less than a piece of an upload: the file ends here.
            let largest = self
                .open
                .values_mut()
                .max_by_key(|open| open.file.as_ref().map_or(0, StagedFile::held_bytes));
            match (refused, largest.and_then(|open| open.file.take_if(|file| file.rows() > 0))) {
                (None, _) => return Ok(()),
                (Some(refused), None) => return Err(refused),
                (Some(_), Some(file)) => self.done.push(file.finish().await?),
            }
        }
    }
}

/// Stages a file without rows, for a write that has none: readers learn the columns from it.
///
/// # Errors
/// The store refuses.
pub async fn write_empty_file(
    spec: &WriteSpec,
    schema: &SchemaRef,
    write: WriteId,
    store: &Store,
) -> Result<AddedFile> {
    let options = spec.format.options(&spec.options)?;
    let names = TaskNames { write, task: 0, attempt: WriteId::fresh().to_string() };
    let opener = Opener { spec, options: &options, store, schema, names: &names };
    opener.open("", 0)?.finish().await
}

/// The parts that a file is opened with.
struct Opener<'a> {
    spec: &'a WriteSpec,
    options: &'a TableOptions,
    store: &'a Store,
    schema: &'a SchemaRef,
    names: &'a TaskNames,
}

impl Opener<'_> {
    fn open(&self, folder: &str, number: u32) -> Result<StagedFile> {
        let TaskNames { write, task, attempt } = self.names;
        let extension = self.spec.format.extension(self.options);
        let name = match &self.spec.single_file {
            Some(name) => name.clone(),
            None => format!("part-{task:06}-{number:06}-{write}.{extension}"),
        };
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let encoder = encoder_of(self.spec.format, self.options, self.schema)?;
        let at = |path: &str| below(&self.spec.folder, path);
        let sink = match &self.store.uploads {
            Some(uploads) => {
                let note = at(&open_upload_path(*write, attempt, &name));
                Sink::upload(Arc::clone(uploads), at(&path), self.store.clone(), note)
            }
            None => {
                let staged = staged_path(*write, attempt, &name);
                Sink::file(self.store.clone(), at(&staged), staged)
            }
        };
        Ok(StagedFile::new(sink, encoder, path))
    }
}
