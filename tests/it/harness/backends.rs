//! Real applications' servers behind the gateway, because the same bytes mean different things to each.
//!
//! Apache runs a CGI script; nginx and lighttpd speak SCGI, which is the same variables, to a recorder in this process, and
//! Caddy HTTP; gunicorn, waitress and Cheroot speak WSGI, Puma Rack; the others show fields as they read them. Each
//! has a parser of its own (aiohttp, whose usual one is Node.js's, the one that it has beside that), and is told to
//! forgive what that can forgive, so that what is ambiguous shows. All write one JSON line a request into a file. One set
//! serves the whole test binary; a shell holds each by a pipe, so that they end with it however it ends.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::upstream::Received;
use super::wire::free_port;

/// The zones that the backends stand behind, and what each is.
pub(crate) const BACKENDS: [(&str, &str); 13] = [
    ("nginx", "nginx.shared.test"),
    ("apache", "apache.shared.test"),
    ("node", "node.shared.test"),
    ("gunicorn", "gunicorn.shared.test"),
    ("waitress", "waitress.shared.test"),
    ("lighttpd", "lighttpd.shared.test"),
    ("caddy", "caddy.shared.test"),
    ("uvicorn", "uvicorn.shared.test"),
    ("tornado", "tornado.shared.test"),
    ("cheroot", "cheroot.shared.test"),
    ("twisted", "twisted.shared.test"),
    ("aiohttp", "aiohttp.shared.test"),
    ("puma", "puma.shared.test"),
];

/// Where Debian's Python is, which has the modules that Debian packages. Another one first on the path has not.
const PYTHON: &str = "/usr/bin/python3";

/// How long one may take to listen. Generous: tests share two cores.
const START_MAX: Duration = Duration::from_secs(30);

/// One running server.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    /// What the server itself says of requests that it did not pass on; `None` where that is in the log.
    refusals: Option<Refusals>,
    /// The shell that holds it; it ends when this process does.
    _holder: Child,
}

/// A file of the server's own, and which of its lines tell of a refusal.
type Refusals = (PathBuf, fn(&str) -> bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Stray { stray: String },
    Told { method: String, target: String, fields: Vec<(String, String)>, body: String },
}

impl Backend {
    /// Every request of the gateway that its clients see as `authority`, behind byte `from` of the log, and where the
    /// log ends. Fails when the server saw what is a request of nobody.
    pub(crate) fn received(&self, authority: &str, from: u64) -> (Vec<Received>, u64) {
        let mut bytes = Vec::new();
        if let Ok(mut file) = fs::File::open(&self.log) {
            file.seek(SeekFrom::Start(from)).unwrap();
            file.read_to_end(&mut bytes).unwrap();
        }
        // A line that is still being written is looked at the next time.
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut all = Vec::new();
        for line in String::from_utf8_lossy(&bytes[..complete]).lines() {
            match serde_json::from_str(line).unwrap_or_else(|fault| panic!("{}: {fault} in {line:?}", self.name)) {
                Line::Stray { stray } => panic!("{} was sent what is no request: {stray}", self.name),
                Line::Told { method, target, fields, body } => {
                    let host = fields.iter().find(|(name, _)| name == "host").map(|(_, host)| host.as_str());
                    let host = host.unwrap_or_else(|| panic!("{}: no host in {line}", self.name));
                    // Other tests have gateways of their own, on other ports; and what has none came by no gateway.
                    assert!(host.contains(':'), "{} was sent a request that no gateway wrote: {line}", self.name);
                    if host == authority {
                        let body = body.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
                        all.push(Received { connection: 0, line: format!("{method} {target}"), fields, body });
                    }
                }
            }
        }
        (all, from + u64::try_from(complete).unwrap())
    }

    /// Where the log ends now.
    pub(crate) fn end(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// What the server refused on its own, in its words.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let Some((path, mark)) = &self.refusals else { return Vec::new() };
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter(|line| mark(line)).map(str::to_owned).collect()
    }
}

