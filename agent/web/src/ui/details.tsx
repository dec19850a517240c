// One span in all that is known of it. Each value can become a rule of the filter. All of it is text, whatever it looks like.
import { duration, moment } from "../model/format";
import type { Span, Value } from "../model/span";
import { durationNs, millis, pathOf, text, titleOf } from "../model/span";
import { addRule, show, type Word } from "../state";
import { Incomplete, LinkBadge, Service, Split, StatusCode } from "./bits";

const RULES: Record<string, Word> = {
  "http.response.status_code": "status", "url.path": "path", "server.port": "port", "network.peer.port": "port", "client.port": "port",
  "server.address": "peer", "client.address": "peer", "network.peer.address": "peer",
  "process.executable.name": "process", "process.pid": "pid", "container.id": "container", "service.name": "service",
};

function List({ values }: { values: Record<string, Value> }) {
  return (
    <dl class="attributes">
      {Object.entries(values).map(([name, value]) => (
        <div key={name}>
          <dt title={name}>{name}</dt>
          <dd>
            <button
              type="button"
              title="show only these"
              onClick={() => (RULES[name] ? addRule(RULES[name], text(value)) : addRule("attribute", `${name}=${text(value)}`))}
            >
              {name.startsWith("netspan.time.") && typeof value === "number" ? duration(value) : text(value)}
            </button>
          </dd>
        </div>
      ))}
    </dl>
  );
}

export function Details({ span, onClose, inTrace = false }: { span: Span; onClose: () => void; inTrace?: boolean }) {
  return (
    <aside class="details" aria-label="details">
      <header>
        <div class="details-title">
          <Service name={span.service} />
          <h2 title={titleOf(span)}>{titleOf(span)}</h2>
        </div>
        <button type="button" class="plain" onClick={onClose} aria-label="close (Esc)">
          ×
        </button>
      </header>
      <div class="details-body">
        <p class="facts">
          <StatusCode span={span} /> <b>{duration(durationNs(span))}</b> <span class="dim">{span.kind.toLowerCase()}</span>{" "}
          <LinkBadge span={span} /> <Incomplete reason={span.incomplete} />
        </p>
        <p class="dim">{moment(millis(span.start_ns))}</p>
        <p class="actions">
          {!inTrace && (
            <button type="button" class="primary" onClick={() => show("trace", { id: span.trace_id, own: { span: span.span_id } })}>
              Open its trace
            </button>
          )}
          <button type="button" onClick={() => addRule("service", span.service)}>
            Only {span.service}
          </button>
          {pathOf(span) && (
            <button type="button" onClick={() => addRule("path", pathOf(span).split("?")[0]!)}>
              Only this path
            </button>
          )}
        </p>
        <h3>Where its time went</h3>
        <Split span={span} withLegend />
        {span.links.length > 0 && (
          <>
            <h3>FollowsFrom: triggered by, not waited for by</h3>
            <ul class="links">
              {span.links.map((link) => (
                <li key={link.span_id}>
                  <button type="button" onClick={() => show("trace", { id: link.trace_id, own: { span: link.span_id } })}>
                    {link.span_id}
                  </button>{" "}
                  <span class="badge follows">
                    {text(link.attributes["netspan.link.method"])} {text(link.attributes["netspan.link.confidence"])}
                  </span>
                </li>
              ))}
            </ul>
          </>
        )}
        <h3>Span</h3>
        <List values={span.attributes} />
        <h3>Process</h3>
        <List values={{ "service.name": span.service, "process.pid": span.pid, "thread.id": span.tid, ...span.resource }} />
        <h3>Ids</h3>
        <dl class="attributes">
          {[["trace", span.trace_id], ["span", span.span_id], ["parent", span.parent_span_id ?? "none: it is a root"]].map(([name, id]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd class="mono">{id}</dd>
            </div>
          ))}
        </dl>
      </div>
    </aside>
  );
}
