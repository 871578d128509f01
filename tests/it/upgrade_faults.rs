//! What may go wrong in the middle of a hand-over: a new process that hangs, processes that are told to stop, a second
//! upgrade. Whatever it is, one gateway runs afterwards, with all sessions, or none where it was told to stop.
//!
//! The gateway is started from a program of its own, in whose place a script is put: an upgrade starts that, and it says
//! and does exactly what the test is about.

use std::time::Duration;

use crate::harness::{A, Gateway, Upstream, WALL, within};
use crate::upgrade::{BRISK, Successors, is_gone, run};

/// Where the script writes its number, and then that it was told "go".
const NUMBER: &str = "successor";
const TOLD: &str = "told";

struct Bench {
    _upstream: Upstream,
    gateway: Gateway,
    request: String,
    /// Whatever the scripts leave.
    successors: Successors,
}

impl Bench {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let mut gateway = Gateway::start_with(upstream.address(), BRISK).await;
        gateway.restart_from_own_program().await;
        let token = gateway.log_in(A, WALL).await;
        let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
        Self { _upstream: upstream, gateway, request, successors: Successors(Vec::new()) }
    }

    /// The next upgrade starts a process that says its number, and then does this.
    fn successor_does(&self, script: &str) {
        for name in [NUMBER, TOLD] {
            let _ = std::fs::remove_file(self.gateway.file(name));
        }
        let folder = self.gateway.file("");
        let number = format!("echo $$ > {NUMBER}.new; mv {NUMBER}.new {NUMBER}");
        self.gateway.put_script(&format!("#!/bin/sh\ncd '{}'\n{number}\n{script}\n", folder.display()));
    }

    /// The same: says that it is ready, and writes down that it was told to go on before it does this.
    fn successor_is_ready_and_does(&self, script: &str) {
        let store = self.gateway.file("zonegate.db");
        let told = format!("read word; echo $word > {TOLD}.new; mv {TOLD}.new {TOLD}");
        self.successor_does(&format!("echo 'ready {}'\n{told}\n{script}", store.display()));
    }

    /// What the script has written into this file, once it has.
    async fn written(&mut self, name: &str) -> String {
        let path = self.gateway.file(name);
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        let text = within(async {
            loop {
                if let Ok(text) = std::fs::read_to_string(&path) {
                    return text.trim().to_owned();
                }
                interval.tick().await;
            }
        })
        .await;
        if name == NUMBER {
            self.successors.0.push(text.clone());
        }
        text
    }

    /// It serves, those who were logged in and those who log in now, and holds the store.
    async fn assert_runs(&self) {
        assert_eq!(self.gateway.connect(A).await.ask(&self.request).await.status, 200, "{}", self.gateway.log());
        self.gateway.log_in(A, WALL).await;
        let (status, said) = run(&self.gateway, &["serve"]).await;
        assert_eq!(status, Some(1), "a second gateway is refused: {said}");
    }

    /// And the next upgrade, by the right program, succeeds.
    async fn assert_upgrades(mut self) {
        self.gateway.put_program_back();
        self.successors.upgrade(&self.gateway).await;
        self.assert_runs().await;
        assert!(!self.gateway.log().contains("panicked"), "{}", self.gateway.log());
    }
}

