//! One thing to measure: a scenario with the settings that can be compared.

use super::options::{FeedbackChoice, Options, Rate, ScenarioChoice, Switch};
use super::scenario::Scenario;
use crate::options::ProfileChoice;

/// A scenario and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What is played.
    pub choice: ScenarioChoice,
    /// How many pull; None: as is usual.
    pub subscribers: Option<u32>,
    /// How fast.
    pub mode: Mode,
    /// What peers offer.
    pub profile: ProfileChoice,
    /// The server's setting `io`.
    pub io: Option<String>,
    /// The server's setting `gso`.
    pub gso: Option<Switch>,
    /// Whether subscribers take runs in one piece.
    pub gro: Switch,
    /// What subscribers tell of when packets came.
    pub feedback: FeedbackChoice,
}

/// How fast publishers send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// At one rate.
    Hold(Rate),
    /// At ever higher rates.
    Ramp,
}

impl Case {
    /// What the flags ask for: every combination of the lists, the settings innermost, so that
    /// those are compared one after the other.
    pub fn all(options: &Options) -> Vec<Self> {
        if options.suite {
            return suite(options);
        }
        let mode = if options.ramp {
            Mode::Ramp
        } else {
            Mode::Hold(options.rate)
        };
        let mut cases = Vec::new();
        for choice in &options.scenario {
            for subscribers in or_none(&options.subscribers) {
                let scenario = Self {
                    subscribers,
                    ..Self::usual(*choice, mode)
                };
                cases.extend(scenario.with_settings(options));
            }
        }
        cases
    }

    fn usual(choice: ScenarioChoice, mode: Mode) -> Self {
        Self {
            choice,
            subscribers: None,
            mode,
            profile: ProfileChoice::Gcm128,
            io: None,
            gso: None,
            gro: Switch::On,
            feedback: FeedbackChoice::Off,
        }
    }

    fn with_settings(&self, options: &Options) -> Vec<Self> {
        let mut cases = Vec::new();
        for profile in &options.profile {
            for io in or_none(&options.io) {
                for gso in or_none(&options.gso) {
                    let server = Self {
                        profile: *profile,
                        io: io.clone(),
                        gso,
                        ..self.clone()
                    };
                    cases.extend(server.with_receivers(options));
                }
            }
        }
        cases
    }

    fn with_receivers(&self, options: &Options) -> Vec<Self> {
        let switches = options
            .gro
            .iter()
            .flat_map(|gro| options.feedback.iter().map(move |feedback| (gro, feedback)));
        let cases = switches.map(|(gro, feedback)| Self {
            gro: *gro,
            feedback: *feedback,
            ..self.clone()
        });
        cases.collect()
    }

    /// Who publishes what to whom.
    pub fn scenario(&self) -> Scenario {
        Scenario::new(self.choice, self.subscribers)
    }

    /// The flags that the server is started with, beside those that every run needs.
    pub fn server_flags(&self, options: &Options) -> Vec<String> {
        let mut flags = Vec::new();
        flags.extend(self.io.iter().map(|io| format!("--io={io}")));
        flags.extend(self.gso.map(|gso| format!("--gso={}", gso.name())));
        flags.extend(options.server_flag.iter().cloned());
        flags
    }

    /// What sets it apart, in a few words.
    pub fn name(&self) -> String {
        let mut words = vec![format!(
            "{} x {}",
            self.choice.name(),
            self.scenario().subscribers
        )];
        words.push(match self.mode {
            Mode::Hold(Rate::Natural) => "natural".to_owned(),
            Mode::Hold(Rate::Packets(rate)) => format!("{rate}/s"),
            Mode::Ramp => "ramp".to_owned(),
        });
        match self.profile {
            ProfileChoice::Gcm128 => {}
            ProfileChoice::Gcm256 => words.push("gcm256".to_owned()),
            ProfileChoice::Cm => words.push("cm".to_owned()),
            ProfileChoice::Any => words.push("any profile".to_owned()),
        }
        words.extend(self.io.iter().map(|io| format!("io={io}")));
        words.extend(self.gso.map(|gso| format!("gso={}", gso.name())));
        if self.gro == Switch::Off {
            words.push("gro=off".to_owned());
        }
        if self.feedback != FeedbackChoice::Off {
            words.push(format!("feedback={}", self.feedback.name()));
        }
        words.join(" ")
    }
}

