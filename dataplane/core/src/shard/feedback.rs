//! RTCP: what clients report and ask for, and what we report to and ask of them.

use arrayvec::ArrayVec;
use shared::counters::{Counter, DropReason};

use super::Shard;
use super::fan_out::seal_repeat;
use super::relays::sender_report;
use super::sessions::SessionKey;
use super::tracks::{LegKey, Origin, PublicationKey};
use crate::ingress::keyframe::KeyframeRequest;
use crate::ingress::report::ClockMapping;
use crate::outbox::{DATAGRAM_BYTES_MAX, Outbox, Path};
use crate::relay::RelayMessage;
use crate::rtcp::{Packet, ReportBlock, RtcpWriter, packets};
use crate::session::cname;
use crate::session::ssrcs::Stream;
use crate::srtp::RTCP_OVERHEAD_MAX;
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
        let key = self
            .sessions
            .by_path(path)
            .ok_or(DropReason::UnknownAddress)?;
        self.current = Some(key);
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
                for number in numbers {
                    self.counters.increment(Counter::NacksReceived);
                    if let Err(reason) = self.retransmit(now, key, media, number, out) {
                        self.counters.dropped(reason);
                    }
                }
            }
            Packet::PictureLossIndication { media, .. } => {
                self.keyframe_asked(now, key, media, out);
            }
            Packet::FullIntraRequest { entries, .. } => {
                for (media, _) in entries {
                    self.keyframe_asked(now, key, media, out);
                }
            }
            // A source that says goodbye falls silent, which is noticed as such. Transport-wide
            // feedback and REMB are for the bandwidth estimator, which is not built yet: neither
            // is negotiated with subscribers.
            Packet::Bye { .. }
            | Packet::SourceDescription
            | Packet::TransportFeedback(_)
            | Packet::ReceiverEstimatedMaximumBitrate { .. }
            | Packet::Other { .. } => {}
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
        let ntp = session.clock.translate(reported.ntp, arrived_at);
        let Some(track) = self.tracks.get_mut(binding.publication) else {
            return;
        };
        let Some(layer) = track.publication.layer_mut(binding.layer) else {
            return;
        };
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
            entry.leg.handle_report_block(ntp, &block);
            session.round_trip = entry.leg.round_trip().or(session.round_trip);
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
            .get(key)
            .ok_or(DropReason::RetransmissionMiss)?;
        let leg = session
            .leg_ssrcs
            .get(&ssrc)
            .ok_or(DropReason::UnknownSsrc)?;
        let (entry, track) = self
            .tracks
            .leg_and_track(*leg)
            .ok_or(DropReason::RetransmissionMiss)?;
        let repeat = entry.leg.retransmit(now, &track.publication, number)?;
        let (path, sender) = session
            .transport
            .media_route()
            .ok_or(DropReason::SubscriberNotConnected)?;
        out.datagram(path, |slot| {
            seal_repeat(entry, &repeat, sender, slot).unwrap_or(0)
        });
        self.counters.increment(Counter::RtpPacketsRetransmitted);
        Ok(())
    }

    /// A subscriber asks for a key frame of what it gets.
    fn keyframe_asked(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        ssrc: u32,
        out: &mut impl Outbox,
    ) {
        self.counters.increment(Counter::KeyframeRequestsReceived);
        let session = self.sessions.get(key);
        let leg = session.and_then(|session| session.leg_ssrcs.get(&ssrc));
        let Some(entry) = leg.and_then(|leg| self.tracks.leg(*leg)) else {
            return;
        };
        if let (Some(track), Some(layer)) = (entry.track, entry.leg.keyframe_layer()) {
            self.need_keyframe(now, track, layer, out);
        }
    }

    /// A leg begins, or its session has connected: it needs a key frame of the layer that it is to
    /// get.
    pub(super) fn start_leg(&mut self, now: Timestamp, key: LegKey, out: &mut impl Outbox) {
        let Some((entry, track)) = self.tracks.leg_and_track(key) else {
            return;
        };
        entry.leg.select(now, &track.publication);
        if let (Some(track), Some(layer)) = (entry.track, entry.leg.wants_keyframe()) {
            self.need_keyframe(now, track, layer, out);
        }
    }

    /// Someone needs a key frame of a layer. It is asked for at once unless it was just now.
    pub(super) fn need_keyframe(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        layer: u8,
        out: &mut impl Outbox,
    ) {
        let track = self.tracks.get_mut(key);
        if let Some(layer) = track.and_then(|track| track.publication.layer_mut(layer)) {
            layer.keyframes.need();
        }
        self.ask_for_keyframe(now, key, layer, out);
    }

    /// Passes the request on if it is due: to the publisher, or to the shard that owns it.
    pub(super) fn ask_for_keyframe(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        index: u8,
        out: &mut impl Outbox,
    ) {
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        let (origin, publication) = (track.origin, track.publication.id());
        let Some(layer) = track.publication.layer_mut(index) else {
            return;
        };
        // Without an SSRC there is nobody to ask yet; the need stays.
        let ssrc = layer.ssrc();
        if matches!(origin, Origin::Owned(_)) && ssrc.is_none() {
            return;
        }
        let Some(request) = layer.keyframes.poll(now) else {
            return;
        };
        match origin {
            Origin::Mirrored(owner) => {
                let message = RelayMessage::KeyframeNeeded {
                    publication,
                    layer: index,
                };
                out.relay(owner, message, &[]);
            }
            Origin::Owned(session) => {
                let media = ssrc.unwrap_or_default();
                self.counters.increment(Counter::KeyframeRequestsSent);
                self.send_rtcp(session, out, |sender, writer| {
                    writer.receiver_report(sender, &[]);
                    match request {
                        KeyframeRequest::PictureLossIndication => {
                            writer.picture_loss_indication(sender, media)
                        }
                        KeyframeRequest::FullIntraRequest { sequence_number } => {
                            writer.full_intra_request(sender, media, sequence_number)
                        }
                    };
                });
            }
        }
    }

    /// On every tick, to a publisher: what is missing, and when its packets came.
    pub(super) fn send_feedback(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.transport.media_route().is_none() {
            return;
        }
        let round_trip = session.round_trip;
        let tracks = session.publications.iter().map(|(_, track)| *track);
        let tracks: ArrayVec<PublicationKey, { shared::limits::PUBLICATIONS_PER_SESSION_MAX }> =
            tracks.collect();
        for track in tracks {
            let Some(track) = self.tracks.get_mut(track) else {
                continue;
            };
            for (_, layer) in track.publication.layers_mut() {
                let mut numbers = ArrayVec::<u16, NACK_NUMBERS_MAX>::new();
                layer.missing().poll(now, round_trip, &mut numbers);
                let (Some(media), false) = (layer.ssrc(), numbers.is_empty()) else {
                    continue;
                };
                self.counters.add(Counter::NacksSent, numbers.len() as u64);
                send_rtcp(&mut self.sessions, key, out, |sender, writer| {
                    writer.receiver_report(sender, &[]);
                    writer.nack(sender, media, &numbers);
                });
            }
        }
        self.send_transport_feedback(now, key, out);
    }

    fn send_transport_feedback(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(mut recorder) = session.transport_feedback.take() else {
            return;
        };
        while recorder.is_due(now) {
            self.send_rtcp(key, out, |sender, writer| {
                writer.receiver_report(sender, &[]);
                recorder.write(now, sender, writer);
            });
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.transport_feedback = Some(recorder);
        }
    }

    /// Once a second: how we receive the client, and how what we send maps to time.
    pub(super) fn send_reports(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        self.send_receiver_report(now, key, out);
        self.send_sender_reports(now, key, out);
    }

    fn send_receiver_report(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let mut blocks = ArrayVec::<ReportBlock, { RtcpWriter::COUNT_MAX }>::new();
        for (_, track) in &session.publications {
            let Some(track) = self.tracks.get_mut(*track) else {
                continue;
            };
            for (_, layer) in track.publication.layers_mut() {
                // More layers than one report holds are not met with; they would take turns.
                if let Some(block) = layer.report_block(now).filter(|_| !blocks.is_full()) {
                    blocks.push(block);
                }
            }
        }
        if blocks.is_empty() {
            return;
        }
        let name = cname(session.id);
        self.send_rtcp(key, out, |sender, writer| {
            writer.receiver_report(sender, &blocks);
            writer.cname(sender, &name);
        });
    }

    fn send_sender_reports(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let ntp = self.ntp(now);
        let mut done = 0;
        loop {
            // Copied batch by batch, never taken out of the session: should a report panic, the
            // session must still know what is to be ended with it.
            let session = self.sessions.get(key);
            let rest = session.and_then(|session| session.legs.get(done..));
            let batch: ArrayVec<LegKey, REPORTS_PER_DATAGRAM> = rest
                .unwrap_or_default()
                .iter()
                .map(|(_, leg)| *leg)
                .take(REPORTS_PER_DATAGRAM)
                .collect();
            if batch.is_empty() {
                return;
            }
            done += batch.len();
            let tracks = &mut self.tracks;
            send_rtcp(&mut self.sessions, key, out, |_, writer| {
                for leg in &batch {
                    let Some((entry, track)) = tracks.leg_and_track(*leg) else {
                        continue;
                    };
                    if let Some(info) = entry.leg.sender_report(ntp, &track.publication) {
                        writer.sender_report(entry.leg.ssrc(), &info, &[]);
                        writer.cname(entry.leg.ssrc(), &cname(track.publication.id().session));
                    }
                }
            });
        }
    }

    /// BYE for legs that end (RFC 3550 §6.6).
    pub(super) fn say_goodbye(&mut self, key: SessionKey, legs: &[LegKey], out: &mut impl Outbox) {
        for batch in legs.chunks(LEGS_PER_GOODBYE) {
            let entries = batch.iter().filter_map(|leg| self.tracks.leg(*leg));
            let sources: ArrayVec<u32, { RtcpWriter::COUNT_MAX }> =
                entries.flat_map(|entry| entry.leg.sources()).collect();
            self.send_rtcp(key, out, |sender, writer| {
                writer.receiver_report(sender, &[]);
                writer.bye(&sources);
            });
        }
    }

    fn send_rtcp(
        &mut self,
        key: SessionKey,
        out: &mut impl Outbox,
        write: impl FnOnce(u32, &mut RtcpWriter<'_>),
    ) {
        send_rtcp(&mut self.sessions, key, out, write);
    }

    /// Now, in the server's NTP time.
    fn ntp(&self, now: Timestamp) -> NtpTime {
        self.config.ntp_origin + now.since(Timestamp::default())
    }
}

