// The shop's catalogue: Node's own HTTP server. It knows nothing of tracing.
'use strict';
const http = require('http');

const names = ['lamp', 'chair', 'table', 'shelf', 'mirror', 'carpet', 'clock', 'vase'];
const products = Array.from({ length: 40 }, (_, id) => ({
  id, name: `${names[id % names.length]} ${id}`, price: 5 + ((id * 37) % 90),
}));

http.createServer((request, response) => {
  const url = new URL(request.url, 'http://catalogue');
  const answer = (status, value) => {
    const body = JSON.stringify(value);
    // A data base would take about so long.
    setTimeout(() => {
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
      response.end(body);
    }, 2);
  };
  const one = /^\/products\/(\d+)$/.exec(url.pathname);
  if (one) {
    const found = products[Number(one[1])];
    return found ? answer(200, found) : answer(404, { error: 'no such product' });
  }
  if (url.pathname === '/products') {
    const wanted = url.searchParams.get('q') || '';
    const limit = Number(url.searchParams.get('limit') || 10);
    return answer(200, products.filter((product) => product.name.includes(wanted)).slice(0, limit));
  }
  return answer(404, { error: 'no such page' });
}).listen(Number(process.argv[2]), '127.0.0.1');
