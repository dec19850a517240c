// Does what a plan on standard input says, with all connections in one event loop, and prints each exchange.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const http2 = require('http2');

const plan = JSON.parse(fs.readFileSync(0, 'utf8'));
const [host, port] = plan.address.split(':');
const secure = plan.authority !== null;
const trust = secure ? { ca: fs.readFileSync(plan.authority), servername: 'localhost' } : {};
const exchanges = [];

const told = (connection, localPort, asked, status, body) =>
  exchanges.push({ connection, port: localPort, method: asked.method, path: asked.path, status, body });

function overHttp1(connection, agent, asked) {
  return new Promise((resolve, reject) => {
    const headers = asked.body ? { 'Content-Length': asked.body } : {};
    const options = { host, port, agent, method: asked.method, path: asked.path, headers, ...trust };
    const request = (secure ? https : http).request(options, (response) => {
      const { localPort } = response.socket;
      let total = 0;
      response.on('data', (piece) => { total += piece.length; });
      response.on('error', reject);
      response.on('end', () => {
        told(connection, localPort, asked, response.statusCode, total);
        resolve();
      });
    });
    request.on('error', reject);
    request.end(asked.body ? Buffer.alloc(asked.body, 'b') : undefined);
  });
}

function overHttp2(connection, session, localPort, asked) {
  return new Promise((resolve, reject) => {
    const head = { ':method': asked.method, ':path': asked.path };
    const stream = session.request(head, { endStream: !asked.body });
    let status, total = 0;
    stream.on('response', (headers) => { status = headers[':status']; });
    stream.on('data', (piece) => { total += piece.length; });
    stream.on('error', reject);
    stream.on('end', () => {
      told(connection, localPort, asked, status, total);
      resolve();
    });
    if (asked.body) stream.end(Buffer.alloc(asked.body, 'b'));
  });
}

// So many at once as the plan wants.
async function each(requests, inFlight, one) {
  const left = requests[Symbol.iterator]();
  await Promise.all(Array.from({ length: inFlight }, async () => {
    for (const asked of left) await one(asked);
  }));
}

async function onConnection(requests, connection) {
  if (plan.version === 'h1') {
    const agent = new (secure ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
    await each(requests, 1, (asked) => overHttp1(connection, agent, asked));
    return agent.destroy();
  }
  const session = http2.connect(`${secure ? 'https' : 'http'}://${plan.address}`, trust);
  await new Promise((resolve, reject) => session.once('connect', resolve).once('error', reject));
  const { localPort } = session.socket;
  await each(requests, Math.max(1, plan.in_flight), (asked) => overHttp2(connection, session, localPort, asked));
  await new Promise((resolve) => session.close(resolve));
}

Promise.all(plan.connections.map(onConnection)).then(
  () => process.stdout.write(JSON.stringify(exchanges)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
