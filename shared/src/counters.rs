//! What a shard counts: the data plane adds, the control plane reads, nobody asks.
//!
//! [`Counter`]s only grow, [`Gauge`]s go both ways, and every packet that is not forwarded has a
//! [`DropReason`]. Each is one 64-bit word in the shard's page of the shared region, in the order
//! of the lists below; a [`Histogram`] has a word for each bucket, and one for the sum. `/metrics`
//! is made from the same lists, so a new line here is a new metric.

mod histogram;

pub use histogram::{Distribution, Unit};

/// Declares an enum whose variants index a page of words, each with its metric name and help.
macro_rules! words {
    ($(#[$attribute:meta])* $name:ident { $($(#[doc = $help:literal])+ $variant:ident = $metric:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $help])+ $variant,)+ }

        impl $name {
            /// All of them, in the order of their words.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The word that holds it.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Its name in `/metrics`, without prefix and suffix.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $metric,)+ }
            }

            /// What it means, in a sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)+ }
            }
        }
    };
}

words! {
    /// A number that only grows.
    Counter {
        /// Datagrams received.
        DatagramsReceived = "datagrams_received",
        /// Bytes of datagrams received, IP and UDP headers not counted.
        BytesReceived = "bytes_received",
        /// Datagrams handed to the kernel.
        DatagramsSent = "datagrams_sent",
        /// Bytes of datagrams handed to the kernel, IP and UDP headers not counted.
        BytesSent = "bytes_sent",
        /// RTP packets accepted from publishers.
        RtpPacketsReceived = "rtp_packets_received",
        /// RTP packets forwarded to subscribers, retransmissions not counted.
        RtpPacketsForwarded = "rtp_packets_forwarded",
        /// RTP packets sent again to subscribers.
        RtpPacketsRetransmitted = "rtp_packets_retransmitted",
        /// RTP packets that publishers sent again and that were still of use.
        RtpPacketsRecovered = "rtp_packets_recovered",
        /// Packets copied to other shards.
        RelayPacketsSent = "relay_packets_sent",
        /// Packets taken from other shards.
        RelayPacketsReceived = "relay_packets_received",
        /// Sequence numbers asked for again from publishers.
        NacksSent = "nacks_sent",
        /// Sequence numbers that subscribers asked for again.
        NacksReceived = "nacks_received",
        /// Key frames asked for from publishers.
        KeyframeRequestsSent = "keyframe_requests_sent",
        /// Key frames that subscribers asked for.
        KeyframeRequestsReceived = "keyframe_requests_received",
        /// Key frames received.
        KeyframesReceived = "keyframes_received",
        /// Transport-wide feedback that subscribers sent.
        TransportFeedbackReceived = "transport_feedback_received",
        /// RTP packets that waited before they left, so that a path was not overfilled.
        RtpPacketsPaced = "rtp_packets_paced",
        /// Packets sent only to learn whether a path carries more.
        ProbePacketsSent = "probe_packets_sent",
        /// Layer switches carried out.
        LayerSwitches = "layer_switches",
        /// DTLS handshakes finished.
        HandshakesCompleted = "handshakes_completed",
        /// DTLS handshakes failed.
        HandshakesFailed = "handshakes_failed",
        /// ICE binding requests answered.
        BindingRequestsAnswered = "binding_requests_answered",
        /// Sessions whose address changed while connected.
        AddressChanges = "address_changes",
        /// Commands carried out or refused.
        CommandsHandled = "commands_handled",
        /// Sessions ended because working on them panicked.
        SessionsFailed = "sessions_failed",
        /// Turns of the loop.
        Turns = "turns",
        /// Times that the watchdog had to wake the loop.
        Stalls = "stalls",
    }
}

