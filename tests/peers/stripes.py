"""The cases of peers.sh for magnetic stripes: msrx drives an emulated MSR605."""

import functools
import json
import operator
import pathlib
import subprocess
import sys
import time

from emulator import Emulator

# A card is written and read long before.
PATIENCE = 60
MSRX = str(pathlib.Path(sys.executable).with_name("msrx"))
# The lowest character and the bits of a character with its parity (ISO/IEC 7811-2).
CODES = [(" ", 7), ("0", 5), ("0", 5)]


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, found {found!r}")


def with_check(tracks):
    """The tracks, each with its check character behind it: msrx makes none and shows it when it reads."""
    checked = []
    for text, (zero, _) in zip(tracks, CODES):
        values = [ord(character) - ord(zero) for character in text]
        check = functools.reduce(operator.xor, values, 0)
        checked.append(text + chr(check + ord(zero)) if text else "")
    return "|".join(checked)


def bits(text, code):
    """The bits of characters as a head sees them: lowest first, odd parity."""
    zero, width = code
    written = ""
    for character in text:
        data = [(ord(character) - ord(zero)) >> bit & 1 for bit in range(width - 1)]
        written += "".join(map(str, [*data, 1 - sum(data) % 2]))
    return written


def msrx(emulator, *arguments):
    """Starts msrx on the emulator's port."""
    command = [MSRX, "-D", emulator.port, *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, wanted=0):
    """Waits for msrx and answers what it printed."""
    printed, complaint = process.communicate(timeout=PATIENCE)
    if process.returncode != wanted:
        raise AssertionError(f"msrx ended with {process.returncode}, expected {wanted}:\n{printed}{complaint}")
    return printed.rstrip("\n") if wanted == 0 else complaint.strip()


def when_it_waits(emulator, card):
    """Draws the card through as soon as the encoder waits for one."""
    end = time.monotonic() + PATIENCE
    while emulator.say("waits") == "no":
        if time.monotonic() > end:
            raise AssertionError("msrx asks for no card")
    return emulator.say(f"swipe {card}")


TRACKS = ["%ROOM 101^GUEST?", ";1234=5678?", ";987654321?"]


def msrx_writes_a_card(built, work):
    with Emulator(built, work, "--card", "hico", device="msr605") as emulator:
        ended(msrx(emulator, "write", "-d", with_check(TRACKS)))
        expect(emulator.say("tracks"), "|".join(TRACKS), "the card's characters")
        for (found, text), code in zip(zip(emulator.say("bits").split("|"), with_check(TRACKS).split("|")), CODES):
            found = bin(int("1" + found.split(" ")[1], 16))[3:]
            wanted = bits(text, code)
            expect(found[: len(wanted)], wanted, f"the bits of {text}")
            expect(found[len(wanted) :].strip("0"), "", f"what follows {text}")


def msrx_writes_the_manuals_example(built, work):
    with Emulator(built, work, "--card", "loco", device="msr605") as emulator:
        ended(msrx(emulator, "write", "-t", "hex", "-d", "c5b07814954e3e2a|2b8849eaaf|2ba363eb0f"))
        expect(emulator.say("tracks"), "%ABC123?|;12345?|;98765?", "the card's characters")


def msrx_reads_a_card(built, work):
    with Emulator(built, work, "--no-card", device="msr605") as emulator:
        emulator.say("new key loco")
        emulator.say("encode key " + "|".join(TRACKS))
        reading = msrx(emulator, "read")
        expect(when_it_waits(emulator, "key"), "read", "the swipe")
        expect(ended(reading), with_check(TRACKS), "what msrx reads")
        # One track alone, and a blank card.
        for tracks in [["", ";42?", ""], ["", "", ""]]:
            emulator.say("encode key " + "|".join(tracks))
            reading = msrx(emulator, "read")
            when_it_waits(emulator, "key")
            expect(ended(reading), with_check(tracks), "what msrx reads")


