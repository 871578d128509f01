//! The admin listener's socket: on loopback or a Unix socket, where only this machine's people come. What is answered
//! there is the portal's (`portal::admin_router`).

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handover::Inherited;
use super::reload::Reloader;
use super::serve::ServeFault;
use crate::config::AdminListener;

/// The admin listener's socket.
pub(super) enum AdminSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl AdminSocket {
    /// Listens, unless the socket is inherited.
    pub(super) fn open(admin: &AdminListener, inherited: &mut Inherited) -> Result<Self, ServeFault> {
        match admin {
            AdminListener::Loopback(address) => match inherited.tcp(*address) {
                Some(listener) => Ok(Self::Tcp(listener)),
                None => std::net::TcpListener::bind(address)
                    .map(Self::Tcp)
                    .map_err(|error| ServeFault::Listen(address.to_string(), error)),
            },
            AdminListener::Unix(path) => match inherited.unix(path) {
                // systemd makes sockets that everybody may open, unless its unit says otherwise.
                Some(listener) => for_its_owner(path).map(|()| Self::Unix(listener)),
                None => unix_listener(path).map(Self::Unix),
            }
            .map_err(|error| ServeFault::Listen(path.display().to_string(), error)),
        }
    }

    /// A copy, for another process.
    pub(super) fn copy(&self) -> std::io::Result<OwnedFd> {
        Ok(match self {
            Self::Tcp(listener) => listener.try_clone()?.into(),
            Self::Unix(listener) => listener.try_clone()?.into(),
        })
    }

    /// Answers until another process does. Given back is what ends with the last answer.
    pub(super) fn serve(
        self,
        reloader: Arc<Reloader>,
        mut handed_over: watch::Receiver<bool>,
    ) -> std::io::Result<JoinHandle<std::io::Result<()>>> {
        let router = crate::portal::admin_router(reloader);
        let until = async move {
            let _ = handed_over.wait_for(|done| *done).await;
        };
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                Ok(tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(until).await }))
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Ok(tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(until).await }))
            }
        }
    }
}

fn for_its_owner(path: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

fn unix_listener(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    // A socket that nobody answers on is the remains of a process that was killed. Anything else is somebody's: binding fails.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    for_its_owner(path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_socket_is_not_taken_for_the_remains_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("zonegate.db");
        std::fs::write(&store, "everything").unwrap();
        assert!(unix_listener(&store).is_err());
        assert_eq!(std::fs::read_to_string(&store).unwrap(), "everything");
        let socket = folder.path().join("admin.sock");
        drop(unix_listener(&socket).unwrap());
        assert!(unix_listener(&socket).is_ok(), "of a process that was killed");
    }
}
