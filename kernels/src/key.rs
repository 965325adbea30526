//! Elements that compare.

use crate::simd::F16;

/// A type whose elements compare.
pub(crate) trait Key: Copy {
    type Ord: Copy + PartialOrd;
    fn key(self) -> Self::Ord;
    /// Whether it is no number.
    #[inline(always)]
    fn is_nan(k: Self::Ord) -> bool {
        k.partial_cmp(&k).is_none()
    }
}

macro_rules! keys {
    ($($ty:ty)+) => {$(
        impl Key for $ty {
            type Ord = Self;
            #[inline(always)]
            fn key(self) -> Self {
                self
            }
        }
    )+};
}
keys! { f32 i8 u8 i32 }

impl Key for F16 {
    type Ord = f32;
    #[inline(always)]
    fn key(self) -> f32 {
        half::f16::from_bits(self.0).to_f32()
    }
}
