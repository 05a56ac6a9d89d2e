//! The place in the blocks of one request up to which they have been sent: it decides which frames
//! may follow with the credit that the reader gave.

use std::sync::Arc;

use bytes::Bytes;
use gnist_common::ids::BlockId;
use gnist_operators::block::BlockCodec;
use gnist_proto::connect::CHUNK_BYTES;
use gnist_proto::wire::data::FetchChunk;

use super::{Blocks, FrameError, Frames};
use crate::memory::{Class, Grant, MemoryBudget};

/// Bytes after which a piece is handed on.
const PIECE_BYTES: u64 = 1 << 20;

/// Reasons why a piece ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The piece is large enough.
    Piece,
    /// The credit does not cover the next frame.
    Credit,
    /// All blocks are sent, or one is missing.
    End,
}

/// The blocks of one request.
pub(super) struct Cursor {
    source: Arc<dyn Blocks>,
    budget: Arc<MemoryBudget>,
    codec: BlockCodec,
    blocks: Vec<BlockId>,
    /// The next block and its next frame.
    block: usize,
    frame: usize,
    /// The next frame, when it waits for credit and the budget has room for it.
    kept: Option<(Bytes, Grant)>,
    /// The length of the next frame that the reader was told, or zero. A frame that is made again may be longer: its
    /// block went to disk meanwhile, where compression makes incompressible rows grow.
    announced_bytes: u64,
    is_checked: bool,
}

impl Cursor {
    /// Begins with the blocks that are asked for, without the first frames of the first one.
    pub(super) fn new(
        source: Arc<dyn Blocks>,
        budget: Arc<MemoryBudget>,
        codec: BlockCodec,
        blocks: Vec<BlockId>,
        skip_frames: u64,
    ) -> Self {
        Self {
            source,
            budget,
            codec,
            blocks,
            block: 0,
            frame: usize::try_from(skip_frames).unwrap_or(usize::MAX),
            kept: None,
            announced_bytes: 0,
            is_checked: false,
        }
    }

    /// The next chunks, as far as `credit_bytes` and a piece go. Blocking.
    ///
    /// # Errors
    /// When a batch can't be encoded.
    pub(super) fn next_piece(
        &mut self,
        credit_bytes: u64,
    ) -> Result<(Vec<FetchChunk>, Pause), FrameError> {
        let mut chunks = self.missing();
        if !chunks.is_empty() {
            return Ok((chunks, Pause::End));
        }
        let mut sent_bytes = 0;
        while sent_bytes < PIECE_BYTES {
            let Some(&id) = self.blocks.get(self.block) else { return Ok((chunks, Pause::End)) };
            let Some(mut block) = self.source.open(id) else {
                chunks.push(missing(self.index()));
                return Ok((chunks, Pause::End));
            };
            let pause =
                self.add_frames_of(&mut *block, credit_bytes, &mut sent_bytes, &mut chunks)?;
            if let Some(pause) = pause {
                return Ok((chunks, pause));
            }
        }
        Ok((chunks, Pause::Piece))
    }

    /// Adds frames of the current block until its end, a piece's, or that of the credit.
    fn add_frames_of(
        &mut self,
        block: &mut dyn Frames,
        credit_bytes: u64,
        sent_bytes: &mut u64,
        chunks: &mut Vec<FetchChunk>,
    ) -> Result<Option<Pause>, FrameError> {
        while *sent_bytes < PIECE_BYTES {
            let frame = match self.next_frame(block) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    chunks.push(FetchChunk { index: self.index(), last: true, ..chunk() });
                    self.block += 1;
                    self.frame = 0;
                    return Ok(None);
                }
                Err(FrameError::Unreadable(error)) => {
                    tracing::warn!(block = %self.blocks[self.block], %error, "an unreadable block");
                    chunks.push(missing(self.index()));
                    return Ok(Some(Pause::End));
                }
                Err(error) => return Err(error),
            };
            if *sent_bytes + frame.len() as u64 > credit_bytes {
                self.wait_for_credit(frame, chunks);
                return Ok(Some(Pause::Credit));
            }
            *sent_bytes += frame.len() as u64;
            add_frame(self.index(), &frame, chunks);
            self.frame += 1;
            self.announced_bytes = 0;
        }
        Ok(None)
    }

    fn next_frame(&mut self, block: &mut dyn Frames) -> Result<Option<Bytes>, FrameError> {
        match self.kept.take() {
            Some((frame, _)) => Ok(Some(frame)),
            None => block.frame(self.frame, self.codec),
        }
    }

    fn wait_for_credit(&mut self, frame: Bytes, chunks: &mut Vec<FetchChunk>) {
        let frame_bytes = frame.len() as u64;
        if frame_bytes > self.announced_bytes {
            chunks.push(FetchChunk { index: self.index(), frame_bytes, ..chunk() });
            self.announced_bytes = frame_bytes;
        }
        // Without room it is made again.
        let mut grant = Grant::empty(&self.budget, Class::Fixed);
        if grant.grow_if_free(frame_bytes) {
            self.kept = Some((frame, grant));
        }
    }

    /// Names all blocks that are not here before anything else is sent.
    fn missing(&mut self) -> Vec<FetchChunk> {
        if std::mem::replace(&mut self.is_checked, true) {
            return Vec::new();
        }
        let blocks = (0_u32..).zip(&self.blocks);
        let gone = blocks.filter(|(_, id)| self.source.open(**id).is_none());
        gone.map(|(index, _)| missing(index)).collect()
    }

    fn index(&self) -> u32 {
        u32::try_from(self.block).expect("a request names fewer blocks")
    }
}

fn chunk() -> FetchChunk {
    FetchChunk::default()
}

