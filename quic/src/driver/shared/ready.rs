//! Streams with news for the task of their connection.

use std::sync::Arc;

use super::stream::Stream;
use crate::driver::lock;
use crate::driver::sync::Mutex;

/// The ready list of a connection: handles push, the task swaps.
///
/// It holds the streams themselves, not their numbers: so a stream that the task has not met yet is found when the
/// connection ends, and nothing can be mistaken for another stream.
#[derive(Debug, Default)]
pub struct ReadyList {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: Vec<Arc<Stream>>,
    news: Vec<Arc<Stream>>,
    closed: bool,
}

impl ReadyList {
    /// A stream that the application has opened. There is nothing to send for it yet, so nobody is woken.
    /// False if the connection is over.
    #[must_use]
    pub fn push_opened(&self, stream: Arc<Stream>) -> bool {
        let mut state = lock(&self.state);
        if !state.closed {
            state.opened.push(stream);
        }
        !state.closed
    }

    /// A stream with news. True if it is the first: the task is to be woken.
    #[must_use]
    pub fn push(&self, stream: Arc<Stream>) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.news.push(stream);
        state.news.len() == 1
    }

    /// Takes what is there in exchange for two empty lists.
    pub fn swap(&self, opened: &mut Vec<Arc<Stream>>, news: &mut Vec<Arc<Stream>>) {
        let mut state = lock(&self.state);
        std::mem::swap(&mut state.opened, opened);
        std::mem::swap(&mut state.news, news);
    }

    /// For the task, which is idle: empty lists need no room.
    pub fn release_spare(&self) {
        let mut state = lock(&self.state);
        state.opened.shrink_to_fit();
        state.news.shrink_to_fit();
    }

    /// Refuses pushes from now on, and returns all streams in it.
    pub fn close(&self) -> Vec<Arc<Stream>> {
        let mut state = lock(&self.state);
        state.closed = true;
        let mut streams = std::mem::take(&mut state.opened);
        streams.append(&mut state.news);
        streams
    }
}
