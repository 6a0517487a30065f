//! The congestion controller by name.

use anyhow::Result;
use clap::ValueEnum;
use gannet::config::{CongestionControl, TransportConfig};

/// Which congestion controller a program's connections use.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq, ValueEnum)]
pub enum Cc {
    /// NewReno, as RFC 9002 describes it.
    Reno,
    /// CUBIC with HyStart++.
    #[default]
    Cubic,
    /// BBR version 3.
    Bbr,
}

impl Cc {
    /// The transport's default settings with this controller.
    ///
    /// # Errors
    /// None of these settings has one.
    pub fn transport(self) -> Result<TransportConfig> {
        let control = match self {
            Self::Reno => CongestionControl::NewReno,
            Self::Cubic => CongestionControl::Cubic,
            Self::Bbr => CongestionControl::Bbr,
        };
        Ok(TransportConfig::builder().congestion_control(control).build()?)
    }
}
