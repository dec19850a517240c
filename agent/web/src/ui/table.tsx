// A table of any length: only the rows in sight are in the page, in places that do not move.
import type { ComponentChildren } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { useKeys } from "./keys";
import { useView } from "./view";

export const ROW = 28;
const HEAD = 30;

export interface Column<T> {
  key: string;
  label: string;
  /** A track of a CSS grid, such as `90px` or `minmax(120px, 2fr)`. */
  width: string;
  isNumber?: boolean;
  /** What the column is sorted by. */
  by: (row: T) => string | number;
  cell: (row: T) => ComponentChildren;
  title?: (row: T) => string;
}

interface Props<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string;
  /** `-duration` is by duration, the longest first; empty is the order in which rows come. */
  sort: string;
  onSort?: (sort: string) => void;
  onOpen: (row: T) => void;
  onSelect?: (row: T | undefined) => void;
  tone?: (row: T) => string;
  empty: ComponentChildren;
}

export function sorted<T>(rows: T[], columns: Column<T>[], sort: string): T[] {
  const isDown = sort.startsWith("-");
  const column = columns.find((column) => column.key === sort.replace(/^-/, ""));
  if (!column) return rows;
  const keyed = rows.map((row, place) => ({ row, place, by: column.by(row) }));
  keyed.sort((a, b) => {
    const order = typeof a.by === "number" && typeof b.by === "number" ? a.by - b.by : String(a.by).localeCompare(String(b.by), undefined, { numeric: true });
    return (isDown ? -order : order) || a.place - b.place;
  });
  return keyed.map(({ row }) => row);
}

export function Table<T>({ label, columns, rows, id, sort, onSort, onOpen, onSelect, tone, empty }: Props<T>) {
  const body = useRef<HTMLDivElement>(null);
  const view = useView(body);
  const [selected, setSelected] = useState("");
  const ordered = useMemo(() => sorted(rows, columns, sort), [rows, sort, columns]);

  const select = (place: number) => {
    const row = ordered[Math.max(0, Math.min(ordered.length - 1, place))];
    if (!row) return;
    setSelected(id(row));
    onSelect?.(row);
    const top = ordered.indexOf(row) * ROW;
    const element = body.current!;
    const height = element.clientHeight - HEAD;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW > element.scrollTop + height) element.scrollTop = top + ROW - height;
  };
  const place = () => ordered.findIndex((row) => id(row) === selected);
  const move = (by: number) => () => select(place() < 0 ? 0 : place() + by);
  useKeys({
    j: move(1), k: move(-1), ArrowDown: move(1), ArrowUp: move(-1), PageDown: move(20), PageUp: move(-20),
    g: () => select(0), G: () => select(ordered.length - 1),
    Enter: () => {
      const row = ordered[place()];
      if (row) onOpen(row);
    },
  });

  const first = Math.max(0, Math.floor(view.top / ROW) - 4);
  const shown = ordered.slice(first, first + Math.ceil(view.height / ROW) + 8);
  const grid = { gridTemplateColumns: columns.map((column) => column.width).join(" ") };
  const turn = (key: string) => onSort?.(sort === `-${key}` ? key : sort === key ? "" : `-${key}`);
  return (
    <div class="table" role="table" aria-label={label} aria-rowcount={ordered.length} ref={body} tabIndex={0}>
      <div class="table-head" role="row" style={grid}>
        {columns.map((column) => {
          const order = sort === column.key ? "ascending" : sort === `-${column.key}` ? "descending" : "none";
          return (
            <div role="columnheader" aria-sort={order} key={column.key} class={column.isNumber ? "number" : ""}>
              <button type="button" disabled={!onSort} onClick={() => turn(column.key)}>
                {column.label}
                <i class={`sort ${order}`} aria-hidden="true" />
              </button>
            </div>
          );
        })}
      </div>
      <div role="rowgroup">
        {ordered.length === 0 && <div class="empty">{empty}</div>}
        <div class="table-rows" style={{ height: `${ordered.length * ROW}px` }}>
          {shown.map((row, slot) => (
            <div
              key={(first + slot) % 256}
              role="row"
              aria-rowindex={first + slot + 1}
              aria-selected={id(row) === selected}
              class={`row ${tone?.(row) ?? ""}`}
              style={{ ...grid, transform: `translateY(${(first + slot) * ROW}px)` }}
              onClick={() => {
                select(first + slot);
                if (onSelect === undefined) onOpen(row);
              }}
              onDblClick={onSelect && (() => onOpen(row))}
            >
              {columns.map((column) => (
                <div role="cell" key={column.key} class={column.isNumber ? "number" : ""} title={column.title?.(row)}>
                  {column.cell(row)}
                </div>
              ))}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}
