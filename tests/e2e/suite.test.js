// The vendor's suite log-in, with the certified provider of npm as the suite and two products of it, each behind a gateway
// of its own: U4, U19-U21, R90-R96, R117, D20-D23, V9.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterPassword, enterUsername, go, launch, look, person, readQr, text } from "./lib/browser.js";
import { Certified, atProvider, logInAt, logOutAt } from "./lib/certified.js";
import { Site } from "./lib/site.js";
import { codeOf } from "./lib/totp.js";

const SECRET = "granite-window-granite-window-granite";
const alice = "alice@acme.example";
const ops = "alice.ops@acme.example";
const bob = "bob@acme.example";
const dora = "dora@acme.example";
const nina = "nina@acme.example";
/** Who they are at the suite. */
const subject = { [alice]: "1001", [bob]: "1002", [dora]: "1003", [nina]: "2001", other: "3001", foreign: "4001" };
const acme = { company: "c-1042", modules: ["desk", "wiki", "crm"] };
const of = (email, more) => ({ email, email_verified: true, ...acme, ...more });

let desk, wiki, suite, browser;

const client = (site, id) => ({
  client_id: id,
  client_secret: SECRET,
  redirect_uris: [site.at("/.zonegate/suite/callback")],
  post_logout_redirect_uris: [site.at("/.zonegate/suite/logged-out")],
  backchannel_logout_uri: site.at("/.zonegate/suite/backchannel-logout"),
  backchannel_logout_session_required: true,
});

/** What a gateway is told of the suite, and of its products where it knows them. */
async function section(site, id) {
  const file = await site.secretFile(SECRET);
  const modules = desk
    ? [{ id: "desk", name: "Desk", url: desk.at("/") }, { id: "wiki", name: "Wiki", url: site.at("/.zonegate/suite") }]
    : [];
  return `suite: ${JSON.stringify({
    name: "AcmeOne", issuer: suite.issuer, client_id: id, client_secret: `file:${file}`, scopes: ["email", "suite"], modules,
  })}\n`;
}

before(async () => {
  browser = await launch();
  desk = await Site.start({
    sections: async (site) => {
      suite = await Certified.start(site.authority, site.folder, {
        client: client(site, "desk"),
        scopes: { suite: ["company", "modules", "company_master"] },
        claims: {
          [subject[alice]]: of(alice, { company_master: true }),
          [subject[bob]]: of(bob),
          [subject[dora]]: of(dora),
          [subject[nina]]: of(nina, { name: "Nina New" }),
          [subject.other]: of("other@mail.example"),
          [subject.foreign]: of(alice, { company: "c-9" }),
        },
      });
      return section(site, "desk");
    },
  });
  wiki = await Site.start({
    host: "wiki.localhost",
    authority: desk.authority,
    sections: async (site) => {
      suite.add(client(site, "wiki"));
      return section(site, "wiki");
    },
  });
  const tenant = (site, more) => ({ slug: "acme", name: "Acme Services", zone: site.host, domains: ["acme.example"], ...more });
  await desk.apply({
    tenants: [tenant(desk, {
      suite: { company: acme.company },
      users: [
        { username: alice, name: "Alice Ash", email: alice, level: "admin" },
        { username: ops, email: alice },
        { username: bob, email: bob },
        { username: dora, email: dora, kind: "dashboard" },
      ],
    })],
  });
  // The other product enters the company's people as they come.
  await wiki.apply({ tenants: [tenant(wiki, { suite: { company: acme.company, provision: true }, users: [] })] });
  for (const username of [alice, ops, bob]) {
    await desk.command(["user", "set-password", username], passwordOf(username));
  }
});
after(async () => {
  await browser?.close();
  await suite?.down();
  await Promise.all([desk?.stop(), wiki?.stop()]);
});

const passwordOf = (username) => `Granite-Window-${username.length}${username[0]}`;
const who = (page) => text(page, "#who");

/** Types a name on the first page and takes the suite's button. */
async function asksSuite(page, username) {
  await page.goto(desk.at("/"));
  await page.fill("#username", username);
  await go(page, "#suite");
}

