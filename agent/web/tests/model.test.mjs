// The pure parts, without a browser: the tree of a trace, its critical path, the graph's layout, figures.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const isOld = Number.parseInt(process.versions.node, 10) < 20;
const skip = isOld && "Vite needs Node 20";

/** A module of the sources, compiled. */
async function load(name) {
  const { build } = await import("vite");
  const input = fileURLToPath(new URL(`../src/model/${name}.ts`, import.meta.url));
  const built = await build({ configFile: false, logLevel: "silent", build: { ssr: true, write: false, minify: false, rollupOptions: { input } } });
  const { output } = Array.isArray(built) ? built[0] : built;
  return import(`data:text/javascript,${encodeURIComponent(output[0].code)}`);
}

const BASE = 1735689600000000000n;
const span = (span_id, parent_span_id, start, end, more = {}) => ({
  trace_id: "t", span_id, parent_span_id, kind: "CLIENT", name: "GET", status: "UNSET", service: span_id, pid: 1, tid: 1, incomplete: null, link: null, links: [], attributes: {}, resource: {},
  start_ns: String(BASE + BigInt(start)), end_ns: String(BASE + BigInt(end)), ...more,
});

test("a trace is a tree, and moments are exact", { skip }, async () => {
  const { tree, rows } = await load("tree");
  const built = tree([span("c", "b", 21, 29, { status: "ERROR" }), span("a", null, 0, 100), span("b", "a", 20, 30)]);
  assert.deepEqual(rows(built, new Set()).map((node) => [node.span.span_id, node.depth, node.start, node.below, node.errorsBelow]), [["a", 0, 0, 2, 1], ["b", 1, 20, 1, 1], ["c", 2, 21, 0, 0]]);
  assert.deepEqual(rows(built, new Set(["a"])).length, 1);
  assert.equal(built.length, 100);
});

test("of what was done at once only what ended last is critical, and what follows never is", { skip }, async () => {
  const { tree } = await load("tree");
  const follows = span("f", null, 95, 300, { links: [{ trace_id: "t", span_id: "a", attributes: {} }] });
  const built = tree([span("a", null, 0, 100), span("b", "a", 10, 60), span("c", "a", 10, 90), span("d", "a", 0, 10), follows]);
  const critical = (id) => built.nodes.get(id).critical;
  assert.deepEqual([critical("a"), critical("b"), critical("c"), critical("d")], [[[90, 100]], [], [[10, 90]], [[0, 10]]]);
  assert.ok(built.nodes.get("f").isFollowing && built.nodes.get("f").depth === 1);
});

test("wrong parents do no harm", { skip }, async () => {
  const { tree, rows } = await load("tree");
  for (const spans of [[span("a", "b", 0, 1), span("b", "a", 0, 1)], [span("a", "a", 0, 1)], [span("a", "lost", 0, 1)], []]) {
    assert.equal(rows(tree(spans), new Set()).length, spans.length);
  }
});

test("a graph with a ring has layers, and callers stand before those they call", { skip }, async () => {
  const { layout } = await load("layout");
  const placed = layout([["web", "shop"], ["shop", "db"], ["db", "shop"], ["cron", "db"], ["shop", "shop"]]);
  const layer = (name) => placed.get(name).layer;
  assert.deepEqual([layer("web"), layer("shop"), layer("db"), layer("cron")], [0, 1, 2, 1]);
  assert.equal(layout([]).size, 0);
});

test("figures have three digits and a unit", { skip }, async () => {
  const { duration, count, share, bytes } = await load("format");
  for (const [given, expected] of [[0, "0 ns"], [999, "999 ns"], [999_600, "1.00 ms"], [1_234_567, "1.23 ms"], [45_678_900, "45.7 ms"], [12e9, "12 s"], [NaN, "–"], [null, "–"]]) assert.equal(duration(given), expected);
  assert.deepEqual([count(9999), count(12_345), count(2e6), share(0), share(0.0001), share(0.123), bytes(2048)], ["9999", "12.3 k", "2 M", "0 %", "<0.1 %", "12 %", "2 KiB"]);
});

test("OTLP JSON has 64-bit numbers as texts", { skip }, async () => {
  const { otlp } = await load("otlp");
  const [{ resource, scopeSpans }] = otlp([span("a", null, 1, 5, { attributes: { n: 5, f: 0.5, b: true, l: ["x"] }, status: "ERROR" })]).resourceSpans;
  assert.deepEqual(resource.attributes[0], { key: "service.name", value: { stringValue: "a" } });
  const [one] = scopeSpans[0].spans;
  assert.equal(one.startTimeUnixNano, String(BASE + 1n));
  assert.deepEqual(one.attributes.slice(0, 4).map(({ value }) => value), [{ intValue: "5" }, { doubleValue: 0.5 }, { boolValue: true }, { arrayValue: { values: [{ stringValue: "x" }] } }]);
  assert.deepEqual([one.status, one.kind, "parentSpanId" in one], [{ code: 2 }, 3, false]);
});
