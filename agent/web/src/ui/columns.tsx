// The columns of spans, for every table of them. Durations and methods are all as wide: where spans
// pass by, nothing shall jump.
import { clock, duration } from "../model/format";
import type { Span } from "../model/span";
import { askedOf, durationNs, millis, pathOf, peerOf, processOf, statusOf, titleOf } from "../model/span";
import { Asked, Incomplete, LinkBadge, Service, StatusCode } from "./bits";
import type { Column } from "./table";

export const spanColumns: Column<Span>[] = [
  { key: "time", label: "time", width: "104px", by: (span) => span.start_ns, cell: (span) => <span class="mono dim">{clock(millis(span.start_ns))}</span> },
  { key: "service", label: "service", width: "minmax(90px, 1fr)", by: (span) => span.service, cell: (span) => <Service name={span.service} /> },
  { key: "kind", label: "kind", width: "62px", by: (span) => span.kind, cell: (span) => <span class="dim">{span.kind.toLowerCase()}</span> },
  {
    key: "path", label: "request", width: "minmax(160px, 3fr)", by: (span) => pathOf(span), title: (span) => (span.name.includes("/") ? `${titleOf(span)} (${span.name})` : titleOf(span)),
    cell: (span) => <Asked of={askedOf(span)} />,
  },
  { key: "status", label: "status", width: "68px", by: (span) => statusOf(span), cell: (span) => <StatusCode span={span} /> },
  { key: "duration", label: "duration", width: "90px", isNumber: true, by: durationNs, cell: (span) => <span class="mono even">{duration(durationNs(span)).padStart(8)}</span> },
  { key: "peer", label: "peer", width: "minmax(80px, 1fr)", by: peerOf, title: peerOf, cell: (span) => <span class="dim">{peerOf(span)}</span> },
  { key: "process", label: "process", width: "minmax(90px, 1fr)", by: processOf, title: processOf, cell: (span) => <span class="dim">{processOf(span)}</span> },
  {
    key: "link", label: "link", width: "minmax(90px, 1fr)", by: (span) => span.link?.confidence ?? 0,
    cell: (span) => (span.incomplete ? <Incomplete reason={span.incomplete} /> : <LinkBadge span={span} />),
  },
];
