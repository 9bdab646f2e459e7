//! Socket addresses between Rust and the kernel.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for one IPv4 or IPv6 socket address as the kernel reads and writes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    bytes: [u8; 28],
}

impl RawAddress {
    /// No address.
    pub(super) const EMPTY: Self = Self {
        v6: libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    /// Bytes of the whole union: what the kernel may write.
    pub(super) const LEN: libc::socklen_t = {
        assert!(size_of::<Self>() == 28, "sockaddr_in6 is the largest part");
        28
    };

    /// An address that the kernel wrote elsewhere.
    pub(super) fn from_bytes(bytes: &[u8; 28]) -> Self {
        Self { bytes: *bytes }
    }

    /// Sets the address; gives the bytes that the kernel is to read.
    pub(super) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(address) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: FAMILY_V4,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                16
            }
            SocketAddr::V6(address) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: FAMILY_V6,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
                Self::LEN
            }
        }
    }

    /// The address that the kernel wrote; IPv4 mapped into IPv6 comes out as IPv4. None if it is
    /// of another family.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        // SAFETY: every part of the union is plain integers, for which all bit patterns are valid,
        // and all of it is initialised: it starts as EMPTY, which fills the largest part.
        let family = unsafe { self.family };
        match family {
            FAMILY_V4 => {
                // SAFETY: as above.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            FAMILY_V6 => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let (ip, port) = (
                    Ipv6Addr::from(v6.sin6_addr.s6_addr),
                    u16::from_be(v6.sin6_port),
                );
                Some(match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddrV4::new(ip, port).into(),
                    None => SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into(),
                })
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

const FAMILY_V4: libc::sa_family_t = 2;
const FAMILY_V6: libc::sa_family_t = 10;
const _: () = assert!(
    libc::AF_INET == 2 && libc::AF_INET6 == 10,
    "Linux has these numbers"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_went() {
        for text in ["192.0.2.7:4711", "[2001:db8::7]:65535", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut raw = RawAddress::EMPTY;
            raw.set(address);
            assert_eq!(raw.get(), Some(address), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_comes_out_as_ipv4() {
        let mut raw = RawAddress::EMPTY;
        raw.set("[::ffff:192.0.2.7]:4711".parse().unwrap());
        assert_eq!(raw.get(), Some("192.0.2.7:4711".parse().unwrap()));
    }

    #[test]
    fn no_address_is_none() {
        assert_eq!(RawAddress::EMPTY.get(), None);
    }
}
