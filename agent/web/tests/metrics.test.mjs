// What Prometheus reads of an agent: `promtool` has nothing against it, and no series is there twice.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";

const skip = spawnSync("promtool", ["--version"]).status === 0 ? false : "promtool is not installed (Debian package prometheus)";

let agent;

/** The metrics once requests were counted. */
async function metrics(accept) {
  for (let tries = 0; ; tries++) {
    const response = await fetch(`${agent.url}/metrics`, { headers: { accept } });
    const text = await response.text();
    if (/^http_server_request_duration_seconds_count\{.* [1-9]/m.test(text)) return [response.headers.get("content-type"), text];
    assert.ok(tries < 200, text);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

before(async () => {
  agent = await Agent.start();
  await agent.traffic(4, 15);
});
after(() => agent?.stop());

test("promtool finds nothing wrong", { skip }, async () => {
  const [kind, text] = await metrics("text/plain");
  assert.match(kind, /^text\/plain; version=0\.0\.4/);
  const checked = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
});

for (const accept of ["text/plain", "application/openmetrics-text"]) {
  test(`each series is there once, as ${accept}`, async () => {
    const [, text] = await metrics(accept);
    const series = text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.split(" # ")[0].replace(/ [^ ]+$/, ""));
    assert.ok(series.length > 20);
    assert.deepEqual(series.filter((name, at) => series.indexOf(name) !== at), []);
  });
}
