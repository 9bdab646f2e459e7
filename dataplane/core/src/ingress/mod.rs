//! A published track: what comes from the publisher, kept once for all who subscribe.
//!
//! A [`Publication`] lives on the shard of its session. Where another shard has subscribers, a
//! mirror of it lives there: made by [`Publication::mirror`], fed by [`Publication::insert`].

pub(crate) mod cache;
pub(crate) mod content_type;
pub(crate) mod keyframe;
pub(crate) mod layer;
pub(crate) mod nack;
pub(crate) mod packet_info;
pub(crate) mod rate_meter;
pub(crate) mod report;
pub(crate) mod sub_layers;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod transport_feedback;

use arrayvec::ArrayVec;
use shared::counters::DropReason;
use shared::id::{PublicationId, SessionId};
use shared::limits::{CODECS_MAX, EXTENSIONS_MAX, LAYERS_MAX};
use shared::protocol::{MediaKind, PublishParameters, PublishedCodec};

pub(crate) use self::cache::CachedPacket;
use self::content_type::ContentType;
use self::keyframe::KeyframeMethod;
use self::layer::{Layer, LayerConfig, Origin, Repair};
use self::packet_info::PacketInfo;
use crate::relay::{Formats, Layers, RelayMessage};
use crate::rtp::RtpHeader;
use crate::speech::{Heard, SpeechActivity, Voice};
use crate::time::Timestamp;

/// One published track, or the mirror of one.
#[derive(Debug)]
pub(crate) struct Publication {
    id: PublicationId,
    kind: MediaKind,
    formats: Formats,
    /// Empty in a mirror.
    codecs: ArrayVec<PublishedCodec, CODECS_MAX>,
    layers: ArrayVec<Layer, LAYERS_MAX>,
    /// Of audio.
    speech: SpeechActivity,
}

/// What became of an accepted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its extended sequence number: by it [`Publication::packet`] finds it.
    pub(crate) sequence_number: u64,
    /// It starts a key frame (of video).
    pub(crate) keyframe: bool,
    /// Its layer was not received before, or not lately.
    pub(crate) resumed: bool,
    /// From it on, the pictures of its layer are known to be of another height than before.
    pub(crate) resized: bool,
    /// It was lost, and came as a retransmission.
    pub(crate) recovered: bool,
    /// It is ahead of all that came of its layer before, so no subscriber can have been given a
    /// number for it yet.
    pub(crate) newest: bool,
}

impl Publication {
    /// A track that a client of this shard publishes; none if a limit is exceeded or it has no
    /// layer.
    pub(crate) fn new(session: SessionId, parameters: &PublishParameters) -> Option<Self> {
        if parameters.layers.is_empty()
            || parameters.layers.len() > LAYERS_MAX
            || parameters.extensions.len() > EXTENSIONS_MAX
        {
            return None;
        }
        let codecs = ArrayVec::try_from(parameters.codecs.as_slice()).ok()?;
        let layer = |layer: &shared::protocol::LayerParameters| {
            Layer::new(LayerConfig {
                kind: parameters.kind,
                rid: layer.rid,
                ssrc: layer.ssrc,
                repair: repair(&parameters.codecs),
                keyframe_method: keyframe_method(parameters.kind, &parameters.codecs),
            })
        };
        Some(Self {
            id: PublicationId {
                session,
                number: parameters.number,
            },
            kind: parameters.kind,
            formats: Formats::new(&parameters.codecs, &parameters.extensions),
            codecs,
            layers: parameters.layers.iter().map(layer).collect(),
            speech: SpeechActivity::default(),
        })
    }

    /// The mirror of another shard's publication, from [`RelayMessage::Described`]. Its key frame
    /// requests are for the owner, which chooses between PLI and FIR.
    pub(crate) fn mirror(
        id: PublicationId,
        kind: MediaKind,
        layers: &Layers,
        formats: Formats,
    ) -> Self {
        let keyframe_method = match kind {
            MediaKind::Video => KeyframeMethod::PictureLossIndication,
            MediaKind::Audio => KeyframeMethod::None,
        };
        let layer = |rid| {
            Layer::new(LayerConfig {
                kind,
                rid,
                ssrc: None,
                repair: Repair::None,
                keyframe_method,
            })
        };
        Self {
            id,
            kind,
            formats,
            codecs: ArrayVec::new(),
            layers: layers.rids().into_iter().map(layer).collect(),
            speech: SpeechActivity::default(),
        }
    }

