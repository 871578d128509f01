//! One client's bytes against every backend: what arrived there, what came back, and whether the next request is still
//! only itself.

use super::backends::{BACKENDS, Backend, backends};
use super::gateway::{A, Gateway, WALL, Wishes};
use super::upstream::{Received, Upstream};
use super::wire::Wire;

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Want {
    /// This status; the connection carries another request.
    Refused(u16),
    /// This status, and the connection ends.
    Ended(u16),
    /// Any 4xx or nothing at all, and the connection ends: the parser gave up before anybody was asked.
    Dropped,
    /// Nothing arrives at the application. What the client is told is somebody else's test.
    Silent,
    /// Forwarded as this method and target; what the backend answers, and how it ends, is its own affair.
    Forwarded(&'static str),
    /// The same, and with exactly this body.
    Body(&'static str, &'static str),
}

/// An application, somebody who is logged in there, and somebody else's connection to it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) authority: String,
    pub(crate) user: String,
    pub(crate) token: String,
    /// `None` for the recording application of this process.
    backend: Option<&'static Backend>,
    /// Where this test's part of the backend's log begins.
    from: u64,
    bystander: Option<Wire>,
}

/// A gateway before every application, and what went wrong so far.
pub(crate) struct Bench {
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Gateway,
    pub(crate) targets: Vec<Target>,
    pub(crate) wrong: Vec<String>,
    sentinels: u32,
    /// Whose turn it was in [`Self::check_never`].
    turn: usize,
    /// What the last check's requests became.
    kept: Vec<Received>,
}

impl Bench {
    /// Before the recording application and every real backend.
    pub(crate) async fn new() -> Self {
        Self::start(true).await
    }

    /// Before the recording application alone: for tests that tell it what to answer.
    pub(crate) async fn alone() -> Self {
        Self::start(false).await
    }

    async fn start(real: bool) -> Self {
        let upstream = Upstream::start().await;
        let wishes = Wishes { backends: real, ..Wishes::default() };
        let gateway = Gateway::start_with(upstream.address(), wishes).await;
        let mut all = vec![("echo", A, WALL.to_owned(), None)];
        if real {
            let named = BACKENDS.iter().zip(backends());
            all.extend(
                named.map(|((name, zone), real)| (*name, *zone, format!("{name}@{name}.example"), Some(real))),
            );
        }
        let mut targets = Vec::new();
        for (name, zone, user, backend) in all {
            let token = gateway.log_in(zone, &user).await;
            let authority = gateway.authority(zone);
            let (from, bystander) = (backend.map_or(0, Backend::end), None);
            targets.push(Target { name, zone, authority, user, token, backend, from, bystander });
        }
        Self { upstream, gateway, targets, wrong: Vec::new(), sentinels: 0, turn: 0, kept: Vec::new() }
    }

    /// The request with the session's cookie line for `@`, towards the recording application.
    pub(crate) fn with_session(&self, request: &str) -> Vec<u8> {
        self.targets[0].fill(request)
    }

    /// Sends the request to every target that it concerns, and notes what was not as it must be. In the request `a.test`
    /// stands for the target's zone and `@` for the line with the session.
    ///
    /// Nothing of what is refused reaches a backend that could tell it from another, so such a request is sent towards the
    /// recording application and to one backend in turn; with `ZONEGATE_ATTACKS=all` in the environment to all of them,
    /// which takes minutes more.
    pub(crate) async fn check(&mut self, request: &str, want: Want) {
        let arrives = match want {
            Want::Forwarded(_) | Want::Body(..) => true,
            Want::Refused(_) | Want::Ended(_) | Want::Dropped | Want::Silent => false,
        };
        if arrives || to_all() {
            for at in 0..self.targets.len() {
                self.check_one(at, request, want).await;
            }
            return;
        }
        self.check_one(0, request, want).await;
        if self.targets.len() > 1 {
            self.turn = self.turn % (self.targets.len() - 1) + 1;
            self.check_one(self.turn, request, want).await;
        }
    }

