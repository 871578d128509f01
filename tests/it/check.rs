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
    fn certificate(&self, name: &str, host: &str, years: (i32, i32)) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        self.write(&format!("certs/{name}.crt"), &params.self_signed(&key).unwrap().pem(), 0o644);
        self.write(&format!("certs/{name}.key"), &key.serialize_pem(), 0o600);
    }

    /// What a command says, in the folder: exit code, standard output, lines of standard error.
    pub(crate) fn run(&self, command: &str) -> (i32, String, Vec<String>) {
        let output = self.command(command).output().unwrap();
        let lines = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), lines)
    }

    /// The exit code of a command whose output nobody reads, as with `| head -0`.
    pub(crate) fn run_unread(&self, command: &str) -> i32 {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.command(command).stdout(writer).status().unwrap().code().unwrap()
    }

    fn command(&self, command: &str) -> Command {
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

const WIDE: (i32, i32) = (2020, 4000);

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
    assert_eq!(told, "zonegate.yaml: good. Zones: 1, certificates: 1.\n");
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
        "zonegate.yaml:3: certificates.directory certs/open.key has the mode 644, so that others than its owner and group \
         may use it: run `chmod 640 certs/open.key`, or `chmod 600 certs/open.key`",
        "zonegate.yaml:3: certificates.directory certs/early.crt is valid only from Jan  1 00:00:00 3999 +00:00 on: \
         look at this computer's clock",
        "zonegate.yaml:3: certificates.directory certs/empty.crt holds no certificate in PEM form (-----BEGIN \
         CERTIFICATE-----)",
        "zonegate.yaml:3: certificates.directory certs/expired.crt expired on Jan  1 00:00:00 2002 +00:00: renew it",
        "zonegate.yaml:3: certificates.directory certs/other-key.key is not the key of the certificate in \
         certs/other-key.crt: put the two together that were made together",
        "zonegate.yaml:3: certificates.directory certs/left-over.crt covers gone.example, and no host of this \
         configuration is among them: add the zone, or take the certificate away",
        "zonegate.yaml:4: threads \"many\" is not a whole number from 0 to 1024",
        "zonegate.yaml:10: zones[4].upstream is missing: give the application's address, for example upstream: { url: \
         http://127.0.0.1:8080 }",
        "zonegate.yaml:10: zones[4].host none.example is covered by no certificate: put none.example.crt and \
         none.example.key into the directory of certificates.directory",
        "zonegate.yaml:10: zones[4].aliases[0] www.none.example is covered by no certificate: put www.none.example.crt \
         and www.none.example.key into the directory of certificates.directory",
    ];
    assert_eq!(problems, want);

    // The gateway refuses with the same lines; what hurts nobody is no reason not to start.
    let (code, _, problems) = folder.run("serve");
    let want: Vec<_> = want.into_iter().filter(|line| !line.contains("left-over")).collect();
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
    assert_eq!(told, "zonegate.yaml: good. Zones: 1, certificates: 1.\n");

    // Without acme it is a file like any other.
    folder.certificate("a", "a.example", WIDE);
    folder.write("zonegate.yaml", GOOD, 0o644);
    let (code, _, problems) = folder.run("check");
    assert_eq!((code, problems.len()), (2, 1), "{problems:?}");
    assert!(problems[0].contains("covers gone.example, and no host"), "{problems:?}");
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