words! {
    /// A number that goes both ways.
    Gauge {
        /// Sessions on this shard.
        Sessions = "sessions",
        /// Sessions whose transport is connected.
        SessionsConnected = "sessions_connected",
        /// Tracks published on this shard.
        Publications = "publications",
        /// Tracks of other shards that have subscribers here.
        Mirrors = "mirrors",
        /// Tracks subscribed on this shard.
        Subscriptions = "subscriptions",
        /// Subscribed tracks that get the best layer.
        SubscriptionsBest = "subscriptions_best",
        /// Subscribed tracks whose better layers do not fit the estimate.
        SubscriptionsBandwidth = "subscriptions_short_of_bandwidth",
        /// Subscribed tracks whose publisher sends no better layer, or nothing.
        SubscriptionsNotSending = "subscriptions_publisher_not_sending",
        /// Subscribed tracks that get all that was asked for, and there is more.
        SubscriptionsAsked = "subscriptions_asked_for_less",
        /// Subscribed tracks of which not even the lowest picture fits the estimate.
        SubscriptionsPaused = "subscriptions_paused",
        /// Subscribed tracks of audio that are not among the loudest that were asked for.
        SubscriptionsNotLoudest = "subscriptions_not_loudest",
    }
}

words! {
    /// Why a packet went no further.
    DropReason {
        /// The first byte belongs to no protocol of RFC 7983.
        UnknownProtocol = "unknown_protocol",
        /// A STUN message that cannot be read.
        StunMalformed = "stun_malformed",
        /// A STUN message that is no binding request.
        StunUnexpected = "stun_unexpected",
        /// A STUN username that names no session here.
        StunUnknownUser = "stun_unknown_user",
        /// A STUN MESSAGE-INTEGRITY or FINGERPRINT that is missing or wrong.
        StunUnauthenticated = "stun_unauthenticated",
        /// From an address that no authenticated check came from.
        UnknownAddress = "unknown_address",
        /// DTLS before the session can take it.
        DtlsUnexpected = "dtls_unexpected",
        /// SRTP or SRTCP before the handshake is done.
        NoKeys = "no_keys",
        /// An RTP header that cannot be read.
        RtpMalformed = "rtp_malformed",
        /// SRTP whose tag is wrong, or that is too short to have one.
        RtpUnauthenticated = "rtp_unauthenticated",
        /// An SRTP packet that came before, or is too old to tell.
        RtpReplayed = "rtp_replayed",
        /// RTP padding longer than the payload.
        RtpPadding = "rtp_padding",
        /// An SSRC that belongs to no publication of the session.
        UnknownSsrc = "unknown_ssrc",
        /// More SSRCs than a session may have.
        TooManySsrcs = "too_many_ssrcs",
        /// A payload type that was not negotiated.
        UnknownPayloadType = "unknown_payload_type",
        /// The packet came before by another way (a retransmission not needed).
        Duplicate = "duplicate",
        /// Too old: for the cache, for a leg that began with a later key frame, or to be sent again
        /// though no decoder waits for it.
        TooLate = "too_late",
        /// Only padding: there is nothing to forward.
        PaddingOnly = "padding_only",
        /// RTCP that cannot be read.
        RtcpMalformed = "rtcp_malformed",
        /// SRTCP whose tag is wrong, or that is too short to have one.
        RtcpUnauthenticated = "rtcp_unauthenticated",
        /// An SRTCP packet that came before.
        RtcpReplayed = "rtcp_replayed",
        /// Larger than a datagram may be.
        TooLarge = "too_large",
        /// A leg does not want this layer.
        LayerNotSelected = "layer_not_selected",
        /// Audio that is not among the loudest which its subscriber asked for.
        NotLoudest = "not_loudest",
        /// A leg waits for a key frame.
        AwaitingKeyframe = "awaiting_keyframe",
        /// A leg has no payload type for this codec.
        CodecNotMapped = "codec_not_mapped",
        /// A leg whose session is not connected.
        SubscriberNotConnected = "subscriber_not_connected",
        /// Asked for again, but not in the cache any more.
        RetransmissionMiss = "retransmission_miss",
        /// Asked for again too often or too soon.
        RetransmissionBudget = "retransmission_budget",
        /// As many packets as may wait for a subscriber's path wait already.
        PacerFull = "pacer_full",
        /// A packet that has waited too long for a subscriber's path.
        PacerExpired = "pacer_expired",
        /// A packet that waited for a subscriber's path, and whose picture is not to leave any more: one
        /// before it was dropped, or another layer takes its place.
        PacerCleared = "pacer_cleared",
        /// The ring to another shard is full.
        RelayFull = "relay_full",
        /// The queue to the handshake pool is full.
        HandshakeQueueFull = "handshake_queue_full",
        /// The kernel's send buffer is full.
        SendBufferFull = "send_buffer_full",
        /// The kernel refused to send.
        SendRefused = "send_refused",
        /// The session failed while this packet was worked on.
        SessionFailed = "session_failed",
    }
}

