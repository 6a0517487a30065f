//! Two connections face to face, without a network between them that loses anything.

mod endings;
mod handshake;
mod pair;
