//! The functions that are hooked, and when.

use super::Moment;

const ENTRY: &[Moment] = &[Moment::Entry];
const RETURN: &[Moment] = &[Moment::Return];
const BOTH: &[Moment] = &[Moment::Entry, Moment::Return];
const NEVER: &[Moment] = &[];
const GO: &[Moment] = &[Moment::Entry, Moment::ReturnInstruction];

macro_rules! functions {
    ($($function:ident $name:literal $moments:ident $what:literal,)+) => {
        /// A function of a TLS library.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Function {
            $(#[doc = concat!("`", $name, "`: ", $what)] $function,)+
        }

        impl Function {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$function),+];

            /// What its library calls it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$function => $name,)+ }
            }

            /// When it is hooked.
            pub const fn moments(self) -> &'static [Moment] {
                match self { $(Self::$function => $moments,)+ }
            }
        }
    };
}

functions! {
    SslRead "SSL_read" BOTH "(ssl, buf, int n) -> int: plaintext in; at most what it returns.",
    SslReadEx "SSL_read_ex" BOTH "(ssl, buf, size_t n, size_t *read) -> 1 where it read.",
    SslReadEarlyData "SSL_read_early_data" BOTH "as `SSL_read_ex`.",
    SslWrite "SSL_write" BOTH "(ssl, buf, int n) -> int: plaintext out.",
    SslWriteEx "SSL_write_ex" BOTH "(ssl, buf, size_t n, size_t *written) -> 1 where it wrote.",
    SslWriteEx2 "SSL_write_ex2" BOTH "(ssl, buf, size_t n, flags, size_t *written): OpenSSL 3.3.",
    SslWriteEarlyData "SSL_write_early_data" BOTH "as `SSL_write_ex`.",
    SslReadInternal "ssl_read_internal" BOTH "as `SSL_read_ex`: what it and `SSL_read` call.",
    SslWriteInternal "ssl_write_internal" BOTH "as `SSL_write_ex`: what it and `SSL_write` call.",
    SslWriteFlagsInternal "ssl_write_internal with flags" BOTH "as `SSL_write_ex2`: what it and `SSL_write` call.",
    SslSendfile "SSL_sendfile" BOTH "(ssl, int fd, off_t, size_t n, int) -> ssize_t: plaintext that is in no memory.",
    SslDoHandshake "SSL_do_handshake" BOTH "(ssl) -> 1 where it is done.",
    SslConnect "SSL_connect" BOTH "(ssl) -> 1 where it is done: the client's side.",
    SslAccept "SSL_accept" BOTH "(ssl) -> 1 where it is done: the server's side.",
    SslShutdown "SSL_shutdown" ENTRY "(ssl).",
    SslNew "SSL_new" RETURN "(context) -> ssl: a session begins.",
    SslFree "SSL_free" ENTRY "(ssl), which may be null; the last owner frees it.",
    SslSetFd "SSL_set_fd" ENTRY "(ssl, int fd).",
    SslSetRfd "SSL_set_rfd" ENTRY "(ssl, int fd).",
    SslSetWfd "SSL_set_wfd" ENTRY "(ssl, int fd).",
    BioWrite "BIO_write" ENTRY "(bio, data, int n): what libssl calls with the ciphertext; in libcrypto.",
    GnutlsRecordSend "gnutls_record_send" BOTH "(session, data, size_t n) -> ssize_t.",
    GnutlsRecordSend2 "gnutls_record_send2" BOTH "(session, data, size_t n, size_t pad, unsigned flags) -> ssize_t.",
    GnutlsRecordSendRange "gnutls_record_send_range" BOTH "(session, data, size_t n, range) -> ssize_t.",
    GnutlsRecordSendEarlyData "gnutls_record_send_early_data" BOTH "(session, data, size_t n) -> 0 where it went.",
    GnutlsRecordSendFile "gnutls_record_send_file" BOTH "(session, int fd, off_t *, size_t n) -> ssize_t; sends by \
        `gnutls_record_send` unless the kernel encrypts.",
    GnutlsRecordRecv "gnutls_record_recv" BOTH "(session, data, size_t n) -> ssize_t.",
    GnutlsRecordRecvSeq "gnutls_record_recv_seq" BOTH "(session, data, size_t n, unsigned char *) -> ssize_t.",
    GnutlsRecordRecvPacket "gnutls_record_recv_packet" BOTH "(session, packet *) -> ssize_t: bytes inside the packet.",
    GnutlsRecordRecvEarlyData "gnutls_record_recv_early_data" BOTH "(session, data, size_t n) -> ssize_t.",
    GnutlsInit "gnutls_init" BOTH "(*session, flags) -> 0 where it stored a session: it begins.",
    GnutlsHandshake "gnutls_handshake" BOTH "(session) -> 0 where it is done.",
    GnutlsBye "gnutls_bye" ENTRY "(session, how).",
    GnutlsDeinit "gnutls_deinit" ENTRY "(session).",
    GnutlsTransportSetInt2 "gnutls_transport_set_int2" ENTRY "(session, int in, int out): `gnutls_transport_set_int` too \
        calls it, being a macro.",
    GnutlsTransportSetPtr "gnutls_transport_set_ptr" ENTRY "(session, ptr): a descriptor by default.",
    GnutlsTransportSetPtr2 "gnutls_transport_set_ptr2" ENTRY "(session, in, out).",
    GoTlsConnRead "crypto/tls.(*Conn).Read" GO "(c, []byte) -> (int, error).",
    GoTlsConnWrite "crypto/tls.(*Conn).Write" GO "(c, []byte) -> (int, error).",
    GoTlsConnClose "crypto/tls.(*Conn).Close" ENTRY "(c) -> error.",
    GoTlsConnClientHandshake "crypto/tls.(*Conn).clientHandshake" ENTRY "(c, context) -> error: a client's session begins.",
    GoTlsConnServerHandshake "crypto/tls.(*Conn).serverHandshake" ENTRY "(c, context) -> error: a server's session begins.",
    GoHttpServe "net/http.(*conn).readRequest" ENTRY "(c, context): a goroutine reads a request, and will serve it.",
    GoHttpAsk "net/http.(*persistConn).roundTrip" ENTRY "(pc, request): a goroutine sends a request.",
    GoMade "runtime.newproc.func1" ENTRY "it calls `runtime.runqput(p, g, next)`: a goroutine is made. Hooked at that call.",
    GoQueues "runtime.runqput" NEVER "what that is known by.",
    AsyncioRuns "_asyncio._set_running_loop" ENTRY "(module, loop): the thread runs the loop, or none any more.",
    AsyncioMakes "_asyncio.Task.__init__" ENTRY "(self, ...): a task is made.",
    RustlsEncrypt "rustls MessageEncrypter::encrypt" BOTH "(result, encrypter, message, number): plaintext out, one record.",
    RustlsEncrypter "rustls Tls13AeadAlgorithm::encrypter" RETURN "(algorithm, key, iv) -> encrypter: keys to send with.",
    RustlsDecrypter "rustls Tls13AeadAlgorithm::decrypter" RETURN "(algorithm, key, iv) -> decrypter: keys to receive with.",
    RustlsDecrypt "rustls MessageDecrypter::decrypt" BOTH "(result, decrypter, message, number): plaintext in, one record.",
}

impl Function {
    /// The function of that name in a C library.
    pub(super) fn of_c(name: &[u8]) -> Option<Self> {
        let begins = name.starts_with(b"SSL_") || name.starts_with(b"BIO_w") || name.starts_with(b"gnutls_");
        if !begins {
            return None;
        }
        Self::ALL.iter().copied().find(|function| function.name().as_bytes() == name)
    }

    /// Go's functions that are hooked.
    pub(super) const GO: [Self; 9] = [
        Self::GoTlsConnRead,
        Self::GoTlsConnWrite,
        Self::GoTlsConnClose,
        Self::GoTlsConnClientHandshake,
        Self::GoTlsConnServerHandshake,
        Self::GoHttpServe,
        Self::GoHttpAsk,
        Self::GoMade,
        Self::GoQueues,
    ];

    /// Whether it tells of goroutines, and not of plaintext.
    pub const fn is_of_goroutines(self) -> bool {
        matches!(self, Self::GoHttpServe | Self::GoHttpAsk | Self::GoMade)
    }
}
