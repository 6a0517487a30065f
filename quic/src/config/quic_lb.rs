//! Connection IDs by which load balancers find the server (QUIC-LB, draft-ietf-quic-load-balancers).
//!
//! ```text
//! first octet: config rotation (3 bits), length or random bits (5) │ server ID │ nonce │ random bytes, if the ID is longer
//!                                                                   └─ encrypted ────┘
//! ```

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};

use super::{ConfigError, ConnectionIdGenerator, check};
use crate::packet::{ConnectionId, MAX_CID_LEN, Rng};

/// The config rotation of IDs that no load balancer can read.
const UNROUTABLE: u8 = 0b111;

/// Server ID and nonce together, at most.
const MAX_PLAIN_LEN: usize = MAX_CID_LEN - 1;

const BLOCK_LEN: usize = 16;

/// One configuration of QUIC-LB, as an operator gives it to load balancers and to one server.
///
/// ```
/// use gannet::config::{QuicLbConfig, QuicLbConnectionIds};
///
/// // Server 0x2a of at most 256, under the first configuration.
/// let config = QuicLbConfig::new(0, &[0x2a], 8)?.key([7; 16]);
/// let ids = QuicLbConnectionIds::new(10, Some(config))?;
/// # Ok::<(), gannet::config::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct QuicLbConfig {
    rotation: u8,
    server_id: Vec<u8>,
    nonce_len: usize,
    cipher: Option<Box<Aes128>>,
}

impl QuicLbConfig {
    /// A configuration whose IDs everybody can read, until [`QuicLbConfig::key`] is added.
    ///
    /// `rotation` tells configurations apart that are in use at the same time, 0 to 6. `server_id` is this server's own;
    /// all servers of a configuration have IDs of one length. `nonce_len` is at least 4 bytes, and with the server ID at
    /// most 19. The nonce must be long enough for as many connection IDs as the server makes while the configuration
    /// lasts, restarts included: 8 bytes or more. Where both make 16 bytes, IDs cost the load balancer the least.
    ///
    /// # Errors
    /// For values out of these bounds.
    pub fn new(rotation: u8, server_id: &[u8], nonce_len: usize) -> Result<Self, ConfigError> {
        check(rotation < UNROUTABLE, "rotation", "is above 6")?;
        check(!server_id.is_empty(), "server_id", "is empty")?;
        check(nonce_len >= 4, "nonce_len", "is below 4")?;
        let fits = server_id.len().saturating_add(nonce_len) <= MAX_PLAIN_LEN;
        check(fits, "nonce_len", "is above 19 with the length of the server ID")?;
        Ok(Self { rotation, server_id: server_id.to_vec(), nonce_len, cipher: None })
    }

    /// Encrypts server ID and nonce with this key, which servers and load balancers of the configuration share. Without it
    /// anybody can tell which connections lead to one server.
    #[must_use]
    pub fn key(mut self, key: [u8; 16]) -> Self {
        self.cipher = Some(Box::new(Aes128::new(&key.into())));
        self
    }

    /// The server ID in a connection ID of any server of this configuration: what a load balancer computes. `None` if the
    /// ID is of another configuration, or too short.
    ///
    /// The server ID of this configuration itself counts by its length alone.
    #[must_use]
    pub fn server_id_of(&self, connection_id: &[u8]) -> Option<Vec<u8>> {
        let (first, rest) = connection_id.split_first()?;
        let mut plain = rest.get(..self.plain_len())?.to_vec();
        if first >> 5 != self.rotation {
            return None;
        }
        if let Some(cipher) = &self.cipher {
            decrypt(cipher, &mut plain);
        }
        plain.truncate(self.server_id.len());
        Some(plain)
    }

    fn plain_len(&self) -> usize {
        self.server_id.len() + self.nonce_len
    }

    /// All of a connection ID but its first octet.
    fn encode(&self, nonce: &[u8]) -> Vec<u8> {
        let mut plain = [&self.server_id[..], nonce].concat();
        if let Some(cipher) = &self.cipher {
            encrypt(cipher, &mut plain);
        }
        plain
    }
}

impl fmt::Debug for QuicLbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rotation, server_id, nonce_len, cipher } = self;
        f.debug_struct("QuicLbConfig")
            .field("rotation", rotation)
            .field("server_id", server_id)
            .field("nonce_len", nonce_len)
            .field("encrypted", &cipher.is_some())
            .finish()
    }
}

