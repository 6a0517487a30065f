//! A client's first flight in the shape that its configuration wants: a plan, made from the ClientHello and carried out
//! when packets are written.
//!
//! The plan is for what is sent first. Whatever is lost, or asked for by a timer, goes the usual way.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

use super::CryptoSend;
use crate::config::{FirstFlight, PaddingPlace, ParameterOrder, PieceOrder};
use crate::crypto::ClientHello;
use crate::packet::{Rng, Side};
use crate::proto::space::Token;
use crate::proto::transmit::FrameWriter;
use crate::wire::frame::{CryptoHeader, EncodeFrame as _, Ping};
use crate::wire::transport_parameters::TransportParameters;

/// A piece is not cut to fill fewer bytes than these.
const MIN_PIECE: usize = 16;

/// What remains to be sent of a first flight.
#[derive(Debug)]
pub struct Plan {
    shape: FirstFlight,
    /// Pieces of the ClientHello, and how many of its bytes belong to each datagram at most.
    pieces: VecDeque<Range<u64>>,
    per_datagram: u64,
}

impl Plan {
    /// How to send this ClientHello.
    pub fn new(shape: FirstFlight, hello: &[u8], rng: &mut Rng) -> Self {
        // How much is drawn here depends on where TLS has put the name, which no seed rules; what comes later must not.
        let rng = &mut rng.fork();
        let end = hello.len() as u64;
        let mut cuts = vec![0, end];
        let mut pieces = pick(&shape.pieces, rng);
        if shape.split_server_name
            && pieces > 1
            && let Some(name) = name_in(hello).filter(|name| name.end - name.start > 1)
        {
            cuts.push(name.start + 1 + rng.below(name.end - name.start - 1));
            pieces -= 1;
        }
        for _ in 1..pieces {
            cuts.push(rng.below(end));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces: Vec<Range<u64>> =
            cuts.iter().zip(cuts.iter().skip(1)).map(|(start, end)| *start..*end).collect();
        match shape.piece_order {
            PieceOrder::Forward => {}
            PieceOrder::Backward => pieces.reverse(),
            PieceOrder::Random => shuffle(&mut pieces, rng),
        }
        let per_datagram = end.div_ceil(u64::from(shape.datagrams)).max(1);
        Self { shape, pieces: pieces.into(), per_datagram }
    }

    /// The length of each datagram, bytes.
    pub fn datagram_size(&self) -> u16 {
        self.shape.datagram_size
    }

    /// True once all of it is in packets.
    pub fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Writes the frames of one Initial. `alone`: nothing else goes into the datagram, which is filled up here.
    pub fn write(
        &mut self,
        writer: &mut FrameWriter<'_>,
        crypto: &mut CryptoSend,
        alone: bool,
        rng: &mut Rng,
    ) {
        let rng = &mut rng.fork();
        let room = writer.remaining();
        let pings = pick(&self.shape.pings, rng).min(room);
        let pieces = self.next_pieces(room.saturating_sub(pings));
        let size =
            |piece: &Range<u64>| header(piece).size() + usize::try_from(piece.end - piece.start).unwrap_or(0);
        let need = pings + pieces.iter().map(size).sum::<usize>();
        let mut items: Vec<Option<Range<u64>>> = pieces.into_iter().map(Some).collect();
        for _ in 0..pings {
            let at = below(items.len() + 1, rng);
            items.insert(at, None);
        }
        let spare = if alone { room.saturating_sub(need) } else { 0 };
        let gaps = self.gaps(items.len() + 1, spare, rng);
        for (item, padding) in items.into_iter().map(Some).chain([None]).zip(gaps) {
            writer.padding(padding);
            match item {
                Some(Some(piece)) => {
                    if let Some(bytes) = crypto.piece(&piece) {
                        writer.crypto(piece.start, bytes.len(), |out, len| {
                            out.extend_from_slice(bytes.get(..len).unwrap_or_default());
                        });
                        crypto.sent_piece(piece);
                    }
                }
                Some(None) => {
                    writer.frame(&Ping, Some(Token::Ping));
                }
                None => {}
            }
        }
    }

    /// Takes the pieces of the next datagram; the last one may have to be cut.
    fn next_pieces(&mut self, mut room: usize) -> Vec<Range<u64>> {
        let (mut taken, mut bytes) = (Vec::new(), self.per_datagram);
        while let Some(piece) = self.pieces.pop_front() {
            let len = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
            let most = room.saturating_sub(header(&piece).size());
            let fits = len.min(most).min(usize::try_from(bytes).unwrap_or(usize::MAX));
            if most < len.min(MIN_PIECE) || fits == 0 {
                self.pieces.push_front(piece);
                break;
            }
            let cut = piece.start + fits as u64;
            if cut < piece.end {
                self.pieces.push_front(cut..piece.end);
            }
            let piece = piece.start..cut;
            room -= header(&piece).size() + fits;
            bytes -= fits as u64;
            taken.push(piece);
            if fits < len {
                break;
            }
        }
        taken
    }

    /// How many bytes of padding go ahead of each item and behind the last.
    fn gaps(&self, count: usize, spare: usize, rng: &mut Rng) -> Vec<usize> {
        let mut gaps = vec![0; count];
        match self.shape.padding {
            // The datagram is filled up behind its last packet anyway.
            PaddingPlace::Back => {}
            PaddingPlace::Front => gaps[0] = spare,
            PaddingPlace::Scattered => {
                let mut cuts: Vec<usize> = (1..count).map(|_| below(spare + 1, rng)).collect();
                cuts.sort_unstable();
                let mut start = 0;
                for (gap, end) in gaps.iter_mut().zip(cuts.into_iter().chain([spare])) {
                    *gap = end - start;
                    start = end;
                }
            }
        }
        gaps
    }
}

/// The client's transport parameters as the first flight shows them.
pub fn encode_params(params: &TransportParameters, shape: &FirstFlight, rng: &mut Rng) -> Vec<u8> {
    let reserved: Vec<u64> = (0..pick(&shape.reserved_parameters, rng))
        .map(|_| pick(&shape.reserved_parameter_size, rng) as u64)
        .collect();
    let mut encoded = Vec::new();
    let shuffled = shape.parameter_order == ParameterOrder::Random;
    params.encode_as(Side::Client, shuffled, &reserved, rng, &mut encoded);
    encoded
}

fn header(piece: &Range<u64>) -> CryptoHeader {
    CryptoHeader { offset: piece.start, len: piece.end - piece.start }
}

/// Where the name of the server is in a ClientHello.
fn name_in(hello: &[u8]) -> Option<Range<u64>> {
    let range = ClientHello::parse(hello).ok()??.server_name_range()?;
    Some(range.start as u64..range.end as u64)
}

fn pick(range: &RangeInclusive<u8>, rng: &mut Rng) -> usize {
    usize::from(*range.start()) + below(usize::from(range.end().saturating_sub(*range.start())) + 1, rng)
}

fn below(bound: usize, rng: &mut Rng) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or_default()
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, rng));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::packet::Rng;
    use crate::proto::transmit::{FrameCounts, PacketContent};
    use crate::wire::frame::{Frame, Frames};

    /// The frames of all datagrams; each payload has this much room.
    fn carry_out(shape: FirstFlight, hello: &[u8], room: usize, seed: u64) -> Vec<Vec<Frame>> {
        carry_out_with(&mut Rng::from_u64(seed), shape, hello, room)
    }

    fn carry_out_with(rng: &mut Rng, shape: FirstFlight, hello: &[u8], room: usize) -> Vec<Vec<Frame>> {
        let mut crypto = CryptoSend::default();
        crypto.push(hello);
        let mut plan = Plan::new(shape, hello, rng);
        let mut datagrams = Vec::new();
        while !plan.is_done() {
            let (mut buf, mut content, mut counts) =
                (Vec::new(), PacketContent::default(), FrameCounts::default());
            let mut writer = FrameWriter::new(&mut buf, room, &mut content, &mut counts);
            plan.write(&mut writer, &mut crypto, true, rng);
            assert!(content.ack_eliciting && buf.len() <= room);
            let mut frames = Frames::new(Bytes::from(buf));
            datagrams.push(std::iter::from_fn(|| frames.next().unwrap()).collect());
            assert!(datagrams.len() < 100);
        }
        assert!(!crypto.wants_to_send());
        datagrams
    }

    fn pieces(datagrams: &[Vec<Frame>]) -> Vec<(u64, Vec<u8>)> {
        let piece = |frame: &Frame| match frame {
            Frame::Crypto(crypto) => Some((crypto.offset, crypto.data.to_vec())),
            _ => None,
        };
        datagrams.iter().flatten().filter_map(piece).collect()
    }

    fn hello() -> Vec<u8> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../testdata/rfc9001-appendix-a.json")).unwrap();
        let frame = vectors["client_initial"]["crypto_frame"].as_str().unwrap();
        (8..frame.len()).step_by(2).map(|i| u8::from_str_radix(&frame[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_plain_one_is_one_frame() {
        let datagrams = carry_out(FirstFlight::plain(), &hello(), 1100, 1);
        assert_eq!(datagrams.len(), 1);
        assert!(matches!(&datagrams[0][..], [Frame::Crypto(crypto)] if crypto.data == hello()));
    }

    #[test]
    fn the_name_of_the_server_is_in_no_packet_as_a_whole() {
        let hello = hello();
        let name = b"example.com";
        assert!(hello.windows(name.len()).any(|window| window == name));
        for seed in 0..200 {
            let pieces = pieces(&carry_out(FirstFlight::default(), &hello, 1100, seed));
            assert!((2..=4).contains(&pieces.len()));
            assert!(pieces.iter().all(|(_, data)| data.windows(name.len()).all(|window| window != name)));
        }
    }

    /// TLS draws the order of its extensions elsewhere: what a seed rules must not depend on it.
    #[test]
    fn how_much_is_drawn_does_not_depend_on_what_tls_has_put_where() {
        for seed in 0..50 {
            let drawn_later = |hello: &[u8]| {
                let mut rng = Rng::from_u64(seed);
                carry_out_with(&mut rng, FirstFlight::default(), hello, 1100);
                rng.below(u64::MAX)
            };
            // Two cuts in one place are one: the shorter, the likelier.
            assert_eq!(drawn_later(&hello()), drawn_later(&[0; 9]));
        }
    }

    #[test]
    fn padding_is_where_it_should_be() {
        let shape =
            |place| FirstFlight { padding: place, pieces: 3..=3, pings: 1..=1, ..FirstFlight::default() };
        let is_padding = |frame: &Frame| matches!(frame, Frame::Padding(_));
        let datagrams = carry_out(shape(PaddingPlace::Front), &hello(), 1100, 1);
        let [datagram] = &datagrams[..] else { panic!() };
        assert!(is_padding(&datagram[0]) && !datagram[1..].iter().any(is_padding));
        let datagrams = carry_out(shape(PaddingPlace::Back), &hello(), 1100, 1);
        assert!(!datagrams[0].iter().any(is_padding));
        let mut runs = 0;
        for seed in 0..20 {
            runs += carry_out(shape(PaddingPlace::Scattered), &hello(), 1100, seed)[0]
                .iter()
                .filter(|frame| is_padding(frame))
                .count();
        }
        assert!(runs > 80, "{runs} runs in 20 datagrams");
    }

    #[test]
    fn it_takes_as_many_datagrams_as_it_should() {
        for datagrams in 1..=8 {
            let shape = FirstFlight { datagrams, ..FirstFlight::default() };
            let sent = carry_out(shape, &hello(), 1100, 5);
            assert_eq!(sent.len(), usize::from(datagrams));
            assert!(sent.iter().all(|frames| frames.iter().any(|frame| matches!(frame, Frame::Crypto(_)))));
        }
        let offsets = |order| {
            let shape =
                FirstFlight { piece_order: order, pieces: 8..=8, datagrams: 2, ..FirstFlight::default() };
            pieces(&carry_out(shape, &hello(), 1100, 1)).iter().map(|(at, _)| *at).collect::<Vec<_>>()
        };
        assert!(offsets(PieceOrder::Forward).is_sorted());
        assert!(offsets(PieceOrder::Backward)[0] > 200);
        assert!(!offsets(PieceOrder::Random).is_sorted());
    }

    proptest! {
        #[test]
        fn all_of_any_message_arrives_in_any_shape(
            len in 1usize..6000, room in 100usize..1400, seed: u64, pieces in 1u8..=32, pings in 0u8..=8,
            datagrams in 1u8..=8, order in 0usize..3, place in 0usize..3,
        ) {
            let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let shape = FirstFlight {
                pieces: 1..=pieces,
                pings: 0..=pings,
                datagrams,
                piece_order: [PieceOrder::Random, PieceOrder::Forward, PieceOrder::Backward][order],
                padding: [PaddingPlace::Scattered, PaddingPlace::Front, PaddingPlace::Back][place],
                parameter_order: ParameterOrder::Random,
                ..FirstFlight::default()
            };
            let mut arrived = vec![None; len];
            for (offset, data) in super::tests::pieces(&carry_out(shape, &message, room, seed)) {
                for (at, byte) in (offset as usize..).zip(data) {
                    prop_assert_eq!(arrived[at].replace(byte), None, "sent twice");
                }
            }
            prop_assert!(arrived.iter().zip(&message).all(|(got, sent)| *got == Some(*sent)));
        }
    }
}
