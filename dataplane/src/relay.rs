//! Messages between shards of this process: one inbox for each shard, whose slots are all made at
//! the start.

use std::collections::VecDeque;
use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use dataplane_core::relay::RelayMessage;
use shared::id::ShardIndex;

use crate::sleeper::Sleeper;

/// What other shards have sent to one shard.
#[derive(Debug)]
pub(crate) struct Inbox {
    full: ArrayQueue<Box<Slot>>,
    free: ArrayQueue<Box<Slot>>,
    sleeper: Arc<Sleeper>,
}

/// One message on its way.
#[derive(Debug)]
struct Slot {
    from: ShardIndex,
    message: Option<RelayMessage>,
    packet: ArrayVec<u8, PACKET_BYTES_MAX>,
}

impl Inbox {
    /// An empty inbox of the shard that `sleeper` wakes.
    pub(crate) fn new(sleeper: Arc<Sleeper>) -> Self {
        let inbox = Self {
            full: ArrayQueue::new(SLOTS),
            free: ArrayQueue::new(SLOTS),
            sleeper,
        };
        for _ in 0..SLOTS {
            let slot = Slot {
                from: ShardIndex(0),
                message: None,
                packet: ArrayVec::new(),
            };
            inbox.give_back(Box::new(slot));
        }
        inbox
    }

    /// Takes the oldest message and gives it to `deliver`. False: there is none.
    pub(crate) fn receive(&self, deliver: impl FnOnce(ShardIndex, RelayMessage, &[u8])) -> bool {
        let Some(slot) = self.full.pop() else {
            return false;
        };
        if let Some(message) = slot.message {
            deliver(slot.from, message, &slot.packet);
        }
        self.give_back(slot);
        true
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Puts a message in; false if there is no slot, or none but those kept for messages that
    /// must not be lost.
    fn send(
        &self,
        from: ShardIndex,
        message: RelayMessage,
        packet: &[u8],
        urgency: Urgency,
    ) -> bool {
        let kept = match urgency {
            Urgency::MayBeLost => SLOTS_KEPT,
            Urgency::MustArrive => 0,
        };
        if self.free.len() <= kept {
            return false;
        }
        let Some(mut slot) = self.free.pop() else {
            return false;
        };
        slot.packet.clear();
        if slot.packet.try_extend_from_slice(packet).is_err() {
            self.give_back(slot);
            return false;
        }
        slot.from = from;
        slot.message = Some(message);
        let pushed = self.full.push(slot).is_ok();
        assert!(pushed, "there are as many places as slots");
        true
    }

    fn give_back(&self, slot: Box<Slot>) {
        let pushed = self.free.push(slot).is_ok();
        assert!(pushed, "there are as many places as slots");
    }
}

/// One shard's way to all others.
#[derive(Debug)]
pub(crate) struct RelaySender {
    own: ShardIndex,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    inbox: Arc<Inbox>,
    /// Messages that must arrive and found no slot, in order. As many as the core has news of
    /// publications; it is empty as long as the target keeps up.
    waiting: VecDeque<RelayMessage>,
    /// Something was put in since the last flush.
    touched: bool,
}

/// Whether a message may be lost, as the core's `Outbox` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    MayBeLost,
    MustArrive,
}

impl RelaySender {
    /// Of the shard `own`; `inboxes` are those of all shards, in their order.
    pub(crate) fn new(own: ShardIndex, inboxes: &[Arc<Inbox>]) -> Self {
        let targets = inboxes
            .iter()
            .map(|inbox| Target {
                inbox: Arc::clone(inbox),
                waiting: VecDeque::new(),
                touched: false,
            })
            .collect();
        Self { own, targets }
    }

    /// Sends as [`dataplane_core::Outbox::relay`] says. The target is woken by
    /// [`RelaySender::flush`].
    pub(crate) fn send(
        &mut self,
        target: ShardIndex,
        message: RelayMessage,
        packet: &[u8],
    ) -> bool {
        let own = self.own;
        let Some(target) = self.targets.get_mut(target.as_usize()) else {
            return false;
        };
        target.touched = true;
        let urgency = urgency(&message);
        // Behind what waits, or a packet would overtake the news that it belongs to.
        if target.waiting.is_empty() && target.inbox.send(own, message, packet, urgency) {
            return true;
        }
        match urgency {
            Urgency::MayBeLost => false,
            Urgency::MustArrive => {
                target.waiting.push_back(message);
                true
            }
        }
    }

    /// Tries again what waits, and wakes the shards that have got something.
    pub(crate) fn flush(&mut self) {
        let own = self.own;
        for target in &mut self.targets {
            while let Some(message) = target.waiting.front().copied() {
                if !target.inbox.send(own, message, &[], Urgency::MustArrive) {
                    break;
                }
                target.waiting.pop_front();
            }
            if core::mem::take(&mut target.touched) {
                target.inbox.sleeper.wake();
            }
            // Until it is empty, every turn tries again and wakes again.
            target.touched = !target.waiting.is_empty();
        }
    }

    /// Whether something waits for a slot.
    pub(crate) fn is_waiting(&self) -> bool {
        self.targets.iter().any(|target| !target.waiting.is_empty())
    }
}

