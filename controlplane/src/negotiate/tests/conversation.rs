//! Random conversations: whatever a client does, our descriptions stay valid, numbers keep their
//! meaning, and the data plane is told of each subscription's beginning and end once.

use std::collections::HashSet;

use proptest::prelude::*;

use super::checker::Numbers;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Pulls these tracks; the client refuses or holds some of the sections.
    Pull {
        tracks: Vec<(u8, usize)>,
        refused: u8,
        held: u8,
    },
    /// Closes sections by force.
    Force { mids: Vec<u8> },
    /// Closes sections with an offer in which some are stopped.
    Close { mids: Vec<u8>, stopped: u8 },
    /// Feeds a section from another track.
    Update { mid: u8, track: (u8, usize) },
}

fn step() -> impl Strategy<Value = Step> {
    let track = (1_u8..=2, 0_usize..2);
    let mids = || prop::collection::vec(0_u8..12, 1..4);
    prop_oneof![
        3 => (prop::collection::vec(track.clone(), 1..4), any::<u8>(), any::<u8>()).prop_map(
            |(tracks, refused, held)| Step::Pull {
                tracks,
                refused: if refused > 200 { refused % 8 } else { 255 },
                held: if held > 200 { held % 8 } else { 255 },
            }
        ),
        1 => mids().prop_map(|mids| Step::Force { mids }),
        2 => (mids(), any::<u8>()).prop_map(|(mids, stopped)| Step::Close { mids, stopped }),
        1 => (0_u8..12, track).prop_map(|(mid, track)| Step::Update { mid, track }),
    ]
}

/// A client that pulls, and what the data plane would know of it.
struct Conversation {
    bed: Bed,
    model: SessionModel,
    /// Its last description.
    client: Option<String>,
    numbers: Numbers,
    live: HashSet<u32>,
}

impl Conversation {
    fn take(&mut self, plan: Plan) -> Option<String> {
        for change in &plan.changes {
            match change {
                Change::Subscribe(parameters) => assert!(self.live.insert(parameters.number)),
                Change::Unsubscribe { number } => assert!(self.live.remove(number)),
                Change::Resubscribe { number, .. } => assert!(self.live.contains(number)),
                Change::Open(_)
                | Change::SetRemote(_)
                | Change::RestartIce { .. }
                | Change::Publish(_)
                | Change::Unpublish { .. }
                | Change::LimitAudio { .. } => {}
            }
        }
        self.model = plan.model;
        let sdp = plan.description.map(|description| description.sdp);
        if let Some(sdp) = &sdp {
            self.numbers.take(sdp);
        }
        sdp
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Pull {
                tracks,
                refused,
                held,
            } => self.pull(tracks, *refused, *held),
            Step::Force { mids } => {
                let mids: Vec<String> = mids.iter().map(u8::to_string).collect();
                let mids: Vec<&str> = mids.iter().map(String::as_str).collect();
                let plan = self.bed.close(&self.model, &mids, None);
                self.take(plan);
            }
            Step::Close { mids, stopped } => self.close(mids, *stopped),
            Step::Update {
                mid,
                track: (session, track),
            } => {
                let name = NAMES[*track];
                let track = TrackRequest {
                    mid: Some(mid.to_string()),
                    ..remote(*session, name)
                };
                let plan = update_tracks(&self.model, &[track], &self.bed.published).unwrap();
                self.take(checked(plan));
            }
        }
        let known: HashSet<u32> = self
            .model
            .tracks()
            .iter()
            .filter_map(|track| match track.source {
                TrackSource::Remote { subscription, .. } => Some(subscription),
                TrackSource::Local { .. } => None,
            })
            .collect();
        assert_eq!(known, self.live, "both planes know the same subscriptions");
    }

    fn pull(&mut self, tracks: &[(u8, usize)], refused: u8, held: u8) {
        let tracks: Vec<_> = tracks
            .iter()
            .map(|(session, of)| (*session, NAMES[*of]))
            .collect();
        let plan = self.bed.pull(&self.model, &tracks);
        let offer = self.take_offer(plan);
        let mut answer = answer_to(&offer, |mid, lines| {
            if mid == held.to_string() {
                set_direction(lines, "inactive");
            }
        });
        answer = stopped(&answer, &refused.to_string());
        let plan = self
            .bed
            .renegotiate(&self.model, "answer", &answer)
            .unwrap();
        self.take(plan);
        self.client = Some(answer);
    }

    /// The offer holds subscriptions that the data plane does not know yet.
    fn take_offer(&mut self, plan: Plan) -> String {
        assert!(plan.changes.is_empty());
        assert_eq!(errors(&plan).iter().flatten().count(), 0);
        self.take(plan).unwrap()
    }

    fn close(&mut self, mids: &[u8], stop: u8) {
        let Some(client) = &self.client else { return };
        let mut offer = offer_from(client);
        for mid in mids.iter().filter(|mid| stop & (1 << (*mid % 8)) != 0) {
            offer = stopped(&offer, &mid.to_string());
        }
        let used: Vec<String> = split(&offer)[1..]
            .iter()
            .filter(|lines| lines[0].split(' ').nth(1) != Some("0"))
            .map(|lines| mid_of(lines))
            .collect();
        let mut parts = split(&offer);
        parts[0].retain(|line| !line.starts_with("a=group:"));
        parts[0].push(format!("a=group:BUNDLE {}", used.join(" ")));
        let offer = join(&parts);
        let mids: Vec<String> = mids.iter().map(u8::to_string).collect();
        let mids: Vec<&str> = mids.iter().map(String::as_str).collect();
        let request = CloseTracks {
            mids: mids.iter().map(|mid| (*mid).to_owned()).collect(),
            mode: CloseMode::Negotiated,
            description: super::offer(&offer),
        };
        match close_tracks(&self.model, &request, &mut self.bed.context()) {
            Ok(plan) => {
                self.take(checked(plan));
                self.client = Some(offer);
            }
            // Nothing was ever accepted, so that there is no transport at all.
            Err(error) => assert!(!self.model.has_transport(), "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_conversation_stays_valid(steps in prop::collection::vec(step(), 1..24)) {
        let mut bed = Bed::new();
        bed.publisher(1, CHROME_VIDEO_FIRST, &NAMES);
        bed.publisher(2, FIREFOX, &NAMES);
        let model = bed.session(3);
        let mut conversation = Conversation {
            bed,
            model,
            client: None,
            numbers: Numbers::default(),
            live: HashSet::new(),
        };
        for step in &steps {
            conversation.run(step);
        }
    }
}

const NAMES: [&str; 2] = ["0", "1"];
