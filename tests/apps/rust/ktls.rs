//! An HTTP/1.1 server over kernel TLS: rustls does the hand-shake, then the kernel has the keys, and plaintext goes through
//! `read`, `recvmsg`, `write` and `sendfile`. Needs the kernel's module `tls`.
//!
//! `app-ktls PORT CHAIN KEY`

use std::{
    fs::File,
    io::{Cursor, Error, ErrorKind, IoSliceMut, Read as _, Result as IoResult, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustls::{
    ConnectionTrafficSecrets, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// `linux/tls.h`
const SOL_TLS: libc::c_int = 282;
const TCP_ULP: libc::c_int = 31;
const TLS_TX: libc::c_int = 1;
const TLS_RX: libc::c_int = 2;
const TLS_CIPHER_AES_GCM_128: u16 = 51;
const TLS_1_3: u16 = 0x0304;
const APPLICATION_DATA: u8 = 23;
/// Bytes of a record's head.
const RECORD_HEAD: usize = 5;
/// Bytes that `/bytes/N` may have.
const BYTES_MAX: usize = 1 << 20;

fn main() -> Result<()> {
    let [port, chain, key]: [String; 3] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().ok().context("usage: app-ktls PORT CHAIN KEY")?;
    let config = Arc::new(presenting(chain.as_ref(), key.as_ref())?);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))?;
    for (ordinal, stream) in listener.incoming().enumerate() {
        let (stream, config) = (stream?, Arc::clone(&config));
        thread::spawn(move || {
            // Who looks whether somebody listens says nothing.
            if let Err(error) = talk(&stream, config, ordinal % 2 == 1) {
                eprintln!("connection {ordinal}: {error:#}");
            }
        });
    }
    Ok(())
}

fn presenting(chain: &Path, key: &Path) -> Result<ServerConfig> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?;
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Shakes hands, reading no byte too many, and hands the keys to the kernel.
fn shake(mut stream: &TcpStream, config: Arc<ServerConfig>) -> Result<()> {
    let mut session = ServerConnection::new(config)?;
    while session.is_handshaking() {
        let mut record = vec![0; RECORD_HEAD];
        stream.read_exact(&mut record)?;
        let size = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(RECORD_HEAD + size, 0);
        stream.read_exact(&mut record[RECORD_HEAD..])?;
        let mut rest = Cursor::new(record);
        while (rest.position() as usize) < RECORD_HEAD + size {
            session.read_tls(&mut rest)?;
        }
        session.process_new_packets()?;
        while session.wants_write() {
            session.write_tls(&mut stream)?;
        }
    }
    let secrets = session.dangerous_extract_secrets()?;
    set(stream, libc::IPPROTO_TCP, TCP_ULP, b"tls").context("the kernel has no module tls")?;
    for (option, (sequence, secret)) in [(TLS_TX, secrets.tx), (TLS_RX, secrets.rx)] {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secret else { bail!("not the cipher that was offered") };
        let (salt, iv) = iv.as_ref().split_at(4);
        // `struct tls12_crypto_info_aes_gcm_128`
        let info = [
            &TLS_1_3.to_ne_bytes(),
            &TLS_CIPHER_AES_GCM_128.to_ne_bytes(),
            iv,
            key.as_ref(),
            salt,
            &sequence.to_be_bytes(),
        ]
        .concat();
        set(stream, SOL_TLS, option, &info).context("the kernel takes no key")?;
    }
    Ok(())
}

fn set(stream: &TcpStream, level: libc::c_int, option: libc::c_int, value: &[u8]) -> IoResult<()> {
    // SAFETY: the kernel reads as many bytes as the value has.
    let result = unsafe {
        libc::setsockopt(stream.as_raw_fd(), level, option, value.as_ptr().cast(), value.len() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Receives with room for the record's type, as libraries for kernel TLS do. A record that is no data ends the stream.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> IoResult<usize> {
    let mut control = [0u64; 3];
    let mut part = IoSliceMut::new(buffer);
    // SAFETY: the message has one segment, whose form is that of an iovec, and room for one control message.
    let (received, message) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = (&raw mut part).cast();
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        (libc::recvmsg(stream.as_raw_fd(), &raw mut message, 0), message)
    };
    if received < 0 {
        return Err(Error::last_os_error());
    }
    let kind = control[2].to_ne_bytes()[0];
    let is_data = message.msg_controllen == 0 || kind == APPLICATION_DATA;
    Ok(if is_data { received.cast_unsigned() } else { 0 })
}

/// Until the client ends.
fn talk(stream: &TcpStream, config: Arc<ServerConfig>, by_message: bool) -> Result<()> {
    stream.set_nodelay(true)?;
    shake(stream, config)?;
    let (mut waiting, mut buffer) = (Vec::new(), [0; 8192]);
    let mut more = |waiting: &mut Vec<u8>| -> IoResult<bool> {
        let mut from = stream;
        let received = if by_message { receive(stream, &mut buffer) } else { from.read(&mut buffer) };
        match received {
            Ok(received) => {
                waiting.extend_from_slice(&buffer[..received]);
                Ok(received > 0)
            }
            // What `read` says of the client's `close_notify`: a record that is no data.
            Err(error) if error.raw_os_error() == Some(libc::EIO) || error.kind() == ErrorKind::ConnectionReset => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    };
    loop {
        let end = loop {
            if let Some(at) = waiting.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if !more(&mut waiting)? {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&waiting[..end]).to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        while waiting.len() < end + length {
            if !more(&mut waiting)? {
                return Ok(());
            }
        }
        answer(stream, &head, length)?;
        waiting.drain(..end + length);
    }
}

/// The routes of the other servers. `/bytes/N` comes out of a file, by `sendfile`.
fn answer(mut stream: &TcpStream, head: &str, length: usize) -> Result<()> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut parts = path.split(['/', '?']).skip(1);
    let (route, argument) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let number: usize = argument.parse().unwrap_or(0);
    let (status, body) = match route {
        "hello" => (200, "hello\n".to_owned()),
        "echo" => (200, length.to_string()),
        "bytes" => (200, String::new()),
        "status" if matches!(number, 204 | 304) => (number, String::new()),
        "status" => (number, "status\n".to_owned()),
        "slow" => {
            thread::sleep(Duration::from_millis(number as u64));
            (200, "slow\n".to_owned())
        }
        _ => (404, "none\n".to_owned()),
    };
    let from_file = if route == "bytes" { number.min(BYTES_MAX) } else { 0 };
    let size = body.len() + from_file;
    let text = if method == "head" { "" } else { &body };
    let field = if status == 204 { String::new() } else { format!("Content-Length: {size}\r\n") };
    stream.write_all(format!("HTTP/1.1 {status} Answer\r\n{field}\r\n{text}").as_bytes())?;
    if method != "head" && from_file > 0 {
        send_file(stream, from_file)?;
    }
    Ok(())
}

fn send_file(stream: &TcpStream, size: usize) -> Result<()> {
    let mut file: File = tempfile::tempfile()?;
    file.write_all(&vec![b'b'; size])?;
    let mut at = 0;
    while (at as usize) < size {
        let left = size - at as usize;
        rustix::fs::sendfile(stream, &file, Some(&mut at), left)?;
    }
    Ok(())
}
