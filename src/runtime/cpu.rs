//! Instruction sets of this processor that make recognition faster, and whether the engine was built for them.

/// An instruction set beyond what the portable build needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// As its maker calls it.
    pub name: &'static str,
    /// Its name in whisper.cpp's own account of its build.
    pub engine_name: &'static str,
    /// Whether this processor has it and the system lets programs use it.
    pub present: bool,
}

impl Extension {
    /// Whether the engine, by its own account (`NAME = 1 | …`), was built to use it.
    pub fn is_used(&self, account: &str) -> bool {
        let mut words = account.split(['|', ':']).filter_map(|part| part.split_once('='));
        words.any(|(name, value)| name.trim() == self.engine_name && value.trim().starts_with('1'))
    }
}

/// What this processor may have beyond AVX2.
#[cfg(target_arch = "x86_64")]
pub fn extensions() -> Vec<Extension> {
    let avx512 = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vl");
    vec![
        Extension { name: "AVX-512", engine_name: "AVX512", present: avx512 },
        Extension {
            name: "AVX-512 VNNI",
            engine_name: "AVX512_VNNI",
            present: std::is_x86_feature_detected!("avx512vnni"),
        },
        Extension {
            name: "AVX-VNNI",
            engine_name: "AVX_VNNI",
            present: std::is_x86_feature_detected!("avxvnni"),
        },
        Extension { name: "AMX-INT8", engine_name: "AMX_INT8", present: system_names("amx_int8") },
    ]
}

/// What this processor may have beyond NEON.
#[cfg(target_arch = "aarch64")]
pub fn extensions() -> Vec<Extension> {
    vec![
        Extension {
            name: "DotProd",
            engine_name: "DOTPROD",
            present: std::arch::is_aarch64_feature_detected!("dotprod"),
        },
        Extension {
            name: "I8MM",
            engine_name: "MATMUL_INT8",
            present: std::arch::is_aarch64_feature_detected!("i8mm"),
        },
        Extension {
            name: "SVE",
            engine_name: "SVE",
            present: std::arch::is_aarch64_feature_detected!("sve"),
        },
    ]
}

/// Nothing is known of other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn extensions() -> Vec<Extension> {
    Vec::new()
}

/// Whether the processor multiplies 8-bit numbers exactly and faster than 32-bit ones: VNNI on x86-64, and
/// what stands in its place elsewhere.
pub fn has_int8_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512vnni") || std::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// Whether the system lists `flag` among the processor's; for what the compiler cannot ask yet.
#[cfg(target_arch = "x86_64")]
fn system_names(flag: &str) -> bool {
    let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().any(|word| word == flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_account_is_read_by_whole_names() {
        let account = "WHISPER : COREML = 0 | CPU : SSE3 = 1 | AVX512 = 1 | AVX512_VNNI = 0 | REPACK = 1 |)";
        let used = |engine_name| Extension { name: "", engine_name, present: true }.is_used(account);
        assert!(used("AVX512") && used("SSE3") && used("REPACK"));
        assert!(!used("AVX512_VNNI") && !used("AVX") && !used("COREML") && !used(""));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_the_system_says_of_the_processor_agrees_with_what_it_says_itself() {
        if cfg!(target_os = "linux") {
            assert_eq!(system_names("avx2"), std::is_x86_feature_detected!("avx2"));
        }
        assert!(!system_names("no_such_flag"));
    }
}
