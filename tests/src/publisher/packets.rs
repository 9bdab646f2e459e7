//! How the packets of a published track are written: media, padding, retransmissions.

use bytes::{BufMut, Bytes, BytesMut};
use dataplane_core::time::Timestamp;
use rtp::header::Header;
use rtp::packet::Packet;
use shared::protocol::MediaKind;
use webrtc_util::marshal::Marshal;

use super::layer::Sent;
use super::{PublishedTrack, Repair, Scene, Uplink, ids, mid_of, payload_type, rtx_payload_type};
use crate::codecs;
use crate::content::{Content, Published};

impl PublishedTrack {
    /// A packet of media.
    pub(super) fn send(
        &mut self,
        layer: usize,
        (content, published): (Content, &Published),
        uplink: &mut Uplink<'_>,
    ) {
        let mut payload = BytesMut::new();
        payload.put(codecs::head(published, content, self.spec.picture_ids));
        payload.put(published.body(content));
        let mut packet = Packet {
            header: self.header(layer, published.index, published.timestamp),
            payload: payload.freeze(),
        };
        packet.header.marker = published.marker;
        let transport = uplink.transport.take();
        self.identify(&mut packet.header, transport);
        let rid = self.layers[layer].rid();
        let rid = rid.map(|rid| (ids::RID, Bytes::from(rid)));
        set_extensions(&mut packet.header, rid);
        let id = match self.spec.kind() {
            MediaKind::Audio => ids::AUDIO_LEVEL,
            MediaKind::Video => ids::ORIENTATION,
        };
        let own = published.extension.map(|value| (id, vec![value].into()));
        set_extensions(&mut packet.header, own);
        if self.spec.scene == Scene::Screen && published.is_key && published.marker {
            let screen = (ids::CONTENT_TYPE, Bytes::from_static(&[1]));
            set_extensions(&mut packet.header, [screen]);
        }
        let descriptor = codecs::dependency_descriptor(published, content);
        let descriptor = descriptor.map(|own| (ids::DEPENDENCIES, own));
        set_extensions(&mut packet.header, descriptor);
        let state = &mut self.layers[layer];
        state.packets += 1;
        state.octets += packet.payload.len() as u32;
        let sent = Sent {
            index: published.index,
            transport,
            sealed: uplink.srtp.protect_rtp(&packet),
            plain: Some(packet),
        };
        state.send(sent, uplink.out);
    }

    /// A packet of padding only, as senders use it to probe for bandwidth.
    pub(super) fn probe(&mut self, layer: usize, captured_at: Timestamp, uplink: &mut Uplink<'_>) {
        let rate = self.spec.clock_rate();
        let state = &mut self.layers[layer];
        let (index, timestamp) = (state.take_index(), state.timestamp(captured_at, rate));
        let mut header = self.header(layer, index, timestamp);
        let transport = uplink.transport.take();
        self.identify(&mut header, transport);
        let mut plain = header.marshal().unwrap().to_vec();
        plain[0] |= 0x20;
        plain.extend([0; 99]);
        plain.push(100);
        let sent = Sent {
            index,
            transport,
            plain: None,
            sealed: uplink.srtp.protect_plain_rtp(&plain),
        };
        self.layers[layer].send(sent, uplink.out);
    }

    /// A packet once more: as it was, or in the stream of retransmissions (RFC 4588).
    pub(super) fn repair(&mut self, layer: usize, sent: Sent, uplink: &mut Uplink<'_>) {
        let plain = match &sent.plain {
            Some(plain) if self.spec.repair == Repair::Rtx => plain,
            _ => {
                let state = &self.layers[layer];
                state.put(sent.index, sent.transport, sent.sealed, uplink.out);
                return;
            }
        };
        let mut payload = BytesMut::new();
        payload.put_u16(plain.header.sequence_number);
        payload.put(plain.payload.clone());
        let state = &mut self.layers[layer];
        let mut packet = Packet {
            header: Header {
                version: 2,
                marker: plain.header.marker,
                payload_type: rtx_payload_type(self.spec.kind()),
                sequence_number: state.take_rtx_number(),
                timestamp: plain.header.timestamp,
                ssrc: state.rtx_ssrc,
                ..Header::default()
            },
            payload: payload.freeze(),
        };
        let rid = state.rid();
        let transport = uplink.transport.take();
        self.identify(&mut packet.header, transport);
        let own = plain.header.extensions.iter();
        let own = own.filter(|own| own.id >= ids::AUDIO_LEVEL);
        let own = own.map(|own| (own.id, own.payload.clone()));
        set_extensions(&mut packet.header, own);
        let rid = rid.map(|rid| (ids::REPAIRED_RID, Bytes::from(rid)));
        set_extensions(&mut packet.header, rid);
        let sealed = uplink.srtp.protect_rtp(&packet);
        self.layers[layer].put(sent.index, transport, sealed, uplink.out);
    }

    fn header(&self, layer: usize, index: u64, timestamp: u32) -> Header {
        Header {
            version: 2,
            payload_type: payload_type(self.spec.kind()),
            sequence_number: index as u16,
            timestamp,
            ssrc: self.layers[layer].ssrc,
            ..Header::default()
        }
    }

    /// What every packet has.
    fn identify(&self, header: &mut Header, transport: u64) {
        let mid = Bytes::from(mid_of(self.id.number));
        let number = Bytes::copy_from_slice(&(transport as u16).to_be_bytes());
        set_extensions(header, [(ids::MID, mid), (ids::TRANSPORT, number)]);
    }
}

fn set_extensions(header: &mut Header, of: impl IntoIterator<Item = (u8, Bytes)>) {
    for (id, value) in of {
        header.set_extension(id, value).unwrap();
    }
}
