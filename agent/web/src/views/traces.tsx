// The newest traces that fit the filter.
import { useData } from "../api";
import { clock, duration, since } from "../model/format";
import { millis, pathWithin } from "../model/span";
import { go, own, query, type State } from "../state";
import { Asked, Cut, Notice, Service } from "../ui/bits";
import { type Column, Table } from "../ui/table";

interface Summary {
  trace_id: string;
  service: string;
  name: string;
  path: string | null;
  start_ns: string;
  duration_ns: number;
  spans: number;
  errors: number;
  services: string[];
}

/** A root's method and path, where it has both; else its name. The route is in the title. */
function asked({ name, path }: Summary): [string, string] {
  const [method] = /^[A-Z]+(?= |$)/.exec(name) ?? [];
  return method && path ? [method, pathWithin(path)] : [name, ""];
}

const columns: Column<Summary>[] = [
  { key: "time", label: "time", width: "104px", by: (one) => one.start_ns, cell: (one) => <span class="mono dim">{clock(millis(one.start_ns))}</span> },
  { key: "service", label: "service", width: "minmax(90px, 1fr)", by: (one) => one.service, cell: (one) => <Service name={one.service} /> },
  { key: "request", label: "request", width: "minmax(160px, 3fr)", by: (one) => one.path ?? one.name, title: (one) => `${one.name} ${one.path ?? ""}`, cell: (one) => <Asked of={asked(one)} /> },
  { key: "duration", label: "duration", width: "90px", isNumber: true, by: (one) => one.duration_ns, cell: (one) => duration(one.duration_ns) },
  { key: "spans", label: "spans", width: "74px", isNumber: true, by: (one) => one.spans, cell: (one) => one.spans },
  { key: "errors", label: "errors", width: "74px", isNumber: true, by: (one) => one.errors, cell: (one) => <span class={one.errors ? "bad" : "dim"}>{one.errors}</span> },
  { key: "services", label: "services", width: "minmax(120px, 2fr)", by: (one) => one.services.length, title: (one) => one.services.join(", "), cell: (one) => <span class="dim">{one.services.join(", ")}</span> },
];

export function Traces({ state, round }: { state: State; round: number }) {
  const { data, error, isLoading } = useData<{ has_more: boolean; traces: Summary[] }>(`/v1/traces?${query(state, { limit: "200" })}`, round);
  return (
    <div class="view traces">
      <div class="bar">
        <span class="dim">{data ? `${data.traces.length} traces with a span that fits · Enter opens` : ""}</span>
        {data?.has_more && <Cut text={`only the newest${since(data.traces)}: sorting is among these; narrow the filter or the time for others`} />}
        <Notice error={error} isLoading={isLoading} />
      </div>
      <div class="main-list">
        <Table
          label="traces" columns={columns} rows={data?.traces ?? []} id={(one) => one.trace_id} sort={state.own.sort ?? ""} onSort={(sort) => own({ sort })}
          onOpen={(one) => go({ id: one.trace_id, own: {} })} tone={(one) => (one.errors ? "bad" : "")}
          empty={isLoading ? "" : <><b>No trace is stored that fits</b><p>Ask for a longer time or fewer rules.</p></>}
        />
      </div>
    </div>
  );
}
