// Single sign-on at the certified provider of npm, set up as an administrator does it: V2, U22, U23, R38, R68, R97-R102,
// R117, R118, D25, D26.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterCode, enterPassword, enterUsername, go, launch, look, person, readQr, text } from "./lib/browser.js";
import { Certified, atProvider, logInAt, logOutAt } from "./lib/certified.js";
import { Site } from "./lib/site.js";
import { codeOf } from "./lib/totp.js";

const SECRET = "granite-window-granite-window-granite";
const alice = "alice@acme.example";
const bob = "bob@acme.example";
const carol = "carol@acme.example";
const nina = "nina@acme.example";
const ada = "ada@acme.example";
const wall = "wall@bolt.example";
/** Who they are at the provider. */
const subject = { [alice]: "1001", [bob]: "1002", [carol]: "1003", [nina]: "2001", foreigner: "3001", stranger: "9999" };

let site, provider, browser;
before(async () => {
  [site, browser] = await Promise.all([Site.start(), launch()]);
  const at = (end) => site.at(`/.zonegate/sso/acme${end}`);
  provider = await Certified.start(site.authority, site.folder, {
    client: {
      client_id: "zonegate",
      client_secret: SECRET,
      jwks_uri: site.at("/.well-known/zonegate/jwks.json"),
      redirect_uris: [at("/callback")],
      post_logout_redirect_uris: [at("/logged-out")],
      backchannel_logout_uri: at("/backchannel-logout"),
      backchannel_logout_session_required: true,
    },
    claims: {
      [subject[alice]]: { preferred_username: alice, name: "Alice Ash" },
      // What a claim says of somebody who is linked is of no weight.
      [subject[bob]]: { preferred_username: alice, name: "Bob Baker" },
      [subject[carol]]: { preferred_username: carol, name: "Carol Clay" },
      [subject[nina]]: { preferred_username: nina, name: "Nina New", email: nina, email_verified: true },
      [subject.foreigner]: { preferred_username: wall },
      [subject.stranger]: { preferred_username: "nobody at all" },
    },
  });
  await site.apply({
    tenants: [
      {
        slug: "acme",
        name: "Acme Services",
        zone: site.host,
        domains: ["acme.example"],
        users: [
          { username: alice, name: "Alice Ash", level: "admin" },
          { username: bob },
          { username: carol },
          { username: ada, level: "admin" },
        ],
      },
      { slug: "bolt", zone: site.host, domains: ["bolt.example"], users: [{ username: wall, kind: "dashboard" }] },
    ],
  });
  for (const username of [alice, ada, wall]) {
    await site.command(["user", "set-password", username], passwordOf(username));
  }
});
after(async () => {
  await browser?.close();
  await provider?.down();
  await site?.stop();
});

const passwordOf = (username) => `Granite-Window-${username.length}${username[0]}`;
const sso = (...args) => site.command(["tenant", "sso", ...args]);
const who = (page) => text(page, "#who");

/** Opens the zone and says who it is: what follows is the provider, or the password. */
async function asks(page, username, where = "/") {
  await page.goto(site.at(where));
  await enterUsername(page, username);
}

/** Password and code, with an authenticator that is set up on the way; gives its secret. */
async function enrols(page, username) {
  await asks(page, username);
  await enterPassword(page, passwordOf(username));
  const { secret, period } = await readQr(page);
  await page.fill("#code", codeOf(secret, await site.nextStep(username, period)));
  await go(page, "#validate");
  await go(page, "#continue");
  assert.equal(await who(page), username);
  return secret;
}

/** A complete log-in at the provider, in a browser of its own. */
async function logsIn(username, where = "/") {
  const page = await person(browser);
  await asks(page, username, where);
  assert.ok(await atProvider(page, provider), `${username} is sent to the provider: ${page.url()}`);
  await logInAt(page, subject[username]);
  assert.equal(await who(page), username);
  return page;
}

/** Logs out where the provider is left alone, which also frees the slot. */
async function leaves(page) {
  await go(page, "#leave");
  assert.match(await text(page, "body"), /You are logged out/);
}

/** Sends a form of the administration pages, with Alice's password where it asks for one. */
async function submits(page, form, button) {
  const password = page.locator(`${form} input[autocomplete=current-password]`);
  if (await password.count()) await password.fill(passwordOf(alice));
  await go(page, button);
}

