//! Random convolutions, and random parameters that make none.

use crate::common::guard::Case;
use cygnet_format::op::{self, Conv, ConvTranspose, Epilogue, Op, Unary, Window};
use cygnet_format::program::{DType, Quant};
use cygnet_kernels::Cpu;
use proptest::prelude::*;

use crate::spec::*;

/// Small extents, and now and then a hostile one.
fn extent() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..5, 1 => Just(u32::MAX), 1 => any::<u32>(), 1 => Just(1 << 31)]
}

fn window() -> impl Strategy<Value = Window> {
    let pair = || prop::array::uniform2(extent());
    (pair(), pair(), pair(), prop::array::uniform4(extent()))
        .prop_map(|(kernel, stride, dilation, pad)| Window { kernel, stride, dilation, pad })
}

/// Random cases: fewer where an emulator runs them.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 25 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the parameters say, preparing neither panics nor takes for ever.
    #[test]
    fn hostile_parameters_never_panic(
        window in window(),
        groups in extent(),
        lo in any::<f32>(),
        hi in any::<f32>(),
        transposed in any::<bool>(),
        dtype in prop::sample::select(vec![DType::S8, DType::F32, DType::F16]),
        out in prop::array::uniform3(1_usize..6),
        lengths in prop::array::uniform3(1_usize..600),
        algorithm in prop::sample::select(op::Algorithm::ALL),
    ) {
        let epilogue = Epilogue { lo, hi, unary: Unary::IDENTITY };
        let op = if transposed {
            Op::ConvTranspose(ConvTranspose { window, groups, epilogue })
        } else {
            Op::Conv(Conv { window, groups, epilogue, algorithm, addend_scale: 0.0 })
        };
        let quant = Some(Quant { scale: 1.0, zero_point: 0 });
        let bias = if dtype == DType::S8 { DType::S32 } else { DType::F32 };
        let case = Case::new(op, dtype, &[1, out[0], out[1], out[2]], out[2], quant)
            .input(dtype, &[1, 4, 3, 4], 4, quant, vec![0; 48 * dtype.size()])
            .constant(DType::Packed, &[lengths[0]], vec![0; lengths[0]])
            .constant(bias, &[lengths[1]], vec![0; lengths[1] * 4])
            .constant(DType::F32, &[lengths[2]], vec![0; lengths[2] * 4])
            .constant(dtype, &[4], vec![0; 4 * dtype.size()]);
        let _ = case.prepared(Cpu::detect());
    }

    /// Random convolutions by Winograd's algorithm against the definition.
    #[test]
    fn random_winograd(
        pad in prop::array::uniform4(0_u32..4),
        size in prop::array::uniform2(1_usize..14),
        (images, depth, channels) in (1_usize..3, 1_usize..80, 1_usize..40),
        pitches in prop::array::uniform2(0_usize..20),
        table in any::<bool>(),
        seed in any::<u64>(),
    ) {
        prop_assume!((0..2).all(|i| size[i] + (pad[i] + pad[i + 2]) as usize >= 3));
        let mut spec = Spec::conv([images, size[0], size[1], depth], channels, three(pad), 1);
        spec = spec.pitched(pitches[0], pitches[1]);
        spec.table = table;
        spec.check_winograd(seed);
    }

    /// Random f32 convolutions by Winograd's algorithm against its definition.
    #[test]
    fn random_winograd4(
        pad in prop::array::uniform4(0_u32..4),
        size in prop::array::uniform2(1_usize..18),
        (images, depth, channels) in (1_usize..3, 1_usize..150, 1_usize..40),
        pitches in prop::array::uniform2(0_usize..20),
        clamp in any::<bool>(),
        seed in any::<u64>(),
    ) {
        prop_assume!((0..2).all(|i| size[i] + (pad[i] + pad[i + 2]) as usize >= 3));
        let mut spec = Spec::conv([images, size[0], size[1], depth], channels, three(pad), 1);
        spec = spec.pitched(pitches[0], pitches[1]);
        spec.clamp = clamp;
        spec.check_winograd4(seed);
    }

    /// Random convolutions of both directions against the definition.
    #[test]
    fn random_windows(
        kernel in prop::array::uniform2(1_u32..5),
        stride in prop::array::uniform2(1_u32..4),
        dilation in prop::array::uniform2(1_u32..4),
        pad in prop::array::uniform4(0_u32..4),
        size in prop::array::uniform3(1_usize..12),
        (groups, depth, per_group) in (1_usize..4, 1_usize..10, 1_usize..12),
        pitches in prop::array::uniform2(0_usize..6),
        transposed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let window = Window { kernel, stride, dilation, pad };
        let x = [1 + size[2] % 2, size[0], size[1], groups * depth];
        let reach = |i: usize| ((kernel[i] - 1) * dilation[i] + 1) as usize;
        let pads = |i: usize| (pad[i] + pad[i + 2]) as usize;
        let spec = if transposed {
            prop_assume!((0..2).all(|i| (x[i + 1] - 1) * stride[i] as usize + reach(i) > pads(i)));
            Spec::transposed(x, groups * per_group, window, groups, size[2] % 3)
        } else {
            prop_assume!((0..2).all(|i| x[i + 1] + pads(i) >= reach(i)));
            Spec::conv(x, groups * per_group, window, groups)
        }.pitched(pitches[0], pitches[1]);
        spec.check_s8(seed);
        spec.check_f32(seed);
    }
}
