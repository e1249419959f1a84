"""Lets generated requests name what is there: random ids alone would lead to nothing but 404."""

import json
import os
import random
import urllib.parse
import uuid

import schemathesis

# Ids by the name of the field that takes them.
KNOWN = json.loads(os.environ["SCHEMA_IDS"])


# A longer one must be refused, so it stays as it is.
LONGEST_URL = 1000


def is_id(value):
    try:
        return isinstance(value, str) and len(value) == 36 and bool(uuid.UUID(value))
    except ValueError:
        return False


def is_url(value):
    if not isinstance(value, str) or len(value) > LONGEST_URL:
        return False
    try:
        parts = urllib.parse.urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def known(name, value, chance, often):
    """The value, or as often as told an id of something that is there."""
    if name == "url" and is_url(value):
        # Events of a test go nowhere but to this machine.
        return "http://127.0.0.1:9/"
    if isinstance(value, list):
        return [known(name.removesuffix("s"), each, chance, often) for each in value]
    if isinstance(value, dict):
        return named(value, chance, often)
    ids = KNOWN.get(name)
    if ids and is_id(value) and chance.random() < often:
        return chance.choice(ids)
    return value


def named(fields, chance, often):
    return {name: known(str(name), value, chance, often) for name, value in fields.items()}


def replaced(context, fields):
    if not isinstance(fields, dict):
        return fields
    # Few things are deleted, so that there is something left to name.
    often = 0.1 if context.operation.path.endswith("/delete") else 0.8
    # The same request is always replaced in the same way, so that a seed gives the same run.
    return named(fields, random.Random(repr(fields)), often)


@schemathesis.hook
def map_body(context, body):
    return replaced(context, body)


@schemathesis.hook
def map_query(context, query):
    return replaced(context, query)