/** Whether the application still answers in this browser. */
async function isIn(page) {
  await page.goto(site.at("/"));
  return (await page.locator("#who").count()) === 1;
}

/** The page for a log-in that failed at the provider, its text, and that the reference in it leads to `reason`. */
async function refusal(page, message, reason, name) {
  assert.match(await text(page, "#error"), message);
  const reference = await text(page, "#reference");
  const told = site.events("login_failed").find((event) => event.request === reference);
  assert.equal(told?.reason, reason, site.log.split("\n").slice(-4).join("\n"));
  assert.doesNotMatch(await text(page, "body"), new RegExp(reason), "the reason is for the log");
  await look(page, name);
}

let aliceAtHome, aliceSecret;

test("an administrator sets the provider up, tries it in a browser, and only then enables it (V2, D25)", async () => {
  aliceAtHome = await person(browser);
  aliceSecret = await enrols(aliceAtHome, alice);

  const page = aliceAtHome;
  await page.goto(site.at("/.zonegate/admin/sso"));
  const { client } = provider;
  const addresses = [...client.redirect_uris, ...client.post_logout_redirect_uris, client.backchannel_logout_uri];
  const shown = await page.locator("main input[readonly]").evaluateAll((inputs) => inputs.map((input) => input.value));
  for (const address of addresses) assert.ok(shown.includes(address), `${address} is shown, to be copied: ${shown}`);
  await look(page, "set-up");

  await page.fill("#issuer", "http://login.acme.example");
  await page.fill("#client_id", "zonegate");
  await page.fill("#client_secret", SECRET);
  await page.fill("#scopes", "profile email");
  await submits(page, "#form-settings", "#save");
  assert.match(await text(page, "#issuer-error"), /https/, "what is wrong is said where it is");
  await look(page, "set-up-wrong");
  await page.fill("#issuer", provider.issuer);
  await page.fill("#client_secret", SECRET);
  await submits(page, "#form-settings", "#save");
  assert.equal(await page.inputValue("#client_secret"), "");
  assert.equal(await page.getAttribute("#client_secret", "placeholder"), "••••••••", "the secret is dots");
  assert.ok(!(await page.content()).includes(SECRET));

  await page.check("#scope-selected");
  await submits(page, "#form-scope", "#apply");
  assert.match(await text(page, "#error"), /test/i, "not in force untried");

  await page.fill("#client_secret", `${SECRET}-not`);
  await submits(page, "#form-settings", "#save");
  await go(page, "#test");
  await logInAt(page, subject[alice]);
  assert.match(await text(page, "h1"), /The test failed/);
  assert.equal(await text(page, "#reason"), "code_refused", await text(page, "body"));
  await look(page, "test-failed");
  await go(page, "#again");
  await page.fill("#client_secret", SECRET);
  await submits(page, "#form-settings", "#save");
  await go(page, "#test");
  assert.equal(await text(page, "#subject"), subject[alice]);
  assert.equal(await text(page, "#username"), alice);
  await look(page, "tried");
  await go(page, "#back");

  await page.check("#scope-selected");
  await submits(page, "#form-scope", "#apply");
  assert.match(await text(page, "#notice"), /./);
  await look(page, "enabled");
  const told = await sso("show", "acme");
  assert.match(told, /must be used by +selected users/, "the operator sees the same");
  assert.ok(!told.includes(SECRET) && told.includes("••••"));
  assert.ok(await isIn(aliceAtHome), "whoever is in stays in");
});

test("an operator's trial logs nobody in (D25)", async () => {
  const page = await person(browser);
  const address = (await sso("test", "acme")).trim().split("\n").at(-1);
  await page.goto(address);
  await logInAt(page, subject[alice]);
  assert.equal(await text(page, "#subject"), subject[alice]);
  assert.equal(await isIn(page), false);
});

