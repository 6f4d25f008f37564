//! Certificate and key, from PEM files.
//!
//! Both can be read again while the server runs, so that a renewed certificate needs no restart. Errors name the file
//! and the remedy, and never show what is in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Where certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those between it and one that clients know.
    pub cert: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there or may not be read.
    #[error("{path} cannot be read: {reason}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        reason: String,
    },
    /// The file is no PEM, or a damaged one.
    #[error("{path} is damaged: {reason}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of certificates has none.
    #[error("{path} holds no certificate; expected is `-----BEGIN CERTIFICATE-----`", path = .0.display())]
    NoCertificate(PathBuf),
    /// The file of the key has none.
    #[error("{path} holds no private key; expected is `-----BEGIN PRIVATE KEY-----`", path = .0.display())]
    NoKey(PathBuf),
    /// The key has a password.
    #[error(
        "the private key in {path} is encrypted, which cannot be used; `openssl pkey -in KEY -out PLAIN` writes it \
         without its password", path = .0.display()
    )]
    Encrypted(PathBuf),
    /// The key is another's.
    #[error("the private key in {key} does not belong to the certificate in {cert}",
        key = .0.key.display(), cert = .0.cert.display())]
    Mismatch(TlsFiles),
    /// A kind of key or certificate that is not supported.
    #[error("the certificate in {cert} and the key in {key} cannot be used: {reason}",
        cert = .files.cert.display(), key = .files.key.display())]
    Unusable {
        /// The files.
        files: TlsFiles,
        /// What is wrong with them.
        reason: String,
    },
}

/// A certificate with its key, ready to serve. Cloning shares it.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
}

/// The certificate that new connections are shown.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// When either cannot be used, or they do not belong together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certified = certified(&files, &provider)?;
        Ok(Self { files, provider, current: Arc::new(Current(RwLock::new(Arc::new(certified)))) })
    }

    /// Reads both files again, for new connections; those that are there keep what they have.
    ///
    /// # Errors
    /// As `load`; the old certificate then stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let certified = certified(&self.files, &self.provider)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(())
    }

    /// TLS 1.2 and 1.3 with this certificate; no client certificates.
    pub fn server_config(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has what TLS 1.2 and 1.3 need")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>)
    }
}

fn certified(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = chain(&files.cert)?;
    let key = key(&files.key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch(files.clone()),
        other => TlsError::Unusable { files: files.clone(), reason: other.to_string() },
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(path, &error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    let says = |mark: &str| text.windows(mark.len()).any(|part| part == mark.as_bytes());
    if says("BEGIN ENCRYPTED PRIVATE KEY") || says("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::Encrypted(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        other => damaged(path, &other),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path)
        .map_err(|error| TlsError::Unreadable { path: path.to_owned(), reason: error.to_string() })
}

fn damaged(path: &Path, error: &pem::Error) -> TlsError {
    // Their own words would show lines of the file.
    let reason = match error {
        pem::Error::Base64Decode(_) => "it is not base64 between its marks",
        pem::Error::MissingSectionEnd { .. } => "a mark at the end is missing",
        pem::Error::IllegalSectionStart { .. } => "a mark at the start is not closed",
        _ => "it is not PEM",
    };
    TlsError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    /// Files with these contents.
    fn files(folder: &tempfile::TempDir, cert: &str, key: &str) -> TlsFiles {
        let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        std::fs::write(&files.cert, cert).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    fn self_signed() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed();
        let (_, other) = self_signed();
        let secret = key.lines().nth(1).unwrap().to_owned();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let no_end = key.lines().take(2).collect::<Vec<_>>().join("\n");
        let bad = key.replace(&secret, &format!("{}!", &secret[1..]));
        for (cert, key, said) in [
            ("", key.as_str(), "cert.pem holds no certificate"),
            (key.as_str(), key.as_str(), "cert.pem holds no certificate"),
            (&cert, "", "key.pem holds no private key"),
            (&cert, &cert, "key.pem holds no private key"),
            (&cert, &other, "does not belong to the certificate"),
            (&cert, &encrypted, "is encrypted"),
            (&cert, &no_end, "key.pem is damaged: a mark at the end is missing"),
            (&cert, &bad, "key.pem is damaged: it is not base64"),
        ] {
            let message = Tls::load(files(&folder, cert, key)).err().expect(said).to_string();
            assert!(message.contains(said), "{message}");
            assert!(!message.contains(&secret), "{message}");
        }
        let missing = TlsFiles { cert: "/nonexistent".into(), key: "/nonexistent".into() };
        let message = Tls::load(missing).err().unwrap().to_string();
        assert!(message.starts_with("/nonexistent cannot be read"), "{message}");
    }

    #[test]
    fn a_renewed_certificate_is_taken_and_a_bad_one_leaves_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed();
        let tls = Tls::load(files(&folder, &cert, &key)).ok().unwrap();
        let shown = |tls: &Tls| tls.current.0.read().unwrap().cert[0].clone();
        let first = shown(&tls);
        let (cert, key) = self_signed();
        files(&folder, &cert, "");
        assert!(tls.reload().is_err());
        assert_eq!(shown(&tls), first);
        files(&folder, &cert, &key);
        tls.reload().unwrap();
        assert_ne!(shown(&tls), first);
    }
}
