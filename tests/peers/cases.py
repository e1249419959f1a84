"""The cases of peers.sh: peers drive emulated encoders. Argument: the directory of the built programs.

Here libnfc's tools and nfcpy on a PN532; stripes.py has msrx on an MSR605.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import traceback

import stripes
from emulator import Emulator

BUILT = pathlib.Path(sys.argv[1])
# No peer needs this long for a whole card.
PATIENCE = 60
# What a MIFARE Classic leaves in every trailer as delivered: both keys FF, transport access bits.
TRANSPORT_TRAILER = bytes.fromhex("ffffffffffff" "ff078069" "ffffffffffff")


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, found {found!r}")


def peer(emulator, *command, may_fail=False):
    """Runs a libnfc tool on the emulator's port and answers what it printed."""
    environment = dict(os.environ, LIBNFC_DEFAULT_DEVICE=f"pn532_uart:{emulator.port}:115200")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0 and not may_fail:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def listed(output):
    """ATQA, UID and SAK as nfc-list prints them, a triple for each card."""
    fields = re.findall(r"(?:ATQA \(SENS_RES\)|UID \(NFCID\d\)|SAK \(SEL_RES\)): *((?:[0-9a-f]{2} *)+)", output)
    values = ["".join(field.split()) for field in fields]
    return list(zip(values[0::3], values[1::3], values[2::3]))


