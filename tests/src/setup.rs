//! What the control plane does in truth: opens sessions, publishes, subscribes, closes. And what
//! every run ends with.

use core::num::NonZeroU8;
use core::time::Duration;

use shared::counters::{DropReason, Gauge};
use shared::id::{PublicationId, SessionId, ShardIndex, SubscriptionId};
use shared::protocol::{
    Change, CodecMapping, Command, CommandError, Extension, ExtensionMapping, Fingerprint,
    HashAlgorithm, Hints, LayerParameters, LayerSelection, MediaKind, Mid, PublishParameters,
    PublishedCodec, RemoteTransport, Reply, Rid, SessionReport, SessionStatistics,
    SubscribeParameters,
};

use crate::checker::{Completeness, LegSummary, TagPlace, check_leg, check_lip_sync};
use crate::network::LinkModel;
use crate::peer::ice::credentials;
use crate::peer::{Activity, Client, ClientOptions, Feedback};
use crate::publisher::{
    self, Announcement, Flow, KeyframeRequests, PublishedTrack, Repair, TrackSpec, mid_of,
};
use crate::subscriber::{self, SubscribedTrack, SubscriptionSpec};
use crate::world::{NTP_ORIGIN, World};
use dataplane_core::srtp::SrtpProfile;

impl World {
    /// A client with a session on `shard`, over a good network.
    pub fn join(&mut self, shard: u16, options: ClientOptions) -> usize {
        self.join_over(shard, options, LinkModel::default())
    }

    /// A client with a session on `shard`.
    pub fn join_over(&mut self, shard: u16, options: ClientOptions, model: LinkModel) -> usize {
        let index = self.clients.len();
        let mut rng = self.rng.fork();
        let session = SessionId::new(1, ShardIndex(shard), rng.bytes());
        let server = credentials(&format!("server{index}"), &mut rng);
        let client = Client::new(index, session, server.clone(), options, rng);
        let place = match options.profile {
            SrtpProfile::Aes128CmHmacSha1_80 => TagPlace::AfterIndex,
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => TagPlace::BeforeIndex,
        };
        self.checker.sent.set_tag_place(index, place);
        let remote = remote_transport(&client);
        self.add_client(client, model, model);
        self.execute(index, vec![Change::Open(server), Change::SetRemote(remote)])
            .unwrap();
        index
    }

    /// A transaction on a client's session.
    ///
    /// # Errors
    /// As the shard answers.
    pub fn execute(&mut self, client: usize, changes: Vec<Change>) -> Result<Reply, CommandError> {
        let session = self.clients[client].session;
        let command = Command::Execute {
            session,
            changes,
            model: None,
        };
        self.command(session.shard().as_usize(), &command)
    }

    /// Lets a client publish.
    pub fn publish(&mut self, client: usize, spec: TrackSpec) -> PublicationId {
        let number = self.clients[client].publications.len() as u32 + 1;
        let id = PublicationId {
            session: self.clients[client].session,
            number,
        };
        let name = (client as u32) << 8 | number;
        let rng = self.clients[client].rng.fork();
        let track = PublishedTrack::new(id, name, spec, rng);
        let parameters = publish_parameters(&track);
        self.execute(client, vec![Change::Publish(Box::new(parameters))])
            .unwrap();
        self.clients[client].publications.push(track);
        id
    }

    /// Lets a client receive; returns which of its subscriptions that is.
    pub fn subscribe(
        &mut self,
        client: usize,
        source: PublicationId,
        spec: SubscriptionSpec,
    ) -> usize {
        let codec = self.track(source).spec.codec;
        let position = self.clients[client].subscriptions.len();
        let id = SubscriptionId {
            session: self.clients[client].session,
            number: position as u32 + 1,
        };
        let rng = &mut self.clients[client].rng;
        let ssrcs = (
            spec.ssrc.unwrap_or_else(|| rng.bits() as u32),
            rng.bits() as u32,
        );
        let mut track = SubscribedTrack::new(id, source, codec, spec, ssrcs);
        let feedback = self.clients[client].options.feedback;
        track.may_be_cut = match codec.kind() {
            MediaKind::Audio => self.clients[client].hears_loudest,
            MediaKind::Video => feedback != Feedback::None,
        };
        let parameters = subscribe_parameters(&track, source, feedback);
        self.clients[client].subscriptions.push(track);
        self.execute(client, vec![Change::Subscribe(Box::new(parameters))])
            .unwrap();
        position
    }

