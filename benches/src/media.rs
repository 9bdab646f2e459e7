//! What publishers send: payloads that say themselves what every one of their bytes must be.
//!
//! An audio payload is a *body*. A video payload is a VP8 payload descriptor (RFC 7741 §4.2), which
//! the server may rewrite, ten bytes that look like the beginning of a VP8 frame, and a body. A body
//! begins with its [`Stamp`]; the rest is a pseudo-random function of the stamp.

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Opus, 50 packets a second of 120 bytes.
    Audio,
    /// VP8, 30 frames a second of 9 packets of 1200 bytes, key frames of 27.
    Video,
}

impl Kind {
    /// Ticks of the RTP timestamp between packets (audio) or frames (video).
    pub const fn timestamp_step(self) -> u32 {
        match self {
            Self::Audio => 960,
            Self::Video => 3_000,
        }
    }

    /// Ticks of the RTP timestamp in a second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }

    /// As it is called in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// Where a video packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first packet of a key frame; subscribers can begin here.
    KeyFrameStart,
    /// The first packet of another frame.
    DeltaFrameStart,
    /// A later packet of a frame. Audio packets are all of this part.
    Rest,
}

/// What a packet was when the publisher made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Audio or video.
    pub kind: Kind,
    /// Which publisher.
    pub publisher: u8,
    /// Where in a frame.
    pub part: Part,
    /// Counts the packets of this track from 0. The sequence number plus a constant.
    pub number: u32,
    /// The RTP timestamp, less the track's first one.
    pub timestamp: u32,
    /// Microseconds since the beginning of the run, of the same process.
    pub sent_us: u64,
}

/// Bytes of an audio payload.
pub const AUDIO_BYTES: usize = 120;

/// Bytes of a video payload.
pub const VIDEO_BYTES: usize = 1200;

/// Packets of a frame that is no key frame.
pub const DELTA_FRAME_PACKETS: u32 = 9;

/// Packets of a key frame.
pub const KEY_FRAME_PACKETS: u32 = 27;

/// The numbers of a VP8 picture, counted by the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// 15 bits.
    pub id: u16,
    /// `TL0PICIDX`.
    pub tl0_index: u8,
    /// `KEYIDX`, 5 bits.
    pub key_index: u8,
}

/// The payload of an audio packet.
pub fn audio_payload(stamp: &Stamp) -> Vec<u8> {
    body(stamp, AUDIO_BYTES)
}

/// The payload of a video packet.
pub fn video_payload(stamp: &Stamp, picture: Picture) -> Vec<u8> {
    let mut payload = Vec::with_capacity(VIDEO_BYTES);
    payload.extend(descriptor(stamp.part, picture));
    payload.extend(frame_head(stamp.part));
    payload.extend(body(stamp, VIDEO_BYTES - payload.len()));
    payload
}

/// Why a payload is not what a publisher sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

/// Checks every bit of a received payload, the VP8 payload descriptor left out.
///
/// # Errors
///
/// [`Mismatch`] if a bit is not as it was sent, or bytes are missing or added.
pub fn check(kind: Kind, payload: &[u8]) -> Result<Stamp, Mismatch> {
    let (part, content) = match kind {
        Kind::Audio => (Part::Rest, payload),
        Kind::Video => {
            let (starts_frame, frame) = split_descriptor(payload).ok_or(Mismatch)?;
            let (head, content) = frame.split_first_chunk::<HEAD_BYTES>().ok_or(Mismatch)?;
            let part = match (starts_frame, head) {
                (true, head) if *head == frame_head(Part::KeyFrameStart) => Part::KeyFrameStart,
                (true, head) if *head == frame_head(Part::DeltaFrameStart) => Part::DeltaFrameStart,
                (false, head) if *head == frame_head(Part::Rest) => Part::Rest,
                _ => return Err(Mismatch),
            };
            (part, content)
        }
    };
    let stamp = read_stamp(content).ok_or(Mismatch)?;
    if stamp.kind != kind || stamp.part != part || content != body(&stamp, content.len()) {
        return Err(Mismatch);
    }
    Ok(stamp)
}

/// The stamp, then the filler; `length` bytes in all.
fn body(stamp: &Stamp, length: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(length + 8);
    body.extend(MAGIC);
    body.push(match stamp.kind {
        Kind::Audio => b'a',
        Kind::Video => b'v',
    });
    body.push(stamp.publisher);
    body.push(match stamp.part {
        Part::KeyFrameStart => b'K',
        Part::DeltaFrameStart => b'D',
        Part::Rest => b'R',
    });
    body.push(0);
    body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    body.extend(stamp.number.to_be_bytes());
    body.extend(stamp.timestamp.to_be_bytes());
    body.extend(stamp.sent_us.to_be_bytes());
    let mut state = (u64::from(stamp.number) << 32 | u64::from(stamp.timestamp))
        ^ stamp.sent_us.rotate_left(17)
        ^ u64::from(stamp.publisher);
    while body.len() < length {
        // splitmix64: cheap, and no two packets look alike.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        body.extend((word ^ (word >> 31)).to_be_bytes());
    }
    body.truncate(length);
    body
}

