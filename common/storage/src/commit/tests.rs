//! Writers that stop at every step, two at once, and what readers see meanwhile.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::multipart::{MultipartStore, PartId};
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use tokio::sync::Notify;

use super::log::Log;
use super::{
    AddedFile, CommitError, Entry, Folder, Kind, OpenUpload, Removal, Staged, WriteId,
    open_upload_path, staged_path,
};
use crate::stores::Store;

/// A store that refuses everything after so many changes, as for a writer that is killed, or waits before one.
#[derive(Debug)]
struct Mortal {
    store: Arc<InMemory>,
    life: Arc<Life>,
}

#[derive(Debug)]
struct Life {
    changes_left: AtomicUsize,
    changes: AtomicUsize,
    /// The change that waits until it may go on.
    gate: Option<(usize, Gate)>,
}

#[derive(Clone, Debug, Default)]
struct Gate {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

impl Life {
    async fn change(&self) -> Result<()> {
        let change = self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some((at, gate)) = &self.gate
            && *at == change
        {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
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
        self.life.change().await?;
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
        let (store, life) = (Arc::clone(&self.store), Arc::clone(&self.life));
        let deleted = async move { life.change().await.map(|()| store.delete_stream(paths)) };
        futures::stream::once(deleted).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, with: CopyOptions) -> Result<()> {
        self.life.change().await?;
        self.store.copy_opts(from, to, with).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, with: RenameOptions) -> Result<()> {
        self.life.change().await?;
        self.store.rename_opts(from, to, with).await
    }
}

#[async_trait]
impl MultipartStore for Mortal {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.store.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.store.put_part(path, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.life.change().await?;
        self.store.complete_multipart(path, id, parts).await.map_err(|error| unknown(path, error))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.life.change().await?;
        self.store.abort_multipart(path, id).await.map_err(|error| unknown(path, error))
    }
}

/// The answer of S3 to an upload that it does not know, or not any more.
fn unknown(path: &Path, error: Error) -> Error {
    Error::NotFound { path: path.to_string(), source: error.to_string().into() }
}

/// The ways in which the bytes of a file wait for their commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Renamed,
    Uploaded,
}

const FOLDER: &str = "lake/t";

/// Steps of a commit that is long enough for every run of these tests.
const STEPS_MAX: usize = 60;

struct Writer {
    folder: Folder,
    store: Arc<InMemory>,
    way: Way,
}

impl Writer {
    fn new(store: &Arc<InMemory>) -> Self {
        Self::mortal(store, Way::Renamed, usize::MAX)
    }

    /// A writer that dies after so many changes of the store.
    fn mortal(store: &Arc<InMemory>, way: Way, changes: usize) -> Self {
        Self::with_life(store, way, changes, None)
    }

    /// A writer whose change of this number waits at a gate.
    fn gated(store: &Arc<InMemory>, way: Way, at: usize, gate: &Gate) -> Self {
        Self::with_life(store, way, usize::MAX, Some((at, gate.clone())))
    }

    fn with_life(
        store: &Arc<InMemory>,
        way: Way,
        changes: usize,
        gate: Option<(usize, Gate)>,
    ) -> Self {
        let (changes_left, changes) = (AtomicUsize::new(changes), AtomicUsize::new(0));
        let life = Arc::new(Life { changes_left, changes, gate });
        let mortal = Arc::new(Mortal { store: Arc::clone(store), life });
        let mortal = match way {
            Way::Renamed => Store::without_uploads(mortal),
            Way::Uploaded => Store::with_uploads(mortal),
        };
        let folder = Folder::new(mortal, Path::from(FOLDER), None);
        Self { folder, store: Arc::clone(store), way }
    }

    /// Stages files of these names.
    async fn stage(&self, write: WriteId, names: &[&str]) -> Vec<AddedFile> {
        let mut added = Vec::new();
        for name in names {
            let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
            let path = format!("{folder}/{file}-{write}").trim_start_matches('/').to_owned();
            let staged = match self.way {
                Way::Renamed => {
                    let staged = format!("_gnist/staged/{write}/{file}.staged");
                    self.put(&staged, "rows".into()).await;
                    Staged::File(staged)
                }
                Way::Uploaded => {
                    let at = Path::parse(format!("{FOLDER}/{path}")).expect("a path");
                    let upload = self.store.create_multipart(&at).await.expect("begun");
                    let open = OpenUpload { path: at.to_string(), upload: upload.clone() };
                    self.put(&open_upload_path(write, "0", file), open.to_json()).await;
                    let part = self.store.put_part(&at, &upload, 0, "rows".into()).await;
                    Staged::Upload { upload, parts: vec![part.expect("uploaded").content_id] }
                }
            };
            added.push(AddedFile { path, staged, bytes: 4, rows: 1 });
        }
        added
    }

