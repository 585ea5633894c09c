//! Reader → encoders → writer, in order, with a bounded number of batches on the way.
//!
//! One thread reads and cuts, `threads` encode, the calling thread writes. A batch takes a credit
//! before it is read and gives it back when it is written, so that a slow batch holds up the
//! reader, and never lets finished ones pile up behind it.

use super::pieces::{Piece, Pieces};
use super::split::Split;
use super::{Corpus, Progress, interrupted};
use crate::error::Result;
use crate::text::readers::{Flow, Sink, Stop};
use crate::text::shards::ShardWriter;
use crate::text::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of text a batch holds, unless a single piece is longer.
const BATCH: usize = 256 << 10;

pub(super) struct Writers {
    pub train: ShardWriter,
    pub val: ShardWriter,
}

pub(super) struct Counts {
    /// Blank documents left out.
    pub skipped: u64,
}

type Batch = (u64, Vec<Piece>);

/// A batch's tokens, and where each piece ends in them.
struct Encoded {
    ids: Vec<u32>,
    pieces: Vec<EncodedPiece>,
}

struct EncodedPiece {
    document: u64,
    ends: bool,
    bytes: u64,
    /// End of the piece's ids, the end-of-text token among them.
    upto: usize,
}

/// Encodes the whole corpus into `writers`.
pub(super) fn run(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    split: &Split,
    threads: usize,
    writers: &mut Writers,
    progress: &mut dyn Progress,
) -> Result<Counts> {
    progress.phase("encoding", corpus.bytes);
    let under_way = 2 * threads + 2;
    let (batch_in, batch_out) = sync_channel::<Batch>(under_way);
    let (done_in, done_out) = sync_channel::<(u64, Result<Encoded>)>(under_way);
    let (credit_in, credit_out) = sync_channel::<()>(under_way);
    let batches = Mutex::new(batch_out);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(corpus, tokenizer, split, batch_in, credit_in));
        let batches = &batches;
        let encoders: Vec<_> = (0..threads)
            .map(|_| {
                let done = done_in.clone();
                scope.spawn(move || encode(tokenizer, batches, done))
            })
            .collect();
        drop(done_in);
        let written = write(corpus, split, writers, progress, &done_out, &credit_out);
        // Whoever still waits for us learns that nobody listens.
        drop((done_out, credit_out));
        for encoder in encoders {
            encoder.join().expect("an encoder does not panic");
        }
        let read = reader.join().expect("the reader does not panic");
        written?;
        match read {
            Ok(skipped) => Ok(Counts { skipped }),
            Err(Stop::Failed(e)) => Err(e),
            // Only a writer or an encoder that failed stops the reader early.
            Err(Stop::Enough) => unreachable!("the failure was returned above"),
        }
    })
}

fn read(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    split: &Split,
    batches: SyncSender<Batch>,
    credit: SyncSender<()>,
) -> Flow<u64> {
    let (mut batch, mut bytes, mut number) = (Vec::new(), 0, 0);
    let mut send = |batch: &mut Vec<Piece>| {
        let sent = credit.send(()).is_ok() && batches.send((number, std::mem::take(batch))).is_ok();
        number += 1;
        match sent {
            true => Ok(()),
            false => Err(Stop::Enough),
        }
    };
    let mut emit = |piece: Piece| {
        bytes += piece.text.len();
        batch.push(piece);
        if bytes >= BATCH {
            bytes = 0;
            send(&mut batch)?;
        }
        Ok(())
    };
    let mut pieces = Pieces::new(tokenizer.cuts(), &mut emit);
    split.read(corpus, &mut pieces as &mut dyn Sink)?;
    let skipped = pieces.skipped();
    send(&mut batch)?;
    Ok(skipped)
}

fn encode(
    tokenizer: &Tokenizer,
    batches: &Mutex<Receiver<Batch>>,
    done: SyncSender<(u64, Result<Encoded>)>,
) {
    let mut encoder = tokenizer.encoder();
    let eot = tokenizer.eot();
    loop {
        let next = batches.lock().expect("no encoder panics").recv();
        let Ok((number, batch)) = next else { return };
        let mut ids = Vec::with_capacity(BATCH / 3);
        let encoded = batch.into_iter().map(|piece| {
            encoder.encode_into(&piece.text, &mut ids)?;
            ids.extend(eot.filter(|_| piece.ends));
            Ok(EncodedPiece {
                document: piece.document,
                ends: piece.ends,
                bytes: piece.text.len() as u64,
                upto: ids.len(),
            })
        });
        let pieces: Result<Vec<_>> = encoded.collect();
        let encoded = pieces.map(|pieces| Encoded { ids, pieces });
        if done.send((number, encoded)).is_err() {
            return;
        }
    }
}

fn write(
    corpus: &Corpus,
    split: &Split,
    writers: &mut Writers,
    progress: &mut dyn Progress,
    done: &Receiver<(u64, Result<Encoded>)>,
    credit: &Receiver<()>,
) -> Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, encoded) in done {
        if progress.cancelled() {
            return Err(interrupted());
        }
        early.insert(number, encoded?);
        while let Some(encoded) = early.remove(&next) {
            let mut from = 0;
            for piece in encoded.pieces {
                let writer = match split.is_val(piece.document) {
                    true => &mut writers.val,
                    false => &mut writers.train,
                };
                writer.write_part(&encoded.ids[from..piece.upto], piece.bytes)?;
                if piece.ends {
                    writer.end_document();
                }
                from = piece.upto;
            }
            next += 1;
            let _ = credit.recv();
        }
        progress.position(corpus.bytes_read());
    }
    Ok(())
}
