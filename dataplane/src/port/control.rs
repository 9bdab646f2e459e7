//! The control messages that come with a datagram (cmsg(3)): when it arrived, and where its
//! segments end if the kernel has joined several.

/// Room for the control messages of one receive, as the kernel writes them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct ControlBuffer([u8; CONTROL_BYTES]);

/// What the control messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// When the kernel took it from the device: nanoseconds of `CLOCK_REALTIME`.
    pub(super) arrived: Option<u64>,
    /// Bytes of each datagram but the last, if several were joined.
    pub(super) segment: usize,
}

impl ControlBuffer {
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);
    /// Bytes that the kernel may write.
    pub(super) const LEN: usize = CONTROL_BYTES;

    /// The first `length` bytes, as far as there are so many.
    pub(super) fn filled(&self, length: usize) -> &[u8] {
        self.0.get(..length).unwrap_or(&self.0)
    }
}

impl Control {
    /// Reads what the kernel has written.
    pub(super) fn parse(mut bytes: &[u8]) -> Self {
        let mut control = Self {
            arrived: None,
            segment: usize::MAX,
        };
        while let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() {
            let Some((length, level, kind)) = split(header) else {
                return control;
            };
            let Some(data) = bytes.get(HEADER_BYTES..length) else {
                return control;
            };
            match (level, kind) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => control.arrived = nanos(data),
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    control.segment = segment(data).unwrap_or(usize::MAX);
                }
                _ => {}
            }
            bytes = bytes.get(length.next_multiple_of(8)..).unwrap_or_default();
        }
        control
    }
}

/// The length, the level and the type of a control message.
fn split(header: &[u8; HEADER_BYTES]) -> Option<(usize, i32, i32)> {
    let (length, rest) = header.split_first_chunk()?;
    let (level, kind) = rest.split_first_chunk()?;
    Some((
        usize::from_ne_bytes(*length),
        i32::from_ne_bytes(*level),
        i32::from_ne_bytes(*kind.first_chunk()?),
    ))
}

/// A `timespec` as nanoseconds.
fn nanos(data: &[u8]) -> Option<u64> {
    let (seconds, rest) = data.split_first_chunk()?;
    let seconds = u64::try_from(i64::from_ne_bytes(*seconds)).ok()?;
    let nanos = u64::try_from(i64::from_ne_bytes(*rest.first_chunk()?)).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// A size as the kernel writes it: an int. Zero would never end.
fn segment(data: &[u8]) -> Option<usize> {
    let size = i32::from_ne_bytes(*data.first_chunk()?);
    usize::try_from(size).ok().filter(|size| *size > 0)
}

/// Bytes before the data of a control message.
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
/// A timestamp takes 32, a segment size 24.
const CONTROL_BYTES: usize = 64;

const _: () = assert!(HEADER_BYTES == 16, "a Linux of 64 bits");

#[cfg(test)]
mod tests {
    use super::*;

    /// A control message as cmsg(3) lays it out.
    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_BYTES + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn stamp(seconds: i64, nanos: i64) -> Vec<u8> {
        let data = [seconds.to_ne_bytes(), nanos.to_ne_bytes()].concat();
        message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &data)
    }

    fn segment(size: i32) -> Vec<u8> {
        message(libc::SOL_UDP, libc::UDP_GRO, &size.to_ne_bytes())
    }

    #[test]
    fn a_stamp_and_a_segment_size_are_found_in_any_order_and_beside_others() {
        let other = message(libc::SOL_IP, libc::IP_TTL, &64_i32.to_ne_bytes());
        let expected = Control {
            arrived: Some(7_000_000_009),
            segment: 1200,
        };
        for parts in [
            [stamp(7, 9), segment(1200)],
            [segment(1200), [other, stamp(7, 9)].concat()],
        ] {
            assert_eq!(Control::parse(&parts.concat()), expected);
        }
    }

    #[test]
    fn without_control_messages_there_is_one_datagram_without_a_stamp() {
        let nothing = Control {
            arrived: None,
            segment: usize::MAX,
        };
        assert_eq!(Control::parse(&[]), nothing);
        assert_eq!(Control::parse(&segment(0)), nothing);
        assert_eq!(Control::parse(&stamp(-1, 0)), nothing);
    }

    #[test]
    fn what_was_cut_short_ends_the_search() {
        let parts = [segment(1200), stamp(7, 9)].concat();
        for length in 0..parts.len() {
            let control = Control::parse(&parts[..length]);
            assert_eq!(control.arrived, None);
            assert_eq!(control.segment != usize::MAX, length >= 20);
        }
    }
}
