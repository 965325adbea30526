//! Running allocates nothing, on any thread.
#![allow(unsafe_code)] // An allocator that counts.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use cygnet::{Model, Profile, Session, SessionOptions, TensorRef};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// The only test of this binary: no other thread allocates meanwhile.
#[test]
fn running_allocates_nothing() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let x = common::sample();
    for threads in [1, 3] {
        let options = SessionOptions { threads: Some(threads), ..SessionOptions::default() };
        let mut session = Session::new(&model, &options).unwrap();
        let mut profile = Profile::new(&session);
        let dims = [1, 64, 64, 16];
        let mut run = |session: &mut Session| {
            session.set_input("x", TensorRef::new(&x, &dims)).unwrap();
            session.check_finite().unwrap();
            session.run().unwrap();
            session.set_input("x", TensorRef::new(&x, &dims)).unwrap();
            session.run_profiled(&mut profile).unwrap();
            session.output("out").unwrap().values::<f32>().unwrap()[0]
        };
        // Threads have started and found their work once.
        for _ in 0..50 {
            run(&mut session);
        }
        let before = CALLS.load(Ordering::SeqCst);
        for _ in 0..100 {
            run(&mut session);
        }
        assert_eq!(CALLS.load(Ordering::SeqCst) - before, 0, "with {threads} threads");
    }
}