/// Makes connection IDs by which load balancers find this server; give it to
/// [`EndpointConfigBuilder::connection_ids`](super::EndpointConfigBuilder::connection_ids).
///
/// No nonce is used twice: with a key they count up from a random number, without one they are random. When a configuration
/// has no nonce left, and while there is no configuration, IDs say that no load balancer can read them: packets then find
/// the server by addresses alone.
///
/// What operators need to know is on a page of its own, `docs/load-balancing.md`.
#[derive(Debug)]
pub struct QuicLbConnectionIds {
    len: usize,
    tells_length: bool,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    config: Option<QuicLbConfig>,
    /// The next nonce, and how many are left; `None` before the first.
    nonce: Option<(u128, u128)>,
}

impl QuicLbConnectionIds {
    /// IDs of `len` bytes, 8 to 20, at least one more than server ID and nonce; what is beyond that is random.
    ///
    /// The length stays the same for as long as the endpoint exists: leave room for later configurations.
    ///
    /// # Errors
    /// If the length is out of bounds or too short for the configuration.
    pub fn new(len: usize, config: Option<QuicLbConfig>) -> Result<Self, ConfigError> {
        check((8..=MAX_CID_LEN).contains(&len), "len", "is below 8 or above 20")?;
        let ids = Self { len, tells_length: false, active: Mutex::default() };
        ids.set_config(config)?;
        Ok(ids)
    }

    /// Whether the first octet tells the length of the ID, for hardware that takes packets apart. Default no.
    #[must_use]
    pub fn tell_length(mut self, tell: bool) -> Self {
        self.tells_length = tell;
        self
    }

    /// Makes IDs by another configuration from now on. Connections that exist go on with theirs until
    /// [`Connection::rotate_connection_ids`](crate::Connection::rotate_connection_ids).
    ///
    /// A configuration must not come back once another has taken its place: its nonces would be used again.
    ///
    /// # Errors
    /// If IDs are too short for it; the present one stays.
    pub fn set_config(&self, config: Option<QuicLbConfig>) -> Result<(), ConfigError> {
        let fits = config.as_ref().is_none_or(|config| config.plain_len() < self.len);
        check(fits, "config", "does not fit into connection IDs of this length")?;
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Active { config, nonce: None };
        Ok(())
    }

    /// The rotation bits and what follows the first octet.
    fn body(&self, rng: &mut Rng) -> (u8, Vec<u8>) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let Active { config: Some(config), nonce } = &mut *active else { return (UNROUTABLE, Vec::new()) };
        if config.cipher.is_none() {
            let random: [u8; MAX_CID_LEN] = rng.array();
            return (config.rotation, config.encode(&random[..config.nonce_len]));
        }
        let bits = 8 * config.nonce_len.min(16) as u32;
        let start = || (u128::from_be_bytes(rng.array()), 1_u128.checked_shl(bits).unwrap_or(u128::MAX));
        let (next, left) = nonce.get_or_insert_with(start);
        if *left == 0 {
            return (UNROUTABLE, Vec::new());
        }
        // A nonce longer than the counter begins with zeros; it is encrypted.
        let mut bytes = [0; 2 + 16];
        bytes[2..].copy_from_slice(&next.to_be_bytes());
        (*next, *left) = (next.wrapping_add(1), *left - 1);
        (config.rotation, config.encode(&bytes[bytes.len() - config.nonce_len..]))
    }
}

impl ConnectionIdGenerator for QuicLbConnectionIds {
    fn len(&self) -> usize {
        self.len
    }

    fn generate(&self, rng: &mut Rng) -> ConnectionId {
        let (rotation, body) = self.body(rng);
        let mut bytes: [u8; MAX_CID_LEN] = rng.array();
        // Nobody but the length can say whether an ID that no load balancer can read is one of ours.
        let length = if self.tells_length || rotation == UNROUTABLE { self.len as u8 - 1 } else { bytes[0] };
        bytes[0] = rotation << 5 | length & 0x1f;
        bytes[1..=body.len()].copy_from_slice(&body);
        ConnectionId::try_from(&bytes[..self.len]).unwrap_or_default()
    }
}

