// Live requests of real programs: how they come, stand still and are filtered; and that nothing in the page jumps.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { browse, column, eventually, open, visit } from "./page.mjs";

let agent;
let browser;
let page;

before(async () => {
  agent = await Agent.start();
  await agent.traffic(4, 15);
  browser = await browse();
  page = await open(browser);
});
after(async () => {
  await browser?.close();
  await agent?.stop();
});

const total = () => page.locator(".live-state").getAttribute("data-count").then(Number);
/** Waits until so many more have come. */
async function more(count) {
  const before = await total();
  await page.waitForFunction((bound) => Number(document.querySelector(".live-state").dataset.count) >= bound, before + count);
}

test("requests show up as they happen", async () => {
  await visit(page, agent, "/live");
  await page.locator(".row").nth(5).waitFor();
  await more(1);
  await eventually(async () => {
    const shown = (await column(page, "request")).join("\n");
    assert.match(shown, /GET \/items\/1/);
    assert.match(shown, /<b%20onclick=alert\(1\)>bold<\/b>/);
    assert.ok((await column(page, "link")).includes("socket exact"), "both ends are linked");
    assert.match(await page.locator(".figures").innerText(), /[1-9][\d.]*\/s/);
  });
});

test("it stands still on request, and goes on", async () => {
  await page.mouse.move(5, 5);
  await page.keyboard.press(" ");
  await page.locator(".live-state", { hasText: "stands still" }).waitFor();
  const first = await column(page, "time");
  await page.locator(".live-state", { hasText: /[1-9]\d* new/ }).waitFor();
  assert.deepEqual(await column(page, "time"), first);
  await page.keyboard.press("p");
  await page.waitForFunction((first) => document.querySelector(".row[aria-rowindex='1'] .mono").innerText !== first, first[0]);
});

test("the filter chooses while they come", async () => {
  await visit(page, agent, "/live?path=/cart&kind=server");
  await page.locator(".row").nth(3).waitFor();
  await more(10);
  assert.deepEqual([...new Set(await column(page, "request"))], ["GET /cart"]);
  assert.deepEqual([...new Set(await column(page, "kind"))], ["server"]);
});

test("process, number and port choose too; where nothing fits, it says so", async () => {
  const port = agent.ports[0];
  const pid = agent.others[0].pid;
  await visit(page, agent, `/live?process=node&pid=${pid}&port=${port}`);
  await page.locator(".row").nth(3).waitFor();
  await more(10);
  assert.deepEqual([...new Set(await column(page, "process"))], [`node:${pid}`]);
  for (const rule of ["process=nobody", "port=1", `process=node&pid=${pid}&port=${port - 1}`]) {
    await visit(page, agent, `/live?${rule}`);
    await page.locator(".empty", { hasText: "requests that fit" }).waitFor();
    // The picture goes on meanwhile: the agent is there, and sees.
    const { account } = await agent.get("/v1/health");
    await eventually(async () => assert.ok((await agent.get("/v1/health")).account.events.delivered > account.events.delivered + 50));
    assert.equal(await page.locator(".row").count(), 0, rule);
  }
});

test("details of a request, and its trace", async () => {
  await visit(page, agent, "/live?kind=server");
  await page.locator(".row").nth(3).waitFor();
  await page.keyboard.press("j");
  await page.locator(".details .legend").waitFor();
  assert.match(await page.locator(".details").innerText(), /application/);
  await page.getByRole("button", { name: "Open its trace" }).click();
  await page.locator(".wrow").nth(1).waitFor();
});

test("nothing jumps, at more than 60 updates a second", async () => {
  await agent.traffic(16, 5);
  await visit(page, agent, "/live");
  await page.locator(".row").nth(10).waitFor();
  await page.mouse.move(5, 5);
  const seen = await page.evaluate(async () => {
    let moved = 0;
    const what = new Set();
    const path = (node) => (node ? `${path(node.parentElement)}/${node.className || node.nodeName}` : "");
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        moved += entry.value;
        for (const { node, previousRect, currentRect } of entry.sources) what.add(`${path(node)}: ${JSON.stringify([previousRect, currentRect])}`);
      }
    }).observe({ type: "layout-shift", buffered: false });
    const count = () => Number(document.querySelector(".live-state").dataset.count);
    const heads = () => JSON.stringify([...document.querySelectorAll("[role=columnheader], .figures div, .strip, .bar > button")].map((one) => one.getBoundingClientRect()).map(({ x, y, width, height }) => [x, y, width, height]));
    const [places, from, begun] = [heads(), count(), performance.now()];
    let frames = 0;
    while (performance.now() - begun < 3000) {
      await new Promise(requestAnimationFrame);
      frames++;
    }
    return { moved, isStill: heads() === places, rate: (count() - from) / 3, frames: frames / 3, what: [...what].slice(0, 10) };
  });
  console.log(`    ${seen.rate.toFixed(0)} spans/s at ${seen.frames.toFixed(0)} frames/s, layout shift ${seen.moved}`);
  assert.ok(seen.rate > 60, `${seen.rate} spans a second are too few for this test`);
  assert.deepEqual([seen.moved, seen.isStill], [0, true], JSON.stringify(seen));
});

test("health: what is seen and what not, losses, own cost", async () => {
  await visit(page, agent, "/health");
  await page.locator('[aria-label="processes"] .row').first().waitFor();
  assert.match(await page.locator('[aria-label="processes"] .row', { hasText: "node" }).first().innerText(), /\d/);
  await eventually(async () => assert.match((await column(page, "calls linked", "processes")).join("\n"), /[\d.]+ % of \d/));
  await eventually(async () => {
    const tiles = await page.locator(".tiles").innerText();
    assert.match(tiles, /events lost\n[\d.<]+ %\n\S+( k| M)? of [1-9]/);
    assert.match(tiles, /own memory\n[\d.]+ MiB/);
    assert.match(tiles, /own CPU\n[\d.]+ %/);
    assert.match(await page.locator(".columns").innerText(), /attached of/);
  });
  await page.locator("summary", { hasText: "counters" }).click();
  assert.match(await page.locator(".columns").innerText(), /kernel\.ring_full/);
});

test("nothing went wrong in the page", () => assert.deepEqual(page.wrong, []));