fn urgency(message: &RelayMessage) -> Urgency {
    match message {
        RelayMessage::Packet { .. } | RelayMessage::KeyframeNeeded { .. } => Urgency::MayBeLost,
        RelayMessage::Subscribe { .. }
        | RelayMessage::Unsubscribe { .. }
        | RelayMessage::Described { .. }
        | RelayMessage::Gone { .. }
        | RelayMessage::SenderReport { .. } => Urgency::MustArrive,
    }
}

/// Messages under way to one shard: 4 MiB.
const SLOTS: usize = 2048;
/// Slots that packets do not take.
const SLOTS_KEPT: usize = 256;
/// Bytes of a packet: as many as a slot of the receiver holds.
const PACKET_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use dataplane_core::time::Timestamp;
    use shared::channel::pair;
    use shared::id::{PublicationId, SessionId};

    use super::*;

    fn inbox() -> Arc<Inbox> {
        let (doorbell, _bell) = pair().unwrap();
        Arc::new(Inbox::new(Arc::new(Sleeper::new(doorbell))))
    }

    fn publication(number: u32) -> PublicationId {
        PublicationId {
            session: SessionId::new(0, ShardIndex(0), [7; 12]),
            number,
        }
    }

    fn packet(sequence_number: u64) -> RelayMessage {
        RelayMessage::Packet {
            publication: publication(1),
            layer: 0,
            sequence_number,
            received_at: Timestamp::from_millis(5),
        }
    }

    fn received(inbox: &Inbox) -> Vec<(ShardIndex, RelayMessage, Vec<u8>)> {
        let mut all = Vec::new();
        while inbox.receive(|from, message, bytes| all.push((from, message, bytes.to_vec()))) {}
        all
    }

    #[test]
    fn messages_arrive_in_order_with_their_packets_and_their_sender() {
        let inboxes = [inbox(), inbox()];
        let mut sender = RelaySender::new(ShardIndex(0), &inboxes);
        assert!(sender.send(ShardIndex(1), packet(1), b"one"));
        assert!(sender.send(
            ShardIndex(1),
            RelayMessage::Gone {
                publication: publication(1)
            },
            &[]
        ));
        assert!(sender.send(ShardIndex(1), packet(2), &[9; 1500]));
        assert_eq!(
            received(&inboxes[1]),
            [
                (ShardIndex(0), packet(1), b"one".to_vec()),
                (
                    ShardIndex(0),
                    RelayMessage::Gone {
                        publication: publication(1)
                    },
                    vec![]
                ),
                (ShardIndex(0), packet(2), vec![9; 1500]),
            ]
        );
        assert!(inboxes[0].is_empty());
    }

    #[test]
    fn packets_leave_room_for_the_other_messages() {
        let inboxes = [inbox()];
        let mut sender = RelaySender::new(ShardIndex(0), &inboxes);
        let mut packets = 0;
        while sender.send(ShardIndex(0), packet(packets), b"x") {
            packets += 1;
        }
        assert_eq!(packets, (SLOTS - SLOTS_KEPT) as u64);
        for number in 0..256 {
            let message = RelayMessage::Subscribe {
                publication: publication(number),
            };
            assert!(sender.send(ShardIndex(0), message, &[]));
        }
        assert!(!sender.is_waiting());
    }

    #[test]
    fn a_message_that_must_arrive_waits_for_a_slot_and_is_not_overtaken() {
        let inboxes = [inbox()];
        let mut sender = RelaySender::new(ShardIndex(0), &inboxes);
        let subscribe = |number| RelayMessage::Subscribe {
            publication: publication(number),
        };
        for number in 0..3000 {
            assert!(sender.send(ShardIndex(0), subscribe(number), &[]));
        }
        assert!(sender.is_waiting());
        assert!(
            !sender.send(ShardIndex(0), packet(1), b"x"),
            "nothing goes past what waits"
        );
        let mut arrived = received(&inboxes[0]);
        sender.flush();
        arrived.extend(received(&inboxes[0]));
        let numbers: Vec<_> = arrived.iter().map(|(_, message, _)| *message).collect();
        assert_eq!(numbers, (0..3000).map(subscribe).collect::<Vec<_>>());
        assert!(!sender.is_waiting());
    }

    #[test]
    fn a_packet_too_long_for_a_slot_is_lost_and_costs_no_slot() {
        let inboxes = [inbox()];
        let mut sender = RelaySender::new(ShardIndex(0), &inboxes);
        assert!(!sender.send(ShardIndex(0), packet(1), &[0; PACKET_BYTES_MAX + 1]));
        assert_eq!(inboxes[0].free.len(), SLOTS);
    }

    #[test]
    fn the_target_is_woken_at_the_flush() {
        let (doorbell, bell) = pair().unwrap();
        let sleeper = Arc::new(Sleeper::new(doorbell));
        let inboxes = [Arc::new(Inbox::new(Arc::clone(&sleeper)))];
        let mut sender = RelaySender::new(ShardIndex(0), &inboxes);
        sleeper.prepare();
        sender.send(ShardIndex(0), packet(1), b"x");
        sender.flush();
        let mut byte = [0; 8];
        let rung = rustix::net::recv(&bell, &mut byte, rustix::net::RecvFlags::DONTWAIT);
        assert_eq!(rung.unwrap().0, 1);
    }
}
