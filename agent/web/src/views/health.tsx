// Health: what the agent sees and what it does not see, what it lost and why, and what it costs.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useData } from "../api";
import { bytes, count, digits, duration, share } from "../model/format";
import { Notice, Panel, Service } from "../ui/bits";
import { type Column, Table } from "../ui/table";

interface HealthData {
  version: string;
  account: { events: { attempted: number; delivered: number; lost: number; waiting: number; adds_up: boolean }; counters: Record<string, Record<string, number>> };
  store: Record<string, number> | null;
  sinks: { name: string; offered: number; dropped_full: number; dropped_closed: number }[];
  own: { cpu_ms: number; up_ms: number | null; memory_bytes: number | null; threads: number | null; pid: number };
}

interface Hook {
  program: string;
  target: string;
  state: string;
  reason: string | null;
}

interface Seen {
  pid: number;
  service: string;
  command: string;
  container: string | null;
  sockets: number;
  listens: number[];
  tls: { path: string; library: string | null; attached: number; reason: string | null }[];
  not_seen: string[];
}

interface Links {
  pid: number;
  calls: { spans: number; linked: Record<string, number>; roots: number; reasons: Record<string, number> };
}

/** Why calls have no parent, as `/v1/links` has it. */
const REASONS: Record<string, string> = {
  no_request: "no request was open", outlived: "it went on after its request was answered", destination: "called without requests, too", incomplete: "not answered as a whole",
  learning: "the program is not known yet", crowded: "too many requests were open", work: "too much to infer", unsure: "no request is sure enough", lost: "events were lost",
  contradicted: "evidence contradicts itself", late: "decided before all was known",
};

interface DoctorData {
  kernel: { release: string; machine: string; lockdown: string | null; btf: boolean; kprobes: boolean; preemption: string; host_pid_namespace: boolean; missing_capabilities: string[] };
  capture: { family?: string; fallbacks?: { family: string; reason: string }[]; hooks?: Hook[]; error?: string };
  processes: Seen[];
}

const POLL_MS = 1000;
/** Counters that tell of something that was lost or left alone, by the beginnings and parts of their names. */
const LOSS = /lost|full|dropped|missed|fault|cut|untied|unread|undecodable|refused|failed|given_up|unsolved|crowded|damaged|unknown|malformed|expired|late/;

export function Health({ round }: { round: number }) {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTick((before) => before + 1), POLL_MS);
    return () => clearInterval(timer);
  }, []);
  const health = useData<HealthData>("/v1/health", tick);
  const doctor = useData<DoctorData>("/v1/doctor", round);
  const links = useData<{ processes: Links[] }>("/v1/links", tick);
  const cpu = useCpu(health.data);
  const { data } = health;
  const seen = doctor.data;
  const events = data?.account.events;
  const lost = events ? events.lost / Math.max(1, events.attempted) : 0;
  const blind = seen?.processes.filter((process) => process.not_seen.length > 0) ?? [];
  return (
    <div class="view health">
      <div class="tiles">
        <Tile name="events lost" value={events ? share(lost) : "–"} tone={lost > 0 ? "bad" : "good"} note={events ? `${count(events.lost)} of ${count(events.attempted)}${events.adds_up ? ", the account adds up" : ", the account does NOT add up"}` : ""} />
        <Tile name="processes not wholly seen" value={seen ? String(blind.length) : "–"} tone={blind.length ? "warn" : "good"} note={seen ? `of ${seen.processes.length} with sockets` : ""} />
        <Tile name="own CPU" value={cpu === null ? "–" : `${digits(cpu * 100)} %`} note="of one core, the kernel's part not counted" />
        <Tile name="own memory" value={data?.own.memory_bytes ? bytes(data.own.memory_bytes) : "–"} note={data ? `${data.own.threads ?? "?"} threads, pid ${data.own.pid}` : ""} />
        <Tile name="stored" value={data?.store ? count(data.store.stored ?? 0) : "none"} note={data?.store ? `spans since the start, ${bytes(data.store.bytes ?? 0)} on disk` : "the agent keeps none"} />
        <Tile name="runs since" value={data?.own.up_ms ? duration(data.own.up_ms * 1e6) : "–"} note={data ? `netspan ${data.version}` : ""} />
      </div>
      <Notice error={health.error || doctor.error} />
      <div class="columns">
        <Panel title="What is seen" aside={<span class="dim">{seen && (seen.capture.error ?? `family ${seen.capture.family} on Linux ${seen.kernel.release}, ${seen.kernel.machine}`)}</span>}>
          {seen && <Host doctor={seen} />}
        </Panel>
        <Panel title="Losses and what was left alone, by reason">{data && <Losses data={data} />}</Panel>
      </div>
      <Panel title="Processes: what of them is not seen, and how many of their calls are linked" class="processes-panel"><Processes processes={seen?.processes ?? []} links={links.data?.processes ?? []} isLoading={doctor.isLoading} /></Panel>
    </div>
  );
}

