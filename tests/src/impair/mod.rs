//! What the proxy `impair` does to the datagrams of real clients, without its sockets.
//!
//! Each client has a pair of [`Link`]s of its own, and so shares its narrow place with nobody.
//! Like the links it is pure: time comes in as an argument.

mod profile;
mod statistics;

use core::net::SocketAddr;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use dataplane_core::time::Timestamp;

pub use self::profile::{BurstProfile, InvalidProfile, Profile, ProfileChange, Whom};
pub use self::statistics::{ClientStatistics, LinkStatistics};
use crate::network::{Direction, Link, LinkModel};
use crate::rng::Rng;

/// A datagram that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose it is.
    pub client: SocketAddr,
    /// Which way it goes.
    pub direction: Direction,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// The paths of all clients, with everything that is under way.
#[derive(Debug)]
pub struct Impairment {
    clients: BTreeMap<SocketAddr, Links>,
    /// How the links of a new client are, unless its port has models of its own.
    default: Models,
    by_port: BTreeMap<u16, Models>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
    rng: Rng,
}

#[derive(Debug)]
struct Links {
    up: Link,
    down: Link,
}

#[derive(Clone, Copy, Debug)]
struct Models {
    up: LinkModel,
    down: LinkModel,
}

/// Ordered by when it arrives, then by when it was sent.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: Timestamp,
    order: u64,
    client: SocketAddr,
    direction: Direction,
    bytes: Vec<u8>,
}

impl Impairment {
    /// Nothing is impaired yet. All that is lost and delayed follows from `seed` and the calls.
    pub fn new(seed: u64) -> Self {
        let unimpaired = LinkModel::from(Profile::default());
        Self {
            clients: BTreeMap::new(),
            default: Models {
                up: unimpaired,
                down: unimpaired,
            },
            by_port: BTreeMap::new(),
            under_way: BinaryHeap::new(),
            sent: 0,
            rng: Rng::new(seed),
        }
    }

    /// A datagram of a client's, or for one.
    pub fn handle_datagram(
        &mut self,
        now: Timestamp,
        client: SocketAddr,
        direction: Direction,
        bytes: &[u8],
    ) {
        let models = self.by_port.get(&client.port()).unwrap_or(&self.default);
        let links = self.clients.entry(client).or_insert_with(|| Links {
            up: Link::new(models.up, self.rng.fork()),
            down: Link::new(models.down, self.rng.fork()),
        });
        let link = match direction {
            Direction::Up => &mut links.up,
            Direction::Down => &mut links.down,
        };
        for at in link.send(now, bytes.len()) {
            self.sent += 1;
            self.under_way.push(Reverse(UnderWay {
                at,
                order: self.sent,
                client,
                direction,
                bytes: bytes.to_vec(),
            }));
        }
    }

    /// When the next datagram is due.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.under_way.peek().map(|Reverse(next)| next.at)
    }

    /// The next datagram that is due.
    pub fn poll_delivery(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.next_timeout()? > now {
            return None;
        }
        let Reverse(next) = self.under_way.pop()?;
        Some(Delivery {
            client: next.client,
            direction: next.direction,
            bytes: next.bytes,
        })
    }

    /// Links behave like this from now on, also those of clients that have not come yet.
    ///
    /// # Errors
    /// If a figure cannot be. Then nothing changes.
    pub fn change(&mut self, now: Timestamp, change: &ProfileChange) -> Result<(), InvalidProfile> {
        let model = |profile: Option<Profile>| profile.map(Profile::checked).transpose();
        let (up, down) = (model(change.up)?, model(change.down)?);
        match change.client {
            Whom::All => {
                self.default.change(up, down);
                for models in self.by_port.values_mut() {
                    models.change(up, down);
                }
            }
            Whom::Port(port) => {
                let models = self.by_port.entry(port).or_insert(self.default);
                models.change(up, down);
            }
        }
        for (client, links) in &mut self.clients {
            if change.client.is(client) {
                links.change(now, up, down);
            }
        }
        Ok(())
    }

    /// The figures of every client so far, ordered by address.
    pub fn statistics(&mut self, now: Timestamp) -> Vec<ClientStatistics> {
        let clients = self.clients.iter_mut();
        let figures = clients.map(|(client, links)| ClientStatistics {
            client: *client,
            up: LinkStatistics::new(now, &mut links.up),
            down: LinkStatistics::new(now, &mut links.down),
        });
        figures.collect()
    }
}

impl Models {
    fn change(&mut self, up: Option<LinkModel>, down: Option<LinkModel>) {
        self.up = up.unwrap_or(self.up);
        self.down = down.unwrap_or(self.down);
    }
}

