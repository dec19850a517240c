// Durations over time as a heat map, which is also the filter: a region that is drawn on it is what is asked for.
import { useCallback, useMemo, useState } from "preact/hooks";
import { themed } from "../model/color";
import { clock, count, duration, share, word } from "../model/format";
import { millis, type Span, durationNs } from "../model/span";
import { color } from "../model/color";
import { current, go } from "../state";
import { Canvas, FONT, at } from "../ui/canvas";

export interface Figures {
  name: string;
  count: number;
  rate: number;
  errors: number;
  error_share: number;
  bytes: number;
  mean_ns: number;
  p50_ns: number | null;
  p75_ns: number | null;
  p90_ns: number | null;
  p99_ns: number | null;
  p999_ns: number | null;
}

export interface HeatData {
  from_ns: string;
  to_ns: string;
  rows_ns: number[];
  /** Count, errors, p50, p99. */
  columns: [number, number, number | null, number | null][];
  /** Column, row, count, errors. */
  cells: [number, number, number, number][];
  total: Figures;
}

const LEFT = 58;
const BOTTOM = 20;
const SIDE = 190;
/** Fewer spans than this are drawn one by one. */
export const POINTS_MAX = 1000;

interface Region {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export function Heat({ data, spans, onPoint }: { data: HeatData; spans: Span[]; onPoint: (span: Span) => void }) {
  const [region, setRegion] = useState<Region>();
  const [pointer, setPointer] = useState<[number, number]>();
  const scale = useMemo(() => scaleOf(data), [data]);
  const isScatter = data.total.count <= POINTS_MAX && spans.length >= Math.min(data.total.count, 1);

  const draw = useCallback(
    (context: CanvasRenderingContext2D, width: number, height: number) => {
      const right = width - SIDE;
      const x = (column: number) => LEFT + (column / data.columns.length) * (right - LEFT);
      const y = (row: number) => height - BOTTOM - ((row - scale.low) / (scale.high - scale.low)) * (height - BOTTOM - 4);
      axes(context, data, scale, { width, height, right, y });
      const most = Math.max(1, ...data.cells.map((cell) => cell[2]));
      const [ink, bad] = [themed("heat"), themed("bad")];
      if (isScatter) {
        for (const span of spans) {
          const [px, py] = place(span, data, scale, right, height);
          context.fillStyle = span.status === "ERROR" ? bad : color(span.service, 0.85);
          context.beginPath();
          context.arc(px, py, span.status === "ERROR" ? 3.5 : 2.6, 0, 7);
          context.fill();
        }
      } else {
        for (const [column, row, n, errors] of data.cells) {
          const [left, top] = [x(column), y(row + 1)];
          context.globalAlpha = 0.12 + 0.88 * (Math.log(n + 1) / Math.log(most + 1));
          context.fillStyle = ink;
          context.fillRect(left, top, Math.max(1, x(column + 1) - left - 0.5), Math.max(1, y(row) - top - 0.5));
          if (errors > 0) {
            context.globalAlpha = 0.35 + 0.65 * (errors / n);
            context.fillStyle = bad;
            const h = Math.max(2, (y(row) - top) * Math.min(1, errors / n));
            context.fillRect(left, y(row) - h, Math.max(1, x(column + 1) - left - 0.5), h);
          }
        }
        context.globalAlpha = 1;
      }
      // Of a handful of spans in a column the percentiles tell nothing that the points do not.
      for (const [which, name] of isScatter ? [] : ([[2, "p50"], [3, "p99"]] as const)) {
        context.strokeStyle = themed(name);
        context.lineWidth = 1.5;
        context.beginPath();
        let isOn = false;
        data.columns.forEach((column, at) => {
          const ns = column[which];
          // Where nothing was, no line tells of it.
          if (ns === null || column[0] === 0) return void (isOn = false);
          const middle = (x(at) + x(at + 1)) / 2;
          if (isOn) context.lineTo(middle, y(scale.row(ns)));
          else context.moveTo(middle - 1, y(scale.row(ns)));
          context.lineTo(middle, y(scale.row(ns)));
          isOn = true;
        });
        context.stroke();
        context.lineWidth = 1;
      }
      side(context, data, { right, width, y });
      if (region) {
        context.fillStyle = themed("select");
        context.strokeStyle = themed("accent");
        const box = [Math.min(region.x0, region.x1), Math.min(region.y0, region.y1), Math.abs(region.x1 - region.x0), Math.abs(region.y1 - region.y0)] as const;
        context.fillRect(...box);
        context.strokeRect(...box);
      }
    },
    [data, spans, scale, region, isScatter],
  );

