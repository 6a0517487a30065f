//! The paths of a connection: the one in use, and the few that are being looked at.

use super::Path;

/// The paths of one connection.
#[derive(Debug)]
pub struct Paths {
    /// The path that everything but probes takes.
    pub active: Path,
}

impl Paths {
    /// Begins with the path of the handshake.
    pub fn new(active: Path) -> Self {
        Self { active }
    }
}
