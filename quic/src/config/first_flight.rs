//! What the first packets of a client look like to whoever watches the network.

use std::ops::RangeInclusive;

use super::{ConfigError, check};
use crate::packet::MIN_DATAGRAM_SIZE;

/// In which order transport parameters stand in the ClientHello.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParameterOrder {
    /// In another one each time.
    Random,
    /// By their numbers.
    Ascending,
}

/// In which order the pieces of the ClientHello are sent.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PieceOrder {
    /// In another one each time.
    Random,
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Backward,
}

/// Where the bytes are that fill the datagrams up.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PaddingPlace {
    /// Some ahead of each frame and some at the end, as chance has it.
    Scattered,
    /// Ahead of all frames.
    Front,
    /// Behind all frames.
    Back,
}

/// The shape of a client's first flight: all that it sends before it has heard from the server.
///
/// These packets are protected with keys that anybody can derive. Middleboxes that read them come to expect what they see
/// every day, and break what is new. So by default they look different each time, within what RFC 9000 has promised all
/// along; servers that follow it do not notice. [`FirstFlight::plain`] is as regular as can be.
///
/// What is sent again because it was lost has no particular shape.
///
/// ```
/// use gannet::config::{FirstFlight, PaddingPlace, PieceOrder};
///
/// let two_datagrams = FirstFlight::builder()
///     .datagrams(2)
///     .pieces(4..=6)
///     .piece_order(PieceOrder::Backward)
///     .padding(PaddingPlace::Front)
///     .build()?;
/// # Ok::<(), gannet::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstFlight {
    pub(crate) parameter_order: ParameterOrder,
    pub(crate) reserved_parameters: RangeInclusive<u8>,
    pub(crate) reserved_parameter_size: RangeInclusive<u8>,
    pub(crate) pieces: RangeInclusive<u8>,
    pub(crate) split_server_name: bool,
    pub(crate) piece_order: PieceOrder,
    pub(crate) pings: RangeInclusive<u8>,
    pub(crate) padding: PaddingPlace,
    pub(crate) datagrams: u8,
    pub(crate) datagram_size: u16,
}

impl Default for FirstFlight {
    fn default() -> Self {
        Self {
            parameter_order: ParameterOrder::Random,
            reserved_parameters: 1..=2,
            reserved_parameter_size: 0..=16,
            pieces: 2..=4,
            split_server_name: true,
            piece_order: PieceOrder::Random,
            pings: 0..=1,
            padding: PaddingPlace::Scattered,
            datagrams: 1,
            datagram_size: MIN_DATAGRAM_SIZE as u16,
        }
    }
}

impl FirstFlight {
    /// Starts from the defaults.
    pub fn builder() -> FirstFlightBuilder {
        FirstFlightBuilder(Self::default())
    }

    /// No variety: transport parameters by their numbers and none reserved, the ClientHello in one piece if it fits, and
    /// padding behind it.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            parameter_order: ParameterOrder::Ascending,
            reserved_parameters: 0..=0,
            pieces: 1..=1,
            split_server_name: false,
            piece_order: PieceOrder::Forward,
            pings: 0..=0,
            padding: PaddingPlace::Back,
            ..Self::default()
        }
    }
}

/// Builds a [`FirstFlight`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FirstFlightBuilder(FirstFlight);

impl FirstFlightBuilder {
    /// The order of the transport parameters. Default random.
    pub fn parameter_order(mut self, order: ParameterOrder) -> Self {
        self.0.parameter_order = order;
        self
    }

    /// How many transport parameters are added that servers must ignore (RFC 9000 §18.1). Default 1 or 2, at most 16.
    pub fn reserved_parameters(mut self, count: RangeInclusive<u8>) -> Self {
        self.0.reserved_parameters = count;
        self
    }

    /// How long the value of each of these is, bytes. Default 0 to 16.
    pub fn reserved_parameter_size(mut self, bytes: RangeInclusive<u8>) -> Self {
        self.0.reserved_parameter_size = bytes;
        self
    }

