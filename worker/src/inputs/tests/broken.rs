//! Connections that break off, and peers that do not keep to the protocol.

use futures::stream::{self, BoxStream};
use gnist_proto::connect::{data_server, server};
use gnist_proto::wire::data::data_server::Data;
use gnist_proto::wire::data::{FetchChunk, FetchRequest, ReadRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;

/// Passes connections on to `peer`, and cuts each after so many bytes of answers: the first after
/// `bytes`, each later one after half as many again.
async fn cut_after(peer: String, mut bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (reader, _) = listener.accept().await.unwrap();
            let peer = TcpStream::connect(&peer).await.unwrap();
            tokio::spawn(pass_on(reader, peer, bytes));
            bytes += bytes / 2;
        }
    });
    address
}

async fn pass_on(reader: TcpStream, peer: TcpStream, bytes_max: usize) {
    let (mut from_reader, mut to_reader) = reader.into_split();
    let (mut from_peer, mut to_peer) = peer.into_split();
    let asking = tokio::spawn(async move { tokio::io::copy(&mut from_reader, &mut to_peer).await });
    let (mut buffer, mut left) = (vec![0; 1 << 14], bytes_max);
    while left > 0 {
        let most = left.min(buffer.len());
        let Ok(read @ 1..) = from_peer.read(&mut buffer[..most]).await else { break };
        if to_reader.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        left -= read;
    }
    asking.abort();
}

/// Frames are 160 kB: connections end before the first one, between frames and within them.
#[test]
fn a_connection_that_breaks_off_again_and_again_loses_and_repeats_no_row() {
    let (here, far) = (Peer::start(1, 64 << 20), Peer::start(2, 64 << 20));
    let outputs: Vec<_> = (0..3).map(|task| far.run(task)).collect();
    let expected: Vec<i64> = (0..3).flat_map(|task| rows_of(task, 1)).collect();
    on_io(async {
        for bytes in [170_000, 200_003, 330_000, 500_017, 1_000_000] {
            let address = cut_after(far.address.clone(), bytes).await;
            let reader = Reader::with_budget(&here, far.id, address, outputs.clone(), 64 << 20);
            let task = reader.task(InputMode::Partition, 2);
            let rows = read(&task, BlockSelection::Partition(1)).await;
            assert!(rows.is_ok_and(|rows| rows == expected), "cut after {bytes} bytes");
            drop(task);
            assert_eq!(reader.budget().used_bytes(), 0, "cut after {bytes} bytes");
        }
    });
}

/// A peer that answers each request with the next of these chunks, and with the last ever after.
struct Scripted(Mutex<Vec<Vec<FetchChunk>>>);

type Chunks = BoxStream<'static, Result<FetchChunk, Status>>;

impl Scripted {
    /// Starts a peer; returns its address.
    async fn start(answers: Vec<Vec<FetchChunk>>) -> String {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.address.to_string();
        let serving = server().add_service(data_server(Self(Mutex::new(answers))));
        tokio::spawn(serving.serve_with_incoming(listener.into_incoming()));
        address
    }

    fn answer(&self) -> Response<Chunks> {
        let mut answers = self.0.lock().unwrap();
        let chunks = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Response::new(stream::iter(chunks).map(Ok).boxed())
    }
}

#[tonic::async_trait]
impl Data for Scripted {
    type FetchStream = Chunks;
    type ReadStream = Chunks;

    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<Chunks>, Status> {
        Ok(self.answer())
    }

    async fn read(&self, _: Request<Streaming<ReadRequest>>) -> Result<Response<Chunks>, Status> {
        Ok(self.answer())
    }
}

/// A chunk with `data_bytes` of a frame of `frame_bytes`.
fn chunk(index: u32, frame_bytes: u64, data_bytes: usize) -> FetchChunk {
    FetchChunk { index, frame_bytes, data: vec![0; data_bytes].into(), ..FetchChunk::default() }
}

#[test]
fn a_peer_that_does_not_keep_to_the_protocol_is_a_failed_fetch() {
    let here = Peer::start(1, 64 << 20);
    let there = WorkerId(2);
    let output = OutputLocation {
        attempt: stage().task(0).attempt(0),
        worker: there,
        bytes: vec![1_000_000],
    };
    let end = FetchChunk { last: true, ..chunk(0, 0, 0) };
    for (script, says) in [
        (vec![], "nothing at all"),
        (vec![chunk(1, 8, 8)], "a block that was not asked for"),
        (vec![chunk(0, 8, 9)], "more than the frame's length"),
        (vec![chunk(0, 0, 8)], "a frame without a length"),
        (vec![chunk(0, 8, 4), chunk(0, 8, 8)], "a frame in the middle of another"),
        (vec![chunk(0, 8, 4), end.clone()], "the end in the middle of a frame"),
        (vec![chunk(0, 8, 4)], "half of a frame"),
        (vec![chunk(0, 1 << 40, 8)], "a frame beyond the credit"),
    ] {
        on_io(async {
            let address = Scripted::start(vec![script]).await;
            let outputs = vec![output.clone()];
            let reader = Reader::with_budget(&here, there, address.clone(), outputs, 64 << 20);
            let task = reader.task(InputMode::Partition, 1);
            let error = read(&task, BlockSelection::Partition(0)).await.unwrap_err();
            let AttemptEnd::FetchFailed { worker, failure } = attempt_end_of(&error) else {
                panic!("{says}: {error}")
            };
            assert_eq!(worker, there, "{says}");
            assert!(failure.message.contains(&address), "{says}: {failure}");
        });
    }
}

/// Blocks are numbered from the first that a request asks for.
#[test]
fn a_block_that_is_missing_after_a_connection_broke_off_is_named() {
    let here = Peer::start(1, 64 << 20);
    let attempt = stage().task(0).attempt(0);
    let blocks = vec![attempt.block(0), attempt.block(1)];
    let first = FetchChunk { last: true, ..chunk(0, 0, 0) };
    let second = FetchChunk { missing: true, ..chunk(0, 0, 0) };
    on_io(async {
        let address = Scripted::start(vec![vec![first], vec![second]]).await;
        let reader = Reader::new(&here, &[], vec![]);
        let credit = Credit::new(&reader.source.ahead, 0, 1);
        let mut frames = RemoteBlocks::fetch(&reader.source, WorkerId(2), address, blocks, credit);
        assert!(frames.next_frame().await.unwrap().is_none(), "the first block is empty");
        let error = frames.next_frame().await.unwrap_err();
        let missing = vec![attempt.block(1)];
        assert_eq!(attempt_end_of(&error), AttemptEnd::BlocksMissing { blocks: missing });
    });
}