/// The set, started by whoever asks first.
pub(crate) fn backends() -> &'static [Backend] {
    static ALL: OnceLock<Vec<Backend>> = OnceLock::new();
    ALL.get_or_init(|| {
        // Kept for as long as the process lives; what is in it is small, and in the system's folder for such.
        let folder = tempfile::Builder::new().prefix("zonegate-backends-").tempdir().unwrap().keep();
        // nginx and Apache leave root behind them, and must still read it.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let all: Vec<_> = BACKENDS.iter().map(|(name, zone)| start(&folder, name, zone)).collect();
        let done = Instant::now();
        for backend in &all {
            while TcpStream::connect(backend.address).is_err() {
                let said =
                    || fs::read_to_string(folder.join(format!("{}.said", backend.name))).unwrap_or_default();
                assert!(done.elapsed() < START_MAX, "{} does not listen: {}", backend.name, said());
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
        all
    })
}

fn program(names: &[&str], package: &str) -> PathBuf {
    // /usr/sbin is not on the path of an ordinary user, and is where Debian keeps servers.
    let path = std::env::var("PATH").unwrap_or_default();
    let places: Vec<_> = path.split(':').chain(["/usr/sbin"]).map(PathBuf::from).collect();
    let found = names.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "{} is missing, which the attack tests need: ./test installs it, or: apt-get install {package}",
            names[0]
        )
    })
}

fn start(folder: &Path, name: &'static str, zone: &'static str) -> Backend {
    let port = free_port();
    let log = folder.join(format!("{name}.log"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/backends");
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    let own = folder.join(name);
    fs::create_dir(&own).unwrap();
    let owned = |arguments: &[&str]| arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut refusals: Option<Refusals> = None;
    let (program, arguments) = match name {
        "nginx" => {
            let config = nginx(port, recorder(log.clone(), scgi), &own);
            fs::write(own.join("conf"), config).unwrap();
            refusals = Some((own.join("access"), |_| true));
            (
                program(&["nginx"], "nginx"),
                owned(&["-e", &shown(&own.join("error")), "-c", &shown(&own.join("conf"))]),
            )
        }
        "apache" => {
            // It may not read the checkout, nor write into a folder of root's.
            fs::copy(data.join("app.cgi"), own.join("app.cgi")).unwrap();
            fs::write(&log, "").unwrap();
            fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
            fs::write(own.join("conf"), apache(port, &log, &own)).unwrap();
            refusals = Some((own.join("access"), |line| !line.starts_with("cgi-script")));
            (program(&["apache2"], "apache2-bin"), owned(&["-D", "FOREGROUND", "-f", &shown(&own.join("conf"))]))
        }
        "node" => (program(&["node"], "nodejs"), vec![shown(&data.join("app.mjs"))]),
        "gunicorn" => {
            refusals = Some((folder.join("gunicorn.said"), |line| line.contains("Invalid")));
            let bind = format!("127.0.0.1:{port}");
            let arguments = [
                "--bind",
                &bind,
                "--worker-class",
                "gthread",
                "--threads",
                "4",
                "--keep-alive",
                "60",
                "--pythonpath",
                &shown(&data),
                "app:application",
            ];
            (program(&["gunicorn"], "gunicorn"), owned(&arguments))
        }
        "waitress" => {
            let listen = format!("--listen=127.0.0.1:{port}");
            (program(&["waitress-serve"], "python3-waitress"), owned(&[&listen, "--threads=4", "app:application"]))
        }
        "lighttpd" => {
            fs::write(own.join("conf"), lighttpd(port, recorder(log.clone(), scgi), &own)).unwrap();
            refusals = Some((own.join("access"), |line| !line.starts_with("200 ")));
            (program(&["lighttpd"], "lighttpd"), owned(&["-D", "-f", &shown(&own.join("conf"))]))
        }
        "caddy" => {
            fs::write(own.join("conf"), caddy(port, recorder(log.clone(), http))).unwrap();
            let config = shown(&own.join("conf"));
            (program(&["caddy"], "caddy"), owned(&["run", "--adapter", "caddyfile", "--config", &config]))
        }
        "uvicorn" => {
            refusals = Some((folder.join("uvicorn.said"), |line| line.contains("Invalid")));
            let port = port.to_string();
            let arguments = [
                "--http",
                "h11",
                "--port",
                &port,
                "--no-access-log",
                "--timeout-keep-alive",
                "60",
                "servers:asgi",
            ];
            (program(&["uvicorn"], "uvicorn"), owned(&arguments))
        }
        "tornado" | "cheroot" | "twisted" | "aiohttp" => {
            refusals = Some((folder.join(format!("{name}.said")), |line| line.starts_with("refused ")));
            (PathBuf::from(PYTHON), vec![shown(&data.join("servers.py")), name.to_owned()])
        }
        "puma" => {
            refusals = Some((folder.join("puma.said"), |line| line.contains("parse error")));
            (program(&["puma"], "puma"), owned(&["--config", &shown(&data.join("puma.rb"))]))
        }
        other => unreachable!("no backend {other}"),
    };
    let said = fs::File::create(folder.join(format!("{name}.said"))).unwrap();
    let mut holder = Command::new("sh");
    // The last one to go takes the folder along.
    holder.arg("-c").arg(
        "\"$@\" </dev/null & held=$!; cat >/dev/null; kill $held; wait $held; cd /; \
         rm -rf \"$BACKEND_NAME\" \"$BACKEND_NAME\".*; rmdir \"${BACKEND_NAME%/*}\" 2>/dev/null",
    );
    holder.arg("sh").env("BACKEND_NAME", &own);
    holder.arg(program).args(arguments).current_dir(&data);
    holder.env("BACKEND_LOG", &log).env("BACKEND_PORT", port.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    // Whoever writes into its user's folder, writes there.
    holder.env("HOME", &own).env("XDG_DATA_HOME", &own).env("XDG_CONFIG_HOME", &own);
    holder.env("AIOHTTP_NO_EXTENSIONS", "1").env("PYTHONUNBUFFERED", "1");
    holder.stdin(Stdio::piped()).stdout(said.try_clone().unwrap()).stderr(said);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Backend { name, zone, address, log, refusals, _holder: holder.spawn().unwrap() }
}

/// nginx, which is told to pass every name it can read.
fn nginx(port: u16, recorder: SocketAddr, own: &Path) -> String {
    let own = own.display();
    format!(
        "daemon off; pid {own}/pid; worker_processes 1; error_log {own}/error;
events {{ worker_connections 256; }}
http {{
  map $upstream_status $own {{ '' 1; default 0; }}
  log_format refused escape=json '$status $request';
  access_log {own}/access refused if=$own;
  client_body_temp_path {own}/body; proxy_temp_path {own}/proxy; fastcgi_temp_path {own}/fastcgi;
  uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;
  underscores_in_headers on; ignore_invalid_headers off; keepalive_requests 100000;
  large_client_header_buffers 8 64k;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      scgi_pass {recorder};
      scgi_param SCGI 1; scgi_param CONTENT_LENGTH $content_length; scgi_param REQUEST_METHOD $request_method;
      scgi_param REQUEST_URI $request_uri;
    }}
  }}
}}
"
    )
}

