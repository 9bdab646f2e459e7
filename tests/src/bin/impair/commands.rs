//! Commands on the standard input and their answers on the standard output, a line each.

use core::net::SocketAddr;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use tests::impair::{ClientStatistics, ProfileChange};

/// What the proxy is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// To treat clients like this from now on.
    Profile(Box<ProfileChange>),
    /// To tell its figures.
    Statistics,
}

/// What it answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is ready, at this address; said once, without a command.
    Listening(SocketAddr),
    /// The profile holds from now on.
    Done,
    /// Its figures.
    Statistics {
        /// Of each client.
        clients: Vec<ClientStatistics>,
        /// Datagrams that the system did not take, which are lost.
        unsent: u64,
    },
    /// The command was not understood, or cannot be.
    Refused(String),
}

/// What was read and is no whole line yet.
#[derive(Debug, Default)]
pub(crate) struct CommandReader {
    partial: Vec<u8>,
}

impl CommandReader {
    /// Reads once, which does not block if the input is readable. None: the input has ended.
    pub(crate) fn read(&mut self) -> io::Result<Option<Vec<Result<Command, String>>>> {
        let mut buffer = [0; 4096];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut buffer))?;
        if read == 0 {
            return Ok(None);
        }
        self.partial.extend(buffer.iter().take(read));
        let mut commands = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            commands.push(serde_json::from_slice(&line).map_err(|error| error.to_string()));
        }
        Ok(Some(commands))
    }
}

/// Writes one line.
pub(crate) fn answer(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
