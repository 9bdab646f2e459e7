//! A shard's side of the channel to the control plane: requests in, responses and events out.

use std::fmt;

use dataplane_core::time::Timestamp;
use shared::channel::{
    Bell, Doorbell, Link, PushError, RegionConsumer, RegionProducer, RingError, ShardMemory,
};
use shared::counters::Counters;
use shared::limits::RECORD_BYTES_MAX;
use shared::protocol::{Command, CommandError, Event, Message, Reply, Response};
use shared::wire;

/// The channel of one shard.
pub(crate) struct CommandPort {
    memory: ShardMemory,
    doorbell: Doorbell,
    bell: Bell,
    rings: Option<Rings>,
    /// Where messages are encoded.
    buffer: Box<[u8]>,
    /// Bytes of a message at the start of `buffer` that found no room yet.
    waiting: usize,
    /// Something was pushed since the last flush.
    pushed: bool,
}

/// The ends that are in use while a control plane is attached.
struct Rings {
    commands: RegionConsumer,
    replies: RegionProducer,
}

/// What [`CommandPort::serve`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// A request was answered.
    One,
    /// There is no request, or no room for its answer.
    None,
}

impl CommandPort {
    /// Without a control plane.
    pub(crate) fn new(memory: ShardMemory, link: Link) -> Self {
        Self {
            memory,
            doorbell: link.doorbell,
            bell: link.bell,
            rings: None,
            buffer: vec![0; RECORD_BYTES_MAX].into_boxed_slice(),
            waiting: 0,
            pushed: false,
        }
    }

    /// Empties the rings for a new control plane.
    ///
    /// # Errors
    /// The region is not in order; that would be our own mistake.
    pub(crate) fn attach(&mut self) -> Result<(), RingError> {
        self.detach();
        self.memory.reset_rings();
        self.rings = Some(Rings {
            commands: self.memory.command_consumer()?,
            replies: self.memory.reply_producer()?,
        });
        Ok(())
    }

    /// The control plane is gone.
    pub(crate) fn detach(&mut self) {
        self.rings = None;
        self.waiting = 0;
    }

    /// Takes one request, has it carried out and puts the answer in. Takes none as long as an
    /// answer or event waits for room: so no answer is ever lost, and no more than one waits.
    pub(crate) fn serve(
        &mut self,
        now: Timestamp,
        carry_out: impl FnOnce(&Command) -> Result<Reply, CommandError>,
    ) -> Served {
        if !self.push_waiting() {
            return Served::None;
        }
        let Some(rings) = &mut self.rings else {
            return Served::None;
        };
        let response = match rings.commands.pop() {
            Ok(Some(record)) => answer(now, record, carry_out),
            Ok(None) => return Served::None,
            Err(error) => {
                self.give_up(error);
                return Served::None;
            }
        };
        if let Some(response) = response {
            self.send_response(response);
        }
        Served::One
    }

    /// Sends events as long as there is room and a control plane.
    pub(crate) fn send_events(&mut self, mut next: impl FnMut() -> Option<Event>) {
        while self.rings.is_some() && self.push_waiting() {
            let Some(event) = next() else { return };
            match wire::encode_message(&Message::Event(event), &mut self.buffer) {
                Ok(length) => self.waiting = length,
                Err(error) => tracing::error!(%error, "an event cannot be encoded"),
            }
        }
    }

    /// Wakes the control plane if it sleeps and something was put in.
    pub(crate) fn flush(&mut self) {
        if core::mem::take(&mut self.pushed)
            && let Some(rings) = &mut self.rings
            && rings.replies.take_sleeper()
        {
            self.doorbell.ring();
        }
    }

    /// Whether an answer or event waits for room: nobody rings when there is some.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Says that the shard is about to wait; false: it must not, there is a request.
    pub(crate) fn prepare_sleep(&mut self) -> bool {
        // While an answer waits, a request is left where it is; the shard looks again by its timer.
        self.is_waiting()
            || self
                .rings
                .as_mut()
                .is_none_or(|rings| rings.commands.prepare_sleep())
    }

    /// Says that the shard is awake.
    pub(crate) fn awake(&mut self) {
        if let Some(rings) = &mut self.rings {
            rings.commands.wake();
        }
        // An error would be one of the kernel's own; the next look at the queues does the same.
        drop(self.bell.drain());
    }

