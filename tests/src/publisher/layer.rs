//! One encoding of a published track: its numbers, what it can send again, and whether the server
//! asks for more than it promised to.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use dataplane_core::time::Timestamp;
use rtp::packet::Packet;
use shared::protocol::{Codec, MediaKind};

use super::{Flow, nearest};
use crate::checker::Checker;
use crate::codecs::{self, FrameNumbers};
use crate::peer::Outgoing;
use crate::rng::Rng;

/// One encoding.
#[derive(Debug)]
pub struct PublishedLayer {
    /// Of the media.
    pub ssrc: u32,
    /// Of retransmissions.
    pub rtx_ssrc: u32,
    /// Whether it is sent.
    pub flow: Flow,
    /// Times that a key frame was asked for.
    pub keyframe_requests: u64,
    /// Times that a packet was asked for again.
    pub nacks: u64,
    pub(super) packets: u32,
    pub(super) octets: u32,
    rid: Option<&'static str>,
    next_index: u64,
    rtx_next: u16,
    timestamp_offset: u32,
    frame: u32,
    /// The newest frame of the lowest temporal layer.
    base_frame: u32,
    picture_id: u16,
    tl0_picture_index: u8,
    key_wanted: bool,
    fir_sequence_number: Option<u8>,
    last_request_sent_at: Option<Timestamp>,
    asked: BTreeMap<u64, (u32, Timestamp)>,
    history: VecDeque<Sent>,
}

/// A frame of one encoding, before its packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) number: u32,
    pub(super) is_key: bool,
    /// The frame that it needs, if any.
    pub(super) reference: Option<u32>,
    pub(super) numbers: Option<FrameNumbers>,
}

/// A packet that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) index: u64,
    pub(super) transport: u64,
    /// None of padding only.
    pub(super) plain: Option<Packet>,
    pub(super) sealed: Vec<u8>,
}

impl PublishedLayer {
    pub(super) fn new(rid: Option<&'static str>, first: Option<u16>, rng: &mut Rng) -> Self {
        Self {
            ssrc: rng.bits() as u32,
            rtx_ssrc: rng.bits() as u32,
            flow: Flow::Running,
            keyframe_requests: 0,
            nacks: 0,
            packets: 0,
            octets: 0,
            rid,
            next_index: u64::from(first.unwrap_or_else(|| (rng.bits() & 0x7fff) as u16)),
            rtx_next: (rng.bits() & 0x7fff) as u16,
            timestamp_offset: rng.bits() as u32,
            frame: 0,
            base_frame: 0,
            picture_id: (rng.bits() & 0x7fff) as u16,
            tl0_picture_index: rng.bits() as u8,
            key_wanted: false,
            fir_sequence_number: None,
            last_request_sent_at: None,
            asked: BTreeMap::new(),
            history: VecDeque::new(),
        }
    }

    /// What the description says of it.
    pub fn rid(&self) -> Option<&'static str> {
        self.rid
    }

    /// The RTP timestamp of an instant.
    pub fn timestamp(&self, at: Timestamp, rate: u32) -> u32 {
        let ticks = (u128::from(at.as_nanos()) * u128::from(rate) + 500_000_000) / 1_000_000_000;
        self.timestamp_offset.wrapping_add(ticks as u32)
    }

    /// Counts one frame on: a key frame if it is the first, or if one was asked for.
    pub(super) fn next_frame(&mut self, codec: Codec) -> Frame {
        let is_video = codec.kind() == MediaKind::Video;
        let is_key = is_video && (self.key_wanted || self.frame == 0);
        self.key_wanted = false;
        let reference = (is_video && !is_key).then_some(self.base_frame);
        let has_base = codecs::has_temporal_layers(codec);
        let is_base = is_key || !has_base || self.frame.is_multiple_of(2);
        if self.frame > 0 {
            self.picture_id = self.picture_id.wrapping_add(1) & codecs::picture_mask(codec);
            self.tl0_picture_index = self.tl0_picture_index.wrapping_add(u8::from(is_base));
        }
        let is_numbered = matches!(codec, Codec::Vp8 | Codec::Vp9 | Codec::Av1);
        let numbers = is_numbered.then_some(FrameNumbers {
            picture: self.picture_id,
            base: has_base.then_some(self.tl0_picture_index),
            temporal_layer: u8::from(!is_base),
        });
        let number = self.frame;
        if is_base {
            self.base_frame = number;
        }
        self.frame += 1;
        Frame {
            number,
            is_key,
            reference,
            numbers,
        }
    }

    pub(super) fn take_index(&mut self) -> u64 {
        self.next_index += 1;
        self.next_index - 1
    }

    pub(super) fn take_rtx_number(&mut self) -> u16 {
        let number = self.rtx_next;
        self.rtx_next = number.wrapping_add(1);
        number
    }

    /// Sends a packet for the first time, and keeps it for repairs.
    pub(super) fn send(&mut self, sent: Sent, out: &mut Vec<Outgoing>) {
        self.put(sent.index, sent.transport, sent.sealed.clone(), out);
        self.history.push_back(sent);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Sends the datagram of a packet.
    pub(super) fn put(&self, index: u64, transport: u64, bytes: Vec<u8>, out: &mut Vec<Outgoing>) {
        out.push(Outgoing {
            bytes,
            media: Some((self.ssrc, index)),
            transport: Some(transport),
        });
    }

    /// The server asks for a key frame. Such requests are merged and spaced. `fir` is the number of
    /// one of RFC 5104, which may come again.
    pub(super) fn keyframe_asked(
        &mut self,
        sent_at: Timestamp,
        fir: Option<u8>,
        checker: &mut Checker,
    ) {
        self.keyframe_requests += 1;
        self.key_wanted |= match fir {
            Some(number) => self.fir_sequence_number.replace(number) != Some(number),
            None => true,
        };
        // One that comes twice, or was overtaken, is no news.
        if self
            .last_request_sent_at
            .is_some_and(|before| sent_at <= before)
        {
            return;
        }
        if let Some(before) = self.last_request_sent_at.replace(sent_at)
            && sent_at.since(before) < KEYFRAME_REQUEST_INTERVAL
        {
            checker.fault(format!("key frames of {:x} asked for too often", self.ssrc));
        }
    }

    /// The server asks for a packet again. Returns it, if it is still there.
    pub(super) fn packet_asked(
        &mut self,
        sent_at: Timestamp,
        number: u16,
        checker: &mut Checker,
    ) -> Option<Sent> {
        self.nacks += 1;
        let index = nearest(self.next_index, number);
        if index >= self.next_index {
            checker.fault(format!("NACK of {index}, which was not sent yet"));
        }
        let asked = self.asked.entry(index).or_default();
        // One that comes twice, or was overtaken, is no news.
        if asked.0 == 0 || sent_at > asked.1 {
            let too_soon = asked.0 > 0 && sent_at.since(asked.1) < NACK_INTERVAL;
            *asked = (asked.0 + 1, sent_at);
            if too_soon || asked.0 > NACKS_MAX {
                checker.fault(format!("NACK of {index} too often"));
            }
        }
        let mut history = self.history.iter();
        history.find(|sent| sent.index == index).cloned()
    }
}

/// Packets that a publisher can send again: a second or two.
const HISTORY: usize = 1000;

/// The server promises not to ask for key frames of an encoding more often: see `ingress::keyframe`
/// of the core.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(400);

/// What it promises too: see `ingress::nack` of the core.
const NACK_INTERVAL: Duration = Duration::from_millis(20);
const NACKS_MAX: u32 = 10;