def msrx_erases_tracks(built, work):
    with Emulator(built, work, "--card", "hico", device="msr605") as emulator:
        emulator.say("encode card-1 " + "|".join(TRACKS))
        ended(msrx(emulator, "erase", "-t", "1,3"))
        expect(emulator.say("tracks"), f"|{TRACKS[1]}|", "what is left")
        ended(msrx(emulator, "erase"))
        expect(emulator.say("tracks"), "||", "what is left")


def msrx_copies_a_card(built, work):
    """What msrx reads bit by bit and writes again is the same card: the bit orders of reading and writing fit."""
    copy = (
        "import sys, msrx; device = msrx.MSRX(sys.argv[1]); device.reset(); tracks = device.read(); "
        "device.reset(); device.write(tracks)"
    )
    with Emulator(built, work, "--no-card", device="msr605") as emulator:
        for name in ["original", "copy"]:
            emulator.say(f"new {name} hico")
        emulator.say("encode original " + "|".join(TRACKS))
        copying = subprocess.Popen([sys.executable, "-c", copy, emulator.port], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        expect(when_it_waits(emulator, "original"), "read", "the first swipe")
        expect(when_it_waits(emulator, "copy"), "written", "the second swipe")
        ended(copying)
        expect(emulator.say("tracks copy"), "|".join(TRACKS), "the copy")


def msrx_is_told_what_went_wrong(built, work):
    other = with_check(["%POOL^B?", ";8765?", ";123?"])
    with Emulator(built, work, "--card", "hico", device="msr605") as emulator:
        for fault, kind, untouched in [("status 1 31", "read_write", True), ("jerk 1", "swipe", False), ("status 1 32", "command", True)]:
            emulator.say("encode card-1 " + "|".join(TRACKS))
            emulator.say(f"fault {fault}")
            complaint = ended(msrx(emulator, "write", "-d", other), wanted=254)
            expect(complaint, f"msrx: error: MSR605 {kind} error", fault)
            expect(emulator.say("tracks") == "|".join(TRACKS), untouched, f"whether the card is as it was after {fault}")
        emulator.say("wear card-1")
        complaint = ended(msrx(emulator, "erase"), wanted=254)
        expect(complaint, "msrx: error: MSR605 erase error", "a worn card")


def agent(built, emulator, image, *arguments):
    """Lets the agent put an image on the card that is at hand, and read it back."""
    command = [built / "examples" / "encode_image", "--driver", "msr605", "--port", emulator.port, "--image", image, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    expect((done.returncode, done.stdout.strip()), (0, "4711"), f"encode_image: {done.stderr}")


def image_file(work, tracks):
    """A card image of these tracks, which may be text or bits."""
    kind = {"kind": "magstripe", "card_number": "4711", "coercivity": "high"}
    named = [{"track": number, "bpi": 75 if number == 2 else 210, **track} for number, track in tracks.items()]
    path = work / "image.json"
    path.write_text(json.dumps({**kind, "tracks": named}))
    return path


def msrx_reads_what_the_agent_encoded(built, work):
    characters = {number: {"iso": text[1:-1]} for number, text in enumerate(TRACKS, 1)}
    # With one track as bits all are sent as bits, and the agent makes parity and check characters itself.
    third = bits(with_check(TRACKS).split("|")[2], CODES[2])
    for image in [image_file(work, characters), image_file(work, {**characters, 3: {"raw": third}})]:
        with Emulator(built, work, "--card", "hico", device="msr605") as emulator:
            agent(built, emulator, image)
            expect(ended(msrx(emulator, "read")), with_check(TRACKS), "what msrx reads")


def the_agent_reads_what_msrx_wrote(built, work):
    image = image_file(work, {number: {"iso": text[1:-1]} for number, text in enumerate(TRACKS, 1)})
    with Emulator(built, work, "--card", "hico", device="msr605") as emulator:
        ended(msrx(emulator, "write", "-d", with_check(TRACKS)))
        agent(built, emulator, image, "--verify-only")


CASES = [
    msrx_writes_a_card,
    msrx_writes_the_manuals_example,
    msrx_reads_a_card,
    msrx_erases_tracks,
    msrx_copies_a_card,
    msrx_is_told_what_went_wrong,
    msrx_reads_what_the_agent_encoded,
    the_agent_reads_what_msrx_wrote,
]
