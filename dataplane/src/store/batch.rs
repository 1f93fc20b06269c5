//! What must be written together, as a flat list of operations. Values only: it writes nothing itself.

use crate::store::Family;

/// One operation of a batch, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    Put(Family, &'a [u8], &'a [u8]),
    Delete(Family, &'a [u8]),
    /// [from, to)
    DeleteRange(Family, &'a [u8], &'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

/// Where an operation's two byte strings lie in the batch's one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    kind: Kind,
    family: Family,
    start: usize,
    middle: usize,
    end: usize,
}

/// Operations in order; later ones win. Cleared and reused from turn to turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl Batch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.push(Kind::Put, family, key, value);
    }

    pub fn delete(&mut self, family: Family, key: &[u8]) {
        self.push(Kind::Delete, family, key, &[]);
    }

    /// Deletes the keys in [from, to).
    pub fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        self.push(Kind::DeleteRange, family, from, to);
    }

    /// Appends all operations of another batch.
    pub fn append(&mut self, other: &Self) {
        for op in other.ops() {
            match op {
                Op::Put(family, key, value) => self.put(family, key, value),
                Op::Delete(family, key) => self.delete(family, key),
                Op::DeleteRange(family, from, to) => self.delete_range(family, from, to),
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Operations in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets everything and keeps its memory.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.bytes.clear();
    }

    /// The operations, first to last.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        self.pieces.iter().map(|piece| {
            let (first, second) = (&self.bytes[piece.start..piece.middle], &self.bytes[piece.middle..piece.end]);
            match piece.kind {
                Kind::Put => Op::Put(piece.family, first, second),
                Kind::Delete => Op::Delete(piece.family, first),
                Kind::DeleteRange => Op::DeleteRange(piece.family, first, second),
            }
        })
    }

    fn push(&mut self, kind: Kind, family: Family, first: &[u8], second: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(first);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(second);
        self.pieces.push(Piece { kind, family, start, middle, end: self.bytes.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_put_in() {
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.put(Family::Rows, b"k", b"value");
        batch.delete(Family::State, b"gone");
        batch.delete_range(Family::Rows, b"a", b"b");
        let ops: Vec<Op<'_>> = batch.ops().collect();
        assert_eq!(
            ops,
            [
                Op::Put(Family::Rows, b"k", b"value"),
                Op::Delete(Family::State, b"gone"),
                Op::DeleteRange(Family::Rows, b"a", b"b")
            ]
        );
        assert_eq!((batch.len(), batch.bytes()), (3, 12));
        let mut twice = batch.clone();
        twice.append(&batch);
        assert_eq!(twice.len(), 6);
        batch.clear();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }
}
