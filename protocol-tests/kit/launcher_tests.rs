//! The launcher against shell scripts that keep, or break, its contract.

use crate::launcher::{LaunchError, Launched, Start};

fn start(script: &str) -> Result<Launched, LaunchError> {
    Launched::start(&Start {
        program: "sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned(), "{config}".to_owned()],
        config: "key = 1\n".to_owned(),
        schemes: vec!["tcp", "ws"],
    })
}

#[test]
fn addresses_are_read_from_what_the_broker_says() {
    let script = r#"cat "$0"; echo 'listening on ws://127.0.0.1:7/ws'
        echo '{"message":"listening","at":"tcp://127.0.0.1:8"}' >&2; exec sleep 60"#;
    let mut launched = start(script).unwrap();
    assert_eq!(launched.address("ws"), Some("ws://127.0.0.1:7/ws"));
    assert_eq!(launched.address("tcp"), Some("tcp://127.0.0.1:8"));
    assert!(launched.log().starts_with("key = 1\n"));
    assert!(launched.is_alive());
}

#[test]
fn a_broker_that_ends_at_once_is_reported_with_its_words() {
    match start("echo 'no such key'; exit 3") {
        Err(LaunchError::Ended { status, log }) => {
            assert_eq!(status.code(), Some(3));
            assert_eq!(log, "no such key\n");
        }
        other => panic!("{other:?}"),
    }
}
