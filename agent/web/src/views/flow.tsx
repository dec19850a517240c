// Flow: who calls whom, and how that goes. Sized by impact: by the time that is spent there.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useData } from "../api";
import { color } from "../model/color";
import { count, duration, rate, share } from "../model/format";
import { layout } from "../model/layout";
import { addRule, go, query, show, type State } from "../state";
import { Cut, Notice, Panel, Service } from "../ui/bits";
import { useKeys } from "../ui/keys";
import { type Column, Table } from "../ui/table";
import type { Figures } from "./heat";

export interface Edge extends Omit<Figures, "name"> {
  caller: string;
  callee: string;
  caller_seen: boolean;
  callee_seen: boolean;
}

interface Placed {
  name: string;
  /** Half of its width and of its height. */
  w: number;
  h: number;
  x: number;
  y: number;
  rate: number;
  errors: number;
  count: number;
  isSeen: boolean;
}

const NODE_W = 144;
const NODE_H = 58;
/** From node to node of a layer. */
const NODE_PITCH = 82;
/** From layer to layer: room for a node and for what is written at an edge. */
const PITCH = 280;
/** Edges that are drawn; the table has all. */
const DRAWN_MAX = 150;

/** Of so many edges all have their figures beside them; of more, those of the service that is looked at. */
const LABELLED_MAX = 24;

/** Callers that were not seen are one node each, named by their address; edges of the same two are one. */
export function merged(edges: Edge[]): Edge[] {
  const known = new Map<string, Edge>();
  for (const edge of edges) {
    const key = `${edge.caller}\n${edge.callee}`;
    const other = known.get(key);
    if (!other) known.set(key, { ...edge });
    else {
      const all = other.count + edge.count;
      other.mean_ns = (other.mean_ns * other.count + edge.mean_ns * edge.count) / all;
      for (const which of ["p50_ns", "p99_ns"] as const) if (edge.count > other.count) other[which] = edge[which];
      other.count = all;
      other.errors += edge.errors;
      other.error_share = other.errors / all;
      other.rate += edge.rate;
      other.caller_seen ||= edge.caller_seen;
      other.callee_seen ||= edge.callee_seen;
    }
  }
  return [...known.values()];
}

const impact = (edge: Edge) => edge.count * edge.mean_ns;

export function Flow({ state, round }: { state: State; round: number }) {
  // A filter by service would take away its neighbours: it is what the picture is centred on instead.
  const { data, error, isLoading } = useData<{ seconds: number; is_whole: boolean; edges: Edge[] }>(`/v1/map?${query(state, {}, ["service"])}`, round);
  // How long a service takes itself: percentiles of its edges can't be added up.
  const services = useData<{ groups: Figures[] }>(`/v1/stat?${query(state, { kind: "server", "group-by": "service" }, ["service", "kind"])}`, round);
  const latency = useMemo(() => new Map(services.data?.groups.map((group) => [group.name, group])), [services.data]);
  const edges = useMemo(() => merged(data?.edges ?? []), [data]);
  const focus = state.rules.filter(([word]) => word === "service").map(([, name]) => name)[0] ?? "";
  const [hovered, setHovered] = useState("");
  const callers = edges.filter((edge) => edge.callee === focus).sort((a, b) => b.count - a.count);
  const callees = edges.filter((edge) => edge.caller === focus).sort((a, b) => b.count - a.count);
  const choose = (name: string) => (name === focus ? go({ rules: state.rules.filter(([word]) => word !== "service") }) : go({ rules: [...state.rules.filter(([word]) => word !== "service"), ["service", name]] }));
  useKeys(focus ? { Escape: () => choose(focus) } : {});
  return (
    <div class={`view flow ${focus ? "with-side" : ""}`}>
      <div class="graph-place">
        {data && edges.length === 0 && <Nothing />}
        <Graph edges={[...edges].sort((a, b) => impact(b) - impact(a)).slice(0, DRAWN_MAX)} latency={latency} focus={focus} hovered={hovered} onHover={setHovered} onChoose={choose} />
      </div>
      <div class="bar">
        <span class="dim">{edges.length} edges{edges.length > DRAWN_MAX && `, the ${DRAWN_MAX} with most time are drawn`} · a service's click filters every view</span>
        {data && !data.is_whole && <Cut text="only the newest spans were looked at: shorten the time for all" />}
        <Notice error={error || services.error} isLoading={isLoading} />
      </div>
      <div class="main-list"><Edges edges={focus ? [...callers, ...callees] : edges} onOpen={(edge) => choose(edge.callee === focus ? edge.caller : edge.callee)} /></div>
      {focus && (
        <aside class="side" aria-label={`who calls ${focus}`}>
          <header><Service name={focus} /> <button type="button" class="plain" aria-label="remove the focus" onClick={() => choose(focus)}>×</button></header>
          <Panel title={`Who calls ${focus}?`}>
            <Ends edges={callers} end={(edge) => edge.caller} seen={(edge) => edge.caller_seen} onChoose={choose} />
          </Panel>
          <Panel title={`Whom does ${focus} call?`}>
            <Ends edges={callees} end={(edge) => edge.callee} seen={(edge) => edge.callee_seen} onChoose={choose} />
          </Panel>
          <p class="actions">
            <button type="button" onClick={() => show("search")}>Its spans</button>
            <button type="button" onClick={() => show("search", { own: { by: "path" } })}>Its routes</button>
            <button type="button" onClick={() => addRule("status", "error")}>Only errors</button>
          </p>
        </aside>
      )}
    </div>
  );
}

