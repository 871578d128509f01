"""Checks the assertion that zonegate sends in X-Zonegate-Assertion. Copy `verify` into your backend.

Try it:  echo "$ASSERTION" | python3 verify.py JWKS ISSUER AUDIENCE
where JWKS is https://your-zone/.well-known/zonegate/jwks.json or a file.
"""

import json
import sys

import jwt  # pip install "pyjwt[crypto]"

ALGORITHMS = {"ES256", "EdDSA"}
NEEDED = ["iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti"]


class FileKeys:
    """A key set that is no address: for tests, and for backends without a way to the gateway."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(file.read()).keys}

    def get_signing_key(self, kid):
        if kid not in self.keys:
            raise jwt.PyJWKClientError("unknown key")
        return self.keys[kid]


def verify(assertion, keys, issuer, audience):
    """Returns the claims, or raises jwt.PyJWTError.

    keys: one jwt.PyJWKClient(url) for the whole process: it caches the key set, and reads it again when it meets
    a key it does not know.
    """
    header = jwt.get_unverified_header(assertion)
    if header.get("typ") != "JWT" or header.get("alg") not in ALGORITHMS:
        raise jwt.InvalidTokenError("not an assertion of ours")
    # The key comes from the gateway's key set, never from the assertion itself (no jku, x5u or jwk).
    key = keys.get_signing_key(header.get("kid"))
    return jwt.decode(
        assertion,
        key.key,
        algorithms=[key.algorithm_name],  # the key says which, not the assertion
        issuer=issuer,
        audience=audience,
        leeway=5,
        options={"require": NEEDED},
    )


if __name__ == "__main__":
    source, issuer, audience = sys.argv[1:]
    keys = jwt.PyJWKClient(source) if source.startswith("https:") else FileKeys(source)
    try:
        print(json.dumps(verify(sys.stdin.read().strip(), keys, issuer, audience)))
    except jwt.PyJWTError as problem:
        sys.exit(f"refused: {problem}")
