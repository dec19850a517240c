// A trace as OTLP JSON (ExportTraceServiceRequest by the JSON mapping of protobuf: 64-bit numbers are texts, ids hexadecimal).
import type { Attributes, Span, Value } from "./span";

const value = (of: Value): object => {
  if (Array.isArray(of)) return { arrayValue: { values: of.map((text) => ({ stringValue: text })) } };
  if (typeof of === "boolean") return { boolValue: of };
  if (typeof of === "number") return Number.isInteger(of) ? { intValue: String(of) } : { doubleValue: of };
  return { stringValue: of };
};
const list = (attributes: Attributes): object[] => Object.entries(attributes).map(([key, of]) => ({ key, value: value(of) }));

function encode(span: Span): object {
  const attributes: Attributes = { ...span.attributes, "thread.id": span.tid };
  if (span.incomplete !== null) attributes["netspan.incomplete"] = span.incomplete;
  const own = list(attributes);
  if (span.link) {
    own.push({ key: "netspan.link.method", value: { stringValue: span.link.method } });
    // Always a floating-point number, also where it is 1.
    own.push({ key: "netspan.link.confidence", value: { doubleValue: span.link.confidence } });
  }
  return {
    traceId: span.trace_id,
    spanId: span.span_id,
    ...(span.parent_span_id === null ? {} : { parentSpanId: span.parent_span_id }),
    name: span.name,
    kind: span.kind === "SERVER" ? 2 : 3,
    startTimeUnixNano: span.start_ns,
    endTimeUnixNano: span.end_ns,
    attributes: own,
    links: span.links.map((link) => ({ traceId: link.trace_id, spanId: link.span_id, attributes: list(link.attributes) })),
    status: span.status === "ERROR" ? { code: 2 } : {},
  };
}

export function otlp(spans: Span[]): object {
  const processes = new Map<string, Span[]>();
  for (const span of spans) {
    const key = JSON.stringify([span.service, span.pid, span.resource]);
    const known = processes.get(key);
    if (known) known.push(span);
    else processes.set(key, [span]);
  }
  return {
    resourceSpans: [...processes.values()].map((own) => ({
      resource: { attributes: list({ "service.name": own[0]!.service, "process.pid": own[0]!.pid, ...own[0]!.resource }) },
      scopeSpans: [{ scope: { name: "netspan" }, spans: own.map(encode) }],
    })),
  };
}

/** Gives the browser a file to keep. */
export function save(name: string, content: object): void {
  const url = URL.createObjectURL(new Blob([JSON.stringify(content)], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
