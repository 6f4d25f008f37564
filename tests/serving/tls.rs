//! TLS from PEM files.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::*;

/// Writes a new self-signed certificate and its key.
fn make_certificate(folder: &Path) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
}

/// A connection that trusts the certificate in `folder` and no other.
fn connect(server: &Server, folder: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), server.connect())
}

fn serve(folder: &Path) -> Server {
    let file = |name: &str| folder.join(name).display().to_string();
    Server::start(&[&format!("tls_cert={}", file("cert.pem")), &format!("tls_key={}", file("key.pem"))])
}

#[test]
fn requests_are_answered_over_tls_and_over_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path());
    let mut server = serve(folder.path());
    assert!(server.log().contains("listening on https://"), "{}", server.log());

    let body = form(&hello(), &[]);
    let mut stream = connect(&server, folder.path());
    stream.write_all(post_head(body.len(), "").as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text.contains(SAID), "{answer:?}");

    let mut plain = server.connect();
    plain.write_all(get_head("/v1/models", "").as_bytes()).unwrap();
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut said);
    assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));

    // Somebody who never says hello does not hold it up.
    let _silent = server.connect();
    server.signal(libc::SIGTERM);
    assert_eq!(server.ends(), Some(0), "{}", server.log());
}

#[test]
fn whoever_leaves_over_tls_takes_the_work_along() {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path());
    let server = serve(folder.path());
    let body = form(&speech(), &[]);
    let mut stream = connect(&server, folder.path());
    stream.write_all(post_head(body.len(), "").as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    eventually("it is at work", || server.open_files() >= 2);
    drop(stream);
    eventually("all is free", || server.open_files() == 0 && server.files("") == 0);
}

#[test]
fn a_renewed_certificate_is_taken_at_a_hangup() {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path());
    let mut server = serve(folder.path());
    let works = |server: &Server| {
        let mut stream = connect(server, folder.path());
        stream.write_all(get_head("/health", "").as_bytes()).is_ok()
            && Answer::read(&mut stream).status == 200
    };
    assert!(works(&server));
    make_certificate(folder.path());
    assert!(!works(&server), "the new one is not known yet");
    server.signal(libc::SIGHUP);
    eventually("the new one is shown", || works(&server));

    std::fs::write(folder.path().join("key.pem"), "nothing").unwrap();
    server.signal(libc::SIGHUP);
    eventually("what is wrong is logged", || server.log().contains("key.pem holds no private key"));
    assert!(works(&server), "the old one stays");
    server.signal(libc::SIGTERM);
    assert_eq!(server.ends(), Some(0));
}
