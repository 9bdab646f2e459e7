//! One session: a transport, and what is published and subscribed over it.

pub(crate) mod congestion;
pub(crate) mod demux;
pub(crate) mod ice;
pub(crate) mod speakers;
pub(crate) mod ssrcs;
pub(crate) mod transport;

use core::fmt::Write as _;
use core::time::Duration;

use arrayvec::ArrayString;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use shared::id::SessionId;
use shared::protocol::{Extension, ExtensionMapping};

use self::congestion::{Congestion, RepeatBudget, Suspended};
use self::ice::IceAgent;
use self::speakers::Speakers;
use self::ssrcs::SsrcTable;
use self::transport::Transport;
use crate::ingress::transport_feedback::TransportFeedback;
use crate::rtp::RtpHeader;
use crate::shard::{LegKey, PublicationKey};
use crate::time::{NtpTime, Timestamp};

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) transport: Transport,
    /// What the client sends, in ascending order of the numbers.
    pub(crate) publications: Vec<(u32, PublicationKey)>,
    /// What the client receives, in ascending order of the numbers.
    pub(crate) legs: Vec<(u32, LegKey)>,
    pub(crate) ssrcs: SsrcTable,
    /// Which leg goes out under an SSRC, its retransmissions included.
    pub(crate) leg_ssrcs: HashMap<u32, LegKey, FxBuildHasher>,
    /// Arrival times of the client's packets, where it negotiated transport-wide feedback.
    pub(crate) transport_feedback: Option<Box<TransportFeedback>>,
    /// Of what the client receives, where it negotiated transport-wide feedback.
    pub(crate) congestion: Option<Box<Congestion>>,
    /// Of `congestion`, while nothing can be measured any more.
    pub(crate) suspended: Option<Box<Suspended>>,
    /// What is sent again while there is no `congestion`.
    pub(crate) unmeasured_repeats: RepeatBudget,
    /// Of what the client receives, who is heard best; made when that is asked for.
    pub(crate) speakers: Option<Box<Speakers>>,
    pub(crate) clock: ClientClock,
    /// To the client and back, from the reports of any leg.
    pub(crate) round_trip: Option<Duration>,
    /// The header extensions of what the client sends; one table since the bundle has one
    /// numbering (RFC 8843 §9.1).
    extensions: Vec<ExtensionMapping>,
    /// What our reports and feedback come from.
    pub(crate) report_ssrc: u32,
    /// The control plane's, opaque here.
    pub(crate) model: Vec<u8>,
    /// Whether the ticker visits it often, for what it publishes.
    pub(crate) is_publisher: bool,
}

impl Session {
    pub(crate) fn new(now: Timestamp, id: SessionId, ice: IceAgent, report_ssrc: u32) -> Self {
        Self {
            id,
            transport: Transport::new(now, ice),
            publications: Vec::new(),
            legs: Vec::new(),
            ssrcs: SsrcTable::default(),
            leg_ssrcs: HashMap::default(),
            transport_feedback: None,
            congestion: None,
            suspended: None,
            unmeasured_repeats: RepeatBudget::new(now),
            speakers: None,
            clock: ClientClock::default(),
            round_trip: None,
            extensions: Vec::new(),
            report_ssrc,
            model: Vec::new(),
            is_publisher: false,
        }
    }

    /// The publication with this number.
    pub(crate) fn publication(&self, number: u32) -> Option<PublicationKey> {
        find(&self.publications, number)
    }

    /// The subscription with this number.
    pub(crate) fn leg(&self, number: u32) -> Option<LegKey> {
        find(&self.legs, number)
    }

    /// Learns the ids of a media section.
    pub(crate) fn learn_extensions(&mut self, mappings: &[ExtensionMapping]) {
        for mapping in mappings {
            if !self.extensions.contains(mapping) {
                self.extensions.push(*mapping);
            }
        }
    }

    /// The client negotiated transport-wide feedback.
    pub(crate) fn enable_transport_feedback(&mut self) {
        self.transport_feedback.get_or_insert_default();
    }

