//! What is said on the socket, all of it before the first byte of the ring.
//!
//! The reader connects and says hello; the writer offers the memory; the reader checks it, maps
//! it and says that it joined, or why not. After that nothing is said: the socket stays open, and
//! its hang-up is the end of a side.
//!
//! | kind | from | number | detail | with it |
//! |---|---|---|---|---|
//! | 1 hello | reader | 0 | 0 | |
//! | 2 offer | writer | capacity in bytes | size of the header page | the memfd, by `SCM_RIGHTS` |
//! | 3 joined | reader | 0 | 0 | |
//! | 4 refused | reader | 0 | [`Fault`] | |
//!
//! Every message is 32 bytes, in the machine's byte order (little-endian below):
//!
//! | offset | size | name | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `SVRNring` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | kind | as above |
//! | 16 | 8 | number | as above |
//! | 24 | 4 | detail | as above |
//! | 28 | 4 | | 0 |
//!
//! Magic and kind other than expected, or another length, is [`Error::NotARing`]; each side
//! answers a hello or an offer of another version with its own, so that both can say
//! [`Error::Version`]. The user at the other end has to be this one. The memory must come as
//! exactly one descriptor, with its seals, its size and its pages in place, and its header must
//! repeat the offer.
//!
//! The hello is
//! ```text
//! 00000000  53 56 52 4e 72 69 6e 67  01 00 00 00 01 00 00 00  |SVRNring........|
//! 00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg, sockopt,
};

use super::layout::{MAGIC, VERSION};
use super::memory::{self, Sizes};
use super::poll::Clock;
use super::shared::{ReadEnd, adopt};
use crate::{Error, Fault};

/// How long a side that has connected may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The kernel's own limit on descriptors in one message (`SCM_MAX_FD`).
const DESCRIPTORS_MAX: usize = 253;

const MESSAGE_BYTES: usize = 32;
const HELLO: u32 = 1;
const OFFER: u32 = 2;
const JOINED: u32 = 3;
const REFUSED: u32 = 4;

/// The other end of a socket.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) socket: UnixStream,
    pub(super) pid: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Message {
    version: u32,
    kind: u32,
    number: u64,
    detail: u32,
}

impl Message {
    fn new(kind: u32) -> Self {
        Self { version: VERSION, kind, ..Self::default() }
    }

    #[allow(clippy::host_endian_bytes)] // Both sides are processes of one machine.
    fn encode(self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            if let Some((here, behind)) =
                std::mem::take(&mut rest).split_at_mut_checked(field.len())
            {
                here.copy_from_slice(field);
                rest = behind;
            }
        };
        put(&MAGIC);
        put(&self.version.to_ne_bytes());
        put(&self.kind.to_ne_bytes());
        put(&self.number.to_ne_bytes());
        put(&self.detail.to_ne_bytes());
        bytes
    }

    #[allow(clippy::host_endian_bytes)]
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MESSAGE_BYTES] = bytes.try_into().ok()?;
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (detail, _) = rest.split_first_chunk::<4>()?;
        (*magic == MAGIC).then_some(Self {
            version: u32::from_ne_bytes(*version),
            kind: u32::from_ne_bytes(*kind),
            number: u64::from_ne_bytes(*number),
            detail: u32::from_ne_bytes(*detail),
        })
    }
}

impl Peer {
    /// Looks who is there.
    pub(super) fn identify(socket: UnixStream) -> Result<Self, Error> {
        let found = getsockopt(&socket, sockopt::PeerCredentials)
            .map_err(|errno| Error::System { call: "SO_PEERCRED", source: errno.into() })?;
        let pid = u32::try_from(found.pid()).unwrap_or_default();
        if found.uid() != nix::unistd::geteuid().as_raw() {
            return Err(Error::Foreign { pid, uid: found.uid() });
        }
        Ok(Self { socket, pid })
    }

    /// The writer's part: offers the memory; returns once the reader has mapped it.
    pub(super) fn offer(
        &self,
        memory: BorrowedFd<'_>,
        sizes: Sizes,
        clock: Clock<'_>,
    ) -> Result<(), Error> {
        let offer = Message {
            number: sizes.capacity as u64,
            detail: sizes.header_bytes as u32,
            ..Message::new(OFFER)
        };
        let (hello, _) = self.receive(clock)?;
        if hello.version != VERSION {
            // Without the memory; all that the reader is to learn from it is the version.
            self.send(offer, None)?;
            return Err(self.version(hello));
        }
        self.expect(hello, HELLO)?;
        self.send(offer, Some(memory.as_raw_fd()))?;
        let (answer, _) = self.receive(clock)?;
        match answer.kind {
            JOINED => Ok(()),
            REFUSED => match fault_of(answer.detail) {
                Some(fault) => Err(Error::Refused { pid: self.pid, fault }),
                None => Err(Error::NotARing { pid: self.pid }),
            },
            _ => Err(Error::NotARing { pid: self.pid }),
        }
    }

