//! What a client tells of when packets came: transport-wide feedback, as browsers send it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), written by webrtc-rs.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use dataplane_core::time::Timestamp;
use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use webrtc_util::marshal::Marshal;

use crate::publisher::nearest;

/// When packets came, by their transport-wide sequence numbers.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Not told of yet.
    new: BTreeMap<u64, Timestamp>,
    /// The number after the last one that was told of.
    next: Option<u64>,
    first: Option<u64>,
    highest: Option<u64>,
    next_feedback_at: Timestamp,
    count: u8,
    /// Numbers that came more than once.
    pub repeated: u64,
    /// How many came.
    pub received: u64,
}

impl Arrivals {
    /// A packet came.
    pub fn record(&mut self, now: Timestamp, number: u16) {
        let number = self
            .highest
            .map_or_else(|| u64::from(number), |highest| nearest(highest, number));
        self.first.get_or_insert(number);
        self.highest = self.highest.max(Some(number));
        self.received += 1;
        if self.new.insert(number, now).is_some() {
            self.repeated += 1;
        }
    }

    /// The highest number that came.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Numbers between the first and the last that never came.
    pub fn missing(&self) -> u64 {
        let span = self.first.zip(self.highest);
        let expected = span.map_or(0, |(first, last)| last - first + 1);
        expected - self.received + self.repeated
    }

    /// Tells of all that came since the last time, if it is time.
    pub fn poll(&mut self, now: Timestamp) -> Option<Bytes> {
        if self.next_feedback_at > now || self.new.is_empty() {
            return None;
        }
        self.next_feedback_at = now + FEEDBACK_INTERVAL;
        let first = *self.new.first_key_value()?.0;
        // What is missing since the last feedback is told too, what came late from where it is.
        // Where more is missing than one feedback can tell, it begins anew.
        let told = self
            .next
            .filter(|next| first.saturating_sub(*next) < STATUSES_MAX);
        let base = told.map_or(first, |next| next.min(first));
        let mut last = base;
        let reference = self.new.first_key_value()?.1.as_micros() / REFERENCE_MICROS;
        let mut at = reference * REFERENCE_MICROS / TICK_MICROS;
        let (mut symbols, mut deltas) = (Vec::new(), Vec::new());
        for number in base..base + STATUSES_MAX {
            let Some(arrival) = self.new.remove(&number) else {
                symbols.push(SymbolTypeTcc::PacketNotReceived);
                if self.new.is_empty() {
                    symbols.pop();
                    break;
                }
                continue;
            };
            let ticks = arrival.as_micros() / TICK_MICROS;
            let delta = ticks as i64 - at as i64;
            at = ticks;
            let symbol = if (0..256).contains(&delta) {
                SymbolTypeTcc::PacketReceivedSmallDelta
            } else {
                SymbolTypeTcc::PacketReceivedLargeDelta
            };
            symbols.push(symbol);
            deltas.push(RecvDelta {
                type_tcc_packet: symbol,
                delta: delta * TICK_MICROS as i64,
            });
            last = number + 1;
        }
        self.next = Some(self.next.map_or(last, |next| next.max(last)));
        self.count = self.count.wrapping_add(1);
        let chunks = symbols.chunks(7).map(|symbols| {
            let mut symbol_list = symbols.to_vec();
            symbol_list.resize(7, SymbolTypeTcc::PacketNotReceived);
            PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list,
            })
        });
        let feedback = TransportLayerCc {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence_number: base as u16,
            packet_status_count: symbols.len() as u16,
            reference_time: reference as u32 & 0xff_ffff,
            fb_pkt_count: self.count,
            packet_chunks: chunks.collect(),
            recv_deltas: deltas,
        };
        Some(feedback.marshal().unwrap())
    }
}

/// As browsers do at some Mb/s.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// So many statuses fit one packet with ease.
const STATUSES_MAX: u64 = 400;
const REFERENCE_MICROS: u64 = 64_000;
const TICK_MICROS: u64 = 250;