    /// Feeds a subscription from another source, or another layer of the same one.
    pub fn resubscribe(
        &mut self,
        client: usize,
        subscription: usize,
        source: PublicationId,
        preferred_rid: Option<&'static str>,
    ) {
        let now = self.now;
        let track = &mut self.clients[client].subscriptions[subscription];
        track.spec.preferred_rid = preferred_rid;
        if core::mem::replace(&mut track.source, source) != source {
            track.changes.push(now);
        }
        let change = Change::Resubscribe {
            number: track.id.number,
            source,
            codecs: vec![codec_mapping(track)],
            selection: selection(&track.spec),
            hints: track.spec.hints,
        };
        self.execute(client, vec![change]).unwrap();
    }

    /// Other hints for a subscription, and nothing else.
    pub fn set_hints(&mut self, client: usize, subscription: usize, hints: Hints) {
        let track = &mut self.clients[client].subscriptions[subscription];
        track.spec.hints = hints;
        let (source, preferred_rid) = (track.source, track.spec.preferred_rid);
        self.resubscribe(client, subscription, source, preferred_rid);
    }

    /// Lets a client hear so many of its audio tracks at a time; none for all.
    pub fn limit_audio(&mut self, client: usize, loudest: Option<u8>) {
        let loudest = loudest.map(|count| NonZeroU8::new(count).unwrap());
        let listener = &mut self.clients[client];
        listener.hears_loudest |= loudest.is_some();
        for track in &mut listener.subscriptions {
            track.may_be_cut |= track.codec.kind() == MediaKind::Audio && loudest.is_some();
        }
        self.execute(client, vec![Change::LimitAudio { loudest }])
            .unwrap();
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, client: usize, subscription: usize) {
        let number = self.clients[client].subscriptions[subscription].id.number;
        self.execute(client, vec![Change::Unsubscribe { number }])
            .unwrap();
    }

    /// Ends a publication.
    pub fn unpublish(&mut self, id: PublicationId) {
        let client = self.client_of(id.session);
        self.track_mut(id).flow = Flow::Paused;
        self.execute(client, vec![Change::Unpublish { number: id.number }])
            .unwrap();
    }

    /// New ICE credentials on both sides.
    pub fn restart_ice(&mut self, client: usize) {
        let mut rng = self.rng.fork();
        let server = credentials(&format!("again{client}"), &mut rng);
        let remote = credentials(&format!("client{client}"), &mut rng);
        self.clients[client]
            .ice
            .restart(remote.clone(), server.clone());
        let change = Change::RestartIce {
            local: server,
            remote,
        };
        self.execute(client, vec![change]).unwrap();
    }

    /// Closes a client's session.
    ///
    /// # Errors
    /// As the shard answers.
    pub fn close(&mut self, client: usize) -> Result<Reply, CommandError> {
        let session = self.clients[client].session;
        self.command(
            session.shard().as_usize(),
            &Command::CloseSession { session },
        )
    }

    /// How a client's session stands.
    ///
    /// # Errors
    /// As the shard answers.
    pub fn inspect(&mut self, client: usize) -> Result<SessionReport, CommandError> {
        let session = self.clients[client].session;
        let command = Command::InspectSession { session };
        match self.command(session.shard().as_usize(), &command)? {
            Reply::Session(report) => Ok(*report),
            other @ (Reply::Done | Reply::Sessions { .. } | Reply::Statistics(_)) => {
                panic!("InspectSession was answered with {other:?}")
            }
        }
    }

    /// How a client's media flows.
    ///
    /// # Errors
    /// As the shard answers.
    pub fn measure(&mut self, client: usize) -> Result<SessionStatistics, CommandError> {
        let session = self.clients[client].session;
        let command = Command::MeasureSession { session };
        match self.command(session.shard().as_usize(), &command)? {
            Reply::Statistics(statistics) => Ok(*statistics),
            other @ (Reply::Done | Reply::Sessions { .. } | Reply::Session(_)) => {
                panic!("MeasureSession was answered with {other:?}")
            }
        }
    }

