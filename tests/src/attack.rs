//! Datagrams that a client would not send if it meant well, and other things that tests do by hand.

use dataplane_core::time::Timestamp;
use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};
use rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtp::header::Header;
use rtp::packet::Packet;
use shared::id::PublicationId;
use webrtc_util::marshal::Marshal;

use crate::peer::Client;
use crate::peer::crypto::ClientSrtp;
use crate::publisher::payload_type;
use crate::world::World;

/// Transport-wide feedback that a client makes up: all of some packets came, equally spaced.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The first packet.
    pub base: u16,
    /// How many.
    pub count: u16,
    /// When the first came, 64 ms each, 24 bits.
    pub reference_time: u32,
    /// Between each and the one before it, 250 us each.
    pub spacing: i16,
}

impl Claim {
    fn to_bytes(self) -> Vec<u8> {
        let symbol = match self.spacing {
            0..=255 => SymbolTypeTcc::PacketReceivedSmallDelta,
            _ => SymbolTypeTcc::PacketReceivedLargeDelta,
        };
        let delta = RecvDelta {
            type_tcc_packet: symbol,
            delta: i64::from(self.spacing) * 250,
        };
        let feedback = TransportLayerCc {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence_number: self.base,
            packet_status_count: self.count,
            reference_time: self.reference_time & 0xff_ffff,
            fb_pkt_count: 0,
            packet_chunks: vec![PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: symbol,
                run_length: self.count,
            })],
            recv_deltas: vec![delta; usize::from(self.count)],
        };
        feedback.marshal().unwrap().to_vec()
    }
}

impl World {
    /// Lets a client tell of packets what may not be so.
    pub fn claim(&mut self, client: usize, claim: Claim) {
        self.send_rtcp(client, &claim.to_bytes());
    }

    /// The SRTP of a client that is connected.
    pub fn srtp_of(&mut self, client: usize) -> &mut ClientSrtp {
        self.clients[client].srtp.as_mut().expect("connected")
    }

    /// A plain packet of a track, of which no real one is sent.
    pub fn plain_packet(&self, id: PublicationId, sequence_number: u16) -> Vec<u8> {
        let track = self.track(id);
        let packet = Packet {
            header: Header {
                version: 2,
                payload_type: payload_type(track.spec.kind()),
                sequence_number,
                ssrc: track.layers[0].ssrc,
                ..Header::default()
            },
            payload: vec![0x42; 40].into(),
        };
        packet.marshal().unwrap().to_vec()
    }

    /// A sealed packet of an SSRC of its own.
    pub fn media_of(&mut self, client: usize) -> Vec<u8> {
        let packet = Packet {
            header: Header {
                version: 2,
                payload_type: 111,
                sequence_number: 7,
                ssrc: 0x0bad_5eed,
                ..Header::default()
            },
            payload: vec![0x42; 40].into(),
        };
        self.srtp_of(client).protect_rtp(&packet)
    }

    /// Asks for packets again.
    pub fn nack(&mut self, client: usize, media_ssrc: u32, numbers: &[u16]) {
        let nack = TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc,
            nacks: nack_pairs_from_sequence_numbers(numbers),
        };
        self.send_rtcp(client, &nack.marshal().unwrap());
    }

    /// Seals and sends a compound packet, or what pretends to be one.
    pub fn send_rtcp(&mut self, client: usize, plain: &[u8]) {
        let sealed = self.srtp_of(client).protect_rtcp(plain);
        self.send(client, sealed);
    }

    /// Seals and sends a packet, or what pretends to be one.
    pub fn send_rtp(&mut self, client: usize, plain: &[u8]) {
        let sealed = self.srtp_of(client).protect_plain_rtp(plain);
        self.send(client, sealed);
    }

    /// A client's next check, due or not.
    pub fn check_of(&mut self, client: usize, password: &str) -> Vec<u8> {
        let id = stun::agent::TransactionId(self.rng.bytes());
        self.clients[client].ice.check(id, password)
    }
}

impl Client {
    /// When the last packet of a subscription came.
    pub fn last_packet_at(&self, subscription: usize) -> Option<Timestamp> {
        let packets = self.subscriptions[subscription].received.values();
        packets.map(|packet| packet.at).max()
    }
}
