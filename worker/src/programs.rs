//! Where programs and bindings come from: handed over inside one process, or pulled by hash and
//! decoded once per executor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use gnist_common::error::Failure;
use gnist_common::graph::{ContentHash, ProgramRef};
use gnist_common::ids::JobId;
use gnist_operators::failure::failure_of;
use gnist_operators::program::{Bindings, Program};
use gnist_proto::link::ContentSource;
use tokio::sync::OnceCell;

/// Bytes of encoded programs whose decoded form is kept.
const CACHE_BYTES_MAX: u64 = 64 << 20;

/// Where an executor's programs come from.
#[async_trait]
pub trait ProgramSource: Send + Sync {
    /// The decoded program.
    ///
    /// # Errors
    /// When it can't be had or does not decode.
    async fn program(&self, program: ProgramRef) -> Result<Arc<Program>, Failure>;

    /// The decoded bindings; empty ones when there are none.
    ///
    /// # Errors
    /// When they can't be had or do not decode.
    async fn bindings(
        &self,
        program: ProgramRef,
        bindings: Option<ContentHash>,
    ) -> Result<Arc<Bindings>, Failure>;

    /// A job has ended.
    fn drop_job(&self, _job: JobId) {}

    /// Pulls from here from now on: the cluster manager was reconnected or replaced.
    fn pull_from(&self, _content: Arc<dyn ContentSource>) {}
}

/// Programs handed over inside one process, kept until they are taken back.
#[derive(Default)]
pub struct OneProcessPrograms {
    programs: Mutex<HashMap<ContentHash, Handed>>,
}

#[derive(Clone)]
struct Handed {
    program: Arc<Program>,
    bindings: Arc<Bindings>,
}

impl OneProcessPrograms {
    /// Hands over a program and what fills its holes, under a hash that only has to be unique in
    /// this process.
    pub fn put(&self, hash: ContentHash, program: Arc<Program>, bindings: Arc<Bindings>) {
        self.programs().insert(hash, Handed { program, bindings });
    }

    /// Takes a program back.
    pub fn take(&self, hash: ContentHash) {
        let taken = self.programs().remove(&hash);
        drop(taken);
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<ContentHash, Handed>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, hash: ContentHash) -> Result<Handed, Failure> {
        self.programs().get(&hash).cloned().ok_or_else(|| {
            let kind = gnist_common::error::ErrorKind::NotFound;
            Failure::new(kind, format!("nobody handed over `{hash}`"))
        })
    }
}

#[async_trait]
impl ProgramSource for OneProcessPrograms {
    async fn program(&self, program: ProgramRef) -> Result<Arc<Program>, Failure> {
        Ok(self.get(program.hash)?.program)
    }

    async fn bindings(
        &self,
        program: ProgramRef,
        _: Option<ContentHash>,
    ) -> Result<Arc<Bindings>, Failure> {
        Ok(self.get(program.hash)?.bindings)
    }
}

/// Programs pulled by hash. Each is fetched and decoded by whoever asks first.
pub struct PulledPrograms {
    content: Mutex<Arc<dyn ContentSource>>,
    programs: Mutex<Cache<Program>>,
    bindings: Mutex<Cache<Bindings>>,
}

impl PulledPrograms {
    /// None yet; they are pulled from here.
    pub fn new(content: Arc<dyn ContentSource>) -> Self {
        Self {
            content: Mutex::new(content),
            programs: Mutex::default(),
            bindings: Mutex::default(),
        }
    }

    async fn pull(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        let content = Arc::clone(&*lock(&self.content));
        content.content(hash).await
    }
}

#[async_trait]
impl ProgramSource for PulledPrograms {
    async fn program(&self, program: ProgramRef) -> Result<Arc<Program>, Failure> {
        let cell = lock(&self.programs).cell(program.hash, program.length_bytes);
        let decode = || async {
            let bytes = self.pull(program.hash).await?;
            let decoded = Program::decode(program.kind, &bytes);
            decoded.map(Arc::new).map_err(|error| failure_of(&error))
        };
        cell.get_or_try_init(decode).await.cloned()
    }

    async fn bindings(
        &self,
        _: ProgramRef,
        bindings: Option<ContentHash>,
    ) -> Result<Arc<Bindings>, Failure> {
        let Some(hash) = bindings else { return Ok(Arc::default()) };
        // Bindings are small: their length is not known before they are pulled.
        let cell = lock(&self.bindings).cell(hash, CACHE_BYTES_MAX / 1024);
        let decode = || async {
            let bytes = self.pull(hash).await?;
            Bindings::decode(&bytes).map(Arc::new).map_err(|error| failure_of(&error))
        };
        cell.get_or_try_init(decode).await.cloned()
    }

    fn pull_from(&self, content: Arc<dyn ContentSource>) {
        *lock(&self.content) = content;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was decoded, the least recently used given up first.
struct Cache<T> {
    entries: HashMap<ContentHash, Entry<T>>,
    bytes: u64,
    clock: u64,
}

struct Entry<T> {
    cell: Arc<OnceCell<Arc<T>>>,
    bytes: u64,
    used: u64,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), bytes: 0, clock: 0 }
    }
}

impl<T> Cache<T> {
    fn cell(&mut self, hash: ContentHash, bytes: u64) -> Arc<OnceCell<Arc<T>>> {
        self.clock += 1;
        let used = self.clock;
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.used = used;
            return Arc::clone(&entry.cell);
        }
        self.make_room(bytes);
        self.bytes += bytes;
        let cell = Arc::new(OnceCell::new());
        self.entries.insert(hash, Entry { cell: Arc::clone(&cell), bytes, used });
        cell
    }

    fn make_room(&mut self, bytes: u64) {
        while self.bytes + bytes > CACHE_BYTES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(hash) = oldest.map(|(hash, _)| *hash) else { break };
            let entry = self.entries.remove(&hash).expect("it was found");
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_program_is_given_up() {
        let hash = |n: u8| ContentHash([n; 32]);
        let mut cache: Cache<u32> = Cache::default();
        let half = CACHE_BYTES_MAX / 2;
        cache.cell(hash(1), half).set(Arc::new(1)).unwrap();
        cache.cell(hash(2), half).set(Arc::new(2)).unwrap();
        assert_eq!(cache.cell(hash(1), half).get(), Some(&Arc::new(1)));
        cache.cell(hash(3), half);
        assert_eq!(cache.cell(hash(1), half).get(), Some(&Arc::new(1)));
        assert_eq!(cache.entries.len(), 2);
        assert_eq!(cache.bytes, CACHE_BYTES_MAX);
        assert!(cache.cell(hash(2), half).get().is_none(), "it is pulled again");
    }
}
