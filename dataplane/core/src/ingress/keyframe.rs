//! Asking the publisher for key frames: the wishes of all legs of a layer are merged, and the
//! requests are spaced.

use core::time::Duration;

use crate::time::Timestamp;

/// How a publisher is asked for a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyframeMethod {
    /// PLI (RFC 4585 §6.3.1); taken if both were negotiated.
    PictureLossIndication,
    /// FIR (RFC 5104 §4.3.1).
    FullIntraRequest,
    /// Neither was negotiated, or it is audio: there is no way to ask.
    None,
}

/// A request that is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyframeRequest {
    /// PLI (RFC 4585 §6.3.1).
    PictureLossIndication,
    /// FIR with its command sequence number (RFC 5104 §4.3.1.1).
    FullIntraRequest {
        /// The same in repetitions of one command, one more in the next.
        sequence_number: u8,
    },
}

/// The requests for key frames of one layer.
///
/// The first wish is passed on at once, further ones at most every
/// [`KEYFRAME_REQUEST_INTERVAL`], also those after a key frame. While no key frame comes, the
/// request is repeated up to [`KEYFRAME_REQUESTS_MAX`] times; then a new wish must be made.
#[derive(Debug)]
pub(crate) struct KeyframeRequester {
    method: KeyframeMethod,
    needed: bool,
    /// For the present need.
    requests: u8,
    last_request_at: Option<Timestamp>,
    fir_sequence_number: u8,
    /// Of all needs; stays when it is full.
    total_requests: u32,
}

impl KeyframeRequester {
    /// Nothing needed yet.
    pub(crate) fn new(method: KeyframeMethod) -> Self {
        Self {
            method,
            needed: false,
            requests: 0,
            last_request_at: None,
            fir_sequence_number: 0,
            total_requests: 0,
        }
    }

    /// Requests that [`Self::poll`] has given out.
    pub(crate) fn total_requests(&self) -> u32 {
        self.total_requests
    }

    /// Someone needs a key frame. May be called as often as liked.
    pub(crate) fn need(&mut self) {
        if self.needed || self.method == KeyframeMethod::None {
            return;
        }
        self.needed = true;
        self.requests = 0;
    }

    /// Whether one is needed and has not come.
    pub(crate) fn is_needed(&self) -> bool {
        self.needed
    }

    /// Someone could use a key frame now. Unlike a need this is not remembered, but has to be said again
    /// for as long as it is so: the key frame of the last request may have come, and wait in a pacer.
    pub(crate) fn wish(&mut self, now: Timestamp) {
        let is_soon = |at: Timestamp| now < at + KEYFRAME_REQUEST_INTERVAL;
        if !self.last_request_at.is_some_and(is_soon) {
            self.need();
        }
    }

    /// A key frame has begun to come in: all wishes up to now are fulfilled.
    pub(crate) fn arrived(&mut self) {
        self.needed = false;
    }

    /// The request that is due now, if any.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<KeyframeRequest> {
        if self.next_at()? > now {
            return None;
        }
        // A repetition is the same command (RFC 5104 §4.3.1.2). After some of them the publisher
        // may have obeyed and all of the key frame was lost: then it is a new one.
        if self.requests.is_multiple_of(FIR_REPETITIONS_MAX) {
            self.fir_sequence_number = self.fir_sequence_number.wrapping_add(1);
        }
        self.requests += 1;
        self.total_requests = self.total_requests.saturating_add(1);
        self.last_request_at = Some(now);
        if self.requests >= KEYFRAME_REQUESTS_MAX {
            self.needed = false;
        }
        match self.method {
            KeyframeMethod::PictureLossIndication => Some(KeyframeRequest::PictureLossIndication),
            KeyframeMethod::FullIntraRequest => Some(KeyframeRequest::FullIntraRequest {
                sequence_number: self.fir_sequence_number,
            }),
            KeyframeMethod::None => None,
        }
    }

    /// When [`Self::poll`] will have a request; none while no key frame is needed. The origin of
    /// time means at once.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        let next = |at: Timestamp| at + KEYFRAME_REQUEST_INTERVAL;
        self.needed
            .then(|| self.last_request_at.map(next).unwrap_or_default())
    }
}

