//! One peer's transport: a socket that carries STUN, DTLS and SRTP (RFC 7983).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rtcp::packet::Packet;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use webrtc_srtp::context::Context;

use crate::description::{Local, Remote};
use crate::dtls_client::{DatagramLink, Identity, Role, Secured, handshake};
use crate::error::LoadError;
use crate::ice::IceAgent;
use crate::options::ProfileChoice;

/// What a datagram is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ICE.
    Stun,
    /// Any record.
    Dtls,
    /// SRTP.
    Rtp,
    /// SRTCP.
    Rtcp,
    /// Nothing that a peer should get.
    Unknown,
}

impl Protocol {
    /// RFC 7983 §7, and RFC 5761 §4 for RTP and RTCP.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, second, ..] if (64..96).contains(&(second & 0x7f)) => Self::Rtcp,
            [128..=191, ..] => Self::Rtp,
            _ => Self::Unknown,
        }
    }
}

/// A connected transport.
#[derive(Debug)]
pub struct Peer {
    /// Connected to the server's candidate.
    pub socket: Arc<UdpSocket>,
    /// DTLS and the SRTP contexts.
    pub secured: Secured,
    /// SRTP and SRTCP that came before the keys were known, to be handled first.
    pub early: Vec<Vec<u8>>,
    ice: IceAgent,
    dtls: mpsc::Sender<Vec<u8>>,
}

impl Peer {
    /// Checks connectivity to the candidate of `remote` (one on `preferred` if it has that), then
    /// carries out DTLS as client.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the server does not answer in [`JOIN_LIMIT`] or its certificate is another.
    pub async fn connect(
        local: &Local,
        remote: &Remote,
        preferred: IpAddr,
        identity: &Identity,
        choice: ProfileChoice,
    ) -> Result<Self, LoadError> {
        let address = remote.candidate(preferred)?;
        let socket = Arc::new(UdpSocket::from_std(bind(address)?)?);
        socket.connect(address).await?;
        let ice = IceAgent::new(&local.ice, &remote.ice);
        let deadline = Instant::now() + JOIN_LIMIT;
        check_connectivity(&socket, &ice, address, deadline).await?;

        let (link, dtls) = DatagramLink::new(&socket, address)?;
        let secured = handshake(link, identity, Role::Client, choice, &remote.fingerprint);
        let mut early = Vec::new();
        let pump = pump_handshake(&socket, &dtls, &mut early);
        let limit = LoadError::Timeout {
            what: "the DTLS handshake",
            limit: JOIN_LIMIT,
        };
        let secured = tokio::select! {
            secured = timeout_at(deadline, secured) => secured.map_err(|_| limit)??,
            error = pump => return Err(error.into()),
        };
        Ok(Self {
            socket,
            secured,
            early,
            ice,
            dtls,
        })
    }

    /// Sends a binding request: consent (RFC 7675 §5.1) for as long as the peer lives.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the request cannot be made. A full socket is no error.
    pub fn keep_alive(&self) -> Result<(), LoadError> {
        let request = self.ice.binding_request()?;
        let _ = self.socket.try_send(&request);
        Ok(())
    }

    /// Takes a datagram that is neither RTP nor RTCP.
    pub fn handle_control(&self, protocol: Protocol, datagram: &[u8]) {
        if protocol == Protocol::Dtls {
            // Full means that DTLS is being flooded; it repeats what it needs.
            let _ = self.dtls.try_send(datagram.to_vec());
        }
    }

    /// Seals and sends a compound RTCP packet. A full socket loses it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Srtp`] if it cannot be written or sealed.
    pub fn send_rtcp(
        &mut self,
        packets: &[Box<dyn Packet + Send + Sync>],
    ) -> Result<(), LoadError> {
        let sealed = seal_rtcp(&mut self.secured.outgoing, packets)?;
        let _ = self.socket.try_send(&sealed);
        Ok(())
    }

    /// Takes the socket out of the runtime, for who receives in another way.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] if somebody else still holds the socket.
    pub fn detach(self) -> Result<Detached, LoadError> {
        let socket = Arc::into_inner(self.socket)
            .ok_or_else(|| std::io::Error::other("the socket is still in use"))?;
        Ok(Detached {
            socket: socket.into_std()?,
            secured: self.secured,
            early: self.early,
            ice: self.ice,
            dtls: self.dtls,
        })
    }

    /// Ends DTLS, so that the server frees the session at once.
    pub async fn close(self) {
        let _ = timeout(CLOSE_LIMIT, self.secured.connection.close()).await;
    }

    /// Datagrams that this peer's own socket dropped because the load generator was too slow: no
    /// fault of the server.
    pub fn socket_drops(&self) -> u64 {
        let Ok(address) = self.socket.local_addr() else {
            return 0;
        };
        let table = if address.is_ipv4() {
            "/proc/net/udp"
        } else {
            "/proc/net/udp6"
        };
        std::fs::read_to_string(table)
            .ok()
            .and_then(|text| drops_by_port(&text).get(&address.port()).copied())
            .unwrap_or(0)
    }
}

