//! Which models there are, where they lie, how they are fetched, and who keeps them in memory.
//!
//! `catalogue` reads `catalogue.toml` and the folders of models; `download` fetches and verifies;
//! `manager` loads each model once and hands out leases.

pub mod catalogue;
pub mod download;
pub mod manager;

use crate::error::ErrorKind;

/// Why a model could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelError {
    /// No such name in the catalogue or the folders.
    #[error(
        "the model `{name}` does not exist; `GET /v1/models` and `diarist models list` name those there are"
    )]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// In the catalogue, not on this machine.
    #[error("the model `{id}` has not been downloaded to this machine; `diarist models pull {id}` does that")]
    NotInstalled {
        /// Id in the catalogue.
        id: String,
    },
    /// There, but no use for what is asked (a voice activity model asked to transcribe, say).
    #[error("the model `{id}` cannot be used: {reason}")]
    Unusable {
        /// Id in the catalogue.
        id: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A download failed.
    #[error("downloading `{id}` failed: {reason}")]
    Download {
        /// Id in the catalogue.
        id: String,
        /// What went wrong, and the remedy.
        reason: String,
    },
    /// The catalogue or a folder cannot be read.
    #[error("{0}")]
    Catalogue(String),
}

impl ModelError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } | Self::NotInstalled { .. } => ErrorKind::ModelNotFound,
            Self::Unusable { .. } => ErrorKind::ModelUnusable,
            Self::Download { .. } => ErrorKind::Unavailable,
            Self::Catalogue(_) => ErrorKind::Internal,
        }
    }
}
