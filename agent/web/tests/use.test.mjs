// How the UI is used: by keyboard, by its addresses, in light and dark; what a trace can do; what must never happen.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { browse, column, eventually, ns, open, visit } from "./page.mjs";

let agent;
let browser;
let page;

before(async () => {
  agent = await Agent.start({ traces: 2500, minutes: 10, big: 10_000 });
  browser = await browse();
  page = await open(browser);
});
after(async () => {
  await browser?.close();
  await agent?.stop();
});

/** A trace of 10,000 spans is shown, and a jump within it drawn: bounds for a machine that is busy with other things as well. */
const [SHOWN_MS, JUMP_MS] = [20_000, 500];
const BIG = "bb".repeat(16);
/** A request with these headers; `fetch` lets nobody set Host or Sec-Fetch-Site. */
const raw = (path, headers = {}) =>
  new Promise((resolve, reject) => {
    http.get(agent.url + path, { headers }, (response) => (response.resume(), resolve(response))).on("error", reject);
  });

test("the keyboard goes everywhere", async () => {
  await visit(page, agent, "/live");
  const views = ["live", "search", "trace", "flow", "paths", "compare", "health"];
  for (const [at, view] of views.entries()) {
    await page.keyboard.press(String(at + 1));
    await page.waitForFunction((view) => location.hash.startsWith(`#/${view}`), view);
    await page.locator("nav [aria-current=page]", { hasText: new RegExp(view, "i") }).waitFor();
  }
  await page.keyboard.press("?");
  await page.locator('[role=dialog][aria-label="help"]').waitFor();
  await page.keyboard.press("Escape");
  await page.locator('[role=dialog]').waitFor({ state: "detached" });
  await page.keyboard.press("2");
  await page.keyboard.press("/");
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "filter");
  await page.keyboard.type("service=shop");
  await page.keyboard.press("Enter");
  await page.locator(".chip", { hasText: "shop" }).waitFor();
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => [...document.querySelectorAll(".row .service")].every((one) => one.innerText === "shop") && document.querySelectorAll(".row").length > 3);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.locator(".row[aria-selected=true]").waitFor();
  await page.keyboard.press("Enter");
  await page.locator(".wrow").first().waitFor();
  const depth = await page.locator(".wrow").count();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction((depth) => document.querySelectorAll(".wrow").length < depth, depth);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => location.hash.startsWith("#/search"));
});

test("the flow graph is used by keyboard, too", async () => {
  await visit(page, agent, "/flow?last=all");
  const shop = page.locator('.node[data-service="shop"]');
  await shop.focus();
  await page.keyboard.press("Enter");
  await page.locator(".side", { hasText: "Who calls shop?" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".side").waitFor({ state: "detached" });
});

test("what a rule means nothing to the agent is said and not taken", async () => {
  await visit(page, agent, "/search");
  for (const [typed, expected] of [["status=bad", /not a status/], ["duration=5", /not a duration/], ["colour=red", /no rule/]]) {
    await page.keyboard.press("/");
    await page.getByLabel("filter").fill(typed);
    await page.keyboard.press("Enter");
    await page.waitForFunction((pattern) => new RegExp(pattern).test(document.querySelector(".refused")?.innerText ?? ""), expected.source);
  }
  assert.equal(await page.locator(".chip").count(), 0);
  await page.getByLabel("filter").fill("");
  await page.getByLabel("filter").fill("duration>20ms");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash.includes("duration=20ms"));
  // 400 is the answer to what makes no sense; browsers log it.
  page.wrong = page.wrong.filter((text) => !text.includes("400"));
});

test("an address is a view: shared, it shows the same", async () => {
  await visit(page, agent, "/search?service=pricing&kind=server&last=all&sort=-duration");
  await page.locator('[aria-label="spans"] .row').first().waitFor();
  const other = await open(browser);
  await other.goto(page.url());
  await other.locator('[aria-label="spans"] .row').first().waitFor();
  // How many rows are made depends on the list's height, which a page learns a moment later.
  await eventually(async () => assert.deepEqual(await column(other, "duration"), await column(page, "duration")));
  assert.deepEqual(await other.locator(".chip b").allInnerTexts(), ["service", "kind"]);
  await other.close();
});

test("every column can be sorted by, both ways", async () => {
  await visit(page, agent, "/search?last=all");
  await page.locator('[aria-label="spans"] .row').first().waitFor();
  const heads = page.locator('[aria-label="spans"] [role=columnheader]');
  for (let at = 0; at < (await heads.count()); at++) {
    const head = heads.nth(at);
    for (const order of ["descending", "ascending"]) {
      await head.locator("button").click();
      await page.waitForFunction(([at, order]) => document.querySelectorAll("[role=columnheader]")[at].getAttribute("aria-sort") === order, [at, order]);
      if ((await head.innerText()).startsWith("duration")) {
        const shown = (await column(page, "duration")).map(ns);
        const sign = order === "ascending" ? 1 : -1;
        assert.deepEqual(shown, [...shown].sort((a, b) => sign * (a - b)));
      }
    }
    await head.locator("button").click();
  }
});

