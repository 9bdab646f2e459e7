//! How a control plane attaches to a data plane: over a unix stream socket, with `SCM_RIGHTS`.
//!
//! ```text
//! control plane                         data plane
//!   hello: magic, layout version  --->
//!                                 <---  header: magic, layout version, length, descriptor count
//!                                 <---  Welcome (postcard)
//!                                 <---  descriptors: region, then per shard doorbell and bell
//! ```
//!
//! The connection then stays open, silent: its end tells each side that the other is gone. Hello
//! and header never change between versions, so that a mismatch is a clear error on both sides.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::descriptors::{receive_descriptors, send_descriptors};
use super::doorbell::Link;
use super::region::{LAYOUT_VERSION, Region, RegionError};
use crate::limits::SHARDS_MAX;
use crate::protocol::Fingerprint;
use crate::wire;

/// What a data plane tells a control plane that attaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`Region::generation`].
    pub generation: u64,
    /// The data plane's process.
    pub process_id: u32,
    /// Of the certificate that all its sessions use (`a=fingerprint`, RFC 8122 §5).
    pub fingerprint: Fingerprint,
    /// For each shard its ICE host candidates, as clients see them: UDP addresses, the preferred
    /// one first; at most [`CANDIDATES_PER_SHARD_MAX`].
    pub candidates: Vec<Vec<SocketAddr>>,
}

/// What a control plane holds when it has attached.
#[derive(Debug)]
pub struct Attachment {
    /// What the data plane says of itself.
    pub welcome: Welcome,
    /// The shared memory.
    pub region: Region,
    /// For each shard its bells.
    pub links: Vec<Link>,
}

