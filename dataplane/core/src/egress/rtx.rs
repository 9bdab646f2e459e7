//! Sending packets again: under the leg's retransmission SSRC (RFC 4588) where that was
//! negotiated, else plainly.

use core::time::Duration;

use shared::counters::DropReason;
use shared::protocol::MediaKind;

use super::control::Allowance;
use super::forward::{Forwarded, forwarded};
use super::leg::Leg;
use crate::ingress::packet_info::PacketInfo;
use crate::ingress::{CachedPacket, Publication};
use crate::time::Timestamp;

/// A packet to send again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat<'a> {
    /// As it left the first time.
    pub(crate) forwarded: Forwarded,
    /// The packet in the cache.
    pub(crate) packet: CachedPacket<'a>,
    /// The numbers of the retransmission stream; none if the packet is sent again plainly, which
    /// makes it the same to the last bit.
    pub(crate) rtx: Option<RtxNumbers>,
    /// A repeat of it was sent before, and is lost too as it seems.
    pub(crate) is_another: bool,
}

/// A packet that is asked for again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The packet in the cache.
    pub(crate) packet: CachedPacket<'a>,
    /// What leaves now cannot be decoded without it: it is not of a source or a layer that was left,
    /// nor from before a key frame.
    pub(crate) is_needed: bool,
}

/// Why a packet is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: DropReason,
    /// How often it was refused for want of room on the path, one after the other, though a decoder
    /// waits for it.
    pub(crate) times_in_need: u8,
}

impl From<DropReason> for Refused {
    fn from(reason: DropReason) -> Self {
        Self {
            reason,
            times_in_need: 0,
        }
    }
}

/// The header of a retransmission (RFC 4588 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RtxNumbers {
    /// Of the retransmission stream.
    pub(crate) ssrc: u32,
    /// Extended sequence number of the retransmission stream, its SRTP index: a new one each time.
    pub(crate) index: u64,
    /// The subscriber's, bound to that of the media by `apt` (RFC 4588 §8.6).
    pub(crate) payload_type: u8,
}