    /// What a mirror of this is made from.
    pub(crate) fn described(&self) -> RelayMessage {
        RelayMessage::Described {
            publication: self.id,
            kind: self.kind,
            layers: Layers::new(self.layers.iter().map(Layer::rid)),
            formats: self.formats,
        }
    }

    /// Its name.
    pub(crate) fn id(&self) -> PublicationId {
        self.id
    }

    /// Audio or video.
    pub(crate) fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Its encodings, at least one; legs and messages name them by their index.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// One of its encodings.
    pub(crate) fn layer(&self, index: u8) -> Option<&Layer> {
        self.layers.get(usize::from(index))
    }

    /// One of its encodings.
    pub(crate) fn layer_mut(&mut self, index: u8) -> Option<&mut Layer> {
        self.layers.get_mut(usize::from(index))
    }

    /// All of its encodings with their indices.
    pub(crate) fn layers_mut(&mut self) -> impl Iterator<Item = (u8, &mut Layer)> {
        (0..).zip(&mut self.layers)
    }

    /// The index of the encoding with this rid.
    pub(crate) fn layer_of_rid(&self, rid: &str) -> Option<u8> {
        let mut layers = (0..).zip(&self.layers);
        layers
            .find(|(_, layer)| layer.rid().is_some_and(|own| *own == *rid))
            .map(|(index, _)| index)
    }