test("selected users go to the provider, all others see the password page, and the subject decides (R38, U23)", async () => {
  const admin = aliceAtHome;
  await admin.goto(site.at("/.zonegate/admin/sso/users"));
  await admin.fill("#username", bob);
  await admin.fill("#subject", subject[bob]);
  await submits(admin, "#form-add", "#add");
  assert.match(await text(admin, "#links"), new RegExp(`${bob}.*${subject[bob]}`, "s"));
  await look(admin, "linked");
  const page = await logsIn(bob, "/tickets/1042?view=full");
  assert.equal(await text(page, "#path"), "/tickets/1042?view=full", "back to where it was going (U32)");

  const other = await person(browser);
  await asks(other, carol);
  assert.equal(await other.locator("#password").count(), 1, "nobody said that she logs in there");

  const stranger = await person(browser);
  await asks(stranger, bob);
  await logInAt(stranger, subject.stranger);
  await refusal(stranger, /No account/, "unknown_subject", "unknown-identity");
  await go(stranger, "#back");
  assert.equal(await stranger.locator("#username").count(), 1, "a way back to another name");
});

test("an enrolled user is asked for no code, and nobody types twice (U22, R68, R97, R98)", async () => {
  await sso("link", alice, subject[alice]);
  const page = await logsIn(alice);

  await leaves(page);
  await page.goto(site.at("/tickets/7"));
  assert.equal(await who(page), alice, "this browser is known to belong to the provider's people (D26)");
  assert.equal(await text(page, "#path"), "/tickets/7");

  await leaves(page);
  await page.context().clearCookies({ domain: site.host });
  await asks(page, alice);
  assert.equal(await who(page), alice, "logged in there already: in at once");

  await leaves(page);
  await page.goto(site.at("/.zonegate/login?with=username"));
  assert.equal(await page.locator("#username").count(), 1, "somebody else can log in here");
});

test("the provider's tile leads in after one question (U22, R99)", async () => {
  const page = await logsIn(alice);
  await leaves(page);
  await page.context().clearCookies({ domain: site.host });
  const target = encodeURIComponent(site.at("/tickets/9"));
  await page.goto(site.at(`/.zonegate/sso/acme/initiate?iss=${encodeURIComponent(provider.issuer)}&target_link_uri=${target}`));
  await look(page, "tile");
  await go(page, "#continue");
  assert.equal(await who(page), alice);
  assert.equal(await text(page, "#path"), "/tickets/9");
  await leaves(page);

  await page.goto(site.at("/.zonegate/sso/acme/initiate?iss=https%3A%2F%2Felsewhere.example"));
  await refusal(page, /did not confirm/, "initiate_issuer", "tile-of-another");
});

test("what the provider refuses comes to one page with a reference (U23)", async () => {
  const page = await person(browser);
  await asks(page, bob);
  await Promise.all([page.waitForNavigation(), page.click("a[href*=abort]")]);
  await refusal(page, /did not confirm/, "access_denied", "aborted");
  await go(page, "#again");
  assert.ok(await atProvider(page, provider));
});

test("the password of somebody who logs in at the provider opens nothing and costs nothing (U22, R8)", async () => {
  const page = await person(browser);
  for (let guess = 1; guess <= 8; guess += 1) {
    await page.goto(site.at("/.zonegate/login?with=password"));
    await enterUsername(page, alice);
    await enterPassword(page, passwordOf(alice));
    // As at a name that nobody has (E5). What is locked is the guessing: the account is not, as the last journey shows.
    const told = guess < 7 ? /username or password is incorrect/ : /account is locked/;
    assert.match(await text(page, "#error"), told, `guess ${guess}`);
  }
  assert.ok(await isIn(aliceAtHome));
});

test("with all users, a claim makes the first link and moves nothing afterwards (V2, R102)", async () => {
  await sso("enable", "acme", "--for", "all", "--emergency-admin", ada);
  await leaves(await logsIn(carol));
  provider.claims[subject[carol]].preferred_username = ada;
  const page = await person(browser);
  await asks(page, "whoever@acme.example");
  assert.ok(await atProvider(page, provider), "a name that nobody has is sent there as well");
  await logInAt(page, subject[carol]);
  assert.equal(await who(page), carol);
  await leaves(page);

  const foreigner = await person(browser);
  await asks(foreigner, carol);
  await logInAt(foreigner, subject.foreigner);
  await refusal(foreigner, /No account/, "foreign_username", "another-tenants-name");
});

