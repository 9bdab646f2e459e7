//! What the values of settings mean. Each parser says in its error what it would have taken.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// `media-ip`: one local address and what clients are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaIp {
    /// What the sockets are bound to.
    pub bind: IpAddr,
    /// What clients are told; another one behind a 1:1 NAT.
    pub public: IpAddr,
}

impl MediaIp {
    /// An address that clients reach directly.
    pub fn direct(address: IpAddr) -> Self {
        Self {
            bind: address,
            public: address,
        }
    }
}

impl fmt::Display for MediaIp {
    /// As it is written in the settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bind == self.public {
            write!(f, "{}", self.bind)
        } else {
            write!(f, "{}={}", self.public, self.bind)
        }
    }
}

/// `cores`: which cores get a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// All allowed ones but one, which is left to the control plane; at least one.
    #[default]
    AllButOne,
    /// All allowed ones.
    All,
    /// This many.
    Count(usize),
    /// Exactly these, by their numbers in the kernel.
    List(Vec<usize>),
}

impl fmt::Display for Cores {
    /// As it is written in the settings; the default has no such form and shows as `auto`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllButOne => f.write_str("auto"),
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
            Self::List(cores) => {
                // The comma makes a list of a single number.
                cores.iter().try_for_each(|core| write!(f, "{core},"))
            }
        }
    }
}

/// `dtls`: who does the handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtls {
    /// The crate `dimpl`.
    #[default]
    Dimpl,
    /// The crate `dtls` of webrtc-rs.
    Webrtc,
}

impl fmt::Display for Dtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dimpl => "dimpl",
            Self::Webrtc => "webrtc",
        })
    }
}

/// `io`: how datagrams are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// Whatever is best on this machine.
    #[default]
    Auto,
    /// `io_uring`.
    Uring,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Mmsg => "mmsg",
        })
    }
}

/// `app`: an app that must exist, and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct AppCredentials {
    /// Letters, digits, `-` and `_`.
    pub id: String,
    /// What clients send as bearer token.
    pub secret: String,
}

impl fmt::Debug for AppCredentials {
    /// Leaves the secret out, so that no log can hold it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppCredentials")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address and port is wanted, such as 127.0.0.1:8787 or [::]:8787".to_owned()
    })
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a port from 1 to 65535 is wanted".to_owned()),
    }
}

pub(super) fn media_ip(text: &str) -> Result<MediaIp, String> {
    let (public, bind) = match text.split_once('=') {
        Some((public, bind)) => (ip(public)?, ip(bind)?),
        None => (ip(text)?, ip(text)?),
    };
    if public.is_ipv4() != bind.is_ipv4() {
        return Err("both addresses must be IPv4, or both IPv6".to_owned());
    }
    Ok(MediaIp { bind, public })
}

fn ip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.trim().parse().map_err(|_| {
        "an IP address is wanted, or PUBLIC=PRIVATE behind a 1:1 NAT; names are not looked up"
            .to_owned()
    })?;
    if address.is_unspecified() {
        return Err("one address of this machine is wanted, not all of them".to_owned());
    }
    Ok(address)
}

pub(super) fn cores(text: &str) -> Result<Cores, String> {
    let wanted = || "`auto`, `all`, a number above 0 or a list such as 0,2-5 is wanted".to_owned();
    match text {
        "auto" => return Ok(Cores::AllButOne),
        "all" => return Ok(Cores::All),
        _ => {}
    }
    if let Ok(count) = text.parse() {
        return if count > 0 {
            Ok(Cores::Count(count))
        } else {
            Err(wanted())
        };
    }
    let mut list = Vec::new();
    for part in text.strip_suffix(',').unwrap_or(text).split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wanted());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > CORE_MAX {
            return Err(wanted());
        }
        list.extend(first..=last);
    }
    let mut unique = list.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != list.len() {
        return Err("a core is named twice".to_owned());
    }
    Ok(Cores::List(list))
}

pub(super) fn dtls(text: &str) -> Result<Dtls, String> {
    match text {
        "dimpl" => Ok(Dtls::Dimpl),
        "webrtc" => Ok(Dtls::Webrtc),
        _ => Err("`dimpl` or `webrtc` is wanted".to_owned()),
    }
}

pub(super) fn io(text: &str) -> Result<Io, String> {
    match text {
        "auto" => Ok(Io::Auto),
        "uring" => Ok(Io::Uring),
        "mmsg" => Ok(Io::Mmsg),
        _ => Err("`auto`, `uring` or `mmsg` is wanted".to_owned()),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("`on` or `off` is wanted".to_owned()),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("a path is wanted".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::from_str(text)
        .map(|_| text.to_owned())
        .map_err(|error| {
            format!("a filter such as `info` or `controlplane=debug,info` is wanted ({error})")
        })
}

/// `30s`, `5m`, `2h`, `250ms`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis_per_unit = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis_per_unit))
    {
        Some(millis) if (1..=DURATION_MILLIS_MAX).contains(&millis) => {
            Ok(Duration::from_millis(millis))
        }
        _ => Err(
            "a time above 0 and up to a week is wanted, such as 30s, 5m, 2h or 250ms".to_owned(),
        ),
    }
}

pub(super) fn app(text: &str) -> Result<AppCredentials, String> {
    let Some((id, secret)) = text.split_once(':') else {
        return Err("ID:SECRET is wanted".to_owned());
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.is_empty() || id.len() > APP_ID_BYTES_MAX || !id.bytes().all(plain) {
        return Err("an app id is 1 to 64 letters, digits, `-` and `_`".to_owned());
    }
    Ok(AppCredentials {
        id: id.to_owned(),
        secret: token(secret)?,
    })
}

pub(super) fn token(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > TOKEN_BYTES_MAX || !printable {
        return Err("1 to 256 printable ASCII characters without spaces are wanted".to_owned());
    }
    Ok(text.to_owned())
}

const CORE_MAX: usize = 4095;
const DURATION_MILLIS_MAX: u64 = 7 * 24 * 3_600_000;
const APP_ID_BYTES_MAX: usize = 64;
const TOKEN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_all_a_number_or_a_list() {
        assert_eq!(cores("all"), Ok(Cores::All));
        assert_eq!(cores("3"), Ok(Cores::Count(3)));
        assert_eq!(cores("0,2-4"), Ok(Cores::List(vec![0, 2, 3, 4])));
        assert_eq!(cores("3,"), Ok(Cores::List(vec![3])));
    }

    #[test]
    fn what_cores_display_can_be_read_again() {
        for value in [
            Cores::AllButOne,
            Cores::All,
            Cores::Count(2),
            Cores::List(vec![7]),
        ] {
            assert_eq!(cores(&value.to_string()), Ok(value));
        }
    }

    #[test]
    fn what_io_displays_can_be_read_again() {
        for value in [Io::Auto, Io::Uring, Io::Mmsg] {
            assert_eq!(io(&value.to_string()), Ok(value));
        }
    }

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("99999999999999999999h").is_err());
    }

    #[test]
    fn what_a_media_ip_displays_can_be_read_again() {
        for text in ["127.0.0.1", "203.0.113.1=10.0.0.1", "2001:db8::1"] {
            assert_eq!(media_ip(text).unwrap().to_string(), text);
        }
    }
}
