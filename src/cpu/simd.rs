//! Vector units: how plain loops are compiled for them, and how a thread treats subnormal numbers.

/// Runs a loop compiled for the best vector unit of this machine. Everything that `f` calls should be inlined into it.
#[inline(always)]
pub(super) fn vectorize<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// `out[i] = f(a[i])`.
#[inline(always)]
pub(super) fn map<A: Copy, B>(a: &[A], out: &mut [B], f: impl Fn(A) -> B) {
    vectorize(
        #[inline(always)]
        || {
            for (o, &a) in out.iter_mut().zip(a) {
                *o = f(a);
            }
        },
    );
}

/// `out[i] = f(a[i], b[i])`.
#[inline(always)]
pub(super) fn zip<A: Copy, B: Copy, C>(a: &[A], b: &[B], out: &mut [C], f: impl Fn(A, B) -> C) {
    vectorize(
        #[inline(always)]
        || {
            for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *o = f(a, b);
            }
        },
    );
}

/// Makes the calling thread treat subnormal f32 as 0, for good. They slow training down 5 to 20 times as losses approach 0.
#[allow(unsafe_code, reason = "the control register is reachable through assembly only")]
pub(super) fn flush_subnormals() {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        let mut control = 0u32;
        // SAFETY: both instructions only move the SSE control register through `control`; FTZ (bit 15) and DAZ (bit 6)
        // change how subnormals round, which this crate's own worker threads may choose.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &mut control, options(nostack, preserves_flags));
            control |= (1 << 15) | (1 << 6);
            std::arch::asm!("ldmxcsr [{}]", in(reg) &control, options(nostack, preserves_flags));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let mut control: u64;
        // SAFETY: as above, for FPCR's FZ (bit 24).
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags));
            control |= 1 << 24;
            std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags));
        }
    }
}
