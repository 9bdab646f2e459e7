//! RTCP that we send: what is missing, when packets came, how we receive, how our time runs.

use arrayvec::ArrayVec;
use shared::counters::Counter;

use super::Shard;
use super::sessions::{SessionKey, Sessions};
use super::tracks::{LegKey, PublicationKey};
use crate::outbox::{DATAGRAM_BYTES_MAX, Outbox};
use crate::rtcp::{ReportBlock, RtcpWriter};
use crate::session::cname;
use crate::srtp::RTCP_OVERHEAD_MAX;
use crate::time::Timestamp;

impl Shard {
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
                layer.count_nack();
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
        self.measure_legs(now, key);
    }

    fn measure_legs(&mut self, now: Timestamp, key: SessionKey) {
        let session = self.sessions.get(key);
        for (_, leg) in session.map_or(&[][..], |session| &session.legs) {
            self.tracks.measure(now, *leg);
        }
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

    pub(super) fn send_rtcp(
        &mut self,
        key: SessionKey,
        out: &mut impl Outbox,
        write: impl FnOnce(u32, &mut RtcpWriter<'_>),
    ) {
        send_rtcp(&mut self.sessions, key, out, write);
    }
}

/// Writes, seals and sends one compound packet, if the session has a way to its client and `write`
/// wrote anything.
fn send_rtcp(
    sessions: &mut Sessions,
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
