//! `zonegate check` and `zonegate serve` on configurations that are wrong: everything is told at once, with exit code 2.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

/// A folder with a configuration, a master key and certificates.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(configuration: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("certs")).unwrap();
        folder.write("zonegate.yaml", configuration, 0o644);
        folder.write("master.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", 0o600);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A certificate `certs/NAME.crt` for a host, valid in these years, and its key.
    pub(crate) fn certificate(&self, name: &str, host: &str, years: (i32, i32)) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        self.write(&format!("certs/{name}.crt"), &params.self_signed(&key).unwrap().pem(), 0o644);
        self.write(&format!("certs/{name}.key"), &key.serialize_pem(), 0o600);
    }

    /// What a command says, in the folder: exit code, standard output, lines of standard error.
    pub(crate) fn run(&self, command: &str) -> (i32, String, Vec<String>) {
        self.run_with(command, "")
    }

    /// The same for a command that reads this from standard input.
    pub(crate) fn run_with(&self, command: &str, input: &str) -> (i32, String, Vec<String>) {
        self.write("standard-input", input, 0o600);
        let input = fs::File::open(self.path().join("standard-input")).unwrap();
        let output = self.command(command).stdin(input).output().unwrap();
        let lines = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), lines)
    }

    /// The exit code of a command whose output nobody reads, as with `| head -0`.
    pub(crate) fn run_unread(&self, command: &str) -> i32 {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.command(command).stdout(writer).status().unwrap().code().unwrap()
    }

    pub(crate) fn command(&self, command: &str) -> Command {
        let mut zonegate = Command::new(env!("CARGO_BIN_EXE_zonegate"));
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ZONEGATE_"));
        ours.for_each(|(name, _)| {
            zonegate.env_remove(name);
        });
        zonegate
            .stdin(std::process::Stdio::null())
            .current_dir(self.path())
            .args(command.split_whitespace())
            .args(["--config", "zonegate.yaml"]);
        zonegate
    }
}

pub(crate) const WIDE: (i32, i32) = (2020, 4000);

pub(crate) const GOOD: &str = "\
listen: { https: ['127.0.0.1:0'] }
master_key: file:master.key
store: { path: zonegate.db }
zones:
  - host: a.example
    upstream: { url: 'http://127.0.0.1:1' }
";

#[test]
fn a_right_configuration_is_called_good() {
    let folder = Folder::new(GOOD);
    folder.certificate("any", "*.example", WIDE);
    // A root is no pair, and no problem.
    folder.certificate("root", "root.example", WIDE);
    fs::remove_file(folder.path().join("certs/root.key")).unwrap();
    let (code, told, problems) = folder.run("check");
    assert_eq!((code, problems), (0, vec![]));
    assert_eq!(
        told,
        "zonegate.yaml: good. Zones: 1, certificates: 1.\n\
         ZONE       BACKENDS            CERTIFICATE UNTIL\n\
         a.example  http://127.0.0.1:1  4000-01-01T00:00:00Z\n"
    );
}

#[test]
fn what_would_be_served_is_listed_in_lines_that_a_person_can_read() {
    let backends: Vec<_> = (1..=5).map(|port| format!("{{ url: 'http://127.0.0.1:{port}' }}")).collect();
    let many: String = (0..100)
        .map(|at| format!("  - {{ host: z{at}.a.example, upstream: {{ url: 'http://127.0.0.1:1' }} }}\n"))
        .collect();
    let zones = format!(
        "  - {{ host: b.example, upstream: {{ backends: [{}] }} }}\n{many}  - {{ host: c.a.example, upstream: {{ url: 'http://127.0.0.1:1' }} }}\n",
        backends.join(", ")
    );
    let (head, _) = GOOD.split_once("  - host").unwrap();
    let folder = Folder::new(&format!("{head}{zones}"));
    folder.certificate("b", "b.example", (2020, 3000));
    folder.certificate("wild", "*.a.example", WIDE);
    let (code, told, problems) = folder.run("check");
    assert_eq!((code, problems), (0, vec![]));
    let lines: Vec<_> = told.lines().collect();
    assert!(
        lines[2].starts_with("b.example ")
            && lines[2].ends_with(
                " http://127.0.0.1:1 http://127.0.0.1:2 http://127.0.0.1:3 and 2 more  3000-01-01T00:00:00Z"
            ),
        "{told}"
    );
    assert!(lines[3].starts_with("z0.a.example ") && lines[3].ends_with(" 4000-01-01T00:00:00Z"), "{told}");
    assert_eq!((lines.len(), lines[102]), (103, "And 2 more."), "{told}");
}

