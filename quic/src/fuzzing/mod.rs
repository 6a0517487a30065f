//! What the fuzz targets do with their input; `cargo test` runs the same on the corpora that they left.
//!
//! Each function takes any bytes. A panic is a finding.

mod conversation;
mod input;
mod streams;
mod wire;

pub use conversation::conversation;
pub use streams::{assembler, streams};
pub use wire::{client_hello, endpoint, frames, packets, transport_parameters};

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs a target on all files of its corpus.
    fn replay(target: fn(&[u8]), name: &str) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut files = 0;
        for entry in std::fs::read_dir(&corpus).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            target(&input);
            files += 1;
        }
        assert!(files > 0, "nothing in {}", corpus.display());
    }

    #[test]
    fn corpus_of_frames() {
        replay(super::frames, "frames");
    }

    #[test]
    fn corpus_of_packets() {
        replay(super::packets, "packets");
    }

    #[test]
    fn corpus_of_transport_parameters() {
        replay(super::transport_parameters, "transport_parameters");
    }

    #[test]
    fn corpus_of_client_hello() {
        replay(super::client_hello, "client_hello");
    }

    #[test]
    fn corpus_of_endpoint() {
        replay(super::endpoint, "endpoint");
    }

    #[test]
    fn corpus_of_assembler() {
        replay(super::assembler, "assembler");
    }

    #[test]
    fn corpus_of_streams() {
        replay(super::streams, "streams");
    }

    #[test]
    fn corpus_of_conversation() {
        replay(super::conversation, "conversation");
    }
}
