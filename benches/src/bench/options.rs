//! The flags of `bench`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::options::ProfileChoice;

/// Measures a Jackfield server: starts one on a core of its own, loads it from the other cores, and
/// tells what a packet costs, beside the floor that a bare loop of sealing and sending has.
///
/// Everything stays on loopback. Build the server first: cargo build --release. Where a flag takes
/// a list, every combination is measured; with --repeat, in turn.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", version)]
pub struct Options {
    /// What is published and who pulls it; a list.
    #[arg(value_enum, default_value = "video", value_delimiter = ',')]
    pub scenario: Vec<ScenarioChoice>,

    /// Subscribers, a list (50 for video, 200 for audio; a meeting has ten members).
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub subscribers: Vec<u32>,

    /// Packets a second and publisher: `natural`, or a number, sent in bursts a millisecond apart
    /// (in a meeting: frames as often as the sum needs).
    #[arg(long, default_value = "natural", value_parser = parse_rate)]
    pub rate: Rate,

    /// Raise the rate until 0.1 % is lost or p99 is 50 ms, and tell the highest that is not.
    #[arg(long, conflicts_with_all = ["rate", "joins", "churn"])]
    pub ramp: bool,

    /// Instead, let so many more subscribers join while media flows, --join-rate a second.
    #[arg(long, value_name = "N", conflicts_with = "churn")]
    pub joins: Option<usize>,

    /// Instead, let so many subscribers join and leave, --join-rate a second.
    #[arg(long, value_name = "N")]
    pub churn: Option<usize>,

    /// Everything that the README tells: all scenarios at their natural rate and as ramps, the
    /// profiles, a storm of joins. Some ten minutes.
    #[arg(long, conflicts_with_all = ["scenario", "subscribers", "rate", "ramp", "joins", "churn", "profile"])]
    pub suite: bool,

    /// Seconds of one measurement (5), or of one step of a ramp (3).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: Option<u64>,

    /// How often to measure everything; the run in the middle counts.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: u32,

    /// The server binary; by default the one beside this executable.
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,

    /// Cores for the server's shards: the last ones of the machine.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub server_cores: usize,

    /// The SRTP profile that all peers offer; a list.
    #[arg(
        long,
        value_enum,
        default_value = "gcm128",
        value_delimiter = ',',
        value_name = "PROFILE"
    )]
    pub profile: Vec<ProfileChoice>,

    /// The server's setting `io`; a list.
    #[arg(long, value_name = "BACKEND", value_delimiter = ',')]
    pub io: Vec<String>,

    /// The server's setting `gso`; a list.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SWITCH")]
    pub gso: Vec<Switch>,

    /// Another flag for the server, such as `--server-flag=--dtls=webrtc`; repeatable.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub server_flag: Vec<String>,

    /// Whether subscribers take runs of packets in one piece; a list. Without it the kernel cuts
    /// them up in the server's time, as it would before a network card that cannot.
    #[arg(
        long,
        value_enum,
        default_value = "on",
        value_delimiter = ',',
        value_name = "SWITCH"
    )]
    pub gro: Vec<Switch>,

    /// Whether subscribers tell when packets came, so that the server estimates what each one's
    /// path carries, as it does for browsers; a list. `unread`: they send as much as often, but in
    /// a form that says nothing, so that receiving it is all the work.
    #[arg(
        long,
        value_enum,
        default_value = "off",
        value_delimiter = ',',
        value_name = "CHOICE"
    )]
    pub feedback: Vec<FeedbackChoice>,

    /// Subscribers that begin to join in a second.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub join_rate: u32,

    /// Packets of one run of the floor (default: as many as the server's runs had; 16 in a ramp).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub floor_run: Option<u64>,

    /// Leave the floor out.
    #[arg(long)]
    pub no_floor: bool,

    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,

    /// Draw the (first) ramp.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScenarioChoice {
    /// One publisher of video, 1,200-byte packets.
    Video,
    /// One publisher of audio, 120-byte packets.
    Audio,
    /// Ten publishers of both, each of whom pulls the other nine.
    Meeting,
}

impl ScenarioChoice {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Meeting => "meeting",
        }
    }
}

/// What subscribers tell of when packets came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FeedbackChoice {
    /// Nothing.
    Off,
    /// As much as often, in packets that are opened and not understood.
    Unread,
    /// Transport-wide feedback.
    On,
}

impl FeedbackChoice {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Unread => "unread",
            Self::On => "on",
        }
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl Switch {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Packets a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As an encoder sends.
    Natural,
    /// Of each publisher.
    Packets(f64),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "natural" {
        return Ok(Rate::Natural);
    }
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=RATE_MAX).contains(&rate) => Ok(Rate::Packets(rate)),
        _ => Err(format!(
            "`natural` or a number from 1 to {RATE_MAX} is wanted"
        )),
    }
}

/// More than a publisher can seal in a second.
const RATE_MAX: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_rate_is_natural_or_a_number() {
        assert_eq!(parse_rate("natural"), Ok(Rate::Natural));
        assert_eq!(parse_rate("20000"), Ok(Rate::Packets(20_000.0)));
        for text in ["", "0", "-1", "fast", "NaN", "inf"] {
            assert!(parse_rate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for line in [
            ["bench", "--ramp", "--joins", "5"],
            ["bench", "--churn", "5", "--joins=5"],
            ["bench", "--suite", "--rate", "5"],
        ] {
            assert!(Options::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