    /// The same without a session, and the same for a page of the gateway's own: nothing arrives.
    pub(crate) async fn check_silent(&mut self, request: &str) {
        let nobody = request.replace('@', "X-Nobody: 1");
        self.check_one(0, &nobody, Want::Silent).await;
        self.check_one(0, &request.replacen(" /x", " /.zonegate/none", 1), Want::Silent).await;
    }

    /// Nothing arrives anywhere, the client is told of its fault or hung up on, and the connection ends.
    ///
    /// To one zone in turn, or to all of them: see [`Self::check`].
    pub(crate) async fn check_never(&mut self, request: &str) {
        if to_all() {
            return self.check(request, Want::Dropped).await;
        }
        self.turn = (self.turn + 1) % self.targets.len();
        self.check_one(self.turn, request, Want::Dropped).await;
    }

    /// At most one request arrives, for this target; never another, whatever the client wrote behind it.
    pub(crate) async fn check_at_most(&mut self, request: &str, target: &str) {
        for at in 0..self.targets.len() {
            let outcome = self.at_most(at, request, target).await;
            let outcome = if outcome.is_ok() { self.bystander(at).await } else { outcome };
            if let Err(got) = outcome {
                let shown: String = request.escape_debug().to_string().chars().take(300).collect();
                self.wrong.push(format!("{}: {shown}: {got}", self.targets[at].name));
            }
        }
    }

    async fn at_most(&mut self, at: usize, request: &str, target: &str) -> Result<(), String> {
        let mut wire = self.gateway.connect(self.targets[at].zone).await;
        // A request behind it ends what would be waited for, and is answered or not: as itself, or not at all.
        let next = self.next_sentinel();
        let behind = format!("GET {next} HTTP/1.1\r\nHost: a.test\r\n@\r\nConnection: close\r\n\r\n");
        let _ = wire.try_send(self.targets[at].fill(&format!("{request}{behind}"))).await;
        while let Some(reply) = wire.try_reply(request.starts_with("HEAD ")).await {
            if reply.status >= 500 && reply.status != 501 {
                return Err(format!("{} {:?}", reply.status, reply.body));
            }
        }
        let received = self.received(at);
        self.targets[at].judge(&received)?;
        let targets: Vec<_> = received.iter().map(|one| one.line.split(' ').nth(1).unwrap_or_default()).collect();
        if targets.is_empty() || targets == [target] || targets == [target, &next] || targets == [&next] {
            return Ok(());
        }
        Err(format!("it received {}", shown(&received)))
    }

    /// Like [`Self::check`], and gives what arrived at each.
    pub(crate) async fn check_and_take(&mut self, request: &str, want: Want) -> Vec<Received> {
        self.kept.clear();
        self.check(request, want).await;
        std::mem::take(&mut self.kept)
    }

    pub(crate) async fn check_one(&mut self, at: usize, request: &str, want: Want) {
        if let Err(got) = self.outcome(at, request, want).await {
            let shown: String = request.escape_debug().to_string().chars().take(300).collect();
            self.wrong.push(format!("{}: {shown}: want {want:?}, got {got}", self.targets[at].name));
        }
    }

