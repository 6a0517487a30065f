//! Receive buffers that go back to their pool when the last slice of them is dropped.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A bounded stock of receive buffers of one size.
#[derive(Clone)]
pub struct BufferPool(Arc<Pool>);

struct Pool {
    buffer_size: usize,
    /// Free buffers beyond this number are given back to the allocator.
    max_free: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// A pool of buffers of `buffer_size` bytes that keeps at most `max_free` of them.
    #[must_use]
    pub fn new(buffer_size: usize, max_free: usize) -> Self {
        Self(Arc::new(Pool { buffer_size, max_free, free: Mutex::new(Vec::with_capacity(max_free)) }))
    }

    /// A buffer of the pool's size; its content is whatever the last user left there.
    #[must_use]
    pub fn take(&self) -> Buffer {
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = free.unwrap_or_else(|| vec![0; self.0.buffer_size]);
        Buffer { len: bytes.len(), bytes, home: Some(self.0.clone()) }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("buffer_size", &self.0.buffer_size).finish_non_exhaustive()
    }
}

/// Bytes that can be opened in place, and then shared.
pub struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Option<Arc<Pool>>,
}

impl Buffer {
    /// Shortens what the buffer holds; its memory stays as large as it is.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// How much memory stays pinned while a slice of this buffer lives, bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives up the right to change the bytes for the right to share slices of them.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), bytes, home: None }
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let bytes = std::mem::take(&mut self.bytes);
        let mut free = home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < home.max_free {
            free.push(bytes);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_home_when_its_last_slice_is_dropped() {
        let pool = BufferPool::new(16, 1);
        let mut buffer = pool.take();
        buffer.as_mut()[0] = 7;
        buffer.truncate(4);
        let bytes = buffer.freeze();
        let slice = bytes.slice(..1);
        drop(bytes);
        assert_eq!(pool.0.free.lock().unwrap().len(), 0);
        assert_eq!(&slice[..], [7]);
        drop(slice);
        assert_eq!(pool.0.free.lock().unwrap().len(), 1);
        let (a, b) = (pool.take(), pool.take());
        assert_eq!((a.as_ref()[0], a.as_ref().len()), (7, 16));
        drop((a, b));
        assert_eq!(pool.0.free.lock().unwrap().len(), 1, "never more than max_free");
    }
}
