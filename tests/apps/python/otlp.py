"""A receiver of OTLP/HTTP with Protocol Buffers that believes nothing: otlp.py PORT FILE.

Each message is decoded by OpenTelemetry's own definitions and checked; FILE gets one JSON object a line: what kind it was, how much
was in it, the ids of its spans, and what is wrong with it.
"""
import gzip
import json
import math
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# How far from now a time may be, in nanoseconds.
FAR = 3600 * 10**9
# W3C's flags, has-is-remote, is-remote.
FLAGS = 0x3FF
CUMULATIVE = 2


class Check:
    """Collects what is wrong."""

    def __init__(self):
        self.wrong = []
        self.ids = []
        self.now = time.time_ns()

    def that(self, is_right, what):
        if not is_right:
            self.wrong.append(what)

    def time(self, stamp, what):
        self.that(abs(stamp - self.now) < FAR, f"{what} is {stamp}, now is {self.now}")

    def known(self, message, path):
        """No message within has a field that the definitions do not have."""
        for field in UnknownFieldSet(message):
            self.wrong.append(f"{path} has an unknown field {field.field_number}")
        for field, value in message.ListFields():
            if field.message_type is not None:
                for part in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                    self.known(part, f"{path}.{field.name}")

    def attributes(self, attributes, path):
        keys = [attribute.key for attribute in attributes]
        self.that(len(keys) == len(set(keys)), f"{path} has a key twice: {sorted(keys)}")
        self.that(all(keys), f"{path} has an empty key")
        for attribute in attributes:
            self.that(attribute.value.WhichOneof("value"), f"{path}: {attribute.key} has no value")

    def resource(self, part, path):
        self.attributes(part.resource.attributes, path)
        keys = {attribute.key for attribute in part.resource.attributes}
        self.that("service.name" in keys, f"{path} has no service.name")
        self.that(part.schema_url.startswith("https://opentelemetry.io/schemas/"), f"{path}: schema {part.schema_url!r}")

    def scope(self, part, path):
        self.that(part.scope.name and part.scope.version, f"{path} has no name or version")

    def id(self, value, size, path):
        self.that(len(value) == size and any(value), f"{path} is {value.hex()!r}")

    def span(self, span):
        path = f"span {span.name!r}"
        self.id(span.trace_id, 16, f"{path} trace_id")
        self.id(span.span_id, 8, f"{path} span_id")
        self.ids.append(span.span_id.hex())
        if span.parent_span_id:
            self.id(span.parent_span_id, 8, f"{path} parent_span_id")
            self.that(span.parent_span_id != span.span_id, f"{path} is its own parent")
        self.time(span.start_time_unix_nano, f"{path} start")
        self.time(span.end_time_unix_nano, f"{path} end")
        self.that(span.start_time_unix_nano <= span.end_time_unix_nano, f"{path} ends before it starts")
        self.that(span.name, "a span has no name")
        self.that(span.kind in (2, 3), f"{path} kind {span.kind}")
        self.that(span.status.code in (0, 2), f"{path} status {span.status.code}")
        self.that(span.flags & ~FLAGS == 0, f"{path} flags {span.flags:x}")
        self.attributes(span.attributes, path)
        for link in span.links:
            self.id(link.trace_id, 16, f"{path} link")
            self.id(link.span_id, 8, f"{path} link")
            self.attributes(link.attributes, f"{path} link")

    def point(self, point, path):
        self.attributes(point.attributes, path)
        self.time(point.time_unix_nano, f"{path} time")
        self.time(point.start_time_unix_nano, f"{path} start")
        self.that(point.start_time_unix_nano <= point.time_unix_nano, f"{path} ends before it starts")

    def metric(self, metric):
        path = f"metric {metric.name}"
        kind = metric.WhichOneof("data")
        self.that(metric.name and metric.description and kind, f"{path} lacks something")
        data = getattr(metric, kind) if kind else None
        points = data.data_points if data is not None else []
        if kind in ("sum", "histogram"):
            self.that(data.aggregation_temporality == CUMULATIVE, f"{path}: {data.aggregation_temporality}")
        keys = [tuple(sorted((pair.key, str(pair.value)) for pair in point.attributes)) for point in points]
        self.that(len(keys) == len(set(keys)), f"{path} has a series twice")
        for point in points:
            self.point(point, path)
            if kind == "histogram":
                bounds = list(point.explicit_bounds)
                self.that(bounds == sorted(set(bounds)), f"{path}: bounds {bounds}")
                self.that(len(point.bucket_counts) == len(bounds) + 1, f"{path}: buckets")
                self.that(sum(point.bucket_counts) == point.count, f"{path}: {point.count} is no sum")
                self.that(math.isfinite(point.sum) and point.sum >= 0, f"{path}: sum {point.sum}")
        return len(points)


def scopes(check, message, of):
    """The scopes of a message of spans or metrics, each checked, and its resource before it."""
    for resource in getattr(message, f"resource_{of}"):
        check.resource(resource, "resource")
        for scope in getattr(resource, f"scope_{of}"):
            check.scope(scope, "scope")
            yield scope


def spans(check, message):
    count = 0
    for scope in scopes(check, message, "spans"):
        for span in scope.spans:
            check.span(span)
            count += 1
    return count


def points(check, message):
    return sum(check.metric(metric) for scope in scopes(check, message, "metrics") for metric in scope.metrics)


KINDS = {"/v1/traces": (ExportTraceServiceRequest, spans), "/v1/metrics": (ExportMetricsServiceRequest, points)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        check, count = Check(), 0
        check.that(self.headers["Content-Type"] == "application/x-protobuf", f"type {self.headers['Content-Type']}")
        check.that(self.path in KINDS, f"path {self.path}")
        if self.path in KINDS:
            kind, look = KINDS[self.path]
            try:
                message = kind.FromString(body)
                check.known(message, kind.__name__)
                count = look(check, message)
            except Exception as error:  # pylint: disable=broad-except
                check.wrong.append(f"it can't be decoded: {error!r}")
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            told = {"path": self.path, "count": count, "ids": check.ids, "wrong": check.wrong}
            file.write(json.dumps(told) + "\n")
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
