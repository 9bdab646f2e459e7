//! The model as bytes, and as `GET session` sees it.

use shared::protocol::MediaKind;

use super::*;

#[test]
fn a_model_of_another_version_or_of_garbage_is_refused() {
    let mut bed = Bed::new();
    let bytes = bed
        .publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"])
        .encode();
    assert_eq!(SessionModel::decode(&[]), Err(ModelError::Malformed));
    let mut other = bytes.clone();
    other[0] = 200;
    assert_eq!(SessionModel::decode(&other), Err(ModelError::Version(200)));
    let mut long = bytes.clone();
    long.push(0);
    assert_eq!(SessionModel::decode(&long), Err(ModelError::Malformed));
    for end in 1..bytes.len() {
        assert!(SessionModel::decode(&bytes[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_model_is_compact() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    assert!(model.encode().len() < 1_500, "{}", model.encode().len());
}

#[test]
fn tracks_tell_where_they_come_from_and_how_far_they_are() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    bed.publisher(2, CHROME_VIDEO_FIRST, &["1"]);
    let offered = bed.pull(&model, &[(2, "1")]);
    let views = offered.model.tracks();
    assert_eq!(
        views,
        [
            TrackView {
                mid: "0".to_owned(),
                track_name: "0".to_owned(),
                kind: MediaKind::Video,
                source: TrackSource::Local { publication: 0 },
                stage: TrackStage::Negotiated,
            },
            TrackView {
                mid: "3".to_owned(),
                track_name: "1".to_owned(),
                kind: MediaKind::Audio,
                source: TrackSource::Remote {
                    session: id(2),
                    subscription: 0,
                    publication: 0
                },
                stage: TrackStage::Offered,
            },
        ]
    );
}

#[test]
fn pulled_tracks_are_listed_once_each() {
    let mut broken = remote(1, "c");
    broken.session_id = Some("x".to_owned());
    let tracks = [
        remote(1, "a"),
        remote(1, "a"),
        remote(2, "a"),
        local("0", "b"),
        broken,
    ];
    assert_eq!(pulled_tracks(&tracks), [(id(1), "a"), (id(2), "a")]);
}

#[test]
fn a_full_batch_of_publications_fits_one_transaction() {
    // 64 video sections with Chrome's codecs: the largest push that the API allows.
    let mut bed = Bed::new();
    let parts = split(CHROME_VIDEO_FIRST);
    let mut sections = vec![parts[0].clone()];
    let names: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    for name in &names {
        let mut lines = parts[1].clone();
        lines
            .iter_mut()
            .for_each(|line| *line = line.replace("a=mid:0", &format!("a=mid:{name}")));
        sections.push(lines);
    }
    let text = join(&sections).replace("BUNDLE 0 1 2", &format!("BUNDLE {}", names.join(" ")));
    let tracks: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), n.as_str())).collect();
    let model = bed.session(1);
    let plan = bed.push(&model, &text, &tracks);
    assert!(errors(&plan).iter().all(Option::is_none));
    assert_eq!(publishes(&plan).len(), 64);
}
