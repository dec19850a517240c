// Each question that people bring to traces (README, "What it answers") is answered by what a view shows. The store is filled
// by `agent/examples/fill.rs`, which says what there is to find.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { browse, column, ns, open, visit } from "./page.mjs";

let agent;
let browser;
let page;

before(async () => {
  agent = await Agent.start({ traces: 3000, minutes: 30, big: 200 });
  browser = await browse();
  page = await open(browser);
});
after(async () => {
  await browser?.close();
  await agent?.stop();
});

test("where does the time go, at each percentile", async () => {
  await visit(page, agent, "/search?last=all&kind=server");
  const label = await page.locator(".heat canvas").getAttribute("aria-label");
  const found = ["p50", "p75", "p99", "p99.9"].map((name) => ns(label.slice(label.indexOf(`${name} `) + name.length)));
  assert.ok(found.every((value, at) => value > 0 && (at === 0 || value >= found[at - 1])), label);
  const stat = await agent.get("/v1/stat?kind=server&group-by=service");
  assert.match(label, new RegExp(`of ${stat.groups.reduce((sum, group) => sum + group.count, 0)} spans`));

  await visit(page, agent, "/paths?last=all&by=critical_ns");
  await page.locator('[aria-label="ways"] .row').first().waitFor();
  const shares = (await column(page, "on the critical path")).map(Number.parseFloat);
  assert.ok(shares[0] > 10 && shares[0] >= shares[1], `the way with the largest share comes first: ${shares}`);
  assert.ok((await column(page, "service")).slice(0, 5).includes("pricing"));
});

test("what happened in this one odd request", async () => {
  await visit(page, agent, "/search?last=all&service=nginx&kind=server&sort=-duration");
  await page.locator('[aria-label="spans"] .row').first().waitFor();
  const durations = (await column(page, "duration")).map(ns);
  assert.deepEqual(durations, [...durations].sort((a, b) => b - a));
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.locator(".trace-head h1", { hasText: "GET" }).waitFor();
  assert.equal(await page.locator(".wrow .service").first().innerText(), "nginx");
  assert.ok((await page.locator(".wrow").count()) >= 7);
  assert.ok((await page.locator(".wcritical").count()) > 3, "the critical path is marked");
  await page.keyboard.press("c");
  await page.locator(".wcritical").first().waitFor({ state: "detached" });
  await page.keyboard.press("c");
  await page.locator(".wcritical").nth(3).waitFor();
  assert.ok((await page.locator(".wparts i").count()) > 10, "the kernel's split of the time is shown");
  const links = await page.locator(".wrow .badge.link").allInnerTexts();
  for (const expected of ["turn 0.97", "socket exact", "thread exact"]) assert.ok(links.includes(expected), `${expected} in ${links}`);
});

test("which paths do requests take, and which are new or fail", async () => {
  await visit(page, agent, "/paths?last=all");
  await page.locator('[aria-label="ways"] .row').first().waitFor();
  const rows = await page.locator('[aria-label="ways"] .row').evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.innerText.trim())));
  const way = (service, via) => rows.find((row) => row[0] === service && row[2] === via);
  assert.match(way("reviews", "nginx → shop")[1], /^new /, "reviews are new");
  assert.doesNotMatch(way("catalog", "nginx → shop")[1], /new/);
  assert.match(way("pricing", "nginx → shop")[4], /[1-9]/, "pricing fails");
  assert.ok(way("payments", "nginx → shop → orders") && way("payments", "–"), "payments are reached in two ways");
  assert.equal(way("catalog", "nginx → shop")[1], "GET /items/*", "requests for different items are one way");
  for (const width of ["time", "count", "critical path"]) {
    await page.getByRole("radio", { name: width, exact: true }).click();
    await page.locator(`.icicle canvas[aria-label*="width is ${width}"]`).waitFor();
  }
});

test("which component depends on which, and how does that edge perform", async () => {
  await visit(page, agent, "/flow?last=all");
  await page.locator(".node").first().waitFor();
  const title = await page.locator(".edge title", { hasText: "shop calls pricing" }).textContent();
  assert.match(title, /\/s, [\d.]+ % errors, p50 [\d.]+ ms, p99 [\d.]+ ms/);
  const width = async (text) => Number(await page.locator(".edge path", { has: page.locator("title", { hasText: text }) }).getAttribute("stroke-width"));
  assert.ok((await width("nginx calls shop")) > (await width("cron calls payments")), "edges are as wide as what they cost");
  await page.locator('.node[data-service="pricing"]', { hasText: /p50 [\d.]+ · p99 [\d.]+ ms/ }).waitFor();
  await page.locator('.node[data-service="shop"]').click();
  await page.locator(".side").waitFor();
  assert.match(page.url(), /service=shop/, "the click is a rule of the filter");
  const ends = await page.locator(".side section").nth(1).innerText();
  for (const callee of ["catalog", "pricing", "orders", "reviews"]) assert.ok(ends.includes(callee), `${callee} in ${ends}`);
});