fn read_stamp(body: &[u8]) -> Option<Stamp> {
    let (magic, rest) = body.split_first_chunk::<4>()?;
    let (flags, rest) = rest.split_first_chunk::<4>()?;
    let (_length, rest) = rest.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (timestamp, rest) = rest.split_first_chunk::<4>()?;
    let (sent_us, _) = rest.split_first_chunk::<8>()?;
    let [kind, publisher, part, _] = *flags;
    Some(Stamp {
        kind: match kind {
            b'a' => Kind::Audio,
            b'v' => Kind::Video,
            _ => return None,
        },
        publisher,
        part: match part {
            b'K' => Part::KeyFrameStart,
            b'D' => Part::DeltaFrameStart,
            b'R' => Part::Rest,
            _ => return None,
        },
        number: u32::from_be_bytes(*number),
        timestamp: u32::from_be_bytes(*timestamp),
        sent_us: u64::from_be_bytes(*sent_us),
    })
    .filter(|_| *magic == MAGIC)
}

/// RFC 7741 §4.2 with everything that a browser sends: X; I with 15 bits, L, T and K; S where a
/// frame begins; one temporal layer.
fn descriptor(part: Part, picture: Picture) -> [u8; 6] {
    let start = match part {
        Part::KeyFrameStart | Part::DeltaFrameStart => 0x10,
        Part::Rest => 0,
    };
    let [high, low] = picture.id.to_be_bytes();
    [
        0x80 | start,
        0xf0,
        0x80 | high,
        low,
        picture.tl0_index,
        picture.key_index & 0x1f,
    ]
}

/// Cuts the descriptor off, whatever its form; and whether a frame begins here (S, partition 0).
fn split_descriptor(payload: &[u8]) -> Option<(bool, &[u8])> {
    let (first, mut rest) = payload.split_first()?;
    let starts_frame = first & 0x17 == 0x10;
    if first & 0x80 != 0 {
        let (extension, after) = rest.split_first()?;
        rest = after;
        if extension & 0x80 != 0 {
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(if long { 2 } else { 1 }..)?;
        }
        if extension & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if extension & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    Some((starts_frame, rest))
}

/// RFC 6386 §9.1: frame tag (bit 0 clear in a key frame), and in key frames start code and size.
const fn frame_head(part: Part) -> [u8; HEAD_BYTES] {
    match part {
        Part::KeyFrameStart => [0x10, 0x02, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02],
        Part::DeltaFrameStart => [0x11, 0x02, 0, 1, 2, 3, 4, 5, 6, 7],
        Part::Rest => [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    }
}

const MAGIC: [u8; 4] = *b"JFLD";
const HEAD_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Picture = Picture {
        id: 0x7abc,
        tl0_index: 9,
        key_index: 3,
    };

    fn stamp(kind: Kind, part: Part) -> Stamp {
        Stamp {
            kind,
            publisher: 2,
            part,
            number: 77,
            timestamp: 9_000,
            sent_us: 123_456,
        }
    }

    #[test]
    fn a_payload_tells_its_stamp() {
        let audio = stamp(Kind::Audio, Part::Rest);
        let payload = audio_payload(&audio);
        assert_eq!(payload.len(), AUDIO_BYTES);
        assert_eq!(check(Kind::Audio, &payload), Ok(audio));
        for part in [Part::KeyFrameStart, Part::DeltaFrameStart, Part::Rest] {
            let video = stamp(Kind::Video, part);
            let payload = video_payload(&video, PICTURE);
            assert_eq!(payload.len(), VIDEO_BYTES);
            assert_eq!(check(Kind::Video, &payload), Ok(video));
        }
    }

    #[test]
    fn a_change_of_any_bit_behind_the_descriptor_is_a_mismatch() {
        let payload = video_payload(&stamp(Kind::Video, Part::KeyFrameStart), PICTURE);
        for bit in 6 * 8..payload.len() * 8 {
            let mut changed = payload.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(Kind::Video, &changed), Err(Mismatch), "bit {bit}");
        }
    }

    #[test]
    fn missing_and_added_bytes_are_a_mismatch() {
        let payload = audio_payload(&stamp(Kind::Audio, Part::Rest));
        for length in 0..payload.len() {
            assert_eq!(
                check(Kind::Audio, &payload[..length]),
                Err(Mismatch),
                "{length}"
            );
        }
        assert_eq!(
            check(Kind::Audio, &[payload, vec![0]].concat()),
            Err(Mismatch)
        );
    }

    #[test]
    fn other_picture_numbers_are_no_mismatch() {
        let video = stamp(Kind::Video, Part::DeltaFrameStart);
        let mut payload = video_payload(&video, PICTURE);
        payload[2..6].copy_from_slice(&[0x80, 1, 0, 0x1f]);
        assert_eq!(check(Kind::Video, &payload), Ok(video));
        // Without TL0PICIDX and KEYIDX, and with a picture id of 7 bits.
        let short = [&[0x90, 0x80, 0x05], &payload[6..]].concat();
        assert_eq!(check(Kind::Video, &short), Ok(video));
    }

    #[test]
    fn a_packet_of_the_other_kind_is_a_mismatch() {
        let audio = audio_payload(&stamp(Kind::Audio, Part::Rest));
        assert_eq!(check(Kind::Video, &audio), Err(Mismatch));
    }
}
