// Compare: two times, or two filters: what changed, and by how much.
import { useMemo, useState } from "preact/hooks";
import { useData } from "../api";
import { clock, count, duration, rate, share } from "../model/format";
import { millis } from "../model/span";
import { own, query, type State } from "../state";
import { Choice, Cut, Notice } from "../ui/bits";
import { type Column, Table } from "../ui/table";
import { understand } from "../ui/filter";
import { type Edge, merged } from "./flow";
import type { Figures, HeatData } from "./heat";
import { GROUPS_MAX, isCut, narrow } from "./search";

const BY = [["service", "services"], ["path", "routes"], ["edge", "edges"], ["process", "processes"], ["peer", "peers"]] as const;
type Side = Pick<Figures, "count" | "rate" | "error_share" | "p50_ns" | "p99_ns" | "mean_ns">;

/** Of one side: groups, or edges, which may be those of the newest spans only. */
interface Answer {
  seconds: number;
  is_whole?: boolean;
  groups?: Figures[];
  edges?: Edge[];
}

interface Change {
  name: string;
  a: Side | undefined;
  b: Side | undefined;
  /** How much more time per second is spent: what the change costs. */
  cost: number;
}

const signed = (value: number, places: number): string => {
  const text = Math.abs(value).toFixed(places);
  return Number(text) === 0 ? text : `${value > 0 ? "+" : "−"}${text}`;
};

/** Shares of the time that is looked at. */
type Window = readonly [number, number];

const windowOf = (text: string | undefined, fallback: Window): Window => {
  const [from, to] = (text ?? "").split("-").map(Number);
  return from !== undefined && to !== undefined && from >= 0 && to > from && to <= 1 ? [from, to] : fallback;
};
export const windows = (own: State["own"]): { a: Window; b: Window } => ({ a: windowOf(own.a, [0, 0.5]), b: windowOf(own.b, [0.5, 1]) });
const written = ([from, to]: Window) => `${from.toFixed(3)}-${to.toFixed(3)}`;

/** What was typed for one side, as rules; what is none is left out, and said where it is typed. */
const rulesOf = (typed: string | undefined) => (typed ?? "").split(/\s+/).filter(Boolean).map(understand).filter((rule) => rule !== null);

/** Both sides' questions: two times, the halves unless others were chosen; or one time with further rules on either side. */
function sides(state: State, range: [bigint, bigint] | undefined): [string, string] | undefined {
  if (!range) return undefined;
  const [from, to] = range;
  const moment = (share: number) => from + BigInt(Math.round(Number(to - from) * share));
  const within = ([begin, end]: Window) => query({ ...state, time: { from: String(moment(begin)), to: String(moment(end)) } });
  if (state.own.mode === "filter") {
    const also = (side: string | undefined) => new URLSearchParams(rulesOf(side).map(([word, text]) => [word, text])).toString();
    const [a, b] = [also(state.own.rules_a), also(state.own.rules)];
    return [within([0, 1]) + (a && `&${a}`), within([0, 1]) + (b && `&${b}`)];
  }
  const { a, b } = windows(state.own);
  return [within(a), within(b)];
}