    /// Copies the shard's figures to where the control plane reads them.
    pub(crate) fn publish(&self, now: Timestamp, counters: &Counters) {
        self.memory.publish_counters(counters);
        self.memory.store_heartbeat(now.as_nanos());
    }

    fn send_response(&mut self, response: Response) {
        let id = response.id;
        let length = wire::encode_message(&Message::Response(response), &mut self.buffer);
        let length = length.or_else(|error| {
            tracing::error!(%error, "a response cannot be encoded");
            let refusal = Response {
                id,
                result: Err(CommandError::LimitExceeded),
            };
            wire::encode_message(&Message::Response(refusal), &mut self.buffer)
        });
        // A refusal of a few bytes can always be encoded.
        self.waiting = length.unwrap_or_default();
        self.push_waiting();
    }

    /// Pushes what waits; true if nothing waits any more.
    fn push_waiting(&mut self) -> bool {
        if self.waiting == 0 {
            return true;
        }
        let Some(rings) = &mut self.rings else {
            return false;
        };
        let record = self.buffer.get(..self.waiting).unwrap_or_default();
        match rings.replies.push(record) {
            Ok(()) => {
                self.waiting = 0;
                self.pushed = true;
                true
            }
            Err(PushError::Full) => false,
            Err(PushError::TooLong | PushError::Corrupt) => {
                self.give_up(RingError::Corrupt);
                false
            }
        }
    }

    /// Stops speaking with a control plane that writes nonsense; the next one starts anew.
    fn give_up(&mut self, error: RingError) {
        tracing::error!(%error, "the control plane is not listened to until it attaches again");
        self.detach();
    }
}

impl fmt::Debug for CommandPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attached = self.rings.is_some();
        f.debug_struct("CommandPort")
            .field("attached", &attached)
            .finish_non_exhaustive()
    }
}

