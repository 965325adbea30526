//! The contract between the step and what does its arithmetic, and the table of the latter.
//!
//! The inputs of a block of pixels are copied to scratch in *planes*: a plane holds 2 or 4 consecutive inputs of a tap of
//! every pixel, pixel by pixel. A group of weights then meets one plane, or two, of all pixels of the block.

use super::generic;
#[cfg(target_arch = "x86_64")]
use super::{avx2, vnni};
#[cfg(target_arch = "aarch64")]
use super::{dotprod, neon};
use cygnet_format::op::GroupKind;

use crate::cpu::Features;

/// Most units of a block.
pub(super) const MAX_UNITS: usize = 8;

/// Most pixels of a unit.
pub(super) const MAX_UNIT: usize = 16;

/// Output channels between two calls: as many as a row of bytes that is stored at once.
pub(super) const CHANNELS: usize = 16;

/// Bytes of a channel's results before they are stored.
pub(super) const STAGE: usize = MAX_UNITS * MAX_UNIT;

/// One tap of all pixels of a block.
pub(super) struct Tap {
    /// Where the inputs of each pixel are: as many addresses as the block's units have pixels.
    pub from: *const *const u8,
    pub pixels: usize,
    /// Inputs of each.
    pub depth: usize,
    /// Planes that they make.
    pub planes: usize,
    /// Where those go.
    pub to: *mut u8,
}

/// Some output channels of all pixels of a block.
pub(super) struct Job {
    /// The planes, of so many units of pixels.
    pub inputs: *const u8,
    pub units: usize,
    /// Weights and numbers of the step's groups.
    pub weights: *const i8,
    pub indices: *const u16,
    /// The first group, and where the lists of the channels end.
    pub start: usize,
    pub ends: *const i32,
    /// Channels, at most [`CHANNELS`].
    pub channels: usize,
    /// Of each of them.
    pub bias: *const i32,
    pub multiplier: *const f32,
    /// Bounds and zero point of the results.
    pub lo: f32,
    pub hi: f32,
    pub zero_point: i32,
    /// Rows of [`STAGE`] results of a channel each.
    pub to: *mut i8,
}

/// Results of channels, to where they belong.
pub(super) struct Store {
    /// Rows of [`STAGE`] results of a channel each, 16 of them.
    pub from: *const u8,
    /// How many of them count.
    pub channels: usize,
    pub pixels: usize,
    /// The first pixel's channels, and bytes from a pixel to the next.
    pub to: *mut u8,
    pub pitch: usize,
}

/// An implementation.
///
/// # Safety
/// `fill` wants addresses from which the inputs can be read, rounded up to 16 bytes, and room for the planes; `multiply`
/// planes of the number of units that its place says, lists of groups that are among them, and room for the results;
/// `store` rows for as many pixels as it is told; all want a processor with the features of the row. Constants need not
/// be aligned.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub name: &'static str,
    pub needs: Features,
    /// Inputs of a group.
    pub group: GroupKind,
    /// Pixels of a unit, and most units of a block: as many as there are registers for.
    pub unit: usize,
    pub most: usize,
    /// Inputs of a plane: those of a group, or fewer.
    pub plane: usize,
    /// Bytes of an input in a plane.
    pub width: usize,
    /// What is added to inputs, so that the biases are to be less this times the sums of the weights.
    pub offset: i32,
    pub fill: unsafe fn(&Tap),
    /// For blocks of so many units, less 1.
    pub multiply: [unsafe fn(&Job); MAX_UNITS],
    pub store: unsafe fn(&Store),
}

/// A function for every number of units; the last one for those beyond it.
macro_rules! each {
    ($module:ident::$function:ident; $($units:literal)+) => { [$($module::$function::<$units>),+] };
    ($module:ident::$function:ident<$generic:tt>; $($units:literal)+) => {
        [$($module::$function::<$units, $generic>),+]
    };
}

