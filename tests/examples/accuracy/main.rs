//! How far quantized models are from their float ones: the figures of `docs/accuracy.md`.
//!
//! ```sh
//! cargo run --release -p cygnet-tests --example accuracy -- --precision int8 classifiers fashion segmentation landmarks text
//! ```
//!
//! Models and photos are those that `CYGNET_MODELS` names, Fashion-MNIST that of `CYGNET_DATA`. Photos are seen in ten
//! views each: center and corners, and their mirror images. Models are calibrated with the whole photos alone.

#[cfg(target_arch = "x86_64")]
mod classifiers;
#[cfg(target_arch = "x86_64")]
mod suites;

#[cfg(target_arch = "x86_64")]
fn main() {
    suites::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("models are converted on x86-64 hosts");
}
