//! Real applications' servers behind the gateway, because the same bytes mean different things to each.
//!
//! Apache runs a CGI script and nginx speaks SCGI, which is the same variables, to a recorder in this process; gunicorn
//! and waitress speak WSGI; Node.js shows fields as it reads them. Each is told to forgive what its parser can
//! forgive, so that what is ambiguous shows. All write one JSON line a request into a file. One set serves the whole
//! test binary; a shell holds each by a pipe, so that they end with it however it ends.

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

/// The zones that the backends stand behind, and what each is.
pub(crate) const BACKENDS: [(&str, &str); 5] = [
    ("nginx", "nginx.shared.test"),
    ("apache", "apache.shared.test"),
    ("node", "node.shared.test"),
    ("gunicorn", "gunicorn.shared.test"),
    ("waitress", "waitress.shared.test"),
];

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
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let log = folder.join(format!("{name}.log"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/backends");
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    let own = folder.join(name);
    fs::create_dir(&own).unwrap();
    let owned = |arguments: &[&str]| arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut refusals: Option<Refusals> = None;
    let (program, arguments) = match name {
        "nginx" => {
            let config = nginx(port, recorder(log.clone()), &own);
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

/// Takes requests as nginx hands them over, and writes them down. Source: the SCGI protocol, a netstring of
/// variables and then the body.
fn recorder(log: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let log = log.clone();
            std::thread::spawn(move || drop(record(socket, &log)));
        }
    });
    address
}

fn record(socket: TcpStream, log: &Path) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut length = Vec::new();
    socket.read_until(b':', &mut length)?;
    let length = String::from_utf8_lossy(&length);
    let length: usize = length.trim_end_matches(':').parse().map_err(std::io::Error::other)?;
    let mut head = vec![0; length + 1];
    socket.read_exact(&mut head)?;
    let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let texts: Vec<_> = head[..length].split(|byte| *byte == 0).map(latin).collect();
    let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let named: HashMap<_, _> = pairs.iter().cloned().collect();
    let of = |name: &str| named.get(name).cloned().unwrap_or_default();
    let mut body = vec![0; of("CONTENT_LENGTH").parse().unwrap_or(0)];
    socket.read_exact(&mut body)?;
    let folded = |name: &str| name.strip_prefix("HTTP_").map(|name| name.replace('_', "-").to_ascii_lowercase());
    let fields: Vec<_> = pairs.iter().filter_map(|(name, value)| Some((folded(name)?, value.clone()))).collect();
    let told = serde_json::json!({
        "method": of("REQUEST_METHOD"), "target": of("REQUEST_URI"), "fields": fields, "body": latin(&body),
    });
    let line = format!("{told}\n");
    fs::File::options().append(true).create(true).open(log)?.write_all(line.as_bytes())?;
    let line = line.trim_end();
    write!(
        socket.into_inner(),
        "Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{line}",
        line.len()
    )
}
