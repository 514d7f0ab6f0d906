//! The `gumboot` binary as its users meet it: what it prints, and how it ends.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory of its own for one test, gone when the test is over.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("gumboot-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn write(&self, name: &str, text: &str) -> &Place {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gumboot"));
        command.current_dir(&self.0).env_clear().envs(variables.iter().copied());
        command.args(arguments).output().unwrap()
    }

    /// Runs it, and checks the exit code, the standard output, and what the error stream contains.
    fn check(&self, arguments: &[&str], variables: &[(&str, &str)], code: i32, stdout: &str, stderr: &[&str]) {
        let output = self.run(arguments, variables);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout, "{arguments:?}");
        for part in stderr {
            assert!(errors.contains(part), "{arguments:?}: no {part:?} in:\n{errors}");
        }
        assert!(!stderr.is_empty() || errors.is_empty(), "{arguments:?}: {errors}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory that stays behind does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WRONG: &str = "[limits]\nbody_byte = 1\nheaders = \"many\"\n[tcp]\nenabled = 1\n";

#[test]
fn check_says_ok_or_everything_that_is_wrong() {
    let place = Place::new("check");
    place.write("right.toml", "[limits]\nheaders = 20\n").write("wrong.toml", WRONG);
    place.check(&["check", "right.toml"], &[], 0, "right.toml: ok\n", &[]);
    let all = [
        "error: unknown key `limits.body_byte`\n --> wrong.toml:2:1\n",
        "did you mean `body_bytes`?",
        " --> wrong.toml:3:11\n",
        " --> wrong.toml:5:11\n",
        "gumboot: 3 errors in the configuration\n",
    ];
    place.check(&["check", "wrong.toml"], &[], 2, "", &all);
    place.check(&["check", "nowhere.toml"], &[], 2, "", &["error: cannot read nowhere.toml: "]);
    place.check(&["check"], &[], 0, "defaults: ok\n", &[]);
}

#[test]
fn the_file_is_searched_in_order() {
    let place = Place::new("search");
    place.write("config.toml", "queues.prefetch = 1\n").write("named.toml", "queues.prefetch = 2\n");
    place.write("asked.toml", "queues.prefetch = 3\n");
    let named: &[(&str, &str)] = &[("GUMBOOT_CONFIG", "named.toml")];
    place.check(&["check"], &[], 0, "config.toml: ok\n", &[]);
    place.check(&["check"], named, 0, "named.toml: ok\n", &[]);
    place.check(&["check", "asked.toml"], named, 0, "asked.toml: ok\n", &[]);
    for (arguments, variables, expected) in [
        (&["config"][..], &[][..], "prefetch = 1 # config.toml:1"),
        (&["config"], named, "prefetch = 2 # named.toml:1"),
        (&["config", "--config", "asked.toml"], named, "prefetch = 3 # asked.toml:1"),
        (&["config", "--set", "queues.prefetch=4"], named, "prefetch = 4 # --set"),
        (&["config"], &[("GUMBOOT__QUEUES__PREFETCH", "5")], "prefetch = 5 # environment GUMBOOT__QUEUES__PREFETCH"),
    ] {
        let output = String::from_utf8(place.run(arguments, variables).stdout).unwrap();
        let line = output.lines().find(|line| line.starts_with("prefetch = ")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<&str>>().join(" "), expected, "{arguments:?}");
    }
}

#[test]
fn what_config_prints_is_a_configuration() {
    let place = Place::new("print");
    let printed = place.run(&["config", "--set", "profile=spring"], &[]);
    assert!(printed.status.success());
    place.write("printed.toml", &String::from_utf8(printed.stdout).unwrap());
    place.check(&["check", "printed.toml"], &[], 0, "printed.toml: ok\n", &[]);
}

#[test]
fn nothing_is_served_with_a_wrong_configuration() {
    let place = Place::new("refuse");
    place.write("config.toml", WRONG);
    for arguments in [&[][..], &["serve"], &["config"]] {
        place.check(arguments, &[], 2, "", &["gumboot: 3 errors in the configuration\n"]);
    }
    let variables = [("GUMBOOT__TCP__BIND", "0.0.0.0:0"), ("GUMBOOT_CONFIG", "/dev/null")];
    // E4: open to other machines without a login.
    place.check(&[], &variables, 2, "", &["GUMBOOT__TCP__BIND=0.0.0.0:0\n", "access.anonymous = \"anywhere\""]);
}

#[test]
fn serves_until_it_is_told_to_stop() {
    let place = Place::new("serve");
    let mut broker = Command::new(env!("CARGO_BIN_EXE_gumboot"))
        .current_dir(&place.0)
        .env_clear()
        .args(["--set", "websocket.bind=127.0.0.1:0", "--set", "tcp.bind=127.0.0.1:0"])
        .args(["--set", "admin.bind=127.0.0.1:0", "--set", "server.workers=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(broker.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.next().unwrap().ends_with("configuration: defaults, as there is no ./config.toml"));
    let mut said = BufReader::new(broker.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.next().unwrap().starts_with("listening on ws://127.0.0.1:"));
    let line = said.next().unwrap();
    let (_, address) = line.split_once("listening on tcp://").unwrap();
    let line = said.next().unwrap();
    let (_, admin) = line.split_once("health and metrics on http://").unwrap();
    let (admin, _) = admin.split_once("/health").unwrap();
    assert!(said.next().unwrap().starts_with("to try it: "));

    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"CONNECT\n\n\0").unwrap();
    let mut answer = [0; 9];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"CONNECTED");

    let ask = |path: &str| {
        let mut http = TcpStream::connect(admin).unwrap();
        write!(http, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("/health").starts_with("HTTP/1.1 200 OK"));
    assert!(ask("/metrics").contains("gumboot_connections{worker=\"0\"} 1\n"));
    assert!(ask("/").starts_with("HTTP/1.1 404"));

    let killed = Command::new("kill").args(["-TERM", &broker.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(log.any(|line| line.contains("SIGTERM: draining")));
    assert_eq!(broker.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = log.collect();
    assert!(rest.last().is_some_and(|line| line.ends_with("stopped")), "{rest:?}");
}

#[test]
fn a_store_that_is_none_is_left_alone() {
    let place = Place::new("foreign");
    fs::create_dir_all(place.0.join("data")).unwrap();
    place.write("data/thesis.txt", "precious");
    let arguments =
        ["--set", "websocket.bind=127.0.0.1:0", "--set", "tcp.bind=127.0.0.1:0", "--set", "store.path=data"];
    for engine in ["store.engine=sled", "store.engine=redb"] {
        let output = place.run(&[&arguments[..], &["--set", engine]].concat(), &[]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("error: data is not empty and is no store of this program: set store.path"),
            "{errors}"
        );
        assert_eq!(fs::read_to_string(place.0.join("data/thesis.txt")).unwrap(), "precious");
        assert_eq!(output.stdout, b"", "nobody could connect");
    }
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    let place = Place::new("usage");
    place.check(&["serv"], &[], 2, "", &["unrecognized subcommand 'serv'"]);
    // Options before a subcommand would be those of another one.
    place.check(&["--set", "queues.prefetch=1", "check"], &[], 2, "", &["cannot be used with"]);
    let version = format!("gumboot {}\n", env!("CARGO_PKG_VERSION"));
    place.check(&["version"], &[], 0, &version, &[]);
    place.check(&["--version"], &[], 0, &version, &[]);
}
