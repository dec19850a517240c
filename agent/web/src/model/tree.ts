// The spans of a trace as a tree, and the rows of a waterfall. Pure.
import { type Span, between, durationNs } from "./span";

export interface Node {
  span: Span;
  /** Nanoseconds from the trace's beginning. */
  start: number;
  end: number;
  children: Node[];
  parent: Node | null;
  depth: number;
  /** Spans below. */
  below: number;
  /** Errors below. */
  errorsBelow: number;
  /** It hangs here because it follows from its parent, which does not wait for it. */
  isFollowing: boolean;
  /** Times that are its own on the critical path. */
  critical: [number, number][];
}

export interface Tree {
  roots: Node[];
  nodes: Map<string, Node>;
  /** Nanoseconds. */
  length: number;
  from_ns: string;
  /** Nanoseconds that the critical path goes through. */
  criticalNs: number;
}

export function tree(spans: Span[]): Tree {
  let from_ns = spans[0]?.start_ns ?? "0";
  for (const span of spans) if (span.start_ns.length < from_ns.length || (span.start_ns.length === from_ns.length && span.start_ns < from_ns)) from_ns = span.start_ns;
  const nodes = new Map<string, Node>();
  for (const span of spans) {
    const start = between(from_ns, span.start_ns);
    const end = start + durationNs(span);
    nodes.set(span.span_id, { span, start, end, children: [], parent: null, depth: 0, below: 0, errorsBelow: 0, isFollowing: false, critical: [] });
  }
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    let parent = node.span.parent_span_id === null ? undefined : nodes.get(node.span.parent_span_id);
    if (!parent) {
      parent = node.span.links.map((link) => nodes.get(link.span_id)).find((other) => other && other !== node);
      node.isFollowing = parent !== undefined;
    }
    if (parent && parent !== node && !isAbove(node, parent)) {
      node.parent = parent;
      parent.children.push(node);
    } else roots.push(node);
  }
  const byStart = (a: Node, b: Node) => a.start - b.start || b.end - a.end;
  roots.sort(byStart);
  let length = 1;
  // Parents before their children, then the sums from the leaves on.
  const order = [...roots];
  for (let at = 0; at < order.length; at++) {
    const node = order[at]!;
    length = Math.max(length, node.end);
    node.children.sort(byStart);
    for (const child of node.children) {
      child.depth = node.depth + 1;
      order.push(child);
    }
  }
  for (const node of order.reverse()) {
    if (!node.parent) continue;
    node.parent.below += node.below + 1;
    node.parent.errorsBelow += node.errorsBelow + Number(node.span.status === "ERROR");
  }
  const main = roots.reduce<Node | undefined>((longest, node) => (!longest || node.end - node.start > longest.end - longest.start ? node : longest), undefined);
  return { roots, nodes, length, from_ns, criticalNs: main ? critical(main) : 0 };
}

/** Whether a node is above another one: wrong ids could make a ring. */
function isAbove(node: Node, other: Node): boolean {
  for (let at: Node | null = other; at; at = at.parent) if (at === node) return true;
  return false;
}

/** Marks the critical path: back from the end, what ended last before it is what was waited for. */
function critical(root: Node): number {
  const waiting: [Node, number, number][] = [[root, root.start, root.end]];
  let sum = 0;
  while (waiting.length > 0) {
    const [node, from, to] = waiting.pop()!;
    let reached = to;
    const called = node.children.filter((child) => !child.isFollowing && child.start >= from).sort((a, b) => b.end - a.end);
    for (const child of called) {
      // The other end of a call may be seen to end a little later than the call itself.
      const isSameCall = child.span.kind === "SERVER" && node.span.kind === "CLIENT";
      const end = isSameCall ? Math.min(child.end, reached) : child.end;
      if (end > reached || child.start >= reached) continue;
      if (reached > end) node.critical.push([end, reached]);
      waiting.push([child, child.start, end]);
      reached = child.start;
    }
    if (reached > from) node.critical.push([from, reached]);
    for (const [begin, end] of node.critical) sum += end - begin;
  }
  return sum;
}

/** The rows in sight: what is not within something collapsed. */
export function rows(tree: Tree, collapsed: Set<string>): Node[] {
  const found: Node[] = [];
  const waiting = [...tree.roots].reverse();
  while (waiting.length > 0) {
    const node = waiting.pop()!;
    found.push(node);
    if (collapsed.has(node.span.span_id)) continue;
    for (let at = node.children.length - 1; at >= 0; at--) waiting.push(node.children[at]!);
  }
  return found;
}