fn missing(index: u32) -> FetchChunk {
    FetchChunk { index, last: true, missing: true, ..chunk() }
}

fn add_frame(index: u32, frame: &Bytes, chunks: &mut Vec<FetchChunk>) {
    for start in (0..frame.len()).step_by(CHUNK_BYTES) {
        let data = frame.slice(start..frame.len().min(start + CHUNK_BYTES));
        let frame_bytes = if start == 0 { frame.len() as u64 } else { 0 };
        chunks.push(FetchChunk { index, data, frame_bytes, ..chunk() });
    }
}

#[cfg(test)]
mod tests {
    use gnist_common::ids::ApplicationId;

    use super::*;

    const FRAME: usize = 700 << 10;

    /// Blocks of three frames each; the third block is not here.
    struct Three;

    struct Counted(u32);

    impl Blocks for Three {
        fn open(&self, block: BlockId) -> Option<Box<dyn Frames>> {
            (block.partition < 2).then(|| Box::new(Counted(block.partition)) as _)
        }
    }

    impl Frames for Counted {
        fn frame(&mut self, number: usize, _: BlockCodec) -> Result<Option<Bytes>, FrameError> {
            let value = u8::try_from(usize::try_from(self.0).unwrap() * 10 + number).unwrap();
            Ok((number < 3).then(|| vec![value; FRAME].into()))
        }
    }

    fn cursor(partitions: u32, skip_frames: u64) -> Cursor {
        let attempt = ApplicationId(1).job(0).stage(0).task(0).attempt(0);
        let blocks = (0..partitions).map(|partition| attempt.block(partition)).collect();
        let budget = MemoryBudget::new(1 << 20);
        Cursor::new(Arc::new(Three), budget, BlockCodec::Plain, blocks, skip_frames)
    }

    /// The frames that are sent, by their value.
    fn frames(chunks: &[FetchChunk]) -> Vec<u8> {
        let begins = chunks.iter().filter(|chunk| chunk.frame_bytes > 0);
        begins.filter_map(|chunk| chunk.data.first().copied()).collect()
    }

    #[test]
    fn no_more_is_sent_than_the_credit_covers_and_the_next_length_is_told_once() {
        let mut cursor = cursor(2, 0);
        let (chunks, pause) = cursor.next_piece(2 * FRAME as u64 - 1).unwrap();
        assert_eq!((frames(&chunks), pause), (vec![0], Pause::Credit));
        let told = chunks.last().unwrap();
        assert_eq!((told.frame_bytes, told.data.len()), (FRAME as u64, 0));
        let (chunks, pause) = cursor.next_piece(FRAME as u64 - 1).unwrap();
        assert_eq!((chunks.len(), pause), (0, Pause::Credit));
        let (chunks, pause) = cursor.next_piece(FRAME as u64).unwrap();
        assert_eq!((frames(&chunks), pause), (vec![1], Pause::Credit));
    }

    /// A block whose only frame is longer each time that it is made.
    #[derive(Default)]
    struct Growing(std::sync::atomic::AtomicUsize);

    impl Blocks for Arc<Growing> {
        fn open(&self, _: BlockId) -> Option<Box<dyn Frames>> {
            Some(Box::new(Self::clone(self)))
        }
    }

    impl Frames for Arc<Growing> {
        fn frame(&mut self, number: usize, _: BlockCodec) -> Result<Option<Bytes>, FrameError> {
            let times =
                self.0.fetch_add(usize::from(number == 0), std::sync::atomic::Ordering::Relaxed);
            Ok((number == 0).then(|| vec![0; FRAME + 64 * times].into()))
        }
    }

    #[test]
    fn a_frame_that_is_longer_when_it_is_made_again_is_announced_again() {
        let block = ApplicationId(1).job(0).stage(0).task(0).attempt(0).block(0);
        let budget = MemoryBudget::new(1);
        let growing = Arc::new(Arc::new(Growing::default()));
        let mut cursor = Cursor::new(growing, budget, BlockCodec::Plain, vec![block], 0);
        let mut credit = 0;
        for times in 0..3 {
            let (chunks, pause) = cursor.next_piece(credit).unwrap();
            let told: Vec<u64> = chunks.iter().map(|chunk| chunk.frame_bytes).collect();
            credit = (FRAME + 64 * times) as u64;
            assert_eq!((told, pause), (vec![credit], Pause::Credit));
        }
    }

    #[test]
    fn all_frames_come_in_order_in_pieces() {
        let (mut cursor, mut sent, mut ends) = (cursor(2, 0), Vec::new(), 0);
        loop {
            let (chunks, pause) = cursor.next_piece(u64::MAX).unwrap();
            assert!(chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>() < 3 * FRAME);
            assert!(chunks.iter().all(|chunk| chunk.data.len() <= CHUNK_BYTES));
            sent.extend(frames(&chunks));
            ends += chunks.iter().filter(|chunk| chunk.last).count();
            if pause == Pause::End {
                break;
            }
        }
        assert_eq!((sent, ends), (vec![0, 1, 2, 10, 11, 12], 2));
    }

    #[test]
    fn a_conversation_goes_on_at_the_frame_where_the_last_one_broke_off() {
        let mut cursor = cursor(2, 2);
        let (chunks, _) = cursor.next_piece(u64::MAX).unwrap();
        assert_eq!(frames(&chunks), [2, 10]);
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_sent() {
        let mut cursor = cursor(4, 0);
        let (chunks, pause) = cursor.next_piece(u64::MAX).unwrap();
        let named: Vec<_> = chunks.iter().map(|chunk| (chunk.index, chunk.missing)).collect();
        assert_eq!((named, pause), (vec![(2, true), (3, true)], Pause::End));
    }
}