async fn signal(name: &str, number: &str) {
    let sent = tokio::process::Command::new("kill").args(["-s", name, number]).status().await.unwrap();
    assert!(sent.success(), "{number} is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_new_process_that_hangs_gives_the_gateway_back() {
    let bench = Bench::new().await;
    // With the store, which is worse than without.
    bench.successor_is_ready_and_does("exec 8>>zonegate.db.lock\nflock -n 8 && exec sleep 300");
    let mut wire = bench.gateway.connect(A).await;
    assert_eq!(wire.ask(&bench.request).await.status, 200);
    let (upgrade, number) = {
        let upgrade = run(&bench.gateway, &["upgrade"]);
        let meanwhile = async {
            let path = bench.gateway.file(TOLD);
            let mut interval = tokio::time::interval(Duration::from_millis(10));
            within(async {
                while !path.exists() {
                    interval.tick().await;
                }
            })
            .await;
            // Whoever is signed in is served all the time.
            assert_eq!(wire.ask(&bench.request).await.status, 200);
            std::fs::read_to_string(bench.gateway.file(NUMBER)).unwrap().trim().to_owned()
        };
        let began = std::time::Instant::now();
        let both = tokio::join!(upgrade, meanwhile);
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        both
    };
    let (status, said) = upgrade;
    assert_ne!(status, Some(0), "{said}");
    assert!(said.contains("nothing has changed: the new process has not said \"serving\""), "{said}");
    assert!(bench.gateway.log().contains("no other process has taken over"), "{}", bench.gateway.log());
    is_gone(&number).await;
    bench.assert_runs().await;
    bench.assert_upgrades().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_who_is_told_to_stop_in_the_middle_of_a_hand_over_ends_and_leaves_nobody() {
    let mut bench = Bench::new().await;
    for name in ["TERM", "INT"] {
        for told in [false, true] {
            match told {
                false => bench.successor_does("exec sleep 300"),
                true => bench.successor_is_ready_and_does("exec sleep 300"),
            }
            // What is written behind must not be lost by it.
            assert_eq!(bench.gateway.connect(A).await.ask(&bench.request).await.status, 200);
            let asked =
                std::process::Command::new("kill").args(["-USR2", &bench.gateway.number().to_string()]).status();
            assert!(asked.unwrap().success());
            let number = bench.written(NUMBER).await;
            if told {
                assert_eq!(bench.written(TOLD).await, "go");
            }
            let before = bench.gateway.log().len();
            signal(name, &bench.gateway.number().to_string()).await;
            let status = bench.gateway.ended().await;
            let said = bench.gateway.log().split_off(before);
            assert!(status.success(), "{name} {told}: {status}\n{said}");
            assert!(said.contains("zonegate was told to stop"), "{name} {told}: {said}");
            assert!(!said.contains("was not written") && !said.contains("panicked"), "{name} {told}: {said}");
            is_gone(&number).await;
            // The store is free, and whole.
            bench.gateway.put_program_back();
            bench.gateway.start_again().await;
            bench.assert_runs().await;
        }
    }
    bench.assert_upgrades().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_new_process_that_is_told_to_stop_gives_the_gateway_back() {
    let mut bench = Bench::new().await;
    for name in ["TERM", "INT", "KILL"] {
        // After it was told to go on; and the right program, as it starts.
        for told in [true, false] {
            let before = bench.gateway.log().matches("no other process has taken over").count();
            match told {
                true => {
                    bench.successor_is_ready_and_does("exec 8>>zonegate.db.lock; flock -n 8 && exec sleep 300");
                }
                false => bench.successor_does(&format!("exec '{}' \"$@\"", env!("CARGO_BIN_EXE_zonegate"))),
            }
            let asked =
                std::process::Command::new("kill").args(["-USR2", &bench.gateway.number().to_string()]).status();
            assert!(asked.unwrap().success());
            let number = bench.written(NUMBER).await;
            if told {
                bench.written(TOLD).await;
            }
            signal(name, &number).await;
            let mut interval = tokio::time::interval(Duration::from_millis(10));
            within(async {
                while bench.gateway.log().matches("no other process has taken over").count() == before {
                    interval.tick().await;
                }
            })
            .await;
            bench.assert_runs().await;
        }
    }
    bench.assert_upgrades().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_second_upgrade_is_refused_while_one_is_under_way() {
    let mut bench = Bench::new().await;
    let program = env!("CARGO_BIN_EXE_zonegate");
    bench.successor_does(&format!(
        "until [ -e go-on ]; do kill -0 $PPID || exit 1; sleep 0.05; done\nexec '{program}' \"$@\""
    ));
    let first = run(&bench.gateway, &["upgrade"]);
    let second = async {
        let path = bench.gateway.file(NUMBER);
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        within(async {
            while !path.exists() {
                interval.tick().await;
            }
        })
        .await;
        let number = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        let (status, said) = run(&bench.gateway, &["upgrade"]).await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("an upgrade is under way already"), "{said}");
        // By signal as well.
        signal("USR2", &bench.gateway.number().to_string()).await;
        within(async {
            while bench.gateway.log().matches("an upgrade was asked for while one is under way").count() < 2 {
                interval.tick().await;
            }
        })
        .await;
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), number, "no other process was started");
        assert_eq!(bench.gateway.connect(A).await.ask(&bench.request).await.status, 200);
        std::fs::write(bench.gateway.file("go-on"), "").unwrap();
        number
    };
    let ((status, said), number) = tokio::join!(first, second);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("Process {number} has taken over")), "{said}");
    bench.successors.0.push(number);
    bench.assert_upgrades().await;
}
