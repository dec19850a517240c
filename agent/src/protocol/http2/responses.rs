//! The responses' side: a header block is an interim head, the final head, or trailers.

use super::{
    Connection,
    block::Block,
    fields::{Fields, Kept, Opening},
    stream::Answer,
};
use crate::protocol::{Flow, Incomplete, Notice, Response, Stamp, Version};

impl Connection {
    /// Takes a header block of the responses' flow.
    pub(super) fn response_block(&mut self, stamp: &Stamp, block: &Block<'_>, fields: Fields, out: &mut Vec<Notice>) {
        let id = block.stream;
        self.counts.pushed += u64::from(block.is_promise);
        if block.is_promise || id.is_multiple_of(2) {
            return;
        }
        let begins = matches!(fields.opening, Opening::Response | Opening::Unknown) || fields.flaw.is_some();
        if self.streams.get(id).is_none() && begins && id > self.streams.highest() {
            self.counts.early_full += u64::from(self.streams.is_early_full());
            self.streams.early(id);
        }
        let Some(stream) = self.streams.get(id) else {
            self.counts.unpaired += 1;
            return;
        };
        if !stream.is_open(Flow::Responses) {
            self.counts.malformed += u64::from(stream.answer == Answer::Complete);
            return;
        }
        let interim = fields.status.filter(|status| (100..200).contains(status) && !block.ends);
        if let Some(status) = interim {
            stream.exchange.informational = Some(status);
            return;
        }
        stream.moved(Flow::Responses, &block.first, stamp, block.wire);
        if let Some(why) = fields.flaw {
            stream.mark(why);
        }
        stream.lacks_headers |= fields.unknown || fields.flaw.is_some();
        stream.is_rpc |= fields.is_grpc || (stream.lacks_headers && fields.grpc_status.is_some());
        stream.rpc.status = fields.grpc_status.or(stream.rpc.status);
        let (status, unknown, flaw) = (fields.status, fields.unknown, fields.flaw);
        let is_head = fields.opening == Opening::Response || stream.exchange.response.is_none();
        let Kept { headers, grpc_message, .. } = fields.into_kept();
        stream.rpc.message = grpc_message.or(stream.rpc.message.take());
        if is_head {
            let status = status.unwrap_or(0);
            stream.exchange.response = Some(Response { status, version: Version::Http2, headers });
            if status == 0 && flaw.is_none() {
                let why = if unknown { Incomplete::HeadersUnknown } else { Incomplete::Malformed };
                stream.mark(why);
                self.counts.headers_unknown += u64::from(unknown);
                self.counts.malformed += u64::from(!unknown);
            }
        } else if unknown && stream.is_rpc && stream.rpc.status.is_none() {
            stream.mark(Incomplete::HeadersUnknown);
            self.counts.headers_unknown += 1;
        }
        stream.answer = Answer::Coming;
        if block.ends {
            stream.finish(Flow::Responses);
        }
        stream.switch();
        self.streams.settle(id, out);
    }
}
