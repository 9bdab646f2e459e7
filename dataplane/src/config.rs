//! What the data plane is told at its start. Files, flags and environment are read by the control
//! plane's package; here is only the plain, validated result.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one data plane process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataplaneConfig {
    /// Where the unix socket stands that the control plane attaches to.
    pub control_socket: PathBuf,
    /// Which cores get a shard.
    pub cores: CoreChoice,
    /// Local addresses that media is received on, each with the address that clients are told; at
    /// least one, at most [`MEDIA_ADDRESSES_MAX`]. The order is the order of the candidates.
    pub media_addresses: Vec<MediaAddress>,
    /// UDP port of shard 0; shard `n` has `first_media_port + n`.
    pub first_media_port: u16,
    /// How datagrams are moved.
    pub io: IoBackend,
    /// Whether datagrams of one destination leave as one message (`UDP_SEGMENT`), where the system
    /// can do that.
    pub gso: bool,
    /// Whether shards look for packets all the time instead of sleeping.
    pub spin: bool,
    /// Who does the DTLS handshakes.
    pub dtls: DtlsEngine,
    /// How long the data plane lives without a control plane.
    pub orphan_timeout: Duration,
    /// How long a session may take to connect for the first time.
    pub unconnected_timeout: Duration,
    /// How long a session that was connected may be lost.
    pub lost_timeout: Duration,
}

impl DataplaneConfig {
    /// The defaults around the settings that have none.
    pub fn new(control_socket: PathBuf, media_addresses: Vec<MediaAddress>) -> Self {
        Self {
            control_socket,
            cores: CoreChoice::default(),
            media_addresses,
            first_media_port: FIRST_MEDIA_PORT,
            io: IoBackend::default(),
            gso: true,
            spin: false,
            dtls: DtlsEngine::default(),
            orphan_timeout: ORPHAN_TIMEOUT,
            unconnected_timeout: UNCONNECTED_TIMEOUT,
            lost_timeout: LOST_TIMEOUT,
        }
    }

    /// Checks what can be checked without asking the machine.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.media_addresses.is_empty() {
            return Err(ConfigError::NoMediaAddress);
        }
        if self.media_addresses.len() > MEDIA_ADDRESSES_MAX {
            return Err(ConfigError::TooManyMediaAddresses {
                count: self.media_addresses.len(),
            });
        }
        let mut seen = BTreeSet::new();
        for address in &self.media_addresses {
            if address.bind.is_unspecified() || address.public.is_unspecified() {
                return Err(ConfigError::UnspecifiedAddress);
            }
            if address.bind.is_ipv4() != address.public.is_ipv4() {
                return Err(ConfigError::MixedFamilies {
                    bind: address.bind,
                    public: address.public,
                });
            }
            if !seen.insert(address.bind) {
                return Err(ConfigError::AddressTwice {
                    address: address.bind,
                });
            }
        }
        if self.first_media_port == 0 {
            return Err(ConfigError::PortZero);
        }
        Ok(())
    }

    /// The port of one shard.
    ///
    /// # Errors
    /// There is no such port.
    pub fn media_port(&self, shard: u16) -> Result<u16, ConfigError> {
        self.first_media_port
            .checked_add(shard)
            .ok_or(ConfigError::PortsRunOut {
                first: self.first_media_port,
            })
    }
}

/// One local address for media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MediaAddress {
    /// What the socket is bound to.
    pub bind: IpAddr,
    /// What clients are told; another one behind a 1:1 NAT.
    pub public: IpAddr,
}

impl MediaAddress {
    /// An address that clients reach directly.
    pub fn direct(address: IpAddr) -> Self {
        Self {
            bind: address,
            public: address,
        }
    }
}

/// Which cores get a shard, out of those that this process may use at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CoreChoice {
    /// All but one, which is left to the control plane and the handshakes; at least one.
    #[default]
    AllButOne,
    /// All.
    All,
    /// This many; at least one.
    Count(usize),
    /// Exactly these, by their numbers in the kernel; no two the same.
    List(Vec<usize>),
}

/// How datagrams are moved between sockets and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoBackend {
    /// Whichever takes clearly less CPU time in a short trial at the start.
    #[default]
    Auto,
    /// A second `io_uring` of each core.
    Uring,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
}

