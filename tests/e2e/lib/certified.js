// The certified provider of npm (`oidc-provider`), over TLS: PKCE required, `iss` in every answer, log-out in both
// directions. It logs in whoever is typed: what is typed is the subject.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import https from "node:https";

import { freePort } from "./net.js";

// The provider is made for Node.js 22, and Debian 13 has 20, which lacks this one function.
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
};
// What it says of Node.js and of its development pages is known, and would stand between the tests' results.
const { info, warn } = console;
Object.assign(console, { info: () => {}, warn: () => {} });
const { Provider } = await import("oidc-provider");
Object.assign(console, { info, warn });

const HOST = "idp.localhost";

function signingKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

/**
 * A running provider. `claims`: what it knows of people, by subject. `client`: what it knows of us. `scopes`: the claims
 * of scopes of its own.
 */
export class Certified {
  #authority;
  #options;
  #port;
  #server;
  #answer;
  #diesAfterCode = false;

  #scopes = {};
  #others = [];

  static async start(authority, folder, { client, claims, scopes = {} }) {
    const provider = new Certified();
    provider.#authority = authority;
    provider.#port = await freePort();
    provider.issuer = `https://${HOST}:${provider.#port}`;
    provider.claims = claims;
    provider.#scopes = scopes;
    const { cert, key } = await authority.certify(HOST, folder);
    provider.#options = { cert, key };
    provider.client = client;
    provider.rotate();
    await provider.up();
    return provider;
  }

  /** Knows another client from now on. */
  add(client) {
    this.#others.push(client);
    this.rotate();
  }

  /** Signs with a new key from now on, and publishes no other. Its sessions stay. */
  rotate() {
    const quiet = console.warn;
    console.warn = () => {};
    const provider = new Provider(this.issuer, {
      clients: [this.client, ...this.#others, ...this.#clientsWithKey()],
      jwks: { keys: [signingKey()] },
      cookies: { keys: ["a throw-away provider"] },
      claims: {
        openid: ["sub"],
        profile: ["name", "preferred_username"],
        email: ["email", "email_verified"],
        ...this.#scopes,
      },
      features: { backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
      pkce: { required: () => true },
      findAccount: (_, subject) => ({
        accountId: subject,
        claims: () => ({ ...this.claims[subject], sub: subject }),
      }),
      // Nobody is asked whether they agree: it is their company's provider.
      loadExistingGrant: async ({ oidc }) => {
        const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
        grant.addOIDCScope(["openid profile email", ...Object.keys(this.#scopes)].join(" "));
        await grant.save();
        return grant;
      },
      fetch: (url, options) => this.#authority.fetch(url, options),
    });
    console.warn = quiet;
    provider.on("server_error", (_, error) => { this.fault = error; });
    this.#answer = provider.callback();
  }

  /** The same client once more, known by its public keys and not by a secret. */
  #clientsWithKey() {
    const { client_secret: _, jwks_uri, client_id, ...client } = this.client;
    const way = { token_endpoint_auth_method: "private_key_jwt", token_endpoint_auth_signing_alg: "ES256" };
    return jwks_uri ? [{ ...client, ...way, jwks_uri, client_id: `${client_id}-by-key` }] : [];
  }

  up() {
    this.#server = https.createServer(this.#options, (request, answer) => {
      const writeHead = answer.writeHead;
      answer.writeHead = (...head) => {
        const leadsBack = String(answer.getHeader("location")).startsWith(this.client.redirect_uris[0]);
        if (this.#diesAfterCode && leadsBack) {
          // From here on nobody gets a connection; those who have one get this answer.
          this.#server.close();
          answer.setHeader("connection", "close");
        }
        return writeHead.apply(answer, head);
      };
      this.#answer(request, answer);
    });
    return new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
  }

  /** Goes down at the worst moment: when it has just sent somebody back with a code. */
  dieAfterCode() {
    this.#diesAfterCode = true;
    this.#server.closeIdleConnections();
  }

  async down() {
    this.#diesAfterCode = false;
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Whether the browser stands at the provider's log-in. */
export async function atProvider(page, provider) {
  return new URL(page.url()).origin === new URL(provider.issuer).origin;
}

/** Logs in there, and waits for what comes of it. */
export async function logInAt(page, subject) {
  await page.fill("[name=login]", subject);
  await page.fill("[name=password]", "whatever");
  await Promise.all([page.waitForNavigation(), page.click("[type=submit]")]);
}

/** Says yes to the provider's question whether to log out. */
export async function logOutAt(page) {
  await Promise.all([page.waitForNavigation(), page.click("button[value=yes]")]);
}