/// Requests for one layer are at least this far apart: so little that who comes just after a key
/// frame has a picture within half a second. libwebrtc answers one each 300 ms at most
/// (`kMinKeyFrameSendInterval`).
pub(crate) const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(400);

/// Requests for one need: 10 s of them.
pub(crate) const KEYFRAME_REQUESTS_MAX: u8 = 25;

/// Requests that carry the same FIR sequence number.
const FIR_REPETITIONS_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const PLI: Option<KeyframeRequest> = Some(KeyframeRequest::PictureLossIndication);

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn pli() -> KeyframeRequester {
        KeyframeRequester::new(KeyframeMethod::PictureLossIndication)
    }

    #[test]
    fn the_first_request_leaves_at_once() {
        let mut requester = pli();
        assert_eq!(requester.poll(ms(5)), None);
        requester.need();
        assert_eq!(requester.poll(ms(5)), PLI);
        assert_eq!(requester.poll(ms(5)), None);
    }

    #[test]
    fn wishes_of_many_legs_become_one_request() {
        let mut requester = pli();
        let mut requests = 0;
        for millis in 0..1_000 {
            requester.need();
            requests += usize::from(requester.poll(ms(millis)).is_some());
        }
        assert_eq!(requests, 3);
    }

    #[test]
    fn a_key_frame_ends_the_repetitions() {
        let mut requester = pli();
        requester.need();
        assert_eq!(requester.poll(ms(0)), PLI);
        requester.arrived();
        assert_eq!(requester.next_at(), None);
        assert_eq!(requester.poll(ms(5_000)), None);
    }

    #[test]
    fn a_wish_right_after_a_key_frame_waits_for_the_interval() {
        let mut requester = pli();
        requester.need();
        requester.poll(ms(0));
        requester.arrived();
        requester.need();
        assert_eq!(requester.poll(ms(399)), None);
        assert_eq!(requester.next_at(), Some(ms(400)));
        assert_eq!(requester.poll(ms(400)), PLI);
    }

    #[test]
    fn a_wish_right_after_a_key_frame_is_not_remembered() {
        let mut requester = pli();
        requester.wish(ms(0));
        assert_eq!(requester.poll(ms(0)), PLI);
        requester.arrived();
        requester.wish(ms(399));
        assert_eq!(requester.next_at(), None);
        requester.wish(ms(400));
        assert_eq!(requester.poll(ms(400)), PLI);
    }

    #[test]
    fn a_deaf_publisher_is_given_up_until_the_next_wish() {
        let mut requester = pli();
        requester.need();
        let asked = (0..100_000)
            .filter(|&t| requester.poll(ms(t)).is_some())
            .count();
        assert_eq!(asked, usize::from(KEYFRAME_REQUESTS_MAX));
        assert_eq!(requester.total_requests(), u32::from(KEYFRAME_REQUESTS_MAX));
        requester.need();
        assert_eq!(requester.poll(ms(100_000)), PLI);
    }

    #[test]
    fn a_repeated_fir_keeps_its_sequence_number() {
        // RFC 5104 §4.3.1.2.
        let mut requester = KeyframeRequester::new(KeyframeMethod::FullIntraRequest);
        requester.need();
        let numbers: Vec<_> = (0..4).map(|n| requester.poll(ms(n * 500))).collect();
        let fir = |sequence_number| Some(KeyframeRequest::FullIntraRequest { sequence_number });
        assert_eq!(numbers, [fir(1), fir(1), fir(1), fir(2)]);
        requester.arrived();
        requester.need();
        assert_eq!(requester.poll(ms(9_000)), fir(3));
    }

    #[test]
    fn without_a_negotiated_method_nothing_is_sent() {
        let mut requester = KeyframeRequester::new(KeyframeMethod::None);
        requester.need();
        assert_eq!(requester.poll(ms(0)), None);
        assert_eq!(requester.next_at(), None);
    }
}