test("a region of the heat map is the filter", async () => {
  await visit(page, agent, "/search?last=all");
  await page.locator(".heat canvas").waitFor();
  const count = () => page.locator(".found").getAttribute("data-count").then(Number);
  await page.waitForFunction(() => Number(document.querySelector(".found")?.dataset.count) > 0);
  const all = await count();
  const box = await page.locator(".heat canvas").boundingBox();
  await page.mouse.move(box.x + 200, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + 600, box.y + 120, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction((all) => location.hash.includes("from=") && Number(document.querySelector(".found").dataset.count) < all, all);
  assert.match(page.url(), /from=\d{19}&to=\d{19}/);
  assert.match(page.url(), /duration=\d+us/);
  assert.ok((await count()) > 0);
});

test("a trace of 10,000 spans stays usable", async () => {
  const begun = Date.now();
  await visit(page, agent, `/trace/${BIG}`);
  await page.locator(".wrow").nth(10).waitFor();
  console.log(`    10,000 spans are shown after ${Date.now() - begun} ms`);
  assert.ok(Date.now() - begun < SHOWN_MS);
  assert.match(await page.locator(".trace-facts").innerText(), /10000/);
  assert.ok((await page.locator(".wrow").count()) < 120, "only the rows in sight are in the page");
  const took = await page.evaluate(async () => {
    const body = document.querySelector(".waterfall-body");
    const times = [];
    for (let step = 0; step < 30; step++) {
      const begun = performance.now();
      body.scrollTop += 5000;
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      times.push(performance.now() - begun);
    }
    return times.sort((a, b) => a - b)[15];
  });
  console.log(`    scrolling: ${took.toFixed(0)} ms for each jump (median)`);
  assert.ok(took < JUMP_MS, `a jump takes ${took} ms`);
  await page.locator(".find").fill("/part/9876");
  await page.locator(".find").press("Enter");
  await page.locator(".wrow.match[aria-selected=true]", { hasText: "/part/9876" }).waitFor();
  assert.match(await page.locator(".matches").innerText(), /^1 of 10000/);
  await page.locator(".find").fill("");
  await page.getByRole("button", { name: "Collapse", exact: true }).click();
  await page.waitForFunction(() => document.querySelectorAll(".wrow").length < 30 || document.querySelector(".waterfall-rows").clientHeight < 200_000);
  await page.getByLabel("zoom in").click();
  await page.waitForFunction(() => document.querySelector(".ticks span").innerText !== "0 ns");
  await page.keyboard.press("Escape");
  await page.keyboard.press("0");
  await page.waitForFunction(() => document.querySelector(".ticks span").innerText === "0 ns");
});

test("what follows, what is incomplete and how sure a link is are shown as such", async () => {
  const { spans } = await agent.get("/v1/spans?service=mailer&limit=1");
  await visit(page, agent, `/trace/${spans[0].trace_id}`);
  const mail = page.locator(".wrow", { hasText: "mailer" });
  await mail.locator(".badge.follows", { hasText: "FollowsFrom" }).waitFor();
  assert.equal(Number(await mail.getAttribute("aria-level")) > 1, true, "it hangs under what it follows from");
  await mail.click();
  assert.match(await page.locator(".details").innerText(), /FollowsFrom[\s\S]*inferred 0\.83/);
  const { spans: all } = await agent.get("/v1/spans?limit=10000&kind=server");
  const torn = all.find((span) => span.incomplete !== null);
  await visit(page, agent, `/trace/${torn.trace_id}`);
  await page.locator(".badge.incomplete", { hasText: "reset" }).first().waitFor();
});

test("a trace is exported as OTLP JSON, exactly", async () => {
  const { spans: [one] } = await agent.get("/v1/spans?service=orders&kind=server&limit=1");
  const text = await (await fetch(`${agent.url}/v1/traces/${one.trace_id}`)).text();
  await visit(page, agent, `/trace/${one.trace_id}`);
  await page.locator(".wrow").first().waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".export").click()]);
  const otlp = JSON.parse(await readFile(await download.path(), "utf8"));
  const spans = otlp.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
  assert.equal(spans.length, JSON.parse(text).spans.length);
  for (const span of spans) {
    assert.equal(span.traceId, one.trace_id);
    assert.ok(text.includes(`"start_ns":${span.startTimeUnixNano},`), "not a nanosecond is lost");
    assert.ok([2, 3].includes(span.kind) && span.spanId.length === 16);
  }
  assert.ok(spans.some((span) => span.links.length === 1) && spans.some((span) => span.attributes.some(({ key, value }) => key === "netspan.link.confidence" && value.doubleValue === 1)));
  const services = otlp.resourceSpans.map(({ resource }) => resource.attributes.find(({ key }) => key === "service.name").value.stringValue);
  assert.ok(services.includes("orders") && services.includes("payments"));
});