/// One block, or else a Feistel network of four rounds over the two halves.
fn encrypt(cipher: &Aes128, plain: &mut [u8]) {
    if let Ok(block) = <&mut [u8; BLOCK_LEN]>::try_from(&mut *plain) {
        return cipher.encrypt_block(block.into());
    }
    let mut halves = Halves::split(plain);
    for pass in 1..=4 {
        halves.pass(cipher, pass);
    }
    halves.join(plain);
}

fn decrypt(cipher: &Aes128, sealed: &mut [u8]) {
    if let Ok(block) = <&mut [u8; BLOCK_LEN]>::try_from(&mut *sealed) {
        return cipher.decrypt_block(block.into());
    }
    let mut halves = Halves::split(sealed);
    for pass in (1..=4).rev() {
        halves.pass(cipher, pass);
    }
    halves.join(sealed);
}

/// Two halves of equal length; where the whole has an odd number of bytes, each has four bits of the middle one, and the
/// other four are 0.
struct Halves {
    left: [u8; BLOCK_LEN],
    right: [u8; BLOCK_LEN],
    half: usize,
    len: usize,
}

impl Halves {
    fn split(whole: &[u8]) -> Self {
        let (len, half) = (whole.len(), whole.len().div_ceil(2));
        let mut halves = Self { left: [0; BLOCK_LEN], right: [0; BLOCK_LEN], half, len };
        halves.left[..half].copy_from_slice(&whole[..half]);
        halves.right[..half].copy_from_slice(&whole[len - half..]);
        halves.clear();
        halves
    }

    /// What a pass computes from one half changes the other.
    fn pass(&mut self, cipher: &Aes128, pass: u8) {
        let Self { left, right, half, len } = self;
        let (from, to) = if pass % 2 == 1 { (left, right) } else { (right, left) };
        let mut block = [0; BLOCK_LEN];
        block[..*half].copy_from_slice(&from[..*half]);
        block[14] = *len as u8;
        block[15] = pass;
        cipher.encrypt_block((&mut block).into());
        to[..*half].iter_mut().zip(block).for_each(|(to, mask)| *to ^= mask);
        self.clear();
    }

    fn clear(&mut self) {
        if self.len % 2 == 1 {
            self.left[self.half - 1] &= 0xf0;
            self.right[0] &= 0x0f;
        }
    }

