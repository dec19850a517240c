// Jaeger's UI in front of an agent, as a query service would serve it: its files, and `/api/` passed on.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer, request } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon" };

/** Serves the UI in `directory` over the agent; `failed` gets what the agent did not answer with 200. */
export async function jaeger(directory, agent) {
  const failed = [];
  const server = createServer((asked, answer) => {
    if (asked.url.startsWith("/api/")) return void pass(asked, answer, agent, failed);
    const path = normalize(new URL(asked.url, "http://ui").pathname);
    const file = join(directory, path);
    // Its views have addresses of their own, and are all the one page.
    const found = existsSync(file) && statSync(file).isFile() ? file : join(directory, "index.html");
    answer.setHeader("content-type", TYPES[extname(found)] ?? "application/octet-stream");
    createReadStream(found).pipe(answer);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, failed, close: () => (server.closeAllConnections(), server.close()) };
}

function pass(asked, answer, agent, failed) {
  const { host } = new URL(agent.url);
  const passed = request(agent.url + asked.url, { method: asked.method, headers: { host, accept: asked.headers.accept ?? "*/*" } }, (response) => {
    if (response.statusCode !== 200) failed.push(`${response.statusCode} ${asked.url}`);
    answer.writeHead(response.statusCode, response.headers);
    response.pipe(answer);
  });
  passed.on("error", (error) => (failed.push(`${error.message} ${asked.url}`), answer.destroy()));
  passed.end();
}