function Ends({ edges, end, seen, onChoose }: { edges: Edge[]; end: (edge: Edge) => string; seen: (edge: Edge) => boolean; onChoose: (name: string) => void }) {
  if (edges.length === 0) return <p class="dim">nobody that was seen</p>;
  const all = edges.reduce((sum, edge) => sum + edge.count, 0);
  return (
    <ul class="ends">
      {edges.map((edge) => (
        <li key={end(edge)}>
          <button type="button" onClick={() => (seen(edge) ? onChoose(end(edge)) : addRule("peer", end(edge)))}>
            <Service name={end(edge)} />
            {!seen(edge) && <span class="badge">address only</span>}
          </button>
          <span class="ends-figures">{count(edge.count)} · {share(edge.count / all)} · {rate(edge.rate)} · p99 {duration(edge.p99_ns)} · <span class={edge.errors ? "bad" : "dim"}>{share(edge.error_share)} errors</span></span>
        </li>
      ))}
    </ul>
  );
}

const number = (key: string, label: string, of: (edge: Edge) => number | null, cell: (value: number) => string): Column<Edge> => ({
  key, label, width: "92px", isNumber: true, by: (edge) => of(edge) ?? 0, cell: (edge) => cell(of(edge) ?? 0),
});
const columns: Column<Edge>[] = [
  { key: "caller", label: "caller", width: "minmax(110px, 2fr)", by: (edge) => edge.caller, cell: (edge) => <Service name={edge.caller} /> },
  { key: "callee", label: "callee", width: "minmax(110px, 2fr)", by: (edge) => edge.callee, cell: (edge) => <Service name={edge.callee} /> },
  number("count", "calls", (edge) => edge.count, count),
  number("rate", "rate", (edge) => edge.rate, rate),
  { ...number("errors", "errors", (edge) => edge.error_share, share), cell: (edge) => <span class={edge.errors ? "bad" : "dim"}>{share(edge.error_share)}</span> },
  number("p50", "p50", (edge) => edge.p50_ns, duration),
  number("p99", "p99", (edge) => edge.p99_ns, duration),
  number("impact", "time", impact, duration),
];

const Nothing = () => <div class="empty"><b>No calls that fit</b><p>Ask for a longer time or fewer rules. Who calls whom shows up here as soon as requests pass.</p></div>;

