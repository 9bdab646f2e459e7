//! RTCP that clients send: what they report, and what they ask for.

use shared::counters::{Counter, DropReason, Histogram};

use super::Shard;
use super::relays::sender_report;
use super::sessions::SessionKey;
use super::tracks::LegKey;
use super::way::Way;
use crate::egress::{Asked, Feedback};
use crate::ingress::report::ClockMapping;
use crate::outbox::{Outbox, Path};
use crate::rtcp::{Packet, ReportBlock, packets};
use crate::session::ssrcs::Stream;
use crate::time::{NtpTime, Timestamp};

impl Shard {
    /// A compound packet of a client.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Timestamp,
        path: Path,
        bytes: &mut [u8],
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        let key = self.session_at(path)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or(DropReason::UnknownAddress)?;
        let srtp = session.transport.srtp_mut().ok_or(DropReason::NoKeys)?;
        let len = srtp.receiver.open_rtcp(bytes)?;
        self.heard(now, key);
        let compound = bytes.get(..len).unwrap_or_default();
        for packet in packets(compound) {
            self.handle_rtcp_packet(now, key, packet?, out);
        }
        Ok(())
    }

    fn handle_rtcp_packet(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        packet: Packet<'_>,
        out: &mut impl Outbox,
    ) {
        match packet {
            Packet::SenderReport {
                ssrc,
                ntp,
                rtp_timestamp,
                blocks,
                ..
            } => {
                self.take_sender_report(now, key, ssrc, ClockMapping { ntp, rtp_timestamp }, out);
                self.take_report_blocks(now, key, blocks);
            }
            Packet::ReceiverReport { blocks, .. } => self.take_report_blocks(now, key, blocks),
            Packet::Nack { media, numbers, .. } => {
                self.count_feedback(key, media, Feedback::Nack);
                for number in numbers {
                    self.counters.increment(Counter::NacksReceived);
                    if let Err(reason) = self.retransmit(now, key, media, number, out) {
                        self.counters.dropped(reason);
                    }
                }
            }
            Packet::PictureLossIndication { media, .. } => {
                self.take_keyframe_request(now, key, media, Feedback::PictureLossIndication, out);
            }
            Packet::FullIntraRequest { entries, .. } => {
                for (media, _) in entries {
                    self.take_keyframe_request(now, key, media, Feedback::FullIntraRequest, out);
                }
            }
            Packet::TransportFeedback(feedback) => {
                self.take_transport_feedback(now, key, &feedback, out);
            }
            Packet::ReceiverEstimatedMaximumBitrate { bitrate, .. } => {
                if let Some(congestion) = self.congestion(key) {
                    congestion.handle_remb(now, bitrate);
                }
            }
            // A source that says goodbye falls silent, which is noticed as such.
            Packet::Bye { .. } | Packet::SourceDescription | Packet::Other { .. } => {}
        }
    }

    /// What a publisher says of its clock (RFC 3550 §6.4.1), which its subscribers are told in
    /// turn, those on other shards too.
    fn take_sender_report(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        ssrc: u32,
        reported: ClockMapping,
        out: &mut impl Outbox,
    ) {
        let arrived_at = self.ntp(now);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let binding = session
            .ssrcs
            .binding(ssrc)
            .filter(|known| known.stream == Stream::Media);
        let Some(binding) = binding else { return };
        let Some(track) = self.tracks.get_mut(binding.publication) else {
            return;
        };
        let Some(layer) = track.publication.layer_mut(binding.layer) else {
            return;
        };
        let by_media = layer.captured_at(reported.rtp_timestamp);
        let ntp = session.clock.translate(reported.ntp, by_media, arrived_at);
        let mapping = ClockMapping { ntp, ..reported };
        layer.sender_report(now, reported.ntp, mapping);
        let message = sender_report(track.publication.id(), binding.layer, mapping);
        for shard in &track.remote_shards {
            out.relay(*shard, message, &[]);
        }
    }

    fn take_report_blocks(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        blocks: impl Iterator<Item = ReportBlock>,
    ) {
        let ntp = self.ntp(now);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        for block in blocks {
            let leg = session.leg_ssrcs.get(&block.ssrc);
            let Some(entry) = leg.and_then(|leg| self.tracks.leg_mut(*leg)) else {
                continue;
            };
            let measured = entry.leg.handle_report_block(ntp, &block);
            if let Some(round_trip) = measured {
                let nanos = u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX);
                self.counters.record(Histogram::RoundTrip, nanos, 1);
            }
            session.round_trip = entry.leg.round_trip().or(session.round_trip);
        }
        if let (Some(congestion), Some(round_trip)) = (&mut session.congestion, session.round_trip)
        {
            congestion.handle_round_trip(round_trip);
        }
    }

    /// Sends a packet again, from the cache of its layer.
    fn retransmit(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        ssrc: u32,
        number: u16,
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        let session = self
            .sessions
            .get_mut(key)
            .ok_or(DropReason::RetransmissionMiss)?;
        let leg_key = *session
            .leg_ssrcs
            .get(&ssrc)
            .ok_or(DropReason::UnknownSsrc)?;
        let (entry, track) = self
            .tracks
            .leg_and_track(leg_key)
            .ok_or(DropReason::RetransmissionMiss)?;
        let (congestion, unmeasured) = (&mut session.congestion, &mut session.unmeasured_repeats);
        let afford = |asked: &Asked<'_>| match congestion {
            Some(congestion) => congestion.afford_repeat(now, asked),
            None => unmeasured.spend(now, u64::MAX, asked.packet.bytes.len()),
        };
        let (leg, publication) = (&mut entry.leg, &track.publication);
        let repeat = match leg.retransmit(now, publication, number, afford) {
            Ok(repeat) => repeat,
            Err(refused) => {
                if refused.times_in_need > 0 {
                    self.give_up_repairs(now, key, leg_key, refused.times_in_need, out);
                }
                return Err(refused.reason);
            }
        };
        let congestion = session.congestion.as_deref_mut();
        let bytes = repeat.packet.bytes.len();
        let leaves_twice =
            congestion.is_some_and(|c| c.affords_copy(now, bytes, repeat.is_another));
        let copy = leaves_twice.then(|| leg.copy(&repeat)).flatten();
        let way = Way::to(session, &mut self.counters, out);
        let mut way = way.ok_or(DropReason::SubscriberNotConnected)?;
        way.repeat(now, entry, &repeat);
        if let Some(copy) = &copy {
            way.repeat(now, entry, copy);
        }
        let sent = 1 + u64::from(copy.is_some());
        self.counters.add(Counter::RtpPacketsRetransmitted, sent);
        Ok(())
    }

    fn take_keyframe_request(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        media: u32,
        request: Feedback,
        out: &mut impl Outbox,
    ) {
        self.counters.increment(Counter::KeyframeRequestsReceived);
        if let Some(leg) = self.count_feedback(key, media, request) {
            self.keyframe_asked(now, leg, out);
        }
    }

    /// Counts what a subscriber asks for of one leg, which is returned.
    fn count_feedback(&mut self, key: SessionKey, ssrc: u32, feedback: Feedback) -> Option<LegKey> {
        let leg = *self.sessions.get(key)?.leg_ssrcs.get(&ssrc)?;
        let entry = self.tracks.leg_mut(leg)?;
        entry.leg.statistics.count_feedback(feedback);
        Some(leg)
    }

    /// Now, in the server's NTP time.
    pub(super) fn ntp(&self, now: Timestamp) -> NtpTime {
        self.config.ntp_origin + now.since(Timestamp::default())
    }
}
