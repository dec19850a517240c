//! Metrics of connections that are over: how long they took to be made and lived, what TCP measured, what they moved.

use super::{Histogram, Key, Label, Metrics, Series, seconds};
use crate::{
    conn::{Closed, Role},
    span::Resource,
};

/// What is counted of connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) connect: Series<Histogram>,
    pub(super) lifetime: Series<Histogram>,
    pub(super) round_trip: Series<Histogram>,
    pub(super) retransmits: Series<u64>,
    pub(super) bytes: Series<u64>,
}

/// A metric of connections in OpenTelemetry: name, unit, what it says.
pub(super) type Named = (&'static str, &'static str, &'static str);

impl Connections {
    /// The histograms, in seconds.
    pub(super) fn histograms(&self) -> [(Named, &Series<Histogram>); 3] {
        [
            (
                ("netspan.connection.connect.duration", "s", "Time from SYN to the established connection."),
                &self.connect,
            ),
            (("netspan.connection.duration", "s", "Time from the first to the last of a connection."), &self.lifetime),
            (
                ("netspan.connection.round_trip", "s", "Smallest round trip that TCP measured on a connection."),
                &self.round_trip,
            ),
        ]
    }

    /// The counters.
    pub(super) fn counters(&self) -> [(Named, &Series<u64>); 2] {
        [
            (("netspan.connection.retransmits", "{segment}", "Segments that TCP sent again."), &self.retransmits),
            (("netspan.connection.io", "By", "Bytes that connections moved."), &self.bytes),
        ]
    }

    pub(super) fn overflow(&self) -> u64 {
        let histograms: u64 = self.histograms().iter().map(|(_, series)| series.overflow()).sum();
        histograms + self.counters().iter().map(|(_, series)| series.overflow()).sum::<u64>()
    }
}

impl Metrics {
    /// Counts a connection of a process; `clock_offset_ns` turns boot-time into Unix time.
    pub fn add_connection(&mut self, closed: &Closed, resource: &Resource, clock_offset_ns: u64) {
        let Closed { socket, at_ns, lifetime_ns, bytes_in, bytes_out, tcp, .. } = closed;
        if socket.tls {
            // It is told of the socket that carries it.
            return;
        }
        self.learn(resource, at_ns.saturating_sub(*lifetime_ns).saturating_add(clock_offset_ns));
        let role = match socket.role {
            Role::Client => "client",
            Role::Server => "server",
            Role::Unknown => "unknown",
        };
        let key = |direction: Option<&str>| {
            let text = |text: &str| Label::Text(text.to_owned());
            let mut attributes = vec![("netspan.connection.role", text(role))];
            attributes.extend(direction.map(|direction| ("network.io.direction", text(direction))));
            Key { service: resource.service.clone(), attributes }
        };
        let all = &mut self.connections;
        all.lifetime.of(key(None)).add(seconds(*lifetime_ns), None);
        *all.bytes.of(key(Some("receive"))) += bytes_in;
        *all.bytes.of(key(Some("transmit"))) += bytes_out;
        if socket.syn_ns != 0 && socket.established_ns >= socket.syn_ns && socket.role == Role::Client {
            all.connect.of(key(None)).add(seconds(socket.established_ns - socket.syn_ns), None);
        }
        if let Some(tcp) = tcp {
            *all.retransmits.of(key(None)) += u64::from(tcp.retransmits);
            if tcp.min_rtt_us != 0 && tcp.min_rtt_us != u32::MAX {
                all.round_trip.of(key(None)).add(f64::from(tcp.min_rtt_us) / 1e6, None);
            }
        }
    }
}
