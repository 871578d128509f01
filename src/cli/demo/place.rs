//! Where the demo lives: its folder, its master key and its ports, and a sentence for whatever is in the way.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::base::MasterKey;
use crate::machine;

use super::certs;

/// What keeps the demo from starting. Each sentence ends in what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceProblem {
    /// Neither `XDG_DATA_HOME` nor `HOME` is set.
    #[error("there is no home folder to keep the demo's data in. Say where: zonegate demo --data FOLDER")]
    NoHome,
    /// The folder cannot be made or used.
    #[error("the data folder {folder} cannot be used: {fault}. Choose another: zonegate demo --data FOLDER", folder = folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
    /// The folder holds something else: perhaps somebody's real installation.
    #[error("{folder} holds something, and no demo's data: name a new or empty folder with --data", folder = folder.display())]
    NotADemos {
        /// Which folder.
        folder: PathBuf,
    },
    /// No demo was started there.
    #[error("there is no demo's data in {folder}. Start one with `zonegate demo`, or say with --data where it is", folder = folder.display())]
    NoDemo {
        /// Which folder.
        folder: PathBuf,
    },
    /// Another demo runs on the same data.
    #[error("another demo is running on the data in {folder}. End it, or start this one beside it: zonegate demo --data FOLDER --port 0", folder = folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// The master key is damaged.
    #[error("{file} {problem}. The demo's data cannot be read without it. Remove the data and start anew: rm -r {folder}", file = file.display(), folder = folder.display())]
    Key {
        /// The key's file.
        file: PathBuf,
        /// The data's folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else listens there.
    #[error(
        "port {port} is taken, perhaps by another demo. End that, or choose another port: zonegate demo {option} 0 takes a free one"
    )]
    PortTaken {
        /// Which port.
        port: u16,
        /// The option that chooses it.
        option: &'static str,
    },
    /// The system does not let us.
    #[error(
        "listening on port {port} was refused: {fault}. Choose one above 1023, such as: zonegate demo {option} 8443"
    )]
    PortRefused {
        /// Which port.
        port: u16,
        /// The option that chooses it.
        option: &'static str,
        /// What the system said.
        fault: io::Error,
    },
    /// The system's random generator failed.
    #[error("{0}; no key can be made")]
    Entropy(#[from] machine::EntropyFault),
}

/// The demo's own folder, held by this process.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder; only its owner can enter it.
    pub folder: PathBuf,
    /// Whether it was made just now.
    pub fresh: bool,
    /// Held for as long as the demo runs, so that no second one works on the same data.
    _lock: fs::File,
}

impl Place {
    /// Makes or enters `folder` and holds it.
    pub(crate) fn hold(folder: &Path) -> Result<Self, PlaceProblem> {
        let unusable = |fault| PlaceProblem::Folder { folder: folder.into(), fault };
        let fresh = !folder.join(KEY_FILE).exists();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let folder = folder.canonicalize().map_err(unusable)?;
        claim(&folder)?;
        // It may have been made by hand.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        let lock = fs::File::create(folder.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, fresh, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(PlaceProblem::InUse { folder }),
            Err(fs::TryLockError::Error(fault)) => Err(PlaceProblem::Folder { folder, fault }),
        }
    }

    /// Makes the master key at the first start; reads it at every other.
    pub(crate) fn master_key(&self) -> Result<MasterKey, PlaceProblem> {
        let file = key_file(&self.folder);
        if self.fresh {
            let text = format!("{}\n", MasterKey::from_bytes(machine::random()?).reveal());
            certs::write(&file, &text, 0o600).map_err(|problem| PlaceProblem::Key {
                file,
                folder: self.folder.clone(),
                problem: format!("could not be written ({problem})"),
            })?;
        }
        read_master_key(&self.folder)
    }
}

/// The store.
pub(crate) const STORE: &str = "demo.db";
/// Is there while the first sample data are made.
const UNFINISHED: &str = "sample-data-unfinished";

impl Place {
    /// Before the sample data are made. A first start that was interrupted has left a part of them, and no later one could
    /// tell what is missing from what a person took away: they are made anew. Nobody has used them yet.
    pub(crate) fn begins_sample_data(&self) -> Result<(), PlaceProblem> {
        let unusable = |fault| PlaceProblem::Folder { folder: self.folder.clone(), fault };
        let mark = self.folder.join(UNFINISHED);
        if mark.exists() {
            for suffix in ["", "-wal", "-shm"] {
                match fs::remove_file(self.folder.join(format!("{STORE}{suffix}"))) {
                    Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(unusable(fault)),
                    Ok(()) | Err(_) => {}
                }
            }
        } else if !self.folder.join(STORE).exists() {
            fs::write(mark, "").map_err(unusable)?;
        }
        Ok(())
    }

