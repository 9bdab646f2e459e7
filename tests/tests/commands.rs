//! What the control plane asks for is done as a whole, or refused and nothing is changed.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use shared::counters::Gauge;
use shared::id::{PublicationId, SessionId, ShardIndex, SubscriptionId};
use shared::limits::{CHANGES_MAX, MODEL_BYTES_MAX, PUBLICATIONS_PER_SESSION_MAX, UFRAG_BYTES_MAX};
use shared::protocol::{
    Change, Codec, Command, CommandError, IceCredentials, PublishParameters, Reply,
    SubscribeParameters, TransportState,
};
use tests::World;
use tests::checker::Completeness;
use tests::peer::{ClientOptions, Feedback};
use tests::publisher::{PublishedTrack, TrackSpec};
use tests::rng::Rng;
use tests::setup::{publish_parameters, remote_transport, subscribe_parameters};
use tests::subscriber::{SubscribedTrack, SubscriptionSpec};
use tests::world::WorldOptions;

fn one_client() -> (World, usize) {
    let mut world = World::new(WorldOptions::new(1));
    let client = world.join(0, ClientOptions::default());
    (world, client)
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials {
        ufrag: ufrag.to_owned(),
        password: "a password of more than 22".to_owned(),
    }
}

fn publication(world: &World, client: usize, number: u32) -> PublishParameters {
    let session = world.clients[client].session;
    let id = PublicationId { session, number };
    publish_parameters(&PublishedTrack::new(
        id,
        number,
        TrackSpec::audio(),
        Rng::new(7),
    ))
}

fn subscription(world: &World, client: usize, number: u32, source: u32) -> SubscribeParameters {
    let session = world.clients[client].session;
    let source = PublicationId {
        session,
        number: source,
    };
    let id = SubscriptionId { session, number };
    let ssrcs = (number * 2, number * 2 + 1);
    let spec = SubscriptionSpec::default();
    let track = SubscribedTrack::new(id, source, Codec::Opus, spec, ssrcs);
    subscribe_parameters(&track, source, Feedback::None)
}

fn publish(parameters: PublishParameters) -> Change {
    Change::Publish(Box::new(parameters))
}

fn subscribe(parameters: SubscribeParameters) -> Change {
    Change::Subscribe(Box::new(parameters))
}

/// Every refusal must leave the session as it was.
fn assert_refused(world: &mut World, client: usize, changes: Vec<Change>, expected: CommandError) {
    let before = (world.inspect(client), world.measure(client));
    assert_eq!(world.execute(client, changes), Err(expected));
    assert_eq!((world.inspect(client), world.measure(client)), before);
}