test("HTML in a path is shown and never run", async () => {
  const { spans } = await agent.get(`/v1/spans?path=${encodeURIComponent("/search/*")}&limit=5`);
  assert.ok(spans.length > 0, "there is such a path");
  for (const hash of [`/search?last=all&path=${encodeURIComponent("/search/*")}`, `/trace/${spans[0].trace_id}?span=${spans[0].span_id}`, `/trace?last=all&path=${encodeURIComponent("/search/*")}`, "/paths?last=all", "/search?last=all&by=path", "/compare?last=all&by=path"]) {
    await visit(page, agent, hash);
    await page.locator(".row, .wrow").first().waitFor();
    if (hash.startsWith("/search?last=all&path")) {
      const row = page.locator(".row").first();
      assert.match(await row.innerText(), /<script>window\.hacked=1<\/script>/);
      await row.click();
      assert.match(await page.locator(".details").innerText(), /<img src=x onerror=/);
    }
    // Whatever is in the page has been drawn after two frames.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    assert.equal(await page.evaluate(() => window.hacked), undefined, hash);
    assert.equal(await page.locator("img").count(), 0);
  }
});

test("the page may do nothing but show, and others may not ask", async () => {
  const { headers } = await raw("/");
  const policy = headers["content-security-policy"];
  for (const part of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) assert.ok(policy.includes(part), policy);
  assert.ok(!/unsafe|https?:|\*/.test(policy));
  assert.equal(headers["x-content-type-options"], "nosniff");
  for (const path of ["/", "/assets/app.js", "/v1/spans"]) {
    const answer = await raw(path, { "Sec-Fetch-Site": "same-origin" });
    assert.equal(answer.statusCode, 200);
    assert.equal(answer.headers["access-control-allow-origin"], undefined, "CORS is closed");
  }
  // A link to a view may be followed from elsewhere; data may not be asked for from there, nor under another name.
  assert.equal((await raw("/", { "Sec-Fetch-Site": "cross-site" })).statusCode, 200);
  assert.equal((await raw("/v1/spans", { "Sec-Fetch-Site": "cross-site" })).statusCode, 403);
  assert.equal((await raw("/", { Host: "evil.example" })).statusCode, 403);
  assert.equal((await raw("/v1/spans", { Origin: "http://evil.example" })).statusCode, 403);
  const { etag } = (await raw("/assets/app.js")).headers;
  assert.equal((await raw("/assets/app.js", { "If-None-Match": etag })).statusCode, 304);
  const stopped = await page.evaluate(async () => {
    const refused = [];
    const told = new Promise((done) => {
      document.addEventListener("securitypolicyviolation", (event) => {
        refused.push(event.effectiveDirective);
        if (event.effectiveDirective === "connect-src") done();
      });
    });
    try {
      document.body.insertAdjacentHTML("beforeend", "<b>x</b>");
      refused.push("it was parsed");
    } catch {
      // That is what Trusted Types are for.
    }
    await fetch("http://127.0.0.1:9/").catch(() => {});
    await told;
    return refused;
  });
  assert.ok(stopped.includes("connect-src") && !stopped.includes("it was parsed"), String(stopped));
  page.wrong = [];
});

test("light and dark", async () => {
  const shade = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number).reduce((sum, one) => sum + one));
  for (const [colorScheme, isLight] of [["light", true], ["dark", false]]) {
    const other = await open(browser, { colorScheme });
    await visit(other, agent, "/flow?last=all");
    await other.locator(".node").first().waitFor();
    assert.equal((await shade(other)) > 382, isLight);
    await other.keyboard.press("t");
    assert.equal((await shade(other)) > 382, !isLight, "the key turns it");
    await other.close();
  }
});

test("where a token is asked for, the page asks for it", async () => {
  const guarded = await Agent.start({ traces: 20, token: "open-sesame-please" });
  const other = await open(browser);
  try {
    await visit(other, guarded, "/search?last=all");
    const field = other.locator('[role=dialog] input[name="token"]');
    await field.fill("open-sesame-please");
    await field.press("Enter");
    await other.locator('[aria-label="spans"] .row').first().waitFor();
    assert.equal(await other.locator("[role=dialog]").count(), 0);
    assert.ok(!other.asked.some((url) => url.includes("open-sesame-please")), "the token is in no address");
  } finally {
    await other.close();
    await guarded.stop();
  }
});

test("nothing went wrong in the page", () => assert.deepEqual(page.wrong, []));
