//! The flags of `load`.

use clap::{Parser, ValueEnum};

/// Drives a running Jackfield with publishers and subscribers, and checks what they receive.
///
/// Publishers send Opus-like audio (50 packets of 120 bytes a second) and VP8-like video (30 frames
/// of 9 packets of 1200 bytes a second). Every subscriber pulls every publisher's tracks. Exits with
/// 1 if a peer could not join or an expectation was not met.
#[derive(Clone, Debug, Parser)]
#[command(name = "load", version)]
pub struct Options {
    /// Where the server's API is.
    #[arg(long, default_value = "http://127.0.0.1:8787", value_name = "URL")]
    pub api: String,

    /// The app to use, and its secret.
    #[arg(long, value_name = "ID:SECRET", value_parser = parse_app)]
    pub app: App,

    /// How many publishers (at most 32: a subscriber pulls all of their tracks in one call).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub publishers: u8,

    /// How many subscribers.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub subscribers: usize,

    /// Seconds to go on after the last subscriber has joined.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub duration: u64,

    /// Subscribers that begin to join in a second.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub join_rate: u32,

    /// The SRTP profiles that the peers offer.
    #[arg(long, value_enum, default_value_t = ProfileChoice::Gcm128)]
    pub profile: ProfileChoice,

    /// Which packets the subscribers decrypt and check bit for bit; the others are only counted.
    #[arg(long, value_enum, default_value_t = Verify::Sample)]
    pub verify: Verify,

    /// Publish no audio.
    #[arg(long, conflicts_with = "no_video")]
    pub no_audio: bool,

    /// Publish no video.
    #[arg(long)]
    pub no_video: bool,

    /// Subscribers ask for missing packets again, and negotiate RTX.
    #[arg(long)]
    pub nack: bool,

    /// Exit with 1 on any lost, doubled, changed or renumbered packet.
    #[arg(long)]
    pub expect_lossless: bool,

    /// Print the result as JSON instead of a table.
    #[arg(long)]
    pub json: bool,

    /// Threads that the peers share.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub threads: u8,
}

/// An app and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// As in the paths of the API.
    pub id: String,
    /// The bearer token.
    pub secret: String,
}

impl core::fmt::Debug for App {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("App")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Which SRTP profiles to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileChoice {
    /// AES-128-GCM only.
    Gcm128,
    /// AES-256-GCM only.
    Gcm256,
    /// AES-128 in counter mode with HMAC-SHA1 only.
    Cm,
    /// All three in the order of Chromium: the server chooses.
    Any,
}

/// Which packets are checked bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// All of them.
    All,
    /// One in 16, and all until the first key frame.
    Sample,
}

fn parse_app(text: &str) -> Result<App, String> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(App {
            id: id.to_owned(),
            secret: secret.to_owned(),
        }),
        _ => Err("write it as ID:SECRET".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_an_id_and_a_secret() {
        let app = App {
            id: "id".to_owned(),
            secret: "a:b".to_owned(),
        };
        assert_eq!(parse_app("id:a:b"), Ok(app.clone()));
        assert_eq!(format!("{app:?}"), "App { id: \"id\", .. }");
        for text in ["", "id", "id:", ":secret"] {
            assert!(parse_app(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_defaults_are_one_publisher_and_two_hundred_subscribers() {
        let options = Options::parse_from(["load", "--app", "a:b"]);
        assert_eq!((options.publishers, options.subscribers), (1, 200));
        assert!(
            Options::try_parse_from(["load", "--app", "a:b", "--no-audio", "--no-video"]).is_err()
        );
    }
}
