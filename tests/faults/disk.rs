//! Temporary files: no room for them, or somebody removes them.

use std::io::Write;
use std::os::unix::process::CommandExt;

use crate::support::*;

#[test]
fn too_little_disk_space_is_a_503_and_the_server_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(temp.path(), &[("DIARIST_TEMP_MIN_FREE_BYTES", "9007199254740992")]);
    assert!(server.log().contains("recordings will be refused"), "{}", server.log());
    for _ in 0..2 {
        server.transcribe(hello()).assert_unavailable("DIARIST_TEMP_MIN_FREE_BYTES");
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(names(temp.path()), [""; 0]);
}

#[test]
fn an_upload_that_finds_no_room_is_refused_before_it_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(temp.path(), &[("DIARIST_TEMP_MAX_BYTES", "1000000")]);
    // It announces a hundred megabytes and sends next to nothing.
    let stream = server.begin_upload(100);
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let said = read_all(&stream);
    assert!(said.contains("503") && said.contains("DIARIST_TEMP_MAX_BYTES"), "{said}");
    server.assert_works();
}

#[test]
fn sound_that_finds_no_room_while_it_is_decoded_ends_one_request() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(temp.path(), &[("DIARIST_TEMP_MAX_BYTES", "1000000")]);
    let packed = std::fs::read(root().join("fixtures/audio/hello.flac")).unwrap();
    let long = silence(25);
    assert!(packed.len() < long.len() && long.len() < 1_000_000, "the upload itself has room");
    server.transcribe(long).assert_unavailable("1000000 bytes");
    server.assert_works();
}

#[test]
fn a_full_disk_ends_one_request() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = serve(temp.path(), &[("DIARIST_TEMP_MIN_FREE_BYTES", "0")]);
    // No file may grow beyond this: the same error path as a full disk, without filling one.
    let limit = libc::rlimit { rlim_cur: 600_000, rlim_max: 600_000 };
    // SAFETY: between fork and exec it only makes a system call.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let server = Server::run(command);
    for _ in 0..2 {
        server.transcribe(silence(30)).assert_unavailable("disk for temporary files is full");
    }
    server.assert_works();
}

#[test]
fn a_folder_that_a_cleaner_removed_is_made_again() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(temp.path(), &[]);
    server.assert_works();
    for folder in names(temp.path()) {
        std::fs::remove_dir_all(temp.path().join(folder)).unwrap();
    }
    server.assert_works();
    assert!(server.log().contains("somebody removed the folder"), "{}", server.log());
    let (_, log) = server.stop();
    assert_eq!(names(temp.path()), [""; 0], "{log}");
}

#[test]
fn an_upload_that_is_removed_on_its_way_is_a_503() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(temp.path(), &[]);
    let folder = temp.path().join(&names(temp.path())[0]);
    let mut upload = server.begin_form(&hello()[..50_000]);
    eventually("the upload lies on the disk", || !names(&folder).is_empty());
    for file in names(&folder) {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    upload.write_all(b"\r\n--x--\r\n").unwrap();
    let said = read_all(&upload);
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("a temporary file has gone"), "{said}");
    server.assert_works();
}

#[test]
fn what_a_crash_leaves_behind_is_swept_and_the_living_keep_theirs() {
    let temp = tempfile::tempdir().unwrap();
    let living = Server::start(temp.path(), &[]);
    let kept = names(temp.path()).remove(0);
    let dying = Server::start(temp.path(), &[]);
    let left = names(temp.path()).into_iter().find(|name| *name != kept).unwrap();
    let stream = dying.begin_upload(1_000_000);
    eventually("the upload lies on the disk", || !names(&temp.path().join(&left)).is_empty());
    dying.kill();
    drop(stream);
    std::fs::write(temp.path().join("not-ours"), "x").unwrap();
    assert!(!names(&temp.path().join(&left)).is_empty(), "a crash cleans nothing");

    let next = Server::start(temp.path(), &[]);
    let found = names(temp.path());
    assert!(!found.contains(&left) && found.contains(&kept) && found.contains(&"not-ours".to_owned()));
    assert_eq!(found.len(), 3, "{found:?}");
    living.assert_works();
    next.assert_works();
}