words! {
    /// Values by their size.
    Histogram {
        /// How long a media packet was in the server, from the kernel's receive timestamp to the
        /// hand-over to the kernel.
        Residence = "residence_seconds",
        /// Datagrams that left in one message to the kernel.
        SendRunSegments = "send_run_segments",
        /// Round trips to subscribers, by their reports.
        RoundTrip = "round_trip_seconds",
        /// What the paths to subscribers carry, by their estimates: each path once a second.
        PathEstimate = "path_estimate_bits_per_second",
        /// How long packets wait in the queues of the paths to subscribers: each path once a second.
        PathQueueDelay = "path_queue_delay_seconds",
    }
}

/// Words of one shard's page.
pub const WORDS: usize = HISTOGRAMS_START + histogram::WORDS;

/// A shard's own figures, before they are copied to its page of the shared region.
#[derive(Clone, Debug)]
pub struct Counters {
    words: [u64; WORDS],
}

impl Default for Counters {
    fn default() -> Self {
        Self { words: [0; WORDS] }
    }
}

impl Counters {
    /// One more.
    pub fn increment(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// `amount` more.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.bump(counter.index(), amount);
    }

    /// One more packet that went no further.
    pub fn dropped(&mut self, reason: DropReason) {
        self.dropped_times(reason, 1);
    }

    /// So many packets were dropped.
    #[inline]
    pub fn dropped_times(&mut self, reason: DropReason, times: usize) {
        self.bump(Counter::COUNT + Gauge::COUNT + reason.index(), times as u64);
    }

    /// The same value `times` times over, in the histogram's unit.
    #[inline]
    pub fn record(&mut self, histogram: Histogram, value: u64, times: u64) {
        let start = HISTOGRAMS_START + histogram.start();
        self.bump(start + histogram.bucket_of(value), times);
        self.bump(start + histogram.buckets(), value.wrapping_mul(times));
    }

    /// Sets a gauge.
    pub fn set(&mut self, gauge: Gauge, value: u64) {
        if let Some(word) = self.words.get_mut(Counter::COUNT + gauge.index()) {
            *word = value;
        }
    }

    /// What has been counted.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.words.get(counter.index()).copied().unwrap_or_default()
    }

    /// How a gauge stands.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.words
            .get(Counter::COUNT + gauge.index())
            .copied()
            .unwrap_or_default()
    }

    /// How many packets went no further for this reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.words
            .get(Counter::COUNT + Gauge::COUNT + reason.index())
            .copied()
            .unwrap_or_default()
    }

    /// What a histogram has recorded.
    pub fn distribution(&self, histogram: Histogram) -> Distribution<'_> {
        let start = HISTOGRAMS_START + histogram.start();
        let sum = start + histogram.buckets();
        Distribution {
            buckets: self.words.get(start..sum).unwrap_or_default(),
            sum: self.words.get(sum).copied().unwrap_or_default(),
        }
    }

    /// All words, in the order of the page.
    pub fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// The figures that a page holds; see [`Counters::words`].
    pub fn from_words(words: [u64; WORDS]) -> Self {
        Self { words }
    }

    #[inline]
    fn bump(&mut self, index: usize, amount: u64) {
        if let Some(word) = self.words.get_mut(index) {
            *word = word.wrapping_add(amount);
        }
    }
}

const HISTOGRAMS_START: usize = Counter::COUNT + Gauge::COUNT + DropReason::COUNT;

#[cfg(test)]
mod tests;
