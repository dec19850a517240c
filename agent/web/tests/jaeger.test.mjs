// The UI of Jaeger, as the crate `otlp-embedded` ships it, pointed at an agent: it finds, shows and draws what is stored.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { jaeger } from "./jaeger.mjs";
import { browse, open } from "./page.mjs";

const DIRECTORY = process.env.NETSPAN_JAEGER_UI;
const skip = DIRECTORY ? false : "NETSPAN_JAEGER_UI names no build of Jaeger's UI";

let agent;
let browser;
let ui;
let page;

before(async () => {
  if (skip) return;
  agent = await Agent.start({ traces: 300, minutes: 20 });
  ui = await jaeger(DIRECTORY, agent);
  browser = await browse();
  page = await open(browser);
});
after(async () => {
  await browser?.close();
  ui?.close();
  await agent?.stop();
});

/** Chooses `name` in the n-th list of the search's form; gives all that could be chosen. */
async function choose(at, name) {
  const list = page.locator("input[role=combobox]").nth(at);
  await list.click();
  // The list shows some at a time; what is typed narrows it.
  const all = page.locator(".ant-select-item-option:visible");
  await all.first().waitFor();
  const names = await all.allInnerTexts();
  await list.fill(name);
  await all.getByText(name, { exact: true }).click();
  // It closes slowly; until then its items would be taken for the next list's.
  await all.first().waitFor({ state: "hidden" });
  return names;
}

test("its search finds what is asked for by service, operation and tags", { skip }, async () => {
  await page.goto(`${ui.url}/search`);
  const [, services] = await Promise.all([
    page.waitForResponse((response) => response.url().includes("operations")),
    choose(0, "orders"),
  ]);
  assert.ok(services.includes("shop") && services.includes("nginx"), String(services));
  assert.ok((await choose(1, "POST")).includes("all"));
  await page.locator("input[name=tags]").fill("http.response.status_code=200 span.kind=server");
  const [asked] = await Promise.all([
    page.waitForResponse((response) => response.url().includes("/api/traces?")),
    page.getByRole("button", { name: "Find Traces" }).click(),
  ]);
  const { data } = await asked.json();
  assert.ok(data.length > 0);
  const fits = (span, processes) => processes[span.processID].serviceName === "orders" && span.operationName === "POST" && span.tags.some(({ key, value }) => key === "http.response.status_code" && value === 200);
  for (const trace of data) assert.ok(trace.spans.some((span) => fits(span, trace.processes)), trace.traceID);
  await page.locator("a.ResultItemTitle--item").first().waitFor();
  assert.equal(await page.locator("a.ResultItemTitle--item").count(), data.length);
});

test("its view of a trace has every span, with tags and process", { skip }, async () => {
  const first = page.locator("a.ResultItemTitle--item").first();
  const id = (await first.getAttribute("href")).split("/").pop();
  await first.click();
  const rows = page.locator(".span-row");
  await rows.first().waitFor();
  const { spans } = await agent.get(`/v1/traces/${id}`);
  assert.equal(await rows.count(), spans.length);
  const shown = (await page.locator(".span-svc-name").allInnerTexts()).map((name) => name.trim()).sort();
  assert.deepEqual(shown, spans.map((span) => span.service).sort());
  await page.locator(".span-view").first().click();
  await page.getByText("Process:").waitFor();
  const text = await page.locator("body").innerText();
  assert.match(text, /span\.kind=(server|client)/);
  assert.match(text, /process\.executable\.name=/);
});

test("its picture of the system has every service that calls or is called", { skip }, async () => {
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
  assert.deepEqual([ui.failed, page.wrong], [[], []]);
});
