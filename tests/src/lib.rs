//! What the tests that span crates share.
//!
//! On every processor: [`bits`] and [`place`]. Where models can be converted (the host): [`conformance`], [`figures`], [`made`],
//! [`pruned`], [`source`], [`photos`] and [`fashion`].

pub mod bits;
pub mod place;

#[cfg(target_arch = "x86_64")]
pub mod conformance;
#[cfg(target_arch = "x86_64")]
pub mod fashion;
#[cfg(target_arch = "x86_64")]
pub mod figures;
#[cfg(target_arch = "x86_64")]
pub mod made;
#[cfg(target_arch = "x86_64")]
pub mod photos;
#[cfg(target_arch = "x86_64")]
pub mod pruned;
#[cfg(target_arch = "x86_64")]
pub mod source;
