#!/usr/bin/env python3
"""Prints the test vectors of README.md, from that page and the standard library alone."""

import hmac
import struct
import uuid


def digest(key, text):
    return hmac.new(key, text, "sha256").digest()


def record(site_key, version, uid, credential_id, issued_at, starts_at, ends_at, entrances):
    extended = len(entrances) > 3
    own = (entrances + [0, 0, 0])[:3]
    body = b"EK" + bytes([2 if extended else 1, version]) + uuid.UUID(credential_id).bytes
    body += struct.pack(">III", issued_at, starts_at or 0, 0xFFFFFFFF if ends_at is None else ends_at)
    body += struct.pack(">H", len(entrances)) if extended else bytes([len(entrances), 0])
    body += struct.pack(">3H", *own)
    extension = b"".join(struct.pack(">H", entrance) for entrance in entrances[3:])
    extension += bytes(-len(extension) % 16)
    label = b"EK2 record\0" if extended else b"EK1 record\0"
    mac_key = digest(site_key, b"EK1 mac key\0")
    mac = digest(mac_key, label + bytes([len(uid)]) + uid + body + extension)[:8]
    return body + mac, extension


def last_digits(text, digits):
    return f"{int.from_bytes(text[:8], 'big'):020}"[-digits:]


def stripe(site_key, version, credential_id, issued_at, starts_at, ends_at, entrances):
    credential = uuid.UUID(credential_id)
    named = b"EK1 stripe number\0" + credential.bytes + struct.pack(">I", issued_at)
    number = "9" + last_digits(digest(site_key, named), 15)
    ends_at = 0xFFFFFFFF if ends_at is None else ends_at
    body = f"691{version:03}{credential.int:039}{issued_at:010}{starts_at or 0:010}{ends_at:010}{len(entrances)}"
    body += "".join(f"{entrance:05}" for entrance in (entrances + [0, 0, 0])[:3])
    mac_key = digest(site_key, b"EK1 mac key\0")
    return number, body + last_digits(digest(mac_key, b"EK1 stripe record\0" + (number + body).encode()), 13)


def show(title, key, version, uid, credential_id, issued_at, starts_at, ends_at, entrances):
    site_key, uid = bytes(range(key, key + 32)), bytes.fromhex(uid)
    own, extension = record(site_key, version, uid, credential_id, issued_at, starts_at, ends_at, entrances)
    tail = bytes([len(uid)]) + uid
    password = digest(site_key, b"EK1 type 2 password\0" + tail)
    print(f"# {title}")
    print(f"site_key {site_key.hex()}")
    print(f"key_version {version}")
    print(f"uid {uid.hex()}")
    print(f"credential_id {credential_id}")
    print(f"issued_at {issued_at}")
    print(f"starts_at {'none' if starts_at is None else starts_at}")
    print(f"ends_at {'none' if ends_at is None else ends_at}")
    print(f"entrances {' '.join(map(str, entrances)) or 'none'}")
    print(f"record {own.hex()}")
    if extension:
        print(f"extension {extension.hex()}")
    for sector in [1, 2] if extension else [1]:
        for slot in "AB":
            key = digest(site_key, f"EK1 classic key {slot}\0".encode() + bytes([sector]) + tail)[:6]
            print(f"sector_{sector}_key_{slot.lower()} {key.hex()}")
    print(f"password {password[:4].hex()}")
    print(f"pack {password[4:6].hex()}")
    if not extension:
        number, track_3 = stripe(site_key, version, credential_id, issued_at, starts_at, ends_at, entrances)
        print(f"track_2 {number}")
        print(f"track_3 {track_3}")


print("# Test vectors of the key record. One `name value` a line; an empty line ends a vector.")
print("# Printed by vectors.py, which is written from the README's text and does not use this crate.")
print()
ID = "018f3b2a-7c11-7d42-9a5e-0123456789ab"
NIL = "00000000-0000-0000-0000-000000000000"
FULL = "ffffffff-ffff-4fff-bfff-ffffffffffff"
VALID = (1764000000, 1764003600, 1764255600)

show("full record, 4-byte uid", 0x20, 7, "deadbeef", ID, *VALID, [101, 2, 65535])
print()
show("no validity and no entrance, 7-byte uid", 0x20, 7, "04a1b2c3d4e5f6", NIL, 0, None, None, [])
print()
show("older site key, one entrance, 10-byte uid", 0x80, 3, "04112233445566778899", FULL, 4294967295, None, 4294967294, [1])
print()
show("four entrances, 4-byte uid", 0x20, 7, "deadbeef", ID, *VALID, [101, 2, 65535, 513])
print()
show("twenty entrances, 7-byte uid", 0x20, 7, "04a1b2c3d4e5f6", ID, *VALID, [*range(1, 20), 65535])