/// A connected transport that no runtime looks after.
#[derive(Debug)]
pub struct Detached {
    /// Not blocking; connected to the server's candidate.
    pub socket: std::net::UdpSocket,
    /// DTLS and the SRTP contexts.
    pub secured: Secured,
    /// SRTP and SRTCP that came before the keys were known, to be handled first.
    pub early: Vec<Vec<u8>>,
    /// Makes the binding requests that keep the session alive.
    pub ice: IceAgent,
    /// DTLS datagrams for the connection; it ends when this is dropped.
    pub dtls: mpsc::Sender<Vec<u8>>,
}

/// Writes a compound RTCP packet and seals it.
///
/// # Errors
///
/// [`LoadError::Srtp`] if it cannot be written or sealed.
pub fn seal_rtcp(
    context: &mut Context,
    packets: &[Box<dyn Packet + Send + Sync>],
) -> Result<Bytes, LoadError> {
    let failed = |error: &dyn core::fmt::Display| LoadError::Srtp(error.to_string());
    let compound = rtcp::packet::marshal(packets).map_err(|error| failed(&error))?;
    context
        .encrypt_rtcp(&compound)
        .map_err(|error| failed(&error))
}

/// Opens a compound and reads its packets one by one, so that one that is not understood does not
/// hide the others.
pub fn open_rtcp(
    context: &mut Context,
    sealed: &[u8],
) -> Option<Vec<Box<dyn Packet + Send + Sync>>> {
    let compound = context.decrypt_rtcp(sealed).ok()?;
    let mut rest = compound.as_ref();
    let mut packets = Vec::new();
    while let Some((header, _)) = rest.split_first_chunk::<4>() {
        let [_, _, high, low] = *header;
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let (packet, after) = rest.split_at_checked(length)?;
        rest = after;
        packets.extend(
            rtcp::packet::unmarshal(&mut Bytes::copy_from_slice(packet))
                .into_iter()
                .flatten(),
        );
    }
    Some(packets)
}

async fn check_connectivity(
    socket: &UdpSocket,
    ice: &IceAgent,
    address: SocketAddr,
    deadline: Instant,
) -> Result<(), LoadError> {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while Instant::now() < deadline {
        socket.send(&ice.binding_request()?).await?;
        let retransmit_at = Instant::now() + CHECK_INTERVAL;
        while let Ok(received) = timeout_at(retransmit_at, socket.recv(&mut buffer)).await {
            // Nobody listens yet (ICMP): the next request will tell.
            let Ok(length) = received else { break };
            if ice.is_answer(buffer.get(..length).unwrap_or_default()) {
                return Ok(());
            }
        }
    }
    Err(LoadError::NoIceAnswer(address))
}

/// Carries datagrams to the handshake, and keeps media that comes already. Ends with an error only.
async fn pump_handshake(
    socket: &UdpSocket,
    dtls: &mpsc::Sender<Vec<u8>>,
    early: &mut Vec<Vec<u8>>,
) -> std::io::Error {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = match socket.recv(&mut buffer).await {
            Ok(length) => length,
            Err(error) => return error,
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        match Protocol::of(datagram) {
            Protocol::Dtls => {
                let _ = dtls.try_send(datagram.to_vec());
            }
            Protocol::Rtp | Protocol::Rtcp if early.len() < EARLY_MAX => {
                early.push(datagram.to_vec());
            }
            Protocol::Rtp | Protocol::Rtcp | Protocol::Stun | Protocol::Unknown => {}
        }
    }
}

/// A socket that can reach `remote`, with as large a receive buffer as the kernel gives, since
/// hundreds of peers share few threads. Not blocking.
///
/// # Errors
///
/// The process has no more descriptors.
pub fn bind(remote: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, None)?;
    let unspecified: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(unspecified, 0).into())?;
    Ok(socket.into())
}

/// Of each local port in `/proc/net/udp`, the last column: datagrams dropped.
pub fn drops_by_port(table: &str) -> HashMap<u16, u64> {
    let line = |line: &str| {
        let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some((port, line.split_whitespace().last()?.parse().ok()?))
    };
    table.lines().filter_map(line).collect()
}

/// How long ICE and DTLS may take together.
pub const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// Room for any datagram that is expected.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