    async fn put(&self, path: &str, bytes: Vec<u8>) {
        let at = Path::parse(format!("{FOLDER}/{path}")).expect("a path");
        self.store.put(&at, bytes.into()).await.expect("staged");
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
    let removals = [Removal::Nothing, Removal::All, Removal::TouchedFolders];
    let ways = [Way::Renamed, Way::Uploaded];
    for (removal, way) in removals.into_iter().flat_map(|it| ways.map(|way| (it.clone(), way))) {
        let mut has_landed = Vec::new();
        for changes in 0..STEPS_MAX {
            let store = Arc::new(InMemory::new());
            let healthy = Writer::mortal(&store, way, usize::MAX);
            healthy.write(&["p=1/a", "p=2/b"], Removal::Nothing).await.expect("written");
            let old = ["p=1/a", "p=2/b"];
            let new: &[&str] = match removal {
                Removal::All => &["p=1/c", "p=1/d"],
                Removal::TouchedFolders => &["p=1/c", "p=1/d", "p=2/b"],
                _ => &["p=1/a", "p=1/c", "p=1/d", "p=2/b"],
            };
            let dying = Writer::mortal(&store, way, changes);
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
            let is_left = |path: &String| path.ends_with(".staged") || path.ends_with(".upload");
            assert!(!is_new || !listed.iter().any(is_left), "{listed:?}");
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
        let dying = Writer::mortal(&store, Way::Renamed, changes);
        let _ = dying.write(&["p=1/c", "p=1/d"], Removal::All).await;
        let path = Path::parse("lake/t/p=1").expect("a path");
        let partition = Folder::new(Store::without_uploads(store.clone()), path, None);
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

/// A write whose entry landed though the store answered with an error, or said that something is there, has landed.
#[tokio::test]
async fn an_entry_is_known_by_its_write_whatever_the_store_answers() {
    let store = Arc::new(InMemory::new());
    let writer = Writer::mortal(&store, Way::Uploaded, usize::MAX);
    let write = WriteId::fresh();
    let added = writer.stage(write, &["a"]).await;
    // The request that is sent a second time finds what the first one made.
    let log = Log { store: store.as_ref(), folder: &Path::from(FOLDER) };
    let entry = Entry {
        write: write.to_string(),
        kind: Kind::Overwrite,
        overwritten: Some(0),
        added: added.clone(),
        removed: vec![],
    };
    assert!(log.create(0, &entry).await.expect("created"));
    assert!(writer.folder.create(0, &entry).await.expect("known"));
    let other = Entry { write: "other".to_owned(), ..entry };
    assert!(!writer.folder.create(0, &other).await.expect("known"));
    writer.write(&["b"], Removal::Nothing).await.expect("written");
    assert_eq!(writer.seen().await, ["a", "b"]);
}

/// A committed write keeps its staged files until it is published, however old they are; those of a write that nobody
/// commits go.
#[tokio::test]
async fn old_staged_files_go_unless_their_write_is_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local();
    let path = Path::from_absolute_path(folder.path()).expect("a path");
    let table = Folder::new(store, path, Some(folder.path().to_owned()));
    let stage = |write: WriteId| {
        let staged = staged_path(write, "0", "a");
        let at = folder.path().join(&staged);
        std::fs::create_dir_all(at.parent().expect("a folder")).expect("created");
        std::fs::write(&at, "rows").expect("staged");
        (
            AddedFile {
                path: format!("a-{write}"),
                staged: Staged::File(staged),
                bytes: 4,
                rows: 1,
            },
            at,
        )
    };
    let (committed, left, running) = (WriteId::fresh(), WriteId::fresh(), WriteId::fresh());
    let (added, _) = stage(committed);
    let ((_, left), (_, running)) = (stage(left), stage(running));
    let log = folder.path().join("_gnist/log");
    std::fs::create_dir_all(&log).expect("created");
    let entry = Entry {
        write: committed.to_string(),
        kind: Kind::Append,
        overwritten: None,
        added: vec![added],
        removed: vec![],
    };
    let text = serde_json::to_vec(&entry).expect("JSON");
    std::fs::write(log.join("00000000000000000000.json"), text).expect("written");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(72);
    let mut folders = vec![folder.path().join("_gnist/staged")];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let file = std::fs::File::open(&path).expect("opened");
            file.set_modified(long_ago).expect("an old file");
        }
    }
    // An attempt that is still at it writes to a file of a folder that was made long ago.
    std::fs::write(&running, "more").expect("written");
    table.begin().await.expect("begun");
    let seen = table.data().await.expect("listed");
    assert_eq!(seen.len(), 1, "the committed write is published");
    assert!(!left.exists() && running.exists());
}

/// A file that its writer put onto another disk is told before anything is committed.
#[tokio::test]
async fn a_file_that_is_not_staged_here_is_told_before_the_commit() {
    let store = Arc::new(InMemory::new());
    let writer = Writer::new(&store);
    writer.write(&["a"], Removal::Nothing).await.expect("written");
    let write = WriteId::fresh();
    let base = writer.folder.begin().await.expect("begun");
    for (name, bytes) in [("b", 4), ("c", 5)] {
        let mut added = writer.stage(write, &[name]).await;
        added[0].bytes = bytes;
        if bytes == 4 {
            added[0].staged = Staged::File("_gnist/staged/elsewhere".to_owned());
        }
        let outcome = writer.folder.commit(base, write, added, &Removal::All).await;
        assert!(matches!(outcome, Err(CommitError::NotStaged { .. })), "{outcome:?}");
    }
    writer.write(&["d"], Removal::Nothing).await.expect("the folder can be written to");
    assert_eq!(writer.seen().await, ["a", "d"]);
}

/// A writer that stands still before any of its changes, while others write, and then goes on: all that landed is there
/// once, and the mark for other programs says so.
#[tokio::test]
async fn a_writer_may_stand_still_before_every_change() {
    let removals = [Removal::Nothing, Removal::All];
    let ways = [Way::Renamed, Way::Uploaded];
    let counts = [1, 3];
    for (removal, way, others) in removals.iter().flat_map(|removal| {
        ways.into_iter().flat_map(move |way| counts.map(|count| (removal, way, count)))
    }) {
        for at in 0..STEPS_MAX {
            let place = format!("{removal:?} {way:?}, {others} others, change {at}");
            let store = Arc::new(InMemory::new());
            let other = Writer::mortal(&store, way, usize::MAX);
            other.write(&["a"], Removal::Nothing).await.expect("written");
            let gate = Gate::default();
            let slow = Writer::gated(&store, way, at, &gate);
            let of_slow = removal.clone();
            let slow = tokio::spawn(async move { slow.write(&["b", "c"], of_slow).await });
            tokio::select! {
                () = gate.reached.notified() => {}
                () = async { while !slow.is_finished() { tokio::task::yield_now().await } } => {}
            }
            let is_last = slow.is_finished();
            let mut landed = 0;
            for _ in 0..others {
                other.write(&["d"], Removal::Nothing).await.expect("an append lands");
                landed += 1;
            }
            gate.open.notify_one();
            let outcome = slow.await.expect("it does not panic");
            let seen = other.seen().await;
            let count = |name: &str| seen.iter().filter(|seen| *seen == name).count();
            match &outcome {
                Ok(()) => assert_eq!((count("b"), count("c")), (1, 1), "{place}: {seen:?}"),
                Err(CommitError::Conflict { .. }) => {
                    assert_eq!((count("b"), count("c")), (0, 0), "{place}: {seen:?}");
                    assert_eq!(*removal, Removal::All, "{place}: appends land");
                }
                Err(error) => panic!("{place}: {error:?}"),
            }
            assert_eq!(count("d"), landed, "{place}: {seen:?}");
            let is_replaced = outcome.is_ok() && *removal == Removal::All;
            assert_eq!(count("a"), usize::from(!is_replaced), "{place}: {seen:?}");
            assert!(other.has_success().await, "{place}: {:?}", other.all().await);
            let data = other.all().await.iter().filter(|path| !path.contains("/_")).count();
            assert_eq!(data, seen.len(), "{place}: a visible file is left over");
            if is_last {
                assert!(at > 6, "{place}");
                break;
            }
            assert!(at < STEPS_MAX - 1, "it makes more changes");
        }
    }
}
