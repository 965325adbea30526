//! Convolution and the product of rows with a constant matrix, as an indirect matrix product.
//!
//! One output pixel is a row; the [`micro`] kernels compute a few rows times a few panels of [`micro::NR`] output
//! channels, reading each tap's run of input channels through a pointer, so that no im2col copy is made.

pub mod micro;
