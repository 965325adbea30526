//! The floating-point environment in which tiles run.
//!
//! Results have the same bits whatever the calling thread has set: programs compiled for fast arithmetic, audio hosts and
//! some libraries make their threads flush denormals to zero or round in another direction, and threads that they start
//! inherit that. So a run sets the control register to its default (round to nearest even, denormals kept, no traps),
//! and gives back what it found.

/// What a thread had set, until this is dropped.
#[must_use]
pub(super) struct Environment(Word);

impl Environment {
    /// Sets the default.
    pub(super) fn default_until_dropped() -> Self {
        let found = get();
        if found & CONTROL != DEFAULT {
            set(found & !CONTROL | DEFAULT);
        }
        Self(found)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if self.0 & CONTROL != DEFAULT {
            set(self.0);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod register {
    use std::arch::asm;

    pub(super) type Word = u32;
    /// MXCSR without its flags of what has happened: all exceptions masked.
    pub(super) const DEFAULT: Word = 0x1f80;
    pub(super) const CONTROL: Word = 0xffc0;

    pub(super) fn get() -> Word {
        let mut word = 0;
        // SAFETY: stores four bytes; every x86-64 processor has SSE.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word
    }

    pub(super) fn set(word: Word) {
        // SAFETY: loads four bytes; no reserved bit is set, as the word came from `get` or is the default.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, readonly, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use std::arch::asm;

    pub(super) type Word = u64;
    /// FPCR: all that changes results or traps is zero.
    pub(super) const DEFAULT: Word = 0;
    pub(super) const CONTROL: Word = Word::MAX;

    pub(super) fn get() -> Word {
        let word;
        // SAFETY: every program may read the register.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nostack, nomem, preserves_flags)) };
        word
    }

    pub(super) fn set(word: Word) {
        // SAFETY: every program may write the register.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "riscv64")]
mod register {
    use std::arch::asm;

    pub(super) type Word = u64;
    /// The rounding mode; there is nothing else to set.
    pub(super) const DEFAULT: Word = 0;
    pub(super) const CONTROL: Word = Word::MAX;

    pub(super) fn get() -> Word {
        let word;
        // SAFETY: every program may read the register.
        unsafe { asm!("frrm {}", out(reg) word, options(nostack, nomem, preserves_flags)) };
        word
    }

    pub(super) fn set(word: Word) {
        // SAFETY: every program may write the register.
        unsafe { asm!("fsrm {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod register {
    pub(super) type Word = u8;
    pub(super) const DEFAULT: Word = 0;
    pub(super) const CONTROL: Word = 0;

    pub(super) fn get() -> Word {
        0
    }

    pub(super) fn set(_: Word) {}
}

use register::{CONTROL, DEFAULT, Word, get, set};

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) mod tests {
    use std::hint::black_box;

    use super::*;

    #[cfg(target_arch = "x86_64")]
    const HOSTILE: Word = 0x1f80 | 1 << 15 | 1 << 6 | 3 << 13;
    #[cfg(target_arch = "aarch64")]
    const HOSTILE: Word = 1 << 24 | 3 << 22;

    /// Results that are others where denormals are flushed and where numbers are not rounded to the nearest.
    #[inline(never)] // Compilers believe in the default: they move arithmetic across the change.
    pub(in crate::exec) fn results() -> [u32; 2] {
        [black_box(f32::MIN_POSITIVE) * black_box(0.5), black_box(1.0_f32) / black_box(3.0_f32)]
            .map(f32::to_bits)
    }

    /// What they are by IEEE 754's default, and by what [`in_hostile`] sets.
    pub(in crate::exec) const WANT: [u32; 2] = [0x0040_0000, 0x3eaa_aaab];
    const NOT_WANT: [u32; 2] = [0, 0x3eaa_aaaa];

    /// Works where denormals are flushed and numbers are rounded towards zero.
    pub(in crate::exec) fn in_hostile<T>(work: impl FnOnce() -> T) -> T {
        let before = get();
        set(HOSTILE);
        let outside = results();
        let result = work();
        let left = get();
        set(before);
        assert_eq!(outside, NOT_WANT, "the environment is not hostile");
        assert_eq!(left & CONTROL, HOSTILE & CONTROL, "the environment has been changed");
        result
    }

    #[test]
    fn denormals_and_rounding_are_the_default_inside_and_as_found_outside() {
        assert_eq!(results(), WANT);
        let [inside, again] = in_hostile(|| {
            let environment = Environment::default_until_dropped();
            let inside = results();
            drop(environment);
            [inside, results()]
        });
        assert_eq!([inside, again], [WANT, NOT_WANT]);
    }
}
