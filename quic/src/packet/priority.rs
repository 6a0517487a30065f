//! Which streams send first.

/// The priority of a stream among those of its connection.
///
/// Streams of a higher level send before all of a lower one. Within a level the *incremental* ones take turns of some
/// kilobytes each, so that equals get equal shares. The others go one after another, in the order of their numbers: each
/// begins when those before it have nothing to send, which brings the first of them to its end sooner without making the
/// last one later. Where a level has both kinds, those that go one after another take turns with the rest as if they were
/// one stream, so that neither kind starves.
///
/// It is about the order in which data leaves; nothing of it is told to the peer.
///
/// ```
/// use gannet::Priority;
///
/// assert_eq!(Priority::default(), Priority::integer(0));
/// assert_eq!(Priority::from(7), Priority::integer(7));
/// let image = Priority::urgency(5, true);
/// assert!(image.level() < Priority::urgency(1, false).level());
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub struct Priority {
    level: i32,
    incremental: bool,
}

impl Priority {
    /// The urgency that HTTP assumes where none is named (RFC 9218 §4.1).
    pub const DEFAULT_URGENCY: u8 = 3;

    /// A plain number: streams of higher numbers send first, those of the same in turns. 0 is the default.
    #[must_use]
    pub const fn integer(level: i32) -> Self {
        Self { level, incremental: true }
    }

    /// In the terms of HTTP (RFC 9218 §4): urgency 0 to 7, where a *lower* value sends first, and whether the receiver
    /// can make use of parts, so that streams of the same urgency share. Values above 7 count as 7.
    ///
    /// Urgency 3, the default of HTTP, is level 0; so 0 is level 3, and 7 is level -4.
    #[must_use]
    pub const fn urgency(urgency: u8, incremental: bool) -> Self {
        let urgency = if urgency > 7 { 7 } else { urgency };
        Self { level: Self::DEFAULT_URGENCY as i32 - urgency as i32, incremental }
    }

    /// Streams of a higher level send first.
    #[must_use]
    pub const fn level(self) -> i32 {
        self.level
    }

    /// Whether the stream takes turns with others of its level, rather than send all it has when its turn has come.
    #[must_use]
    pub const fn is_incremental(self) -> bool {
        self.incremental
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::integer(0)
    }
}

impl From<i32> for Priority {
    fn from(level: i32) -> Self {
        Self::integer(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_descends_and_the_default_of_http_is_in_the_middle() {
        let levels: Vec<_> = (0..=9).map(|urgency| Priority::urgency(urgency, false).level()).collect();
        assert_eq!(levels, [3, 2, 1, 0, -1, -2, -3, -4, -4, -4]);
        assert!(!Priority::urgency(3, false).is_incremental() && Priority::urgency(3, true).is_incremental());
        assert_eq!(Priority::urgency(Priority::DEFAULT_URGENCY, true), Priority::default());
    }
}
