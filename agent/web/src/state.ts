// What is shown, kept in the address' fragment: it can be bookmarked and shared, and never leaves the browser.
import { useEffect, useState } from "preact/hooks";

export const VIEWS = ["live", "search", "trace", "flow", "paths", "compare", "health"] as const;
export type View = (typeof VIEWS)[number];

/** The words of filters, the same as in the API and the command line. */
export const WORDS = [
  "service", "process", "pid", "port", "path", "status", "duration", "peer", "container",
  "max_duration", "kind", "name", "attribute",
] as const;
export type Word = (typeof WORDS)[number];
export type Rule = readonly [Word, string];

/** Which time: the last so many minutes, everything, or from and to in nanoseconds since the epoch. */
export interface Time {
  last?: string;
  from?: string;
  to?: string;
}

export interface State {
  view: View;
  /** What a view is about: a trace's id. */
  id: string;
  rules: Rule[];
  time: Time;
  /** What only one view knows. */
  own: Record<string, string>;
}

export const LAST = ["1m", "5m", "15m", "60m", "360m", "1440m"];
const DEFAULT_LAST = "15m";
const isWord = (word: string): word is Word => (WORDS as readonly string[]).includes(word);

export function read(hash: string): State {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [name = "", id = ""] = path.split("/", 2);
  const view = (VIEWS as readonly string[]).includes(name) ? (name as View) : "live";
  const state: State = { view, id: decodeURIComponent(id), rules: [], time: {}, own: {} };
  for (const [word, text] of new URLSearchParams(query)) {
    if (isWord(word)) state.rules.push([word, text]);
    else if (word === "last" || word === "from" || word === "to") state.time[word] = text;
    else state.own[word] = text;
  }
  if (!state.time.last && !state.time.from && !state.time.to) state.time.last = DEFAULT_LAST;
  return state;
}

export function write(state: State): string {
  const query = new URLSearchParams(state.rules.map(([word, text]) => [word, text]));
  for (const [word, text] of Object.entries(state.time)) if (text && !(word === "last" && text === DEFAULT_LAST)) query.set(word, text);
  for (const [word, text] of Object.entries(state.own)) if (text) query.set(word, text);
  const id = state.id ? `/${encodeURIComponent(state.id)}` : "";
  const tail = query.toString();
  return `#/${state.view}${id}${tail ? `?${tail}` : ""}`;
}

export const current = (): State => read(location.hash);

/** Goes on to another state. `isStep` makes it one that the browser's back button returns from. */
export function go(change: Partial<State>, isStep = true): void {
  const state = { ...current(), ...change };
  const hash = write(state);
  if (hash === location.hash) return;
  if (isStep) history.pushState({ depth: depth() + 1 }, "", hash);
  else history.replaceState(history.state, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Steps since the page was opened. */
const depth = (): number => (history.state as { depth?: number } | null)?.depth ?? 0;

/** Goes back one step, but never out of the page. Returns whether there was one. */
export function back(): boolean {
  if (depth() === 0) return false;
  history.back();
  return true;
}

export function show(view: View, change: Partial<State> = {}): void {
  go({ view, id: "", own: {}, ...change });
}

/** Changes what only the present view knows; an empty text removes it. */
export function own(change: Record<string, string>, isStep = false): void {
  go({ own: { ...current().own, ...change } }, isStep);
}

/** Narrows the filter. A single trace can't be narrowed: what fits is searched for instead. */
export function addRule(word: Word, text: string): void {
  const { rules, view, id } = current();
  const isSingle = word === "duration" || word === "max_duration";
  const others = rules.filter(([known, value]) => (isSingle ? known !== word : known !== word || value !== text));
  const elsewhere: Partial<State> = view === "trace" && id ? { view: "search", id: "", own: {} } : {};
  go({ ...elsewhere, rules: [...others, [word, text]] });
}

export function useLocation(): State {
  const [state, set] = useState(current);
  useEffect(() => {
    const changed = () => set(current());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return state;
}

/** The filter as the API takes it. */
export function query(state: State, more: Record<string, string> = {}, without: Word[] = []): string {
  const pairs = state.rules.filter(([word]) => !without.includes(word)).map(([word, text]) => [word, text] as [string, string]);
  const { last, from, to } = state.time;
  if (from) pairs.push(["from", from]);
  if (to) pairs.push(["to", to]);
  if (last && last !== "all" && !from && !to) pairs.push(["last", last]);
  return new URLSearchParams([...pairs, ...Object.entries(more)]).toString();
}
