"""Reads a mail with Python's email package and tells what it found.

stdin: {"message": base64}
stdout: {"headers": {name: text}, "structure": text, "defects": [text],
         "parts": [{"type", "disposition", "filename", "id", "encoding", "content": base64, "text"}]}

content is a part's bytes, text what a reader sees of a text/* part.
"""
import base64
import email
import email.policy
import json
import sys

message = email.message_from_bytes(base64.b64decode(json.load(sys.stdin)["message"]), policy=email.policy.default)


def structure(part):
    if not part.is_multipart():
        return part.get_content_type()
    return part.get_content_type() + "(" + ", ".join(structure(p) for p in part.iter_parts()) + ")"


defects = [str(d) for part in message.walk() for d in part.defects]
defects += [f"{name}: {d}" for part in message.walk() for name, value in part.items() for d in getattr(value, "defects", ())]
parts = [{
    "type": p.get_content_type(),
    "disposition": p.get_content_disposition() or "",
    "filename": p.get_filename() or "",
    "id": p.get("Content-ID", ""),
    "encoding": p.get("Content-Transfer-Encoding", ""),
    "content": base64.b64encode(p.get_payload(decode=True)).decode(),
    "text": p.get_content() if p.get_content_maintype() == "text" else "",
} for p in message.walk() if not p.is_multipart()]
json.dump({
    "headers": {k: str(v) for k, v in message.items()}, "structure": structure(message), "parts": parts, "defects": defects,
}, sys.stdout)
