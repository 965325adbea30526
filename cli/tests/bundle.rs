//! Models inside programs: objects linked and run from C and from Rust, and executables that carry their model.
#![cfg(all(feature = "host", target_os = "linux"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cygnet::format::Array;
use cygnet::{DType, npz};

struct Place(tempfile::TempDir);

impl Place {
    /// A folder with a model, and what it answers to zeros.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/fashion_mnist_cnn.onnx");
        place.cygnet(&["convert", source, "--precision", "f32", "-o", "net.cygnet", "--goldens", "1"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cygnet(&self, args: &[&str]) -> String {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("cygnet"));
        done(command.current_dir(self.0.path()).args(args))
    }

    /// The output for an input of zeros, in hexadecimal.
    fn expected(&self) -> String {
        let model = cygnet::Model::open(self.path("net.cygnet")).unwrap();
        let input = &model.programs()[0].inputs[0];
        let tensor = &model.programs()[0].tensors[input.tensor as usize];
        let bytes = vec![0; tensor.elements() as usize * tensor.dtype.size()];
        let zeros = Array { name: input.name.clone(), dtype: DType::F32, dims: tensor.dims.clone(), bytes };
        std::fs::write(self.path("x.npz"), npz::npz_bytes(&[zeros]).unwrap()).unwrap();
        self.cygnet(&["run", "net.cygnet", "-i", "x.npz", "-o", "y.npz", "--threads", "1"]);
        let mut text = String::new();
        for array in npz::read(&self.path("y.npz")).unwrap() {
            text += &array.name;
            for four in array.bytes.chunks(4) {
                text += &format!(" {}", four.iter().map(|b| format!("{b:02x}")).collect::<String>());
            }
            text.push('\n');
        }
        text
    }
}

fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no {program} here");
    }
    found
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The static library, which cargo built beside this test.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap();
    let folder = folder.parent().unwrap();
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("libcygnet_capi") && name.ends_with(".a")
        })
        .collect();
    found.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
    found.pop().expect("cargo builds the library for this test")
}

const SYSTEM_LIBRARIES: [&str; 5] = ["-lgcc_s", "-lpthread", "-ldl", "-lm", "-lc"];

#[test]
fn a_c_program_runs_the_model_linked_into_it() {
    if !have("cc") {
        return;
    }
    let place = Place::new();
    let arch = std::env::consts::ARCH;
    place.cygnet(&["bundle", "net.cygnet", "--object", arch, "-o", "net.o"]);
    done(
        Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-std=c99", "-o"])
            .arg(place.path("app"))
            .arg("-I")
            .arg(repository("capi/include"))
            .arg("-I")
            .arg(place.path(""))
            .arg(repository("capi/examples/classify.c"))
            .arg(place.path("net.o"))
            .arg(library())
            .args(SYSTEM_LIBRARIES),
    );
    assert_eq!(done(&mut Command::new(place.path("app"))), place.expected());
    // The header is C++ too.
    std::fs::write(place.path("a.cc"), "#include \"net.h\"\nint main() { return net_size == 0; }\n").unwrap();
    if have("c++") {
        let mut compiler = Command::new("c++");
        compiler.current_dir(place.path("")).args(["-Wall", "-Werror", "-o", "b", "a.cc", "net.o"]);
        done(&mut compiler);
        done(&mut Command::new(place.path("b")));
    }
}

#[test]
fn a_rust_program_runs_the_model_linked_into_it() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    if !have(&rustc) {
        return;
    }
    let place = Place::new();
    place.cygnet(&["bundle", "net.cygnet", "--object", std::env::consts::ARCH, "-o", "net.o"]);
    let program = r#"
        use std::ffi::c_void;
        unsafe extern "C" {
            static net: u8;
            static net_size: usize;
            fn cygnet_model_from_static(bytes: *const c_void, length: usize) -> *mut c_void;
            fn cygnet_session_new(model: *const c_void, program: usize, threads: usize) -> *mut c_void;
            fn cygnet_session_memory(session: *const c_void) -> usize;
        }
        fn main() {
            unsafe {
                let model = cygnet_model_from_static((&raw const net).cast(), net_size);
                assert!(!model.is_null());
                let session = cygnet_session_new(model, 0, 1);
                assert!(!session.is_null());
                println!("{} {}", (&raw const net) as usize % 16384, cygnet_session_memory(session));
            }
        }
    "#;
    std::fs::write(place.path("main.rs"), program).unwrap();
    // Into the program's own shared library of the runtime: two static standard libraries in one program would clash.
    let shared = library().with_extension("so");
    let mut compiler = Command::new(rustc);
    compiler.current_dir(place.path("")).args([
        "--edition",
        "2024",
        "-C",
        "link-arg=net.o",
        "-o",
        "app",
        "main.rs",
    ]);
    compiler.arg("-C").arg(format!("link-arg={}", shared.display()));
    done(&mut compiler);
    let mut app = Command::new(place.path("app"));
    let out = done(app.env("LD_LIBRARY_PATH", shared.parent().unwrap()));
    let memory: usize =
        out.trim().strip_prefix("0 ").unwrap_or_else(|| panic!("not aligned: {out}")).parse().unwrap();
    assert!(memory > 0);
}