#[test]
fn a_configuration_and_its_certificates_are_told_off_in_one_breath() {
    let folder = Folder::new(
        "\
master_key: file:master.key
store: { path: zonegate.db }
certificates: { directory: certs }
threads: many
zones:
  - { host: expired.example, upstream: { url: 'http://127.0.0.1:1' } }
  - { host: early.example, upstream: { url: 'http://127.0.0.1:1' } }
  - { host: other-key.example, upstream: { url: 'http://127.0.0.1:1' } }
  - { host: open.example, upstream: { url: 'http://127.0.0.1:1' } }
  - { host: none.example, aliases: [www.none.example] }
",
    );
    folder.certificate("expired", "expired.example", (2001, 2002));
    folder.certificate("early", "early.example", (3999, 4000));
    folder.certificate("other-key", "other-key.example", WIDE);
    folder.write("certs/other-key.key", &KeyPair::generate().unwrap().serialize_pem(), 0o600);
    folder.certificate("open", "open.example", WIDE);
    folder.write("certs/open.key", &KeyPair::generate().unwrap().serialize_pem(), 0o644);
    folder.certificate("left-over", "gone.example", WIDE);
    folder.write("certs/empty.crt", "", 0o644);
    folder.write("certs/empty.key", "", 0o600);

    let (code, told, problems) = folder.run("check");
    assert_eq!((code, told.as_str()), (2, ""));
    let want = [
        "zonegate.yaml:3: warning: certificates.directory certs/left-over.crt covers gone.example, and no host of this \
         configuration is among them: add the zone, or take the certificate away",
        "zonegate.yaml:3: certificates.directory certs/open.key has the mode 644, so that others than its owner and group \
         may use it: run `chmod 640 certs/open.key`, or `chmod 600 certs/open.key`",
        "zonegate.yaml:3: certificates.directory certs/early.crt is valid only from Jan  1 00:00:00 3999 +00:00 on: \
         look at this computer's clock",
        "zonegate.yaml:3: certificates.directory certs/empty.crt holds no certificate in PEM form (-----BEGIN \
         CERTIFICATE-----)",
        "zonegate.yaml:3: certificates.directory certs/expired.crt expired on Jan  1 00:00:00 2002 +00:00: renew it",
        "zonegate.yaml:3: certificates.directory certs/other-key.key is not the key of the certificate in \
         certs/other-key.crt: put the two together that were made together",
        "zonegate.yaml:4: threads \"many\" is not a whole number from 0 to 1024",
        "zonegate.yaml:10: zones[4].upstream is missing: give the application's address, for example upstream: { url: \
         http://127.0.0.1:8080 }",
        "zonegate.yaml:10: zones[4].host none.example is covered by no certificate: put none.example.crt and \
         none.example.key into the directory of certificates.directory",
        "zonegate.yaml:10: zones[4].aliases[0] www.none.example is covered by no certificate: put www.none.example.crt \
         and www.none.example.key into the directory of certificates.directory",
    ];
    assert_eq!(problems, want);

    // The gateway refuses with the same lines; what hurts nobody else is no reason not to start.
    let (code, _, problems) = folder.run("serve");
    let others = |line: &&str| !line.contains("left-over") && !line.contains("expired.crt");
    let want: Vec<_> = want.into_iter().filter(others).collect();
    assert_eq!((code, problems.iter().map(String::as_str).collect()), (2, want));
    assert!(!folder.path().join("zonegate.db").exists(), "nothing was opened");
}

#[test]
fn a_certificate_that_we_got_for_a_zone_that_is_gone_is_nothing_to_complain_of() {
    let acme = GOOD.replace("['127.0.0.1:0'] }", "['127.0.0.1:0'], http: ['127.0.0.1:0'] }");
    let acme = format!("acme: {{ directory: 'https://ca.example/directory' }}\n{acme}");
    let folder = Folder::new(&acme);
    folder.certificate("acme-gone.example-001700000000", "gone.example", WIDE);
    let (code, told, problems) = folder.run("check");
    assert_eq!((code, problems), (0, vec![]));
    assert!(
        told.starts_with("zonegate.yaml: good. Zones: 1, certificates: 1.\n")
            && told.ends_with("  none yet (acme gets it)\n"),
        "{told}"
    );

    // Without acme it is a file like any other, which the gateway does not mind: no reason for a script to stop.
    folder.certificate("a", "a.example", WIDE);
    folder.write("zonegate.yaml", GOOD, 0o644);
    let (code, told, problems) = folder.run("check");
    assert_eq!((code, problems.len()), (0, 1), "{problems:?}");
    assert!(told.starts_with("zonegate.yaml: good."), "{told}");
    let warning = "zonegate.yaml: warning: certificates.directory certs/acme-gone.example-001700000000.crt covers \
                   gone.example, and no host of this configuration is among them: add the zone, or take the \
                   certificate away";
    assert_eq!(problems, [warning]);
}

#[test]
fn an_encrypted_key_is_told_with_how_to_open_it() {
    let folder =
        Folder::new(&format!("certificates: {{ files: [{{ chain: certs/a.crt, key: certs/x.key }}] }}\n{GOOD}"));
    folder.certificate("a", "a.example", WIDE);
    fs::remove_file(folder.path().join("certs/a.key")).unwrap();
    let key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    folder.write("certs/x.key", key, 0o600);
    let (code, _, problems) = folder.run("check");
    assert_eq!(code, 2);
    assert_eq!(
        problems,
        ["zonegate.yaml:1: certificates.files[0] certs/x.key is encrypted, and nobody is there to type its \
          pass phrase: `openssl pkey -in OLD -out NEW`"]
    );
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_option_that_names_it() {
    let folder = Folder::new(GOOD);
    fs::remove_file(folder.path().join("zonegate.yaml")).unwrap();
    let (code, _, problems) = folder.run("check");
    assert_eq!(code, 2);
    assert_eq!(
        problems,
        [
            "zonegate: zonegate.yaml cannot be read: No such file or directory (os error 2). Name the configuration: \
          --config FILE"
        ]
    );
}
