"""Reads a mail with Python's email package and tells what it found.

stdin: {"message": base64}
stdout: {"headers": {name: text}, "parts": [{"type", "filename", "id", "content": base64}], "defects": [text]}
"""
import base64
import email
import email.policy
import json
import sys

message = email.message_from_bytes(base64.b64decode(json.load(sys.stdin)["message"]), policy=email.policy.default)
defects = [str(d) for part in message.walk() for d in part.defects]
defects += [f"{name}: {d}" for part in message.walk() for name, value in part.items() for d in getattr(value, "defects", ())]
parts = [{
    "type": p.get_content_type(),
    "filename": p.get_filename() or "",
    "id": p.get("Content-ID", ""),
    "content": base64.b64encode(p.get_payload(decode=True)).decode(),
} for p in message.walk() if not p.is_multipart()]
json.dump({"headers": {k: str(v) for k, v in message.items()}, "parts": parts, "defects": defects}, sys.stdout)
