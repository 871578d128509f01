// The same at a second provider, which others made: Canaille. Set up by `zonegate apply`, with the secret in the form, claims
// in the ID token, consent, a strength that is demanded, and a provider that is gone when the gateway starts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterUsername, go, launch, look, person, text } from "./lib/browser.js";
import { Canaille, logInAt } from "./lib/canaille.js";
import { Site } from "./lib/site.js";

const SECRET = "window-granite-window-granite-window";
const PASSWORD = "correct horse battery staple";
const alice = "alice@acme.example";
const bob = "bob@acme.example";

let site, provider, browser, directory;
before(async () => {
  [site, browser] = await Promise.all([Site.start(), launch()]);
  const at = (end) => site.at(`/.zonegate/sso/acme${end}`);
  provider = await Canaille.start(site.authority, site.folder, {
    client: {
      client_id: "zonegate",
      client_secret: SECRET,
      client_name: "Desk",
      client_uri: site.origin,
      redirect_uris: [at("/callback")],
      post_logout_redirect_uris: [at("/logged-out")],
      grant_types: ["authorization_code"],
      response_types: ["code"],
      scope: ["openid", "profile", "email"],
      token_endpoint_auth_method: "client_secret_post",
    },
    people: ["alice", "bob"].map((name) => ({ name, email: `${name}@acme.example`, password: PASSWORD })),
  });
  directory = {
    tenants: [
      {
        slug: "acme",
        name: "Acme Services",
        zone: site.host,
        domains: ["acme.example"],
        sso: {
          issuer: provider.issuer,
          client_id: "zonegate",
          client_secret: `file:${await site.secretFile(SECRET)}`,
          client_authentication: "client_secret_post",
          scopes: ["profile", "email"],
          logout: true,
          for: "all",
        },
        users: [{ username: alice }, { username: bob }],
      },
    ],
  };
});
after(async () => {
  await browser?.close();
  await provider?.kill();
  await site?.stop();
});

const sso = (...args) => site.command(["tenant", "sso", ...args]);
const who = (page) => text(page, "#who");

async function asks(page, username) {
  await page.goto(site.at("/"));
  await enterUsername(page, username);
}

async function logsIn(username) {
  const page = await person(browser);
  await asks(page, username);
  await logInAt(page, provider, username.split("@")[0], PASSWORD);
  return page;
}

/** The page for a log-in that failed at the provider, and that the reference on it leads to `reason`. */
async function refusal(page, message, reason) {
  assert.match(await text(page, "#error"), message);
  const reference = await text(page, "#reference");
  const told = site.events("login_failed").find((event) => event.request === reference);
  assert.equal(told?.reason, reason, provider.log.slice(-2000));
}

test("a directory file names the provider, and puts it into force once it was tried (V2, D25)", async () => {
  await assert.rejects(site.apply(directory), /! single sign-on of acme stays for nobody/);
  const early = await person(browser);
  await asks(early, alice);
  assert.equal(await early.locator("#password").count(), 1, "nobody depends on it yet");

  const page = await person(browser);
  const address = (await sso("test", "acme")).trim().split("\n").at(-1);
  await page.goto(address);
  await logInAt(page, provider, "alice", PASSWORD, "deny");
  await refusal(page, /Nothing was changed/, "access_denied");
  assert.equal(await text(page, "#reason"), "access_denied", "who tries it is told why");
  assert.equal(await page.locator("#again").count(), 0, "nobody may begin there yet but by the address that was printed");
  await page.goto(address);
  await go(page, "button[value=accept]");
  assert.equal(await text(page, "#subject"), "alice");
  assert.equal(await text(page, "#username"), alice);

  assert.match(await site.apply(directory), /~ single sign-on of acme: for/);
  assert.match(await site.apply(directory), /^nothing to change/);
});

test("a first log-in is linked by the claim, and the next needs no typing (U22, R98)", async () => {
  const page = await logsIn(bob);
  assert.equal(await who(page), bob);
  assert.match(await sso("links", "acme"), /bob@acme\.example +bob /);
});

test("logging out here logs out there, and leads back (R118)", async () => {
  const page = await logsIn(bob);
  await go(page, "#leave");
  assert.equal(new URL(page.url()).origin, site.origin);
  assert.match(await text(page, "body"), /You are logged out/);
  await page.goto(site.at("/.zonegate/sso/acme"));
  assert.equal(await page.locator("[name=login]").count(), 1, "the provider asks again");
});

test("a strength that is demanded must be shown (SEC-R49)", async () => {
  await sso("set", "acme", "--amr", "mfa");
  await refusal(await logsIn(alice), /did not confirm/, "token_weak_methods");
  await sso("set", "acme", "--amr", "pwd", "--max-age", "1h");
  assert.equal(await who(await logsIn(alice)), alice);
});

test("a provider that is gone when the gateway starts keeps nobody out who is in (U23, O15)", async () => {
  const inside = await logsIn(bob);
  await provider.kill();
  await site.restart();
  const page = await person(browser);
  await asks(page, alice);
  await refusal(page, /cannot be reached/, "provider_unreachable");
  await look(page, "provider-gone");
  await inside.goto(site.at("/tickets/3"));
  assert.equal(await who(inside), bob);
  // What ends is our session, whatever the provider can be told.
  await go(inside, "#leave");
  await inside.goto(site.at("/.zonegate/login?with=username"));
  assert.equal(await inside.locator("#username").count(), 1);
});
