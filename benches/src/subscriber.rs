//! A subscriber: pulls the publishers' tracks, counts and checks what comes.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval};
use webrtc_util::marshal::{MarshalSize, Unmarshal};

use crate::description::{
    ArrivalReports, Local, Remote, Retransmission, Section, subscriber_answer,
};
use crate::error::LoadError;
use crate::ice::Credentials;
use crate::media::{Kind, check};
use crate::options::Verify;
use crate::peer::{DATAGRAM_BYTES_MAX, Peer, Protocol, open_rtcp};
use crate::publisher::PublisherTotals;
use crate::report::Latencies;
use crate::run::Shared;
use crate::track::{Arrival, Counts, ReceivedTrack};

/// A subscriber that has joined.
#[derive(Debug)]
pub struct Subscriber {
    peer: Peer,
    sections: Vec<Section>,
    tracks: Vec<ReceivedTrack>,
    verify: Verify,
    retransmission: Retransmission,
    /// From the first call to the end of DTLS.
    pub connected_after: Duration,
    joined_at: Instant,
    first_media_after: Option<Duration>,
    last_sender_report: Option<(u32, u64, Instant)>,
    latencies: Latencies,
    other: Other,
}

/// What is counted of a subscriber beside its tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Other {
    unknown_ssrc: u64,
    sender_reports: u64,
    key_frame_requests: u64,
    nacked: u64,
    recovered: u64,
}

/// What became of a subscriber.
#[derive(Debug)]
pub struct SubscriberResult {
    /// All tracks together.
    pub counts: Counts,
    /// Tracks that got packets.
    pub tracks: usize,
    /// From the first call to the end of DTLS.
    pub connected_after: Duration,
    /// From the first call to the first packet that was checked.
    pub first_media_after: Option<Duration>,
    /// From publisher to subscriber.
    pub latencies: Latencies,
    /// Datagrams that our own socket dropped.
    pub socket_drops: u64,
    /// Packets of SSRCs or payload types that were not offered.
    pub unknown: u64,
    /// Sender reports that the server forwarded or made.
    pub sender_reports: u64,
    /// PLIs that we sent.
    pub key_frame_requests: u64,
    /// Sequence numbers that we asked for again.
    pub nacked: u64,
    /// Packets that came by RTX.
    pub recovered: u64,
}

impl Subscriber {
    /// Makes a session, pulls all publishers' tracks and connects.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the server refuses or does not answer.
    pub async fn join(shared: &Shared) -> Result<Self, LoadError> {
        let joined_at = Instant::now();
        let local = Local {
            ice: Credentials::random(),
            fingerprint: shared.identity.fingerprint.clone(),
        };
        let retransmission = if shared.options.nack {
            Retransmission::Rtx
        } else {
            Retransmission::None
        };
        let session = shared.api.new_session().await?;
        let offer = Remote::parse(&shared.api.pull(&session, &shared.published()).await?)?;
        let answer = subscriber_answer(&local, &offer, retransmission, ArrivalReports::None);
        shared.api.renegotiate(&session, &answer).await?;
        let (preferred, choice) = (shared.api_address, shared.options.profile);
        let peer = Peer::connect(&local, &offer, preferred, &shared.identity, choice).await?;
        Ok(Self {
            peer,
            sections: offer.sections,
            tracks: Vec::new(),
            verify: shared.options.verify,
            retransmission,
            connected_after: joined_at.elapsed(),
            joined_at,
            first_media_after: None,
            last_sender_report: None,
            latencies: Latencies::default(),
            other: Other::default(),
        })
    }

    /// Receives until `stop` says so; then compares with what the publishers sent, which `sent`
    /// holds by then.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the socket fails.
    pub async fn run(
        mut self,
        shared: &Shared,
        mut stop: watch::Receiver<bool>,
        sent: watch::Receiver<Vec<PublisherTotals>>,
    ) -> Result<SubscriberResult, LoadError> {
        let early = core::mem::take(&mut self.peer.early);
        for datagram in &early {
            self.handle(datagram, shared);
        }
        let socket = Arc::clone(&self.peer.socket);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut repair = interval(REPAIR_INTERVAL);
        repair.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = Due::at(Instant::now());
        while !*stop.borrow() {
            tokio::select! {
                readable = socket.readable() => {
                    readable?;
                    let mut received = 0;
                    while received < BATCH_MAX && let Ok(length) = socket.try_recv(&mut buffer) {
                        self.handle(buffer.get(..length).unwrap_or_default(), shared);
                        received += 1;
                    }
                    shared.received.fetch_add(received, Ordering::Relaxed);
                    // A peer with much to read must not keep the others from their reports.
                    yield_now().await;
                }
                _ = repair.tick() => self.work_by_time(&mut due)?,
                _ = stop.changed() => {}
            }
        }
        let socket_drops = self.peer.socket_drops();
        let sent = sent.borrow().clone();
        let result = self.result(&sent, socket_drops);
        self.peer.close().await;
        Ok(result)
    }