    /// After they are whole, and the store is closed.
    pub(crate) fn has_sample_data(&self) -> Result<(), PlaceProblem> {
        match fs::remove_file(self.folder.join(UNFINISHED)) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
                Err(PlaceProblem::Folder { folder: self.folder.clone(), fault })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Says that a folder is a demo's, which writes its own configuration and key there at every start.
const MARK: &str = "this-is-a-zonegate-demo";

/// Makes an empty folder a demo's. One that holds something else is left as it is: a demo that wrote into a real
/// installation would replace its configuration.
fn claim(folder: &Path) -> Result<(), PlaceProblem> {
    let unusable = |fault| PlaceProblem::Folder { folder: folder.into(), fault };
    if folder.join(MARK).exists() {
        return Ok(());
    }
    match fs::read_dir(folder).map_err(unusable)?.next() {
        Some(_) => Err(PlaceProblem::NotADemos { folder: folder.into() }),
        None => fs::write(folder.join(MARK), "").map_err(unusable),
    }
}

/// Refuses a folder in which no demo was started.
pub(crate) fn must_be_a_demos(folder: &Path) -> Result<(), PlaceProblem> {
    if folder.join(MARK).exists() { Ok(()) } else { Err(PlaceProblem::NoDemo { folder: folder.into() }) }
}

const KEY_FILE: &str = "master.key";

/// Where the master key lies.
pub(crate) fn key_file(folder: &Path) -> PathBuf {
    folder.join(KEY_FILE)
}

/// The key that the data in `folder` is sealed with.
pub(crate) fn read_master_key(folder: &Path) -> Result<MasterKey, PlaceProblem> {
    let file = key_file(folder);
    let read = fs::read_to_string(&file).map_err(|fault| format!("cannot be read ({fault})"));
    let key = read.and_then(|text| MasterKey::parse(&text).map_err(|problem| problem.to_string()));
    key.map_err(|problem| PlaceProblem::Key { file, folder: folder.into(), problem })
}

/// The folder when none is given: below the user's data home (XDG Base Directory Specification).
pub(crate) fn default_folder(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, PlaceProblem> {
    let set = |name: &str| variable(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("zonegate-demo")).ok_or(PlaceProblem::NoHome)
}

/// A port that was asked for; 0 takes any free one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// The number.
    pub port: u16,
    /// The option that chooses it.
    pub option: &'static str,
}

/// Free ports on loopback for all of `wishes`, or a sentence about the first that cannot be had.
///
/// The ports are free at this moment and let go again; whoever listens then may still be beaten to one, and says so.
pub(crate) fn ports<const N: usize>(wishes: [Wish; N]) -> Result<[u16; N], PlaceProblem> {
    // All are held until the last is found, so that no two are the same.
    let mut held = Vec::new();
    let mut found = [0; N];
    for (Wish { port, option }, slot) in wishes.into_iter().zip(&mut found) {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = bound.map_err(|fault| {
            if fault.kind() == io::ErrorKind::AddrInUse {
                PlaceProblem::PortTaken { port, option }
            } else {
                PlaceProblem::PortRefused { port, option, fault }
            }
        })?;
        *slot = listener.local_addr().map_err(|fault| PlaceProblem::PortRefused { port, option, fault })?.port();
        held.push(listener);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_held_by_one_demo_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let place = Place::hold(&folder).unwrap();
        assert!(place.fresh);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Place::hold(&folder), Err(PlaceProblem::InUse { .. })));
        let key = place.master_key().unwrap().reveal();
        drop(place);
        let again = Place::hold(&folder).unwrap();
        assert!(!again.fresh);
        assert_eq!(again.master_key().unwrap().reveal(), key, "a second start finds the same key");
    }

    #[test]
    fn sample_data_that_an_interrupted_first_start_left_are_made_anew_and_whole_ones_stay() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::hold(&home.path().join("demo")).unwrap();
        let files = ["demo.db", "demo.db-wal", "demo.db-shm"].map(|name| place.folder.join(name));
        let write = || files.iter().for_each(|file| fs::write(file, "half").unwrap());
        place.begins_sample_data().unwrap();
        write();
        // Killed here, twice.
        for _ in 0..2 {
            place.begins_sample_data().unwrap();
            assert!(files.iter().all(|file| !file.exists()));
            write();
        }
        place.has_sample_data().unwrap();
        for _ in 0..2 {
            place.begins_sample_data().unwrap();
            assert!(files.iter().all(|file| file.exists()), "a later start that is killed loses nothing");
        }
        place.has_sample_data().unwrap();
    }

    #[test]
    fn what_is_in_the_way_gets_a_sentence_that_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let problem = Place::hold(&file.join("below")).unwrap_err().to_string();
        assert!(problem.contains("--data"), "{problem}");

        let problem = Place::hold(home.path()).unwrap_err().to_string();
        assert!(problem.contains("empty folder with --data") && !problem.contains("rm -r"), "{problem}");
        assert!(must_be_a_demos(home.path()).unwrap_err().to_string().contains("zonegate demo"));

        let folder = home.path().join("demo");
        let place = Place::hold(&folder).unwrap();
        fs::write(key_file(&folder), "damaged").unwrap();
        let damaged = Place { fresh: false, ..place };
        assert!(damaged.master_key().unwrap_err().to_string().contains("rm -r"));

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let problem = ports([Wish { port, option: "--port" }]).unwrap_err().to_string();
        assert!(problem.contains(&port.to_string()) && problem.contains("--port"), "{problem}");
    }

    #[test]
    fn free_ports_differ() {
        let any = Wish { port: 0, option: "--port" };
        let [a, b, c] = ports([any, any, any]).unwrap();
        assert!(a != b && b != c && a != c && a != 0);
    }

    #[test]
    fn the_default_folder_follows_the_users_data_home() {
        let with = |pairs: &'static [(&'static str, &'static str)]| {
            default_folder(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(with(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")]).unwrap(), Path::new("/d/zonegate-demo"));
        assert_eq!(
            with(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")]).unwrap(),
            Path::new("/h/.local/share/zonegate-demo")
        );
        assert!(matches!(with(&[]), Err(PlaceProblem::NoHome)));
    }
}
