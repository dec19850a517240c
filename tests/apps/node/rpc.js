// The service `lab.Lab` on @grpc/grpc-js, server and client; messages are bytes.
//
//   rpc.js MODULES serve-rpc PORT [CHAIN KEY]
//   rpc.js MODULES call < plan.json > outcomes.json
'use strict';
const fs = require('fs');
const { createRequire } = require('module');

const [modules, task, port, chain, key] = process.argv.slice(2);
const grpc = createRequire(`${modules}/`)('@grpc/grpc-js');

const SERVICE = 'lab.Lab';
const same = (message) => message;
const number = (message) => Number(message.toString().split(' ')[0]) || 0;

const service = {
  Echo: (call, done) => done(null, call.request),
  Count: (call) => {
    for (let ordinal = 0; ordinal < number(call.request); ordinal += 1) call.write(Buffer.from(String(ordinal)));
    const code = Number(call.request.toString().split(' ')[1]) || 0;
    if (code) call.emit('error', { code, details: 'counted' });
    else call.end();
  },
  Sum: (call, done) => {
    let total = 0;
    call.on('data', (message) => { total += number(message); });
    call.on('end', () => done(null, Buffer.from(String(total))));
  },
  Chat: (call) => {
    call.on('data', (message) => call.write(message));
    call.on('end', () => call.end());
  },
  Fail: (call, done) => {
    const text = call.request.toString();
    done({ code: number(call.request), details: text.slice(text.indexOf(' ') + 1) });
  },
  Slow: (call, done) => {
    const timer = setTimeout(() => done(null, Buffer.from('slow')), number(call.request));
    call.on('cancelled', () => clearTimeout(timer));
  },
};

function serve() {
  const definition = {};
  for (const name of Object.keys(service)) {
    definition[name] = {
      path: `/${SERVICE}/${name}`,
      requestStream: name === 'Sum' || name === 'Chat',
      responseStream: name === 'Count' || name === 'Chat',
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
  }
  const server = new grpc.Server();
  server.addService(definition, service);
  const pair = () => ({ cert_chain: fs.readFileSync(chain), private_key: fs.readFileSync(key) });
  const credentials = chain
    ? grpc.ServerCredentials.createSsl(null, [pair()])
    : grpc.ServerCredentials.createInsecure();
  server.bindAsync(`127.0.0.1:${port}`, credentials, (error) => {
    if (error) throw error;
  });
}

function one(client, asked, done) {
  const { path } = done;
  const message = Buffer.from(asked.message);
  const metadata = new grpc.Metadata();
  const options = asked.deadline_ms === null ? {} : { deadline: Date.now() + asked.deadline_ms };
  return new Promise((resolve) => {
    const ended = (error) => {
      if (error) done.status = error.code;
      resolve();
    };
    const answered = (error) => {
      if (!error) done.received = 1;
      ended(error);
    };
    const streamed = (call, more) => {
      let failure = null;
      call.on('data', () => {
        done.received += 1;
        more();
      });
      call.on('error', (error) => { failure = error; });
      call.on('status', (status) => ended(status.code ? failure || status : null));
    };
    if (asked.rpc === 'Count') {
      done.sent = 1;
      streamed(client.makeServerStreamRequest(path, same, same, message, metadata, options), () => {});
    } else if (asked.rpc === 'Sum') {
      const call = client.makeClientStreamRequest(path, same, same, metadata, options, answered);
      for (; done.sent < asked.count; done.sent += 1) call.write(message);
      call.end();
    } else if (asked.rpc === 'Chat') {
      const call = client.makeBidiStreamRequest(path, same, same, metadata, options);
      const next = () => {
        if (done.sent === asked.count) return call.end();
        done.sent += 1;
        return call.write(message);
      };
      streamed(call, next);
      next();
    } else {
      done.sent = 1;
      client.makeUnaryRequest(path, same, same, message, metadata, options, answered);
    }
  });
}

async function call() {
  const plan = JSON.parse(fs.readFileSync(0, 'utf8'));
  const outcomes = [];
  await Promise.all(plan.connections.map(async (calls, connection) => {
    const credentials = plan.authority
      ? grpc.credentials.createSsl(fs.readFileSync(plan.authority))
      : grpc.credentials.createInsecure();
    // Without a pool of its own, a client shares its connection with the others.
    const client = new grpc.Client(plan.address, credentials, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_http_proxy': 0,
      ...(plan.authority ? { 'grpc.ssl_target_name_override': 'localhost' } : {}),
    });
    await new Promise((resolve, reject) => {
      client.waitForReady(Date.now() + 30000, (error) => (error ? reject(error) : resolve()));
    });
    const left = calls.entries();
    await Promise.all(Array.from({ length: Math.max(1, plan.in_flight) }, async () => {
      for (const [ordinal, asked] of left) {
        const done = { connection, ordinal, path: `/${SERVICE}/${asked.rpc}`, status: 0, sent: 0, received: 0 };
        await one(client, asked, done);
        outcomes.push(done);
      }
    }));
    client.close();
  }));
  process.stdout.write(JSON.stringify(outcomes));
}

if (task === 'call') call();
else serve();