impl Leg {
    /// A packet that the subscriber asks for again by the sequence number that it knows.
    ///
    /// # Errors
    /// [`DropReason::RetransmissionMiss`] if the number was never used or the packet is gone,
    /// [`DropReason::RetransmissionBudget`] if it was sent again within the last round trip, or
    /// [`REPEATS_MAX`] times. Also [`DropReason::RetransmissionMiss`] if it could only be repeated
    /// plainly, and carried a transport-wide sequence number. [`DropReason::LayerNotSelected`] while
    /// nothing leaves: what comes after begins with a key frame. [`DropReason::TooLate`] if it came
    /// longer than [`UNNEEDED_AGE_MAX`] ago and no decoder waits for it. At last what `afford` says
    /// of a packet that may be sent again as far as the leg is concerned: one that is refused then has
    /// not been repeated.
    pub(crate) fn retransmit<'a>(
        &mut self,
        now: Timestamp,
        publication: &'a Publication,
        sequence_number: u16,
        afford: impl FnOnce(&Asked<'a>) -> Result<(), DropReason>,
    ) -> Result<Repeat<'a>, Refused> {
        let repeat = self.repeat(now, publication, sequence_number, afford);
        self.statistics.count_repeat(repeat.is_ok());
        repeat
    }

    fn repeat<'a>(
        &mut self,
        now: Timestamp,
        publication: &'a Publication,
        sequence_number: u16,
        afford: impl FnOnce(&Asked<'a>) -> Result<(), DropReason>,
    ) -> Result<Repeat<'a>, Refused> {
        if self.allowance == Allowance::Nothing {
            return Err(DropReason::LayerNotSelected.into());
        }
        let (source, number, index) = self
            .rewriter
            .reverse(sequence_number)
            .ok_or(DropReason::RetransmissionMiss)?;
        let packet = publication
            .packet(source.layer, number)
            .filter(|packet| packet.stream == source.stream)
            .ok_or(DropReason::RetransmissionMiss)?;
        let mapping = *self
            .mapping(packet.payload_type)
            .ok_or(DropReason::CodecNotMapped)?;
        // The number lies in a span, so this changes nothing.
        let rewritten = self
            .rewriter
            .map(source, number, packet.info)
            .ok_or(DropReason::RetransmissionMiss)?;
        let can_repeat = self.number_id().is_none()
            || self.repeater.ssrc().is_some() && mapping.rtx_payload_type.is_some();
        if !can_repeat {
            return Err(DropReason::RetransmissionMiss.into());
        }
        self.repeater.check(now, index, self.round_trip())?;
        let is_needed = self.needs(source, number, &packet);
        if !is_needed && is_stale(now, packet.info) {
            return Err(DropReason::TooLate.into());
        }
        if let Err(reason) = afford(&Asked { packet, is_needed }) {
            let times = self.repeater.note_refusal(index);
            let waits = is_needed && self.kind() == MediaKind::Video;
            let times_in_need = if waits { times } else { 0 };
            return Err(Refused {
                reason,
                times_in_need,
            });
        }
        let count = self.repeater.note(now, index);
        Ok(Repeat {
            forwarded: forwarded(rewritten, mapping, packet.codec),
            packet,
            rtx: self.repeater.numbers(mapping.rtx_payload_type),
            is_another: count > 1,
        })
    }

    /// The same repeat once more, under the next number of the retransmission stream. None without
    /// such a stream: a plain repeat is the same packet, of which a receiver takes one only.
    pub(crate) fn copy<'a>(&mut self, repeat: &Repeat<'a>) -> Option<Repeat<'a>> {
        let rtx = self.repeater.numbers(Some(repeat.rtx?.payload_type))?;
        Some(Repeat {
            rtx: Some(rtx),
            ..*repeat
        })
    }
}

impl Leg {
    /// A packet that left lately, to be sent once more though nobody asks for it: the newest but
    /// `back`. None if it came longer than [`UNNEEDED_AGE_MAX`] ago, is larger than `bytes_max` or
    /// gone, or if there is no retransmission stream.
    pub(crate) fn probe<'a>(
        &mut self,
        now: Timestamp,
        publication: &'a Publication,
        back: u64,
        bytes_max: usize,
    ) -> Option<Repeat<'a>> {
        let (source, number) = self.rewriter.newest_but(back)?;
        let packet = publication.packet(source.layer, number).filter(|packet| {
            packet.stream == source.stream
                && packet.bytes.len() <= bytes_max
                && !is_stale(now, packet.info)
        })?;
        let mapping = *self.mapping(packet.payload_type)?;
        let rewritten = self.rewriter.map(source, number, packet.info)?;
        Some(Repeat {
            forwarded: forwarded(rewritten, mapping, packet.codec),
            packet,
            rtx: Some(self.repeater.numbers(mapping.rtx_payload_type)?),
            is_another: false,
        })
    }

    /// The numbers of a retransmission of nothing; none without a retransmission stream.
    pub(crate) fn padding(&mut self) -> Option<RtxNumbers> {
        let payload_type = self.codecs.iter().find_map(|codec| codec.rtx_payload_type);
        self.repeater.numbers(payload_type)
    }
}

/// The retransmission stream of a leg, and what was sent again lately.
#[derive(Debug)]
pub(crate) struct Repeater {
    ssrc: Option<u32>,
    next_index: u64,
    kind: MediaKind,
    /// By index modulo its length. Another packet takes the place of one that could be repeated again by
    /// then; what was known of it is forgotten. Made with the first repeat: most subscribers lose nothing.
    history: Vec<Repeated>,
}

