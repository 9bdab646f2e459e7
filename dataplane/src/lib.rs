//! Jackfield's data plane: the shell around the media engine of `dataplane_core`. Here are the
//! sockets, the clock, the threads and the memory that is shared with the control plane.
//!
//! One [`run`] is one process: a glommio executor pinned to each chosen core, a small pool of
//! threads for DTLS handshakes, and the calling thread, which lets a control plane attach.

pub mod config;
pub mod cores;
pub mod port;

mod attach;
mod clock;
mod commands;
mod handshake;
mod nap;
mod outbox;
mod readiness;
mod relay;
mod residence;
mod shards;
mod sleeper;
mod supervisor;
mod watchdog;
mod worker;

pub use config::{ConfigError, CoreChoice, DataplaneConfig, DtlsEngine, IoBackend, MediaAddress};
pub use supervisor::{Dataplane, DataplaneError, Stopper, run};