/// Apache, as forgiving as it can be told to be.
fn apache(port: u16, log: &Path, own: &Path) -> String {
    let (own, log) = (own.display(), log.display());
    let modules: String = ["mpm_event", "authz_core", "alias", "cgid", "env"]
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    format!(
        "{modules}ServerRoot {own}
DefaultRuntimeDir {own}
PidFile {own}/pid
Listen 127.0.0.1:{port}
ServerName apache.invalid
ErrorLog {own}/error
LogFormat \"%R %>s %r\" refused
CustomLog {own}/access refused
User nobody
Group nogroup
StartServers 1
MinSpareThreads 1
MaxRequestWorkers 25
HttpProtocolOptions Unsafe LenientMethods Allow0.9
AllowEncodedSlashes NoDecode
TraceEnable on
KeepAlive on
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LimitRequestFieldSize 65536
ScriptSock {own}/cgid
SetEnv BACKEND_LOG {log}
ScriptAlias / {own}/app.cgi/
<Directory {own}>
Require all granted
Options +ExecCGI
</Directory>
"
    )
}

/// lighttpd, as forgiving as it can be told to be.
fn lighttpd(port: u16, recorder: SocketAddr, own: &Path) -> String {
    let own = own.display();
    let (host, to) = (recorder.ip(), recorder.port());
    let lax: String = [
        "header-strict",
        "host-strict",
        "host-normalize",
        "url-ctrls-reject",
        "url-path-dotseg-remove",
        "url-path-dotseg-reject",
    ]
    .iter()
    .map(|name| format!("\"{name}\" => \"disable\", "))
    .collect();
    format!(
        "server.modules = (\"mod_accesslog\", \"mod_scgi\")
server.bind = \"127.0.0.1\"
server.port = {port}
server.document-root = \"{own}\"
server.errorlog = \"{own}/error\"
server.upload-dirs = (\"{own}\")
server.max-keep-alive-requests = 100000
server.max-keep-alive-idle = 60
server.max-request-field-size = 65536
server.http-parseopts = ({lax} \"url-normalize\" => \"enable\", \"method-get-body\" => \"enable\")
accesslog.filename = \"{own}/access\"
accesslog.format = \"%s %r\"
scgi.server = (\"/\" => ((\"host\" => \"{host}\", \"port\" => {to}, \"check-local\" => \"disable\",
  \"fix-root-scriptname\" => \"enable\")))
"
    )
}

/// Caddy, which is told to leave the fields alone that it would write itself as a proxy.
fn caddy(port: u16, recorder: SocketAddr) -> String {
    let kept: String = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]
        .iter()
        .map(|name| format!("    header_up {name} {{http.request.header.{name}}}\n"))
        .collect();
    format!(
        "{{
  admin off
  auto_https off
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy {recorder} {{
{kept}  }}
}}
"
    )
}

