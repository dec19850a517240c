// Search: what is stored. Above, durations over time; below, the spans, or sums over them by what they have in common.
import { useMemo, useState } from "preact/hooks";
import { useData } from "../api";
import { bytes, count, duration, rate, share, since } from "../model/format";
import type { Span } from "../model/span";
import { addRule, own, query, show, type State, type Word } from "../state";
import { Choice, Cut, Notice } from "../ui/bits";
import { spanColumns } from "../ui/columns";
import { Details } from "../ui/details";
import { useKeys } from "../ui/keys";
import { Table, type Column } from "../ui/table";
import { type Figures, Heat, type HeatData, POINTS_MAX } from "./heat";

const BY = [["", "spans"], ["service", "services"], ["path", "routes"], ["process", "processes"], ["peer", "callers and callees"], ["status", "statuses"]] as const;

/** Groups that are asked for. */
export const GROUPS_MAX = 1000;
/** Whether there are groups that are not told apart. */
export const isCut = (groups: readonly { name: string }[] | undefined): boolean =>
  groups !== undefined && (groups.length >= GROUPS_MAX || groups.some(({ name }) => name === "(other)"));

export function Search({ state, round }: { state: State; round: number }) {
  const asked = query(state);
  const heat = useData<HeatData>(`/v1/heat?${query(state, { columns: "150" })}`, round);
  const spans = useData<{ has_more: boolean; spans: Span[] }>(`/v1/spans?${query(state, { limit: String(POINTS_MAX) })}`, round);
  const by = state.own.by ?? "";
  const groups = useData<{ seconds: number; groups: Figures[] }>(by ? `/v1/stat?${asked}&group-by=${by}&limit=${GROUPS_MAX}` : null, round);
  const [selected, setSelected] = useState<Span>();
  useKeys(selected ? { Escape: () => setSelected(undefined) } : {});
  const found = spans.data?.spans ?? [];
  const total = heat.data?.total;
  return (
    <div class={`view search ${selected ? "with-details" : ""}`}>
      <div class="heat-place">{heat.data && <Heat data={heat.data} spans={found} onPoint={setSelected} />}</div>
      <div class="bar">
        <Choice label="what the table shows" value={by} options={BY} onChange={(by) => own({ by, sort: "" })} />
        <span class="dim found" data-count={total?.count}>
          {total && `${count(total.count)} spans, ${rate(total.rate)}, ${share(total.error_share)} errors`}
        </span>
        {!by && spans.data?.has_more && <Cut text={`the newest ${count(found.length)} only${since(found)}, also when sorted: draw a region of the map for others`} />}
        {by && isCut(groups.data?.groups) && <Cut text={'there are more groups than are told apart: the rest is "(other)"'} />}
        <Notice error={heat.error || spans.error || groups.error} isLoading={heat.isLoading || spans.isLoading} />
      </div>
      <div class="main-list">
        {by ? (
          <Groups by={by} groups={groups.data?.groups ?? []} sort={state.own.sort ?? "-time"} />
        ) : (
          <Table
            label="spans" columns={spanColumns} rows={found} id={(span) => span.span_id} sort={state.own.sort ?? ""} onSort={(sort) => own({ sort })}
            onOpen={(span) => show("trace", { id: span.trace_id, own: { span: span.span_id } })} onSelect={setSelected}
            tone={(span) => (span.status === "ERROR" ? "bad" : "")}
            empty={spans.isLoading ? "" : <><b>Nothing is stored that fits</b><p>Ask for a longer time or fewer rules.</p></>}
          />
        )}
      </div>
      {selected && <Details span={selected} onClose={() => setSelected(undefined)} />}
    </div>
  );
}

const RULE: Record<string, Word> = { service: "service", peer: "peer", status: "status" };

/** Narrows the filter to a group. */
export function narrow(by: string, name: string) {
  // Spans that lack it, or what found no place among the groups.
  if (/^\((none|other)\)$/.test(name)) return;
  if (by === "edge") return addRule("service", name.slice(name.indexOf(" → ") + 3));
  if (by === "process") return addRule("pid", name.slice(name.lastIndexOf(":") + 1));
  if (by !== "path") return addRule(RULE[by]!, name);
  const path = name.slice(name.indexOf(" ") + 1);
  if (path.startsWith("/")) addRule("path", path.replace("/...", "/*"));
  else addRule("name", name);
}

function Groups({ by, groups, sort }: { by: string; groups: Figures[]; sort: string }) {
  const whole = groups.reduce((sum, group) => sum + group.count * group.mean_ns, 0);
  const columns = useMemo((): Column<Figures>[] => {
    const number = (key: string, label: string, of: (group: Figures) => number | null, cell: (value: number | null) => string): Column<Figures> => ({
      key, label, width: "92px", isNumber: true, by: (group) => of(group) ?? 0, cell: (group) => cell(of(group)),
    });
    return [
      { key: "name", label: by === "path" ? "route" : by, width: "minmax(160px, 3fr)", by: (group) => group.name, title: (group) => group.name, cell: (group) => group.name },
      {
        key: "time", label: "share of all time", width: "minmax(120px, 1fr)", by: (group) => group.count * group.mean_ns,
        cell: (group) => {
          const part = (group.count * group.mean_ns) / (whole || 1);
          return <span class="share"><i style={{ width: `${part * 100}%` }} /><span>{share(part)}</span></span>;
        },
      },
      number("count", "count", (group) => group.count, (value) => count(value ?? 0)),
      number("rate", "rate", (group) => group.rate, (value) => rate(value ?? 0)),
      { ...number("errors", "errors", (group) => group.error_share, (value) => share(value ?? 0)), cell: (group) => <span class={group.errors ? "bad" : "dim"}>{share(group.error_share)}</span> },
      number("p50", "p50", (group) => group.p50_ns, duration),
      number("p75", "p75", (group) => group.p75_ns, duration),
      number("p99", "p99", (group) => group.p99_ns, duration),
      number("p999", "p99.9", (group) => group.p999_ns, duration),
      number("bytes", "bytes", (group) => group.bytes, (value) => bytes(value ?? 0)),
    ];
  }, [by, whole]);
  return <Table label={`by ${by}`} columns={columns} rows={groups} id={(group) => group.name} sort={sort} onSort={(sort) => own({ sort })} onOpen={(group) => narrow(by, group.name)} empty={<><b>Nothing is stored that fits</b><p>Ask for a longer time or fewer rules.</p></>} />;
}
