//! Instruction sets and CPU-feature tokens.
//!
//! A token is a zero-sized value that exists only where the CPU was seen to have the features it stands for;
//! holding one is the proof that lets safe code use the instructions. [`Isa`] is the name of a token, for tables,
//! options and messages.

/// An instruction set that the microkernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust without intrinsics; runs everywhere.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 256-bit lanes.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW, VL and FMA: 512-bit lanes.
    Avx512,
    /// The same with AVX512-BF16: products of pairs of bfloat16.
    Avx512Bf16,
    /// The same with AMX-BF16: products of tiles of bfloat16. Linux only, which grants the tiles to a process that asks.
    AmxBf16,
    /// AArch64 Advanced SIMD: 128-bit lanes.
    Neon,
}

impl Isa {
    /// Every instruction set, best first.
    pub const ALL: [Isa; 6] = [Isa::AmxBf16, Isa::Avx512Bf16, Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// The instruction sets of this CPU, best first; the last is always [`Isa::Portable`].
    #[must_use]
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Whether this CPU has the instruction set.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Avx512Bf16::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::AmxBf16 => AmxBf16::detect().is_some(),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::detect().is_some(),
            #[allow(unreachable_patterns, reason = "which arms are left depends on the target")]
            _ => false,
        }
    }

    /// The name used in options and reports: `portable`, `avx2`, `avx512`, `avx512bf16`, `amxbf16` or `neon`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::AmxBf16 => "amxbf16",
            Isa::Neon => "neon",
        }
    }

    /// The instruction set of that name, whether or not this CPU has it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(self.name())
    }
}

/// Proof of nothing: plain Rust runs on every CPU.
#[derive(Clone, Copy, Debug)]
pub struct Portable(());

impl Portable {
    /// Always available.
    #[must_use]
    pub fn detect() -> Option<Portable> {
        Some(Portable(()))
    }

    /// A token without a check.
    ///
    /// # Safety
    /// None is needed; the signature is that of the other tokens.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Portable {
        Portable(())
    }
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $arch:literal, $detect:expr) => {
        $(#[$doc])*
        #[cfg(target_arch = $arch)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name(());

        #[cfg(target_arch = $arch)]
        impl $name {
            /// The token, if this CPU (and its operating system) has the features.
            #[must_use]
            pub fn detect() -> Option<$name> {
                $detect.then_some($name(()))
            }

            /// A token without a check.
            ///
            /// # Safety
            /// `detect` must have returned a token on this machine, or the caller must be compiled with the
            /// features as `#[target_feature]`s, whose own callers have that duty.
            #[inline(always)]
            pub(crate) unsafe fn assume() -> $name {
                $name(())
            }
        }
    };
}

token! {
    /// Proof of AVX-512 F, DQ, BW, VL, of AVX2, FMA and F16C.
    Avx512, "x86_64",
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}
token! {
    /// Proof of what [`Avx512`] proves, and of AVX512-BF16.
    Avx512Bf16, "x86_64",
    Avx512::detect().is_some() && is_x86_feature_detected!("avx512bf16")
}
token! {
    /// Proof of what [`Avx512Bf16`] proves, of AMX-BF16, and that this process may use tiles.
    AmxBf16, "x86_64",
    Avx512Bf16::detect().is_some() && tiles::are_granted()
}

#[cfg(target_arch = "x86_64")]
impl AmxBf16 {
    /// Part of what this proves.
    pub(crate) fn pairs(self) -> Avx512Bf16 {
        Avx512Bf16(())
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles {
    //! Whether this process may use the tiles of AMX.

    use std::arch::{asm, x86_64::__cpuid_count};
    use std::sync::OnceLock;

    /// Bits of leaf 7: tiles, and their products of bfloat16. That the system keeps their state, its grant says.
    const FEATURES: u32 = 1 << 24 | 1 << 22;

    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;

    /// Asks once for all threads, which the system wants before the first use.
    pub(super) fn are_granted() -> bool {
        static GRANTED: OnceLock<bool> = OnceLock::new();
        *GRANTED.get_or_init(|| __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & FEATURES == FEATURES && ask())
    }

    fn ask() -> bool {
        let mut result = ARCH_PRCTL as isize;
        // SAFETY: a system call that takes two numbers and changes no memory. A kernel that does not know it says so.
        unsafe {
            asm!(
                "syscall",
                inout("rax") result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
        result == 0
    }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
mod tiles {
    //! Elsewhere nothing is asked, and nothing granted.

    pub(super) fn are_granted() -> bool {
        false
    }
}

token! {
    /// Proof of AVX2, FMA and F16C.
    Avx2, "x86_64",
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}
token! {
    /// Proof of Advanced SIMD.
    Neon, "aarch64", std::arch::is_aarch64_feature_detected!("neon")
}
