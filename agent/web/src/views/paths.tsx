// Paths: the ways that requests take, over many traces: an icicle of calling contexts, and what of it is critical.
import { useCallback, useMemo, useState } from "preact/hooks";
import { useData } from "../api";
import { color, isDark, themed } from "../model/color";
import { clock, count, duration, share, since } from "../model/format";
import { between, millis } from "../model/span";
import { own, query, type State } from "../state";
import { Choice, Cut, Notice, Service } from "../ui/bits";
import { Canvas, at } from "../ui/canvas";
import { useKeys } from "../ui/keys";
import { type Column, Table } from "../ui/table";

interface Node {
  parent: number | null;
  service: string;
  name: string;
  callee_seen: boolean;
  count: number;
  errors: number;
  sum_ns: number;
  self_ns: number;
  network_ns: number;
  critical_ns: number;
  first_ns: string;
  last_ns: string;
}

interface PathsData {
  traces: number;
  spans: number;
  is_whole: boolean;
  nodes: Node[];
}

type By = "sum_ns" | "count" | "critical_ns";
/** What a box is as wide as. */
const WIDTHS = [["sum_ns", "time"], ["critical_ns", "critical path"], ["count", "count"]] as const;
const ROW = 30;
const NEW_SHARE = 0.8;
/** What the agent looks at, at most (`agent/src/store/query/paths`). */
const [TRACES_MAX, SPANS_MAX] = [20_000, 200_000];

interface Box {
  node: Node;
  place: number;
  depth: number;
  /** Sums over what is below, for the critical path. */
  weight: number;
  from: number;
  to: number;
}

