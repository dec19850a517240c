// The waterfall: an overview of the whole trace, a ruler, and the rows in sight.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { color, themed } from "../model/color";
import { duration } from "../model/format";
import { parts, sureness, text, titleOf } from "../model/span";
import type { Node, Tree } from "../model/tree";
import { Incomplete, LinkBadge, Service } from "../ui/bits";
import { Canvas, FONT, at } from "../ui/canvas";
import { useView } from "../ui/view";

const ROW = 26;
const HEAD = 24;
/** Levels that are indented; deeper ones stand below each other. */
const INDENTED = 16;

interface Props {
  tree: Tree;
  rows: Node[];
  collapsed: Set<string>;
  zoom: [number, number];
  onZoom: (zoom: [number, number]) => void;
  selected: string;
  matches: Set<string>;
  withCritical: boolean;
  onSelect: (node: Node | undefined) => void;
  onToggle: (node: Node) => void;
}

export function Waterfall(props: Props) {
  const { tree, rows, zoom, onZoom, selected } = props;
  const body = useRef<HTMLDivElement>(null);
  const view = useView(body);
  useEffect(() => {
    const place = rows.findIndex((node) => node.span.span_id === selected);
    const element = body.current!;
    const top = place * ROW;
    if (place >= 0 && (top < element.scrollTop || top + ROW + HEAD > element.scrollTop + element.clientHeight)) element.scrollTop = top - element.clientHeight / 3;
  }, [selected, rows]);

  const wheel = useCallback(
    (event: WheelEvent) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      const bars = (event.currentTarget as HTMLElement).querySelector(".bars")?.getBoundingClientRect();
      if (!bars) return;
      const [from, to] = zoom;
      const size = to - from;
      if (event.shiftKey) {
        const by = Math.max(-from, Math.min(1 - to, ((event.deltaY || event.deltaX) / 600) * size));
        onZoom([from + by, to + by]);
        return;
      }
      const share = Math.max(0, Math.min(1, (event.clientX - bars.left) / bars.width));
      const next = Math.min(1, Math.max(1e-6, size * (event.deltaY > 0 ? 1.25 : 0.8)));
      const begin = Math.max(0, Math.min(1 - next, from + share * (size - next)));
      onZoom([begin, begin + next]);
    },
    [zoom, onZoom],
  );
  useEffect(() => {
    const element = body.current!;
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, [wheel]);

  const first = Math.max(0, Math.floor(view.top / ROW) - 6);
  const shown = rows.slice(first, first + Math.ceil(view.height / ROW) + 12);
  const [from, to] = [zoom[0] * tree.length, zoom[1] * tree.length];
  return (
    <div class="waterfall">
      <Overview tree={tree} rows={rows} zoom={zoom} onZoom={onZoom} />
      <div class="waterfall-body" ref={body} role="treegrid" aria-label="spans" aria-rowcount={rows.length} tabIndex={0}>
        <div class="ruler">
          <div class="names">service and request</div>
          <div class="ticks">
            {[0, 0.25, 0.5, 0.75, 1].map((share) => (
              <span key={share} style={{ left: `${share * 100}%` }}>{duration(from + share * (to - from))}</span>
            ))}
          </div>
        </div>
        <div class="waterfall-rows" style={{ height: `${rows.length * ROW}px` }}>
          {shown.map((node, slot) => (
            <Row key={node.span.span_id} node={node} top={(first + slot) * ROW} from={from} to={to} {...props} />
          ))}
        </div>
      </div>
    </div>
  );
}

/** By what a span is known to follow from the one that it hangs under. */
function howSure({ span, parent }: Node): string {
  const attributes = span.links.find((link) => link.span_id === parent?.span.span_id)?.attributes ?? {};
  const [method, confidence] = [attributes["netspan.link.method"], attributes["netspan.link.confidence"]];
  return method === undefined ? "" : `${text(method)} ${typeof confidence === "number" ? sureness(confidence) : ""}`;
}

interface RowProps extends Props {
  node: Node;
  top: number;
  from: number;
  to: number;
}

