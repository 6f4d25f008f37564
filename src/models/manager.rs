//! Loads each model once and hands out leases.

/// State of one model, for `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// Id in the catalogue.
    pub id: String,
    /// Where it stands.
    pub state: ModelState,
    /// Memory it takes, in bytes, when loaded.
    pub memory_bytes: u64,
}

/// Where a model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// On disk only.
    Unloaded,
    /// Being read.
    Loading,
    /// In memory, ready.
    Loaded,
    /// Loading failed; the message says why.
    Failed(String),
}
