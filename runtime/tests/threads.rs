//! Threads over time: idle ones cost nothing, and cores that are taken away stop no run.
#![cfg(target_os = "linux")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cygnet::{Model, Session, SessionOptions};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|&id| set.is_set(id)).collect()
}

/// Keeps all threads of this process on these cores; how many there were.
fn move_all(cores: &[usize]) -> usize {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let ids = tasks.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<i32>().unwrap());
    // A thread may end between being listed and moved.
    ids.filter(|&id| sched_setaffinity(rustix::thread::Pid::from_raw(id), &set).is_ok()).count()
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
    assert!(move_all(&cores[..1]) >= cores.len());
    for _ in 0..20 {
        assert_eq!(run(&mut session), expected);
    }
    // Cores that go and come back in the midst of runs.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let mut turns = 0;
            while !done.load(Ordering::Relaxed) {
                move_all(if turns % 2 == 0 { &cores } else { &cores[..1] });
                turns += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            turns
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(500) {
            assert_eq!(run(&mut session), expected);
        }
        done.store(true, Ordering::Relaxed);
        assert!(mover.join().unwrap() > 2);
    });
    move_all(&cores[..1]);
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
