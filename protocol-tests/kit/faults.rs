//! The suite run against the tiny server: without a fault all is well, with one the right case fails.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::broker::{self, Fault};
use crate::cli;

/// Runs the suite on these cases in 1.2 over TCP; gives whether it succeeded, and the verdicts.
fn run(name: &str, fault: Fault, deviations: &str, filters: &[&str]) -> (bool, BTreeMap<String, String>) {
    let reach = format!("over.tcp.address = \"{}\"", broker::start(fault));
    run_reached(name, fault, &reach, deviations, filters)
}

fn run_reached(
    name: &str,
    fault: Fault,
    reach: &str,
    deviations: &str,
    filters: &[&str],
) -> (bool, BTreeMap<String, String>) {
    let folder = scratch(name);
    // Only a fault makes the suite wait to the end of its patience.
    let patience = if fault == Fault::None { "10s" } else { "1s" };
    let profile = folder.join("profile.toml");
    let text = format!(
        "name = \"{fault:?}\"\nversions = [\"1.2\"]\nabilities = [\"topic\"]\n{reach}\n\
         destinations = {{ queue = \"/queue/{{fresh}}\", topic = \"/topic/{{fresh}}\" }}\n\
         timing = {{ frame = \"{patience}\", quiet = \"100ms\" }}\n[deviations]\n{deviations}"
    );
    std::fs::write(&profile, text).unwrap();
    let json = folder.join("report.json");
    let mut arguments = vec!["--broker", profile.to_str().unwrap(), "--json", json.to_str().unwrap()];
    arguments.extend(filters);
    let exit = cli::main(arguments.into_iter().map(str::to_owned), &mut std::io::sink());
    let good = format!("{exit:?}") == format!("{:?}", ExitCode::SUCCESS);
    let report = std::fs::read_to_string(&json).unwrap_or_else(|_| "{\"tests\":[]}".to_owned());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let field = |test: &serde_json::Value, name: &str| test[name].as_str().unwrap().to_owned();
    let tests = report["tests"].as_array().unwrap();
    let verdicts = tests.iter().map(|test| (field(test, "test"), field(test, "verdict"))).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    (good, verdicts)
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("stomp-kit-faults-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The cases that the tiny server can pass, one for each of its faults.
const FOUND_BY: [(Fault, &str); 17] = [
    (Fault::ChokesOnHeartBeats, "1.2/receipt/of-send"),
    (Fault::CountsCharacters, "1.2/encoding/utf-8-body"),
    (Fault::DeliversAfterUnsubscribe, "1.2/subscribe/unsubscribe-ends-delivery"),
    (Fault::DeliversTwice, "1.2/subscribe/unsubscribe-one-of-two"),
    (Fault::DropsUserHeaders, "1.2/send/user-headers-pass-through"),
    (Fault::ForgetsReceipts, "1.2/receipt/of-send"),
    (Fault::ForgetsTheNul, "1.2/send/delivered"),
    (Fault::IgnoresVersions, "1.2/connect/no-common-version"),
    (Fault::KeepsCarriageReturns, "1.2/encoding/cr-lf-lines"),
    (Fault::LosesCutFrames, "1.2/send/delivered"),
    (Fault::ReusesMessageIds, "1.2/subscribe/message-ids-are-unique"),
    (Fault::SendsNoErrorText, "1.2/error/has-message"),
    (Fault::SendsUnescaped, "1.2/encoding/escapes-in-values"),
    (Fault::StaysAfterError, "1.2/error/closes-the-connection"),
    (Fault::SwapsReceipts, "1.2/receipt/of-send"),
    (Fault::Trims, "1.2/encoding/spaces-stay"),
    (Fault::TruncatesAtNul, "1.2/send/body-with-nul"),
];

#[test]
fn a_server_without_fault_passes() {
    let filters: Vec<String> = FOUND_BY.iter().map(|(_, case)| format!("{case} [1.2 ")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let (good, verdicts) = run("none", Fault::None, "", &filters);
    let not_ok: Vec<_> = verdicts.iter().filter(|(_, verdict)| *verdict != "OK").collect();
    assert!(good && not_ok.is_empty(), "{not_ok:?}");
    assert!(verdicts.len() > 10, "{verdicts:?}");
}

#[test]
fn each_fault_is_found() {
    for (fault, case) in FOUND_BY {
        let name = format!("{case} [1.2 tcp]");
        let (good, verdicts) = run(&format!("{fault:?}"), fault, "", &[&name]);
        // A missing message text is a SHOULD, and does not fail the run.
        let expected = if fault == Fault::SendsNoErrorText { "NON-STRICT" } else { "FAILED" };
        assert_eq!(verdicts.get(&name).map(String::as_str), Some(expected), "{fault:?}: {verdicts:?}");
        assert_eq!(good, expected == "NON-STRICT", "{fault:?}");
    }
}

#[test]
fn a_listed_deviation_is_forgiven_until_it_is_gone() {
    let deviation = "\"1.2/receipt/of-send @tcp @1.2\" = \"it forgets\"\n";
    let filter = ["1.2/receipt/of-send [1.2 tcp]"];
    assert!(run("listed", Fault::ForgetsReceipts, deviation, &filter).0);
    assert!(!run("gone", Fault::None, deviation, &filter).0);
    let narrowed = deviation.replace("@1.2", "@1.1");
    assert!(!run("elsewhere", Fault::ForgetsReceipts, &narrowed, &filter).0);
    let unknown = "\"1.2/receipt/of-nobody\" = \"it never was\"\n";
    assert!(!run("unknown", Fault::None, unknown, &filter).0);
}

#[test]
fn a_launched_broker_is_reached_where_it_says() {
    let address = broker::start(Fault::None);
    let reach = format!(
        "over.tcp = {{}}\nlaunch.program = \"sh\"\n\
         launch.arguments = [\"-c\", \"echo listening on tcp://{address}; exec sleep 60\"]"
    );
    assert!(run_reached("launched", Fault::None, &reach, "", &["1.2/receipt/of-send [1.2 tcp]"]).0);
    let silent = "over.tcp = {}\nlaunch = { program = \"sh\", arguments = [\"-c\", \"echo not yet\"] }";
    assert!(!run_reached("silent", Fault::None, silent, "", &["1.2/receipt/of-send"]).0);
}

#[test]
fn a_run_without_a_case_fails() {
    assert!(!run("filtered", Fault::None, "", &["no such case"]).0);
    assert!(!run("unmet", Fault::None, "", &["1.2/transaction/two-at-once"]).0);
}

/// A case of one's own: what is sent to the server comes back.
fn play(name: &str, steps: &str) -> bool {
    let cases = scratch(&format!("cases-{name}"));
    let front = "+++\nid = \"own\"\nspec = \"1.2#X\"\nsays = \"s\"\nlevel = \"MUST\"\nover = [\"1.2\"]\n+++\n";
    let greeting = "A connect\nA > SUBSCRIBE id:0 destination:{topic}\nA > SEND destination:{topic} \"1\"\n\
                    A > SEND destination:{topic} \"2\"\n";
    std::fs::write(cases.join("own.stomp"), format!("{front}{greeting}{steps}")).unwrap();
    let good = run(name, Fault::None, "", &["--cases", cases.to_str().unwrap()]).0;
    std::fs::remove_dir_all(&cases).unwrap();
    good
}

#[test]
fn until_passes_over_other_frames_only() {
    assert!(play("until", "A < until MESSAGE \"2\"\nA < nothing"));
    assert!(play("until-the-first", "A < until MESSAGE \"1\"\nA < MESSAGE \"2\""));
    assert!(!play("until-passed", "A > SEND destination:{topic} \"3\"\nA < until MESSAGE \"2\"\nA < MESSAGE \"1\""));
    assert!(!play("until-closed", "A > SEND \"x\"\nA < until MESSAGE \"3\""));
    assert!(play("until-the-end", "A > SEND \"x\"\nA < until ERROR then closed"));
}
