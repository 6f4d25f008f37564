//! Any text as `catalogue.toml`, and each of its lines as the name of a model.

#![no_main]

use std::path::{Component, Path};
use std::sync::LazyLock;

use diarist::models::entries::{EMBEDDED, Entries, HubFile, id_of_file, printable};
use libfuzzer_sys::fuzz_target;

static KNOWN: LazyLock<Entries> =
    LazyLock::new(|| Entries::parse(EMBEDDED).expect("the embedded catalogue is sound"));

fuzz_target!(|text: &str| {
    let entries = Entries::parse(text);
    for name in text.lines().take(8) {
        let _ = (KNOWN.find(name), KNOWN.is_alias(name), id_of_file(name));
        if let Ok(entries) = &entries {
            let _ = (entries.find(name), entries.is_alias(name));
        }
        assert!(!printable(name).chars().any(char::is_control));
        let Some(file) = HubFile::parse(name) else { continue };
        let local = file.local_name();
        let parts: Vec<_> = Path::new(&local).components().collect();
        assert!(matches!(parts[..], [Component::Normal(_)]), "{name:?} became the path {local:?}");
        assert!(!local.starts_with('.') && !local.contains('\\'), "{local:?}");
    }
});
