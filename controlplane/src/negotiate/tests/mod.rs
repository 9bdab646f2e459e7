//! Whole conversations, with clients played by text: their offers are golden, their answers are
//! made from our offers.

mod checker;
mod close;
mod conversation;
mod errors;
mod model;
mod pull;
mod push;
mod red;
mod renegotiate;
mod shapes;
mod traps;
mod update;

use std::collections::HashMap;

use shared::id::{SessionId, ShardIndex};
use shared::protocol::{
    Change, Codec, Fingerprint, HashAlgorithm, PublishParameters, SubscribeParameters,
};

use super::*;
use crate::sdp::tests::{AIORTC, CHROME_AUDIO_FIRST, CHROME_VIDEO_FIRST, FIREFOX};
use checker::check;

/// Everything that a negotiation needs, all of it repeatable.
struct Bed {
    transport: LocalTransport,
    published: HashMap<(SessionId, String), Lookup>,
    random: Counter,
}

/// A poor random source, but one that never repeats itself.
struct Counter(u64);

impl Randomness for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

impl Publishers for HashMap<(SessionId, String), Lookup> {
    fn find(&self, session: SessionId, track_name: &str) -> Lookup {
        self.get(&(session, track_name.to_owned()))
            .cloned()
            .unwrap_or(Lookup::NotFound)
    }
}

impl Bed {
    fn new() -> Self {
        let fingerprint = Fingerprint {
            algorithm: HashAlgorithm::Sha256,
            digest: (0..32).collect(),
        };
        let addresses = vec![
            "192.0.2.1:5000".parse().unwrap(),
            "[2001:db8::1]:5000".parse().unwrap(),
        ];
        Self {
            transport: LocalTransport {
                addresses,
                fingerprint,
            },
            published: HashMap::new(),
            random: Counter(1),
        }
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            transport: &self.transport,
            publishers: &self.published,
            randomness: &mut self.random,
        }
    }

    /// A new session without a description.
    fn session(&mut self, number: u8) -> SessionModel {
        let request = CreateSession {
            session: id(number),
            description: None,
            loudest_audio: None,
        };
        let plan = create_session(&request, &mut self.context()).unwrap();
        assert!(matches!(plan.changes.as_slice(), [Change::Open(_)]));
        plan.model
    }

    fn add(&mut self, model: &SessionModel, request: &AddTracks) -> Result<Plan, NegotiationError> {
        let plan = add_tracks(model, request, &mut self.context())?;
        Ok(checked(plan))
    }

    fn push(&mut self, model: &SessionModel, sdp: &str, tracks: &[(&str, &str)]) -> Plan {
        let tracks = tracks.iter().map(|(mid, name)| local(mid, name)).collect();
        self.add(
            model,
            &AddTracks {
                description: offer(sdp),
                tracks,
                ..AddTracks::default()
            },
        )
        .unwrap()
    }

    fn pull(&mut self, model: &SessionModel, tracks: &[(u8, &str)]) -> Plan {
        let tracks = tracks
            .iter()
            .map(|(session, name)| remote(*session, name))
            .collect();
        self.add(
            model,
            &AddTracks {
                tracks,
                ..AddTracks::default()
            },
        )
        .unwrap()
    }

    fn renegotiate(
        &mut self,
        model: &SessionModel,
        kind: &str,
        sdp: &str,
    ) -> Result<Plan, NegotiationError> {
        let description = SessionDescription {
            kind: kind.to_owned(),
            sdp: sdp.to_owned(),
        };
        let plan = renegotiate(model, &description, &mut self.context())?;
        Ok(checked(plan))
    }

    fn close(&mut self, model: &SessionModel, mids: &[&str], sdp: Option<&str>) -> Plan {
        let request = CloseTracks {
            mids: mids.iter().map(|mid| (*mid).to_owned()).collect(),
            mode: if sdp.is_some() {
                CloseMode::Negotiated
            } else {
                CloseMode::Forced
            },
            description: sdp.and_then(offer),
        };
        checked(close_tracks(model, &request, &mut self.context()).unwrap())
    }

    /// A session that publishes everything of an offer, known to all by `mid` as the name.
    fn publisher(&mut self, number: u8, sdp: &str, mids: &[&str]) -> SessionModel {
        let model = self.session(number);
        let tracks: Vec<_> = mids.iter().map(|mid| (*mid, *mid)).collect();
        let plan = self.push(&model, sdp, &tracks);
        assert!(
            plan.tracks.iter().all(|track| track.error.is_none()),
            "{:?}",
            plan.tracks
        );
        self.announce(&plan.model);
        plan.model
    }

    /// Makes a session's tracks known to the others.
    fn announce(&mut self, model: &SessionModel) {
        for track in model.tracks() {
            if let Some(published) = model.published_track(&track.track_name) {
                let key = (model.id(), track.track_name);
                self.published
                    .insert(key, Lookup::Found(Box::new(published)));
            }
        }
    }

    /// Pulls, and answers as a client that takes everything.
    fn pull_and_answer(&mut self, model: &SessionModel, tracks: &[(u8, &str)]) -> (Plan, Plan) {
        let offered = self.pull(model, tracks);
        let answer = answer_to(&sdp(&offered), |_, _| {});
        let answered = self.renegotiate(&offered.model, "answer", &answer).unwrap();
        (offered, answered)
    }
}