/// Writes, seals and sends one compound packet, if the session has a way to its client and `write`
/// wrote anything.
fn send_rtcp(
    sessions: &mut super::sessions::Sessions,
    key: SessionKey,
    out: &mut impl Outbox,
    write: impl FnOnce(u32, &mut RtcpWriter<'_>),
) {
    let Some(session) = sessions.get_mut(key) else {
        return;
    };
    let report_ssrc = session.report_ssrc;
    let Some((path, sender)) = session.transport.control_route() else {
        return;
    };
    out.datagram(path, |slot| {
        let len = slot.get_mut(..RTCP_BYTES_MAX).map_or(0, |room| {
            let mut writer = RtcpWriter::new(room);
            write(report_ssrc, &mut writer);
            writer.len()
        });
        if len == 0 {
            0
        } else {
            sender.seal_rtcp(len, slot).unwrap_or(0)
        }
    });
}

/// What is left of a datagram after the SRTCP trailer.
const RTCP_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - RTCP_OVERHEAD_MAX;

/// Numbers asked for from one layer on one tick.
const NACK_NUMBERS_MAX: usize = 128;

/// A sender report of 28 bytes and a CNAME of 44.
const REPORTS_PER_DATAGRAM: usize = 16;
const _: () = assert!(REPORTS_PER_DATAGRAM * (28 + 44) <= RTCP_BYTES_MAX);

/// BYE holds 31 sources; a leg has one or two.
const LEGS_PER_GOODBYE: usize = RtcpWriter::COUNT_MAX / 2;
