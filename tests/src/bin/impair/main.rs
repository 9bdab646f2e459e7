//! `impair`: see `impair --help`.

mod commands;
mod proxy;

use core::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;

use crate::proxy::Proxy;

/// Stands between clients and a server, and delays, narrows and loses what they send to each other.
///
/// Each client is given a link of its own in each direction. Commands are read from the standard
/// input, a JSON value on a line; each is answered with a line on the standard output. The end of
/// the input is the end of the proxy.
#[derive(Debug, Parser)]
#[command(version, after_help = COMMANDS)]
struct Options {
    /// Where clients send to, such as 127.0.0.2:7882.
    listen: SocketAddr,
    /// Where the server is, such as 127.0.0.1:7882.
    server: SocketAddr,
    /// What is lost follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let proxy = Proxy::bind(options.listen, options.server, options.seed);
    match proxy.and_then(Proxy::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("impair: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the complaints of a command-line tool")]
fn complain(text: &str) {
    eprintln!("{text}");
}

const COMMANDS: &str = r#"Commands:
  {"profile": {"client": "*", "down": {"rate_kbps": 500, "delay_ms": 50, "queue_ms": 300}}}
  {"profile": {"client": "40123", "up": {"loss": 0.02, "jitter_ms": 5}}}
  "statistics"

A client is "*" (all, also those to come) or the UDP port that it sends from. A profile replaces the
one before; what it does not name is not impaired. There are also "queue_bytes", "reordering",
"blocked" and "burst": {"begin", "end", "loss"}, probabilities for each datagram."#;
