//! Calls a kernel as an unkind caller: on a small stack of its own whose end is a page of no access, with numbers in the
//! registers that a function must leave as they are and garbage in the others.
//!
//! What a callee owes is that of the System V ABI (x86-64) and of AAPCS64. Elsewhere the call is a plain one.

use cygnet_kernels::Kernel;
use cygnet_kernels::view::Mem;

use super::guard::{Guard, Guarded, POISON};

/// Bytes of the stack, behind whose end is the page of no access. Threads of musl have 128 KiB.
const STACK: usize = 96 << 10;

/// Bytes of it that a kernel has to do with.
const MOST: usize = 64 << 10;

/// What the callee does.
struct Job<'a> {
    kernel: &'a dyn Kernel,
    mem: &'a Mem,
    tile: usize,
}

/// Nothing but a call, so that it saves no register that the kernel should save. A kernel that panics ends the process,
/// with its message: nothing unwinds through the frame below.
extern "C" fn work(job: &Job<'_>) {
    // SAFETY: the promise of `run_tile` below.
    unsafe { job.kernel.run_tile(job.mem, job.tile) }
}

/// A stack for calls.
pub struct Hostile(Guarded);

impl Hostile {
    pub fn new() -> Self {
        Self(Guarded::new(STACK, Guard::Before))
    }

    /// Does a tile.
    ///
    /// # Safety
    /// As [`Kernel::run_tile`].
    pub unsafe fn run_tile(&mut self, kernel: &dyn Kernel, mem: &Mem, tile: usize) {
        let job = Job { kernel, mem, tile };
        let control = machine::control();
        // SAFETY: the stack is of whole pages, and nobody else's; the job outlives the call.
        let spoiled = unsafe {
            let top = self.0.bytes_mut().as_mut_ptr_range().end;
            machine::call(work, &job, top)
        };
        let untouched = self.0.bytes().iter().take_while(|&&b| b == POISON).count();
        let used = STACK - untouched;
        assert!(used <= MOST, "{} takes {used} bytes of stack", kernel.name());
        assert_eq!(spoiled, 0, "{} spoiled a register of its caller", kernel.name());
        assert_eq!(machine::control(), control, "{} changed how its caller rounds", kernel.name());
    }
}

