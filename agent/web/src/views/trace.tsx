// Trace: one request in all that it caused.
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { useData } from "../api";
import { count, duration, moment, share } from "../model/format";
import { otlp, save } from "../model/otlp";
import type { Span } from "../model/span";
import { millis, text, titleOf } from "../model/span";
import { type Node, rows, tree } from "../model/tree";
import { back, own, show, type State } from "../state";
import { Cut, Notice, Service } from "../ui/bits";
import { Details } from "../ui/details";
import { useKeys } from "../ui/keys";
import { Traces } from "./traces";
import { Waterfall } from "./waterfall";

export function Trace({ state, round }: { state: State; round: number }) {
  if (!state.id) return <Traces state={state} round={round} />;
  return <One key={state.id} state={state} round={round} />;
}

/** Whether a span has what was looked for. */
function holds(span: Span, wanted: string): boolean {
  const all = [titleOf(span), span.service, span.span_id, span.incomplete ?? "", span.link?.method ?? "", ...Object.entries(span.attributes).map(([name, value]) => `${name}=${text(value)}`)];
  return all.some((one) => one.toLowerCase().includes(wanted));
}

function One({ state, round }: { state: State; round: number }) {
  const { data, error, isLoading } = useData<{ trace_id: string; is_whole: boolean; spans: Span[] }>(`/v1/traces/${encodeURIComponent(state.id)}`, round);
  const [collapsed, setCollapsed] = useState<Set<string>>(() => new Set());
  const [zoom, setZoom] = useState<[number, number]>([0, 1]);
  const [withCritical, setWithCritical] = useState(true);
  const [wanted, setWanted] = useState(state.own.find ?? "");
  const built = useMemo(() => tree(data?.spans ?? []), [data]);
  const shown = useMemo(() => rows(built, collapsed), [built, collapsed]);
  const matches = useMemo(() => {
    const lower = wanted.trim().toLowerCase();
    return new Set(lower ? [...built.nodes.values()].filter((node) => holds(node.span, lower)).map((node) => node.span.span_id) : []);
  }, [built, wanted]);
  const selectedId = state.own.span ?? "";
  const selected = built.nodes.get(selectedId);
  const select = useCallback((node: Node | undefined) => own({ span: node?.span.span_id ?? "" }), []);

  const toggle = useCallback((node: Node, to?: boolean) => {
    setCollapsed((before) => {
      const next = new Set(before);
      if (to ?? !next.has(node.span.span_id)) next.add(node.span.span_id);
      else next.delete(node.span.span_id);
      return next;
    });
  }, []);
  const collapseAll = (depth: number) =>
    setCollapsed(new Set([...built.nodes.values()].filter((node) => node.children.length > 0 && node.depth >= depth).map((node) => node.span.span_id)));
  const step = (by: number) => () => {
    const place = shown.findIndex((node) => node.span.span_id === selectedId);
    select(shown[Math.max(0, Math.min(shown.length - 1, place < 0 ? 0 : place + by))]);
  };
  const match = (by: number) => () => {
    const all = [...rows(built, new Set())].filter((node) => matches.has(node.span.span_id));
    if (all.length === 0) return;
    const place = all.findIndex((node) => node.span.span_id === selectedId);
    const next = all[(place + by + all.length) % all.length]!;
    setCollapsed((before) => {
      const open = new Set(before);
      for (let at = next.parent; at; at = at.parent) open.delete(at.span.span_id);
      return open;
    });
    select(next);
  };
  const zoomBy = (factor: number) => () => {
    const [from, to] = zoom;
    const middle = selected ? Math.min(1, Math.max(0, (selected.start + selected.end) / 2 / built.length)) : (from + to) / 2;
    const half = Math.min(0.5, ((to - from) / 2) * factor);
    const begin = Math.max(0, Math.min(1 - 2 * half, middle - half));
    setZoom([begin, begin + 2 * half]);
  };
  useKeys({
    j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1), PageDown: step(20), PageUp: step(-20),
    ArrowLeft: () => selected && (selected.children.length && !collapsed.has(selectedId) ? toggle(selected, true) : select(selected.parent ?? selected)),
    ArrowRight: () => selected && (collapsed.has(selectedId) ? toggle(selected, false) : select(selected.children[0] ?? selected)),
    Enter: () => selected && toggle(selected),
    n: match(1), N: match(-1), c: () => setWithCritical((before) => !before),
    "+": zoomBy(0.5), "=": zoomBy(0.5), "-": zoomBy(2), "0": () => setZoom([0, 1]),
    f: () => document.querySelector<HTMLInputElement>(".find")?.focus(),
    Escape: () => (selected ? select(undefined) : back() || show("trace")),
  });
  useEffect(() => own({ find: wanted }), [wanted]);

  const root = built.roots[0];
  const spans = data?.spans ?? [];
  const services = new Set(spans.map((span) => span.service));
  const errors = spans.filter((span) => span.status === "ERROR").length;
  const gaps = spans.filter((span) => span.incomplete !== null).length;
  return (
    <div class={`view trace ${selected ? "with-details" : ""}`}>
      <header class="trace-head">
        <button type="button" class="plain" aria-label="back to the traces" onClick={() => show("trace")}>‹</button>
        {root && <Service name={root.span.service} />}
        <h1 title={root && titleOf(root.span)}>{root ? titleOf(root.span) : ""}</h1>
        {root && (
          <dl class="trace-facts">
            <div><dt>took</dt><dd>{duration(built.length)}</dd></div>
            <div><dt>spans</dt><dd>{spans.length}</dd></div>
            <div><dt>services</dt><dd>{services.size}</dd></div>
            <div><dt>errors</dt><dd class={errors ? "bad" : ""}>{errors}</dd></div>
            <div><dt>incomplete</dt><dd class={gaps ? "warn" : ""}>{gaps}</dd></div>
            <div><dt>began</dt><dd>{moment(millis(built.from_ns))}</dd></div>
          </dl>
        )}
      </header>
      <div class={`bar ${root || isLoading ? "" : "off"}`}>
        <input class="find" type="search" value={wanted} placeholder="search in this trace ( f )" aria-label="search in this trace" onInput={(event) => setWanted(event.currentTarget.value)} onKeyDown={(event) => event.key === "Enter" && match(event.shiftKey ? -1 : 1)()} />
        <span class="dim matches">{wanted && `${matches.size} of ${spans.length}`}</span>
        <button type="button" onClick={() => collapseAll(1)}>Collapse</button>
        <button type="button" onClick={() => setCollapsed(new Set())}>Expand</button>
        <button type="button" aria-pressed={withCritical} class={withCritical ? "on" : ""} onClick={() => setWithCritical(!withCritical)}>
          Critical path <kbd>c</kbd>
        </button>
        {withCritical && root && built.roots.length > 1 && <span class="dim">of the longest root: {duration(built.criticalNs)}, {share(built.criticalNs / built.length)}</span>}
        {data && !data.is_whole && <Cut text={`not all: the trace has more spans than the ${count(spans.length)} that an answer may have`} />}
        <span class="push" />
        <button type="button" aria-label="zoom in" onClick={zoomBy(0.5)}>+</button>
        <button type="button" aria-label="zoom out" onClick={zoomBy(2)}>−</button>
        <button type="button" onClick={() => setZoom([0, 1])} disabled={zoom[0] === 0 && zoom[1] === 1}>All <kbd>0</kbd></button>
        <button type="button" class="export" disabled={!root} onClick={() => save(`trace-${state.id}.otlp.json`, otlp(spans))}>
          Export OTLP JSON
        </button>
        <Notice error={root ? error : ""} isLoading={isLoading} />
      </div>
      {!root && !isLoading && (
        <div class="empty">
          <b>{error || "This trace is not stored"}</b>
          <p>The store keeps spans for a bounded time, and a trace goes when its time is over. Its id is {state.id}.</p>
          <button type="button" class="primary" onClick={() => show("trace", { time: { last: "all" } })}>The newest traces</button>
        </div>
      )}
      {root && (
        <Waterfall tree={built} rows={shown} collapsed={collapsed} zoom={zoom} onZoom={setZoom} selected={selectedId} matches={matches} withCritical={withCritical} onSelect={select} onToggle={toggle} />
      )}
      {selected && <Details span={selected.span} onClose={() => select(undefined)} inTrace />}
    </div>
  );
}