/** The whole way, in a browser of its own. */
async function logsIn(username) {
  const page = await person(browser);
  await asksSuite(page, username);
  assert.ok(await atProvider(page, suite), page.url());
  await logInAt(page, subject[username]);
  return page;
}

async function refusal(page, message, reason, name) {
  assert.match(await text(page, "#error"), message);
  const reference = await text(page, "#reference");
  const told = desk.events("login_failed").find((event) => event.request === reference);
  assert.equal(told?.reason, reason, desk.log.split("\n").slice(-4).join("\n"));
  await look(page, name);
}

/** Password and code, with an authenticator that is set up on the way. */
async function logsInLocally(page, username) {
  await page.goto(desk.at("/"));
  await enterUsername(page, username);
  await enterPassword(page, passwordOf(username));
  const { secret, period } = await readQr(page);
  await page.fill("#code", codeOf(secret, await desk.nextStep(username, period)));
  await go(page, "#validate");
  await go(page, "#continue");
}

/** Logs out here and at the suite, which also frees the slot. */
async function leaves(page) {
  await go(page, "#leave");
  assert.ok(await atProvider(page, suite), page.url());
  await logOutAt(page);
}

/** Whether the application of a site still answers in this browser. */
async function isIn(page, site) {
  await page.goto(site.at("/"));
  return (await page.locator("#who").count()) === 1;
}

let local;

test("before the own log-in is set up, the suite opens nothing; afterwards it does (U4, R28)", async () => {
  const early = await logsIn(alice);
  await refusal(early, /not set up yet and cannot be linked to AcmeOne/, "suite_before_set_up", "too-early");
  local = await person(browser);
  await logsInLocally(local, alice);
  assert.equal(await who(local), alice);
  // The person is at the suite already: nothing is typed but the name.
  await asksSuite(early, alice);
  assert.equal(await who(early), alice);
  await leaves(early);
});

test("the first page offers the suite beside Continue, and wants a name first (R90)", async () => {
  const page = await person(browser);
  await page.goto(desk.at("/"));
  assert.equal(await text(page, "#suite"), "Log in with AcmeOne");
  await look(page, "button");
  await go(page, "#suite");
  assert.equal(await page.locator("[data-message=m1]").count(), 1);
  await page.fill("#username", alice);
  await Promise.all([page.waitForNavigation(), page.press("#username", "Enter")]);
  assert.equal(await page.locator("#password").count(), 1, "Enter means Continue");
});

test("from one product to the next nobody logs in again, and is entered where they are new (U19, R94, D23)", async () => {
  const page = await logsIn(alice);
  assert.equal(await who(page), alice);
  await page.goto(wiki.at("/.zonegate/suite"));
  assert.equal(await who(page), alice, "in the other product, without a word");
  const session = await page.evaluate(async () => (await fetch("/.zonegate/session")).json());
  assert.equal(session.session.method, "suite");
  await leaves(page);
});

test("who does not match is told so, whatever the reason (U21)", async () => {
  const check = async (at, username, message, reason, name) => {
    const page = await person(browser);
    await asksSuite(page, username);
    await logInAt(page, at);
    await refusal(page, message, reason, name);
  };
  await check(subject.other, alice, /does not match this username/, "suite_linked_to_another", "another-person");
  await check(subject.foreign, alice, /does not match this username/, "suite_other_company", "another-company");
  await check(subject.other, bob, /does not match this username/, "suite_address", "another-address");
  await check(subject[dora], dora, /not available for your type of account/, "suite_not_for_this_user", "kind");
});

test("of several accounts the person chooses (D21)", async () => {
  const admin = await person(browser);
  await logsInLocally(admin, ops);
  const page = await person(browser);
  await page.goto(desk.at("/.zonegate/suite"));
  await logInAt(page, subject[alice]);
  await look(page, "which-account");
  await Promise.all([page.waitForNavigation(), page.click(`button:has-text("${ops}")`)]);
  assert.equal(await who(page), ops);
  await leaves(page);
});