impl Links {
    fn change(&mut self, now: Timestamp, up: Option<LinkModel>, down: Option<LinkModel>) {
        if let Some(up) = up {
            self.up.set_model(now, up);
        }
        if let Some(down) = down {
            self.down.set_model(now, down);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const CLIENT: SocketAddr = SocketAddr::new(
        core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
        40_000,
    );

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn changed(impairment: &mut Impairment, now: Timestamp, json: &str) {
        let change = serde_json::from_str(json).unwrap();
        impairment.change(now, &change).unwrap();
    }

    /// Offers 1 Mb/s to `CLIENT` from `start` to `end` in ms; what comes out until then, with when.
    fn flow(impairment: &mut Impairment, start: u64, end: u64) -> Vec<(Timestamp, Delivery)> {
        let mut out = Vec::new();
        for at in start..end {
            impairment.handle_datagram(ms(at), CLIENT, Direction::Down, &[0; 125]);
            while let Some(delivery) = impairment.poll_delivery(ms(at)) {
                out.push((ms(at), delivery));
            }
        }
        out
    }

    #[test]
    fn without_a_profile_datagrams_go_on_at_once() {
        let mut impairment = Impairment::new(1);
        for direction in [Direction::Up, Direction::Down] {
            impairment.handle_datagram(ms(5), CLIENT, direction, b"hello");
            let delivery = Delivery {
                client: CLIENT,
                direction,
                bytes: b"hello".to_vec(),
            };
            assert_eq!(impairment.poll_delivery(ms(5)), Some(delivery));
        }
        assert_eq!(impairment.next_timeout(), None);
    }

    #[test]
    fn each_direction_has_its_delay() {
        let mut impairment = Impairment::new(1);
        let json = r#"{"client":"*","up":{"delay_ms":30},"down":{"delay_ms":12.5}}"#;
        changed(&mut impairment, ms(0), json);
        impairment.handle_datagram(ms(0), CLIENT, Direction::Up, b"up");
        impairment.handle_datagram(ms(0), CLIENT, Direction::Down, b"down");
        let due = Timestamp::from_nanos(12_500_000);
        assert_eq!(impairment.next_timeout(), Some(due));
        assert_eq!(impairment.poll_delivery(ms(12)), None);
        assert_eq!(impairment.poll_delivery(due).unwrap().bytes, b"down");
        assert_eq!(impairment.poll_delivery(ms(29)), None);
        assert_eq!(impairment.poll_delivery(ms(30)).unwrap().bytes, b"up");
    }

    #[test]
    fn a_narrow_link_lets_its_rate_through_and_drops_the_rest() {
        let mut impairment = Impairment::new(1);
        let json = r#"{"client":"*","down":{"rate_kbps":500,"queue_ms":200}}"#;
        changed(&mut impairment, ms(0), json);
        // From 1 s on the queue is full.
        flow(&mut impairment, 0, 1_000);
        let through = flow(&mut impairment, 1_000, 11_000).len() * 125 * 8;
        assert!(
            (4_950_000..5_050_000).contains(&through),
            "{through} bits in 10 s"
        );
        let [client] = impairment.statistics(ms(11_000)).try_into().unwrap();
        assert!(
            (198.0..=203.0).contains(&client.down.queue_ms),
            "{client:?}"
        );
        // Of 11 Mb, 5.5 came through and 0.1 wait.
        let dropped = client.down.counters.overflowed * 125 * 8;
        assert!(
            (5_350_000..5_450_000).contains(&dropped),
            "{dropped} bits dropped"
        );
        assert_eq!(client.up.counters.packets, 0);
    }

    #[test]
    fn a_change_takes_effect_at_once() {
        let mut impairment = Impairment::new(1);
        assert_eq!(flow(&mut impairment, 0, 1_000).len(), 1_000);
        changed(
            &mut impairment,
            ms(1_000),
            r#"{"client":"*","down":{"rate_kbps":250}}"#,
        );
        let narrow = flow(&mut impairment, 1_000, 5_000).len();
        assert!((990..=1_010).contains(&narrow), "{narrow} packets in 4 s");
        changed(&mut impairment, ms(5_000), r#"{"client":"*","down":{}}"#);
        // With the 300 ms that waited.
        let wide = flow(&mut impairment, 5_000, 6_000).len();
        assert!((1_070..=1_080).contains(&wide), "{wide} packets in 1 s");
    }

    #[test]
    fn one_client_is_impaired_by_its_port_and_others_are_not() {
        let mut impairment = Impairment::new(1);
        let other = SocketAddr::new(CLIENT.ip(), 40_001);
        // The one is there already, the other comes later.
        impairment.handle_datagram(ms(0), CLIENT, Direction::Up, b"before");
        let json = r#"{"client":"40001","down":{"delay_ms":50}}"#;
        changed(&mut impairment, ms(1), json);
        for client in [CLIENT, other] {
            impairment.handle_datagram(ms(1), client, Direction::Down, b"after");
        }
        let mut due = Vec::new();
        while let Some(at) = impairment.next_timeout() {
            due.push((at, impairment.poll_delivery(at).unwrap().client));
        }
        assert_eq!(due, [(ms(0), CLIENT), (ms(1), CLIENT), (ms(51), other)]);
    }

    #[test]
    fn a_change_of_one_direction_leaves_the_other() {
        let mut impairment = Impairment::new(1);
        changed(
            &mut impairment,
            ms(0),
            r#"{"client":"*","up":{"delay_ms":40}}"#,
        );
        changed(
            &mut impairment,
            ms(0),
            r#"{"client":"*","down":{"loss":1}}"#,
        );
        impairment.handle_datagram(ms(0), CLIENT, Direction::Up, b"up");
        impairment.handle_datagram(ms(0), CLIENT, Direction::Down, b"down");
        assert_eq!(impairment.next_timeout(), Some(ms(40)));
        let [client] = impairment.statistics(ms(0)).try_into().unwrap();
        assert_eq!(client.down.counters.lost, 1);
    }

    #[test]
    fn datagrams_keep_their_order_in_spite_of_jitter() {
        let mut impairment = Impairment::new(1);
        changed(
            &mut impairment,
            ms(0),
            r#"{"client":"*","up":{"jitter_ms":20}}"#,
        );
        for number in 0..100 {
            impairment.handle_datagram(ms(number), CLIENT, Direction::Up, &[number as u8]);
        }
        let end = ms(100) + Duration::from_millis(20);
        let out = core::iter::from_fn(|| impairment.poll_delivery(end));
        let numbers: Vec<u8> = out.map(|delivery| delivery.bytes[0]).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}
