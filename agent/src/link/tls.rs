//! What a span says of the session of TLS that it went through, by the semantic conventions (schema 1.44): what was said in
//! the clear when that began. The protocol is not told of TLS 1.3, which encrypts it.

use super::attributes::List;
use crate::{conn::Socket, protocol::tls::hello::Version};

/// What is known of the session.
pub(super) fn attributes(list: &mut List, socket: &Socket) {
    let Some(hellos) = &socket.hellos else { return };
    if let Some(version) = hellos.version.and_then(Version::name) {
        list.text("tls.protocol.name", "tls");
        list.text("tls.protocol.version", version);
    }
    if let Some(protocol) = &hellos.protocol {
        list.text("tls.next_protocol", protocol.clone());
    }
    if let Some(name) = &hellos.server_name {
        // Not `server.address`, which the request says: one session may serve requests for several servers.
        list.text("netspan.tls.server_name", name.clone());
    }
}