    async fn outcome(&mut self, at: usize, request: &str, want: Want) -> Result<(), String> {
        let mut wire = self.gateway.connect(self.targets[at].zone).await;
        let _ = wire.try_send(self.targets[at].fill(request)).await;
        if want == Want::Dropped {
            wire.finish().await;
        }
        // Of a head that cannot be read nobody knows that it is a HEAD's: what it is told may have a body, and is the last.
        let bodiless = request.starts_with("HEAD ") && !matches!(want, Want::Ended(_) | Want::Dropped);
        let mut reply = wire.try_reply(bodiless).await;
        while reply.as_ref().is_some_and(|reply| (102..200).contains(&reply.status) || reply.status == 100) {
            reply = wire.try_reply(false).await;
        }
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        let received = self.received(at);
        self.targets[at].judge(&received)?;
        self.kept.extend(received.iter().cloned());
        let lines: Vec<_> = received.iter().map(|request| request.line.as_str()).collect();
        let seen = || format!("{status}, the application received {}", shown(&received));
        match want {
            Want::Refused(code) if status == code && lines.is_empty() => {
                self.goes_on(at, &mut wire).await.map_err(|why| format!("{status}, then {why}"))?;
            }
            Want::Ended(code) if status == code && lines.is_empty() => ended(&mut wire, status).await?,
            Want::Dropped if (status == 0 || (400..500).contains(&status)) && lines.is_empty() => {
                ended(&mut wire, status).await?;
            }
            Want::Silent if lines.is_empty() => {
                // Where the connection goes on, what comes next is only itself.
                if let Some(reply) = self.sentinel(at, &mut wire).await {
                    reply.map_err(|why| format!("{status}, then {why}"))?;
                }
            }
            // What the recording application answers is whole, and so the connection goes on.
            Want::Forwarded(line) if at == 0 && lines == [line] && status == 200 => {
                self.goes_on(at, &mut wire).await.map_err(|why| format!("{status}, then {why}"))?;
            }
            Want::Forwarded(line) if at > 0 && lines == [line] => {
                if let Some(reply) = self.sentinel(at, &mut wire).await {
                    reply.map_err(|why| format!("{status}, then {why}"))?;
                }
            }
            // lighttpd passes no POST on that gives no length (RFC 9110 section 15.5.12).
            Want::Body(line, "") if status == 411 && self.targets[at].name == "lighttpd" && lines.is_empty() => {
                assert!(line.starts_with("POST "), "{}", seen());
            }
            Want::Body(line, body) if lines == [line] && received[0].body == body.as_bytes() => {
                if let Some(reply) = self.sentinel(at, &mut wire).await {
                    reply.map_err(|why| format!("{status}, then {why}"))?;
                }
            }
            Want::Refused(_)
            | Want::Ended(_)
            | Want::Dropped
            | Want::Silent
            | Want::Forwarded(_)
            | Want::Body(..) => return Err(seen()),
        }
        // Nothing lingers: the next request of somebody else is the only one that arrives.
        self.bystander(at).await.map_err(|why| format!("{status}, then somebody else {why}"))
    }

    /// Whether the connection carries another request, whose answer is its own.
    pub(crate) async fn goes_on(&mut self, at: usize, wire: &mut Wire) -> Result<(), String> {
        self.sentinel(at, wire).await.unwrap_or_else(|| Err("the connection ended".into()))
    }

    /// Whether somebody else's requests are still answered with their own answers.
    pub(crate) async fn bystander(&mut self, at: usize) -> Result<(), String> {
        if let Some(mut wire) = self.targets[at].bystander.take()
            && let Some(outcome) = self.sentinel(at, &mut wire).await
        {
            self.targets[at].bystander = Some(wire);
            return outcome;
        }
        // Idle connections may end; the question is what a new one is told.
        let mut wire = self.gateway.connect(self.targets[at].zone).await;
        let outcome = self.goes_on(at, &mut wire).await;
        self.targets[at].bystander = Some(wire);
        outcome
    }

    /// A request whose answer nobody else can get; `None` when the connection has ended.
    async fn sentinel(&mut self, at: usize, wire: &mut Wire) -> Option<Result<(), String>> {
        let target = self.next_sentinel();
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n");
        let _ = wire.try_send(self.targets[at].fill(&request)).await;
        let reply = wire.try_reply(false).await?;
        Some(self.judge_sentinel(at, &target, reply.status, &reply.body))
    }

    /// A target that no other request has.
    pub(crate) fn next_sentinel(&mut self) -> String {
        self.sentinels += 1;
        format!("/next?n={}", self.sentinels)
    }

    /// Whether the answer to the sentinel is its own, and it is all that arrived.
    pub(crate) fn judge_sentinel(
        &mut self,
        at: usize,
        target: &str,
        status: u16,
        body: &str,
    ) -> Result<(), String> {
        let received = self.received(at);
        self.targets[at].judge(&received)?;
        let lines: Vec<_> = received.iter().map(|request| request.line.as_str()).collect();
        let own = match self.targets[at].backend {
            None => body == "ok",
            Some(_) => body.contains(&format!("\"{target}\"")),
        };
        if status == 200 && own && lines == [format!("GET {target}")] {
            return Ok(());
        }
        Err(format!("the sentinel {target} got {status} {body:?} and the application received {lines:?}"))
    }

