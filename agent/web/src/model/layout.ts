// Places for the nodes of a graph: a layer for each step from who is called by nobody, and few crossings. Pure.

export interface Placed {
  name: string;
  layer: number;
  /** From 0 to 1, across its layer. */
  across: number;
}

/** Sweeps that look for fewer crossings. */
const SWEEPS = 8;

/** The most important edges come first. */
export function layout(edges: readonly (readonly [string, string])[]): Map<string, Placed> {
  // Who comes first decides which edge of a ring is the one that goes back.
  const names = [...new Set(edges.flat())];
  const calls = new Map<string, string[]>(names.map((name) => [name, []]));
  for (const [from, to] of edges) if (from !== to) calls.get(from)!.push(to);
  const isBack = backEdges(names, calls);
  const forward = edges.filter(([from, to]) => from !== to && !isBack.has(`${from}\n${to}`));

  // The longest way from a root.
  const layer = new Map<string, number>(names.map((name) => [name, 0]));
  for (let round = 0; round < names.length; round++) {
    let isStable = true;
    for (const [from, to] of forward) {
      const next = layer.get(from)! + 1;
      if (next > layer.get(to)!) {
        layer.set(to, next);
        isStable = false;
      }
    }
    if (isStable) break;
  }
  // Roots stand right before what they call, not all in the first layer.
  for (const name of names) {
    const called = forward.filter(([from]) => from === name).map(([, to]) => layer.get(to)!);
    if (called.length > 0 && !forward.some(([, to]) => to === name)) layer.set(name, Math.max(0, Math.min(...called) - 1));
  }

  const layers: string[][] = [];
  for (const name of names) (layers[layer.get(name)!] ??= []).push(name);
  const place = new Map<string, number>();
  const number = () => layers.forEach((all) => all?.forEach((name, at) => place.set(name, (at + 0.5) / all.length)));
  number();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const isDown = sweep % 2 === 0;
    for (const all of isDown ? layers : [...layers].reverse()) {
      const middle = (name: string) => {
        const near = forward.filter(([from, to]) => (isDown ? to === name : from === name)).map(([from, to]) => place.get(isDown ? from : to)!);
        return near.length ? near.reduce((sum, one) => sum + one, 0) / near.length : place.get(name)!;
      };
      const keyed = (all ?? []).map((name) => [name, middle(name)] as const).sort((a, b) => a[1] - b[1]);
      keyed.forEach(([name], at) => {
        all![at] = name;
        place.set(name, (at + 0.5) / keyed.length);
      });
    }
  }
  return new Map(names.map((name) => [name, { name, layer: layer.get(name)!, across: place.get(name)! }]));
}

/** Edges that close a ring. */
function backEdges(names: string[], calls: Map<string, string[]>): Set<string> {
  const found = new Set<string>();
  const state = new Map<string, "open" | "done">();
  const called = new Set([...calls.values()].flat());
  for (const root of [...names].sort((a, b) => Number(called.has(a)) - Number(called.has(b)))) {
    const waiting: [string, number][] = state.has(root) ? [] : [[root, 0]];
    if (waiting.length) state.set(root, "open");
    while (waiting.length > 0) {
      const top = waiting[waiting.length - 1]!;
      const next = calls.get(top[0])![top[1]++];
      if (next === undefined) {
        state.set(top[0], "done");
        waiting.pop();
      } else if (state.get(next) === "open") found.add(`${top[0]}\n${next}`);
      else if (!state.has(next)) {
        state.set(next, "open");
        waiting.push([next, 0]);
      }
    }
  }
  return found;
}