/// What the README tells.
fn suite(options: &Options) -> Vec<Case> {
    let natural = Mode::Hold(Rate::Natural);
    let mut cases = vec![Case::usual(ScenarioChoice::Video, natural)];
    cases.extend([1, 50, 200, 500].map(|subscribers| Case {
        subscribers: Some(subscribers),
        ..Case::usual(ScenarioChoice::Audio, natural)
    }));
    cases.push(Case::usual(ScenarioChoice::Meeting, natural));
    let video = Case::usual(ScenarioChoice::Video, Mode::Ramp);
    cases.extend(
        [
            ProfileChoice::Gcm128,
            ProfileChoice::Gcm256,
            ProfileChoice::Cm,
        ]
        .map(|profile| Case {
            profile,
            ..video.clone()
        }),
    );
    cases.push(Case {
        gro: Switch::Off,
        ..video
    });
    cases.push(Case::usual(ScenarioChoice::Audio, Mode::Ramp));
    cases.push(Case::usual(ScenarioChoice::Meeting, Mode::Ramp));
    let settings = |case: Case| {
        or_none(&options.io).into_iter().flat_map(move |io| {
            let case = case.clone();
            or_none(&options.gso).into_iter().map(move |gso| Case {
                io: io.clone(),
                gso,
                ..case.clone()
            })
        })
    };
    cases.into_iter().flat_map(settings).collect()
}

fn or_none<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.iter().cloned().map(Some).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn names(line: &[&str]) -> Vec<String> {
        let options = Options::parse_from([&["bench"], line].concat());
        Case::all(&options).iter().map(Case::name).collect()
    }

    #[test]
    fn lists_are_combined_with_the_settings_innermost() {
        let line = [
            "video,meeting",
            "--io",
            "mmsg,uring",
            "--gro",
            "on,off",
            "--ramp",
        ];
        let expected = [
            "video x 50 ramp io=mmsg",
            "video x 50 ramp io=mmsg gro=off",
            "video x 50 ramp io=uring",
            "video x 50 ramp io=uring gro=off",
            "meeting x 10 ramp io=mmsg",
        ];
        assert_eq!(names(&line)[..5], expected);
        assert_eq!(names(&["audio", "--subscribers", "1,500"]).len(), 2);
        let compared = [
            "video x 50 natural",
            "video x 50 natural feedback=unread",
            "video x 50 natural feedback=on",
        ];
        assert_eq!(names(&["--feedback", "off,unread,on"]), compared);
    }

    #[test]
    fn without_flags_it_is_video_at_its_natural_rate() {
        assert_eq!(names(&[]), ["video x 50 natural"]);
        assert_eq!(
            names(&["--rate", "900", "--profile", "cm"]),
            ["video x 50 900/s cm"]
        );
    }

    #[test]
    fn no_two_cases_of_the_suite_have_one_name() {
        let mut names = names(&["--suite", "--io", "mmsg,uring"]);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn settings_of_the_server_are_passed_on_only_if_given() {
        let flags = |line: &[&str]| {
            let options = Options::parse_from(line);
            Case::all(&options).first().unwrap().server_flags(&options)
        };
        assert!(flags(&["bench"]).is_empty());
        let line = [
            "bench",
            "--io",
            "mmsg",
            "--gso",
            "off",
            "--server-flag=--dtls=webrtc",
        ];
        assert_eq!(flags(&line), ["--io=mmsg", "--gso=off", "--dtls=webrtc"]);
    }
}
