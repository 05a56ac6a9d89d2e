//! Writers that stop at every step, two at once, and what readers see meanwhile.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::log::Log;
use super::{AddedFile, CommitError, Entry, Folder, Kind, Removal, WriteId};

/// A store that refuses everything after so many changes, as for a writer that is killed.
#[derive(Debug)]
struct Mortal {
    store: Arc<InMemory>,
    changes_left: AtomicUsize,
}

impl Mortal {
    fn change(&self) -> Result<()> {
        let live = |left: usize| left.checked_sub(1);
        match self.changes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, live) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Generic { store: "mortal", source: "killed".into() }),
        }
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        with: PutOptions,
    ) -> Result<PutResult> {
        self.change()?;
        self.store.put_opts(to, payload, with).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        with: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(to, with).await
    }

    async fn get_opts(&self, from: &Path, with: GetOptions) -> Result<GetResult> {
        self.store.get_opts(from, with).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.change() {
            Ok(()) => self.store.delete_stream(paths),
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, with: CopyOptions) -> Result<()> {
        self.change()?;
        self.store.copy_opts(from, to, with).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, with: RenameOptions) -> Result<()> {
        self.change()?;
        self.store.rename_opts(from, to, with).await
    }
}

const FOLDER: &str = "lake/t";

/// Steps of a commit that is long enough for every run of these tests.
const STEPS_MAX: usize = 60;

struct Writer {
    folder: Folder,
    store: Arc<InMemory>,
}

impl Writer {
    fn new(store: &Arc<InMemory>) -> Self {
        Self::mortal(store, usize::MAX)
    }

    /// A writer that dies after so many changes of the store.
    fn mortal(store: &Arc<InMemory>, changes: usize) -> Self {
        let changes_left = AtomicUsize::new(changes);
        let mortal = Arc::new(Mortal { store: Arc::clone(store), changes_left });
        Self { folder: Folder::new(mortal, Path::from(FOLDER), None), store: Arc::clone(store) }
    }

    /// Stages files of these names.
    async fn stage(&self, write: WriteId, names: &[&str]) -> Vec<AddedFile> {
        let mut added = Vec::new();
        for name in names {
            let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
            let path = format!("{folder}/{file}-{write}").trim_start_matches('/').to_owned();
            let staged = format!("_gnist/staged/{write}/{file}.staged");
            let at = Path::parse(format!("{FOLDER}/{staged}")).expect("a path");
            self.store.put(&at, "rows".into()).await.expect("staged");
            added.push(AddedFile { path, staged, bytes: 4, rows: 1 });
        }
        added
    }

    async fn write(&self, names: &[&str], removal: Removal) -> Result<(), CommitError> {
        let write = WriteId::fresh();
        let base = self.folder.begin().await?;
        let added = self.stage(write, names).await;
        self.folder.commit(base, write, added, &removal).await
    }

    /// The names of the data files that a reader sees, without the writes' ids.
    async fn seen(&self) -> Vec<String> {
        let files = self.folder.data().await.expect("listed");
        let names = files.iter().map(|file| {
            let name = file.location.as_ref().strip_prefix(FOLDER).expect("below the folder");
            name.trim_start_matches('/').rsplit_once('-').expect("an id").0.to_owned()
        });
        names.collect()
    }

    async fn all(&self) -> Vec<String> {
        let files: Vec<_> = self.store.list(None).collect().await;
        files.into_iter().map(|file| file.expect("listed").location.to_string()).collect()
    }

    async fn has_success(&self) -> bool {
        self.all().await.contains(&format!("{FOLDER}/_SUCCESS"))
    }
}

/// Old or new files, never a mix, whichever change of the store is the last one that a writer makes; the next
/// writer leaves nothing over.
#[tokio::test]
async fn a_writer_may_die_at_every_step() {
    for removal in [Removal::Nothing, Removal::All, Removal::TouchedFolders] {
        let mut has_landed = Vec::new();
        for changes in 0..STEPS_MAX {
            let store = Arc::new(InMemory::new());
            let healthy = Writer::new(&store);
            healthy.write(&["p=1/a", "p=2/b"], Removal::Nothing).await.expect("written");
            let old = ["p=1/a", "p=2/b"];
            let new: &[&str] = match removal {
                Removal::All => &["p=1/c", "p=1/d"],
                Removal::TouchedFolders => &["p=1/c", "p=1/d", "p=2/b"],
                _ => &["p=1/a", "p=1/c", "p=1/d", "p=2/b"],
            };
            let dying = Writer::mortal(&store, changes);
            let outcome = dying.write(&["p=1/c", "p=1/d"], removal.clone()).await;
            let seen = healthy.seen().await;
            let is_new = seen == new;
            let is_committed = matches!(outcome, Ok(()) | Err(CommitError::Unpublished(_)));
            assert!(is_new || seen == old, "{removal:?} {changes}: {seen:?}");
            assert!(is_new || outcome.is_err(), "{removal:?} {changes}");
            // Whoever waits for the mark and then lists sees what Gnist sees.
            if healthy.has_success().await {
                let listed = healthy.all().await;
                let data = listed.iter().filter(|path| !path.contains("/_")).count();
                assert_eq!(data, seen.len(), "{removal:?} {changes}: {listed:?}");
            }
            has_landed.push(is_new);

            // The next writer finishes it, if it was committed.
            healthy.write(&["p=3/e"], Removal::Nothing).await.expect("written");
            let seen = healthy.seen().await;
            let finished: Vec<&str> = new.iter().copied().chain(["p=3/e"]).collect();
            let given_up: Vec<&str> = old.into_iter().chain(["p=3/e"]).collect();
            let expected = if is_committed { &finished } else { &given_up };
            assert_eq!(&seen, expected, "{removal:?} {changes}: {outcome:?}");
            let listed = healthy.all().await;
            let data = listed.iter().filter(|path| !path.contains("/_")).count();
            assert_eq!(data, seen.len(), "a visible file is left over: {listed:?}");
            let entries = listed.iter().filter(|path| path.ends_with(".json")).count();
            assert!(entries <= 2, "{listed:?}");
            assert!(!listed.iter().any(|path| path.ends_with(".staged") && is_new), "{listed:?}");
        }
        assert!(has_landed[STEPS_MAX - 1], "the last run was not long enough");
        assert!(!has_landed[0]);
    }
}