    /// Notes when a packet came, for transport-wide feedback; whatever becomes of the packet.
    pub(crate) fn note_arrival(&mut self, now: Timestamp, header: &RtpHeader, packet: &[u8]) {
        let Some(feedback) = &mut self.transport_feedback else {
            return;
        };
        let wanted = Extension::TransportWideSequenceNumber;
        let Some(mapping) = self
            .extensions
            .iter()
            .find(|known| known.extension == wanted)
        else {
            return;
        };
        for (id, value) in header.extensions(packet) {
            if let ([high, low], true) = (value, id == mapping.id) {
                feedback.record(now, u16::from_be_bytes([*high, *low]), header.ssrc);
                return;
            }
        }
    }

    /// What a header extension's id means in what the client sends.
    pub(crate) fn extension(&self, id: u8) -> Option<Extension> {
        let mapping = self.extensions.iter().find(|mapping| mapping.id == id)?;
        Some(mapping.extension)
    }
}

/// The CNAME of everything that a session publishes (RFC 3550 §6.5.1): its id, which its
/// subscribers know anyway, since they subscribed by it.
pub(crate) fn cname(session: SessionId) -> ArrayString<32> {
    let mut name = ArrayString::new();
    // 32 digits fit 32 bytes.
    let _ = write!(name, "{session}");
    name
}

fn find<K: Copy>(list: &[(u32, K)], number: u32) -> Option<K> {
    let position = list
        .binary_search_by_key(&number, |(number, _)| *number)
        .ok()?;
    list.get(position).map(|(_, key)| *key)
}

/// How a client's NTP time maps to ours. One offset serves all tracks of a client, so that their
/// relation to each other, which lip sync rests on, stays as the client reported it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientClock {
    offset: Option<u64>,
}

impl ClientClock {
    /// The client's NTP time of a sender report that came at `arrived_at`, in our NTP time.
    /// `by_media` is what the report's RTP timestamp says of the same instant, by the report before
    /// of the same stream.
    ///
    /// When a report comes says little of the client's clock: a queue of seconds on its way is no
    /// rarity. Media does not wait when a clock is set, so as long as both go on alike, it was not.
    pub(crate) fn translate(
        &mut self,
        reported: NtpTime,
        by_media: Option<NtpTime>,
        arrived_at: NtpTime,
    ) -> NtpTime {
        let observed = arrived_at.offset_from(reported);
        let agrees_with_media = |offset| {
            let translated = reported.offset_by(offset).to_bits();
            by_media.is_some_and(|by_media| is_near(by_media.to_bits(), translated))
        };
        let offset = match self.offset {
            Some(offset) if is_near(offset, observed) || agrees_with_media(offset) => offset,
            _ => *self.offset.insert(observed),
        };
        reported.offset_by(offset)
    }
}

/// Within a second of each other, in units of 2^-32 s.
fn is_near(a: u64, b: u64) -> bool {
    let distance = a.wrapping_sub(b).cast_signed();
    distance.unsigned_abs() < 1 << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> NtpTime {
        NtpTime::from_bits(seconds << 32)
    }

    #[test]
    fn all_reports_of_a_client_are_moved_by_the_same_offset() {
        let mut clock = ClientClock::default();
        assert_eq!(clock.translate(at(100), None, at(5_000)), at(5_000));
        // Half a second late on the way: the offset stays.
        let late = NtpTime::from_bits((5_010 << 32) + (1 << 31));
        assert_eq!(clock.translate(at(110), None, late), at(5_010));
    }

    #[test]
    fn a_client_that_sets_its_clock_is_followed() {
        let mut clock = ClientClock::default();
        clock.translate(at(100), None, at(5_000));
        let by_media = Some(at(5_010));
        assert_eq!(clock.translate(at(900), by_media, at(5_010)), at(5_010));
    }

    #[test]
    fn a_report_that_was_held_up_for_seconds_does_not_move_the_clock() {
        let mut clock = ClientClock::default();
        clock.translate(at(100), None, at(5_000));
        let by_media = Some(at(5_010));
        assert_eq!(clock.translate(at(110), by_media, at(5_013)), at(5_010));
    }

    #[test]
    fn media_that_begins_anew_does_not_move_the_clock() {
        let mut clock = ClientClock::default();
        clock.translate(at(100), None, at(5_000));
        let by_media = Some(at(9_999));
        assert_eq!(clock.translate(at(110), by_media, at(5_010)), at(5_010));
    }
}