/// Reads one request in a web server's words, writes it down, and answers with the line.
type Speech = fn(BufReader<TcpStream>, &Path) -> std::io::Result<()>;

/// Takes requests as a web server hands them over.
fn recorder(log: PathBuf, speech: Speech) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let log = log.clone();
            std::thread::spawn(move || drop(speech(BufReader::new(socket), &log)));
        }
    });
    address
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Writes a request down, and gives the line without its end.
fn note(
    method: &str,
    target: &str,
    fields: &[(String, String)],
    body: &[u8],
    log: &Path,
) -> std::io::Result<String> {
    let told = serde_json::json!({ "method": method, "target": target, "fields": fields, "body": latin(body) });
    let line = format!("{told}\n");
    fs::File::options().append(true).create(true).open(log)?.write_all(line.as_bytes())?;
    Ok(line.trim_end().to_owned())
}

/// Source: the SCGI protocol, a netstring of variables (RFC 3875) and then the body.
fn scgi(mut socket: BufReader<TcpStream>, log: &Path) -> std::io::Result<()> {
    let mut length = Vec::new();
    socket.read_until(b':', &mut length)?;
    let length = String::from_utf8_lossy(&length);
    let length: usize = length.trim_end_matches(':').parse().map_err(std::io::Error::other)?;
    let mut head = vec![0; length + 1];
    socket.read_exact(&mut head)?;
    let texts: Vec<_> = head[..length].split(|byte| *byte == 0).map(latin).collect();
    let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let named: HashMap<_, _> = pairs.iter().cloned().collect();
    let of = |name: &str| named.get(name).cloned().unwrap_or_default();
    let mut body = vec![0; of("CONTENT_LENGTH").parse().unwrap_or(0)];
    socket.read_exact(&mut body)?;
    let folded = |name: &str| name.strip_prefix("HTTP_").map(|name| name.replace('_', "-").to_ascii_lowercase());
    let fields: Vec<_> = pairs.iter().filter_map(|(name, value)| Some((folded(name)?, value.clone()))).collect();
    let line = note(&of("REQUEST_METHOD"), &of("REQUEST_URI"), &fields, &body, log)?;
    write!(
        socket.into_inner(),
        "Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{line}",
        line.len()
    )
}

/// HTTP as Go writes it: one reading is enough.
fn http(mut socket: BufReader<TcpStream>, log: &Path) -> std::io::Result<()> {
    let first = line(&mut socket)?;
    let [method, target, _] = first.split(' ').collect::<Vec<_>>()[..] else {
        return Err(std::io::Error::other(first));
    };
    let mut fields = Vec::new();
    while let Some((name, value)) = line(&mut socket)?.split_once(':') {
        fields.push((name.to_ascii_lowercase(), value.trim_matches(' ').to_owned()));
    }
    let of = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
    let mut body = vec![0; of("content-length").parse().unwrap_or(0)];
    socket.read_exact(&mut body)?;
    if of("transfer-encoding") == "chunked" {
        loop {
            let size = usize::from_str_radix(&line(&mut socket)?, 16).map_err(std::io::Error::other)?;
            let mut piece = vec![0; size + 2];
            socket.read_exact(&mut piece)?;
            body.extend_from_slice(&piece[..size]);
            if size == 0 {
                break;
            }
        }
    }
    let line = note(method, target, &fields, &body, log)?;
    let said = if method == "HEAD" { "" } else { &line };
    write!(
        socket.into_inner(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{said}",
        line.len()
    )
}

/// The next line, without its end.
fn line(socket: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = Vec::new();
    socket.read_until(b'\n', &mut line)?;
    Ok(latin(line.strip_suffix(b"\r\n").unwrap_or(&line)))
}