    /// The reader's part: takes the memory that is offered, if it is what it has to be.
    pub(super) fn join(&self, clock: Clock<'_>) -> Result<ReadEnd, Error> {
        self.send(Message::new(HELLO), None)?;
        let (offer, memory) = self.receive(clock)?;
        if offer.version != VERSION {
            return Err(self.version(offer));
        }
        self.expect(offer, OFFER)?;
        match take(offer, memory) {
            Ok(end) => {
                self.send(Message::new(JOINED), None)?;
                Ok(end)
            }
            Err((fault, error)) => {
                // The writer may have gone by now; the error to tell is ours.
                let refusal = Message { detail: fault as u32, ..Message::new(REFUSED) };
                let _ = self.send(refusal, None);
                Err(error.unwrap_or(Error::Memory { pid: self.pid, fault }))
            }
        }
    }

    fn version(&self, message: Message) -> Error {
        Error::Version { pid: self.pid, theirs: message.version, ours: VERSION }
    }

    fn expect(&self, message: Message, kind: u32) -> Result<(), Error> {
        if message.kind == kind { Ok(()) } else { Err(Error::NotARing { pid: self.pid }) }
    }

    fn send(&self, message: Message, memory: Option<RawFd>) -> Result<(), Error> {
        let fds: Vec<RawFd> = memory.into_iter().collect();
        let control = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &control[..0] } else { &control[..] };
        let bytes = message.encode();
        let flags = MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(&bytes)],
                control,
                flags,
                None,
            ) {
                // The first message on an empty socket is taken whole or not at all.
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    return Err(Error::HungUp { pid: self.pid });
                }
                Err(errno) => return Err(Error::System { call: "sendmsg", source: errno.into() }),
            }
        }
    }

    fn receive(&self, clock: Clock<'_>) -> Result<(Message, Vec<OwnedFd>), Error> {
        if clock.readable_within(Some(self.socket.as_fd()), Some(SILENCE_MAX))? {
            self.receive_now()
        } else {
            let wait_ms = u64::try_from(SILENCE_MAX.as_millis()).unwrap_or(u64::MAX);
            Err(Error::Silent { pid: self.pid, wait_ms })
        }
    }

    fn receive_now(&self) -> Result<(Message, Vec<OwnedFd>), Error> {
        // One byte more than a message, so that a longer one is told from it; and room for all
        // the descriptors that fit one, so that none is left open without an owner.
        let mut bytes = [0; MESSAGE_BYTES + 1];
        let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let mut fds = Vec::new();
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let count =
            match recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                Ok(found) => {
                    for message in found.cmsgs().into_iter().flatten() {
                        if let ControlMessageOwned::ScmRights(received) = message {
                            fds.extend(received.into_iter().map(adopt));
                        }
                    }
                    found.bytes
                }
                Err(Errno::ECONNRESET) => 0,
                Err(errno) => return Err(Error::System { call: "recvmsg", source: errno.into() }),
            };
        if count == 0 {
            return Err(Error::HungUp { pid: self.pid });
        }
        match bytes.get(..count).and_then(Message::decode) {
            Some(message) => Ok((message, fds)),
            None => Err(Error::NotARing { pid: self.pid }),
        }
    }
}

fn fault_of(number: u32) -> Option<Fault> {
    let all = [
        Fault::Missing,
        Fault::NotSealed,
        Fault::Size,
        Fault::NotReserved,
        Fault::Capacity,
        Fault::Header,
        Fault::Mapping,
    ];
    all.into_iter().find(|fault| *fault as u32 == number)
}

/// Checks and maps what was offered; the fault is for the writer, the error, if it says more, for
/// this side.
fn take(offer: Message, memory: Vec<OwnedFd>) -> Result<ReadEnd, (Fault, Option<Error>)> {
    let plain = |fault| (fault, None);
    let sizes = Sizes::of(offer.number).map_err(|_| plain(Fault::Capacity))?;
    if sizes.header_bytes as u64 != u64::from(offer.detail) {
        return Err(plain(Fault::Capacity));
    }
    let [memory] = <[OwnedFd; 1]>::try_from(memory).map_err(|_| plain(Fault::Missing))?;
    memory::check(memory.as_fd(), sizes).map_err(plain)?;
    let no_memory = |source: io::Error| {
        let bytes = sizes.bytes() as u64;
        (Fault::Mapping, Some(Error::NoMemory { bytes, source }))
    };
    ReadEnd::map(memory.as_fd(), sizes).map_err(no_memory)?.ok_or(plain(Fault::Header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hello_is_the_bytes_of_the_description() {
        let drawn = b"SVRNring\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(Message::new(HELLO).encode(), *drawn);
        assert_eq!(Message::decode(drawn), Some(Message::new(HELLO)));
    }

    #[test]
    fn messages_of_another_length_or_magic_are_none() {
        let mut bytes = Message::new(OFFER).encode();
        assert_eq!(Message::decode(&bytes[..31]), None);
        bytes[0] ^= 1;
        assert_eq!(Message::decode(&bytes), None);
    }
}
