// Figures for people: three digits, and always a unit.
import { millis } from "./span";

/** A duration in nanoseconds. */
export function duration(ns: number | null | undefined): string {
  if (ns === null || ns === undefined || !Number.isFinite(ns)) return "–";
  const units: [number, string][] = [[1, "ns"], [1e3, "µs"], [1e6, "ms"], [1e9, "s"]];
  let [size, unit] = units[0]!;
  for (const [next, name] of units) if (Math.abs(ns) >= next * 0.9995) [size, unit] = [next, name];
  if (unit === "s" && ns >= 600e9) return `${(ns / 60e9).toFixed(0)} min`;
  return `${digits(ns / size)} ${unit}`;
}

export function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
}

export function count(value: number): string {
  if (value < 10_000) return value.toFixed(0);
  if (value < 1e6) return `${digits(value / 1e3)} k`;
  return `${digits(value / 1e6)} M`;
}

export const rate = (perSecond: number): string => (perSecond > 0 && perSecond < 0.095 ? `${digits(perSecond * 60)}/min` : `${digits(perSecond)}/s`);

export function share(part: number): string {
  if (part === 0) return "0 %";
  return part < 0.001 ? "<0.1 %" : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}

export function bytes(value: number): string {
  const at = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  return `${digits(value / 1024 ** at)} ${["B", "KiB", "MiB", "GiB", "TiB"][at]}`;
}

/** The time of day, of milliseconds since the epoch. */
export function clock(ms: number, withMillis = true): string {
  const date = new Date(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMillis ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

export function moment(ms: number): string {
  const date = new Date(ms);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")} ${clock(ms)}`;
}

/** From when on the newest are shown, as part of a sentence. */
export function since(all: readonly { start_ns: string }[]): string {
  const first = all.reduce((first, { start_ns }) => (first === "" || start_ns < first ? start_ns : first), "");
  return first && `, from ${clock(millis(first), false)} on`;
}

/** A duration as the API reads it. */
export const word = (ns: number): string => `${Math.round(ns / 1e3)}us`;

/** What the API's minutes are called. */
export function lastName(last: string): string {
  const minutes = Number.parseInt(last, 10);
  return Number.isNaN(minutes) ? "all time" : minutes < 60 ? `last ${minutes} min` : `last ${minutes / 60} h`;
}
