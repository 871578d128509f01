//! One browser's worth of HTTP: cookies, a form's hidden fields, the headers a browser sends. Follows no redirect.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use reqwest::header::{ACCEPT, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::{Demo, Gateway, SampleUser};

/// A browser of its own.
pub(crate) struct Visitor {
    client: reqwest::Client,
    /// `host/name` to value.
    cookies: Mutex<BTreeMap<String, String>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) url: Url,
}

/// What a log-in came to.
#[derive(Debug)]
pub(crate) enum Login {
    /// A session: the answer that set the cookie.
    In(Answer),
    /// Anything else.
    Not(Answer),
}

impl Answer {
    /// The value of the form field `name`.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let wanted = format!("name=\"{name}\"");
        let tags = self.body.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
        let tag = tags.into_iter().find(|tag| tag.contains(&wanted))?;
        let value = tag.split("value=\"").nth(1)?.split('"').next()?;
        Some(value.replace("&#43;", "+").replace("&#61;", "=").replace("&amp;", "&"))
    }

    /// Where it redirects to.
    pub(crate) fn location(&self) -> Option<Url> {
        self.url.join(self.headers.get(LOCATION)?.to_str().unwrap()).ok()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.body))
    }

    /// Whether the element with this id is on the page.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.body.contains(&format!("id=\"{id}\""))
    }
}

impl Visitor {
    /// A browser that trusts the demo's authority and nobody else.
    pub(crate) fn new(demo: &Demo) -> Self {
        Self::trusting(&[demo.ca()], demo.hosts())
    }

    /// A browser that trusts the certificates of a gateway of the tests' own.
    pub(crate) fn before(gateway: &Gateway) -> Self {
        Self::trusting(&gateway.certificates(), Gateway::hosts())
    }

    fn trusting(certificates: &[Vec<u8>], hosts: Vec<String>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let roots = certificates.iter().map(|pem| reqwest::Certificate::from_pem(pem).unwrap());
        let mut builder = reqwest::Client::builder()
            .tls_certs_only(roots)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(30));
        for host in hosts {
            // Port 0: the port of the address is used.
            builder = builder.resolve(&host, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        Self { client: builder.build().unwrap(), cookies: Mutex::default() }
    }

    /// The cookie of this name for the host of `url`.
    pub(crate) fn cookie(&self, url: &str, name: &str) -> Option<String> {
        let host = Url::parse(url).unwrap().host_str().unwrap().to_owned();
        self.cookies.lock().unwrap().get(&format!("{host}/{name}")).cloned()
    }

    /// Puts a cookie where a thief or an earlier browser would have it.
    pub(crate) fn plant(&self, url: &str, name: &str, value: &str) {
        let host = Url::parse(url).unwrap().host_str().unwrap().to_owned();
        self.cookies.lock().unwrap().insert(format!("{host}/{name}"), value.into());
    }

    /// Sends a request as a browser would, and keeps the cookies that come.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        accept: &str,
        body: Option<(&str, String)>,
    ) -> Result<Answer, reqwest::Error> {
        let url = Url::parse(url).unwrap();
        let host = url.host_str().unwrap().to_owned();
        let mut request = self.client.request(method.clone(), url.clone()).header(ACCEPT, accept);
        if accept.contains("text/html") {
            request = request.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document");
        }
        if method != Method::GET {
            request = request.header(ORIGIN, url.origin().ascii_serialization());
            request = request.header("sec-fetch-site", "same-origin");
        }
        let prefix = format!("{host}/");
        let cookies: Vec<_> = (self.cookies.lock().unwrap().iter())
            .filter_map(|(key, value)| Some(format!("{}={value}", key.strip_prefix(&prefix)?)))
            .collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        for line in headers.get_all(SET_COOKIE) {
            self.keep(&host, line.to_str().unwrap());
        }
        Ok(Answer { status, headers, url, body: answer.text().await? })
    }

    fn keep(&self, host: &str, line: &str) {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=').unwrap();
        let key = format!("{host}/{}", name.trim());
        let mut cookies = self.cookies.lock().unwrap();
        if value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0") {
            cookies.remove(&key);
        } else {
            cookies.insert(key, value.into());
        }
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) -> Answer {
        self.send(Method::GET, url, "text/html", None).await.unwrap()
    }

    /// Asks for JSON.
    pub(crate) async fn ask(&self, url: &str) -> Answer {
        self.send(Method::GET, url, "application/json", None).await.unwrap()
    }

    /// Posts JSON.
    pub(crate) async fn tell(&self, url: &str, body: &Value) -> Answer {
        let body = ("application/json", body.to_string());
        self.send(Method::POST, url, "application/json", Some(body)).await.unwrap()
    }

    /// Posts a form.
    pub(crate) async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer, reqwest::Error> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let body = ("application/x-www-form-urlencoded", body);
        self.send(Method::POST, url, "text/html", Some(body)).await
    }

    /// Opens the log-in page and gives the username: the password page.
    pub(crate) async fn give_username(&self, zone: &str, username: &str) -> Result<Answer, reqwest::Error> {
        let login = format!("{zone}.zonegate/login");
        let page = self.send(Method::GET, &login, "text/html", None).await?;
        let flow = page.field("flow").unwrap_or_default();
        self.post(&login, &[("flow", &flow), ("username", username)]).await
    }

    /// Answers a page of the flow with one more field.
    pub(crate) async fn answer(&self, page: &Answer, name: &str, value: &str) -> Result<Answer, reqwest::Error> {
        let flow = page.field("flow").unwrap_or_else(|| panic!("{} has no flow: {}", page.url, page.body));
        let login = page.url.join("/.zonegate/login").unwrap();
        self.post(login.as_str(), &[("flow", &flow), (name, value)]).await
    }

    /// Username and password of a sample user: the page after that, or the session of those who need no code.
    pub(crate) async fn give_password(&self, user: &SampleUser) -> Result<Answer, reqwest::Error> {
        let page = self.give_username(&user.zone, &user.username).await?;
        self.answer(&page, "password", user.password.as_ref().unwrap()).await
    }

    /// A whole log-in. `period` is that of the user's authenticator.
    pub(crate) async fn log_in(&self, demo: &Demo, username: &str, period: u64) -> Login {
        let user = demo.user(username).clone();
        let mut page = self.give_password(&user).await.unwrap();
        if user.totp_secret.is_some() {
            let code = demo.fresh_code(&user, period).await;
            page = self.answer(&page, "code", &code).await.unwrap();
        }
        Login::of(self, page)
    }

    /// Logs out as the application's menu does.
    pub(crate) async fn log_out(&self, zone: &str) -> Result<Answer, reqwest::Error> {
        self.post(&format!("{zone}.zonegate/logout"), &[]).await
    }

    /// The application's echo of a request, or why there is none.
    pub(crate) async fn echo(&self, zone: &str) -> Result<Value, Answer> {
        let answer = self.ask(&format!("{zone}echo")).await;
        if answer.status == StatusCode::OK { Ok(answer.json()) } else { Err(answer) }
    }
}

impl Login {
    /// Judges the answer to a flow's last step.
    pub(crate) fn of(visitor: &Visitor, answer: Answer) -> Self {
        let session = visitor.cookie(answer.url.as_str(), "__Host-zg_session").is_some();
        if session && answer.status == StatusCode::SEE_OTHER { Self::In(answer) } else { Self::Not(answer) }
    }

    /// Fails unless it came to a session.
    #[track_caller]
    pub(crate) fn expect_in(self) -> Answer {
        match self {
            Self::In(answer) => answer,
            Self::Not(answer) => panic!("no session: {} {}", answer.status, answer.body),
        }
    }
}
