"""Checks the DKIM signatures of a message with dkimpy.

stdin: {"message": base64, "records": {DNS name: TXT record}}
stdout: a list of what each signature is worth, from the top:
[{"domain", "selector", "algorithm", "headers", "valid", "why"}]
"""
import base64
import json
import sys

import dkim

request = json.load(sys.stdin)
records = {name: text.encode() for name, text in request["records"].items()}


def lookup(name, timeout=5):
    return records.get(name.decode().rstrip("."))


message = base64.b64decode(request["message"])
count = sum(1 for name, _ in dkim.rfc822_parse(message)[0] if name.lower() == b"dkim-signature")
out = []
for i in range(count):
    verifier = dkim.DKIM(message)
    why = ""
    try:
        valid = verifier.verify(idx=i, dnsfunc=lookup)
    except dkim.DKIMException as e:
        valid, why = False, str(e)
    tags = verifier.signature_fields
    out.append({
        "domain": tags.get(b"d", b"").decode(),
        "selector": tags.get(b"s", b"").decode(),
        "algorithm": tags.get(b"a", b"").decode(),
        "headers": tags.get(b"h", b"").decode(),
        "valid": valid,
        "why": why,
    })
json.dump(out, sys.stdout)
