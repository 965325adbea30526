//! What the tests of several families share.

pub mod guard;
pub mod hostile;
pub mod rig;
