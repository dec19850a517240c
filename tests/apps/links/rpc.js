// A front end that speaks gRPC on both sides: `rpc.js MODULES PORT LOG DOWNSTREAM...`. Nothing is written to LOG: a call's message says
// which request it belongs to.
'use strict';
const { createRequire } = require('module');

const [modules, port, , ...downstream] = process.argv.slice(2);
const grpc = createRequire(`${modules}/`)('@grpc/grpc-js');

const same = (message) => message;
const clients = downstream.map((to) => new grpc.Client(`127.0.0.1:${to}`, grpc.credentials.createInsecure(), {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
}));

function call(which, path, message) {
  return new Promise((resolve, reject) => {
    clients[which].makeUnaryRequest(path, same, same, message, (error) => (error ? reject(error) : resolve()));
  });
}

const pause = () => new Promise((resolve) => { setTimeout(resolve, 2 + Math.random() * 6); });

const work = {
  one: (message) => call(0, '/lab.Back/A', message),
  sequence: async (message) => {
    await call(0, '/lab.Back/A', message);
    await call(1, '/lab.Back/B', message);
  },
  parallel: async (message) => {
    await Promise.all([call(0, '/lab.Back/A', message), call(1, '/lab.Back/B', message)]);
    await call(0, '/lab.Back/C', message);
  },
  cached: async (message) => {
    await call(0, '/lab.Back/A', message);
    if (Math.random() < 0.5) await call(1, '/lab.Back/B', message);
  },
  timer: async (message) => {
    await pause();
    await call(0, '/lab.Back/A', message);
    await pause();
    await call(1, '/lab.Back/B', message);
  },
  none: async () => {},
};

const definition = {};
const service = {};
for (const [name, own] of Object.entries(work)) {
  definition[name] = {
    path: `/lab.Links/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  service[name] = (asked, done) => own(asked.request).then(() => done(null, Buffer.from('done')), done);
}
const server = new grpc.Server();
server.addService(definition, service);
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
