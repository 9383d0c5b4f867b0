"""Reads letters with Python's email package. Standard input is a JSON list of
letters in base64, standard output one of what was read, as read_test.go has it.
"""

import base64
import json
import sys
from email import message_from_bytes, policy

BOXED = ("from", "to", "cc", "bcc", "reply-to")


def tree(part, out):
    if part.is_multipart():
        below = [tree(p, out) for p in part.iter_parts()]
        return part.get_content_subtype() + "(" + " ".join(below) + ")"
    data, kind = part.get_payload(decode=True), part.get_content_type()
    if part.get_content_disposition() is None:
        out["bodies"][kind] = out["bodies"].get(kind, "") + data.decode("utf-8")
        return kind
    out["files"].append({
        "name": part.get_filename(),
        "oldName": part["content-type"].params["name"],  # which it decodes
        "type": kind,
        "disposition": part.get_content_disposition(),
        "id": (part["content-id"] or "").strip("<>"),
        "data": base64.b64encode(data).decode(),
    })
    return kind


def read(letter):
    m = message_from_bytes(letter, policy=policy.default)
    out = {"headers": sorted(name.lower() for name in m.keys()), "boxes": {}, "texts": {}, "bodies": {}, "files": []}
    for name, value in m.items():
        name = name.lower()
        if name in BOXED:
            out["boxes"][name] = [{"name": a.display_name, "address": a.addr_spec} for a in value.addresses]
        elif not name.startswith("content-"):
            out["texts"][name] = str(value)
    out["tree"] = tree(m, out)
    defects = [str(d) for p in m.walk() for d in p.defects]
    assert not defects, defects
    out["files"] = out["files"] or None
    return out


json.dump([read(base64.b64decode(letter)) for letter in json.load(sys.stdin)], sys.stdout)