    /// What a payload type of the media means; none in a mirror.
    pub(crate) fn codec(&self, payload_type: u8) -> Option<&PublishedCodec> {
        self.codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type)
    }

    /// Whether this is the payload type of retransmissions (RFC 4588 §8.6).
    pub(crate) fn is_retransmission(&self, payload_type: u8) -> bool {
        self.codecs
            .iter()
            .any(|codec| codec.rtx_payload_type == Some(payload_type))
    }

    /// Whether a packet of any layer came lately.
    pub(crate) fn receiving(&self, now: Timestamp) -> bool {
        self.layers.iter().any(|layer| layer.receiving(now))
    }

    /// What its pictures show, by the layers that are received.
    pub(crate) fn content_type(&self, now: Timestamp) -> ContentType {
        let mut received = self.layers.iter().filter(|layer| layer.receiving(now));
        if received.any(|layer| layer.content_type() == ContentType::Screen) {
            ContentType::Screen
        } else {
            ContentType::Camera
        }
    }

    /// How it sounds; none of video, and of a publisher that does not tell.
    pub(crate) fn voice(&self, now: Timestamp) -> Option<Voice> {
        self.speech.voice(now)
    }

    /// Takes an opened packet of `layer`: extends its number, drops what came before, counts, and
    /// keeps the bytes. A packet of padding only is taken too, since legs must know of it: they
    /// close the hole that it leaves, and answer with [`DropReason::PaddingOnly`].
    ///
    /// # Errors
    /// [`DropReason::UnknownPayloadType`], [`DropReason::RtpPadding`], [`DropReason::Duplicate`],
    /// [`DropReason::TooLate`], [`DropReason::TooLarge`], or [`DropReason::UnknownSsrc`] if there
    /// is no such layer.
    pub(crate) fn accept(
        &mut self,
        now: Timestamp,
        layer: u8,
        header: &RtpHeader,
        packet: &[u8],
    ) -> Result<Accepted, DropReason> {
        let info = self.read(now, header, packet)?;
        let layer = self.layer_mut(layer).ok_or(DropReason::UnknownSsrc)?;
        let accepted = layer.accept(header.sequence_number, info, packet, Origin::Media)?;
        self.listen(accepted, &info, packet);
        Ok(accepted)
    }

    /// Takes an opened retransmission (RFC 4588) of a packet of `layer`; it is unwrapped in place.
    ///
    /// # Errors
    /// Like [`Self::accept`]. [`DropReason::PaddingOnly`] if it holds nothing (a probe of the
    /// publisher's), [`DropReason::UnknownPayloadType`], [`DropReason::UnknownSsrc`] while the
    /// layer's own SSRC is not known, [`DropReason::RtpMalformed`].
    pub(crate) fn accept_retransmission(
        &mut self,
        now: Timestamp,
        layer: u8,
        header: &RtpHeader,
        packet: &mut [u8],
    ) -> Result<Accepted, DropReason> {
        let header = self.restore(layer, header, packet)?;
        let packet = packet.get(OSN_BYTES..).ok_or(DropReason::RtpMalformed)?;
        let info = self.read(now, &header, packet)?;
        let layer = self.layer_mut(layer).ok_or(DropReason::UnknownSsrc)?;
        layer.accept(header.sequence_number, info, packet, Origin::Retransmission)
    }

    /// Takes a packet that another shard accepted, from [`RelayMessage::Packet`].
    ///
    /// # Errors
    /// Like [`Self::accept`], and [`DropReason::RtpMalformed`].
    pub(crate) fn insert(
        &mut self,
        received_at: Timestamp,
        layer: u8,
        sequence_number: u64,
        packet: &[u8],
    ) -> Result<Accepted, DropReason> {
        let header = RtpHeader::parse(packet)?;
        let info = self.read(received_at, &header, packet)?;
        let layer = self.layer_mut(layer).ok_or(DropReason::UnknownSsrc)?;
        let accepted = layer.insert(sequence_number, info, packet, Origin::Media)?;
        self.listen(accepted, &info, packet);
        Ok(accepted)
    }

    /// A packet of `layer` by its extended sequence number; none once it is out of the cache.
    pub(crate) fn packet(&self, layer: u8, sequence_number: u64) -> Option<CachedPacket<'_>> {
        self.layer(layer)?.packet(sequence_number)
    }

    /// Turns a retransmission (RFC 4588 §4) into the packet that it repeats, in place: the header
    /// moves up by two bytes, over the original sequence number, and gets the original's payload
    /// type and SSRC. Returns that header; its packet starts at [`OSN_BYTES`].
    fn restore(
        &self,
        layer: u8,
        header: &RtpHeader,
        packet: &mut [u8],
    ) -> Result<RtpHeader, DropReason> {
        let mut codecs = self.codecs.iter();
        let codec = codecs
            .find(|codec| codec.rtx_payload_type == Some(header.payload_type))
            .ok_or(DropReason::UnknownPayloadType)?;
        let ssrc = self
            .layer(layer)
            .and_then(Layer::ssrc)
            .ok_or(DropReason::UnknownSsrc)?;
        let payload = header.payload(packet)?;
        if payload.is_empty() {
            return Err(DropReason::PaddingOnly);
        }
        let (number, _) = payload
            .split_first_chunk::<2>()
            .ok_or(DropReason::RtpMalformed)?;
        let sequence_number = u16::from_be_bytes(*number);
        packet.copy_within(..header.len(), OSN_BYTES);
        let fixed = packet
            .get_mut(OSN_BYTES..)
            .and_then(<[u8]>::first_chunk_mut::<12>);
        let [_, kind, s0, s1, _, _, _, _, c0, c1, c2, c3] =
            fixed.ok_or(DropReason::RtpMalformed)?;
        let payload_type = codec.payload_type & 0x7f;
        *kind = u8::from(header.marker) << 7 | payload_type;
        [*s0, *s1] = sequence_number.to_be_bytes();
        [*c0, *c1, *c2, *c3] = ssrc.to_be_bytes();
        let mut original = *header;
        original.payload_type = payload_type;
        original.sequence_number = sequence_number;
        original.ssrc = ssrc;
        Ok(original)
    }

    /// Takes note of how loud an accepted packet is.
    fn listen(&mut self, accepted: Accepted, info: &PacketInfo, packet: &[u8]) {
        if self.kind == MediaKind::Audio && accepted.newest && !info.is_padding_only() {
            self.speech.packet(Heard {
                at: info.received_at,
                rtp_timestamp: info.timestamp,
                clock_rate: info.codec.clock_rate(),
                level: info.audio_level(packet),
            });
        }
    }

    fn read(
        &self,
        received_at: Timestamp,
        header: &RtpHeader,
        packet: &[u8],
    ) -> Result<PacketInfo, DropReason> {
        let codec = self.formats.codec(header.payload_type);
        let codec = codec.ok_or(DropReason::UnknownPayloadType)?;
        Ok(PacketInfo::read(
            received_at,
            header,
            packet,
            codec,
            &self.formats,
        )?)
    }
}

fn repair(codecs: &[PublishedCodec]) -> Repair {
    if codecs.iter().any(|codec| codec.nack) {
        Repair::Nack
    } else {
        Repair::None
    }
}

fn keyframe_method(kind: MediaKind, codecs: &[PublishedCodec]) -> KeyframeMethod {
    match kind {
        MediaKind::Audio => KeyframeMethod::None,
        MediaKind::Video if codecs.iter().any(|codec| codec.pli) => {
            KeyframeMethod::PictureLossIndication
        }
        MediaKind::Video if codecs.iter().any(|codec| codec.fir) => {
            KeyframeMethod::FullIntraRequest
        }
        MediaKind::Video => KeyframeMethod::None,
    }
}

/// The original sequence number before the payload of a retransmission (RFC 4588 §4).
pub(crate) const OSN_BYTES: usize = 2;

#[cfg(test)]
mod tests;