#[tokio::test]
async fn of_two_at_once_appends_land_and_overwrites_are_told() {
    let write = WriteId::fresh;
    for (first, second, lands) in [
        (Removal::Nothing, Removal::Nothing, true),
        (Removal::All, Removal::Nothing, false),
        (Removal::Nothing, Removal::All, false),
        (Removal::All, Removal::All, false),
        (Removal::NothingThere, Removal::NothingThere, false),
        (Removal::NothingThere, Removal::Nothing, false),
    ] {
        let store = Arc::new(InMemory::new());
        let (one, other) = (Writer::new(&store), Writer::new(&store));
        let (one_id, other_id) = (write(), write());
        let base = one.folder.begin().await.expect("begun");
        let of_other = other.folder.begin().await.expect("begun");
        let added = one.stage(one_id, &["a"]).await;
        one.folder.commit(base, one_id, added, &first).await.expect("the first one");
        // A third one hides the kind of the first.
        one.write(&["c"], Removal::Nothing).await.expect("written");
        let added = other.stage(other_id, &["b"]).await;
        let outcome = other.folder.commit(of_other, other_id, added, &second).await;
        let seen = one.seen().await;
        if lands {
            outcome.expect("both land");
            assert_eq!(seen, ["a", "b", "c"]);
        } else {
            assert!(matches!(outcome, Err(CommitError::Conflict { .. })), "{first:?} {second:?}");
            assert_eq!(seen, ["a", "c"]);
            other.folder.give_up(other_id).await.expect("given up");
            assert!(!one.all().await.iter().any(|path| path.contains("staged")));
        }
    }
}

#[tokio::test]
async fn a_partition_that_is_read_alone_shows_no_half_of_a_write() {
    for changes in 0..STEPS_MAX {
        let store = Arc::new(InMemory::new());
        let healthy = Writer::new(&store);
        healthy.write(&["p=1/a"], Removal::Nothing).await.expect("written");
        let dying = Writer::mortal(&store, changes);
        let _ = dying.write(&["p=1/c", "p=1/d"], Removal::All).await;
        let path = Path::parse("lake/t/p=1").expect("a path");
        let partition = Folder::new(store.clone(), path, None);
        let files = partition.data().await.expect("listed").len();
        let seen = healthy.seen().await.len();
        assert_eq!(files, seen);
    }
}

#[tokio::test]
async fn a_damaged_log_is_named() {
    let store = Arc::new(InMemory::new());
    let entry = Path::from("lake/t/_gnist/log/00000000000000000003.json");
    store.put(&entry, "{\"write\": 1}".into()).await.expect("written");
    let writer = Writer::new(&store);
    let error = writer.write(&["a"], Removal::Nothing).await.expect_err("damaged").to_string();
    assert!(
        error.starts_with("`/lake/t/_gnist/log/00000000000000000003.json` is no entry"),
        "{error}"
    );
}

/// A writer whose listing is old creates an entry of a number that was pruned: it does not count.
#[tokio::test]
async fn a_number_that_was_pruned_is_not_taken_twice() {
    let store = Arc::new(InMemory::new());
    let writer = Writer::new(&store);
    for name in ["a", "b", "c", "d"] {
        writer.write(&[name], Removal::Nothing).await.expect("written");
    }
    let log = Log { store: store.as_ref(), folder: &Path::from(FOLDER) };
    let numbers = log.numbers().await.expect("listed");
    assert_eq!(numbers.entries.iter().copied().collect::<Vec<_>>(), [2, 3]);
    let late = Entry {
        write: "late".to_owned(),
        kind: Kind::Overwrite,
        overwritten: Some(1),
        added: Vec::new(),
        removed: vec![],
    };
    assert!(log.create(1, &late).await.expect("created"), "it was pruned");
    writer.write(&["e"], Removal::Nothing).await.expect("written");
    assert_eq!(writer.seen().await, ["a", "b", "c", "d", "e"]);
    let numbers = log.numbers().await.expect("listed");
    assert_eq!(numbers.entries.iter().copied().collect::<Vec<_>>(), [3, 4]);
}

/// Others who write to the folder, under names that were replaced, or delete `_SUCCESS`, confuse nobody.
#[tokio::test]
async fn files_of_others_are_data_whatever_their_names_were() {
    let store = Arc::new(InMemory::new());
    let writer = Writer::new(&store);
    let old = Path::from("lake/t/all.csv-x");
    store.put(&old, "old".into()).await.expect("written");
    writer.write(&["a"], Removal::All).await.expect("written");
    assert_eq!(writer.seen().await, ["a"]);
    store.put(&old, "new".into()).await.expect("written");
    assert_eq!(writer.seen().await, ["a", "all.csv"]);
    store.delete(&Path::from("lake/t/_SUCCESS")).await.expect("deleted");
    writer.write(&["b"], Removal::Nothing).await.expect("written");
    assert_eq!(writer.seen().await, ["a", "all.csv", "b"]);
}
