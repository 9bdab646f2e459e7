//! Who speaks, by the levels that publishers put into their packets of audio (RFC 6464).
//!
//! * [`level`]: what stands in a packet;
//! * [`activity`]: how loud a publication is, and whether it speaks;
//! * [`ranking`]: who of several is heard best, in an order that does not flap.
//!
//! The numbers are those of production servers where these agree: who speaks is told like in
//! `LiveKit`, by the part of the time in which it is loud. That names several speakers at a time, as
//! loudest-N forwarding needs; the measure of Volfin and Cohen ("Dominant speaker identification for
//! multipoint videoconferencing", 2012) names one, and compares each with that one.

pub(crate) mod activity;
pub(crate) mod level;
pub(crate) mod ranking;

pub(crate) use activity::{Heard, SpeechActivity, Voice};
pub(crate) use level::AudioLevel;
pub(crate) use ranking::Ranking;