function Row({ node, top, from, to, collapsed, selected, matches, withCritical, onSelect, onToggle }: RowProps) {
  const { span } = node;
  const isClosed = collapsed.has(span.span_id);
  const x = (ns: number) => ((ns - from) / (to - from)) * 100;
  const clip = (ns: number) => Math.max(-1, Math.min(101, x(ns)));
  const [left, right] = [clip(node.start), clip(node.end)];
  const tone = `${span.status === "ERROR" ? "bad" : ""} ${matches.has(span.span_id) ? "match" : ""} ${span.incomplete ? "is-incomplete" : ""}`;
  const all = parts(span).filter((part) => part.ns > 0);
  const sum = all.reduce((sum, part) => sum + part.ns, 0);
  const isLate = left > 70;
  return (
    <div
      class={`wrow ${tone}`} role="row" aria-level={node.depth + 1} aria-expanded={node.children.length ? !isClosed : undefined} aria-selected={selected === span.span_id}
      style={{ transform: `translateY(${top}px)` }} onClick={() => onSelect(node)} onDblClick={() => onToggle(node)}
    >
      <div class="names" role="gridcell">
        <span class="indent" style={{ width: `${Math.min(node.depth, INDENTED) * 14}px` }} />
        {node.children.length > 0 ? (
          <button type="button" class="fold" aria-label={isClosed ? "expand" : "collapse"} onClick={(event) => (event.stopPropagation(), onToggle(node))}>
            {isClosed ? "▸" : "▾"}
          </button>
        ) : (
          <span class="fold" />
        )}
        <Service name={span.service} />
        <span class="title" title={titleOf(span)}>{titleOf(span)}</span>
        {isClosed && <span class={`badge ${node.errorsBelow ? "bad" : ""}`}>+{node.below}</span>}
        {node.isFollowing && <span class="badge follows" title="FollowsFrom: it was triggered by the span above, which does not wait for it">{`FollowsFrom ${howSure(node)}`.trim()}</span>}
        {!node.isFollowing && span.links.length > 0 && <span class="badge follows" title="it has links to spans that are not its parent">{span.links.length} link{span.links.length > 1 ? "s" : ""}</span>}
        <LinkBadge span={span} />
        <Incomplete reason={span.incomplete} />
      </div>
      <div class="bars" role="gridcell">
        {right >= 0 && left <= 100 && (
          <span class={`wbar ${span.kind.toLowerCase()} ${node.isFollowing ? "following" : ""}`} style={{ left: `${left}%`, width: `${Math.max(0, right - left)}%`, background: color(span.service, span.kind === "SERVER" ? 0.95 : 0.45), borderColor: color(span.service) }}>
            {sum > 0 && (
              <span class="wparts">
                {all.map((part) => <i key={part.key} class={`part-${part.key}`} style={{ width: `${(part.ns / Math.max(sum, node.end - node.start)) * 100}%` }} />)}
              </span>
            )}
          </span>
        )}
        {withCritical && node.critical.map(([begin, end]) => {
          const [l, r] = [clip(begin), clip(end)];
          return r > 0 && l < 100 && <span key={begin} class="wcritical" style={{ left: `${l}%`, width: `${Math.max(0.05, r - l)}%` }} />;
        })}
        <span class={`wtime ${isLate || right > 92 ? "over" : ""}`} style={isLate ? { right: `${100 - Math.min(100, left)}%` } : { left: `${Math.max(0, Math.min(right, 92))}%` }}>{duration(node.end - node.start)}</span>
      </div>
    </div>
  );
}

/** The whole trace in small; a region that is drawn on it is zoomed to. */
function Overview({ tree, rows, zoom, onZoom }: Pick<Props, "tree" | "rows" | "zoom" | "onZoom">) {
  const [drag, setDrag] = useState<[number, number]>();
  const draw = useCallback(
    (context: CanvasRenderingContext2D, width: number, height: number) => {
      const step = Math.min(4, (height - 4) / Math.max(1, rows.length));
      const bad = themed("bad");
      rows.forEach((node, place) => {
        context.fillStyle = node.span.status === "ERROR" ? bad : color(node.span.service, 0.8);
        const left = (node.start / tree.length) * width;
        context.fillRect(left, 2 + place * step, Math.max(1, (node.end / tree.length) * width - left), Math.max(1, step - 0.5));
      });
      context.fillStyle = themed("shade");
      const [from, to] = drag ? [Math.min(...drag), Math.max(...drag)] : zoom;
      context.fillRect(0, 0, from * width, height);
      context.fillRect(to * width, 0, width, height);
      context.fillStyle = themed("dim");
      context.font = FONT;
      context.textAlign = "right";
      context.fillText(duration(tree.length), width - 4, height - 5);
      context.textAlign = "left";
    },
    [tree, rows, zoom, drag],
  );
  const share = (event: PointerEvent) => Math.max(0, Math.min(1, at(event)[0] / (event.currentTarget as HTMLElement).clientWidth));
  return (
    <Canvas
      class="overview" draw={draw} label="overview of the trace; draw a region to zoom to it"
      onPointerDown={(event) => {
        (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
        setDrag([share(event), share(event)]);
      }}
      onPointerMove={(event) => drag && setDrag([drag[0], share(event)])}
      onPointerUp={() => {
        if (drag) onZoom(Math.abs(drag[0] - drag[1]) > 0.003 ? [Math.min(...drag), Math.max(...drag)] : [0, 1]);
        setDrag(undefined);
      }}
      onDblClick={() => onZoom([0, 1])}
    />
  );
}
