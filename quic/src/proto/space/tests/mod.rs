//! The two halves of a space against naive models.

mod received;
mod sent;
