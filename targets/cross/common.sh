# What the scripts of this folder share. To be sourced by bash.

TARGET=aarch64-unknown-linux-gnu
LOCAL_IMAGE=localhost/cygnet-cross-aarch64:bookworm
CROSS_VERSION=0.2.5

say() { echo "== $*"; }
die() { echo "error: $*" >&2; exit 1; }
