//! The server under test: started on its cores, with a data directory of its own, and ended with
//! this value.

use core::time::Duration;
use std::io::{self, BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::cores::{Cores, pin_process};
use super::sys::end_with_us;
use crate::options::App;

/// How to start it.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The `jackfield` binary.
    pub program: PathBuf,
    /// Who gets which cores.
    pub cores: Cores,
    /// More flags, such as `--gso=off`.
    pub flags: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    control: Child,
    dataplane: Option<Pid>,
    /// `http://HOST:PORT`.
    pub url: String,
    /// An app that it has.
    pub app: App,
    /// Removed in the end.
    _data: tempfile::TempDir,
}

impl Server {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// It cannot be started, or ends, or says nothing for `START_LIMIT`.
    pub fn start(settings: &ServerSettings) -> io::Result<Self> {
        let data = tempfile::tempdir()?;
        let app = App {
            id: "bench".to_owned(),
            secret: format!("{:016x}{:016x}", crate::ice::random(), crate::ice::random()),
        };
        let port = free_ports(settings.cores.server.len())?;
        let mut command = Command::new(&settings.program);
        command
            .arg("--http=127.0.0.1:0")
            .arg("--media-ip=127.0.0.1")
            .arg(format!("--media-port={port}"))
            .arg(format!("--cores={}", settings.cores.server_list()))
            .arg(format!("--data-dir={}", data.path().display()))
            // Should this process be killed so that it cannot clean up, the data plane ends soon.
            .arg("--orphan-timeout=2s")
            .arg("--log=warn")
            .args(&settings.flags)
            .env("JACKFIELD_APP", format!("{}:{}", app.id, app.secret))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        end_with_us(&mut command);
        let control = command.spawn().map_err(|error| {
            let program = settings.program.display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let mut server = Self {
            control,
            dataplane: None,
            url: String::new(),
            app,
            _data: data,
        };
        let banner = server.read_banner()?;
        server.url = banner.url;
        server.dataplane = Pid::from_raw(banner.dataplane);
        // The control plane and what it starts later must leave the shards' cores alone. The data
        // plane has put its own threads where they belong.
        pin_process(server.control.id(), &settings.cores.load)?;
        Ok(server)
    }

    /// The process id of the data plane.
    pub fn dataplane(&self) -> i32 {
        Pid::as_raw(self.dataplane)
    }

    /// The process id of the control plane.
    pub fn control(&self) -> u32 {
        self.control.id()
    }

    fn read_banner(&mut self) -> io::Result<Banner> {
        let output = self
            .control
            .stdout
            .take()
            .ok_or(io::ErrorKind::BrokenPipe)?;
        let (lines, read) = channel();
        // Goes on reading to the end, so that the server is never blocked by a full pipe.
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            for line in output.by_ref().lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let deadline = Instant::now() + START_LIMIT;
        let mut text = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match read.recv_timeout(left) {
                Ok(line) => {
                    text.push_str(&line);
                    text.push('\n');
                    if let Some(banner) = Banner::parse(&text) {
                        return Ok(banner);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("the server did not start in {START_LIMIT:?}:\n{text}"),
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the server ended; it said why above"));
                }
            }
        }
    }
}

impl Drop for Server {
    /// Asks it to stop, and kills what is still there after `STOP_LIMIT`.
    fn drop(&mut self) {
        let control = Pid::from_child(&self.control);
        // Errors mean that it has ended.
        let _ = kill_process(control, Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        let is_over = |server: &mut Self| {
            let control = matches!(server.control.try_wait(), Ok(Some(_)));
            let dataplane = server
                .dataplane
                .is_none_or(|pid| test_kill_process(pid).is_err());
            control && dataplane
        };
        while !is_over(self) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !is_over(self) {
            if let Some(dataplane) = self.dataplane {
                let _ = kill_process(dataplane, Signal::KILL);
            }
            let _ = self.control.kill();
            let _ = self.control.wait();
        }
    }
}

/// What the server says of itself when it starts.
#[derive(Debug, PartialEq, Eq)]
struct Banner {
    url: String,
    dataplane: i32,
}

impl Banner {
    /// None while something is missing.
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.trim_start().strip_prefix(name))
                .map(str::trim)
        };
        let url = value("API ")?.split("/v1/").next()?.to_owned();
        let (_, dataplane) = value("Data plane ")?.split_once("process ")?;
        Some(Self {
            url,
            dataplane: dataplane.split(',').next()?.parse().ok()?,
        })
    }
}

/// The server beside this executable, or in the directory above (examples and tests stand there).
pub fn default_program() -> Option<PathBuf> {
    let ours = std::env::current_exe().ok()?;
    ours.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("jackfield"))
        .find(|program| Path::is_file(program))
}

/// The first of `count` UDP ports in a row that are free now.
fn free_ports(count: usize) -> io::Result<u16> {
    for _ in 0..PORT_TRIES {
        let first = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let Some(end) = first.checked_add(count) else {
            continue;
        };
        if (first..end).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(first);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// How long a start may take, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long a stop may take before it is enforced.
const STOP_LIMIT: Duration = Duration::from_secs(5);

const PORT_TRIES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_address_and_process() {
        let text = "Jackfield 0.1.0\n\n  Page        http://127.0.0.1:4567/\n  \
                    API         http://127.0.0.1:4567/v1/apps/{appId}/...\n  \
                    Media       udp 127.0.0.1:7882 (shard 0)\n";
        assert_eq!(Banner::parse(text), None);
        let text = format!("{text}  Data plane  started, process 123\n");
        let banner = Banner {
            url: "http://127.0.0.1:4567".to_owned(),
            dataplane: 123,
        };
        assert_eq!(Banner::parse(&text), Some(banner));
    }

    #[test]
    fn a_program_that_ends_at_once_is_an_error() {
        let settings = ServerSettings {
            program: "/bin/false".into(),
            cores: Cores {
                server: vec![0],
                load: vec![0],
            },
            flags: vec![],
        };
        let error = Server::start(&settings).unwrap_err();
        assert!(error.to_string().contains("ended"), "{error}");
    }
}