    /// By the clock, not by ticks: an overloaded peer skips ticks, and must still be heard of.
    fn work_by_time(&mut self, due: &mut Due) -> Result<(), LoadError> {
        let now = Instant::now();
        let rounds = self.joined_at.elapsed().as_millis() / REPAIR_INTERVAL.as_millis();
        self.repair(u32::try_from(rounds).unwrap_or(u32::MAX))?;
        if now >= due.key_frames {
            due.key_frames = now + KEY_FRAME_INTERVAL;
            self.ask_for_key_frames()?;
        }
        if now >= due.report {
            due.report = now + REPORT_INTERVAL;
            self.report()?;
            self.peer.keep_alive()?;
        }
        Ok(())
    }

    fn handle(&mut self, datagram: &[u8], shared: &Shared) {
        match Protocol::of(datagram) {
            Protocol::Rtp => self.handle_rtp(datagram, shared),
            Protocol::Rtcp => self.handle_rtcp(datagram),
            other @ (Protocol::Stun | Protocol::Dtls | Protocol::Unknown) => {
                self.peer.handle_control(other, datagram);
            }
        }
    }

    fn handle_rtp(&mut self, sealed: &[u8], shared: &Shared) {
        let Some((fixed, _)) = sealed.split_first_chunk::<12>() else {
            return;
        };
        let [_, second, n0, n1, _, _, _, _, s0, s1, s2, s3] = *fixed;
        let payload_type = second & 0x7f;
        let sequence_number = u16::from_be_bytes([n0, n1]);
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let by_type = |section: &&Section| section.payload_type == payload_type;
        let Some(section) = self.sections.iter().find(by_type) else {
            self.handle_rtx(sealed, ssrc, payload_type, shared);
            return;
        };
        let kind = section.kind;
        let position = self.position_of(ssrc, kind, sequence_number);
        let Some(track) = self.tracks.get_mut(position) else {
            return;
        };
        if track.arrived(sequence_number) == Arrival::Duplicate {
            return;
        }
        // GCM of webrtc-srtp costs 5 us a packet: a sample of 1 in 16, and all until the track is
        // understood. The roll-over counter needs no more than one packet in 32,768.
        let sampled = self.verify == Verify::All || sequence_number.is_multiple_of(16);
        if sampled || !track.is_known() {
            self.open(position, sealed, None, shared);
        }
    }

    /// RFC 4588 §4: the original sequence number, then the payload. Anything else is unknown.
    fn handle_rtx(&mut self, sealed: &[u8], ssrc: u32, payload_type: u8, shared: &Shared) {
        let is_rtx = |section: &&Section| section.rtx_payload_type == Some(payload_type);
        let original = self.sections.iter().filter(is_rtx).find_map(|section| {
            match *section.ssrcs.as_slice() {
                [media, rtx] if rtx == ssrc => Some(media),
                _ => None,
            }
        });
        let track = original
            .and_then(|original| self.tracks.iter().position(|track| track.ssrc == original));
        match (track, original) {
            (Some(position), Some(original)) => self.open(position, sealed, Some(original), shared),
            _ => self.other.unknown_ssrc += 1,
        }
    }

    /// Decrypts and checks a packet of a track; `original` is the media's SSRC if it is an RTX one.
    fn open(&mut self, position: usize, sealed: &[u8], original: Option<u32>, shared: &Shared) {
        let Some(track) = self.tracks.get_mut(position) else {
            return;
        };
        let Ok(packet) = self.peer.secured.incoming.decrypt_rtp(sealed) else {
            track.counts.undecryptable += 1;
            return;
        };
        let Ok(header) = rtp::header::Header::unmarshal(&mut packet.as_ref()) else {
            track.mismatched();
            return;
        };
        let mut payload = packet.get(header.marshal_size()..).unwrap_or_default();
        let mut sequence_number = header.sequence_number;
        if original.is_some() {
            // Padding alone: the server probes for bandwidth.
            let Some((number, rest)) = payload.split_first_chunk::<2>() else {
                return;
            };
            sequence_number = u16::from_be_bytes(*number);
            payload = rest;
            if track.arrived(sequence_number) == Arrival::Duplicate {
                return;
            }
            self.other.recovered += 1;
        }
        if header.padding {
            let padding = packet.last().copied().unwrap_or_default();
            let length = payload.len().saturating_sub(padding.into());
            payload = payload.get(..length).unwrap_or_default();
        }
        let Ok(stamp) = check(track.kind, payload) else {
            track.mismatched();
            return;
        };
        track.verified(sequence_number, header.timestamp, &stamp);
        self.latencies
            .add(shared.elapsed_us().saturating_sub(stamp.sent_us));
        self.first_media_after
            .get_or_insert_with(|| self.joined_at.elapsed());
    }

