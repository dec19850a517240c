// A colour for each service, the same in every view: by its name, and away from those that were given before. What was given
// is kept by the browser, so that it stays the same from one visit to the next.

const KEPT = "netspan-colours";
const KEPT_MAX = 300;
/** Hues, 15 degrees apart; red is for errors alone. */
const HUES = 21;
const known = new Map<string, number>(load());

function load(): [string, number][] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one): one is [string, number] => Array.isArray(one) && typeof one[0] === "string" && typeof one[1] === "number") : [];
  } catch {
    return [];
  }
}

/** The place of a name among the hues: where its hash falls, or the one from there on that is farthest from all used ones. */
function place(name: string): number {
  let hash = 2166136261;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 16777619);
  const first = (hash >>> 0) % HUES;
  if (known.size >= HUES) return first;
  const used = [...known.values()];
  let [best, room] = [first, -1];
  for (let step = 0; step < HUES; step++) {
    const one = (first + step) % HUES;
    const near = Math.min(4, ...used.map((other) => Math.min(Math.abs(one - other), HUES - Math.abs(one - other))));
    if (near > room) [best, room] = [one, near];
  }
  return best;
}

export function hue(name: string): number {
  let found = known.get(name);
  if (found === undefined) {
    found = place(name);
    known.set(name, found);
    if (known.size <= KEPT_MAX) localStorage.setItem(KEPT, JSON.stringify([...known]));
  }
  return 30 + found * 15;
}

export const isDark = (): boolean => document.documentElement.dataset.theme !== "light";

export const color = (name: string, alpha = 1): string =>
  isDark() ? `hsl(${hue(name)} 58% 62% / ${alpha})` : `hsl(${hue(name)} 58% 42% / ${alpha})`;

/** A colour of the style sheet, for canvases. */
export const themed = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