const CHECK_INTERVAL: Duration = Duration::from_millis(50);
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Packets that are kept while the handshake ends: a second of media and more.
const EARLY_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtcp::receiver_report::ReceiverReport;

    use super::*;
    use crate::ice::Credentials;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Protocol); 6] = [
            (&[0, 1], Protocol::Stun),
            (&[22, 254], Protocol::Dtls),
            (&[0x80, 96], Protocol::Rtp),
            (&[0x90, 0x80 | 111], Protocol::Rtp),
            (&[0x81, 206], Protocol::Rtcp),
            (&[], Protocol::Unknown),
        ];
        for (datagram, protocol) in cases {
            assert_eq!(Protocol::of(datagram), protocol, "{datagram:?}");
        }
    }

    #[test]
    fn drops_are_read_from_the_line_of_the_port() {
        let table = "sl local rem st tx:rx tr:tm retr uid timeout inode ref pointer drops\n\
            1: 0100007F:1F90 0100007F:0001 01 0:0 0:0 0 0 0 77 2 0 5\n\
            2: 0100007F:1F91 0100007F:0001 01 0:0 0:0 0 0 0 78 2 0 9\n";
        let drops = drops_by_port(table);
        assert_eq!(drops.get(&0x1f91), Some(&9));
        assert_eq!(drops.get(&0x1f92), None);
    }

    /// A peer of ours against a server end made of the same crates: ICE answer, then DTLS.
    #[tokio::test]
    async fn two_ends_agree_on_keys_with_every_profile() {
        for choice in [
            ProfileChoice::Gcm128,
            ProfileChoice::Gcm256,
            ProfileChoice::Cm,
            ProfileChoice::Any,
        ] {
            let identity = Identity::generate().unwrap();
            let (ice, servers_ice) = (Credentials::random(), Credentials::random());
            let local = Local {
                ice,
                fingerprint: identity.fingerprint.clone(),
            };
            let server_socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let remote = Remote {
                ice: servers_ice.clone(),
                fingerprint: identity.fingerprint.clone(),
                candidates: vec![server_socket.local_addr().unwrap()],
                sections: Vec::new(),
            };
            let server = tokio::spawn(serve(server_socket, servers_ice, identity.clone(), choice));
            let loopback = Ipv4Addr::LOCALHOST.into();
            let mut peer = Peer::connect(&local, &remote, loopback, &identity, choice)
                .await
                .unwrap();
            let mut server = server.await.unwrap();

            let report = ReceiverReport {
                ssrc: 7,
                ..Default::default()
            };
            let loss = PictureLossIndication {
                sender_ssrc: 7,
                media_ssrc: 8,
            };
            let compound =
                rtcp::packet::marshal(&[Box::new(report) as _, Box::new(loss) as _]).unwrap();
            let sealed = server.outgoing.encrypt_rtcp(&compound).unwrap();
            let opened = open_rtcp(&mut peer.secured.incoming, &sealed).unwrap();
            assert_eq!(opened.len(), 2, "{choice:?}");
            let sealed = peer.secured.outgoing.encrypt_rtcp(&compound).unwrap();
            assert_eq!(server.incoming.decrypt_rtcp(&sealed).unwrap(), compound);
            peer.close().await;
        }
    }

    async fn serve(
        socket: UdpSocket,
        ice: Credentials,
        identity: Identity,
        choice: ProfileChoice,
    ) -> Secured {
        use stun::fingerprint::FINGERPRINT;
        use stun::integrity::MessageIntegrity;
        use stun::message::{BINDING_SUCCESS, Message};

        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let mut request = Message::new();
        request.unmarshal_binary(&buffer[..length]).unwrap();
        let integrity = MessageIntegrity::new_short_term_integrity(ice.password);
        integrity.check(&mut request).unwrap();
        let mut answer = Message::new();
        answer
            .build(&[
                Box::new(request.transaction_id),
                Box::new(BINDING_SUCCESS),
                Box::new(integrity),
                Box::new(FINGERPRINT),
            ])
            .unwrap();
        socket.connect(from).await.unwrap();
        socket.send(&answer.raw).await.unwrap();

        let (link, dtls) = DatagramLink::new(&socket, from).unwrap();
        let fingerprint = identity.fingerprint.clone();
        tokio::select! {
            secured = handshake(link, &identity, Role::Server, choice, &fingerprint) => secured.unwrap(),
            error = async { pump_handshake(&socket, &dtls, &mut Vec::new()).await } => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn another_certificate_than_the_one_of_the_sdp_is_refused() {
        let identity = Identity::generate().unwrap();
        let (ice, servers_ice) = (Credentials::random(), Credentials::random());
        let local = Local {
            ice,
            fingerprint: identity.fingerprint.clone(),
        };
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let remote = Remote {
            ice: servers_ice.clone(),
            fingerprint: Identity::generate().unwrap().fingerprint,
            candidates: vec![socket.local_addr().unwrap()],
            sections: Vec::new(),
        };
        let choice = ProfileChoice::Gcm128;
        tokio::spawn(serve(socket, servers_ice, identity.clone(), choice));
        let loopback = Ipv4Addr::LOCALHOST.into();
        let connected = Peer::connect(&local, &remote, loopback, &identity, choice).await;
        assert!(
            matches!(connected, Err(LoadError::Dtls(_))),
            "{connected:?}"
        );
    }
}
