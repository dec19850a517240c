// A span as the API gives it, and what views read from it.

export type Value = string | number | boolean | string[];
export type Attributes = Record<string, Value>;

export interface SpanLink {
  trace_id: string;
  span_id: string;
  attributes: Attributes;
}

export interface Span {
  trace_id: string;
  span_id: string;
  parent_span_id: string | null;
  kind: "SERVER" | "CLIENT";
  name: string;
  start_ns: string;
  end_ns: string;
  status: "ERROR" | "UNSET";
  service: string;
  pid: number;
  tid: number;
  incomplete: string | null;
  link: { method: string; confidence: number } | null;
  links: SpanLink[];
  attributes: Attributes;
  resource: Attributes;
}

/** Milliseconds since the epoch, exact to some 0.2 µs. */
export const millis = (ns: string): number => Number(ns.slice(0, -6)) + Number(ns.slice(-6)) / 1e6;

/** Nanoseconds from one moment to another, exact. */
export const between = (from: string, to: string): number => Number(BigInt(to) - BigInt(from));

export const durationNs = (span: Span): number => between(span.start_ns, span.end_ns);

export const text = (value: Value | undefined): string =>
  value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value);

/** A confidence from 0 to 1, as it is shown. */
export const sureness = (confidence: number): string => (confidence >= 0.9995 ? "exact" : confidence.toFixed(2));

export const statusOf = (span: Span): string =>
  text(span.attributes["http.response.status_code"] ?? span.attributes["rpc.response.status_code"] ?? span.attributes["error.type"]);

/** The path that was asked for; of a client's span that in its URL. */
export function pathOf(span: Span): string {
  return text(span.attributes["url.path"]) || pathWithin(text(span.attributes["url.full"]));
}

/** The path of a URL; what is none is as it was. */
export function pathWithin(url: string): string {
  const rest = url.split("://", 2)[1];
  if (rest === undefined) return url;
  const slash = rest.indexOf("/");
  return slash < 0 ? "/" : rest.slice(slash);
}

export const peerOf = (span: Span): string =>
  text(span.kind === "CLIENT" ? (span.attributes["server.address"] ?? span.attributes["network.peer.address"]) : (span.attributes["client.address"] ?? span.attributes["network.peer.address"]));

export const processOf = (span: Span): string => `${text(span.resource["process.executable.name"]) || span.service}:${span.pid}`;

/** What was asked for: method and path, or the name where that is all that is known, and of gRPC. */
export function askedOf(span: Span): [string, string] {
  const [method, path] = [text(span.attributes["http.request.method"]), pathOf(span)];
  return method && path && !text(span.attributes["rpc.method"]) ? [method, path] : [span.name, ""];
}

export const titleOf = (span: Span): string => askedOf(span).join(" ").trim();

/** The parts of a span's time that the kernel told, in the order in which they pass. */
const PARTS: Record<Span["kind"], [string, string][]> = {
  SERVER: [
    ["accept_wait", "wait to be accepted"],
    ["queue_wait", "in the socket, unread"],
    ["receive", "reading the request"],
    ["app", "application"],
    ["downstream", "waiting for calls"],
    ["send", "writing the response"],
  ],
  CLIENT: [
    ["connect", "connecting"],
    ["send", "writing the request"],
    ["wait", "waiting for the answer"],
    ["queue_wait", "in the socket, unread"],
    ["receive", "reading the response"],
  ],
};

export interface Part {
  key: string;
  label: string;
  ns: number;
}

export function parts(span: Span): Part[] {
  return PARTS[span.kind].flatMap(([key, label]) => {
    const ns = span.attributes[`netspan.time.${key}`];
    return typeof ns === "number" ? [{ key, label, ns }] : [];
  });
}

/** Why a span is not the whole truth, in words. */
export const INCOMPLETE: Record<string, string> = {
  reset: "the connection was reset",
  closed: "the connection was closed before the end",
  exited: "the process ended",
  lost: "events were lost",
  cut: "more than is looked at",
  joined_late: "it had begun before the agent saw it",
  headers_unknown: "headers were compressed by what passed before the agent came",
};
