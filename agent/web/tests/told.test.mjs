// What the views say when an answer is not all of it, when there is nothing, and when nobody answers; and that it can be read.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent } from "./agent.mjs";
import { browse, eventually, open, visit } from "./page.mjs";

const VIEWS = ["/search?last=all", "/trace?last=all", "/flow?last=all", "/paths?last=all", "/compare?last=all", "/compare?last=all&by=edge"];

let agent;
let browser;
let trace;

before(async () => {
  agent = await Agent.start({ traces: 400, minutes: 10, big: 100 });
  browser = await browse();
  trace = `/trace/${(await agent.get("/v1/spans?service=mailer&limit=1")).spans[0].trace_id}`;
});
after(async () => {
  await browser?.close();
  await agent?.stop();
});

/** A page for which answers are changed on their way. */
async function changed(change) {
  const page = await open(browser);
  await page.route(/\/v1\/(spans|traces|map|paths|stat)\b/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: change(await answer.text()) });
  });
  return page;
}

test("an answer that is not all of it is said to be so, in plain words", async () => {
  const cut = await changed((text) => text.replace('"has_more":false', '"has_more":true').replace('"is_whole":true', '"is_whole":false'));
  const says = { search: /the newest \d+ only, from \d\d:\d\d:\d\d on/, trace: /only the newest, from \d/, flow: /only the newest/, paths: /are not shown/ };
  for (const hash of VIEWS.filter((hash) => hash !== "/compare?last=all")) {
    await visit(cut, agent, hash);
    await cut.locator(".cut").waitFor();
    const name = /\w+/.exec(hash)[0];
    assert.match(await cut.locator(".cut").innerText(), says[name] ?? /not all was looked at/, hash);
  }
  await visit(cut, agent, trace);
  await cut.locator(".cut", { hasText: "more spans" }).waitFor();
  const grouped = await changed((text) => text.replace(/"name":"[^"]*"/, '"name":"(other)"'));
  for (const hash of ["/search?last=all&by=path", "/compare?last=all&by=path"]) {
    await visit(grouped, agent, hash);
    await grouped.locator(".cut").waitFor();
  }
  await cut.close();
  await grouped.close();
});

test("an answer that is all of it is not said to be cut", async () => {
  const page = await changed((text) => text.replace('"has_more":true', '"has_more":false'));
  for (const hash of [...VIEWS, trace]) {
    await visit(page, agent, hash);
    await page.locator(".row, .wrow").first().waitFor();
    assert.equal(await page.locator(".cut").count(), 0, hash);
  }
  await page.close();
});

test("where there is nothing, it is said what to do", async () => {
  const page = await open(browser);
  for (const hash of VIEWS) {
    await visit(page, agent, `${hash}&path=/nowhere`);
    const empty = page.locator(".empty").first();
    await empty.locator("b").waitFor();
    assert.match(await empty.innerText(), /Ask for a longer time or fewer rules/, hash);
  }
  await visit(page, agent, `/trace/${"0".repeat(31)}1`);
  await page.locator(".empty", { hasText: "no span of this trace is stored" }).waitFor();
  await page.getByRole("button", { name: "The newest traces" }).click();
  await page.locator('[aria-label="traces"] .row').first().waitFor();
  await page.close();
});

test("when the agent does not answer, each view says so, and shows the next answer", async () => {
  const page = await open(browser);
  let isDown = true;
  await page.route(/\/v1\//, (route) => (isDown ? route.abort() : route.continue()));
  for (const hash of [...VIEWS, trace, "/health", "/live"]) {
    await visit(page, agent, hash);
    await page.locator(".notice, .empty", { hasText: "the agent does not answer: is it running?" }).first().waitFor();
  }
  await visit(page, agent, "/search?last=all");
  await page.locator(".notice", { hasText: "the agent does not answer" }).waitFor();
  isDown = false;
  await page.keyboard.press("r");
  await page.locator('[aria-label="spans"] .row').first().waitFor();
  await eventually(async () => assert.equal(await page.locator(".notice.bad").count(), 0));
  await page.close();
});

test("every list has room, whatever is above it", async () => {
  const page = await open(browser);
  for (const hash of [...VIEWS, "/compare?last=all&mode=filter", "/search?last=all&by=path", "/flow?last=all&service=shop", "/health", "/live"]) {
    await visit(page, agent, hash);
    await eventually(async () => {
      const { height } = await page.locator(".table").first().boundingBox();
      assert.ok(height > 150, `${hash}: ${height} pixels`);
    });
  }
  await page.close();
});

test("who is chosen in the flow graph is in sight, also where the graph is wider than its place", async () => {
  const page = await open(browser, { viewport: { width: 1000, height: 800 } });
  for (const service of ["nginx", "payments"]) {
    await visit(page, agent, `/flow?last=all&service=${service}`);
    await page.locator(".node.focus").waitFor();
    await eventually(async () => {
      const [node, place] = [await page.locator(".node.focus").boundingBox(), await page.locator(".graph").boundingBox()];
      assert.ok(node.x >= place.x && node.x + node.width <= place.x + place.width, `${service}: ${JSON.stringify([node, place])}`);
    });
  }
  await page.close();
});

test("a rule that is chosen in a trace searches for what fits", async () => {
  const page = await open(browser);
  await visit(page, agent, trace);
  await page.locator(".wrow", { hasText: "mailer" }).click();
  await page.getByRole("button", { name: "Only mailer" }).click();
  await page.waitForURL(/#\/search\?service=mailer/);
  await page.close();
});

/** The texts in sight that are fainter than WCAG's level AA has it: 4.5 to 1, or 3 to 1 where they are large. */
function faint() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  // Whatever a style's colour is written as, one over the other.
  const over = (colors) => {
    context.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      context.fillStyle = color;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    if (!texts.currentNode.data.trim() || !box.width || box.top > innerHeight || element.closest("title, :disabled, option, svg, script")) continue;
    const style = getComputedStyle(element);
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const [a, b] = [light(over(behind)), light(over([...behind, style.color]))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) found.add(`${element.className || element.tagName} "${texts.currentNode.data.trim().slice(0, 20)}": ${ratio.toFixed(2)}`);
  }
  return [...found];
}

for (const colorScheme of ["light", "dark"]) {
  test(`every text can be read: ${colorScheme}`, async () => {
    const page = await open(browser, { colorScheme });
    for (const hash of [...VIEWS, trace, "/search?last=all&by=path", "/flow?last=all&service=payments", "/health", "/live"]) {
      await visit(page, agent, hash);
      if (hash !== "/live" && hash !== "/health") await page.locator(".row, .wrow").first().waitFor();
      if (hash.startsWith("/search?last=all") || hash === trace) await page.keyboard.press("j");
      assert.deepEqual(await page.evaluate(faint), [], hash);
    }
    await page.keyboard.press("?");
    await page.locator("[role=dialog]").waitFor();
    assert.deepEqual(await page.evaluate(faint), [], "help");
    await page.close();
  });
}

test("every control has a name, and the keyboard comes to it", async () => {
  const page = await open(browser);
  for (const hash of [...VIEWS, trace, "/health", "/live"]) {
    await visit(page, agent, hash);
    if (hash !== "/live") await page.locator(".row, .wrow, .tile").first().waitFor();
    const wrong = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, a, [role=button], [role=slider], [role=table], canvas")].filter((one) => {
        const name = one.getAttribute("aria-label") ?? one.innerText ?? one.textContent;
        const isReached = one.tagName === "CANVAS" || one.disabled || one.tabIndex >= 0;
        return !name.trim() || !isReached;
      }).map((one) => one.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(wrong, [], hash);
  }
  await page.close();
});