/// Other architectures: linked by their compilers, run by QEMU.
#[test]
fn objects_link_for_every_architecture() {
    let place = Place::new();
    let model = std::fs::read(place.path("net.cygnet")).unwrap();
    let sum: u64 = model.iter().map(|&b| u64::from(b)).sum();
    let source = "#include <stdio.h>\n#include \"net.h\"\nint main(void) {\n\
        unsigned long long sum = 0;\n\
        for (const unsigned char *p = net; p != net_end; p++) sum += *p;\n\
        printf(\"%lu %llu %lu\\n\", (unsigned long)net_size, sum, (unsigned long)((size_t)net % 16384));\n\
        return 0; }\n";
    std::fs::write(place.path("main.c"), source).unwrap();
    let targets = [
        ("aarch64", "aarch64-linux-gnu-gcc", "qemu-aarch64-static"),
        ("armv7", "arm-linux-gnueabihf-gcc", "qemu-arm-static"),
        ("riscv64", "riscv64-linux-gnu-gcc", "qemu-riscv64-static"),
        ("x86_64", "x86_64-linux-gnu-gcc", "qemu-x86_64-static"),
    ];
    for (arch, compiler, qemu) in targets {
        place.cygnet(&["bundle", "net.cygnet", "--object", arch, "-o", "net.o"]);
        if !have(compiler) || !have(qemu) {
            continue;
        }
        let mut cc = Command::new(compiler);
        // Linkers warn where an object says nothing of its stack, or has another calling convention.
        cc.current_dir(place.path("")).args([
            "-static",
            "-Wl,--fatal-warnings",
            "-o",
            "app",
            "main.c",
            "net.o",
        ]);
        done(&mut cc);
        let out = done(Command::new(qemu).arg(place.path("app")));
        assert_eq!(out, format!("{} {sum} 0\n", model.len()), "{arch}");
    }
}

#[test]
fn an_executable_carries_its_model() {
    let place = Place::new();
    let cygnet = assert_cmd::cargo::cargo_bin("cygnet");
    place.cygnet(&["bundle", "net.cygnet", "--executable", cygnet.to_str().unwrap(), "-o", "app"]);
    let app = |args: &[&str]| {
        // From an empty folder, so that nothing else can have been found.
        let empty = tempfile::tempdir().unwrap();
        done(Command::new(place.path("app")).current_dir(empty.path()).args(args))
    };
    assert!(app(&["verify"]).contains("goldens: 1 cases as promised"));
    let json: serde_json::Value = serde_json::from_str(&app(&["bench", "--runs", "3", "--json"])).unwrap();
    let length = std::fs::metadata(place.path("net.cygnet")).unwrap().len();
    assert_eq!(json["file_bytes"].as_u64(), Some(length));
    assert!(app(&["inspect"]).contains("PROG"));
    let expected = place.expected();
    let x = place.path("x.npz");
    let y = place.path("z.npz");
    app(&["run", "--input", x.to_str().unwrap(), "--output", y.to_str().unwrap()]);
    let ours = npz::read(&y).unwrap();
    assert!(expected.starts_with(&ours[0].name));
    assert_eq!(ours[0].bytes, npz::read(&place.path("y.npz")).unwrap()[0].bytes);
    // The other commands are what they were.
    assert!(app(&["--version"]).starts_with("cygnet "));
}

#[test]
fn wrong_usage_is_told() {
    let place = Place::new();
    let fails = |args: &[&str], code: i32, with: &str| {
        let output = Command::new(assert_cmd::cargo::cargo_bin("cygnet"))
            .current_dir(place.0.path())
            .args(args)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(err.contains(with), "{err}");
    };
    fails(&["bundle", "net.cygnet", "-o", "a"], 2, "--executable");
    fails(&["bundle", "net.cygnet", "-o", "a.h", "--object", "aarch64"], 2, "another ending");
    fails(&["bundle", "net.cygnet", "-o", "a.o", "--object", "aarch64", "--symbol", "a-b"], 2, "name of C");
    fails(&["bundle", "net.cygnet", "-o", "a", "--executable", "net.cygnet"], 1, "no program");
    fails(&["bundle", "net.cygnet", "-o", "a", "--executable", "absent"], 1, "build-device.sh");
}
