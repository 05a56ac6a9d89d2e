//! A worker that answers only when several ask at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{ArrayRef, Int64Array};
use futures::StreamExt as _;
use futures::stream::{self, Iter};
use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId};
use gnist_operators::block::{BlockCodec, encode_block};
use gnist_proto::wire::data::ReadRequest;
use gnist_proto::wire::data::data_server::Data;
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tonic::{Request, Response};

use super::*;

/// A worker's data plane whose blocks are one row each: the number of the task.
pub(crate) struct Worker {
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Worker {
    /// Starts it. It answers as soon as so many requests are open at once.
    pub(crate) async fn start(at_once: usize) -> Self {
        let listener = connect::listen("127.0.0.1:0").await.expect("a port");
        let address = listener.address.to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let incoming = listener.into_incoming().inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let requests = Arc::new(AtomicUsize::new(0));
        let asked = Barrier::new(at_once);
        let blocks = connect::data_server(Blocks { asked, requests: Arc::clone(&requests) });
        let server = connect::server().add_service(blocks).serve_with_incoming(incoming);
        let serving = tokio::spawn(async move { server.await.expect("it serves") });
        Self { address, connections, requests, serving }
    }

    /// Connections that were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Blocks that were asked for so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Blocks {
    asked: Barrier,
    requests: Arc<AtomicUsize>,
}

type Chunks = Iter<std::vec::IntoIter<Result<FetchChunk, Status>>>;

#[tonic::async_trait]
impl Data for Blocks {
    type FetchStream = Chunks;
    type ReadStream = Chunks;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Chunks>, Status> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.asked.wait().await;
        let data = block_of(request.into_inner().blocks[0].task);
        let frame_bytes = data.len() as u64;
        let chunk = FetchChunk { frame_bytes, data, last: true, ..FetchChunk::default() };
        Ok(Response::new(stream::iter(vec![Ok(chunk)])))
    }

    async fn read(&self, _: Request<Streaming<ReadRequest>>) -> Result<Response<Chunks>, Status> {
        Err(Status::unimplemented("results are fetched"))
    }
}

fn block_of(task: u32) -> Bytes {
    let number: ArrayRef = Arc::new(Int64Array::from(vec![i64::from(task)]));
    let batch = RecordBatch::try_from_iter([("value", number)]).expect("a column");
    let block = encode_block(batch.schema_ref(), std::slice::from_ref(&batch), BlockCodec::Plain);
    block.expect("a block")
}

fn attempt(task: u32) -> AttemptId {
    let job = JobId { application: ApplicationId(1), ordinal: 0 };
    StageId { job, ordinal: 0 }.task(task).attempt(0)
}

#[tokio::test]
async fn blocks_of_a_worker_come_over_one_connection() {
    let worker = Worker::start(1).await;
    let fetcher = Fetcher::default();
    for task in 0..20 {
        let block = BlockId { attempt: attempt(task), partition: 0 };
        let mut partition = fetcher.fetch(&worker.address, block).await.expect("a partition");
        let batch = partition.next().await.expect("no failure").expect("a batch");
        let number: ArrayRef = Arc::new(Int64Array::from(vec![i64::from(task)]));
        assert_eq!(batch.columns(), [number]);
    }
    assert_eq!(worker.connections(), 1);
}

/// Decoding in the conversation would hold up all others on its thread.
#[test]
fn a_result_is_decoded_on_a_thread_for_work_that_blocks() {
    let runtime = Builder::new_current_thread().max_blocking_threads(1).build().expect("a thread");
    let (open, gate) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let shut = tokio::task::spawn_blocking(move || gate.recv());
        let mut decoded = std::pin::pin!(decode(block_of(7)));
        assert!(futures::poll!(&mut decoded).is_pending());
        tokio::spawn(async {}).await.expect("others go on meanwhile");
        assert!(futures::poll!(&mut decoded).is_pending());
        open.send(()).expect("it waits");
        assert_eq!(decoded.await.expect("a block")[0].num_rows(), 1);
        shut.await.expect("it has ended").expect("it was opened");
    });
}