def patterned_classic(memory):
    """A dump with other bytes in every data block but the maker's."""
    memory = bytearray(memory)
    for block in range(1, len(memory) // 16):
        if block % 4 != 3:
            memory[block * 16 : block * 16 + 16] = bytes((block * 7 + byte * 13) % 256 for byte in range(16))
    return bytes(memory)


def libnfc_lists_a_classic(work):
    with Emulator(BUILT, work, "--card", "classic-1k", "--uid", "DEADBEEF") as emulator:
        expect(listed(peer(emulator, "nfc-list")), [("0004", "deadbeef", "08")], "nfc-list")


def libnfc_lists_two_cards(work):
    with Emulator(BUILT, work, "--card", "classic-4k", "--uid", "01020304") as emulator:
        emulator.say("place ntag213 uid 04a1b2c3d4e5f6")
        found = sorted(listed(peer(emulator, "nfc-list")))
        expect(found, [("0002", "01020304", "18"), ("0044", "04a1b2c3d4e5f6", "00")], "nfc-list")


def libnfc_lists_none(work):
    with Emulator(BUILT, work, "--no-card") as emulator:
        expect(listed(peer(emulator, "nfc-list")), [], "nfc-list")


def libnfc_dumps_a_whole_classic(work):
    with Emulator(BUILT, work, "--card", "classic-1k") as emulator:
        image, keys, dump = work / "image.mfd", work / "keys.mfd", work / "dump.mfd"
        keys.write_bytes(emulator.memory())
        image.write_bytes(patterned_classic(emulator.memory()))
        emulator.say(f"load {image}")
        output = peer(emulator, "nfc-mfclassic", "r", "a", "u", str(dump), str(keys), "f")
        expect("64 of 64 blocks read" in output, True, output)
        expect(dump.read_bytes(), emulator.memory(), "the dump")


def libnfc_dumps_a_whole_classic_at_115200(work):
    with Emulator(BUILT, work, "--card", "classic-1k", "--pace", "--rf") as emulator:
        keys, dump = work / "keys.mfd", work / "dump.mfd"
        keys.write_bytes(emulator.memory())
        peer(emulator, "nfc-mfclassic", "r", "a", "u", str(dump), str(keys), "f")
        expect(dump.read_bytes(), emulator.memory(), "the dump")


def libnfc_dumps_an_ntag(work):
    with Emulator(BUILT, work, "--card", "ntag213") as emulator:
        dump = work / "ntag.mfd"
        output = peer(emulator, "nfc-mfultralight", "r", str(dump))
        expect("NTAG213" in output and "45 of 45 pages read" in output, True, output)
        # Password and acknowledgement, pages 43 and 44, read as zeros.
        expect(dump.read_bytes(), emulator.memory()[:172] + bytes(8), "the dump")


class Nfcpy:
    """An nfcpy frontend on the port; nfcpy searches ports by name, so its transport is made directly."""

    def __init__(self, port):
        import nfc
        import nfc.clf.pn532
        import nfc.clf.transport

        self.clf = nfc.ContactlessFrontend()
        self.clf.device = nfc.clf.pn532.init(nfc.clf.transport.TTY(port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clf.close()

    def sense(self):
        import nfc.clf

        return self.clf.sense(nfc.clf.RemoteTarget("106A"))

    def tag(self):
        import nfc.tag

        return nfc.tag.activate(self.clf, self.sense())


def nfcpy_senses_cards(work):
    with Emulator(BUILT, work, "--card", "classic-1k", "--uid", "deadbeef") as emulator:
        with Nfcpy(emulator.port) as nfcpy:
            target = nfcpy.sense()
            found = (target.sens_res.hex(), target.sel_res.hex(), target.sdd_res.hex())
            # nfcpy keeps SENS_RES in the order of transmission.
            expect(found, ("0400", "08", "deadbeef"), "the classic")
            emulator.say("remove")
            expect(nfcpy.sense(), None, "no card")
            emulator.say("place desfire")
            expect(nfcpy.sense().sel_res.hex(), "20", "the desfire")
        # The port opens again after nfcpy has set the rate back and sent the chip to sleep.
        with Nfcpy(emulator.port) as nfcpy:
            expect(nfcpy.sense().sel_res.hex(), "20", "the desfire, after opening again")


def nfcpy_reads_and_writes_an_ntag(work):
    with Emulator(BUILT, work, "--card", "ntag213", "--uid", "04a1b2c3d4e5f6") as emulator:
        with Nfcpy(emulator.port) as nfcpy:
            tag = nfcpy.tag()
            expect(type(tag).__name__, "NTAG213", "the tag's type")
            expect(tag.identifier.hex(), "04a1b2c3d4e5f6", "the uid")
            pages = b"".join(bytes(tag.read(page)) for page in range(0, 44, 4)) + bytes(tag.read(44))[:4]
            expect(pages, emulator.memory()[:172] + bytes(8), "all pages")
            expect(len(tag.signature), 32, "the signature")
            tag.write(10, b"ROOM")
            expect(emulator.memory()[40:44], b"ROOM", "the page written")
            expect(tag.protect(b"secret", protect_from=16), True, "the protection set")
            expect(tag.authenticate(b"public"), False, "a wrong password")
            expect(nfcpy.tag().authenticate(b"secret"), True, "the right password")


def image_of_two_sectors():
    """Data and new trailers for the sectors 1 and 15: read with either key, written with key B alone."""

    def sector(number, blocks, key_a, key_b):
        return {
            "sector": number,
            "keys": [{"slot": "a", "key": "ffffffffffff"}],
            "blocks": [
                {"block": block, "data": bytes((number * 16 + block + byte * 3) % 256 for byte in range(16)).hex()}
                for block in blocks
            ],
            "trailer": {"key_a": key_a, "access_bits": "787788", "user_byte": 0x5A, "key_b": key_b},
        }

    return {
        "kind": "mifare_classic",
        "sectors": [
            sector(1, [0, 1, 2], "a0b1c2d3e4f5", "0f1e2d3c4b5a"),
            sector(15, [0, 2], "112233445566", "665544332211"),
        ],
    }


def expected_blocks(image):
    """The image's blocks by their number on the card, trailers included."""
    blocks = {}
    for sector in image["sectors"]:
        first = sector["sector"] * 4
        for block in sector["blocks"]:
            blocks[first + block["block"]] = bytes.fromhex(block["data"])
        trailer = sector["trailer"]
        blocks[first + 3] = (
            bytes.fromhex(trailer["key_a"] + trailer["access_bits"])
            + bytes([trailer["user_byte"]])
            + bytes.fromhex(trailer["key_b"])
        )
    return blocks


def key_file(blocks):
    """A dump whose trailers hold the keys that open the card after the encode."""
    memory = bytearray(1024)
    for trailer in range(3, 64, 4):
        memory[trailer * 16 : trailer * 16 + 16] = blocks.get(trailer, TRANSPORT_TRAILER)
    return bytes(memory)


def libnfc_reads_what_the_agent_encoded(work):
    image = image_of_two_sectors()
    (work / "image.json").write_text(json.dumps(image))
    blocks = expected_blocks(image)
    (work / "keys.mfd").write_bytes(key_file(blocks))
    with Emulator(BUILT, work, "--card", "classic-1k", "--uid", "cafe0001") as emulator:
        before = emulator.memory()
        encode = [BUILT / "examples" / "encode_image", "--port", emulator.port, "--image", work / "image.json"]
        done = subprocess.run(encode, capture_output=True, text=True, timeout=PATIENCE)
        expect(done.returncode, 0, f"encode_image: {done.stdout}{done.stderr}")
        expect(done.stdout.strip(), "cafe0001", "the uid that encode_image prints")

        dump = work / "dump.mfd"
        output = peer(emulator, "nfc-mfclassic", "r", "a", "u", str(dump), str(work / "keys.mfd"), "f")
        expect("64 of 64 blocks read" in output, True, output)
        read = dump.read_bytes()
        for block in range(64):
            wanted = blocks.get(block, before[block * 16 : block * 16 + 16])
            expect(read[block * 16 : block * 16 + 16].hex(), wanted.hex(), f"block {block} as libnfc reads it")
        # Keys do not read back: that they are the image's, the chip's own memory says.
        memory = emulator.memory()
        for block, wanted in blocks.items():
            expect(memory[block * 16 : block * 16 + 16].hex(), wanted.hex(), f"block {block} in the card's memory")
        # With the old keys nothing opens any more.
        output = peer(emulator, "nfc-mfclassic", "r", "a", "u", str(dump), may_fail=True)
        expect("64 of 64 blocks read" in output, False, output)


def python_computes_the_vectors_of_the_key_record(work):
    record = pathlib.Path("protocols/src/card/key_record")
    script = [sys.executable, str(record / "vectors.py")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=PATIENCE, check=True)
    expect(done.stdout, (record / "vectors.txt").read_text(), "vectors.py")


CASES = [
    libnfc_lists_a_classic,
    libnfc_lists_two_cards,
    libnfc_lists_none,
    libnfc_dumps_a_whole_classic,
    libnfc_dumps_a_whole_classic_at_115200,
    libnfc_dumps_an_ntag,
    nfcpy_senses_cards,
    nfcpy_reads_and_writes_an_ntag,
    libnfc_reads_what_the_agent_encoded,
    python_computes_the_vectors_of_the_key_record,
    *(functools.update_wrapper(functools.partial(case, BUILT), case) for case in stripes.CASES),
]


def main():
    failed = 0
    for case in CASES:
        with tempfile.TemporaryDirectory() as work:
            try:
                case(pathlib.Path(work))
                print(f"ok      {case.__name__}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {case.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"passed {len(CASES) - failed} failed {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
