//! The proxy `impair` as a process with sockets. What it does to datagrams, in virtual time, is
//! tested where it stands; clocks of busy machines would make such tests fail at random.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use core::time::Duration;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

/// A running proxy in front of a server that sends everything back.
struct Proxy {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    client: UdpSocket,
}

impl Proxy {
    fn start() -> Self {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = server.recv_from(&mut buffer) {
                server.send_to(&buffer[..len], from).unwrap();
            }
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_impair"))
            .args(["127.0.0.1:0", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut proxy = Self {
            child,
            commands,
            answers,
            client,
        };
        let listening = proxy.answer();
        let listening = listening["listening"].as_str().unwrap();
        proxy.client.connect(listening).unwrap();
        proxy
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.commands.as_ref().unwrap(), "{command}").unwrap();
        self.answer()
    }

    fn profile(&mut self, down: &Value) {
        let command = json!({"profile": {"client": "*", "down": down}});
        assert_eq!(self.ask(&command), "done");
    }

    /// Sends datagrams, and tells how long the last one takes to come back.
    fn round_trip(&self, datagrams: u8) -> Duration {
        let start = Instant::now();
        for number in 0..datagrams {
            self.client.send(&[number; 1000]).unwrap();
        }
        let mut buffer = [0; 2048];
        for number in 0..datagrams {
            assert_eq!(self.client.recv(&mut buffer).unwrap(), 1000);
            assert_eq!(buffer[..1000], [number; 1000]);
        }
        start.elapsed()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.commands = None;
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn datagrams_go_through_both_ways_as_the_profile_says() {
    let mut proxy = Proxy::start();
    proxy.round_trip(10);
    proxy.profile(&json!({"delay_ms": 120}));
    assert!(proxy.round_trip(10) >= Duration::from_millis(120));
    // 20 datagrams of 8000 bits at 80 kb/s.
    proxy.profile(&json!({"rate_kbps": 80, "queue_ms": 5_000}));
    let narrow = proxy.round_trip(20);
    assert!(narrow >= Duration::from_secs(2), "{narrow:?}");
    let statistics = proxy.ask(&json!("statistics"));
    let figures = &statistics["statistics"];
    assert_eq!(figures["unsent"], 0);
    let client = proxy.client.local_addr().unwrap().to_string();
    assert_eq!(figures["clients"][0]["client"], *client);
    for direction in ["up", "down"] {
        let link = &figures["clients"][0][direction];
        assert_eq!(link["packets"], 40, "{direction}");
        assert_eq!(link["delivered_bytes"], 40_000, "{direction}");
    }
}

#[test]
fn a_command_that_cannot_be_is_answered_with_what_is_wrong() {
    let mut proxy = Proxy::start();
    for (command, problem) in [
        (
            json!({"profile": {"client": "*", "down": {"rate_kbps": 0}}}),
            "rate_kbps",
        ),
        (
            json!({"profile": {"client": "*", "down": {"rate": 1}}}),
            "rate",
        ),
        (json!("stop"), "stop"),
    ] {
        let answer = proxy.ask(&command);
        assert!(
            answer["refused"].as_str().unwrap().contains(problem),
            "{answer}"
        );
    }
    proxy.round_trip(1);
}
