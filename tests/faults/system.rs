//! What the system refuses while the server runs.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::*;

/// Open files allowed: a few more than the server has when nobody asks anything of it.
const HANDLES: u64 = 48;

/// A server that starts with standard files alone (`cargo` hands some of its own down) and, if asked, few to have.
fn serve_with_few_files(temp: &Path, most: Option<u64>) -> Command {
    let mut command = serve(temp, &[]);
    // SAFETY: between fork and exec it only makes system calls.
    unsafe {
        command.pre_exec(move || {
            let close_on_exec = libc::CLOSE_RANGE_CLOEXEC;
            let mut outcome = libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, close_on_exec);
            if let Some(most) = most {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                outcome |= libc::c_long::from(libc::setrlimit(libc::RLIMIT_NOFILE, &limit));
            }
            if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    command
}

#[test]
fn without_file_handles_clients_wait_and_the_server_recovers() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::run(serve_with_few_files(temp.path(), Some(HANDLES)));
    let idle = server.open_files();
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    eventually("no handle is left", || server.open_files() as u64 == HANDLES);
    eventually("the log says so", || server.log().contains("Too many open files"));
    drop(clients);
    server.assert_works();
    eventually("all handles are back", || server.open_files() <= idle + 2);
}

#[test]
fn uploads_without_a_handle_for_their_file_are_told_to_come_back() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::run(serve_with_few_files(temp.path(), None));
    let idle = server.open_files() as u64;
    // Room for some connections, and not for a file each; set from outside, as the program raises its own limit.
    let limit = libc::rlimit { rlim_cur: idle + 9, rlim_max: idle + 9 };
    server.limit_open_files(&limit);
    let uploads: Vec<_> = (0..8).map(|_| server.begin_upload(100_000)).collect();
    eventually("one was refused", || server.log().contains("too many files are open"));
    drop(uploads);
    eventually("they are gone", || server.open_files() as u64 <= idle + 2);
    server.assert_works();
}