    fn join(&self, whole: &mut [u8]) {
        let Self { left, right, half, len } = self;
        whole[..*half].copy_from_slice(&left[..*half]);
        whole[*half..].copy_from_slice(&right[2 * half - len..*half]);
        if len % 2 == 1 {
            whole[half - 1] |= right[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    /// Appendix B of the draft. Its second plaintext example is misprinted, and left out.
    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../testdata/quic-lb-appendix-b.json")).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn check_vector(vector: &Value, key: Option<[u8; 16]>) {
        let [server_id, nonce, cid] = ["server_id", "nonce", "cid"].map(|name| hex(&vector[name]));
        let rotation = vector["config_rotation"].as_u64().unwrap() as u8;
        let mut config = QuicLbConfig::new(rotation, &server_id, nonce.len()).unwrap();
        if let Some(key) = key {
            config = config.key(key);
        }
        assert_eq!(config.encode(&nonce), cid[1..], "{vector}");
        assert_eq!(cid[0], rotation << 5 | (cid.len() as u8 - 1));
        assert_eq!(config.server_id_of(&cid), Some(server_id));
    }

    #[test]
    fn the_vectors_of_the_draft() {
        let vectors = vectors();
        let key: [u8; 16] = hex(&vectors["key"]).try_into().unwrap();
        let (plain, encrypted) = (vectors["plaintext"].as_array(), vectors["encrypted"].as_array());
        plain.unwrap().iter().for_each(|vector| check_vector(vector, None));
        encrypted.unwrap().iter().for_each(|vector| check_vector(vector, Some(key)));
        assert_eq!((plain.unwrap().len(), encrypted.unwrap().len()), (1, 4));
        // The example of its section 5.4.2.4.
        let example = serde_json::json!({
            "config_rotation": 0, "server_id": "31441a", "nonce": "9c69c275", "cid": "0767947d29be054a",
        });
        let key = 0xfdf7_26a9_893e_c05c_0632_d395_6680_baf0_u128.to_be_bytes();
        check_vector(&example, Some(key));
    }

    #[test]
    fn every_length_comes_back_and_no_id_comes_twice() {
        for server_len in 1..=15 {
            for nonce_len in 4..=MAX_PLAIN_LEN - server_len {
                for key in [None, Some([server_len as u8; 16])] {
                    let mut config = QuicLbConfig::new(5, &[0xa5; 15][..server_len], nonce_len).unwrap();
                    if let Some(key) = key {
                        config = config.key(key);
                    }
                    let len = (1 + server_len + nonce_len).max(8);
                    let mut rng = Rng::from_u64(9);
                    let ids = QuicLbConnectionIds::new(len, Some(config.clone())).unwrap().tell_length(true);
                    let made: HashSet<_> = (0..50).map(|_| ids.generate(&mut rng)).collect();
                    assert_eq!(made.len(), 50);
                    for id in made {
                        assert_eq!((id.len(), id.as_slice()[0]), (len, 5 << 5 | (len as u8 - 1)));
                        assert_eq!(config.server_id_of(id.as_slice()).unwrap(), [0xa5; 15][..server_len]);
                    }
                }
            }
        }
    }

    // covers: R9000-5.1-01 R9000-5.1-02
    #[test]
    fn encrypted_ids_show_nothing_of_the_server_or_of_one_another() {
        let config = QuicLbConfig::new(2, &[0; 3], 6).unwrap().key([1; 16]);
        let ids = QuicLbConnectionIds::new(12, Some(config)).unwrap();
        let mut rng = Rng::from_u64(3);
        let mut ones = [0_u32; 8 * 12];
        for _ in 0..1000 {
            let id = ids.generate(&mut rng);
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += u32::from(id.as_slice()[bit / 8] >> (7 - bit % 8) & 1);
            }
        }
        assert_eq!(ones[..3], [0, 1000, 0]);
        assert!(ones[3..].iter().all(|ones| (400..600).contains(ones)), "{ones:?}");
    }

    #[test]
    fn a_configuration_takes_over_and_ends_when_its_nonces_do() {
        let mut rng = Rng::from_u64(4);
        let rotation = |id: ConnectionId| id.as_slice()[0] >> 5;
        let ids = QuicLbConnectionIds::new(10, None).unwrap();
        let id = ids.generate(&mut rng);
        assert_eq!(id.as_slice()[0], UNROUTABLE << 5 | 9, "it tells its length");
        let first = QuicLbConfig::new(0, &[1], 4).unwrap().key([1; 16]);
        ids.set_config(Some(first.clone())).unwrap();
        assert_eq!(rotation(ids.generate(&mut rng)), 0);
        assert_eq!(first.server_id_of(id.as_slice()), None);
        ids.active.lock().unwrap().nonce = Some((u128::MAX, 2));
        let last = [(); 3].map(|()| rotation(ids.generate(&mut rng)));
        assert_eq!(last, [0, 0, UNROUTABLE]);
        ids.set_config(Some(QuicLbConfig::new(1, &[1, 2], 7).unwrap())).unwrap();
        assert_eq!(rotation(ids.generate(&mut rng)), 1);
        let too_long = QuicLbConfig::new(2, &[1, 2], 8).unwrap();
        assert_eq!(ids.set_config(Some(too_long)).unwrap_err().setting, "config");
        assert_eq!(rotation(ids.generate(&mut rng)), 1, "the present one stays");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |result: Result<QuicLbConfig, ConfigError>| result.unwrap_err().setting;
        assert_eq!(refused(QuicLbConfig::new(7, &[1], 4)), "rotation");
        assert_eq!(refused(QuicLbConfig::new(0, &[], 4)), "server_id");
        assert_eq!(refused(QuicLbConfig::new(0, &[1], 3)), "nonce_len");
        assert_eq!(refused(QuicLbConfig::new(0, &[1; 16], 4)), "nonce_len");
        assert_eq!(refused(QuicLbConfig::new(0, &[1], usize::MAX)), "nonce_len");
        for len in [0, 7, 21] {
            assert_eq!(QuicLbConnectionIds::new(len, None).unwrap_err().setting, "len");
        }
        let config = QuicLbConfig::new(0, &[1], 4).unwrap().key([0x5a; 16]);
        assert!(!format!("{config:?}").contains("90"));
        for len in 0..6 {
            assert_eq!(config.server_id_of(&[0; 6][..len]), None);
        }
    }
}
