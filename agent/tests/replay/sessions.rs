//! Sessions of TLS: connections of plaintext over other connections.

use crate::{
    dialogue::{Play, get},
    golden::{attribute, forest},
    recorded::{recorded, replayed},
};
use netspan_ebpf::{close, role};

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