/// Answers the request that a record holds; None if not even its number can be read.
fn answer(
    now: Timestamp,
    record: &[u8],
    carry_out: impl FnOnce(&Command) -> Result<Reply, CommandError>,
) -> Option<Response> {
    match wire::decode_request(record) {
        Ok(request) if now.as_nanos() > request.deadline_ns => Some(Response {
            id: request.id,
            result: Err(CommandError::DeadlinePassed),
        }),
        Ok(request) => Some(Response {
            id: request.id,
            result: carry_out(&request.command),
        }),
        Err(error) => {
            tracing::error!(%error, "a request cannot be decoded");
            let id = wire::decode_request_id(record)?;
            Some(Response {
                id,
                result: Err(CommandError::Malformed),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::channel::{Region, links};
    use shared::id::{SessionId, ShardIndex};
    use shared::protocol::{EndReason, Request};

    use super::*;

    /// A port and the control plane's ends of its rings.
    fn attached() -> (CommandPort, RegionProducer, RegionConsumer, Link) {
        let region = Region::create(1, 7).unwrap();
        let memory = region.shard(ShardIndex(0)).unwrap();
        let (ours, theirs) = links().unwrap();
        let mut port = CommandPort::new(memory.clone(), ours);
        port.attach().unwrap();
        (
            port,
            memory.command_producer().unwrap(),
            memory.reply_consumer().unwrap(),
            theirs,
        )
    }

    fn request(id: u64, deadline_ns: u64) -> Vec<u8> {
        let command = Command::ListSessions { after: None };
        let mut buffer = vec![0; 256];
        let request = Request {
            id,
            deadline_ns,
            command,
        };
        let length = wire::encode_request(&request, &mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn done(_: &Command) -> Result<Reply, CommandError> {
        Ok(Reply::Done)
    }

    fn heard(replies: &mut RegionConsumer) -> Option<Message> {
        replies
            .pop()
            .unwrap()
            .map(|record| wire::decode_message(record).unwrap())
    }

    #[test]
    fn a_request_is_carried_out_and_answered() {
        let (mut port, mut commands, mut replies, _link) = attached();
        commands.push(&request(5, u64::MAX)).unwrap();
        assert_eq!(port.serve(Timestamp::from_nanos(9), done), Served::One);
        assert_eq!(port.serve(Timestamp::from_nanos(9), done), Served::None);
        let response = Response {
            id: 5,
            result: Ok(Reply::Done),
        };
        assert_eq!(heard(&mut replies), Some(Message::Response(response)));
    }

    #[test]
    fn a_request_whose_deadline_has_passed_is_refused_and_not_carried_out() {
        let (mut port, mut commands, mut replies, _link) = attached();
        commands.push(&request(5, 8)).unwrap();
        port.serve(Timestamp::from_nanos(9), |_| panic!("it is too late"));
        let response = Response {
            id: 5,
            result: Err(CommandError::DeadlinePassed),
        };
        assert_eq!(heard(&mut replies), Some(Message::Response(response)));
    }

    #[test]
    fn a_request_that_cannot_be_read_is_refused_by_its_number() {
        let (mut port, mut commands, mut replies, _link) = attached();
        commands.push(&[5, 0xff, 0xff]).unwrap();
        commands.push(&[]).unwrap();
        assert_eq!(port.serve(Timestamp::from_nanos(9), done), Served::One);
        assert_eq!(port.serve(Timestamp::from_nanos(9), done), Served::One);
        let response = Response {
            id: 5,
            result: Err(CommandError::Malformed),
        };
        assert_eq!(heard(&mut replies), Some(Message::Response(response)));
        assert_eq!(heard(&mut replies), None);
    }

    #[test]
    fn while_the_ring_of_replies_is_full_requests_stay_where_they_are() {
        let (mut port, mut commands, mut replies, _link) = attached();
        let large = |_: &Command| {
            let sessions = vec![SessionId::new(0, ShardIndex(0), [1; 12]); 1000];
            Ok(Reply::Sessions {
                sessions,
                more: true,
            })
        };
        let (mut pushed, mut served) = (0, 0);
        while commands.push(&request(pushed, u64::MAX)).is_ok() && pushed < 100 {
            pushed += 1;
            while port.serve(Timestamp::from_nanos(9), large) == Served::One {
                served += 1;
            }
        }
        assert!(port.is_waiting() && served < pushed, "{served} of {pushed}");
        let mut answered = 0;
        while answered < pushed {
            match heard(&mut replies) {
                Some(Message::Response(response)) => {
                    assert_eq!(response.id, answered, "in order, none lost");
                    answered += 1;
                }
                other => assert_eq!(other, None),
            }
            port.serve(Timestamp::from_nanos(9), large);
        }
    }

    #[test]
    fn events_wait_until_there_is_a_control_plane() {
        let (mut port, _commands, _, _link) = attached();
        let session = SessionId::new(0, ShardIndex(0), [1; 12]);
        let event = Event::SessionEnded {
            session,
            reason: EndReason::NeverConnected,
        };
        port.detach();
        port.send_events(|| panic!("nobody would hear it"));
        port.attach().unwrap();
        let mut events = vec![event.clone()];
        port.send_events(|| events.pop());
        // The ends from before the reset do not count any more.
        let mut replies = port.memory.reply_consumer().unwrap();
        assert_eq!(heard(&mut replies), Some(Message::Event(event)));
    }

    #[test]
    fn a_corrupted_ring_ends_the_conversation_until_the_next_attach() {
        let (mut port, mut commands, _, _link) = attached();
        commands.push(&request(1, u64::MAX)).unwrap();
        // The control plane moves the cursor of the ring beyond any sense.
        let mut second = port.memory.command_producer().unwrap();
        let mut third = port.memory.command_producer().unwrap();
        for _ in 0..1000 {
            let _ = second.push(&[0xff; 4000]);
            let _ = third.push(&[0xee; 3000]);
        }
        while port.serve(Timestamp::from_nanos(9), done) == Served::One {}
        port.attach().unwrap();
        let mut commands = port.memory.command_producer().unwrap();
        commands.push(&request(2, u64::MAX)).unwrap();
        assert_eq!(port.serve(Timestamp::from_nanos(9), done), Served::One);
        let mut replies = port.memory.reply_consumer().unwrap();
        let response = Response {
            id: 2,
            result: Ok(Reply::Done),
        };
        assert_eq!(heard(&mut replies), Some(Message::Response(response)));
    }
}