impl Repeater {
    /// Nothing sent again yet.
    pub(super) fn new(kind: MediaKind, ssrc: Option<u32>, first_index: u64) -> Self {
        Self {
            ssrc,
            next_index: first_index,
            kind,
            history: Vec::new(),
        }
    }

    pub(super) fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Whether there may be a repeat of this packet now. Also of another one whose place it would take:
    /// who asks for two of one place in turn must not get them the more often.
    fn check(
        &self,
        now: Timestamp,
        index: u64,
        round_trip: Option<Duration>,
    ) -> Result<(), DropReason> {
        let interval = round_trip.map_or(INTERVAL_MIN, |round_trip| round_trip.max(INTERVAL_MIN));
        let repeated = self.place(index).and_then(|place| self.history.get(place));
        let refuses = repeated.is_some_and(|repeated| {
            let is_soon = repeated.count > 0 && now.since(repeated.last_at) < interval;
            let is_spent = repeated.index == index && repeated.count >= REPEATS_MAX;
            is_soon || is_spent
        });
        if refuses {
            return Err(DropReason::RetransmissionBudget);
        }
        Ok(())
    }

    /// Takes note of a repeat. Returns how many there were, with this one.
    fn note(&mut self, now: Timestamp, index: u64) -> u8 {
        let Some(repeated) = self.entry(index) else {
            return 1;
        };
        *repeated = Repeated {
            index,
            last_at: now,
            count: repeated.count + 1,
            refusals: 0,
        };
        repeated.count
    }

    /// Takes note that there was no room for a repeat. Returns how often that was so since the last
    /// one.
    fn note_refusal(&mut self, index: u64) -> u8 {
        let Some(repeated) = self.entry(index) else {
            return 1;
        };
        repeated.refusals = repeated.refusals.saturating_add(1);
        repeated.refusals
    }

    /// What is remembered of a packet from now on.
    fn entry(&mut self, index: u64) -> Option<&mut Repeated> {
        if self.history.is_empty() {
            let length = match self.kind {
                MediaKind::Video => HISTORY_VIDEO,
                MediaKind::Audio => HISTORY_AUDIO,
            };
            self.history = vec![Repeated::default(); length];
        }
        let place = self.place(index)?;
        let repeated = self.history.get_mut(place)?;
        if repeated.index != index {
            *repeated = Repeated {
                index,
                ..Repeated::default()
            };
        }
        Some(repeated)
    }

    fn place(&self, index: u64) -> Option<usize> {
        let length = u64::try_from(self.history.len()).ok()?;
        usize::try_from(index.checked_rem(length)?).ok()
    }

    fn numbers(&mut self, payload_type: Option<u8>) -> Option<RtxNumbers> {
        let (ssrc, payload_type) = (self.ssrc?, payload_type?);
        let index = self.next_index;
        self.next_index += 1;
        Some(RtxNumbers {
            ssrc,
            index,
            payload_type,
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Repeated {
    index: u64,
    last_at: Timestamp,
    count: u8,
    refusals: u8,
}

/// How often one packet is sent again.
pub(crate) const REPEATS_MAX: u8 = 10;

/// What came before that is only sent again if a decoder waits for it. To a receiver that has got a
/// later key frame and asks for it no more, or never did since it is a probe, it seems to come straight
/// from its sender: after a pause of some seconds, Chromium's estimate of the sender's clock was so far
/// out that pictures stood for up to 3 s.
pub(super) const UNNEEDED_AGE_MAX: Duration = Duration::from_secs(1);

fn is_stale(now: Timestamp, info: &PacketInfo) -> bool {
    now.since(info.received_at) > UNNEEDED_AGE_MAX
}

/// Repeats of one packet are never closer than this.
const INTERVAL_MIN: Duration = Duration::from_millis(5);

/// Packets whose repeats are remembered: 6 KiB for a video leg, 1.5 KiB for an audio leg.
const HISTORY_VIDEO: usize = 256;
const HISTORY_AUDIO: usize = 64;