const Tile = ({ name, value, note, tone = "" }: { name: string; value: string; note: string; tone?: string }) => (
  <div class="tile"><h3>{name}</h3><b class={tone}>{value}</b><span class="dim">{note}</span></div>
);

/** The share of a core that was used between two answers. */
function useCpu(data: HealthData | undefined): number | null {
  const before = useRef<HealthData["own"] | undefined>(undefined);
  const [cpu, setCpu] = useState<number | null>(null);
  useEffect(() => {
    if (!data) return;
    const last = before.current;
    const { cpu_ms, up_ms } = data.own;
    if (last?.up_ms && up_ms && up_ms > last.up_ms) setCpu((cpu_ms - last.cpu_ms) / (up_ms - last.up_ms));
    else if (up_ms) setCpu(cpu_ms / up_ms);
    before.current = data.own;
  }, [data]);
  return cpu;
}

function Host({ doctor: { kernel, capture } }: { doctor: DoctorData }) {
  const hooks = capture.hooks ?? [];
  const attached = hooks.filter((hook) => hook.state === "attached").length;
  const rest = hooks.filter((hook) => hook.state !== "attached");
  return (
    <>
      <dl class="rows">
        <div><dt>hooks</dt><dd class={attached ? "good" : "bad"}>{attached} attached of {hooks.length}</dd></div>
        <div><dt>capabilities</dt><dd class={kernel.missing_capabilities.length ? "bad" : "good"}>{kernel.missing_capabilities.length ? `missing: ${kernel.missing_capabilities.join(", ")}` : "all that are needed"}</dd></div>
        <div><dt>lockdown</dt><dd>{kernel.lockdown ?? "not told"}</dd></div>
        <div><dt>BTF, kprobes</dt><dd>{kernel.btf ? "yes" : "no"}, {kernel.kprobes ? "yes" : "no"}</dd></div>
        {!kernel.host_pid_namespace && <div><dt>processes</dt><dd class="bad">this is not the host's pid namespace: processes can't be named</dd></div>}
        {(capture.fallbacks ?? []).map(({ family, reason }) => <div key={family}><dt>family {family}</dt><dd class="warn">does not run: {reason}</dd></div>)}
      </dl>
      {rest.length > 0 && (
        <details>
          <summary>{rest.length} hooks are not attached</summary>
          <dl class="rows">{rest.map((hook) => <div key={hook.program + hook.target}><dt>{hook.target}</dt><dd>{hook.state}{hook.reason && `: ${hook.reason}`}</dd></div>)}</dl>
        </details>
      )}
    </>
  );
}

function Losses({ data }: { data: HealthData }) {
  const all: [string, number][] = Object.entries(data.account.counters).flatMap(([stage, counters]) => Object.entries(counters).map(([name, value]) => [`${stage}.${name}`, value] as [string, number]));
  for (const sink of data.sinks) all.push([`sink.${sink.name}.dropped_full`, sink.dropped_full], [`sink.${sink.name}.dropped_closed`, sink.dropped_closed]);
  for (const [name, value] of Object.entries(data.store ?? {})) all.push([`store.${name}`, value]);
  const losses = all.filter(([name]) => LOSS.test(name.slice(name.indexOf(".") + 1)));
  const happened = losses.filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
  return (
    <>
      <dl class="rows">
        {happened.length === 0 && <div><dd class="good">nothing was lost, for none of {losses.length} reasons that are counted</dd></div>}
        {happened.map(([name, value]) => <div key={name}><dt class="mono">{name}</dt><dd class="warn">{count(value)}</dd></div>)}
      </dl>
      <details>
        <summary>all {all.length} counters</summary>
        <dl class="rows">{all.map(([name, value]) => <div key={name}><dt class="mono">{name}</dt><dd class={value ? "" : "dim"}>{count(value)}</dd></div>)}</dl>
      </details>
    </>
  );
}