type Work = extern "C" fn(&Job<'_>);

#[cfg(all(target_arch = "x86_64", unix))]
mod machine {
    use std::arch::naked_asm;

    use super::Work;

    /// MXCSR without its flags of what has happened.
    pub(super) fn control() -> u64 {
        let mut word = 0_u32;
        // SAFETY: stores four bytes.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack)) };
        u64::from(word & !0x3f)
    }

    /// Calls `work(job)` on the stack below `top`; not 0 if a register that should be left alone was not.
    ///
    /// # Safety
    /// `top` is a multiple of 16 and the end of a stack.
    #[unsafe(naked)]
    pub(super) unsafe extern "C" fn call(work: Work, job: &super::Job<'_>, top: *mut u8) -> u64 {
        naked_asm!(
            "push rbx",
            "push rbp",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov [rdx - 8], rsp",
            "lea rsp, [rdx - 16]",
            "mov rax, rdi",
            "mov rdi, rsi",
            "mov ebx, 0x1111",
            "mov ebp, 0x2222",
            "mov r12d, 0x3333",
            "mov r13d, 0x4444",
            "mov r14d, 0x5555",
            "mov r15d, 0x6666",
            "mov rsi, -1",
            "mov rdx, -1",
            "mov rcx, -1",
            "mov r8, -1",
            "mov r9, -1",
            "mov r10, -1",
            "mov r11, -1",
            "pcmpeqd xmm0, xmm0",
            "pcmpeqd xmm1, xmm1",
            "pcmpeqd xmm2, xmm2",
            "pcmpeqd xmm3, xmm3",
            "pcmpeqd xmm4, xmm4",
            "pcmpeqd xmm5, xmm5",
            "pcmpeqd xmm6, xmm6",
            "pcmpeqd xmm7, xmm7",
            "pcmpeqd xmm8, xmm8",
            "pcmpeqd xmm9, xmm9",
            "pcmpeqd xmm10, xmm10",
            "pcmpeqd xmm11, xmm11",
            "pcmpeqd xmm12, xmm12",
            "pcmpeqd xmm13, xmm13",
            "pcmpeqd xmm14, xmm14",
            "pcmpeqd xmm15, xmm15",
            "call rax",
            // The direction flag must be clear.
            "pushfq",
            "pop rax",
            "and eax, 0x400",
            "xor rbx, 0x1111",
            "or rax, rbx",
            "xor rbp, 0x2222",
            "or rax, rbp",
            "xor r12, 0x3333",
            "or rax, r12",
            "xor r13, 0x4444",
            "or rax, r13",
            "xor r14, 0x5555",
            "or rax, r14",
            "xor r15, 0x6666",
            "or rax, r15",
            "mov rsp, [rsp + 8]",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbp",
            "pop rbx",
            "ret",
        )
    }
}

#[cfg(all(target_arch = "aarch64", unix))]
mod machine {
    use std::arch::naked_asm;

    use super::Work;

    /// FPCR.
    pub(super) fn control() -> u64 {
        let word;
        // SAFETY: every program may read the register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nostack)) };
        word
    }

    /// Calls `work(job)` on the stack below `top`; not 0 if a register that should be left alone was not.
    ///
    /// # Safety
    /// `top` is a multiple of 16 and the end of a stack.
    #[unsafe(naked)]
    pub(super) unsafe extern "C" fn call(work: Work, job: &super::Job<'_>, top: *mut u8) -> u64 {
        naked_asm!(
            "stp x29, x30, [sp, #-160]!",
            "stp x19, x20, [sp, #16]",
            "stp x21, x22, [sp, #32]",
            "stp x23, x24, [sp, #48]",
            "stp x25, x26, [sp, #64]",
            "stp x27, x28, [sp, #80]",
            "stp d8, d9, [sp, #96]",
            "stp d10, d11, [sp, #112]",
            "stp d12, d13, [sp, #128]",
            "stp d14, d15, [sp, #144]",
            "mov x9, sp",
            "sub x2, x2, #16",
            "str x9, [x2, #8]",
            "mov sp, x2",
            "mov x9, x0",
            "mov x0, x1",
            // Registers to be left alone: of v8 to v15 the lower halves.
            ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
            "mov x\\n, #(0x1100 + \\n)",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "movi v\\n\\().16b, #0xff",
            ".endr",
            ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
            "mov x10, #(0x2200 + \\n)",
            "mov v\\n\\().d[0], x10",
            ".endr",
            ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17",
            "mov x\\n, #-1",
            ".endr",
            "blr x9",
            "mov x0, #0",
            ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
            "mov x10, #(0x1100 + \\n)",
            "eor x10, x10, x\\n",
            "orr x0, x0, x10",
            ".endr",
            ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
            "mov x10, #(0x2200 + \\n)",
            "fmov x11, d\\n",
            "eor x10, x10, x11",
            "orr x0, x0, x10",
            ".endr",
            "ldr x10, [sp, #8]",
            "mov sp, x10",
            "ldp d14, d15, [sp, #144]",
            "ldp d12, d13, [sp, #128]",
            "ldp d10, d11, [sp, #112]",
            "ldp d8, d9, [sp, #96]",
            "ldp x27, x28, [sp, #80]",
            "ldp x25, x26, [sp, #64]",
            "ldp x23, x24, [sp, #48]",
            "ldp x21, x22, [sp, #32]",
            "ldp x19, x20, [sp, #16]",
            "ldp x29, x30, [sp], #160",
            "ret",
        )
    }
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), unix)))]
mod machine {
    use super::Work;

    pub(super) fn control() -> u64 {
        0
    }

    /// A plain call.
    ///
    /// # Safety
    /// As the work's.
    pub(super) unsafe fn call(work: Work, job: &super::Job<'_>, _: *mut u8) -> u64 {
        work(job);
        0
    }
}

/// The harness is of use only if it notices.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), unix))]
#[test]
fn a_spoiled_register_is_noticed() {
    struct Spoils;
    // SAFETY: touches no memory. It breaks the calling convention, which the harness tolerates.
    unsafe impl Kernel for Spoils {
        fn name(&self) -> &'static str {
            "spoils"
        }

        fn tiles(&self) -> usize {
            1
        }

        unsafe fn run_tile(&self, _: &Mem, _: usize) {
            // SAFETY: a lie: the register is not declared. It is one that this function and its callers up to the
            // harness need not have in use.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                std::arch::asm!("mov r13d, 7", options(nostack));
                #[cfg(target_arch = "aarch64")]
                std::arch::asm!("fmov d13, xzr", options(nostack));
            }
        }
    }
    let mem = Mem { arena: std::ptr::null_mut(), weights: std::ptr::null(), scratch: std::ptr::null_mut() };
    let noticed = std::panic::catch_unwind(|| {
        // SAFETY: no memory is touched.
        unsafe { Hostile::new().run_tile(&Spoils, &mem, 0) }
    });
    assert!(noticed.is_err());
}