/// Why attaching failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The connection failed, or nothing came in time.
    #[error("the connection between the planes failed: {0}")]
    Io(#[from] io::Error),
    /// The other side is no Jackfield.
    #[error("the other side does not speak Jackfield's protocol")]
    Magic,
    /// The other side is another version of Jackfield.
    #[error("the other side has layout {found}, this Jackfield has {LAYOUT_VERSION}")]
    Version {
        /// The layout version of the other side.
        found: u32,
    },
    /// The welcome cannot be decoded, or contradicts itself or the region.
    #[error("the welcome is not valid: {0}")]
    Welcome(&'static str),
    /// The region is not valid.
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// The data plane's part: hears the client's hello and hands all over. `links` are the control
/// plane's sides, one for each shard; the data plane keeps them too, for the next control plane.
///
/// Blocks, for some seconds at most. The rings must have been emptied before
/// ([`super::ShardMemory::reset_rings`]).
pub fn send_welcome(
    stream: &UnixStream,
    welcome: &Welcome,
    region: &Region,
    links: &[Link],
) -> Result<(), AttachError> {
    check_welcome(welcome, region)?;
    if links.len() != usize::from(region.shard_count()) {
        return Err(AttachError::Welcome(
            "there must be one link for each shard",
        ));
    }
    in_bounded_time(stream, || {
        let hello = Hello::read(stream)?;
        if hello.version != LAYOUT_VERSION {
            // Tells the client what we are before it is turned away.
            Header {
                version: LAYOUT_VERSION,
                body: 0,
                descriptors: 0,
            }
            .write(stream)?;
            return Err(AttachError::Version {
                found: hello.version,
            });
        }
        let body = postcard::to_stdvec(welcome)
            .map_err(|_| AttachError::Welcome("it cannot be encoded"))?;
        let mut fds = vec![region.as_fd()];
        fds.extend(
            links
                .iter()
                .flat_map(|link| [link.doorbell.as_fd(), link.bell.as_fd()]),
        );
        let header = Header {
            version: LAYOUT_VERSION,
            body: body.len(),
            descriptors: fds.len(),
        };
        header.write(stream)?;
        (&*stream).write_all(&body)?;
        Ok(send_descriptors(stream, &fds)?)
    })
}

/// The control plane's part: says hello and takes all. Blocks, for some seconds at most.
pub fn receive_welcome(stream: &UnixStream) -> Result<Attachment, AttachError> {
    in_bounded_time(stream, || {
        Hello {
            version: LAYOUT_VERSION,
        }
        .write(stream)?;
        let header = Header::read(stream)?;
        if header.version != LAYOUT_VERSION {
            return Err(AttachError::Version {
                found: header.version,
            });
        }
        if header.body > WELCOME_BYTES_MAX {
            return Err(AttachError::Welcome("it is too long"));
        }
        if header.descriptors > DESCRIPTORS_MAX {
            return Err(AttachError::Welcome("there are too many descriptors"));
        }
        let mut body = vec![0; header.body];
        (&*stream).read_exact(&mut body)?;
        let welcome: Welcome =
            wire::decode_whole(&body).map_err(|_| AttachError::Welcome("it cannot be decoded"))?;
        let mut fds = receive_descriptors(stream, header.descriptors)?.into_iter();
        let region = fds
            .next()
            .ok_or(AttachError::Welcome("there is no region"))?;
        let region = Region::attach(region)?;
        check_welcome(&welcome, &region)?;
        let links = pair_up(fds, &region)?;
        Ok(Attachment {
            welcome,
            region,
            links,
        })
    })
}

/// What both sides must find true.
fn check_welcome(welcome: &Welcome, region: &Region) -> Result<(), AttachError> {
    if welcome.generation != region.generation() {
        return Err(AttachError::Welcome("its generation is not the region's"));
    }
    if welcome.candidates.len() != usize::from(region.shard_count()) {
        return Err(AttachError::Welcome(
            "there must be candidates for each shard",
        ));
    }
    if welcome
        .candidates
        .iter()
        .any(|list| !(1..=CANDIDATES_PER_SHARD_MAX).contains(&list.len()))
    {
        return Err(AttachError::Welcome(
            "a shard has no candidates, or too many",
        ));
    }
    wire::check_fingerprint(&welcome.fingerprint)
        .map_err(|_| AttachError::Welcome("its fingerprint has the wrong length"))
}

/// Makes the links of all shards from their descriptors.
fn pair_up(
    mut fds: impl Iterator<Item = OwnedFd>,
    region: &Region,
) -> Result<Vec<Link>, AttachError> {
    let mut links = Vec::new();
    while let Some(doorbell) = fds.next() {
        let bell = fds
            .next()
            .ok_or(AttachError::Welcome("a bell is missing"))?;
        links.push(Link {
            doorbell: doorbell.into(),
            bell: bell.into(),
        });
    }
    if links.len() != usize::from(region.shard_count()) {
        return Err(AttachError::Welcome(
            "there must be one link for each shard",
        ));
    }
    Ok(links)
}

/// Sets the stream's time limits for the handshake, and puts them back.
fn in_bounded_time<T>(
    stream: &UnixStream,
    handshake: impl FnOnce() -> Result<T, AttachError>,
) -> Result<T, AttachError> {
    let (read, write) = (stream.read_timeout()?, stream.write_timeout()?);
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    let result = handshake();
    stream.set_read_timeout(read)?;
    stream.set_write_timeout(write)?;
    result
}

/// The client's first bytes.
struct Hello {
    version: u32,
}

impl Hello {
    fn write(&self, mut stream: &UnixStream) -> io::Result<()> {
        stream.write_all(&[&MAGIC[..], &self.version.to_le_bytes()].concat())
    }

    fn read(stream: &UnixStream) -> Result<Self, AttachError> {
        let [version] = read_words(stream)?;
        Ok(Self { version })
    }
}

/// The server's first bytes.
struct Header {
    version: u32,
    /// Bytes of the [`Welcome`].
    body: usize,
    /// How many come after it.
    descriptors: usize,
}

impl Header {
    fn write(&self, mut stream: &UnixStream) -> Result<(), AttachError> {
        let length =
            |value| u32::try_from(value).map_err(|_| AttachError::Welcome("it is too long"));
        let (body, descriptors) = (length(self.body)?, length(self.descriptors)?);
        let words = [self.version, body, descriptors].map(u32::to_le_bytes);
        Ok(stream.write_all(&[&MAGIC[..], words.as_flattened()].concat())?)
    }

    fn read(stream: &UnixStream) -> Result<Self, AttachError> {
        let [version, body, descriptors] = read_words(stream)?;
        let length =
            |value| usize::try_from(value).map_err(|_| AttachError::Welcome("it is too long"));
        Ok(Self {
            version,
            body: length(body)?,
            descriptors: length(descriptors)?,
        })
    }
}

/// Reads the magic, and so many words behind it.
fn read_words<const N: usize>(mut stream: &UnixStream) -> Result<[u32; N], AttachError> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(AttachError::Magic);
    }
    let mut words = [[0; 4]; N];
    stream.read_exact(words.as_flattened_mut())?;
    Ok(words.map(u32::from_le_bytes))
}

/// Candidates of one shard: media addresses that an operator has named.
pub const CANDIDATES_PER_SHARD_MAX: usize = 16;

/// First bytes of either side, the same in all versions.
const MAGIC: [u8; 8] = *b"jackfld\n";
/// An address takes at most 1 + 16 + 3 bytes.
const WELCOME_BYTES_MAX: usize = SHARDS_MAX * (CANDIDATES_PER_SHARD_MAX * 20 + 2) + 256;
const DESCRIPTORS_MAX: usize = 1 + 2 * SHARDS_MAX;
/// The other side answers from a thread of its own that does nothing else.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
