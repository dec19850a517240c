// A front end on Node's event loop: `node.js PORT LOG DOWNSTREAM...`, each DOWNSTREAM a port of 127.0.0.1. What belongs
// together is written to LOG at the end: `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`.
'use strict';
const fs = require('fs');
const http = require('http');

const [port, log, ...downstream] = process.argv.slice(2);
const agents = downstream.map(() => new http.Agent({ keepAlive: true }));
const truth = [];
const seen = { in: new Map(), out: new Map() };
// Request ids that are handed on, by what the request is called in the truth.
const ids = new Map();

const count = (ports, number) => {
  const ordinal = ports.get(number) || 0;
  ports.set(number, ordinal + 1);
  return ordinal;
};

const call = (own, which, path) => new Promise((resolve, reject) => {
  const headers = ids.get(own) ? { 'X-Request-ID': ids.get(own) } : {};
  const options = { host: '127.0.0.1', port: downstream[which], path, agent: agents[which], headers };
  http.get(options, (response) => {
    const local = `${response.socket.localPort} ${downstream[which]}`;
    truth.push(`${own} ${local} ${count(seen.out, local)}`);
    response.resume();
    response.on('end', resolve);
  }).on('error', reject);
});
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const routes = {
  async one(own) { await call(own, 0, '/a'); },
  async sequence(own) {
    await call(own, 0, '/a');
    await call(own, 1, '/b');
  },
  async parallel(own) {
    await Promise.all([call(own, 0, '/a'), call(own, 1, '/b')]);
    await call(own, 0, '/c');
  },
  async cached(own) {
    await call(own, 0, '/a');
    if (Math.random() < 0.5) await call(own, 1, '/b');
  },
  async timer(own) {
    await sleep(2 + 6 * Math.random());
    await call(own, 0, '/a');
    await sleep(2 + 6 * Math.random());
    await call(own, 1, '/b');
  },
  async none() {},
};

http.createServer(async (request, response) => {
  const remote = request.socket.remotePort;
  const own = `${remote} ${count(seen.in, remote)}`;
  ids.set(own, request.headers['x-request-id']);
  await (routes[request.url.slice(1).split('?')[0]] || routes.none)(own);
  ids.delete(own);
  response.end('done\n');
}).listen(Number(port), '127.0.0.1');

process.on('SIGTERM', () => {
  fs.writeFileSync(log, truth.join('\n') + '\n');
  process.exit(0);
});
