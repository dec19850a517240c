// The UI of Jaeger, as the crate `otlp-embedded` ships it, pointed at an agent: it finds, shows and draws what is stored.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { jaeger } from "./jaeger.mjs";
import { browse, eventually, open } from "./page.mjs";

const DIRECTORY = process.env.NETSPAN_JAEGER_UI;
const skip = DIRECTORY ? false : "NETSPAN_JAEGER_UI names no build of Jaeger's UI";

let agent;
let browser;
let ui;
const pages = [];

before(async () => {
  if (skip) return;
  agent = await Agent.start({ traces: 300, minutes: 20 });
  ui = await jaeger(DIRECTORY, agent);
  browser = await browse();
});
after(async () => {
  await browser?.close();
  ui?.close();
  await agent?.stop();
});

/** A page. Each test has one of its own, so that none needs what another left. */
async function fresh() {
  const page = await open(browser);
  pages.push(page);
  return page;
}

/**
 * Chooses `name` in one of the lists of the search's form, by the keyboard: lists open and close slowly, lie above each other
 * meanwhile, and their items are replaced while one points at them. Gives all that could be chosen.
 */
async function choose(page, list, name) {
  const field = page.locator(`[name=${list}] input[role=combobox]`);
  await field.focus();
  await field.press("ArrowDown");
  await page.locator(`[name=${list}] input[aria-expanded=true][aria-controls]`).waitFor();
  const own = `[id="${await field.getAttribute("aria-controls")}"]`;
  // What it offers comes from the agent, maybe after it opened.
  const items = page.locator(`.ant-select-dropdown:has(${own}) .ant-select-item-option`);
  await items.and(page.locator(`[title="${name}"]`)).waitFor();
  const names = await items.evaluateAll((all) => all.map((item) => item.title));
  // What is typed narrows it; others that have the name in theirs remain, so it goes down to the very one.
  await field.fill(name);
  await eventually(async () => {
    const active = await field.getAttribute("aria-activedescendant");
    const label = await page.locator(`${own} [id="${active}"]`).getAttribute("aria-label", { timeout: 1000 });
    if (label !== name) await field.press("ArrowDown");
    assert.equal(label, name);
  });
  await field.press("Enter");
  await page.locator(`[name=${list}] .ant-select-content-value[title="${name}"]`).waitFor();
  await page.locator(`[name=${list}] input[aria-expanded=false]`).waitFor();
  return names;
}

test("its search finds what is asked for by service, operation and tags", { skip }, async () => {
  const page = await fresh();
  await page.goto(`${ui.url}/search`);
  const services = await choose(page, "service", "orders");
  assert.ok(services.includes("shop") && services.includes("nginx"), String(services));
  assert.ok((await choose(page, "operation", "POST")).includes("all"));
  await page.locator("input[name=tags]").fill("http.response.status_code=200 span.kind=server");
  const [asked] = await Promise.all([
    page.waitForResponse((response) => response.url().includes("/api/traces?")),
    page.getByRole("button", { name: "Find Traces" }).click(),
  ]);
  const sent = new URL(asked.url()).searchParams;
  assert.deepEqual([sent.get("service"), sent.get("operation")], ["orders", "POST"]);
  const { data } = await asked.json();
  assert.ok(data.length > 0);
  const fits = (span, processes) => processes[span.processID].serviceName === "orders" && span.operationName === "POST" && span.tags.some(({ key, value }) => key === "http.response.status_code" && value === 200);
  for (const trace of data) assert.ok(trace.spans.some((span) => fits(span, trace.processes)), trace.traceID);
  const results = page.locator("a.ResultItemTitle--item");
  await eventually(async () => assert.equal(await results.count(), data.length));
  await results.first().click();
  await page.waitForURL(/\/trace\/[0-9a-f]+/);
  await page.locator(".span-row").first().waitFor();
});

test("its view of a trace has every span, with tags and process", { skip }, async () => {
  const { traces } = await agent.get("/v1/traces?service=orders&limit=1");
  const { spans } = await agent.get(`/v1/traces/${traces[0].trace_id}`);
  const page = await fresh();
  await page.goto(`${ui.url}/trace/${traces[0].trace_id}`);
  const names = spans.map((span) => span.service).sort();
  await eventually(async () => {
    assert.equal(await page.locator(".span-row").count(), spans.length);
    const shown = await page.locator(".span-svc-name").allInnerTexts();
    assert.deepEqual(shown.map((name) => name.trim()).sort(), names);
  });
  await page.locator(".span-view").first().click();
  await page.getByText("Process:").waitFor();
  await eventually(async () => {
    const text = await page.locator("body").innerText();
    assert.match(text, /span\.kind=(server|client)/);
    assert.match(text, /process\.executable\.name=/);
  });
});

test("its picture of the system has every service that calls or is called", { skip }, async () => {
  const page = await fresh();
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().includes("/api/dependencies?")),
    page.goto(`${ui.url}/dependencies`),
  ]);
  const { data } = await answer.json();
  const names = new Set(data.flatMap(({ parent, child }) => [parent, child]));
  assert.ok(names.has("orders") && names.size >= 8, [...names].join());
  for (const name of names) await page.getByText(name, { exact: true }).first().waitFor();
});

test("nothing that it asked was refused, and nothing went wrong in it", { skip }, () => {
  assert.deepEqual([ui.failed, pages.flatMap((page) => page.wrong)], [[], []]);
});
