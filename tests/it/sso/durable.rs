//! `kill -9` in the middle of everything else that changes somebody's account: what was acknowledged is there after the
//! restart, and what was not is there whole or not at all.
//!
//! Each round does one of each at the same time, for people of its own, and kills the gateway and the commands at an
//! acknowledgement: the first in the first round, a later one in each that follows.

use std::cell::Cell;
use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use zonegate::base::UserId;
use zonegate::directory::{SecurityLevel, UserKind};
use zonegate::sso::Audience;

use super::{World, name, patiently};
use crate::harness::{Answer, Visitor, code, within};

const PASSWORD: &str = "Granite-Window-74";
const OTHER_PASSWORD: &str = "Basalt-Chimney-36";
/// How many things are under way at a time.
const ACTS: usize = 7;

/// What somebody was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Done,
    /// It was under way: either outcome is right.
    Nothing,
}

/// How many were told that something is done, and who waits for so many.
#[derive(Default)]
struct Count {
    done: Cell<usize>,
    changed: Notify,
}

impl Count {
    fn told(&self, done: bool) -> Told {
        if !done {
            return Told::Nothing;
        }
        self.done.set(self.done.get() + 1);
        self.changed.notify_one();
        Told::Done
    }

    async fn reaches(&self, wanted: usize) {
        while self.done.get() < wanted {
            self.changed.notified().await;
        }
    }
}

/// A command of the program that a power cut ends, too.
struct Running(Child);

impl Running {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonegate"));
        command.args(arguments).arg("--config").arg(world.gateway.file("zonegate.yaml"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        Self(child.spawn().unwrap())
    }

    fn number(&self) -> String {
        self.0.id().unwrap().to_string()
    }

    async fn succeeds(mut self, input: &str) -> bool {
        let mut to = self.0.stdin.take().unwrap();
        // Killed before it has read is killed as well.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut to, input.as_bytes()).await;
        drop(to);
        within(self.0.wait()).await.unwrap().success()
    }
}

impl World {
    /// Somebody whose password is all they show.
    async fn screen(&self, username: &str) -> UserId {
        self.person(username, UserKind::Dashboard, SecurityLevel::User).await;
        self.id(username).await
    }

    async fn local(&self, username: &str, password: &str) -> (Visitor, Answer) {
        let visitor = self.browser();
        let page = visitor.give_username(&self.url("/"), username).await.unwrap();
        let answer = visitor.answer(&page, "password", password).await.unwrap();
        (visitor, answer)
    }

    async fn local_in(&self, username: &str) -> Visitor {
        let (visitor, answer) = self.local(username, PASSWORD).await;
        assert!(self.has_session(&visitor), "{username}: {}", answer.body);
        visitor
    }

    async fn lives(&self, visitor: &Visitor) -> bool {
        self.known_as(visitor).await.is_some()
    }

    async fn sessions_of(&self, user: UserId) -> usize {
        let live = patiently(async || self.store.live_sessions().await).await;
        live.iter().filter(|session| session.record.user == user).count()
    }

    /// How often the security log says this of them.
    async fn said_of(&self, user: UserId, kind: &str) -> usize {
        let events = patiently(async || self.store.events(Some(user), 1000).await).await;
        events.iter().filter(|event| event.kind == kind).count()
    }

