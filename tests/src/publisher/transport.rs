//! The transport-wide sequence numbers of what a client sends, and what the server says of them.

use core::any::Any;
use std::collections::BTreeSet;

use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};

use super::nearest;
use crate::checker::Checker;

/// Transport-wide sequence numbers of a client, and what feedback says of them.
#[derive(Debug)]
pub struct TransportSequence {
    next: u64,
    first: u64,
    arriving: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

impl TransportSequence {
    /// Numbers from `first` upwards.
    pub fn new(first: u16) -> Self {
        let first = u64::from(first) + (1 << 16);
        Self {
            next: first,
            first,
            arriving: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// How many were given out.
    pub fn sent(&self) -> u64 {
        self.next - self.first
    }

    /// How many the server reported as received.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// A datagram with this number was sent, for the first time or again.
    pub fn fate(&mut self, number: u64, arrives: bool) {
        if arrives {
            self.arriving.insert(number);
        }
    }

    /// Nothing may be reported as received that was not sent, or that was lost.
    pub fn feedback(&mut self, packet: &dyn Any, checker: &mut Checker) {
        let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() else {
            return;
        };
        let base = nearest(self.next, feedback.base_sequence_number);
        let symbols = feedback.packet_chunks.iter().flat_map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                vec![run.packet_status_symbol; usize::from(run.run_length)]
            }
            PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
        });
        let symbols = symbols.take(usize::from(feedback.packet_status_count));
        for (number, symbol) in (base..).zip(symbols) {
            if symbol == SymbolTypeTcc::PacketNotReceived {
                continue;
            }
            if number < self.first || number >= self.next || !self.arriving.contains(&number) {
                checker.fault(format!(
                    "feedback names packet {number}, which did not arrive"
                ));
            }
            self.acknowledged.insert(number);
        }
    }

    pub(super) fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}
