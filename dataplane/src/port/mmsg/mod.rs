//! Moves datagrams by `recvmmsg` and `sendmmsg`.

mod receive;
mod send;

pub use receive::MmsgReceiver;
pub(super) use send::send;
