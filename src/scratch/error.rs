//! Why a temporary file cannot be had, in words for whoever asked: no paths, and what to do.

use std::io;

use crate::error::ErrorKind;

/// Why a temporary file cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// Less of the disk would stay free than is set.
    #[error(
        "there is too little disk space left for temporary files; try again later, or free some where \
         DIARIST_TEMP_DIR lies (DIARIST_TEMP_MIN_FREE_BYTES says how much stays free)"
    )]
    LowSpace {
        /// Bytes free now.
        free: u64,
        /// Bytes that were asked for beside those that are to stay free.
        wanted: u64,
    },
    /// The temporary files of all requests together would take more than is set.
    #[error(
        "temporary files have reached their limit of {limit} bytes; try again later, or raise \
         DIARIST_TEMP_MAX_BYTES"
    )]
    OverLimit {
        /// The limit in force, in bytes.
        limit: u64,
    },
    /// The disk is full, or a quota or the limit of one file's size is reached.
    #[error(
        "the disk for temporary files is full; try again later, free space where DIARIST_TEMP_DIR lies, or name \
         another folder: {0}"
    )]
    Full(&'static str),
    /// The process, or the system, has as many files open as it may.
    #[error(
        "too many files are open; try again later, or raise the limit of open files (`ulimit -n`, LimitNOFILE)"
    )]
    TooManyFiles,
    /// Somebody has removed the file.
    #[error("a temporary file has gone; send the request again, and keep cleaners out of DIARIST_TEMP_DIR")]
    Gone,
    /// Anything else.
    #[error("temporary storage failed: {reason}")]
    Failed {
        /// What it is, without paths.
        reason: String,
        /// The error itself, for the log.
        #[source]
        source: io::Error,
    },
}

impl ScratchError {
    /// What kind of ending this is for the request: the machine's state, not the request, is at fault.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

impl From<io::Error> for ScratchError {
    /// One that travelled as an `io::Error` comes out as it was.
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(inner) => return inner,
            Err(error) => error,
        };
        if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
            return Self::TooManyFiles;
        }
        match error.kind() {
            io::ErrorKind::StorageFull => Self::Full("no space is left on it"),
            io::ErrorKind::QuotaExceeded => Self::Full("the quota is used up"),
            io::ErrorKind::FileTooLarge => Self::Full("the limit of a file's size is reached (`ulimit -f`)"),
            io::ErrorKind::NotFound => Self::Gone,
            // The kind's words and not the error's: those may hold a path.
            kind => Self::Failed { reason: kind.to_string(), source: error },
        }
    }
}

impl From<ScratchError> for io::Error {
    fn from(error: ScratchError) -> Self {
        let kind = match &error {
            ScratchError::LowSpace { .. } | ScratchError::OverLimit { .. } | ScratchError::Full(_) => {
                io::ErrorKind::StorageFull
            }
            ScratchError::Gone => io::ErrorKind::NotFound,
            ScratchError::TooManyFiles => io::ErrorKind::Other,
            ScratchError::Failed { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> ScratchError {
        io::Error::from_raw_os_error(code).into()
    }

    #[test]
    fn what_the_system_says_becomes_what_to_do() {
        for code in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG] {
            assert!(matches!(of(code), ScratchError::Full(_)), "{code}");
        }
        for code in [libc::EMFILE, libc::ENFILE] {
            assert!(of(code).to_string().contains("LimitNOFILE"), "{code}");
        }
        assert!(matches!(of(libc::ENOENT), ScratchError::Gone));
        assert_eq!(of(libc::EACCES).to_string(), "temporary storage failed: permission denied");
    }

    #[test]
    fn an_error_with_a_path_is_told_without_it() {
        let error = tempfile::tempfile_in("/dev/null/x").unwrap_err();
        let told = ScratchError::from(error).to_string();
        assert!(!told.contains("/dev/null"), "{told}");
    }

    #[test]
    fn one_that_travels_as_an_io_error_arrives_unchanged() {
        let error = io::Error::from(ScratchError::OverLimit { limit: 5 });
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(matches!(ScratchError::from(error), ScratchError::OverLimit { limit: 5 }));
    }
}