function Edges({ edges, onOpen }: { edges: Edge[]; onOpen: (edge: Edge) => void }) {
  const [sort, setSort] = useState("-impact");
  return <Table label="edges" columns={columns} rows={edges} id={(edge) => `${edge.caller} > ${edge.callee}`} sort={sort} onSort={setSort} onOpen={onOpen} tone={(edge) => (edge.error_share > 0.05 ? "bad" : "")} empty="no calls that fit" />;
}

function Graph({ edges, latency, focus, hovered, onHover, onChoose }: { edges: Edge[]; latency: Map<string, Figures>; focus: string; hovered: string; onHover: (name: string) => void; onChoose: (name: string) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<[number, number]>([900, 400]);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize([entry!.contentRect.width, entry!.contentRect.height]));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  const { nodes, height, width } = useMemo(() => placed(edges, size), [edges, size]);
  const most = Math.max(1, ...edges.map(impact));
  const chosen = nodes.get(focus);
  useEffect(() => {
    if (chosen) box.current!.scrollTo({ left: chosen.x - box.current!.clientWidth / 2, top: chosen.y - box.current!.clientHeight / 2 });
  }, [focus, chosen?.x, chosen?.y]);
  const near = hovered || focus;
  const isNear = (edge: Edge) => near === "" || edge.caller === near || edge.callee === near;
  const nearNodes = new Set(near ? edges.filter(isNear).flatMap((edge) => [edge.caller, edge.callee]).concat(near) : []);
  return (
    <div class="graph" ref={box}>
      <svg width={width} height={height} role="group" aria-label="flow graph">
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" class="tip" /></marker>
          <marker id="tip-bad" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" class="tip bad" /></marker>
        </defs>
        {edges.map((edge) => {
          const [a, b] = [nodes.get(edge.caller)!, nodes.get(edge.callee)!];
          const isBad = edge.error_share > 0.01;
          const path = curve(a, b);
          return (
            <g key={`${edge.caller}>${edge.callee}`} class={`edge ${isBad ? "bad" : ""} ${isNear(edge) ? "" : "far"}`}>
              <path d={path.d} stroke-width={1 + 7 * Math.sqrt(impact(edge) / most)} marker-end={`url(#tip${isBad ? "-bad" : ""})`}>
                <title>{`${edge.caller} calls ${edge.callee}: ${rate(edge.rate)}, ${share(edge.error_share)} errors, p50 ${duration(edge.p50_ns)}, p99 ${duration(edge.p99_ns)}`}</title>
              </path>
            </g>
          );
        })}
        {edges.filter((edge) => isNear(edge) && (near !== "" || edges.length <= LABELLED_MAX)).map((edge) => {
          const { x, y } = curve(nodes.get(edge.caller)!, nodes.get(edge.callee)!);
          return (
            <text key={`${edge.caller}>${edge.callee}`} class="edge-text" x={x} y={y} text-anchor="middle">
              <tspan>{rate(edge.rate)} · p50 {duration(edge.p50_ns)}</tspan>
              <tspan x={x} dy="12">p99 {duration(edge.p99_ns)}</tspan>
              {edge.errors > 0 && <tspan class="bad"> · {share(edge.error_share)} err</tspan>}
            </text>
          );
        })}
        {[...nodes.values()].map((node) => {
          const [w, h] = [2 * node.w, 2 * node.h];
          const own = node.isSeen && node.count ? latency.get(node.name) : undefined;
          return (
            <g
              key={node.name} class={`node ${near && !nearNodes.has(node.name) ? "far" : ""} ${node.name === focus ? "focus" : ""} ${node.isSeen ? "" : "unseen"}`} transform={`translate(${node.x} ${node.y})`} tabindex={0} role="button" aria-label={`${node.name}: ${rate(node.rate)}`} data-service={node.name}
              onClick={() => onChoose(node.name)} onKeyDown={(event) => event.key === "Enter" && (event.stopPropagation(), event.preventDefault(), onChoose(node.name))} onPointerEnter={() => onHover(node.name)} onPointerLeave={() => onHover("")}
            >
              <rect x={-w / 2} y={-h / 2} width={w} height={h} rx="8" />
              <rect x={-w / 2} y={-h / 2} width="5" height={h} rx="2.5" fill={color(node.name)} class="tint" />
              <text y={own ? -9 : -3} text-anchor="middle" class="node-name">{node.name.length > 17 ? `${node.name.slice(0, 16)}…` : node.name}</text>
              <text y={own ? 6 : 12} text-anchor="middle" class="node-figures">{node.count ? `${rate(node.rate)}${node.errors > 0 ? ` · ${share(node.errors)} err` : ""}` : node.isSeen ? "calls only" : "address"}</text>
              {own && <text y="19" text-anchor="middle" class="node-figures">{`p50 ${duration(own.p50_ns)} · p99 ${duration(own.p99_ns)}`.replace(/( \S+)(?= · p99 .*\1$)/, "")}</text>}
              <title>{`${node.name}${own ? `: ${rate(own.rate)}, ${share(own.error_share)} errors, p50 ${duration(own.p50_ns)}, p99 ${duration(own.p99_ns)}` : ""}`}</title>
            </g>
          );
        })}
      </svg>
    </div>
  );
}

