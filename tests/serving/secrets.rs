//! What is never written down.

use std::io::Write;

use crate::support::*;

#[test]
fn keys_are_not_in_the_log_however_much_is_logged() {
    let right = "sk-right-0123456789abcdefghij";
    let wrong = "sk-wrong-abcdefghij0123456789";
    let mut server = Server::start(&[&format!("api_keys={right}"), "log_level=trace"]);
    let body = form(&hello(), &[]);
    for (key, status) in [(right, 200), (wrong, 401)] {
        for header in [format!("Authorization: Bearer {key}\r\n"), format!("api-key: {key}\r\n")] {
            let mut stream = server.connect();
            stream.write_all(get_head("/v1/models", &header).as_bytes()).unwrap();
            assert_eq!(Answer::read(&mut stream).status, status);
        }
        let mut stream = server.connect();
        let head = post_head(body.len(), &format!("Authorization: Bearer {key}\r\n"));
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let answer = Answer::read(&mut stream);
        assert_eq!(answer.status, status);
        assert!(!answer.text.contains(key), "{answer:?}");
    }
    server.signal(libc::SIGTERM);
    assert_eq!(server.ends(), Some(0));
    let log = server.log();
    assert!(log.contains("TRACE") && log.contains("401"), "it was logged: {log}");
    for key in [right, wrong] {
        let line = log.lines().find(|line| line.contains(key));
        assert!(line.is_none(), "{line:?}");
    }
}
