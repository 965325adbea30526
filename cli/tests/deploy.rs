//! `deploy` over a real ssh server of this machine's, on the loopback interface.
#![cfg(all(feature = "host", target_os = "linux"))]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVER: &str = "/usr/sbin/sshd";

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
    fn start() -> Option<Self> {
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
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n",
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
    let Some(server) = Server::start() else { return };
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
