//! Threads over time: idle ones cost nothing, and cores that are taken away stop no run.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use cygnet::{Model, Session, SessionOptions};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|&id| set.is_set(id)).collect()
}

/// Processor time of all threads of this process.
fn used() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

fn run(session: &mut Session) -> Vec<u8> {
    session.input_mut::<f32>("x").unwrap().copy_from_slice(&common::sample());
    session.run().unwrap();
    session.output("out").unwrap().bytes.to_vec()
}

// One test, so that no other uses time or has threads meanwhile.
#[test]
fn threads_wait_without_work_and_outlive_their_cores() {
    let model = Model::from_bytes(&common::file(&[])).unwrap();
    let cores = allowed();
    let mut alone =
        Session::new(&model, &SessionOptions { threads: Some(1), ..SessionOptions::default() }).unwrap();
    let expected = run(&mut alone);

    // Four threads that have worked and wait: they sleep, after a spin that is bounded.
    let mut session =
        Session::new(&model, &SessionOptions { threads: Some(4), ..SessionOptions::default() }).unwrap();
    assert_eq!(run(&mut session), expected);
    std::thread::sleep(Duration::from_millis(200));
    let before = used();
    std::thread::sleep(Duration::from_secs(2));
    let idle = used() - before;
    assert!(idle < Duration::from_millis(10), "{idle:?} of processor time in two idle seconds");
    drop(session);

    // One thread bound to each core, then all of them moved to the first one, as the kernel does with the threads of a core
    // that goes offline or out of a cpuset.
    let options = SessionOptions { cores: Some(cores.clone()), ..SessionOptions::default() };
    let mut session = Session::new(&model, &options).unwrap();
    assert_eq!(run(&mut session), expected);
    let mut first = CpuSet::new();
    first.set(cores[0]);
    let mut moved = 0;
    for entry in std::fs::read_dir("/proc/self/task").unwrap() {
        let id: i32 = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // A thread may end between being listed and moved.
        moved += usize::from(sched_setaffinity(rustix::thread::Pid::from_raw(id), &first).is_ok());
    }
    assert!(moved >= cores.len());
    for _ in 0..20 {
        assert_eq!(run(&mut session), expected);
    }
    drop(session);

    // A session that is made now has one thread, and cores that are gone are refused by their number.
    let session = Session::new(&model, &SessionOptions::default()).unwrap();
    assert_eq!(session.threads(), 1);
    if let Some(&gone) = cores.get(1) {
        let options = SessionOptions { cores: Some(vec![gone]), ..SessionOptions::default() };
        let error = Session::new(&model, &options).err().unwrap().to_string();
        assert!(error.contains(&gone.to_string()), "{error}");
    }
}
