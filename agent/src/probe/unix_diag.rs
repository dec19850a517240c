//! Asks the kernel which Unix socket another one is connected to (`sock_diag(7)`). It answers for sockets of this
//! process's network namespace.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;
/// `struct nlmsghdr`, and with it `struct unix_diag_msg`.
const HEAD: usize = 16;
const ANSWER: usize = HEAD + 16;

/// Asks about sockets. Made once, for a socket of its own takes longer to make than to use.
#[derive(Default)]
pub struct UnixDiag {
    socket: Option<OwnedFd>,
}

impl UnixDiag {
    /// The inode number of the socket that the one with inode number `inode` is connected to. Nothing where it is
    /// connected to none, to one that nobody accepted yet, or is of another network namespace.
    pub fn peer(&mut self, inode: u32) -> Option<u32> {
        if self.socket.is_none() {
            let (family, kind, flags) = (AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC);
            self.socket = socket_with(family, kind, flags, Some(netlink::SOCK_DIAG)).ok();
        }
        let socket = self.socket.as_ref()?;
        send(socket, &request(inode), SendFlags::empty()).ok()?;
        let mut answer = [0; 256];
        // The kernel answers within the call that asks.
        let (len, _) = recv(socket, &mut answer, RecvFlags::DONTWAIT).ok()?;
        peer_of(answer.get(..len)?)
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn request(inode: u32) -> Vec<u8> {
    const LEN: u32 = 40;
    let mut request = Vec::with_capacity(LEN as usize);
    request.extend(LEN.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    let all_states = u32::MAX;
    let any_cookie = [u32::MAX; 2];
    for word in [all_states, inode, UDIAG_SHOW_PEER, any_cookie[0], any_cookie[1]] {
        request.extend(word.to_ne_bytes());
    }
    request
}

/// The attribute with the peer's inode number, in an answer.
fn peer_of(answer: &[u8]) -> Option<u32> {
    let u16_at = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    if u16_at(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut at = ANSWER;
    loop {
        let (len, kind) = (usize::from(u16_at(at)?), u16_at(at + 2)?);
        if kind == UNIX_DIAG_PEER {
            return u32_at(at + 4).filter(|inode| *inode != 0);
        }
        at += len.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn inode(socket: &UnixStream) -> u32 {
        u32::try_from(rustix::fs::fstat(socket).unwrap().st_ino).unwrap()
    }

    #[test]
    fn the_kernel_tells_the_other_end_of_an_accepted_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let mut diag = UnixDiag::default();
        assert_eq!(diag.peer(inode(&client)), None, "nobody accepted it yet");
        let (server, _) = listener.accept().unwrap();
        assert_eq!(diag.peer(inode(&client)), Some(inode(&server)));
        assert_eq!(diag.peer(inode(&server)), Some(inode(&client)));
        drop(client);
        assert_eq!(diag.peer(inode(&server)), None);
        assert_eq!(diag.peer(u32::MAX), None);
    }

    #[test]
    fn an_answer_that_is_cut_or_foreign_tells_nothing() {
        let mut answer = vec![0; ANSWER];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        for (len, kind, value) in [(8u16, 9u16, 7u32), (0, 1, 7), (8, UNIX_DIAG_PEER, 77)] {
            answer.extend(len.to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            if len > 0 {
                answer.extend(value.to_ne_bytes());
            }
        }
        assert_eq!(peer_of(&answer), Some(77));
        for cut in 0..answer.len() {
            assert_eq!(peer_of(&answer[..cut]), None, "{cut}");
        }
        answer[4] = 2;
        assert_eq!(peer_of(&answer), None);
    }
}
