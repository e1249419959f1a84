#!/usr/bin/env python3
"""A key server for `encoder-coordinator system create --kind external --key-server URL`.

It is asked what to put on one card, and answers with the image or a refusal. Python's standard library is enough:

    KEY_SERVER_SECRET=whsec_… SITE_KEY=00112233445566778899aabbccddeeff python3 key_server.py 8600

The same question gets the same answer, and each card has keys of its own: replace `image` by your lock's format.
"""
import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["KEY_SERVER_SECRET"].removeprefix("whsec_"))
SITE_KEY = bytes.fromhex(os.environ["SITE_KEY"])
SECTOR = 1                     # where our locks look
ACCESS_BITS = "787788"         # data: read with A, written with B; the trailer: written with B
TRANSPORT = "ffffffffffff"     # the key of a card out of the box


def is_authentic(headers, body):
    """Whether the coordinator signed this, within the last five minutes (the signature is Svix's)."""
    number, sent_at = headers.get("svix-id", ""), headers.get("svix-timestamp", "0")
    signed = f"{number}.{sent_at}.".encode() + body
    code = base64.b64encode(hmac.digest(SECRET, signed, "sha256")).decode()
    signatures = headers.get("svix-signature", "").split(" ")
    fresh = sent_at.isdigit() and abs(time.time() - int(sent_at)) < 300
    return fresh and any(hmac.compare_digest(f"v1,{code}", given) for given in signatures)


def card_key(uid, slot):
    """One of the six-byte keys of a card: another one for every card."""
    return hmac.digest(SITE_KEY, f"{slot}:{uid}".encode(), "sha256")[:6].hex()


def image(question):
    """The exact bytes for this card: here a magic number, the doors as bits, and a code over both and the UID."""
    uid, credential = question["uid"], question["credential"]
    doors = sum(1 << door["number"] for door in credential["acs_entrances"]) % (1 << 64)
    plain = b"LOCK" + doors.to_bytes(8, "big") + bytes(4)
    code = hmac.digest(SITE_KEY, bytes.fromhex(uid) + plain, hashlib.sha256)[:16]
    key_a, key_b = card_key(uid, "a"), card_key(uid, "b")
    return {"kind": "mifare_classic", "sectors": [{
        "sector": SECTOR,
        "keys": [{"slot": "b", "key": key_b}, {"slot": "a", "key": TRANSPORT}],
        "blocks": [{"block": 0, "data": plain.hex()}, {"block": 1, "data": code.hex()}],
        "trailer": {"key_a": key_a, "access_bits": ACCESS_BITS, "user_byte": 0, "key_b": key_b},
    }]}


class KeyServer(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not is_authentic(self.headers, body):
            return self.answer(401, {"error": "the signature is wrong or old"})
        question = json.loads(body)
        if not question["technology"].startswith("mifare_classic"):
            message = "our locks read MIFARE Classic cards only; use another card"
            return self.answer(200, {"refuse": {"code": "incompatible_card_format", "message": message}})
        self.answer(200, {"image": image(question)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), KeyServer)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