const columns: Column<Seen>[] = [
  { key: "pid", label: "pid", width: "76px", isNumber: true, by: (one) => one.pid, cell: (one) => one.pid },
  { key: "service", label: "service", width: "minmax(110px, 1fr)", by: (one) => one.service, cell: (one) => <Service name={one.service} /> },
  { key: "command", label: "command", width: "minmax(90px, 1fr)", by: (one) => one.command, cell: (one) => one.command },
  { key: "sockets", label: "sockets", width: "80px", isNumber: true, by: (one) => one.sockets, cell: (one) => one.sockets },
  { key: "listens", label: "listens on", width: "minmax(90px, 1fr)", by: (one) => one.listens[0] ?? 0, cell: (one) => one.listens.join(", ") || <span class="dim">–</span> },
  {
    key: "tls", label: "TLS", width: "minmax(110px, 1.5fr)", by: (one) => one.tls.length, title: (one) => one.tls.map((tls) => `${tls.path}: ${tls.reason ?? `${tls.attached} places`}`).join("\n"),
    cell: (one) => one.tls.map((tls) => <span key={tls.path} class={`badge ${tls.reason ? "incomplete" : "exact"}`}>{tls.library ?? "unknown"}{tls.reason ? "" : ` ${tls.attached}`}</span>),
  },
  { key: "blind", label: "not seen, and why", width: "minmax(200px, 4fr)", by: (one) => one.not_seen.length, title: (one) => one.not_seen.join("\n"), cell: (one) => <span class={one.not_seen.length ? "warn" : "dim"}>{one.not_seen.join("; ") || "all is seen"}</span> },
];

/** Calls that have a parent, and why the others have none. */
function linkColumn(links: Links[]): Column<Seen> {
  const known = new Map(links.map((one) => [one.pid, one.calls]));
  const part = (one: Seen) => {
    const calls = known.get(one.pid);
    return calls?.spans ? 1 - calls.roots / calls.spans : -1;
  };
  const listed = (counts: Record<string, number>, name: (key: string) => string) => Object.entries(counts).filter(([, value]) => value > 0).map(([key, value]) => `${name(key)}: ${count(value)}`);
  return {
    key: "links", label: "calls linked", width: "minmax(150px, 2.5fr)", by: part,
    title: (one) => {
      const calls = known.get(one.pid);
      return calls ? [...listed(calls.linked, (key) => key), ...listed(calls.reasons, (key) => `without a parent, ${REASONS[key] ?? key}`)].join("\n") : "no calls";
    },
    cell: (one) => {
      const calls = known.get(one.pid);
      if (!calls?.spans) return <span class="dim">no calls</span>;
      const [why] = Object.entries(calls.reasons).sort((a, b) => b[1] - a[1])[0] ?? [""];
      return <>{share(part(one))} <span class="dim">of {count(calls.spans)}{calls.roots > 0 && `, else ${REASONS[why] ?? why}`}</span></>;
    },
  };
}

function Processes({ processes, links, isLoading }: { processes: Seen[]; links: Links[]; isLoading: boolean }) {
  const [sort, setSort] = useState("-blind");
  const all = useMemo(() => [...columns.slice(0, -1), linkColumn(links), columns.at(-1)!], [links]);
  return <Table label="processes" columns={all} rows={processes} id={(one) => String(one.pid)} sort={sort} onSort={setSort} onOpen={() => {}} tone={(one) => (one.not_seen.length ? "warn" : "")} empty={isLoading ? "the processes are being looked at" : "no process with sockets that the filters let pass"} />;
}
