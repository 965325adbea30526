//! Arrays as users hand them in and get them out.

use cygnet_format::program::{DType, Quant, Tensor};
use half::f16;

use crate::error::Error;

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that elements of a tensor can be seen as.
pub trait Element: bytemuck::Pod + sealed::Sealed {
    /// The element type in a program.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident,)+) => {
        $(
            impl sealed::Sealed for $ty {}
            impl Element for $ty {
                const DTYPE: DType = DType::$dtype;
            }
        )+
    };
}

elements! {
    f32 => F32,
    f16 => F16,
    i8 => S8,
    u8 => U8,
    i16 => S16,
    i32 => S32,
    i64 => S64,
}

/// A borrowed array: element type, dimensions, bytes in the machine's (little-endian) order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorRef<'a> {
    /// Element type.
    pub dtype: DType,
    /// Dimensions; empty for a scalar.
    pub dims: &'a [u32],
    /// Elements between the starts of consecutive rows of the last dimension; that dimension when dense.
    pub pitch: usize,
    /// Scale and zero point, when quantized.
    pub quant: Option<Quant>,
    /// From the first element to the end of the last one.
    pub bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// A dense array of `values`.
    ///
    /// Whether their number is the product of `dims` is checked where the array is used.
    pub fn new<T: Element>(values: &'a [T], dims: &'a [u32]) -> Self {
        Self::from_bytes(T::DTYPE, bytemuck::cast_slice(values), dims)
    }

    /// A dense array of elements of type `dtype`, given as bytes of any alignment.
    pub fn from_bytes(dtype: DType, bytes: &'a [u8], dims: &'a [u32]) -> Self {
        let pitch = dims.last().map_or(1, |&d| d as usize);
        Self { dtype, dims, pitch, quant: None, bytes }
    }

    /// A tensor of a program inside the memory that it was checked against.
    pub(crate) fn of(t: &'a Tensor, memory: &'a [u8]) -> Self {
        let start = t.offset as usize;
        Self {
            dtype: t.dtype,
            dims: &t.dims,
            pitch: t.pitch as usize,
            quant: t.quant,
            bytes: &memory[start..start + t.extent() as usize],
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().map(|&d| d as usize).product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// Whether the elements follow one another without gaps, in the number that the dimensions say.
    pub fn is_dense(&self) -> bool {
        self.len().checked_mul(self.dtype.size()) == Some(self.bytes.len())
    }

    /// The elements of a dense array.
    ///
    /// # Errors
    /// When they are of another type, not dense, or (for bytes given by a user) not aligned.
    pub fn values<T: Element>(&self) -> Result<&'a [T], Error> {
        if self.dtype != T::DTYPE {
            return Err(Error::Type { name: "array".to_owned(), want: self.dtype, got: T::DTYPE });
        }
        let misfit = || Error::Size {
            name: "array".to_owned(),
            dims: self.dims.to_vec(),
            dtype: self.dtype,
            got: self.bytes.len(),
        };
        if !self.is_dense() {
            return Err(misfit());
        }
        bytemuck::try_cast_slice(self.bytes).map_err(|_| misfit())
    }

    /// The rows of the last dimension, as bytes; of a pitched array too.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = self.dtype.size();
        let cols = self.dims.last().map_or(1, |&d| d as usize) * size;
        self.bytes.chunks((self.pitch * size).max(1)).filter_map(move |row| row.get(..cols))
    }

    /// The elements as real numbers: integers converted, quantized ones dequantized by
    /// `scale * (q - zero_point)` in f32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.len());
        for row in self.rows() {
            self.extend_f32(row, &mut out);
        }
        out
    }

    fn extend_f32(&self, row: &[u8], out: &mut Vec<f32>) {
        fn each<const N: usize>(row: &[u8], out: &mut Vec<f32>, f: impl Fn([u8; N]) -> f32) {
            out.extend(row.as_chunks::<N>().0.iter().map(|&bytes| f(bytes)));
        }
        let quant = self.quant;
        let real = move |q: i32| match quant {
            Some(Quant { scale, zero_point }) => scale * (q - zero_point) as f32,
            None => q as f32,
        };
        match self.dtype {
            DType::F32 => each(row, out, f32::from_le_bytes),
            DType::F16 => each(row, out, |b| f16::from_le_bytes(b).to_f32()),
            DType::S8 => each(row, out, |b| real(i8::from_le_bytes(b).into())),
            DType::U8 | DType::Packed => each(row, out, |b: [u8; 1]| real(b[0].into())),
            DType::S16 => each(row, out, |b| real(i16::from_le_bytes(b).into())),
            DType::S32 => each(row, out, |b| match quant {
                Some(Quant { scale, zero_point }) => {
                    (f64::from(scale) * (f64::from(i32::from_le_bytes(b)) - f64::from(zero_point))) as f32
                }
                None => i32::from_le_bytes(b) as f32,
            }),
            DType::S64 => each(row, out, |b| i64::from_le_bytes(b) as f32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitched_rows_and_real_values() {
        let dims = [2, 3];
        let bytes = [1, 2, 3, 99, 99, 0xFF, 0xFE, 0x80];
        let t = TensorRef {
            dtype: DType::S8,
            dims: &dims,
            pitch: 5,
            quant: Some(Quant { scale: 0.5, zero_point: 1 }),
            bytes: &bytes,
        };
        assert_eq!(t.rows().collect::<Vec<_>>(), [&[1_u8, 2, 3][..], &[0xFF, 0xFE, 0x80]]);
        assert_eq!(t.to_f32(), [0.0, 0.5, 1.0, -1.0, -1.5, -64.5]);
        assert!(!t.is_dense());
        assert!(t.values::<i8>().is_err());
    }

    #[test]
    fn values_are_typed() {
        let t = TensorRef::new(&[1.0_f32, 2.0], &[2]);
        assert_eq!(t.values::<f32>().unwrap(), [1.0, 2.0]);
        assert!(matches!(t.values::<i32>(), Err(Error::Type { want: DType::F32, got: DType::S32, .. })));
        assert!(TensorRef::new(&[1.0_f32, 2.0], &[3]).values::<f32>().is_err());
    }
}
