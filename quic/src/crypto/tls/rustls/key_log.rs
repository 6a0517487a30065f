//! Catches the traffic secrets of one connection; the user's key log gets what it wants as well.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::hkdf::{HKDF_SHA256, HKDF_SHA384, Prk};
use rustls::KeyLog;

/// Secrets of the client and of the server at one level.
type Pair = [Option<Prk>; 2];

/// The key log of one connection.
pub(super) struct SecretCatcher {
    user: Arc<dyn KeyLog>,
    /// Until the last of them were taken.
    caught: Mutex<Option<Box<Caught>>>,
}

#[derive(Default)]
struct Caught {
    early: Option<Prk>,
    handshake: Pair,
    traffic: Pair,
    exporter: Option<Prk>,
}

/// What is known when the 1-RTT keys are.
pub(super) struct TrafficSecrets {
    pub(super) client: Prk,
    pub(super) server: Prk,
    /// The exporter secret (RFC 8446 §7.5).
    pub(super) exporter: Prk,
}

impl Caught {
    /// Where a secret goes, by its label in the key log format of NSS.
    fn slot(&mut self, label: &str) -> Option<&mut Option<Prk>> {
        let ([handshake_client, handshake_server], [client, server]) =
            (&mut self.handshake, &mut self.traffic);
        match label {
            "CLIENT_EARLY_TRAFFIC_SECRET" => Some(&mut self.early),
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Some(handshake_client),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => Some(handshake_server),
            "CLIENT_TRAFFIC_SECRET_0" => Some(client),
            "SERVER_TRAFFIC_SECRET_0" => Some(server),
            "EXPORTER_SECRET" => Some(&mut self.exporter),
            _ => None,
        }
    }
}

impl SecretCatcher {
    pub(super) fn new(user: &Arc<dyn KeyLog>) -> Arc<Self> {
        Arc::new(Self { user: user.clone(), caught: Mutex::new(Some(Box::default())) })
    }

    /// The client's secret of the 0-RTT level, once.
    pub(super) fn take_early(&self) -> Option<Prk> {
        self.lock().as_mut()?.early.take()
    }

    /// The secrets of the Handshake level, once: (client, server).
    pub(super) fn take_handshake(&self) -> Option<(Prk, Prk)> {
        take(&mut self.lock().as_mut()?.handshake)
    }

    /// The secrets of the 1-RTT level, once. Nothing is caught from then on.
    pub(super) fn take_traffic(&self) -> Option<TrafficSecrets> {
        let mut caught = self.lock().take()?;
        let (client, server) = take(&mut caught.traffic)?;
        Some(TrafficSecrets { client, server, exporter: caught.exporter? })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Caught>>> {
        self.caught.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take([client, server]: &mut Pair) -> Option<(Prk, Prk)> {
    client.take().zip(server.take())
}

impl KeyLog for SecretCatcher {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if let Some(slot) = self.lock().as_mut().and_then(|caught| caught.slot(label)) {
            // A secret is as long as the output of the hash, and of the suites that QUIC uses this tells which it is.
            *slot = match secret.len() {
                32 => Some(Prk::new_less_safe(HKDF_SHA256, secret)),
                48 => Some(Prk::new_less_safe(HKDF_SHA384, secret)),
                _ => None,
            };
        }
        if self.user.will_log(label) {
            self.user.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        Caught::default().slot(label).is_some() || self.user.will_log(label)
    }
}

impl fmt::Debug for SecretCatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretCatcher(..)")
    }
}
