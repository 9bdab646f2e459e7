//! How publishers and subscribers of the benchmark join: as [`crate::peer`] does, after which the
//! socket goes to a load thread.

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;

use dtls::conn::DTLSConn;
use tokio::sync::mpsc;

use super::arrivals::{Arrivals, Numbering};
use super::options::FeedbackChoice;
use super::publisher::{Publisher, PublisherParts};
use super::receiver::{Lane, Session};
use super::seal::Sealer;
use super::sys::set_gro;
use crate::api::{Api, Track};
use crate::description::{
    ArrivalReports, Local, OfferedTrack, Remote, Retransmission, TRANSPORT_CC_URI, publisher_offer,
    subscriber_answer,
};
use crate::dtls_client::Identity;
use crate::error::LoadError;
use crate::ice::Credentials;
use crate::media::Kind;
use crate::options::ProfileChoice;
use crate::peer::Peer;
use crate::publisher::RtpHeader;

/// Where peers join.
#[derive(Debug)]
pub struct Site {
    /// To the server.
    pub api: Api,
    /// Where it answers: candidates of the same address are preferred.
    pub address: IpAddr,
    /// Everybody's certificate.
    pub identity: Identity,
    /// What peers offer.
    pub profile: ProfileChoice,
    /// Whether the kernel hands over runs in one piece.
    pub gro: bool,
    /// What subscribers tell of when packets came.
    pub feedback: FeedbackChoice,
}

/// What must live as long as the peer does.
pub struct Kept {
    connection: DTLSConn,
    _dtls: mpsc::Sender<Vec<u8>>,
}

impl core::fmt::Debug for Kept {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Ends DTLS, so that the server frees the session at once.
    pub async fn close(self) {
        // The alert is sent, or the session times out.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.connection.close()).await;
    }
}

/// A subscriber that has joined.
#[derive(Debug)]
pub struct Joined {
    /// For a load thread.
    pub lane: Lane,
    /// Datagrams that came already.
    pub early: Vec<Vec<u8>>,
    /// Keep this.
    pub kept: Kept,
    /// When it began.
    pub began: Instant,
    /// From there to the end of DTLS.
    pub took: Duration,
}

impl Site {
    /// Makes a session that pushes a track of each of `kinds`; with what others pull.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the server refuses or does not answer.
    pub async fn join_publisher(
        &self,
        index: u8,
        kinds: &[Kind],
    ) -> Result<(Publisher, Kept, Vec<Track>), LoadError> {
        let local = self.local();
        let offered: Vec<OfferedTrack> = (0_u32..)
            .zip(kinds)
            .map(|(position, kind)| OfferedTrack {
                mid: position.to_string(),
                kind: *kind,
                ssrc: 1_000 + u32::from(index) * 10 + position,
            })
            .collect();
        let session = self.api.new_session().await?;
        let track = |track: &OfferedTrack| Track {
            track_name: Some(track.kind.name().to_owned()),
            ..Track::default()
        };
        let local_tracks: Vec<Track> = offered
            .iter()
            .map(|offered| Track {
                location: Some("local".to_owned()),
                mid: Some(offered.mid.clone()),
                ..track(offered)
            })
            .collect();
        let offer = publisher_offer(&local, &offered);
        let answer = Remote::parse(&self.api.push(&session, &local_tracks, &offer).await?)?;
        let peer = self.connect(&local, &answer).await?.detach()?;
        let parts = PublisherParts {
            sealer: Sealer::new(peer.secured.profile, &peer.secured.outgoing_key)?,
            socket: peer.socket,
            incoming: peer.secured.incoming,
            outgoing: peer.secured.outgoing,
            ice: peer.ice,
            index,
            tracks: offered
                .iter()
                .map(|track| RtpHeader::new(track, &answer))
                .collect(),
        };
        let pulled = offered.iter().map(|offered| Track {
            location: Some("remote".to_owned()),
            session_id: Some(session.clone()),
            ..track(offered)
        });
        let kept = Kept {
            connection: peer.secured.connection,
            _dtls: peer.dtls,
        };
        Ok((
            Publisher::new(parts, Instant::now()),
            kept,
            pulled.collect(),
        ))
    }

    /// Makes a session that pulls `tracks`.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the server refuses or does not answer.
    pub async fn join_subscriber(&self, tracks: &[Track]) -> Result<Joined, LoadError> {
        let began = Instant::now();
        let local = self.local();
        let session = self.api.new_session().await?;
        let offer = Remote::parse(&self.api.pull(&session, tracks).await?)?;
        let answer = subscriber_answer(&local, &offer, self.retransmission(), self.arrivals());
        self.api.renegotiate(&session, &answer).await?;
        let peer = self.connect(&local, &offer).await?.detach()?;
        let took = began.elapsed();
        set_gro(&peer.socket, self.gro)?;
        let mut payload_types: Vec<(u8, Kind)> = offer
            .sections
            .iter()
            .map(|section| (section.payload_type, section.kind))
            .collect();
        payload_types.sort_unstable_by_key(|(number, _)| *number);
        payload_types.dedup();
        let session = Session {
            ice: peer.ice,
            incoming: peer.secured.incoming,
            outgoing: peer.secured.outgoing,
            arrivals: self.arrivals_of(&offer),
            repeat_types: self.repeat_types(&offer),
        };
        Ok(Joined {
            lane: Lane::new(peer.socket, Some(session), payload_types, Instant::now()),
            early: peer.early,
            kept: Kept {
                connection: peer.secured.connection,
                _dtls: peer.dtls,
            },
            began,
            took,
        })
    }

    fn arrivals(&self) -> ArrivalReports {
        match self.feedback {
            FeedbackChoice::On => ArrivalReports::TransportWide,
            FeedbackChoice::Off | FeedbackChoice::Unread => ArrivalReports::None,
        }
    }

    /// As browsers do, too: without it the server could not probe.
    fn retransmission(&self) -> Retransmission {
        match self.arrivals() {
            ArrivalReports::TransportWide => Retransmission::Rtx,
            ArrivalReports::None => Retransmission::None,
        }
    }

    fn arrivals_of(&self, offer: &Remote) -> Option<Arrivals> {
        let numbering = match self.feedback {
            FeedbackChoice::Off => return None,
            FeedbackChoice::Unread => Numbering::Unread { next: 0 },
            FeedbackChoice::On => {
                let mut sections = offer.sections.iter();
                Numbering::Extension(sections.find_map(|s| s.extension(TRANSPORT_CC_URI))?)
            }
        };
        Some(Arrivals::new(numbering))
    }

    fn repeat_types(&self, offer: &Remote) -> Vec<u8> {
        match self.retransmission() {
            Retransmission::Rtx => {
                let sections = offer.sections.iter();
                sections
                    .filter_map(|section| section.rtx_payload_type)
                    .collect()
            }
            Retransmission::None => Vec::new(),
        }
    }

    fn local(&self) -> Local {
        Local {
            ice: Credentials::random(),
            fingerprint: self.identity.fingerprint.clone(),
        }
    }

    async fn connect(&self, local: &Local, remote: &Remote) -> Result<Peer, LoadError> {
        Peer::connect(local, remote, self.address, &self.identity, self.profile).await
    }
}

const CLOSE_LIMIT: Duration = Duration::from_secs(1);
