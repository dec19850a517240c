"""One service of a chain on Flask: `chain.py NAME PORT [NEXT-PORT]`. With `OTEL_EXPORTER_OTLP_ENDPOINT` set it is instrumented by
OpenTelemetry's SDK, as its documentation has it; otherwise nothing of it knows of traces.

`/buy/N` asks the next service for the same, and answers `NAME N`.
"""
import os
import sys

import requests
from flask import Flask
from werkzeug.serving import WSGIRequestHandler

name, port, *following = sys.argv[1:]
app = Flask(name)
session = requests.Session()

if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"sdk-{name}"}))
    # Simple: each span is exported at its end, by the thread that holds the request.
    if os.environ.get("PROCESSOR") == "simple":
        processor = SimpleSpanProcessor(OTLPSpanExporter())
    else:
        processor = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200)
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    FlaskInstrumentor().instrument_app(app)
    RequestsInstrumentor().instrument()


@app.route("/buy/<number>")
def buy(number):
    if following:
        session.get(f"http://127.0.0.1:{following[0]}/buy/{number}").raise_for_status()
    return f"{name} {number}\n"


WSGIRequestHandler.protocol_version = "HTTP/1.1"
app.run("127.0.0.1", int(port), threaded=True)