    /// A published track by its name.
    pub fn track(&self, id: PublicationId) -> &PublishedTrack {
        let mut tracks = self.clients.iter().flat_map(|client| &client.publications);
        tracks.find(|track| track.id == id).expect("published")
    }

    /// A published track by its name.
    pub fn track_mut(&mut self, id: PublicationId) -> &mut PublishedTrack {
        let mut tracks = self
            .clients
            .iter_mut()
            .flat_map(|client| &mut client.publications);
        tracks.find(|track| track.id == id).expect("published")
    }

    /// A received track.
    pub fn leg(&self, client: usize, subscription: usize) -> &SubscribedTrack {
        &self.clients[client].subscriptions[subscription]
    }

    /// Publishers fall silent and repairs come to an end; then all subscriptions and reports are
    /// checked. Returns what was seen, client by client.
    pub fn settle(&mut self, completeness: Completeness) -> Vec<Vec<LegSummary>> {
        self.settle_each(|_| completeness)
    }

    /// Like [`Self::settle`]; how much may be missing is said for each client.
    pub fn settle_each(
        &mut self,
        completeness: impl Fn(usize) -> Completeness,
    ) -> Vec<Vec<LegSummary>> {
        for track in self
            .clients
            .iter_mut()
            .flat_map(|client| &mut client.publications)
        {
            track.flow = Flow::Paused;
        }
        self.run_for(Duration::from_secs(4));
        let (ledger, checker) = (&self.ledger, &mut self.checker);
        let summaries = self.clients.iter().map(|client| {
            let tracks = client.subscriptions.iter();
            let completeness = completeness(client.index);
            let check = |track| check_leg(client.index, track, ledger, completeness, checker);
            tracks.map(check).collect()
        });
        let summaries = summaries.collect();
        check_lip_sync(&self.clients, &self.ledger, NTP_ORIGIN, &mut self.checker);
        if !self.checker.faults.is_empty() {
            // Every reason for a drop may explain a fault.
            let drops = (0..self.shards())
                .map(|shard| self.all_drops(shard))
                .collect::<Vec<_>>();
            self.checker
                .fault(format!("drops of each shard: {drops:?}"));
        }
        self.checker.assert_clean();
        summaries
    }

    /// What a shard dropped, and why.
    pub fn all_drops(&self, shard: usize) -> Vec<(DropReason, u64)> {
        let reasons = DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.drops(shard, *reason)));
        reasons.filter(|(_, count)| *count > 0).collect()
    }

    /// Closes all sessions that are still there; nothing may be left of them.
    pub fn close_all(&mut self) {
        for client in 0..self.clients.len() {
            let closed = self.close(client);
            assert!(matches!(closed, Ok(_) | Err(CommandError::UnknownSession)));
            self.clients[client].activity = Activity::Asleep;
        }
        self.run_for(Duration::from_secs(1));
        for shard in 0..self.shards() {
            for gauge in Gauge::ALL {
                assert_eq!(self.gauge(shard, *gauge), 0, "{gauge:?} of shard {shard}");
            }
            assert!(self.pool(shard).is_empty(), "associations of shard {shard}");
        }
        self.checker.assert_clean();
    }

    /// Whether a client's session is connected.
    ///
    /// # Panics
    /// If it is not.
    pub fn assert_connected(&self, client: usize) {
        assert!(
            self.clients[client].server_is_ready,
            "client {client} is not connected"
        );
    }

    fn client_of(&self, session: SessionId) -> usize {
        let mut clients = self.clients.iter();
        clients
            .position(|client| client.session == session)
            .expect("joined")
    }
}

/// What a client's description says of its transport.
pub fn remote_transport(client: &Client) -> RemoteTransport {
    RemoteTransport {
        ice: client.ice.local.clone(),
        fingerprints: vec![Fingerprint {
            algorithm: HashAlgorithm::Sha256,
            digest: client.digest.to_vec(),
        }],
        role: client.options.server_role,
    }
}

