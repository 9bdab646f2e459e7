//! Publications and packets for the tests of both directions.

use arrayvec::ArrayString;
use shared::id::{SessionId, ShardIndex};
use shared::protocol::{
    Codec, Extension, ExtensionMapping, LayerParameters, MediaKind, PublishParameters,
    PublishedCodec, Rid,
};

use super::packet_info::PacketInfo;
use super::{Accepted, Publication};
use crate::relay::Formats;
use crate::rtp::{OutgoingHeader, RtpHeader};
use crate::time::Timestamp;
use shared::counters::DropReason;

/// The point `millis` milliseconds after the origin.
pub(crate) fn ms(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The rid of this text.
pub(crate) fn rid(text: &str) -> Rid {
    ArrayString::from(text).unwrap()
}

/// The session that publishes.
pub(crate) fn publisher() -> SessionId {
    SessionId::new(1, ShardIndex(0), [7; 12])
}

/// A codec with all its feedback, under payload type 96 for video and 111 for audio; its
/// retransmissions are one above.
pub(crate) fn codec(codec: Codec) -> PublishedCodec {
    let payload_type = match codec.kind() {
        MediaKind::Video => 96,
        MediaKind::Audio => 111,
    };
    PublishedCodec {
        payload_type,
        codec,
        rtx_payload_type: Some(payload_type + 1),
        nack: true,
        pli: true,
        fir: true,
        transport_cc: true,
    }
}

/// Parameters of a track with one layer for each rid, or one without; layer `n` has the SSRC
/// `1000 + n`.
pub(crate) fn parameters(of: Codec, rids: &[&str]) -> PublishParameters {
    let mut layers: Vec<_> = (1000..)
        .zip(rids)
        .map(|(ssrc, text)| LayerParameters {
            rid: Some(rid(text)),
            ssrc: Some(ssrc),
            rtx_ssrc: Some(ssrc + 1000),
        })
        .collect();
    if layers.is_empty() {
        layers.push(LayerParameters {
            rid: None,
            ssrc: Some(1000),
            rtx_ssrc: Some(2000),
        });
    }
    PublishParameters {
        number: 1,
        mid: ArrayString::from("0").unwrap(),
        kind: of.kind(),
        codecs: vec![codec(of)],
        extensions: vec![
            ExtensionMapping {
                id: 4,
                extension: Extension::Mid,
            },
            ExtensionMapping {
                id: 5,
                extension: Extension::AudioLevel,
            },
            ExtensionMapping {
                id: 6,
                extension: Extension::VideoOrientation,
            },
        ],
        layers,
    }
}

/// A track of [`parameters`].
pub(crate) fn publication(of: Codec, rids: &[&str]) -> Publication {
    Publication::new(publisher(), &parameters(of, rids)).unwrap()
}

/// A packet to be written.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) header: OutgoingHeader,
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
    pub(crate) padding: u8,
}

impl Packet {
    /// A packet of the layer with SSRC `ssrc` and payload type 96.
    pub(crate) fn new(ssrc: u32, sequence_number: u16, timestamp: u32, payload: &[u8]) -> Self {
        Self {
            header: OutgoingHeader {
                padded: false,
                marker: false,
                payload_type: 96,
                sequence_number,
                timestamp,
                ssrc,
            },
            extensions: Vec::new(),
            payload: payload.to_vec(),
            padding: 0,
        }
    }

    /// The same under another payload type.
    pub(crate) fn of_type(mut self, payload_type: u8) -> Self {
        self.header.payload_type = payload_type;
        self
    }

    /// With a header extension.
    pub(crate) fn with_extension(mut self, id: u8, data: &[u8]) -> Self {
        self.extensions.push((id, data.to_vec()));
        self
    }

    /// With this many bytes of padding.
    pub(crate) fn padded(mut self, padding: u8) -> Self {
        self.padding = padding;
        self
    }

    /// As it stands in an opened packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        let elements = self
            .extensions
            .iter()
            .map(|(id, data)| (*id, data.as_slice()));
        let length = self.header.write(elements, &mut bytes).unwrap();
        bytes.truncate(length);
        bytes.extend_from_slice(&self.payload);
        if self.padding > 0 {
            bytes[0] |= 0x20;
            bytes.extend(vec![0; usize::from(self.padding) - 1]);
            bytes.push(self.padding);
        }
        bytes
    }

    /// As a retransmission (RFC 4588 §4) of it.
    pub(crate) fn retransmission(&self, ssrc: u32, sequence_number: u16) -> Self {
        let mut rtx = self.clone();
        rtx.header.ssrc = ssrc;
        rtx.header.sequence_number = sequence_number;
        rtx.header.payload_type += 1;
        let number = self.header.sequence_number.to_be_bytes();
        rtx.payload = [&number[..], &self.payload].concat();
        rtx
    }
}

impl Publication {
    /// Takes a packet of `layer` under the layer's own SSRC.
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        layer: u8,
        packet: &Packet,
    ) -> Result<Accepted, DropReason> {
        let bytes = packet.bytes();
        let header = RtpHeader::parse(&bytes).unwrap();
        self.accept(now, layer, &header, &bytes)
    }

    /// Takes a retransmission for `layer`.
    pub(crate) fn take_retransmission(
        &mut self,
        now: Timestamp,
        layer: u8,
        packet: &Packet,
    ) -> Result<Accepted, DropReason> {
        let mut bytes = packet.bytes();
        let header = RtpHeader::parse(&bytes).unwrap();
        self.accept_retransmission(now, layer, &header, &mut bytes)
    }
}

/// The numbers of a VP8 payload to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vp8 {
    pub(crate) keyframe: bool,
    pub(crate) picture_id: u16,
    pub(crate) short: bool,
    pub(crate) tl0_picture_index: u8,
    pub(crate) key_index: u8,
}

impl Vp8 {
    /// A frame with a picture id of 15 bits; the other numbers follow from it.
    pub(crate) fn frame(picture_id: u16) -> Self {
        let [_, low] = picture_id.to_be_bytes();
        Self {
            keyframe: false,
            picture_id,
            short: false,
            tl0_picture_index: low,
            key_index: 3,
        }
    }

    /// A key frame with a picture id of 15 bits.
    pub(crate) fn key(picture_id: u16) -> Self {
        Self {
            keyframe: true,
            ..Self::frame(picture_id)
        }
    }

    /// The same with 7 bits.
    pub(crate) fn short(mut self) -> Self {
        self.short = true;
        self.picture_id &= 0x7f;
        self
    }

    /// Descriptor (RFC 7741 §4.2), payload header, and some data.
    pub(crate) fn payload(self) -> Vec<u8> {
        let mut payload = vec![0x90, 0xf0];
        if self.short {
            payload.push(u8::try_from(self.picture_id).unwrap());
        } else {
            payload.extend((0x8000 | self.picture_id).to_be_bytes());
        }
        payload.push(self.tl0_picture_index);
        payload.push(self.key_index);
        payload.push(u8::from(!self.keyframe));
        payload.extend([0xab; 20]);
        payload
    }
}

/// What is known of a packet of VP8.
pub(crate) fn info(packet: &[u8]) -> PacketInfo {
    let parameters = parameters(Codec::Vp8, &[]);
    let formats = Formats::new(&parameters.codecs, &parameters.extensions);
    let header = RtpHeader::parse(packet).unwrap();
    PacketInfo::read(ms(0), &header, packet, Codec::Vp8, &formats).unwrap()
}
