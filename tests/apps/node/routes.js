// The routes of the test programs on Node's own HTTP servers: `routes.js PORT [h1|h2 [CHAIN KEY]]`.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const http2 = require('http2');

const [port, version, chain, key] = process.argv.slice(2);

const routes = (request, response) => {
  const [, route, argument] = request.url.split('?')[0].split('/');
  const answer = (status, body) => {
    response.writeHead(status, body.length ? { 'Content-Length': body.length } : {});
    response.end(body);
  };
  switch (route) {
    case 'hello':
      return answer(200, 'hello\n');
    case 'echo': {
      let total = 0;
      request.on('data', (piece) => { total += piece.length; });
      return request.on('end', () => answer(200, String(total)));
    }
    case 'bytes':
      return answer(200, 'b'.repeat(Number(argument)));
    case 'chunked': {
      response.writeHead(200);
      for (let left = Number(argument); left > 0; left -= 1000) response.write('c'.repeat(Math.min(1000, left)));
      return response.end();
    }
    case 'status': {
      const code = Number(argument);
      return answer(code, code === 204 || code === 304 ? '' : 'status\n');
    }
    case 'slow':
      return setTimeout(() => answer(200, 'slow\n'), Number(argument));
    default:
      return answer(404, 'none\n');
  }
};

const create = () => {
  if (!chain) return (version === 'h2' ? http2 : http).createServer(routes);
  const certificate = { cert: fs.readFileSync(chain), key: fs.readFileSync(key) };
  return version === 'h2' ? http2.createSecureServer(certificate, routes) : https.createServer(certificate, routes);
};
const server = create();
server.on('upgrade', (request, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  if (head.length) socket.write(head);
  socket.on('data', (piece) => socket.write(piece));
  socket.on('end', () => socket.end());
  socket.on('error', () => {});
});
server.listen(Number(port), '127.0.0.1');
