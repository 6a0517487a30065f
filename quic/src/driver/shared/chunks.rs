//! A queue of chunks that needs no memory of its own for the first: most requests have one.

use std::collections::VecDeque;

use bytes::Bytes;

/// Chunks in order; empty ones are not kept.
#[derive(Debug, Default)]
pub struct Chunks {
    /// Empty only if `rest` is.
    first: Bytes,
    rest: VecDeque<Bytes>,
}

impl Chunks {
    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        if self.first.is_empty() {
            self.first = chunk;
        } else if !chunk.is_empty() {
            self.rest.push_back(chunk);
        }
    }

    /// Takes the first chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.first.is_empty() {
            return None;
        }
        let next = self.rest.pop_front().unwrap_or_default();
        Some(std::mem::replace(&mut self.first, next))
    }

    /// Takes at most `max` bytes off the first chunk.
    pub fn pop_up_to(&mut self, max: usize) -> Option<Bytes> {
        if self.first.len() > max { Some(self.first.split_to(max)) } else { self.pop() }
    }

    /// Moves all of `other` to the end.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.push(std::mem::take(&mut other.first));
            self.rest.append(&mut other.rest);
        }
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        usize::from(!self.first.is_empty()) + self.rest.len()
    }

    /// True if there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Bytes in all chunks.
    pub fn bytes(&self) -> u64 {
        self.first.len() as u64 + self.rest.iter().map(|chunk| chunk.len() as u64).sum::<u64>()
    }
}

impl FromIterator<Bytes> for Chunks {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut queue = Self::default();
        chunks.into_iter().for_each(|chunk| queue.push(chunk));
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(parts: &[&'static [u8]]) -> Chunks {
        parts.iter().map(|part| Bytes::from_static(part)).collect()
    }

    fn contents(mut queue: Chunks) -> Vec<Bytes> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn chunks_keep_their_order() {
        let mut a = queue(&[b"ab", b"", b"c"]);
        assert_eq!((a.len(), a.bytes()), (2, 3));
        assert_eq!(a.pop_up_to(1), Some(Bytes::from_static(b"a")));
        let mut b = queue(&[b"de", b"f"]);
        a.append(&mut b);
        assert!(b.is_empty() && b.pop().is_none());
        b.append(&mut a);
        assert!(a.is_empty());
        assert_eq!(b.pop_up_to(9), Some(Bytes::from_static(b"b")));
        assert_eq!(contents(b), [&b"c"[..], b"de", b"f"]);
    }
}