test("logging out of one product logs out of the suite and all of them, and of no local session (U20, R117)", async () => {
  const page = await logsIn(alice);
  await page.goto(wiki.at("/.zonegate/suite"));
  assert.equal(await who(page), alice);
  await page.goto(desk.at("/"));
  await leaves(page);
  assert.match(await text(page, "body"), /You are logged out/);
  await look(page, "logged-out");
  assert.equal(suite.fault, undefined);
  assert.equal(await isIn(page, wiki), false, "the other product");
  assert.equal(await isIn(page, desk), false);
  await page.goto(desk.at("/.zonegate/suite"));
  assert.equal(await page.locator("[name=login]").count(), 1, "and the suite asks again");
  assert.ok(await isIn(local, desk), "a local session of the same person");

  // The other way round.
  await logInAt(page, subject[alice]);
  await Promise.all([page.waitForNavigation(), page.click(`button:has-text("${alice}")`)]);
  assert.equal(await who(page), alice);
  await page.goto(wiki.at("/.zonegate/suite"));
  await leaves(page);
  assert.equal(await isIn(page, desk), false, "logged out in the other product");
});

test("while the suite is down a log-out here is one all the same, and people are told (D19)", async () => {
  const page = await logsIn(alice);
  await suite.down();
  await go(page, "#leave");
  assert.match(await text(page, "#notice"), /You are logged out here/);
  await look(page, "unreached");
  assert.equal(await isIn(page, desk), false);
  await suite.up();
});

test("an administrator proves at the suite which company theirs is, and decides in the browser (V9, A4)", async () => {
  await desk.apply({
    tenants: [{ slug: "other", zone: desk.host, domains: ["other.example"], users: [{ username: "o@other.example" }] }],
  });
  await local.goto(desk.at("/.zonegate/admin/suite"));
  await look(local, "admin");
  const confirms = async (form) => {
    const password = local.locator(`${form} input[type=password]`);
    if (await password.count()) await password.fill(passwordOf(alice));
  };
  await confirms("#form-bind");
  await go(local, "#bind");
  assert.ok(await atProvider(local, suite), local.url());
  await logInAt(local, subject[bob]);
  assert.match(await text(local, "#error"), /Only whoever manages your company at AcmeOne/);
  await look(local, "not-master");
  await go(local, "#again");
  await confirms("#form-bind");
  await go(local, "#bind");
  await logInAt(local, subject[alice]);
  assert.match(await text(local, "#notice"), /Your company is connected/);
  assert.match(await text(local, "#bound"), /c-1042/);
  await confirms("#form-mode");
  await local.check("#mode-off");
  await go(local, "#apply");
  const page = await logsIn(alice);
  assert.match(await text(page, "#error"), /not enabled for your company/, "R93");
  await confirms("#form-mode");
  await local.check("#mode-allowed");
  await go(local, "#apply");
  await leaves(await logsIn(alice));
});

test("where the suite is required, only who is exempt logs in locally, at an address of their own (D22)", async () => {
  await desk.apply({
    tenants: [{
      slug: "acme", name: "Acme Services", zone: desk.host, domains: ["acme.example"],
      suite: { company: acme.company, require: true }, users: [{ username: ops, email: alice, suite_exempt: true }],
    }],
  });
  const page = await person(browser);
  await page.goto(desk.at("/"));
  await enterUsername(page, alice);
  assert.match(await text(page, "#error"), /requires log-in with AcmeOne/);
  await look(page, "required");
  assert.equal(await page.evaluate(() => document.activeElement.id), "suite", "Enter takes the suite's button");
  await page.goto(desk.at("/.zonegate/login?with=password"));
  await enterUsername(page, alice);
  await enterPassword(page, passwordOf(alice));
  assert.equal(await page.locator("[data-message=m2]").count(), 1, "hers is not evaluated");
  await page.goto(desk.at("/.zonegate/login?with=password"));
  await enterUsername(page, ops);
  await enterPassword(page, passwordOf(ops));
  assert.equal(await page.locator("#code").count(), 1);
  await page.goto(desk.at("/"));
  await page.fill("#username", alice);
  await go(page, "#suite");
  await logInAt(page, subject[alice]);
  assert.equal(await who(page), alice);
});
