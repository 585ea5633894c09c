//! Documents of any length as pieces of bounded length.

use crate::text::readers::{Flow, Sink};
use crate::text::tokenizer::Cuts;

/// A document, or a part of one that encodes on its own.
pub(super) struct Piece {
    pub text: String,
    /// Counts the documents that hold any text, from 0.
    pub document: u64,
    /// The document ends with this piece.
    pub ends: bool,
}

/// Long documents are cut into pieces of about this many bytes.
const PIECE: usize = 256 << 10;

/// Cuts what the readers deliver, and leaves out documents that are only white space.
pub(super) struct Pieces<'a> {
    cuts: Cuts,
    emit: &'a mut dyn FnMut(Piece) -> Flow,
    buffer: String,
    /// The buffer is examined again for a cut when it has grown to this.
    full: usize,
    document: u64,
    has_text: bool,
    skipped: u64,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(cuts: Cuts, emit: &'a mut dyn FnMut(Piece) -> Flow) -> Self {
        Pieces {
            cuts,
            emit,
            buffer: String::new(),
            full: PIECE,
            document: 0,
            has_text: false,
            skipped: 0,
        }
    }

    /// Blank documents left out so far.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    fn cut(&mut self) -> Flow {
        // Until there is text the document may turn out blank.
        let at = self
            .has_text
            .then(|| self.cuts.last(&self.buffer))
            .flatten();
        let Some(at) = at else {
            // One endless word: look again when it is twice as long, not at every byte.
            self.full = 2 * self.buffer.len();
            return Ok(());
        };
        let rest = self.buffer.split_off(at);
        let text = std::mem::replace(&mut self.buffer, rest);
        self.full = PIECE.max(2 * self.buffer.len());
        (self.emit)(Piece {
            text,
            document: self.document,
            ends: false,
        })
    }
}

impl Sink for Pieces<'_> {
    fn text(&mut self, mut part: &str) -> Flow {
        while !part.is_empty() {
            let room = self.full.saturating_sub(self.buffer.len()).max(4);
            let (now, later) = part.split_at(part.floor_char_boundary(room));
            self.has_text = self.has_text || !now.trim_start().is_empty();
            self.buffer.push_str(now);
            if self.buffer.len() + 4 > self.full {
                self.cut()?;
            }
            part = later;
        }
        Ok(())
    }

    fn end_document(&mut self) -> Flow {
        let text = std::mem::take(&mut self.buffer);
        self.full = PIECE;
        if !std::mem::take(&mut self.has_text) {
            // The end of a file after a last separator is no document, blank or otherwise.
            self.skipped += u64::from(!text.is_empty());
            return Ok(());
        }
        let document = self.document;
        self.document += 1;
        (self.emit)(Piece {
            text,
            document,
            ends: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(cuts: Cuts, documents: &[String]) -> (Vec<(u64, bool, String)>, u64) {
        let mut out = Vec::new();
        let mut emit = |p: Piece| {
            out.push((p.document, p.ends, p.text));
            Ok(())
        };
        let mut pieces = Pieces::new(cuts, &mut emit);
        for document in documents {
            // In parts of odd size, as readers deliver them.
            let mut rest = document.as_str();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.floor_char_boundary(10_007));
                assert!(pieces.text(now).is_ok());
                rest = later;
            }
            assert!(pieces.end_document().is_ok());
        }
        let skipped = pieces.skipped();
        (out, skipped)
    }

    #[test]
    fn long_documents_come_in_bounded_pieces_that_join_to_the_whole() {
        let words = "été word, 42's\n".repeat(60_000);
        let endless = "x".repeat(900_000);
        for cuts in [Cuts::Anywhere, Cuts::AtWords, Cuts::Never] {
            let documents = [
                words.clone(),
                "\n \n".to_owned(),
                String::new(),
                endless.clone(),
            ];
            let (got, skipped) = pieces(cuts, &documents);
            assert_eq!(skipped, 1);
            for (n, whole) in [(0, &words), (1, &endless)] {
                let of_n: Vec<_> = got.iter().filter(|p| p.0 == n).collect();
                let joined: String = of_n.iter().map(|p| p.2.as_str()).collect();
                assert!(joined == *whole);
                assert!(of_n.iter().rev().skip(1).all(|p| !p.1) && of_n.last().unwrap().1);
                if cuts == Cuts::Anywhere || (cuts == Cuts::AtWords && n == 0) {
                    assert!(of_n.iter().all(|p| p.2.len() <= PIECE));
                } else {
                    assert_eq!(of_n.len(), 1);
                }
            }
        }
    }
}
