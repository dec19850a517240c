// The routes of the test programs on Node's own HTTP server.
'use strict';
const http = require('http');

const server = http.createServer((request, response) => {
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
});
server.on('upgrade', (request, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  if (head.length) socket.write(head);
  socket.on('data', (piece) => socket.write(piece));
  socket.on('end', () => socket.end());
  socket.on('error', () => {});
});
server.listen(Number(process.argv[2]), '127.0.0.1');
