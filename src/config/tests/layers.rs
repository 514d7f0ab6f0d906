//! Which layer wins, and what `gumboot config` prints about it.

use std::time::Duration;

use super::*;
use crate::broker::{Overflow, QueueOptions, WhenExpired};

type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c [&'c str], &'c str, &'c str);

#[test]
fn later_layers_win() {
    let cases: &[Case<'_>] = &[
        ("", &[], &[], "queues.prefetch", "prefetch = 100 # default"),
        ("\n[queues]\nprefetch = 7", &[], &[], "queues.prefetch", "prefetch = 7 # gumboot.toml:3"),
        ("queues.prefetch = 7", &[], &[], "queues.prefetch", "prefetch = 7 # gumboot.toml:1"),
        (
            "[queues]\nprefetch = 7",
            &[("GUMBOOT__QUEUES__PREFETCH", "8")],
            &[],
            "queues.prefetch",
            "prefetch = 8 # environment GUMBOOT__QUEUES__PREFETCH",
        ),
        (
            "[queues]\nprefetch = 7",
            &[("GUMBOOT__QUEUES__PREFETCH", "8")],
            &["queues.prefetch=9"],
            "queues.prefetch",
            "prefetch = 9 # --set",
        ),
        ("", &[], &["queues.prefetch=9", "queues.prefetch=10"], "queues.prefetch", "prefetch = 10 # --set"),
        ("profile = \"spring\"", &[], &[], "unknown_destinations", "unknown_destinations = \"drop\" # profile spring"),
        (
            "",
            &[("GUMBOOT__PROFILE", "spring")],
            &[],
            "unknown_destinations",
            "unknown_destinations = \"drop\" # profile spring",
        ),
        (
            "profile = \"spring\"\nunknown_destinations = \"refuse\"",
            &[],
            &[],
            "unknown_destinations",
            "unknown_destinations = \"refuse\" # gumboot.toml:2",
        ),
        (
            "",
            &[("GUMBOOT__WEBSOCKET__DEFLATE__LEVEL", "6"), ("GUMBOOT_CONFIG", "x"), ("GUMBOOTS", "x"), ("PATH", "x")],
            &[],
            "websocket.deflate.level",
            "level = 6 # environment GUMBOOT__WEBSOCKET__DEFLATE__LEVEL",
        ),
        (
            "[limits]\nbody_bytes = 1024",
            &[],
            &["limits.headers=9"],
            "limits.body_bytes",
            "body_bytes = \"1 KiB\" # gumboot.toml:2",
        ),
    ];
    for (file, environment, arguments, key, expected) in cases {
        let loaded = load_layers(file, environment, arguments).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(printed(&loaded, key), *expected);
    }
}

#[test]
fn values_outside_files_are_toml_or_stand_for_themselves() {
    for (argument, key, expected) in [
        ("limits.body_bytes=\"1 MiB\"", "limits.body_bytes", "body_bytes = \"1 MiB\" # --set"),
        ("limits.body_bytes=1 MiB", "limits.body_bytes", "body_bytes = \"1 MiB\" # --set"),
        ("limits.body_bytes = 0x400", "limits.body_bytes", "body_bytes = \"1 KiB\" # --set"),
        ("connect_timeout=2m", "connect_timeout", "connect_timeout = \"2m\" # --set"),
        ("tcp.bind=127.0.0.1:1", "tcp.bind", "bind = [\"127.0.0.1:1\"] # --set"),
        ("tcp.bind=['127.0.0.1:1', '[::1]:1']", "tcp.bind", "bind = [\"127.0.0.1:1\", \"[::1]:1\"] # --set"),
        ("log.level=info,gumboot::session=debug", "log.level", "level = \"info,gumboot::session=debug\" # --set"),
        ("queues.dead_letter=", "queues.dead_letter", "dead_letter = \"\" # --set"),
        (
            "topics.policy=[{pattern = '/topic/#', when_slow = 'keep-latest'}]",
            "topics.when_slow",
            "when_slow = \"disconnect\" # default",
        ),
    ] {
        let loaded = load_layers("", &[], &[argument]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(printed(&loaded, key), expected);
    }
}

#[test]
fn options_follow_the_keys() {
    let text = "
        connect_timeout = \"3s\"
        [limits]
        body_bytes = 5000
        outbox_bytes = \"5 KiB\"
        frame_before_login = 999
        [tcp]
        enabled = false
        continue_on_error = true
        keepalive = \"0s\"
        [headers]
        private = \"X-Secret\"
        [[destinations]]
        prefix = \"/exchange\"
        kind = \"topic\"
        style = \"amqp\"
        ";
    let server = load_file(text).unwrap_or_else(|errors| panic!("{errors}")).options.server;
    assert_eq!((server.tcp.len(), server.websocket.len(), server.keepalive), (0, 1, None));
    let worker = &server.worker;
    assert_eq!(server.http.request_timeout, worker.session.connect_timeout);
    assert_eq!((worker.limits.body_bytes, worker.limits_before_login.body_bytes), (5000, 5000));
    assert_eq!((worker.limits.frame_bytes, worker.limits_before_login.frame_bytes), (usize::MAX, 999));
    assert_eq!((worker.outbox_bytes, worker.session.max_outbox_bytes), (5120, 5120));
    assert_eq!((worker.session.continue_on_error, worker.tcp_session.continue_on_error), (false, true));
    assert_eq!(worker.tcp_session.private_headers, ["X-Secret"]);
    assert_eq!(worker.tcp_session.connect_timeout, worker.session.connect_timeout);
    assert_eq!(worker.session.spaces, worker.broker.destinations);
    assert_eq!(worker.broker.destinations.iter().map(|space| space.separator).collect::<Vec<char>>(), ['.']);
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let text = "
        profile = \"spring\"
        log.level = \"warn\"
        websocket.allowed_origins = [\"https://*.example.com\", \"null\"]
        queues.dead_letter = \"/queue/\\\"odd\\\\ \\u0001name\\nend\"
        topics.policy = [
            { pattern = \"/topic/a/*\", when_slow = \"drop-oldest\" },
            { pattern = \"/topic/**\", when_slow = \"keep-latest\" },
        ]
        ";
    let first = load_file(text).unwrap_or_else(|errors| panic!("{errors}"));
    let second = load_file(&first.effective.to_string()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(format!("{:#?}", first.options), format!("{:#?}", second.options));
    let settings = |loaded: &Loaded| -> Vec<(String, String)> {
        loaded.effective.settings().map(|(key, value)| (key, value.to_owned())).collect()
    };
    assert_eq!(settings(&first), settings(&second));
    assert!(!second.effective.to_string().contains("# default"));
}

#[test]
fn a_policy_says_only_what_differs() {
    let text = "
        [queues]
        max_messages = 50
        prefetch = 9
        [[queues.policy]]
        pattern = \"/queue/jobs.*\"
        ttl = \"1m\"
        expired = \"drop\"
        overflow = \"drop-oldest\"
        [[queues.policy]]
        pattern = \"/queue/**\"
        max_messages = 2
        prefetch = 1
        priority = true
        idle_expiry = \"1h\"
        ";
    let worker = load_file(text).unwrap_or_else(|errors| panic!("{errors}")).options.server.worker;
    let others = &worker.broker.queues;
    let [jobs, all] = &worker.broker.queue_policies[..] else { panic!("two policies") };
    assert_eq!((others.max_messages, others.ttl), (50, None));
    assert_eq!(jobs.pattern.as_str(), "/queue/jobs.*");
    let expected = QueueOptions {
        ttl: Some(Duration::from_secs(60)),
        expired: WhenExpired::Drop,
        overflow: Overflow::DropOldest,
        ..others.clone()
    };
    assert_eq!(jobs.options, expected);
    let expected = QueueOptions {
        max_messages: 2,
        priority: true,
        idle_expiry: Some(Duration::from_secs(3600)),
        ..others.clone()
    };
    assert_eq!(all.options, expected);
    for session in [&worker.session, &worker.tcp_session] {
        assert_eq!(session.queue_prefetches.iter().map(|(_, prefetch)| *prefetch).collect::<Vec<u32>>(), [9, 1]);
    }
}

#[test]
fn a_policy_is_checked_as_the_rest_is() {
    let of = |row: &str| {
        let text = format!("[[queues.policy]]\npattern = \"/queue/a\"\n{row}");
        load_file(&text).map(|_| ()).map_err(|errors| errors.to_string())
    };
    assert!(of("").is_ok());
    for (row, says) in [
        ("redelivery_delay = \"2m\"", "`queues.policy[0].redelivery_delay` is \"2m\""),
        ("dead_letter = \"/topic/a\"", "`queues.policy[0].dead_letter` is \"/topic/a\""),
        ("max_queues = 5", "max_queues"),
        ("overflow = \"rejekt\"", "did you mean \"reject\"?"),
    ] {
        let told = of(row).unwrap_err();
        assert!(told.contains(says), "{told}");
    }
    let told = load_file("[[queues.policy]]\npattern = \"/topic/a\"").unwrap_err().to_string();
    assert!(told.contains("a pattern under a prefix of kind"), "{told}");
}

#[test]
fn hooks_print_as_they_read_but_for_their_secrets() {
    let hook = |name: &str| {
        format!(
            "[[app.hook]]\nname = \"{name}\"\nurl = \"http://localhost:1/{name}\"\nevents = [\"connected\"]\n\
             [app.hook.breaker]\npause = \"7s\"\n"
        )
    };
    let loaded = load_file(&format!("{}{}", hook("a"), hook("b"))).unwrap();
    let again = load_file(&loaded.effective.to_string()).unwrap();
    let hooks = &again.options.server.worker.app.hooks;
    assert_eq!(*hooks, loaded.options.server.worker.app.hooks);
    assert_eq!(hooks.iter().map(|hook| hook.breaker.pause.as_secs()).collect::<Vec<_>>(), [7, 7]);

    let secret = hook("a").replace("events", "secret = [\"s3cret\", \"older\"]\nevents");
    let loaded = load_file(&secret).unwrap();
    assert_eq!(loaded.options.server.worker.app.hooks[0].secrets.len(), 2);
    let shown = format!("{}{:?}", loaded.effective, loaded.options);
    assert!(!shown.contains("s3cret") && !shown.contains("older"), "{shown}");
    assert!(shown.contains("secret = [\"(secret)\", \"(secret)\"]"), "{shown}");
}