    /// What has arrived at this target since the last look.
    pub(crate) fn received(&mut self, at: usize) -> Vec<Received> {
        let target = &mut self.targets[at];
        match target.backend {
            None => {
                let mut all = self.upstream.received();
                all.iter_mut().for_each(|one| one.line = one.line.trim_end_matches(" HTTP/1.1").to_owned());
                all
            }
            Some(backend) => {
                let (all, end) = backend.received(&target.authority, target.from);
                target.from = end;
                all
            }
        }
    }

    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.gateway.assert_well();
        for at in 0..self.targets.len() {
            let backend = self.targets[at].backend;
            // A request of ours that was cut off is refused as well; what has another target is no request of ours.
            let ours = |line: &String| {
                line.contains(" /x ") || line.contains(" /next?n=") || line.starts_with("411 POST ")
            };
            for line in backend.map_or_else(Vec::new, Backend::refusals).into_iter().filter(|line| !ours(line)) {
                self.wrong.push(format!("{} refused what it was sent: {line}", self.targets[at].name));
            }
            let late = self.received(at);
            if !late.is_empty() {
                self.wrong.push(format!("{}: arrived late: {}", self.targets[at].name, shown(&late)));
            }
        }
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

impl Target {
    /// The request as this target's client sends it. One byte a character, so that a test can write bytes that are no
    /// UTF-8; U+E000 is a `@` that stands for itself.
    pub(crate) fn fill(&self, request: &str) -> Vec<u8> {
        let cookie = format!("Cookie: __Host-zg_session={}", self.token);
        let upper = self.zone.to_ascii_uppercase();
        let request = request.replace("a.test", self.zone).replace("A.TEST", &upper).replace("A.Test", &upper);
        let byte = |c: char| if c == '\u{e000}' { b'@' } else { u8::try_from(u32::from(c)).unwrap() };
        request.replace('@', &cookie).chars().map(byte).collect()
    }

    /// Whatever arrives says who is asking, once, and nothing that a client made up.
    fn judge(&self, received: &[Received]) -> Result<(), String> {
        for request in received {
            let folded = |name: &str| -> String {
                let plain =
                    name.bytes().map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' });
                plain.map(char::from).collect()
            };
            let all = |wanted: &str| {
                let fields = request.fields.iter().filter(|(name, _)| folded(name) == wanted);
                fields.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
            };
            let told = [
                ("x-forwarded-user", self.user.as_str()),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", &self.authority),
                ("host", &self.authority),
            ];
            if let Some((name, _)) = told.iter().find(|(name, value)| all(name) != [*value]) {
                return Err(format!("{name} is not what the gateway says: {}", shown(received)));
            }
            let text = format!("{:?}", request.fields).to_ascii_lowercase();
            if all("x-zonegate-assertion").len() != 1 || text.contains("forged") || text.contains("host-zg_") {
                return Err(format!("something of the client's or of ours got through: {}", shown(received)));
            }
        }
        Ok(())
    }
}

/// Whether every request goes to every backend.
fn to_all() -> bool {
    std::env::var_os("ZONEGATE_ATTACKS").is_some_and(|which| which == "all")
}

async fn ended(wire: &mut Wire, status: u16) -> Result<(), String> {
    let rest = wire.rest().await;
    if rest.is_empty() { Ok(()) } else { Err(format!("{status}, then {rest:?}")) }
}

/// Requests for a message: without what is in all of them.
pub(crate) fn shown(received: &[Received]) -> String {
    let all = received.iter().map(|Received { line, fields, body, .. }| {
        let fields = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("x-zonegate-assertion"));
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{line:?} {fields:?} {:?}", String::from_utf8_lossy(body))
    });
    all.collect::<Vec<_>>().join(" and ")
}
