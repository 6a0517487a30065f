//! A connection changes its socket: because the application says so, or because the endpoint's was replaced.

use std::time::Instant;

use tokio::sync::oneshot;

use super::connection_task::ConnectionTask;
use super::shared::connection::Migrate;
use super::shared::sockets::Sockets;
use crate::error::MigrateError;
use crate::packet::{FourTuple, LocalPath, SocketId};

/// What a connection tries beside staying where it is.
#[derive(Debug, Default)]
pub struct Moves {
    /// Where to, and who waits to hear how it went.
    attempt: Option<(SocketId, oneshot::Sender<Result<(), MigrateError>>)>,
}

impl Moves {
    /// How the attempt to move to a socket went, if there is one.
    fn settle(&mut self, socket: SocketId, outcome: Result<(), MigrateError>) {
        if let Some((_, answer)) = self.attempt.take_if(|(to, _)| *to == socket) {
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
        }
    }
}

impl ConnectionTask {
    /// Tries to move to another socket.
    pub(super) fn migrate(&mut self, now: Instant, migrate: Migrate) {
        let Migrate { socket, answer } = migrate;
        let (socket, addr) = match self.ending.endpoint.lend_socket(socket) {
            Ok(lent) => lent,
            Err(error) => {
                let _ = answer.send(Err(MigrateError::Socket(error.kind())));
                return;
            }
        };
        let local_ip = Some(addr.ip().to_canonical()).filter(|ip| !ip.is_unspecified());
        let id = socket.id;
        self.consider_socket(id);
        match self.connection.migrate(now, LocalPath { socket: id, local_ip }) {
            Ok(()) => {
                self.ending.entries.sockets.push(socket);
                // An earlier attempt is given up with this, and so is its answer.
                self.moves.attempt = Some((id, answer));
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }

    /// A socket will be used that may be unlike the one before.
    pub(super) fn consider_socket(&mut self, id: SocketId) {
        let socket = self.ending.endpoint.sockets.get(id);
        if socket.is_some_and(|socket| socket.may_fragment()) {
            self.connection.forbid_mtu_probes();
        }
    }

    /// The endpoint's main socket was replaced.
    pub(super) fn on_rebound(&mut self, now: Instant) {
        if self.connection.path().socket == Sockets::MAIN {
            self.consider_socket(Sockets::MAIN);
            self.connection.on_rebound(now);
        }
    }

    /// The connection takes another path now.
    pub(super) fn on_path_changed(&mut self, path: FourTuple) {
        self.moves.settle(path.socket, Ok(()));
        self.release_sockets();
        // Whoever hears of the change finds it.
        self.publish();
        self.ending.shared.advance(|progress| progress.path_changes += 1);
    }

    /// The peer could not be reached from there.
    pub(super) fn on_migration_failed(&mut self, path: FourTuple) {
        self.moves.settle(path.socket, Err(MigrateError::Unreachable));
        self.release_sockets();
    }

    /// Lets the sockets go that no path begins at any more. The server's preferred address may still be looked at from
    /// where the original one could not be reached.
    pub(super) fn release_sockets(&mut self) {
        let connection = &self.connection;
        self.ending.entries.sockets.retain(|held| connection.uses_socket(held.id));
    }
}
