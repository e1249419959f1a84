"""An integrator's webhook endpoint: keeps what arrives and verifies it with the SDK's own verifier."""

import http.server
import threading

from seam import SeamWebhook


class Receiver:
    """Listens on a free local port as long as the process lives."""

    def __init__(self):
        self.deliveries = []
        self.failures = 0
        receiver = self

        class Endpoint(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                receiver.deliveries.append((dict(self.headers.items()), body))
                fails = receiver.failures > 0
                receiver.failures -= fails
                self.send_response(500 if fails else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{server.server_port}/seam-webhook"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def fail(self, times):
        """Answers 500 to the next deliveries."""
        self.failures = times

    def verified(self, secret):
        """The events that arrived, repeats included; raises where a signature is wrong."""
        webhook = SeamWebhook(secret)
        return [webhook.verify(body, headers) for headers, body in list(self.deliveries)]

    def ids(self):
        """The message ids that arrived."""
        return [{key.lower(): value for key, value in headers.items()}["svix-id"] for headers, _ in self.deliveries]
