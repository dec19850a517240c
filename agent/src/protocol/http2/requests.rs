//! The requests' side: a header block begins a stream, or ends one (trailers).

use super::{
    Connection,
    block::Block,
    fields::{Fields, Kept, Opening},
    stream::Ask,
};
use crate::protocol::{Flow, Incomplete, Notice, Request, Stamp, Tokens, Version};
use bytes::Bytes;

impl Connection {
    /// Takes a header block of the requests' flow.
    pub(super) fn request_block(&mut self, stamp: &Stamp, block: &Block<'_>, fields: Fields, out: &mut Vec<Notice>) {
        let id = block.stream;
        if let Some(stream) = self.streams.get(id).filter(|stream| stream.ask != Ask::Early) {
            if stream.is_open(Flow::Requests) {
                stream.moved(Flow::Requests, &block.first, stamp, block.wire);
                if block.ends {
                    stream.finish(Flow::Requests);
                }
                self.streams.settle(id, out);
            } else {
                self.counts.malformed += 1;
            }
            return;
        }
        let begins = match fields.opening {
            Opening::Request | Opening::Unknown => true,
            // The trailers of a request that was not seen.
            Opening::Regular | Opening::Response => false,
            Opening::Empty => fields.flaw.is_some(),
        };
        if id <= self.streams.highest() || !begins {
            self.counts.unpaired += 1 + self.streams.pass(id);
            return;
        }
        self.begin_stream(stamp, block, fields, out);
    }

    fn begin_stream(&mut self, stamp: &Stamp, block: &Block<'_>, fields: Fields, out: &mut Vec<Notice>) {
        let id = block.stream;
        let ordinal = u64::from(id);
        let (unknown, flaw) = (fields.unknown, fields.flaw);
        let (is_connect, is_grpc, timeout_ns) = (fields.is_connect, fields.is_grpc, fields.grpc_timeout_ns);
        let request = request(fields.into_kept(), is_connect);
        let lacks = request.method.is_empty() || request.target.is_empty();

        let (stream, dropped) = self.streams.begin(id, ordinal, out);
        self.counts.unpaired += dropped.unpaired;
        self.counts.streams_full += dropped.full;
        out.push(Notice::Started { ordinal, first: block.first, tokens: Tokens::of(&request) });
        stream.moved(Flow::Requests, &block.first, stamp, block.wire);
        stream.is_connect = is_connect;
        stream.lacks_headers |= unknown || flaw.is_some();
        stream.is_rpc |= is_grpc;
        stream.rpc.timeout_ns = timeout_ns;
        stream.exchange.request = Some(request);
        if let Some(why) = flaw {
            stream.mark(why);
        } else if lacks && unknown {
            stream.mark(Incomplete::HeadersUnknown);
            self.counts.headers_unknown += 1;
        } else if lacks {
            stream.mark(Incomplete::Malformed);
            self.counts.malformed += 1;
        }
        if block.ends {
            stream.finish(Flow::Requests);
        }
        if self.last_served.is_some_and(|last| id > last) {
            stream.give_up(Incomplete::Refused);
            stream.ask = Ask::Over;
        }
        if let Some(why) = self.ended[1] {
            stream.give_up(why);
        }
        stream.switch();
        self.streams.settle(id, out);
    }
}

/// A request of what was kept of its head. A header `host` that is not there is what `:authority` says, as the semantic
/// conventions and proxies have it (RFC 9113, section 8.3.1).
fn request(kept: Kept, is_connect: bool) -> Request {
    let Kept { method, scheme, authority, path, mut headers, grpc_message: _ } = kept;
    // CONNECT alone has no path; the extended one has (RFC 8441, section 4).
    let target = path.or_else(|| authority.clone().filter(|_| is_connect)).unwrap_or_default();
    if let Some(authority) = authority.filter(|_| !headers.iter().any(|(name, _)| name == "host")) {
        headers.insert(0, (Bytes::from_static(b"host"), authority));
    }
    Request { method: method.unwrap_or_default(), scheme, target, version: Version::Http2, headers }
}
