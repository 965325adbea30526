//! `deploy` over a real ssh server of this machine's, on the loopback interface.
#![cfg(all(feature = "host", target_os = "linux"))]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVER: &str = "/usr/sbin/sshd";

/// The server of `scp`, where systems have it.
const SFTP: [&str; 2] = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"];

/// A server that knows one key, and is stopped when it is dropped.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// `force` is a script that is run in place of whatever the client asks for, and finds that in `SSH_ORIGINAL_COMMAND`.
    fn start(force: Option<&str>) -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("-V").stderr(Stdio::null()).status().is_ok();
        if !Path::new(SERVER).exists() || !has("ssh") || !has("scp") {
            eprintln!("SKIPPED: there is no ssh server or client here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key)));
        }
        std::fs::rename(path("user.pub"), path("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (subsystem, forced) = match force {
            None => ("internal-sftp".to_owned(), String::new()),
            Some(script) => {
                std::fs::write(path("force"), script).unwrap();
                run(Command::new("chmod").arg("755").arg(path("force")));
                let server = SFTP.iter().find(|server| Path::new(server).exists())?;
                ((*server).to_owned(), format!("ForceCommand {}\n", path("force").display()))
            }
        };
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp {subsystem}\n{forced}",
            path("host").display(),
            path("authorized").display(),
        );
        std::fs::write(path("config"), config).unwrap();
        // Where the server drops its privileges to; only the superuser needs it, and may make it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut command = Command::new(SERVER);
        command.args(["-D", "-e", "-f"]).arg(path("config")).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let server = Self { child, folder, port };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begin.elapsed() > Duration::from_secs(10) {
                eprintln!("SKIPPED: the ssh server does not start here");
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn deploy(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("cygnet"));
        command.current_dir(self.folder.path()).args(["deploy", "127.0.0.1"]).args(args);
        for option in [
            format!("Port={}", self.port),
            format!("IdentityFile={}", self.folder.path().join("user").display()),
            format!("UserKnownHostsFile={}", self.folder.path().join("known").display()),
            "StrictHostKeyChecking=no".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
        ] {
            command.arg("--option").arg(option);
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

#[test]
fn a_model_arrives_and_proves_itself_there() {
    let Some(server) = Server::start(None) else { return };
    let here = server.folder.path();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/fashion_mnist_cnn.onnx");
    let cygnet = assert_cmd::cargo::cargo_bin("cygnet");
    let model = here.join("it's a net.cygnet");
    run(Command::new(&cygnet)
        .args(["convert", source, "--precision", "f32", "--goldens", "1", "-o"])
        .arg(&model));
    let folder = here.join("on the device");
    let (model, folder_name) = (model.to_str().unwrap(), folder.to_str().unwrap());
    let binary = cygnet.to_str().unwrap();
    let base = [model, "--folder", folder_name, "--binary", binary];
    let (code, out, err) = server.deploy(&[&base[..], &["--json", "-o", "result.json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["schema"], &json["verify"]["ok"]), (&"cygnet-deploy-1".into(), &true.into()));
    assert!(json["bench"]["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!(json["doctor"]["schema"], "cygnet-doctor-1");
    let saved = std::fs::read_to_string(here.join("result.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&saved).unwrap(), json);
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["cygnet", "it's a net.cygnet"], "nothing temporary is left");
    assert_eq!(std::fs::read(folder.join("it's a net.cygnet")).unwrap(), std::fs::read(model).unwrap());

    let (code, out, err) = server.deploy(&[&base[..], &["--no-bench"]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("as promised, 1 golden cases") && !out.contains("p50"), "{out}");
    // A program that cannot run there.
    let (code, _, err) = server.deploy(&[model, "--folder", folder_name, "--binary", model]);
    assert_eq!(code, Some(1));
    assert!(err.contains("on 127.0.0.1"), "{err}");
}

/// A device of another architecture: the shell says that it is a 64-bit Arm machine, and the program, which has to be the
/// one for such, runs under QEMU there. It is that of `targets/build-device.sh`, where that has been run.
#[test]
fn the_program_for_the_device_is_found_and_runs_there() {
    const TRIPLE: &str = "aarch64-unknown-linux-musl";
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/device/{TRIPLE}/device/cygnet"));
    if !program.exists() {
        eprintln!("SKIPPED: there is no {}; targets/build-device.sh makes it", program.display());
        return;
    }
    if Command::new("qemu-aarch64-static").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no qemu-aarch64-static here");
        return;
    }
    let device = "#!/bin/sh\n\
                  case $SSH_ORIGINAL_COMMAND in 'uname -sm') echo Linux aarch64; exit ;; esac\n\
                  line=$(printf %s \"$SSH_ORIGINAL_COMMAND\" | \
                  sed 's:&& ./cygnet :\\&\\& qemu-aarch64-static -cpu cortex-a72 ./cygnet :')\n\
                  exec sh -c \"$line\"\n";
    let Some(server) = Server::start(Some(device)) else { return };
    let here = server.folder.path();
    let built = here.join(format!("target/device/{TRIPLE}/device"));
    std::fs::create_dir_all(&built).unwrap();
    std::os::unix::fs::symlink(std::fs::canonicalize(&program).unwrap(), built.join("cygnet")).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/fashion_mnist_cnn.onnx");
    let model = here.join("net.cygnet");
    run(Command::new(assert_cmd::cargo::cargo_bin("cygnet"))
        .args(["convert", source, "--precision", "f32", "--goldens", "1", "-o"])
        .arg(&model));
    let folder = here.join("there");
    let (code, out, err) =
        server.deploy(&[model.to_str().unwrap(), "--folder", folder.to_str().unwrap(), "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["system"], "Linux aarch64");
    // Goldens that were recorded on this machine, on the other architecture's kernels.
    assert_eq!((&json["verify"]["ok"], &json["verify"]["isa"]), (&true.into(), &"neon".into()));
    assert!(json["bench"]["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!(std::fs::read(folder.join("cygnet")).unwrap(), std::fs::read(&program).unwrap());

    // Another device, for which there is no program.
    std::fs::remove_file(built.join("cygnet")).unwrap();
    let (code, _, err) = server.deploy(&[model.to_str().unwrap(), "--folder", folder.to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("targets/build-device.sh"), "{err}");
}
