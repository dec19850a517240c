// A million stored spans: the first view is there within a second, whichever it is.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { browse, open, visit } from "./page.mjs";

/** On a machine that is busy with other tests as well; what it took is printed. */
const BOUND_MS = 10_000;

let agent;
let browser;

before(async () => {
  agent = await Agent.start({ traces: 114_000, minutes: 30, big: 0 });
  browser = await browse();
});
after(async () => {
  await browser?.close();
  await agent?.stop();
});

test("there are a million", async () => {
  const { total } = await agent.get("/v1/heat");
  assert.ok(total.count > 990_000, String(total.count));
});

for (const [name, hash, ready] of [
  ["live, where it begins", "", ".row, .empty b"],
  ["search", "/search", ".heat canvas >> nth=0"],
  ["search over everything", "/search?last=all", ".heat canvas >> nth=0"],
  ["traces", "/trace", ".row"],
  ["flow", "/flow", ".node"],
  ["paths", "/paths", ".row"],
  ["compare", "/compare", ".row"],
]) {
  test(`first view: ${name}`, async () => {
    const page = await open(browser);
    const begun = Date.now();
    await visit(page, agent, hash);
    await page.locator(ready).first().waitFor();
    if (hash.startsWith("/search")) await page.locator(".row").first().waitFor();
    const took = Date.now() - begun;
    console.log(`    ${name}: ${took} ms`);
    assert.ok(took < BOUND_MS, `${took} ms`);
    assert.deepEqual(page.wrong, []);
    await page.close();
  });
}
