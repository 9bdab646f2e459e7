//! The real estimator and pacer on a model of a path, in virtual time and from a seed.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the model reckons with floats, all of them small and not negative"
)]

mod cases;
pub(crate) mod feedback;
mod flow;
mod hostile;
mod link;
mod receiver;
mod rmcat;
mod rng;
mod source;
mod steps;
mod table;
mod tcp;
mod world;
