//! Convolutions by weights in blocks, between guard pages, with helpers, and with whatever parameters.

mod common;

use common::rig::{Operand, Random, run};
use cygnet_format::op::{BlockConv, BlockKind, Epilogue, Op, Unary, Window};
use cygnet_format::program::DType;
use cygnet_kernels::blocks::pack::{BLOCK, PANEL, panels, weight_bytes};
use half::f16;
use proptest::prelude::*;

/// Constants of the lengths that `m` channels of `k` products have.
fn constants(kind: BlockKind, m: usize, k: usize, random: &mut Random) -> [Operand; 3] {
    let n = weight_bytes(kind, m, k);
    let scales = panels(m) * k.div_ceil(BLOCK) * PANEL;
    let halves: Vec<u8> =
        random.f32s(scales).iter().flat_map(|&v| f16::from_f32(v / 64.0).to_le_bytes()).collect();
    [
        Operand::new(DType::Packed, &[n], random.bytes(n)).constant(),
        Operand::new(DType::F16, &[scales], halves).constant(),
        Operand::f32s(&[panels(m) * PANEL], &random.f32s(panels(m) * PANEL)).constant(),
    ]
}

/// Every instruction set, with and without helpers, gives the same and touches nothing else: the rig checks.
#[test]
fn all_instruction_sets_agree_between_guard_pages() {
    let mut random = Random(7);
    let point = Window { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], pad: [0; 4] };
    let three = Window { kernel: [3; 2], stride: [2, 1], pad: [1; 4], ..point };
    for kind in BlockKind::ALL.iter().copied() {
        for (window, [n, h, w, c], m) in [
            (point, [1, 1, 1, 96], 200),
            (point, [1, 37, 1, 65], 150),
            (three, [2, 7, 5, 19], 40),
            (three, [1, 4, 4, 1], 3),
        ] {
            let k = (window.kernel[0] * window.kernel[1]) as usize * c;
            let out = if window == point { [n, h, w, m] } else { [n, h.div_ceil(2), w, m] };
            let x = Operand::f32s(&[n, h, w, c], &random.f32s(n * h * w * c)).gap(2);
            let [weights, scales, bias] = constants(kind, m, k, &mut random);
            let op = Op::BlockConv(BlockConv { window, kind, epilogue: Epilogue::NONE });
            let got = run(op, &[x, weights, scales, bias], &Operand::output(DType::F32, &out).gap(1));
            assert!(got.is_ok(), "{got:?}");
        }
    }
}

fn extent() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0_u32..4, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

/// Random cases: fewer where an emulator runs them.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 25 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Refused, or done within the output.
    #[test]
    fn refuses_or_runs_whatever_comes(
        kernel in prop::array::uniform2(extent()),
        stride in prop::array::uniform2(extent()),
        dilation in prop::array::uniform2(extent()),
        pad in prop::array::uniform4(extent()),
        kind in prop::sample::select(BlockKind::ALL),
        out in prop::array::uniform2(1_usize..6),
        right in any::<bool>(),
        lengths in prop::array::uniform3(1_usize..600),
        (lo, hi) in any::<(f32, f32)>(),
    ) {
        let window = Window { kernel, stride, dilation, pad };
        let epilogue = Epilogue { lo, hi, unary: Unary::IDENTITY };
        let mut random = Random(9);
        let mut inputs = vec![Operand::f32s(&[1, 4, 3, 5], &random.f32s(60))];
        let k = (u64::from(kernel[0]) * u64::from(kernel[1])).saturating_mul(5);
        if right && k > 0 && k < 1000 {
            inputs.extend(constants(kind, 7, k as usize, &mut random));
        } else {
            inputs.push(Operand::new(DType::Packed, &[lengths[0]], vec![0; lengths[0]]).constant());
            inputs.push(Operand::new(DType::F16, &[lengths[1]], vec![0; 2 * lengths[1]]).constant());
            inputs.push(Operand::f32s(&[lengths[2]], &vec![0.0; lengths[2]]).constant());
        }
        let op = Op::BlockConv(BlockConv { window, kind, epilogue });
        let _ = run(op, &inputs, &Operand::output(DType::F32, &[1, out[0], out[1], 7]));
    }
}
