//! A subscribed leg: what one subscriber gets of one publication. A leg owns numbers, not bytes;
//! the bytes stand once in the cache of their layer ([`crate::ingress::cache`]).

mod choice;
mod control;
mod extension_ids;
mod forward;
pub(crate) mod frame_numbers;
mod height_limit;
mod keyframe_budget;
pub(crate) mod ladder;
pub(crate) mod layer_filter;
pub(crate) mod leg;
pub(crate) mod report;
pub(crate) mod rewriter;
pub(crate) mod rtx;
pub(crate) mod selector;
pub(crate) mod statistics;
#[cfg(test)]
mod tests;
mod turns;
pub(crate) mod vp8;
mod write;

pub(crate) use self::control::Allowance;
pub(crate) use self::forward::Forwarded;
pub(crate) use self::ladder::{Ladder, Step};
pub(crate) use self::leg::{Leg, Start};
pub(crate) use self::rtx::{Asked, Repeat};
pub(crate) use self::statistics::{Feedback, Granted};
pub(crate) use self::turns::Part;
pub(crate) use self::write::{PayloadSource, Written};
