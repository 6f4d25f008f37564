//! `diarist serve`

use std::process::ExitCode;

use clap::Args;

use crate::config::Settings;
use crate::server;

/// Flags of `serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Address and port; port 0 takes any free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Keys that clients must send, comma-separated (better set DIARIST_API_KEYS: flags are visible to
    /// other users) [default: none, open]
    #[arg(long, value_name = "KEYS")]
    api_keys: Option<String>,
    /// Largest upload, in bytes [default: 4294967296]
    #[arg(long, value_name = "BYTES")]
    max_upload_bytes: Option<String>,
}

impl ServeArgs {
    /// The flags that were given, as (setting, value).
    pub fn flags(&self) -> Vec<(String, String)> {
        let named = [
            ("listen", &self.listen),
            ("api_keys", &self.api_keys),
            ("max_upload_bytes", &self.max_upload_bytes),
        ];
        named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect()
    }
}

/// Serves until a signal. The exit code says whether every request had its answer.
pub fn run(settings: Settings) -> Result<ExitCode, String> {
    let ending = server::run(&settings).map_err(|error| error.to_string())?;
    Ok(ExitCode::from(server::exit_code(ending)))
}
