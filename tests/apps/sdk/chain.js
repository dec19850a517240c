// One service of a chain on Node's own HTTP: `chain.js NAME PORT [NEXT-PORT]`, as `chain.py` is.
'use strict';

if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT) {
  const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
  const { registerInstrumentations } = require('@opentelemetry/instrumentation');
  const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
  const { resourceFromAttributes } = require('@opentelemetry/resources');
  const { BatchSpanProcessor, NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');

  const exporter = new OTLPTraceExporter();
  const processor = process.env.PROCESSOR === 'simple'
    ? new SimpleSpanProcessor(exporter)
    : new BatchSpanProcessor(exporter, { scheduledDelayMillis: 200 });
  const resource = resourceFromAttributes({ 'service.name': `sdk-${process.argv[2]}` });
  new NodeTracerProvider({ resource, spanProcessors: [processor] }).register();
  registerInstrumentations({ instrumentations: [new HttpInstrumentation()] });
}

const http = require('http');

const [name, port, next] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

function ask(path, done) {
  http.get({ agent, host: '127.0.0.1', port: next, path }, (answer) => {
    answer.resume();
    answer.on('end', () => done(answer.statusCode));
  }).on('error', () => done(502));
}

http.createServer((request, response) => {
  const answer = (status) => {
    response.statusCode = status;
    response.end(`${name} ${request.url.split('/').pop()}\n`);
  };
  if (next) ask(request.url, answer); else answer(200);
}).listen(Number(port), '127.0.0.1');
