//! Messages on their way: what is received becomes a [`RecvBody`], what is sent comes from any
//! [`http_body::Body`].

mod recv;
mod send;

pub use recv::RecvBody;
pub(crate) use recv::{Link, RecvMessage};
pub(crate) use send::{COPY, SendMessage, content_length_of, stopped};