function placed(edges: Edge[], [width, height]: [number, number]): { nodes: Map<string, Placed>; width: number; height: number } {
  const places = layout(edges.map((edge) => [edge.caller, edge.callee]));
  const layers = Math.max(1, ...[...places.values()].map((place) => place.layer + 1));
  const perLayer = new Map<number, number>();
  for (const place of places.values()) perLayer.set(place.layer, (perLayer.get(place.layer) ?? 0) + 1);
  const tall = Math.max(height - 4, Math.max(1, ...perLayer.values()) * NODE_PITCH);
  const wide = Math.max(width, layers * PITCH);
  const nodes = new Map<string, Placed>();
  const into = new Map<string, number>();
  for (const edge of edges) into.set(edge.callee, (into.get(edge.callee) ?? 0) + impact(edge));
  const most = Math.max(1, ...into.values());
  for (const { name, layer, across } of places.values()) {
    const weight = Math.sqrt((into.get(name) ?? 0) / most);
    const calls = edges.filter((edge) => edge.callee === name);
    const sum = calls.reduce((sum, edge) => sum + edge.count, 0);
    nodes.set(name, {
      name,
      w: (NODE_W / 2) * (0.94 + 0.16 * weight),
      h: (NODE_H / 2) * (0.86 + 0.4 * weight),
      x: ((layer + 0.5) / layers) * wide,
      y: across * tall,
      rate: calls.reduce((all, edge) => all + edge.rate, 0),
      errors: sum ? calls.reduce((all, edge) => all + edge.errors, 0) / sum : 0,
      count: sum,
      isSeen: edges.some((edge) => (edge.caller === name && edge.caller_seen) || (edge.callee === name && edge.callee_seen)),
    });
  }
  return { nodes, width: wide, height: tall };
}

function curve(a: Placed, b: Placed): { d: string; x: number; y: number } {
  if (a === b) {
    const [x, y] = [a.x, a.y - a.h];
    return { d: `M${x - 24} ${y}C${x - 40} ${y - 44} ${x + 40} ${y - 44} ${x + 24} ${y}`, x, y: y - 40 };
  }
  const isBack = b.x <= a.x;
  const [x0, x1] = isBack ? [a.x - a.w, b.x + b.w + 4] : [a.x + a.w, b.x - b.w - 4];
  const bend = Math.max(40, Math.abs(x1 - x0) / 2) * (isBack ? -1 : 1);
  // What is written is a little nearer to the callee: there the edges of a caller have spread.
  const t = 0.52;
  const mix = (p0: number, p1: number, p2: number, p3: number) => (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t * t * p2 + t ** 3 * p3;
  return { d: `M${x0} ${a.y}C${x0 + bend} ${a.y} ${x1 - bend} ${b.y} ${x1} ${b.y}`, x: mix(x0, x0 + bend, x1 - bend, x1), y: mix(a.y, a.y, b.y, b.y) - 5 };
}
