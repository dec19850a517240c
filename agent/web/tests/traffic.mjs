// A server, and clients that ask it for paths: `traffic.mjs CLIENTS PAUSE_MS`. It runs until it is killed.
import http from "node:http";

const [clients, pause] = process.argv.slice(2).map(Number);
const paths = ["/items/1", "/items/2", "/cart", "/<b onclick=alert(1)>bold</b>"];
let asked = 0;
const server = http.createServer((request, response) => {
  response.statusCode = request.url === "/cart" && asked % 5 === 0 ? 503 : 200;
  response.end("hello");
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients });
  const ask = () => {
    // Node's parser refuses a path with brackets and blanks unless it is told not to look.
    const path = paths[asked++ % paths.length].replace(" ", "%20");
    // Names of different widths, so that what stands after them could jump.
    const method = path === "/items/2" ? "DELETE" : "GET";
    const request = http.request({ port, host: "127.0.0.1", method, path, agent, insecureHTTPParser: true }, (response) => {
      response.resume();
      response.on("end", () => setTimeout(ask, pause));
    });
    request.on("error", () => setTimeout(ask, 100));
    request.end();
  };
  for (let n = 0; n < clients; n++) ask();
  console.log(port);
});