test("did this deploy change anything", async () => {
  await visit(page, agent, "/compare?last=all");
  await page.locator(".changes li", { hasText: "pricing takes" }).waitFor();
  const said = await page.locator(".changes").innerText();
  assert.match(said, /pricing takes [34]\.\d times as long/);
  assert.match(said, /pricing fails more: 0 % → \d/);
  for (const [by, name] of [["path", "GET /price/*"], ["edge", "shop → pricing"]]) {
    await visit(page, agent, `/compare?last=all&by=${by}&sort=-p50`);
    const row = page.locator('[aria-label="changes"] .row', { hasText: name }).first();
    assert.match(await row.innerText(), /\+[23]\d\d %/, `by ${by}: the size of the change`);
  }
  await visit(page, agent, `/compare?last=all&mode=filter&rules=${encodeURIComponent("status=error")}&by=service`);
  const row = page.locator('[aria-label="changes"] .row', { hasText: "catalog" }).first();
  assert.match(await row.innerText(), /gone/, "catalog has no errors");
  const both = new URLSearchParams({ last: "all", mode: "filter", rules_a: "service=catalog", rules: "service=pricing kind=server" });
  await visit(page, agent, `/compare?${both}`);
  const of = (name) => page.locator('[aria-label="changes"] .row', { hasText: name }).first();
  assert.match(await of("catalog").innerText(), /gone/);
  assert.match(await of("pricing").innerText(), /new/);
  assert.equal(await page.getByLabel("rules of B").getAttribute("aria-invalid"), "false");
  await page.getByLabel("rules of B").fill("colour=red");
  await page.keyboard.press("Enter");
  await page.locator('[aria-label="rules of B"][aria-invalid=true]').waitFor();
  // Now B is everything, as no rule narrows it; what has come stays where it is.
  await page.locator('[aria-label="changes"] .row', { hasText: "pricing" }).filter({ hasText: /new/ }).waitFor();
  await page.locator('[aria-label="changes"] .row', { hasText: "catalog" }).filter({ hasNotText: "gone" }).click();
  await page.waitForURL(/#\/compare\?service=catalog&.*mode=filter/);
});

test("who is the noisy neighbour, who causes the work", async () => {
  await visit(page, agent, "/search?last=all&by=process");
  await page.locator('[aria-label="by process"] .row').first().waitFor();
  const shares = (await column(page, "share of all time")).map(Number.parseFloat);
  assert.ok(shares[0] >= shares[1] && shares[0] > 10);
  assert.ok((await column(page, "process")).some((name) => name.startsWith("batch:")));
  await visit(page, agent, "/flow?last=all&service=catalog");
  const callers = page.locator(".side section").first();
  await callers.getByText("batch").waitFor();
  assert.match(await callers.innerText(), /shop[\s\S]*83 %[\s\S]*batch[\s\S]*17 %/);
});

test("who talks to a service who should not", async () => {
  await visit(page, agent, "/flow?last=all");
  await page.locator('.node[data-service="payments"]').click();
  const callers = page.locator(".side section").first();
  await callers.getByText("cron").waitFor();
  assert.match(await callers.innerText(), /Who calls payments\?[\s\S]*orders[\s\S]*cron/);
  // The same of a port, whoever listens on it.
  await visit(page, agent, "/flow?last=all&port=8005");
  await page.locator(".node").nth(2).waitFor();
  const names = await page.locator(".node").evaluateAll((nodes) => nodes.map((node) => node.dataset.service).sort());
  assert.deepEqual(names, ["cron", "orders", "payments"]);
});

test("is it waiting, computing, or on the network", async () => {
  await visit(page, agent, "/search?last=all&service=payments&kind=server");
  await page.locator('[aria-label="spans"] .row').first().click();
  const legend = await page.locator(".details .legend").innerText();
  for (const part of ["in the socket, unread", "application", "writing the response"]) assert.ok(legend.includes(part), `${part} in ${legend}`);
  await visit(page, agent, "/paths?last=all");
  await page.locator('[aria-label="ways"] .row').first().waitFor();
  assert.ok((await column(page, "network")).map(ns).some((value) => value > 0), "the network's part of each way");
});

test("nothing went wrong in the page, and it asked nobody but the agent", () => {
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.asked.filter((url) => !url.startsWith(`${agent.url}/`)), []);
});