/// Which engine does DTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DtlsEngine {
    /// The crate `dimpl`, in its DTLS 1.2 mode.
    #[default]
    Dimpl,
    /// The crate `dtls` of webrtc-rs.
    Webrtc,
}

/// A setting that cannot work, as a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum ConfigError {
    #[error("at least one media address (media-ip) is needed")]
    NoMediaAddress,
    #[error("{count} media addresses are given; at most {MEDIA_ADDRESSES_MAX} can be used")]
    TooManyMediaAddresses { count: usize },
    #[error("a media address must be one address of this machine, not 0.0.0.0 or ::")]
    UnspecifiedAddress,
    #[error("the media address {public}={bind} joins an IPv4 with an IPv6 address")]
    MixedFamilies { bind: IpAddr, public: IpAddr },
    #[error("the media address {address} is given twice")]
    AddressTwice { address: IpAddr },
    #[error("the first media port (media-port) must not be 0")]
    PortZero,
    #[error("the media ports from {first} up do not suffice for the shards")]
    PortsRunOut { first: u16 },
    #[error("this process may use no core, or none was listed (cores)")]
    NoCores,
    #[error("core {core} (cores) is not among those that this process may use: {allowed}")]
    CoreNotAllowed { core: usize, allowed: String },
    #[error("core {core} (cores) is listed twice")]
    CoreTwice { core: usize },
    #[error("{wanted} cores (cores) cannot be had; this process may use 1 to {allowed}")]
    CoreCount { wanted: usize, allowed: usize },
    #[error("{reason}; `io = \"mmsg\"` or `io = \"auto\"` does without it")]
    NoUring { reason: String },
    #[error("{count} shards are more than a data plane can have; list the cores (cores)")]
    TooManyShards { count: usize },
}

/// Media addresses of one data plane: each shard has a socket on each of them.
pub const MEDIA_ADDRESSES_MAX: usize = 16;
/// Default of [`DataplaneConfig::first_media_port`].
pub const FIRST_MEDIA_PORT: u16 = 40_000;
/// Default of [`DataplaneConfig::orphan_timeout`].
pub const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);
/// Default of [`DataplaneConfig::unconnected_timeout`].
pub const UNCONNECTED_TIMEOUT: Duration = Duration::from_secs(120);
/// Default of [`DataplaneConfig::lost_timeout`].
pub const LOST_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[(&str, &str)]) -> DataplaneConfig {
        let addresses = addresses
            .iter()
            .map(|(bind, public)| MediaAddress {
                bind: bind.parse().unwrap(),
                public: public.parse().unwrap(),
            })
            .collect();
        DataplaneConfig::new(PathBuf::from("/run/test.sock"), addresses)
    }

    #[test]
    fn a_config_without_media_address_is_refused() {
        assert_eq!(config(&[]).validate(), Err(ConfigError::NoMediaAddress));
    }

    #[test]
    fn an_unspecified_media_address_is_refused() {
        let refused = config(&[("0.0.0.0", "192.0.2.1")]).validate();
        assert_eq!(refused, Err(ConfigError::UnspecifiedAddress));
    }

    #[test]
    fn a_public_address_of_the_other_family_is_refused() {
        let refused = config(&[("127.0.0.1", "2001:db8::1")]).validate();
        assert!(matches!(refused, Err(ConfigError::MixedFamilies { .. })));
    }

    #[test]
    fn an_address_bound_twice_is_refused() {
        let refused = config(&[("127.0.0.1", "192.0.2.1"), ("127.0.0.1", "192.0.2.2")]).validate();
        assert_eq!(
            refused,
            Err(ConfigError::AddressTwice {
                address: "127.0.0.1".parse().unwrap()
            })
        );
    }

    #[test]
    fn a_shard_beyond_the_last_port_is_refused() {
        let config = DataplaneConfig {
            first_media_port: 65_534,
            ..config(&[("127.0.0.1", "127.0.0.1")])
        };
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.media_port(1), Ok(65_535));
        assert_eq!(
            config.media_port(2),
            Err(ConfigError::PortsRunOut { first: 65_534 })
        );
    }
}