export function Compare({ state, round }: { state: State; round: number }) {
  const heat = useData<HeatData>(`/v1/heat?${query(state, { columns: "200" })}`, round);
  const range = useMemo((): [bigint, bigint] | undefined => heat.data && [BigInt(heat.data.from_ns), BigInt(heat.data.to_ns)], [heat.data]);
  const by = state.own.by ?? "service";
  const asked = sides(state, range);
  const path = (side: string) => (by === "edge" ? `/v1/map?${side}` : `/v1/stat?${side}&group-by=${by}&limit=${GROUPS_MAX}`);
  const a = useData<Answer>(asked ? path(asked[0]) : null, round);
  const b = useData<Answer>(asked ? path(asked[1]) : null, round);
  const changes = useMemo(() => (a.data && b.data ? compare(named(a.data), named(b.data)) : []), [a.data, b.data]);
  const mode = state.own.mode ?? "time";
  return (
    <div class="view compare">
      <div class="bar">
        <Choice label="what is compared" value={mode} options={[["time", "two times"], ["filter", "two filters"]] as const} onChange={(mode) => own({ mode })} />
        <Choice label="by what" value={by} options={BY} onChange={(by) => own({ by })} />
        {mode === "filter" && <Other side="A" name="rules_a" state={state} />}
        {mode === "filter" && <Other side="B" name="rules" state={state} />}
        {(isPart(a.data) || isPart(b.data)) && <Cut text="not all was looked at: shorten the time or narrow the filter for all" />}
        <span class="push" />
        <Notice error={heat.error || a.error || b.error} isLoading={a.isLoading || b.isLoading} />
      </div>
      {heat.data && mode === "time" && <Times heat={heat.data} own={state.own} />}
      <Summary changes={changes} />
      <div class="main-list"><Changes by={by} changes={changes} sort={state.own.sort ?? "-cost"} /></div>
    </div>
  );
}

/** The rules that only one side has. */
function Other({ side, name, state }: { side: string; name: string; state: State }) {
  const typed = state.own[name] ?? "";
  const isRefused = rulesOf(typed).length < typed.split(/\s+/).filter(Boolean).length;
  const take = (text: string) => own({ [name]: text.trim() });
  return (
    <label class="other">
      {side} has as well
      <input value={typed} placeholder={side === "A" ? "nothing more" : "service=shop status=5xx"} aria-label={`rules of ${side}`} aria-invalid={isRefused} title={isRefused ? "not all of it are rules: give word=value" : "rules, separated by blanks"} onKeyDown={(event) => event.key === "Enter" && take(event.currentTarget.value)} onBlur={(event) => take(event.currentTarget.value)} />
    </label>
  );
}

/** The p99 over time, and both times on it: A is drawn in the upper half, B in the lower; a click divides the whole. */
function Times({ heat, own: chosen }: { heat: HeatData; own: State["own"] }) {
  const [drag, setDrag] = useState<{ isA: boolean; from: number; to: number }>();
  const most = Math.max(1, ...heat.columns.map((column) => column[3] ?? 0));
  const busiest = Math.max(1, ...heat.columns.map((column) => column[0]));
  const [from, to] = [millis(heat.from_ns), millis(heat.to_ns)];
  const size = heat.columns.length;
  const drawn = drag && Math.abs(drag.to - drag.from) > 0.01 ? ([Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)] as const) : undefined;
  const kept = windows(chosen);
  const { a, b } = { a: drawn && drag!.isA ? drawn : kept.a, b: drawn && !drag!.isA ? drawn : kept.b };
  const divide = (at: number) => own({ a: written([0, at]), b: written([at, 1]) });
  const share = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  const time = ([begin, end]: Window) => `${clock(from + (to - from) * begin, false)} – ${clock(from + (to - from) * end, false)}`;
  const isIn = (column: number, [begin, end]: Window) => (column + 0.5) / size >= begin && (column + 0.5) / size < end;
  return (
    <div
      class="split-time" role="slider" tabIndex={0} aria-label="where the second time begins" aria-valuenow={Math.round(b[0] * 100)} aria-valuemin={1} aria-valuemax={99}
      title="click: before and after; drag above: A, drag below: B"
      onPointerDown={(event) => {
        const element = event.currentTarget as HTMLElement;
        element.setPointerCapture(event.pointerId);
        setDrag({ isA: event.clientY - element.getBoundingClientRect().top < element.clientHeight / 2, from: share(event), to: share(event) });
      }}
      onPointerMove={(event) => drag && setDrag({ ...drag, to: share(event) })}
      onPointerUp={(event) => {
        setDrag(undefined);
        if (drawn) own({ a: written(a), b: written(b) });
        else divide(Math.max(0.01, Math.min(0.99, share(event))));
      }}
      onKeyDown={(event) => {
        const by = { ArrowLeft: -0.01, ArrowRight: 0.01 }[event.key];
        if (!by) return;
        event.preventDefault();
        divide(Math.max(0.01, Math.min(0.99, b[0] + by)));
      }}
    >
      <svg viewBox={`0 0 ${size} 100`} preserveAspectRatio="none" aria-hidden="true">
        {heat.columns.map(([n], column) => <rect key={column} x={column} width="0.9" y={100 - Math.sqrt(n / busiest) * 50} height={Math.sqrt(n / busiest) * 50} class={isIn(column, b) ? "side-b" : isIn(column, a) ? "side-a" : "side-none"} />)}
        <path d={line(heat.columns.map(([n, , , p99]) => (n > 0 ? p99 : null)), most)} class="p99-line" />
      </svg>
      <i class="window-a" style={{ left: `${a[0] * 100}%`, width: `${(a[1] - a[0]) * 100}%` }} />
      <i class="window-b" style={{ left: `${b[0] * 100}%`, width: `${(b[1] - b[0]) * 100}%` }} />
      <span class="label-a">A {time(a)}</span>
      <span class="label-b">B {time(b)}</span>
      {most > 1 && <span class="label-p99">p99 up to {duration(most)}</span>}
    </div>
  );
}

