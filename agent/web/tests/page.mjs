// A browser, and what the tests do with a page.
import { chromium } from "playwright-core";

/** How long a test waits for what must come. Machines of CI are slow, and only a test that fails waits so long. */
export const PATIENCE_MS = 60_000;

export const browse = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

/** A page that remembers what went wrong in it, and whom it asked. */
export async function open(browser, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, ...options });
  page.wrong = [];
  page.asked = [];
  page.on("console", (message) => message.type() === "error" && page.wrong.push(message.text()));
  page.on("pageerror", (error) => page.wrong.push(error.message));
  page.on("request", (request) => page.asked.push(request.url()));
  page.setDefaultTimeout(PATIENCE_MS);
  return page;
}

/** Checks again and again until nothing is wrong, for pages go on changing; what is wrong in the end is thrown. */
export async function eventually(check) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Goes to a view, which is read from the address as if it had been shared. */
export async function visit(page, agent, hash) {
  await page.goto("about:blank");
  await page.goto(`${agent.url}/#${hash}`);
}

/** The texts of a table's column, as far as its rows are in sight. */
export async function column(page, name, table = "") {
  const scope = table ? `[role=table][aria-label="${table}"] ` : "";
  const heads = await page.locator(`${scope}[role=columnheader]`).allInnerTexts();
  const at = heads.findIndex((head) => head.trim().startsWith(name));
  if (at < 0) throw new Error(`no column ${name} in ${heads}`);
  // By their places: the page's order is not theirs.
  return page.locator(`${scope}.row`).evaluateAll(
    (rows, at) => rows.map((row) => [Number(row.getAttribute("aria-rowindex")), row.children[at].innerText.trim()]).sort((a, b) => a[0] - b[0]).map(([, text]) => text),
    at,
  );
}

/** Nanoseconds of a duration as it is shown. */
export function ns(text) {
  const [, number, unit] = /([\d.]+) (ns|µs|ms|s|min)/.exec(text) ?? [];
  return Number(number) * { ns: 1, µs: 1e3, ms: 1e6, s: 1e9, min: 60e9 }[unit];
}
