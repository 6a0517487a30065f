//! Reads a TLS ClientHello (RFC 8446 §4.1.2) without a TLS library: what it asks for is known before a TLS object is made.
//!
//! Called on the contiguous front of the client's Initial CRYPTO data, as often as it grows. Nothing here is
//! authenticated; whatever TLS itself makes of the message is what counts in the end.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use std::fmt;
use std::ops::Range;

use super::CipherSuite;

/// The longest ClientHello that is looked at, bytes. With post-quantum key shares they have some 1,800.
pub const MAX_CLIENT_HELLO_LEN: usize = 16 << 10;

/// Handshake type and length (RFC 8446 §4).
const HANDSHAKE_HEADER_LEN: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// Version and random of the message.
const FIXED_LEN: usize = 2 + 32;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const TRANSPORT_PARAMETERS: u16 = 57;

/// Not a ClientHello, or one that is badly formatted or too long.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed ClientHello")]
pub struct InvalidClientHello;

/// What a client asks for. It owns one copy of the message and points into it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientHello {
    message: Box<[u8]>,
    session_id: Range<usize>,
    cipher_suites: Range<usize>,
    server_name: Option<Range<usize>>,
    alpn: Option<Range<usize>>,
    transport_parameters: Option<Range<usize>>,
    ticket: Option<Range<usize>>,
    early_data: Option<Range<usize>>,
}

impl ClientHello {
    /// Reads the message at the front of `prefix`; `None` while its end is missing. What follows it is ignored.
    ///
    /// # Errors
    /// [`InvalidClientHello`] as soon as no further bytes can make it a ClientHello of bearable length.
    pub fn parse(prefix: &[u8]) -> Result<Option<Self>, InvalidClientHello> {
        if prefix.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(InvalidClientHello);
        }
        let Some([_, len @ ..]) = prefix.first_chunk::<HANDSHAKE_HEADER_LEN>() else { return Ok(None) };
        let [high, middle, low] = *len;
        let end = HANDSHAKE_HEADER_LEN + u32::from_be_bytes([0, high, middle, low]) as usize;
        if end > MAX_CLIENT_HELLO_LEN {
            return Err(InvalidClientHello);
        }
        match prefix.get(..end) {
            Some(message) => Self::parse_message(message).map(Some).ok_or(InvalidClientHello),
            None => Ok(None),
        }
    }

    fn parse_message(message: &[u8]) -> Option<Self> {
        let mut reader = Reader { message, rest: HANDSHAKE_HEADER_LEN..message.len() };
        reader.take(FIXED_LEN)?;
        let session_id = reader.vec8()?;
        let cipher_suites = reader.vec16()?;
        let compression = reader.vec8()?;
        if session_id.len() > 32
            || cipher_suites.is_empty()
            || cipher_suites.len() % 2 != 0
            || compression.is_empty()
        {
            return None;
        }
        let mut hello = Self {
            message: message.into(),
            session_id,
            cipher_suites,
            server_name: None,
            alpn: None,
            transport_parameters: None,
            ticket: None,
            early_data: None,
        };
        if !reader.rest.is_empty() {
            let mut extensions = reader.vec16_reader()?;
            if !reader.rest.is_empty() {
                return None;
            }
            while !extensions.rest.is_empty() {
                let kind = extensions.u16()?;
                hello.extension(kind, extensions.vec16_reader()?)?;
            }
        }
        Some(hello)
    }

    /// Takes note of an extension; `None` if it is badly formatted, or one that we know comes twice.
    fn extension(&mut self, kind: u16, body: Reader<'_>) -> Option<()> {
        let (slot, value) = match kind {
            SERVER_NAME => (&mut self.server_name, host_name(body)?),
            ALPN => (&mut self.alpn, protocol_list(body)?),
            TRANSPORT_PARAMETERS => (&mut self.transport_parameters, body.rest),
            PRE_SHARED_KEY => (&mut self.ticket, first_identity(body)?),
            EARLY_DATA => (&mut self.early_data, body.rest),
            _ => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    }

    /// The name of the server that the client wants (SNI); at most 255 printable ASCII characters.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.slice(self.server_name.as_ref()?).and_then(|name| std::str::from_utf8(name).ok())
    }

    /// Where that name is in the message.
    pub(crate) fn server_name_range(&self) -> Option<Range<usize>> {
        self.server_name.clone()
    }

    /// The application protocols that the client speaks, best first. Empty if it sent no ALPN extension.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let rest = self.alpn.clone().unwrap_or_default();
        let mut reader = Reader { message: &self.message, rest };
        std::iter::from_fn(move || reader.vec8().and_then(|range| self.slice(&range)))
    }

    /// The transport parameters as they were encoded, if the client sent them.
    #[must_use]
    pub fn transport_parameters(&self) -> Option<&[u8]> {
        self.slice(self.transport_parameters.as_ref()?)
    }

    /// True if data may have come with it, sealed with keys of an earlier connection (RFC 8446 §4.2.10).
    #[must_use]
    pub fn offers_early_data(&self) -> bool {
        self.early_data.is_some()
    }

    /// The ticket that early data is sealed with: the first that the client offers (RFC 8446 §4.2.11).
    pub(crate) fn ticket(&self) -> Option<&[u8]> {
        self.slice(self.ticket.as_ref()?)
    }

    /// The numbers of the cipher suites that the client offers, best first, also those that we do not know.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> {
        let suites = self.slice(&self.cipher_suites).unwrap_or_default();
        suites.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(*pair.first_chunk()?)))
    }

    /// The first of the offered cipher suites that we know.
    pub(crate) fn favourite_suite(&self) -> Option<CipherSuite> {
        self.cipher_suites().find_map(CipherSuite::from_u16)
    }

    /// The session ID that a client of QUIC leaves empty (RFC 9001 §8.4).
    pub(crate) fn legacy_session_id(&self) -> &[u8] {
        self.slice(&self.session_id).unwrap_or_default()
    }

    fn slice(&self, range: &Range<usize>) -> Option<&[u8]> {
        self.message.get(range.clone())
    }
}