/** A line through values, from 0 to `most`; where there is none, it is interrupted. */
function line(values: readonly (number | null)[], most: number): string {
  const y = (value: number) => (95 - (value / most) * 88).toFixed(1);
  return values.map((value, at) => (value === null ? "" : `${at > 0 && values[at - 1] !== null ? "L" : `M${at} ${y(value)}L`}${at + 0.5} ${y(value)}`)).join("");
}

const isPart = (answer: Answer | undefined) => answer?.is_whole === false || isCut(answer?.groups);

function named(data: Answer): Map<string, Side> {
  if (data.edges) return new Map(merged(data.edges).map((edge) => [`${edge.caller} → ${edge.callee}`, edge]));
  return new Map((data.groups ?? []).map((group) => [group.name, group]));
}

export function compare(a: Map<string, Side>, b: Map<string, Side>): Change[] {
  const load = (side: Side | undefined) => (side ? side.rate * side.mean_ns : 0);
  return [...new Set([...a.keys(), ...b.keys()])].map((name) => ({ name, a: a.get(name), b: b.get(name), cost: load(b.get(name)) - load(a.get(name)) }));
}

/** Changes that are said in words. */
const SAID_MAX = 5;
/** A tenth more of errors is as bad as 2.7 times the time. */
const ERROR_WEIGHT = 10;

/** What is worth saying first. */
function Summary({ changes }: { changes: Change[] }) {
  const lines: [tone: string, name: string, what: string, size: number][] = [];
  const usual = changes.filter(({ a, b }) => (a?.count ?? 0) + (b?.count ?? 0) >= 10);
  for (const { name, a, b } of usual) {
    if (!a) lines.push(["warn", name, `is new: ${rate(b!.rate)}`, 1]);
    else if (!b) lines.push(["warn", name, "is gone", 1]);
    else {
      const slower = (b.p50_ns ?? 0) / Math.max(1, a.p50_ns ?? 1);
      if (slower > 1.3) lines.push(["bad", name, `takes ${slower.toFixed(1)} times as long (p50 ${duration(a.p50_ns)} → ${duration(b.p50_ns)})`, Math.log(slower)]);
      else if (slower < 0.75) lines.push(["good", name, `is faster (p50 ${duration(a.p50_ns)} → ${duration(b.p50_ns)})`, -Math.log(slower)]);
      if (b.error_share - a.error_share > 0.005) lines.push(["bad", name, `fails more: ${share(a.error_share)} → ${share(b.error_share)}`, ERROR_WEIGHT * (b.error_share - a.error_share)]);
      else if (a.error_share - b.error_share > 0.005) lines.push(["good", name, `fails less: ${share(a.error_share)} → ${share(b.error_share)}`, ERROR_WEIGHT * (a.error_share - b.error_share)]);
    }
  }
  const order = ["bad", "warn", "good"];
  lines.sort((x, y) => order.indexOf(x[0]) - order.indexOf(y[0]) || y[3] - x[3]);
  return (
    <ul class="changes" aria-label="what changed">
      {lines.slice(0, SAID_MAX).map(([tone, name, what]) => <li key={name + what} class={tone} title={`${name} ${what}`}><b>{name}</b> {what}</li>)}
      {lines.length > SAID_MAX && <li class="dim">and {lines.length - SAID_MAX} more</li>}
      {lines.length === 0 && <li class="dim">{changes.length ? "nothing changed by much" : ""}</li>}
    </ul>
  );
}

