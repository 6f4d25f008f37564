//! Processors and accelerators: which there are, and which is used.
//!
//! Decides, once at start, the device and how many workers with how many threads each share it. Knows no
//! model and no engine. Read next: `asr::engine`.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Where recognition runs (`DIARIST_DEVICE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The first that this build and this machine have, in the order of `Device::fallback_order`.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// NVIDIA, in builds with the feature `cuda`.
    Cuda,
    /// Any graphics processor with Vulkan, in builds with the feature `vulkan`.
    Vulkan,
    /// Apple, in builds with the feature `metal`.
    Metal,
}

/// A device that cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error("device \"{0}\" is unknown; choose auto, cpu, cuda, vulkan or metal")]
    Unknown(String),
    /// The build has no code for it.
    #[error(
        "device \"{0}\" is not in this build; build with `cargo build --release --features {0}` or choose auto"
    )]
    NotBuilt(Device),
}

/// Most workers that are chosen without being asked for: each keeps its own decoder state in memory.
const MAX_AUTOMATIC_WORKERS: usize = 8;

/// Workers on a graphics processor: one computes while the other prepares its samples.
const GPU_WORKERS: usize = 2;

/// Host threads per worker on a graphics processor; more have nothing to do.
const MAX_GPU_HOST_THREADS: usize = 4;

impl Device {
    /// Every device, in the order of preference.
    pub const ALL: [Device; 5] = [Self::Auto, Self::Cuda, Self::Metal, Self::Vulkan, Self::Cpu];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
        }
    }

    /// Whether this build has code for it.
    pub fn is_built(self) -> bool {
        match self {
            Self::Auto | Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
        }
    }

    /// Whether it is a graphics processor; `Auto` is one where the build has one.
    pub fn is_gpu(self) -> bool {
        match self {
            Self::Auto => self.fallback_order().is_ok_and(|order| order[0] != Self::Cpu),
            Self::Cpu => false,
            Self::Cuda | Self::Vulkan | Self::Metal => true,
        }
    }

    /// The devices to try, first to last. `Auto` gives every accelerator of this build, then the
    /// processor; a device that was asked for by name is not replaced by another. Never empty.
    ///
    /// # Errors
    /// `NotBuilt` when the build has no code for the device.
    pub fn fallback_order(self) -> Result<Vec<Device>, DeviceError> {
        match self {
            Self::Auto => Ok(Self::ALL
                .into_iter()
                .filter(|&device| device != Self::Auto && device.is_built())
                .collect()),
            device if device.is_built() => Ok(vec![device]),
            device => Err(DeviceError::NotBuilt(device)),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    /// Parses a name in any case; whether the build has the device is for `fallback_order` to say.
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let wanted = text.trim();
        Self::ALL
            .into_iter()
            .find(|device| device.name().eq_ignore_ascii_case(wanted))
            .ok_or_else(|| DeviceError::Unknown(wanted.to_owned()))
    }
}

/// Processor cores that this process may use, at least 1; respects affinity and the container's quota.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Workers and threads per worker for `cores` cores, both at least 1; `None` leaves the choice here.
///
/// On a processor many workers with few threads each give the most text per second: matrix threads wait
/// for one another at every layer, and waiting is worst when the machine is busy.
pub fn workers_and_threads(
    cores: usize,
    device: Device,
    requested_workers: Option<usize>,
    requested_threads: Option<usize>,
) -> (usize, usize) {
    let cores = cores.max(1);
    let requested_threads = requested_threads.map(|threads| threads.max(1));
    if device.is_gpu() {
        let workers = requested_workers.unwrap_or(GPU_WORKERS).max(1);
        let threads = (cores / workers).clamp(1, MAX_GPU_HOST_THREADS);
        return (workers, requested_threads.unwrap_or(threads));
    }
    let automatic = (cores / requested_threads.unwrap_or(1)).clamp(1, MAX_AUTOMATIC_WORKERS);
    let workers = requested_workers.unwrap_or(automatic).max(1);
    (workers, requested_threads.unwrap_or((cores / workers).max(1)))
}

/// Checks that the processor has the instructions that the recogniser was compiled for, so that a lesser
/// one gets a sentence at start and not an illegal instruction in the middle of a request.
///
/// # Errors
/// The missing instruction sets, with the remedy.
pub fn check_cpu() -> Result<(), String> {
    let missing = missing_cpu_features();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this processor lacks {}; the program needs x86-64 with AVX2, FMA, F16C and BMI2 (any since 2015), or \
         build it on this machine with GGML_NATIVE=ON",
        missing.join(", ")
    ))
}

/// Instruction sets of whisper.cpp's portable build that this processor does not have.
#[cfg(target_arch = "x86_64")]
fn missing_cpu_features() -> Vec<&'static str> {
    let needed = [
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("BMI2", std::is_x86_feature_detected!("bmi2")),
    ];
    needed.into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect()
}

/// Other architectures are compiled for their baseline.
#[cfg(not(target_arch = "x86_64"))]
fn missing_cpu_features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_in_any_case_and_a_wrong_one_is_named() {
        assert_eq!("CPU".parse(), Ok(Device::Cpu));
        assert_eq!(" auto ".parse(), Ok(Device::Auto));
        let error = "tpu".parse::<Device>().unwrap_err().to_string();
        assert!(error.contains("\"tpu\"") && error.contains("vulkan"), "{error}");
    }

    #[test]
    fn auto_ends_with_the_processor_and_a_named_device_stands_alone() {
        let auto = Device::Auto.fallback_order().unwrap();
        assert_eq!(auto.last(), Some(&Device::Cpu));
        assert!(!auto.contains(&Device::Auto));
        assert_eq!(Device::Cpu.fallback_order(), Ok(vec![Device::Cpu]));
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_device_outside_this_build_is_refused_with_the_remedy() {
        let error = Device::Cuda.fallback_order().unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }

    #[test]
    fn every_core_gets_a_worker_of_its_own_up_to_eight() {
        assert_eq!(workers_and_threads(1, Device::Cpu, None, None), (1, 1));
        assert_eq!(workers_and_threads(2, Device::Cpu, None, None), (2, 1));
        assert_eq!(workers_and_threads(8, Device::Cpu, None, None), (8, 1));
        assert_eq!(workers_and_threads(32, Device::Cpu, None, None), (8, 4));
    }

    #[test]
    fn what_is_asked_for_stands_and_the_rest_follows_from_it() {
        assert_eq!(workers_and_threads(8, Device::Cpu, Some(2), None), (2, 4));
        assert_eq!(workers_and_threads(8, Device::Cpu, None, Some(4)), (2, 4));
        assert_eq!(workers_and_threads(2, Device::Cpu, Some(5), Some(3)), (5, 3));
        assert_eq!(workers_and_threads(0, Device::Cpu, Some(0), Some(0)), (1, 1));
        assert_eq!(workers_and_threads(2, Device::Cpu, None, Some(9)), (1, 9));
    }

    #[test]
    fn a_graphics_processor_is_shared_by_two_workers() {
        assert_eq!(workers_and_threads(16, Device::Cuda, None, None), (2, 4));
        assert_eq!(workers_and_threads(2, Device::Vulkan, None, None), (2, 1));
        assert_eq!(workers_and_threads(16, Device::Metal, Some(1), Some(2)), (1, 2));
    }
}