impl fmt::Debug for ClientHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn: Vec<_> = self.alpn().map(String::from_utf8_lossy).collect();
        f.debug_struct("ClientHello")
            .field("server_name", &self.server_name())
            .field("alpn", &alpn)
            .field("cipher_suites", &self.cipher_suites().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The one host name of a server_name extension (RFC 6066 §3).
fn host_name(mut body: Reader<'_>) -> Option<Range<usize>> {
    const HOST_NAME: u8 = 0;
    let mut list = body.vec16_reader()?;
    let (kind, name) = (list.u8()?, list.vec16()?);
    let printable = body.message.get(name.clone())?.iter().all(u8::is_ascii_graphic);
    let fine = kind == HOST_NAME && list.rest.is_empty() && body.rest.is_empty();
    (fine && printable && (1..=255).contains(&name.len())).then_some(name)
}

/// The first identity of a pre_shared_key extension (RFC 8446 §4.2.11).
fn first_identity(mut body: Reader<'_>) -> Option<Range<usize>> {
    let mut identities = body.vec16_reader()?;
    let identity = identities.vec16()?;
    identities.take(size_of::<u32>())?;
    Some(identity)
}

/// The protocol list of an ALPN extension (RFC 7301 §3.1): at least one, none of them empty.
fn protocol_list(mut body: Reader<'_>) -> Option<Range<usize>> {
    let mut list = body.vec16_reader()?;
    let all = list.rest.clone();
    if !body.rest.is_empty() || all.is_empty() {
        return None;
    }
    while !list.rest.is_empty() {
        if list.vec8()?.is_empty() {
            return None;
        }
    }
    Some(all)
}

/// Reads TLS vectors as ranges of the message.
struct Reader<'a> {
    message: &'a [u8],
    rest: Range<usize>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let end = self.rest.start.checked_add(len).filter(|end| *end <= self.rest.end)?;
        let taken = self.rest.start..end;
        self.rest.start = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let at = self.take(1)?.start;
        self.message.get(at).copied()
    }

    fn u16(&mut self) -> Option<u16> {
        let range = self.take(2)?;
        self.message.get(range)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn vec8(&mut self) -> Option<Range<usize>> {
        let len = self.u8()?;
        self.take(len.into())
    }

    fn vec16(&mut self) -> Option<Range<usize>> {
        let len = self.u16()?;
        self.take(len.into())
    }

    fn vec16_reader(&mut self) -> Option<Reader<'a>> {
        Some(Reader { message: self.message, rest: self.vec16()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The ClientHello of RFC 9001 appendix A.2.
    fn sample() -> Vec<u8> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../testdata/rfc9001-appendix-a.json")).unwrap();
        let frame = vectors["client_initial"]["crypto_frame"].as_str().unwrap();
        // CRYPTO, offset 0, a length of two bytes.
        (8..frame.len()).step_by(2).map(|i| u8::from_str_radix(&frame[i..i + 2], 16).unwrap()).collect()
    }

    fn vec16(body: &[u8]) -> Vec<u8> {
        [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    }

    fn hello(session_id: &[u8], suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let suites: Vec<u8> = suites.iter().flat_map(|s| s.to_be_bytes()).collect();
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &vec16(body)].concat())
            .collect();
        let body = [
            &[3, 3][..],
            &[9; 32],
            &[session_id.len() as u8],
            session_id,
            &vec16(&suites),
            &[1, 0],
            &vec16(&extensions),
        ]
        .concat();
        [&[1, 0][..], &vec16(&body)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        vec16(&[&[0][..], &vec16(name)].concat())
    }

    fn parse(message: &[u8]) -> Option<ClientHello> {
        ClientHello::parse(message).unwrap()
    }

    #[test]
    fn reads_the_sample_of_the_rfc() {
        let hello = parse(&sample()).unwrap();
        assert_eq!(hello.server_name(), Some("example.com"));
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [b"alpn"]);
        assert_eq!(hello.cipher_suites().collect::<Vec<_>>(), [0x1301, 0x1302]);
        assert_eq!(hello.favourite_suite(), Some(CipherSuite::Aes128Gcm));
        assert_eq!(hello.transport_parameters().map(<[u8]>::len), Some(0x32));
        assert!(hello.legacy_session_id().is_empty());
        assert!(format!("{hello:?}").contains("example.com"));
    }

    #[test]
    fn every_prefix_is_incomplete_and_what_follows_is_ignored() {
        let mut message = sample();
        for len in 0..message.len() {
            assert_eq!(ClientHello::parse(&message[..len]), Ok(None), "{len}");
        }
        let whole = parse(&message);
        message.extend([0xff; 100]);
        assert_eq!(parse(&message), whole);
    }

    #[test]
    fn every_cut_inside_is_invalid_or_leaves_extensions_out() {
        let message = sample();
        for len in HANDSHAKE_HEADER_LEN..message.len() {
            let mut cut = message[..len].to_vec();
            let body_len = (len - HANDSHAKE_HEADER_LEN) as u32;
            cut[1..4].copy_from_slice(&body_len.to_be_bytes()[1..]);
            // After the compression methods a ClientHello of old may end.
            let end_of_old = HANDSHAKE_HEADER_LEN + FIXED_LEN + 1 + 2 + 4 + 2;
            assert_eq!(ClientHello::parse(&cut).is_ok(), len == end_of_old, "{len}");
        }
    }

    #[test]
    fn size_and_kind_are_judged_from_the_first_bytes() {
        assert_eq!(ClientHello::parse(&[2]), Err(InvalidClientHello));
        assert_eq!(ClientHello::parse(&[1, 0, 0x40, 0]), Err(InvalidClientHello));
        assert_eq!(ClientHello::parse(&[1, 0xff, 0xff, 0xff]), Err(InvalidClientHello));
        assert_eq!(ClientHello::parse(&[1, 0, 0x3f, 0xfc]), Ok(None));
    }

    #[test]
    fn extensions_that_we_know_are_checked() {
        let alpn = |list: &[u8]| vec![(ALPN, vec16(list))];
        let bad: Vec<Vec<(u16, Vec<u8>)>> = vec![
            vec![(SERVER_NAME, sni(b"a")), (SERVER_NAME, sni(b"a"))],
            vec![(TRANSPORT_PARAMETERS, vec![]), (TRANSPORT_PARAMETERS, vec![])],
            vec![(SERVER_NAME, sni(b""))],
            vec![(SERVER_NAME, sni(b"a b"))],
            vec![(SERVER_NAME, sni(b"\xc3\xa4"))],
            vec![(SERVER_NAME, sni(&[b'a'; 256]))],
            vec![(SERVER_NAME, [sni(b"a"), vec![0]].concat())],
            vec![(SERVER_NAME, vec16(&[&[1][..], &vec16(b"a")].concat()))],
            vec![(SERVER_NAME, vec![])],
            alpn(b""),
            alpn(b"\0"),
            alpn(b"\x02h"),
            vec![(ALPN, vec![0])],
        ];
        for extensions in bad {
            let message = hello(&[], &[0x1301], &extensions);
            assert_eq!(ClientHello::parse(&message), Err(InvalidClientHello), "{extensions:?}");
        }
        assert_eq!(ClientHello::parse(&hello(&[], &[], &[])), Err(InvalidClientHello));
        assert_eq!(ClientHello::parse(&hello(&[0; 33], &[0x1301], &[])), Err(InvalidClientHello));
    }

    #[test]
    fn what_a_client_offers_comes_in_its_order() {
        let extensions =
            [(ALPN, vec16(b"\x02h3\x05other")), (0x1a1a, vec![1, 2, 3]), (SERVER_NAME, sni(b"x.y"))];
        let hello = parse(&hello(&[5], &[0x0a0a, 0x1303, 0x1301], &extensions)).unwrap();
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h3"[..], b"other"]);
        assert_eq!(hello.favourite_suite(), Some(CipherSuite::ChaCha20Poly1305));
        assert_eq!(hello.server_name(), Some("x.y"));
        assert_eq!(hello.transport_parameters(), None);
        assert_eq!(hello.legacy_session_id(), [5]);
    }

    /// Uses every accessor: none may panic on what the parser let through.
    fn exercise(bytes: &[u8]) {
        if let Ok(Some(hello)) = ClientHello::parse(bytes) {
            let _ = format!("{hello:?} {:?} {:?}", hello.transport_parameters(), hello.legacy_session_id());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            exercise(&bytes);
            let len = (bytes.len() as u32).to_be_bytes();
            exercise(&[&[1, len[1], len[2], len[3]], &bytes[..]].concat());
        }

        #[test]
        fn any_damage_to_a_real_one_is_survived(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut message = sample();
            for (at, byte) in damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            exercise(&message);
        }
    }
}
