//! Sessions of TLS: connections of plaintext over other connections.

use crate::{
    dialogue::{Play, get},
    golden::{attribute, forest},
    recorded::{recorded, replayed},
};
use netspan_ebpf::{close, direction, role};

#[test]
fn a_session_of_tls_is_read_and_replayed_as_other_connections_are() {
    let mut play = Play::new();
    let (nginx, app) = (play.process(10, "nginx"), play.process(20, "app"));
    let carrier = play.accept(nginx);
    let session = play.session(carrier, role::SERVER);
    let (back, front) = play.pair(nginx, app);
    // What the carrier moves is no protocol of ours.
    play.receive(carrier, 10, "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03hunter2", 0);
    play.receive(session, 10, &get("/shop?key=hunter2", "Cookie: hunter2\r\n"), 0);
    play.ask(back, 10, "/cart");
    play.hear(front, 20, "/cart");
    play.answer(front, 20);
    play.learn(back, 10);
    play.answer(session, 10);
    play.end(session, close::CLOSED, 0);
    play.close(carrier);
    let spans = play.spans();
    assert_eq!(
        forest(&spans),
        "\
SERVER nginx GET /shop
  CLIENT nginx GET http://shop.example:8000/cart [thread]
    SERVER app GET /cart [socket]
"
    );
    assert_eq!(attribute(&spans[0], "client.address").as_deref(), Some("192.0.2.7"));
    let file = recorded(&play);
    assert_eq!(replayed(&play, &file).0, play.run(0.95));
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&file[..]), &mut plain).unwrap();
    assert!(!plain.windows(7).any(|window| window == b"hunter2"));
}

/// A hello of a client that asks for `shop.example` by TLS 1.2.
const CLIENT: &[u8] = b"\x16\x03\x01\x00\x50\x01\x00\x00\x4c\x03\x03hunter2.hunter2.hunter2.hunter2.\x07hunter2\
    \x00\x02\x13\x01\x01\x00\x00\x1a\x00\x00\x00\x11\x00\x0f\x00\x00\x0cshop.example\xff\x01\x00\x01\x00";
/// A hello of a server that chose TLS 1.2 and `http/1.1`.
const SERVER: &[u8] = b"\x16\x03\x03\x00\x46\x02\x00\x00\x42\x03\x03hunter2.hunter2.hunter2.hunter2.\x07hunter2\
    \x13\x01\x00\x00\x13\x00\x10\x00\x0b\x00\x09\x08http/1.1\x00\x17\x00\x00";

#[test]
fn spans_of_a_session_say_what_its_hellos_said_and_a_recording_keeps_no_more_of_them() {
    let mut play = Play::new();
    let nginx = play.process(10, "nginx");
    let carrier = play.accept(nginx);
    play.hello(carrier, direction::IN, &CLIENT[..5]);
    play.hello(carrier, direction::IN, &CLIENT[5..]);
    play.hello(carrier, direction::OUT, SERVER);
    let session = play.session(carrier, role::SERVER);
    play.receive(session, 10, &get("/shop", ""), 0);
    play.answer(session, 10);
    play.end(session, close::CLOSED, 0);
    play.close(carrier);
    // The rings may give the session's events before its carrier's, its end included: the play tries both.
    let spans = play.spans();
    let told = ["tls.protocol.name", "tls.protocol.version", "tls.next_protocol", "netspan.tls.server_name"]
        .map(|name| attribute(&spans[0], name));
    assert_eq!(told, ["tls", "1.2", "http/1.1", "shop.example"].map(|value| Some(value.to_owned())));
    let file = recorded(&play);
    assert_eq!(replayed(&play, &file).0, play.run(0.95));
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&file[..]), &mut plain).unwrap();
    assert!(!plain.windows(7).any(|window| window == b"hunter2"));
}