/// The implementations, best first for each group.
pub(super) const ROWS: &[Row] = &[
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "sparse_conv_s8_4_avx512vnni",
        needs: Features::AVX512_VNNI,
        group: GroupKind::Fours,
        unit: 16,
        most: MAX_UNITS,
        plane: 4,
        width: 1,
        offset: vnni::OFFSET,
        fill: vnni::fill,
        multiply: each!(vnni::multiply_512; 1 2 3 4 5 6 7 8),
        store: avx2::store,
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "sparse_conv_s8_4_avxvnni",
        needs: Features::AVX2.union(Features::AVX_VNNI),
        group: GroupKind::Fours,
        unit: 8,
        most: MAX_UNITS,
        plane: 4,
        width: 1,
        offset: vnni::OFFSET,
        fill: vnni::fill,
        multiply: each!(vnni::multiply_256; 1 2 3 4 5 6 7 8),
        store: avx2::store,
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "sparse_conv_s8_2_avx512vnni",
        needs: Features::AVX512_VNNI,
        group: GroupKind::Pairs,
        unit: 16,
        most: MAX_UNITS,
        plane: 2,
        width: 2,
        offset: 0,
        fill: avx2::fill,
        multiply: each!(vnni::multiply_pairs; 1 2 3 4 5 6 7 8),
        store: avx2::store,
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "sparse_conv_s8_4_avx2",
        needs: Features::AVX2,
        group: GroupKind::Fours,
        unit: 8,
        most: MAX_UNITS,
        plane: 2,
        width: 2,
        offset: 0,
        fill: avx2::fill,
        multiply: each!(avx2::multiply<2>; 1 2 3 4 5 6 7 8),
        store: avx2::store,
    },
    #[cfg(target_arch = "x86_64")]
    Row {
        name: "sparse_conv_s8_2_avx2",
        needs: Features::AVX2,
        group: GroupKind::Pairs,
        unit: 8,
        most: MAX_UNITS,
        plane: 2,
        width: 2,
        offset: 0,
        fill: avx2::fill,
        multiply: each!(avx2::multiply<1>; 1 2 3 4 5 6 7 8),
        store: avx2::store,
    },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "sparse_conv_s8_4_dotprod",
        needs: Features::NEON.union(Features::DOTPROD),
        group: GroupKind::Fours,
        unit: 8,
        most: MAX_UNITS,
        plane: 4,
        width: 1,
        offset: 0,
        fill: dotprod::fill,
        multiply: each!(dotprod::multiply; 1 2 3 4 5 6 7 8),
        store: neon::store,
    },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "sparse_conv_s8_4_neon",
        needs: Features::NEON,
        group: GroupKind::Fours,
        unit: 8,
        most: 6,
        plane: 2,
        width: 1,
        offset: 0,
        fill: neon::fill,
        multiply: each!(neon::multiply_4; 1 2 3 4 5 6 6 6),
        store: neon::store,
    },
    #[cfg(target_arch = "aarch64")]
    Row {
        name: "sparse_conv_s8_2_neon",
        needs: Features::NEON,
        group: GroupKind::Pairs,
        unit: 8,
        most: 6,
        plane: 2,
        width: 1,
        offset: 0,
        fill: neon::fill,
        multiply: each!(neon::multiply_2; 1 2 3 4 5 6 6 6),
        store: neon::store,
    },
    Row {
        name: "sparse_conv_s8_4_generic",
        needs: Features::NONE,
        group: GroupKind::Fours,
        unit: 8,
        most: MAX_UNITS,
        plane: 4,
        width: 1,
        offset: 0,
        fill: generic::fill::<4>,
        multiply: [generic::multiply::<4>; MAX_UNITS],
        store: generic::store,
    },
    Row {
        name: "sparse_conv_s8_2_generic",
        needs: Features::NONE,
        group: GroupKind::Pairs,
        unit: 8,
        most: MAX_UNITS,
        plane: 2,
        width: 1,
        offset: 0,
        fill: generic::fill::<2>,
        multiply: [generic::multiply::<2>; MAX_UNITS],
        store: generic::store,
    },
];