  const down = (event: PointerEvent) => {
    const [x0, y0] = at(event);
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    setRegion({ x0, y0, x1: x0, y1: y0 });
  };
  const move = (event: PointerEvent) => {
    const [x1, y1] = at(event);
    setPointer([x1, y1]);
    if (region) setRegion({ ...region, x1, y1 });
  };
  const up = (event: PointerEvent) => {
    const element = event.currentTarget as HTMLElement;
    const [width, height] = [element.clientWidth, element.clientHeight];
    setRegion(undefined);
    if (!region) return;
    if (Math.abs(region.x1 - region.x0) < 4 && Math.abs(region.y1 - region.y0) < 4) {
      const near = isScatter ? spans.map((span) => ({ span, at: place(span, data, scale, width - SIDE, height) })).filter(({ at: [x, y] }) => Math.hypot(x - region.x0, y - region.y0) < 8) : [];
      if (near[0]) onPoint(near[0].span);
      return;
    }
    choose(region, data, scale, width - SIDE, height);
  };
  const hover = pointer && !region ? cellAt(pointer, data, scale) : undefined;
  return (
    <div class="heat">
      <Canvas draw={draw} label={described(data)} onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerLeave={() => setPointer(undefined)} />
      <div class="heat-note dim">{hover ?? `${count(data.total.count)} spans${isScatter ? ", a point each" : ""} · drag to select a region`}</div>
    </div>
  );
}

/** What the picture shows, for those who don't see it. */
const described = ({ total }: HeatData): string =>
  `durations of ${total.count} spans over time, ${share(total.error_share)} errors: p50 ${duration(total.p50_ns)}, p75 ${duration(total.p75_ns)}, p99 ${duration(total.p99_ns)}, p99.9 ${duration(total.p999_ns)}; draw a region to ask for it`;

interface Scale {
  low: number;
  high: number;
  /** The place of a duration, in rows. */
  row: (ns: number) => number;
  ns: (row: number) => number;
}

function scaleOf(data: HeatData): Scale {
  const used = data.cells.map((cell) => cell[1]);
  const low = Math.max(0, Math.min(24, ...used) - 1);
  const high = Math.min(data.rows_ns.length - 1, Math.max(32, ...used) + 2);
  return { low, high, row: (ns) => Math.max(low, Math.log10(Math.max(1, ns) / 1000) * 8), ns: (row) => 1000 * 10 ** (row / 8) };
}

function place(span: Span, data: HeatData, scale: Scale, right: number, height: number): [number, number] {
  const [from, to] = [millis(data.from_ns), millis(data.to_ns)];
  const x = LEFT + ((millis(span.start_ns) - from) / (to - from)) * (right - LEFT);
  return [x, height - BOTTOM - ((scale.row(durationNs(span)) - scale.low) / (scale.high - scale.low)) * (height - BOTTOM - 4)];
}

function choose(region: Region, data: HeatData, scale: Scale, right: number, height: number) {
  const clamp = (share: number) => Math.max(0, Math.min(1, share));
  const across = (x: number) => clamp((x - LEFT) / (right - LEFT));
  const row = (y: number) => scale.low + clamp((height - BOTTOM - y) / (height - BOTTOM - 4)) * (scale.high - scale.low);
  const [from, width] = [BigInt(data.from_ns), Number(BigInt(data.to_ns) - BigInt(data.from_ns))];
  const moment = (x: number) => String(from + BigInt(Math.round(across(x) * width)));
  const [low, high] = [row(Math.max(region.y0, region.y1)), row(Math.min(region.y0, region.y1))];
  const rules = current().rules.filter(([word]) => word !== "duration" && word !== "max_duration");
  if (low > scale.low + 0.2) rules.push(["duration", word(scale.ns(low))]);
  if (high < scale.high - 0.2) rules.push(["max_duration", word(scale.ns(high))]);
  go({ rules, time: { from: moment(Math.min(region.x0, region.x1)), to: moment(Math.max(region.x0, region.x1)) } });
}

function cellAt([x, y]: [number, number], data: HeatData, scale: Scale): string | undefined {
  const canvas = document.querySelector<HTMLCanvasElement>(".heat canvas");
  if (!canvas) return undefined;
  const right = canvas.clientWidth - SIDE;
  const column = Math.floor(((x - LEFT) / (right - LEFT)) * data.columns.length);
  const figures = data.columns[column];
  if (!figures || x < LEFT) return undefined;
  const row = Math.floor(scale.low + ((canvas.clientHeight - BOTTOM - y) / (canvas.clientHeight - BOTTOM - 4)) * (scale.high - scale.low));
  const cell = data.cells.find(([c, r]) => c === column && r === row);
  const [from, to] = [millis(data.from_ns), millis(data.to_ns)];
  const begin = clock(from + (column / data.columns.length) * (to - from), false);
  return `${begin} · here ${cell?.[2] ?? 0} (${cell?.[3] ?? 0} errors) of about ${duration(scale.ns(row + 0.5))} · then ${count(figures[0])}, p50 ${duration(figures[2])}, p99 ${duration(figures[3])}`;
}

function axes(context: CanvasRenderingContext2D, data: HeatData, scale: Scale, { width, height, right, y }: { width: number; height: number; right: number; y: (row: number) => number }) {
  context.font = FONT;
  context.textBaseline = "middle";
  context.strokeStyle = themed("line");
  for (let decade = 0; decade < 9; decade++) {
    const row = decade * 8;
    if (row < scale.low || row > scale.high) continue;
    const line = Math.round(y(row)) + 0.5;
    context.beginPath();
    context.moveTo(LEFT, line);
    context.lineTo(width, line);
    context.stroke();
    context.fillStyle = themed("dim");
    context.fillText(duration(1000 * 10 ** decade), 6, line);
  }
  const [from, to] = [millis(data.from_ns), millis(data.to_ns)];
  const steps = Math.max(2, Math.floor((right - LEFT) / 110));
  context.textAlign = "center";
  for (let step = 0; step <= steps; step++) {
    const x = LEFT + (step / steps) * (right - LEFT);
    context.fillText(clock(from + (step / steps) * (to - from), to - from < 20_000), Math.min(right - 20, Math.max(LEFT + 22, x)), height - 8);
  }
  context.textAlign = "left";
}

/** The histogram of all durations, and the percentiles. */
function side(context: CanvasRenderingContext2D, data: HeatData, { right, width, y }: { right: number; width: number; y: (row: number) => number }) {
  const sums = new Map<number, [number, number]>();
  for (const [, row, n, errors] of data.cells) {
    const sum = sums.get(row) ?? [0, 0];
    sums.set(row, [sum[0] + n, sum[1] + errors]);
  }
  const most = Math.max(1, ...[...sums.values()].map(([n]) => n));
  const room = width - right - 108;
  for (const [row, [n, errors]] of sums) {
    const [top, h] = [y(row + 1), Math.max(1, y(row) - y(row + 1) - 1)];
    context.fillStyle = themed("heat");
    context.fillRect(right + 8, top, (n / most) * room, h);
    context.fillStyle = themed("bad");
    context.fillRect(right + 8, top, (errors / most) * room, h);
  }
  let lowest = Infinity;
  for (const [name, ns] of [["p99.9", data.total.p999_ns], ["p99", data.total.p99_ns], ["p75", data.total.p75_ns], ["p50", data.total.p50_ns]].reverse() as [string, number | null][]) {
    if (ns === null) continue;
    const line = y(Math.log10(Math.max(1, ns) / 1000) * 8);
    const label = Math.min(line, lowest - 13);
    lowest = label;
    context.fillStyle = themed(name === "p50" ? "p50" : name.startsWith("p99") ? "p99" : "dim");
    context.fillRect(right + 8, line, room + 6, 1);
    context.textAlign = "right";
    context.fillText(`${name} ${duration(ns)}`, width - 4, label);
    context.textAlign = "left";
  }
}