test("people whom only the provider knows are entered when that is wanted, and not before (R102, D23)", async () => {
  const page = await person(browser);
  await asks(page, nina);
  await logInAt(page, subject[nina]);
  await refusal(page, /No account/, "unknown_user", "no-account");

  await sso("set", "acme", "--provision");
  await go(page, "#again");
  assert.ok(await atProvider(page, provider), "asked anew, so that somebody else can be chosen (P14)");
  await logInAt(page, subject[nina]);
  assert.equal(await who(page), nina);
  assert.match(await site.command(["user", "list", "--tenant", "acme"]), /nina@acme\.example/);
});

test("the emergency administrator has a way in of their own (D25)", async () => {
  const page = await person(browser);
  await page.goto(site.at("/.zonegate/login?with=password"));
  await enterUsername(page, ada);
  await enterPassword(page, passwordOf(ada));
  assert.ok(await readQr(page), "a second factor is asked for as ever");
});

test("three sessions are the limit for the provider's people as well (R81, R101)", async () => {
  await logsIn(nina);
  await logsIn(nina);
  const page = await person(browser);
  await asks(page, nina);
  await logInAt(page, subject[nina]);
  assert.equal(await page.locator(".session").count(), 3, "which one is to end?");
  await look(page, "slots");
  await go(page, ".session button >> nth=0");
  assert.equal(await who(page), nina);
});

test("logging out here logs out there when that is wanted, and leads back (R118)", async () => {
  const before = await logsIn(bob);
  await leaves(before);

  await sso("set", "acme", "--logout");
  const page = await logsIn(bob);
  await go(page, "#leave");
  assert.ok(await atProvider(page, provider));
  await logOutAt(page);
  assert.equal(new URL(page.url()).origin, site.origin);
  assert.match(await text(page, "body"), /You are logged out/);
  await look(page, "logged-out");
  assert.equal(await isIn(page), false);
  await page.goto(site.at("/.zonegate/sso/acme"));
  assert.equal(await page.locator("[name=login]").count(), 1, "and the provider asks again");
});

test("a log-out at the provider ends its session here at once, and no other (R117)", async () => {
  const wallDisplay = await person(browser);
  await asks(wallDisplay, wall);
  await enterPassword(wallDisplay, passwordOf(wall));
  assert.equal(await who(wallDisplay), wall);
  const [page, second] = [await logsIn(alice), await logsIn(alice)];

  await page.goto(`${provider.issuer}/session/end`);
  // The provider answers once it has told everybody.
  await logOutAt(page);
  assert.equal(provider.fault, undefined);
  const ended = site.events("session_ended").at(-1);
  assert.deepEqual([ended?.actor, ended?.reason], ["provider", "provider_log_out"]);
  assert.equal(await isIn(page), false, "ended");
  assert.ok(await isIn(second), "the session that the provider began in another browser is another one");
  assert.ok(await isIn(aliceAtHome), "a local session of the same person goes on");
  assert.ok(await isIn(wallDisplay), "so does anybody else's");
});

test("while the provider is down nobody new gets in, and who is in stays in (U23, D25)", async () => {
  const inside = await logsIn(bob);
  const page = await person(browser);
  await asks(page, carol);
  provider.dieAfterCode();
  await logInAt(page, subject[carol]);
  await refusal(page, /cannot be reached/, "provider_unreachable", "provider-down");
  assert.ok(await isIn(inside));
  await provider.down();
  await provider.up();
  await go(page, "#again");
  assert.equal(await who(page), carol);
});

test("a new signing key at the provider is fetched when it is first met (D27)", async () => {
  await logsIn(carol);
  provider.rotate();
  await logsIn(carol);
});

test("instead of a secret, the gateway can show its own key (RFC 7523)", async () => {
  await sso("set", "acme", "--client-id", "zonegate-by-key", "--client-authentication", "private_key_jwt", "--logout=false");
  await leaves(await logsIn(bob));
});

test("without single sign-on, password and the authenticator of before count again (V2, R68)", async () => {
  await sso("disable", "acme");
  const page = await person(browser);
  await asks(page, alice);
  await enterPassword(page, passwordOf(alice));
  await enterCode(page, codeOf(aliceSecret, await site.nextStep(alice, 30)));
  assert.equal(await who(page), alice);
});
