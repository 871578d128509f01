// An authenticator app: RFC 6238 with SHA-1 and six digits, as every app has it.

import { createHmac } from "node:crypto";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function fromBase32(text) {
  let bits = "";
  for (const letter of text.replace(/[\s=]/g, "").toUpperCase()) {
    const value = ALPHABET.indexOf(letter);
    if (value < 0) throw new Error(`not base32: ${letter}`);
    bits += value.toString(2).padStart(5, "0");
  }
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}

/** The six digits of one step. */
export function codeOf(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac("sha1", fromBase32(secret)).update(counter).digest();
  const offset = digest[19] & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** Six digits that are the code of no step near `step`. */
export function wrongCode(secret, step) {
  const near = new Set([-2, -1, 0, 1, 2].map((offset) => codeOf(secret, step + offset)));
  for (let guess = 0; ; guess += 1) {
    const code = String(guess).padStart(6, "0");
    if (!near.has(code)) return code;
  }
}

/** What an authenticator app reads from a QR code. */
export function parseOtpauth(text) {
  const url = new URL(text);
  if (url.protocol !== "otpauth:" || url.host !== "totp") throw new Error(`not an otpauth address: ${url.protocol}`);
  return {
    label: decodeURIComponent(url.pathname.slice(1)),
    issuer: url.searchParams.get("issuer"),
    secret: url.searchParams.get("secret"),
    period: Number(url.searchParams.get("period") ?? 30),
    digits: Number(url.searchParams.get("digits") ?? 6),
    algorithm: url.searchParams.get("algorithm") ?? "SHA1",
  };
}