#[test]
fn a_transaction_is_carried_out_as_a_whole_or_not_at_all() {
    let (mut world, client) = one_client();
    let good = || vec![1, 2].into_iter();
    let changes: Vec<_> = good()
        .map(|n| publish(publication(&world, client, n)))
        .collect();
    let mut bad = changes.clone();
    bad.push(Change::Unsubscribe { number: 9 });
    assert_refused(&mut world, client, bad, CommandError::UnknownSubscription);
    assert_eq!(world.gauge(0, Gauge::Publications), 0);
    assert_eq!(world.execute(client, changes), Ok(Reply::Done));
    let report = world.inspect(client).unwrap();
    assert_eq!(
        report
            .publications
            .iter()
            .map(|p| p.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    world.close_all();
}

#[test]
fn what_a_transaction_makes_can_be_named_later_in_it() {
    let (mut world, client) = one_client();
    let changes = vec![
        publish(publication(&world, client, 1)),
        subscribe(subscription(&world, client, 1, 1)),
        Change::Unsubscribe { number: 1 },
        Change::Unpublish { number: 1 },
        publish(publication(&world, client, 1)),
    ];
    assert_eq!(world.execute(client, changes), Ok(Reply::Done));
    assert_eq!(world.gauge(0, Gauge::Publications), 1);
    assert_eq!(world.gauge(0, Gauge::Subscriptions), 0);
    world.close_all();
}

#[test]
fn every_change_is_refused_where_it_cannot_be_made() {
    let (mut world, client) = one_client();
    let published = publish(publication(&world, client, 1));
    assert_eq!(
        world.execute(client, vec![published.clone()]),
        Ok(Reply::Done)
    );
    let open = Change::Open(credentials("another"));
    let twice = vec![subscribe(subscription(&world, client, 1, 1)); 2];
    let unknown_source = subscribe(subscription(&world, client, 1, 77));
    let long = IceCredentials {
        ufrag: "u".repeat(UFRAG_BYTES_MAX + 1),
        ..credentials("long")
    };
    let restart = Change::RestartIce {
        local: long,
        remote: credentials("remote"),
    };
    let taken = Change::RestartIce {
        local: world.clients[client].ice.server.clone(),
        remote: credentials("remote"),
    };
    let resubscribe = Change::Resubscribe {
        number: 5,
        source: PublicationId {
            session: world.clients[client].session,
            number: 1,
        },
        codecs: Vec::new(),
        selection: shared::protocol::LayerSelection::default(),
        hints: shared::protocol::Hints::default(),
    };
    for (changes, expected) in [
        (vec![open], CommandError::SessionExists),
        (vec![published], CommandError::NumberTaken),
        (twice, CommandError::NumberTaken),
        (vec![taken], CommandError::NumberTaken),
        (vec![unknown_source], CommandError::UnknownPublication),
        (
            vec![Change::Unpublish { number: 2 }],
            CommandError::UnknownPublication,
        ),
        (
            vec![Change::Unsubscribe { number: 2 }],
            CommandError::UnknownSubscription,
        ),
        (vec![resubscribe], CommandError::UnknownSubscription),
        (vec![restart], CommandError::LimitExceeded),
        (
            vec![Change::Unpublish { number: 1 }; CHANGES_MAX + 1],
            CommandError::LimitExceeded,
        ),
    ] {
        assert_refused(&mut world, client, changes, expected);
    }
    world.close_all();
}

#[test]
fn limits_of_a_session_are_kept() {
    let (mut world, client) = one_client();
    let mut numbers = 1..;
    for _ in 0..PUBLICATIONS_PER_SESSION_MAX {
        let number = numbers.next().unwrap();
        let change = publish(publication(&world, client, number));
        assert_eq!(world.execute(client, vec![change]), Ok(Reply::Done));
    }
    let one_more = publish(publication(&world, client, numbers.next().unwrap()));
    assert_refused(
        &mut world,
        client,
        vec![one_more],
        CommandError::LimitExceeded,
    );
    world.close_all();
}

#[test]
fn a_session_must_be_opened_first_with_a_description_before_media() {
    let mut world = World::new(WorldOptions::new(2));
    let session = SessionId::new(1, ShardIndex(0), [7; 12]);
    let execute = |world: &mut World, session, changes| {
        let command = Command::Execute {
            session,
            changes,
            model: None,
        };
        world.command(0, &command)
    };
    let nothing = execute(&mut world, session, Vec::new());
    assert_eq!(nothing, Err(CommandError::UnknownSession));
    let elsewhere = SessionId::new(1, ShardIndex(1), [7; 12]);
    let open = Change::Open(credentials("first"));
    let refused = execute(&mut world, elsewhere, vec![open.clone()]);
    assert_eq!(refused, Err(CommandError::UnknownSession));
    assert_eq!(execute(&mut world, session, vec![open]), Ok(Reply::Done));
    let client = world.join(0, ClientOptions::default());
    let early = publish(publication(&world, client, 1));
    let refused = execute(&mut world, session, vec![early]);
    assert_eq!(refused, Err(CommandError::WrongState));
    let mut remote = remote_transport(&world.clients[client]);
    remote.fingerprints.clear();
    let refused = execute(&mut world, session, vec![Change::SetRemote(remote)]);
    assert_eq!(refused, Err(CommandError::WrongState));
    assert_eq!(
        world.command(0, &Command::CloseSession { session }),
        Ok(Reply::Done)
    );
    let again = world.command(0, &Command::CloseSession { session });
    assert_eq!(again, Err(CommandError::UnknownSession));
    world.close_all();
}

#[test]
fn the_model_is_kept_and_replaced_and_bounded() {
    let (mut world, client) = one_client();
    let session = world.clients[client].session;
    let store = |world: &mut World, model| {
        let command = Command::Execute {
            session,
            changes: Vec::new(),
            model,
        };
        world.command(0, &command)
    };
    assert_eq!(store(&mut world, Some(vec![1; 5])), Ok(Reply::Done));
    assert_eq!(store(&mut world, None), Ok(Reply::Done));
    assert_eq!(world.inspect(client).unwrap().model, vec![1; 5]);
    assert_eq!(
        store(&mut world, Some(vec![2; MODEL_BYTES_MAX])),
        Ok(Reply::Done)
    );
    let refused = store(&mut world, Some(vec![3; MODEL_BYTES_MAX + 1]));
    assert_eq!(refused, Err(CommandError::LimitExceeded));
    assert_eq!(
        world.inspect(client).unwrap().model,
        vec![2; MODEL_BYTES_MAX]
    );
}

#[test]
fn sessions_are_listed_in_order_page_by_page() {
    let mut world = World::new(WorldOptions::new(3));
    let mut sessions = Vec::new();
    for number in 0..1_500_u32 {
        let [a, b, c, d] = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let session = SessionId::new(1, ShardIndex(0), [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]);
        let command = Command::Execute {
            session,
            changes: vec![Change::Open(credentials(&format!("user{number}")))],
            model: None,
        };
        assert_eq!(world.command(0, &command), Ok(Reply::Done));
        sessions.push(session);
    }
    sessions.sort_unstable();
    let mut listed = Vec::new();
    loop {
        let after = listed.last().copied();
        let reply = world.command(0, &Command::ListSessions { after });
        let Ok(Reply::Sessions {
            sessions: page,
            more,
        }) = reply
        else {
            panic!("{reply:?}");
        };
        listed.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(listed, sessions);
}

#[test]
fn a_report_says_how_things_stand() {
    let mut world = World::new(WorldOptions::new(4));
    let publisher = world.join(0, ClientOptions::default());
    assert_eq!(
        world.inspect(publisher).unwrap().state,
        TransportState::Connecting
    );
    world.publish(publisher, TrackSpec::simulcast());
    world.run_for_ms(4_000);
    let report = world.inspect(publisher).unwrap();
    assert_eq!(report.state, TransportState::Connected);
    assert!(report.publications[0].receiving);
    world.settle(Completeness::Complete);
    world.close_all();
}