export function Paths({ state, round }: { state: State; round: number }) {
  const { data, error, isLoading } = useData<PathsData>(`/v1/paths?${query(state)}`, round);
  const by = (state.own.by as By) || "sum_ns";
  const [root, setRoot] = useState(-1);
  const [selected, setSelected] = useState(-1);
  const [hover, setHover] = useState(-1);
  const nodes = data?.nodes ?? [];
  const boxes = useMemo(() => icicle(nodes, by, root < nodes.length ? root : -1), [data, by, root]);
  const isNew = useMemo(() => newcomers(nodes), [data]);
  useKeys(root >= 0 ? { Escape: () => setRoot(-1) } : {});
  const depth = Math.max(0, ...boxes.map((box) => box.depth)) + 1;

  const draw = useCallback(
    (context: CanvasRenderingContext2D, width: number) => {
      context.font = "12px system-ui, sans-serif";
      context.textBaseline = "middle";
      for (const { node, place, depth, from, to } of boxes) {
        const [left, w, top] = [from * width, (to - from) * width, depth * ROW];
        if (w < 0.4) continue;
        const isLit = place === hover || place === selected;
        context.fillStyle = color(node.service, isLit ? 0.95 : isDark() ? 0.5 : 0.38);
        context.fillRect(left, top, Math.max(0.6, w - 1), ROW - 1);
        if (node.errors > 0) {
          context.fillStyle = themed("bad");
          context.fillRect(left, top + ROW - 4, Math.max(1, (w - 1) * (node.errors / node.count)), 3);
        }
        if (isNew.has(place)) {
          context.fillStyle = themed("warn");
          context.fillRect(left, top, Math.max(0.6, w - 1), 3);
        }
        if (w > 40) {
          context.save();
          context.beginPath();
          context.rect(left, top, w - 4, ROW);
          context.clip();
          context.fillStyle = themed("text");
          const value = by === "count" ? count(node.count) : duration(by === "critical_ns" ? node.critical_ns : node.sum_ns);
          context.fillText(`${isNew.has(place) ? "new: " : ""}${node.service} ${node.name}   ${value}`, left + 6, top + ROW / 2);
          context.restore();
        }
      }
    },
    [boxes, hover, selected, by, isNew],
  );
  const boxAt = (event: MouseEvent) => {
    const [x, y] = at(event);
    const share = x / (event.currentTarget as HTMLElement).clientWidth;
    return boxes.find((box) => box.depth === Math.floor(y / ROW) && share >= box.from && share < box.to);
  };
  const shown = nodes[hover >= 0 ? hover : selected];
  return (
    <div class="view paths">
      <div class="bar">
        <Choice label="width" value={by} options={WIDTHS} onChange={(by) => own({ by })} />
        <span class="dim">{data && `${count(data.traces)} traces, ${count(data.spans)} spans, ${nodes.length} ways`}</span>
        {data && !data.is_whole && <Cut text={data.traces >= TRACES_MAX || data.spans >= SPANS_MAX ? `only the newest traces${since(nodes.map((node) => ({ start_ns: node.first_ns })))}: shorten the time or narrow the filter for all` : "ways of more than 64 calls, or beyond 4000 ways, are not shown"} />}
        {isNew.size > 0 && <span class="badge new">{isNew.size} new</span>}
        {root >= 0 && <button type="button" onClick={() => setRoot(-1)}>All <kbd>Esc</kbd></button>}
        <span class="push" />
        <Notice error={error} isLoading={isLoading} />
      </div>
      <div class="icicle" style={{ height: `${Math.min(14, Math.max(4, depth)) * ROW + 4}px` }}>
        <div style={{ height: `${depth * ROW}px` }}>
          <Canvas
            draw={draw} label={`calling contexts: width is ${WIDTHS.find(([key]) => key === by)?.[1]}, depth is who calls whom`}
            onPointerMove={(event) => setHover(boxAt(event)?.place ?? -1)} onPointerLeave={() => setHover(-1)}
            onClick={(event) => setSelected(boxAt(event)?.place ?? -1)} onDblClick={(event) => setRoot(boxAt(event)?.place ?? -1)}
          />
        </div>
      </div>
      <div class="heat-note dim path-note">{shown ? way(nodes, shown).map((node) => `${node.service} ${node.name}`).join(" → ") : "a click chooses, a double click goes into a way; red below: errors; orange above: new since a while"}</div>
      <div class="main-list">
        <Ways nodes={nodes} selected={selected} isNew={isNew} sort={state.own.sort ?? (by === "critical_ns" ? "-critical" : "-time")} onOpen={(node) => setRoot(nodes.indexOf(node))} onSelect={(node) => setSelected(node ? nodes.indexOf(node) : -1)} />
      </div>
    </div>
  );
}

function way(nodes: Node[], node: Node): Node[] {
  const found = [node];
  for (let at = node.parent; at !== null; at = nodes[at]!.parent) found.unshift(nodes[at]!);
  return found;
}

/** Ways that nobody took in the first part of the time that is looked at. */
function newcomers(nodes: Node[]): Set<number> {
  if (nodes.length === 0) return new Set();
  const first = nodes.reduce((first, node) => (node.first_ns < first ? node.first_ns : first), nodes[0]!.first_ns);
  const last = nodes.reduce((last, node) => (node.last_ns > last ? node.last_ns : last), nodes[0]!.last_ns);
  const bound = between(first, last) * NEW_SHARE;
  return new Set(nodes.flatMap((node, place) => (between(first, node.first_ns) > bound && node.count > 1 ? [place] : [])));
}

