// Checks the assertion that zonegate sends in X-Zonegate-Assertion. Copy `verify` into your backend.
//
// Try it:  echo "$ASSERTION" | node verify.mjs JWKS ISSUER AUDIENCE
// where JWKS is https://your-zone/.well-known/zonegate/jwks.json or a file.

import { readFileSync } from "node:fs";
import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from "jose"; // npm install jose

const NEEDED = ["iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti"];

/// Returns the claims, or throws one of jose's errors.
///
/// keys: one createRemoteJWKSet(new URL(url)) for the whole process: it caches the key set, and reads it again when
/// it meets a key it does not know. The key never comes from the assertion itself (no jku, x5u or jwk).
export async function verify(assertion, keys, issuer, audience) {
  const { payload } = await jwtVerify(assertion, keys, {
    algorithms: ["ES256", "EdDSA"],
    typ: "JWT",
    issuer,
    audience,
    clockTolerance: 5,
    requiredClaims: NEEDED,
  });
  return payload;
}

if (process.argv[1] === import.meta.filename) {
  const [source, issuer, audience] = process.argv.slice(2);
  const keys = source.startsWith("https:")
    ? createRemoteJWKSet(new URL(source))
    : createLocalJWKSet(JSON.parse(readFileSync(source, "utf8")));
  try {
    console.log(JSON.stringify(await verify(readFileSync(0, "utf8").trim(), keys, issuer, audience)));
  } catch (problem) {
    if (!(problem instanceof errors.JOSEError)) throw problem;
    console.error(`refused: ${problem.message}`);
    process.exit(1);
  }
}