    /// Into how many pieces the ClientHello is cut, each of which goes into a CRYPTO frame of its own. Default 2 to 4, at
    /// least 1 and at most 32. There are more where datagrams end.
    pub fn pieces(mut self, count: RangeInclusive<u8>) -> Self {
        self.0.pieces = count;
        self
    }

    /// Whether the first cut goes through the name of the server, if there is one. Default yes.
    pub fn split_server_name(mut self, split: bool) -> Self {
        self.0.split_server_name = split;
        self
    }

    /// The order of the pieces, through all datagrams. Default random.
    pub fn piece_order(mut self, order: PieceOrder) -> Self {
        self.0.piece_order = order;
        self
    }

    /// How many PING frames stand among the frames of each datagram. Default 0 or 1, at most 8.
    pub fn pings(mut self, count: RangeInclusive<u8>) -> Self {
        self.0.pings = count;
        self
    }

    /// Where the padding is that makes datagrams as long as they have to be (RFC 9000 §14.1). Default scattered.
    ///
    /// A datagram that carries early data as well is filled up behind them.
    pub fn padding(mut self, place: PaddingPlace) -> Self {
        self.0.padding = place;
        self
    }

    /// How many datagrams the ClientHello takes at least. Default 1, at most 8; it takes more if it is large.
    pub fn datagrams(mut self, count: u8) -> Self {
        self.0.datagrams = count;
        self
    }

    /// The length of each of them, bytes of UDP payload. Default 1200, which is also the least.
    ///
    /// With more the server may answer with more before it knows our address (RFC 9000 §8.1). Where the path does not carry
    /// them the handshake takes a timeout longer: what is sent again is 1200 bytes long.
    pub fn datagram_size(mut self, bytes: u16) -> Self {
        self.0.datagram_size = bytes;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn build(self) -> Result<FirstFlight, ConfigError> {
        let c = &self.0;
        let most = |range: &RangeInclusive<u8>, most: u8| *range.end() <= most;
        check(!c.reserved_parameters.is_empty(), "reserved_parameters", "is an empty range")?;
        check(most(&c.reserved_parameters, 16), "reserved_parameters", "are more than 16")?;
        check(!c.reserved_parameter_size.is_empty(), "reserved_parameter_size", "is an empty range")?;
        check(!c.pieces.is_empty(), "pieces", "is an empty range")?;
        check(*c.pieces.start() > 0, "pieces", "may be 0")?;
        check(most(&c.pieces, 32), "pieces", "are more than 32")?;
        check(!c.pings.is_empty(), "pings", "is an empty range")?;
        check(most(&c.pings, 8), "pings", "are more than 8")?;
        check((1..=8).contains(&c.datagrams), "datagrams", "are not 1 to 8")?;
        check(usize::from(c.datagram_size) >= MIN_DATAGRAM_SIZE, "datagram_size", "is below 1200")?;
        // Their Length fields have two bytes.
        check(c.datagram_size <= 16_000, "datagram_size", "is above 16000")?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_checks() {
        assert_eq!(FirstFlight::builder().build().unwrap(), FirstFlight::default());
        FirstFlightBuilder(FirstFlight::plain()).build().unwrap();
    }

    #[test]
    fn what_cannot_work_is_named() {
        let setting = |builder: FirstFlightBuilder| builder.build().unwrap_err().setting;
        let new = FirstFlight::builder;
        assert_eq!(setting(new().pieces(0..=2)), "pieces");
        assert_eq!(setting(new().pieces(1..=33)), "pieces");
        #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
        let empty = 2..=1;
        assert_eq!(setting(new().pings(empty)), "pings");
        assert_eq!(setting(new().datagrams(0)), "datagrams");
        assert_eq!(setting(new().datagram_size(1199)), "datagram_size");
        assert_eq!(setting(new().reserved_parameters(0..=17)), "reserved_parameters");
    }
}