/** The boxes: a node is as wide as its weight, and its children share what they have of it. */
function icicle(nodes: Node[], by: By, root: number): Box[] {
  const weight = nodes.map((node) => node[by]);
  const children = new Map<number, number[]>();
  // A node comes after its parent: from the end on, each is complete before it is added.
  for (let at = nodes.length - 1; at >= 0; at--) {
    const parent = nodes[at]!.parent ?? -1;
    if (by === "critical_ns" && parent >= 0) weight[parent]! += weight[at]!;
    (children.get(parent) ?? children.set(parent, []).get(parent)!).unshift(at);
  }
  const boxes: Box[] = [];
  const waiting: [number[], number, number, number, number][] = [];
  const tops = root >= 0 ? [root] : (children.get(-1) ?? []);
  waiting.push([tops, 0, 0, 1, tops.reduce((sum, at) => sum + weight[at]!, 0)]);
  while (waiting.length > 0) {
    const [places, depth, from, to, whole] = waiting.pop()!;
    const sum = places.reduce((sum, at) => sum + weight[at]!, 0);
    let left = from;
    const room = (to - from) / Math.max(whole, sum, 1e-9);
    for (const place of [...places].sort((a, b) => weight[b]! - weight[a]!)) {
      const right = left + weight[place]! * room;
      boxes.push({ node: nodes[place]!, place, depth, weight: weight[place]!, from: left, to: right });
      if (right - left > 0.0003) waiting.push([children.get(place) ?? [], depth + 1, left, right, weight[place]!]);
      left = right;
    }
  }
  return boxes;
}

function Ways({ nodes, isNew, sort, onOpen, onSelect }: { nodes: Node[]; selected: number; isNew: Set<number>; sort: string; onOpen: (node: Node) => void; onSelect: (node: Node | undefined) => void }) {
  const columns = useMemo((): Column<Node>[] => {
    const critical = nodes.reduce((sum, node) => sum + node.critical_ns, 0);
    const depth = new Map<Node, number>();
    for (const node of nodes) depth.set(node, node.parent === null ? 0 : (depth.get(nodes[node.parent]!) ?? 0) + 1);
    const number = (key: string, label: string, of: (node: Node) => number, cell: (value: number) => string): Column<Node> => ({ key, label, width: "96px", isNumber: true, by: of, cell: (node) => cell(of(node)) });
    return [
      { key: "service", label: "service", width: "minmax(90px, 1fr)", by: (node) => node.service, cell: (node) => <Service name={node.service} /> },
      { key: "request", label: "request", width: "minmax(150px, 2fr)", by: (node) => node.name, title: (node) => way(nodes, node).map((one) => `${one.service} ${one.name}`).join(" → "), cell: (node) => <>{isNew.has(nodes.indexOf(node)) && <span class="badge new">new</span>} {node.name}</> },
      { key: "via", label: "by way of", width: "minmax(120px, 2fr)", by: (node) => way(nodes, node).map((one) => one.service).join(" "), cell: (node) => <span class="dim">{way(nodes, node).slice(0, -1).map((one) => one.service).join(" → ") || "–"}</span> },
      number("count", "count", (node) => node.count, count),
      { ...number("errors", "errors", (node) => node.errors / node.count, share), cell: (node) => <span class={node.errors ? "bad" : "dim"}>{share(node.errors / node.count)}</span> },
      number("time", "time", (node) => node.sum_ns, duration),
      number("mean", "mean", (node) => node.sum_ns / node.count, duration),
      number("self", "own", (node) => node.self_ns, duration),
      number("network", "network", (node) => node.network_ns, duration),
      { key: "critical", label: "on the critical path", width: "minmax(120px, 1fr)", by: (node) => node.critical_ns, cell: (node) => <span class="share critical"><i style={{ width: `${(node.critical_ns / (critical || 1)) * 100}%` }} /><span>{share(node.critical_ns / (critical || 1))}</span></span> },
      { key: "first", label: "first", width: "76px", by: (node) => node.first_ns, cell: (node) => <span class="dim">{clock(millis(node.first_ns), false)}</span> },
    ];
  }, [nodes, isNew]);
  return (
    <Table
      label="ways" columns={columns} rows={nodes} id={(node) => String(nodes.indexOf(node))} sort={sort} onSort={(sort) => own({ sort })} onSelect={onSelect} tone={(node) => (node.errors > node.count / 20 ? "bad" : "")}
      onOpen={onOpen} empty={<><b>No traces that fit</b><p>Ask for a longer time or fewer rules.</p></>}
    />
  );
}