function Changes({ by, changes, sort }: { by: string; changes: Change[]; sort: string }) {
  const columns = useMemo((): Column<Change>[] => {
    const pair = (key: string, label: string, of: (side: Side) => number | null, show: (value: number) => string, isRelative: boolean): Column<Change> => {
      const size = ({ a, b }: Change) => {
        const [x, y] = [a ? (of(a) ?? 0) : 0, b ? (of(b) ?? 0) : 0];
        return isRelative ? (x ? y / x - 1 : y ? Infinity : 0) : y - x;
      };
      return {
        key, label, width: "minmax(206px, 1.3fr)", isNumber: true, by: (change) => (Number.isFinite(size(change)) ? size(change) : 1e12),
        cell: (change) => {
          const by = size(change);
          const tone = !change.b ? "dim" : Math.abs(by) < (isRelative ? 0.1 : 0.002) ? "dim" : key === "rate" ? "" : by > 0 ? "bad" : "good";
          const percent = Math.round(by * 100);
          const text = !change.b ? "gone" : !Number.isFinite(by) ? "new" : isRelative ? `${signed(percent, 0)} %` : `${signed(by * 100, 1)} pt`;
          return <span class="pair"><span class="dim">{change.a ? show(of(change.a) ?? 0) : "–"} → </span>{change.b ? show(of(change.b) ?? 0) : "–"} <b class={tone}>{text}</b></span>;
        },
      };
    };
    return [
      { key: "name", label: by === "path" ? "route" : by, width: "minmax(160px, 2fr)", by: (change) => change.name, title: (change) => change.name, cell: (change) => <>{change.name} {!change.a && <span class="badge new">new</span>}{!change.b && <span class="badge">gone</span>}</> },
      pair("rate", "rate", (side) => side.rate, rate, true),
      pair("errors", "errors", (side) => side.error_share, share, false),
      pair("p50", "p50", (side) => side.p50_ns, duration, true),
      pair("p99", "p99", (side) => side.p99_ns, duration, true),
      { key: "cost", label: "more time per second", width: "130px", isNumber: true, by: (change) => change.cost, cell: (change) => <span class={Math.abs(change.cost) < 1e5 ? "dim" : change.cost > 0 ? "bad" : "good"}>{change.cost > 0 ? "+" : "−"}{duration(Math.abs(change.cost))}</span> },
      { key: "count", label: "spans", width: "90px", isNumber: true, by: (change) => (change.a?.count ?? 0) + (change.b?.count ?? 0), cell: (change) => <span class="dim">{count((change.a?.count ?? 0) + (change.b?.count ?? 0))}</span> },
    ];
  }, [by]);
  return <Table label="changes" columns={columns} rows={changes} id={(change) => change.name} sort={sort} onSort={(sort) => own({ sort })} onOpen={(change) => narrow(by, change.name)} empty={<><b>Nothing to compare</b><p>Ask for a longer time or fewer rules.</p></>} />;
}
