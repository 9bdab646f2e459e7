//! What networks, tracks and subscriptions are like.

use core::time::Duration;

use shared::protocol::{Codec, DtlsRole, Hints, Ordering};

use crate::content::PictureIdWidth;
use crate::network::{Bottleneck, LinkModel, LinkState, QueueLimit};
use crate::peer::{ClientOptions, Feedback};
use crate::pool::PROFILES;
use crate::publisher::{Announcement, KeyframeRequests, Loudness, Repair, Scene, TrackSpec};
use crate::rng::Rng;
use crate::subscriber::SubscriptionSpec;

/// Its path is estimated with this probability.
pub(super) fn client(rng: &mut Rng, watched: f64) -> ClientOptions {
    let feedback = if rng.chance(watched) {
        Feedback::TransportWide
    } else {
        Feedback::None
    };
    ClientOptions {
        feedback,
        profile: rng.pick(&PROFILES),
        server_role: rng.pick(&[DtlsRole::Server, DtlsRole::Client]),
    }
}

/// A network that repairs can keep up with.
pub(super) fn link(rng: &mut Rng) -> LinkModel {
    LinkModel {
        delay: Duration::from_millis(rng.between(1, 80)),
        jitter: Duration::from_millis(rng.below(15)),
        loss: rng.pick(&[0.0, 0.0, 0.01, 0.03, 0.08]),
        burst: None,
        duplication: rng.pick(&[0.0, 0.0, 0.02]),
        reordering: rng.pick(&[0.0, 0.0, 0.03, 0.1]),
        reordering_delay: Duration::from_millis(rng.between(1, 30)),
        bottleneck: None,
        state: LinkState::Up,
    }
}

/// A network of which the rate is most of what is wrong with it: from hardly enough for sound to
/// enough for everything.
pub(super) fn narrow(rng: &mut Rng) -> LinkModel {
    let octave = rng.below(6);
    let rate = rng.between(50_000, 100_000) << octave;
    let queue = Duration::from_millis(rng.between(50, 700));
    let bottleneck = Bottleneck {
        rate,
        queue: QueueLimit::Time(queue),
    };
    LinkModel {
        delay: Duration::from_millis(rng.between(1, 120)),
        jitter: Duration::from_millis(rng.pick(&[0, 0, 3, 10])),
        loss: rng.pick(&[0.0, 0.0, 0.0, 0.01, 0.05]),
        duplication: rng.pick(&[0.0, 0.0, 0.02]),
        reordering: rng.pick(&[0.0, 0.0, 0.02]),
        reordering_delay: Duration::from_millis(rng.between(1, 15)),
        bottleneck: rng.chance(0.85).then_some(bottleneck),
        ..LinkModel::default()
    }
}

pub(super) fn track(rng: &mut Rng) -> TrackSpec {
    let spec = match rng.below(4) {
        0 => TrackSpec::audio(),
        1 => TrackSpec {
            rates: rng.pick(&[&[][..], &[300_000]]).to_vec(),
            ..video(rng)
        },
        _ => TrackSpec {
            rids: TrackSpec::simulcast().rids,
            rates: rng.pick(&SIMULCAST_RATES).to_vec(),
            ..video(rng)
        },
    };
    // Near the wrap, yet so far that the first packets that come are before it.
    let near_the_wrap = Some(65_536 - rng.between(150, 500)).map(|number| number as u16);
    TrackSpec {
        repair: rng.pick(&[Repair::Plain, Repair::Rtx]),
        announcement: rng.pick(&[Announcement::Ssrc, Announcement::Extensions]),
        picture_ids: if spec.codec == Codec::Vp9 {
            PictureIdWidth::Fifteen
        } else {
            rng.pick(&[PictureIdWidth::Seven, PictureIdWidth::Fifteen])
        },
        keyframe_requests: rng.pick(&[KeyframeRequests::Pli, KeyframeRequests::Fir]),
        first_sequence_number: rng.pick(&[None, near_the_wrap]),
        probes: rng.pick(&[0.0, 0.0, 0.05]),
        scene: rng.pick(&[Scene::Camera, Scene::Camera, Scene::Screen]),
        loudness: rng.pick(&LOUDNESSES),
        ..spec
    }
}

fn video(rng: &mut Rng) -> TrackSpec {
    let codec = rng.pick(&CODECS);
    // Only the frames of VP8 say in this world how high they are.
    let heights: &[u16] = if codec == Codec::Vp8 {
        rng.pick(&[&[][..], &[720, 360, 180]])
    } else {
        &[]
    };
    TrackSpec {
        codec,
        heights: heights.to_vec(),
        ..TrackSpec::video()
    }
}

pub(super) fn subscription(rng: &mut Rng) -> SubscriptionSpec {
    SubscriptionSpec {
        preferred_rid: rng.pick(&RIDS),
        priority_ordering: rng.pick(&[Ordering::None, Ordering::Asciibetical]),
        fallback: rng.pick(&[Ordering::None, Ordering::Asciibetical]),
        repair: rng.pick(&[Repair::Plain, Repair::Rtx, Repair::Rtx]),
        hints: hints(rng),
        insists: rng.chance(0.5),
        ssrc: None,
    }
}

pub(super) fn hints(rng: &mut Rng) -> Hints {
    Hints {
        priority: rng.pick(&[0, 0, 9]),
        max_height: rng.pick(&[None, None, Some(360)]),
    }
}

/// What may be preferred.
pub(super) const RIDS: [Option<&str>; 5] = [None, None, Some("a"), Some("b"), Some("c")];

const CODECS: [Codec; 5] = [Codec::Vp8, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

const SIMULCAST_RATES: [&[u64]; 3] = [
    &[],
    &[600_000, 220_000, 80_000],
    &[1_200_000, 400_000, 120_000],
];

const LOUDNESSES: [Loudness; 4] = [
    Loudness::Counting,
    Loudness::Level(20),
    Loudness::Level(60),
    Loudness::Untold,
];