/// What a client's description says of a track.
pub fn publish_parameters(track: &PublishedTrack) -> PublishParameters {
    let spec = &track.spec;
    let has_nack = spec.repair != Repair::None;
    let is_rtx = spec.repair == Repair::Rtx;
    let layers = track.layers.iter().map(|layer| {
        let announced = spec.announcement == Announcement::Ssrc;
        LayerParameters {
            rid: layer.rid().map(|rid| Rid::from(rid).unwrap()),
            ssrc: announced.then_some(layer.ssrc),
            rtx_ssrc: (announced && is_rtx).then_some(layer.rtx_ssrc),
        }
    });
    PublishParameters {
        number: track.id.number,
        mid: Mid::from(&mid_of(track.id.number)).unwrap(),
        kind: spec.kind(),
        codecs: vec![PublishedCodec {
            payload_type: publisher::payload_type(spec.kind()),
            codec: spec.codec,
            rtx_payload_type: is_rtx.then(|| publisher::rtx_payload_type(spec.kind())),
            nack: has_nack,
            pli: spec.keyframe_requests == KeyframeRequests::Pli,
            fir: true,
            transport_cc: true,
        }],
        extensions: extensions(&[
            (publisher::ids::MID, Extension::Mid),
            (publisher::ids::RID, Extension::RtpStreamId),
            (publisher::ids::REPAIRED_RID, Extension::RepairedRtpStreamId),
            (
                publisher::ids::TRANSPORT,
                Extension::TransportWideSequenceNumber,
            ),
            (publisher::ids::AUDIO_LEVEL, Extension::AudioLevel),
            (publisher::ids::ORIENTATION, Extension::VideoOrientation),
            (publisher::ids::CONTENT_TYPE, Extension::VideoContentType),
            (
                publisher::ids::DEPENDENCIES,
                Extension::DependencyDescriptor,
            ),
        ]),
        layers: layers.collect(),
    }
}

/// What the control plane tells of a subscription.
pub fn subscribe_parameters(
    track: &SubscribedTrack,
    source: PublicationId,
    feedback: Feedback,
) -> SubscribeParameters {
    let transport = (
        subscriber::ids::TRANSPORT,
        Extension::TransportWideSequenceNumber,
    );
    let mut extensions = extensions(&[
        (subscriber::ids::MID, Extension::Mid),
        transport,
        (subscriber::ids::AUDIO_LEVEL, Extension::AudioLevel),
        (subscriber::ids::ORIENTATION, Extension::VideoOrientation),
        (
            subscriber::ids::DEPENDENCIES,
            Extension::DependencyDescriptor,
        ),
    ]);
    extensions.retain(|known| feedback != Feedback::None || known.id != transport.0);
    SubscribeParameters {
        number: track.id.number,
        mid: Mid::from(&mid_of(track.id.number)).unwrap(),
        kind: track.codec.kind(),
        source,
        ssrc: track.ssrc,
        rtx_ssrc: (track.spec.repair == Repair::Rtx).then_some(track.rtx_ssrc),
        codecs: vec![codec_mapping(track)],
        extensions,
        selection: selection(&track.spec),
        hints: track.spec.hints,
    }
}

fn codec_mapping(track: &SubscribedTrack) -> CodecMapping {
    let rtx = subscriber::rtx_payload_type(track.codec.kind());
    CodecMapping {
        source_payload_type: publisher::payload_type(track.codec.kind()),
        payload_type: subscriber::payload_type(track.codec.kind()),
        codec: track.codec,
        rtx_payload_type: (track.spec.repair == Repair::Rtx).then_some(rtx),
    }
}

fn selection(spec: &SubscriptionSpec) -> LayerSelection {
    LayerSelection {
        preferred_rid: spec.preferred_rid.map(|rid| Rid::from(rid).unwrap()),
        priority_ordering: spec.priority_ordering,
        rid_not_available: spec.fallback,
    }
}

fn extensions(of: &[(u8, Extension)]) -> Vec<ExtensionMapping> {
    let mapping = |(id, extension): &(u8, Extension)| ExtensionMapping {
        id: *id,
        extension: *extension,
    };
    of.iter().map(mapping).collect()
}
