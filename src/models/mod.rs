//! Which models there are, where they lie, how they are fetched, and who keeps them in memory.
//!
//! `entries` is what `catalogue.toml` says, `shelf` what lies in the folders, and `catalogue` puts the two
//! together; `download` fetches from the hub, `verify` hashes, `manager` loads each model once and hands out
//! leases, `quantize` makes smaller ones of them, and `cli` is `diarist models …`. Nothing here is fetched unless somebody asks for it by `pull`.

pub mod catalogue;
pub mod cli;
pub mod download;
pub mod entries;
mod hub;
pub mod manager;
pub mod quantize;
mod shelf;
pub mod verify;

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
    /// Part of the program, not found beside it.
    #[error(
        "the model `{id}` comes with Diarist, and its file is missing; set DIARIST_BUNDLED_MODELS_DIR to the \
         folder `models` that came with the program"
    )]
    NotBundled {
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
    /// There is no room in memory beside the models in use now.
    #[error("there is no room in memory for the model `{id}` now: {reason}")]
    NoRoom {
        /// Id in the catalogue.
        id: String,
        /// What takes the room, and the remedy.
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
    /// A smaller copy of a model could not be made.
    #[error("`{id}` cannot be quantised: {reason}")]
    Quantize {
        /// Id of the source.
        id: String,
        /// What went wrong, and the remedy.
        reason: String,
    },
    /// The catalogue or a folder cannot be read.
    #[error("{0}")]
    Catalogue(String),
}

impl ModelError {
    /// `Unknown`, with the name made fit for a message, whatever it holds.
    pub fn unknown(name: &str) -> Self {
        Self::Unknown { name: entries::printable(name) }
    }

    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } | Self::NotInstalled { .. } | Self::NotBundled { .. } => {
                ErrorKind::ModelNotFound
            }
            Self::Unusable { .. } => ErrorKind::ModelUnusable,
            Self::NoRoom { .. } => ErrorKind::Busy,
            Self::Download { .. } => ErrorKind::Unavailable,
            Self::Quantize { .. } | Self::Catalogue(_) => ErrorKind::Internal,
        }
    }
}
