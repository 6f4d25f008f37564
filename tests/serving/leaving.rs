//! Clients that go away at each stage of the real pipeline, by a farewell (FIN) or without one (RST). Each time all is
//! free again: no temporary file is left or held open, and the only place takes the next request.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::support::*;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Fin,
    Rst,
}

const BOTH: [Leave; 2] = [Leave::Fin, Leave::Rst];

impl Leave {
    fn end(self, stream: TcpStream) {
        if let Self::Rst = self {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            let size = size_of_val(&linger) as libc::socklen_t;
            // SAFETY: the socket is open, and `linger` valid for reads during the call.
            let code = unsafe {
                libc::setsockopt(
                    stream.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    size,
                )
            };
            assert_eq!(code, 0);
        }
        drop(stream);
    }
}

/// A server with one place, and none to wait.
fn narrow(more: &[&str]) -> Server {
    Server::start(&[&["max_running=1", "max_waiting=0"], more].concat())
}

/// Leaves, and waits until nothing shows that somebody was there.
#[track_caller]
fn leaves_nothing(server: &Server, stage: &str, leave: Leave, stream: TcpStream) {
    let since = Instant::now();
    leave.end(stream);
    eventually("the upload is gone", || server.files("") == 0);
    eventually("no temporary file is held", || server.open_files() == 0);
    let health = || server.transcribe(b"RIFF", &[]).status;
    // Anything but 429 says that the place was free; this is no recording.
    eventually("the place is free", || health() == 400);
    println!("{stage}, {leave:?}: all free after {} ms", since.elapsed().as_millis());
}

#[test]
fn during_the_upload() {
    let server = narrow(&[]);
    for leave in BOTH {
        let mut stream = server.connect();
        let body = form(&hello(), &[]);
        stream.write_all(post_head(body.len(), "").as_bytes()).unwrap();
        stream.write_all(&body[..body.len() / 2]).unwrap();
        eventually("the upload has begun", || server.files("") == 1);
        leaves_nothing(&server, "upload", leave, stream);
    }
    assert!(server.transcribe(&hello(), &[]).text.contains(SAID));
}

#[test]
fn while_a_program_decodes() {
    let folder = tempfile::tempdir().unwrap();
    let (program, started) = (folder.path().join("ffmpeg"), folder.path().join("started"));
    let script = format!("#!/bin/sh\necho $$ > {}\nexec sleep 3600\n", started.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let server = narrow(&[&format!("ffmpeg={}", program.display())]);
    for leave in BOTH {
        let stream = server.send(&[b"#!AMR\n".as_slice(), &[0; 1_000]].concat(), &[]);
        let id = || std::fs::read_to_string(&started).ok().and_then(|text| text.trim().parse::<i32>().ok());
        eventually("the program runs", || id().is_some());
        let id = id().unwrap();
        leaves_nothing(&server, "decoding by a program", leave, stream);
        // SAFETY: signal 0 only asks whether there is such a process.
        eventually("the program has ended", || unsafe { libc::kill(id, 0) } != 0);
        let _ = std::fs::remove_file(&started);
    }
}

#[test]
fn while_voice_activity_is_looked_for() {
    let (server, silence) = (narrow(&[]), silence());
    for leave in BOTH {
        let mut stream = server.send(&silence, &[("stream", "true")]);
        // Sent when the first seconds are decoded; what is silent never gets any further than this stage.
        read_until(&mut stream, "HTTP/1.1 200");
        leaves_nothing(&server, "decoding and voice activity", leave, stream);
    }
    assert!(server.transcribe(&hello(), &[]).text.contains(SAID));
}

#[test]
fn while_speech_is_recognised() {
    let (server, speech) = (narrow(&[]), speech());
    for leave in BOTH {
        let mut stream = server.send(&speech, &[("stream", "true")]);
        read_until(&mut stream, "transcript.text.delta");
        leaves_nothing(&server, "recognition, as a stream", leave, stream);

        let stream = server.send(&speech, &[("response_format", "verbose_json")]);
        // The upload, and the decoded sound.
        eventually("it is at work", || server.open_files() >= 2);
        leaves_nothing(&server, "recognition", leave, stream);
    }
    assert!(server.transcribe(&hello(), &[]).text.contains(SAID));
}

#[test]
fn while_voices_are_separated() {
    let server = narrow(&["separation=on", "separation_model=voice-band"]);
    let speech = speech();
    for leave in BOTH {
        let mut stream = server.send(&speech, &[("stream", "true")]);
        read_until(&mut stream, "HTTP/1.1 200");
        leaves_nothing(&server, "separation beside recognition, as a stream", leave, stream);

        let stream = server.send_for_turns(&speech, &[]);
        // The upload, the decoded sound, and the voice.
        eventually("it is at work", || server.open_files() >= 3);
        leaves_nothing(&server, "separation", leave, stream);
    }
    assert!(server.transcribe(&hello(), &[]).text.contains(SAID));
}

#[test]
fn while_speakers_are_told_apart() {
    let (server, speech) = (narrow(&[]), speech());
    for leave in BOTH {
        let mut stream = server.send(&speech, &[("stream", "true"), ("response_format", "diarized_json")]);
        read_until(&mut stream, "HTTP/1.1 200");
        leaves_nothing(&server, "diarization beside recognition, as a stream", leave, stream);

        let stream = server.send_for_turns(&speech, &[]);
        // The upload, and the decoded sound.
        eventually("it is at work", || server.open_files() >= 2);
        leaves_nothing(&server, "diarization", leave, stream);
    }
    assert!(server.transcribe(&hello(), &[]).text.contains(SAID));
}