    fn position_of(&mut self, ssrc: u32, kind: Kind, sequence_number: u16) -> usize {
        if let Some(position) = self.tracks.iter().position(|track| track.ssrc == ssrc) {
            return position;
        }
        self.tracks
            .push(ReceivedTrack::new(kind, ssrc, sequence_number));
        self.tracks.len() - 1
    }

    fn handle_rtcp(&mut self, sealed: &[u8]) {
        for packet in open_rtcp(&mut self.peer.secured.incoming, sealed).unwrap_or_default() {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                self.other.sender_reports += 1;
                self.last_sender_report = Some((report.ssrc, report.ntp_time, Instant::now()));
            }
        }
    }

    /// RFC 3550 §6.4.2.
    fn report(&mut self) -> Result<(), LoadError> {
        let reports = self.tracks.iter().map(|track| {
            let (last_sender_report, delay) = match self.last_sender_report {
                Some((ssrc, ntp, at)) if ssrc == track.ssrc => (
                    u32::try_from((ntp >> 16) & 0xffff_ffff).unwrap_or_default(),
                    u32::try_from((at.elapsed().as_micros() << 16) / 1_000_000).unwrap_or_default(),
                ),
                _ => (0, 0),
            };
            let lost = track.lost();
            ReceptionReport {
                ssrc: track.ssrc,
                fraction_lost: u8::try_from(lost * 256 / track.expected()).unwrap_or(255),
                total_lost: u32::try_from(lost).unwrap_or_default() & 0x7f_ffff,
                last_sequence_number: track.highest_for_report(),
                jitter: 0,
                last_sender_report,
                delay,
            }
        });
        let reports: Vec<_> = reports.take(31).collect();
        let report = ReceiverReport {
            ssrc: OUR_SSRC,
            reports,
            ..ReceiverReport::default()
        };
        self.peer.send_rtcp(&[Box::new(report)])
    }

    fn repair(&mut self, round: u32) -> Result<(), LoadError> {
        if self.retransmission == Retransmission::None {
            return Ok(());
        }
        for track in self
            .tracks
            .iter_mut()
            .filter(|track| track.kind == Kind::Video)
        {
            let numbers = track.take_missing(round);
            if numbers.is_empty() {
                continue;
            }
            self.other.nacked += u64::try_from(numbers.len()).unwrap_or_default();
            let nack = TransportLayerNack {
                sender_ssrc: OUR_SSRC,
                media_ssrc: track.ssrc,
                nacks: nack_pairs_from_sequence_numbers(&numbers),
            };
            self.peer.send_rtcp(&[Box::new(nack)])?;
        }
        Ok(())
    }

    /// As a browser does that cannot decode.
    fn ask_for_key_frames(&mut self) -> Result<(), LoadError> {
        for track in self.tracks.iter().filter(|track| !track.decodable) {
            self.other.key_frame_requests += 1;
            let loss = PictureLossIndication {
                sender_ssrc: OUR_SSRC,
                media_ssrc: track.ssrc,
            };
            self.peer.send_rtcp(&[Box::new(loss)])?;
        }
        Ok(())
    }

    fn result(&mut self, sent: &[PublisherTotals], socket_drops: u64) -> SubscriberResult {
        let mut counts = Counts::default();
        let tracks = core::mem::take(&mut self.tracks);
        let track_count = tracks.len();
        for track in tracks {
            let publisher = track
                .publisher
                .and_then(|index| sent.get(usize::from(index)));
            let total = publisher.map_or(0, |totals| totals.packets(track.kind));
            counts.add(&track.finish(total));
        }
        SubscriberResult {
            counts,
            tracks: track_count,
            connected_after: self.connected_after,
            first_media_after: self.first_media_after,
            latencies: core::mem::take(&mut self.latencies),
            socket_drops,
            unknown: self.other.unknown_ssrc,
            sender_reports: self.other.sender_reports,
            key_frame_requests: self.other.key_frame_requests,
            nacked: self.other.nacked,
            recovered: self.other.recovered,
        }
    }
}

/// When to do what is done by time.
#[derive(Clone, Copy, Debug)]
struct Due {
    key_frames: Instant,
    report: Instant,
}

impl Due {
    /// Everything an interval after `now`.
    fn at(now: Instant) -> Self {
        Self {
            key_frames: now + KEY_FRAME_INTERVAL,
            report: now + REPORT_INTERVAL,
        }
    }
}

/// Subscribers send no media, so any SSRC serves for their RTCP.
const OUR_SSRC: u32 = 1;

/// Datagrams that are taken before other peers of the thread get their turn.
const BATCH_MAX: u64 = 32;

const REPAIR_INTERVAL: Duration = Duration::from_millis(20);

const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
