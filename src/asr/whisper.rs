//! whisper.cpp through whisper-rs.
