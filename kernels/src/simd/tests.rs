//! Every operation of every instruction set against the scalar one, special values included.

use super::*;

/// Applies each operation to vectors of interesting values and hands out the results' bits.
#[inline(always)]
unsafe fn everything<V: V8>(x: *const f32, out: *mut i32) {
    const HALF: [u16; 16] = twice([0, 0x8000, 0x3c00, 0x0001, 0x7c00, 0xfbff, 0x03ff, 0x5640]);
    const BYTES: [i8; 16] = twice([-128, 127, 0, -1, 1, 100, -100, 5]);
    // Sixteen lanes are those of two pairs.
    let pairs = V::LANES / LANES;
    let mut n = 0;
    let mut put = |v: V::I| {
        let mut lanes = [0; MAX_LANES];
        // SAFETY: the array takes every lane; `OPS` results for each pair have room.
        unsafe {
            V::store_i32(v, lanes.as_mut_ptr());
            for pair in 0..pairs {
                let to = out.add((n % OPS + (n / OPS * pairs + pair) * OPS) * LANES);
                std::ptr::copy_nonoverlapping(lanes[pair * LANES..].as_ptr(), to, LANES);
            }
        }
        n += 1;
    };
    for i in (0..PAIRS).step_by(pairs) {
        // SAFETY: there are PAIRS + 3 vectors of eight.
        let (a, b, c) =
            unsafe { (V::load(x.add(8 * i)), V::load(x.add(8 * i + 8)), V::load(x.add(8 * i + 16))) };
        let floats = [
            a.add(b),
            a.sub(b),
            a.mul(b),
            a.div(b),
            a.fma(b, c),
            a.fnma(b, c),
            a.min(b),
            a.max(b),
            a.sqrt(),
            a.floor(),
            a.ceil(),
            a.round(),
            a.abs(),
            a.neg(),
            a.with_sign_of(b),
            a.clamp(b, c),
            V::select(a.lt(b), a, b),
        ];
        floats.into_iter().for_each(|v| put(V::select(v.eq(v), v, V::splat(1.5)).to_bits()));
        let bounded = a.clamp(V::splat(-2e9), V::splat(2e9));
        let bounded = V::select(a.eq(a), bounded, V::splat(0.0));
        let (ia, ib) = (a.to_bits(), b.to_bits());
        let ints = [
            a.lt(b),
            a.le(b),
            a.eq(b),
            a.gt(b),
            a.ge(b),
            bounded.to_i32(),
            V::from_i32(ia).to_bits(),
            V::iadd(ia, ib),
            V::isub(ia, ib),
            V::iand(ia, ib),
            V::ior(ia, ib),
            V::ixor(ia, ib),
            V::shl::<5>(ia),
            V::sar::<9>(ia),
            V::ieq(ia, ib),
        ];
        ints.into_iter().for_each(&mut put);
        let mut half = [0_u16; MAX_LANES];
        let mut low = [0_u8; MAX_LANES];
        // SAFETY: all arrays have as many elements as lanes, or more.
        unsafe {
            V::select(a.eq(a), a, b.abs()).store_f16(half.as_mut_ptr());
            put(V::load_i32(half.map(|h| if h & 0x7fff > 0x7c00 { 0 } else { i32::from(h) }).as_ptr()));
            put(V::load_f16(HALF.as_ptr()).to_bits());
            put(V::load_s8(BYTES.as_ptr()));
            put(V::load_u8(BYTES.as_ptr().cast()));
            V::store_low8(ia, low.as_mut_ptr());
            put(V::load_u8(low.as_ptr()));
        }
    }
}

const fn twice<T: Copy>(v: [T; 8]) -> [T; 16] {
    let mut both = [v[0]; 16];
    let mut i = 0;
    while i < 16 {
        both[i] = v[i % 8];
        i += 1;
    }
    both
}

const PAIRS: usize = 400;
const OPS: usize = 17 + 15 + 5;

per_isa! {
    wide fn pick[](x: *const f32, out: *mut i32) = everything
}

/// Whether `any` sees a single lane of a mask, whichever it is, and none where there is none.
#[inline(always)]
unsafe fn any_sees_each_lane<V: V8>() -> bool {
    let below = |x: [f32; MAX_LANES]| V::any(V::from_lanes(x).lt(V::splat(0.0)));
    let each = (0..V::LANES).all(|lane| below(std::array::from_fn(|i| if i == lane { -1.0 } else { 0.0 })));
    each && !below([0.0; MAX_LANES])
}

per_isa! {
    wide fn pick_any[]() -> bool = any_sees_each_lane
}

#[test]
fn any_looks_at_every_lane() {
    for (name, cpu) in Cpu::runnable() {
        // SAFETY: the processor has this instruction set.
        assert!(unsafe { pick_any(Isa::wide(cpu))() }, "{name}");
    }
}

#[test]
fn every_instruction_set_gives_the_scalar_bits() {
    let mut random = crate::testing::Random::new(1);
    let odd = [
        0.0,
        -0.0,
        0.5,
        1.5,
        -2.5,
        1e-40,
        -1e-45,
        65504.0,
        65520.0,
        1e9,
        -3e9,
        8388609.0,
        5.9e-8,
        2.98e-8,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
    ];
    let x: Vec<f32> = (0..8 * (PAIRS + 3))
        .map(|i| match i % 3 {
            0 => odd[random.bits() as usize % odd.len()],
            1 => random.unit() * 300.0,
            _ => f32::from_bits(random.bits() as u32),
        })
        .collect();
    let mut results = Cpu::runnable().into_iter().map(|(name, cpu)| {
        let mut out = vec![0; PAIRS * OPS * LANES];
        // SAFETY: the processor has this instruction set; the arrays have the lengths that the function uses.
        unsafe { pick(Isa::wide(cpu))(x.as_ptr(), out.as_mut_ptr()) };
        (name, out)
    });
    let (_, want) = results.next().expect("the scalar one");
    for (name, got) in results {
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            assert_eq!(g, w, "{name}: operation {} of pair {}", i / LANES % OPS, i / LANES / OPS);
        }
    }
}

#[test]
fn lanes_join_as_a_tree() {
    let lanes = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| i.to_string());
    let refs = std::array::from_fn(|i| Box::leak(lanes[i].clone().into_boxed_str()) as &str);
    let joined = reduce_lanes(refs, |a, b| Box::leak(format!("({a}{b})").into_boxed_str()));
    assert_eq!(joined, "(((04)(26))((15)(37)))");
}