/// What holds for every plan.
fn checked(plan: Plan) -> Plan {
    if let Some(description) = &plan.description {
        check(&description.sdp);
    }
    let bytes = plan.model.encode();
    assert!(bytes.len() <= shared::limits::MODEL_BYTES_MAX);
    assert_eq!(SessionModel::decode(&bytes).as_ref(), Ok(&plan.model));
    plan
}

fn id(number: u8) -> SessionId {
    SessionId::new(0, ShardIndex(0), [number; 12])
}

fn offer(sdp: &str) -> Option<SessionDescription> {
    Some(SessionDescription {
        kind: "offer".to_owned(),
        sdp: sdp.to_owned(),
    })
}

fn local(mid: &str, name: &str) -> TrackRequest {
    TrackRequest {
        location: Some("local".to_owned()),
        mid: Some(mid.to_owned()),
        track_name: Some(name.to_owned()),
        ..TrackRequest::default()
    }
}

fn remote(session: u8, name: &str) -> TrackRequest {
    TrackRequest {
        location: Some("remote".to_owned()),
        session_id: Some(id(session).to_string()),
        track_name: Some(name.to_owned()),
        ..TrackRequest::default()
    }
}

fn sdp(plan: &Plan) -> String {
    plan.description
        .as_ref()
        .map(|description| description.sdp.clone())
        .unwrap()
}

fn publishes(plan: &Plan) -> Vec<&PublishParameters> {
    let mut found = Vec::new();
    for change in &plan.changes {
        if let Change::Publish(parameters) = change {
            found.push(&**parameters);
        }
    }
    found
}

fn subscribes(plan: &Plan) -> Vec<&SubscribeParameters> {
    let mut found = Vec::new();
    for change in &plan.changes {
        if let Change::Subscribe(parameters) = change {
            found.push(&**parameters);
        }
    }
    found
}

fn errors(plan: &Plan) -> Vec<Option<&'static str>> {
    plan.tracks
        .iter()
        .map(|track| track.error.as_ref().map(|e| e.code.as_str()))
        .collect()
}

fn mids(plan: &Plan) -> Vec<&str> {
    plan.tracks
        .iter()
        .filter_map(|track| track.mid.as_deref())
        .collect()
}

/// The lines before the first media section, and those of each.
fn split(sdp: &str) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new()];
    for line in sdp
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        if line.starts_with("m=") {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(line.to_owned());
    }
    parts
}

fn join(parts: &[Vec<String>]) -> String {
    parts
        .iter()
        .flatten()
        .map(|line| format!("{line}\r\n"))
        .collect()
}

fn mid_of(lines: &[String]) -> String {
    lines
        .iter()
        .find_map(|line| line.strip_prefix("a=mid:"))
        .unwrap()
        .to_owned()
}

/// The lines of the section with this mid.
fn section(sdp: &str, mid: &str) -> Vec<String> {
    split(sdp)
        .into_iter()
        .skip(1)
        .find(|lines| mid_of(lines) == mid)
        .unwrap()
}

fn has(sdp: &str, mid: &str, line: &str) -> bool {
    section(sdp, mid).iter().any(|found| found == line)
}

/// The description with one section changed.
fn edit(sdp: &str, mid: &str, change: impl Fn(&mut Vec<String>)) -> String {
    let mut parts = split(sdp);
    for lines in parts
        .iter_mut()
        .skip(1)
        .filter(|lines| mid_of(lines) == mid)
    {
        change(lines);
    }
    join(&parts)
}

fn with_direction(sdp: &str, mid: &str, direction: &str) -> String {
    edit(sdp, mid, |lines| set_direction(lines, direction))
}

fn set_direction(lines: &mut [String], direction: &str) {
    for line in lines {
        if DIRECTIONS.contains(&line.as_str()) {
            *line = format!("a={direction}");
        }
    }
}

/// As Chrome writes a section whose transceiver was stopped.
fn stopped(sdp: &str, mid: &str) -> String {
    edit(sdp, mid, |lines| {
        let first = &mut lines[0];
        let mut words: Vec<&str> = first.split(' ').collect();
        words[1] = "0";
        *first = words.join(" ");
    })
}

/// What a client that takes everything answers to our offer; `change` may alter each section.
fn answer_to(offer: &str, change: impl Fn(&str, &mut Vec<String>)) -> String {
    let mut parts = split(offer);
    parts[0].retain(|line| line != "a=ice-lite");
    for lines in parts.iter_mut().skip(1) {
        lines.retain(|line| {
            let ours = [
                "a=ssrc",
                "a=msid",
                "a=candidate",
                "a=end-of",
                "a=setup",
                "a=rid",
                "a=simulcast",
            ];
            !ours.iter().any(|prefix| line.starts_with(prefix))
        });
        for line in lines.iter_mut() {
            *line = match line.as_str() {
                "a=sendonly" => "a=recvonly".to_owned(),
                "a=recvonly" => "a=sendonly".to_owned(),
                other if other.starts_with("a=ice-ufrag:") => "a=ice-ufrag:Clnt".to_owned(),
                other if other.starts_with("a=ice-pwd:") => format!("a=ice-pwd:{}", "p".repeat(24)),
                other if other.starts_with("a=fingerprint:") => {
                    format!("a=fingerprint:sha-256 {}", ["EE"; 32].join(":"))
                }
                other => other.to_owned(),
            };
        }
        lines.push("a=setup:active".to_owned());
        let mid = mid_of(lines);
        change(&mid, lines);
    }
    join(&parts)
}

/// The client's next offer, made from its last answer.
fn offer_from(answer: &str) -> String {
    answer.replace("a=setup:active", "a=setup:actpass")
}

const DIRECTIONS: [&str; 4] = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
