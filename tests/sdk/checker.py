"""Stands between an SDK and the coordinator and checks every answer that goes by against the API document.

The document is the coordinator's own; fields that it does not name count as wrong too.
"""

import copy
import http.client
import http.server
import json
import threading
import urllib.parse
import urllib.request

import jsonschema

# What a connection carries for itself alone.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Tally:
    """How many answers were checked, in the whole run, and what was wrong with them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.responses = 0
        self.invalid = []

    def note(self, errors):
        with self.lock:
            self.responses += 1
            self.invalid += errors[:1]

    def line(self):
        return f"responses={self.responses} invalid={len(self.invalid)}"


TALLY = Tally()


def tightened(schema):
    """The same schema, which refuses fields that it does not name."""
    if isinstance(schema, list):
        return [tightened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tight = {}
    for key, value in schema.items():
        if key == "properties":
            tight[key] = {name: tightened(each) for name, each in value.items()}
        else:
            tight[key] = tightened(value)
    if isinstance(schema.get("properties"), dict):
        tight.setdefault("additionalProperties", False)
    return tight


class Document:
    """The API document, ready to check answers."""

    def __init__(self, document):
        document = copy.deepcopy(document)
        schemas = document["components"]["schemas"]
        self.components = {"schemas": {name: tightened(schema) for name, schema in schemas.items()}}
        self.responses = document["components"]["responses"]
        self.paths = document["paths"]
        self.validators = {}

    def errors(self, method, path, status, body):
        """What is wrong with an answer, in words."""
        where = f"{method} {path} {status}"
        operation = self.paths.get(path, {}).get(method.lower())
        if operation is None:
            # Whoever asks for what is not there must be told so.
            told = status in (404, 405) and body["error"]["type"] in ("route_not_found", "method_not_allowed")
            return [] if told else [f"{where}: the document has no such operation"]
        response = operation["responses"].get(str(status))
        if response is None:
            return [f"{where}: the document has no such status"]
        if "$ref" in response:
            response = self.responses[response["$ref"].rsplit("/", 1)[-1]]
        schema = response["content"]["application/json"]["schema"]
        errors = self.validator(json.dumps(schema)).iter_errors(body)
        return [f"{where}: {error.message[:400]} at {error.json_path}" for error in errors]

    def validator(self, schema):
        if schema not in self.validators:
            whole = json.loads(schema) | {"components": self.components}
            self.validators[schema] = jsonschema.Draft202012Validator(
                whole, format_checker=jsonschema.FormatChecker()
            )
        return self.validators[schema]


class Checker:
    """Listens on a free local port and passes everything on to `endpoint`."""

    def __init__(self, endpoint):
        with urllib.request.urlopen(endpoint + "/openapi.json") as answer:
            document = Document(json.load(answer))
        address = urllib.parse.urlsplit(endpoint).netloc

        class Passage(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self.coordinator = http.client.HTTPConnection(address)

            def finish(self):
                self.coordinator.close()
                super().finish()

            def pass_on(self):
                sent = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                if sent or self.headers.get("content-length"):
                    headers["content-length"] = str(len(sent))
                self.coordinator.request(self.command, self.path, sent or None, headers)
                answer = self.coordinator.getresponse()
                body = answer.read()
                path = urllib.parse.urlsplit(self.path).path
                try:
                    parsed = json.loads(body)
                except ValueError:
                    TALLY.note([f"{self.command} {path} {answer.status}: no JSON"])
                else:
                    TALLY.note(document.errors(self.command, path, answer.status, parsed))
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Passage)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