    async fn end_at_suite(&self, visitor: &Visitor, token: &str) -> Result<Answer, reqwest::Error> {
        let body = ("application/x-www-form-urlencoded", format!("logout_token={token}"));
        let url = self.url("/.zonegate/suite/backchannel-logout");
        visitor.send(Method::POST, &url, "*/*", Some(body)).await
    }
}

/// The secret that the page shows.
fn secret(page: &Answer) -> String {
    let shown = page.body.split("id=\"manual-key\">").nth(1).unwrap_or_else(|| panic!("no key in {}", page.body));
    shown.split('<').next().unwrap().replace(' ', "")
}

fn kill(number: &str) {
    // It may have ended already, which is what an acknowledgement is.
    let _ = std::process::Command::new("kill").args(["-9", number]).stderr(Stdio::null()).status().unwrap();
}

#[tokio::test]
async fn kill_9_during_anything_that_changes_an_account_loses_nothing_acknowledged_and_halves_nothing() {
    let mut world = World::start_in_suite().await;
    world.gateway.edit("web_sessions_max: 100", "web_sessions_max: 2");
    world.gateway.restart().await;
    let (mut done, mut open) = (0, 0);
    for round in 1..=6 {
        let user = |act: &str| format!("{act}{round}@acme.example");
        let [leaves, ended, chooses, changes] = ["leaves", "ended", "chooses", "changes"].map(user);
        let [enrols, links, told] = ["enrols", "links", "told"].map(user);

        // Log-out, and ending by command.
        let leaves_id = world.screen(&leaves).await;
        let leaver = world.local_in(&leaves).await;
        let ended_id = world.screen(&ended).await;
        let (one, other) = (world.local_in(&ended).await, world.local_in(&ended).await);
        // A slot chosen.
        let chooses_id = world.screen(&chooses).await;
        let first = world.local_in(&chooses).await;
        let victim = patiently(async || world.store.live_sessions().await).await;
        let victim =
            victim.iter().find(|session| session.record.user == chooses_id).unwrap().record.id.to_string();
        let second = world.local_in(&chooses).await;
        let (third, choice) = world.local(&chooses, PASSWORD).await;
        assert!(choice.has(&format!("session-{victim}")), "{}", choice.body);
        // A password set.
        let changes_id = world.screen(&changes).await;
        let changer = world.local_in(&changes).await;
        let set_before = world.said_of(changes_id, "password_set").await;
        // An authenticator.
        world.person(&enrols, UserKind::Regular, SecurityLevel::User).await;
        let enrols_id = world.id(&enrols).await;
        let (enroller, qr) = world.local(&enrols, PASSWORD).await;
        let shown = code(&secret(&qr), super::now().seconds() / 30);
        // A session that the suite ends, and then somebody whom the suite has not named before.
        for username in [&told, &links] {
            world.person(username, UserKind::Regular, SecurityLevel::User).await;
            world.set_up(username).await;
        }
        let (told_id, links_id) = (world.id(&told).await, world.id(&links).await);
        world.is_of(&told, &told, "c-1042");
        let at_suite = world.browser();
        world.in_suite(&at_suite, &told).await;
        let token = world.provider.logout_token(|_, claims| {
            claims["sub"] = json!(told);
            claims["sid"] = json!(format!("session-of-{told}"));
        });
        world.is_of(&links, &links, "c-1042");
        let linker = world.browser();
        let asked = world.ask_suite(&linker, &links).await;
        let back = world.at_provider(&asked);

        let end = Running::start(&world, &["session", "end", "--user", &ended]);
        let set = Running::start(&world, &["user", "set-password", &changes]);
        let processes = [world.gateway.number().to_string(), end.number(), set.number()];
        let count = Count::default();
        let (zone, login) = (world.url("/"), world.url("/.zonegate/login"));
        let (choice_flow, qr_flow) = (choice.field("flow").unwrap(), qr.field("flow").unwrap());
        let chosen = [("flow", choice_flow.as_str()), ("session", victim.as_str())];
        let enrolled = [("flow", qr_flow.as_str()), ("code", shown.as_str())];
        let provider = world.browser();
        let input = format!("{OTHER_PASSWORD}\n");
        let acts = async {
            tokio::join!(
                async {
                    count.told(leaver.log_out(&zone).await.is_ok_and(|answer| answer.status.is_redirection()))
                },
                async { count.told(end.succeeds("").await) },
                async { count.told(third.post(&login, &chosen).await.is_ok() && world.has_session(&third)) },
                async { count.told(set.succeeds(&input).await) },
                async {
                    count.told(enroller.post(&login, &enrolled).await.is_ok_and(|page| page.has("form-enrolled")))
                },
                async {
                    let answer = linker.send(Method::GET, &back, "text/html", None).await;
                    count.told(answer.is_ok() && world.has_session(&linker))
                },
                async {
                    let answer = world.end_at_suite(&provider, &token).await;
                    count.told(answer.is_ok_and(|answer| answer.status == StatusCode::OK))
                },
            )
        };
        let cut = async {
            count.reaches(round).await;
            processes.iter().for_each(|number| kill(number));
        };
        let (told_of, ()) = within(async { tokio::join!(acts, cut) }).await;
        let (left, by_command, chose, set_anew, has_app, has_link, over) = told_of;
        let all = [left, by_command, chose, set_anew, has_app, has_link, over];
        done += all.iter().filter(|told| **told == Told::Done).count();
        open += all.iter().filter(|told| **told == Told::Nothing).count();
        world.gateway.restart().await;

        let ended_by = async |user, before| world.said_of(user, "session_ended").await > before;
        let lives = world.lives(&leaver).await;
        assert!(!(lives && left == Told::Done), "round {round}: a log-out came undone");
        assert_eq!(!lives, ended_by(leaves_id, 0).await, "round {round}: a log-out and its line in the log");

        let both = (world.lives(&one).await, world.lives(&other).await);
        let wanted: &[_] =
            if by_command == Told::Done { &[(false, false)] } else { &[(false, false), (true, true)] };
        assert!(wanted.contains(&both), "round {round}: {both:?} of an ending by command");
        assert_eq!(!both.0, ended_by(ended_id, 0).await, "round {round}: an ending and its line in the log");

        // Both or none: never three, never one.
        assert!(world.lives(&second).await, "round {round}: nobody has chosen it");
        assert_eq!(world.sessions_of(chooses_id).await, 2, "round {round}: {chose:?}");
        let old = world.lives(&first).await;
        assert!(!(old && chose == Told::Done), "round {round}: what made room is there");
        if chose == Told::Done {
            assert!(world.lives(&third).await, "round {round}: the chosen session is not there");
        }
        assert_eq!(!old, ended_by(chooses_id, 0).await, "round {round}: a choice and its line in the log");

        let (with_new, _) = world.local(&changes, OTHER_PASSWORD).await;
        let (with_old, _) = world.local(&changes, PASSWORD).await;
        let passwords = (world.has_session(&with_new), world.has_session(&with_old));
        assert!(passwords.0 != passwords.1, "round {round}: {passwords:?} of two passwords");
        assert!(passwords.0 || set_anew == Told::Nothing, "round {round}: a password that was set is not there");
        assert_eq!(passwords.0, !world.lives(&changer).await, "round {round}: sessions of before a new password");
        assert_eq!(passwords.0, world.said_of(changes_id, "password_set").await > set_before, "round {round}");

        let (_, page) = world.local(&enrols, PASSWORD).await;
        assert!(page.has("form-code") || page.has("form-enrol"), "round {round}: {}", page.body);
        assert!(page.has("form-code") || has_app == Told::Nothing, "round {round}: an authenticator is not there");
        assert_eq!(
            page.has("form-code"),
            world.said_of(enrols_id, "second_factor_enrolled").await > 0,
            "round {round}"
        );

        let linked = patiently(async || world.store.links(world.acme, Audience::Suite).await).await;
        let linked = linked.iter().any(|link| link.username == name(&links) && link.subject.as_str() == links);
        assert!(linked || has_link == Told::Nothing, "round {round}: a link is not there");
        assert_eq!(
            linked,
            world.said_of(links_id, "account_linked").await > 0,
            "round {round}: a link and its line"
        );
        if has_link == Told::Done {
            assert!(world.lives(&linker).await, "round {round}: the session of a new link is not there");
        }

        let lives = world.lives(&at_suite).await;
        assert!(
            !(lives && over == Told::Done),
            "round {round}: a log-out that the suite was told is done came undone"
        );
        assert_eq!(!lives, ended_by(told_id, 0).await, "round {round}: the suite's log-out and its line");
        let again = world.end_at_suite(&world.browser(), &token).await.unwrap();
        match over {
            Told::Done => {
                assert_eq!(again.status, StatusCode::BAD_REQUEST, "round {round}: its token was forgotten");
            }
            // The suite asks again until it is told: what it is told must be so.
            Told::Nothing => {
                assert!(!world.lives(&at_suite).await, "round {round}: refused as done, and not done");
            }
        }
    }
    assert_eq!(done + open, 6 * ACTS);
    assert!(done >= 6 && open >= 6, "{done} were acknowledged and {open} under way");
    world.gateway.assert_well();
}
